//! Public addresses and static NAT.

use std::net::Ipv4Addr;

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, by_admin, class, job, sync};
use super::network::isolated_networks;
use super::rule::refuse_strangers;
use crate::sim::effects::network::{enable_nat as point, give};
use crate::sim::events::Subject;
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::view::{net, vm as vm_view};
use crate::sim::world::{
    Address, AddressState, Kind, StaticNat, Uuid, Vm, quoted_address, quoted_network,
};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    job(
        "associateIpAddress",
        "networkid:uuid vpcid:uuid zoneid:uuid ipaddress isportable:boolean \
         regionid:integer account domainid:uuid projectid:uuid fordisplay:boolean",
        associate,
        by_admin("address", "AssociateIPAddrCmd", "IpAddress"),
    ),
    sync(
        "listPublicIpAddresses",
        "id:uuid ipaddress zoneid:uuid vpcid:uuid associatednetworkid:uuid \
         networkid:uuid issourcenat:boolean isstaticnat:boolean state \
         allocatedonly:boolean forvirtualnetwork:boolean forloadbalancing:boolean \
         vlanid:uuid physicalnetworkid:uuid fordisplay:boolean tags:map @owned",
        list,
    ),
    job(
        "disassociateIpAddress",
        "id:uuid ipaddress",
        disassociate,
        class("address", "DisassociateIPAddrCmd", "IpAddress"),
    ),
    sync(
        "enableStaticNat",
        "ipaddressid!:uuid virtualmachineid!:uuid networkid:uuid vmguestip",
        enable_nat,
    ),
    job(
        "disableStaticNat",
        "ipaddressid!:uuid",
        disable_nat,
        class("nat", "DisableStaticNatCmd", ""),
    ),
];

/// The address that a request is to get: the one it names, or the first free one.
fn wanted(call: &Call<'_>) -> Result<Uuid, ApiError> {
    let Some(ip) = call.text("ipaddress") else {
        return call
            .world
            .free_address()
            .ok_or_else(|| ApiError::exhausted("Unable to find available public IP addresses"));
    };
    let found = call
        .world
        .find_address(ip)
        .filter(|row| row.state == AddressState::Free);
    found
        .map(|address| address.id.clone())
        .ok_or_else(|| ApiError::exhausted("Insufficient address capacity"))
}

/// `associateIpAddress`. Until its job ends the address is `Allocating`, which no list shows that
/// does not ask for it (`cloudstack-observed.md`, 1.15).
pub(crate) fn associate(call: &mut Call<'_>) -> Answered {
    let (vpc, network) = destination(call)?;
    act_for_owner(call, vpc.as_deref(), network.as_deref())?;
    call.within_limit("public_ip", 1)?;
    let address = match wanted(call) {
        Ok(address) => address,
        Err(refusal) => {
            let text = "Error while creating entity for allocating Ip";
            let subject = Subject {
                kind: "IpAddress",
                ..Subject::default()
            };
            call.report("NET.IPASSIGN", "Created", true, text, subject);
            return Err(refusal);
        }
    };
    let account = call.caller.account.clone();
    give(call.world, &address, &account);
    let number = call
        .world
        .addresses
        .get(&address)
        .map_or(0, |address| address.number);
    let subject = Subject::address(call.world, &address);
    let text = format!("Successfully created entity for allocating Ip. Ip Id: {number}");
    call.report("NET.IPASSIGN", "Created", false, text, subject);
    let work = Work::Associate {
        address: address.clone(),
        vpc,
        network,
    };
    call.submit(work, Some(address.clone()), Some(address))
}

