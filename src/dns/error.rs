//! What can go wrong with a name server, sorted by what is to be done about it.

use std::net::SocketAddr;

/// Why a name server could not be looked at, or did not take an update.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DnsError {
    /// It cannot be reached, or does not answer. Nothing was changed.
    #[error("name server {server}: {text}; see that it runs and is reached over TCP")]
    Unreachable {
        /// Which.
        server: SocketAddr,
        /// What was seen.
        text: String,
    },
    /// It has no such zone, or not as its authority.
    #[error(
        "name server {server} is not an authority for {domain} ({text}); name the zone's primary in \
         `spec.dns.servers`, or make the zone there"
    )]
    NotAuthoritative {
        /// Which.
        server: SocketAddr,
        /// The name that was asked for.
        domain: String,
        /// What it answered.
        text: String,
    },
    /// It does not know the key, or has another secret under its name.
    #[error(
        "name server {server} refused the key {key_name}: {text}; compare `keyName` and the Secret's \
         `tsigKey` with its configuration, algorithm hmac-sha256"
    )]
    KeyRefused {
        /// Which.
        server: SocketAddr,
        /// The name of the key.
        key_name: String,
        /// What it answered.
        text: &'static str,
    },
    /// The key that we have is none.
    #[error("name server {server}: {text}")]
    KeyUnusable {
        /// Which.
        server: SocketAddr,
        /// What is wrong and what to do; the key is not repeated.
        text: String,
    },
    /// Its clock and ours differ by more than the five minutes that signatures allow.
    #[error(
        "name server {server}: its clock is {} min from ours, and 5 are allowed; set both by NTP",
        seconds / 60
    )]
    ClockSkew {
        /// Which.
        server: SocketAddr,
        /// How far, in either direction.
        seconds: u64,
    },
    /// It knows the key and does not let it do this.
    #[error(
        "name server {server} refused {what}; let the key {key_name} change {zone} (BIND: \
         `allow-update` or `update-policy`)"
    )]
    Refused {
        /// Which.
        server: SocketAddr,
        /// The name of the key.
        key_name: String,
        /// The zone.
        zone: String,
        /// What was asked.
        what: &'static str,
    },
    /// Something changed since the look that an update was decided on, which therefore did not take
    /// effect. A new look tells.
    #[error("name server {server}: records changed meanwhile ({text}); looked at again")]
    Changed {
        /// Which.
        server: SocketAddr,
        /// What it answered.
        text: String,
    },
    /// An update was sent and not answered: it may have taken effect. A new look tells.
    #[error("name server {server}: outcome of an update unknown: {text}")]
    Uncertain {
        /// Which.
        server: SocketAddr,
        /// What was seen.
        text: String,
    },
    /// It answered that it cannot.
    #[error("name server {server} failed: {text}; its log says why")]
    Failed {
        /// Which.
        server: SocketAddr,
        /// What it answered.
        text: String,
    },
    /// This controller may not change anything: another one leads.
    #[error("not sent: {text}")]
    NotLeading {
        /// Why not, in words for people.
        text: String,
    },
    /// What it answered is not signed with the key, or no DNS. It is not believed.
    #[error(
        "name server {server}: an answer that cannot be believed: {text}; see that nothing on the \
         way changes it, and that the server knows TSIG"
    )]
    Unbelievable {
        /// Which.
        server: SocketAddr,
        /// What is wrong with it.
        text: String,
    },
}

impl DnsError {
    /// One word, for conditions, events and metrics.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Unreachable { .. } => "NameServerUnreachable",
            Self::NotAuthoritative { .. } => "NotAuthoritative",
            Self::KeyRefused { .. } => "KeyRefused",
            Self::KeyUnusable { .. } => "KeyUnusable",
            Self::ClockSkew { .. } => "ClockSkew",
            Self::Refused { .. } => "UpdateRefused",
            Self::Changed { .. } => "RecordsChanged",
            Self::Uncertain { .. } => "OutcomeUnknown",
            Self::Failed { .. } => "NameServerFailed",
            Self::Unbelievable { .. } => "AnswerInvalid",
            Self::NotLeading { .. } => "NotLeading",
        }
    }
}
