//! A second opinion on a plan, written separately from the planner: what must never be sent,
//! whoever decided it.
//!
//! Only a [`CheckedStep`] can be executed, and only [`check`] makes one.

use std::collections::BTreeSet;

use super::{Input, Plan, Step};
use crate::types::{
    action::{Action, mark},
    id::{AclId, AddressId, JobId, VmId, VpcId},
    inventory::Vm,
    ledger::Ledger,
    meta::Resource,
    stack::VpcSpec,
};

/// A step that passed [`check`].
#[derive(Clone, Debug, PartialEq)]
pub struct CheckedStep(Step);

impl CheckedStep {
    /// The step.
    #[must_use]
    pub fn step(&self) -> &Step {
        &self.0
    }
}

/// A step that must not be sent, and why.
#[derive(Clone, Debug, PartialEq)]
pub struct Refusal {
    /// The step.
    pub step: Step,
    /// What it would have violated.
    pub why: String,
}

/// Lets through what touches only what is ours; gives back the rest with reasons. A refusal is a
/// bug of the planner, or a world stranger than it foresaw.
#[must_use]
pub fn check(plan: &Plan, input: Input<'_>) -> (Vec<CheckedStep>, Vec<Refusal>) {
    let mut checked = Vec::new();
    let mut refused = Vec::new();
    let mut subjects = BTreeSet::new();
    let deploys = |step: &Step| matches!(step.action, Action::DeployVm(_));
    // Whoever makes no VM need not count them.
    let mut room = match plan.steps.iter().any(deploys) {
        true => {
            records_limit(&plan.ledger, input).saturating_sub(records(&plan.ledger, None, input))
        }
        false => 0,
    };
    for step in &plan.steps {
        let twice = (!subjects.insert(step.subject.as_str()))
            .then(|| "two steps at once on one subject".to_owned());
        let foreign = objection(&step.action, &plan.ledger, input);
        let full = (deploys(step) && room == 0)
            .then(|| "as many VM records of the stack exist as ever may".to_owned());
        let full = full.or_else(|| full_machine(&step.action, &plan.ledger, input));
        room = room.saturating_sub(usize::from(deploys(step)));
        match twice.or(foreign).or(full) {
            None => checked.push(CheckedStep(step.clone())),
            Some(why) => refused.push(Refusal {
                step: step.clone(),
                why,
            }),
        }
    }
    (checked, refused)
}

/// Why an action must not be sent, if it must not.
fn objection(action: &Action, ledger: &Ledger, input: Input<'_>) -> Option<String> {
    let inventory = input.inventory;
    match action {
        Action::CreateVpc { .. } | Action::CreateAffinityGroup { .. } | Action::DeployVm(_) => None,
        Action::DeleteAffinityGroup { group } => {
            let recorded = ledger.affinity_groups.values().any(|known| known == group);
            (!recorded).then(|| format!("affinity group {group} is not this stack's"))
        }
        Action::CreateAclList { vpc, .. }
        | Action::CreateTier { vpc, .. }
        | Action::AssociateAddress { vpc, .. } => foreign_vpc(vpc, ledger, input),
        Action::DeleteVpc { vpc } => (ledger.vpc.as_ref() != Some(vpc))
            .then(|| format!("VPC {vpc} was not made for this stack")),
        Action::DeleteTier { tier } | Action::ReplaceAcl { tier, .. } => {
            (ledger.tier.as_ref() != Some(tier)).then(|| format!("tier {tier} is not this stack's"))
        }
        Action::DeleteAclList { acl } | Action::CreateAclRule { acl, .. } => {
            foreign_acl(acl, ledger)
        }
        Action::UpdateAclRule { id, .. } | Action::DeleteAclRule { id } => {
            match inventory.rules.get(id) {
                Some(rule) => foreign_acl(&rule.acl, ledger),
                None => Some(format!("rule {id} was not seen")),
            }
        }
        Action::ReleaseAddress { address } | Action::DisableStaticNat { address } => {
            foreign_address(address, ledger)
        }
        Action::EnableStaticNat { address, vm, .. } => {
            foreign_address(address, ledger).or_else(|| foreign_vm(vm, ledger, input))
        }
        Action::StartVm { vm }
        | Action::StopVm { vm }
        | Action::RebootVm { vm }
        | Action::DestroyVm { vm, .. }
        | Action::ExpungeVm { vm }
        | Action::ReimageVm { vm, .. }
        | Action::UpdateVm { vm, .. }
        | Action::ChangeOffering { vm, .. }
        | Action::MoveNic { vm, .. }
        | Action::SetAffinityGroups { vm, .. } => foreign_vm(vm, ledger, input),
        Action::Tag { resources, .. } => resources
            .iter()
            .find_map(|id| foreign_taggable(id, ledger, input)),
        Action::Untag { resource, .. } => foreign_taggable(resource, ledger, input),
    }
}

