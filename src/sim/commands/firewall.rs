//! Firewall rules of public addresses and egress rules of isolated networks.

use super::call::{Answered, Call};
use super::declare::{Command, class, job, sync};
use super::rule::{
    Claim, Purpose, check_protocol, check_service, cidrs, own_address, ports, refuse_clash,
};
use crate::sim::effects::rule::RuleWork;
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::view::rule as view;
use crate::sim::world::{FirewallRule, GuestType, Kind, RuleState, Subnet, Uuid};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    job(
        "createFirewallRule",
        "ipaddressid!:uuid protocol! startport:integer endport:integer cidrlist:list \
         icmptype:integer icmpcode:integer type fordisplay:boolean",
        create,
        class("firewall", "CreateFirewallRuleCmd", "FirewallRule"),
    ),
    sync(
        "listFirewallRules",
        "id:uuid ipaddressid:uuid networkid:uuid fordisplay:boolean tags:map @owned",
        list,
    ),
    job(
        "updateFirewallRule",
        "id!:uuid fordisplay:boolean",
        update,
        class("firewall", "UpdateFirewallRuleCmd", "FirewallRule"),
    ),
    job(
        "deleteFirewallRule",
        "id!:uuid",
        delete,
        class("firewall", "DeleteFirewallRuleCmd", "FirewallRule"),
    ),
    job(
        "createEgressFirewallRule",
        "networkid!:uuid protocol! startport:integer endport:integer cidrlist:list \
         destcidrlist:list icmptype:integer icmpcode:integer type fordisplay:boolean",
        create_egress,
        class("firewall", "CreateEgressFirewallRuleCmd", "FirewallRule"),
    ),
    sync(
        "listEgressFirewallRules",
        "id:uuid ipaddressid:uuid networkid:uuid fordisplay:boolean tags:map @owned",
        list_egress,
    ),
    job(
        "updateEgressFirewallRule",
        "id!:uuid fordisplay:boolean",
        update,
        class("firewall", "UpdateEgressFirewallRuleCmd", "FirewallRule"),
    ),
    job(
        "deleteEgressFirewallRule",
        "id!:uuid",
        delete,
        class("firewall", "DeleteEgressFirewallRuleCmd", "FirewallRule"),
    ),
];

/// What a request says of the traffic.
struct Traffic {
    protocol: String,
    ports: Option<(u16, u16)>,
    icmp: Option<(i32, i32)>,
}

fn traffic(call: &Call<'_>) -> Result<Traffic, ApiError> {
    let protocol = call.required("protocol")?.to_lowercase();
    let ports = ports(call, "startport", "endport")?;
    let kind: Option<i32> = call.parsed("icmptype")?;
    let code: Option<i32> = call.parsed("icmpcode")?;
    check_protocol(&protocol, &["tcp", "udp", "icmp", "all"])?;
    let icmp = protocol == "icmp";
    if !icmp && (kind.is_some() || code.is_some()) {
        let text = "Can specify icmpCode and icmpType for ICMP protocol only";
        return Err(ApiError::value(text));
    }
    if icmp && ports.is_some() {
        let text = "Can't specify start/end port when protocol is ICMP";
        return Err(ApiError::value(text));
    }
    if protocol == "all" && ports.is_some() {
        let text = "Can't specify ports for protocol ALL";
        return Err(ApiError::value(text));
    }
    let any = |value: Option<i32>| value.unwrap_or(-1);
    Ok(Traffic {
        protocol,
        ports,
        icmp: icmp.then(|| (any(kind), any(code))),
    })
}

/// Puts a rule into the world, if no other stands in its way.
fn add(
    call: &mut Call<'_>,
    address: Option<Uuid>,
    traffic: Traffic,
    claim: &Claim<'_>,
) -> Answered {
    refuse_clash(call, address.as_deref(), claim)?;
    let rule = FirewallRule {
        id: call.world.fresh_id(),
        number: call.world.next_number(Kind::FirewallRule),
        network: claim.network.to_owned(),
        address,
        protocol: traffic.protocol,
        ports: traffic.ports,
        icmp_type: traffic.icmp.map(|icmp| icmp.0),
        icmp_code: traffic.icmp.map(|icmp| icmp.1),
        sources: claim.sources.to_vec(),
        destinations: claim.destinations.to_vec(),
        opened_by: None,
        state: RuleState::Add,
    };
    let id = rule.id.clone();
    call.world.firewall_rules.insert(id.clone(), rule);
    let work = Work::Rule(RuleWork::Open { rule: id.clone() });
    call.submit(work, Some(id.clone()), Some(id))
}

