//! Affinity groups.

use serde_json::{Value, json};

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, class, job, sync};
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::view;
use crate::sim::world::{AffinityGroup, Kind};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    job(
        "createAffinityGroup",
        "name! type! description account domainid:uuid projectid:uuid",
        create,
        class("affinitygroup", "CreateAffinityGroupCmd", "AffinityGroup"),
    ),
    sync(
        "listAffinityGroups",
        "id:uuid name type virtualmachineid:uuid @owned",
        list,
    ),
    sync("listAffinityGroupTypes", "", types),
    job(
        "deleteAffinityGroup",
        "id:uuid name account domainid:uuid projectid:uuid",
        delete,
        class("affinitygroup", "DeleteAffinityGroupCmd", "AffinityGroup"),
    ),
];

/// The types that users may choose from.
const TYPES: [&str; 4] = [
    "host anti-affinity",
    "host affinity",
    "non-strict host anti-affinity",
    "non-strict host affinity",
];

/// `createAffinityGroup`. Names are unique in the account.
pub(crate) fn create(call: &mut Call<'_>) -> Answered {
    let (name, kind) = (call.required("name")?, call.required("type")?);
    if !TYPES.contains(&kind.as_str()) {
        let text = format!("Unable to create affinity group, invalid affinity group type{kind}");
        return Err(ApiError::value(text));
    }
    if call
        .world
        .group_named(&call.caller.account, &name)
        .is_some()
    {
        let text =
            format!("Unable to create affinity group, a group with name {name} already exists.");
        return Err(ApiError::value(text));
    }
    let group = AffinityGroup {
        number: call.world.next_number(Kind::AffinityGroup),
        id: call.world.fresh_id(),
        description: call.owned_text("description"),
        account: call.caller.account.clone(),
        name,
        kind,
    };
    let id = group.id.clone();
    call.world.affinity_groups.insert(id.clone(), group);
    call.submit(Work::CreateGroup { group: id.clone() }, None, Some(id))
}

/// `listAffinityGroups`.
pub(crate) fn list(call: &mut Call<'_>) -> Answered {
    call.id("id", Kind::AffinityGroup)?;
    let member = call.id("virtualmachineid", Kind::Vm)?;
    let member = member.and_then(|id| call.world.vms.get(&id));
    let by_member = call.text("virtualmachineid").is_some();
    let mut groups: Vec<&AffinityGroup> = call
        .world
        .affinity_groups
        .values()
        .filter(|group| call.sees(Some(&group.account)))
        .filter(|group| call.wants("id", Some(&group.id)))
        .filter(|group| call.wants("name", Some(&group.name)))
        .filter(|group| call.wants("type", Some(&group.kind)))
        .filter(|group| call.holds("keyword", &group.name))
        .filter(|group| {
            !by_member || member.is_some_and(|vm| vm.affinity_groups.contains(&group.id))
        })
        .collect();
    groups.sort_by_key(|group| group.number);
    let viewer = call.viewer();
    call.page("affinitygroup", &groups, |group| {
        view::group(call.world, &viewer, group)
    })
}

/// `listAffinityGroupTypes`.
pub(crate) fn types(_call: &mut Call<'_>) -> Answered {
    let rows: Vec<Value> = TYPES.iter().map(|kind| json!({"type": kind})).collect();
    Ok(Answer::List {
        key: "affinityGroupType",
        count: rows.len(),
        rows,
    })
}

/// `deleteAffinityGroup`, by id or by name.
pub(crate) fn delete(call: &mut Call<'_>) -> Answered {
    let group = match call.text("name").filter(|_| call.text("id").is_none()) {
        Some(name) => {
            let found = call.world.group_named(&call.caller.account, name);
            found.map(|group| group.id.clone()).ok_or_else(|| {
                ApiError::value(format!("Unable to find affinity group by name {name}"))
            })?
        }
        None => call.own("id", Kind::AffinityGroup)?,
    };
    if !call.world.affinity_groups.contains_key(&group) {
        return Err(ApiError::value(format!(
            "Unable to find affinity group {group}"
        )));
    }
    call.submit(Work::DeleteGroup { group }, None, None)
}
