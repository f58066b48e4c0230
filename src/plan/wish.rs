//! What exactly a manifest asks for: names resolved to ids, defaults filled in, rules numbered.

use std::{net::Ipv4Addr, sync::Arc};

use ipnet::Ipv4Net;

use crate::types::{
    id::{OfferingId, TemplateId, ZoneId},
    inventory::{Catalogue, Entry},
    role::{Protocol, Role},
    stack::{
        AntiAffinity, ClearwaterStack, Direction, RuleAction, RuleSpec, Selector, StackSpec,
        VpcSpec,
    },
};

/// The network offering of a tier where the manifest names none. It is among CloudStack's own.
const TIER_OFFERING: &str = "DefaultIsolatedNetworkOfferingForVpcNetworks";

/// The VPC offering where the manifest names none. It is among CloudStack's own.
const VPC_OFFERING: &str = "Default VPC offering";

/// Distance between the numbers of two rules, so that people can see where one was squeezed in.
const RULE_STEP: u32 = 10;

/// A manifest with every name resolved.
#[derive(Clone, Debug, Default)]
pub(super) struct Wish {
    pub zone: Option<ZoneId>,
    pub vpc_offering: Option<OfferingId>,
    pub tier_offering: Option<OfferingId>,
    pub rules: Vec<(u32, RuleSpec)>,
    /// Shared, since each part of the planner goes through them while it changes the plan.
    pub machines: Arc<[MachineWish]>,
}

/// A machine as the manifest asks for it.
#[derive(Clone, Debug)]
pub(super) struct MachineWish {
    pub name: String,
    pub role: Role,
    pub index: u32,
    pub template: TemplateId,
    pub offering: OfferingId,
    pub public: bool,
    pub fixed: Option<Ipv4Addr>,
}

/// A field of the manifest and what is wrong with it.
type Problem = (String, String);

impl Wish {
    /// Resolves a manifest against what the account offers.
    pub(super) fn of(stack: &ClearwaterStack, catalogue: &Catalogue) -> Result<Self, Vec<Problem>> {
        let spec = &stack.spec;
        let mut problems = Vec::new();
        let zone = catalogue.zone.clone();
        if zone.is_none() {
            let zones = names(&catalogue.zones);
            let problem = format!(
                "the account's zone is not known; set spec.zone of the CloudAccount to one of: {zones}"
            );
            problems.push(("CloudAccount spec.zone".to_owned(), problem));
        }
        let mut find = |field: String, selector: &Selector, entries: &[Entry]| {
            resolve(selector, entries)
                .map_err(|problem| {
                    // Components that share a field share its problem.
                    let problem = (field, problem);
                    if !problems.contains(&problem) {
                        problems.push(problem);
                    }
                })
                .ok()
        };
        let offering = spec.network.offering.clone();
        let offering = offering.unwrap_or_else(|| Selector::Name(TIER_OFFERING.to_owned()));
        let tier_offering = find(
            "spec.network.offering".to_owned(),
            &offering,
            &catalogue.network_offerings,
        );
        let vpc_offering = match &spec.network.vpc {
            VpcSpec::Existing { .. } => None,
            VpcSpec::Owned { offering, .. } => {
                let offering = offering.clone();
                let offering = offering.unwrap_or_else(|| Selector::Name(VPC_OFFERING.to_owned()));
                find(
                    "spec.network.vpc.offering".to_owned(),
                    &offering,
                    &catalogue.vpc_offerings,
                )
            }
        };
        let machines = machines(stack, catalogue, &mut find);
        if let Some(problem) = key_pair(spec, catalogue) {
            problems.push(problem);
        }
        if !problems.is_empty() {
            return Err(problems);
        }
        Ok(Self {
            zone,
            vpc_offering: vpc_offering.map(OfferingId::new),
            tier_offering: tier_offering.map(OfferingId::new),
            rules: rules(spec),
            machines: machines.into(),
        })
    }
}

fn machines(
    stack: &ClearwaterStack,
    catalogue: &Catalogue,
    find: &mut impl FnMut(String, &Selector, &[Entry]) -> Option<String>,
) -> Vec<MachineWish> {
    let spec = &stack.spec;
    let mut machines = Vec::new();
    for (role, replicas) in replicas(spec) {
        let component = spec.components.get(role);
        let field = |own: bool, name: &str| match own {
            true => format!("spec.components.{role}.{name}"),
            false => format!("spec.{name}"),
        };
        let template = component.template.as_ref();
        let offering = component.service_offering.as_ref();
        let (Some(template), Some(offering)) = (
            find(
                field(template.is_some(), "template"),
                template.unwrap_or(&spec.template),
                &catalogue.templates,
            ),
            find(
                field(offering.is_some(), "serviceOffering"),
                offering.unwrap_or(&spec.service_offering),
                &catalogue.service_offerings,
            ),
        ) else {
            continue;
        };
        machines.extend((0..replicas).map(|index| MachineWish {
            name: machine_name(&stack.metadata.name, role, index),
            role,
            index,
            template: TemplateId::new(template.as_str()),
            offering: OfferingId::new(offering.as_str()),
            public: component.public_address.unwrap_or(role.public()),
            fixed: component.addresses.get(index as usize).copied(),
        }));
    }
    machines
}

