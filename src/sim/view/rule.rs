//! Rows of the rules of public addresses.

use serde_json::{Value, json};

use super::{RowOf, Viewer, short_tags, vm as vm_view};
use crate::sim::world::catalogue::Row;
use crate::sim::world::{FirewallRule, Kind, LoadBalancer, PortForwarding, RuleState, Vm, World};

fn state(state: RuleState) -> String {
    format!("{state:?}")
}

fn ip_of(world: &World, address: &str) -> Option<String> {
    let address = world.addresses.get(address);
    address.map(|address| address.ip.to_string())
}

/// A firewall or egress rule. Its ports are numbers.
pub(crate) fn firewall(world: &World, viewer: &Viewer, rule: &FirewallRule) -> Row {
    let address = rule.address.as_deref();
    RowOf::new()
        .set("id", rule.id.as_str())
        .set("protocol", rule.protocol.as_str())
        .set("startport", rule.ports.map(|ports| ports.0))
        .set("endport", rule.ports.map(|ports| ports.1))
        .set("ipaddressid", address)
        .set("networkid", rule.network.as_str())
        .set("ipaddress", address.and_then(|id| ip_of(world, id)))
        .set("state", state(rule.state))
        .set("cidrlist", rule.sources.join(","))
        .set("icmptype", rule.icmp_type)
        .set("icmpcode", rule.icmp_code)
        .set("tags", short_tags(world, &rule.id))
        .set_if(viewer.admin, "fordisplay", true)
        .set(
            "traffictype",
            if rule.is_egress() {
                "Egress"
            } else {
                "Ingress"
            },
        )
        .set("destcidrlist", rule.destinations.join(","))
        .done()
}

/// A port-forwarding rule. Its ports are text.
pub(crate) fn forwarding(world: &World, viewer: &Viewer, rule: &PortForwarding) -> Row {
    let vm = world.vms.get(&rule.vm);
    let shown = vm.map(Vm::shown_name);
    let network = world.networks.get(&rule.network);
    RowOf::new()
        .set("id", rule.id.as_str())
        .set("privateport", rule.private.0.to_string())
        .set("privateendport", rule.private.1.to_string())
        .set("protocol", rule.protocol.as_str())
        .set("publicport", rule.public.0.to_string())
        .set("publicendport", rule.public.1.to_string())
        .set("virtualmachineid", rule.vm.as_str())
        .set("virtualmachinename", vm.map(|vm| vm.name.clone()))
        .set("virtualmachinedisplayname", shown)
        .set("ipaddressid", rule.address.as_str())
        .set("ipaddress", ip_of(world, &rule.address))
        .set("state", state(rule.state))
        .set("cidrlist", rule.sources.join(","))
        .set("tags", short_tags(world, &rule.id))
        .set("vmguestip", rule.guest_ip.to_string())
        .set("networkid", rule.network.as_str())
        .set("networkname", network.map(|network| network.name.clone()))
        .set_if(viewer.admin, "fordisplay", true)
        .done()
}

/// A load-balancer rule. Its ports are text.
pub(crate) fn balancer(world: &World, viewer: &Viewer, rule: &LoadBalancer) -> Row {
    let owner = world.owner(Kind::LoadBalancer, &rule.id);
    RowOf::new()
        .set("id", rule.id.as_str())
        .set("name", rule.name.as_str())
        .set("description", rule.description.clone())
        .set("publicipid", rule.address.as_str())
        .set("publicip", ip_of(world, &rule.address))
        .set("publicport", rule.public_port.to_string())
        .set("privateport", rule.private_port.to_string())
        .set("algorithm", rule.algorithm.as_str())
        .set("cidrlist", rule.sources.clone())
        .owner(world, owner.unwrap_or_default())
        .set("state", state(rule.state))
        .zone(world)
        .set("protocol", rule.protocol.as_str())
        .set("tags", short_tags(world, &rule.id))
        .set("networkid", rule.network.as_str())
        .set_if(viewer.admin, "fordisplay", true)
        .done()
}

/// The machines of a load-balancer rule: their rows, or these with the addresses that are used.
pub(crate) fn instances(
    world: &World,
    viewer: &Viewer,
    rule: &LoadBalancer,
    with_ips: bool,
) -> Vec<Value> {
    let mut seen: Vec<&str> = Vec::new();
    for member in &rule.members {
        if !seen.contains(&member.vm.as_str()) {
            seen.push(&member.vm);
        }
    }
    let rows = seen.into_iter().filter_map(|id| {
        let vm = world.vms.get(id)?;
        let row: Value = vm_view::row(world, viewer, vm, &vm_view::Shape::all()).into();
        let ips = rule.members.iter().filter(|member| member.vm == id);
        let ips: Vec<String> = ips.map(|member| member.ip.to_string()).collect();
        Some(if with_ips {
            json!({"loadbalancerruleinstance": row, "lbvmipaddresses": ips})
        } else {
            row
        })
    });
    rows.collect()
}

/// What a list of the policies of a load-balancer rule says before it says that there are none.
pub(crate) fn policy_owner(world: &World, rule: &LoadBalancer) -> Row {
    let owner = world.owner(Kind::LoadBalancer, &rule.id);
    RowOf::new()
        .set("lbruleid", rule.id.as_str())
        .set("name", rule.name.as_str())
        .owner(world, owner.unwrap_or_default())
        .zone(world)
        .done()
}
