//! What a round tells: the stack's status in Kubernetes' form, events, and metrics of drift.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use super::{
    Context,
    account::Account,
    drift::same_drift,
    journal::{About, Entry},
};
use crate::{
    cloud::{CloudError, Connect},
    plan::{Plan, Step, Wait},
    types::{
        ledger::Ledger,
        meta::{Condition, ConditionStatus, condition, set_condition},
        role::Role,
        stack::{
            ClearwaterStack, DriftMode, DriftReport, PAUSED_UNTIL, PAUSED_WHY, RoleStatus,
            StackStatus, StepReport, StepState,
        },
    },
};

/// Steps that a status lists at most. A fresh stack has some fifty; the rest are counted.
const MAX_STEPS: usize = 60;

/// The reason of `Degraded`, and of its event, where so much looks dead that nothing is done.
const TOO_MANY_UNHEALTHY: &str = "TooManyUnhealthy";

/// The reason of `Degraded`, of waits and of events, and the condition of an account, where
/// commands are not sent because they keep failing.
pub const BREAKER_OPEN: &str = "BreakerOpen";

/// How long looks may fail before nobody can say any more whether a stack is ready: five resyncs,
/// so that a management server may be restarted meanwhile.
const BLIND_AFTER: Duration = Duration::from_secs(300);

/// Whether two statuses say the same, but for when they were written.
#[must_use]
pub fn same(old: &StackStatus, new: &StackStatus) -> bool {
    said(old) == said(new)
}

/// All of a status but for when it was written.
fn said(status: &StackStatus) -> impl PartialEq + '_ {
    let StackStatus {
        observed_generation,
        phase,
        conditions,
        replicas,
        ready_replicas,
        roles,
        drift,
        steps,
        round: _,
        last_look: _,
        ledger,
    } = status;
    let numbers = (observed_generation, replicas, ready_replicas);
    (numbers, phase, conditions, roles, drift, steps, ledger)
}

/// The status after a look that failed: what was known stays, and a condition says why.
#[must_use]
pub fn look_failed(stack: &ClearwaterStack, error: &CloudError, now: Timestamp) -> StackStatus {
    let message = format!(
        "the look failed, nothing is decided on it: {}",
        chain(error)
    );
    not_planned(stack, error.reason(), &message, now)
}

/// An error with its causes: who reads a status has no log beside it.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    let mut told: Vec<String> = causes.map(ToString::to_string).collect();
    told.dedup_by(|cause, whole| whole.ends_with(cause.as_str()));
    told.join(": ")
}

/// The status where no plan could be made.
#[must_use]
pub fn not_planned(
    stack: &ClearwaterStack,
    reason: &str,
    message: &str,
    now: Timestamp,
) -> StackStatus {
    let mut status = stack.status.clone().unwrap_or_default();
    let mut teller = Teller {
        stack,
        conditions: &mut status.conditions,
        now,
    };
    teller.tell("Planned", false, reason, message);
    if condition(teller.conditions, "Ready").is_none() {
        teller.tell("Ready", false, reason, message);
    }
    if blind(teller.conditions, now) {
        teller.tell_unknown(reason, message);
        "Unknown".clone_into(&mut status.phase);
    }
    if status.phase.is_empty() {
        status.phase = "Pending".to_owned();
    }
    status
}

/// Whether a stack was ready when it was last looked at, and that is too long ago to say so.
fn blind(conditions: &[Condition], now: Timestamp) -> bool {
    let ready = condition(conditions, "Ready");
    let since = condition(conditions, "Planned").map(|told| told.last_transition_time);
    ready.is_some_and(|ready| ready.status == ConditionStatus::True)
        && since.is_some_and(|since| now.duration_since(since).unsigned_abs() > BLIND_AFTER)
}

struct Teller<'a> {
    stack: &'a ClearwaterStack,
    conditions: &'a mut Vec<Condition>,
    now: Timestamp,
}

