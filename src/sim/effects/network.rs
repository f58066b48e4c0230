//! What jobs do to VPCs, tiers and public addresses.

use serde_json::json;

use super::vm_power::viewer;
use super::{Outcome, put, success};
use crate::sim::jobs::{Job, JobFailure, Work};
use crate::sim::view::net;
use crate::sim::world::index::{AddressKey, NetworkKey};
use crate::sim::world::{AddressState, GuestType, Network, NetworkState, StaticNat, Uuid, World};

/// Applies a job on a VPC, a network or an address.
pub(crate) fn finish(world: &mut World, job: &Job) -> Outcome {
    match &job.work {
        Work::CreateVpc { vpc } => vpc_created(world, job, vpc),
        Work::UpdateVpc {
            vpc,
            name,
            display_text,
        } => {
            if let Some(vpc) = world.vpcs.get_mut(vpc) {
                put(&mut vpc.name, name);
                put(&mut vpc.display_text, display_text);
            }
            vpc_shown(world, job, vpc)
        }
        Work::DeleteVpc { vpc, forced } => vpc_deleted(world, vpc, *forced),
        Work::UpdateNetwork {
            network,
            name,
            display_text,
            domain,
            offering,
        } => {
            if let Some(network) = world.networks.get_mut(network) {
                put(&mut network.name, name);
                put(&mut network.display_text, display_text);
                put(&mut network.domain, domain);
                put(&mut network.offering, offering);
            }
            let row = world
                .networks
                .get(network)
                .map(|row| net::network(world, &viewer(job), row));
            Ok(json!({"network": row}))
        }
        Work::DeleteNetwork { network, forced } => network_deleted(world, network, *forced),
        Work::Associate {
            address,
            vpc,
            network,
        } => associated(world, job, address, vpc.as_ref(), network.as_ref()),
        Work::Disassociate { address } => disassociated(world, address),
        Work::DisableNat { address } => nat_disabled(world, address),
        _ => success(),
    }
}

fn vpc_shown(world: &World, job: &Job, id: &Uuid) -> Outcome {
    let row = world
        .vpcs
        .get(id)
        .map(|vpc| net::vpc(world, &viewer(job), vpc));
    Ok(json!({"vpc": row}))
}

/// A new VPC gets its router and with it an address that its traffic leaves by, unless it was given
/// one while it was on its way.
fn vpc_created(world: &mut World, job: &Job, id: &Uuid) -> Outcome {
    if !world.vpcs.contains_key(id) {
        return Err(JobFailure::new(530, "Failed to create VPC"));
    }
    if world.addresses.count(&AddressKey::SourceNat(id.clone())) > 0 {
        return vpc_shown(world, job, id);
    }
    let Some(address) = world.free_address() else {
        world.drop_vpc(id);
        return Err(JobFailure::new(
            533,
            "Unable to find available public IP addresses",
        ));
    };
    let owner = world.vpcs.get(id).map(|vpc| vpc.account.clone());
    give(world, &address, owner.as_ref().unwrap_or(&job.account));
    if let Some(address) = world.addresses.get_mut(&address) {
        address.state = AddressState::Allocated;
        address.vpc = Some(id.clone());
        address.source_nat = true;
    }
    vpc_shown(world, job, id)
}

/// Takes a VPC away. The tags go first, even if the rest then fails.
fn vpc_deleted(world: &mut World, id: &Uuid, forced: bool) -> Outcome {
    let tiers = world.networks.ids_under(&NetworkKey::Vpc(id.clone()));
    let Some(vpc) = world.vpcs.get(id) else {
        let number = world.gone.get(id).map_or(0, |gone| gone.number);
        return Err(JobFailure::new(
            431,
            format!("unable to find VPC id={number}"),
        ));
    };
    let quoted = crate::sim::world::quoted_vpc(vpc);
    world.tags.drop_of(id);
    if !tiers.is_empty() && !forced {
        let text = format!(
            "Can't delete VPC {quoted} as its used by {} networks",
            tiers.len()
        );
        return Err(JobFailure::new(431, text));
    }
    for tier in tiers {
        network_deleted(world, &tier, true)?;
    }
    world.drop_vpc(id);
    success()
}

fn network_deleted(world: &mut World, id: &Uuid, forced: bool) -> Outcome {
    let guests = world.vms_in(id).into_iter().map(|vm| vm.id.clone());
    let guests: Vec<Uuid> = guests.collect();
    if !guests.is_empty() && !forced {
        return Err(JobFailure::new(530, "Failed to delete network"));
    }
    for guest in guests {
        world.expunge(&guest);
    }
    world.drop_network(id);
    success()
}

