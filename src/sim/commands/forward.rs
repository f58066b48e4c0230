//! Port-forwarding rules.

use std::net::Ipv4Addr;

use super::call::{Answered, Call};
use super::declare::{Command, class, job, sync};
use super::rule::{
    Claim, Purpose, bind, check_protocol, check_service, cidrs, network_for, open_firewall,
    opens_firewall, own_address, port, ports, refuse_clash, refuse_strangers,
};
use crate::sim::effects::rule::RuleWork;
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::view::rule as view;
use crate::sim::world::{Address, Kind, Network, PortForwarding, RuleState, Uuid};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    job(
        "createPortForwardingRule",
        "ipaddressid!:uuid privateport!:integer protocol! publicport!:integer \
         virtualmachineid!:uuid privateendport:integer publicendport:integer networkid:uuid \
         vmguestip cidrlist:list openfirewall:boolean fordisplay:boolean",
        create,
        class(
            "firewall",
            "CreatePortForwardingRuleCmd",
            "PortForwardingRule",
        ),
    ),
    sync(
        "listPortForwardingRules",
        "id:uuid ipaddressid:uuid networkid:uuid fordisplay:boolean tags:map @owned",
        list,
    ),
    job(
        "updatePortForwardingRule",
        "id!:uuid privateport:integer privateendport:integer virtualmachineid:uuid vmguestip \
         fordisplay:boolean",
        update,
        class(
            "firewall",
            "UpdatePortForwardingRuleCmd",
            "PortForwardingRule",
        ),
    ),
    job(
        "deletePortForwardingRule",
        "id!:uuid",
        delete,
        class(
            "firewall",
            "DeletePortForwardingRuleCmd",
            "PortForwardingRule",
        ),
    ),
];

/// A first and a last port.
type Ports = (u16, u16);

/// The ports of both sides: ranges are equal, single ports need not be.
fn both_sides(call: &Call<'_>) -> Result<(Ports, Ports), ApiError> {
    let public = ports(call, "publicport", "publicendport")?;
    let private = ports(call, "privateport", "privateendport")?;
    let (Some(public), Some(private)) = (public, private) else {
        return Err(ApiError::missing(call.command.name, "publicport"));
    };
    if public.1 - public.0 != private.1 - private.0 {
        let text = "Source port and destination port ranges should be of equal sizes.";
        return Err(ApiError::value(text));
    }
    if public.0 != public.1 && public.0 != private.0 {
        let text = "Private port start should be equal to public port start";
        return Err(ApiError::value(text));
    }
    Ok((public, private))
}

/// The address of a machine in a network that a rule is to lead to.
fn guest_ip(call: &Call<'_>, vm: &str, address: &str, network: &str) -> Result<Ipv4Addr, ApiError> {
    let Some(vm) = call.world.vms.get(vm).filter(|vm| !vm.state.is_gone()) else {
        return Err(ApiError::value(format!("Invalid user vm: {vm}")));
    };
    if let Some(address) = call.world.addresses.get(address) {
        refuse_strangers(call, address, vm)?;
    }
    let nic = vm.nics.iter().find(|nic| nic.network == network);
    let Some(nic) = nic.filter(|nic| !nic.ip.is_unspecified()) else {
        let text = "Vm doesn't belong to network associated with ipAddress";
        return Err(ApiError::value(text));
    };
    let Some(wanted) = call.text("vmguestip") else {
        return Ok(nic.ip);
    };
    let wanted = wanted.parse().ok().filter(|ip| nic.has_ip(*ip));
    wanted.ok_or_else(|| ApiError::value("IP Address is not in the VM nic's network "))
}

