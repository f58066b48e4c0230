//! Which host a machine is put on: one that is up and has room, the affinity groups obeyed, then
//! the emptiest.

use crate::sim::world::catalogue::Catalogue;
use crate::sim::world::hosts::Load;
use crate::sim::world::index::VmKey;
use crate::sim::world::{Host, Uuid, Vm, VmState, World};

/// Picks a host.
pub(crate) fn host_for(world: &World, vm: &Vm) -> Option<Uuid> {
    let hosts = world.catalogue.hosts.iter();
    let hosts = hosts.map(|host| Catalogue::text(host, "id"));
    hosts
        .filter(|host| world.host(host).takes_machines())
        .filter(|host| vm.host.as_deref() != Some(*host))
        .filter_map(|host| Some((reluctance(world, vm, host)?, host)))
        .map(|(reluctance, host)| (reluctance, Load::of(world, host), host))
        .filter(|(_, load, _)| load.has_room(world, vm.size))
        .min_by_key(|(reluctance, load, host)| (*reluctance, load.guests, *host))
        .map(|(_, _, host)| host.to_owned())
}

/// Whether a machine could be moved to this host.
pub(crate) fn can_take(world: &World, vm: &Vm, host: &str) -> bool {
    world.host(host).takes_machines()
        && vm.host.as_deref() != Some(host)
        && reluctance(world, vm, host).is_some()
        && Load::of(world, host).has_room(world, vm.size)
}

/// A machine that was on its way to a host that has failed meanwhile, on its way to another.
pub(crate) fn away_from_trouble(world: &mut World, mut vm: Vm) -> Vm {
    let host = vm.host.as_ref().map(|host| world.host(host));
    let failed = |host: Host| host.failure.is_some() || !host.takes_machines();
    if vm.state == VmState::Starting && host.is_some_and(failed) {
        vm.host = host_for(world, &vm);
        if let Some(row) = world.vms.get_mut(&vm.id) {
            row.host.clone_from(&vm.host);
        }
    }
    vm
}

/// How little the affinity groups like this host; none if a strict one forbids it.
fn reluctance(world: &World, vm: &Vm, host: &str) -> Option<u32> {
    let mut reluctance = 0;
    for group in vm
        .affinity_groups
        .iter()
        .filter_map(|id| world.affinity_groups.get(id))
    {
        let members = world.vms.under(&VmKey::Group(group.id.clone()));
        let others = || members.iter().filter(|other| other.id != vm.id);
        let mut hosts = others().filter_map(|other| other.host.as_deref());
        let here = hosts.clone().any(|other| other == host);
        let elsewhere = hosts.any(|other| other != host);
        match group.kind.as_str() {
            "host anti-affinity" if here => return None,
            "host affinity" if elsewhere && !here => return None,
            "non-strict host anti-affinity" if here => reluctance += 1,
            "non-strict host affinity" if elsewhere && !here => reluctance += 1,
            _ => {}
        }
    }
    Some(reluctance)
}
