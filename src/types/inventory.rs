//! What the last look at a CloudStack account saw, and what its catalogue offers.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;
use jiff::Timestamp;

use super::{
    account::Rights,
    action::mark,
    id::{
        AclId, AclRuleId, AddressId, AffinityGroupId, JobId, NetworkId, NicId, OfferingId,
        TemplateId, Uid, VmId, VpcId, ZoneId,
    },
    role::Protocol,
    stack::{Direction, RuleAction},
};

/// Tags of a resource.
pub type Tags = BTreeMap<String, String>;

/// A VPC, as listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Vpc {
    /// Its id.
    pub id: VpcId,
    /// Its name; names repeat.
    pub name: String,
    /// Its display text, which carries our mark.
    pub display_text: String,
    /// `Enabled`, or `Inactive` while and after it is deleted.
    pub state: String,
    /// Its range.
    pub cidr: Ipv4Net,
    /// Its tags.
    pub tags: Tags,
    /// A job that works on it.
    pub job: Option<JobId>,
}

/// A network; in a VPC, a tier.
#[derive(Clone, Debug, PartialEq)]
pub struct Network {
    /// Its id.
    pub id: NetworkId,
    /// Its name.
    pub name: String,
    /// Its display text, which carries our mark.
    pub display_text: String,
    /// `Allocated`, `Implementing`, `Implemented`, …: all of them alive.
    pub state: String,
    /// Its range.
    pub cidr: Option<Ipv4Net>,
    /// Its gateway.
    pub gateway: Option<Ipv4Addr>,
    /// The VPC it is a tier of.
    pub vpc: Option<VpcId>,
    /// Its network ACL list.
    pub acl: Option<AclId>,
    /// Its tags.
    pub tags: Tags,
    /// A job that works on it.
    pub job: Option<JobId>,
}

/// A rule of a network ACL list.
#[derive(Clone, Debug, PartialEq)]
pub struct AclRule {
    /// Its id.
    pub id: AclRuleId,
    /// The list it belongs to.
    pub acl: AclId,
    /// Its place in the list; rules are tried by ascending number.
    pub number: u32,
    /// Its protocol; `None` for one given by a number that we do not use.
    pub protocol: Option<Protocol>,
    /// First port.
    pub start_port: Option<u16>,
    /// Last port.
    pub end_port: Option<u16>,
    /// Sources or destinations, sorted. IPv6 ranges are kept as text in `other_cidrs`.
    pub cidrs: Vec<Ipv4Net>,
    /// Ranges that are not IPv4.
    pub other_cidrs: Vec<String>,
    /// Ingress or egress.
    pub direction: Direction,
    /// Allow or deny.
    pub action: RuleAction,
    /// What it is for.
    pub reason: String,
    /// `Add` while it is being applied, `Active`, `Deleting`.
    pub state: String,
    /// ICMP type and code; −1 means any.
    pub icmp: Option<(i32, i32)>,
}

/// A network ACL list.
#[derive(Clone, Debug, PartialEq)]
pub struct AclList {
    /// Its id.
    pub id: AclId,
    /// Its name.
    pub name: String,
    /// Its description, which carries our mark.
    pub description: String,
    /// Its VPC; none for the two default lists.
    pub vpc: Option<VpcId>,
}

/// An affinity group.
#[derive(Clone, Debug, PartialEq)]
pub struct AffinityGroup {
    /// Its id.
    pub id: AffinityGroupId,
    /// Its name, unique in the account.
    pub name: String,
    /// CloudStack's type.
    pub kind: String,
    /// Its description, which carries our mark.
    pub description: String,
}

/// A virtual machine, as listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Vm {
    /// Its id.
    pub id: VmId,
    /// Its host name.
    pub name: String,
    /// Its display name.
    pub display_name: String,
    /// Its state.
    pub state: VmState,
    /// Its template.
    pub template: Option<TemplateId>,
    /// Its service offering.
    pub offering: Option<OfferingId>,
    /// Its NICs; a wreck has none.
    pub nics: Vec<Nic>,
    /// Its affinity groups.
    pub affinity_groups: BTreeSet<AffinityGroupId>,
    /// Its details, which carry our mark.
    pub details: BTreeMap<String, String>,
    /// Its tags.
    pub tags: Tags,
    /// A job that works on it, or waits to: a lock that can be seen.
    pub job: Option<JobId>,
    /// SHA-256 of its user data in hex; only known after an audit.
    pub user_data_hash: Option<String>,
    /// When it was made.
    pub created: Option<Timestamp>,
}

