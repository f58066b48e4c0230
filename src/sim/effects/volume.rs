//! What jobs do to volumes.

use super::vm_power::viewer;
use super::{Outcome, success};
use crate::sim::jobs::{Job, JobFailure, VolumeChange};
use crate::sim::view::volume as view;
use crate::sim::world::disks::DATA_DISKS_MAX;
use crate::sim::world::{Uuid, VmState, Volume, VolumeKind, VolumeState, World};

/// Applies a job.
pub(crate) fn finish(world: &mut World, job: &Job, id: &Uuid, change: &VolumeChange) -> Outcome {
    let Some(volume) = world.volumes.get(id).cloned() else {
        return Err(JobFailure::new(431, "Unable to find volume with ID: null"));
    };
    match change {
        VolumeChange::Create => {}
        VolumeChange::Attach { vm, device } => attach(world, job, &volume, (vm, *device))?,
        VolumeChange::Detach { .. } => detach(world, &volume)?,
        VolumeChange::Destroy { expunge } => return destroy(world, job, &volume, *expunge),
        VolumeChange::Resize { bytes, offering } => {
            if let Some(volume) = world.volumes.get_mut(id) {
                volume.bytes = *bytes;
                volume.offering = offering.clone().or_else(|| volume.offering.clone());
            }
        }
        VolumeChange::Rename { name } => {
            if let Some(volume) = world.volumes.get_mut(id) {
                volume.name.clone_from(name);
            }
        }
    }
    Ok(view::result(world, &viewer(job), id))
}

fn refuse<T>(text: &str) -> Result<T, JobFailure> {
    Err(JobFailure::new(431, text))
}

fn attach(
    world: &mut World,
    job: &Job,
    volume: &Volume,
    (vm, device): (&Uuid, Option<u32>),
) -> Result<(), JobFailure> {
    if volume.vm.is_some() {
        return refuse("Please specify a volume that is not attached to any VM.");
    }
    if volume.state == VolumeState::Destroy {
        return refuse("Please specify a volume that is not destroyed.");
    }
    let Some(machine) = world.vms.get(vm) else {
        return refuse("Please specify a valid User VM.");
    };
    let running = machine.state == VmState::Running;
    if !running && machine.state != VmState::Stopped {
        return refuse("Please specify a VM that is either running or stopped.");
    }
    if device == Some(0) {
        return refuse("Vm already has root volume attached to it");
    }
    if world.data_disks_of(vm).len() >= DATA_DISKS_MAX {
        let text = "The specified VM already has the maximum number of data disks";
        return refuse(&format!(
            "{text} ({DATA_DISKS_MAX}) attached. Please specify another VM."
        ));
    }
    // Only a root admin may give a machine another account's volume.
    if machine.account != volume.account && !job.admin {
        let machine = world.quoted(machine);
        let text = format!(
            "Entity {machine} and entity {} belong to different accounts",
            volume.id
        );
        return Err(JobFailure::new(531, text));
    }
    let device = free_device(world, vm, device)?;
    let now = world.wall();
    if let Some(volume) = world.volumes.get_mut(&volume.id) {
        volume.vm = Some(vm.clone());
        volume.device = device;
        volume.attached = Some(now);
        if running {
            volume.state = VolumeState::Ready;
        }
    }
    Ok(())
}

fn free_device(world: &World, vm: &str, wanted: Option<u32>) -> Result<u32, JobFailure> {
    let taken = |device: u32| {
        world
            .volumes_of(vm)
            .iter()
            .any(|disk| disk.device == device)
    };
    match wanted {
        Some(device) if taken(device) => refuse(&format!("deviceId {device} is used by vm {vm}")),
        Some(device) => Ok(device),
        None => world.free_device(vm).map_or_else(
            || Err(JobFailure::new(530, "All device Ids are used by vm")),
            Ok,
        ),
    }
}

fn detach(world: &mut World, volume: &Volume) -> Result<(), JobFailure> {
    let Some(vm) = volume.vm.as_ref().and_then(|vm| world.vms.get(vm)) else {
        return refuse("The specified volume is not attached to a VM.");
    };
    let still = matches!(
        vm.state,
        VmState::Running | VmState::Stopped | VmState::Destroyed
    );
    if !still {
        return refuse("Please specify a VM that is either running or stopped.");
    }
    if volume.kind == VolumeKind::Root {
        return refuse("Root volume detach is not supported for hypervisor type Simulator");
    }
    world.detach(&volume.id);
    Ok(())
}

fn destroy(world: &mut World, job: &Job, volume: &Volume, expunge: bool) -> Outcome {
    if volume.vm.is_some() {
        return refuse("Please specify a volume that is not attached to any VM.");
    }
    if expunge && !job.admin {
        let text = "Expunging a volume can only be done by an Admin. Or when the allow.user.expunge.recover.volume key is set.";
        return Err(JobFailure::new(530, text));
    }
    if !expunge && volume.state == VolumeState::Allocated {
        return refuse(
            "The volume in Allocated/Uploaded state can only be expunged not destroyed/recovered",
        );
    }
    if expunge {
        world.drop_volume(&volume.id);
        return success();
    }
    let now = world.wall();
    if let Some(volume) = world.volumes.get_mut(&volume.id) {
        volume.state = VolumeState::Destroy;
        volume.counted = false;
        volume.destroyed = Some(now);
    }
    Ok(view::result(world, &viewer(job), &volume.id))
}
