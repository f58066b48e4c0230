//! How much may be away at once: `maxUnavailable` by role, `maxUnhealthy` over the stack, and
//! the cap on VM records.

use super::{Health, Planner, machine_subject, remedy};
use crate::types::{
    inventory::{Vm, VmState},
    ledger::MachineRecord,
    role::Role,
};

/// VM records that a machine may leave behind while it is replaced, beyond itself: one that is
/// being destroyed, one wreck of a refused deploy, and one more for a lost answer.
const SPARE_RECORDS: usize = 3;

impl Planner<'_> {
    /// Counts what is away, and decides whether so much looks dead that Weir must not act on it.
    pub(super) fn hold_back(&mut self) {
        let total = self.wish.machines.len();
        let mut dead = Vec::new();
        for wish in self.wish.machines.clone() {
            let Some(record) = self.plan.ledger.machines.get(&wish.name) else {
                continue;
            };
            if !self.ready(&wish.name, record) {
                *self.away.entry(wish.role).or_default() += 1;
            }
            if self.looks_dead(&wish.name, record) {
                dead.push(wish.name);
            }
        }
        let limit = self.spec().remediation.max_unhealthy.of(total);
        if dead.len() > limit {
            self.plan.held_back = Some(format!(
                "{} of {total} machines look dead at once, more than spec.remediation.maxUnhealthy \
                 allows ({limit}): Weir does not act on them until fewer do or the limit is raised \
                 ({})",
                dead.len(),
                dead.join(", ")
            ));
        }
    }

    /// Whether the machine's VM runs and serves.
    pub(super) fn ready(&self, name: &str, record: &MachineRecord) -> bool {
        let vm = record
            .vm
            .as_ref()
            .and_then(|vm| self.input.inventory.vms.get(vm));
        vm.is_some_and(|vm| vm.state == VmState::Running)
            && !record.retiring
            && self.serves(name, record)
            && !self
                .plan
                .ledger
                .pending_on(&machine_subject(name))
                .is_some_and(|pending| super::check::takes_away(&pending.action))
    }

    fn serves(&self, name: &str, record: &MachineRecord) -> bool {
        let probed = self.spec().components.get(record.role).probe.is_some();
        match self.input.health.get(name) {
            Some(Health::Serving) => true,
            Some(Health::Failing { .. }) => false,
            None => !probed,
        }
    }

    /// Whether a machine that once ran looks dead, through no doing of Weir's.
    fn looks_dead(&self, name: &str, record: &MachineRecord) -> bool {
        let subject = machine_subject(name);
        if record.updating || self.plan.ledger.pending_on(&subject).is_some() {
            return false;
        }
        if let Some(lost) = self.plan.ledger.lost.get(&subject) {
            return !lost.explained;
        }
        let Some(id) = record.vm.as_ref().filter(|_| record.started_at.is_some()) else {
            return false;
        };
        match self.input.inventory.vms.get(id).map(|vm| &vm.state) {
            None => true,
            Some(VmState::Running) => self.failing_for_long(name),
            Some(state) => !state.transitional(),
        }
    }

    fn failing_for_long(&self, name: &str) -> bool {
        let patience = self.spec().remediation.unhealthy_after.get();
        match self.input.health.get(name) {
            Some(Health::Failing { since, .. }) => {
                remedy::elapsed(*since, self.input.now) > patience
            }
            Some(Health::Serving) | None => false,
        }
    }

    /// Whether a machine of a role may be taken away now; counts it as away if so. A machine that
    /// is away already takes nothing away.
    pub(super) fn may_disrupt(&mut self, name: &str, role: Role) -> bool {
        let record = &self.plan.ledger.machines[name];
        if !self.ready(name, record) {
            return true;
        }
        let away = self.away.entry(role).or_default();
        let allowed = *away < self.input.stack.spec.update.max_unavailable;
        *away += u32::from(allowed);
        allowed
    }

    /// Why no further VM may be made for a machine, if none may: records of any kind count, so
    /// that no script of failures fills the account.
    pub(super) fn too_many_records(&self, name: &str, record: &MachineRecord) -> Option<String> {
        let inventory = self.input.inventory;
        let marked = inventory
            .vms_of_stack(self.uid)
            .filter(|vm| vm.marked_machine() == Some(name));
        let recorded = record.former.iter().map(|former| &former.vm);
        let unmarked = recorded
            .filter(|vm| inventory.vms.contains_key(*vm))
            .filter(|vm| inventory.vms[*vm].marked_machine() != Some(name));
        let records = marked.filter(|vm: &&Vm| !vm.state.dead()).count() + unmarked.count();
        (records > SPARE_RECORDS).then(|| {
            format!(
                "{records} VM records of this machine exist and none serves; none is added before \
                 some are gone"
            )
        })
    }
}
