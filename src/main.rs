//! The `weir` binary: hands the command line to the library.

use std::process::ExitCode;

use clap::Parser;
use weir::{
    cli::{
        self, Exit,
        args::{Command, ServerCommand, WeirArgs},
    },
    run,
};

#[tokio::main]
async fn main() -> ExitCode {
    cli::finish(dispatch(WeirArgs::parse().command).await)
}

async fn dispatch(command: Command) -> anyhow::Result<Exit> {
    match command {
        Command::Client(command) => return cli::run(command).await,
        Command::Server(ServerCommand::Controller(args)) => run::controller(args).await?,
        Command::Server(ServerCommand::Demo(args)) => run::demo(args).await?,
        Command::Server(ServerCommand::Sim(args)) => run::sim(args).await?,
        Command::Server(ServerCommand::Token(command)) => run::token(&command)?,
        Command::Server(ServerCommand::State(command)) => return run::state(command).await,
    }
    Ok(Exit::Done)
}
