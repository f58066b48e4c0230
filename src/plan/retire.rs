//! Getting rid of VMs: parked and destroyed, so that a successor can have their name and address
//! at once; and of wrecks, duplicates and machines that are no longer wanted.
//!
//! A plain tenant cannot expunge, and a destroyed VM keeps its name, address and static NAT for a
//! day or two. So a VM whose place is needed is stopped, its NAT taken off, moved to a parking
//! address, renamed, and only then destroyed (`cloudstack-observed` §1.1).

use super::{Planner, Step, machine_subject};
use crate::types::{
    action::{Action, Answer, JobOutcome, Question, VmChange},
    id::{JobId, VmId},
    inventory::{Vm, VmState},
    ledger::{Former, MachineRecord},
    stack::DriftField,
};

impl Planner<'_> {
    /// The next step of every VM that has to go, and of machines that are no longer wanted.
    pub(super) fn retire(&mut self) {
        self.collect_strays();
        let names: Vec<String> = self.plan.ledger.machines.keys().cloned().collect();
        for name in names {
            if self.plan.ledger.machines[&name].retiring {
                self.retire_machine(&name);
            }
            for former in self.plan.ledger.machines[&name].former.clone() {
                self.retire_former(&name, &former);
            }
            self.forget_machine(&name);
        }
    }

    /// Finds VMs of ours that no machine has recorded: wrecks of refused deploys, and VMs of
    /// deploys whose answer was lost.
    fn collect_strays(&mut self) {
        let inventory = self.input.inventory;
        let marked: Vec<&Vm> = inventory.vms_of_stack(self.uid).collect();
        let names: Vec<(String, String)> = self
            .plan
            .ledger
            .machines
            .iter()
            .map(|(name, record)| (name.clone(), record.host_name.clone()))
            .collect();
        let named = names
            .iter()
            .flat_map(|(_, host_name)| inventory.vms_named(host_name));
        let wrecks: Vec<&Vm> = marked
            .iter()
            .copied()
            .chain(named)
            .filter(|vm| vm.is_wreck())
            .collect();
        for wreck in wrecks {
            let owner = names.iter().find(|(name, host_name)| {
                wreck.marked_machine() == Some(name) || wreck.name == *host_name
            });
            if let Some((owner, _)) = owner {
                self.collect(
                    &owner.clone(),
                    wreck,
                    DriftField::Wreck,
                    "a refused deploy left it",
                );
            }
        }
        for vm in marked
            .into_iter()
            .filter(|vm| !vm.is_wreck() && !vm.state.dead())
        {
            self.collect_duplicate(vm);
        }
        self.collect_returned();
    }

    /// Finds VMs that deploys of ours are known to have made and that were taken for gone, on lists
    /// and answers that lied. Their ids prove that they are ours, whatever became of their marks.
    fn collect_returned(&mut self) {
        let inventory = self.input.inventory;
        let mut returned = Vec::new();
        for (name, record) in &self.plan.ledger.machines {
            let vms = record.made.values().filter_map(|id| inventory.vms.get(id));
            let left = vms.filter(|vm| !vm.state.dead() && !record.knows_vm(&vm.id));
            returned.extend(left.map(|vm| (name.clone(), vm)));
        }
        for (name, vm) in returned {
            self.collect(&name, vm, DriftField::Duplicate, "it was taken for gone");
        }
    }

    fn collect(&mut self, machine: &str, vm: &Vm, field: DriftField, reason: &str) {
        let since = self.input.now;
        let known = self.plan.ledger.knows_vm(&vm.id);
        if known {
            return;
        }
        let subject = machine_subject(machine);
        self.subject = Default::default();
        let have = format!("VM {} ({})", vm.name, vm.state.word());
        let drift = self
            .difference(&subject, field, "no such VM", &have)
            .of(&vm.id);
        if self.drift(drift)
            && let Some(record) = self.plan.ledger.machines.get_mut(machine)
        {
            record.parts_with(vm.id.clone(), reason, since);
        }
    }

    /// A VM with our mark that is not recorded is ours only if a deploy that we recorded made
    /// it; a mark alone may have been copied.
    fn collect_duplicate(&mut self, vm: &Vm) {
        if self.plan.ledger.knows_vm(&vm.id) {
            return;
        }
        let Some(intent) = vm.intent().map(JobId::new) else {
            return;
        };
        let ledger = &self.plan.ledger;
        if ledger.pending.iter().any(|pending| pending.job == intent) {
            return;
        }
        let owner = ledger
            .machines
            .iter()
            .find(|(_, record)| record.deploys.contains(&intent));
        let Some((owner, record)) = owner.map(|(name, record)| (name.clone(), record.clone()))
        else {
            return;
        };
        if !self.deploy_made(&record, &intent, vm) {
            return;
        }
        if record.vm.is_none() && self.fits(&record, vm) {
            self.take_over(&owner, vm);
        } else {
            self.collect(
                &owner,
                vm,
                DriftField::Duplicate,
                "an earlier deploy made it too",
            );
        }
    }

    /// Whether a VM is the one that a recorded deploy made: the one that it is known to have made, or
    /// the one that its job tells of.
    fn deploy_made(&mut self, record: &MachineRecord, intent: &JobId, vm: &Vm) -> bool {
        if let Some(known) = record.made.get(intent) {
            return *known == vm.id;
        }
        let mut marked = self.input.inventory.vms_of_stack(self.uid);
        let copied = marked.any(|other| other.id != vm.id && other.intent() == vm.intent());
        match self.ask(Question::Job(intent.clone())) {
            // CloudStack forgot the job. The VM that it made is the only one with its mark, unless
            // somebody copied the mark of one that was never known.
            Some(Answer::Job(JobOutcome::Unknown)) => !copied,
            Some(Answer::Job(
                JobOutcome::Succeeded { resource }
                | JobOutcome::Lost { resource }
                | JobOutcome::Failed { resource, .. },
            )) => resource.as_deref() == Some(vm.id.as_str()),
            _ => false,
        }
    }

    fn fits(&self, record: &MachineRecord, vm: &Vm) -> bool {
        let tier = self.plan.ledger.tier.as_ref();
        let nic = tier.and_then(|tier| vm.nic_in(tier));
        vm.name == record.host_name
            && nic.is_some_and(|nic| nic.address == Some(record.private_address))
            && matches!(vm.state, VmState::Running | VmState::Stopped)
    }

    /// A VM of an earlier deploy of ours that turned up late is as good as a new one.
    fn take_over(&mut self, machine: &str, vm: &Vm) {
        let subject = machine_subject(machine);
        self.plan.steps.retain(|step| step.subject != subject);
        self.note(
            &subject,
            "Adopted",
            format!("VM {} of an earlier deploy turned up", vm.id),
        );
        if let Some(record) = self.plan.ledger.machines.get_mut(machine) {
            record.vm = Some(vm.id.clone());
            let intent = vm.intent().map(JobId::new);
            record.made.extend(intent.map(|job| (job, vm.id.clone())));
            record.ends();
        }
    }

    fn retire_machine(&mut self, name: &str) {
        let subject = machine_subject(name);
        if self.paused() {
            return;
        }
        if let Some(why) = self.must_stay(name) {
            self.wait(&subject, "MaxUnavailable", why);
            return;
        }
        if self.plan.ledger.pending_on(&subject).is_none() {
            let reason = match self.input.stack.metadata.deleting() {
                true => "its stack is being deleted",
                false => "the manifest wants fewer machines",
            };
            self.say_scaled_in(name);
            self.retire_vm(name, reason);
        }
        self.release_address(name, "its machine is no longer wanted");
    }

    /// Which machine goes and why it is this one, said once.
    fn say_scaled_in(&mut self, name: &str) {
        let record = &self.plan.ledger.machines[name];
        if record.vm.is_none() || self.input.stack.metadata.deleting() {
            return;
        }
        let role = record.role;
        let wanted = self.spec().components.get(role).replicas;
        let message = format!(
            "goes: the manifest wants {wanted} of {role}, and those with the highest numbers go"
        );
        self.note(&machine_subject(name), "ScaledIn", message);
    }

    fn forget_machine(&mut self, name: &str) {
        let record = &self.plan.ledger.machines[name];
        let mine = |subject: &str| super::network::machine_in(subject) == Some(name);
        let idle = !self
            .plan
            .ledger
            .pending
            .iter()
            .any(|pending| mine(&pending.subject));
        if record.retiring
            && record.vm.is_none()
            && record.former.is_empty()
            && record.public_address.is_none()
            && idle
        {
            let ledger = &mut self.plan.ledger;
            ledger.machines.remove(name);
            ledger.applied.retain(|subject, _| !mine(subject));
            ledger.failures.retain(|subject, _| !mine(subject));
            ledger.lost.retain(|subject, _| !mine(subject));
        }
    }

    /// The next step of a VM that has to go.
    fn retire_former(&mut self, machine: &str, former: &Former) {
        let subject = format!("vm {}", former.vm);
        let rights = self.input.catalogue.rights;
        let Some(vm) = self.input.inventory.vms.get(&former.vm) else {
            if rights.expunge && !rights.see_destroyed {
                let reason = "it may still hold its name and address";
                self.step(Step::new(
                    subject,
                    Action::ExpungeVm {
                        vm: former.vm.clone(),
                    },
                    reason,
                ));
            } else if self.plan.ledger.pending_on(&subject).is_none() {
                let question = Question::Vm(former.vm.clone());
                let gone = match former.destroyed {
                    true => self.confirmed_absent(question),
                    false => self.is_gone(&subject, question),
                };
                if gone {
                    self.forget_former(machine, &former.vm);
                }
            }
            return;
        };
        if vm.job.is_some() || vm.state.transitional() {
            return;
        }
        match vm.state {
            VmState::Destroyed if rights.expunge => {
                let action = Action::ExpungeVm { vm: vm.id.clone() };
                self.step(Step::new(subject, action, former.reason.clone()));
            }
            VmState::Destroyed | VmState::Expunging => self.forget_former(machine, &vm.id),
            _ => {
                let action = self.next_farewell(machine, vm);
                self.step(Step::new(subject, action, former.reason.clone()));
            }
        }
    }

    /// Stop, unlead, park, rename, destroy: the first that is still to be done.
    fn next_farewell(&self, machine: &str, vm: &Vm) -> Action {
        let id = vm.id.clone();
        let expunge = self.input.catalogue.rights.expunge;
        let nic = self
            .plan
            .ledger
            .tier
            .as_ref()
            .and_then(|tier| vm.nic_in(tier));
        let movable = matches!(vm.state, VmState::Running | VmState::Stopped);
        if expunge || !movable || self.input.stack.metadata.deleting() {
            return Action::DestroyVm { vm: id, expunge };
        }
        let Some(record) = self.plan.ledger.machines.get(machine) else {
            return Action::DestroyVm { vm: id, expunge };
        };
        if let Some(nat) = self.input.inventory.addresses_of_vm(&vm.id).next()
            && record.holds(&nat.id)
        {
            return Action::DisableStaticNat {
                address: nat.id.clone(),
            };
        }
        let parked = nic.is_none_or(|nic| nic.address != Some(record.private_address));
        let renamed = vm.name != record.host_name;
        if !parked && vm.state == VmState::Running {
            return Action::StopVm { vm: id };
        }
        if let (false, Some(nic), Some(address)) = (parked, nic, self.parking_address()) {
            return Action::MoveNic {
                vm: id,
                nic: nic.id.clone(),
                address,
            };
        }
        if !renamed {
            return Action::UpdateVm {
                change: VmChange::Name(parking_name(vm)),
                vm: id,
            };
        }
        Action::DestroyVm { vm: id, expunge }
    }

    fn forget_former(&mut self, machine: &str, vm: &VmId) {
        if let Some(record) = self.plan.ledger.machines.get_mut(machine) {
            record.former.retain(|former| former.vm != *vm);
        }
        self.plan.ledger.failures.remove(&format!("vm {vm}"));
    }

    /// A deploy that was refused for its address leaves a wreck with the deploy's own mark: proof
    /// that the place is taken, whatever the masked error said.
    pub(super) fn refused_for_its_place(&mut self, machine: &str, intent: &JobId) -> bool {
        let (now, inventory) = (self.input.now, self.input.inventory);
        let made = |vm: &&Vm| vm.intent() == Some(intent.as_str());
        let Some(wreck) = inventory
            .vms_of_stack(self.uid)
            .filter(|vm| vm.is_wreck())
            .find(made)
        else {
            return false;
        };
        let id = wreck.id.clone();
        if let Some(record) = self.plan.ledger.machines.get_mut(machine)
            && !record.knows_vm(&id)
        {
            record.parts_with(id, "its deploy was refused", now);
        }
        true
    }
}

/// A host name that no machine has and that says where it came from.
fn parking_name(vm: &Vm) -> String {
    let short: String = vm
        .id
        .as_str()
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .take(8)
        .collect();
    let keep: String = vm.name.chars().take(50).collect();
    format!("{}-x{short}", keep.trim_end_matches('-'))
}
