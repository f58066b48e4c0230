//! Looking at machines.

use serde_json::json;

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, sync};
use crate::sim::reply::ApiError;
use crate::sim::view::vm::{GROUPS, Shape, metrics as metrics_row, row};
use crate::sim::world::index::VmKey;
use crate::sim::world::{Kind, Vm, VmState};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    sync(
        "listVirtualMachines",
        "id:uuid ids:list name state zoneid:uuid networkid:uuid vpcid:uuid \
         affinitygroupid:uuid keypair serviceofferingid:uuid templateid:uuid isoid:uuid \
         groupid:uuid userid:uuid hypervisor securitygroupid:uuid haenable:boolean \
         userdataid:uuid userdata:boolean details:list \
         retrieveonlyresourcecount:boolean accumulate:boolean displayvm:boolean \
         hostid:uuid podid:uuid clusterid:uuid storageid:uuid tags:map @owned",
        list,
    ),
    sync(
        "listVirtualMachinesMetrics",
        "id:uuid ids:list name state zoneid:uuid networkid:uuid vpcid:uuid \
         affinitygroupid:uuid keypair serviceofferingid:uuid templateid:uuid \
         groupid:uuid userid:uuid details:list tags:map @owned",
        metrics,
    ),
    sync(
        "getVirtualMachineUserData",
        "virtualmachineid!:uuid",
        user_data,
    ),
];

/// The machines that a list shows, oldest first.
fn chosen<'call>(call: &'call Call<'_>) -> Result<Vec<&'call Vm>, ApiError> {
    call.id("id", Kind::Vm)?;
    call.id("networkid", Kind::Network)?;
    call.id("vpcid", Kind::Vpc)?;
    call.id("affinitygroupid", Kind::AffinityGroup)?;
    let ids: Option<Vec<&str>> = call.text("ids").map(|ids| ids.split(',').collect());
    let mut vms: Vec<&Vm> = candidates(call)
        .into_iter()
        .filter(|vm| call.sees(Some(&vm.account)) && is_shown(call, vm) && in_place(call, vm))
        .filter(|vm| ids.as_ref().is_none_or(|ids| ids.contains(&vm.id.as_str())))
        .filter(|vm| call.wants("id", Some(&vm.id)) && call.wants("name", Some(&vm.name)))
        .filter(|vm| call.wants("serviceofferingid", Some(&vm.offering)))
        .filter(|vm| call.wants("templateid", Some(&vm.template)))
        .filter(|vm| call.wants("userid", Some(&vm.user)))
        .filter(|vm| call.wants("hostid", vm.host.as_deref()))
        .filter(|vm| {
            call.holds("keyword", &vm.name)
                || vm
                    .display_name
                    .as_ref()
                    .is_some_and(|name| call.holds("keyword", name))
        })
        .filter(|vm| {
            let group = call.text("affinitygroupid");
            group.is_none_or(|group| vm.affinity_groups.iter().any(|id| id == group))
        })
        .filter(|vm| {
            call.text("keypair")
                .is_none_or(|key| vm.key_pairs.iter().any(|k| k == key))
        })
        .filter(|vm| call.wants("groupid", vm.group.as_deref()))
        .filter(|vm| call.wants("userdataid", vm.user_data_id.as_deref()))
        .filter(|vm| call.flag("haenable").is_none_or(|ha| vm.ha == ha))
        .filter(|vm| call.tagged(&vm.id))
        .collect();
    vms.sort_by_key(|vm| vm.number);
    Ok(vms)
}

/// The machines to look at: those of the id or name that was asked for, or all.
fn candidates<'call>(call: &'call Call<'_>) -> Vec<&'call Vm> {
    let vms = &call.world.vms;
    match (call.text("id"), call.text("name")) {
        (Some(id), _) => vms.get(id).into_iter().collect(),
        (None, Some(name)) => vms.under(&VmKey::Name(name.to_lowercase())),
        (None, None) => vms.values().collect(),
    }
}

/// Whether the state of a machine lets it be seen, and is the one asked for.
fn is_shown(call: &Call<'_>, vm: &Vm) -> bool {
    let may_see_gone = call.caller.admin || call.world.settings.allow_user_view_destroyed_vm;
    if vm.state.is_gone() && !may_see_gone {
        return false;
    }
    match call.text("state") {
        None => true,
        Some("present") => !vm.state.is_gone(),
        Some(state) => vm.state.to_string().eq_ignore_ascii_case(state),
    }
}

/// Whether a machine has a card in the network or VPC asked for; a wreck has none at all.
fn in_place(call: &Call<'_>, vm: &Vm) -> bool {
    let zone = call.wants("zoneid", Some(call.world.catalogue.zone_id()));
    let network = call.text("networkid");
    let vpc = call.text("vpcid");
    let in_network = network.is_none_or(|id| vm.nics.iter().any(|nic| nic.network == id));
    let in_vpc = vpc.is_none_or(|id| {
        vm.nics.iter().any(|nic| {
            let network = call.world.networks.get(&nic.network);
            network.is_some_and(|network| network.vpc.as_deref() == Some(id))
        })
    });
    zone && in_network && in_vpc
}

/// `listVirtualMachines`.
pub(crate) fn list(call: &mut Call<'_>) -> Answered {
    let words = call.text("details").unwrap_or("all");
    let shape = Shape::parse(words).ok_or_else(|| {
        ApiError::value(format!(
            "The details parameter contains a non permitted value. The allowed values are [{}]",
            GROUPS.join(", ")
        ))
    })?;
    let shape = shape.with_user_data(call.flag("userdata") == Some(true));
    let viewer = call.viewer();
    let vms = chosen(call)?;
    call.page("virtualmachine", &vms, |vm| {
        row(call.world, &viewer, vm, &shape)
    })
}

/// `listVirtualMachinesMetrics`.
pub(crate) fn metrics(call: &mut Call<'_>) -> Answered {
    let viewer = call.viewer();
    let vms = chosen(call)?;
    call.page("virtualmachine", &vms, |vm| {
        metrics_row(call.world, &viewer, vm)
    })
}

/// `getVirtualMachineUserData`.
pub(crate) fn user_data(call: &mut Call<'_>) -> Answered {
    let id = call.own_vm("virtualmachineid")?;
    let data = call
        .world
        .vms
        .get(&id)
        .filter(|vm| vm.state != VmState::Expunging);
    let data = data.and_then(|vm| vm.user_data.clone());
    let inside = match data {
        Some(data) => json!({"virtualmachineid": id, "userdata": data}),
        None => json!({"virtualmachineid": id}),
    };
    Ok(Answer::Object(json!({"virtualmachineuserdata": inside})))
}
