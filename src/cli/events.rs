//! `events`: what happened lately, oldest first.

use std::collections::BTreeMap;

use anyhow::Result;
use jiff::Timestamp;
use serde_json::json;

use super::{
    Exit,
    args::{EventsArgs, Report},
    console::Console,
    describe::parts,
    follow::{Change, Follower},
    format::json_text,
    paint::{Cell, Layout, Paint, grid, row},
    server::{Query, Server},
    watch::concerns,
};
use crate::types::{
    core::Event,
    meta::{Kind, Object},
};

/// Prints events; with `-w`, stays.
pub(super) async fn run(console: &Console, args: &EventsArgs) -> Result<Exit> {
    let server = Server::connect(&args.connection)?;
    let mut query = Query::all(Kind::Event, server.namespace());
    if args.all_namespaces {
        query.namespace = None;
    }
    if args.watch {
        return watch(console, args, &server, query).await;
    }
    let events = chosen(args, server.list(&query).await?.objects);
    match args.output {
        Report::Json => {
            let items: Vec<_> = events.iter().map(|(object, _)| object).collect();
            let list = json!({"apiVersion": "v1", "kind": "List", "metadata": {}, "items": items});
            console.print(&json_text(&list)?)?;
        }
        Report::Text if events.is_empty() => console.note("No events."),
        Report::Text => {
            let events: Vec<_> = events.iter().map(|(_, event)| event).collect();
            console.lines(&table(&events, columns(args), console.now(), console.paint))?;
        }
    }
    Ok(Exit::Done)
}

/// The events that were asked for, oldest first, as they came and as they are read.
fn chosen(args: &EventsArgs, objects: Vec<Object>) -> Vec<(Object, Event)> {
    let read = |object: Object| object.decode::<Event>().ok().map(|event| (object, event));
    let mut events: Vec<_> = objects.into_iter().filter_map(read).collect();
    if let Some(stack) = &args.stack {
        events.retain(|(_, event)| concerns(event, stack));
    }
    events.sort_by_key(|(_, event)| parts::time_of(event));
    events
}

/// Whether the namespace is a column.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Columns {
    Short,
    WithNamespace,
}

const fn columns(args: &EventsArgs) -> Columns {
    match args.all_namespaces {
        true => Columns::WithNamespace,
        false => Columns::Short,
    }
}

/// Events as lines under a header.
fn table(events: &[&Event], columns: Columns, now: Timestamp, paint: Paint) -> Vec<String> {
    let mut rows = vec![row!["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"]];
    rows.extend(events.iter().map(|event| {
        row![
            parts::seen(event, now),
            Cell::word(&event.level),
            &event.reason,
            parts::object_of(event),
            &event.message,
        ]
    }));
    if columns == Columns::WithNamespace {
        let namespaces = events.iter().map(|event| event.metadata.namespace.as_str());
        for (row, namespace) in rows
            .iter_mut()
            .zip(["NAMESPACE"].into_iter().chain(namespaces))
        {
            row.insert(0, Cell::from(namespace));
        }
    }
    grid(&rows, Layout::new(0, paint))
}

async fn watch(
    console: &Console,
    args: &EventsArgs,
    server: &Server,
    query: Query,
) -> Result<Exit> {
    let mut follower = Follower::start(server, vec![query]);
    let mut printed: BTreeMap<String, i32> = BTreeMap::new();
    loop {
        let objects = match follower.next().await {
            Change::Snapshot(_, objects) => objects,
            Change::Put(object) => vec![object],
            // Events go when they are old; that is no news.
            Change::Gone(_) => continue,
            Change::Lost(_, why) => {
                console.note(&format!("no answer, trying again: {why}"));
                continue;
            }
        };
        for (object, event) in chosen(args, objects) {
            let name = format!("{}/{}", event.metadata.namespace, event.metadata.name);
            let count = printed.insert(name, event.count);
            if count.is_none_or(|count| count < event.count) {
                console.print(&line(args, &object, &event, console)?)?;
            }
        }
    }
}

/// One event as one line; the clock says when it happened, since its age would not move.
fn line(args: &EventsArgs, object: &Object, event: &Event, console: &Console) -> Result<String> {
    if args.output == Report::Json {
        return Ok(serde_json::to_string(object)? + "\n");
    }
    let time = parts::time_of(event);
    let time = time.map_or_else(|| "-".to_owned(), |at| at.strftime("%H:%M:%S").to_string());
    let cells = row![
        time,
        Cell::word(&event.level),
        &event.reason,
        parts::object_of(event),
        &event.message,
    ];
    Ok(grid(&[cells], Layout::new(0, console.paint)).join("") + "\n")
}
