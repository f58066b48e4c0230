//! What jobs do to machines on an admin's word, and to their keys and passwords.

use serde_json::{Value, json};

use super::vm_power::viewer;
use super::{Outcome, placement};
use crate::sim::jobs::{Job, JobFailure, MachineChange};
use crate::sim::view::vm as view;
use crate::sim::world::catalogue::Catalogue;
use crate::sim::world::{Uuid, Vm, VmState, World};

/// Marks a machine that is on its way to another host.
pub(crate) fn begin(world: &mut World, id: &str, change: &MachineChange) {
    let MachineChange::Migrate { host } = change else {
        return;
    };
    let vm = world.vms.get(id).cloned();
    let running = vm.filter(|vm| vm.state == VmState::Running);
    let goes = running.is_some_and(|vm| destination(world, &vm, host.as_ref()).is_ok());
    if let (true, Some(vm)) = (goes, world.vms.get_mut(id)) {
        vm.state = VmState::Migrating;
    }
}

/// Applies a job.
pub(crate) fn finish(world: &mut World, job: &Job, id: &Uuid, change: &MachineChange) -> Outcome {
    let Some(vm) = world.vms.get(id).cloned() else {
        return Err(JobFailure::new(431, "unable to find a virtual machine"));
    };
    match change {
        MachineChange::Keys(keys) => {
            stopped(world, &vm, "SSH Key reset")?;
            if let Some(vm) = world.vms.get_mut(id) {
                vm.key_pairs.clone_from(keys);
            }
        }
        MachineChange::Password(password) => return reset_password(world, job, &vm, password),
        MachineChange::Migrate { host } => migrate(world, vm, host.as_ref())?,
    }
    Ok(view::result(world, job, id))
}

fn stopped(world: &World, vm: &Vm, what: &str) -> Result<(), JobFailure> {
    if vm.state == VmState::Stopped {
        return Ok(());
    }
    let text = format!("VM {} should be stopped to do {what}", world.quoted(vm));
    Err(JobFailure::new(431, text))
}

fn reset_password(world: &World, job: &Job, vm: &Vm, password: &str) -> Outcome {
    let template = Catalogue::find(&world.catalogue.templates, &vm.template);
    let enabled = template.and_then(|row| row.get("passwordenabled")?.as_bool());
    if enabled != Some(true) {
        let text =
            "Fail to reset password for the virtual machine, the template is not password enabled";
        return Err(JobFailure::new(431, text));
    }
    stopped(world, vm, "Password reset")?;
    let row = world.vms.get(&vm.id);
    let row = row.map(|row| view::row(world, &viewer(job), row, &view::Shape::all()));
    let mut row = row.unwrap_or_default();
    row.insert("password".to_owned(), Value::from(password));
    Ok(json!({"virtualmachine": row}))
}

fn destination(world: &World, vm: &Vm, host: Option<&Uuid>) -> Result<Uuid, JobFailure> {
    let wanted = match host {
        Some(host) => placement::can_take(world, vm, host).then(|| host.clone()),
        None => placement::host_for(world, vm),
    };
    wanted.ok_or_else(|| {
        let text = format!(
            "Unable to find a suitable host for migration of {}",
            world.quoted(vm)
        );
        JobFailure::new(530, text)
    })
}

/// Ends a move. A machine that could not go stays where it is.
fn migrate(world: &mut World, mut vm: Vm, host: Option<&Uuid>) -> Result<(), JobFailure> {
    if vm.state != VmState::Migrating && vm.state != VmState::Running {
        let text = format!(
            "VM is not Running, unable to migrate the vm {}",
            world.quoted(&vm)
        );
        return Err(JobFailure::new(431, text));
    }
    vm.state = VmState::Running;
    let found = destination(world, &vm, host);
    let now = world.wall();
    if let Some(row) = world.vms.get_mut(&vm.id) {
        row.state = VmState::Running;
        if let Ok(host) = &found {
            row.host = Some(host.clone());
            row.updated = Some(now);
        }
    }
    found.map(|_| ())
}
