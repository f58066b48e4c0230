//! A second opinion on a plan, written separately from the planner: what must never be sent,
//! whoever decided it.
//!
//! Only a [`CheckedStep`] can be executed, and only [`check`] makes one.

use std::collections::BTreeSet;

use super::{Input, Plan, Step};
use crate::types::{
    action::{Action, mark},
    id::{AclId, AddressId, VmId, VpcId},
    inventory::Inventory,
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
    for step in &plan.steps {
        let twice = (!subjects.insert(step.subject.as_str()))
            .then(|| "two steps at once on one subject".to_owned());
        let foreign = objection(&step.action, &plan.ledger, input);
        match twice
            .or(foreign)
            .or_else(|| records_overflow(&step.action, input))
        {
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
    let recorded = ledger.strays.contains(address)
        || ledger.machines.values().any(|machine| {
            machine
                .public_address
                .as_ref()
                .is_some_and(|known| known.id == *address)
        });
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

/// VM records of the stack that may exist at most: its machines, one more for each that is being
/// replaced, and a few of refused deploys.
fn records_overflow(action: &Action, input: Input<'_>) -> Option<String> {
    let Action::DeployVm(_) = action else {
        return None;
    };
    let wanted = super::machine_names(input.stack).len();
    let limit = 2 * wanted + 3;
    let records = living(input.inventory, input);
    (records > limit)
        .then(|| format!("{records} VM records of the stack exist; {limit} are the limit"))
}

fn living(inventory: &Inventory, input: Input<'_>) -> usize {
    let uid = input.stack.meta().stored_uid();
    inventory
        .vms_of_stack(uid)
        .filter(|vm| !vm.state.dead())
        .count()
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
