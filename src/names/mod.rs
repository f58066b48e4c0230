//! A stack's names in DNS: which records there are to be, what differs from those that a server has,
//! and the updates that put it right. All of it pure; `dns` talks to servers, `controller::names`
//! decides when.
//!
//! - [`records`]: from the machines that serve to the records of a [view](DnsView).
//! - [`diff`]: what a server has, held against them; who owns what.
//! - [`update`]: the difference as atomic updates with prerequisites.
//!
//! Names are in lower case and without the dot at their end. What a record set is ours by is in
//! `docs/adr/0008`.

pub mod diff;
mod records;
pub mod update;

#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    net::Ipv4Addr,
};

use crate::types::role::Role;

pub use crate::types::stack::DnsView;
pub use records::{Node, records};

/// The types of records that a stack has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Kind {
    /// An address.
    A,
    /// Where a service is.
    Srv,
    /// Which transports a domain prefers.
    Naptr,
    /// Text; Weir's own marks alone.
    Txt,
}

impl Kind {
    /// Those that machines and phones ask for.
    pub const SERVED: [Self; 3] = [Self::A, Self::Srv, Self::Naptr];

    /// As in a zone file.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::A => "A",
            Self::Srv => "SRV",
            Self::Naptr => "NAPTR",
            Self::Txt => "TXT",
        }
    }

    fn of(name: &str) -> Option<Self> {
        let all = [Self::A, Self::Srv, Self::Naptr, Self::Txt];
        all.into_iter().find(|kind| kind.name() == name)
    }
}

/// What a record says. Texts hold a character for each byte, so that any bytes fit.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Data {
    /// An address.
    A(Ipv4Addr),
    /// RFC 2782.
    Srv {
        /// Lower is asked first.
        priority: u16,
        /// A share among those of one priority.
        weight: u16,
        /// The port.
        port: u16,
        /// The name of the machine.
        target: String,
    },
    /// RFC 3403.
    Naptr {
        /// Lower comes first.
        order: u16,
        /// Lower comes first among those of one order.
        preference: u16,
        /// `S`: what follows is an SRV record.
        flags: String,
        /// The transport.
        services: String,
        /// Always empty beside a replacement.
        regexp: String,
        /// The name to ask for next.
        replacement: String,
    },
    /// Strings of at most 255 bytes.
    Txt(Vec<String>),
}

impl Data {
    /// The type of the record.
    #[must_use]
    pub const fn kind(&self) -> Kind {
        match self {
            Self::A(_) => Kind::A,
            Self::Srv { .. } => Kind::Srv,
            Self::Naptr { .. } => Kind::Naptr,
            Self::Txt(_) => Kind::Txt,
        }
    }
}

impl fmt::Display for Data {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::A(address) => address.fmt(f),
            Self::Srv {
                priority,
                weight,
                port,
                target,
            } => write!(f, "{priority} {weight} {port} {target}."),
            Self::Naptr {
                order,
                preference,
                flags,
                services,
                regexp,
                replacement,
            } => write!(
                f,
                "{order} {preference} \"{flags}\" \"{services}\" \"{regexp}\" {replacement}."
            ),
            Self::Txt(texts) => {
                let quoted: Vec<_> = texts.iter().map(|text| format!("\"{text}\"")).collect();
                f.write_str(&quoted.join(" "))
            }
        }
    }
}

/// Names a record set: all records of one name and type.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The whole name.
    pub name: String,
    /// The type.
    pub kind: Kind,
}

impl Key {
    /// The record set of a name and a type.
    #[must_use]
    pub fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.name, self.kind.name())
    }
}

/// Record sets by name and type; none of them is empty.
pub type Records = BTreeMap<Key, BTreeSet<Data>>;

/// Words for what a record set holds; at most a few of it.
#[must_use]
pub fn told(data: &BTreeSet<Data>) -> String {
    /// More than that nobody reads in a status.
    const MOST: usize = 4;
    let all: Vec<String> = data.iter().take(MOST).map(ToString::to_string).collect();
    match (all.is_empty(), data.len().saturating_sub(MOST)) {
        (true, _) => "none".to_owned(),
        (false, 0) => all.join(", "),
        (false, more) => format!("{} and {more} more", all.join(", ")),
    }
}

/// The part of a zone file with these records: names relative to the domain, a comment for each role
/// that has none.
#[must_use]
pub fn zone_file(domain: &str, records: &Records, ttl: u32, absent: &[Role]) -> String {
    let mut lines = vec![format!("$ORIGIN {domain}."), format!("$TTL {ttl}")];
    lines.extend(
        absent
            .iter()
            .map(|role| format!("; {role}: no machine yet")),
    );
    let relative = |name: &str| relative(name, domain).to_owned();
    let width = records.keys().map(|key| relative(&key.name).len()).max();
    let width = width.unwrap_or_default();
    for (key, data) in records {
        let (name, kind) = (relative(&key.name), key.kind.name());
        lines.extend(
            data.iter()
                .map(|data| format!("{name:width$} IN {kind:5} {data}")),
        );
    }
    lines.join("\n") + "\n"
}

/// A name without its domain; `@` for the domain itself.
fn relative<'a>(name: &'a str, domain: &str) -> &'a str {
    let inner = name.strip_suffix(domain);
    match inner.map(|inner| inner.strip_suffix('.').unwrap_or(inner)) {
        Some("") => "@",
        Some(inner) => inner,
        None => name,
    }
}
