//! What jobs do to the rules of public addresses.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::vm_power::viewer;
use super::{Outcome, put, success};
use crate::sim::jobs::{Job, JobFailure};
use crate::sim::view::rule as view;
use crate::sim::world::index::RuleKey;
use crate::sim::world::{Member, RuleState, Uuid, World};

/// What a job does to a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum RuleWork {
    Open {
        rule: Uuid,
    },
    Close {
        rule: Uuid,
    },
    Forward {
        rule: Uuid,
    },
    Redirect {
        rule: Uuid,
        vm: Uuid,
        /// The machine's address; none if the rule goes on leading where it leads.
        guest_ip: Option<Ipv4Addr>,
        private: (u16, u16),
    },
    EndForward {
        rule: Uuid,
    },
    Balance {
        rule: Uuid,
    },
    Rebalance {
        rule: Uuid,
        change: Change,
    },
    EndBalance {
        rule: Uuid,
    },
    Assign {
        rule: Uuid,
        targets: Vec<(Uuid, Option<String>)>,
    },
    Unassign {
        rule: Uuid,
        targets: Vec<(Uuid, Option<String>)>,
    },
}

/// What may change about a load-balancer rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Change {
    pub(crate) name: Option<String>,
    pub(crate) description: Option<String>,
    pub(crate) algorithm: Option<String>,
    pub(crate) protocol: Option<String>,
}

/// Applies a job on a rule.
pub(crate) fn finish(world: &mut World, job: &Job, work: &RuleWork) -> Outcome {
    match work {
        RuleWork::Open { rule } => opened(world, job, rule),
        RuleWork::Close { rule } => {
            world.drop_firewall_rule(rule);
            success()
        }
        RuleWork::Forward { rule } => forwarded(world, job, rule),
        RuleWork::Redirect {
            rule,
            vm,
            guest_ip,
            private,
        } => {
            redirected(world, rule, (vm, *guest_ip), *private)?;
            forwarded(world, job, rule)
        }
        RuleWork::EndForward { rule } => {
            world.drop_port_forwarding(rule);
            success()
        }
        RuleWork::Balance { rule } => balanced(world, job, rule),
        RuleWork::Rebalance { rule, change } => rebalanced(world, job, rule, change),
        RuleWork::EndBalance { rule } => {
            world.drop_load_balancer(rule);
            success()
        }
        RuleWork::Assign { rule, targets } => assigned(world, rule, targets),
        RuleWork::Unassign { rule, targets } => unassigned(world, rule, targets),
    }
}

/// A rule that went with its address or its machine while its job was on the way.
fn lost() -> JobFailure {
    JobFailure::new(530, "Failed to apply the rule: it is gone")
}

fn opened(world: &mut World, job: &Job, id: &Uuid) -> Outcome {
    let rule = world.firewall_rules.get_mut(id).ok_or_else(lost)?;
    rule.state = RuleState::Active;
    let row = world
        .firewall_rules
        .get(id)
        .map(|rule| view::firewall(world, &viewer(job), rule));
    Ok(json!({"firewallrule": row}))
}

/// Lets a rule lead to another machine or address, if that is still there.
fn redirected(
    world: &mut World,
    id: &Uuid,
    (vm, guest_ip): (&Uuid, Option<Ipv4Addr>),
    private: (u16, u16),
) -> Result<(), JobFailure> {
    let rule = world.port_forwardings.get(id).ok_or_else(lost)?;
    let there = |ip| {
        let found = world.vms.get(vm).filter(|vm| !vm.state.is_gone());
        let mut nics = found.into_iter().flat_map(|vm| &vm.nics);
        nics.any(|nic| nic.network == rule.network && nic.has_ip(ip))
    };
    if guest_ip.is_some_and(|ip| !there(ip)) {
        let text = "Failed to update the rule: its machine is gone";
        return Err(JobFailure::new(530, text));
    }
    if let Some(rule) = world.port_forwardings.get_mut(id) {
        rule.private = private;
        if let Some(guest_ip) = guest_ip {
            rule.vm.clone_from(vm);
            rule.guest_ip = guest_ip;
        }
    }
    Ok(())
}

