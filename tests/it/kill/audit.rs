//! What the simulator itself says is there, held against the manifest: exactly its resources, and
//! nobody else's touched. Nothing of Weir's is asked but for the ledger, which must agree.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use weir::{
    plan::machine_names,
    sim::{
        Sim, Who,
        world::{
            Account, AclItem, AclList, Address, AddressState, AffinityGroup, Network, Tag, Vm,
            VmState, Vpc, World, catalogue::Catalogue,
        },
    },
    types::{
        action::mark,
        id::Uid,
        role::Role,
        stack::{ClearwaterStack, Selector},
    },
};

use super::script::Rights;

/// How many addresses carry tags of a former owner.
const USED_ADDRESSES: usize = 6;

/// What others have, in our own account and in another, as it was at the start.
#[derive(Clone)]
pub(crate) struct Strangers {
    account: String,
    things: BTreeMap<String, Held>,
}

/// Something that somebody has, with its tags.
#[derive(Clone, Debug)]
struct Held {
    thing: Thing,
    tags: Vec<Tag>,
}

#[derive(Clone, Debug)]
enum Thing {
    Vm(Box<Vm>),
    Vpc(Vpc),
    Tier(Network),
    List(AclList),
    Rule(AclItem),
    Group(AffinityGroup),
    Address(Address),
}

impl Held {
    /// Whether it is still so.
    fn is_in(&self, id: &str, world: &World) -> bool {
        let thing = match &self.thing {
            Thing::Vm(was) => world.vms.get(id).is_some_and(|is| same_vm(was, is, world)),
            Thing::Vpc(was) => world.vpcs.get(id) == Some(was),
            Thing::Tier(was) => world.networks.get(id).is_some_and(|is| same_tier(was, is)),
            Thing::List(was) => world.acl_lists.get(id) == Some(was),
            Thing::Rule(was) => world.acl_items.get(id) == Some(was),
            Thing::Group(was) => world.affinity_groups.get(id) == Some(was),
            Thing::Address(was) => world.addresses.get(id) == Some(was),
        };
        thing && world.tags_of(id).eq(&self.tags)
    }

    /// Which stack's mark it has, recorded yet or not.
    fn marked(&self) -> Option<Uid> {
        match &self.thing {
            Thing::Vpc(row) => mark::uid_in(&row.display_text),
            Thing::Tier(row) => mark::uid_in(&row.display_text),
            Thing::List(row) => mark::uid_in(&row.description),
            _ => None,
        }
    }

    /// Whether it is of a network that a delete may leave.
    fn is_of_a_network(&self) -> bool {
        match &self.thing {
            Thing::Vpc(_) | Thing::Tier(_) | Thing::List(_) | Thing::Rule(_) => true,
            Thing::Address(row) => row.source_nat,
            Thing::Vm(_) | Thing::Group(_) => false,
        }
    }
}

/// Whether nobody changed a machine. Where hosts failed, whether it runs is no sign of that.
fn same_vm(was: &Vm, is: &Vm, world: &World) -> bool {
    if world.hosts.is_empty() {
        return was == is;
    }
    let cards = |vm: &Vm| {
        vm.nics
            .iter()
            .map(|nic| (nic.id.clone(), nic.ip))
            .collect::<Vec<_>>()
    };
    let there = |vm: &Vm| Vm {
        // The VLAN of its tier is another one when the router comes back.
        nics: match cards(vm) == cards(was) {
            true => was.nics.clone(),
            false => vm.nics.clone(),
        },
        state: was.state,
        guest: was.guest,
        host: was.host.clone(),
        updated: was.updated,
        running_since: was.running_since,
        capacity_freed: was.capacity_freed,
        ..vm.clone()
    };
    *was == there(is)
}

/// Whether nobody changed a tier: that its router goes when nothing runs in it is no change.
fn same_tier(was: &Network, is: &Network) -> bool {
    let there = Network {
        state: was.state,
        vlan: was.vlan,
        busy_until: was.busy_until,
        idle_since: was.idle_since,
        ..is.clone()
    };
    *was == there
}

