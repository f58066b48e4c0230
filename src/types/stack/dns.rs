//! Who serves the stack's names, and what each name server is told.

use std::net::{IpAddr, SocketAddr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{account::NameRef, duration::Duration};

/// The port of name servers where none is written.
const PORT: u16 = 53;

/// Who serves the stack's names.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DnsSpec {
    /// `None`: names are the operator's business, and `weir zone` prints them. `External`: Weir
    /// keeps them on `servers`. `Managed`: the stack has machines of the role `dns`, and Weir keeps
    /// them there. Default `None`.
    pub mode: DnsMode,
    /// The primary name servers of `External`, one for each view; at most 8.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub servers: Vec<DnsServer>,
    /// How long a record may be cached. Default 30s: a machine that went is asked for no longer than
    /// that.
    pub ttl: Duration,
}

impl Default for DnsSpec {
    fn default() -> Self {
        Self {
            mode: DnsMode::None,
            servers: Vec::new(),
            ttl: Duration::from_secs(30),
        }
    }
}

impl DnsSpec {
    /// How long a record may be cached, in seconds.
    #[must_use]
    pub fn ttl_seconds(&self) -> u32 {
        u32::try_from(self.ttl.get().as_secs()).unwrap_or(u32::MAX)
    }
}

/// See [`DnsSpec::mode`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DnsMode {
    /// The operator sees to it.
    #[default]
    None,
    /// Weir keeps the records on servers of somebody else's.
    External,
    /// The stack has its own name servers.
    Managed,
}

/// A primary name server that takes signed updates (RFC 2136 over TCP, TSIG with HMAC-SHA256).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct DnsServer {
    /// Its address, with a port if that is not 53: `198.51.100.53` or `198.51.100.53:5353`.
    pub address: String,
    /// Which records it is given. Default `Whole`.
    #[serde(default)]
    pub view: DnsView,
    /// The name of the key that updates and queries are signed with, as the server knows it. Default:
    /// the stack's domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_name: Option<String>,
    /// The Secret that has the key, in base64, as `tsigKey`.
    pub secret_ref: NameRef,
}

impl DnsServer {
    /// Where it listens; none where the text is no address.
    #[must_use]
    pub fn socket(&self) -> Option<SocketAddr> {
        let bare = self.address.parse::<IpAddr>();
        let bare = bare.map(|address| SocketAddr::new(address, PORT));
        bare.or_else(|_| self.address.parse()).ok()
    }

    /// The name of its key, where the stack has this domain; without a dot at the end.
    #[must_use]
    pub fn key_name<'a>(&'a self, domain: &'a str) -> &'a str {
        let name = self.key_name.as_deref().unwrap_or(domain);
        name.strip_suffix('.').unwrap_or(name)
    }
}

/// Which records a name server is given.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum DnsView {
    /// All of them: what phones ask for has public addresses, the rest private ones.
    #[default]
    Whole,
    /// All of them, with private addresses: for a view that machines alone see.
    Internal,
    /// What phones and people ask for, with public addresses: for a view that the world sees.
    Public,
}

impl DnsView {
    /// The view as written in manifests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Whole => "Whole",
            Self::Internal => "Internal",
            Self::Public => "Public",
        }
    }
}
