//! Load-balancer rules, and the policies of them that this cloud keeps none of.

use serde_json::json;

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, class, job, sync};
use super::rule::{
    Claim, Purpose, bind, check_protocol, check_service, cidrs, network_for, open_firewall,
    opens_firewall, own_address, port, refuse_clash,
};
use crate::sim::effects::rule::{Change, RuleWork};
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::view::rule as view;
use crate::sim::world::{Address, Kind, LoadBalancer, RuleState, Uuid};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    job(
        "createLoadBalancerRule",
        "algorithm! name! privateport!:integer publicport!:integer publicipid:uuid zoneid:uuid \
         networkid:uuid protocol cidrlist:list openfirewall:boolean description account \
         domainid:uuid fordisplay:boolean",
        create,
        class(
            "loadbalancer",
            "CreateLoadBalancerRuleCmd",
            "LoadBalancerRule",
        ),
    ),
    sync(
        "listLoadBalancerRules",
        "id:uuid name publicipid:uuid virtualmachineid:uuid zoneid:uuid networkid:uuid \
         fordisplay:boolean tags:map @owned",
        list,
    ),
    sync(
        "listLoadBalancerRuleInstances",
        "id!:uuid applied:boolean lbvmips:boolean",
        instances,
    ),
    job(
        "updateLoadBalancerRule",
        "id!:uuid name description algorithm protocol fordisplay:boolean",
        update,
        class(
            "loadbalancer",
            "UpdateLoadBalancerRuleCmd",
            "LoadBalancerRule",
        ),
    ),
    job(
        "deleteLoadBalancerRule",
        "id!:uuid",
        delete,
        class(
            "loadbalancer",
            "DeleteLoadBalancerRuleCmd",
            "LoadBalancerRule",
        ),
    ),
    job(
        "assignToLoadBalancerRule",
        "id!:uuid virtualmachineids:list vmidipmap:map",
        assign,
        class(
            "loadbalancer",
            "AssignToLoadBalancerRuleCmd",
            "LoadBalancerRule",
        ),
    ),
    job(
        "removeFromLoadBalancerRule",
        "id!:uuid virtualmachineids:list vmidipmap:map",
        remove,
        class(
            "loadbalancer",
            "RemoveFromLoadBalancerRuleCmd",
            "LoadBalancerRule",
        ),
    ),
    sync(
        "listLBStickinessPolicies",
        "lbruleid:uuid id:uuid fordisplay:boolean",
        stickiness,
    ),
    sync(
        "listLBHealthCheckPolicies",
        "lbruleid:uuid id:uuid fordisplay:boolean",
        health_checks,
    ),
];

/// The address of a new rule, which one way or the other has to be named.
fn address(call: &Call<'_>) -> Result<Address, ApiError> {
    if call.text("publicipid").is_none() {
        let text = "Unable to create load balance rule; can't find/allocate source IP";
        return Err(ApiError::value(text));
    }
    let address = own_address(call, "publicipid")?;
    if address.static_nat.is_some() {
        let text = format!("Can't do load balance on ip address: {}", address.ip);
        return Err(ApiError::conflict(text));
    }
    Ok(address)
}

fn algorithm(call: &Call<'_>) -> Result<Option<String>, ApiError> {
    let Some(name) = call.text("algorithm") else {
        return Ok(None);
    };
    let known = ["source", "roundrobin", "leastconn"];
    if known.contains(&name) {
        Ok(Some(name.to_owned()))
    } else {
        Err(ApiError::value(format!("Invalid algorithm: {name}")))
    }
}

/// The protocol of the balancer, which for the router is `udp` or one of those on top of TCP.
fn protocol(call: &Call<'_>) -> Result<Option<String>, ApiError> {
    let Some(name) = call.text("protocol").map(str::to_lowercase) else {
        return Ok(None);
    };
    check_protocol(&name, &["tcp", "udp", "tcp-proxy", "ssl"])?;
    Ok(Some(name))
}

/// `createLoadBalancerRule`. In a VPC it binds the address to the tier.
fn create(call: &mut Call<'_>) -> Answered {
    let name = call.required("name")?;
    let address = address(call)?;
    let sources = cidrs(call, "cidrlist")?;
    let opens = opens_firewall(call, &address)?;
    let network = network_for(call, &address, "load balancer rule")?;
    check_service(call, &address, &network, "Lb")?;
    let algorithm = algorithm(call)?;
    let public = port(call, "publicport", "publicPort")?;
    let private = port(call, "privateport", "privatePort")?;
    let (Some(public_port), Some(private_port), Some(algorithm)) = (public, private, algorithm)
    else {
        return Err(ApiError::missing(call.command.name, "publicport"));
    };
    let protocol = protocol(call)?.unwrap_or_else(|| "tcp".to_owned());
    let claim = Claim {
        purpose: Purpose::LoadBalancing,
        network: &network.id,
        protocol: if protocol == "udp" { "udp" } else { "tcp" },
        ports: Some((public_port, public_port)),
        icmp: None,
        sources: &[],
        destinations: &[],
    };
    refuse_clash(call, Some(&address.id), &claim)?;
    let rule = LoadBalancer {
        id: call.world.fresh_id(),
        number: call.world.next_number(Kind::FirewallRule),
        name,
        description: call.owned_text("description"),
        address: address.id.clone(),
        network: network.id.clone(),
        algorithm,
        protocol: protocol.clone(),
        public_port,
        private_port,
        sources: (!sources.is_empty()).then(|| sources.join(" ")),
        members: Vec::new(),
        state: RuleState::Add,
    };
    let id = rule.id.clone();
    if opens {
        open_firewall(call, &id, &address.id, &claim);
    }
    bind(call, &address, &network);
    call.world.load_balancers.insert(id.clone(), rule);
    let work = Work::Rule(RuleWork::Balance { rule: id.clone() });
    call.submit(work, None, Some(id))
}

