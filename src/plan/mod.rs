//! Deciding what to do: a pure function from what is wanted and what was seen to a plan.
//!
//! [`plan`] reads a stack, its ledger, the account's inventory, answers to earlier questions and
//! the time, and returns the *next* step of every resource that has one, with a reason, together
//! with the ledger as it is to be recorded first. Nothing here does I/O, reads a clock, draws a
//! random number or logs: the same input gives the same plan. The one planner serves the loop,
//! `weir diff`, dry runs and the proofs.
//!
//! The way through one call:
//! 1. `resolve`: what became of the commands that were sent earlier?
//! 2. `wish`: what exactly does the manifest ask for, with names resolved to ids?
//! 3. `network`, `rules`, `address`, `machine`, `retire`, `tag`: the next step of each
//!    resource; or `teardown` where the stack is being deleted.
//!
//! [`check`] is a second opinion on the result, written separately. [`preview`] runs the planner
//! against its own predictions until nothing is left to do.

pub mod check;
pub mod preview;
pub mod render;
pub mod settle;

mod absent;
mod address;
mod approval;
mod budget;
mod machine;
mod network;
mod predict;
mod remedy;
mod resolve;
mod retire;
mod rules;
mod stranger;
mod tag;
mod teardown;
mod userdata;
mod wish;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use jiff::Timestamp;

use crate::{
    bootstrap::{Memo, Secrets},
    types::{
        account::Limits,
        action::{Action, Answer, Answers, Question},
        id::{Uid, VmId},
        inventory::{Catalogue, Inventory},
        ledger::{Ledger, Rung},
        machine::Phase,
        meta::Resource,
        role::Role,
        stack::{ClearwaterStack, DriftField, DriftMode, StackSpec},
    },
};
use userdata::Site;
use wish::Wish;

pub use absent::GONE_AFTER;
pub use userdata::secret_not_found;
pub use wish::{machine_name, machine_names};

/// Everything that a plan is decided on.
#[derive(Clone, Copy)]
pub struct Input<'a> {
    /// What is wanted.
    pub stack: &'a ClearwaterStack,
    /// What was recorded.
    pub ledger: &'a Ledger,
    /// Machines that a user deleted, with the VM that stood for them at that time.
    pub replace: &'a BTreeMap<String, VmId>,
    /// What the account offers and allows.
    pub catalogue: &'a Catalogue,
    /// What the last look saw.
    pub inventory: &'a Inventory,
    /// Answers to the questions of earlier passes of this round.
    pub answers: &'a Answers,
    /// What the probes say, by machine.
    pub health: &'a BTreeMap<String, Health>,
    /// What the Secret of `spec.bootstrap` holds; none where it does not exist.
    pub secrets: Option<&'a Secrets>,
    /// Digests of user data made lately. They spare work and decide nothing.
    pub memo: &'a Memo,
    /// How hard Weir may press on the account.
    pub limits: &'a Limits,
    /// When this controller first spoke to the account. What an earlier one recorded may have been
    /// sent as late as just before.
    pub began: Timestamp,
    /// The time.
    pub now: Timestamp,
}

/// What a machine's probe says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Health {
    /// It serves.
    Serving,
    /// It does not.
    Failing {
        /// Since when.
        since: Timestamp,
        /// What was seen.
        why: String,
    },
}

/// What is to be done next, and why nothing is done where nothing is.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// The ledger as it is to be stored before any step is taken.
    pub ledger: Ledger,
    /// Steps that may be taken side by side.
    pub steps: Vec<Step>,
    /// To be answered before the plan is complete; then plan again.
    pub questions: BTreeSet<Question>,
    /// Whether the jobs in flight must be known before the plan is complete.
    pub needs_jobs: bool,
    /// What waits, and for what.
    pub waits: Vec<Wait>,
    /// What cannot be done until somebody changes something.
    pub blocked: Vec<Wait>,
    /// What differs from the manifest.
    pub drift: Vec<Drift>,
    /// What is worth an event.
    pub notes: Vec<Note>,
    /// How each machine fares.
    pub machines: BTreeMap<String, MachineView>,
    /// Whether more machines look dead than may be acted on.
    pub held_back: Option<String>,
}

/// One decided command with its reason.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What it is done to, like `machine ims-sprout-0`.
    pub subject: String,
    /// The command.
    pub action: Action,
    /// Why.
    pub reason: String,
    /// The drift that it repairs, if it repairs one.
    pub repairs: Option<DriftField>,
    /// The machine that it takes away for a while, if it does.
    pub disrupts: Option<String>,
    /// The rung of the ladder of remediation that it is, with the machine.
    pub remedy: Option<(String, Rung)>,
}

/// Something that waits, or is blocked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wait {
    /// What waits.
    pub subject: String,
    /// One CamelCase word.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
    /// The command, where it is one that was sent and has not ended.
    pub running: Option<&'static str>,
    /// Since when.
    pub since: Option<Timestamp>,
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// What it is a field of.
    pub subject: String,
    /// The field.
    pub field: DriftField,
    /// As the manifest says.
    pub want: String,
    /// As it was found.
    pub have: String,
    /// Whether it is repaired or only told.
    pub mode: DriftMode,
    /// The CloudStack resource, to ask the events about who did it.
    pub resource: Option<String>,
}

