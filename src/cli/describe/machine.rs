//! The description of a machine: what is wrong with it and what becomes of it.

use jiff::Timestamp;

use super::{
    super::{
        age::between,
        page::Page,
        paint::{Cell, Paint, Tone, row},
    },
    parts,
};
use crate::types::{
    core::Event,
    ledger::MachineRecord,
    machine::{Machine, MachineStatus, Phase},
    stack::{ClearwaterStack, StepReport, StepState},
};

/// Remediations that are shown, newest first.
const LAST_REMEDIATIONS: usize = 6;

/// Everything that the description of a machine is made of.
#[derive(Debug)]
pub(super) struct MachineView<'a> {
    /// The machine.
    pub(super) machine: &'a Machine,
    /// Its stack, where it could be read.
    pub(super) stack: Option<&'a ClearwaterStack>,
    /// Its events, oldest first.
    pub(super) events: &'a [Event],
}

impl MachineView<'_> {
    fn subject(&self) -> String {
        format!("machine {}", self.machine.metadata.name)
    }

    fn steps(&self) -> impl Iterator<Item = &StepReport> {
        let subject = self.subject();
        let status = self.stack.and_then(|stack| stack.status.as_ref());
        let steps = status.map_or(&[][..], |status| &status.steps);
        steps.iter().filter(move |step| step.subject == subject)
    }

    fn record(&self) -> Option<&MachineRecord> {
        let ledger = &self.stack?.status.as_ref()?.ledger;
        ledger.machines.get(&self.machine.metadata.name)
    }
}

/// The description of a machine as of `now`.
pub(super) fn describe(view: &MachineView<'_>, now: Timestamp, paint: Paint) -> String {
    let mut page = Page::new(paint);
    let empty = MachineStatus::default();
    let status = view.machine.status.as_ref().unwrap_or(&empty);
    let spec = &view.machine.spec;
    parts::metadata(&mut page, &view.machine.metadata, now);
    let place = format!(
        "{} {} of stack {}",
        spec.role, spec.index, spec.stack_ref.name
    );
    page.field("Machine", place);
    state(&mut page, view, status, now);
    vm(&mut page, status);
    parts::conditions(&mut page, &status.conditions, now);
    parts::steps(&mut page, view.steps(), now);
    let subject = view.subject();
    let stack_status = view.stack.and_then(|stack| stack.status.as_ref());
    let drift = stack_status.map_or(&[][..], |status| &status.drift);
    let own = drift.iter().filter(|report| report.subject == subject);
    parts::drift(&mut page, own, now);
    remediations(&mut page, view, status, now);
    held(&mut page, view.record(), now);
    parts::events(&mut page, view.events, now);
    page.finish()
}

/// What is wrong, what Weir is doing, since when, what comes next: in this order.
fn state(page: &mut Page, view: &MachineView<'_>, status: &MachineStatus, now: Timestamp) {
    let since = |at: Option<Timestamp>| {
        at.map_or_else(String::new, |at| format!(" for {}", between(at, now)))
    };
    let phase = status.phase.name();
    let text = format!("{phase}{}", since(status.since));
    page.field("Phase", Cell::new(text, Tone::of_word(phase)));
    let (wrong, tone) = match parts::unmet(&status.conditions, "Ready") {
        Some(wrong) => (wrong, Tone::Bad),
        None if status.phase == Phase::Running => ("nothing".to_owned(), Tone::Good),
        None => (format!("not known: it is {phase}"), Tone::Busy),
    };
    page.field("Wrong", Cell::new(wrong, tone));
    let running: Vec<_> = view
        .steps()
        .filter(|step| step.state == StepState::Running)
        .map(|step| {
            format!(
                "{}{}, because {}",
                step.action,
                since(step.since),
                step.reason
            )
        })
        .collect();
    let doing = match running.is_empty() {
        true => "nothing".to_owned(),
        false => running.join("; "),
    };
    page.field("Weir does", doing);
    page.field("Next", next(view, status));
}

fn next(view: &MachineView<'_>, status: &MachineStatus) -> String {
    let coming = view.steps().find(|step| step.state != StepState::Running);
    let from_stack = || coming.map(|step| format!("{}: {}", step.action, step.reason));
    status
        .next
        .clone()
        .or_else(from_stack)
        .unwrap_or_else(|| "nothing until something changes".to_owned())
}

fn vm(page: &mut Page, status: &MachineStatus) {
    let id = status.vm_id.as_ref().map_or("none", |id| id.as_str());
    let vm = match &status.vm_state {
        Some(state) => format!("{id} ({state})"),
        None => id.to_owned(),
    };
    page.field("VM", vm);
    page.field_if("Host name", status.host_name.as_ref());
    page.field_if("Private", status.private_address.map(|ip| ip.to_string()));
    page.field_if("Public", status.public_address.map(|ip| ip.to_string()));
}

fn remediations(page: &mut Page, view: &MachineView<'_>, status: &MachineStatus, now: Timestamp) {
    let last: Vec<_> = status.last_remediation.iter().collect();
    let all: Vec<_> = match view.record() {
        Some(record) if !record.remediations.is_empty() => record.remediations.iter().collect(),
        _ => last,
    };
    let rows = all.into_iter().rev().take(LAST_REMEDIATIONS).map(|done| {
        row![
            format!("{} ago", between(done.at, now)),
            done.rung.name(),
            &done.reason
        ]
    });
    page.table("Remediations", &["WHEN", "WHAT", "WHY"], rows.collect());
}

fn held(page: &mut Page, record: Option<&MachineRecord>, now: Timestamp) {
    let held = record.map_or(&[][..], |record| &record.held);
    let rows = held.iter().map(|held| {
        let until = match held.until > now {
            true => format!("for another {}", between(now, held.until)),
            false => "should be free".to_owned(),
        };
        let vm = held.vm.as_ref().map_or("-", |id| id.as_str());
        row![&held.host_name, held.private_address.to_string(), vm, until]
    });
    page.table(
        "Held by dead VMs",
        &["HOST NAME", "ADDRESS", "VM", "HELD"],
        rows.collect(),
    );
}