impl Teller<'_> {
    fn tell(&mut self, kind: &str, holds: bool, reason: &str, message: impl Into<String>) {
        let status = if holds {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        };
        self.tell_status(kind, status, reason, message);
    }

    /// Nobody can say whether it is ready.
    fn tell_unknown(&mut self, reason: &str, message: &str) {
        self.tell_status("Ready", ConditionStatus::Unknown, reason, message);
    }

    fn tell_status(
        &mut self,
        kind: &str,
        status: ConditionStatus,
        reason: &str,
        message: impl Into<String>,
    ) {
        let condition = Condition {
            kind: kind.to_owned(),
            status,
            reason: reason.to_owned(),
            message: message.into(),
            last_transition_time: self.now,
            observed_generation: self.stack.metadata.generation,
        };
        set_condition(self.conditions, condition);
    }

    /// A condition that is only shown while it holds.
    fn tell_while(&mut self, kind: &str, told: Option<(&str, String)>) {
        match told {
            Some((reason, message)) => self.tell(kind, true, reason, message),
            None => self.conditions.retain(|condition| condition.kind != kind),
        }
    }
}

/// The status after a plan.
#[must_use]
pub fn told(
    stack: &ClearwaterStack,
    plan: &Plan,
    ledger: &Ledger,
    looked_at: Option<Timestamp>,
    paused: bool,
    now: Timestamp,
) -> StackStatus {
    let unknown = StackStatus::default();
    let old = stack.status.as_ref().unwrap_or(&unknown);
    let roles = roles(stack, plan, ledger);
    let replicas = roles.values().map(|role| role.desired).sum();
    let ready = roles.values().map(|role| role.ready).sum();
    let mut status = StackStatus {
        observed_generation: stack.metadata.generation.unwrap_or_default(),
        phase: String::new(),
        conditions: old.conditions.clone(),
        replicas,
        ready_replicas: ready,
        roles,
        drift: drift(&old.drift, plan, ledger, now),
        steps: steps(plan, ledger, paused),
        round: old.round + 1,
        last_look: looked_at,
        ledger: ledger.clone(),
    };
    let whole = ready == replicas && plan.blocked.is_empty();
    let working = !ledger.pending.is_empty() || !plan.steps.is_empty();
    let mut teller = Teller {
        stack,
        conditions: &mut status.conditions,
        now,
    };
    teller.tell("Planned", true, "Planned", "");
    tell_ready(&mut teller, plan, (ready, replicas), whole);
    match (paused, working) {
        (true, _) => teller.tell(
            "Progressing",
            false,
            "Paused",
            "Weir looks and does not act",
        ),
        (false, true) => {
            let message = format!("{} commands on their way", ledger.pending.len());
            teller.tell("Progressing", true, "Working", message);
        }
        (false, false) => teller.tell("Progressing", false, "NothingToDo", ""),
    }
    tell_degraded(&mut teller, plan, ledger);
    tell_drift(&mut teller, &status.drift);
    let why = stack
        .metadata
        .annotations
        .get(PAUSED_WHY)
        .map_or("no reason given", String::as_str);
    let until = stack
        .metadata
        .annotations
        .get(PAUSED_UNTIL)
        .map_or("", String::as_str);
    teller.tell_while(
        "Paused",
        paused.then(|| ("Paused", format!("until {until}: {why}"))),
    );
    teller.tell_while("AddressHeld", held(ledger));
    status.phase = phase(stack, plan, paused, whole, working, &status.conditions).to_owned();
    status
}

fn phase(
    stack: &ClearwaterStack,
    plan: &Plan,
    paused: bool,
    whole: bool,
    working: bool,
    conditions: &[Condition],
) -> &'static str {
    let degraded = condition(conditions, "Degraded")
        .is_some_and(|condition| condition.status == ConditionStatus::True);
    match () {
        () if stack.metadata.deleting() => "Deleting",
        () if paused => "Paused",
        () if !plan.blocked.is_empty() && !working => "Blocked",
        () if whole && !working => "Ready",
        () if degraded => "Degraded",
        () if whole => "Ready",
        () => "Progressing",
    }
}

