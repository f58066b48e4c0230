//! Requests that mean something: ids of what is there, names and numbers that often meet.

use super::breakage;
use crate::sim::Breakage;
use crate::sim::commands::{Caller, find};
use crate::sim::world::catalogue::Catalogue;
use crate::sim::world::{GuestType, Kind, Subnet, Uuid, World};

/// Commands that would end the walk, or that say nothing about the world.
const LEFT_OUT: &[&str] = &[
    "prepareForMaintenance",
    "prepareForShutdown",
    "executeWebhookDelivery",
];

/// Commands that much hangs on, and how much likelier they are than others.
const LIKELY: &[(&str, usize)] = &[
    ("suspendProject", 0),
    ("activateProject", 3),
    ("disableAccount", 1),
    ("createFirewallRule", 3),
    ("createEgressFirewallRule", 2),
    ("createNetworkACLList", 2),
    ("createNetworkACL", 3),
    ("registerSSHKeyPair", 2),
    ("createAccount", 2),
    ("deployVirtualMachine", 12),
    ("createNetwork", 8),
    ("createVPC", 4),
    ("associateIpAddress", 6),
    ("enableStaticNat", 8),
    ("createPortForwardingRule", 5),
    ("createLoadBalancerRule", 4),
    ("assignToLoadBalancerRule", 5),
    ("startVirtualMachine", 4),
    ("stopVirtualMachine", 4),
    ("destroyVirtualMachine", 4),
    ("updateVmNicIp", 3),
    ("createTags", 4),
    ("addIpToNic", 3),
    ("createAffinityGroup", 3),
    ("updateVMAffinityGroup", 3),
    ("updateVirtualMachine", 3),
    ("expungeVirtualMachine", 3),
    ("createVolume", 3),
    ("attachVolume", 5),
    ("createProject", 2),
];

/// How much likelier a command is that much hangs on than one that lists.
const CHANGES: usize = 8;
/// How much likelier any other is that changes something.
const OTHERS: usize = 3;

/// Every command, as often as it is to be drawn.
pub(in crate::sim::tests) fn weighted(
    names: impl Iterator<Item = &'static str>,
) -> Vec<&'static str> {
    let names = names.filter(|name| !LEFT_OUT.contains(name));
    let often = |name: &'static str| {
        let likely = LIKELY.iter().find(|(likely, _)| *likely == name);
        let times = match likely {
            Some((_, times)) => (times * CHANGES).max(1),
            None if find(name).is_some_and(|command| command.is_list()) => 1,
            None => OTHERS,
        };
        std::iter::repeat_n(name, times)
    };
    names.flat_map(often).collect()
}

/// Luck of a step's own, so that a walk can be made shorter and the other steps stay as they are.
pub(in crate::sim::tests) struct Luck(fastrand::Rng);

impl Luck {
    pub(in crate::sim::tests) fn of(seed: u64) -> Self {
        Self(fastrand::Rng::with_seed(seed))
    }

    pub(in crate::sim::tests) fn below(&mut self, end: usize) -> usize {
        self.0.usize(..end.max(1))
    }

    /// True once in so many times.
    pub(super) fn once_in(&mut self, times: usize) -> bool {
        self.below(times) == 0
    }

    pub(in crate::sim::tests) fn pick<T: Clone>(&mut self, of: &[T]) -> Option<T> {
        let place = self.below(of.len());
        of.get(place).cloned()
    }

    fn word(&mut self, of: &[&str]) -> String {
        self.pick(of).unwrap_or_default().to_owned()
    }

    fn number(&mut self, of: std::ops::Range<usize>) -> String {
        (of.start + self.below(of.len())).to_string()
    }
}

