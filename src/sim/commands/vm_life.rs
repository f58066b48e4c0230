//! The commands that send machines somewhere by a job.

use std::net::Ipv4Addr;

use serde_json::json;

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, class, job, sync, vm};
use super::vm_order;
use crate::sim::events::Subject;
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::view::vm::{Shape, row};
use crate::sim::world::{GIB, Kind, Uuid, VmState, VolumeKind};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    job(
        "startVirtualMachine",
        "id!:uuid hostid:uuid podid:uuid clusterid:uuid considerlasthost:boolean \
         bootintosetup:boolean deploymentplanner",
        start,
        vm("StartVMCmd"),
    ),
    job(
        "stopVirtualMachine",
        "id!:uuid forced:boolean",
        stop,
        vm("StopVMCmd"),
    ),
    job(
        "rebootVirtualMachine",
        "id!:uuid forced:boolean bootintosetup:boolean",
        reboot,
        vm("RebootVMCmd"),
    ),
    job(
        "destroyVirtualMachine",
        "id!:uuid expunge:boolean volumeids:list",
        destroy,
        vm("DestroyVMCmd"),
    ),
    job(
        "expungeVirtualMachine",
        "id!:uuid",
        expunge,
        vm("ExpungeVMCmd"),
    ),
    sync("recoverVirtualMachine", "id!:uuid", recover),
    job(
        "restoreVirtualMachine",
        "virtualmachineid!:uuid templateid:uuid diskofferingid:uuid rootdisksize:long \
         expunge:boolean details:map",
        restore,
        vm("RestoreVMCmd"),
    ),
    job(
        "scaleVirtualMachine",
        "id!:uuid serviceofferingid!:uuid details:map automigrate:boolean \
         shrinkok:boolean",
        scale,
        vm("ScaleVMCmd"),
    ),
    job(
        "updateVmNicIp",
        "nicid!:uuid ipaddress",
        move_nic,
        class("vm", "UpdateVmNicIpCmd", ""),
    ),
    job(
        "updateVMAffinityGroup",
        "id!:uuid affinitygroupids:list affinitygroupnames:list",
        regroup,
        class("affinitygroup", "UpdateVMAffinityGroupCmd", ""),
    ),
];

fn submit(call: &mut Call<'_>, parameter: &str, work: impl FnOnce(Uuid) -> Work) -> Answered {
    let vm = call.own_vm(parameter)?;
    call.submit(work(vm.clone()), Some(vm), None)
}

/// `startVirtualMachine`.
pub(crate) fn start(call: &mut Call<'_>) -> Answered {
    vm_order::refuse_places(call);
    submit(call, "id", |vm| Work::Start { vm })
}

/// `stopVirtualMachine`.
pub(crate) fn stop(call: &mut Call<'_>) -> Answered {
    submit(call, "id", |vm| Work::Stop { vm })
}

/// `rebootVirtualMachine`.
pub(crate) fn reboot(call: &mut Call<'_>) -> Answered {
    let forced = call.flag("forced") == Some(true);
    submit(call, "id", |vm| Work::Reboot { vm, forced })
}

/// `destroyVirtualMachine`. Whether the caller may expunge is looked at by the job.
pub(crate) fn destroy(call: &mut Call<'_>) -> Answered {
    let expunge = call.flag("expunge") == Some(true);
    let id = call.own_vm("id")?;
    let volumes = call.ids("volumeids", Kind::Volume)?;
    for volume in &volumes {
        let disk = call.world.volumes.get(volume);
        let its = disk.is_some_and(|disk| disk.vm.as_ref() == Some(&id));
        if !its || disk.is_some_and(|disk| disk.kind == VolumeKind::Root) {
            return Err(ApiError::value(format!(
                "Volume {volume} is not a data disk of the Instance {id}"
            )));
        }
    }
    submit(call, "id", |vm| Work::Destroy {
        vm,
        expunge,
        volumes,
    })
}

/// `expungeVirtualMachine`.
pub(crate) fn expunge(call: &mut Call<'_>) -> Answered {
    submit(call, "id", |vm| Work::Expunge { vm })
}

/// `restoreVirtualMachine`.
pub(crate) fn restore(call: &mut Call<'_>) -> Answered {
    let template = call.id("templateid", Kind::Template)?;
    let id = call.own_vm("virtualmachineid")?;
    let root_gib = vm_order::root_gib(call)?;
    let now = call.world.root_of(&id).map_or(0, |root| root.bytes);
    let more = root_gib.map_or(0, |gib| gib.saturating_mul(GIB) - now);
    call.within_storage(0, more)?;
    submit(call, "virtualmachineid", |vm| Work::Restore {
        vm,
        template,
        root_gib,
    })
}

/// `scaleVirtualMachine`.
pub(crate) fn scale(call: &mut Call<'_>) -> Answered {
    let offering = call.required_id("serviceofferingid", Kind::ServiceOffering)?;
    submit(call, "id", |vm| Work::Scale { vm, offering })
}

/// `recoverVirtualMachine`: synchronous, and for admins.
pub(crate) fn recover(call: &mut Call<'_>) -> Answered {
    let id = call.own_vm("id")?;
    if !call.caller.admin && !call.world.settings.allow_user_expunge_recover_vm {
        let text = "Recovering a vm can only be done by an Admin. Or when the allow.user.expunge.recover.vm key is set.";
        return Err(ApiError::denied(text));
    }
    let now = call.world.wall();
    match call.world.vms.get_mut(&id) {
        Some(vm) if vm.state == VmState::Destroyed => {
            vm.state = VmState::Stopped;
            vm.capacity_freed = true;
            vm.updated = Some(now);
            call.world.recount_root(&id);
        }
        _ => {
            return Err(ApiError::value(format!(
                "Vm with id {id} is not in the right state"
            )));
        }
    }
    let subject = Subject::vm(call.world, &id);
    let text = "Successfully completed Recovering VM";
    call.report("VM.RECOVER", "Completed", false, text, subject);
    let vm = call
        .world
        .vms
        .get(&id)
        .map(|vm| row(call.world, &call.viewer(), vm, &Shape::all()));
    Ok(Answer::Object(json!({"virtualmachine": vm})))
}

/// `updateVmNicIp`. Whether the machine is stopped and the address free is found out by the job.
pub(crate) fn move_nic(call: &mut Call<'_>) -> Answered {
    let nic = call.own("nicid", Kind::Nic)?;
    let given: Option<Ipv4Addr> = match call.text("ipaddress") {
        Some(ip) => Some(
            ip.parse()
                .map_err(|_| ApiError::value(format!("Invalid ip address {ip}")))?,
        ),
        None => None,
    };
    let card = call
        .world
        .vm_of_nic(&nic)
        .and_then(|vm| vm.nics.iter().find(|card| card.id == nic));
    let network = card
        .and_then(|card| call.world.networks.get(&card.network))
        .cloned();
    let ip = match (given, network) {
        (Some(ip), _) => Some(ip),
        (None, Some(network)) => call.world.free_guest_ip(&network),
        (None, None) => None,
    };
    let ip = ip.ok_or_else(|| ApiError::exhausted("Insufficient address capacity"))?;
    call.submit(Work::MoveNic { nic, ip }, None, None)
}

/// `updateVMAffinityGroup`.
pub(crate) fn regroup(call: &mut Call<'_>) -> Answered {
    let vm = call.own_vm("id")?;
    let groups = call.ids("affinitygroupids", Kind::AffinityGroup)?;
    call.submit(Work::Regroup { vm, groups }, None, None)
}
