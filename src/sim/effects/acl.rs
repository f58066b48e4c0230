//! What jobs do to ACL lists and their rules.

use std::collections::BTreeMap;

use serde_json::json;

use super::vm_power::viewer;
use super::{Outcome, put, success};
use crate::sim::jobs::{Job, JobFailure, Work};
use crate::sim::view::net;
use crate::sim::world::index::NetworkKey;
use crate::sim::world::{AclItem, EVERYBODY, Kind, Uuid, World};

/// Applies a job on an ACL list or a rule.
pub(crate) fn finish(world: &mut World, job: &Job) -> Outcome {
    match &job.work {
        Work::CreateAclList { list } => list_shown(world, job, list),
        Work::UpdateAclList {
            list,
            name,
            description,
        } => {
            if let Some(list) = world.acl_lists.get_mut(list) {
                put(&mut list.name, name);
                put(&mut list.description, description);
            }
            success()
        }
        Work::DeleteAclList { list } => list_deleted(world, list),
        Work::ReplaceAclList { list, network } => list_replaced(world, list, network.as_ref()),
        Work::CreateAclItem { item } => {
            if let Some(item) = world.acl_items.get_mut(item) {
                item.active = true;
            }
            item_shown(world, job, item)
        }
        Work::UpdateAclItem { item, change } => item_updated(world, job, item, change),
        Work::MoveAclItem {
            item,
            after,
            before,
        } => {
            item_moved(world, item, after.as_ref(), before.as_ref());
            item_shown(world, job, item)
        }
        Work::DeleteAclItem { item } => {
            world.acl_items.remove(item);
            world.unlabel(item);
            success()
        }
        _ => success(),
    }
}

fn list_shown(world: &World, job: &Job, id: &Uuid) -> Outcome {
    let row = world
        .acl_lists
        .get(id)
        .map(|list| net::acl_list(world, &viewer(job), list));
    Ok(json!({"networkacllist": row}))
}

fn item_shown(world: &World, job: &Job, id: &Uuid) -> Outcome {
    let row = world
        .acl_items
        .get(id)
        .map(|item| net::acl_item(world, &viewer(job), item));
    Ok(json!({"networkacl": row}))
}

fn list_deleted(world: &mut World, id: &Uuid) -> Outcome {
    let users = world.networks.under(&NetworkKey::Acl(id.clone())).len();
    if users > 0 {
        let text = format!(
            "ACL is still associated with {users} tier(s). Cannot delete network ACL: {id}"
        );
        return Err(JobFailure::new(530, text));
    }
    world.drop_acl_list(id);
    success()
}

fn list_replaced(world: &mut World, list: &Uuid, network: Option<&Uuid>) -> Outcome {
    let Some(network) = network else {
        let text = "Network ID and private gateway can't be null at the same time";
        return Err(JobFailure::new(530, text));
    };
    if let Some(network) = world.networks.get_mut(network) {
        network.acl = Some(list.clone());
    }
    success()
}

/// A changed rule shows itself as `Add` in the job's own result.
fn item_updated(
    world: &mut World,
    job: &Job,
    id: &Uuid,
    change: &BTreeMap<String, String>,
) -> Outcome {
    let Some(item) = world.acl_items.get(id).cloned() else {
        return success();
    };
    let mut item = changed(item, change).map_err(|text| JobFailure::new(431, text))?;
    if world.number_taken(&item.list, item.number, &item.id) {
        let text = format!(
            "ACL item with number {} already exists in ACL: {}",
            item.number, item.list
        );
        return Err(JobFailure::new(431, text));
    }
    item.active = false;
    let shown = json!({"networkacl": net::acl_item(world, &viewer(job), &item)});
    item.active = true;
    world.acl_items.insert(id.clone(), item);
    Ok(shown)
}

/// A rule with some of its fields changed; an error if they do not fit each other.
pub(crate) fn changed(
    mut item: AclItem,
    change: &BTreeMap<String, String>,
) -> Result<AclItem, String> {
    let text = |name: &str| change.get(name).cloned();
    if change
        .get("partialupgrade")
        .is_some_and(|flag| flag.eq_ignore_ascii_case("false"))
    {
        (
            item.start_port,
            item.end_port,
            item.icmp_type,
            item.icmp_code,
        ) = (None, None, None, None);
        item.reason = None;
        item.cidr_list = EVERYBODY.to_owned();
    }
    item.protocol = text("protocol").map_or(item.protocol, |name| name.to_lowercase());
    item.start_port = text("startport")
        .and_then(|port| port.parse().ok())
        .or(item.start_port);
    item.end_port = text("endport")
        .and_then(|port| port.parse().ok())
        .or(item.end_port);
    item.icmp_type = text("icmptype")
        .and_then(|code| code.parse().ok())
        .or(item.icmp_type);
    item.icmp_code = text("icmpcode")
        .and_then(|code| code.parse().ok())
        .or(item.icmp_code);
    item.cidr_list = text("cidrlist").unwrap_or(item.cidr_list);
    item.traffic = text("traffictype").unwrap_or(item.traffic);
    item.action = text("action").unwrap_or(item.action);
    item.reason = text("reason").or(item.reason);
    item.number = text("number")
        .and_then(|number| number.parse().ok())
        .unwrap_or(item.number);
    check(&item)?;
    Ok(item)
}

/// Whether the fields of a rule fit each other.
pub(crate) fn check(item: &AclItem) -> Result<(), String> {
    let ports = item.start_port.is_some() || item.end_port.is_some();
    match item.protocol.as_str() {
        "icmp" | "all" if ports => Err(format!(
            "Can't specify start/end port when protocol is {}",
            item.protocol
        )),
        "tcp" | "udp" | "icmp" | "all" => Ok(()),
        other if other.parse::<u8>().is_ok() => Ok(()),
        other => Err(format!("Invalid protocol: {other}")),
    }?;
    match (item.start_port, item.end_port) {
        (Some(start), Some(end)) if start > end => Err(format!(
            "Start port can't be bigger than end port [startport={start},endport={end}]"
        )),
        _ => Ok(()),
    }
}

/// Moves a rule: without a rule to come before, it goes to the bottom of the list.
fn item_moved(world: &mut World, id: &Uuid, after: Option<&Uuid>, before: Option<&Uuid>) {
    let Some(list) = world.acl_items.get(id).map(|item| item.list.clone()) else {
        return;
    };
    let number_of = |id: &Uuid| world.acl_items.get(id).map(|item| item.number);
    let number = match (after.and_then(number_of), before.and_then(number_of)) {
        (_, None) => world
            .rules_of(&list)
            .last()
            .map_or(1, |last| last.number + 1),
        (Some(previous), Some(_)) => previous + 1,
        (None, Some(next)) => next.saturating_sub(1).max(1),
    };
    let mut wanted = number;
    for rule in world
        .rules_of(&list)
        .into_iter()
        .map(|rule| rule.id.clone())
        .collect::<Vec<_>>()
    {
        let Some(rule) = world.acl_items.get_mut(&rule).filter(|rule| rule.id != *id) else {
            continue;
        };
        if rule.number == wanted {
            rule.number += 1;
            wanted += 1;
        }
    }
    if let Some(item) = world.acl_items.get_mut(id) {
        item.number = number;
    }
}

/// The account that a list belongs to; none for the two default lists.
pub(crate) fn owner_of_list<'world>(world: &'world World, list: &str) -> Option<&'world str> {
    world.owner(Kind::AclList, list)
}
