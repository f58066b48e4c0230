//! What a world is made of: one plain record for each kind of CloudStack resource.
//!
//! Records hold what is true, not what is shown: [`super::super::view`] turns them into the rows
//! of a reply, and the rules live in the commands. Ids are the UUIDs of the wire, `number` is the
//! database id that error texts quote and that lists are ordered by.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The UUID of a resource, as text, because text is all that CloudStack's clients ever see of it.
pub type Uuid = String;

/// The kinds of things that a parameter can name by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// A zone.
    Zone,
    /// A template.
    Template,
    /// A service offering.
    ServiceOffering,
    /// A VPC offering.
    VpcOffering,
    /// A network offering.
    NetworkOffering,
    /// An account.
    Account,
    /// A VPC.
    Vpc,
    /// A network, which here is mostly a tier of a VPC.
    Network,
    /// A network ACL list.
    AclList,
    /// A rule of a network ACL list.
    AclItem,
    /// A public IP address.
    Address,
    /// A virtual machine.
    Vm,
    /// A network card of a virtual machine.
    Nic,
    /// An affinity group.
    AffinityGroup,
    /// An SSH key pair.
    KeyPair,
    /// An asynchronous job.
    Job,
}

/// An account: the owner of resources.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id: 2 for the admin, 4 for the tenant.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// Whether its users are root admins.
    pub admin: bool,
}

/// A user of an account: the holder of an API key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// Its UUID.
    pub id: Uuid,
    /// The login name, which events carry.
    pub name: String,
    /// The account that it acts for.
    pub account: Uuid,
    /// The public half of its API credentials.
    pub api_key: String,
    /// The secret half, which signs requests.
    pub secret_key: String,
}

/// A VPC.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Vpc {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// Its name, which need not be unique.
    pub name: String,
    /// Its description.
    pub display_text: String,
    /// Its address range, such as `10.0.0.0/16`.
    pub cidr: String,
    /// The offering that it was made from.
    pub offering: Uuid,
    /// The account that owns it.
    pub account: Uuid,
    /// The DNS domain of its machines.
    pub domain: String,
    /// When it was created.
    pub created: Timestamp,
}

/// The states of a network that a client can see here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum NetworkState {
    /// It exists in the database only.
    Allocated,
    /// Its router is up and it has a VLAN.
    Implemented,
}

/// An isolated network; a tier if it belongs to a VPC.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Network {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// Its name, which need not be unique.
    pub name: String,
    /// Its description.
    pub display_text: String,
    /// The gateway of its machines.
    pub gateway: Ipv4Addr,
    /// Its netmask.
    pub netmask: Ipv4Addr,
    /// Its address range, such as `10.0.0.0/24`.
    pub cidr: String,
    /// The offering that it was made from.
    pub offering: Uuid,
    /// The account that owns it.
    pub account: Uuid,
    /// The VPC of a tier.
    pub vpc: Option<Uuid>,
    /// The ACL list of a tier.
    pub acl: Option<Uuid>,
    /// The DNS domain of its machines.
    pub domain: String,
    /// Whether its router is up.
    pub state: NetworkState,
    /// The VLAN of an implemented network.
    pub vlan: Option<u16>,
    /// While its first start holds the lock: until when.
    pub busy_until: Option<Timestamp>,
    /// Since when it has been implemented without a running machine.
    pub idle_since: Option<Timestamp>,
    /// How many network cards it ever had: the last bytes of the next MAC address.
    pub nics: u32,
    /// When it was created.
    pub created: Timestamp,
}

/// A network ACL list.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AclList {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// Its name, which need not be unique.
    pub name: String,
    /// Its description.
    pub description: String,
    /// Its VPC; the two default lists have none.
    pub vpc: Option<Uuid>,
}

