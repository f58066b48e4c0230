//! What jobs do to tags and resource details.

use std::collections::BTreeMap;

use super::{Outcome, success};
use crate::sim::jobs::{Job, JobFailure};
use crate::sim::world::{Detail, Kind, Tag, Uuid, World};

/// The resource types that can be tagged, as the server spells them, and what they are here; none
/// where the simulator has no such thing.
///
/// From the server's own list, `ResourceTag.ResourceObjectType` of 4.22.
const TAGGABLE: [(&str, Option<Kind>); 23] = [
    ("UserVm", Some(Kind::Vm)),
    ("Network", Some(Kind::Network)),
    ("Vpc", Some(Kind::Vpc)),
    ("NetworkACL", Some(Kind::AclItem)),
    ("PublicIpAddress", Some(Kind::Address)),
    ("Template", Some(Kind::Template)),
    ("ISO", None),
    ("Volume", Some(Kind::Volume)),
    ("Snapshot", None),
    ("LoadBalancer", Some(Kind::LoadBalancer)),
    ("PortForwardingRule", Some(Kind::PortForwarding)),
    ("FirewallRule", Some(Kind::FirewallRule)),
    ("SecurityGroup", Some(Kind::SecurityGroup)),
    ("SecurityGroupRule", Some(Kind::SecurityRule)),
    ("StaticRoute", Some(Kind::StaticRoute)),
    ("Project", Some(Kind::Project)),
    ("Account", Some(Kind::Account)),
    ("User", Some(Kind::User)),
    ("Backup", None),
    ("VMSnapshot", None),
    ("RemoteAccessVpn", None),
    ("SnapshotPolicy", None),
    ("VpcOffering", Some(Kind::VpcOffering)),
];

/// Types that the server knows and does not tag.
const UNTAGGABLE: [&str; 17] = [
    "AutoScaleVmGroup",
    "AutoScaleVmProfile",
    "CustomerGateway",
    "DiskOffering",
    "Domain",
    "GuestOs",
    "LBHealthCheckPolicy",
    "LBStickinessPolicy",
    "NetworkACLList",
    "NetworkOffering",
    "Nic",
    "PrivateGateway",
    "ServiceOffering",
    "Storage",
    "VpnConnection",
    "VpnGateway",
    "Zone",
];

/// A resource type as the server spells it, and what it is here.
fn taggable(name: &str) -> Result<(&'static str, Option<Kind>), JobFailure> {
    if let Some(found) = TAGGABLE
        .iter()
        .find(|(known, _)| known.eq_ignore_ascii_case(name))
    {
        return Ok(*found);
    }
    let text = match UNTAGGABLE
        .iter()
        .find(|known| known.eq_ignore_ascii_case(name))
    {
        Some(known) => format!("The resource type {known} doesn't support resource tags"),
        None => format!("Invalid resource type {name}"),
    };
    Err(JobFailure::new(431, text))
}

/// A resource that tags are set on: its type, as the server spells it, and whose it is.
struct Reached {
    name: &'static str,
    owner: Option<Uuid>,
}

/// Checks that a resource exists and is the submitter's.
fn reach(world: &World, job: &Job, name: &str, id: &str) -> Result<Reached, JobFailure> {
    let (name, kind) = taggable(name)?;
    let known = kind.is_some_and(|kind| world.knows(kind, id) && !world.gone.contains_key(id));
    if !known {
        let text = format!("Unable to find resource by uuid {id} and type {name}");
        return Err(JobFailure::new(431, text));
    }
    let owner = kind.and_then(|kind| world.owner(kind, id));
    let mine = |owner: &str| job.admin || world.may_act(&job.account, owner);
    if !owner.is_some_and(mine) && !job.admin {
        let text = format!("Account does not have permission to operate with resource {name}");
        return Err(JobFailure::new(530, text));
    }
    let owner = owner.map(ToOwned::to_owned);
    Ok(Reached { name, owner })
}

