//! What the descriptions of several kinds have in common.

use jiff::Timestamp;

use super::{
    super::{
        age::{age, between},
        page::Page,
        paint::{Cell, Tone, row},
    },
    diagnosis::brief,
};
use crate::types::{
    account::CloudAccount,
    core::Event,
    meta::{Condition, ConditionStatus, ObjectMeta, condition},
    stack::{ClearwaterStack, DriftMode, DriftReport, StepReport, StepState},
};

/// Events that a description ends with.
const LAST_EVENTS: usize = 12;

/// Name, namespace, age and, where it applies, deletion.
pub(super) fn metadata(page: &mut Page, meta: &ObjectMeta, now: Timestamp) {
    page.field("Name", &meta.name);
    if !meta.namespace.is_empty() {
        page.field("Namespace", &meta.namespace);
    }
    page.field("Age", age(meta.creation_timestamp, now));
    deletion(page, meta, now);
    labels(page, meta);
}

/// Since when the object is to be deleted, where it is.
pub(super) fn deletion(page: &mut Page, meta: &ObjectMeta, now: Timestamp) {
    if let Some(since) = meta.deletion_timestamp {
        let text = format!("asked for {} ago", between(since, now));
        page.field("Deletion", Cell::new(text, Tone::Busy));
    }
}

/// The labels, where there are any.
pub(super) fn labels(page: &mut Page, meta: &ObjectMeta) {
    if !meta.labels.is_empty() {
        page.field("Labels", pairs(meta.labels.iter()));
    }
}

/// How old what is told is, and why it is not newer where CloudStack cannot be looked at.
///
/// A status is not written at every look where nothing changed, and an account's only once a
/// minute: the age is the most that it can be.
pub(super) fn last_look(
    page: &mut Page,
    stack: &ClearwaterStack,
    account: Option<&CloudAccount>,
    now: Timestamp,
) {
    let of_stack = stack.status.as_ref().and_then(|status| status.last_look);
    let status = account.and_then(|account| account.status.as_ref());
    let looked = of_stack.max(status.and_then(|status| status.last_look));
    let text = match looked {
        Some(at) => {
            let every = account.map(|account| account.spec.resync_interval);
            let every = every.map_or_else(String::new, |every| format!("; one every {every}"));
            format!("at CloudStack, at most {} ago{every}", between(at, now))
        }
        None => "never".to_owned(),
    };
    page.field("Last look", text);
    if let Some(why) = status.and_then(|status| unmet(&status.conditions, "Ready")) {
        let text = format!("CloudStack cannot be looked at, what follows is old. {why}");
        page.sentences("Careful", &text, Tone::Bad);
    }
}

fn pairs<'a>(pairs: impl Iterator<Item = (&'a String, &'a String)>) -> String {
    let all: Vec<_> = pairs.map(|(key, value)| format!("{key}={value}")).collect();
    all.join(", ")
}

/// All conditions, each with the time for which it has held.
pub(super) fn conditions(page: &mut Page, conditions: &[Condition], now: Timestamp) {
    let rows = conditions.iter().map(|condition| {
        row![
            &condition.kind,
            Cell::word(status_word(condition.status)),
            between(condition.last_transition_time, now),
            &condition.reason,
            brief(&condition.message),
        ]
    });
    let header = ["TYPE", "STATUS", "FOR", "REASON", "MESSAGE"];
    page.table("Conditions", &header, rows.collect());
}

/// A condition's status as it is written.
pub(super) const fn status_word(status: ConditionStatus) -> &'static str {
    match status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    }
}

/// What differs from the manifest, since when and by whom.
pub(super) fn drift<'a>(
    page: &mut Page,
    drift: impl Iterator<Item = &'a DriftReport>,
    now: Timestamp,
) {
    let rows = drift.map(|report| {
        let policy = match report.mode {
            DriftMode::Repair => "Repair",
            DriftMode::Report => "Report",
        };
        row![
            &report.subject,
            report.field.name(),
            or_dash(&report.want),
            Cell::new(or_dash(&report.have), Tone::Bad),
            policy,
            report
                .since
                .map_or_else(|| "-".to_owned(), |since| between(since, now)),
            report.by.as_deref().unwrap_or("-"),
        ]
    });
    let header = ["SUBJECT", "FIELD", "WANT", "HAVE", "POLICY", "FOR", "BY"];
    page.table("Drift", &header, rows.collect());
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { "-" } else { text }
}

/// What is being done, then what comes next, then what waits.
pub(super) fn steps<'a>(
    page: &mut Page,
    steps: impl Iterator<Item = &'a StepReport>,
    now: Timestamp,
) {
    let mut steps: Vec<_> = steps.collect();
    steps.sort_by_key(|step| step.state);
    let rows = steps.into_iter().map(|step| {
        row![
            Cell::word(state_word(step.state)),
            &step.subject,
            &step.action,
            step.since
                .map_or_else(|| "-".to_owned(), |since| between(since, now)),
            brief(&step.reason),
        ]
    });
    let header = ["STATE", "SUBJECT", "ACTION", "FOR", "REASON"];
    page.table("Steps", &header, rows.collect());
}

/// A step's state as it is written.
pub(super) const fn state_word(state: StepState) -> &'static str {
    match state {
        StepState::Running => "Running",
        StepState::Next => "Next",
        StepState::Waiting => "Waiting",
    }
}

/// The last events, oldest first.
pub(super) fn events(page: &mut Page, events: &[Event], now: Timestamp) {
    let first = events.len().saturating_sub(LAST_EVENTS);
    let rows = events[first..].iter().map(|event| {
        row![
            seen(event, now),
            Cell::word(&event.level),
            &event.reason,
            object_of(event),
            brief(&event.message),
        ]
    });
    let header = ["LAST SEEN", "TYPE", "REASON", "OBJECT", "MESSAGE"];
    page.table("Events", &header, rows.collect());
}

/// When an event was last seen, and how often if more than once.
pub(in super::super) fn seen(event: &Event, now: Timestamp) -> String {
    let last = age(time_of(event), now);
    match event.count {
        ..=1 => last,
        count => format!("{last} (x{count})"),
    }
}

/// When an event was last seen.
pub(in super::super) fn time_of(event: &Event) -> Option<Timestamp> {
    event
        .last_timestamp
        .or(event.first_timestamp)
        .or(event.metadata.creation_timestamp)
}

/// `machine/ims-bono-0`: whom an event is about.
pub(in super::super) fn object_of(event: &Event) -> String {
    let object = &event.involved_object;
    format!("{}/{}", object.kind.to_lowercase(), object.name)
}

/// The reason and message of a condition that is known not to hold.
pub(in super::super) fn unmet(conditions: &[Condition], kind: &str) -> Option<String> {
    let condition = condition(conditions, kind)?;
    (condition.status != ConditionStatus::True)
        .then(|| format!("{}: {}", condition.reason, condition.message))
}