/// A rule of a network ACL list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AclItem {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id, which is not its rule number.
    pub serial: u64,
    /// The list that it belongs to.
    pub list: Uuid,
    /// Its place in the list: rules are tried in the order of their numbers.
    pub number: u32,
    /// `tcp`, `udp`, `icmp`, `all` or a protocol number.
    pub protocol: String,
    /// The first port.
    pub start_port: Option<u16>,
    /// The last port.
    pub end_port: Option<u16>,
    /// The ICMP type.
    pub icmp_type: Option<i32>,
    /// The ICMP code.
    pub icmp_code: Option<i32>,
    /// The addresses that it is about, joined by commas.
    pub cidr_list: String,
    /// `Ingress` or `Egress`.
    pub traffic: String,
    /// `Allow` or `Deny`.
    pub action: String,
    /// A description, which CloudStack calls a reason.
    pub reason: Option<String>,
    /// Whether it has reached the router: `Active`, or `Add` before that.
    pub active: bool,
}

/// The states of a public IP address.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum AddressState {
    /// Nobody's.
    Free,
    /// Somebody's already, although the job that gives it away has not ended.
    Allocating,
    /// Somebody's.
    Allocated,
}

/// A public IP address. Its id outlives its owners.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Address {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// The address.
    pub ip: Ipv4Addr,
    /// Whose it is, roughly.
    pub state: AddressState,
    /// The account that holds it.
    pub account: Option<Uuid>,
    /// The VPC that it serves.
    pub vpc: Option<Uuid>,
    /// The network that it is bound to, by static NAT or because it is isolated.
    pub network: Option<Uuid>,
    /// Whether outgoing traffic leaves by it.
    pub source_nat: bool,
    /// The machine and guest address behind it.
    pub static_nat: Option<StaticNat>,
    /// Since when it has been held.
    pub allocated: Option<Timestamp>,
    /// The system machine that holds it, if one does.
    pub system: Option<SystemMachine>,
}

/// A machine of the cloud itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SystemMachine {
    /// Its UUID.
    pub id: Uuid,
    /// What it is, such as `ConsoleProxy`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// The target of a static NAT.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticNat {
    /// The machine.
    pub vm: Uuid,
    /// Its address in the network.
    pub ip: Ipv4Addr,
}

/// The states of a virtual machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VmState {
    /// Off.
    Stopped,
    /// On its way to `Running`.
    Starting,
    /// On.
    Running,
    /// On its way to `Stopped`.
    Stopping,
    /// On its way to another host, as only an admin can send it.
    Migrating,
    /// Deleted, although it keeps its name, card and addresses until the purge.
    Destroyed,
    /// Deleted for good, as soon as the purge comes by.
    Expunging,
    /// Its deploy failed.
    Error,
}

impl fmt::Display for VmState {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, out)
    }
}

impl VmState {
    /// Whether ordinary users no longer see a machine in this state.
    #[must_use]
    pub fn is_gone(self) -> bool {
        matches!(self, Self::Destroyed | Self::Expunging)
    }
}

/// What became of the root disk of a machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Disk {
    /// The deploy was refused before it had one.
    None,
    /// It is a row in the database.
    Fresh,
    /// It lies on a storage pool.
    Ready,
    /// It was there and was destroyed by a failed start.
    Lost,
}

/// A network card.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Nic {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// The network that it is in.
    pub network: Uuid,
    /// Its address.
    pub ip: Ipv4Addr,
    /// Its MAC address.
    pub mac: String,
    /// The VLAN that it was last plugged into.
    pub vlan: Option<u16>,
}

/// A virtual machine.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Vm {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// Its host name.
    pub name: String,
    /// The name that people see; the host name where none was given.
    pub display_name: Option<String>,
    /// The account that owns it.
    pub account: Uuid,
    /// The user that deployed it.
    pub user: Uuid,
    /// Its state.
    pub state: VmState,
    /// Its template.
    pub template: Uuid,
    /// Its service offering.
    pub offering: Uuid,
    /// Its cards; a wreck has none.
    pub nics: Vec<Nic>,
    /// Its root disk.
    pub disk: Disk,
    /// How often the root disk was made anew from a template.
    pub images: u32,
    /// The host that it runs on.
    pub host: Option<Uuid>,
    /// Free key-value pairs, given at the deploy or later.
    pub details: BTreeMap<String, String>,
    /// Whether it was ever stopped, which CloudStack notes in the details that admins see.
    pub capacity_freed: bool,
    /// User data, base64 as it was sent.
    pub user_data: Option<String>,
    /// The names of its SSH keys.
    pub key_pairs: Vec<String>,
    /// Its affinity groups.
    pub affinity_groups: Vec<Uuid>,
    /// Whether it may not be destroyed.
    pub delete_protection: bool,
    /// When it was deployed.
    pub created: Timestamp,
    /// When its state last changed.
    pub updated: Option<Timestamp>,
    /// Since when it has been running.
    pub running_since: Option<Timestamp>,
}

