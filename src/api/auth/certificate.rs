//! Who holds a client certificate, as in Kubernetes: the common name is the user, each
//! organisation a group. That an authority of ours signed it is seen to by TLS.

use jiff::Timestamp;
use tokio_rustls::rustls::pki_types::CertificateDer;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::{Digested, User};

/// What tells in an audit log which certificate was shown; Kubernetes' word.
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

/// The holder of a verified certificate; nobody where it names none.
pub(in crate::api) fn user(certificate: &CertificateDer<'_>) -> Option<User> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let subject = parsed.subject();
    let name = subject.iter_common_name().next()?.as_str().ok()?;
    if name.is_empty() {
        return None;
    }
    let groups = subject.iter_organization();
    let groups = groups.filter_map(|group| group.as_str().ok());
    let until = Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()?;
    let mut user = User::new(name, groups.filter(|group| !group.is_empty()));
    user.until = Some(until);
    let id = vec![format!("X509SHA256={}", Digested::of(certificate).hex())];
    user.extra.insert(CREDENTIAL.to_owned(), id);
    Some(user)
}
