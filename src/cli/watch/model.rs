//! What a live view knows: the last state of each stack and machine, and the last events.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::super::{describe::parts::time_of, follow::Change};
use crate::types::{
    core::Event,
    machine::Machine,
    meta::{ConditionStatus, Kind, Object, Resource, condition},
    stack::{ClearwaterStack, StackStatus},
};

/// Events that are kept; a screen shows fewer.
const MAX_EVENTS: usize = 200;

/// Whether what is shown is up to date.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// Nothing has come yet.
    Connecting,
    /// It is.
    Live,
    /// The controller does not answer.
    Lost {
        /// Since when.
        since: Timestamp,
        /// What was seen instead of an answer.
        why: String,
    },
}

/// See the module.
#[derive(Clone, Debug)]
pub(super) struct Model {
    pub(super) namespace: String,
    /// The one stack that is watched; `None` for all.
    pub(super) only: Option<String>,
    pub(super) stacks: BTreeMap<String, ClearwaterStack>,
    pub(super) machines: BTreeMap<String, Machine>,
    /// By name; see [`Model::last_events`] for their order.
    events: BTreeMap<String, Event>,
    pub(super) link: Link,
}

impl Model {
    /// Knows nothing yet.
    pub(super) const fn new(namespace: String, only: Option<String>) -> Self {
        Self {
            namespace,
            only,
            stacks: BTreeMap::new(),
            machines: BTreeMap::new(),
            events: BTreeMap::new(),
            link: Link::Connecting,
        }
    }

    /// Takes note of a change. Objects of other stacks, and objects that cannot be read, are
    /// left out.
    pub(super) fn note(&mut self, change: &Change, now: Timestamp) {
        match change {
            Change::Snapshot(kind, objects) => {
                self.forget(*kind);
                objects.iter().for_each(|object| self.put(object));
                self.link = Link::Live;
            }
            Change::Put(object) => self.put(object),
            Change::Gone(object) => self.remove(object),
            Change::Lost(_, why) => {
                let since = match self.link {
                    Link::Lost { since, .. } => since,
                    Link::Connecting | Link::Live => now,
                };
                self.link = Link::Lost {
                    since,
                    why: why.clone(),
                };
            }
        }
    }

    fn forget(&mut self, kind: Kind) {
        match kind {
            Kind::ClearwaterStack => self.stacks.clear(),
            Kind::Machine => self.machines.clear(),
            Kind::Event => self.events.clear(),
            _ => {}
        }
    }

    fn put(&mut self, object: &Object) {
        if let Some(stack) = typed::<ClearwaterStack>(object) {
            if self.wants(&stack.metadata.name) {
                self.stacks.insert(stack.metadata.name.clone(), stack);
            }
        } else if let Some(machine) = typed::<Machine>(object) {
            if self.wants(&machine.spec.stack_ref.name) {
                self.machines.insert(machine.metadata.name.clone(), machine);
            }
        } else if let Some(event) = typed::<Event>(object)
            && self
                .only
                .as_ref()
                .is_none_or(|stack| concerns(&event, stack))
        {
            self.events.insert(event.metadata.name.clone(), event);
            self.trim_events();
        }
    }

    fn remove(&mut self, object: &Object) {
        let name = &object.metadata.name;
        match object.kind.as_str() {
            "ClearwaterStack" => drop(self.stacks.remove(name)),
            "Machine" => drop(self.machines.remove(name)),
            _ => drop(self.events.remove(name)),
        }
    }

    fn wants(&self, stack: &str) -> bool {
        self.only.as_ref().is_none_or(|only| only == stack)
    }

    fn trim_events(&mut self) {
        while self.events.len() > MAX_EVENTS {
            let oldest = self.events.values().min_by_key(|event| time_of(event));
            let Some(name) = oldest.map(|event| event.metadata.name.clone()) else {
                return;
            };
            self.events.remove(&name);
        }
    }

    /// The events, oldest first.
    pub(super) fn last_events(&self) -> Vec<&Event> {
        let mut events: Vec<_> = self.events.values().collect();
        events.sort_by_key(|event| time_of(event));
        events
    }

    /// Whether every watched stack is ready, with its latest manifest. Without stacks: no.
    pub(super) fn ready(&self) -> bool {
        !self.stacks.is_empty() && self.stacks.values().all(is_ready)
    }
}

fn typed<T: Resource>(object: &Object) -> Option<T> {
    (object.kind == T::KIND.name()).then(|| object.decode().ok())?
}

/// Whether an event is about a stack or one of its machines, which carry the stack's name in
/// front of theirs. An event may outlive its machine, so there is nobody to ask.
pub(in super::super) fn concerns(event: &Event, stack: &str) -> bool {
    let object = &event.involved_object;
    match object.kind.as_str() {
        "ClearwaterStack" => object.name == stack,
        "Machine" => {
            let rest = object
                .name
                .strip_prefix(stack)
                .and_then(|rest| rest.strip_prefix('-'));
            let parts = rest.and_then(|rest| rest.split_once('-'));
            parts.is_some_and(|(role, index)| {
                role.parse::<crate::types::role::Role>().is_ok() && index.parse::<u32>().is_ok()
            })
        }
        _ => false,
    }
}

/// Whether a stack is ready, and that is said of its latest manifest.
pub(super) fn is_ready(stack: &ClearwaterStack) -> bool {
    let empty = StackStatus::default();
    let status = stack.status.as_ref().unwrap_or(&empty);
    let Some(ready) = condition(&status.conditions, "Ready") else {
        return false;
    };
    let observed = ready
        .observed_generation
        .unwrap_or(status.observed_generation);
    let written = stack.metadata.generation.unwrap_or(0);
    ready.status == ConditionStatus::True && observed >= written && !stack.metadata.deleting()
}

/// How often a live view redraws itself so that ages move.
pub(super) const TICK: Duration = Duration::from_secs(1);
