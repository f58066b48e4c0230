//! Ranges, addresses and rules: what CloudStack's networks can be, and what fits into them.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use ipnet::Ipv4Net;
use serde_json::Value;

use super::{
    error::ErrorKind,
    findings::Findings,
    value::{identifier, part, selector, sendable},
};
use crate::types::{
    role::{Protocol, Role},
    stack::{AclSpec, Component, NetworkSpec, RuleSpec, VpcSpec},
};

/// Prefix lengths of a VPC or tier: from the whole of 10.0.0.0/8 down to what holds the smallest
/// stack and its spare addresses.
const PREFIXES: std::ops::RangeInclusive<u8> = 8..=28;
/// Ranges that CloudStack takes for a VPC (RFC 1918; `createVPC` answers 431 to others).
const PRIVATE: [Ipv4Net; 3] = [
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), 8),
    Ipv4Net::new_assert(Ipv4Addr::new(172, 16, 0, 0), 12),
    Ipv4Net::new_assert(Ipv4Addr::new(192, 168, 0, 0), 16),
];
const LOOPBACK: Ipv4Net = Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
/// Rules that a manifest may add to those of the roles.
const RULES_MAX: usize = 200;
/// Addresses of a tier that no machine can have: network, gateway and broadcast.
const RESERVED: u64 = 3;
/// Addresses that a replacement needs besides those of the machines: one that the old VM is
/// parked on, one for a successor that comes up beside it.
const SPARE: u64 = 2;

/// Judges a stack's network. Rules are judged one by one, so that one that cannot be read hides
/// nothing else.
pub(super) fn check(network: &Value, findings: &mut Findings) -> Option<NetworkSpec> {
    let rules = network["rules"]
        .as_array()
        .map(Vec::as_slice)
        .unwrap_or_default();
    rules_check(rules, findings);
    let mut rest = network.clone();
    if let Value::Object(members) = &mut rest {
        members.remove("rules");
    }
    let network: NetworkSpec = serde_json::from_value(rest).ok()?;
    ranges(&network, findings);
    if let Some(gateway) = network.gateway {
        usable("spec.network.gateway", gateway, network.cidr, findings);
    }
    if let Some(offering) = &network.offering {
        selector("spec.network.offering", offering, findings);
    }
    management(&network.management_cidrs, findings);
    if let AclSpec::Existing { id } = &network.acl {
        identifier("spec.network.acl.id", id.as_str(), findings);
        for (name, given) in [
            ("rules", !rules.is_empty()),
            ("managementCidrs", !network.management_cidrs.is_empty()),
        ] {
            if given {
                let sentence = "has no effect, since `acl` names a list that Weir leaves alone";
                findings.warn(&format!("spec.network.{name}"), sentence);
            }
        }
    }
    Some(network)
}

fn ranges(network: &NetworkSpec, findings: &mut Findings) {
    const TIER: &str = "spec.network.cidr";
    let tier = network.cidr;
    let sound = range(TIER, tier, findings);
    match &network.vpc {
        VpcSpec::Existing { id } => {
            identifier("spec.network.vpc.id", id.as_str(), findings);
            if sound {
                private(TIER, tier, findings);
            }
        }
        VpcSpec::Owned {
            cidr: vpc,
            offering,
        } => {
            if let Some(offering) = offering {
                selector("spec.network.vpc.offering", offering, findings);
            }
            let field = "spec.network.vpc.cidr";
            if !range(field, *vpc, findings) || !sound {
                return;
            }
            private(field, *vpc, findings);
            if !vpc.contains(&tier) {
                let reason = format!("outside the VPC's {vpc}");
                let remedy = "choose a part of the VPC's range, or widen `vpc.cidr`";
                findings.invalid(TIER, &tier, (reason, remedy));
            }
        }
    }
}

/// A range without host bits, of a size that CloudStack and a stack can do with.
fn range(field: &str, cidr: Ipv4Net, findings: &mut Findings) -> bool {
    let before = findings.errors.len();
    host_bits(field, cidr, findings);
    if !PREFIXES.contains(&cidr.prefix_len()) {
        let (least, most) = PREFIXES.into_inner();
        let reason = format!("its prefix is not between /{least} and /{most}");
        findings.invalid(field, &cidr, (reason, "choose another, like 10.0.0.0/24"));
    }
    findings.errors.len() == before
}

fn host_bits(field: &str, cidr: Ipv4Net, findings: &mut Findings) {
    if cidr != cidr.trunc() {
        let remedy = format!("write {}", cidr.trunc());
        findings.invalid(field, &cidr, ("bits are set beyond the prefix", remedy));
    }
}

fn private(field: &str, cidr: Ipv4Net, findings: &mut Findings) {
    if LOOPBACK.contains(&cidr) {
        findings.warn(
            field,
            "a loopback range, which no real CloudStack takes for a VPC",
        );
    } else if !PRIVATE.iter().any(|private| private.contains(&cidr)) {
        let remedy = "choose from 10.0.0.0/8, 172.16.0.0/12 or 192.168.0.0/16";
        findings.invalid(
            field,
            &cidr,
            ("not private, and CloudStack refuses it", remedy),
        );
    }
}

/// An address that something in the tier can have.
fn usable(field: &str, address: Ipv4Addr, tier: Ipv4Net, findings: &mut Findings) -> bool {
    let reason = if !tier.contains(&address) {
        format!("outside the tier's {tier}")
    } else if address == tier.network() {
        "the tier's network address".to_owned()
    } else if address == tier.broadcast() {
        "the tier's broadcast address".to_owned()
    } else {
        return true;
    };
    let remedy = format!("choose an address inside {tier}");
    findings.invalid(field, &address, (reason, remedy));
    false
}

