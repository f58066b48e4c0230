//! How much may be away at once: `maxUnavailable` by role and `maxUnhealthy` over the stack; and
//! how many VM records may exist: `maxSurge` by role, and a cap over a machine and over the stack.

use std::{collections::BTreeSet, sync::Arc};

use super::{Health, Planner, machine_subject, remedy};
use crate::types::{
    action::{Action, Deploy},
    id::{JobId, VmId},
    inventory::{Vm, VmState},
    ledger::{Ledger, MachineRecord},
    role::Role,
};

/// VM records that a stack may have beyond its machines and its surge, whatever fails: one wreck
/// of a refused deploy, one VM of a deploy whose answer was lost, and one that lingers.
pub(super) const SPARE_RECORDS: usize = 3;

/// VM records that one machine may have: its VM, one that goes, and a wreck. So one machine that
/// makes wrecks leaves room for the others.
pub(super) const RECORDS_OF_A_MACHINE: usize = 3;

/// Why no further VM is made for a machine.
pub(super) enum Crowded {
    /// Others of its role must go first, and are going.
    Surge(String),
    /// The machine or the stack has more records than it should; somebody should look.
    Cap(String),
}

/// VM records that count, or are about to.
struct Records {
    stack: usize,
    /// Without wrecks.
    role: usize,
    machine: usize,
}

