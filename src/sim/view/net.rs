//! The rows of VPCs, networks, ACL lists, rules and public addresses.

use serde_json::{Value, json};

use super::{RowOf, Viewer, date, short_tags};
use crate::sim::world::catalogue::{Catalogue, Row};
use crate::sim::world::index::NetworkKey;
use crate::sim::world::{AclItem, AclList, Address, GuestType, Network, Vm, Vpc, World};

/// A VPC.
pub(crate) fn vpc(world: &World, viewer: &Viewer, vpc: &Vpc) -> Row {
    let tiers = world.networks.under(&NetworkKey::Vpc(vpc.id.clone()));
    let tiers: Vec<Value> = tiers
        .into_iter()
        .map(|tier| network(world, viewer, tier).into())
        .collect();
    let offering = Catalogue::find(&world.catalogue.vpc_offerings, &vpc.offering);
    let of = |member: &str| offering.and_then(|row| row.get(member)).cloned();
    RowOf::new()
        .set("id", vpc.id.as_str())
        .set("name", vpc.name.as_str())
        .set("displaytext", vpc.display_text.as_str())
        .set("state", "Enabled")
        .zone(world)
        .set("service", of("service"))
        .set("cidr", vpc.cidr.as_str())
        .set("vpcofferingid", vpc.offering.as_str())
        .set("vpcofferingname", of("name"))
        .set("created", date(vpc.created))
        .owner(world, &vpc.account)
        .set("network", tiers)
        .set("restartrequired", false)
        .set("networkdomain", vpc.domain.as_str())
        .set("tags", short_tags(world, &vpc.id))
        .set_if(viewer.admin, "fordisplay", true)
        .set("distributedvpcrouter", false)
        .set("regionlevelvpc", false)
        .set(
            "redundantvpcrouter",
            of("name").is_some_and(|name| name == "Redundant VPC offering"),
        )
        .set("publicmtu", 1500)
        .set("hasannotations", false)
        .done()
}

fn vpc_members(world: &World, vpc: Option<&String>) -> Row {
    let name = vpc
        .and_then(|id| world.vpcs.get(id))
        .map(|vpc| vpc.name.clone());
    RowOf::new()
        .set("vpcid", vpc.cloned())
        .set("vpcname", name)
        .done()
}

/// A network.
pub(crate) fn network(world: &World, viewer: &Viewer, network: &Network) -> Row {
    let list = network.acl.as_ref().and_then(|id| world.acl_lists.get(id));
    let offering = Catalogue::find(&world.catalogue.network_offerings, &network.offering);
    let of = |member: &str| offering.and_then(|row| row.get(member)).cloned();
    let firewalled = network.vpc.is_none() && network.guest_type == GuestType::Isolated;
    let place = RowOf::new()
        .set("networkdomain", network.domain.as_str())
        .set("physicalnetworkid", world.ids.physical_network.as_str())
        .set("restartrequired", false)
        .set("specifyvlan", of("specifyvlan"))
        .set("specifyipranges", of("specifyipranges"))
        .with(vpc_members(world, network.vpc.as_ref()))
        .set("canusefordeploy", true)
        .set("ispersistent", of("ispersistent"))
        .set("tags", short_tags(world, &network.id))
        .set_if(viewer.admin, "details", json!({}))
        .set_if(viewer.admin, "displaynetwork", true)
        .set("aclid", list.map(|list| list.id.clone()))
        .set("aclname", list.map(|list| list.name.clone()));
    let counters = place
        .set("strechedl2subnet", false)
        .set("redundantrouter", false)
        .set("supportsvmautoscaling", true)
        .set("created", date(network.created))
        .set("receivedbytes", 0)
        .set("sentbytes", 0)
        .set_if(firewalled, "egressdefaultpolicy", of("egressdefaultpolicy"))
        .set("publicmtu", 1500)
        .set("privatemtu", 1500)
        .set("hasannotations", false);
    network_head(world, network).with(counters.done()).done()
}

fn network_head(world: &World, network: &Network) -> RowOf {
    let offering = Catalogue::find(&world.catalogue.network_offerings, &network.offering);
    let of = |member: &str| offering.and_then(|row| row.get(member)).cloned();
    let routed = network.guest_type != GuestType::L2;
    let shared = network.guest_type == GuestType::Shared;
    RowOf::new()
        .set("id", network.id.as_str())
        .set("name", network.name.as_str())
        .set("displaytext", network.display_text.as_str())
        .set("broadcastdomaintype", "Vlan")
        .set("traffictype", "Guest")
        .set_if(routed, "gateway", network.gateway.to_string())
        .set_if(routed, "netmask", network.netmask.to_string())
        .set_if(routed, "cidr", network.cidr.as_str())
        .zone(world)
        .set("networkofferingid", network.offering.as_str())
        .set("networkofferingname", of("name"))
        .set("networkofferingdisplaytext", of("displaytext"))
        .set("networkofferingconservemode", of("conservemode"))
        .set("networkofferingavailability", of("availability"))
        .set("issystem", false)
        .set("state", format!("{:?}", network.state))
        .set("related", network.id.as_str())
        .set("dns1", world.catalogue.zone.get("dns1").cloned())
        .set("type", format!("{:?}", network.guest_type))
        .set("acltype", if shared { "Domain" } else { "Account" })
        .set_if(shared, "subdomainaccess", true)
        .owner(world, &network.account)
        .set("service", services(world, network, of("name").as_ref()))
}

