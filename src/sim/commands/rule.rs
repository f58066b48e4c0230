//! What the rules of public addresses have in common: ports, ranges of addresses, the network that
//! a rule is for, and which rules stand in each other's way.

use super::call::Call;
use crate::sim::reply::ApiError;
use crate::sim::world::{
    Address, FirewallRule, Kind, Network, RuleState, Subnet, Uuid, Vm, quoted_address,
    quoted_network,
};

/// What a rule is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Purpose {
    Firewall,
    PortForwarding,
    LoadBalancing,
}

/// What a new rule wants of its address.
#[derive(Debug)]
pub(super) struct Claim<'a> {
    pub(super) purpose: Purpose,
    pub(super) network: &'a str,
    pub(super) protocol: &'a str,
    pub(super) ports: Option<(u16, u16)>,
    pub(super) icmp: Option<(i32, i32)>,
    pub(super) sources: &'a [String],
    pub(super) destinations: &'a [String],
}

/// A rule that is there already, seen as a claim.
struct Standing<'a> {
    id: &'a str,
    number: u64,
    claim: Claim<'a>,
}

/// The number of a port in a parameter.
pub(super) fn port(call: &Call<'_>, name: &str, complaint: &str) -> Result<Option<u16>, ApiError> {
    let Some(number) = call.parsed::<i64>(name)? else {
        return Ok(None);
    };
    let port = u16::try_from(number).ok().filter(|port| *port > 0);
    port.map(Some)
        .ok_or_else(|| ApiError::value(format!("{complaint} is an invalid value: {number}")))
}

/// The ports that two parameters name, the last one being the first where it is not given.
pub(super) fn ports(
    call: &Call<'_>,
    first: &str,
    last: &str,
) -> Result<Option<(u16, u16)>, ApiError> {
    let start = port(call, first, "publicPort")?;
    let end = port(call, last, "Public port range")?;
    match (start, end.or(start)) {
        (Some(start), Some(end)) if start > end => {
            Err(ApiError::value("Start port can't be bigger than end port"))
        }
        (Some(start), Some(end)) => Ok(Some((start, end))),
        (None, _) | (_, None) => Ok(None),
    }
}

/// The ranges of addresses in a parameter, checked.
pub(super) fn cidrs(call: &Call<'_>, name: &str) -> Result<Vec<String>, ApiError> {
    let listed = call.text(name).unwrap_or_default().split(',');
    let listed = listed.map(str::trim).filter(|cidr| !cidr.is_empty());
    let listed: Vec<String> = listed.map(ToOwned::to_owned).collect();
    let valid = |cidr: &String| {
        let v6 = cidr.split_once('/').map(|(ip, _)| ip);
        Subnet::parse(cidr).is_some()
            || v6.is_some_and(|ip| ip.parse::<std::net::Ipv6Addr>().is_ok())
    };
    match listed.iter().find(|cidr| !valid(cidr)) {
        Some(cidr) => Err(ApiError::parameter(format!(
            "Source cidrs formatting error {cidr}"
        ))),
        None => Ok(listed),
    }
}

/// An address that rules can be made for: the caller's, and usable.
pub(super) fn own_address(call: &Call<'_>, name: &str) -> Result<Address, ApiError> {
    let id = call.own(name, Kind::Address)?;
    let address = call.world.addresses.get(&id);
    let held = address.filter(|address| address.account.is_some() && address.system.is_none());
    held.cloned()
        .ok_or_else(|| ApiError::value("Unable to create a rule; invalid IP address id specified"))
}