impl Strangers {
    /// Whatever the tenant's account and others have now.
    pub(crate) fn so_far(sim: &Sim) -> Self {
        sim.world(|world| Self {
            account: account_of(world, Who::Tenant).id.clone(),
            things: things_of(world),
        })
    }

    /// A neighbour in another account; in ours a VPC with a tier, a VM, an address and a group;
    /// and tags of a former owner on the next free addresses.
    pub(crate) async fn move_in(sim: &Sim, rights: Rights) -> Self {
        sim.add_neighbour().unwrap();
        let who = rights.who();
        sim.world(|world| {
            world.settings.allow_user_expunge_recover_vm = rights == Rights::Expunger;
            // Many repairs make many records; what an account may have is another test's subject.
            for limits in world.limits.values_mut() {
                *limits = weir::sim::world::Limits::none();
            }
        });
        furnish(sim, who).await;
        sim.world(|world| {
            leave_tags(world);
            let account = account_of(world, who).id.clone();
            let things = things_of(world);
            Self { account, things }
        })
    }

    /// The same, with the networks that stacks left behind which keep them.
    pub(crate) fn and_what_is_left(&self, world: &World, stays: &[ClearwaterStack]) -> Self {
        let taken: BTreeSet<String> = stays
            .iter()
            .flat_map(|stack| things_of_stack(world, stack))
            .collect();
        let mut all = self.clone();
        let left = things_of(world).into_iter();
        let uids: Vec<&Uid> = stays
            .iter()
            .map(|stack| stack.metadata.stored_uid())
            .collect();
        let left = left.filter(|(id, held)| {
            let theirs = held.marked().is_some_and(|uid| uids.contains(&&uid));
            held.is_of_a_network() && !taken.contains(id) && !theirs
        });
        for (id, held) in left {
            all.things.entry(id).or_insert(held);
        }
        all
    }

    /// With things that they have made or changed since, as these are now.
    pub(crate) fn and(&self, world: &World, ids: &[String]) -> Self {
        let mut all = self.clone();
        let more = things_of(world).into_iter();
        let more = more.filter(|(id, _)| ids.contains(id));
        all.things.extend(more);
        all
    }

    /// Whether something is theirs.
    pub(crate) fn have(&self, id: &str) -> bool {
        self.things.contains_key(id)
    }

    /// Whether something of this account is not theirs.
    pub(crate) fn spare(&self, id: &str, account: &str) -> bool {
        account == self.account && !self.things.contains_key(id)
    }

    /// What of theirs is not as it was.
    pub(crate) fn changed_in(&self, world: &World) -> Vec<String> {
        let changed = self.things.iter().filter(|(id, was)| !was.is_in(id, world));
        changed
            .map(|(id, was)| format!("a stranger's {id} is no longer as it was: {was:?}"))
            .collect()
    }
}

fn account_of(world: &World, who: Who) -> &Account {
    let name = match who {
        Who::Admin => "admin",
        Who::Tenant | Who::Operator => "operator",
        Who::Other => "other",
    };
    world.account_named(name).unwrap()
}

