//! Starting, stopping, restarting and destroying machines.
//!
//! The rules of starts are those of `cloudstack-observed.md`, 1.2 and 1.16: a machine that was
//! deployed stopped falls back to `Stopped` when its start fails, one whose deploy starts it ends
//! in `Error`, and the first start of a tier holds a lock that others wait for in long steps.

use std::time::Duration;

use serde_json::json;

use super::{Outcome, placement, success};
use crate::sim::jobs::{Job, JobFailure, Twist, Work, signed};
use crate::sim::profile::Cost;
use crate::sim::view::{Viewer, vm as view};
use crate::sim::world::{Disk, Guest, Network, NetworkState, Uuid, Vm, VmState, World};

/// Marks a machine as being on its way, and says how long the way is.
pub(crate) fn begin(world: &mut World, job: &mut Job) -> Duration {
    let Some(vm) = job.work.locks().and_then(|id| world.vms.get(id)).cloned() else {
        return Duration::ZERO;
    };
    let profile = world.profile;
    let running = vm.state == VmState::Running;
    match &job.work {
        Work::Deploy { start: false, .. } => profile.job(Cost::Deploy),
        work if work.boots() => begin_start(world, &vm, job.twist.as_ref()),
        Work::Stop { .. } if running => mark(world, &vm, VmState::Stopping, Cost::Stop),
        Work::Reboot { forced, .. } if running => profile.job(if *forced {
            Cost::ForcedReboot
        } else {
            Cost::Reboot
        }),
        Work::Destroy { expunge, .. } => {
            let cost = if *expunge {
                Cost::Expunge
            } else {
                Cost::Destroy
            };
            match (
                *expunge && !may_expunge(world, job),
                running && !vm.delete_protection,
            ) {
                (true, _) => profile.job(Cost::Quick),
                (false, true) => mark(world, &vm, VmState::Stopping, cost),
                (false, false) => profile.job(cost),
            }
        }
        Work::Restore { .. } if running => mark(world, &vm, VmState::Stopping, Cost::Restore),
        Work::Restore { .. } => profile.job(Cost::Move),
        _ => Duration::ZERO,
    }
}

fn mark(world: &mut World, vm: &Vm, state: VmState, cost: Cost) -> Duration {
    if let Some(vm) = world.vms.get_mut(&vm.id) {
        vm.state = state;
    }
    world.profile.job(cost)
}

fn begin_start(world: &mut World, vm: &Vm, twist: Option<&Twist>) -> Duration {
    if vm.state != VmState::Stopped {
        return Duration::ZERO;
    }
    let host = placement::host_for(world, vm);
    let fails = matches!(twist, Some(Twist::StartFails | Twist::NoCapacity)) || host.is_none();
    if let Some(vm) = world.vms.get_mut(&vm.id) {
        vm.state = VmState::Starting;
        vm.host = if fails { None } else { host };
    }
    if fails {
        return world.profile.job(Cost::FailedStart);
    }
    let tiers = vm
        .nics
        .iter()
        .map(|nic| bring_up(world, &nic.network))
        .sum::<Duration>();
    world.profile.job(Cost::Boot) + tiers
}

/// How long a start has to wait for its network: nothing if it is up, the time to bring it up for
/// the first, one or two steps of five seconds for those that find the lock taken.
fn bring_up(world: &mut World, network: &Uuid) -> Duration {
    let now = world.now();
    let takes = world.profile.job(Cost::BringUp);
    let step = world.profile.lock_step();
    let twice = world.chance.happens(0.5);
    let Some(network) = world.networks.get_mut(network) else {
        return Duration::ZERO;
    };
    network.idle_since = None;
    match (
        network.state,
        network.busy_until.filter(|until| *until > now),
    ) {
        (NetworkState::Implemented | NetworkState::Setup, None) => Duration::ZERO,
        (_, Some(_)) if twice => step * 2,
        (_, Some(_)) => step,
        (NetworkState::Allocated, None) => {
            network.busy_until = Some(now + signed(takes));
            takes
        }
    }
}

