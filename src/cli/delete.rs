//! `delete`: asks for deletions, then waits until CloudStack has let go of everything.

use anyhow::{Result, bail};
use jiff::Timestamp;
use serde::Serialize;
use serde_json::json;

use super::{
    Exit,
    args::{DeleteArgs, Report},
    console::Console,
    follow::{Change, Follower},
    format::{json_text, named},
    manifest::{self, Scrutiny},
    paint::clean,
    server::{Deletion, Query, Server},
};
use crate::types::{
    id::Uid,
    machine::Machine,
    meta::{FINALIZER, Kind, Object, ObjectKey, condition},
    stack::{ClearwaterStack, StackStatus, StepReport, StepState},
};

/// Running steps that one line of progress names.
const NAMED_STEPS: usize = 3;

/// What the planner calls that which only somebody else, or time, can end.
const HOLD_UPS: [&str; 2] = ["TierHeld", "NotResolvable"];

/// What became of one object.
#[derive(Debug, Serialize)]
struct Deleted {
    kind: &'static str,
    namespace: String,
    name: String,
    outcome: &'static str,
}

/// Deletes one object after the other: what refers goes before what is referred to, and the
/// account's keys stay until the last stack that needs them is gone.
pub(super) async fn run(console: &Console, args: &DeleteArgs) -> Result<Exit> {
    let server = Server::connect(&args.connection)?;
    let keys = keys(args, &server).await?;
    let work = delete_all(console, args, &server, &keys);
    let Some(timeout) = args.timeout else {
        return work.await;
    };
    match tokio::time::timeout(timeout.get(), work).await {
        Ok(exit) => exit,
        Err(_) => bail!(
            "not gone after {timeout}; the deletion goes on: `weir describe` says what it waits for"
        ),
    }
}

async fn keys(args: &DeleteArgs, server: &Server) -> Result<Vec<ObjectKey>> {
    if let Some(kind) = args.kind {
        let key = |name: &String| server.key(kind, name);
        return Ok(args.names.iter().map(key).collect());
    }
    let namespace = args.connection.namespace.as_deref();
    let manifests = manifest::read(&args.sources, Scrutiny::Names, namespace).await?;
    let objects = manifests
        .iter()
        .rev()
        .map(|manifest| server.placed(&manifest.object));
    let key = |object: Object| {
        object
            .key()
            .map_err(|unknown| anyhow::anyhow!("no kind {unknown}"))
    };
    objects.map(key).collect()
}

async fn delete_all(
    console: &Console,
    args: &DeleteArgs,
    server: &Server,
    keys: &[ObjectKey],
) -> Result<Exit> {
    let mut results = Vec::new();
    let mut exit = Exit::Done;
    let mut pending: Option<String> = None;
    for key in keys {
        let name = named(key.kind, &key.name);
        let outcome = match &pending {
            Some(stack) if is_needed_by_stacks(key.kind) => {
                console.note(&format!(
                    "{name} kept: {stack} may still need it; run this again once that is gone"
                ));
                exit = Exit::Failed;
                "kept"
            }
            _ => match delete_one(console, args, server, key).await {
                Ok(outcome) => outcome,
                Err(error) => {
                    console.note(&format!("error: {name}: {error:#}"));
                    exit = Exit::Failed;
                    "failed"
                }
            },
        };
        if key.kind == Kind::ClearwaterStack && matches!(outcome, "deleting" | "failed") {
            pending = Some(name.clone());
        }
        if args.output == Report::Text && !matches!(outcome, "failed" | "kept") {
            console.print(&format!("{name} {outcome}\n"))?;
        }
        results.push(Deleted {
            kind: key.kind.name(),
            namespace: key.namespace.clone(),
            name: key.name.clone(),
            outcome,
        });
    }
    if args.output == Report::Json {
        console.print(&json_text(&json!({"results": results}))?)?;
    }
    Ok(exit)
}

const fn is_needed_by_stacks(kind: Kind) -> bool {
    matches!(kind, Kind::CloudAccount | Kind::Secret | Kind::Namespace)
}

/// Deletes one object; the word says what became of it.
async fn delete_one(
    console: &Console,
    args: &DeleteArgs,
    server: &Server,
    key: &ObjectKey,
) -> Result<&'static str> {
    let Some(object) = server.get(key).await? else {
        return absent(args, key);
    };
    match (server.delete(key).await?, args.wait) {
        (Deletion::Absent, _) => return absent(args, key),
        (Deletion::Gone, _) => return Ok("deleted"),
        (Deletion::Marked, false) => return Ok("deleting"),
        (Deletion::Marked, true) => {}
    }
    wait(console, args, server, (key, object.metadata.uid)).await?;
    Ok("deleted")
}