/// Sets tags: all of them, or none if one key is there already. They belong to whom the resource
/// belongs to, whoever sets them.
pub(crate) fn created(
    world: &mut World,
    job: &Job,
    kind: &str,
    resources: &[Uuid],
    tags: &[(String, String)],
) -> Outcome {
    let mut fresh = Vec::new();
    for resource in resources {
        let Reached { name, owner } = reach(world, job, kind, resource)?;
        for (key, value) in tags {
            if value.is_empty() {
                return Err(JobFailure::new(
                    431,
                    "Value for the key can't be null or empty",
                ));
            }
            if world.tags_of(resource).any(|tag| tag.key == *key) {
                let text = format!("tag {key} already on {name} with id {resource}");
                return Err(JobFailure::new(530, text));
            }
            fresh.push(Tag {
                resource_type: name.to_owned(),
                resource: resource.clone(),
                key: key.clone(),
                value: value.clone(),
                account: owner.clone().unwrap_or_else(|| job.account.clone()),
            });
        }
    }
    world.tags.extend(fresh);
    success()
}

/// Removes tags: all of the resources', or those named.
pub(crate) fn deleted(
    world: &mut World,
    job: &Job,
    kind: &str,
    resources: &[Uuid],
    tags: &[(String, Option<String>)],
) -> Outcome {
    for resource in resources {
        reach(world, job, kind, resource)?;
    }
    let stays = |tag: &Tag| {
        let named = tags.iter().any(|(key, value)| {
            *key == tag.key
                && value
                    .as_ref()
                    .is_none_or(|value| value.eq_ignore_ascii_case(&tag.value))
        });
        !(named || tags.is_empty())
    };
    let gone = resources.iter();
    let gone = gone.map(|resource| world.tags.retain_of(resource, stays));
    if gone.sum::<usize>() == 0 {
        return Err(JobFailure::new(530, "Failed to delete tags"));
    }
    success()
}

/// Sets details of a resource, replacing those of the same key.
pub(crate) fn details_added(
    world: &mut World,
    job: &Job,
    kind: &str,
    resource: &Uuid,
    details: &BTreeMap<String, String>,
) -> Outcome {
    may_detail(world, job, kind, resource)?;
    if let Some(vm) = world.vms.get_mut(resource) {
        vm.details.extend(details.clone());
        return success();
    }
    for (key, value) in details {
        world.details.retain_of(resource, |old| old.key != *key);
        world.details.push(Detail {
            resource_type: kind.to_owned(),
            resource: resource.clone(),
            key: key.clone(),
            value: value.clone(),
        });
    }
    success()
}

/// Removes one detail of a resource, or all.
pub(crate) fn detail_removed(
    world: &mut World,
    job: &Job,
    kind: &str,
    resource: &Uuid,
    key: Option<&str>,
) -> Outcome {
    may_detail(world, job, kind, resource)?;
    if let Some(vm) = world.vms.get_mut(resource) {
        vm.details
            .retain(|name, _| key.is_some_and(|key| key != name));
    }
    let stays = |old: &Detail| key.is_some_and(|key| key != old.key);
    world.details.retain_of(resource, stays);
    success()
}

/// Details may also be set on ACL lists, which take no tags.
fn may_detail(world: &World, job: &Job, kind: &str, id: &str) -> Result<(), JobFailure> {
    if kind.eq_ignore_ascii_case("NetworkACLList") && world.acl_lists.contains_key(id) {
        return Ok(());
    }
    reach(world, job, kind, id).map(|_| ())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_acl_list_takes_no_tags_and_an_affinity_group_is_no_type() {
        let list = taggable("networkacllist").expect_err("lists are untaggable");
        assert_eq!(
            list.text,
            "The resource type NetworkACLList doesn't support resource tags"
        );
        let group = taggable("AffinityGroup").expect_err("not a type");
        assert_eq!(
            (group.code, group.text.as_str()),
            (431, "Invalid resource type AffinityGroup")
        );
        assert_eq!(
            taggable("uservm").expect("machines are taggable").0,
            "UserVm"
        );
    }
}
