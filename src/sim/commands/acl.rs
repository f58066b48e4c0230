//! ACL lists and their rules.

use std::collections::BTreeMap;

use super::call::{Answered, Call};
use super::declare::{Command, class, job, sync};
use crate::sim::effects::acl::{check, owner_of_list};
use crate::sim::events::Subject;
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::view::net;
use crate::sim::world::{AclItem, AclList, EVERYBODY, Kind, Uuid};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    job(
        "createNetworkACLList",
        "name! description vpcid:uuid fordisplay:boolean",
        create_list,
        class("network", "CreateNetworkACLListCmd", "NetworkAcl"),
    ),
    sync(
        "listNetworkACLLists",
        "id:uuid name networkid:uuid vpcid:uuid fordisplay:boolean @owned",
        list_lists,
    ),
    job(
        "updateNetworkACLList",
        "id!:uuid name description fordisplay:boolean",
        update_list,
        class("network", "UpdateNetworkACLListCmd", "NetworkAcl"),
    ),
    job(
        "deleteNetworkACLList",
        "id!:uuid",
        delete_list,
        class("network", "DeleteNetworkACLListCmd", "NetworkAcl"),
    ),
    job(
        "replaceNetworkACLList",
        "aclid!:uuid networkid:uuid gatewayid:uuid",
        replace_list,
        class("network", "ReplaceNetworkACLListCmd", ""),
    ),
    job(
        "createNetworkACL",
        "protocol! aclid:uuid networkid:uuid startport:integer endport:integer \
         cidrlist:list icmptype:integer icmpcode:integer traffictype action \
         number:integer reason fordisplay:boolean",
        create_item,
        class("network", "CreateNetworkACLCmd", "NetworkAclItem"),
    ),
    sync(
        "listNetworkACLs",
        "id:uuid aclid:uuid networkid:uuid traffictype protocol action \
         fordisplay:boolean tags:map @owned",
        list_items,
    ),
    job(
        "updateNetworkACLItem",
        "id!:uuid protocol startport:integer endport:integer cidrlist:list \
         icmptype:integer icmpcode:integer traffictype action number:integer reason \
         partialupgrade:boolean fordisplay:boolean",
        update_item,
        class("network", "UpdateNetworkACLItemCmd", "NetworkAclItem"),
    ),
    job(
        "moveNetworkAclItem",
        "id!:uuid previousaclruleid:uuid nextaclruleid:uuid aclconsistencyhash",
        move_item,
        class("network", "MoveNetworkAclItemCmd", ""),
    ),
    job(
        "deleteNetworkACL",
        "id!:uuid",
        delete_item,
        class("network", "DeleteNetworkACLCmd", "NetworkAclItem"),
    ),
];

/// `createNetworkACLList`. Names need not be unique; the list exists before its job ends.
pub(crate) fn create_list(call: &mut Call<'_>) -> Answered {
    let name = call.required("name")?;
    let vpc = call.own("vpcid", Kind::Vpc)?;
    if !call.world.vpcs.contains_key(&vpc) {
        return Err(ApiError::value("Unable to find VPC"));
    }
    let list = AclList {
        number: call.world.next_number(Kind::AclList),
        id: call.world.fresh_id(),
        description: call.owned_text("description").unwrap_or_default(),
        name,
        vpc: Some(vpc),
    };
    let id = list.id.clone();
    call.world.acl_lists.insert(id.clone(), list);
    call.submit(Work::CreateAclList { list: id.clone() }, None, Some(id))
}

/// `listNetworkACLLists`: the two default lists are always among them.
pub(crate) fn list_lists(call: &mut Call<'_>) -> Answered {
    call.id("id", Kind::AclList)?;
    call.id("vpcid", Kind::Vpc)?;
    let of_network = call.id("networkid", Kind::Network)?;
    let of_network = of_network.and_then(|id| call.world.networks.get(&id)?.acl.clone());
    let by_network = call.text("networkid").is_some();
    let mut lists: Vec<&AclList> = call
        .world
        .acl_lists
        .values()
        .filter(|list| list.vpc.is_none() || call.sees(owner_of_list(call.world, &list.id)))
        .filter(|list| list.vpc.is_none() || call.wants("vpcid", list.vpc.as_deref()))
        .filter(|list| call.wants("id", Some(&list.id)) && call.wants("name", Some(&list.name)))
        .filter(|list| !by_network || of_network.as_ref() == Some(&list.id))
        .collect();
    lists.sort_by_key(|list| std::cmp::Reverse((list.vpc.is_some(), list.number)));
    let viewer = call.viewer();
    call.page("networkacllist", &lists, |list| {
        net::acl_list(call.world, &viewer, list)
    })
}

fn own_list(call: &Call<'_>, name: &str) -> Result<Uuid, ApiError> {
    let id = call.own(name, Kind::AclList)?;
    if call.world.acl_lists.contains_key(&id) {
        Ok(id)
    } else {
        Err(ApiError::value("Unable to find specified ACL"))
    }
}

