//! `get`: objects in any form, once or as they change.

use std::collections::BTreeMap;

use anyhow::Result;

use super::{
    Exit,
    args::GetArgs,
    console::Console,
    follow::{Change, Follower},
    format::{Format, Shape, named},
    paint::{Cell, Layout, Tone, grid},
    server::{Query, Server},
    table::{Columns, Table},
};
use crate::types::meta::{Kind, Object};

/// Rows whose widths the next row of a watch is aligned with.
const REMEMBERED_ROWS: usize = 200;

/// Prints what was asked for; with `-w`, stays.
pub(super) async fn run(console: &Console, args: &GetArgs) -> Result<Exit> {
    let server = Server::connect(&args.connection)?;
    if args.watch {
        return watch(console, args, &server).await;
    }
    match args.output.is_table() {
        true => tables(console, args, &server).await,
        false => objects(console, args, &server).await,
    }
}

/// One query for each kind and name that was asked for.
fn queries(args: &GetArgs, server: &Server) -> Vec<Query> {
    let base = |kind: Kind| Query {
        kind,
        namespace: match args.all_namespaces {
            true => None,
            false => Some(server.namespace().to_owned()),
        },
        name: None,
        selector: args.selector.clone(),
        of_object: None,
    };
    let named = |kind: Kind| {
        let name = |name: &String| Query {
            name: Some(name.clone()),
            ..base(kind)
        };
        args.names.iter().map(name).collect::<Vec<_>>()
    };
    let kinds = args.kinds.0.iter().copied();
    match args.names.is_empty() {
        true => kinds.map(base).collect(),
        false => kinds.flat_map(named).collect(),
    }
}

fn columns(args: &GetArgs) -> Columns {
    Columns {
        wide: matches!(args.output, Format::Wide),
        namespace: args.all_namespaces,
    }
}

async fn tables(console: &Console, args: &GetArgs, server: &Server) -> Result<Exit> {
    let mut by_kind: BTreeMap<usize, Table> = BTreeMap::new();
    for query in queries(args, server) {
        let mut table = server.table(&query).await?;
        if args.kinds.0.len() > 1 {
            table.qualify(query.kind);
        }
        let place = args
            .kinds
            .0
            .iter()
            .position(|kind| *kind == query.kind)
            .unwrap_or(0);
        match by_kind.get_mut(&place) {
            Some(known) => known.append(table),
            None => drop(by_kind.insert(place, table)),
        }
    }
    let texts: Vec<_> = by_kind
        .values()
        .filter(|table| !table.is_empty())
        .map(|table| table.render(columns(args), console.paint))
        .collect();
    if texts.is_empty() {
        console.note(&nothing(args, server));
    }
    console.print(&texts.join("\n"))?;
    Ok(Exit::Done)
}

fn nothing(args: &GetArgs, server: &Server) -> String {
    let kinds: Vec<_> = args.kinds.0.iter().map(|kind| kind.plural()).collect();
    match args.all_namespaces {
        true => format!("No {} found.", kinds.join(", ")),
        false => format!(
            "No {} found in {} namespace.",
            kinds.join(", "),
            server.namespace()
        ),
    }
}

async fn objects(console: &Console, args: &GetArgs, server: &Server) -> Result<Exit> {
    let mut found = Vec::new();
    for query in queries(args, server) {
        match &query.name {
            Some(name) => found.push(server.need(query.kind, name).await?),
            None => found.extend(server.list(&query).await?.objects),
        }
    }
    tidy(args, &mut found);
    let single = args.names.len() == 1 && args.kinds.0.len() == 1;
    let shape = if single { Shape::Single } else { Shape::List };
    console.print(&args.output.print(&found, shape)?)?;
    Ok(Exit::Done)
}

/// Takes out what only servers care for.
fn tidy(args: &GetArgs, objects: &mut [Object]) {
    if !args.show_managed_fields {
        objects
            .iter_mut()
            .for_each(|object| object.metadata.managed_fields.clear());
    }
}

