//! `watch`: what goes on, live, for as long as one cares to look.
//!
//! On a terminal it is a screen that redraws itself; elsewhere a line for each change. Both show
//! the same [`model::Model`], which outlives lost connections.

mod frame;
mod lines;
mod model;
mod terminal;

use anyhow::{Result, bail};
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};

use self::{
    lines::Lines,
    model::{Model, TICK},
    terminal::{Input, Terminal},
};
use super::{
    Exit,
    args::{Report, Until, WatchArgs},
    console::Console,
    describe::parts,
    follow::{Change, Follower},
    server::{Query, Server},
};
use crate::types::meta::{Kind, Object};

pub(super) use model::concerns;

/// Shows one stack or all until somebody quits or `--until` holds.
pub(super) async fn run(console: &Console, args: &WatchArgs) -> Result<Exit> {
    let server = Server::connect(&args.connection)?;
    if let Some(stack) = &args.stack {
        server.need(Kind::ClearwaterStack, stack).await?;
    }
    let mut model = Model::new(server.namespace().to_owned(), args.stack.clone());
    let kinds = [Kind::ClearwaterStack, Kind::Machine, Kind::Event];
    let queries = kinds.map(|kind| Query::all(kind, server.namespace()));
    let follower = Follower::start(&server, queries.to_vec());
    let plain = args.plain || args.output == Report::Json || !console.is_terminal();
    let ended = {
        let view = async {
            match plain {
                true => print_lines(console, args, follower, &mut model).await,
                false => draw(console, args, follower, &mut model).await,
            }
        };
        match args.timeout {
            Some(timeout) => tokio::time::timeout(timeout.get(), view).await.ok(),
            None => Some(view.await),
        }
    };
    if !plain {
        console.lines(&last_words(&model))?;
    }
    match (ended, args.timeout) {
        (Some(exit), _) => exit,
        (None, timeout) => {
            let timeout = timeout.map_or_else(String::new, |timeout| timeout.to_string());
            bail!(
                "not ready after {timeout}: {}",
                last_words(&model).join("; ")
            )
        }
    }
}

/// How things stand, once the screen is gone.
fn last_words(model: &Model) -> Vec<String> {
    let mut words = Vec::new();
    for (name, stack) in &model.stacks {
        let status = stack.status.clone().unwrap_or_default();
        let (ready, all) = (status.ready_replicas, status.replicas);
        let problem = parts::unmet(&status.conditions, "Ready");
        let problem = problem.map_or_else(String::new, |text| {
            format!(", {}", super::paint::clean(&text))
        });
        words.push(format!(
            "stack {name}: {}, {ready} of {all} ready{problem}",
            status.phase
        ));
    }
    if words.is_empty() {
        words.push(format!("no stacks in {}", model.namespace));
    }
    words
}

/// What a look at the model says about going on.
enum Verdict {
    Watch,
    End(Exit),
}

fn verdict(args: &WatchArgs, model: &Model, change: &Change) -> Result<Verdict> {
    if let (Some(stack), Change::Gone(object)) = (&args.stack, change)
        && is_stack(object, stack)
        && args.until.is_some()
    {
        bail!("stack {stack} was deleted and will not get ready");
    }
    match args.until {
        Some(Until::Ready) if model.ready() => Ok(Verdict::End(Exit::Done)),
        Some(Until::Ready) | None => Ok(Verdict::Watch),
    }
}

fn is_stack(object: &Object, name: &str) -> bool {
    object.kind == Kind::ClearwaterStack.name() && object.metadata.name == name
}

async fn print_lines(
    console: &Console,
    args: &WatchArgs,
    mut follower: Follower,
    model: &mut Model,
) -> Result<Exit> {
    let mut lines = Lines::new(console.now(), console.paint);
    loop {
        let change = follower.next().await;
        let now = console.now();
        model.note(&change, now);
        match args.output {
            Report::Text => console.lines(&lines.after(model, &change, now))?,
            Report::Json => console.lines(&json_lines(&change)?)?,
        }
        if let Verdict::End(exit) = verdict(args, model, &change)? {
            return Ok(exit);
        }
    }
}

/// A change as JSON, one object a line, in the words of Kubernetes' watches.
fn json_lines(change: &Change) -> serde_json::Result<Vec<String>> {
    let line = |word: &str, object: &Object| {
        serde_json::to_string(&json!({"type": word, "object": object}))
    };
    match change {
        Change::Snapshot(_, objects) => {
            objects.iter().map(|object| line("ADDED", object)).collect()
        }
        Change::Put(object) => Ok(vec![line("MODIFIED", object)?]),
        Change::Gone(object) => Ok(vec![line("DELETED", object)?]),
        Change::Lost(kind, why) => {
            let lost = json!({"type": "LOST", "kind": kind.name(), "message": why});
            Ok(vec![serde_json::to_string(&lost)?])
        }
    }
}

async fn draw(
    console: &Console,
    args: &WatchArgs,
    mut follower: Follower,
    model: &mut Model,
) -> Result<Exit> {
    // Without this, a polite kill would leave the terminal as a screen that nobody draws.
    let mut terminated = signal(SignalKind::terminate())?;
    let mut terminal = Terminal::open(console.paint)?;
    loop {
        let now = console.now();
        terminal.draw(&frame::frame(model, now, terminal.screen()?))?;
        let change = tokio::select! {
            biased;
            input = terminal.input() => match input {
                Input::Quit => return Ok(Exit::Done),
                Input::Redraw => continue,
            },
            change = follower.next() => change,
            () = tokio::time::sleep(TICK) => continue,
            _ = terminated.recv() => return Ok(Exit::Failed),
        };
        let mut next = Some(change);
        while let Some(change) = next {
            model.note(&change, console.now());
            if let Verdict::End(exit) = verdict(args, model, &change)? {
                return Ok(exit);
            }
            next = follower.ready();
        }
    }
}

#[cfg(test)]
mod tests;