/// A list that is not one of the two default ones.
fn own_changeable_list(call: &Call<'_>, name: &str, refusal: &str) -> Result<Uuid, ApiError> {
    let id = own_list(call, name)?;
    match call.world.acl_lists.get(&id) {
        Some(list) if list.vpc.is_none() => Err(ApiError::value(refusal)),
        _ => Ok(id),
    }
}

/// `updateNetworkACLList`.
pub(crate) fn update_list(call: &mut Call<'_>) -> Answered {
    let list = own_changeable_list(call, "id", "Default ACL cannot be updated")?;
    let (name, description) = (call.owned_text("name"), call.owned_text("description"));
    call.submit(
        Work::UpdateAclList {
            list,
            name,
            description,
        },
        None,
        None,
    )
}

/// `deleteNetworkACLList`.
pub(crate) fn delete_list(call: &mut Call<'_>) -> Answered {
    let list = own_changeable_list(call, "id", "Default ACL cannot be removed")?;
    call.submit(Work::DeleteAclList { list }, None, None)
}

/// `replaceNetworkACLList`.
pub(crate) fn replace_list(call: &mut Call<'_>) -> Answered {
    let list = own_list(call, "aclid")?;
    let network = call.own_if_given("networkid", Kind::Network)?;
    let tier = network.as_ref().and_then(|id| call.world.networks.get(id));
    let vpc = call
        .world
        .acl_lists
        .get(&list)
        .and_then(|list| list.vpc.clone());
    if let Some(tier) = tier {
        if tier.vpc.is_none() {
            let text = "Network is not part of a VPC. Cannot apply NetworkACL";
            return Err(ApiError::value(text));
        }
        if vpc.is_some() && vpc != tier.vpc {
            let text = "private gateway and network acl are not in the same vpc";
            return Err(ApiError::value(text));
        }
    }
    call.submit(Work::ReplaceAclList { list, network }, None, None)
}

/// The list that a new rule goes to, named itself or by its tier.
fn list_of_new_item(call: &Call<'_>) -> Result<Uuid, ApiError> {
    let list = match call.own_if_given("networkid", Kind::Network)? {
        Some(network) if call.text("aclid").is_none() => call
            .world
            .networks
            .get(&network)
            .and_then(|network| network.acl.clone()),
        _ => call.own_if_given("aclid", Kind::AclList)?,
    };
    let list = list.ok_or_else(|| {
        ApiError::value("Cannot create Network ACL Item. ACL Id or network Id is required")
    })?;
    match call.world.acl_lists.get(&list) {
        None => Err(ApiError::value("Unable to find specified ACL")),
        Some(row) if row.vpc.is_none() => Err(ApiError::value("Default ACL cannot be modified")),
        Some(_) => Ok(list),
    }
}

fn cidrs(call: &Call<'_>) -> Result<String, ApiError> {
    let text = call.text("cidrlist").unwrap_or(EVERYBODY);
    let wrong = text
        .split(',')
        .map(str::trim)
        .find(|cidr| cidr.parse::<ipnet::IpNet>().is_err());
    match wrong {
        Some(cidr) => Err(ApiError::value(format!(
            "Source cidrs formatting error {cidr}"
        ))),
        None => Ok(text.to_owned()),
    }
}

/// A rule number of its own: the one asked for, or the next.
fn number(call: &Call<'_>, list: &Uuid) -> Result<u32, ApiError> {
    let next = call
        .world
        .rules_of(list)
        .last()
        .map_or(1, |last| last.number + 1);
    let number: i64 = call.parsed("number")?.unwrap_or_else(|| i64::from(next));
    let number = u32::try_from(number)
        .ok()
        .filter(|number| *number > 0)
        .ok_or_else(|| {
            ApiError::value(format!("Invalid number \"{number}\" cannot be less than 1"))
        })?;
    if call.world.number_taken(list, number, "") {
        let text = format!("ACL item with number {number} already exists in ACL: {list}");
        return Err(ApiError::value(text));
    }
    Ok(number)
}

fn one_of(call: &Call<'_>, name: &str, words: [&str; 2]) -> Result<String, ApiError> {
    let given = call.text(name).unwrap_or(words[0]);
    let known = words.iter().find(|word| word.eq_ignore_ascii_case(given));
    let known = known.map(|word| (*word).to_owned());
    known.ok_or_else(|| ApiError::value(format!("Invalid {name} {given}")))
}