/// An address belongs to whom the VPC or network belongs to that it is for: the server takes that
/// account unless the request names one (`AssociateIPAddrCmd`), and lets no other have it.
fn act_for_owner(
    call: &mut Call<'_>,
    vpc: Option<&str>,
    network: Option<&str>,
) -> Result<(), ApiError> {
    let of_vpc = vpc.and_then(|id| call.world.owner(Kind::Vpc, id));
    let of_network = || call.world.owner(Kind::Network, network?);
    let Some(owner) = of_vpc.or_else(of_network).map(ToOwned::to_owned) else {
        return Ok(());
    };
    let named = ["account", "projectid"]
        .iter()
        .any(|name| call.text(name).is_some());
    if named && call.caller.account != owner {
        return Err(ApiError::not_yours());
    }
    call.caller.account = owner;
    Ok(())
}

/// The VPC or the isolated network that an address is asked for.
fn destination(call: &Call<'_>) -> Result<(Option<Uuid>, Option<Uuid>), ApiError> {
    call.id("zoneid", Kind::Zone)?;
    let vpc = call.own_if_given("vpcid", Kind::Vpc)?;
    let network = call.own_if_given("networkid", Kind::Network)?;
    let gone = vpc
        .as_ref()
        .is_some_and(|id| !call.world.vpcs.contains_key(id))
        || network
            .as_ref()
            .is_some_and(|id| !call.world.networks.contains_key(id));
    match (vpc, network) {
        _ if gone => Err(ApiError::value("Invalid vpc or network id specified")),
        (Some(vpc), _) => Ok((Some(vpc), None)),
        (None, Some(network)) => Ok((None, Some(network))),
        (None, None) if call.text("zoneid").is_some() => Ok((None, Some(only_network(call)?))),
        (None, None) => Err(ApiError::value(
            "Unable to figure out zone to assign ip to. Please specify either zoneId, or networkId, or vpcId in the call",
        )),
    }
}

/// The one isolated network of the account, which a request for a zone's address means.
fn only_network(call: &Call<'_>) -> Result<Uuid, ApiError> {
    match isolated_networks(call).as_slice() {
        [] => Err(ApiError::value(
            "Account doesn't have any Isolated networks in the zone",
        )),
        [network] => Ok(network.clone()),
        _ => Err(ApiError::value(
            "Account has more than one Isolated network in the zone",
        )),
    }
}

/// The states that a list of addresses shows: only what is allocated, unless it asks otherwise.
fn states(call: &Call<'_>) -> Vec<AddressState> {
    let allocated_only = call.flag("allocatedonly") != Some(false);
    let mut states = vec![AddressState::Allocated];
    match call.text("state") {
        Some(wanted) => {
            states.push(AddressState::Allocating);
            states.extend((!allocated_only).then_some(AddressState::Free));
            states.retain(|state| wanted.eq_ignore_ascii_case(state.name()));
        }
        None => states.extend((!allocated_only).then_some(AddressState::Free)),
    }
    states
}

/// `listPublicIpAddresses`.
pub(crate) fn list(call: &mut Call<'_>) -> Answered {
    call.id("id", Kind::Address)?;
    call.id("vpcid", Kind::Vpc)?;
    call.id("associatednetworkid", Kind::Network)?;
    let everything = call.caller.admin && call.flag("listall") == Some(true);
    let states = states(call);
    let ip = call.text("ipaddress");
    let mut addresses: Vec<&Address> = call
        .world
        .addresses
        .values()
        .filter(|row| states.contains(&row.state) && (row.system.is_none() || everything))
        .filter(|row| row.state == AddressState::Free || call.sees(row.account.as_deref()))
        .filter(|row| call.wants("id", Some(&row.id)) && call.tagged(&row.id))
        .filter(|row| ip.is_none_or(|wanted| row.ip.to_string() == wanted))
        .filter(|row| call.wants("vpcid", row.vpc.as_deref()))
        .filter(|row| call.wants("associatednetworkid", row.network.as_deref()))
        .filter(|row| serves(call, row))
        .filter(|row| {
            call.flag("issourcenat")
                .is_none_or(|wanted| wanted == row.source_nat)
        })
        .filter(|row| {
            call.flag("isstaticnat")
                .is_none_or(|wanted| wanted == row.static_nat.is_some())
        })
        .filter(|_| call.wants("zoneid", Some(call.world.catalogue.zone_id())))
        .collect();
    addresses.sort_by_key(|address| address.ip);
    let viewer = call.viewer();
    call.page("publicipaddress", &addresses, |row| {
        net::address(call.world, &viewer, row)
    })
}