/// Something worth an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// What it is about.
    pub subject: String,
    /// One CamelCase word.
    pub reason: &'static str,
    /// A sentence for people.
    pub message: String,
    /// Whether it is a warning.
    pub warning: bool,
}

/// The reason of a wait on a machine whose VM a list lacks, while it is asked for by its id.
pub const CONFIRMING: &str = "Confirming";

/// How a machine fares.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MachineView {
    /// Where it is in its life.
    pub phase: Phase,
    /// Its VM's state, if it has one.
    pub vm_state: Option<String>,
    /// Whether it runs and serves.
    pub ready: bool,
    /// Whether it is as the manifest asks.
    pub updated: bool,
    /// What is wrong or what it waits for, for people.
    pub message: String,
}

impl MachineView {
    /// A machine that is not ready.
    fn of(phase: Phase, message: String) -> Self {
        Self {
            phase,
            message,
            ..Self::default()
        }
    }
}

/// Decides what to do next.
#[must_use]
pub fn plan(input: Input<'_>) -> Plan {
    let mut planner = Planner::new(input);
    planner.notice_returns();
    planner.resolve();
    if input.stack.metadata.deleting() {
        planner.teardown();
    } else {
        planner.converge();
    }
    planner.finish()
}

/// One call of [`plan`] on its way. Its parts live in the module's other files, one concern each.
struct Planner<'a> {
    input: Input<'a>,
    uid: &'a Uid,
    wish: Wish,
    plan: Plan,
    /// The subject under consideration, with the fingerprint of what is wanted of it.
    subject: (String, u32),
    /// What user data is made from.
    site: Site,
    /// Why no machine may be deployed: user data cannot be made for one of them.
    untold: Option<String>,
    /// Machines of each role that are away, or are being taken away by this plan.
    away: BTreeMap<Role, u32>,
}

impl<'a> Planner<'a> {
    fn new(input: Input<'a>) -> Self {
        let mut ledger = input.ledger.clone();
        ledger.set_back(input.now);
        Self {
            input,
            uid: input.stack.meta().stored_uid(),
            wish: Wish::default(),
            plan: Plan {
                ledger,
                ..Plan::default()
            },
            subject: Default::default(),
            site: Site::default(),
            untold: None,
            away: BTreeMap::new(),
        }
    }

    /// Turns to a subject, of which `wish` is wanted.
    fn consider(&mut self, subject: &str, wish: impl fmt::Display) {
        self.subject = (subject.to_owned(), fingerprint(wish));
    }

    /// The subject under consideration is as it is wanted, whoever saw to that: what failed on it
    /// before is past.
    fn in_sync(&mut self) {
        let (subject, print) = std::mem::take(&mut self.subject);
        self.plan.ledger.failures.remove(&subject);
        if self.plan.ledger.applied.get(&subject) != Some(&print) {
            self.plan.ledger.applied.insert(subject, print);
        }
    }

    /// Whether the subject was in sync with what is wanted of it now, so that a difference is
    /// drift and not a change of the manifest.
    fn was_in_sync(&self, subject: &str) -> bool {
        let (considered, print) = &self.subject;
        subject != considered || self.plan.ledger.applied.get(subject) == Some(print)
    }

    /// Everything that a stack which is to exist needs, from the outside in.
    fn converge(&mut self) {
        match Wish::of(self.input.stack, self.input.catalogue) {
            Ok(wish) => self.wish = wish,
            Err(problems) => {
                for (field, message) in problems {
                    self.blocked(&field, "NotResolvable", message);
                }
                return;
            }
        }
        if let Some(why) = self.namesake() {
            self.blocked("stack", "NamesakeFound", why);
            return;
        }
        if self.plan.ledger.is_empty() && !self.can_tell_all() {
            return;
        }
        self.network();
        self.records();
        self.rules();
        self.affinity_groups();
        self.hold_back();
        self.addresses();
        self.founded();
        self.machines();
        self.retire();
        self.strangers();
        self.tags();
    }

    fn finish(mut self) -> Plan {
        self.plan.steps.sort_by(|a, b| a.subject.cmp(&b.subject));
        self.plan
    }

    /// Whether Weir is to look and not to act, so that nothing is decided that would be acted on
    /// later.
    fn paused(&self) -> bool {
        let stack = self.input.stack;
        !stack.metadata.deleting() && stack.paused(self.input.now)
    }

