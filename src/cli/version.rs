//! `version` and `completion`: about the program itself.

use std::io;

use anyhow::{Context, Result};
use clap::CommandFactory;
use serde_json::{Value, json};

use super::{
    Exit,
    args::{CompletionArgs, Report, Shell, VersionArgs, WeirArgs},
    console::Console,
    format::json_text,
    server::Server,
};

/// The version of this program.
const CLIENT: &str = env!("CARGO_PKG_VERSION");

/// Prints both versions. Without a controller it still prints its own, and fails.
pub(super) async fn version(console: &Console, args: &VersionArgs) -> Result<Exit> {
    let server = match args.client {
        true => None,
        false => Some(ask(args).await),
    };
    let (answer, error) = match server {
        Some(Ok(answer)) => (Some(answer), None),
        Some(Err(error)) => (None, Some(error)),
        None => (None, None),
    };
    console.print(&match args.output {
        Report::Text => text(answer.as_ref()),
        Report::Json => json_text(&json!({"client": {"version": CLIENT}, "server": answer}))?,
    })?;
    error.map_or(Ok(Exit::Done), Err)
}

async fn ask(args: &VersionArgs) -> Result<Value> {
    let server = Server::connect(&args.connection)?;
    server.version().await
}

fn text(server: Option<&Value>) -> String {
    let mut text = format!("weir {CLIENT}\n");
    if let Some(server) = server {
        let version = server["weirVersion"]
            .as_str()
            .or(server["gitVersion"].as_str());
        text += &format!("controller {}\n", version.unwrap_or("of unknown version"));
    }
    text
}

/// Prints a completion script.
pub(super) fn completion(console: &Console, args: &CompletionArgs) -> Result<Exit> {
    let shell = match args.shell {
        Shell::Bash => clap_complete::Shell::Bash,
        Shell::Zsh => clap_complete::Shell::Zsh,
        Shell::Fish => clap_complete::Shell::Fish,
    };
    let mut script = io::Cursor::new(Vec::new());
    clap_complete::generate(shell, &mut WeirArgs::command(), "weir", &mut script);
    let script = String::from_utf8(script.into_inner()).context("the script is no text")?;
    console.print(&script)?;
    Ok(Exit::Done)
}