/// Whether an address is in the public network and does the work that a list asks for.
fn serves(call: &Call<'_>, address: &Address) -> bool {
    let ids = &call.world.ids;
    // An address can balance if nothing but load balancers uses it.
    let balances = || {
        address.static_nat.is_none()
            && call.world.port_forwardings_at(&address.id).is_empty()
            && address.state != AddressState::Free
    };
    call.wants("networkid", Some(&ids.public_network))
        && call.wants("physicalnetworkid", Some(&ids.physical_network))
        && call.wants("vlanid", Some(&ids.vlan))
        && call.flag("forvirtualnetwork") != Some(false)
        && call
            .flag("forloadbalancing")
            .is_none_or(|wanted| !wanted || balances())
}

/// `disassociateIpAddress`. Giving back what is free already is an internal error.
pub(crate) fn disassociate(call: &mut Call<'_>) -> Answered {
    let id = match call.text("ipaddress").filter(|_| call.text("id").is_none()) {
        Some(ip) => call
            .world
            .find_address(ip)
            .map(|address| address.id.clone()),
        None => Some(call.required_id("id", Kind::Address)?),
    };
    let address = id.and_then(|id| call.world.addresses.get(&id)).cloned();
    let Some(address) = address else {
        return Err(ApiError::value(
            "Unable to find IP address by the given value",
        ));
    };
    match &address.account {
        None => {
            let text = "Cannot read the account of an IP address that is not allocated";
            return Err(ApiError::internal(4250, text));
        }
        Some(owner) if !call.world.may_act(&call.caller.home, owner) => {
            let text = "Account does not have permission to operate with the IP address";
            return Err(ApiError::denied(text));
        }
        Some(_) => {}
    }
    let work = Work::Disassociate {
        address: address.id.clone(),
    };
    call.submit(work, Some(address.id), None)
}

/// `enableStaticNat`: synchronous, and not idempotent.
pub(crate) fn enable_nat(call: &mut Call<'_>) -> Answered {
    let address = call.own("ipaddressid", Kind::Address)?;
    let vm = call.own_vm("virtualmachineid")?;
    let network = call.own_if_given("networkid", Kind::Network)?;
    let (address, vm) = match (call.world.addresses.get(&address), call.world.vms.get(&vm)) {
        (Some(address), Some(vm)) => (address.clone(), vm.clone()),
        _ => return Err(ApiError::value("Unable to find the IP address or the VM")),
    };
    refuse_strangers(call, &address, &vm)?;
    let network = network_of(call, &address, network)?;
    let ip = guest_ip(call, &vm, &network)?;
    check_service(call, &address, &network)?;
    refuse_conflict(call, &address, &vm, ip)?;
    let nat = StaticNat {
        vm: vm.id.clone(),
        ip,
    };
    point(call.world, &address.id, &network, nat);
    let text = format!(
        "Successfully completed enabling static nat. IP ID: {}",
        address.number
    );
    let subject = Subject::address(call.world, &address.id);
    call.report("STATICNAT.ENABLE", "Completed", false, text, subject);
    Ok(Answer::success())
}

