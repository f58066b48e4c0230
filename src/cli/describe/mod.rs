//! `describe`: everything about one object, for people at three in the morning.
//!
//! What is wrong comes before what is normal, and every line says since when. Reading is done
//! here; the texts are pure functions of what was read.

mod budget;
mod diagnosis;
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
    account: Option<CloudAccount>,
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
        object,
        events: Vec::new(),
        machines: Vec::new(),
        stack: None,
        account: None,
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
            found.stack = found.object.decode().ok();
        }
        Kind::Machine => {
            if let Ok(machine) = found.object.decode::<Machine>() {
                let stack = &machine.spec.stack_ref.name;
                found.stack = perhaps(server, Kind::ClearwaterStack, &namespace, stack).await;
            }
        }
        _ => {}
    }
    if let Some(stack) = &found.stack {
        let account = &stack.spec.account_ref.name;
        found.account = perhaps(server, Kind::CloudAccount, &namespace, account).await;
    }
    found.events = events(server, &found, kind).await?;
    Ok(found)
}

/// What an object can be described without, if with less to say.
async fn perhaps<T: Resource>(
    server: &Server,
    kind: Kind,
    namespace: &str,
    name: &str,
) -> Option<T> {
    let object = server.get(&ObjectKey::new(kind, namespace, name)).await;
    object.ok().flatten()?.decode().ok()
}

/// The events of an object; of a stack also those of its machines, of a machine also those of its
/// stack that name it. Oldest first.
async fn events(server: &Server, found: &Found, kind: Kind) -> Result<Vec<Event>> {
    let (object, meta) = (&found.object, &found.object.metadata);
    let mut query = Query::all(Kind::Event, &meta.namespace);
    if !matches!(kind, Kind::ClearwaterStack | Kind::Machine) {
        query.of_object = Some((object.kind.clone(), meta.name.clone()));
    }
    let objects = server.list(&query).await?.objects;
    let mut events: Vec<Event> = objects
        .iter()
        .filter_map(|object| object.decode().ok())
        .collect();
    match (kind, &found.stack) {
        (Kind::ClearwaterStack, _) => events.retain(|event| concerns(event, &meta.name)),
        (Kind::Machine, stack) => events.retain(|event| {
            let about = &event.involved_object;
            let of_stack = stack.as_ref().is_some_and(|stack| {
                about.kind == Kind::ClearwaterStack.name() && about.name == stack.metadata.name
            });
            (about.kind == object.kind && about.name == meta.name)
                || (of_stack && names(&event.message, &meta.name))
        }),
        _ => {}
    }
    events.sort_by_key(parts::time_of);
    Ok(events)
}

/// Whether a text has the name in it, not just a longer one that begins or ends like it.
fn names(text: &str, name: &str) -> bool {
    text.split(|c: char| !c.is_alphanumeric() && c != '-')
        .any(|word| word == name)
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
                    account: self.account.as_ref(),
                    machines: &self.machines,
                    events: &self.events,
                };
                stack::describe(&view, now, paint)
            }),
            Kind::Machine => self.typed().map(|machine| {
                let view = machine::MachineView {
                    machine: &machine,
                    stack: self.stack.as_ref(),
                    account: self.account.as_ref(),
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
            _ => None,
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
