//! Tags and resource details. All that could refuse a tag is looked at by the job.

use serde_json::json;

use super::call::{Answered, Call};
use super::declare::{Command, class, job, sync};
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::view;
use crate::sim::world::{Detail, Kind, Tag, Uuid};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    job(
        "createTags",
        "resourcetype! resourceids!:list tags!:map customer",
        create,
        class("tag", "CreateTagsCmd", ""),
    ),
    sync(
        "listTags",
        "resourcetype resourceid key value customer @owned",
        list,
    ),
    job(
        "deleteTags",
        "resourcetype! resourceids!:list tags:map",
        delete,
        class("tag", "DeleteTagsCmd", ""),
    ),
    job(
        "addResourceDetail",
        "resourceid! resourcetype! details!:map fordisplay:boolean",
        add_detail,
        class("volume", "AddResourceDetailCmd", ""),
    ),
    job(
        "removeResourceDetail",
        "resourceid! resourcetype! key",
        remove_detail,
        class("volume", "RemoveResourceDetailCmd", ""),
    ),
    sync(
        "listResourceDetails",
        "resourcetype! resourceid key value fordisplay:boolean @owned",
        list_details,
    ),
];

fn resources(call: &Call<'_>) -> Vec<Uuid> {
    let listed = call
        .text("resourceids")
        .unwrap_or_default()
        .split(',')
        .map(str::trim);
    listed
        .filter(|id| !id.is_empty())
        .map(ToOwned::to_owned)
        .collect()
}

/// `createTags`: several tags on several resources, all or none.
pub(crate) fn create(call: &mut Call<'_>) -> Answered {
    let kind = call.required("resourcetype")?;
    let pairs = call.tags.clone();
    let tags = pairs
        .into_iter()
        .map(|(key, value)| (key, value.unwrap_or_default()))
        .collect();
    let resources = resources(call);
    call.submit(
        Work::CreateTags {
            kind,
            resources,
            tags,
        },
        None,
        None,
    )
}

/// `deleteTags`: the named ones, or all.
pub(crate) fn delete(call: &mut Call<'_>) -> Answered {
    let kind = call.required("resourcetype")?;
    let (resources, tags) = (resources(call), call.tags.clone());
    call.submit(
        Work::DeleteTags {
            kind,
            resources,
            tags,
        },
        None,
        None,
    )
}

/// `listTags`.
pub(crate) fn list(call: &mut Call<'_>) -> Answered {
    let same = |name: &str, value: &str| {
        call.text(name)
            .is_none_or(|wanted| wanted.eq_ignore_ascii_case(value))
    };
    let tags: Vec<&Tag> = call
        .world
        .tags
        .iter()
        .filter(|tag| call.sees(Some(&tag.account)))
        .filter(|tag| same("resourcetype", &tag.resource_type))
        .filter(|tag| call.wants("resourceid", Some(&tag.resource)))
        .filter(|tag| call.wants("key", Some(&tag.key)))
        .filter(|tag| call.wants("value", Some(&tag.value)))
        .collect();
    call.page("tag", &tags, |tag| view::tag(call.world, tag, true))
}

/// `addResourceDetail`.
pub(crate) fn add_detail(call: &mut Call<'_>) -> Answered {
    let (kind, resource) = (call.required("resourcetype")?, call.required("resourceid")?);
    let pairs = call.params.pairs("details");
    let details = if pairs.is_empty() {
        call.details("details").unwrap_or_default()
    } else {
        pairs
            .into_iter()
            .map(|(key, value)| (key, value.unwrap_or_default()))
            .collect()
    };
    call.submit(
        Work::AddDetails {
            kind,
            resource,
            details,
        },
        None,
        None,
    )
}

/// `removeResourceDetail`.
pub(crate) fn remove_detail(call: &mut Call<'_>) -> Answered {
    let (kind, resource) = (call.required("resourcetype")?, call.required("resourceid")?);
    let key = call.owned_text("key");
    call.submit(
        Work::RemoveDetail {
            kind,
            resource,
            key,
        },
        None,
        None,
    )
}

/// `listResourceDetails`: of one resource, or, for an admin, of all that carry a key and value.
pub(crate) fn list_details(call: &mut Call<'_>) -> Answered {
    let kind = call.required("resourcetype")?;
    let admin_search =
        call.caller.admin && call.text("key").is_some() && call.text("value").is_some();
    if call.text("resourceid").is_none() && !admin_search {
        let text = "Insufficient parameters passed to list resource details";
        return Err(ApiError::value(text));
    }
    let of_vms = call.world.vms.values().flat_map(|vm| {
        vm.details.iter().map(|(key, value)| Detail {
            resource_type: "UserVm".to_owned(),
            resource: vm.id.clone(),
            key: key.clone(),
            value: value.clone(),
        })
    });
    let owner = |detail: &Detail| {
        let kinds = [
            Kind::Vm,
            Kind::Network,
            Kind::Vpc,
            Kind::AclList,
            Kind::Address,
        ];
        kinds
            .into_iter()
            .find_map(|kind| call.world.owner(kind, &detail.resource))
    };
    let details: Vec<Detail> = call
        .world
        .details
        .iter()
        .cloned()
        .chain(of_vms)
        .filter(|detail| detail.resource_type.eq_ignore_ascii_case(&kind))
        .filter(|detail| {
            let mine = |owner: &str| call.world.may_act(&call.caller.home, owner);
            call.caller.admin || owner(detail).is_some_and(mine)
        })
        .filter(|detail| call.wants("resourceid", Some(&detail.resource)))
        .filter(|detail| call.wants("key", Some(&detail.key)))
        .filter(|detail| !call.caller.admin || call.wants("value", Some(&detail.value)))
        .collect();
    call.page("resourcedetail", &details, |detail| {
        let row = json!({
            "resourceid": detail.resource,
            "resourcetype": detail.resource_type,
            "key": detail.key,
            "value": detail.value,
            "fordisplay": true,
        });
        row.as_object().cloned().unwrap_or_default()
    })
}
