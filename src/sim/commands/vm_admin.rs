//! What else is done to machines: keys and passwords made anew, moves to another host.

use super::call::{Answered, Call};
use super::catalogue::nothing;
use super::declare::{Command, admin_job, job, sync, vm};
use super::vm_deploy::key_pairs;
use crate::sim::jobs::{MachineChange, Work};
use crate::sim::reply::ApiError;
use crate::sim::world::{Kind, Uuid};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    job(
        "resetSSHKeyForVirtualMachine",
        "id!:uuid keypair keypairs:list account domainid:uuid projectid:uuid",
        reset_keys,
        vm("ResetVMSSHKeyCmd"),
    ),
    job(
        "resetPasswordForVirtualMachine",
        "id!:uuid password",
        reset_password,
        vm("ResetVMPasswordCmd"),
    ),
    admin_job(
        "migrateVirtualMachine",
        "virtualmachineid!:uuid hostid:uuid storageid:uuid autoselect:boolean",
        migrate,
        vm("MigrateVMCmd"),
    ),
    sync("getVMPassword", "id!:uuid", password),
    sync(
        "listVirtualMachinesUsageHistory",
        "id:uuid ids:list name startdate:date enddate:date @owned",
        history,
    ),
];

fn change(call: &mut Call<'_>, vm: Uuid, change: MachineChange) -> Answered {
    let instance = Some(vm.clone());
    call.submit(Work::Machine { vm, change }, instance, None)
}

/// `resetSSHKeyForVirtualMachine`. Whether it is stopped is found out by the job.
pub(crate) fn reset_keys(call: &mut Call<'_>) -> Answered {
    let vm = call.own_vm("id")?;
    if call.text("keypair").is_none() && call.text("keypairs").is_none() {
        let text = "KeyPair(s) must be specified";
        return Err(ApiError::value(text));
    }
    let keys = key_pairs(call)?;
    change(call, vm, MachineChange::Keys(keys))
}

/// `resetPasswordForVirtualMachine`.
pub(crate) fn reset_password(call: &mut Call<'_>) -> Answered {
    let vm = call.own_vm("id")?;
    let password = match call.owned_text("password") {
        Some(password) => password,
        None => call.world.chance.text(8),
    };
    change(call, vm, MachineChange::Password(password))
}

/// `migrateVirtualMachine`, to a host or wherever there is room.
pub(crate) fn migrate(call: &mut Call<'_>) -> Answered {
    let host = call.id("hostid", Kind::Host)?;
    if host.is_none() && call.flag("autoselect") != Some(true) {
        let text = "Please specify a host or storage as destination, or pass 'autoselect=true' to automatically select a destination host which do not require storage migration";
        return Err(ApiError::value(text));
    }
    let vm = call.own_vm("virtualmachineid")?;
    change(call, vm, MachineChange::Migrate { host })
}

/// `getVMPassword`: none is kept here for anybody to fetch.
pub(crate) fn password(call: &mut Call<'_>) -> Answered {
    let id = call.own_vm("id")?;
    Err(ApiError::value(format!(
        "No password for VM with id '{id}' found. When VM's SSH keypair is changed, the current encrypted password is removed due to incosistency in the encryptation, as the new SSH keypair is different from which the password was encrypted. To get a new password, it must be reseted."
    )))
}

/// `listVirtualMachinesUsageHistory`: no samples are kept.
pub(crate) fn history(call: &mut Call<'_>) -> Answered {
    call.id("id", Kind::Vm)?;
    nothing(call)
}