impl Planner<'_> {
    /// Counts what is away, and decides whether so much looks dead that Weir must not act on it.
    pub(super) fn hold_back(&mut self) {
        let total = self.wish.machines.len();
        let mut dead = Vec::new();
        for wish in Arc::clone(&self.wish.machines).iter() {
            let Some(record) = self.plan.ledger.machines.get(&wish.name) else {
                continue;
            };
            if !self.steady(&wish.name, record) {
                *self.away.entry(wish.role).or_default() += 1;
            }
            if self.looks_dead(&wish.name, record) {
                dead.push(wish.name.clone());
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
        let vm = self.vm_of(record);
        vm.is_some_and(|vm| vm.state == VmState::Running)
            && !record.retiring
            && self.serves(name, record)
            && !self
                .plan
                .ledger
                .pending_on(&machine_subject(name))
                .is_some_and(|pending| super::check::takes_away(&pending.action))
    }

    /// Whether the machine can be counted on: it is ready, and nobody is at work on its VM. A job
    /// that Weir did not send may be a stop.
    fn steady(&self, name: &str, record: &MachineRecord) -> bool {
        self.ready(name, record) && self.vm_of(record).is_some_and(|vm| vm.job.is_none())
    }

    fn vm_of(&self, record: &MachineRecord) -> Option<&Vm> {
        self.input.inventory.vms.get(record.vm.as_ref()?)
    }

    /// Whether a role's machines are asked whether they serve.
    pub(super) fn probed(&self, role: Role) -> bool {
        self.spec().components.get(role).probe.is_some()
    }

    fn serves(&self, name: &str, record: &MachineRecord) -> bool {
        match self.input.health.get(name) {
            Some(Health::Serving) => true,
            Some(Health::Failing { .. }) => false,
            None => !self.probed(record.role),
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
            None => !self.misses_the_network(),
            Some(VmState::Running) => self.failing_for_long(name, record),
            Some(state) => !state.transitional(),
        }
    }

    fn failing_for_long(&self, name: &str, record: &MachineRecord) -> bool {
        match self.input.health.get(name) {
            Some(Health::Failing { since, .. }) => {
                let (from, patience) = self.patience(record, *since);
                remedy::elapsed(from, self.input.now) > patience
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

    /// Why a machine that is no longer wanted has to stay for now, if it has to: while more of
    /// those that are wanted are away than may be, it serves in their place.
    pub(super) fn must_stay(&self, name: &str) -> Option<String> {
        let record = &self.plan.ledger.machines[name];
        let serves = self
            .vm_of(record)
            .is_some_and(|vm| vm.state == VmState::Running);
        let away = self.away.get(&record.role).copied().unwrap_or_default();
        let allowed = self.spec().update.max_unavailable;
        (serves && away > allowed && !self.input.stack.metadata.deleting()).then(|| {
            format!(
                "is no longer wanted and stays for now: {away} of the {} that are wanted are away, \
                 more than spec.update.maxUnavailable ({allowed})",
                record.role
            )
        })
    }

    /// Why no further VM may be made for a machine now, if none may.
    pub(super) fn crowded(&self, name: &str, role: Role) -> Option<Crowded> {
        let surge = self.spec().update.max_surge;
        let records = self.vm_records(name, role);
        let machines = self.plan.ledger.machines.values();
        let (total, own) = (
            machines.len(),
            machines.filter(|record| record.role == role).count(),
        );
        let cap = total + surge as usize + SPARE_RECORDS;
        if records.stack + 1 > cap {
            return Some(Crowded::Cap(format!(
                "the stack has {} VM records for {total} machines, and none is added beyond {cap} \
                 (spec.update.maxSurge and {SPARE_RECORDS} more): it waits until some are gone",
                records.stack
            )));
        }
        if records.machine + 1 > RECORDS_OF_A_MACHINE {
            return Some(Crowded::Cap(format!(
                "the machine has {} VM records, and none is added beyond {RECORDS_OF_A_MACHINE}: it \
                 waits until some are gone",
                records.machine
            )));
        }
        (records.role + 1 > own + surge as usize).then(|| {
            Crowded::Surge(format!(
                "{role} has {} VM records for {own} machines, and spec.update.maxSurge is {surge}: \
                 the next VM waits until one that goes is gone",
                records.role
            ))
        })
    }

    /// VM records that count, or are about to: of the stack, of a role, and of a machine. What a
    /// destroyed VM leaves is not counted: a tenant does not even see it.
    fn vm_records(&self, name: &str, role: Role) -> Records {
        let (ledger, vms) = (&self.plan.ledger, &self.input.inventory.vms);
        let marked = self.input.inventory.vms_of_stack(self.uid);
        let made = marked.filter_map(|vm| Some((&vm.id, maker(ledger, vm)?)));
        let recorded = ledger.machines.iter().flat_map(|owner| {
            let former = owner.1.former.iter().map(|former| &former.vm);
            former.chain(&owner.1.vm).map(move |id| (id, owner))
        });
        let mut seen = BTreeSet::<&VmId>::new();
        let (mut of_role, mut of_machine) = (0, 0);
        for (id, (owner, record)) in recorded.chain(made) {
            let alive = vms.get(id).filter(|vm| !vm.state.dead());
            if alive.is_some() && seen.insert(id) {
                let wreck = alive.is_some_and(Vm::is_wreck);
                of_role += usize::from(record.role == role && !wreck);
                of_machine += usize::from(owner == name);
            }
        }
        let coming = self.coming_deploys();
        let of_this = coming.iter().filter(|deploy| {
            let record = ledger.machines.get(&deploy.machine);
            record.is_some_and(|record| record.role == role)
        });
        Records {
            stack: seen.len() + coming.len(),
            role: of_role + of_this.count(),
            machine: of_machine
                + coming
                    .iter()
                    .filter(|deploy| deploy.machine == name)
                    .count(),
        }
    }

    /// Deploys on their way, and of this plan, whose VM no list shows yet.
    fn coming_deploys(&self) -> Vec<&Deploy> {
        let shown = |job: &JobId| {
            let mut marked = self.input.inventory.vms_of_stack(self.uid);
            marked.any(|vm| vm.intent() == Some(job.as_str()))
        };
        let pending = self.plan.ledger.pending.iter();
        let pending = pending.filter(|pending| !shown(&pending.job));
        let steps = self.plan.steps.iter().map(|step| &step.action);
        pending
            .map(|pending| &pending.action)
            .chain(steps)
            .filter_map(|action| match action {
                Action::DeployVm(deploy) => Some(&**deploy),
                _ => None,
            })
            .collect()
    }
}

/// The machine whose recorded deploy made a VM, as far as is known. A mark alone may be a
/// stranger's copy.
fn maker<'a>(ledger: &'a Ledger, vm: &Vm) -> Option<(&'a String, &'a MachineRecord)> {
    let intent = JobId::new(vm.intent()?);
    let mut records = ledger.machines.iter();
    records.find(|(_, record)| record.may_have_made(&intent, &vm.id))
}