/// Puts an address into the hands of an account; the job that ends makes it usable.
pub(crate) fn give(world: &mut World, address: &str, account: &str) {
    let now = world.wall();
    world.totals.addresses += 1;
    if let Some(address) = world.addresses.get_mut(address) {
        address.state = AddressState::Allocating;
        address.account = Some(account.to_owned());
        address.allocated = Some(now);
    }
}

/// Ends the acquisition of an address. The first one of a VPC or network that has no source-NAT
/// address becomes that.
fn associated(
    world: &mut World,
    job: &Job,
    id: &Uuid,
    vpc: Option<&Uuid>,
    network: Option<&Uuid>,
) -> Outcome {
    let gone = vpc.is_some_and(|id| !world.vpcs.contains_key(id))
        || network.is_some_and(|id| !world.networks.contains_key(id));
    if gone {
        world.free(id, true);
        return Err(JobFailure::new(530, "Failed to assign IP address"));
    }
    if let Some(network) = network.and_then(|id| world.networks.get(id)) {
        // The refusal comes too late: nothing takes the address back.
        may_have_addresses(world, network)?;
    }
    let mut owners = vpc.into_iter().chain(network);
    let has_source_nat =
        owners.any(|id| world.addresses.count(&AddressKey::SourceNat(id.clone())) > 0);
    if let Some(address) = world.addresses.get_mut(id) {
        address.state = AddressState::Allocated;
        address.vpc = vpc.cloned();
        address.network = if vpc.is_some() {
            None
        } else {
            network.cloned()
        };
        address.source_nat = !has_source_nat;
    }
    let row = world
        .addresses
        .get(id)
        .map(|address| net::address(world, &viewer(job), address));
    Ok(json!({"ipaddress": row}))
}

/// Public addresses are for isolated networks with source NAT; those of a tier are its VPC's.
fn may_have_addresses(world: &World, network: &Network) -> Result<(), JobFailure> {
    if network.vpc.is_some() {
        let text = "Can't assign ip to the network directly when network belongs to VPC.Specify vpcId to associate ip address to VPC";
        return Err(JobFailure::new(431, text));
    }
    if network.guest_type != GuestType::Isolated || !world.offers(network, "SourceNat") {
        let text = "In zone of type Advanced ip address can be associated only to the network of guest type Isolated with the SourceNat enabled";
        return Err(JobFailure::new(431, text));
    }
    Ok(())
}

/// Gives an isolated network that comes up the address that its traffic leaves by.
pub(crate) fn settle_source_nat(world: &mut World, id: &str) {
    let Some(network) = world.networks.get(id) else {
        return;
    };
    let account = network.account.clone();
    if may_have_addresses(world, network).is_err() || world.source_nat_of(id).is_some() {
        return;
    }
    let Some(address) = world.free_address() else {
        return;
    };
    give(world, &address, &account);
    if let Some(address) = world.addresses.get_mut(&address) {
        address.state = AddressState::Allocated;
        address.network = Some(id.to_owned());
        address.source_nat = true;
    }
}

/// The source-NAT address of an isolated network that is up stays; a VPC's may go.
fn disassociated(world: &mut World, id: &Uuid) -> Outcome {
    let address = world.addresses.get(id).filter(|address| address.source_nat);
    let network = address.and_then(|address| world.networks.get(address.network.as_ref()?));
    if network.is_some_and(|row| row.vpc.is_none() && row.state != NetworkState::Allocated) {
        let text = "ip address is used for source nat purposes and can not be disassociated.";
        return Err(JobFailure::new(530, text));
    }
    if world
        .addresses
        .get(id)
        .is_some_and(|address| address.system.is_some())
    {
        return Err(JobFailure::new(
            431,
            "Can't release system IP address with specified id",
        ));
    }
    world.free(id, true);
    success()
}

fn nat_disabled(world: &mut World, id: &Uuid) -> Outcome {
    let Some(address) = world.addresses.get(id) else {
        return success();
    };
    if address.static_nat.is_none() {
        let text = "Specified IP address id is not associated with any vm Id";
        return Err(JobFailure::new(431, text));
    }
    world.end_static_nat(id);
    success()
}

/// Points a public address at a machine.
pub(crate) fn enable_nat(world: &mut World, address: &str, network: &str, nat: StaticNat) {
    if let Some(address) = world.addresses.get_mut(address) {
        address.network = Some(network.to_owned());
        address.static_nat = Some(nat);
    }
}

/// Stops the router of a network that nobody has used for a while.
pub(crate) fn shut_down(world: &mut World, id: &str) {
    if let Some(network) = world.networks.get_mut(id) {
        network.state = NetworkState::Allocated;
        network.vlan = None;
        network.idle_since = None;
    }
}
