//! What else jobs do to machines: make their disks anew, resize them, move their addresses, and
//! group them.

use std::net::Ipv4Addr;

use serde_json::{Value, json};

use super::vm_power::{may_expunge, viewer};
use super::{Outcome, success};
use crate::sim::jobs::{Job, JobFailure};
use crate::sim::view::{self, vm as vm_view};
use crate::sim::world::catalogue::{Catalogue, Row};
use crate::sim::world::{Disk, GIB, Guest, Subnet, Uuid, VmState, World};

/// Ends the deploy of a machine that is not to run yet.
pub(crate) fn deployed(world: &World, job: &Job, id: &Uuid) -> Outcome {
    Ok(vm_view::result(world, job, id))
}

/// Ends a restore: a new disk, and everything else as it was (`cloudstack-observed.md`, 1.1).
pub(crate) fn restored(
    world: &mut World,
    job: &Job,
    id: &Uuid,
    (template, root_gib): (Option<&Uuid>, Option<i64>),
) -> Outcome {
    let now = world.wall();
    let Some(vm) = world.vms.get_mut(id) else {
        return success();
    };
    match vm.state {
        VmState::Stopping | VmState::Running => {
            vm.state = VmState::Running;
            vm.guest = Guest::Alive;
            vm.updated = Some(now);
            vm.running_since = Some(now);
            vm.capacity_freed = true;
        }
        VmState::Stopped => vm.disk = Disk::Fresh,
        state @ (VmState::Starting
        | VmState::Migrating
        | VmState::Destroyed
        | VmState::Expunging
        | VmState::Error) => {
            let rule = "restore vm can only execute when VM in Running or Stopped";
            let text = format!("Vm {id} currently in {state} state, {rule}");
            return Err(JobFailure::new(530, text));
        }
    }
    vm.images += 1;
    if let Some(template) = template {
        vm.template.clone_from(template);
    }
    let asked = root_gib.map(|gib| gib.saturating_mul(GIB));
    let bytes = asked.or_else(|| template.map(|template| world.template_bytes(template)));
    world.renew_root(id, bytes);
    Ok(vm_view::result(world, job, id))
}

/// Ends an expunge.
pub(crate) fn expunged(world: &mut World, job: &Job, id: &Uuid) -> Outcome {
    if !may_expunge(world, job) {
        let rule = "Or when the allow.user.expunge.recover.vm key is set.";
        let text = format!("Expunging a vm can only be done by an Admin. {rule}");
        return Err(JobFailure::new(530, text));
    }
    let state = world.vms.get(id).map(|vm| vm.state);
    if state.is_some_and(|state| !state.is_gone() && state != VmState::Error) {
        let text = "Please destroy vm with specified vmId before expunge";
        return Err(JobFailure::new(530, text));
    }
    world.expunge(id);
    success()
}

fn sizes(row: &Row) -> [i64; 3] {
    ["memory", "cpuspeed", "cpunumber"].map(|member| Catalogue::number(row, member))
}

/// Ends a change of the service offering.
pub(crate) fn scaled(world: &mut World, job: &Job, id: &Uuid, offering: &Uuid) -> Outcome {
    let Some(vm) = world.vms.get(id) else {
        return success();
    };
    let find = |id: &str| Catalogue::find(&world.catalogue.service_offerings, id).map(sizes);
    let (new, old) = (
        find(offering).unwrap_or_default(),
        find(&vm.offering).unwrap_or_default(),
    );
    if vm.state == VmState::Running {
        let quoted = |[memory, speed, cpu]: [i64; 3]| {
            format!("{{\"memory\": {memory}, \"speed\": {speed}, \"cpu\": {cpu}}}")
        };
        if new.iter().zip(old).all(|(new, old)| *new <= old) {
            let text = format!(
                "While the VM is running, only scalling up it is supported. New service offering {} should have at least one value (ram, speed or cpu) greater than the current values {}.",
                quoted(new),
                quoted(old)
            );
            return Err(JobFailure::new(431, text));
        }
        let text = "Dynamically scaling virtual machines is disabled for this zone, please contact your admin";
        return Err(JobFailure::new(530, text));
    }
    let size = world.size_offered(offering);
    if let Some(vm) = world.vms.get_mut(id) {
        vm.size = size;
        vm.offering.clone_from(offering);
    }
    Ok(vm_view::result(world, job, id))
}