async fn furnish(sim: &Sim, who: Who) {
    let (zone, offering, network, service, template) = sim.world(|world| {
        let catalogue = &world.catalogue;
        let first = |rows: &[_]| Catalogue::text(rows.first().unwrap(), "id").to_owned();
        (
            catalogue.zone_id().to_owned(),
            first(&catalogue.vpc_offerings),
            first(&catalogue.network_offerings),
            first(&catalogue.service_offerings),
            first(&catalogue.templates),
        )
    });
    let zone = ("zoneid", zone.as_str());
    let vpc = [
        ("command", "createVPC"),
        ("vpcofferingid", &offering),
        ("cidr", "10.0.0.0/16"),
        ("name", "theirs"),
        zone,
    ];
    let vpc = run(sim, who, &vpc).await;
    let tier = [
        ("command", "createNetwork"),
        ("networkofferingid", &network),
        ("vpcid", &vpc),
        ("gateway", "10.0.0.1"),
        ("netmask", "255.255.255.0"),
        ("name", "theirs"),
        zone,
    ];
    let tier = run(sim, who, &tier).await;
    let vm = [
        ("command", "deployVirtualMachine"),
        ("serviceofferingid", &service),
        ("templateid", &template),
        ("iptonetworklist[0].networkid", &tier),
        ("iptonetworklist[0].ip", "10.0.0.10"),
        ("name", "ims-sprout-0"),
        zone,
    ];
    let vm = run(sim, who, &vm).await;
    let address = [("command", "associateIpAddress"), ("vpcid", &vpc)];
    let address = run(sim, who, &address).await;
    let nat = [
        ("command", "enableStaticNat"),
        ("ipaddressid", &address),
        ("virtualmachineid", &vm),
        ("networkid", &tier),
    ];
    run(sim, who, &nat).await;
    let group = [
        ("command", "createAffinityGroup"),
        ("type", "host anti-affinity"),
        ("name", "theirs"),
    ];
    run(sim, who, &group).await;
}

/// Runs a command and gives the id of what it made.
async fn run(sim: &Sim, who: Who, params: &[(&str, &str)]) -> String {
    let reply = sim.call(who, params).await;
    // Time is real here: a job of a slow cloud has to end before the next command.
    assert_eq!(reply.status, 200, "{params:?}: {}", reply.body);
    while sim.world(|world| world.next_change().is_some()) {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    let body: Value = serde_json::from_str(&reply.body).unwrap();
    let inside = body.as_object().unwrap().values().next().unwrap();
    let id = inside["id"].as_str().or(inside["network"]["id"].as_str());
    id.unwrap_or_default().to_owned()
}

fn leave_tags(world: &mut World) {
    let mut free: Vec<&Address> = world
        .addresses
        .values()
        .filter(|address| address.state == AddressState::Free)
        .collect();
    free.sort_by_key(|address| address.ip);
    let account = account_of(world, Who::Tenant).id.clone();
    let tags: Vec<Tag> = free
        .iter()
        .take(USED_ADDRESSES)
        .map(|address| Tag {
            resource_type: "PublicIpAddress".to_owned(),
            resource: address.id.clone(),
            key: mark::TAG_STACK.to_owned(),
            value: "a-former-owner".to_owned(),
            account: account.clone(),
        })
        .collect();
    world.tags.extend(tags);
}

/// Everything that anybody has, by id.
fn things_of(world: &World) -> BTreeMap<String, Held> {
    let vms = world.vms.iter();
    let vms = vms.map(|(id, row)| (id, Thing::Vm(Box::new(row.clone()))));
    let vpcs = world.vpcs.iter();
    let vpcs = vpcs.map(|(id, row)| (id, Thing::Vpc(row.clone())));
    let tiers = world.networks.iter();
    let tiers = tiers.map(|(id, row)| (id, Thing::Tier(row.clone())));
    let lists = world.acl_lists.iter();
    let lists = lists.map(|(id, row)| (id, Thing::List(row.clone())));
    let rules = world.acl_items.iter();
    let rules = rules.map(|(id, row)| (id, Thing::Rule(row.clone())));
    let groups = world.affinity_groups.iter();
    let groups = groups.map(|(id, row)| (id, Thing::Group(row.clone())));
    let held = world.addresses.iter();
    let held = held.filter(|(_, row)| row.state != AddressState::Free);
    let held = held.map(|(id, row)| (id, Thing::Address(row.clone())));
    let all = vms.chain(vpcs).chain(tiers).chain(lists).chain(rules);
    let with_tags = all.chain(groups).chain(held).map(|(id, thing)| {
        let tags = world.tags_of(id).cloned().collect();
        (id.clone(), Held { thing, tags })
    });
    with_tags.collect()
}

/// The ids of what a stack has.
fn things_of_stack(world: &World, stack: &ClearwaterStack) -> BTreeSet<String> {
    let status = stack.status.clone().unwrap_or_default();
    let ledger = &status.ledger;
    let uid = stack.metadata.stored_uid().as_str();
    let vpc = ledger.vpc.as_ref().map(ToString::to_string);
    let mut ids: BTreeSet<String> = vpc.iter().cloned().collect();
    if let Some(acl) = ledger.acl.as_ref().map(ToString::to_string) {
        // A list of its own is the stack's with all that is in it, whoever put it there.
        ids.extend(world.rules_of(&acl).into_iter().map(|rule| rule.id.clone()));
        ids.insert(acl);
    }
    ids.extend(ledger.tier.as_ref().map(ToString::to_string));
    ids.extend(ledger.affinity_groups.values().map(ToString::to_string));
    ids.extend(ledger.strays.iter().map(ToString::to_string));
    for record in ledger.machines.values() {
        ids.extend(record.vm.as_ref().map(ToString::to_string));
        ids.extend(record.former.iter().map(|former| former.vm.to_string()));
        ids.extend(record.public_address.as_ref().map(|own| own.id.to_string()));
    }
    let marked = |vm: &&Vm| vm.details.get(mark::STACK).is_some_and(|mark| mark == uid);
    ids.extend(world.vms.values().filter(marked).map(|vm| vm.id.clone()));
    let inside = |row: &&Address| vpc.is_some() && row.vpc == vpc;
    ids.extend(
        world
            .addresses
            .values()
            .filter(inside)
            .map(|row| row.id.clone()),
    );
    ids
}

/// Whether a stack says that it is ready, in sync and idle.
pub(crate) fn is_settled(stack: &ClearwaterStack) -> bool {
    let Some(status) = &stack.status else {
        return false;
    };
    let ledger = &status.ledger;
    status.phase == "Ready"
        && Some(status.observed_generation) == stack.metadata.generation
        && status.drift.is_empty()
        && status.ready_replicas == status.replicas
        && status.replicas > 0
        && ledger.pending.is_empty()
        && ledger.strays.is_empty()
        && ledger
            .machines
            .values()
            .all(|record| record.former.is_empty())
}

/// The world at one moment, with what is a stranger's.
pub(crate) struct Audit<'a> {
    world: World,
    strangers: &'a Strangers,
    /// What other stacks have.
    others: BTreeSet<String>,
}