/// Ends a start, or the deploy of a machine that is to run at once.
pub(crate) fn started(world: &mut World, job: &Job, id: &Uuid, deploy: bool) -> Outcome {
    let vm = world
        .vms
        .get(id)
        .cloned()
        .ok_or_else(|| JobFailure::new(530, "Vm is gone"))?;
    let vm = placement::away_from_trouble(world, vm);
    match vm.state {
        VmState::Starting if vm.host.is_some() => {}
        VmState::Starting => return Err(fail_start(world, job, &vm, deploy)),
        VmState::Running => return Ok(view::result(world, job, id)),
        VmState::Error => {
            let text = "Unable to create deployment, no usable volumes found for the VM: ";
            return Err(JobFailure::new(530, format!("{text}{id}")));
        }
        VmState::Stopped
        | VmState::Stopping
        | VmState::Migrating
        | VmState::Destroyed
        | VmState::Expunging => {
            let text = format!("Cannot start {} in {} state", world.quoted(&vm), vm.state);
            return Err(JobFailure::new(530, text));
        }
    }
    implement(world, &vm);
    run(world, id);
    Ok(view::result(world, job, id))
}

fn fail_start(world: &mut World, job: &Job, vm: &Vm, deploy: bool) -> JobFailure {
    let quoted = world.quoted_as(vm, "Starting");
    let now = world.wall();
    if let Some(vm) = world.vms.get_mut(&vm.id) {
        vm.state = if deploy {
            VmState::Error
        } else {
            VmState::Stopped
        };
        vm.disk = Disk::Ready;
        vm.capacity_freed = true;
        vm.updated = Some(now);
        vm.nics.iter_mut().for_each(|nic| nic.vlan = None);
    }
    world.recount_root(&vm.id);
    if job.twist == Some(Twist::StartFails) {
        let id = &vm.id;
        let cause = format!("Unable to create a deployment for {quoted}");
        return JobFailure::new(
            530,
            format!("Unable to start a VM [{id}] due to [{cause}]."),
        );
    }
    let hint = if vm.affinity_groups.is_empty() {
        ""
    } else {
        ", Please check the affinity groups provided, there may not be sufficient capacity to follow them"
    };
    JobFailure::new(
        533,
        format!("No destination found for a deployment for {quoted}{hint}"),
    )
}

/// Ends a start that the server attempts by itself. If it fails it is attempted again, unless
/// somebody else has taken the machine in hand.
pub(crate) fn revived(world: &mut World, job: &Job, id: &Uuid, tries: u32) -> Outcome {
    let starting = world.vms.get(id).map(|vm| vm.state) == Some(VmState::Starting);
    if !starting {
        return success();
    }
    started(world, job, id, false).inspect_err(|_| world.restart_later(id, tries + 1))
}

/// Brings up the networks of a machine that has just started.
fn implement(world: &mut World, vm: &Vm) {
    for nic in &vm.nics {
        let vlan = u16::try_from(100 + world.chance.below(900)).unwrap_or(100);
        let Some(network) = world.networks.get_mut(&nic.network) else {
            continue;
        };
        let Network {
            state,
            vlan: current,
            ..
        } = network;
        if *state == NetworkState::Allocated {
            *state = NetworkState::Implemented;
            current.get_or_insert(vlan);
        }
        network.busy_until = None;
        network.idle_since = None;
        super::network::settle_source_nat(world, &nic.network);
    }
}

/// Connects a card that a machine has just got, if the machine runs.
pub(crate) fn plugged(world: &mut World, id: &str) {
    let Some(vm) = world.vms.get(id).cloned() else {
        return;
    };
    if vm.state == VmState::Running {
        implement(world, &vm);
        connect(world, id);
    }
}

/// Gives the cards of a machine the VLANs of their networks.
fn connect(world: &mut World, id: &str) {
    let networks = &world.networks;
    for nic in world
        .vms
        .get_mut(id)
        .into_iter()
        .flat_map(|vm| &mut vm.nics)
    {
        let network = networks.get(&nic.network);
        nic.vlan = network.and_then(|network| network.vlan);
    }
}

fn run(world: &mut World, id: &Uuid) {
    let now = world.wall();
    let Some(vm) = world.vms.get_mut(id) else {
        return;
    };
    vm.state = VmState::Running;
    vm.guest = Guest::Alive;
    vm.disk = Disk::Ready;
    vm.details.remove("deployvm");
    vm.updated = Some(now);
    vm.running_since = Some(now);
    connect(world, id);
    world.ready_disks(id);
}

