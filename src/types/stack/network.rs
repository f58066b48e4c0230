//! Where a stack's machines live: VPC, tier, network ACL list and its rules.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Selector;
use crate::types::{
    id::{AclId, VpcId},
    role::Protocol,
    schema,
};

/// Where the machines live: one tier of a VPC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NetworkSpec {
    /// The VPC: one that Weir makes, or one that exists. Default: made, with 10.0.0.0/16.
    pub vpc: VpcSpec,
    /// The tier's range, within the VPC's. Default 10.0.0.0/24.
    #[schemars(with = "schema::Cidr")]
    pub cidr: Ipv4Net,
    /// The tier's gateway. Default: the first address of `cidr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
    /// The network offering of the tier. Default
    /// `DefaultIsolatedNetworkOfferingForVpcNetworks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offering: Option<Selector>,
    /// The tier's network ACL list: `Managed` (made from each role's ports and `rules`), or an
    /// existing one, whose rules Weir then leaves alone. Default `Managed`.
    pub acl: AclSpec,
    /// Further rules of a managed list, after those of the roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleSpec>,
    /// Who may reach SSH on every machine through the tier's router. Default: nobody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Cidr>")]
    pub management_cidrs: Vec<Ipv4Net>,
}

impl Default for NetworkSpec {
    fn default() -> Self {
        Self {
            vpc: VpcSpec::default(),
            cidr: net(24),
            gateway: None,
            offering: None,
            acl: AclSpec::default(),
            rules: Vec::new(),
            management_cidrs: Vec::new(),
        }
    }
}

impl NetworkSpec {
    /// The gateway as written, else the first address of the range.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        let first = u32::from(self.cidr.network()).saturating_add(1);
        self.gateway.unwrap_or_else(|| first.into())
    }
}

fn net(prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), prefix)
}

/// A VPC to make, or one to live in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum VpcSpec {
    /// An existing VPC, by id: used, never changed, never deleted.
    Existing {
        /// Its id.
        id: VpcId,
    },
    /// A VPC that Weir makes and owns.
    Owned {
        /// Its range.
        #[schemars(with = "schema::Cidr")]
        cidr: Ipv4Net,
        /// The VPC offering. Default `Default VPC offering`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offering: Option<Selector>,
    },
}

impl Default for VpcSpec {
    fn default() -> Self {
        Self::Owned {
            cidr: net(16),
            offering: None,
        }
    }
}

/// Which network ACL list the tier has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum AclSpec {
    /// `Managed`: Weir makes the list and keeps its rules.
    #[default]
    #[serde(with = "managed")]
    #[schemars(with = "managed::Word")]
    Managed,
    /// An existing list, by id.
    Existing {
        /// Its id.
        id: AclId,
    },
}

/// The one word that [`AclSpec::Managed`] is written as.
mod managed {
    use schemars::JsonSchema;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize, JsonSchema)]
    pub(super) enum Word {
        Managed,
    }

    pub(super) fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        Word::Managed.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        Word::deserialize(deserializer).map(|Word::Managed| ())
    }
}

/// A rule of a managed network ACL list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleSpec {
    /// `tcp`, `udp`, `icmp` or `all`.
    pub protocol: Protocol,
    /// First port; for `tcp` and `udp` only. Default: every port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_port: Option<u16>,
    /// Last port. Default: `startPort`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_port: Option<u16>,
    /// Whom it speaks of: sources of ingress, destinations of egress. Default 0.0.0.0/0.
    #[serde(default = "anywhere")]
    #[schemars(with = "Vec<schema::Cidr>")]
    pub cidrs: Vec<Ipv4Net>,
    /// `Ingress` or `Egress`. Default `Ingress`.
    #[serde(default)]
    pub direction: Direction,
    /// `Allow` or `Deny`. Default `Allow`.
    #[serde(default)]
    pub action: RuleAction,
    /// What it is for; shown in CloudStack as the rule's reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

fn anywhere() -> Vec<Ipv4Net> {
    vec![Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)]
}

/// Into the tier or out of it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Direction {
    /// Into the tier.
    #[default]
    Ingress,
    /// Out of the tier.
    Egress,
}

/// What a rule does with what it matches.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum RuleAction {
    /// Lets it pass.
    #[default]
    Allow,
    /// Drops it.
    Deny,
}
