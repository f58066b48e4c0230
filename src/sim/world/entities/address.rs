//! Public addresses, and the static NAT behind them.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Uuid;

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

impl AddressState {
    /// The word that CloudStack has for it.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Free => "Free",
            Self::Allocating => "Allocating",
            Self::Allocated => "Allocated",
        }
    }
}

/// A public IP address. Its id outlives its owners.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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