/// `listLoadBalancerRules`, whose rows have another name than the one that a job answers.
fn list(call: &mut Call<'_>) -> Answered {
    call.id("id", Kind::LoadBalancer)?;
    call.id("publicipid", Kind::Address)?;
    call.id("networkid", Kind::Network)?;
    let vm = call.id("virtualmachineid", Kind::Vm)?;
    let leads_to = |rule: &LoadBalancer| {
        vm.as_ref()
            .is_none_or(|vm| rule.members.iter().any(|member| member.vm == *vm))
    };
    let owner = |rule: &LoadBalancer| call.world.owner(Kind::LoadBalancer, &rule.id);
    let mut rules: Vec<&LoadBalancer> = call
        .world
        .load_balancers
        .values()
        .filter(|rule| call.sees(owner(rule)) && call.tagged(&rule.id) && leads_to(rule))
        .filter(|rule| call.wants("id", Some(&rule.id)))
        .filter(|rule| call.wants("name", Some(&rule.name)))
        .filter(|rule| call.holds("keyword", &rule.name))
        .filter(|rule| call.wants("publicipid", Some(&rule.address)))
        .filter(|rule| call.wants("networkid", Some(&rule.network)))
        .filter(|_| call.wants("zoneid", Some(call.world.catalogue.zone_id())))
        .collect();
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.number));
    let viewer = call.viewer();
    call.page("loadbalancerrule", &rules, |rule| {
        view::balancer(call.world, &viewer, rule)
    })
}

fn own(call: &Call<'_>, name: &str) -> Result<LoadBalancer, ApiError> {
    let id = call.own(name, Kind::LoadBalancer)?;
    let rule = call.world.load_balancers.get(&id).cloned();
    rule.ok_or_else(|| ApiError::value("Unable to find the load balancer rule"))
}

/// `listLoadBalancerRuleInstances`: those that the rule spreads to; none are merely on their way.
fn instances(call: &mut Call<'_>) -> Answered {
    let rule = own(call, "id")?;
    let with_ips = call.flag("lbvmips") == Some(true);
    let applied = call.flag("applied") != Some(false);
    let rows = if applied {
        view::instances(call.world, &call.viewer(), &rule, with_ips)
    } else {
        Vec::new()
    };
    let rows: Vec<_> = rows
        .into_iter()
        .filter_map(|row| row.as_object().cloned())
        .collect();
    let key = if with_ips {
        "lbrulevmidip"
    } else {
        "loadbalancerruleinstance"
    };
    call.page(key, &rows, Clone::clone)
}

/// `updateLoadBalancerRule`.
fn update(call: &mut Call<'_>) -> Answered {
    let rule = own(call, "id")?.id;
    let change = Change {
        name: call.owned_text("name"),
        description: call.owned_text("description"),
        algorithm: algorithm(call)?,
        protocol: protocol(call)?,
    };
    call.submit(Work::Rule(RuleWork::Rebalance { rule, change }), None, None)
}

/// `deleteLoadBalancerRule`.
fn delete(call: &mut Call<'_>) -> Answered {
    let rule = own(call, "id")?.id;
    if let Some(rule) = call.world.load_balancers.get_mut(&rule) {
        rule.state = RuleState::Deleting;
    }
    call.submit(Work::Rule(RuleWork::EndBalance { rule }), None, None)
}

/// The machines that a request names, each with an address or with that of its card.
fn targets(call: &Call<'_>) -> Result<Vec<(Uuid, Option<String>)>, ApiError> {
    let mut targets: Vec<(Uuid, Option<String>)> = Vec::new();
    for entry in call.params.entries("vmidipmap") {
        let Some(id) = entry.get("vmid") else {
            continue;
        };
        if !call.world.knows(Kind::Vm, id) {
            return Err(ApiError::unknown_id(call.command.name, "vmidipmap", id));
        }
        targets.push((id.clone(), entry.get("vmip").cloned()));
    }
    for id in call.ids("virtualmachineids", Kind::Vm)? {
        if targets.iter().all(|(known, _)| *known != id) {
            targets.push((id, None));
        }
    }
    Ok(targets)
}

/// `assignToLoadBalancerRule`. What is wrong with a machine is found out by the job.
fn assign(call: &mut Call<'_>) -> Answered {
    let rule = own(call, "id")?.id;
    let targets = targets(call)?;
    let work = Work::Rule(RuleWork::Assign { rule, targets });
    call.submit(work, None, None)
}

/// `removeFromLoadBalancerRule`.
fn remove(call: &mut Call<'_>) -> Answered {
    let rule = own(call, "id")?.id;
    let targets = targets(call)?;
    let work = Work::Rule(RuleWork::Unassign { rule, targets });
    call.submit(work, None, None)
}

/// `listLBStickinessPolicies`: a rule that has none is there all the same.
fn stickiness(call: &mut Call<'_>) -> Answered {
    policies(call, "stickinesspolicies", "stickinesspolicy")
}

/// `listLBHealthCheckPolicies`.
fn health_checks(call: &mut Call<'_>) -> Answered {
    policies(call, "healthcheckpolicies", "healthcheckpolicy")
}

fn policies(call: &Call<'_>, key: &'static str, inner: &'static str) -> Answered {
    if call.text("lbruleid").is_none() {
        let text = "load balancer id can't be null";
        return Err(ApiError::value(text));
    }
    let rule = own(call, "lbruleid")?;
    let mut row = view::policy_owner(call.world, &rule);
    row.insert(inner.to_owned(), json!([]));
    Ok(Answer::List {
        key,
        count: 1,
        rows: vec![row.into()],
    })
}
