//! `weir login`: a kubeconfig for another user of the same controller.

use std::{fs, path::Path};

use anyhow::{Context, Result};

use super::{Exit, args::LoginArgs, console::Console, server::Server};
use crate::{
    api::client::kubeconfig::{self, Credential},
    types::core::Confidential,
};

/// Writes the kubeconfig. Whether the controller takes the credential shows at the first request.
pub(super) fn login(console: &Console, args: &LoginArgs) -> Result<Exit> {
    let access = Server::access(&args.connection)?;
    let read = |path: &Path| {
        fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
    };
    let credential = match (&args.token_file, &args.client_certificate, &args.client_key) {
        (_, Some(certificate), Some(key)) => {
            Credential::Certificate(read(certificate)?, Confidential::new(read(key)?))
        }
        (Some(file), ..) => Credential::Token(Confidential::new(read(file)?.trim())),
        _ => anyhow::bail!("name a --token-file, or --client-certificate and --client-key"),
    };
    let namespace = args.connection.namespace.as_deref();
    let namespace = namespace.unwrap_or(&access.namespace);
    let place = (args.user.as_str(), namespace);
    kubeconfig::add(&args.output, place, &access, &credential)?;
    console.print(&format!(
        "{} is the current context of {}: export KUBECONFIG={}\n",
        args.user,
        args.output.display(),
        args.output.display()
    ))?;
    Ok(Exit::Done)
}
