//! What the world would be if a step worked: the planner's own model of CloudStack.
//!
//! Deliberately simple: every command works at once. It serves the preview and the proof that
//! plans converge; what CloudStack really does is for the next look to tell.

use std::net::Ipv4Addr;

use crate::types::{
    action::{Action, Answer, Deploy, JobOutcome, Question, TagKind, VmChange, mark},
    id::{AclRuleId, AddressId, JobId, NetworkId, NicId, VmId, VpcId},
    inventory::{
        AclList, AclRule, Address, AffinityGroup, Inventory, Network, Nic, Tags, Vm, VmState, Vpc,
    },
    ledger::Ledger,
    stack::RuleSpec,
};

/// What stands for the first public address that nobody can know before CloudStack gives it; others
/// follow. Of a range that no cloud has (RFC 5737).
pub(super) const UNKNOWN: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);

/// Applies an action to an inventory; gives the id of what it made.
pub(super) fn predict(inventory: &mut Inventory, action: &Action, job: &JobId) -> Option<String> {
    let id = format!("new-{job}");
    let made = match action {
        Action::CreateVpc { .. } | Action::CreateTier { .. } | Action::AssociateAddress { .. } => {
            predict_network(inventory, action, &id);
            Some(id)
        }
        Action::DeployVm(deploy) => {
            let vm = deployed(deploy, &id, job);
            inventory.vms.insert(vm.id.clone(), vm);
            Some(id)
        }
        Action::CreateAclList { .. } | Action::CreateAffinityGroup { .. } => Some(id),
        Action::CreateAclRule { acl, number, rule } => {
            let row = rule_row(AclRuleId::new(id.as_str()), acl.clone(), *number, rule);
            inventory.rules.insert(row.id.clone(), row);
            Some(id)
        }
        other => {
            predict_change(inventory, other);
            None
        }
    };
    inventory.index();
    made
}

fn predict_network(inventory: &mut Inventory, action: &Action, id: &str) {
    match action {
        Action::CreateVpc {
            name,
            display_text,
            cidr,
            ..
        } => {
            let vpc = Vpc {
                id: VpcId::new(id),
                name: name.clone(),
                display_text: display_text.clone(),
                state: "Enabled".to_owned(),
                cidr: *cidr,
                tags: Tags::new(),
                job: None,
            };
            inventory.vpcs.insert(vpc.id.clone(), vpc);
        }
        Action::CreateTier {
            vpc,
            acl,
            name,
            display_text,
            cidr,
            gateway,
            ..
        } => {
            let tier = Network {
                id: NetworkId::new(id),
                name: name.clone(),
                display_text: display_text.clone(),
                state: "Allocated".to_owned(),
                cidr: Some(*cidr),
                gateway: Some(*gateway),
                vpc: Some(vpc.clone()),
                acl: Some(acl.clone()),
                tags: Tags::new(),
                job: None,
            };
            inventory.networks.insert(tier.id.clone(), tier);
        }
        Action::AssociateAddress { vpc, ip } => {
            let place = u32::try_from(inventory.addresses.len()).unwrap_or_default();
            let address = Address {
                id: AddressId::new(id),
                ip: ip.unwrap_or(Ipv4Addr::from(u32::from(UNKNOWN) + place)),
                state: "Allocated".to_owned(),
                vpc: Some(vpc.clone()),
                tier: None,
                source_nat: false,
                vm: None,
                tags: Tags::new(),
                job: None,
                leased: None,
            };
            inventory.addresses.insert(address.id.clone(), address);
        }
        other => unreachable!("{} makes no network", other.command()),
    }
}

fn deployed(deploy: &Deploy, id: &str, job: &JobId) -> Vm {
    let mut details = deploy.details.clone();
    details.insert(mark::INTENT.to_owned(), job.to_string());
    Vm {
        id: VmId::new(id),
        name: deploy.name.clone(),
        display_name: deploy.display_name.clone(),
        state: VmState::Stopped,
        template: Some(deploy.template.clone()),
        offering: Some(deploy.offering.clone()),
        nics: vec![Nic {
            id: NicId::new(format!("nic-{id}")),
            network: deploy.tier.clone(),
            address: Some(deploy.address),
        }],
        affinity_groups: deploy.affinity_groups.iter().cloned().collect(),
        details,
        tags: Tags::new(),
        job: None,
        user_data_hash: Some(deploy.user_data_hash.clone()),
        created: None,
    }
}

fn rule_row(id: AclRuleId, acl: crate::types::id::AclId, number: u32, rule: &RuleSpec) -> AclRule {
    AclRule {
        id,
        acl,
        number,
        protocol: Some(rule.protocol),
        start_port: rule.start_port,
        end_port: rule.end_port,
        cidrs: rule.cidrs.clone(),
        other_cidrs: Vec::new(),
        direction: rule.direction,
        action: rule.action,
        reason: rule.reason.clone(),
        state: "Active".to_owned(),
        icmp: None,
    }
}

