//! The description of a machine: what is wrong with it and what becomes of it.

use jiff::Timestamp;

use super::{
    super::{
        age::{age, between},
        page::Page,
        paint::{Cell, Paint, Tone, row},
    },
    diagnosis, parts,
};
use crate::types::{
    account::CloudAccount,
    core::Event,
    ledger::{Failure, MachineRecord},
    machine::{Machine, MachineStatus},
    stack::{ClearwaterStack, DriftReport, StackStatus, StepReport},
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
    /// The stack's account, where it could be read.
    pub(super) account: Option<&'a CloudAccount>,
    /// Its events, oldest first.
    pub(super) events: &'a [Event],
}

impl<'a> MachineView<'a> {
    /// What steps and drift call the machine's VM, and its public address.
    fn subjects(&self) -> [String; 2] {
        let name = &self.machine.metadata.name;
        [format!("machine {name}"), format!("address {name}")]
    }

    fn stack_status(&self) -> Option<&'a StackStatus> {
        self.stack?.status.as_ref()
    }

    /// Steps of the stack's that are about the machine.
    pub(super) fn steps(&self) -> impl Iterator<Item = &'a StepReport> + use<'a> {
        let subjects = self.subjects();
        let steps = self.stack_status().map_or(&[][..], |status| &status.steps);
        steps
            .iter()
            .filter(move |step| subjects.contains(&step.subject))
    }

    /// Drift of the stack's that is about the machine.
    pub(super) fn drift(&self) -> impl Iterator<Item = &'a DriftReport> + use<'a> {
        let subjects = self.subjects();
        let drift = self.stack_status().map_or(&[][..], |status| &status.drift);
        drift
            .iter()
            .filter(move |report| subjects.contains(&report.subject))
    }

    /// What Weir recorded of the machine.
    pub(super) fn record(&self) -> Option<&'a MachineRecord> {
        let ledger = &self.stack_status()?.ledger;
        ledger.machines.get(&self.machine.metadata.name)
    }

    /// The last command on the machine, if it failed.
    pub(super) fn failure(&self) -> Option<&'a Failure> {
        let failures = &self.stack_status()?.ledger.failures;
        self.subjects()
            .iter()
            .find_map(|subject| failures.get(subject))
    }
}

/// The description of a machine as of `now`.
pub(super) fn describe(view: &MachineView<'_>, now: Timestamp, paint: Paint) -> String {
    let mut page = Page::new(paint);
    let empty = MachineStatus::default();
    let status = view.machine.status.as_ref().unwrap_or(&empty);
    let (meta, spec) = (&view.machine.metadata, &view.machine.spec);
    page.field("Name", &meta.name);
    page.field("Namespace", &meta.namespace);
    let place = format!(
        "{} {} of stack {}",
        spec.role, spec.index, spec.stack_ref.name
    );
    page.field("Machine", place);
    let phase = status.phase.name();
    let since = status.since.map(|at| format!(" for {}", between(at, now)));
    let text = format!("{phase}{}", since.unwrap_or_default());
    page.field("Phase", Cell::new(text, Tone::of_word(phase)));
    parts::deletion(&mut page, meta, now);
    if let Some(stack) = view.stack {
        parts::last_look(&mut page, stack, view.account, now);
    }
    state(&mut page, view, status, now);
    vm(&mut page, status);
    page.field("Age", age(meta.creation_timestamp, now));
    parts::labels(&mut page, meta);
    parts::conditions(&mut page, &status.conditions, now);
    parts::steps(&mut page, view.steps(), now);
    parts::drift(&mut page, view.drift(), now);
    remediations(&mut page, view, status, now);
    held(&mut page, view.record(), now);
    parts::events(&mut page, view.events, now);
    page.finish()
}

/// What is wrong, what Weir is doing, since when, what comes next: in this order.
fn state(page: &mut Page, view: &MachineView<'_>, status: &MachineStatus, now: Timestamp) {
    let diagnosis = diagnosis::diagnose(view, now);
    page.gap();
    match &diagnosis.wrong {
        Some(wrong) => page.sentences("Wrong", wrong, Tone::Bad),
        None => page.sentences("Wrong", &diagnosis.well, Tone::Good),
    }
    page.sentences("Weir does", &diagnosis.doing, Tone::Plain);
    page.sentences("Next", &diagnosis.next, Tone::Plain);
    if let Some(help) = &diagnosis.help {
        page.sentences("You can", help, Tone::Plain);
    }
    if let Some(remark) = diagnosis::remark(status) {
        page.sentences("Note", &remark, Tone::Busy);
    }
    page.gap();
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
