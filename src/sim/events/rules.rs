//! The words for jobs on the rules of public addresses.

use super::{Subject, Words, all};
use crate::sim::effects::rule::RuleWork;
use crate::sim::effects::security_group::{SecurityWork, direction};
use crate::sim::world::{FirewallRule, Kind, Uuid, World};

fn subject(world: &World, kind: Kind, id: &Uuid) -> Subject {
    let name = match kind {
        Kind::PortForwarding => "PortForwardingRule",
        Kind::LoadBalancer => "LoadBalancerRule",
        _ => "FirewallRule",
    };
    Subject {
        kind: name,
        id: Some(id.clone()),
        name: None,
        account: world.owner(kind, id).map(ToOwned::to_owned),
    }
}

fn firewall(world: &World, id: &Uuid, opens: Opens) -> Words {
    let egress = world
        .firewall_rules
        .get(id)
        .is_some_and(FirewallRule::is_egress);
    let subject = subject(world, Kind::FirewallRule, id);
    let (kind, scheduled, doing) = match (opens, egress) {
        (Opens::Yes, false) => (
            "FIREWALL.OPEN",
            "Creating firewall rule",
            "creating firewall rule",
        ),
        (Opens::Yes, true) => (
            "FIREWALL.EGRESS.OPEN",
            "Creating firewall rule for network",
            "creating egress firewall rule for network",
        ),
        (Opens::No, false) => (
            "FIREWALL.CLOSE",
            "Deleting firewall rule",
            "revoking firewall rule",
        ),
        (Opens::No, true) => (
            "FIREWALL.EGRESS.CLOSE",
            "Deleting egress firewall rule",
            "revoking egress firewall rule",
        ),
    };
    let doing = format!("{doing}. Rule ID: {id}");
    all(kind, format!("{scheduled} id={id}"), doing, subject)
}

#[derive(Clone, Copy)]
enum Opens {
    Yes,
    No,
}

/// The words for a job on a rule.
pub(super) fn words(world: &World, work: &RuleWork) -> Words {
    let of = |kind: &'static str, of: Kind, doing: &str, id: &Uuid| {
        let doing = format!("{doing}. Rule Id: {id}");
        all(kind, doing.clone(), doing, subject(world, of, id))
    };
    let (forward, balance) = (Kind::PortForwarding, Kind::LoadBalancer);
    match work {
        RuleWork::Open { rule } => firewall(world, rule, Opens::Yes),
        RuleWork::Close { rule } => firewall(world, rule, Opens::No),
        RuleWork::Forward { rule } => of(
            "NET.RULEADD",
            forward,
            "applying port forwarding rule",
            rule,
        ),
        RuleWork::Redirect { rule, .. } => {
            of("NET.RULEMODIFY", forward, "updating forwarding rule", rule)
        }
        RuleWork::EndForward { rule } => {
            of("NET.RULEDELETE", forward, "revoking forwarding rule", rule)
        }
        RuleWork::Balance { rule } => of("LB.CREATE", balance, "creating load balancer", rule),
        RuleWork::Rebalance { rule, .. } => {
            of("LB.UPDATE", balance, "updating load balancer", rule)
        }
        RuleWork::EndBalance { rule } => of("LB.DELETE", balance, "deleting load balancer", rule),
        RuleWork::Assign { rule, .. } => of(
            "LB.ASSIGN.TO.RULE",
            balance,
            "assigning to load balancer",
            rule,
        ),
        RuleWork::Unassign { rule, .. } => of(
            "LB.REMOVE.FROM.RULE",
            balance,
            "removing from load balancer",
            rule,
        ),
    }
}

/// The words for a job on a security group.
pub(super) fn security_words(world: &World, work: &SecurityWork) -> Words {
    let (kind, doing, egress, (of, id)) = match work {
        SecurityWork::Authorize { group, egress, .. } => {
            let kind = match egress {
                true => "SG.AUTH.EGRESS",
                false => "SG.AUTH.INGRESS",
            };
            (kind, "adding", *egress, (Kind::SecurityGroup, group))
        }
        SecurityWork::Revoke { rule, egress } => {
            let kind = match egress {
                true => "SG.REVOKE.EGRESS",
                false => "SG.REVOKE.INGRESS",
            };
            (kind, "revoking", *egress, (Kind::SecurityRule, rule))
        }
    };
    let doing = format!("{doing} {} rule", direction(egress));
    let subject = Subject {
        kind: "SecurityGroup",
        id: Some(id.clone()),
        name: None,
        account: world.owner(of, id).map(ToOwned::to_owned),
    };
    all(kind, doing.clone(), doing, subject)
}
