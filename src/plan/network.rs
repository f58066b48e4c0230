//! The VPC, its network ACL list, the tier, the affinity groups, and each machine's place.

use std::{collections::BTreeSet, net::Ipv4Addr, sync::Arc};

use ipnet::Ipv4Net;

use super::{Planner, Step, address_subject, machine_subject, wish};
use crate::types::{
    action::{Action, Answer, Question, mark},
    id::{AclId, NetworkId, VmId, VpcId},
    inventory::{AclList, Network},
    ledger::{Lost, MachineRecord},
    role::Role,
    stack::{AclSpec, DriftField, VpcSpec},
};

/// The tier's first addresses are left to people: gateways, jump hosts, things made by hand.
const FIRST_HOST: u32 = 10;

/// What is said of a look that is torn.
const TORN: &str = "it is not listed, and what is in it still is; looking again";

impl Planner<'_> {
    /// The network from the outside in; what is inside waits until what is around it stands.
    pub(super) fn network(&mut self) {
        self.find_vpc();
        if self.vpc().is_some() {
            self.acl_list();
            self.tier();
        }
        self.mourn();
    }

    /// The VPC, once it is there and may be built in.
    pub(super) fn vpc(&self) -> Option<VpcId> {
        let id = match &self.spec().network.vpc {
            VpcSpec::Existing { id } => Some(id),
            VpcSpec::Owned { .. } => self.plan.ledger.vpc.as_ref(),
        };
        id.filter(|id| {
            self.input
                .inventory
                .vpcs
                .get(id)
                .is_some_and(|vpc| vpc.state == "Enabled")
        })
        .cloned()
    }

    /// The tier's network ACL list, once it is recorded.
    pub(super) fn acl(&self) -> Option<AclId> {
        match &self.spec().network.acl {
            AclSpec::Existing { id } => Some(id.clone()),
            AclSpec::Managed => self.plan.ledger.acl.clone(),
        }
    }

    /// The tier, once it is there.
    pub(super) fn tier_row(&self) -> Option<&Network> {
        self.input
            .inventory
            .networks
            .get(self.plan.ledger.tier.as_ref()?)
    }

    fn find_vpc(&mut self) {
        match &self.spec().network.vpc {
            VpcSpec::Existing { id } => self.existing_vpc(id),
            VpcSpec::Owned { .. } => self.owned_vpc(),
        }
    }

    fn existing_vpc(&mut self, id: &VpcId) {
        match self.input.inventory.vpcs.get(id) {
            Some(vpc) if vpc.state == "Enabled" => {}
            Some(vpc) => {
                self.blocked("vpc", "WaitingOnVpc", format!("VPC {id} is {}", vpc.state));
            }
            None if self.confirmed_absent(Question::Vpc(id.clone())) => {
                let message = format!("spec.network.vpc.id: the account has no VPC {id}");
                self.blocked("vpc", "NotFound", message);
            }
            None => self.wait(
                "vpc",
                "Confirming",
                format!("looking whether VPC {id} exists"),
            ),
        }
    }

    fn owned_vpc(&mut self) {
        let VpcSpec::Owned { cidr, .. } = &self.spec().network.vpc else {
            return;
        };
        if let Some(id) = self.plan.ledger.vpc.clone() {
            match self.input.inventory.vpcs.get(&id) {
                Some(vpc) if vpc.state == "Enabled" => return,
                Some(vpc) => {
                    self.wait("vpc", "WaitingOnVpc", format!("VPC {id} is {}", vpc.state));
                    return;
                }
                None if self.torn_vpc(&id) => {
                    self.wait("vpc", "Confirming", TORN);
                    return;
                }
                None if self.is_gone("vpc", Question::Vpc(id.clone())) => self.vpc_is_gone(&id),
                None => return,
            }
        }
        let stack = &self.input.stack.metadata;
        let (Some(offering), Some(zone)) = (self.wish.vpc_offering.clone(), self.wish.zone.clone())
        else {
            return;
        };
        if self.failed_before("vpc")
            && let Some(left) = self.input.inventory.vpcs_of_stack(self.uid).next()
        {
            self.plan.ledger.vpc = Some(left.id.clone());
            self.turned_up("vpc", left.id.as_str());
            return;
        }
        let action = Action::CreateVpc {
            name: stack.name.clone(),
            display_text: mark::text(&stack.namespace, &stack.name, self.uid),
            cidr: *cidr,
            offering,
            zone,
        };
        self.create("vpc", action, "the stack needs its VPC");
    }

    /// Whether a create is tried again that was refused, or whose job failed. CloudStack makes such
    /// a thing when it takes the request in, and a job that fails later may leave it.
    fn failed_before(&self, subject: &str) -> bool {
        self.plan.ledger.failures.contains_key(subject)
            && self.plan.ledger.pending_on(subject).is_none()
    }

    /// The ACL list in a VPC that carries our mark, if any does; nothing while that is being asked.
    pub(super) fn marked_acl_list(&mut self, vpc: &VpcId) -> Option<Option<AclId>> {
        let uid = self.uid;
        let ours = |list: &&AclList| {
            let marked = mark::uid_in(&list.description);
            list.vpc.as_ref() == Some(vpc) && marked.as_ref() == Some(uid)
        };
        Some(match self.ask(Question::AclLists)? {
            Answer::AclLists(lists) => lists.iter().find(ours).map(|list| list.id.clone()),
            _ => None,
        })
    }

    /// The tier of this range in a VPC that carries our mark, if a list shows one.
    pub(super) fn marked_tier(&self, vpc: &VpcId, cidr: Ipv4Net) -> Option<NetworkId> {
        let mut tiers = self.input.inventory.networks_of(vpc);
        let ours = |tier: &&Network| {
            let marked = mark::uid_in(&tier.display_text);
            tier.cidr == Some(cidr) && marked.as_ref() == Some(self.uid)
        };
        tiers.find(ours).map(|tier| tier.id.clone())
    }

    /// Notes that a create which failed left what it was to make, which is ours now.
    fn turned_up(&mut self, subject: &str, id: &str) {
        self.plan.ledger.failures.remove(subject);
        let message = format!("{id} is there although its create failed");
        self.note(subject, "Adopted", message);
    }

    /// Whether anything is shown in a VPC that is not. The lists of a look are read one beside the
    /// other; one that was read before a deletion must not be told from by one that was read after.
    fn torn_vpc(&self, vpc: &VpcId) -> bool {
        let tier = self.plan.ledger.tier.as_ref();
        let mut networks = self.input.inventory.networks_of(vpc);
        networks.next().is_some() || tier.is_some_and(|tier| self.torn_tier(tier))
    }

    /// The same of a tier.
    fn torn_tier(&self, tier: &NetworkId) -> bool {
        let mut vms = self.input.inventory.vms_in_network(tier);
        vms.any(|vm| !vm.state.dead())
    }

    /// Whether the network that the machines are recorded in is not listed: whether they are gone is
    /// found out when it is known what became of that.
    pub(super) fn misses_the_network(&self) -> bool {
        let (ledger, listed) = (&self.plan.ledger, self.input.inventory);
        let (vpc, tier) = (ledger.vpc.as_ref(), ledger.tier.as_ref());
        vpc.is_some_and(|vpc| !listed.vpcs.contains_key(vpc))
            || tier.is_some_and(|tier| !listed.networks.contains_key(tier))
    }

    /// What was inside a VPC went with it; machines and addresses are confirmed one by one.
    fn vpc_is_gone(&mut self, id: &VpcId) {
        self.lose("vpc", "deleted", id.as_str());
        if let Some(tier) = self.plan.ledger.tier.take() {
            self.tier_is_gone(&tier, "deleted with its VPC");
        }
        self.plan.ledger.vpc = None;
        self.plan.ledger.acl = None;
    }

    /// A tier cannot be deleted while a VM is in it, so its machines' VMs are gone too.
    fn tier_is_gone(&mut self, tier: &NetworkId, have: &str) {
        self.lose("tier", have, tier.as_str());
        self.plan.ledger.tier = None;
        let inventory = self.input.inventory;
        for (name, record) in &mut self.plan.ledger.machines {
            let gone = |vm: &VmId| !inventory.vms.contains_key(vm);
            record.former.retain(|former| !gone(&former.vm));
            if let Some(vm) = record.vm.take_if(|vm| gone(vm)) {
                record.ends();
                record.updating = false;
                let lost = Lost {
                    have: "destroyed with its tier".to_owned(),
                    id: vm.to_string(),
                    explained: true,
                    since: self.input.now,
                };
                self.plan.ledger.lost.insert(machine_subject(name), lost);
            }
        }
    }

    /// A step that makes something: the repair of a loss, or just the next thing to make.
    fn create(&mut self, subject: &str, action: Action, reason: &str) {
        let step = match self.plan.ledger.lost.get(subject) {
            None => Step::new(subject, action, reason),
            Some(lost) => Step::new(subject, action, format!("it was {}", lost.have))
                .repairs(DriftField::Existence),
        };
        if step.repairs.is_none() || self.may_repair(DriftField::Existence) {
            self.step(step);
        }
    }

    pub(super) fn may_repair(&self, field: DriftField) -> bool {
        self.spec().drift.mode(field) == crate::types::stack::DriftMode::Repair
    }

    /// Remembers that something is gone until it is there again.
    pub(super) fn lose(&mut self, subject: &str, have: &str, id: &str) {
        let (have, id, since) = (have.to_owned(), id.to_owned(), self.input.now);
        let lost = Lost {
            have,
            id,
            explained: false,
            since,
        };
        self.plan
            .ledger
            .lost
            .entry(subject.to_owned())
            .or_insert(lost);
    }

    /// Shows every loss as drift until it is made good.
    fn mourn(&mut self) {
        let ledger = &self.plan.ledger;
        let back = |subject: &str| match subject {
            "vpc" => ledger.vpc.is_some(),
            "tier" => ledger.tier.is_some(),
            "acl" => ledger.acl.is_some(),
            _ => match subject.split_once(' ') {
                Some(("affinity", role)) => ledger
                    .affinity_groups
                    .keys()
                    .any(|known| known.name() == role),
                Some(("address", machine)) => ledger
                    .machines
                    .get(machine)
                    .is_none_or(|record| record.public_address.is_some()),
                Some(("machine", machine)) => ledger
                    .machines
                    .get(machine)
                    .is_none_or(|record| record.started_at.is_some()),
                _ => true,
            },
        };
        let mut lost = ledger.lost.clone();
        lost.retain(|subject, _| !back(subject));
        for (subject, lost) in &lost {
            let drift = self
                .difference(subject, DriftField::Existence, "exists", &lost.have)
                .of(&lost.id);
            self.drift(drift);
        }
        self.plan.ledger.lost = lost;
    }

    fn acl_list(&mut self) {
        let AclSpec::Managed = self.spec().network.acl else {
            return;
        };
        let Some(vpc) = self.vpc() else { return };
        if let Some(acl) = self.plan.ledger.acl.clone() {
            // No list of a look shows an empty ACL list, so it is only doubted when its rules or
            // its tier are refused.
            let doubted = self.plan.ledger.failures.keys().any(|subject| {
                subject == "tier" || subject == "acl" || subject.starts_with("rule ")
            });
            let shown = self.input.inventory.rules_of(&acl).next().is_some();
            if shown || !doubted || !self.acl_list_is_gone(&acl) {
                return;
            }
            self.lose("acl", "deleted", acl.as_str());
            self.plan.ledger.acl = None;
        }
        if self.failed_before("acl") {
            let Some(answered) = self.marked_acl_list(&vpc) else {
                return;
            };
            if let Some(left) = answered {
                self.turned_up("acl", left.as_str());
                self.plan.ledger.acl = Some(left);
                return;
            }
        }
        let stack = &self.input.stack.metadata;
        let action = Action::CreateAclList {
            vpc,
            name: stack.name.clone(),
            description: mark::text(&stack.namespace, &stack.name, self.uid),
        };
        self.create("acl", action, "the tier needs its network ACL list");
    }

    fn tier(&mut self) {
        if let Some(id) = self.plan.ledger.tier.clone() {
            if self.input.inventory.networks.contains_key(&id) {
                self.tier_acl(&id);
                return;
            }
            if self.torn_tier(&id) {
                self.wait("tier", "Confirming", TORN);
                return;
            }
            if !self.is_gone("tier", Question::Tier(id.clone())) {
                return;
            }
            self.tier_is_gone(&id, "deleted");
        }
        let Some(acl) = self.acl() else {
            self.wait("tier", "WaitingOnAcl", "the network ACL list comes first");
            return;
        };
        let stack = &self.input.stack.metadata;
        let network = &self.spec().network;
        let (Some(vpc), Some(offering), Some(zone)) = (
            self.vpc(),
            self.wish.tier_offering.clone(),
            self.wish.zone.clone(),
        ) else {
            return;
        };
        if self.failed_before("tier")
            && let Some(left) = self.marked_tier(&vpc, network.cidr.trunc())
        {
            self.turned_up("tier", left.as_str());
            self.plan.ledger.tier = Some(left);
            return;
        }
        let action = Action::CreateTier {
            vpc,
            acl,
            name: stack.name.clone(),
            display_text: mark::text(&stack.namespace, &stack.name, self.uid),
            cidr: network.cidr.trunc(),
            gateway: network.gateway(),
            offering,
            zone,
        };
        self.create("tier", action, "the machines need their tier");
    }

    fn tier_acl(&mut self, tier: &NetworkId) {
        let Some(want) = self.acl() else { return };
        let have = self.tier_row().and_then(|row| row.acl.clone());
        self.consider("tier", want.as_str());
        if have.as_ref() == Some(&want) {
            self.in_sync();
            return;
        }
        let have = have.map_or_else(|| "none".to_owned(), |acl| acl.to_string());
        let drift = self
            .difference("tier", DriftField::Acl, &want, &have)
            .of(tier);
        if self.drift(drift) {
            let reason = format!("the tier has network ACL list {have} instead of {want}");
            let action = Action::ReplaceAcl {
                tier: tier.clone(),
                acl: want,
            };
            self.step(Step::new("tier", action, reason).repairs(DriftField::Acl));
        }
    }

    /// One affinity group for each role that wants one.
    pub(super) fn affinity_groups(&mut self) {
        for role in Role::ALL {
            let subject = format!("affinity {role}");
            let wanted = wish::affinity_kind(self.spec(), role).filter(|_| {
                self.wish
                    .machines
                    .iter()
                    .any(|machine| machine.role == role)
            });
            match (wanted, self.plan.ledger.affinity_groups.get(&role).cloned()) {
                // One that was lost, or could not be made, is missed no longer.
                (None, None) => {
                    self.plan.ledger.lost.remove(&subject);
                    self.plan.ledger.failures.remove(&subject);
                }
                (None, Some(group)) => {
                    let action = Action::DeleteAffinityGroup { group };
                    self.step(Step::new(
                        subject,
                        action,
                        "the role wants no affinity group",
                    ));
                }
                (Some(_), Some(_)) if !self.affinity_group_is_gone(role) => {}
                (Some(kind), _) => self.create_affinity_group(&subject, role, kind),
            }
        }
    }

    fn create_affinity_group(&mut self, subject: &str, role: Role, kind: &str) {
        let stack = &self.input.stack.metadata;
        let short = self.uid.as_str().split('-').next().unwrap_or_default();
        let name = format!("weir-{}-{role}-{short}", stack.name);
        if self.failed_before(subject) {
            let Some(answer) = self.ask(Question::AffinityGroups) else {
                return;
            };
            if let Answer::AffinityGroups(groups) = answer
                && let Some(left) = groups.iter().find(|group| {
                    let marked = mark::uid_in(&group.description);
                    group.name == name && marked.as_ref() == Some(self.uid)
                })
            {
                let groups = &mut self.plan.ledger.affinity_groups;
                groups.insert(role, left.id.clone());
                self.turned_up(subject, left.id.as_str());
                return;
            }
        }
        let action = Action::CreateAffinityGroup {
            name,
            kind: kind.to_owned(),
            description: mark::text(&stack.namespace, &stack.name, self.uid),
        };
        let reason = format!("machines of {role} are kept on different hosts");
        self.create(subject, action, &reason);
    }

    /// VMs carry their groups; only where none of the role's does is the group asked for. Where
    /// there are no VMs yet it is asked for once one was lost, or could not be deployed.
    fn affinity_group_is_gone(&mut self, role: Role) -> bool {
        let Some(group) = self.plan.ledger.affinity_groups.get(&role).cloned() else {
            return true;
        };
        let ledger = &self.plan.ledger;
        let mut records = ledger
            .machines
            .iter()
            .filter(|(_, record)| record.role == role);
        let vm_of = |record: &MachineRecord| self.input.inventory.vms.get(record.vm.as_ref()?);
        let vms: Vec<_> = records
            .clone()
            .filter_map(|(_, record)| vm_of(record))
            .collect();
        let doubtful = |name: &str| {
            let subject = machine_subject(name);
            ledger.lost.contains_key(&subject) || ledger.failures.contains_key(&subject)
        };
        let no_reason = vms.is_empty() && !records.any(|(name, _)| doubtful(name));
        if no_reason || vms.iter().any(|vm| vm.affinity_groups.contains(&group)) {
            return false;
        }
        match self.ask(Question::AffinityGroups) {
            Some(Answer::AffinityGroups(groups)) if groups.iter().all(|row| row.id != group) => {
                self.lose(&format!("affinity {role}"), "deleted", group.as_str());
                self.plan.ledger.affinity_groups.remove(&role);
                true
            }
            _ => false,
        }
    }

    /// A record for each machine that is wanted, with its name and its address in the tier; the
    /// others retire.
    pub(super) fn records(&mut self) {
        let wishes = Arc::clone(&self.wish.machines);
        let wished: BTreeSet<&str> = wishes.iter().map(|wish| wish.name.as_str()).collect();
        let kept = self.kept_for_approval(&wished);
        for (name, record) in &mut self.plan.ledger.machines {
            record.retiring = !wished.contains(name.as_str()) && !kept.contains(name);
        }
        for wish in wishes.iter() {
            self.record(wish);
        }
    }

    fn record(&mut self, wish: &super::wish::MachineWish) {
        let free_to_move = |record: &MachineRecord, address: Ipv4Addr| {
            !record
                .held
                .iter()
                .any(|held| held.private_address == address)
        };
        let current = self.plan.ledger.machines.get(&wish.name);
        let address = match (current, wish.fixed) {
            (None, Some(fixed)) => Some(fixed),
            (None, None) => self.free_address(),
            (Some(record), Some(fixed)) if free_to_move(record, fixed) => Some(fixed),
            (Some(record), _) if !free_to_move(record, record.private_address) => {
                self.free_address()
            }
            (Some(_), _) => return,
        };
        let Some(address) = address else {
            let message = format!("no address is free in {}", self.spec().network.cidr);
            self.blocked(&machine_subject(&wish.name), "NoFreeAddress", message);
            return;
        };
        let record = self.plan.ledger.machines.entry(wish.name.clone());
        let (role, index, name) = (wish.role, wish.index, wish.name.clone());
        record
            .or_insert_with(|| MachineRecord::new(role, index, name, address))
            .private_address = address;
    }

    /// The lowest address of the tier that nobody has or is to have.
    pub(super) fn free_address(&self) -> Option<Ipv4Addr> {
        let taken = self.taken_addresses();
        self.hosts().find(|address| !taken.contains(address))
    }

    /// The highest such address: a parking place for a VM that is about to be destroyed.
    pub(super) fn parking_address(&self) -> Option<Ipv4Addr> {
        let taken = self.taken_addresses();
        self.hosts().rev().find(|address| !taken.contains(address))
    }

    /// Addresses of the tier that machines may have, lowest first.
    fn hosts(&self) -> impl DoubleEndedIterator<Item = Ipv4Addr> + use<> {
        let cidr = self.spec().network.cidr;
        let (network, broadcast) = (u32::from(cidr.network()), u32::from(cidr.broadcast()));
        let first = if broadcast - network > 4 * FIRST_HOST {
            FIRST_HOST
        } else {
            2
        };
        (network + first..broadcast).map(Ipv4Addr::from)
    }

    fn taken_addresses(&self) -> BTreeSet<Ipv4Addr> {
        let ledger = &self.plan.ledger;
        let mut taken = BTreeSet::from([self.spec().network.gateway()]);
        for record in ledger.machines.values() {
            taken.insert(record.private_address);
            taken.extend(record.held.iter().map(|held| held.private_address));
        }
        taken.extend(ledger.parked.iter().map(|parked| parked.address));
        taken.extend(self.wish.machines.iter().filter_map(|wish| wish.fixed));
        taken.extend(self.plan.steps.iter().filter_map(|step| match step.action {
            Action::MoveNic { address, .. } => Some(address),
            _ => None,
        }));
        if let Some(tier) = &ledger.tier {
            let nics = self
                .input
                .inventory
                .vms_in_network(tier)
                .filter_map(|vm| vm.nic_in(tier));
            taken.extend(nics.filter_map(|nic| nic.address));
        }
        taken
    }
}

/// Which machine a subject speaks of.
pub(super) fn machine_in(subject: &str) -> Option<&str> {
    let (kind, name) = subject.split_once(' ')?;
    (machine_subject(name) == subject || address_subject(name) == subject)
        .then_some(name)
        .filter(|_| kind == "machine" || kind == "address")
}
