//! The world at a glance, for people: what `GET /sim/state` shows.

use serde_json::{Value, json};

use super::world::{AddressState, Vm, World};

/// VMs, addresses, rules and jobs, by name.
pub(super) fn overview(world: &World) -> Value {
    json!({
        "now": world.now().to_string(),
        "profile": world.profile.to_string(),
        "totals": world.totals,
        "vpcs": world.vpcs.values().map(|vpc| json!({"id": vpc.id, "name": vpc.name, "cidr": vpc.cidr})).collect::<Vec<_>>(),
        "tiers": world.networks.values().map(|tier| json!({
            "id": tier.id,
            "name": tier.name,
            "cidr": tier.cidr,
            "state": tier.state,
            "acl": tier.acl.as_ref().and_then(|id| world.acl_lists.get(id)).map(|list| &list.name),
        })).collect::<Vec<_>>(),
        "vms": vms(world),
        "addresses": addresses(world),
        "rules": rules(world),
        "jobs": world.pending().into_iter().map(|job| json!({
            "id": job.id, "command": job.command, "instance": job.instance,
        })).collect::<Vec<_>>(),
    })
}

fn vms(world: &World) -> Vec<Value> {
    let mut vms: Vec<&Vm> = world.vms.values().collect();
    vms.sort_by_key(|vm| vm.number);
    vms.into_iter()
        .map(|vm| {
            json!({
                "id": vm.id,
                "name": vm.name,
                "state": vm.state,
                "guest": vm.guest,
                "ip": vm.ip(),
                "public": world.address_of(&vm.id).map(|address| address.ip),
                "images": vm.images,
                "details": vm.details,
            })
        })
        .collect()
}

fn addresses(world: &World) -> Vec<Value> {
    let held = world
        .addresses
        .values()
        .filter(|row| row.state != AddressState::Free);
    held.map(|row| {
        let vm = row.static_nat.as_ref().and_then(|nat| world.vms.get(&nat.vm));
        json!({
            "id": row.id,
            "ip": row.ip,
            "state": row.state,
            "sourcenat": row.source_nat,
            "vm": vm.map(|vm| &vm.name),
            "tags": world.tags_of(&row.id).map(|tag| json!([tag.key, tag.value])).collect::<Vec<_>>(),
        })
    })
    .collect()
}

fn rules(world: &World) -> Vec<Value> {
    let own = world.acl_lists.values().filter(|list| list.vpc.is_some());
    own.map(|list| {
        let rules: Vec<Value> = world
            .rules_of(&list.id)
            .into_iter()
            .map(|rule| {
                json!({
                    "id": rule.id,
                    "number": rule.number,
                    "protocol": rule.protocol,
                    "ports": [rule.start_port, rule.end_port],
                    "cidr": rule.cidr_list,
                    "action": rule.action,
                    "reason": rule.reason,
                })
            })
            .collect();
        json!({"list": list.name, "id": list.id, "rules": rules})
    })
    .collect()
}