/// Parameters that name something, and what.
const IDS: &[(&str, Kind)] = &[
    ("zoneid", Kind::Zone),
    ("templateid", Kind::Template),
    ("serviceofferingid", Kind::ServiceOffering),
    ("diskofferingid", Kind::DiskOffering),
    ("networkofferingid", Kind::NetworkOffering),
    ("vpcofferingid", Kind::VpcOffering),
    ("vpcid", Kind::Vpc),
    ("networkid", Kind::Network),
    ("networkids", Kind::Network),
    ("associatednetworkid", Kind::Network),
    ("aclid", Kind::AclList),
    ("previousaclruleid", Kind::AclItem),
    ("nextaclruleid", Kind::AclItem),
    ("virtualmachineid", Kind::Vm),
    ("virtualmachineids", Kind::Vm),
    ("nicid", Kind::Nic),
    ("ipaddressid", Kind::Address),
    ("publicipid", Kind::Address),
    ("volumeid", Kind::Volume),
    ("volumeids", Kind::Volume),
    ("affinitygroupid", Kind::AffinityGroup),
    ("affinitygroupids", Kind::AffinityGroup),
    ("securitygroupid", Kind::SecurityGroup),
    ("securitygroupids", Kind::SecurityGroup),
    ("userdataid", Kind::UserData),
    ("domainid", Kind::Domain),
    ("parentdomainid", Kind::Domain),
    ("projectid", Kind::Project),
    ("accountid", Kind::Account),
    ("userid", Kind::User),
    ("hostid", Kind::Host),
    ("jobid", Kind::Job),
    ("lbruleid", Kind::LoadBalancer),
    ("webhookid", Kind::Webhook),
];

/// What the `id` of a command is that of, by the end of the command's name.
const ENDS: &[(&str, Kind)] = &[
    ("VirtualMachine", Kind::Vm),
    ("VMPassword", Kind::Vm),
    ("VMAffinityGroup", Kind::Vm),
    ("ToVirtualMachine", Kind::Vm),
    ("NetworkACLList", Kind::AclList),
    ("NetworkACL", Kind::AclItem),
    ("NetworkACLItem", Kind::AclItem),
    ("NetworkAclItem", Kind::AclItem),
    ("Network", Kind::Network),
    ("VPC", Kind::Vpc),
    ("IpAddress", Kind::Address),
    ("IpToNic", Kind::Nic),
    ("IpFromNic", Kind::SecondaryIp),
    ("Volume", Kind::Volume),
    ("FirewallRule", Kind::FirewallRule),
    ("PortForwardingRule", Kind::PortForwarding),
    ("LoadBalancerRule", Kind::LoadBalancer),
    ("AffinityGroup", Kind::AffinityGroup),
    ("SecurityGroup", Kind::SecurityGroup),
    ("SecurityGroupIngress", Kind::SecurityRule),
    ("SecurityGroupEgress", Kind::SecurityRule),
    ("StaticRoute", Kind::StaticRoute),
    ("InstanceGroup", Kind::InstanceGroup),
    ("UserData", Kind::UserData),
    ("Project", Kind::Project),
    ("Account", Kind::Account),
    ("User", Kind::User),
    ("UserKeys", Kind::User),
    ("Domain", Kind::Domain),
    ("ServiceOffering", Kind::ServiceOffering),
    ("DiskOffering", Kind::DiskOffering),
    ("Maintenance", Kind::Host),
    ("Webhook", Kind::Webhook),
];

/// Types of resources that tags hang on.
const TAGGED: &[(&str, Kind)] = &[
    ("UserVm", Kind::Vm),
    ("Network", Kind::Network),
    ("Vpc", Kind::Vpc),
    ("NetworkACL", Kind::AclItem),
    ("PublicIpAddress", Kind::Address),
    ("Volume", Kind::Volume),
    ("LoadBalancer", Kind::LoadBalancer),
    ("PortForwardingRule", Kind::PortForwarding),
    ("FirewallRule", Kind::FirewallRule),
    ("SecurityGroup", Kind::SecurityGroup),
    ("Project", Kind::Project),
    ("Account", Kind::Account),
    ("User", Kind::User),
];

/// What an `id` is that of, if the command's name tells.
fn kind_of(command: &str) -> Option<Kind> {
    let singular = command
        .strip_suffix('s')
        .filter(|_| command.starts_with("list"));
    let name = singular.unwrap_or(command);
    let ends = ENDS.iter().filter(|(end, _)| name.ends_with(end));
    ends.max_by_key(|(end, _)| end.len()).map(|(_, kind)| *kind)
}

