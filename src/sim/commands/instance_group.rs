//! Groups of machines.

use serde_json::json;

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, sync};
use crate::sim::reply::ApiError;
use crate::sim::view::{RowOf, date};
use crate::sim::world::catalogue::Row;
use crate::sim::world::{InstanceGroup, Kind, Uuid, Vm, World};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    sync(
        "createInstanceGroup",
        "name! account domainid:uuid projectid:uuid",
        create,
    ),
    sync("listInstanceGroups", "id:uuid name @owned", list),
    sync("updateInstanceGroup", "id!:uuid name", update),
    sync("deleteInstanceGroup", "id!:uuid", delete),
];

fn row(world: &World, group: &InstanceGroup) -> Row {
    RowOf::new()
        .set("id", group.id.as_str())
        .set("name", group.name.as_str())
        .set("created", date(group.created))
        .owner(world, &group.account)
        .set("hasannotations", false)
        .done()
}

fn named<'world>(world: &'world World, account: &str, name: &str) -> Option<&'world InstanceGroup> {
    let mut groups = world.instance_groups.values();
    groups.find(|group| group.account == account && group.name == name)
}

fn add(call: &mut Call<'_>, account: Uuid, name: String) -> Uuid {
    let group = InstanceGroup {
        number: call.world.next_number(Kind::InstanceGroup),
        id: call.world.fresh_id(),
        name,
        account,
        created: call.world.wall(),
    };
    let id = group.id.clone();
    call.world.instance_groups.insert(id.clone(), group);
    id
}

/// The group of this name in the account of the machine that is to be in it, whoever asks; made if
/// there is none. A new machine is of the caller's account.
pub(super) fn found_or_made(call: &mut Call<'_>, machine: Option<&Vm>, name: &str) -> Uuid {
    let account = machine.map_or(&call.caller.account, |vm| &vm.account);
    let account = account.clone();
    let found = named(call.world, &account, name);
    match found.map(|group| group.id.clone()) {
        Some(id) => id,
        None => add(call, account, name.to_owned()),
    }
}

fn taken(name: &str) -> ApiError {
    ApiError::value(format!(
        "Unable to create vm group, a group with name {name} already exists for account"
    ))
}

/// `createInstanceGroup`.
pub(crate) fn create(call: &mut Call<'_>) -> Answered {
    let name = call.required("name")?;
    if named(call.world, &call.caller.account, &name).is_some() {
        return Err(taken(&name));
    }
    let id = add(call, call.caller.account.clone(), name);
    shown(call, &id)
}

fn shown(call: &Call<'_>, id: &Uuid) -> Answered {
    let group = call.world.instance_groups.get(id);
    let group = group.map(|group| row(call.world, group));
    Ok(Answer::Object(json!({"instancegroup": group})))
}

/// `listInstanceGroups`.
pub(crate) fn list(call: &mut Call<'_>) -> Answered {
    call.id("id", Kind::InstanceGroup)?;
    let mut groups: Vec<&InstanceGroup> = call
        .world
        .instance_groups
        .values()
        .filter(|group| call.sees(Some(&group.account)))
        .filter(|group| call.wants("id", Some(&group.id)))
        .filter(|group| call.wants("name", Some(&group.name)))
        .filter(|group| call.holds("keyword", &group.name))
        .collect();
    groups.sort_by_key(|group| group.number);
    call.page("instancegroup", &groups, |group| row(call.world, group))
}

/// `updateInstanceGroup`.
pub(crate) fn update(call: &mut Call<'_>) -> Answered {
    let id = call.own("id", Kind::InstanceGroup)?;
    if let Some(name) = call.owned_text("name") {
        let other = named(call.world, &call.caller.account, &name);
        if other.is_some_and(|other| other.id != id) {
            return Err(taken(&name));
        }
        if let Some(group) = call.world.instance_groups.get_mut(&id) {
            group.name = name;
        }
    }
    shown(call, &id)
}

/// `deleteInstanceGroup`: its machines simply lose it.
pub(crate) fn delete(call: &mut Call<'_>) -> Answered {
    let id = call.own("id", Kind::InstanceGroup)?;
    let Some(group) = call.world.instance_groups.remove(&id) else {
        return Err(ApiError::value(format!(
            "unable to find a vm group with id {id}"
        )));
    };
    call.world.bury(Kind::InstanceGroup, &id, group.number);
    let members = call.world.vms.values();
    let members = members.filter(|vm| vm.group.as_ref() == Some(&id));
    for vm in members.map(|vm| vm.id.clone()).collect::<Vec<_>>() {
        if let Some(vm) = call.world.vms.get_mut(&vm) {
            vm.group = None;
        }
    }
    Ok(Answer::success())
}
