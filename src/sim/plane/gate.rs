//! Which packets to a public address pass, and where they go.
//!
//! Asked anew for every connection and every datagram. Static NAT leads to a machine; the ACL list
//! of the machine's tier decides. Its ingress rules are tried in the order of their numbers, the
//! first that fits counts, and what no rule is about is denied. Where CloudStack's router would
//! drop a packet without a word, a connection here is refused or reset. What machines send of their
//! own accord is not carried, so egress rules decide nothing.

use std::net::{Ipv4Addr, SocketAddrV4};

use ipnet::Ipv4Net;

use super::service::Protocol;
use crate::sim::world::index::AddressKey;
use crate::sim::world::{AclItem, Address, Guest, Uuid, Vm, VmState, World};

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

/// Whether anything listens on a machine's ports, even if it then says nothing.
pub(super) fn listens(vm: &Vm) -> bool {
    matches!(vm.state, VmState::Running | VmState::Migrating) && vm.guest != Guest::Dead
}

/// Where packets from `source` to a public place may go, if anywhere.
pub(super) fn ways(world: &World, place: Place, source: Ipv4Addr) -> Vec<Way> {
    let Some(address) = world.addresses.one(&AddressKey::Ip(*place.at.ip())) else {
        return Vec::new();
    };
    if admits(world, address, place) != Admission::Nobody && passes(world, address, place, source) {
        leads(world, address, place)
    } else {
        Vec::new()
    }
}

/// Where packets to a public place are sent, whoever sent them.
pub(super) fn leads(world: &World, address: &Address, place: Place) -> Vec<Way> {
    let nat = address.static_nat.as_ref();
    let ways = nat.map(|nat| Way {
        vm: nat.vm.clone(),
        to: SocketAddrV4::new(nat.ip, place.at.port()),
    });
    let listens = |way: &Way| world.vms.get(&way.vm).is_some_and(listens);
    ways.into_iter().filter(listens).collect()
}

/// Whom the rules about a public place let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Admission {
    Nobody,
    Some,
}

/// Whether there is anybody whom the rules let in.
pub(super) fn admits(world: &World, address: &Address, place: Place) -> Admission {
    for rule in rules(world, address, place) {
        let everybody = cidrs(rule).any(|range| range.prefix_len() == 0);
        match (is_allow(rule), everybody) {
            (true, _) => return Admission::Some,
            (false, true) => return Admission::Nobody,
            (false, false) => {}
        }
    }
    Admission::Nobody
}

fn passes(world: &World, address: &Address, place: Place, source: Ipv4Addr) -> bool {
    let rules = rules(world, address, place);
    let first = rules
        .into_iter()
        .find(|rule| cidrs(rule).any(|range| range.contains(&source)));
    first.is_some_and(is_allow)
}

/// The ingress rules about a port of the tier that an address leads to, in their order.
fn rules<'world>(world: &'world World, address: &Address, place: Place) -> Vec<&'world AclItem> {
    let tier = address
        .network
        .as_ref()
        .and_then(|id| world.networks.get(id));
    let list = tier.and_then(|tier| tier.acl.as_deref());
    let rules = list.map(|list| world.rules_of(list)).unwrap_or_default();
    let ingress = |rule: &&AclItem| rule.active && rule.traffic.eq_ignore_ascii_case("ingress");
    let rules = rules.into_iter().filter(ingress);
    rules.filter(|rule| is_about(rule, place)).collect()
}

fn is_about(rule: &AclItem, place: Place) -> bool {
    let Place { protocol, at } = place;
    let named = rule.protocol == "all" || rule.protocol == protocol.to_string();
    let numbered = rule.protocol.parse() == Ok(protocol.number());
    let first = rule.start_port.unwrap_or(0);
    let last = rule.end_port.or(rule.start_port).unwrap_or(u16::MAX);
    (named || numbered) && (first..=last).contains(&at.port())
}

fn is_allow(rule: &AclItem) -> bool {
    rule.action.eq_ignore_ascii_case("allow")
}

fn cidrs(rule: &AclItem) -> impl Iterator<Item = Ipv4Net> {
    let ranges = rule.cidr_list.split(',').map(str::trim);
    ranges.filter_map(|range| range.parse().ok())
}