/// `createNetworkACL`.
pub(crate) fn create_item(call: &mut Call<'_>) -> Answered {
    let list = list_of_new_item(call)?;
    let protocol = call.required("protocol")?.to_lowercase();
    let start_port = call.parsed("startport")?;
    let icmp = |code: Option<i32>| {
        if protocol == "icmp" {
            code.or(Some(-1))
        } else {
            code
        }
    };
    let item = AclItem {
        serial: call.world.next_number(Kind::AclItem),
        id: call.world.fresh_id(),
        number: number(call, &list)?,
        end_port: call.parsed("endport")?.or(start_port),
        start_port,
        icmp_type: icmp(call.parsed("icmptype")?),
        icmp_code: icmp(call.parsed("icmpcode")?),
        cidr_list: cidrs(call)?,
        traffic: one_of(call, "traffictype", ["Ingress", "Egress"])?,
        action: one_of(call, "action", ["Allow", "Deny"])?,
        reason: call.owned_text("reason"),
        protocol,
        list,
        active: false,
    };
    check(&item).map_err(ApiError::value)?;
    let id = item.id.clone();
    let text = "Successfully created entity for creating network ACL Item. ACL Item Id";
    let (text, kind) = (format!("{text}: {}", item.serial), "NetworkAclItem");
    let subject = Subject {
        kind,
        ..Subject::default()
    };
    call.world.acl_items.insert(id.clone(), item);
    call.report("NETWORK.ACL.ITEM.CREATE", "Created", false, text, subject);
    call.submit(Work::CreateAclItem { item: id.clone() }, None, Some(id))
}

/// `listNetworkACLs`: without a list, the rules of all the caller's lists and of the default ones.
pub(crate) fn list_items(call: &mut Call<'_>) -> Answered {
    call.id("aclid", Kind::AclList)?;
    let tier = call.id("networkid", Kind::Network)?;
    let tier_list = tier.and_then(|id| call.world.networks.get(&id)?.acl.clone());
    let by_tier = call.text("networkid").is_some();
    let mut items: Vec<(&AclItem, bool, u64)> = call
        .world
        .acl_items
        .values()
        .filter(|item| call.wants("aclid", Some(&item.list)) && call.wants("id", Some(&item.id)))
        .filter(|item| !by_tier || tier_list.as_ref() == Some(&item.list))
        .filter(|item| call.wants("protocol", Some(&item.protocol)))
        .filter(|item| call.wants("traffictype", Some(&item.traffic)))
        .filter(|item| call.wants("action", Some(&item.action)))
        .filter(|item| call.tagged(&item.id))
        .filter_map(|item| {
            let list = call.world.acl_lists.get(&item.list)?;
            Some((item, list.vpc.is_some(), list.number))
        })
        .filter(|(item, own, _)| !own || call.sees(owner_of_list(call.world, &item.list)))
        .collect();
    items.sort_by_key(|(item, own, list)| {
        let place = if *own {
            item.serial
        } else {
            u64::from(item.number)
        };
        std::cmp::Reverse((*own, if *own { 0 } else { *list }, place))
    });
    let viewer = call.viewer();
    call.page("networkacl", &items, |(item, _, _)| {
        net::acl_item(call.world, &viewer, item)
    })
}

/// The rule that a parameter names; the two default lists are nobody's to change.
fn own_item(call: &Call<'_>, name: &str, refusal: &str) -> Result<Uuid, ApiError> {
    let id = call.own(name, Kind::AclItem)?;
    let list = call
        .world
        .acl_items
        .get(&id)
        .and_then(|item| call.world.acl_lists.get(&item.list));
    match list {
        Some(list) if list.vpc.is_none() => Err(ApiError::value(refusal)),
        _ => Ok(id),
    }
}

/// `updateNetworkACLItem`. What does not fit is found out by the job.
pub(crate) fn update_item(call: &mut Call<'_>) -> Answered {
    let item = own_item(call, "id", "Default ACL cannot be modified")?;
    let fields = [
        "protocol",
        "startport",
        "endport",
        "icmptype",
        "icmpcode",
        "cidrlist",
        "traffictype",
        "action",
        "reason",
        "number",
        "partialupgrade",
    ];
    let change: BTreeMap<String, String> = fields
        .into_iter()
        .filter_map(|name| Some((name.to_owned(), call.owned_text(name)?)))
        .collect();
    call.submit(Work::UpdateAclItem { item, change }, None, None)
}

/// `moveNetworkAclItem`.
pub(crate) fn move_item(call: &mut Call<'_>) -> Answered {
    let item = own_item(call, "id", "Default ACL cannot be modified")?;
    let after = call.own_if_given("previousaclruleid", Kind::AclItem)?;
    let before = call.own_if_given("nextaclruleid", Kind::AclItem)?;
    if after.is_none() && before.is_none() {
        let text = "Both previous and next ACL rule IDs cannot be invalid.";
        return Err(ApiError::value(text));
    }
    call.submit(
        Work::MoveAclItem {
            item,
            after,
            before,
        },
        None,
        None,
    )
}

/// `deleteNetworkACL`.
pub(crate) fn delete_item(call: &mut Call<'_>) -> Answered {
    let item = own_item(call, "id", "ACL Items in default ACL cannot be deleted")?;
    call.submit(Work::DeleteAclItem { item }, None, None)
}
