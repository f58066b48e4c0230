//! Clearwater's roles. What they serve to whom is in [`port`].
//!
//! Which of them a stack has depends on the [layout](super::stack::Layout) of its packages.

use std::{fmt, str::FromStr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::port::{self, Port};

pub use super::port::Protocol;

/// A component of Clearwater, or the name server that supports them.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// A BIND server that Weir keeps; not part of Clearwater itself.
    Dns,
    /// The stores of the split layout: memcached, Chronos, Cassandra and etcd.
    Vellum,
    /// The HSS mirror: credentials and profiles.
    Homestead,
    /// Homestead and ralf in one, without stores: the split layout's.
    Dime,
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
    pub const ALL: [Self; 9] = [
        Self::Dns,
        Self::Vellum,
        Self::Homestead,
        Self::Dime,
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
            Self::Vellum => "vellum",
            Self::Homestead => "homestead",
            Self::Dime => "dime",
            Self::Homer => "homer",
            Self::Ralf => "ralf",
            Self::Sprout => "sprout",
            Self::Bono => "bono",
            Self::Ellis => "ellis",
        }
    }

    /// Ports that must be reachable through the tier's router.
    pub fn ports(self) -> impl Iterator<Item = &'static Port> {
        port::of_world(self)
    }

    /// Whether the world must reach machines of the role, so that they have public addresses
    /// unless the manifest says otherwise.
    #[must_use]
    pub const fn public(self) -> bool {
        matches!(self, Self::Bono | Self::Ellis | Self::Dns)
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A word that is no role.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "`{0}` is not a role: there are dns, vellum, homestead, dime, homer, ralf, sprout, bono and ellis"
)]
pub struct UnknownRole(String);

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        let known = Self::ALL.into_iter().find(|role| role.name() == word);
        known.ok_or_else(|| UnknownRole(word.to_owned()))
    }
}
