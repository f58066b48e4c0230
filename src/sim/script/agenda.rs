//! What is to be done by itself, when, and what was done.

use std::collections::VecDeque;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::{Value, json};

use super::{Clear, Deed, Operator, Scenario, Step, operator};
use crate::sim::faults::{self, Faults};
use crate::sim::fields::{Fields, Wrong};
use crate::sim::world::World;
use crate::sim::{breakage, settings};

/// How many scenarios and how many operators can be at it together.
const AT_ONCE_MAX: usize = 64;

/// How many deeds are remembered: a long night's.
const JOURNAL_MAX: usize = 10_000;

/// A deed that was done, or was not.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Entry {
    at: Timestamp,
    /// The scenario or the operator.
    pub(crate) by: String,
    /// What was done, or why it was not.
    pub(crate) what: String,
}

/// A scenario that is being played.
#[derive(Clone, Debug)]
struct Play {
    id: u64,
    name: String,
    began: Timestamp,
    steps: Vec<(Option<Timestamp>, Step)>,
}

/// An operator at work.
#[derive(Clone, Debug)]
struct Hired {
    id: u64,
    operator: Operator,
    next: Timestamp,
    done: u64,
}

/// See the module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Agenda {
    plays: Vec<Play>,
    hired: Vec<Hired>,
    journal: VecDeque<Entry>,
    added: u64,
}

impl Agenda {
    /// Plays a scenario from `now` on; the answer is its number.
    ///
    /// # Errors
    /// Too many are being played.
    pub(crate) fn play(&mut self, scenario: Scenario, now: Timestamp) -> Result<u64, String> {
        if self.plays.len() >= AT_ONCE_MAX {
            return Err(format!(
                "{AT_ONCE_MAX} scenarios are being played; stop one first"
            ));
        }
        self.added += 1;
        let steps = scenario.steps.into_iter();
        self.plays.push(Play {
            id: self.added,
            name: scenario.name,
            began: now,
            steps: steps.map(|step| (Some(now + step.at), step)).collect(),
        });
        Ok(self.added)
    }

    /// Sets an operator to work; the answer is his number.
    ///
    /// # Errors
    /// There are too many.
    pub(crate) fn hire(&mut self, operator: Operator, world: &mut World) -> Result<u64, String> {
        if self.hired.len() >= AT_ONCE_MAX {
            return Err(format!(
                "{AT_ONCE_MAX} operators are at work; send one home first"
            ));
        }
        if world.user_named(&operator.user).is_none() {
            let mut names: Vec<&str> = world
                .users
                .values()
                .map(|user| user.name.as_str())
                .collect();
            names.sort_unstable();
            let (user, names) = (&operator.user, names.join(", "));
            return Err(format!("there is no user {user}; there are {names}"));
        }
        self.added += 1;
        let now = world.now();
        self.hired.push(Hired {
            id: self.added,
            next: operator.next(world, now),
            operator,
            done: 0,
        });
        Ok(self.added)
    }

    /// Stops a scenario or sends an operator home; whether there was one of that number.
    pub(crate) fn remove(&mut self, id: u64) -> bool {
        let before = self.plays.len() + self.hired.len();
        self.plays.retain(|play| play.id != id);
        self.hired.retain(|hired| hired.id != id);
        self.plays.len() + self.hired.len() < before
    }

    /// Stops all scenarios.
    pub(crate) fn stop_plays(&mut self) {
        self.plays.clear();
    }

    /// Sends all operators home.
    pub(crate) fn dismiss(&mut self) {
        self.hired.clear();
    }

    /// What is being played, with what comes next.
    pub(crate) fn plays(&self) -> Value {
        let play = |play: &Play| {
            let due: Vec<Timestamp> = play.steps.iter().filter_map(|(next, _)| *next).collect();
            json!({
                "id": play.id, "name": play.name, "began": play.began,
                "steps": play.steps.len(), "left": due.len(), "next": due.iter().min(),
            })
        };
        self.plays.iter().map(play).collect()
    }

    /// Who is at work.
    pub(crate) fn operators(&self) -> Value {
        let row = |hired: &Hired| {
            let mut row = json!(hired.operator);
            row["id"] = hired.id.into();
            row["done"] = hired.done.into();
            row["next"] = json!(hired.next);
            row
        };
        self.hired.iter().map(row).collect()
    }