fn foreign_vpc(vpc: &VpcId, ledger: &Ledger, input: Input<'_>) -> Option<String> {
    let named = match &input.stack.spec.network.vpc {
        VpcSpec::Existing { id } => id == vpc,
        VpcSpec::Owned { .. } => ledger.vpc.as_ref() == Some(vpc),
    };
    (!named).then(|| format!("VPC {vpc} is neither made for this stack nor named by it"))
}

fn foreign_acl(acl: &AclId, ledger: &Ledger) -> Option<String> {
    (ledger.acl.as_ref() != Some(acl))
        .then(|| format!("network ACL list {acl} is not this stack's"))
}

fn foreign_address(address: &AddressId, ledger: &Ledger) -> Option<String> {
    let mut machines = ledger.machines.values();
    let recorded =
        ledger.strays.contains(address) || machines.any(|machine| machine.holds(address));
    (!recorded).then(|| format!("address {address} is not recorded as this stack's"))
}

fn foreign_vm(vm: &VmId, ledger: &Ledger, input: Input<'_>) -> Option<String> {
    if !ledger.knows_vm(vm) {
        return Some(format!("VM {vm} is not recorded as this stack's"));
    }
    let uid = input.stack.meta().stored_uid();
    let row = input.inventory.vms.get(vm)?;
    let other = row
        .details
        .get(mark::STACK)
        .is_some_and(|mark| mark != uid.as_str());
    other.then(|| format!("VM {vm} carries the mark of another stack"))
}

fn foreign_taggable(id: &str, ledger: &Ledger, input: Input<'_>) -> Option<String> {
    let vm = VmId::new(id);
    if input.inventory.vms.contains_key(&vm) {
        return foreign_vm(&vm, ledger, input);
    }
    foreign_address(&AddressId::new(id), ledger)
}

/// VM records that a stack may have at most, whatever fails: one for each machine that it has or
/// is to have, its surge, and a few for wrecks and lost answers.
fn records_limit(ledger: &Ledger, input: Input<'_>) -> usize {
    let names = super::machine_names(input.stack);
    let mut machines: BTreeSet<&str> = ledger.machines.keys().map(String::as_str).collect();
    machines.extend(names.iter().map(|(name, _, _)| name.as_str()));
    machines.len() + input.stack.spec.update.max_surge as usize + super::budget::SPARE_RECORDS
}

/// Why a machine gets no further VM, where that many records of it exist.
fn full_machine(action: &Action, ledger: &Ledger, input: Input<'_>) -> Option<String> {
    let Action::DeployVm(deploy) = action else {
        return None;
    };
    let most = super::budget::RECORDS_OF_A_MACHINE;
    (records(ledger, Some(&deploy.machine), input) >= most)
        .then(|| format!("{most} VM records of {} exist already", deploy.machine))
}

/// VM records of the stack, or of one machine: those that are ours by record or were made by a
/// deploy of ours and are not dead, and those of deploys whose VM no list shows yet.
fn records(ledger: &Ledger, machine: Option<&str>, input: Input<'_>) -> usize {
    let counts = |name: &str| machine.is_none_or(|machine| machine == name);
    let machines = || {
        let all = ledger.machines.iter();
        all.filter(|(name, _)| counts(name))
            .map(|(_, record)| record)
    };
    let marked = || {
        input
            .inventory
            .vms_of_stack(input.stack.meta().stored_uid())
    };
    let intent = |vm: &Vm| Some(JobId::new(vm.intent()?));
    let alive = |vm: &VmId| {
        let row = input.inventory.vms.get(vm);
        row.is_some_and(|row| !row.state.dead())
    };
    let recorded = machines().map(|record| {
        let former = record.former.iter().map(|former| &former.vm);
        former.chain(&record.vm).filter(|vm| alive(vm)).count()
    });
    let made = marked().filter(|vm| !vm.state.dead() && !ledger.knows_vm(&vm.id));
    let made = made.filter(|vm| {
        intent(vm).is_some_and(|job| machines().any(|record| record.may_have_made(&job, &vm.id)))
    });
    let shown: BTreeSet<JobId> = marked().filter_map(intent).collect();
    let coming = ledger.pending.iter().filter(|pending| {
        let ours = match &pending.action {
            Action::DeployVm(deploy) => counts(&deploy.machine),
            _ => false,
        };
        ours && !shown.contains(&pending.job)
    });
    recorded.sum::<usize>() + made.count() + coming.count()
}

/// Whether a command takes its VM's service away while it runs.
#[must_use]
pub fn takes_away(action: &Action) -> bool {
    matches!(
        action,
        Action::StopVm { .. }
            | Action::RebootVm { .. }
            | Action::ReimageVm { .. }
            | Action::DestroyVm { .. }
            | Action::ExpungeVm { .. }
    )
}