impl Vm {
    /// The uid of the stack that it says it belongs to.
    #[must_use]
    pub fn marked_stack(&self) -> Option<Uid> {
        self.details
            .get(mark::STACK)
            .or_else(|| self.tags.get(mark::TAG_STACK))
            .map(Uid::new)
    }

    /// The machine that it says it realises.
    #[must_use]
    pub fn marked_machine(&self) -> Option<&str> {
        let machine = self.details.get(mark::MACHINE);
        machine.map(String::as_str)
    }

    /// The job id under which it says it was deployed.
    #[must_use]
    pub fn intent(&self) -> Option<&str> {
        self.details.get(mark::INTENT).map(String::as_str)
    }

    /// The NIC in a network.
    #[must_use]
    pub fn nic_in(&self, network: &NetworkId) -> Option<&Nic> {
        self.nics.iter().find(|nic| nic.network == *network)
    }

    /// Whether it is the record of a refused deploy: in `Error`, without a NIC.
    #[must_use]
    pub fn is_wreck(&self) -> bool {
        self.state == VmState::Error && self.nics.is_empty()
    }
}

/// A NIC of a VM.
#[derive(Clone, Debug, PartialEq)]
pub struct Nic {
    /// Its id.
    pub id: NicId,
    /// Its network.
    pub network: NetworkId,
    /// Its address.
    pub address: Option<Ipv4Addr>,
}

/// A VM's state in CloudStack's words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum VmState {
    /// Being started.
    Starting,
    /// Running, as far as CloudStack knows.
    Running,
    /// Being stopped.
    Stopping,
    /// Not running.
    Stopped,
    /// Being moved between hosts.
    Migrating,
    /// Being restored from a backup.
    Restoring,
    /// Destroyed; holds its name and addresses until it is purged.
    Destroyed,
    /// Being purged.
    Expunging,
    /// Its first deploy failed.
    Error,
    /// Any other word.
    Other(String),
}

impl VmState {
    /// The state that a word of CloudStack's means.
    #[must_use]
    pub fn from_word(word: &str) -> Self {
        match word {
            "Starting" => Self::Starting,
            "Running" => Self::Running,
            "Stopping" => Self::Stopping,
            "Stopped" => Self::Stopped,
            "Migrating" => Self::Migrating,
            "Restoring" => Self::Restoring,
            "Destroyed" => Self::Destroyed,
            "Expunging" => Self::Expunging,
            "Error" => Self::Error,
            other => Self::Other(other.to_owned()),
        }
    }

    /// CloudStack's word.
    #[must_use]
    pub fn word(&self) -> &str {
        match self {
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Stopping => "Stopping",
            Self::Stopped => "Stopped",
            Self::Migrating => "Migrating",
            Self::Restoring => "Restoring",
            Self::Destroyed => "Destroyed",
            Self::Expunging => "Expunging",
            Self::Error => "Error",
            Self::Other(word) => word,
        }
    }

    /// Whether CloudStack is at work on the VM, so that anything else must wait.
    #[must_use]
    pub const fn transitional(&self) -> bool {
        matches!(
            self,
            Self::Starting | Self::Stopping | Self::Migrating | Self::Restoring
        )
    }

    /// Whether the VM is dead and only holds what it had.
    #[must_use]
    pub const fn dead(&self) -> bool {
        matches!(self, Self::Destroyed | Self::Expunging)
    }
}