/// The network that a static NAT is to bind the address to.
fn network_of(call: &Call<'_>, address: &Address, given: Option<Uuid>) -> Result<Uuid, ApiError> {
    if address.account.is_none() {
        let text = format!(
            "Unable to enable static NAT, ip address {} is free",
            address.ip
        );
        return Err(ApiError::value(text));
    }
    let number = address.number;
    let network = match (&address.network, given) {
        (Some(bound), Some(given)) if *bound != given => {
            let text = "Invalid network specified, IP is associated with a different network than passed network id";
            return Err(ApiError::value(text));
        }
        (Some(bound), _) => bound.clone(),
        (None, Some(given)) => given,
        (None, None) => {
            return Err(ApiError::value(format!(
                "Unable to enable static NAT for the ipAddress id={number} as IP is not associated with any network and no networkId is passed in"
            )));
        }
    };
    let vpc = call
        .world
        .networks
        .get(&network)
        .and_then(|network| network.vpc.clone());
    if address.vpc.is_some() && address.vpc != vpc {
        let text = "The network does not belong to the VPC of the IP address";
        return Err(ApiError::value(text));
    }
    if let (None, None, Some(row)) = (
        &address.network,
        &address.vpc,
        call.world.networks.get(&network),
    ) {
        return Err(ApiError::value(format!(
            "Ip address {} is not assigned to the network {}",
            quoted_address(address),
            quoted_network(row)
        )));
    }
    Ok(network)
}

/// The address of a machine in a network that a static NAT is to lead to.
fn guest_ip(call: &Call<'_>, vm: &Vm, network: &str) -> Result<Ipv4Addr, ApiError> {
    let nic = vm.nics.iter().find(|nic| nic.network == network);
    let Some(nic) = nic.filter(|_| !vm.state.is_gone()) else {
        return Err(ApiError::value(
            "Vm doesn't belong to the network with specified id",
        ));
    };
    let Some(wanted) = call.text("vmguestip") else {
        return Ok(nic.ip);
    };
    let wanted = wanted.parse().ok().filter(|ip| nic.has_ip(*ip));
    wanted.ok_or_else(|| {
        ApiError::value("Unable to enable static nat; the ip address is not one of the vm's nic")
    })
}

/// The network must offer static NAT, and the address must be free for it. A VPC's source-NAT
/// address is (`cloudstack-observed.md`, section 2), that of an isolated network is not.
fn check_service(call: &Call<'_>, address: &Address, network: &str) -> Result<(), ApiError> {
    let row = call.world.networks.get(network);
    if !row.is_some_and(|row| call.world.offers(row, "StaticNat")) {
        let text = "Unable to create static nat rule; StaticNat service is not supported in network with specified id";
        return Err(ApiError::value(text));
    }
    if address.source_nat && address.vpc.is_none() {
        return Err(ApiError::value(format!(
            "Can't enable static, ip address {} is a sourceNat ip address",
            quoted_address(address)
        )));
    }
    let world = &*call.world;
    let rules = if !world.port_forwardings_at(&address.id).is_empty() {
        "PortForwarding"
    } else if !world.load_balancers_at(&address.id).is_empty() {
        "LoadBalancing"
    } else {
        return Ok(());
    };
    Err(ApiError::conflict(format!(
        "Failed to enable static nat for the ip address {} as it already has {rules} rules assigned",
        quoted_address(address)
    )))
}

/// One machine an address, one address for each address of a machine.
fn refuse_conflict(
    call: &Call<'_>,
    address: &Address,
    vm: &Vm,
    ip: Ipv4Addr,
) -> Result<(), ApiError> {
    if address
        .static_nat
        .as_ref()
        .is_some_and(|nat| nat.vm != vm.id)
    {
        return Err(ApiError::conflict(format!(
            "Failed to enable static for the ip address {} and vm id={} as it's already assigned to antoher vm",
            quoted_address(address),
            vm.number
        )));
    }
    let Some(other) = call.world.address_to(&vm.id, ip) else {
        return Ok(());
    };
    Err(ApiError::value(format!(
        "Failed to enable static nat on the  ip {} with Id {} as the vm {} with Id {} is already associated with another public ip {} with id {}",
        address.ip,
        address.id,
        vm_view::instance_name(call.world, vm),
        vm.id,
        other.ip,
        other.id
    )))
}

/// `disableStaticNat`. Whether there was one is found out by the job.
pub(crate) fn disable_nat(call: &mut Call<'_>) -> Answered {
    let address = call.own("ipaddressid", Kind::Address)?;
    call.submit(Work::DisableNat { address }, None, None)
}
