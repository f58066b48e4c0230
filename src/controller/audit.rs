//! The last look at a stack that was deleted: what still carries its mark.
//!
//! It decides nothing. What it finds is kept by the stack's `deletionPolicy`, or was marked by
//! somebody else; the operator is told.

use std::time::Duration;

use super::account::Account;
use crate::{
    cloud::{Cloud, CloudError},
    types::{
        action::{Answer, Question, mark},
        id::Uid,
        inventory::Inventory,
    },
};

/// What of a stack is left in its account, read anew, a few words each.
///
/// # Errors
/// The account could not be looked at; nothing is known then.
pub(super) async fn leftovers<C: Cloud>(
    account: &Account<C>,
    uid: &Uid,
) -> Result<Vec<String>, CloudError> {
    let inventory = account.observe_within(Duration::ZERO).await?;
    let mut left = listed(&inventory, uid);
    let ours = |text: &str| mark::uid_in(text).as_ref() == Some(uid);
    if let Answer::AclLists(lists) = account.ask(&Question::AclLists).await? {
        let lists = lists.iter().filter(|list| ours(&list.description));
        left.extend(lists.map(|list| format!("network ACL list {}", list.id)));
    }
    if let Answer::AffinityGroups(groups) = account.ask(&Question::AffinityGroups).await? {
        let groups = groups.iter().filter(|group| ours(&group.description));
        left.extend(groups.map(|group| format!("affinity group {}", group.name)));
    }
    Ok(left)
}

/// What the lists of a look show.
fn listed(inventory: &Inventory, uid: &Uid) -> Vec<String> {
    let vms = inventory
        .vms_of_stack(uid)
        .filter(|vm| !vm.state.dead())
        .map(|vm| format!("VM {} ({})", vm.name, vm.id));
    let vpcs = inventory
        .vpcs_of_stack(uid)
        .map(|vpc| format!("VPC {}", vpc.id));
    let tiers = inventory
        .networks
        .values()
        .filter(|tier| mark::uid_in(&tier.display_text).as_ref() == Some(uid))
        .map(|tier| format!("tier {}", tier.id));
    let tagged = |tag: Option<&String>| tag.is_some_and(|tag| tag == uid.as_str());
    let addresses = inventory
        .addresses
        .values()
        .filter(|row| tagged(row.tags.get(mark::TAG_STACK)))
        .map(|row| format!("public address {}", row.ip));
    vms.chain(vpcs).chain(tiers).chain(addresses).collect()
}