    /// What was done, oldest first.
    pub(crate) fn journal(&self) -> impl Iterator<Item = &Entry> {
        self.journal.iter()
    }

    /// When something is due next.
    pub(crate) fn next_change(&self) -> Option<Timestamp> {
        let steps = self.plays.iter().flat_map(|play| &play.steps);
        let steps = steps.filter_map(|(next, _)| *next);
        let hired = self.hired.iter().map(|hired| {
            let until = hired.operator.until.unwrap_or(hired.next);
            hired.next.min(until)
        });
        steps.chain(hired).min()
    }

    /// Does what is due at the world's present.
    pub(crate) fn fire(&mut self, world: &mut World, faults: &mut Faults) {
        let now = world.now();
        for (by, deed) in self.due_steps(now) {
            let done = self.perform(deed, world, faults);
            self.note(
                now,
                by,
                done.unwrap_or_else(|why| format!("not done: {why}")),
            );
        }
        for hired in &mut self.hired {
            if hired.next > now || hired.operator.until.is_some_and(|until| until <= now) {
                continue;
            }
            let done = match world.down_until.is_some_and(|until| until > now) {
                true => Err("the management server is away".to_owned()),
                false => hired.operator.work(world),
            };
            hired.done += u64::from(done.is_ok());
            hired.next = hired.operator.next(world, now);
            if done.is_ok() {
                hired.operator.count = hired.operator.count.map(|count| count - 1);
            }
            let what = done.unwrap_or_else(|why| format!("not done: {why}"));
            remember(&mut self.journal, (now, hired.operator.user.clone(), what));
        }
        self.hired.retain(|hired| {
            let over = hired.operator.until.is_some_and(|until| until <= now);
            !over && hired.operator.count != Some(0)
        });
    }

    /// Takes the steps that are due, and writes down when they are due again.
    fn due_steps(&mut self, now: Timestamp) -> Vec<(String, Deed)> {
        let mut due = Vec::new();
        for play in &mut self.plays {
            for (next, step) in &mut play.steps {
                let Some(at) = next.filter(|at| *at <= now) else {
                    continue;
                };
                due.push((play.name.clone(), step.deed.clone()));
                let again = step.every.map(|every| at + every);
                let end = step.until.map(|until| play.began + until);
                *next = again.filter(|again| end.is_none_or(|end| *again < end));
            }
        }
        self.plays
            .retain(|play| play.steps.iter().any(|(next, _)| next.is_some()));
        due
    }

    fn perform(
        &mut self,
        deed: Deed,
        world: &mut World,
        faults: &mut Faults,
    ) -> Result<String, String> {
        let now = world.now();
        let told = |wrong: Wrong| wrong.to_string();
        let fields = |value| Fields::of("", value).map_err(told);
        match deed {
            Deed::Fault(value) => {
                let fault = faults::fault(fields(value.clone())?, now).map_err(told)?;
                let id = faults.add(fault)?;
                faults.advance(world);
                Ok(format!("fault {id} is waiting: {value}"))
            }
            Deed::Break(value) => {
                let mut fields = fields(value)?;
                let what = breakage::breakage(&mut fields).map_err(told)?;
                let user = fields.text("user").map_err(told)?;
                breakage::apply(
                    world,
                    user.as_deref().unwrap_or(crate::sim::world::STRANGER),
                    what,
                )
            }
            Deed::Operator(value) => {
                let operator = operator(fields(value)?, now).map_err(told)?;
                let (user, rate) = (operator.user.clone(), operator.rate);
                self.hire(operator, world)?;
                Ok(format!("{user} is at work, {rate} deeds an hour"))
            }
            Deed::Settings(value) => settings::change(world, fields(value)?).map_err(told),
            Deed::Clear(what) => {
                if matches!(what, Clear::Faults | Clear::Everything) {
                    faults.clear();
                }
                if matches!(what, Clear::Operators | Clear::Everything) {
                    self.dismiss();
                }
                Ok("cleared".to_owned())
            }
        }
    }

    fn note(&mut self, at: Timestamp, by: String, what: String) {
        remember(&mut self.journal, (at, by, what));
    }
}

fn remember(journal: &mut VecDeque<Entry>, (at, by, what): (Timestamp, String, String)) {
    if journal.len() >= JOURNAL_MAX {
        journal.pop_front();
    }
    journal.push_back(Entry { at, by, what });
}