/// What a parameter names beside the others of a request, if it names anything.
pub(in crate::sim::tests) fn meant_by(
    command: &str,
    name: &str,
    given: &[(String, String)],
) -> Option<Kind> {
    let kind_in = |table: &[(&str, Kind)], word: &str| {
        let mut rows = table.iter();
        let found = rows.find(|(known, _)| *known == word);
        found.map(|(_, kind)| *kind)
    };
    match name {
        "id" => kind_of(command),
        "resourceid" | "resourceids" => {
            let (_, word) = given.iter().find(|(name, _)| name == "resourcetype")?;
            kind_in(TAGGED, word)
        }
        _ => kind_in(IDS, name),
    }
}

/// What there is of a kind, oldest ids first.
pub(in crate::sim::tests) fn all_of(world: &World, kind: Kind) -> Vec<Uuid> {
    let rows = |rows: &[crate::sim::world::catalogue::Row]| -> Vec<Uuid> {
        let ids = rows.iter().map(|row| Catalogue::text(row, "id").to_owned());
        ids.collect()
    };
    match kind {
        Kind::Zone => vec![world.catalogue.zone_id().to_owned()],
        Kind::Template => rows(&world.catalogue.templates),
        Kind::ServiceOffering => rows(&world.catalogue.service_offerings),
        Kind::DiskOffering => rows(&world.catalogue.disk_offerings),
        Kind::NetworkOffering => rows(&world.catalogue.network_offerings),
        Kind::VpcOffering => rows(&world.catalogue.vpc_offerings),
        Kind::Host => rows(&world.catalogue.hosts),
        Kind::Account => world.accounts.keys().cloned().collect(),
        Kind::Domain => world.domains.keys().cloned().collect(),
        Kind::User => world.users.keys().cloned().collect(),
        Kind::Project => world.projects.keys().cloned().collect(),
        Kind::Vpc => world.vpcs.keys().cloned().collect(),
        Kind::Network => world.networks.keys().cloned().collect(),
        Kind::AclList => world.acl_lists.keys().cloned().collect(),
        Kind::AclItem => world.acl_items.keys().cloned().collect(),
        Kind::Address => world.addresses.keys().cloned().collect(),
        Kind::Vm => world.vms.keys().cloned().collect(),
        Kind::Nic => {
            let nics = world.vms.values().flat_map(|vm| &vm.nics);
            nics.map(|nic| nic.id.clone()).collect()
        }
        Kind::SecondaryIp => {
            let nics = world.vms.values().flat_map(|vm| &vm.nics);
            let more = nics.flat_map(|nic| &nic.secondary);
            more.map(|ip| ip.id.clone()).collect()
        }
        Kind::AffinityGroup => world.affinity_groups.keys().cloned().collect(),
        Kind::KeyPair => world.key_pairs.keys().cloned().collect(),
        Kind::Job => world.jobs.keys().cloned().collect(),
        Kind::FirewallRule => world.firewall_rules.keys().cloned().collect(),
        Kind::PortForwarding => world.port_forwardings.keys().cloned().collect(),
        Kind::LoadBalancer => world.load_balancers.keys().cloned().collect(),
        Kind::SecurityGroup => world.security_groups.keys().cloned().collect(),
        Kind::SecurityRule => {
            let rules = world
                .security_groups
                .values()
                .flat_map(|group| &group.rules);
            rules.map(|rule| rule.id.clone()).collect()
        }
        Kind::StaticRoute => world.static_routes.keys().cloned().collect(),
        Kind::Volume => world.volumes.keys().cloned().collect(),
        Kind::UserData => world.user_data.keys().cloned().collect(),
        Kind::InstanceGroup => world.instance_groups.keys().cloned().collect(),
        Kind::Webhook => world.hooks.webhooks.keys().cloned().collect(),
    }
}

/// Whom the walk needs to the end: those who send its requests.
fn is_needed(world: &World, kind: Kind, id: &str) -> bool {
    let account = match kind {
        Kind::Account => Some(id),
        Kind::User => world.users.get(id).map(|user| user.account.as_str()),
        _ => None,
    };
    let account = account.and_then(|id| world.accounts.get(id));
    account.is_some_and(|account| account.created.is_none())
}

/// A request that is being made.
struct Draft<'a> {
    world: &'a World,
    home: Uuid,
    command: &'static str,
    luck: &'a mut Luck,
    /// Whether it is about a tier, where it could be about a network by itself.
    tier: bool,
    params: Vec<(String, String)>,
}

