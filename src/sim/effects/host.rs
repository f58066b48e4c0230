//! What jobs do to hosts: emptying them, and letting them take machines again.

use super::{Outcome, placement};
use crate::sim::view::host as view;
use crate::sim::world::{Host, ResourceState, VmState, World};

fn set(world: &mut World, id: &str, resource: ResourceState) {
    let host = Host {
        resource,
        ..world.host(id)
    };
    world.hosts.insert(id.to_owned(), host);
}

/// From now on it takes no machines.
pub(crate) fn begin(world: &mut World, id: &str) {
    set(world, id, ResourceState::PrepareForMaintenance);
}

/// Moves the machines of a host away, as far as there is room elsewhere.
pub(crate) fn emptied(world: &mut World, id: &str) -> Outcome {
    for vm in world.machines_on(id) {
        let running = world.vms.get(&vm).filter(|vm| vm.state == VmState::Running);
        let Some(found) = running.and_then(|vm| placement::host_for(world, vm)) else {
            continue;
        };
        if let Some(vm) = world.vms.get_mut(&vm) {
            vm.host = Some(found);
        }
    }
    let left = !world.machines_on(id).is_empty();
    let resource = if left {
        ResourceState::ErrorInPrepareForMaintenance
    } else {
        ResourceState::Maintenance
    };
    set(world, id, resource);
    Ok(view::result(world, id))
}

/// Lets a host take machines again.
pub(crate) fn back(world: &mut World, id: &str) -> Outcome {
    set(world, id, ResourceState::Enabled);
    Ok(view::result(world, id))
}
