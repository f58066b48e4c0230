//! Virtual machines, their cards and disks.

use std::collections::BTreeMap;
use std::fmt;
use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Uuid;

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

/// What a machine's guest does while CloudStack says that it runs. CloudStack never tells: only
/// who asks the machine itself finds out. A start, a reboot and a new disk bring it back to life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Guest {
    /// It answers.
    #[default]
    Alive,
    /// It takes connections and says nothing on them.
    Hung,
    /// It is not there: nothing listens on any of its ports.
    Dead,
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

/// How much of a host a machine takes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Size {
    /// The number of its processors.
    pub cpus: i64,
    /// The speed of each of them, in MHz.
    pub mhz: i64,
    /// Its memory, in MiB.
    pub memory_mib: i64,
}

impl Size {
    /// What all its processors take together, in MHz.
    #[must_use]
    pub fn all_mhz(self) -> i64 {
        self.cpus.saturating_mul(self.mhz)
    }
}

/// A network card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Nic {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// The network that it is in.
    pub network: Uuid,
    /// Its address; `0.0.0.0` in an L2 network, which gives none.
    pub ip: Ipv4Addr,
    /// Its MAC address.
    pub mac: String,
    /// The VLAN that it was last plugged into.
    pub vlan: Option<u16>,
    /// Its place in the machine, which it keeps.
    #[serde(default)]
    pub device: u16,
    /// Further addresses.
    #[serde(default)]
    pub secondary: Vec<SecondaryIp>,
}

/// A further address of a network card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecondaryIp {
    /// Its UUID.
    pub id: Uuid,
    /// The address.
    pub ip: Ipv4Addr,
}

impl Nic {
    /// All its addresses, its own one last.
    pub fn ips(&self) -> impl Iterator<Item = Ipv4Addr> {
        let further = self.secondary.iter().map(|other| other.ip);
        further.chain([self.ip])
    }

    /// Whether one of its addresses is this one.
    #[must_use]
    pub fn has_ip(&self, ip: Ipv4Addr) -> bool {
        self.ips().any(|own| own == ip)
    }
}

/// A virtual machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// What its guest does while it runs.
    #[serde(default)]
    pub guest: Guest,
    /// Its template.
    pub template: Uuid,
    /// Its service offering.
    pub offering: Uuid,
    /// What the offering gave it, or what was asked for where the offering leaves that open.
    #[serde(default)]
    pub size: Size,
    /// Whether it is started elsewhere when its host fails.
    #[serde(default)]
    pub ha: bool,
    /// Its cards, the default one first; a wreck has none.
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
    /// The registered user data that it was given.
    #[serde(default)]
    pub user_data_id: Option<Uuid>,
    /// Its group.
    #[serde(default)]
    pub group: Option<Uuid>,
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
    /// The name that people see.
    #[must_use]
    pub fn shown_name(&self) -> &str {
        self.display_name.as_deref().unwrap_or(&self.name)
    }

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