/// `createFirewallRule`: for addresses of isolated networks; tiers have ACLs.
fn create(call: &mut Call<'_>) -> Answered {
    let address = own_address(call, "ipaddressid")?;
    let mut sources = cidrs(call, "cidrlist")?;
    if sources.is_empty() {
        sources.push("0.0.0.0/0".to_owned());
    }
    let network = address.network.as_ref();
    let network = network.and_then(|id| call.world.networks.get(id)).cloned();
    let Some(network) = network else {
        if address.vpc.is_some() {
            return Err(ApiError::internal(9999, "No network for the IP address"));
        }
        let text = "Unable to create firewall rule ; ip with specified id is not associated with any network";
        return Err(ApiError::value(text));
    };
    check_service(call, &address, &network, "Firewall")?;
    let traffic = traffic(call)?;
    let protocol = traffic.protocol.clone();
    let claim = Claim {
        purpose: Purpose::Firewall,
        network: &network.id,
        protocol: &protocol,
        ports: traffic.ports,
        icmp: traffic.icmp,
        sources: &sources,
        destinations: &[],
    };
    add(call, Some(address.id), traffic, &claim)
}

/// `createEgressFirewallRule`. What it is about comes from the network unless told otherwise.
fn create_egress(call: &mut Call<'_>) -> Answered {
    let id = call.own("networkid", Kind::Network)?;
    let Some(network) = call.world.networks.get(&id).cloned() else {
        return Err(ApiError::value("Unable to find network by id"));
    };
    if network.guest_type == GuestType::Shared {
        let text = "Egress firewall rules are not supported for shared network";
        return Err(ApiError::value(text));
    }
    if network.vpc.is_some() || !call.world.offers(&network, "Firewall") {
        let text = format!("Service Firewall is not supported in the network id={id}");
        return Err(ApiError::value(text));
    }
    let mut sources = cidrs(call, "cidrlist")?;
    let guest = Subnet::parse(&network.cidr);
    let within = |cidr: &String| {
        let inside = Subnet::parse(cidr).zip(guest);
        cidr == "0.0.0.0/0" || inside.is_some_and(|(cidr, guest)| guest.holds(cidr))
    };
    if let Some(cidr) = sources.iter().find(|cidr| !within(cidr)) {
        let text = format!("{cidr} is not within the guest cidr {}", network.cidr);
        return Err(ApiError::parameter(text));
    }
    if sources.is_empty() {
        sources.push(network.cidr.clone());
    }
    let destinations = cidrs(call, "destcidrlist")?;
    let traffic = traffic(call)?;
    let protocol = traffic.protocol.clone();
    let claim = Claim {
        purpose: Purpose::Firewall,
        network: &id,
        protocol: &protocol,
        ports: traffic.ports,
        icmp: traffic.icmp,
        sources: &sources,
        destinations: &destinations,
    };
    add(call, None, traffic, &claim)
}

/// `listFirewallRules`.
fn list(call: &mut Call<'_>) -> Answered {
    rules(call, |rule| !rule.is_egress())
}

/// `listEgressFirewallRules`.
fn list_egress(call: &mut Call<'_>) -> Answered {
    rules(call, FirewallRule::is_egress)
}

fn rules(call: &Call<'_>, wanted: impl Fn(&FirewallRule) -> bool) -> Answered {
    call.id("ipaddressid", Kind::Address)?;
    call.id("networkid", Kind::Network)?;
    call.id("id", Kind::FirewallRule)?;
    let owner = |rule: &FirewallRule| call.world.owner(Kind::FirewallRule, &rule.id);
    let mut rules: Vec<&FirewallRule> = call
        .world
        .firewall_rules
        .values()
        .filter(|rule| wanted(rule) && call.sees(owner(rule)) && call.tagged(&rule.id))
        .filter(|rule| call.wants("id", Some(&rule.id)))
        .filter(|rule| call.wants("ipaddressid", rule.address.as_deref()))
        .filter(|rule| call.wants("networkid", Some(&rule.network)))
        .collect();
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.number));
    let viewer = call.viewer();
    call.page("firewallrule", &rules, |rule| {
        view::firewall(call.world, &viewer, rule)
    })
}

/// `updateFirewallRule` and `updateEgressFirewallRule`: there is nothing to change but whether
/// the rule is shown.
fn update(call: &mut Call<'_>) -> Answered {
    let rule = call.own("id", Kind::FirewallRule)?;
    let work = Work::Rule(RuleWork::Open { rule: rule.clone() });
    call.submit(work, Some(rule), None)
}

/// `deleteFirewallRule` and `deleteEgressFirewallRule`.
fn delete(call: &mut Call<'_>) -> Answered {
    let rule = call.own("id", Kind::FirewallRule)?;
    if let Some(rule) = call.world.firewall_rules.get_mut(&rule) {
        rule.state = RuleState::Deleting;
    }
    let work = Work::Rule(RuleWork::Close { rule: rule.clone() });
    call.submit(work, Some(rule), None)
}
