//! The synchronous changes of machines.

use std::collections::BTreeMap;

use serde_json::json;

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, admin, sync};
use super::vm_deploy::{check_name, refuse_taken_name};
use crate::sim::events::Subject;
use crate::sim::reply::ApiError;
use crate::sim::view::vm::{DENIED, Shape, row};
use crate::sim::world::catalogue::Catalogue;
use crate::sim::world::{Kind, Size, Uuid, Vm, VmState};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    sync(
        "updateVirtualMachine",
        "id!:uuid name displayname group haenable:boolean isdynamicallyscalable:boolean \
         details:map cleanupdetails:boolean deleteprotection:boolean userdata \
         userdataid:uuid userdatadetails:map ostypeid:uuid securitygroupids:list \
         displayvm:boolean",
        update,
    ),
    sync(
        "changeServiceForVirtualMachine",
        "id!:uuid serviceofferingid!:uuid details:map",
        change_service,
    ),
    admin(
        "resetUserDataForVirtualMachine",
        "id!:uuid userdata userdataid:uuid userdatadetails:map account domainid:uuid \
         projectid:uuid",
        reset_user_data,
    ),
];

fn shown(call: &Call<'_>, id: &Uuid, shape: &Shape) -> Answered {
    let vm = call
        .world
        .vms
        .get(id)
        .map(|vm| row(call.world, &call.viewer(), vm, shape));
    Ok(Answer::Object(json!({"virtualmachine": vm})))
}

fn living(call: &Call<'_>, id: &Uuid) -> Result<Vm, ApiError> {
    let vm = call.world.vms.get(id).cloned();
    vm.ok_or_else(|| ApiError::value(format!("Unable to find virtual machine with id {id}")))
}

/// `updateVirtualMachine`: names, details and user data, on a running machine too.
pub(crate) fn update(call: &mut Call<'_>) -> Answered {
    let id = call.own_vm("id")?;
    if let Some(name) = call.text("name") {
        check_name(call, name)?;
    }
    let vm = living(call, &id)?;
    let subject = Subject::vm(call.world, &id);
    if matches!(vm.state, VmState::Error | VmState::Expunging) {
        let text = format!("Error while updating Vm. Vm Id: {id}");
        call.report("VM.UPDATE", "Completed", true, text, subject);
        let text = format!("Unable to update {} in its state", call.world.quoted(&vm));
        return Err(ApiError::internal(4250, text));
    }
    let name = new_name(call, &vm)?;
    let data = super::user_data::given(call)?;
    let details = new_details(call, &vm);
    let ha = call.flag("haenable");
    let group = call.owned_text("group");
    let group = group.map(|name| super::instance_group::found_or_made(call, Some(&vm), &name));
    let display_name = call.owned_text("displayname");
    let protection = call.flag("deleteprotection");
    if let Some(vm) = call.world.vms.get_mut(&id) {
        vm.name = name.unwrap_or_else(|| vm.name.clone());
        vm.display_name = display_name.or_else(|| vm.display_name.clone());
        if data.data.is_some() {
            vm.user_data = data.data;
            vm.user_data_id = data.id;
        }
        vm.ha = ha.unwrap_or(vm.ha);
        vm.group = group.or_else(|| vm.group.clone());
        vm.details = details.unwrap_or_else(|| vm.details.clone());
        vm.delete_protection = protection.unwrap_or(vm.delete_protection);
    }
    let text = format!("Successfully completed updating Vm. Vm Id: {id}");
    let subject = Subject::vm(call.world, &id);
    call.report("VM.UPDATE", "Completed", false, text, subject);
    shown(call, &id, &Shape::all())
}

fn new_name(call: &Call<'_>, vm: &Vm) -> Result<Option<String>, ApiError> {
    let Some(name) = call.owned_text("name").filter(|name| *name != vm.name) else {
        return Ok(None);
    };
    let networks = vm
        .nics
        .iter()
        .filter_map(|nic| call.world.networks.get(&nic.network));
    let networks: Vec<_> = networks.collect();
    refuse_taken_name(call, &name, &networks, &vm.id)?;
    Ok(Some(name))
}

/// New details replace all the old ones, and `cleanupdetails` leaves none: but for those that users
/// do not see, which they cannot lose either.
fn new_details(call: &Call<'_>, vm: &Vm) -> Option<BTreeMap<String, String>> {
    let clean = call.flag("cleanupdetails") == Some(true);
    let mut details = match call.details("details") {
        _ if clean => BTreeMap::new(),
        details => details?,
    };
    if !call.caller.admin {
        let hidden = vm.details.iter();
        let hidden = hidden.filter(|(name, _)| DENIED.contains(&name.as_str()));
        details.extend(hidden.map(|(name, value)| (name.clone(), value.clone())));
    }
    Some(details)
}

/// `changeServiceForVirtualMachine`.
pub(crate) fn change_service(call: &mut Call<'_>) -> Answered {
    let id = call.own_vm("id")?;
    let offering = call.required_id("serviceofferingid", Kind::ServiceOffering)?;
    let vm = living(call, &id)?;
    let quoted = call.world.quoted(&vm);
    if vm.state != VmState::Stopped {
        let text = format!(
            "Unable to upgrade virtual machine {quoted} in state {}; make sure the virtual machine is stopped",
            vm.state
        );
        return Err(ApiError::value(text));
    }
    if vm.offering == offering {
        let row = Catalogue::find(&call.world.catalogue.service_offerings, &offering);
        let name = row.map_or("", |row| Catalogue::text(row, "name"));
        let text = format!(
            "Not upgrading vm {quoted} since it already has the requested service offering ({name})"
        );
        return Err(ApiError::value(text));
    }
    let size = offered_size(call, &offering)?;
    if let Some(vm) = call.world.vms.get_mut(&id) {
        vm.offering = offering;
        vm.size = size;
    }
    let subject = Subject::vm(call.world, &id);
    let text = format!("Successfully completed upgrading Vm. Vm Id: {id}");
    call.report("VM.UPGRADE", "Completed", false, text, subject);
    shown(call, &id, &Shape::all())
}

/// The size that an offering gives, or that `details` choose.
pub(super) fn offered_size(call: &Call<'_>, offering: &str) -> Result<Size, ApiError> {
    let row = Catalogue::find(&call.world.catalogue.service_offerings, offering);
    let details = call.details("details").unwrap_or_default();
    super::vm_order::size(&row.cloned().unwrap_or_default(), &details)
}

/// `resetUserDataForVirtualMachine`, which the role User lacks.
pub(crate) fn reset_user_data(call: &mut Call<'_>) -> Answered {
    let id = call.own_vm("id")?;
    let vm = living(call, &id)?;
    if vm.state != VmState::Stopped {
        let text = format!(
            "VM {} should be stopped to do UserData reset",
            call.world.quoted(&vm)
        );
        return Err(ApiError::value(text));
    }
    let data = super::user_data::given(call)?;
    if let Some(vm) = call.world.vms.get_mut(&id) {
        vm.user_data = data.data;
        vm.user_data_id = data.id;
    }
    let text = format!("VM userdata. Vm Id: {}", vm.number);
    let subject = Subject::vm(call.world, &id);
    let started = format!("Resetting {text}");
    call.report(
        "VM.RESETUSERDATA",
        "Started",
        false,
        started,
        subject.clone(),
    );
    let completed = format!("Successfully completed resetting {text}");
    call.report("VM.RESETUSERDATA", "Completed", false, completed, subject);
    shown(call, &id, &Shape::all().restricted())
}
