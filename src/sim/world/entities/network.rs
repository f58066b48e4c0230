//! VPCs and networks.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Uuid;

/// A VPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
    /// It is shared, and has been there since its creation.
    Setup,
}

/// The types of guest networks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum GuestType {
    /// An account's own, behind a router.
    #[default]
    Isolated,
    /// Of many accounts, in a VLAN that an admin chose.
    Shared,
    /// A VLAN without any service: its machines bring their own addresses.
    L2,
}

/// A guest network; a tier if it belongs to a VPC.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Network {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// Its name, which need not be unique.
    pub name: String,
    /// Its description.
    pub display_text: String,
    /// Its type.
    #[serde(default)]
    pub guest_type: GuestType,
    /// The gateway of its machines; `0.0.0.0` in an L2 network, which has none.
    pub gateway: Ipv4Addr,
    /// Its netmask.
    pub netmask: Ipv4Addr,
    /// Its address range, such as `10.0.0.0/24`; empty in an L2 network.
    pub cidr: String,
    /// The part of it that machines get their addresses from, if it is not all.
    #[serde(default)]
    pub ip_range: Option<(Ipv4Addr, Ipv4Addr)>,
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