impl<'a> Audit<'a> {
    pub(crate) fn of(sim: &Sim, strangers: &'a Strangers) -> Self {
        Self::in_world(sim.world(|world| world.clone()), strangers)
    }

    /// The same for a world that was written down.
    pub(crate) fn in_world(world: World, strangers: &'a Strangers) -> Self {
        Self {
            world,
            strangers,
            others: BTreeSet::new(),
        }
    }

    /// Leaves out what is another stack's, by its ledger and by its mark.
    pub(crate) fn beside(mut self, other: &ClearwaterStack) -> Self {
        let ids = things_of_stack(&self.world, other);
        self.others.extend(ids);
        self
    }

    fn ours(&self, id: &str, account: &str) -> bool {
        self.strangers.spare(id, account) && !self.others.contains(id)
    }

    /// VMs of ours that were not destroyed, wrecks included.
    fn vms(&self) -> impl Iterator<Item = &Vm> {
        let vms = self.world.vms.values();
        vms.filter(|vm| self.ours(&vm.id, &vm.account) && !vm.state.is_gone())
    }

    /// Addresses of ours, those stuck half-way included.
    fn addresses(&self) -> impl Iterator<Item = &Address> {
        self.world.addresses.values().filter(|address| {
            let account = address.account.as_deref().unwrap_or_default();
            address.state != AddressState::Free && self.ours(&address.id, account)
        })
    }

    /// What is wrong with the world of a stack that is ready.
    pub(crate) fn against(&self, stack: &ClearwaterStack) -> Vec<String> {
        let mut wrong = self.strangers.changed_in(&self.world);
        wrong.extend(self.network(stack));
        wrong.extend(self.rules(stack));
        wrong.extend(self.machines(stack));
        wrong.extend(self.public_addresses(stack));
        wrong.extend(self.groups(stack));
        wrong.extend(self.jobs());
        wrong
    }