fn tell_ready(teller: &mut Teller<'_>, plan: &Plan, (ready, replicas): (u32, u32), whole: bool) {
    let first_blocked = plan.blocked.first();
    let waiting = plan.machines.iter().find(|(_, machine)| !machine.ready);
    match (whole, first_blocked, waiting) {
        (true, _, _) => {
            let message = format!("{ready} of {replicas} machines ready");
            teller.tell("Ready", true, "AllMachinesReady", message);
        }
        (false, Some(blocked), _) => {
            let message = format!("{}: {}", blocked.subject, blocked.message);
            teller.tell("Ready", false, blocked.reason, message);
        }
        (false, None, Some((name, machine))) => {
            let message = format!(
                "{ready} of {replicas} machines ready; {name} is {}: {}",
                machine.phase.name(),
                machine.message
            );
            teller.tell("Ready", false, "MachinesNotReady", message);
        }
        (false, None, None) => {
            teller.tell(
                "Ready",
                false,
                "MachinesNotReady",
                format!("{ready} of {replicas}"),
            );
        }
    }
}

/// Degraded: something that ran does not, or Weir is stuck.
fn tell_degraded(teller: &mut Teller<'_>, plan: &Plan, ledger: &Ledger) {
    if let Some(why) = &plan.held_back {
        teller.tell("Degraded", true, TOO_MANY_UNHEALTHY, why.clone());
    } else if let Some(blocked) = plan.blocked.first() {
        let message = format!("{}: {}", blocked.subject, blocked.message);
        teller.tell("Degraded", true, blocked.reason, message);
    } else if let Some(wait) = plan.waits.iter().find(|wait| wait.reason == BREAKER_OPEN) {
        let message = format!("{}: {}", wait.subject, wait.message);
        teller.tell("Degraded", true, BREAKER_OPEN, message);
    } else if let Some((subject, lost)) = ledger.lost.first_key_value() {
        teller.tell(
            "Degraded",
            true,
            "Lost",
            format!("{subject} was {}", lost.have),
        );
    } else if let Some((name, machine)) = plan.machines.iter().find(|(name, machine)| {
        let ran = ledger
            .machines
            .get(*name)
            .is_some_and(|record| record.started_at.is_some());
        ran && !machine.ready
    }) {
        let message = format!("{name}: {}", machine.message);
        teller.tell("Degraded", true, "MachineNotReady", message);
    } else if let Some((subject, failure)) = ledger.failures.first_key_value() {
        let message = format!("{subject}: {} failed: {}", failure.command, failure.message);
        teller.tell("Degraded", true, "StepFailed", message);
    } else {
        teller.tell("Degraded", false, "AsItShouldBe", "");
    }
}

fn tell_drift(teller: &mut Teller<'_>, drift: &[DriftReport]) {
    match drift {
        [] => teller.tell("DriftFree", true, "InSync", ""),
        [first, rest @ ..] => {
            let message = format!(
                "{}: {} is {} instead of {}{}",
                first.subject,
                first.field.name(),
                first.have,
                first.want,
                if rest.is_empty() {
                    String::new()
                } else {
                    format!(" (and {} more)", rest.len())
                }
            );
            let repair = drift.iter().any(|drift| drift.mode == DriftMode::Repair);
            teller.tell(
                "DriftFree",
                false,
                if repair { "Repairing" } else { "Reported" },
                message,
            );
        }
    }
}

fn held(ledger: &Ledger) -> Option<(&'static str, String)> {
    let holders: Vec<String> = ledger
        .machines
        .iter()
        .filter_map(|(name, record)| record.held.last().map(|held| (name, record, held)))
        .map(|(name, record, held)| {
            format!(
                "{name} is {} at {} because {} and {} are held by a destroyed VM until {}",
                record.host_name,
                record.private_address,
                held.host_name,
                held.private_address,
                held.until.strftime("%Y-%m-%d %H:%M UTC")
            )
        })
        .collect();
    (!holders.is_empty()).then(|| ("NotPurgedYet", holders.join("; ")))
}

