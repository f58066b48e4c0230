//! What strangers do to rules, addresses, tiers and VPCs.

use super::{By, Done, Rule, find_address, find_vm, missing};
use crate::sim::jobs::Work;
use crate::sim::world::{AclItem, Uuid, World};

pub(super) fn described(rule: &AclItem) -> String {
    let ports = match (rule.start_port, rule.end_port) {
        (Some(first), Some(last)) if first != last => format!(" {first}-{last}"),
        (Some(port), _) => format!(" {port}"),
        (None, _) => String::new(),
    };
    format!("rule {} ({}{ports})", rule.number, rule.protocol)
}

/// The lists that a breakage is about: those that are not default lists, in a steady order.
fn lists(world: &World, wanted: &Rule) -> Vec<Uuid> {
    let mut lists: Vec<_> = world
        .acl_lists
        .values()
        .filter(|list| list.vpc.is_some())
        .filter(|list| {
            wanted
                .list
                .as_ref()
                .is_none_or(|name| *name == list.id || *name == list.name)
        })
        .collect();
    lists.sort_by_key(|list| list.number);
    lists.into_iter().map(|list| list.id.clone()).collect()
}

pub(super) fn find_rule(world: &World, wanted: &Rule) -> Result<AclItem, String> {
    let fits = |item: &&AclItem| {
        let range = item.start_port..=item.end_port;
        wanted.rule.as_ref().is_none_or(|id| *id == item.id)
            && wanted.port.is_none_or(|port| range.contains(&Some(port)))
            && wanted
                .protocol
                .as_ref()
                .is_none_or(|name| name.eq_ignore_ascii_case(&item.protocol))
            && wanted.number.is_none_or(|number| number == item.number)
    };
    let lists = lists(world, wanted);
    let mut rules = lists
        .iter()
        .flat_map(|list| world.rules_of(list))
        .filter(fits);
    rules
        .next()
        .cloned()
        .ok_or_else(|| "there is no such rule".to_owned())
}

pub(super) fn add_rule(by: &mut By<'_>, rule: &Rule) -> Done {
    let list = lists(by.world, rule).into_iter().next();
    let list = list.ok_or_else(|| "there is no ACL list".to_owned())?;
    let port = rule.port.unwrap_or(31_337).to_string();
    let protocol = rule.protocol.clone().unwrap_or_else(|| "tcp".to_owned());
    let number = rule.number.map(|number| number.to_string());
    let mut params = vec![
        ("aclid", list.as_str()),
        ("protocol", protocol.as_str()),
        ("startport", port.as_str()),
        ("endport", port.as_str()),
        ("cidrlist", "0.0.0.0/0"),
    ];
    params.extend(number.as_deref().map(|number| ("number", number)));
    by.run("createNetworkACL", &params)?;
    Ok(format!("a rule opens {protocol} {port} to everybody"))
}

pub(super) fn edit_rule(by: &mut By<'_>, rule: &Rule, to: Option<u16>) -> Done {
    let rule = find_rule(by.world, rule)?;
    let old = rule
        .start_port
        .ok_or_else(|| format!("{} has no ports", described(&rule)))?;
    let port = to.unwrap_or_else(|| old.saturating_add(1)).to_string();
    let params = [
        ("id", rule.id.as_str()),
        ("startport", port.as_str()),
        ("endport", port.as_str()),
    ];
    by.run("updateNetworkACLItem", &params)?;
    Ok(format!("{} is about port {port} now", described(&rule)))
}

pub(super) fn renumber(by: &mut By<'_>, rule: &Rule, to: Option<u32>) -> Done {
    let rule = find_rule(by.world, rule)?;
    let last = by
        .world
        .rules_of(&rule.list)
        .last()
        .map_or(0, |last| last.number);
    let number = to.unwrap_or(last + 1).to_string();
    by.run(
        "updateNetworkACLItem",
        &[("id", &rule.id), ("number", &number)],
    )?;
    Ok(format!("{} has number {number} now", described(&rule)))
}

fn find_tier(world: &World, name: Option<&str>) -> Result<Uuid, String> {
    let named = |id: &str, own: &str| name.is_none_or(|name| name == id || name == own);
    let tiers = world
        .networks
        .values()
        .filter(|tier| named(&tier.id, &tier.name));
    let first = tiers.min_by_key(|tier| tier.number);
    first
        .map(|tier| tier.id.clone())
        .ok_or_else(|| missing("tier", name.unwrap_or("at all")))
}

pub(super) fn replace_acl(by: &mut By<'_>, tier: Option<&str>) -> Done {
    let tier = find_tier(by.world, tier)?;
    let allow = by.world.ids.default_allow.clone();
    by.run(
        "replaceNetworkACLList",
        &[("aclid", &allow), ("networkid", &tier)],
    )?;
    Ok("the tier lets everything through".to_owned())
}

pub(super) fn move_address(by: &mut By<'_>, address: &str, to: &str) -> Done {
    let (id, ip) = find_address(by.world, address)?;
    let to = find_vm(by.world, to)?;
    let network = to.nics.first().map(|nic| nic.network.clone());
    let network = network.ok_or_else(|| format!("{} has no card", to.name))?;
    if let Some(own) = by.world.address_of(&to.id).map(|own| own.id.clone()) {
        by.run("disableStaticNat", &[("ipaddressid", &own)])?;
    }
    if by
        .world
        .addresses
        .get(&id)
        .is_some_and(|address| address.static_nat.is_some())
    {
        by.run("disableStaticNat", &[("ipaddressid", &id)])?;
    }
    let params = [
        ("ipaddressid", id.as_str()),
        ("virtualmachineid", to.id.as_str()),
        ("networkid", network.as_str()),
    ];
    by.run("enableStaticNat", &params)?;
    Ok(format!("{ip} leads to {} now", to.name))
}

pub(super) fn delete_tier(by: &mut By<'_>, tier: &str) -> Done {
    let network = find_tier(by.world, Some(tier))?;
    by.force(
        "deleteNetwork",
        Work::DeleteNetwork {
            network,
            forced: true,
        },
    )?;
    Ok(format!(
        "the tier {tier} is deleted with all that was in it"
    ))
}

pub(super) fn delete_vpc(by: &mut By<'_>, name: &str) -> Done {
    let mut vpcs = by.world.vpcs.values();
    let vpc = vpcs.find(|vpc| vpc.id == name || vpc.name == name);
    let vpc = vpc.ok_or_else(|| missing("VPC", name))?.id.clone();
    by.force("deleteVPC", Work::DeleteVpc { vpc, forced: true })?;
    Ok(format!("the VPC {name} is deleted with all that was in it"))
}