/// `createPortForwardingRule`. In a VPC it binds the address to the tier.
fn create(call: &mut Call<'_>) -> Answered {
    let address = own_address(call, "ipaddressid")?;
    let vm = call.own_vm("virtualmachineid")?;
    let protocol = call.required("protocol")?.to_lowercase();
    let sources = cidrs(call, "cidrlist")?;
    if !sources.is_empty() && address.vpc.is_none() {
        let text = "Parameter cidrList is deprecated; if you need to open firewall rule for the specific cidr, please refer to createFirewallRule command";
        return Err(ApiError::value(text));
    }
    let opens = opens_firewall(call, &address)?;
    let network = usable_network(call, &address)?;
    let (public, private) = both_sides(call)?;
    check_protocol(&protocol, &["tcp", "udp"])?;
    let guest_ip = guest_ip(call, &vm, &address.id, &network.id)?;
    let claim = Claim {
        purpose: Purpose::PortForwarding,
        network: &network.id,
        protocol: &protocol,
        ports: Some(public),
        icmp: None,
        sources: &sources,
        destinations: &[],
    };
    refuse_clash(call, Some(&address.id), &claim)?;
    let rule = PortForwarding {
        id: call.world.fresh_id(),
        number: call.world.next_number(Kind::FirewallRule),
        address: address.id.clone(),
        network: network.id.clone(),
        vm,
        guest_ip,
        protocol: protocol.clone(),
        public,
        private,
        sources: sources.clone(),
        state: RuleState::Add,
    };
    let id = rule.id.clone();
    if opens {
        open_firewall(call, &id, &address.id, &claim);
    }
    bind(call, &address, &network);
    call.world.port_forwardings.insert(id.clone(), rule);
    let work = Work::Rule(RuleWork::Forward { rule: id.clone() });
    call.submit(work, None, Some(id))
}

fn usable_network(call: &Call<'_>, address: &Address) -> Result<Network, ApiError> {
    if address.static_nat.is_some() {
        return Err(ApiError::value(format!(
            "Unable to create port forwarding rule; ip id={} has static nat enabled",
            address.number
        )));
    }
    let network = network_for(call, address, "port forwarding rule")?;
    check_service(call, address, &network, "PortForwarding")?;
    Ok(network)
}

/// `listPortForwardingRules`.
fn list(call: &mut Call<'_>) -> Answered {
    call.id("id", Kind::PortForwarding)?;
    call.id("ipaddressid", Kind::Address)?;
    call.id("networkid", Kind::Network)?;
    let owner = |rule: &PortForwarding| call.world.owner(Kind::PortForwarding, &rule.id);
    let mut rules: Vec<&PortForwarding> = call
        .world
        .port_forwardings
        .values()
        .filter(|rule| call.sees(owner(rule)) && call.tagged(&rule.id))
        .filter(|rule| call.wants("id", Some(&rule.id)))
        .filter(|rule| call.wants("ipaddressid", Some(&rule.address)))
        .filter(|rule| call.wants("networkid", Some(&rule.network)))
        .collect();
    rules.sort_by_key(|rule| std::cmp::Reverse(rule.number));
    let viewer = call.viewer();
    call.page("portforwardingrule", &rules, |rule| {
        view::forwarding(call.world, &viewer, rule)
    })
}

fn own(call: &Call<'_>) -> Result<PortForwarding, ApiError> {
    let id = call.own("id", Kind::PortForwarding)?;
    let rule = call.world.port_forwardings.get(&id).cloned();
    rule.ok_or_else(|| ApiError::value("Unable to find the rule"))
}

/// `updatePortForwardingRule`: other ports of the machine, or another machine.
fn update(call: &mut Call<'_>) -> Answered {
    let rule = own(call)?;
    let private = match port(call, "privateport", "privatePort")? {
        None => rule.private,
        Some(first) => {
            let last = port(call, "privateendport", "privateEndPort")?;
            (first, last.unwrap_or(first))
        }
    };
    let width = |(first, last): (u16, u16)| last.checked_sub(first);
    if width(private) != width(rule.public) {
        let text =
            "Unable to update the private port of port forwarding rule as  the rule has port range";
        return Err(ApiError::value(text));
    }
    let vm = match call.text("virtualmachineid") {
        Some(_) => call.own_vm("virtualmachineid")?,
        None => rule.vm.clone(),
    };
    let same = vm == rule.vm && call.text("vmguestip").is_none();
    let guest_ip = if same {
        None
    } else {
        Some(guest_ip(call, &vm, &rule.address, &rule.network)?)
    };
    let work = RuleWork::Redirect {
        rule: rule.id,
        vm,
        guest_ip,
        private,
    };
    call.submit(Work::Rule(work), None, None)
}

/// `deletePortForwardingRule`.
fn delete(call: &mut Call<'_>) -> Answered {
    let rule: Uuid = own(call)?.id;
    if let Some(rule) = call.world.port_forwardings.get_mut(&rule) {
        rule.state = RuleState::Deleting;
    }
    call.submit(Work::Rule(RuleWork::EndForward { rule }), None, None)
}