/// A public address, as listed.
#[derive(Clone, Debug, PartialEq)]
pub struct Address {
    /// Its id.
    pub id: AddressId,
    /// The address.
    pub ip: Ipv4Addr,
    /// `Allocated`, `Allocating`, `Releasing`, …
    pub state: String,
    /// The VPC that it is given to.
    pub vpc: Option<VpcId>,
    /// The tier that it is bound to by its static NAT.
    pub tier: Option<NetworkId>,
    /// Whether it is its VPC's source NAT; such an address is never a machine's.
    pub source_nat: bool,
    /// The VM that it leads to.
    pub vm: Option<VmId>,
    /// Its tags, perhaps those of a former owner.
    pub tags: Tags,
    /// A job that works on it.
    pub job: Option<JobId>,
    /// When its present lease began, to the second.
    pub leased: Option<Timestamp>,
}

/// A look at a whole account, indexed so that planning a stack costs what the stack costs.
#[derive(Clone, Debug, Default)]
pub struct Inventory {
    /// VPCs.
    pub vpcs: BTreeMap<VpcId, Vpc>,
    /// Networks.
    pub networks: BTreeMap<NetworkId, Network>,
    /// Rules of network ACL lists.
    pub rules: BTreeMap<AclRuleId, AclRule>,
    /// Virtual machines.
    pub vms: BTreeMap<VmId, Vm>,
    /// Public addresses.
    pub addresses: BTreeMap<AddressId, Address>,
    /// Jobs in flight, where they were asked for since the last command.
    pub jobs: Option<BTreeSet<JobId>>,
    vms_of_stack: BTreeMap<Uid, Vec<VmId>>,
    vms_in_network: BTreeMap<NetworkId, Vec<VmId>>,
    vms_named: BTreeMap<String, Vec<VmId>>,
    rules_of_acl: BTreeMap<AclId, Vec<AclRuleId>>,
    networks_of_vpc: BTreeMap<VpcId, Vec<NetworkId>>,
    addresses_of_vpc: BTreeMap<VpcId, Vec<AddressId>>,
    addresses_of_vm: BTreeMap<VmId, Vec<AddressId>>,
    vpcs_of_stack: BTreeMap<Uid, Vec<VpcId>>,
}

/// Which of the lists a look consists of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum List {
    /// `listVPCs`.
    Vpcs,
    /// `listNetworks`.
    Networks,
    /// `listNetworkACLs`.
    Rules,
    /// `listVirtualMachines`.
    Vms,
    /// `listPublicIpAddresses`.
    Addresses,
}

impl List {
    /// The five lists of a look.
    pub const ALL: [Self; 5] = [
        Self::Vpcs,
        Self::Networks,
        Self::Rules,
        Self::Vms,
        Self::Addresses,
    ];
}

/// The rows of one list, read to the last page.
#[derive(Clone, Debug)]
pub enum Rows {
    /// VPCs.
    Vpcs(Vec<Vpc>),
    /// Networks.
    Networks(Vec<Network>),
    /// Rules.
    Rules(Vec<AclRule>),
    /// VMs.
    Vms(Vec<Vm>),
    /// Addresses.
    Addresses(Vec<Address>),
}

impl Inventory {
    /// Takes over a freshly read list in place of the former one.
    pub fn replace(&mut self, rows: Rows) {
        match rows {
            Rows::Vpcs(rows) => self.vpcs = keyed(rows, |row| row.id.clone()),
            Rows::Networks(rows) => self.networks = keyed(rows, |row| row.id.clone()),
            Rows::Rules(rows) => self.rules = keyed(rows, |row| row.id.clone()),
            Rows::Vms(rows) => self.vms = keyed(rows, |row| row.id.clone()),
            Rows::Addresses(rows) => self.addresses = keyed(rows, |row| row.id.clone()),
        }
    }

    /// Makes the indices follow the tables. To be called after any change of them.
    pub fn index(&mut self) {
        self.vms_of_stack = grouped(&self.vms, |vm| vm.marked_stack());
        self.vms_named = grouped(&self.vms, |vm| Some(vm.name.clone()));
        self.rules_of_acl = grouped(&self.rules, |rule| Some(rule.acl.clone()));
        self.networks_of_vpc = grouped(&self.networks, |network| network.vpc.clone());
        self.addresses_of_vpc = grouped(&self.addresses, |address| address.vpc.clone());
        self.addresses_of_vm = grouped(&self.addresses, |address| address.vm.clone());
        self.vpcs_of_stack = grouped(&self.vpcs, |vpc| mark::uid_in(&vpc.display_text));
        self.vms_in_network.clear();
        for vm in self.vms.values() {
            for nic in &vm.nics {
                self.vms_in_network
                    .entry(nic.network.clone())
                    .or_default()
                    .push(vm.id.clone());
            }
        }
        for rules in self.rules_of_acl.values_mut() {
            rules.sort_by_key(|id| (self.rules[id].number, id.clone()));
        }
    }