/// Whether a user of this account may send a command at all.
pub(in crate::sim::tests) fn may_send(world: &World, user: &str, command: &str) -> bool {
    let user = world.user_named(user);
    let command = find(command).expect("it was taken from the table");
    user.is_some_and(|user| command.access.is_granted_to(&Caller::of(world, user)))
}

/// What somebody sends with a command; none if there is nothing yet that it could be about.
pub(in crate::sim::tests) fn draw(
    world: &World,
    user: &str,
    command: &'static str,
    luck: &mut Luck,
) -> Option<Vec<(String, String)>> {
    let tier = luck.once_in(2);
    let mut draft = Draft {
        world,
        home: home(world, user),
        command,
        luck,
        tier,
        params: Vec::new(),
    };
    let mut params: Vec<_> = find(command)?.params().collect();
    let usual = draft.usual();
    let place = |name: &str| usual.iter().position(|usual| *usual == name);
    params.sort_by_key(|param| place(param.name).unwrap_or(usize::MAX));
    for param in &params {
        let wanted = param.required || usual.contains(&param.name);
        let wanted = wanted && (param.required || !draft.luck.once_in(16));
        if wanted || draft.luck.once_in(params.len().max(6)) {
            let found = draft.give(param.name, param.kind);
            if !found && param.required && !draft.luck.once_in(64) {
                return None;
            }
        }
    }
    Some(draft.params)
}

fn home(world: &World, user: &str) -> Uuid {
    let user = world.user_named(user);
    user.map(|user| user.account.clone()).unwrap_or_default()
}

