//! Security groups: objects that an account can keep, although no network of this zone heeds them.

use serde::{Deserialize, Serialize};

use super::Uuid;

/// The group that every account has from the start.
pub(crate) const DEFAULT_SECURITY_GROUP: &str = "default";

/// A security group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// Its name, unique in the account; every account has one called `default`.
    pub name: String,
    /// Its description.
    pub description: Option<String>,
    /// The account that owns it.
    pub account: Uuid,
    /// What it lets through.
    pub rules: Vec<SecurityRule>,
}

/// A rule of a security group, about one peer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityRule {
    /// Its UUID.
    pub id: Uuid,
    /// Whether it is about what leaves the machines.
    pub egress: bool,
    /// `tcp`, `udp`, `icmp`, `all` or a protocol number.
    pub protocol: String,
    /// The first and the last port of tcp and udp; type and code of icmp.
    pub range: (i32, i32),
    /// Whom it is about.
    pub peer: Peer,
}

impl SecurityRule {
    /// Whether two rules differ in their ids at most.
    pub(crate) fn says_the_same_as(&self, other: &Self) -> bool {
        let said = |rule: &Self| {
            (
                rule.egress,
                rule.protocol.clone(),
                rule.range,
                rule.peer.clone(),
            )
        };
        said(self) == said(other)
    }
}

/// Whom a rule of a security group is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Peer {
    /// Everybody with an address in this range.
    Cidr(String),
    /// The members of another group.
    Group(Uuid),
}