fn roles(stack: &ClearwaterStack, plan: &Plan, ledger: &Ledger) -> BTreeMap<Role, RoleStatus> {
    let mut roles: BTreeMap<Role, RoleStatus> = BTreeMap::new();
    let mut wanted = BTreeSet::new();
    if !stack.metadata.deleting() {
        for (name, role, _) in crate::plan::machine_names(stack) {
            roles.entry(role).or_default().desired += 1;
            wanted.insert(name);
        }
    }
    for (name, machine) in &plan.machines {
        let record = ledger.machines.get(name);
        let Some(record) = record.filter(|_| wanted.contains(name)) else {
            continue;
        };
        let role = roles.entry(record.role).or_default();
        role.ready += u32::from(machine.ready);
        role.updated += u32::from(machine.updated);
    }
    roles
}

/// The drift of this plan, with the times at which it was first seen.
fn drift(old: &[DriftReport], plan: &Plan, ledger: &Ledger, now: Timestamp) -> Vec<DriftReport> {
    let mut reports: Vec<DriftReport> = Vec::new();
    for drift in &plan.drift {
        let report = drift.report();
        let known = old.iter().find(|old| same_drift(old, &report));
        let since = known.and_then(|old| old.since).or(Some(now));
        let by = known.and_then(|old| old.by.clone());
        reports.push(DriftReport {
            since,
            by,
            ..report
        });
    }
    // What is being repaired, or rests between two tries, has not gone yet.
    let resting = |subject: &str| {
        let failure = ledger.failures.get(subject);
        failure.is_some_and(|failure| failure.retry_after > now)
    };
    let open = |report: &&DriftReport| {
        ledger.pending_on(&report.subject).is_some() || resting(&report.subject)
    };
    reports.extend(old.iter().filter(open).cloned());
    reports.sort();
    reports.dedup_by(|a, b| same_drift(a, b));
    reports
}

fn steps(plan: &Plan, ledger: &Ledger, paused: bool) -> Vec<StepReport> {
    let running = ledger.pending.iter().map(|pending| StepReport {
        subject: pending.subject.clone(),
        action: pending.action.command().to_owned(),
        reason: pending.reason.clone(),
        state: StepState::Running,
        since: Some(pending.since),
    });
    let next = plan.steps.iter().filter(|_| paused).map(|step| StepReport {
        subject: step.subject.clone(),
        action: step.action.command().to_owned(),
        reason: format!("paused; would be done because {}", step.reason),
        state: StepState::Next,
        since: None,
    });
    let idle = |wait: &&Wait| wait.running.is_none();
    let waiting = plan
        .blocked
        .iter()
        .chain(plan.waits.iter())
        .filter(idle)
        .map(|wait| StepReport {
            subject: wait.subject.clone(),
            action: wait.reason.to_owned(),
            reason: wait.message.clone(),
            state: StepState::Waiting,
            since: wait.since,
        });
    let mut all: Vec<StepReport> = running.chain(next).chain(waiting).collect();
    all.dedup();
    all.truncate(MAX_STEPS);
    all
}

