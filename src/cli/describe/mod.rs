//! `describe`: everything about one object, for people at three in the morning.
//!
//! What is wrong comes before what is normal, and every line says since when. Reading is done
//! here; the texts are pure functions of what was read.

mod machine;
mod other;
pub(super) mod parts;
mod stack;

use anyhow::Result;
use serde_json::json;

use super::{
    Exit,
    args::{DescribeArgs, Report},
    console::Console,
    format::json_text,
    server::{Query, Server},
    watch::concerns,
};
use crate::types::{
    account::CloudAccount,
    core::{Event, Secret},
    machine::Machine,
    meta::{Kind, Object, ObjectKey, Resource},
    stack::ClearwaterStack,
};

pub(super) use stack::paused;

/// An object and what is read along with it.
#[derive(Debug)]
struct Found {
    object: Object,
    events: Vec<Event>,
    machines: Vec<Machine>,
    stack: Option<ClearwaterStack>,
}

/// Prints the description of an object.
pub(super) async fn run(console: &Console, args: &DescribeArgs) -> Result<Exit> {
    let server = Server::connect(&args.connection)?;
    let found = find(&server, args.kind, &args.name).await?;
    match args.output {
        Report::Text => console.print(&found.text(args.kind, console))?,
        Report::Json => console.print(&json_text(&found.json()?)?)?,
    }
    Ok(Exit::Done)
}

async fn find(server: &Server, kind: Kind, name: &str) -> Result<Found> {
    let mut object = server.need(kind, name).await?;
    object.metadata.managed_fields.clear();
    let namespace = object.metadata.namespace.clone();
    let mut found = Found {
        events: events(server, &object, kind).await?,
        object,
        machines: Vec::new(),
        stack: None,
    };
    match kind {
        Kind::ClearwaterStack => {
            let all = server
                .list(&Query::all(Kind::Machine, &namespace))
                .await?
                .objects;
            let all = all
                .iter()
                .filter_map(|object| object.decode::<Machine>().ok());
            found.machines = all
                .filter(|machine| machine.spec.stack_ref.name == name)
                .collect();
        }
        Kind::Machine => {
            // A machine can be described without its stack, if with less to say.
            if let Ok(machine) = found.object.decode::<Machine>() {
                let stack = server
                    .get(&ObjectKey::new(
                        Kind::ClearwaterStack,
                        &namespace,
                        &machine.spec.stack_ref.name,
                    ))
                    .await;
                found.stack = stack.ok().flatten().and_then(|stack| stack.decode().ok());
            }
        }
        Kind::CloudAccount | Kind::Secret | Kind::Event | Kind::Lease | Kind::Namespace => {}
    }
    Ok(found)
}

/// The events of an object, and for a stack those of its machines; oldest first.
async fn events(server: &Server, object: &Object, kind: Kind) -> Result<Vec<Event>> {
    let meta = &object.metadata;
    let mut query = Query::all(Kind::Event, &meta.namespace);
    if kind != Kind::ClearwaterStack {
        query.of_object = Some((object.kind.clone(), meta.name.clone()));
    }
    let objects = server.list(&query).await?.objects;
    let mut events: Vec<Event> = objects
        .iter()
        .filter_map(|object| object.decode().ok())
        .collect();
    if kind == Kind::ClearwaterStack {
        events.retain(|event| concerns(event, &meta.name));
    }
    events.sort_by_key(parts::time_of);
    Ok(events)
}

impl Found {
    /// The description. An object that does not have its kind's shape, perhaps because the
    /// controller is newer, is shown as it is.
    fn text(&self, kind: Kind, console: &Console) -> String {
        let (now, paint) = (console.now(), console.paint);
        let text = match kind {
            Kind::ClearwaterStack => self.typed().map(|stack| {
                let view = stack::StackView {
                    stack: &stack,
                    machines: &self.machines,
                    events: &self.events,
                };
                stack::describe(&view, now, paint)
            }),
            Kind::Machine => self.typed().map(|machine| {
                let view = machine::MachineView {
                    machine: &machine,
                    stack: self.stack.as_ref(),
                    events: &self.events,
                };
                machine::describe(&view, now, paint)
            }),
            Kind::CloudAccount => self
                .typed::<CloudAccount>()
                .map(|account| other::account(&account, &self.events, now, paint)),
            Kind::Secret => self
                .typed::<Secret>()
                .map(|secret| other::secret(&secret, now, paint)),
            Kind::Event | Kind::Lease | Kind::Namespace => None,
        };
        let any = || match kind {
            // Never by itself: its members are values.
            Kind::Secret => "this secret cannot be read\n".to_owned(),
            _ => other::any(&self.object, &self.events, now, paint),
        };
        text.unwrap_or_else(any)
    }

    fn typed<T: Resource>(&self) -> Option<T> {
        self.object.decode().ok()
    }

    fn json(&self) -> serde_json::Result<serde_json::Value> {
        let mut object = serde_json::to_value(&self.object)?;
        if self.object.kind == Kind::Secret.name() {
            object["data"] = json!("not shown: `weir get secret -o json` prints it");
        }
        Ok(json!({"object": object, "machines": self.machines, "events": self.events}))
    }
}

#[cfg(test)]
mod tests;