fn management(cidrs: &[Ipv4Net], findings: &mut Findings) {
    for (index, cidr) in cidrs.iter().enumerate() {
        let field = format!("spec.network.managementCidrs[{index}]");
        host_bits(&field, *cidr, findings);
        if cidr.prefix_len() == 0 {
            findings.warn(
                &field,
                "opens SSH on every machine with a public address to the world",
            );
        }
    }
}

fn rules_check(rules: &[Value], findings: &mut Findings) {
    const FIELD: &str = "spec.network.rules";
    if rules.len() > RULES_MAX {
        let why = (
            format!("more than {RULES_MAX}"),
            "join ranges, or use a list of your own",
        );
        findings.add(ErrorKind::FieldValueTooMany, FIELD, &rules.len(), why);
    }
    let mut seen = BTreeMap::new();
    for (index, value) in rules.iter().enumerate() {
        let field = format!("{FIELD}[{index}]");
        let Ok(rule) = serde_json::from_value::<RuleSpec>(value.clone()) else {
            continue;
        };
        self::rule(&field, &rule, findings);
        if let Some(first) = seen.insert(rule, index) {
            let why = (
                format!("the same as {FIELD}[{first}]"),
                "remove one of them",
            );
            findings.add(ErrorKind::FieldValueDuplicate, field, value, why);
        }
    }
}

fn rule(field: &str, rule: &RuleSpec, findings: &mut Findings) {
    sendable(&format!("{field}.reason"), &rule.reason, findings);
    let ports = [("startPort", rule.start_port), ("endPort", rule.end_port)];
    for (name, port) in ports {
        let Some(port) = port else { continue };
        let field = format!("{field}.{name}");
        if !matches!(rule.protocol, Protocol::Tcp | Protocol::Udp) {
            let reason = format!("{} has no ports", rule.protocol.name());
            let why = (reason, "remove it, or set `protocol` to tcp or udp");
            findings.add(ErrorKind::FieldValueForbidden, field, &port, why);
        } else if port == 0 {
            findings.invalid(
                field,
                &port,
                ("not a port", "write a number from 1 to 65535"),
            );
        }
    }
    match (rule.start_port, rule.end_port) {
        (None, Some(_)) => {
            let why = (
                "missing beside `endPort`",
                "add the first port of the range",
            );
            findings.missing(format!("{field}.startPort"), why);
        }
        (Some(start), Some(end)) if end < start => {
            let why = (
                format!("below `startPort`, which is {start}"),
                "swap the two",
            );
            findings.invalid(format!("{field}.endPort"), &end, why);
        }
        _ => {}
    }
    if rule.cidrs.is_empty() {
        let why = (
            "a rule for nobody",
            "name a range, or leave `cidrs` out for 0.0.0.0/0",
        );
        findings.missing(format!("{field}.cidrs"), why);
    }
    let mut seen = BTreeSet::new();
    for (index, cidr) in rule.cidrs.iter().enumerate() {
        let field = format!("{field}.cidrs[{index}]");
        host_bits(&field, *cidr, findings);
        if !seen.insert(cidr) {
            let why = ("it is in the list already", "remove one of them");
            findings.add(ErrorKind::FieldValueDuplicate, field, cidr, why);
        }
    }
}

/// Judges the fixed addresses of all machines together.
pub(super) fn addresses(
    components: &[(Role, Component)],
    network: &NetworkSpec,
    findings: &mut Findings,
) {
    let mut taken = BTreeMap::new();
    for (role, component) in components {
        for (index, address) in component.addresses.iter().enumerate() {
            let field = format!("spec.components.{role}.addresses[{index}]");
            if !usable(&field, *address, network.cidr, findings) {
                continue;
            }
            if *address == network.gateway() {
                let why = ("the tier's gateway", "choose another address of the tier");
                findings.invalid(&field, address, why);
            }
            if let Some(first) = taken.insert(*address, field.clone()) {
                let why = (
                    format!("{first} has it already"),
                    "give each machine its own",
                );
                findings.add(ErrorKind::FieldValueDuplicate, field, address, why);
            }
        }
    }
}

/// Judges whether all machines find an address.
pub(super) fn room(network: &NetworkSpec, (machines, surge): (u64, u64), findings: &mut Findings) {
    let tier = network.cidr;
    let usable = (1u64 << (32 - tier.prefix_len())).saturating_sub(RESERVED);
    let needed = machines + surge.max(SPARE);
    if usable < needed {
        let reason = format!(
            "{machines} machines with {} to spare need {needed} addresses, and it has {usable}",
            needed - machines
        );
        let why = (reason, "choose a larger range, or fewer replicas");
        findings.invalid("spec.network.cidr", &tier, why);
    } else if usable < 2 * machines {
        findings.warn(
            "spec.network.cidr",
            &format!(
                "it has {usable} addresses for {machines} machines; a destroyed VM keeps its \
                 address for a day or two, so replacing all of them in a day would not go through"
            ),
        );
    }
}

/// The network as written, else an empty object: everything in it has a default.
pub(super) fn written(spec: &Value) -> Value {
    part(spec, "network").unwrap_or_else(|| Value::Object(serde_json::Map::new()))
}
