//! Clearwater's roles and the ports that the world must reach.
//!
//! A network ACL acts at the tier's router: it does not filter between machines of one tier, so
//! the rules derived here are those for traffic from outside.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// A component of Clearwater, or the name server that supports them.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A BIND server that Weir keeps; not part of Clearwater itself.
    Dns,
    /// The HSS mirror: credentials and profiles.
    Homestead,
    /// The XDMS: users' service settings.
    Homer,
    /// The charging trigger function.
    Ralf,
    /// The SIP router.
    Sprout,
    /// The edge proxy: SIP and WebRTC towards phones.
    Bono,
    /// The provisioning portal.
    Ellis,
}

impl Role {
    /// Every role, in the order in which they come up.
    pub const ALL: [Self; 7] = [
        Self::Dns,
        Self::Homestead,
        Self::Homer,
        Self::Ralf,
        Self::Sprout,
        Self::Bono,
        Self::Ellis,
    ];

    /// The role as written in manifests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Dns => "dns",
            Self::Homestead => "homestead",
            Self::Homer => "homer",
            Self::Ralf => "ralf",
            Self::Sprout => "sprout",
            Self::Bono => "bono",
            Self::Ellis => "ellis",
        }
    }

    /// Ports that must be reachable through the tier's router. Source: the firewall table of
    /// Clearwater's documentation (IP port usage, release 98).
    #[must_use]
    pub const fn ports(self) -> &'static [Port] {
        match self {
            Self::Bono => BONO_PORTS,
            Self::Ellis => ELLIS_PORTS,
            Self::Dns => DNS_PORTS,
            Self::Homestead | Self::Homer | Self::Ralf | Self::Sprout => &[],
        }
    }

    /// Whether the world must reach machines of the role, so that they have public addresses
    /// unless the manifest says otherwise.
    #[must_use]
    pub const fn public(self) -> bool {
        !self.ports().is_empty()
    }
}

const BONO_PORTS: &[Port] = &[
    Port::world(Protocol::Tcp, 3478, 3478, "STUN and TURN"),
    Port::world(Protocol::Udp, 3478, 3478, "STUN and TURN"),
    Port::world(Protocol::Tcp, 5060, 5060, "SIP"),
    Port::world(Protocol::Udp, 5060, 5060, "SIP"),
    Port::world(Protocol::Tcp, 5062, 5062, "SIP over WebSocket"),
    Port::world(Protocol::Udp, 32_768, 65_535, "RTP relayed by TURN"),
];

const ELLIS_PORTS: &[Port] = &[
    Port::world(Protocol::Tcp, 80, 80, "provisioning portal"),
    Port::world(Protocol::Tcp, 443, 443, "provisioning portal, TLS"),
];

const DNS_PORTS: &[Port] = &[
    Port::world(Protocol::Tcp, 53, 53, "DNS"),
    Port::world(Protocol::Udp, 53, 53, "DNS"),
];

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a role: there are dns, homestead, homer, ralf, sprout, bono and ellis")]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|role| role.name() == word);
        known.ok_or_else(|| UnknownRole(word.to_owned()))
    }
}

/// Transport protocol of a rule.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// ICMP.
    Icmp,
    /// Everything.
    All,
}

impl Protocol {
    /// As CloudStack and manifests write it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
            Self::Icmp => "icmp",
            Self::All => "all",
        }
    }
}

/// Ports that a role serves to the world.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The protocol.
    pub protocol: Protocol,
    /// First port.
    pub start: u16,
    /// Last port.
    pub end: u16,
    /// What it is for.
    pub purpose: &'static str,
}

impl Port {
    const fn world(protocol: Protocol, start: u16, end: u16, purpose: &'static str) -> Self {
        Self {
            protocol,
            start,
            end,
            purpose,
        }
    }
}