    /// What is left of stacks that were deleted, so many of their networks retained.
    pub(crate) fn gone(&self, kept: usize) -> Vec<String> {
        let mut wrong = self.strangers.changed_in(&self.world);
        let retained = kept > 0;
        for vm in self.vms() {
            wrong.push(format!("VM {} ({}) is left, {}", vm.name, vm.id, vm.state));
        }
        for address in self
            .addresses()
            .filter(|address| !(retained && address.source_nat))
        {
            wrong.push(format!(
                "address {} is left, {:?}",
                address.ip, address.state
            ));
        }
        wrong.extend(count("VPC", self.vpcs().len(), kept));
        wrong.extend(count("tier", self.tiers().len(), kept));
        wrong.extend(count("ACL list", self.lists().len(), kept));
        wrong.extend(count("affinity group", self.our_groups().len(), 0));
        wrong.extend(self.jobs());
        wrong
    }

    fn vpcs(&self) -> Vec<&weir::sim::world::Vpc> {
        let vpcs = self.world.vpcs.values();
        vpcs.filter(|vpc| self.ours(&vpc.id, &vpc.account))
            .collect()
    }

    fn tiers(&self) -> Vec<&weir::sim::world::Network> {
        let tiers = self.world.networks.values();
        tiers
            .filter(|tier| self.ours(&tier.id, &tier.account))
            .collect()
    }

    /// ACL lists belong to a VPC; any that is not a stranger's is ours.
    fn lists(&self) -> Vec<&weir::sim::world::AclList> {
        let lists = self.world.acl_lists.values();
        lists
            .filter(|list| !self.strangers.have(&list.id) && !self.others.contains(&list.id))
            .collect()
    }

    fn our_groups(&self) -> Vec<&weir::sim::world::AffinityGroup> {
        let groups = self.world.affinity_groups.values();
        groups
            .filter(|group| self.ours(&group.id, &group.account))
            .collect()
    }

    fn network(&self, stack: &ClearwaterStack) -> Vec<String> {
        let (vpcs, tiers, lists) = (self.vpcs(), self.tiers(), self.lists());
        let mut wrong = count("VPC", vpcs.len(), 1);
        wrong.extend(count("tier", tiers.len(), 1));
        wrong.extend(count("ACL list", lists.len(), 1));
        let ([vpc], [tier], [list]) = (vpcs.as_slice(), tiers.as_slice(), lists.as_slice()) else {
            return wrong;
        };
        let ledger = &stack.status.as_ref().unwrap().ledger;
        let uid = stack.metadata.stored_uid();
        let facts = [
            (
                mark::uid_in(&vpc.display_text).as_ref() == Some(uid),
                "the VPC's mark",
            ),
            (
                mark::uid_in(&tier.display_text).as_ref() == Some(uid),
                "the tier's mark",
            ),
            (tier.vpc.as_ref() == Some(&vpc.id), "the tier's VPC"),
            (tier.acl.as_ref() == Some(&list.id), "the tier's ACL list"),
            (list.vpc.as_ref() == Some(&vpc.id), "the ACL list's VPC"),
            (
                ledger.vpc.as_ref().is_some_and(|id| id.as_str() == vpc.id),
                "the recorded VPC",
            ),
            (
                ledger
                    .tier
                    .as_ref()
                    .is_some_and(|id| id.as_str() == tier.id),
                "the recorded tier",
            ),
            (
                ledger.acl.as_ref().is_some_and(|id| id.as_str() == list.id),
                "the recorded list",
            ),
        ];
        wrong.extend(false_ones(&facts));
        wrong
    }