    /// VMs that carry the mark of a stack, rightly or not.
    pub fn vms_of_stack(&self, stack: &Uid) -> impl Iterator<Item = &Vm> {
        rows(&self.vms, self.vms_of_stack.get(stack))
    }

    /// VMs with a NIC in a network, whoever owns them.
    pub fn vms_in_network(&self, network: &NetworkId) -> impl Iterator<Item = &Vm> {
        rows(&self.vms, self.vms_in_network.get(network))
    }

    /// VMs with a host name, in any network.
    pub fn vms_named(&self, name: &str) -> impl Iterator<Item = &Vm> {
        rows(&self.vms, self.vms_named.get(name))
    }

    /// Rules of a list, by number.
    pub fn rules_of(&self, acl: &AclId) -> impl Iterator<Item = &AclRule> {
        rows(&self.rules, self.rules_of_acl.get(acl))
    }

    /// Tiers of a VPC.
    pub fn networks_of(&self, vpc: &VpcId) -> impl Iterator<Item = &Network> {
        rows(&self.networks, self.networks_of_vpc.get(vpc))
    }

    /// Addresses of a VPC.
    pub fn addresses_of(&self, vpc: &VpcId) -> impl Iterator<Item = &Address> {
        rows(&self.addresses, self.addresses_of_vpc.get(vpc))
    }

    /// Addresses that lead to a VM.
    pub fn addresses_of_vm(&self, vm: &VmId) -> impl Iterator<Item = &Address> {
        rows(&self.addresses, self.addresses_of_vm.get(vm))
    }

    /// VPCs that carry the mark of a stack, rightly or not.
    pub fn vpcs_of_stack(&self, stack: &Uid) -> impl Iterator<Item = &Vpc> {
        rows(&self.vpcs, self.vpcs_of_stack.get(stack))
    }
}

fn keyed<K: Ord, V>(rows: Vec<V>, key: impl Fn(&V) -> K) -> BTreeMap<K, V> {
    rows.into_iter().map(|row| (key(&row), row)).collect()
}

fn grouped<K: Ord + Clone, V, G: Ord>(
    table: &BTreeMap<K, V>,
    group: impl Fn(&V) -> Option<G>,
) -> BTreeMap<G, Vec<K>> {
    let mut groups: BTreeMap<G, Vec<K>> = BTreeMap::new();
    for (key, row) in table {
        if let Some(group) = group(row) {
            groups.entry(group).or_default().push(key.clone());
        }
    }
    groups
}

fn rows<'a, K: Ord, V>(
    table: &'a BTreeMap<K, V>,
    keys: Option<&'a Vec<K>>,
) -> impl Iterator<Item = &'a V> + use<'a, K, V> {
    keys.into_iter().flatten().filter_map(|key| table.get(key))
}

/// A named thing of the catalogue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its id.
    pub id: String,
    /// Its name.
    pub name: String,
}

/// What an account may choose from, and what it may do.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Catalogue {
    /// CloudStack's version.
    pub version: String,
    /// What the account's role allows.
    pub rights: Rights,
    /// The zone that the account's spec names; resolved when the catalogue is read.
    pub zone: Option<ZoneId>,
    /// Zones.
    pub zones: Vec<Entry>,
    /// Templates that a VM can be made from.
    pub templates: Vec<Entry>,
    /// Service offerings.
    pub service_offerings: Vec<Entry>,
    /// Network offerings for tiers.
    pub network_offerings: Vec<Entry>,
    /// VPC offerings.
    pub vpc_offerings: Vec<Entry>,
    /// SSH key pairs, by name.
    pub key_pairs: Vec<String>,
}
