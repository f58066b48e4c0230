//! Which packets to a public address pass, and where they go.
//!
//! Asked anew for every connection and every datagram. Static NAT leads to a machine, a
//! port-forwarding rule to a port of one, a load-balancer rule to one of several. In a tier the ACL
//! list decides: its ingress rules are tried in the order of their numbers, the first that fits
//! counts, and what no rule is about is denied. In an isolated network the firewall rules of the
//! address decide, which only allow. Where CloudStack's router would drop a packet without a word,
//! a connection here is refused or reset. What machines send of their own accord is not carried, so
//! egress rules decide nothing.

use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;

use super::service::Protocol;
use crate::sim::world::index::AddressKey;
use crate::sim::world::{AclItem, Address, Guest, RuleState, Uuid, Vm, VmState, World};

/// A place on the network.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Place {
    pub(super) protocol: Protocol,
    pub(super) at: SocketAddrV4,
}

/// Where packets to a public place go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Way {
    pub(super) vm: Uuid,
    pub(super) to: SocketAddrV4,
}

/// Whose packets are asked about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    /// Those of this address.
    Source(Ipv4Addr),
    /// Anybody's at all: whether it is worth while to listen.
    Anybody,
}

/// What an address leads to, before anything is let in.
pub(super) struct Lead {
    pub(super) protocol: Protocol,
    /// The first and last port of the address.
    pub(super) public: (u16, u16),
    /// The port of the machine that the first one leads to.
    pub(super) private: u16,
    pub(super) vm: Uuid,
    pub(super) ip: Ipv4Addr,
    network: Uuid,
    /// Whom the rule itself lets in; everybody if it names nobody.
    sources: Vec<String>,
}

/// Whether anything listens on a machine's ports, even if it then says nothing.
pub(super) fn listens(vm: &Vm) -> bool {
    matches!(vm.state, VmState::Running | VmState::Migrating) && vm.guest != Guest::Dead
}

/// Where packets to a public place may go, if anywhere.
pub(super) fn ways(world: &World, place: Place, from: From) -> Vec<Way> {
    let Some(address) = world.addresses.one(&AddressKey::Ip(*place.at.ip())) else {
        return Vec::new();
    };
    let port = place.at.port();
    let mut ways = Vec::new();
    for lead in leads(world, address) {
        let (first, last) = lead.public;
        if lead.protocol != place.protocol || !(first..=last).contains(&port) {
            continue;
        }
        let to = SocketAddrV4::new(lead.ip, lead.private.saturating_add(port - first));
        let listens = world.vms.get(&lead.vm).is_some_and(listens);
        if listens && passes(world, address, (&lead, to.port(), port), from) {
            ways.push(Way { vm: lead.vm, to });
        }
    }
    ways
}

/// What an address leads to.
pub(super) fn leads(world: &World, address: &Address) -> Vec<Lead> {
    let mut leads = Vec::new();
    if let (Some(nat), Some(network)) = (&address.static_nat, &address.network) {
        leads.extend([Protocol::Tcp, Protocol::Udp].map(|protocol| Lead {
            protocol,
            public: (0, u16::MAX),
            private: 0,
            vm: nat.vm.clone(),
            ip: nat.ip,
            network: network.clone(),
            sources: Vec::new(),
        }));
    }
    for rule in world.port_forwardings_at(&address.id) {
        if let (Some(protocol), RuleState::Active) = (Protocol::named(&rule.protocol), rule.state) {
            leads.push(Lead {
                protocol,
                public: rule.public,
                private: rule.private.0,
                vm: rule.vm.clone(),
                ip: rule.guest_ip,
                network: rule.network.clone(),
                sources: rule.sources.clone(),
            });
        }
    }
    for rule in world.load_balancers_at(&address.id) {
        let (Some(protocol), RuleState::Active) = (Protocol::named(&rule.protocol), rule.state)
        else {
            continue;
        };
        let sources = rule.sources.as_deref().unwrap_or_default();
        let sources: Vec<String> = ranges(sources.split([',', ' ']))
            .map(|r| r.to_string())
            .collect();
        leads.extend(rule.members.iter().map(|member| Lead {
            protocol,
            public: (rule.public_port, rule.public_port),
            private: rule.private_port,
            vm: member.vm.clone(),
            ip: member.ip,
            network: rule.network.clone(),
            sources: sources.clone(),
        }));
    }
    leads
}

/// Whether the rules let somebody in: those of the tier, which see the machine's port, or those of
/// the address, which see its own.
fn passes(
    world: &World,
    address: &Address,
    (lead, private, public): (&Lead, u16, u16),
    from: From,
) -> bool {
    let texts = || lead.sources.iter().map(String::as_str);
    if !lead.sources.is_empty() && !fits(ranges(texts()), from, Action::Allow) {
        return false;
    }
    let Some(network) = world.networks.get(&lead.network) else {
        return false;
    };
    if network.vpc.is_none() {
        return world
            .firewall_rules_at(&address.id)
            .into_iter()
            .any(|rule| {
                let (first, last) = rule.ports.unwrap_or((0, u16::MAX));
                rule.state == RuleState::Active
                    && lead.protocol.is_meant_by(&rule.protocol)
                    && (first..=last).contains(&public)
                    && fits(
                        ranges(rule.sources.iter().map(String::as_str)),
                        from,
                        Action::Allow,
                    )
            });
    }
    let list = network.acl.as_deref();
    let rules = list.map(|list| world.rules_of(list)).unwrap_or_default();
    let first = rules
        .into_iter()
        .filter(|rule| is_about(rule, lead.protocol, private))
        .map(|rule| (rule, action(rule)))
        .find(|(rule, action)| fits(ranges(rule.cidr_list.split(',')), from, *action));
    first.is_some_and(|(_, action)| action == Action::Allow)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    Allow,
    Deny,
}

fn action(rule: &AclItem) -> Action {
    if rule.action.eq_ignore_ascii_case("allow") {
        Action::Allow
    } else {
        Action::Deny
    }
}

fn is_about(rule: &AclItem, protocol: Protocol, port: u16) -> bool {
    let first = rule.start_port.unwrap_or(0);
    let last = rule.end_port.or(rule.start_port).unwrap_or(u16::MAX);
    rule.active
        && rule.traffic.eq_ignore_ascii_case("ingress")
        && protocol.is_meant_by(&rule.protocol)
        && (first..=last).contains(&port)
}

fn ranges<'text>(texts: impl Iterator<Item = &'text str>) -> impl Iterator<Item = Ipv4Net> {
    texts.filter_map(|range| range.trim().parse().ok())
}

/// Whether a rule decides on somebody. It lets in somebody if it allows anything, and nobody at all
/// if it denies everything.
fn fits(mut ranges: impl Iterator<Item = Ipv4Net>, from: From, action: Action) -> bool {
    match (from, action) {
        (From::Source(source), _) => ranges.any(|range| range.contains(&source)),
        (From::Anybody, Action::Allow) => ranges.next().is_some(),
        (From::Anybody, Action::Deny) => ranges.any(|range| range.prefix_len() == 0),
    }
}