fn predict_change(inventory: &mut Inventory, action: &Action) {
    match action {
        Action::DeleteVpc { vpc } => {
            inventory.vpcs.remove(vpc);
            inventory
                .addresses
                .retain(|_, row| row.vpc.as_ref() != Some(vpc));
        }
        Action::DeleteTier { tier } => {
            inventory.networks.remove(tier);
        }
        Action::ReplaceAcl { tier, acl } => {
            if let Some(row) = inventory.networks.get_mut(tier) {
                row.acl = Some(acl.clone());
            }
        }
        Action::DeleteAclList { acl } => inventory.rules.retain(|_, rule| rule.acl != *acl),
        Action::UpdateAclRule { id, number, rule } => {
            if let Some(acl) = inventory.rules.get(id).map(|row| row.acl.clone()) {
                inventory
                    .rules
                    .insert(id.clone(), rule_row(id.clone(), acl, *number, rule));
            }
        }
        Action::DeleteAclRule { id } => {
            inventory.rules.remove(id);
        }
        Action::ReleaseAddress { address } => {
            inventory.addresses.remove(address);
        }
        Action::EnableStaticNat { address, vm, tier } => {
            lead(inventory, address, Some(vm), Some(tier));
        }
        Action::DisableStaticNat { address } => lead(inventory, address, None, None),
        Action::DestroyVm { vm, .. } | Action::ExpungeVm { vm } => {
            inventory.vms.remove(vm);
            for row in inventory
                .addresses
                .values_mut()
                .filter(|row| row.vm.as_ref() == Some(vm))
            {
                (row.vm, row.tier) = (None, None);
            }
        }
        Action::Tag {
            kind,
            resources,
            tags,
        } => {
            for id in resources {
                if let Some(row) = tags_of(inventory, *kind, id) {
                    row.extend(tags.clone());
                }
            }
        }
        Action::Untag {
            kind,
            resource,
            keys,
        } => {
            if let Some(row) = tags_of(inventory, *kind, resource) {
                row.retain(|key, _| !keys.contains(key));
            }
        }
        other => predict_vm(inventory, other),
    }
}

fn lead(
    inventory: &mut Inventory,
    address: &AddressId,
    vm: Option<&VmId>,
    tier: Option<&NetworkId>,
) {
    if let Some(row) = inventory.addresses.get_mut(address) {
        (row.vm, row.tier) = (vm.cloned(), tier.cloned());
    }
}

fn tags_of<'a>(inventory: &'a mut Inventory, kind: TagKind, id: &str) -> Option<&'a mut Tags> {
    match kind {
        TagKind::UserVm => inventory
            .vms
            .get_mut(&VmId::new(id))
            .map(|row| &mut row.tags),
        TagKind::PublicIpAddress => inventory
            .addresses
            .get_mut(&AddressId::new(id))
            .map(|row| &mut row.tags),
        TagKind::Vpc => inventory
            .vpcs
            .get_mut(&VpcId::new(id))
            .map(|row| &mut row.tags),
        TagKind::Network => inventory
            .networks
            .get_mut(&NetworkId::new(id))
            .map(|row| &mut row.tags),
    }
}

/// What the command does to the VM that it names.
fn predict_vm(inventory: &mut Inventory, action: &Action) {
    let (Action::StartVm { vm }
    | Action::StopVm { vm }
    | Action::RebootVm { vm }
    | Action::ReimageVm { vm, .. }
    | Action::UpdateVm { vm, .. }
    | Action::ChangeOffering { vm, .. }
    | Action::MoveNic { vm, .. }
    | Action::SetAffinityGroups { vm, .. }) = action
    else {
        return;
    };
    let Some(row) = inventory.vms.get_mut(vm) else {
        return;
    };
    match action {
        Action::StartVm { .. } => {
            row.state = VmState::Running;
            for nic in &row.nics {
                if let Some(network) = inventory.networks.get_mut(&nic.network) {
                    network.state = "Implemented".to_owned();
                }
            }
        }
        Action::StopVm { .. } => row.state = VmState::Stopped,
        Action::ReimageVm { template, .. } => row.template = Some(template.clone()),
        Action::UpdateVm { change, .. } => match change {
            VmChange::Name(name) => row.name.clone_from(name),
            VmChange::DisplayName(name) => row.display_name.clone_from(name),
            VmChange::Details(details) => row.details.clone_from(details),
            VmChange::UserData { hash, .. } => row.user_data_hash = Some(hash.clone()),
        },
        Action::ChangeOffering { offering, .. } => row.offering = Some(offering.clone()),
        Action::MoveNic { nic, address, .. } => {
            for row in row.nics.iter_mut().filter(|row| row.id == *nic) {
                row.address = Some(*address);
            }
        }
        Action::SetAffinityGroups { groups, .. } => {
            row.affinity_groups = groups.iter().cloned().collect();
        }
        _ => {}
    }
}

/// The answer to a question in a predicted world.
pub(super) fn answer(question: &Question, inventory: &Inventory, ledger: &Ledger) -> Answer {
    let present = |there: bool| {
        if there {
            Answer::Present
        } else {
            Answer::Absent
        }
    };
    match question {
        Question::Vm(id) => present(inventory.vms.contains_key(id)),
        Question::Vpc(id) => present(inventory.vpcs.contains_key(id)),
        Question::Tier(id) => present(inventory.networks.contains_key(id)),
        Question::Address(id) => present(inventory.addresses.contains_key(id)),
        Question::AclLists => Answer::AclLists(
            ledger
                .acl
                .iter()
                .map(|id| AclList {
                    id: id.clone(),
                    name: String::new(),
                    description: String::new(),
                    vpc: ledger.vpc.clone(),
                })
                .collect(),
        ),
        Question::AffinityGroups => Answer::AffinityGroups(
            ledger
                .affinity_groups
                .values()
                .map(|id| AffinityGroup {
                    id: id.clone(),
                    name: String::new(),
                    kind: String::new(),
                    description: String::new(),
                })
                .collect(),
        ),
        Question::StuckAddresses => {
            let stray = |id: &AddressId| Address {
                id: id.clone(),
                ip: Ipv4Addr::UNSPECIFIED,
                state: "Allocating".to_owned(),
                vpc: None,
                tier: None,
                source_nat: false,
                vm: None,
                tags: Tags::new(),
                job: None,
                leased: None,
            };
            Answer::Addresses(ledger.strays.iter().map(stray).collect())
        }
        Question::Job(_) => Answer::Job(JobOutcome::Succeeded { resource: None }),
    }
}
