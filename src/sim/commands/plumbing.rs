//! Parts of networks that clients ask for and that this cloud has none of: gateways, routes, VPNs
//! and permissions.

use super::call::{Answered, Call};
use super::catalogue::nothing;
use super::declare::{Command, sync};
use crate::sim::reply::ApiError;
use crate::sim::world::{GuestType, Kind};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    sync(
        "listPrivateGateways",
        "id:uuid ipaddress vlan vpcid:uuid state @owned",
        of_vpcs,
    ),
    sync(
        "listStaticRoutes",
        "id:uuid vpcid:uuid gatewayid:uuid state tags:map @owned",
        of_vpcs,
    ),
    sync(
        "listVpnGateways",
        "id:uuid vpcid:uuid fordisplay:boolean @owned",
        of_vpcs,
    ),
    sync(
        "listVpnConnections",
        "id:uuid vpcid:uuid fordisplay:boolean @owned",
        of_vpcs,
    ),
    sync("listVpnCustomerGateways", "id:uuid @owned", nothing),
    sync(
        "listRemoteAccessVpns",
        "id:uuid networkid:uuid publicipid:uuid fordisplay:boolean @owned",
        nothing,
    ),
    sync("listVpnUsers", "id:uuid username @owned", nothing),
    sync("listNetworkPermissions", "networkid!:uuid", permissions),
    sync(
        "listIpForwardingRules",
        "id:uuid ipaddressid:uuid virtualmachineid:uuid @owned",
        nothing,
    ),
];

/// A list of things that a VPC could have.
fn of_vpcs(call: &mut Call<'_>) -> Answered {
    call.id("vpcid", Kind::Vpc)?;
    nothing(call)
}

/// `listNetworkPermissions`: nobody shares a network here, and only isolated and L2 ones could be.
fn permissions(call: &mut Call<'_>) -> Answered {
    let id = call.own("networkid", Kind::Network)?;
    let network = call.world.networks.get(&id);
    if network.is_some_and(|network| network.guest_type == GuestType::Shared) {
        let text = "Network permissions can only be listed on Account owned networks";
        return Err(ApiError::value(text));
    }
    nothing(call)
}