    fn rules(&self, stack: &ClearwaterStack) -> Vec<String> {
        let roles: BTreeSet<Role> = machine_names(stack)
            .iter()
            .map(|(_, role, _)| *role)
            .collect();
        let ports = roles.iter().flat_map(|role| role.ports());
        let line = |traffic: &str, protocol: &str, ports: Option<(u16, u16)>| {
            format!("Allow {traffic} {protocol} {ports:?} 0.0.0.0/0")
        };
        let ingress = ports.map(|port| {
            line(
                "Ingress",
                port.protocol.name(),
                Some((port.start, port.end)),
            )
        });
        let mut want: Vec<String> = ingress.collect();
        want.push(line("Egress", "all", None));
        want.push(line("Ingress", "icmp", None));
        let ours = self.lists();
        let rules = ours.iter().flat_map(|list| self.world.rules_of(&list.id));
        let mut have: Vec<String> = rules
            .map(|rule| {
                let ports = rule.start_port.zip(rule.end_port);
                let what = format!("{} {} {}", rule.action, rule.traffic, rule.protocol);
                format!("{what} {ports:?} {}", rule.cidr_list)
            })
            .collect();
        want.sort();
        have.sort();
        if want == have {
            return Vec::new();
        }
        vec![format!("the rules are {have:#?} instead of {want:#?}")]
    }

    fn machines(&self, stack: &ClearwaterStack) -> Vec<String> {
        let wanted = machine_names(stack);
        let mut wrong = Vec::new();
        for (name, role, _) in &wanted {
            let marked = |vm: &&Vm| vm.details.get(mark::MACHINE) == Some(name);
            let vms: Vec<&Vm> = self.vms().filter(marked).collect();
            match vms.as_slice() {
                [vm] => wrong.extend(self.machine(stack, name, *role, vm)),
                several => wrong.push(format!("{name} has {} VMs", several.len())),
            }
        }
        for vm in self.vms() {
            let known = wanted
                .iter()
                .any(|(name, _, _)| vm.details.get(mark::MACHINE) == Some(name));
            if !known {
                wrong.push(format!(
                    "VM {} ({}, {}) is nobody's",
                    vm.name, vm.id, vm.state
                ));
            }
        }
        wrong
    }

    fn machine(&self, stack: &ClearwaterStack, name: &str, role: Role, vm: &Vm) -> Vec<String> {
        let record = &stack.status.as_ref().unwrap().ledger.machines[name];
        let uid = stack.metadata.stored_uid().as_str();
        let component = stack.spec.components.get(role);
        let catalogue = &self.world.catalogue;
        let named = |rows: &[_], id: &str| {
            Catalogue::find(rows, id).map(|row| Catalogue::text(row, "name").to_owned())
        };
        let text = |own: &Option<Selector>, all: &Selector| {
            Some(own.as_ref().unwrap_or(all).text().to_owned())
        };
        let template = text(&component.template, &stack.spec.template);
        let offering = text(&component.service_offering, &stack.spec.service_offering);
        let address = record.private_address;
        let public = self.world.address_of(&vm.id);
        let recorded = record.public_address.as_ref();
        let held = !record.held.is_empty();
        let wants_public = matches!(role, Role::Bono | Role::Ellis);
        let facts = [
            (vm.state == VmState::Running, "its state"),
            (
                record.vm.as_ref().is_some_and(|id| id.as_str() == vm.id),
                "its recorded VM",
            ),
            (record.former.is_empty(), "former VMs in its record"),
            (vm.name == record.host_name, "its host name"),
            (held || vm.name == name, "its host name, which nobody holds"),
            (vm.display_name.as_deref() == Some(name), "its display name"),
            (
                vm.ip() == Some(address) && vm.nics.len() == 1,
                "its address",
            ),
            (
                vm.details.get(mark::STACK).is_some_and(|mark| mark == uid),
                "its mark",
            ),
            (
                named(&catalogue.templates, &vm.template) == template,
                "its template",
            ),
            (
                named(&catalogue.service_offerings, &vm.offering) == offering,
                "its offering",
            ),
            (self.tagged(&vm.id, uid), "its tag"),
            (
                public.is_some() == wants_public,
                "whether it has a public address",
            ),
            (
                public.map(|row| row.id.as_str()) == recorded.map(|known| known.id.as_str()),
                "its recorded public address",
            ),
            (vm.user_data.is_some(), "its user data"),
        ];
        let wrong = false_ones(&facts);
        wrong
            .iter()
            .map(|what| format!("{name} ({}): {what}", vm.id))
            .collect()
    }