impl Draft<'_> {
    /// What the command seldom goes without, although the table does not say so.
    fn usual(&mut self) -> &'static [&'static str] {
        match self.command {
            "deployVirtualMachine" => &["templateid", "networkids", "name"],
            "createNetwork" if !self.tier => &["gateway", "netmask"],
            "createNetwork" => &["vpcid", "gateway", "netmask", "aclid"],
            "createNetworkACLList" => &["vpcid"],
            "createNetworkACL" => &["aclid", "number", "startport", "endport"],
            "createVPC" => &["cidr"],
            "associateIpAddress" if self.tier => &["vpcid"],
            "associateIpAddress" | "replaceNetworkACLList" => &["networkid"],
            "enableStaticNat" | "createPortForwardingRule" => {
                &["ipaddressid", "virtualmachineid", "networkid"]
            }
            "createLoadBalancerRule" => &["publicipid", "networkid"],
            "assignToLoadBalancerRule" | "removeFromLoadBalancerRule" => &["virtualmachineids"],
            "createFirewallRule" | "createEgressFirewallRule" => &["startport", "endport"],
            "createVolume" => &["diskofferingid", "zoneid", "name"],
            "createDiskOffering" => &["disksize"],
            "createServiceOffering" => &["cpunumber", "cpuspeed", "memory"],
            "detachVolume"
            | "disassociateIpAddress"
            | "deleteAccount"
            | "deleteAffinityGroup"
            | "disableAccount"
            | "enableAccount" => &["id"],
            "linkUserDataToTemplate" => &["templateid"],
            "migrateVirtualMachine" => &["hostid"],
            "addAccountToProject" => &["account"],
            "resetSSHKeyForVirtualMachine" => &["keypair"],
            "updateVmNicIp" => &["ipaddress"],
            "updateVMAffinityGroup" => &["affinitygroupids"],
            _ => &[],
        }
    }

    /// What there is of a kind, mostly what the user may act on and what suits what is named.
    fn one(&mut self, kind: Kind) -> Option<Uuid> {
        let world = self.world;
        let mut ids = all_of(world, kind);
        let ends = ["delete", "disable", "lock", "updateUser"];
        let ends = ends.iter().any(|verb| self.command.starts_with(verb));
        ids.retain(|id| !(ends && is_needed(world, kind, id)));
        if self.luck.once_in(64) {
            return self
                .luck
                .pick(&world.gone.keys().cloned().collect::<Vec<_>>());
        }
        if !self.luck.once_in(24) {
            let nobodys = ![Kind::Address, Kind::AclList, Kind::AclItem].contains(&kind);
            let admin = world.accounts.get(&self.home).is_some_and(|row| row.admin);
            let anybodys = admin && self.luck.once_in(2);
            let mine = |owner: &str| anybodys || world.may_act(&self.home, owner);
            ids.retain(|id| world.owner(kind, id).map_or(nobodys, mine));
            ids.retain(|id| {
                let address = world.addresses.get(id);
                address.is_none_or(|address| address.system.is_none())
            });
        }
        if !self.luck.once_in(16) {
            ids.retain(|id| self.suits(kind, id));
        }
        self.luck.pick(&ids)
    }

    /// Whether something can be meant beside what the request names already.
    fn suits(&self, kind: Kind, id: &str) -> bool {
        let world = self.world;
        let address = self.given("ipaddressid").or(self.given("publicipid"));
        let address = address.and_then(|id| world.addresses.get(id));
        let rule = self.given("id").and_then(|id| world.load_balancers.get(id));
        let vm = self
            .given("virtualmachineid")
            .and_then(|id| world.vms.get(id));
        let in_place = |network: &Uuid| {
            let vpc = world.networks.get(network).and_then(|row| row.vpc.as_ref());
            let at = address.is_none_or(|address| match &address.network {
                Some(bound) => bound == network,
                None => address.vpc.is_some() && address.vpc.as_ref() == vpc,
            });
            at && rule.is_none_or(|rule| rule.network == *network)
        };
        match kind {
            Kind::Vm => world.vms.get(id).is_some_and(|vm| {
                let bound = address.is_some() || rule.is_some();
                !bound || vm.nics.iter().any(|nic| in_place(&nic.network))
            }),
            Kind::Network => {
                let network = world.networks.get(id);
                let vpc = network.and_then(|row| row.vpc.as_ref());
                let tier = self.command != "associateIpAddress" || vpc.is_none();
                let named = vm.is_none_or(|vm| vm.nics.iter().any(|nic| nic.network == id));
                tier && named && in_place(&id.to_owned())
            }
            Kind::Volume if self.command == "destroyVirtualMachine" => false,
            Kind::AclList => {
                let list = world.acl_lists.get(id).and_then(|row| row.vpc.as_deref());
                self.given("vpcid").is_none_or(|vpc| list == Some(vpc))
            }
            _ => true,
        }
    }

    fn put(&mut self, name: &str, value: impl Into<String>) {
        self.params.push((name.to_owned(), value.into()));
    }

    fn given(&self, name: &str) -> Option<&str> {
        let mut given = self.params.iter();
        let found = given.find(|(given, _)| given == name);
        found.map(|(_, value)| value.as_str())
    }

    /// Puts a parameter in; tells whether there was a value for it.
    fn give(&mut self, name: &'static str, kind: &'static str) -> bool {
        let before = self.params.len();
        let resource = name.starts_with("resource");
        let id = meant_by(self.command, name, &self.params).filter(|_| !resource);
        match (name, kind, id) {
            ("account" | "domainid", _, _) if self.chooses_owner() => self.owner(),
            ("projectid", _, _) if self.given("account").is_some() => {}
            ("vpcid", _, _) if self.command == "createNetwork" && !self.tier => {}
            (_, _, Some(kind)) => {
                let value = match name {
                    "networkofferingid" => self.network_offering(),
                    "vpcofferingid" if !self.luck.once_in(8) => {
                        let offering = self.world.catalogue.vpc_offerings.first();
                        offering.map(|row| Catalogue::text(row, "id").to_owned())
                    }
                    _ => self.one(kind),
                };
                value.into_iter().for_each(|value| self.put(name, value));
            }
            ("resourcetype", "integer", _) => {
                let number = self.luck.number(0..12);
                self.put(name, number);
            }
            ("resourcetype" | "resourceids" | "resourceid", _, _) => {
                self.resource(name);
                return self.given("resourcetype").is_some();
            }
            ("tags" | "details", _, _) => self.pairs(name),
            (_, "boolean", _) => {
                let word = self.luck.word(&["true", "false"]);
                self.put(name, word);
            }
            _ => self.word(name),
        }
        self.params.len() > before
    }

    /// Whether `account` and `domainid` say for whom the request is.
    fn chooses_owner(&self) -> bool {
        let params: Vec<_> = find(self.command)
            .into_iter()
            .flat_map(|row| row.params())
            .collect();
        let declares = |name: &str| params.iter().any(|param| param.name == name);
        declares("account") && declares("domainid") && declares("projectid")
    }

    /// Names an account that the request is for, as those above it do.
    fn owner(&mut self) {
        let admin = self
            .world
            .accounts
            .get(&self.home)
            .is_some_and(|row| row.admin);
        if self.given("account").is_some() || self.given("projectid").is_some() || !admin {
            return;
        }
        let accounts = self.world.accounts.values().filter(|row| !row.is_project());
        let accounts: Vec<_> = accounts.collect();
        if let Some(account) = self.luck.pick(&accounts) {
            self.put("account", account.name.clone());
            self.put("domainid", self.world.domain_of(&account.id));
        }
    }

    /// An offering that suits a tier, or a network by itself.
    fn network_offering(&mut self) -> Option<Uuid> {
        let name = if self.tier && self.command == "createNetwork" {
            "DefaultIsolatedNetworkOfferingForVpcNetworks".to_owned()
        } else {
            let usual = "DefaultIsolatedNetworkOfferingWithSourceNatService";
            self.luck.word(&[usual, usual, "DefaultL2NetworkOffering"])
        };
        let offerings = self.world.catalogue.network_offerings.iter();
        let mut named = offerings.filter(|row| Catalogue::text(row, "name") == name);
        named
            .next()
            .map(|row| Catalogue::text(row, "id").to_owned())
    }

    fn resource(&mut self, name: &str) {
        if self.given("resourcetype").is_some() || self.given("resourceids").is_some() {
            return;
        }
        let Some((word, kind)) = self.luck.pick(TAGGED) else {
            return;
        };
        let Some(id) = self.one(kind) else {
            return;
        };
        self.put("resourcetype", word);
        let ids = if name == "resourceid" || self.command.contains("Detail") {
            "resourceid"
        } else {
            "resourceids"
        };
        self.put(ids, id);
    }

    fn pairs(&mut self, name: &str) {
        let key = self.luck.word(&["role", "owner", "use"]);
        let value = self.luck.word(&["web", "me", ""]);
        self.put(&format!("{name}[0].key"), key);
        self.put(&format!("{name}[0].value"), value);
    }

    /// The range that a gateway or an address is to lie in.
    fn range(&mut self) -> (u8, u8) {
        let vpc = self.given("vpcid").and_then(|id| self.world.vpcs.get(id));
        let second = vpc.and_then(|vpc| vpc.cidr.split('.').nth(1)?.parse().ok());
        let second = second.unwrap_or(100);
        (second, u8::try_from(self.luck.below(4)).unwrap_or_default())
    }

    /// An address of the network that the request is about, taken or not.
    fn guest_ip(&mut self) -> Option<String> {
        let nic = self
            .given("nicid")
            .and_then(|id| Some((id, self.world.vm_of_nic(id)?)));
        let nic = nic.and_then(|(id, vm)| vm.nics.iter().find(|nic| nic.id == id));
        let network = nic
            .map(|nic| nic.network.as_str())
            .or(self.given("networkids"))?;
        let network = self.world.networks.get(network)?;
        let subnet =
            Subnet::parse(&network.cidr).filter(|_| network.guest_type != GuestType::L2)?;
        let last = subnet.last() & 0xff;
        let [a, b, c, _] = network.gateway.octets();
        let nics = self.world.vms.values().flat_map(|vm| &vm.nics);
        let nics = nics.filter(|nic| nic.network == network.id);
        let taken: Vec<_> = nics.flat_map(|nic| nic.ips()).collect();
        if let Some(ip) = self.luck.pick(&taken).filter(|_| self.luck.once_in(2)) {
            return Some(ip.to_string());
        }
        let host = self.luck.below(usize::try_from(last).ok()? + 1);
        Some(format!("{a}.{b}.{c}.{host}"))
    }

    fn word(&mut self, name: &'static str) {
        let (second, third) = self.range();
        let luck = &mut *self.luck;
        let value = match name {
            "keypair" => {
                let pairs = self.world.key_pairs.values();
                let names: Vec<String> = pairs.map(|pair| pair.name.clone()).collect();
                match luck.pick(&names) {
                    Some(name) => name,
                    None => return,
                }
            }
            "name" | "displayname" | "group" | "description" | "displaytext"
            | "securitygroupname" => luck.word(&["a", "b", "c", "d", "e", "f"]),
            "username" => format!("u{}", luck.below(1_000)),
            "account" if self.command == "createAccount" => format!("a{}", luck.below(1_000)),
            "account" => {
                let accounts = self
                    .world
                    .accounts
                    .values()
                    .filter(|row| row.created.is_some() || self.command.starts_with("add"));
                let names: Vec<String> = accounts.map(|row| row.name.clone()).collect();
                luck.pick(&names).unwrap_or_default()
            }
            "password" | "email" | "firstname" | "lastname" => "x".to_owned(),
            "cidr" if self.command == "createVPC" => format!("10.{}.0.0/16", luck.below(4)),
            "cidr" => format!("10.{}.0.0/24", 50 + luck.below(4)),
            "gateway" => format!("10.{second}.{third}.1"),
            "netmask" => luck.word(&["255.255.255.0", "255.255.255.248", "255.255.255.240"]),
            "nexthop" => format!("10.{second}.{third}.{}", luck.below(8)),
            "cidrlist" | "destcidrlist" => luck.word(&["0.0.0.0/0", "10.0.0.0/8", "192.0.2.0/24"]),
            "protocol" => luck.word(&["tcp", "tcp", "udp", "icmp", "all"]),
            "startport" => luck.number(1..40),
            "endport" => luck.number(40..80),
            "publicport" | "privateport" => luck.number(20..24),
            "publicendport" | "privateendport" => luck.number(24..26),
            "icmptype" | "icmpcode" => "-1".to_owned(),
            "number" => luck.number(1..9),
            "traffictype" => luck.word(&["ingress", "egress"]),
            "action" => luck.word(&["allow", "deny"]),
            "algorithm" => luck.word(&["roundrobin", "leastconn", "source"]),
            "type" => luck.word(&[
                "host anti-affinity",
                "host affinity",
                "non-strict host anti-affinity",
            ]),
            "rootdisksize" => luck.number(10..16),
            "size" | "disksize" => luck.number(1..6),
            "deviceid" => luck.number(0..8),
            "max" => luck.word(&["-1", "1", "3", "20"]),
            "accounttype" => luck.word(&["0", "0", "2"]),
            "roletype" => luck.word(&["Admin", "Regular"]),
            "ipaddress" | "vmguestip" => match self.guest_ip() {
                Some(ip) => ip,
                None => return,
            },
            "publickey" => format!("ssh-rsa {}", luck.word(&["AAAA", "AAAB", "AAAC"])),
            "userdata" => "aGVsbG8=".to_owned(),
            "payloadurl" => format!("http://203.0.113.9/{}", luck.below(8)),
            "templatefilter" => "executable".to_owned(),
            "cpunumber" => luck.number(1..3),
            "cpuspeed" => "500".to_owned(),
            "memory" => luck.word(&["512", "1024"]),
            _ => return,
        };
        self.put(name, value);
    }
}

/// A breakage of this kind to something of the user's account.
pub(super) fn breakage(
    world: &mut World,
    user: &str,
    kind: &str,
    luck: &mut Luck,
) -> Result<Breakage, String> {
    let one = |kind: Kind, luck: &mut Luck| {
        let mut draft = Draft {
            world,
            home: home(world, user),
            tier: false,
            command: "",
            luck,
            params: Vec::new(),
        };
        draft
            .one(kind)
            .ok_or_else(|| format!("there is no {kind:?}"))
    };
    Ok(match kind {
        "delete-tier" => Breakage::DeleteTier {
            tier: one(Kind::Network, luck)?,
        },
        "delete-vpc" => Breakage::DeleteVpc {
            vpc: one(Kind::Vpc, luck)?,
        },
        "delete-affinity-group" => Breakage::DeleteAffinityGroup {
            group: one(Kind::AffinityGroup, luck)?,
        },
        "replace-acl" => Breakage::ReplaceAcl {
            tier: Some(one(Kind::Network, luck)?),
        },
        "move-address" => Breakage::MoveAddress {
            address: one(Kind::Address, luck)?,
            to: one(Kind::Vm, luck)?,
        },
        _ => return breakage::drawn(world, user, kind),
    })
}
