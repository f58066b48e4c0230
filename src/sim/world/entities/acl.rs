//! ACL lists and their rules.

use serde::{Deserialize, Serialize};

use super::Uuid;

/// A network ACL list.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
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

/// Whom a rule is about that names nobody (`NetUtils.ALL_IP4_CIDRS` and `ALL_IP6_CIDRS`).
pub(crate) const EVERYBODY: &str = "0.0.0.0/0,::/0";

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
