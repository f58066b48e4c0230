//! The live view without a terminal: a line for each thing that changes.

use std::collections::BTreeMap;

use jiff::Timestamp;

use super::{
    super::{
        age::between,
        describe::parts,
        follow::Change,
        paint::{Paint, Tone, clean},
    },
    model::{Link, Model},
};
use crate::types::{
    machine::Phase,
    stack::{StackStatus, StepState},
};

/// What was printed last, so that only changes are printed.
#[derive(Debug)]
pub(super) struct Lines {
    /// Events from before are not news.
    start: Timestamp,
    paint: Paint,
    stacks: BTreeMap<String, String>,
    machines: BTreeMap<String, (Phase, Option<String>)>,
    running: BTreeMap<(String, String, String), Option<Timestamp>>,
    /// Times each event was seen.
    events: BTreeMap<String, i32>,
    lost: bool,
}

impl Lines {
    /// Has printed nothing yet.
    pub(super) const fn new(start: Timestamp, paint: Paint) -> Self {
        Self {
            start,
            paint,
            stacks: BTreeMap::new(),
            machines: BTreeMap::new(),
            running: BTreeMap::new(),
            events: BTreeMap::new(),
            lost: false,
        }
    }

    /// The lines that say what is new in `model` after `change`.
    pub(super) fn after(&mut self, model: &Model, change: &Change, now: Timestamp) -> Vec<String> {
        let mut news = Vec::new();
        match change {
            Change::Lost(..) => {}
            Change::Snapshot(..) | Change::Put(_) | Change::Gone(_) => {
                self.stack_news(model, &mut news);
                self.step_news(model, now, &mut news);
                self.machine_news(model, &mut news);
                self.event_news(model, &mut news);
            }
        }
        self.link_news(model, &mut news);
        let time = self
            .paint
            .tone(Tone::Dim, &now.strftime("%H:%M:%S").to_string());
        news.iter().map(|text| format!("{time}  {text}")).collect()
    }

    fn link_news(&mut self, model: &Model, news: &mut Vec<String>) {
        match &model.link {
            Link::Lost { why, .. } if !self.lost => {
                news.push(format!("no answer, trying again: {}", clean(why)));
                self.lost = true;
            }
            Link::Live if self.lost => {
                news.push("connected again".to_owned());
                self.lost = false;
            }
            Link::Connecting | Link::Live | Link::Lost { .. } => {}
        }
    }

    fn stack_news(&mut self, model: &Model, news: &mut Vec<String>) {
        let empty = StackStatus::default();
        let mut seen = BTreeMap::new();
        for (name, stack) in &model.stacks {
            let status = stack.status.as_ref().unwrap_or(&empty);
            let phase = if status.phase.is_empty() {
                "Unknown"
            } else {
                &status.phase
            };
            let phase = self.paint.tone(Tone::of_word(phase), phase);
            let mut text = format!(
                "stack {name}  {phase}  {} of {} ready",
                status.ready_replicas, status.replicas
            );
            if let Some(problem) = parts::unmet(&status.conditions, "Ready") {
                text += &format!("  {}", clean(&problem));
            }
            if self.stacks.get(name) != Some(&text) {
                news.push(text.clone());
            }
            seen.insert(name.clone(), text);
        }
        let gone = self.stacks.keys().filter(|name| !seen.contains_key(*name));
        news.extend(gone.map(|name| format!("stack {name}  gone")));
        self.stacks = seen;
    }

    fn step_news(&mut self, model: &Model, now: Timestamp, news: &mut Vec<String>) {
        let mut running = BTreeMap::new();
        for (name, stack) in &model.stacks {
            let steps = stack
                .status
                .as_ref()
                .map_or(&[][..], |status| &status.steps);
            for step in steps.iter().filter(|step| step.state == StepState::Running) {
                let key = (name.clone(), step.subject.clone(), step.action.clone());
                if !self.running.contains_key(&key) {
                    let (subject, action) = (clean(&step.subject), clean(&step.action));
                    news.push(format!("{subject}  {action} runs: {}", clean(&step.reason)));
                }
                running.insert(key, step.since);
            }
        }
        for ((_, subject, action), since) in &self.running {
            let key = running.keys().any(|(_, s, a)| s == subject && a == action);
            if !key {
                let took =
                    since.map_or_else(String::new, |at| format!(" after {}", between(at, now)));
                news.push(format!("{}  {} ended{took}", clean(subject), clean(action)));
            }
        }
        self.running = running;
    }

    fn machine_news(&mut self, model: &Model, news: &mut Vec<String>) {
        let mut seen = BTreeMap::new();
        for (name, machine) in &model.machines {
            let status = machine.status.clone().unwrap_or_default();
            let state = (status.phase, status.next);
            if self.machines.get(name) != Some(&state) {
                let phase = self
                    .paint
                    .tone(Tone::of_word(state.0.name()), state.0.name());
                let next = state
                    .1
                    .as_deref()
                    .map_or_else(String::new, |next| format!("  {}", clean(next)));
                news.push(format!("machine {name}  {phase}{next}"));
            }
            seen.insert(name.clone(), state);
        }
        let gone = self
            .machines
            .keys()
            .filter(|name| !seen.contains_key(*name));
        news.extend(gone.map(|name| format!("machine {name}  gone")));
        self.machines = seen;
    }

    fn event_news(&mut self, model: &Model, news: &mut Vec<String>) {
        let mut seen = BTreeMap::new();
        for event in model.last_events() {
            let name = &event.metadata.name;
            let fresh = parts::time_of(event).is_some_and(|time| time >= self.start);
            if fresh
                && self
                    .events
                    .get(name)
                    .is_none_or(|count| *count < event.count)
            {
                let reason = self
                    .paint
                    .tone(Tone::of_word(&event.level), &clean(&event.reason));
                let object = clean(&parts::object_of(event));
                news.push(format!("{object}  {reason}: {}", clean(&event.message)));
            }
            seen.insert(name.clone(), event.count);
        }
        self.events = seen;
    }
}
