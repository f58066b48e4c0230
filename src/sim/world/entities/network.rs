//! VPCs and networks.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Uuid;

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
