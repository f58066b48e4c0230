//! The next step of each machine: deploy, make ours, start; repair; change; replace.
//!
//! This file says which case a machine is; the others say what is done about it: `deploy` (it has
//! no VM), `lost` (its VM is gone or broken), `running`, `stopped`, and `difference` (what of a VM
//! is not as wanted).

mod deploy;
mod difference;
mod lost;
mod running;
mod stopped;

use std::{collections::BTreeMap, sync::Arc};

use super::{MachineView, Planner, machine_subject, wish, wish::MachineWish};
use crate::{
    bootstrap::Digests,
    types::{
        action::{Action, mark},
        id::{AffinityGroupId, VmId},
        inventory::{Vm, VmState},
        ledger::MachineRecord,
        machine::Phase,
    },
};

/// A machine under consideration.
struct Case<'a> {
    subject: String,
    wish: &'a MachineWish,
    record: MachineRecord,
    /// None where it cannot be made for all machines.
    user_data: Option<Digests>,
}

impl Case<'_> {
    /// Whether a disk made from this user data is one made from the wanted one.
    fn images_to(&self, user_data: &str) -> bool {
        let mut wanted = self.user_data.iter();
        wanted.all(|wanted| wanted.in_image() == user_data)
    }
}

impl Planner<'_> {
    /// The next step of each machine that is wanted.
    pub(super) fn machines(&mut self) {
        let wishes = Arc::clone(&self.wish.machines);
        let mut user_data = self.user_data();
        for wish in wishes.iter() {
            self.replace_on_request(wish);
            let Some(record) = self.plan.ledger.machines.get(&wish.name).cloned() else {
                continue;
            };
            let user_data = user_data.remove(&wish.name);
            let subject = machine_subject(&wish.name);
            let group = wish::affinity_kind(self.spec(), wish.role).unwrap_or("no group");
            let address = record.private_address;
            // Where it is not known what is to be, it is what was.
            let hash = user_data.as_ref().map(Digests::in_image);
            let hash = hash.or(record.in_next_image()).unwrap_or_default();
            self.consider(
                &subject,
                format_args!(
                    "{} {} {address} {hash} {group}",
                    wish.template, wish.offering
                ),
            );
            let view = self.machine(&Case {
                subject,
                wish,
                record,
                user_data,
            });
            self.plan.machines.insert(wish.name.clone(), view);
        }
    }

    /// Deleting a `Machine` asks for another VM in its place.
    fn replace_on_request(&mut self, wish: &MachineWish) {
        let name = wish.name.as_str();
        let asked = self.input.replace.get(name);
        let current = self
            .plan
            .ledger
            .machines
            .get(name)
            .and_then(|record| record.vm.clone());
        let subject = machine_subject(name);
        let (Some(asked), Some(current)) = (asked, current) else {
            return;
        };
        if *asked != current || self.plan.ledger.pending_on(&subject).is_some() || self.paused() {
            return;
        }
        if self.may_disrupt(name, wish.role) {
            self.retire_vm(name, "its Machine was deleted");
        } else {
            let message = format!(
                "its Machine was deleted; another VM waits for others of {} to be ready",
                wish.role
            );
            self.wait(&subject, "MaxUnavailable", message);
        }
    }

    /// Moves a machine's VM among those to be destroyed; a successor follows.
    pub(super) fn retire_vm(&mut self, name: &str, reason: &str) {
        let since = self.input.now;
        let Some(record) = self.plan.ledger.machines.get_mut(name) else {
            return;
        };
        if let Some(vm) = record.vm.take() {
            // An address that this plan would lead to it waits for its successor.
            self.plan.steps.retain(|step| match &step.action {
                Action::EnableStaticNat { vm: led_to, .. } => *led_to != vm,
                _ => true,
            });
            record.parts_with(vm, reason, since);
        }
        record.ends();
        record.updating = false;
    }

    fn machine(&mut self, case: &Case<'_>) -> MachineView {
        let Some(id) = &case.record.vm else {
            return self.deploy(case);
        };
        let Some(vm) = self.input.inventory.vms.get(id) else {
            return self.missing(case, id);
        };
        let mut view = self.present(case, vm);
        view.vm_state = Some(vm.state.word().to_owned());
        let reached = self.reached(case, id);
        let runs = view.phase == Phase::Running;
        view.ready = self.ready(&case.wish.name, &case.record) && runs && reached;
        if runs && !reached && view.message.is_empty() {
            view.message = "no public address leads to it yet".to_owned();
        }
        view.updated = self.up_to_date(case, vm);
        view
    }

    /// Whether the machine's public address leads to its VM, where it is to have one.
    fn reached(&self, case: &Case<'_>, vm: &VmId) -> bool {
        let own = case.record.public_address.as_ref();
        let row = own.and_then(|own| self.input.inventory.addresses.get(&own.id));
        !case.wish.public || row.is_some_and(|row| row.vm.as_ref() == Some(vm))
    }

    fn up_to_date(&self, case: &Case<'_>, vm: &Vm) -> bool {
        let image = case.record.image.as_ref();
        vm.template.as_ref() == Some(&case.wish.template)
            && vm.offering.as_ref() == Some(&case.wish.offering)
            && image.is_some_and(|image| case.images_to(&image.user_data))
    }

    fn groups(&self, wish: &MachineWish) -> Vec<AffinityGroupId> {
        let wanted = wish::affinity_kind(self.spec(), wish.role).is_some();
        let group = self
            .plan
            .ledger
            .affinity_groups
            .get(&wish.role)
            .filter(|_| wanted);
        group.cloned().into_iter().collect()
    }

    fn marks(&self, name: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            (mark::STACK.to_owned(), self.uid.to_string()),
            (mark::MACHINE.to_owned(), name.to_owned()),
        ])
    }

    /// A machine whose VM is there.
    fn present(&mut self, case: &Case<'_>, vm: &Vm) -> MachineView {
        let view = MachineView::of;
        if self.busy(&case.subject) {
            let message = self.plan.waits.last().map(|wait| wait.message.clone());
            return view(self.phase_of_pending(case, vm), message.unwrap_or_default());
        }
        if vm.job.is_some() || vm.state.transitional() {
            let message = format!(
                "CloudStack is at work on the VM, which is {}",
                vm.state.word()
            );
            self.wait(&case.subject, "JobRunning", message.clone());
            return view(Phase::Starting, message);
        }
        match &vm.state {
            VmState::Running => self.running(case, vm),
            VmState::Stopped => self.stopped(case, vm),
            VmState::Error | VmState::Destroyed => self.broken(case, vm),
            VmState::Expunging => {
                self.retire_vm(&case.wish.name, "it is being purged");
                view(
                    Phase::Repairing,
                    "its VM is being purged; a successor follows".to_owned(),
                )
            }
            VmState::Starting
            | VmState::Stopping
            | VmState::Migrating
            | VmState::Restoring
            | VmState::Other(_) => {
                let message = format!("its VM is {}", vm.state.word());
                self.wait(&case.subject, "WaitingOnState", message.clone());
                view(Phase::Unhealthy, message)
            }
        }
    }

    fn phase_of_pending(&self, case: &Case<'_>, vm: &Vm) -> Phase {
        let pending = self
            .plan
            .ledger
            .pending_on(&case.subject)
            .map(|pending| &pending.action);
        match pending {
            Some(Action::StartVm { .. }) => Phase::Starting,
            Some(Action::UpdateVm { .. }) | None if vm.state == VmState::Running => Phase::Running,
            Some(Action::RebootVm { .. } | Action::ReimageVm { .. }) => Phase::Repairing,
            Some(_) if case.record.started_at.is_none() => Phase::Provisioning,
            Some(_) => Phase::Updating,
            None => Phase::Unhealthy,
        }
    }
}