/// Refuses to lead an address to a machine of another account, in the words of the server's
/// `RulesManagerImpl`; a root admin is told in others than those who need permission.
pub(super) fn refuse_strangers(
    call: &Call<'_>,
    address: &Address,
    vm: &Vm,
) -> Result<(), ApiError> {
    let (ip, machine) = (quoted_address(address), call.world.quoted(vm));
    match &address.account {
        Some(account) if *account != vm.account && call.caller.admin => {
            Err(ApiError::value(format!(
                "Unable to create ip forwarding rule, IP address {ip} owner is not same as owner of virtual machine {machine}"
            )))
        }
        Some(account) if *account != vm.account => Err(ApiError::denied(format!(
            "Entity {machine} and entity {ip} belong to different accounts"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// The network of a new rule: the one that the address is bound to, or the tier that is named.
/// What is being made is named by `what`, with the address where the server tells it.
pub(super) fn network_for(
    call: &Call<'_>,
    address: &Address,
    what: &str,
) -> Result<Network, ApiError> {
    let named = call.own_if_given("networkid", Kind::Network)?;
    let Some(id) = address.network.clone().or(named) else {
        return Err(ApiError::value(format!(
            "Unable to create {what} for the ipAddress id={} as ip is not associated with any network and no networkId is passed in",
            address.number
        )));
    };
    let Some(network) = call.world.networks.get(&id) else {
        return Err(ApiError::value("Unable to find network by id"));
    };
    let same_vpc = address.vpc.is_some() && address.vpc == network.vpc;
    if address.network.is_none() && !same_vpc {
        return Err(ApiError::value(format!(
            "Ip address {} is not assigned to the network {}",
            quoted_address(address),
            quoted_network(network)
        )));
    }
    Ok(network.clone())
}

/// Whether the network of an address lets it be used for a service.
pub(super) fn check_service(
    call: &Call<'_>,
    address: &Address,
    network: &Network,
    service: &str,
) -> Result<(), ApiError> {
    if call.world.offers(network, service) {
        return Ok(());
    }
    Err(ApiError::value(format!(
        "There is no new provider for IP {} of service {service}!",
        address.ip
    )))
}

/// Whether the firewall is opened for a new rule: in isolated networks unless told otherwise, and
/// never in a VPC.
pub(super) fn opens_firewall(call: &Call<'_>, address: &Address) -> Result<bool, ApiError> {
    match (address.vpc.is_some(), call.flag("openfirewall")) {
        (true, Some(true)) => Err(ApiError::value(
            "Can't have openFirewall=true when IP address belongs to VPC",
        )),
        (true, _) => Ok(false),
        (false, wish) => Ok(wish.unwrap_or(true)),
    }
}

/// Refuses a protocol that the router does not carry for rules of this kind.
pub(super) fn check_protocol(protocol: &str, known: &[&str]) -> Result<(), ApiError> {
    if known.contains(&protocol) {
        return Ok(());
    }
    let text = format!("Protocol {protocol} is not supported in zone 2");
    Err(ApiError::value(text))
}

/// Binds an address of a VPC to the tier that its first rule leads to.
pub(super) fn bind(call: &mut Call<'_>, address: &Address, network: &Network) {
    if let Some(address) = call.world.addresses.get_mut(&address.id) {
        address.network = Some(network.id.clone());
    }
}

/// Opens the firewall to everybody for a rule, unless it is open there already.
pub(super) fn open_firewall(call: &mut Call<'_>, rule: &Uuid, address: &str, claim: &Claim<'_>) {
    let open = call.world.firewall_rules_at(address);
    let same = |other: &&&FirewallRule| {
        other.protocol == claim.protocol && other.ports == claim.ports && other.ports.is_some()
    };
    if open.iter().any(|other| same(&other)) {
        return;
    }
    let opened = FirewallRule {
        id: call.world.fresh_id(),
        number: call.world.next_number(Kind::FirewallRule),
        network: claim.network.to_owned(),
        address: Some(address.to_owned()),
        protocol: claim.protocol.to_owned(),
        ports: claim.ports,
        icmp_type: None,
        icmp_code: None,
        sources: vec!["0.0.0.0/0".to_owned()],
        destinations: Vec::new(),
        opened_by: Some(rule.clone()),
        state: RuleState::Add,
    };
    call.world.firewall_rules.insert(opened.id.clone(), opened);
}

/// The rules that a new one could stand in the way of: those at its address, or the egress rules
/// of its network.
fn standing<'a>(call: &'a Call<'_>, address: Option<&str>, network: &str) -> Vec<Standing<'a>> {
    let world = &*call.world;
    let firewall = match address {
        Some(address) => world.firewall_rules_at(address),
        None => world.egress_rules_of(network),
    };
    let mut found: Vec<Standing<'a>> = firewall.into_iter().map(of_firewall).collect();
    let Some(address) = address else {
        return found;
    };
    found.extend(world.port_forwardings_at(address).into_iter().map(|rule| {
        let claim = Claim {
            purpose: Purpose::PortForwarding,
            network: &rule.network,
            protocol: &rule.protocol,
            ports: Some(rule.public),
            icmp: None,
            sources: &rule.sources,
            destinations: &[],
        };
        Standing {
            id: &rule.id,
            number: rule.number,
            claim,
        }
    }));
    found.extend(world.load_balancers_at(address).into_iter().map(|rule| {
        let claim = Claim {
            purpose: Purpose::LoadBalancing,
            network: &rule.network,
            protocol: "tcp",
            ports: Some((rule.public_port, rule.public_port)),
            icmp: None,
            sources: &[],
            destinations: &[],
        };
        Standing {
            id: &rule.id,
            number: rule.number,
            claim,
        }
    }));
    found
}

fn of_firewall(rule: &FirewallRule) -> Standing<'_> {
    let claim = Claim {
        purpose: Purpose::Firewall,
        network: &rule.network,
        protocol: &rule.protocol,
        ports: rule.ports,
        icmp: rule.icmp_type.zip(rule.icmp_code),
        sources: &rule.sources,
        destinations: &rule.destinations,
    };
    Standing {
        id: &rule.id,
        number: rule.number,
        claim,
    }
}

/// Refuses a rule that another one stands in the way of.
pub(super) fn refuse_clash(
    call: &Call<'_>,
    address: Option<&str>,
    claim: &Claim<'_>,
) -> Result<(), ApiError> {
    let standing = standing(call, address, claim.network);
    standing.iter().try_for_each(|other| clash(claim, other))
}

fn clash(new: &Claim<'_>, other: &Standing<'_>) -> Result<(), ApiError> {
    let Standing { id, number, claim } = other;
    let quoted = format!(
        "FirewallRule {{\"id\":{number},\"purpose\":\"{:?}\",\"uuid\":\"{id}\"}}",
        claim.purpose
    );
    if new.network != claim.network {
        return Err(ApiError::conflict(format!(
            "New rule is for a different network than what's specified in rule {id}"
        )));
    }
    let same_kind = new.purpose == claim.purpose;
    let same_protocol = new.protocol.eq_ignore_ascii_case(claim.protocol);
    let firewall = new.purpose == Purpose::Firewall || claim.purpose == Purpose::Firewall;
    // A firewall rule does not mind what is behind it, and the others not what is before them.
    if firewall && !(same_kind && same_protocol) {
        return Ok(());
    }
    let doubled = share(new.sources, claim.sources) && share(new.destinations, claim.destinations);
    if firewall && doubled && new.icmp.is_some() && new.icmp == claim.icmp {
        let text = format!("New rule conflicts with existing rule: {quoted}");
        return Err(ApiError::value(text));
    }
    match (new.ports, claim.ports) {
        (None, None) if firewall && doubled && new.icmp.is_none() => {
            Err(ApiError::conflict(format!(
                "There is already a firewall rule specified with protocol = {} and no ports",
                new.protocol
            )))
        }
        (Some(mine), Some(theirs)) if mine.0 <= theirs.1 && theirs.0 <= mine.1 => {
            let forwarding = same_kind && new.purpose == Purpose::PortForwarding;
            let harmless = ((firewall || forwarding) && !doubled) || (forwarding && !same_protocol);
            if harmless {
                return Ok(());
            }
            Err(ApiError::conflict(format!(
                "The range specified, {}-{}, conflicts with rule {quoted} which has {}-{}",
                mine.0, mine.1, theirs.0, theirs.1
            )))
        }
        _ => Ok(()),
    }
}

/// Whether two lists of ranges have one in common, or are both open to everybody.
fn share(one: &[String], other: &[String]) -> bool {
    (one.is_empty() && other.is_empty()) || one.iter().any(|cidr| other.contains(cidr))
}
