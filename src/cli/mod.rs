//! The command line: a client of the controller's HTTP API like any other.
//!
//! Each command reads its arguments ([`args`]), asks the server (`server`, `follow`) and prints
//! what pure functions made of the answers (`describe`, `plan_view`, `table`, `watch::frame`).
//! Nothing here reaches into a store or a cloud. Exit codes are a promise: see [`Exit`].

pub mod args;
pub mod format;

mod age;
mod apply;
mod change;
mod console;
mod delete;
mod describe;
mod events;
mod follow;
mod get;
mod jsonpath;
mod login;
mod manifest;
mod page;
mod paint;
mod plan_view;
#[cfg(test)]
mod samples;
mod server;
pub mod sim;
mod table;
mod version;
mod watch;
mod zone;

use std::process::ExitCode;

use anyhow::{Error, Result};

use self::{args::ClientCommand, console::Console};

/// How a command ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// 0: it did what was asked.
    Done,
    /// 1: it failed, `diff` found something to do, or `state fsck` errors.
    Failed,
    /// 2: `diff` failed, or `state fsck` could not look. Wrong usage ends like this too, before anything is done.
    Trouble,
}

impl Exit {
    const fn code(self) -> u8 {
        match self {
            Self::Done => 0,
            Self::Failed => 1,
            Self::Trouble => 2,
        }
    }
}

/// Carries out a command of a client.
///
/// # Errors
/// It could not be done; hand the error to [`finish`].
pub async fn run(command: ClientCommand) -> Result<Exit> {
    let console = Console::new();
    // Boxed, because the largest of these futures would make all of them large.
    match command {
        ClientCommand::Apply(args) => Box::pin(apply::apply(&console, &args)).await,
        ClientCommand::Diff(args) => {
            let found = Box::pin(apply::diff(&console, &args)).await;
            found.or_else(|error| fail(&error, Exit::Trouble))
        }
        ClientCommand::Get(args) => Box::pin(get::run(&console, &args)).await,
        ClientCommand::Describe(args) => Box::pin(describe::run(&console, &args)).await,
        ClientCommand::Events(args) => Box::pin(events::run(&console, &args)).await,
        ClientCommand::Watch(args) => Box::pin(watch::run(&console, &args)).await,
        ClientCommand::Delete(args) => Box::pin(delete::run(&console, &args)).await,
        ClientCommand::Scale(args) => Box::pin(change::scale(&console, &args)).await,
        ClientCommand::Pause(args) => Box::pin(change::pause(&console, &args)).await,
        ClientCommand::Approve(args) => Box::pin(change::approve(&console, &args)).await,
        ClientCommand::Resume(args) => Box::pin(change::resume(&console, &args)).await,
        ClientCommand::Zone(args) => Box::pin(zone::zone(&console, &args)).await,
        ClientCommand::Login(args) => login::login(&console, &args),
        ClientCommand::Version(args) => Box::pin(version::version(&console, &args)).await,
        ClientCommand::Completion(args) => version::completion(&console, &args),
    }
}

/// Tells an error, if there is one, and turns the end of a command into one of the process.
#[must_use]
pub fn finish(outcome: Result<Exit>) -> ExitCode {
    let exit = outcome.or_else(|error| fail(&error, Exit::Failed));
    ExitCode::from(exit.map_or(1, Exit::code))
}

/// Tells an error on standard error. A reader who left (`weir get … | head`) is none.
///
/// # Errors
/// None: the way that the command ends.
pub fn fail(error: &Error, exit: Exit) -> Result<Exit> {
    if console::is_reader_gone(error) {
        return Ok(Exit::Done);
    }
    Console::new().note(&format!("error: {error:#}"));
    Ok(exit)
}
