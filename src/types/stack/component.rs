//! The machines of each role: how many, where they differ from the rest, and how they are probed.

use std::net::Ipv4Addr;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::Selector;
use crate::types::{duration::Duration, role::Role};

/// The machines of each role.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Components {
    /// Edge proxies.
    pub bono: Component,
    /// SIP routers.
    pub sprout: Component,
    /// Stores; in the split layout only.
    pub vellum: Component,
    /// HSS mirrors; in the classic layout only.
    pub homestead: Component,
    /// Homestead and ralf in one; in the split layout only.
    pub dime: Component,
    /// Charging trigger functions; in the classic layout only.
    pub ralf: Component,
    /// XDMS.
    pub homer: Component,
    /// Provisioning portals.
    pub ellis: Component,
    /// Name servers; only where `dns.mode` is `Managed`.
    pub dns: Component,
}

impl Components {
    /// The component of a role.
    #[must_use]
    pub const fn get(&self, role: Role) -> &Component {
        match role {
            Role::Bono => &self.bono,
            Role::Sprout => &self.sprout,
            Role::Vellum => &self.vellum,
            Role::Homestead => &self.homestead,
            Role::Dime => &self.dime,
            Role::Ralf => &self.ralf,
            Role::Homer => &self.homer,
            Role::Ellis => &self.ellis,
            Role::Dns => &self.dns,
        }
    }
}

/// The machines of one role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Component {
    /// How many. Default 1; 0 leaves the role out.
    pub replicas: u32,
    /// Default: the stack's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Selector>,
    /// Default: the stack's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_offering: Option<Selector>,
    /// Whether each machine has a public address with static NAT. Default: true for bono,
    /// ellis and dns, which the world must reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_address: Option<bool>,
    /// Private addresses of the machines, by index. Default: Weir chooses, once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Ipv4Addr>,
    /// Whether machines of the role are kept on different hosts. Default: `Preferred` where
    /// there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anti_affinity: Option<AntiAffinity>,
    /// A check that a running machine really serves. Default: none, a running VM counts as
    /// healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
    /// Numbers that ellis gives out; for ellis only. Default: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub numbers: Option<Numbers>,
}

/// Numbers that ellis gives out, one after another.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Numbers {
    /// The first: digits in quotes, like `"6505550000"`.
    pub start: String,
    /// How many.
    pub count: u32,
}

impl Default for Component {
    fn default() -> Self {
        Self {
            replicas: 1,
            template: None,
            service_offering: None,
            public_address: None,
            addresses: Vec::new(),
            anti_affinity: None,
            probe: None,
            numbers: None,
        }
    }
}

/// How strictly machines of a role are kept on different hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AntiAffinity {
    /// Not at all.
    Off,
    /// Where there is room (CloudStack: `non-strict host anti-affinity`).
    Preferred,
    /// Or they do not start (CloudStack: `host anti-affinity`).
    Required,
}

/// A check that a running machine really serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// `TCP` connects; `HTTP` asks and wants a status below 400.
    pub kind: ProbeKind,
    /// The port.
    pub port: u16,
    /// The path of an HTTP probe. Default `/`.
    #[serde(default = "slash")]
    pub path: String,
    /// Which address is tried. Default `Private`.
    #[serde(default)]
    pub via: ProbeVia,
    /// Time between two tries. Default 10s.
    #[serde(default = "ten_seconds")]
    pub period: Duration,
    /// Time for one try. Default 2s.
    #[serde(default = "two_seconds")]
    pub timeout: Duration,
    /// Failures in a row that make a machine unhealthy. Default 3.
    #[serde(default = "three")]
    pub failure_threshold: u32,
}

fn slash() -> String {
    "/".to_owned()
}

const fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

const fn two_seconds() -> Duration {
    Duration::from_secs(2)
}

const fn three() -> u32 {
    3
}

/// See [`Probe::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProbeKind {
    /// Connects.
    #[serde(rename = "TCP")]
    Tcp,
    /// Asks for a path.
    #[serde(rename = "HTTP")]
    Http,
}

/// See [`Probe::via`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProbeVia {
    /// The address in the tier; the controller must have a route to it.
    #[default]
    Private,
    /// The public address.
    Public,
}