/// Roles with at least one machine, in the order in which they come up.
fn replicas(spec: &StackSpec) -> impl Iterator<Item = (Role, u32)> {
    Role::ALL.into_iter().filter_map(|role| {
        let replicas = spec.replicas(role);
        (replicas > 0).then_some((role, replicas))
    })
}

/// The name of a machine, which is also its VM's host name while no dead VM holds that.
#[must_use]
pub fn machine_name(stack: &str, role: Role, index: u32) -> String {
    format!("{stack}-{role}-{index}")
}

/// The machines that a stack is to have.
#[must_use]
pub fn machine_names(stack: &ClearwaterStack) -> Vec<(String, Role, u32)> {
    let name = |role, index| (machine_name(&stack.metadata.name, role, index), role, index);
    replicas(&stack.spec)
        .flat_map(|(role, replicas)| (0..replicas).map(move |index| (role, index)))
        .map(|(role, index)| name(role, index))
        .collect()
}

/// CloudStack's type of affinity group for a role, where it has one.
pub(super) fn affinity_kind(spec: &StackSpec, role: Role) -> Option<&'static str> {
    let component = spec.components.get(role);
    let preferred = (component.replicas > 1).then_some(AntiAffinity::Preferred);
    match component.anti_affinity.or(preferred)? {
        AntiAffinity::Off => None,
        AntiAffinity::Preferred => Some("non-strict host anti-affinity"),
        AntiAffinity::Required => Some("host anti-affinity"),
    }
}

fn resolve(selector: &Selector, entries: &[Entry]) -> Result<String, String> {
    let matches: Vec<&Entry> = match selector {
        Selector::Id(id) => entries.iter().filter(|entry| entry.id == *id).collect(),
        Selector::Name(name) => entries.iter().filter(|entry| entry.name == *name).collect(),
    };
    match matches.as_slice() {
        [one] => Ok(one.id.clone()),
        [] => Err(format!(
            "`{}` does not exist; there are: {}",
            selector.text(),
            names(entries)
        )),
        several => {
            let ids: Vec<&str> = several.iter().map(|entry| entry.id.as_str()).collect();
            let name = selector.text();
            Err(format!(
                "`{name}` is ambiguous; write `id:` with one of: {}",
                ids.join(", ")
            ))
        }
    }
}

/// Names of a catalogue, at most ten of them.
fn names(entries: &[Entry]) -> String {
    let mut names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
    names.sort_unstable();
    names.dedup();
    let more = names.len().saturating_sub(10);
    names.truncate(10);
    let list = names.join(", ");
    if more == 0 {
        list
    } else {
        format!("{list} and {more} more")
    }
}

fn key_pair(spec: &StackSpec, catalogue: &Catalogue) -> Option<Problem> {
    let wanted = spec.ssh_key_pair.as_ref()?;
    let known = catalogue.key_pairs.contains(wanted);
    let list = match catalogue.key_pairs.as_slice() {
        [] => "none".to_owned(),
        names => names.join(", "),
    };
    (!known).then(|| {
        let problem = format!("`{wanted}` does not exist; there are: {list}");
        ("spec.sshKeyPair".to_owned(), problem)
    })
}

/// The rules of a managed list, numbered: the ports of each role that is there, then SSH for the
/// managers, then the manifest's own rules, then everything out and ICMP in.
fn rules(spec: &StackSpec) -> Vec<(u32, RuleSpec)> {
    let roles = replicas(spec).filter(|(role, _)| {
        spec.components
            .get(*role)
            .public_address
            .unwrap_or(role.public())
    });
    let ports = roles.flat_map(|(role, _)| {
        role.ports().map(move |port| RuleSpec {
            protocol: port.protocol,
            start_port: Some(port.start),
            end_port: Some(port.end),
            cidrs: vec![Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)],
            direction: Direction::Ingress,
            action: RuleAction::Allow,
            reason: format!("{role}: {}", port.purpose),
        })
    });
    let ssh = (!spec.network.management_cidrs.is_empty()).then(|| RuleSpec {
        protocol: Protocol::Tcp,
        start_port: Some(22),
        end_port: Some(22),
        cidrs: spec.network.management_cidrs.clone(),
        direction: Direction::Ingress,
        action: RuleAction::Allow,
        reason: "SSH for managers".to_owned(),
    });
    let own = spec.network.rules.iter().cloned();
    let out = RuleSpec {
        protocol: Protocol::All,
        start_port: None,
        end_port: None,
        cidrs: vec![Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)],
        direction: Direction::Egress,
        action: RuleAction::Allow,
        reason: "everything out".to_owned(),
    };
    // The world's pings, and what says that a packet was too long; each machine's own firewall takes no
    // other kind. After the manifest's rules, so that those may deny it, and last, so that the numbers of
    // lists that lack it stay.
    let icmp = RuleSpec {
        protocol: Protocol::Icmp,
        direction: Direction::Ingress,
        reason: "ICMP: reachability and path MTU".to_owned(),
        ..out.clone()
    };
    let numbers = (1..).map(|place| place * RULE_STEP);
    let all = ports.chain(ssh).chain(own).chain([out, icmp]);
    numbers.zip(all.map(normal)).collect()
}

/// A rule in the one form in which it is compared: last port given, ranges sorted.
fn normal(mut rule: RuleSpec) -> RuleSpec {
    rule.end_port = rule.end_port.or(rule.start_port);
    rule.cidrs.sort_unstable();
    rule.cidrs.dedup();
    rule
}