    fn spec(&self) -> &'a StackSpec {
        &self.input.stack.spec
    }

    /// The answer to a question; where there is none yet, it is asked and the plan stays open.
    fn ask(&mut self, question: Question) -> Option<&'a Answer> {
        let answer = self.input.answers.get(&question);
        if answer.is_none() {
            self.plan.questions.insert(question);
        }
        answer
    }

    /// Whether a resource that a list did not show is really gone. An open question counts as no.
    fn confirmed_absent(&mut self, question: Question) -> bool {
        matches!(self.ask(question), Some(Answer::Absent))
    }

    /// Whether a command on the subject is on its way, or failed too recently to be repeated.
    fn busy(&mut self, subject: &str) -> bool {
        if let Some(pending) = self.plan.ledger.pending_on(subject) {
            let wait = Wait {
                subject: subject.to_owned(),
                reason: "JobRunning",
                message: pending.reason.clone(),
                running: Some(pending.action.command()),
                since: Some(pending.since),
            };
            self.plan.waits.push(wait);
            return true;
        }
        let Some(failure) = self.plan.ledger.failures.get(subject) else {
            return false;
        };
        if failure.retry_after <= self.input.now {
            return false;
        }
        let message = format!(
            "{} failed {}: {}; next try at {}",
            failure.command,
            times(failure.times),
            failure.message,
            failure.retry_after.strftime("%H:%M:%S")
        );
        let reason = "BackingOff";
        let wait = Wait {
            subject: subject.to_owned(),
            reason,
            message,
            running: None,
            since: Some(failure.at),
        };
        self.plan.waits.push(wait);
        true
    }

    /// Commands that were sent and have not ended, and those of this plan, with their subjects.
    fn under_way(&self) -> impl Iterator<Item = (&str, &Action)> {
        let pending = self.plan.ledger.pending.iter();
        let steps = self.plan.steps.iter();
        pending
            .map(|pending| (pending.subject.as_str(), &pending.action))
            .chain(steps.map(|step| (step.subject.as_str(), &step.action)))
    }

    /// Adds a step unless its subject is busy; says whether it was added.
    fn step(&mut self, step: Step) -> bool {
        if self.busy(&step.subject) {
            return false;
        }
        self.plan.steps.push(step);
        true
    }

    /// Notes a difference and says whether it may be put right. What a change of the manifest
    /// asks for is no drift, and is done whatever the policy.
    fn drift(&mut self, drift: Drift) -> bool {
        if !self.was_in_sync(&drift.subject) {
            return true;
        }
        let repair = drift.mode == DriftMode::Repair;
        self.plan.drift.push(drift);
        repair
    }

    /// A difference, with the policy of its field looked up.
    fn difference(
        &self,
        subject: &str,
        field: DriftField,
        want: impl fmt::Display,
        have: impl fmt::Display,
    ) -> Drift {
        Drift {
            subject: subject.to_owned(),
            field,
            want: want.to_string(),
            have: have.to_string(),
            mode: self.spec().drift.mode(field),
            resource: None,
        }
    }

    fn wait(&mut self, subject: &str, reason: &'static str, message: impl Into<String>) {
        let (subject, message) = (subject.to_owned(), message.into());
        self.plan.waits.push(Wait {
            subject,
            reason,
            message,
            running: None,
            since: None,
        });
    }

    fn blocked(&mut self, subject: &str, reason: &'static str, message: impl Into<String>) {
        let (subject, message) = (subject.to_owned(), message.into());
        self.plan.blocked.push(Wait {
            subject,
            reason,
            message,
            running: None,
            since: None,
        });
    }

    fn note(&mut self, subject: &str, reason: &'static str, message: String) {
        let subject = subject.to_owned();
        self.plan.notes.push(Note {
            subject,
            reason,
            message,
            warning: false,
        });
    }

    fn warn(&mut self, subject: &str, reason: &'static str, message: String) {
        let subject = subject.to_owned();
        self.plan.notes.push(Note {
            subject,
            reason,
            message,
            warning: true,
        });
    }
}

impl Step {
    fn new(subject: impl Into<String>, action: Action, reason: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            action,
            reason: reason.into(),
            repairs: None,
            disrupts: None,
            remedy: None,
        }
    }

    fn repairs(self, field: DriftField) -> Self {
        Self {
            repairs: Some(field),
            ..self
        }
    }

    fn disrupts(self, machine: &str) -> Self {
        Self {
            disrupts: Some(machine.to_owned()),
            ..self
        }
    }

    fn remedy(self, machine: &str, rung: Rung) -> Self {
        Self {
            remedy: Some((machine.to_owned(), rung)),
            ..self
        }
    }
}

impl Drift {
    fn of(self, resource: impl fmt::Display) -> Self {
        Self {
            resource: Some(resource.to_string()),
            ..self
        }
    }
}

/// FNV-1a of a text, as it is written: the same on every machine and in every version, since it
/// is stored.
#[must_use]
pub fn fingerprint(text: impl fmt::Display) -> u32 {
    struct Fnv(u32);
    impl fmt::Write for Fnv {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = text.bytes().fold(self.0, |hash, byte| {
                (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193)
            });
            Ok(())
        }
    }
    let mut hash = Fnv(0x811c_9dc5);
    fmt::write(&mut hash, format_args!("{text}")).expect("a hash takes every write");
    hash.0
}

fn times(n: u32) -> String {
    if n == 1 {
        "once".to_owned()
    } else {
        format!("{n} times in a row")
    }
}

/// The subject of a machine's VM in ledgers, steps and waits.
#[must_use]
pub fn machine_subject(name: &str) -> String {
    format!("machine {name}")
}

/// The subject of a machine's public address.
fn address_subject(name: &str) -> String {
    format!("address {name}")
}
