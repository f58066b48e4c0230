//! The records of a stack. Source: Clearwater's guide to DNS usage, release 98, and for the split
//! layout the last one.
//!
//! A machine is known by the name that its peers and phones are told in SIP headers
//! (`public_hostname`), which is the `Machine`'s name under the domain and outlives its VM.

use std::net::Ipv4Addr;

use super::{Data, DnsView, Key, Kind, Records};
use crate::types::{ledger::MachineRecord, role::Role, stack::StackSpec};

/// A machine that is to be found by its names: it serves, and nobody is about to take it away.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Node {
    /// The name of the `Machine`, like `ims-bono-0`.
    pub name: String,
    /// Its role.
    pub role: Role,
    /// Its address in the tier.
    pub private: Ipv4Addr,
    /// Its public address; without one, the world knows it by its private one.
    pub public: Option<Ipv4Addr>,
}

impl Node {
    /// A machine of a stack as others find it; none where it is to have a public address and has none
    /// yet.
    #[must_use]
    pub fn of(spec: &StackSpec, name: &str, record: &MachineRecord) -> Option<Self> {
        let component = spec.components.get(record.role);
        let wants = component.public_address.unwrap_or(record.role.public());
        let public = record.public_address.as_ref().map(|address| address.ip);
        (public.is_some() || !wants).then(|| Self {
            name: name.to_owned(),
            role: record.role,
            private: record.private_address,
            public,
        })
    }
}

/// The port of SIP at the edge.
const SIP: u16 = 5060;

/// Names that all machines of a role share, under the domain.
const fn services(role: Role) -> &'static [&'static str] {
    match role {
        Role::Bono => &[""],
        Role::Sprout => &["sprout.", "scscf.sprout.", "icscf.sprout."],
        Role::Homestead => &["hs."],
        Role::Dime => &["hs.", "ralf."],
        Role::Homer => &["homer."],
        Role::Ralf => &["ralf."],
        Role::Ellis => &["ellis."],
        Role::Vellum => &["vellum."],
        Role::Dns => &[],
    }
}

/// Transports of SIP by which a role is found: the name of the service, SRV's word for the transport,
/// NAPTR's, and the port. The first is preferred.
const fn transports(role: Role) -> &'static [(&'static str, &'static str, &'static str, u16)] {
    match role {
        Role::Bono => &[
            ("", "_sip._tcp.", "SIP+D2T", SIP),
            ("", "_sip._udp.", "SIP+D2U", SIP),
        ],
        Role::Sprout => &[
            ("sprout.", "_sip._tcp.", "SIP+D2T", 5054),
            ("scscf.sprout.", "_sip._tcp.", "SIP+D2T", 5054),
            ("icscf.sprout.", "_sip._tcp.", "SIP+D2T", 5052),
        ],
        _ => &[],
    }
}

/// Whether phones and people ask for a role's names.
const fn outside(role: Role) -> bool {
    matches!(role, Role::Bono | Role::Ellis)
}

/// The records that make the machines of a stack found, in a view.
#[must_use]
pub fn records(domain: &str, nodes: &[Node], view: DnsView) -> Records {
    let mut records = Records::new();
    let seen = |node: &&Node| view != DnsView::Public || outside(node.role);
    for node in nodes.iter().filter(seen) {
        of_node(domain, node, view, &mut records);
    }
    records
}

fn of_node(domain: &str, node: &Node, view: DnsView, records: &mut Records) {
    let mut add = |name: &str, data: Data| {
        let key = Key::new(name, data.kind());
        records.entry(key).or_default().insert(data);
    };
    let public = outside(node.role) && view != DnsView::Internal;
    let address = node.public.filter(|_| public).unwrap_or(node.private);
    let own = format!("{}.{domain}", node.name);
    add(&own, Data::A(address));
    for service in services(node.role) {
        add(&format!("{service}{domain}"), Data::A(address));
    }
    let mut preferences = std::collections::BTreeMap::new();
    for (service, transport, word, port) in transports(node.role) {
        let (name, place) = (
            format!("{service}{domain}"),
            format!("{transport}{service}{domain}"),
        );
        let order = preferences.entry(*service).or_insert(0);
        *order += 1;
        let naptr = Data::Naptr {
            order: *order,
            preference: 1,
            flags: "S".to_owned(),
            services: (*word).to_owned(),
            regexp: String::new(),
            replacement: place.clone(),
        };
        add(&name, naptr);
        let srv = Data::Srv {
            priority: 0,
            weight: 0,
            port: *port,
            target: own.clone(),
        };
        add(&place, srv);
    }
}

impl Kind {
    /// Whether a record of the type says where a machine is, so that others may point to it.
    pub(super) const fn is_address(self) -> bool {
        matches!(self, Self::A)
    }
}
