//! What holds of every world, whatever was asked of it and whatever broke: [`check`] names what
//! does not.
//!
//! Everything is counted anew from the rows, with no index and none of the sums that commands use.

use std::collections::{BTreeMap, BTreeSet};
use std::net::Ipv4Addr;

use crate::sim::commands::used;
use crate::sim::jobs::{JobStatus, Phase};
use crate::sim::world::hosts::Load;
use crate::sim::world::{
    AddressState, Disk, GIB, GuestType, Kind, Network, NetworkState, Peer, Subnet, Uuid, Vm,
    VmState, Volume, VolumeKind, World,
};

/// What tags and details hang on.
const LABELLED: &[Kind] = &[
    Kind::Vm,
    Kind::Network,
    Kind::Vpc,
    Kind::AclList,
    Kind::AclItem,
    Kind::Address,
    Kind::Volume,
    Kind::Template,
    Kind::VpcOffering,
    Kind::LoadBalancer,
    Kind::PortForwarding,
    Kind::FirewallRule,
    Kind::SecurityGroup,
    Kind::SecurityRule,
    Kind::StaticRoute,
    Kind::Project,
    Kind::Account,
    Kind::User,
];

/// What is broken in a world, a sentence each; nothing in a sound one.
pub(in crate::sim) fn check(world: &World) -> Vec<String> {
    let mut look = Look {
        world,
        broken: Vec::new(),
    };
    look.people();
    look.owners();
    look.networks();
    look.cards();
    look.machines();
    look.volumes();
    look.addresses();
    look.rules();
    look.balancers();
    look.lists();
    look.labels();
    look.quotas();
    look.hosts();
    look.apart();
    look.jobs();
    look.says(world.is_well_filed(), || "an index is wrong".to_owned());
    look.broken
}

struct Look<'a> {
    world: &'a World,
    broken: Vec<String>,
}