/// Tells what is new since the last round: notes, drift that came and went, steps, readiness.
/// Adds to new drift in the status who did it, where CloudStack tells.
pub async fn announce<K: Connect>(
    cx: &Context<K>,
    stack: &ClearwaterStack,
    plan: &Plan,
    steps: &[Step],
    account: &Account<K::Cloud>,
    told: &mut StackStatus,
) {
    let about = || About::object(stack);
    for note in &plan.notes {
        let message = format!("{}: {}", note.subject, note.message);
        let entry = Entry {
            reason: note.reason.to_owned(),
            message,
            warning: note.warning,
        };
        cx.journal.tell(about(), entry);
    }
    let old = stack.status.as_ref();
    let before: &[DriftReport] = old.map_or(&[], |status| &status.drift);
    super::drift::announce(cx, stack, plan, before, account, told).await;
    for (subject, message) in grouped(steps) {
        cx.journal.tell(
            about(),
            Entry::normal("Step", format!("{subject}: {message}")),
        );
    }
    announce_trouble(cx, stack, plan, told);
    let ready = |status: &StackStatus| {
        condition(&status.conditions, "Ready").is_some_and(|c| c.status == ConditionStatus::True)
    };
    let (was, is) = (old.is_some_and(ready), ready(told));
    if is && !was {
        let message = format!(
            "{} of {} machines ready",
            told.ready_replicas, told.replicas
        );
        cx.journal.tell(about(), Entry::normal("Ready", message));
    } else if was && !is {
        let why = condition(&told.conditions, "Ready").map(|c| c.message.clone());
        cx.journal
            .tell(about(), Entry::warning("NotReady", why.unwrap_or_default()));
    }
}

/// Tells what cannot be done, or is held back, once; counts what was done to heal machines.
fn announce_trouble<K: Connect>(
    cx: &Context<K>,
    stack: &ClearwaterStack,
    plan: &Plan,
    told: &StackStatus,
) {
    let old = stack.status.clone().unwrap_or_default();
    let tell = |reason: &str, message: String| {
        cx.journal
            .tell(About::object(stack), Entry::warning(reason, message));
    };
    let known = |wait: &Wait| {
        let mut steps = old.steps.iter();
        steps.any(|step| step.subject == wait.subject && step.action == wait.reason)
    };
    for wait in plan.blocked.iter().filter(|wait| !known(wait)) {
        tell(wait.reason, format!("{}: {}", wait.subject, wait.message));
    }
    let held = condition(&old.conditions, "Degraded")
        .is_some_and(|condition| condition.reason == TOO_MANY_UNHEALTHY);
    if let Some(why) = plan.held_back.as_ref().filter(|_| !held) {
        tell(TOO_MANY_UNHEALTHY, why.clone());
    }
    for (name, record) in &told.ledger.machines {
        let before = old.ledger.machines.get(name);
        let known = |one| before.is_some_and(|record| record.remediations.contains(one));
        for one in record.remediations.iter().filter(|one| !known(one)) {
            cx.metrics.remediated(record.role.name(), one.rung.name());
        }
    }
}

/// Steps in a few lines: many of one command are told together.
fn grouped(steps: &[Step]) -> Vec<(String, String)> {
    let mut by_command: BTreeMap<&str, Vec<&Step>> = BTreeMap::new();
    for step in steps {
        by_command
            .entry(step.action.command())
            .or_default()
            .push(step);
    }
    let mut lines = Vec::new();
    for (command, steps) in by_command {
        if let [first, _, _, .., last] = steps.as_slice() {
            let subjects = format!("{} … {}", first.subject, last.subject);
            lines.push((
                subjects,
                format!("{command} ×{}: {}", steps.len(), first.reason),
            ));
        } else {
            lines.extend(
                steps
                    .iter()
                    .map(|s| (s.subject.clone(), format!("{command}: {}", s.reason))),
            );
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_nobody_could_look_at_for_long_is_not_called_ready() {
        let at = |second| Timestamp::from_second(second).expect("in range");
        let told = |kind: &str, status, second| Condition {
            kind: kind.to_owned(),
            status,
            reason: "AsItWas".to_owned(),
            message: String::new(),
            last_transition_time: at(second),
            observed_generation: None,
        };
        let conditions = [
            told("Planned", ConditionStatus::False, 1_000),
            told("Ready", ConditionStatus::True, 0),
        ];
        assert!(!blind(&conditions, at(1_300)), "a restart is no reason yet");
        assert!(blind(&conditions, at(1_301)));
        let mut never = conditions;
        never[1].status = ConditionStatus::False;
        assert!(!blind(&never, at(9_000)), "what was not ready is not");
    }
}