/// The firewall that a rule opened has reached the router with it.
fn open_with(world: &mut World, id: &Uuid) {
    for opened in world
        .firewall_rules
        .ids_under(&RuleKey::OpenedBy(id.clone()))
    {
        if let Some(opened) = world.firewall_rules.get_mut(&opened) {
            opened.state = RuleState::Active;
        }
    }
}

fn forwarded(world: &mut World, job: &Job, id: &Uuid) -> Outcome {
    let rule = world.port_forwardings.get_mut(id).ok_or_else(lost)?;
    rule.state = RuleState::Active;
    open_with(world, id);
    let row = world
        .port_forwardings
        .get(id)
        .map(|rule| view::forwarding(world, &viewer(job), rule));
    Ok(json!({"portforwardingrule": row}))
}

/// A load balancer with nobody to spread to stays on its way to the router.
fn balanced(world: &mut World, job: &Job, id: &Uuid) -> Outcome {
    settle(world, id)?;
    open_with(world, id);
    let row = world
        .load_balancers
        .get(id)
        .map(|rule| view::balancer(world, &viewer(job), rule));
    Ok(json!({"loadbalancer": row}))
}

fn settle(world: &mut World, id: &Uuid) -> Result<(), JobFailure> {
    let rule = world.load_balancers.get_mut(id).ok_or_else(lost)?;
    rule.state = if rule.members.is_empty() {
        RuleState::Add
    } else {
        RuleState::Active
    };
    Ok(())
}

fn rebalanced(world: &mut World, job: &Job, id: &Uuid, change: &Change) -> Outcome {
    if let Some(rule) = world.load_balancers.get_mut(id) {
        put(&mut rule.name, &change.name);
        put(&mut rule.algorithm, &change.algorithm);
        put(&mut rule.protocol, &change.protocol);
        if change.description.is_some() {
            rule.description.clone_from(&change.description);
        }
    }
    balanced(world, job, id)
}

/// Adds machines to a rule. Whatever is wrong with one of them, the job says the same.
fn assigned(world: &mut World, id: &Uuid, targets: &[(Uuid, Option<String>)]) -> Outcome {
    let refusal = || JobFailure::new(530, "Failed to assign load balancer rule");
    let Some(rule) = world.load_balancers.get(id) else {
        return Err(refusal());
    };
    let mut fresh = Vec::new();
    for (vm, ip) in targets {
        let found = world.vms.get(vm).filter(|vm| !vm.state.is_gone());
        let nic = found.and_then(|vm| vm.nics.iter().find(|nic| nic.network == rule.network));
        let nic = nic.ok_or_else(refusal)?;
        let ip = match ip {
            None => nic.ip,
            Some(ip) => ip.parse().map_err(|_| refusal())?,
        };
        let member = Member { vm: vm.clone(), ip };
        if !nic.has_ip(ip) || rule.members.contains(&member) || fresh.contains(&member) {
            return Err(refusal());
        }
        fresh.push(member);
    }
    if fresh.is_empty() {
        return Err(refusal());
    }
    if let Some(rule) = world.load_balancers.get_mut(id) {
        rule.members.append(&mut fresh);
    }
    settle(world, id)?;
    success()
}

fn unassigned(world: &mut World, id: &Uuid, targets: &[(Uuid, Option<String>)]) -> Outcome {
    let goes = |member: &Member| {
        targets.iter().any(|(vm, ip)| {
            *vm == member.vm && ip.as_ref().is_none_or(|ip| *ip == member.ip.to_string())
        })
    };
    if let Some(rule) = world.load_balancers.get_mut(id) {
        rule.members.retain(|member| !goes(member));
    }
    settle(world, id)?;
    success()
}
