//! Which port of which role serves whom: the one table that firewalls are made from.
//!
//! The tier's network ACL list is made from what the [world](Source::World) must reach. It acts at
//! the tier's router and does not filter between machines of one tier: that is done on each
//! machine, from the whole table. Source: Clearwater's documentation, *IP port usage*, release 98
//! for the classic layout and the last one for the split layout.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    role::Role,
    stack::Layout::{self, Classic, Split},
};

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

/// Ports that a role serves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Port {
    /// The role; none where every machine serves them.
    pub role: Option<Role>,
    /// The layout that has them; none where both do.
    pub layout: Option<Layout>,
    /// The protocol.
    pub protocol: Protocol,
    /// First port.
    pub start: u16,
    /// Last port.
    pub end: u16,
    /// Who may reach them.
    pub from: Source,
    /// What they are for.
    pub purpose: &'static str,
}

/// Who may reach a port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Source {
    /// Everybody.
    World,
    /// `spec.network.managementCidrs`.
    Managers,
    /// Every machine of the stack.
    Stack,
    /// Every machine of the stack but its name servers: the members of its etcd cluster.
    Clearwater,
    /// The machines of some roles.
    Roles(&'static [Role]),
}

/// The ports that machines of a role serve in a layout.
pub fn of(role: Role, layout: Layout) -> impl Iterator<Item = &'static Port> {
    TABLE.iter().filter(move |port| {
        let clearwater = role != Role::Dns || port.from != Source::Clearwater;
        port.role.unwrap_or(role) == role && port.layout.unwrap_or(layout) == layout && clearwater
    })
}

/// The ports of a role that the world must reach, in any layout.
pub fn of_world(role: Role) -> impl Iterator<Item = &'static Port> {
    TABLE
        .iter()
        .filter(move |port| port.role == Some(role) && port.from == Source::World)
}

const fn port(
    role: Role,
    protocol: Protocol,
    port: u16,
    from: Source,
    purpose: &'static str,
) -> Port {
    Port {
        role: Some(role),
        layout: None,
        protocol,
        start: port,
        end: port,
        from,
        purpose,
    }
}

const fn tcp(role: Role, port: u16, from: &'static [Role], purpose: &'static str) -> Port {
    self::port(role, Protocol::Tcp, port, Source::Roles(from), purpose)
}

const fn every(protocol: Protocol, port: u16, from: Source, purpose: &'static str) -> Port {
    Port {
        role: None,
        ..self::port(Role::Dns, protocol, port, from, purpose)
    }
}

impl Port {
    const fn only(mut self, layout: Layout) -> Self {
        self.layout = Some(layout);
        self
    }

    const fn to(mut self, end: u16) -> Self {
        self.end = end;
        self
    }
}

use Protocol::{Tcp, Udp};
use Role::{Bono, Dime, Dns, Ellis, Homer, Homestead, Ralf, Sprout, Vellum};
use Source::{Clearwater, Managers, Stack, World};

const TABLE: &[Port] = &[
    every(Tcp, 22, Managers, "SSH"),
    every(Udp, 161, Managers, "SNMP"),
    every(Tcp, 2380, Clearwater, "etcd, peers"),
    every(Tcp, 4000, Clearwater, "etcd, clients"),
    port(Bono, Tcp, 3478, World, "STUN and TURN"),
    port(Bono, Udp, 3478, World, "STUN and TURN"),
    port(Bono, Tcp, 5060, World, "SIP"),
    port(Bono, Udp, 5060, World, "SIP"),
    port(Bono, Tcp, 5062, World, "SIP over WebSocket"),
    port(Bono, Udp, 32_768, World, "RTP relayed by TURN").to(65_535),
    tcp(Bono, 5058, &[Bono, Sprout], "SIP, trusted"),
    tcp(Sprout, 5052, &[Bono, Sprout], "I-CSCF"),
    tcp(Sprout, 5054, &[Bono, Sprout], "S-CSCF"),
    tcp(Sprout, 7253, &[Sprout], "Chronos").only(Classic),
    tcp(Sprout, 9888, &[Homestead, Sprout], "notifications").only(Classic),
    tcp(Sprout, 9888, &[Dime, Vellum], "notifications and timers").only(Split),
    tcp(Sprout, 11_211, &[Sprout], "memcached").only(Classic),
    // Restund, on bono, asks for the digests of those who want a relay.
    tcp(Homestead, 8888, &[Bono, Ellis, Sprout], "Cx over HTTP"),
    tcp(Homestead, 8889, &[Ellis], "provisioning"),
    tcp(Homestead, 7000, &[Homestead], "Cassandra, gossip"),
    tcp(Homestead, 9160, &[Homestead], "Cassandra, clients"),
    tcp(Homer, 7888, &[Ellis, Sprout], "XCAP"),
    tcp(Homer, 7000, &[Homer], "Cassandra, gossip").only(Classic),
    tcp(Homer, 9160, &[Homer], "Cassandra, clients").only(Classic),
    tcp(Ralf, 7253, &[Ralf], "Chronos"),
    tcp(Ralf, 10_888, &[Bono, Ralf, Sprout], "billing"),
    tcp(Ralf, 11_211, &[Ralf], "memcached"),
    tcp(Dime, 8888, &[Bono, Ellis, Sprout], "Cx over HTTP"),
    tcp(Dime, 8889, &[Ellis], "provisioning"),
    tcp(Dime, 10_888, &[Bono, Sprout, Vellum], "billing"),
    tcp(Vellum, 7000, &[Vellum], "Cassandra, gossip"),
    tcp(Vellum, 7253, &[Dime, Sprout, Vellum], "Chronos"),
    tcp(Vellum, 9160, &[Dime, Homer, Vellum], "Cassandra, clients"),
    tcp(Vellum, 11_211, &[Vellum], "memcached"),
    tcp(Vellum, 11_311, &[Dime, Sprout], "Rogers"),
    port(Ellis, Tcp, 80, World, "provisioning portal"),
    port(Ellis, Tcp, 443, World, "provisioning portal, TLS"),
    port(Dns, Tcp, 53, World, "DNS"),
    port(Dns, Udp, 53, World, "DNS"),
    port(Dns, Tcp, 53, Stack, "DNS"),
    port(Dns, Udp, 53, Stack, "DNS"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_world_reaches_the_edge_alone() {
        for role in Role::ALL {
            let open = of_world(role).next().is_some();
            assert_eq!(open, role.public(), "{role}");
        }
    }

    #[test]
    fn whoever_may_reach_a_port_is_of_the_layout_that_has_it() {
        for layout in [Classic, Split] {
            for role in Role::ALL.into_iter().filter(|role| layout.has(*role)) {
                for port in of(role, layout) {
                    let Source::Roles(from) = port.from else {
                        continue;
                    };
                    let mut from = from.iter();
                    assert!(from.any(|role| layout.has(*role)), "{role}: {port:?}");
                }
            }
        }
    }
}