/// Turns a machine off in the records: no host, no VLAN on its cards.
pub(crate) fn turn_off(world: &mut World, id: &str, state: VmState) {
    let now = world.wall();
    let Some(vm) = world.vms.get_mut(id) else {
        return;
    };
    if matches!(
        vm.state,
        VmState::Running | VmState::Stopping | VmState::Starting | VmState::Migrating
    ) {
        vm.capacity_freed = true;
        for nic in &mut vm.nics {
            nic.vlan = None;
        }
    }
    vm.state = state;
    vm.host = None;
    vm.updated = Some(now);
    vm.running_since = None;
    let networks: Vec<Uuid> = vm.nics.iter().map(|nic| nic.network.clone()).collect();
    for network in networks {
        world.note_idleness(&network);
    }
    world.recount_root(id);
}

/// Ends a stop.
pub(crate) fn stopped(world: &mut World, job: &Job, id: &Uuid) -> Outcome {
    let state = world.vms.get(id).map(|vm| vm.state);
    if state == Some(VmState::Stopping) {
        refuse_stop(world, job, id)?;
        turn_off(world, id, VmState::Stopped);
    }
    Ok(view::result(world, job, id))
}

/// Fails if the hypervisor was told not to stop machines.
fn refuse_stop(world: &mut World, job: &Job, id: &Uuid) -> Result<(), JobFailure> {
    if job.twist != Some(Twist::StopFails) {
        return Ok(());
    }
    if let Some(vm) = world.vms.get_mut(id) {
        vm.state = VmState::Running;
    }
    let quoted = world
        .vms
        .get(id)
        .map(|vm| world.quoted(vm))
        .unwrap_or_default();
    Err(JobFailure::new(530, format!("Unable to stop {quoted}")))
}

/// Ends a reboot.
pub(crate) fn rebooted(world: &mut World, job: &Job, id: &Uuid) -> Outcome {
    let Some(vm) = world.vms.get(id) else {
        return success();
    };
    if vm.state != VmState::Running {
        let text = format!(
            "The VM {id} ({}) is not running, unable to reboot it",
            vm.name
        );
        return Err(JobFailure::new(431, text));
    }
    if let Some(vm) = world.vms.get_mut(id) {
        vm.guest = Guest::Alive;
    }
    Ok(view::result(world, job, id))
}

/// Whether the submitter of a job may purge machines.
pub(crate) fn may_expunge(world: &World, job: &Job) -> bool {
    job.admin || world.settings.allow_user_expunge_recover_vm
}

/// Ends a destroy, with or without the purge.
pub(crate) fn destroyed(world: &mut World, job: &Job, id: &Uuid, expunge: bool) -> Outcome {
    if expunge && !may_expunge(world, job) {
        return Err(JobFailure::new(
            530,
            "Account does not have permission for expunging.",
        ));
    }
    let Some(vm) = world.vms.get(id) else {
        return success();
    };
    if vm.delete_protection {
        let name = &vm.name;
        let text = "has delete protection enabled and cannot be deleted.";
        return Err(JobFailure::new(
            431,
            format!("Instance [id = {id}, name = {name}] {text}"),
        ));
    }
    match vm.state {
        VmState::Stopping | VmState::Running | VmState::Migrating => {
            refuse_stop(world, job, id)?;
            destroy(world, id, VmState::Destroyed);
        }
        VmState::Stopped | VmState::Starting => destroy(world, id, VmState::Destroyed),
        VmState::Error => destroy(world, id, VmState::Expunging),
        VmState::Destroyed | VmState::Expunging => {}
    }
    part_from_disks(world, job, id);
    if expunge {
        world.expunge(id);
        return Ok(json!({"virtualmachine": view::empty()}));
    }
    Ok(view::result(world, job, id))
}

/// Detaches the data disks of a machine that was destroyed; those that were named go with it.
fn part_from_disks(world: &mut World, job: &Job, id: &Uuid) {
    let Work::Destroy { volumes, .. } = &job.work else {
        return;
    };
    for disk in world.data_disks_of(id) {
        world.detach(&disk);
        if volumes.contains(&disk) {
            world.drop_volume(&disk);
        }
    }
}

fn destroy(world: &mut World, id: &Uuid, state: VmState) {
    turn_off(world, id, state);
    world.totals.destroyed += 1;
}

/// What a viewer of a job's result may see.
pub(crate) fn viewer(job: &Job) -> Viewer {
    Viewer { admin: job.admin }
}
