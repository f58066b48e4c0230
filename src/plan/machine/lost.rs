//! A machine whose VM is gone, or can never run again.

use super::Case;
use crate::{
    plan::{CONFIRMING, MachineView, Planner},
    types::{
        action::Question,
        id::VmId,
        inventory::Vm,
        ledger::{Former, Remediation, Rung},
        machine::Phase,
        stack::DriftField,
    },
};

impl Planner<'_> {
    /// Notes that the machine needs another VM, which counts against its budget.
    pub(super) fn needs_another(
        &mut self,
        case: &Case<'_>,
        rung: Rung,
        reason: &str,
        (have, id): (&str, &VmId),
    ) {
        let (at, reason) = (self.input.now, reason.to_owned());
        if let Some(record) = self.plan.ledger.machines.get_mut(&case.wish.name) {
            record.remediated(Remediation { rung, at, reason });
        }
        self.lose(&case.subject, have, id.as_str());
    }

    /// A machine whose VM no list shows.
    pub(super) fn missing(&mut self, case: &Case<'_>, id: &VmId) -> MachineView {
        let (subject, name) = (&case.subject, &case.wish.name);
        let view = |message: String| MachineView::of(Phase::Unhealthy, message);
        if self.busy(subject) {
            return view("waits for a command on its VM".to_owned());
        }
        if let Some(why) = self.plan.held_back.clone() {
            return view(why);
        }
        let unsure = if self.misses_the_network() {
            Some(format!("VM {id} is not listed, and neither is its network"))
        } else if self.confirmed_absent(Question::Vm(id.clone())) {
            None
        } else {
            Some(format!("VM {id} is not listed; asking for it by id"))
        };
        if let Some(message) = unsure {
            self.wait(subject, CONFIRMING, message.as_str());
            return view(message);
        }
        let drift = self
            .difference(subject, DriftField::Existence, "exists", "destroyed")
            .of(id);
        self.subject = Default::default();
        if !self.drift(drift) {
            return view("its VM was destroyed; drift policy says Report".to_owned());
        }
        if let Some(exhausted) = self.exhausted(&case.record) {
            return self.beyond_budget(case, exhausted);
        }
        let have = ("destroyed", id);
        self.needs_another(case, Rung::Redeploy, "its VM was destroyed", have);
        let rights = self.input.catalogue.rights;
        self.retire_vm(name, Former::TAKEN_FOR_GONE);
        // A dead VM that is not purged still has its static NAT: the one trace that a plain
        // tenant can see of it.
        let traced = self.input.inventory.addresses_of_vm(id).next().is_some();
        if traced && !rights.expunge {
            let (host, address) = (&case.record.host_name, case.record.private_address);
            let message = format!(
                "VM {id} was destroyed and holds the name {host} and the address {address} until \
                 CloudStack purges it; the successor gets the next ones"
            );
            self.give_way(name, Some(id), message);
        }
        view("its VM was destroyed; a successor follows".to_owned())
    }

    /// A VM that can never run again.
    pub(super) fn broken(&mut self, case: &Case<'_>, vm: &Vm) -> MachineView {
        let message = format!("its VM is in state {}", vm.state.word());
        let view = MachineView {
            phase: Phase::Unhealthy,
            message,
            ..MachineView::default()
        };
        if let Some(why) = self.plan.held_back.clone() {
            return MachineView {
                message: why,
                ..view
            };
        }
        let drift = self
            .difference(
                &case.subject,
                DriftField::PowerState,
                "Running",
                vm.state.word(),
            )
            .of(&vm.id);
        self.subject = Default::default();
        if !self.drift(drift) {
            return view;
        }
        if let Some(exhausted) = self.exhausted(&case.record) {
            return self.beyond_budget(case, exhausted);
        }
        let reason = format!("its VM was {}", vm.state.word());
        let have = (vm.state.word(), &vm.id);
        self.needs_another(case, Rung::Redeploy, &reason, have);
        self.retire_vm(
            &case.wish.name,
            &format!("it was in state {}", vm.state.word()),
        );
        if !self.input.catalogue.rights.expunge {
            let message = format!(
                "VM {} is in state {} and keeps its name and address until CloudStack purges it; \
                 the successor gets the next ones",
                vm.id,
                vm.state.word()
            );
            self.give_way(&case.wish.name, Some(&vm.id), message);
        }
        MachineView {
            phase: Phase::Repairing,
            ..view
        }
    }
}
