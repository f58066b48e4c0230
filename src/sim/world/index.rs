//! What the rows of the world are filed under, so that no question about one of thousands of
//! machines has to look at all of them.

use std::net::Ipv4Addr;

use jiff::Timestamp;

use super::table::{Filed, Keyed, Keys};
use super::{
    AclItem, AclList, Address, AddressState, AffinityGroup, Detail, FirewallRule, LoadBalancer,
    Network, PortForwarding, Size, Tag, Uuid, Vm, VmState, Volume, Vpc, World,
};

/// Files a type under keys of another.
macro_rules! filed {
    ($row:ty, $id:ty, $key:ty, $keys:expr) => {
        impl Filed for $row {
            type Id = $id;
            type Card = Keys<$key>;
            type Index = Keyed<$id, $key>;

            fn card(&self) -> Keys<$key> {
                let keys: fn(&$row) -> Keys<$key> = $keys;
                keys(self)
            }
        }
    };
}

fn keys<K>(found: Vec<K>, counted: Vec<K>) -> Keys<K> {
    Keys { found, counted }
}

/// What a machine is filed under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VmKey {
    /// Its name, in lower case.
    Name(String),
    /// One of its cards, by id.
    Nic(Uuid),
    /// The network and an address of a card.
    Card(Uuid, Ipv4Addr),
    /// The host that it is on.
    Host(Uuid),
    /// An affinity group that it is in.
    Group(Uuid),
    /// Counted: account and size, of machines that count against limits.
    Used(Uuid, Size),
    /// Counted: host and size.
    Placed(Uuid, Size),
    /// Counted: a network that it keeps from being shut down.
    Busy(Uuid),
}

impl Vm {
    /// Whether it counts against the limits of its account: a destroyed machine and a wreck do not.
    #[must_use]
    pub fn is_counted(&self) -> bool {
        !self.state.is_gone() && self.state != VmState::Error
    }

    /// Whether it needs the routers of its networks.
    #[must_use]
    pub fn is_up(&self) -> bool {
        matches!(
            self.state,
            VmState::Running | VmState::Starting | VmState::Stopping | VmState::Migrating
        )
    }
}

filed!(Vm, Uuid, VmKey, |vm| {
    let nics = vm.nics.iter();
    let cards = nics.flat_map(|nic| {
        let ips = nic.ips();
        ips.map(|ip| VmKey::Card(nic.network.clone(), ip))
            .chain([VmKey::Nic(nic.id.clone())])
    });
    let groups = vm.affinity_groups.iter().cloned().map(VmKey::Group);
    let host = vm.host.clone();
    let busy = vm.nics.iter().filter(|_| vm.is_up());
    let busy = busy.map(|nic| VmKey::Busy(nic.network.clone()));
    let placed = host.clone();
    let placed = placed.map(|host| VmKey::Placed(host, vm.size));
    let used = VmKey::Used(vm.account.clone(), vm.size);
    let used = vm.is_counted().then_some(used);
    keys(
        cards
            .chain(groups)
            .chain([VmKey::Name(vm.name.to_lowercase())])
            .chain(host.map(VmKey::Host))
            .collect(),
        busy.chain(placed).chain(used).collect(),
    )
});

/// What a volume is filed under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum VolumeKey {
    /// The machine that it is attached to.
    Vm(Uuid),
    /// Counted: account and bytes, of volumes that count against limits.
    Used(Uuid, i64),
}

filed!(Volume, Uuid, VolumeKey, |row| keys(
    row.vm.iter().cloned().map(VolumeKey::Vm).collect(),
    row.counted
        .then(|| VolumeKey::Used(row.account.clone(), row.bytes))
        .into_iter()
        .collect(),
));

/// What a public address is filed under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AddressKey {
    /// Its dotted form.
    Ip(Ipv4Addr),
    /// The same, of an address that nobody holds.
    Free(Ipv4Addr),
    /// The machine behind its static NAT.
    Vm(Uuid),
    /// The VPC that it serves.
    Vpc(Uuid),
    /// The network that it is bound to.
    Network(Uuid),
    /// Counted: the account that holds it.
    Held(Uuid),
    /// Counted: the VPC or network whose traffic leaves by it.
    SourceNat(Uuid),
}

filed!(Address, Uuid, AddressKey, |row| {
    let free = row.state == AddressState::Free;
    let nat = row.static_nat.as_ref();
    let leaves = row.vpc.iter().chain(&row.network);
    let leaves = leaves.filter(|_| row.source_nat);
    keys(
        [AddressKey::Ip(row.ip)]
            .into_iter()
            .chain(free.then_some(AddressKey::Free(row.ip)))
            .chain(nat.map(|nat| AddressKey::Vm(nat.vm.clone())))
            .chain(row.vpc.clone().map(AddressKey::Vpc))
            .chain(row.network.clone().map(AddressKey::Network))
            .collect(),
        row.account
            .iter()
            .cloned()
            .map(AddressKey::Held)
            .chain(leaves.cloned().map(AddressKey::SourceNat))
            .collect(),
    )
});