async fn watch(console: &Console, args: &GetArgs, server: &Server) -> Result<Exit> {
    for query in queries(args, server) {
        if let Some(name) = &query.name {
            server.need(query.kind, name).await?;
        }
    }
    let mut follower = Follower::start(server, queries(args, server));
    let mut printed = Printed::default();
    loop {
        let fresh = match follower.next().await {
            Change::Snapshot(_, objects) => objects,
            Change::Put(object) => vec![object],
            Change::Gone(object) => {
                printed.gone(console, args, &object)?;
                continue;
            }
            Change::Lost(_, why) => {
                console.note(&format!("no answer, trying again: {why}"));
                continue;
            }
        };
        for object in fresh {
            printed.put(console, args, server, object).await?;
        }
    }
}

/// What a watch has printed, so that a reconnection repeats nothing and columns stay aligned.
#[derive(Debug, Default)]
struct Printed {
    versions: BTreeMap<(String, String, String), String>,
    rows: Vec<Vec<Cell>>,
}

impl Printed {
    async fn put(
        &mut self,
        console: &Console,
        args: &GetArgs,
        server: &Server,
        object: Object,
    ) -> Result<()> {
        let meta = &object.metadata;
        let id = identity(&object);
        let version = meta.resource_version.clone();
        if self.versions.insert(id, version.clone()).as_ref() == Some(&version) {
            return Ok(());
        }
        if !args.output.is_table() {
            return self.print_object(console, args, object);
        }
        let Ok(key) = object.key() else { return Ok(()) };
        let query = Query::one(key.kind, &key.namespace, &key.name);
        // It may be gone again by now; then the watch says so next.
        if let Ok(mut table) = server.table(&query).await {
            if args.kinds.0.len() > 1 {
                table.qualify(key.kind);
            }
            let (header, rows) = table.cells(columns(args));
            self.print_rows(console, header, rows)?;
        }
        Ok(())
    }

    fn gone(&mut self, console: &Console, args: &GetArgs, object: &Object) -> Result<()> {
        self.versions.remove(&identity(object));
        if args.output.is_table() {
            let name = match (args.kinds.0.len(), object.key()) {
                (2.., Ok(key)) => named(key.kind, &key.name),
                _ => object.metadata.name.clone(),
            };
            let mut row = vec![Cell::from(name), Cell::new("deleted", Tone::Dim)];
            if args.all_namespaces {
                row.insert(0, Cell::from(&object.metadata.namespace));
            }
            self.print_rows(console, Vec::new(), vec![row])?;
        }
        Ok(())
    }

    fn print_object(&self, console: &Console, args: &GetArgs, object: Object) -> Result<()> {
        let mut objects = [object];
        tidy(args, &mut objects);
        let text = args.output.print(&objects, Shape::Single)?;
        let text = match args.output {
            Format::Yaml => format!("---\n{text}"),
            Format::JsonPath(_) if !text.ends_with('\n') => text + "\n",
            _ => text,
        };
        Ok(console.print(&text)?)
    }

    /// Prints the header once, then rows aligned with those before.
    fn print_rows(
        &mut self,
        console: &Console,
        header: Vec<Cell>,
        rows: Vec<Vec<Cell>>,
    ) -> Result<()> {
        let old = self.rows.len();
        if self.rows.is_empty() && !header.is_empty() {
            self.rows.push(header);
        }
        self.rows.extend(rows);
        let lines = grid(&self.rows, Layout::new(0, console.paint));
        console.lines(&lines[old..])?;
        if self.rows.len() > REMEMBERED_ROWS {
            self.rows.drain(1..self.rows.len() - REMEMBERED_ROWS / 2);
        }
        Ok(())
    }
}

fn identity(object: &Object) -> (String, String, String) {
    let meta = &object.metadata;
    (
        object.kind.clone(),
        meta.namespace.clone(),
        meta.name.clone(),
    )
}