impl Vm {
    /// Whether a deploy was refused and left this behind: state `Error` and no card.
    #[must_use]
    pub fn is_wreck(&self) -> bool {
        self.nics.is_empty() && self.state == VmState::Error
    }

    /// Its address in its first network.
    #[must_use]
    pub fn ip(&self) -> Option<Ipv4Addr> {
        self.nics.first().map(|nic| nic.ip)
    }
}

/// An affinity group.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct AffinityGroup {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// Its name, unique in the account.
    pub name: String,
    /// Its type, such as `host anti-affinity`.
    pub kind: String,
    /// Its description.
    pub description: Option<String>,
    /// The account that owns it.
    pub account: Uuid,
}

/// An SSH key pair, of which only the public half is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyPair {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// Its name, unique in the account.
    pub name: String,
    /// The account that owns it.
    pub account: Uuid,
    /// The fingerprint of the public key.
    pub fingerprint: String,
    /// The public key.
    pub public_key: String,
}

/// A tag on a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// The type of the resource, as the API spells it.
    pub resource_type: String,
    /// The resource.
    pub resource: Uuid,
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// The account that set it.
    pub account: Uuid,
}

/// An event: the only place where CloudStack says who did what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Its UUID.
    pub id: Uuid,
    /// When it happened.
    pub created: Timestamp,
    /// Its type, such as `VM.STOP`.
    pub kind: String,
    /// `Created`, `Scheduled`, `Started` or `Completed`.
    pub state: String,
    /// `INFO` or `ERROR`.
    pub level: String,
    /// A sentence.
    pub description: String,
    /// The name of the user who did it.
    pub user: String,
    /// The account whose resource it is about.
    pub account: Uuid,
    /// The type of the resource, in the words of events.
    pub resource_type: String,
    /// The resource.
    pub resource: Option<Uuid>,
    /// The name that the resource had.
    pub resource_name: Option<String>,
    /// The event that this one continues.
    pub parent: Option<Uuid>,
}

/// How much of each thing an account may have; −1 is no limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// One number for each resource type, in the order of the types' numbers.
    pub max: Vec<i64>,
}

/// The names of the resource types, in the order of their numbers.
pub const RESOURCE_TYPES: [&str; 17] = [
    "user_vm",
    "public_ip",
    "volume",
    "snapshot",
    "template",
    "project",
    "network",
    "vpc",
    "cpu",
    "memory",
    "primary_storage",
    "secondary_storage",
    "backup",
    "backup_storage",
    "bucket",
    "object_storage",
    "gpu",
];

impl Limits {
    /// No limit at all: what the root admin has.
    #[must_use]
    pub fn none() -> Self {
        Self {
            max: vec![-1; RESOURCE_TYPES.len()],
        }
    }

    /// What CloudStack 4.22 gives a new account: twenty of most things.
    #[must_use]
    pub fn of_a_new_account() -> Self {
        let max = vec![
            20, 20, 20, 20, 20, 10, 20, 20, 40, 40_960, 200, 400, 20, 400, 20, 400, -1,
        ];
        Self { max }
    }

    /// Sets the limit of one resource type, by the name it has in [`RESOURCE_TYPES`].
    ///
    /// # Panics
    /// If there is no such type: the caller is a test or a demonstration, and misspelt it.
    pub fn set(&mut self, resource: &str, max: i64) {
        let place = RESOURCE_TYPES.iter().position(|name| *name == resource);
        self.max[place.expect("the resource type is one of RESOURCE_TYPES")] = max;
    }
}