/// The services of a network, with their capabilities; an offering that was not recorded shows
/// those that it has as the recorded one of its kind shows them.
fn services(world: &World, network: &Network, offering: Option<&Value>) -> Option<Value> {
    let known = &world.catalogue.network_services;
    let usual = if network.vpc.is_some() {
        "DefaultIsolatedNetworkOfferingForVpcNetworks"
    } else {
        "DefaultIsolatedNetworkOfferingWithSourceNatService"
    };
    let name = offering.and_then(Value::as_str).unwrap_or(usual);
    known.get(name).cloned().or_else(|| {
        let all = known.get(usual)?.as_array()?.iter();
        let own = |service: &&Value| world.offers(network, service["name"].as_str().unwrap_or(""));
        Some(all.filter(own).cloned().collect())
    })
}

/// An ACL list.
pub(crate) fn acl_list(world: &World, viewer: &Viewer, list: &AclList) -> Row {
    RowOf::new()
        .set("id", list.id.as_str())
        .set("name", list.name.as_str())
        .set("description", list.description.as_str())
        .with(vpc_members(world, list.vpc.as_ref()))
        .set_if(viewer.admin, "fordisplay", true)
        .done()
}

/// A rule of an ACL list. Its ports are text.
pub(crate) fn acl_item(world: &World, viewer: &Viewer, item: &AclItem) -> Row {
    let list = world.acl_lists.get(&item.list);
    RowOf::new()
        .set("id", item.id.as_str())
        .set("protocol", item.protocol.as_str())
        .set("startport", item.start_port.map(|port| port.to_string()))
        .set("endport", item.end_port.map(|port| port.to_string()))
        .set("traffictype", item.traffic.as_str())
        .set("state", if item.active { "Active" } else { "Add" })
        .set("cidrlist", item.cidr_list.as_str())
        .set("icmptype", item.icmp_type)
        .set("icmpcode", item.icmp_code)
        .set("tags", short_tags(world, &item.id))
        .set("aclid", item.list.as_str())
        .set("aclname", list.map(|list| list.name.clone()))
        .set("number", item.number)
        .set("action", item.action.as_str())
        .set("reason", item.reason.clone())
        .set_if(viewer.admin, "fordisplay", true)
        .done()
}

/// A public address.
pub(crate) fn address(world: &World, viewer: &Viewer, address: &Address) -> Row {
    let held = address
        .account
        .as_ref()
        .map(|account| RowOf::new().owner(world, account).done());
    RowOf::new()
        .set("id", address.id.as_str())
        .set("ipaddress", address.ip.to_string())
        .set("allocated", address.allocated.map(date))
        .zone(world)
        .set("issourcenat", address.source_nat)
        .with(held.unwrap_or_default())
        .set("forvirtualnetwork", true)
        .set_if(viewer.admin, "vlanid", world.ids.vlan.as_str())
        .set_if(viewer.admin, "vlanname", "vlan://50")
        .set("isstaticnat", address.static_nat.is_some())
        .set("issystem", address.system.is_some())
        .with(behind(world, address))
        .set("networkid", world.ids.public_network.as_str())
        .set("state", address.state.name())
        .set("physicalnetworkid", world.ids.physical_network.as_str())
        .with(vpc_members(world, address.vpc.as_ref()))
        .set_if(address.system.is_some(), "purpose", "Lb")
        .set("tags", short_tags(world, &address.id))
        .set("isportable", false)
        .set_if(viewer.admin, "fordisplay", true)
        .set("hasrules", world.has_rules(&address.id))
        .set("forsystemvms", false)
        .set("forprovider", false)
        .set("hasannotations", false)
        .done()
}

/// The machine and the network behind an address.
fn behind(world: &World, address: &Address) -> Row {
    let bound = address
        .network
        .as_ref()
        .and_then(|id| world.networks.get(id));
    let bound_row = RowOf::new()
        .set(
            "associatednetworkid",
            bound.map(|network| network.id.clone()),
        )
        .set(
            "associatednetworkname",
            bound.map(|network| network.name.clone()),
        );
    if let Some(machine) = &address.system {
        return bound_row
            .set("virtualmachineid", machine.id.as_str())
            .set("virtualmachinetype", machine.kind.as_str())
            .set("virtualmachinename", machine.name.as_str())
            .done();
    }
    let Some(nat) = &address.static_nat else {
        return bound_row.done();
    };
    let vm = world.vms.get(&nat.vm);
    let shown = vm.map(Vm::shown_name);
    bound_row
        .set("virtualmachineid", nat.vm.as_str())
        .set("virtualmachinetype", "User")
        .set("vmipaddress", nat.ip.to_string())
        .set("virtualmachinename", vm.map(|vm| vm.name.clone()))
        .set("virtualmachinedisplayname", shown)
        .done()
}

/// The limit of an account on one resource type.
pub(crate) fn limit(world: &World, account: &str, number: usize, name: &str, max: i64) -> Row {
    RowOf::new()
        .owner(world, account)
        .set("resourcetype", number.to_string())
        .set("resourcetypename", name)
        .set("max", max)
        .done()
}