fn absent(args: &DeleteArgs, key: &ObjectKey) -> Result<&'static str> {
    if args.ignore_not_found {
        return Ok("not found");
    }
    bail!(
        "it does not exist in namespace {}; --ignore-not-found takes that for deleted",
        key.namespace
    )
}

/// Waits until the object with this uid is gone; a namesake that came later is another one.
async fn wait(
    console: &Console,
    args: &DeleteArgs,
    server: &Server,
    (key, uid): (&ObjectKey, Option<Uid>),
) -> Result<()> {
    let query = Query::one(key.kind, &key.namespace, &key.name);
    let mut follower = Follower::start(server, vec![query]);
    let mut told = String::new();
    let mut tell = |text: String| -> Result<()> {
        if text == told {
            return Ok(());
        }
        told.clone_from(&text);
        let line = format!("{}: {text}", named(key.kind, &key.name));
        match args.output {
            Report::Text => Ok(console.print(&(line + "\n"))?),
            Report::Json => {
                console.note(&line);
                Ok(())
            }
        }
    };
    let is_it = |object: &Object| {
        object.metadata.name == key.name && (uid.is_none() || object.metadata.uid == uid)
    };
    loop {
        match follower.next().await {
            Change::Snapshot(_, objects) => match objects.iter().find(|object| is_it(object)) {
                Some(object) => tell(waits_for(object, console.now()))?,
                None => return Ok(()),
            },
            Change::Put(object) if is_it(&object) => tell(waits_for(&object, console.now()))?,
            // Another of the same name: the one that was meant is gone.
            Change::Put(object) if object.metadata.name == key.name => return Ok(()),
            Change::Gone(object) if is_it(&object) => return Ok(()),
            Change::Put(_) | Change::Gone(_) => {}
            Change::Lost(_, why) => tell(format!("no answer, trying again: {}", clean(&why)))?,
        }
    }
}

/// What stands between an object and its end, in the controller's words.
fn waits_for(object: &Object, now: Timestamp) -> String {
    let of_stack = || {
        object
            .decode::<ClearwaterStack>()
            .ok()?
            .status
            .map(|status| stack_waits(&status, now))
    };
    let of_machine = || object.decode::<Machine>().ok()?.status?.next;
    let text = match object.kind.as_str() {
        "ClearwaterStack" => of_stack().flatten(),
        "Machine" => of_machine(),
        _ => None,
    };
    let finalizers = || match object.metadata.finalizers.as_slice() {
        [] => "waits to be removed".to_owned(),
        [ours] if ours == FINALIZER && object.kind == Kind::Machine.name() => {
            "waits until its VM is gone; another takes its place".to_owned()
        }
        [ours] if ours == FINALIZER => {
            "waits until Weir has let go of what it made in CloudStack".to_owned()
        }
        finalizers => format!("waits for {}", finalizers.join(", ")),
    };
    text.map_or_else(finalizers, |text| clean(&text))
}

/// The steps that run; else what holds everything up; else what failed; else what is waited for;
/// else what the conditions say.
fn stack_waits(status: &StackStatus, now: Timestamp) -> Option<String> {
    let in_state = |state| status.steps.iter().filter(move |step| step.state == state);
    let running: Vec<_> = in_state(StepState::Running)
        .map(|step| {
            let tries = status
                .ledger
                .failures
                .get(&step.subject)
                .map(|failure| failure.times);
            let again = tries.map_or_else(String::new, |times| format!(", after {times} failures"));
            format!("{} of {}{again}", step.action, step.subject)
        })
        .collect();
    if !running.is_empty() {
        let named = running[..running.len().min(NAMED_STEPS)].join(", ");
        return Some(match running.len().saturating_sub(NAMED_STEPS) {
            0 => named,
            more => format!("{named} and {more} more"),
        });
    }
    let failure = status
        .ledger
        .failures
        .iter()
        .next()
        .map(|(subject, failure)| {
            let retry = match failure.retry_after > now {
                true => "tried again soon",
                false => "tried again now",
            };
            format!(
                "{} of {subject} failed: {}; {retry}",
                failure.command, failure.message
            )
        });
    let told = |step: &StepReport| format!("{}: {}", step.subject, step.reason);
    let held = in_state(StepState::Waiting).find(|step| HOLD_UPS.contains(&step.action.as_str()));
    let waiting = in_state(StepState::Waiting)
        .chain(in_state(StepState::Next))
        .next();
    let conditions = ["Progressing", "Ready"]
        .into_iter()
        .find_map(|kind| condition(&status.conditions, kind))
        .filter(|condition| !condition.message.is_empty())
        .map(|condition| format!("{}: {}", condition.reason, condition.message));
    held.map(told)
        .or(failure)
        .or(waiting.map(told))
        .or(conditions)
}