impl<'a> Look<'a> {
    fn says(&mut self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.broken.push(what());
        }
    }

    /// Whether something of this kind is there now.
    fn lives(&self, kind: Kind, id: &str) -> bool {
        self.world.knows(kind, id) && !self.world.gone.contains_key(id)
    }

    /// That what a row names is there.
    fn names(&mut self, row: &str, kind: Kind, id: &str) {
        let lives = self.lives(kind, id);
        self.says(lives, || {
            format!("{row} names a {kind:?} that is not there: {id}")
        });
    }

    /// That what a row names is or was there: offerings and users are named after their end.
    fn named(&mut self, row: &str, kind: Kind, id: &str) {
        let known = self.world.knows(kind, id);
        self.says(known, || {
            format!("{row} names a {kind:?} that never was: {id}")
        });
    }

    /// That what a row is in belongs to the row's account.
    fn same_owner(&mut self, row: &str, account: &str, kind: Kind, id: &str) {
        let owner = self.world.owner(kind, id);
        self.says(owner.is_none_or(|owner| owner == account), || {
            format!("{row} is in a {kind:?} of another account")
        });
    }

    fn people(&mut self) {
        let world = self.world;
        for account in world.accounts.values() {
            let row = format!("account {}", account.name);
            self.names(&row, Kind::Domain, world.domain_of(&account.id));
            self.says(world.limits.contains_key(&account.id), || {
                format!("{row} has no limits")
            });
            let projects = world.projects.values();
            let of = projects.filter(|project| project.account == account.id);
            let wanted = usize::from(account.is_project());
            self.says(of.count() == wanted, || {
                format!("{row} owns the things of more or fewer projects than {wanted}")
            });
        }
        for id in world.limits.keys() {
            self.names("a limit", Kind::Account, id);
        }
        for user in world.users.values() {
            self.names(&format!("user {}", user.name), Kind::Account, &user.account);
        }
        for domain in world.domains.values() {
            if let Some(parent) = &domain.parent {
                self.names(&format!("domain {}", domain.name), Kind::Domain, parent);
            }
        }
        for project in world.projects.values() {
            let row = format!("project {}", project.name);
            self.names(&row, Kind::Account, &project.account);
            self.names(&row, Kind::Domain, &project.domain);
            for member in &project.members {
                self.names(&row, Kind::Account, &member.account);
            }
        }
    }

    fn owners(&mut self) {
        let world = self.world;
        let mut owners: Vec<(String, &Uuid)> = Vec::new();
        let rows = world.vpcs.values();
        owners.extend(rows.map(|row| (format!("VPC {}", row.name), &row.account)));
        let rows = world.networks.values();
        owners.extend(rows.map(|row| (format!("network {}", row.name), &row.account)));
        let rows = world.vms.values();
        owners.extend(rows.map(|row| (format!("VM {}", row.name), &row.account)));
        let rows = world.volumes.values();
        owners.extend(rows.map(|row| (format!("volume {}", row.name), &row.account)));
        let rows = world.affinity_groups.values();
        owners.extend(rows.map(|row| (format!("affinity group {}", row.name), &row.account)));
        let rows = world.key_pairs.values();
        owners.extend(rows.map(|row| (format!("key pair {}", row.name), &row.account)));
        let rows = world.user_data.values();
        owners.extend(rows.map(|row| (format!("user data {}", row.name), &row.account)));
        let rows = world.instance_groups.values();
        owners.extend(rows.map(|row| (format!("instance group {}", row.name), &row.account)));
        let rows = world.security_groups.values();
        owners.extend(rows.map(|row| (format!("security group {}", row.name), &row.account)));
        let rows = world.hooks.webhooks.values();
        owners.extend(rows.map(|row| (format!("webhook {}", row.name), &row.account)));
        for (row, owner) in owners {
            self.names(&row, Kind::Account, owner);
        }
    }

    fn networks(&mut self) {
        let world = self.world;
        for network in world.networks.values() {
            let row = format!("network {}", network.name);
            self.named(&row, Kind::NetworkOffering, &network.offering);
            self.says(
                network.idle_since.is_none() || network.state == NetworkState::Implemented,
                || format!("{row} is idle and not implemented"),
            );
            if let Some(acl) = &network.acl {
                self.names(&row, Kind::AclList, acl);
                let of = world.acl_lists.get(acl).and_then(|list| list.vpc.as_ref());
                self.says(of.is_none() || of == network.vpc.as_ref(), || {
                    format!("{row} has the ACL list of another VPC")
                });
            }
            if let Some(vpc) = &network.vpc {
                self.names(&row, Kind::Vpc, vpc);
                self.tier(network, vpc);
            }
        }
        for vpc in world.vpcs.values() {
            let row = format!("VPC {}", vpc.name);
            self.named(&row, Kind::VpcOffering, &vpc.offering);
            let addresses = world.addresses.values();
            let of = addresses.filter(|address| address.vpc.as_ref() == Some(&vpc.id));
            let nats = of.filter(|address| address.source_nat).count();
            self.says(nats <= 1, || {
                format!("{row} has {nats} source NAT addresses")
            });
        }
    }

    fn tier(&mut self, tier: &Network, vpc: &str) {
        let Some(vpc) = self.world.vpcs.get(vpc) else {
            return;
        };
        let row = format!("tier {} of VPC {}", tier.name, vpc.name);
        self.says(self.world.may_act(&vpc.account, &tier.account), || {
            format!("{row} is somebody's whom the VPC's owner cannot act for")
        });
        let (Some(all), Some(part)) = (Subnet::parse(&vpc.cidr), Subnet::parse(&tier.cidr)) else {
            self.broken.push(format!("{row} has no range"));
            return;
        };
        self.says(all.holds(part), || format!("{row} lies outside of it"));
        let others = self.world.networks.values();
        let others = others.filter(|other| other.vpc == tier.vpc && other.id != tier.id);
        for other in others {
            let crosses = Subnet::parse(&other.cidr).is_some_and(|other| other.crosses(part));
            self.says(!crosses, || format!("{row} crosses tier {}", other.name));
        }
    }

    /// Guest addresses: each in its network's range, and nobody else's.
    fn cards(&mut self) {
        let world = self.world;
        let mut taken: BTreeMap<(&Uuid, Ipv4Addr), &str> = BTreeMap::new();
        for vm in world.vms.values() {
            let mut places = BTreeSet::new();
            for nic in &vm.nics {
                let row = format!("VM {} ({})", vm.name, vm.id);
                self.names(&row, Kind::Network, &nic.network);
                self.says(places.insert(nic.device), || {
                    format!("{row} has two cards in place {}", nic.device)
                });
                let Some(network) = world.networks.get(&nic.network) else {
                    continue;
                };
                if network.guest_type == GuestType::L2 {
                    continue;
                }
                let range = Subnet::parse(&network.cidr);
                for ip in nic.ips() {
                    let inside = range.is_some_and(|range| range.has_host(ip));
                    self.says(inside && ip != network.gateway, || {
                        format!("{row} has {ip}, which is no address of {}", network.cidr)
                    });
                    let other = taken.insert((&nic.network, ip), &vm.name);
                    self.says(other.is_none(), || {
                        format!("{row} and VM {other:?} both have {ip}")
                    });
                }
            }
        }
    }

    fn machines(&mut self) {
        let world = self.world;
        for vm in world.vms.values() {
            let row = format!("VM {} ({:?})", vm.name, vm.state);
            self.named(&row, Kind::ServiceOffering, &vm.offering);
            self.named(&row, Kind::Template, &vm.template);
            self.named(&row, Kind::User, &vm.user);
            for group in &vm.affinity_groups {
                self.names(&row, Kind::AffinityGroup, group);
                self.same_owner(&row, &vm.account, Kind::AffinityGroup, group);
            }
            if let Some(group) = &vm.group {
                self.same_owner(&row, &vm.account, Kind::InstanceGroup, group);
            }
            for (kind, id) in [
                (Kind::UserData, &vm.user_data_id),
                (Kind::InstanceGroup, &vm.group),
                (Kind::Host, &vm.host),
            ] {
                if let Some(id) = id {
                    self.names(&row, kind, id);
                }
            }
            let placed = match vm.state {
                VmState::Running | VmState::Stopping | VmState::Migrating => vm.host.is_some(),
                VmState::Starting => true,
                VmState::Stopped | VmState::Destroyed | VmState::Expunging | VmState::Error => {
                    vm.host.is_none()
                }
            };
            self.says(placed, || format!("{row} is on host {:?}", vm.host));
            // What a refused deploy left behind never had a disk either.
            self.says(vm.disk == Disk::None || !vm.nics.is_empty(), || {
                format!("{row} has no card")
            });
        }
    }

    fn volumes(&mut self) {
        let world = self.world;
        let mut of: BTreeMap<&Uuid, Vec<&Volume>> = BTreeMap::new();
        for volume in world.volumes.values() {
            let row = format!("volume {} ({:?})", volume.name, volume.state);
            if let Some(offering) = &volume.offering {
                self.named(&row, Kind::DiskOffering, offering);
            }
            self.says(
                volume.kind == VolumeKind::Data || volume.vm.is_some(),
                || format!("{row} is nobody's root disk"),
            );
            if let Some(vm) = &volume.vm {
                self.names(&row, Kind::Vm, vm);
                of.entry(vm).or_default().push(volume);
            }
        }
        for vm in world.vms.values() {
            let disks = of.remove(&vm.id).unwrap_or_default();
            let roots = disks.iter().filter(|disk| disk.kind == VolumeKind::Root);
            let roots = roots.count();
            let wanted = usize::from(vm.disk != Disk::None);
            self.says(roots == wanted, || {
                format!("VM {} ({:?}) has {roots} root disks", vm.name, vm.state)
            });
            let places: BTreeSet<u32> = disks.iter().map(|disk| disk.device).collect();
            self.says(places.len() == disks.len(), || {
                format!("VM {} has two disks in one place", vm.name)
            });
        }
    }

    /// Public addresses: whose they are, what they serve, and where they lead.
    fn addresses(&mut self) {
        let world = self.world;
        let (mut ips, mut targets) = (BTreeSet::new(), BTreeSet::new());
        for address in world.addresses.values() {
            let row = format!("address {}", address.ip);
            self.says(ips.insert(address.ip), || format!("{row} is there twice"));
            let free = address.state == AddressState::Free;
            let serves = address.vpc.is_some() || address.network.is_some();
            let bound = serves || address.source_nat || address.static_nat.is_some();
            self.says(!free || !bound && address.account.is_none(), || {
                format!("{row} is free and somebody's")
            });
            let held = address.account.is_some() || address.system.is_some();
            self.says(free || held, || format!("{row} is allocated and nobody's"));
            for (kind, id) in [
                (Kind::Account, &address.account),
                (Kind::Vpc, &address.vpc),
                (Kind::Network, &address.network),
            ] {
                if let Some(id) = id {
                    self.names(&row, kind, id);
                }
            }
            let vpc = address.vpc.as_ref().and_then(|id| world.vpcs.get(id));
            let network = address.network.as_ref();
            let network = network.and_then(|id| world.networks.get(id));
            let owner = vpc.map(|row| &row.account);
            if let Some(owner) = owner.or(network.map(|row| &row.account)) {
                self.says(address.account.as_ref() == Some(owner), || {
                    format!("{row} serves what is another account's")
                });
            }
            if let Some(network) = address.network.as_ref() {
                let of = world.networks.get(network).and_then(|row| row.vpc.as_ref());
                self.says(of == address.vpc.as_ref(), || {
                    format!("{row} is bound to a network of another VPC")
                });
            }
            let Some(nat) = &address.static_nat else {
                continue;
            };
            self.leads(&row, &nat.vm, nat.ip, address.network.as_deref());
            let owner = world.vms.get(&nat.vm).map(|vm| &vm.account);
            self.says(owner == address.account.as_ref(), || {
                format!("{row} leads to a VM of another account")
            });
            self.says(targets.insert((&nat.vm, nat.ip)), || {
                format!("{row} leads to {}, and so does another", nat.ip)
            });
            let forwards = world.port_forwardings.values();
            let mut forwards = forwards.filter(|rule| rule.address == address.id);
            self.says(
                forwards.next().is_none() && !(address.source_nat && address.vpc.is_none()),
                || format!("{row} has static NAT beside something else"),
            );
        }
    }

    /// That a way ends at an address of a machine in a network.
    fn leads(&mut self, row: &str, vm: &str, ip: Ipv4Addr, network: Option<&str>) {
        self.names(row, Kind::Vm, vm);
        let nics = self.world.vms.get(vm).map(|vm| vm.nics.as_slice());
        let mut nics = nics.unwrap_or_default().iter();
        let there = nics.any(|nic| Some(nic.network.as_str()) == network && nic.has_ip(ip));
        self.says(there, || {
            format!("{row} leads to {ip}, which VM {vm} does not have in {network:?}")
        });
    }

    /// That a rule is at an address that somebody holds and that is bound to the rule's network.
    fn stands(&mut self, row: &str, address: &str, network: &str) {
        let world = self.world;
        self.names(row, Kind::Network, network);
        let address = world.addresses.get(address);
        let held = address.is_some_and(|address| address.account.is_some());
        self.says(held, || format!("{row} is at a free address"));
        let bound = address.and_then(|address| address.network.as_deref());
        self.says(bound == Some(network), || {
            format!("{row} of network {network} is at an address of {bound:?}")
        });
    }

    fn rules(&mut self) {
        let world = self.world;
        for rule in world.firewall_rules.values() {
            let row = format!("firewall rule {}", rule.id);
            match &rule.address {
                Some(address) => self.stands(&row, address, &rule.network),
                None => self.names(&row, Kind::Network, &rule.network),
            }
            if let Some(opener) = &rule.opened_by {
                let lives = self.lives(Kind::PortForwarding, opener)
                    || self.lives(Kind::LoadBalancer, opener);
                self.says(lives, || format!("{row} outlives the rule that opened it"));
            }
        }
        let mut ports: BTreeMap<(&Uuid, &str), Vec<(u16, u16)>> = BTreeMap::new();
        for rule in world.port_forwardings.values() {
            let row = format!("port forwarding {}", rule.id);
            self.stands(&row, &rule.address, &rule.network);
            self.leads(&row, &rule.vm, rule.guest_ip, Some(&rule.network));
            // Rules for different sources may share a port.
            if rule.sources.is_empty() {
                let at = ports.entry((&rule.address, &rule.protocol)).or_default();
                at.push(rule.public);
            }
        }
        for rule in world.load_balancers.values() {
            let protocol = if rule.protocol == "udp" { "udp" } else { "tcp" };
            let at = ports.entry((&rule.address, protocol)).or_default();
            at.push((rule.public_port, rule.public_port));
        }
        for ((address, protocol), mut ranges) in ports {
            ranges.sort_unstable();
            let crosses = ranges.windows(2).any(|pair| pair[0].1 >= pair[1].0);
            self.says(!crosses, || {
                format!("two rules take one {protocol} port of {address}")
            });
        }
    }

    fn balancers(&mut self) {
        for rule in self.world.load_balancers.values() {
            let row = format!("load balancer {}", rule.name);
            self.stands(&row, &rule.address, &rule.network);
            let mut members = BTreeSet::new();
            for member in &rule.members {
                self.leads(&row, &member.vm, member.ip, Some(&rule.network));
                self.says(members.insert((&member.vm, member.ip)), || {
                    format!("{row} has a member twice")
                });
            }
        }
    }

    fn lists(&mut self) {
        let world = self.world;
        for list in world.acl_lists.values() {
            if let Some(vpc) = &list.vpc {
                self.names(&format!("ACL list {}", list.name), Kind::Vpc, vpc);
            }
        }
        let mut places = BTreeSet::new();
        for rule in world.acl_items.values() {
            let row = format!("ACL rule {} of {}", rule.number, rule.list);
            self.names(&row, Kind::AclList, &rule.list);
            self.says(places.insert((&rule.list, rule.number)), || {
                format!("{row} has its number twice")
            });
        }
        for route in world.static_routes.values() {
            self.names("a static route", Kind::Vpc, &route.vpc);
        }
        for group in world.security_groups.values() {
            for rule in &group.rules {
                if let Peer::Group(peer) = &rule.peer {
                    let row = format!("a rule of security group {}", group.name);
                    self.names(&row, Kind::SecurityGroup, peer);
                }
            }
        }
    }

    /// Tags and details go with what they hang on; an address outlives its owners, and so do the
    /// tags that a deleted VPC leaves on it (`cloudstack-observed.md`, section 2).
    fn labels(&mut self) {
        let world = self.world;
        let tags = world.tags.iter();
        let tags = tags.map(|tag| (&tag.resource_type, &tag.resource, Some(&tag.account)));
        let details = world.details.iter();
        let details = details.map(|detail| (&detail.resource_type, &detail.resource, None));
        for (kind, resource, account) in tags.chain(details) {
            let row = format!("a label of a {kind}");
            let address = world.addresses.contains_key(resource);
            let lives = LABELLED.iter().any(|kind| self.lives(*kind, resource));
            self.says(lives, || {
                format!("{row} hangs on what is not there: {resource}")
            });
            if let Some(account) = account.filter(|_| !address) {
                self.names(&row, Kind::Account, account);
            }
        }
    }

    /// What counts against limits, counted anew.
    fn quotas(&mut self) {
        let world = self.world;
        let number = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
        for account in world.accounts.keys() {
            let vms = world.vms.values().filter(|vm| vm.account == *account);
            let gone = |vm: &&Vm| vm.state.is_gone() || vm.state == VmState::Error;
            let vms: Vec<&Vm> = vms.filter(|vm| !gone(vm)).collect();
            let volumes = world.volumes.values();
            let volumes = volumes.filter(|row| row.account == *account && row.counted);
            let bytes: Vec<i64> = volumes.map(|row| row.bytes).collect();
            let networks = world.networks.values();
            let networks = networks.filter(|row| row.account == *account).count();
            let vpcs = world.vpcs.values();
            let vpcs = vpcs.filter(|row| row.account == *account).count();
            let addresses = world.addresses.values();
            let addresses = addresses.filter(|row| row.account.as_ref() == Some(account));
            let name = &world.accounts[account].name;
            for (what, counted) in [
                ("user_vm", number(vms.len())),
                ("cpu", vms.iter().map(|vm| vm.size.cpus).sum()),
                ("memory", vms.iter().map(|vm| vm.size.memory_mib).sum()),
                ("volume", number(bytes.len())),
                ("primary_storage", bytes.iter().sum::<i64>() / GIB),
                ("network", number(networks)),
                ("vpc", number(vpcs)),
                ("public_ip", number(addresses.count())),
            ] {
                let told = used(world, account, what);
                self.says(told == counted, || {
                    format!("account {name} is said to have {told} {what} and has {counted}")
                });
            }
        }
    }

    /// What is on a host is what was placed there, and no more than it holds.
    fn hosts(&mut self) {
        let world = self.world;
        for host in &world.catalogue.hosts {
            let id = host["id"].as_str().unwrap_or_default();
            let vms = world.vms.values();
            let vms = vms.filter(|vm| vm.host.as_deref() == Some(id));
            let mut counted = Load::default();
            for vm in vms {
                counted.guests += 1;
                counted.mhz += vm.size.all_mhz();
                counted.memory_mib += vm.size.memory_mib;
            }
            let load = Load::of(world, id);
            self.says(load == counted, || {
                format!("a host is said to carry {load:?} and carries {counted:?}")
            });
            let settings = &world.settings;
            let fits = counted.memory_mib <= settings.host_memory_mib
                && counted.mhz <= settings.host_cpu_mhz;
            self.says(fits, || format!("a host carries too much: {counted:?}"));
        }
    }

    /// Members of a strict anti-affinity group are on different hosts.
    fn apart(&mut self) {
        let world = self.world;
        let groups = world.affinity_groups.values();
        for group in groups.filter(|group| group.kind == "host anti-affinity") {
            let mut hosts = BTreeSet::new();
            for vm in world.vms.values() {
                let Some(host) = vm
                    .host
                    .as_ref()
                    .filter(|_| vm.affinity_groups.contains(&group.id))
                else {
                    continue;
                };
                self.says(hosts.insert(host), || {
                    format!("VM {} is beside another of {}", vm.name, group.name)
                });
            }
        }
    }

    fn jobs(&mut self) {
        for job in self.world.jobs.values() {
            let row = format!("job {} ({:?}, {:?})", job.command, job.status, job.phase);
            let pending = job.status == JobStatus::Pending;
            self.says(pending == (job.phase != Phase::Ended), || {
                format!("{row} is half ended")
            });
            self.says(pending == job.completed.is_none(), || {
                format!("{row} ended at no time")
            });
            let null = job
                .result
                .as_ref()
                .is_some_and(|result| result.value().is_null());
            self.says(!null, || format!("{row} answers null"));
        }
    }
}