/// What a network is filed under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum NetworkKey {
    /// The VPC of a tier.
    Vpc(Uuid),
    /// The ACL list of a tier.
    Acl(Uuid),
    /// Since when it has been without a running machine.
    Idle(Timestamp),
    /// Counted: the account that owns it.
    Owned(Uuid),
}

filed!(Network, Uuid, NetworkKey, |row| keys(
    row.vpc
        .clone()
        .map(NetworkKey::Vpc)
        .into_iter()
        .chain(row.acl.clone().map(NetworkKey::Acl))
        .chain(row.idle_since.map(NetworkKey::Idle))
        .collect(),
    vec![NetworkKey::Owned(row.account.clone())],
));

// Counted: the account that owns a VPC.
filed!(Vpc, Uuid, Uuid, |row| keys(
    Vec::new(),
    vec![row.account.clone()]
));

// The VPC of an ACL list.
filed!(AclList, Uuid, Uuid, |row| keys(
    row.vpc.iter().cloned().collect(),
    Vec::new()
));

// The list of a rule, and its place there.
filed!(AclItem, Uuid, (Uuid, u32), |row| keys(
    vec![(row.list.clone(), row.number)],
    Vec::new()
));

// The account and the name of an affinity group.
filed!(AffinityGroup, Uuid, (Uuid, String), |row| keys(
    vec![(row.account.clone(), row.name.clone())],
    Vec::new()
));

// The resource of a tag.
filed!(Tag, u64, Uuid, |row| keys(
    vec![row.resource.clone()],
    Vec::new()
));

// The resource of a detail.
filed!(Detail, u64, Uuid, |row| keys(
    vec![row.resource.clone()],
    Vec::new()
));

/// What a rule of a public address is filed under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum RuleKey {
    /// The public address.
    Address(Uuid),
    /// The network.
    Network(Uuid),
    /// A machine that it leads to.
    Vm(Uuid),
    /// The rule that opened it.
    OpenedBy(Uuid),
}

filed!(FirewallRule, Uuid, RuleKey, |row| keys(
    [RuleKey::Network(row.network.clone())]
        .into_iter()
        .chain(row.address.clone().map(RuleKey::Address))
        .chain(row.opened_by.clone().map(RuleKey::OpenedBy))
        .collect(),
    Vec::new()
));

filed!(PortForwarding, Uuid, RuleKey, |row| keys(
    vec![
        RuleKey::Network(row.network.clone()),
        RuleKey::Address(row.address.clone()),
        RuleKey::Vm(row.vm.clone()),
    ],
    Vec::new()
));

filed!(LoadBalancer, Uuid, RuleKey, |row| keys(
    [
        RuleKey::Network(row.network.clone()),
        RuleKey::Address(row.address.clone()),
    ]
    .into_iter()
    .chain(
        row.members
            .iter()
            .map(|member| RuleKey::Vm(member.vm.clone()))
    )
    .collect(),
    Vec::new()
));

impl World {
    /// Whether every index is what it would be if it were made anew.
    #[must_use]
    pub fn is_well_filed(&self) -> bool {
        self.vpcs.is_well_filed()
            && self.networks.is_well_filed()
            && self.acl_lists.is_well_filed()
            && self.acl_items.is_well_filed()
            && self.addresses.is_well_filed()
            && self.vms.is_well_filed()
            && self.volumes.is_well_filed()
            && self.affinity_groups.is_well_filed()
            && self.jobs.is_well_filed()
            && self.tags.table().is_well_filed()
            && self.details.table().is_well_filed()
            && self.firewall_rules.is_well_filed()
            && self.port_forwardings.is_well_filed()
            && self.load_balancers.is_well_filed()
    }

    /// Changes whenever anything changes that decides what a machine can be asked.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.vms.version()
            + self.networks.version()
            + self.addresses.version()
            + self.acl_items.version()
            + self.tags.table().version()
            + self.firewall_rules.version()
            + self.port_forwardings.version()
            + self.load_balancers.version()
    }

    /// How many rows were looked at one after the other so far, because no index knew.
    #[must_use]
    pub fn visits(&self) -> u64 {
        let tables = [
            self.vpcs.visits(),
            self.networks.visits(),
            self.acl_lists.visits(),
            self.acl_items.visits(),
            self.addresses.visits(),
            self.vms.visits(),
            self.volumes.visits(),
            self.affinity_groups.visits(),
            self.jobs.visits(),
            self.tags.table().visits(),
            self.details.table().visits(),
            self.firewall_rules.visits(),
            self.port_forwardings.visits(),
            self.load_balancers.visits(),
        ];
        tables.iter().sum()
    }
}