/// Ends the move of a card to another address; whatever leads there follows it.
pub(crate) fn nic_moved(world: &mut World, job: &Job, nic: &Uuid, ip: Ipv4Addr) -> Outcome {
    let Some(vm) = world.vm_of_nic(nic).cloned() else {
        return success();
    };
    if vm.state != VmState::Stopped {
        let text = "VM is not Stopped, unable to update the vm nic having the specified id";
        return Err(JobFailure::new(431, text));
    }
    let card = vm.nics.iter().find(|card| card.id == *nic).cloned();
    let network = card
        .as_ref()
        .and_then(|card| world.networks.get(&card.network));
    let (Some(card), Some(network)) = (card, network) else {
        return success();
    };
    let inside = Subnet::parse(&network.cidr).is_some_and(|subnet| subnet.has_host(ip));
    if !inside || world.guest_ip_taken(network, ip) {
        let reservation = world.fresh_id();
        let quoted = format!(
            "Nic {{\"broadcastUri\":null,\"deviceId\":0,\"iPv4Address\":\"{}\",\"id\":{},\"instanceId\":{},\"reservationId\":\"{reservation}\",\"uuid\":\"{nic}\"}}",
            card.ip, card.number, vm.number
        );
        let text = format!("Allocating ip to guest nic {quoted} failed, please choose another ip");
        return Err(JobFailure::new(431, text));
    }
    if let Some(card) = world
        .vms
        .get_mut(&vm.id)
        .and_then(|vm| vm.nics.iter_mut().find(|card| card.id == *nic))
    {
        card.ip = ip;
    }
    world.redirect(&vm.id, &card.network, (card.ip, ip));
    Ok(json!({"virtualmachine": vm_view::narrow(world, &viewer(job), &vm.id, "nics")}))
}

/// Ends a change of affinity groups.
pub(crate) fn regrouped(world: &mut World, job: &Job, id: &Uuid, groups: &[Uuid]) -> Outcome {
    let Some(vm) = world.vms.get(id) else {
        return success();
    };
    if vm.state != VmState::Stopped {
        let text = format!(
            "Unable update affinity groups of the virtual machine {} in state {}; make sure the virtual machine is stopped and not in an error state before updating.",
            world.quoted(vm),
            vm.state
        );
        return Err(JobFailure::new(431, text));
    }
    for group in groups {
        let Some(group) = world.affinity_groups.get(group) else {
            let text = format!("Unable to find affinity group by id {group}");
            return Err(JobFailure::new(431, text));
        };
        if let Some(text) = world.bars_from_group(group, &vm.account, job.admin) {
            return Err(JobFailure::new(531, text));
        }
    }
    if let Some(vm) = world.vms.get_mut(id) {
        vm.affinity_groups = groups.to_vec();
    }
    Ok(json!({"virtualmachine": vm_view::narrow(world, &viewer(job), id, "affgrp")}))
}

/// Ends the creation of an affinity group.
pub(crate) fn group_created(world: &World, job: &Job, id: &Uuid) -> Outcome {
    let row = world
        .affinity_groups
        .get(id)
        .map(|group| view::group(world, &viewer(job), group));
    Ok(json!({"affinitygroup": row.map_or(Value::Null, Value::Object)}))
}

/// Ends the deletion of an affinity group: its members simply lose it.
pub(crate) fn group_deleted(world: &mut World, id: &Uuid) -> Outcome {
    world.drop_affinity_group(id);
    success()
}