    fn tagged(&self, id: &str, uid: &str) -> bool {
        let tags: Vec<&Tag> = self.world.tags_of(id).collect();
        let [tag] = tags.as_slice() else { return false };
        tag.key == mark::TAG_STACK && tag.value == uid
    }

    /// Each address is the VPC's way out, or leads to a VM of ours.
    fn public_addresses(&self, stack: &ClearwaterStack) -> Vec<String> {
        let uid = stack.metadata.stored_uid().as_str();
        let vms: BTreeSet<&str> = self.vms().map(|vm| vm.id.as_str()).collect();
        let vpcs: BTreeSet<Option<&str>> = self
            .vpcs()
            .iter()
            .map(|vpc| Some(vpc.id.as_str()))
            .collect();
        let mut wrong = Vec::new();
        for address in self.addresses() {
            let nat = address.static_nat.as_ref();
            let way_out = address.source_nat && nat.is_none();
            let leads = nat.is_some_and(|nat| vms.contains(nat.vm.as_str()));
            let fine = address.state == AddressState::Allocated
                && vpcs.contains(&address.vpc.as_deref())
                && (way_out || leads && !address.source_nat && self.tagged(&address.id, uid));
            if !fine {
                let tags: Vec<&Tag> = self.world.tags_of(&address.id).collect();
                wrong.push(format!("address {address:?} with tags {tags:?}"));
            }
        }
        let ways_out = self
            .addresses()
            .filter(|address| address.source_nat)
            .count();
        if ways_out > 1 {
            wrong.push(format!("{ways_out} source NAT addresses"));
        }
        wrong
    }

    fn groups(&self, stack: &ClearwaterStack) -> Vec<String> {
        let mut roles: BTreeMap<Role, u32> = BTreeMap::new();
        for (_, role, _) in machine_names(stack) {
            *roles.entry(role).or_default() += 1;
        }
        let several = roles.iter().filter(|(_, count)| **count > 1);
        let want: BTreeSet<Role> = several.map(|(role, _)| *role).collect();
        let groups = self.our_groups();
        let mut wrong = count("affinity group", groups.len(), want.len());
        let ledger = &stack.status.as_ref().unwrap().ledger;
        let recorded: BTreeSet<Role> = ledger.affinity_groups.keys().copied().collect();
        let known: BTreeSet<&str> = ledger
            .affinity_groups
            .values()
            .map(|group| group.as_str())
            .collect();
        let there: BTreeSet<&str> = groups.iter().map(|group| group.id.as_str()).collect();
        if recorded != want || known != there {
            wrong.push(format!("the groups are {groups:?}, recorded {known:?}"));
        }
        for vm in self.vms() {
            if vm
                .affinity_groups
                .iter()
                .any(|group| !there.contains(group.as_str()))
            {
                wrong.push(format!("VM {} is in a group of others", vm.name));
            }
        }
        wrong
    }

    fn jobs(&self) -> Vec<String> {
        let now = self.world.now();
        let pending = self
            .world
            .jobs
            .values()
            .filter(|job| job.completed.is_none());
        pending
            .map(|job| format!("the job of {} has not ended at {now}", job.command))
            .collect()
    }
}

/// What an act came to.
///
/// # Errors
/// Something is wrong.
pub(crate) fn verdict(act: &str, wrong: &[String]) -> Result<(), String> {
    match wrong {
        [] => Ok(()),
        wrong => Err(format!("after {act}:\n  {}", wrong.join("\n  "))),
    }
}

fn count(what: &str, have: usize, want: usize) -> Vec<String> {
    (have != want)
        .then(|| format!("{what}: {have} instead of {want}"))
        .into_iter()
        .collect()
}

fn false_ones(facts: &[(bool, &str)]) -> Vec<String> {
    let wrong = facts.iter().filter(|(holds, _)| !holds);
    wrong.map(|(_, what)| format!("wrong: {what}")).collect()
}
