//! What jobs do to the world: how they begin, and how they end.
//!
//! Beginning marks what others can see meanwhile (a machine that is `Starting`) and says how long
//! the job takes; ending applies the effect and writes the `jobresult`. A job that fails says so
//! with the code and text of the recorded server.

pub(crate) mod acl;
mod host;
pub(crate) mod leaving;
mod machine;
pub(crate) mod network;
pub(crate) mod nic;
mod placement;
pub(crate) mod rule;
pub(crate) mod security_group;
mod tag;
mod vm;
mod vm_power;
mod volume;

pub(crate) use vm_power::turn_off;

use std::time::Duration;

use serde_json::{Value, json};

use super::jobs::{Job, JobFailure, Work};
use super::profile::Cost;
use super::world::{VmState, World};

/// How a job ends.
pub(crate) type Outcome = Result<Value, JobFailure>;

/// What a job says that has nothing to show.
pub(crate) fn success() -> Outcome {
    Ok(json!({"success": true}))
}

/// Changes a text, if there is a new one.
fn put(place: &mut String, value: &Option<String>) {
    if let Some(value) = value {
        place.clone_from(value);
    }
}

/// Lets a job begin; the answer is how long it takes.
pub(crate) fn begin(world: &mut World, job: &mut Job) -> Duration {
    let cost = match &job.work {
        Work::Deploy { .. }
        | Work::Start { .. }
        | Work::Revive { .. }
        | Work::Stop { .. }
        | Work::Reboot { .. }
        | Work::Destroy { .. }
        | Work::Restore { .. } => return vm_power::begin(world, job),
        Work::CreateVpc { .. } => Cost::CreateVpc,
        Work::DeleteVpc { .. } | Work::RestartVpc { .. } | Work::Leave(_) => Cost::DeleteVpc,
        Work::DeleteNetwork { .. } | Work::RestartNetwork { .. } | Work::DeleteAclList { .. } => {
            Cost::DeleteNetwork
        }
        Work::CreateAclList { .. }
        | Work::UpdateAclList { .. }
        | Work::ReplaceAclList { .. }
        | Work::UpdateAclItem { .. }
        | Work::MoveAclItem { .. }
        | Work::DeleteAclItem { .. } => Cost::Acl,
        Work::CreateAclItem { .. } => Cost::Rule,
        Work::Associate { .. } => Cost::Associate,
        Work::Expunge { .. } => Cost::Expunge,
        Work::Machine { vm, change } => {
            machine::begin(world, vm, change);
            Cost::Move
        }
        Work::Maintain { host } => {
            host::begin(world, host);
            Cost::Move
        }
        Work::MoveNic { .. } | Work::Nic(_) | Work::Scale { .. } | Work::Volume { .. } => {
            Cost::Move
        }
        Work::UpdateVpc { .. }
        | Work::EndMaintenance { .. }
        | Work::UpdateNetwork { .. }
        | Work::Disassociate { .. }
        | Work::DisableNat { .. }
        | Work::Rule(_)
        | Work::Security(_)
        | Work::Regroup { .. }
        | Work::CreateGroup { .. }
        | Work::DeleteGroup { .. }
        | Work::CreateTags { .. }
        | Work::DeleteTags { .. }
        | Work::AddDetails { .. }
        | Work::RemoveDetail { .. }
        | Work::Settled { .. } => Cost::Quick,
    };
    world.profile.job(cost)
}

/// Applies a job.
pub(crate) fn finish(world: &mut World, job: &Job) -> Outcome {
    match &job.work {
        Work::Deploy { vm, start: true } => vm_power::started(world, job, vm, true),
        Work::Deploy { vm, start: false } => vm::deployed(world, job, vm),
        Work::Start { vm } => vm_power::started(world, job, vm, false),
        Work::Revive { vm, tries } => vm_power::revived(world, job, vm, *tries),
        Work::Stop { vm } => vm_power::stopped(world, job, vm),
        Work::Reboot { vm, .. } => vm_power::rebooted(world, job, vm),
        Work::Destroy { vm, expunge, .. } => vm_power::destroyed(world, job, vm, *expunge),
        Work::Restore {
            vm,
            template,
            root_gib,
        } => vm::restored(world, job, vm, (template.as_ref(), *root_gib)),
        Work::Expunge { vm } => vm::expunged(world, job, vm),
        Work::Scale { vm, offering } => vm::scaled(world, job, vm, offering),
        Work::Nic(work) => nic::finish(world, job, work),
        Work::MoveNic { nic, ip } => vm::nic_moved(world, job, nic, *ip),
        Work::Regroup { vm, groups } => vm::regrouped(world, job, vm, groups),
        Work::Machine { vm, change } => machine::finish(world, job, vm, change),
        Work::Maintain { host } => host::emptied(world, host),
        Work::EndMaintenance { host } => host::back(world, host),
        Work::Volume { volume, change } => volume::finish(world, job, volume, change),
        Work::CreateGroup { group } => vm::group_created(world, job, group),
        Work::DeleteGroup { group } => vm::group_deleted(world, group),
        Work::CreateVpc { .. }
        | Work::UpdateVpc { .. }
        | Work::DeleteVpc { .. }
        | Work::RestartVpc { .. }
        | Work::UpdateNetwork { .. }
        | Work::DeleteNetwork { .. }
        | Work::RestartNetwork { .. }
        | Work::Associate { .. }
        | Work::Disassociate { .. }
        | Work::DisableNat { .. } => network::finish(world, job),
        Work::Leave(leaving) => leaving::finish(world, leaving),
        Work::Rule(work) => rule::finish(world, job, work),
        Work::Security(work) => security_group::finish(world, work),
        Work::CreateAclList { .. }
        | Work::UpdateAclList { .. }
        | Work::DeleteAclList { .. }
        | Work::ReplaceAclList { .. }
        | Work::CreateAclItem { .. }
        | Work::UpdateAclItem { .. }
        | Work::MoveAclItem { .. }
        | Work::DeleteAclItem { .. } => acl::finish(world, job),
        Work::CreateTags {
            kind,
            resources,
            tags,
        } => tag::created(world, job, kind, resources, tags),
        Work::DeleteTags {
            kind,
            resources,
            tags,
        } => tag::deleted(world, job, kind, resources, tags),
        Work::AddDetails {
            kind,
            resource,
            details,
        } => tag::details_added(world, job, kind, resource, details),
        Work::Settled { result } => Ok(result.clone()),
        Work::RemoveDetail {
            kind,
            resource,
            key,
        } => tag::detail_removed(world, job, kind, resource, key.as_deref()),
    }
}

/// Takes back what the beginning of a job marked: the job was made to fail.
pub(crate) fn undo(world: &mut World, work: &Work) {
    let Some(vm) = work.locks().and_then(|id| world.vms.get_mut(id)) else {
        return;
    };
    match vm.state {
        VmState::Starting => {
            vm.state = VmState::Stopped;
            vm.host = None;
        }
        VmState::Stopping | VmState::Migrating => vm.state = VmState::Running,
        VmState::Stopped
        | VmState::Running
        | VmState::Destroyed
        | VmState::Expunging
        | VmState::Error => {}
    }
}
