//! Rows of security groups, with the members of the server's `SecurityGroupJoinDaoImpl`.

use serde_json::{Value, json};

use super::{RowOf, short_tags};
use crate::sim::world::catalogue::Row;
use crate::sim::world::{Peer, SecurityGroup, SecurityRule, World};

/// A group, as a list shows it.
pub(crate) fn row(world: &World, group: &SecurityGroup) -> Row {
    RowOf::new()
        .with(with_rules(world, group, &group.rules))
        .set("tags", short_tags(world, &group.id))
        .set("virtualmachinecount", 0)
        .done()
}

/// A group, as the command that makes or changes it shows it: without its rules.
pub(crate) fn narrow(world: &World, group: &SecurityGroup) -> Row {
    with_rules(world, group, [])
}

/// A group with some of its rules.
pub(crate) fn with_rules<'a>(
    world: &World,
    group: &SecurityGroup,
    rules: impl IntoIterator<Item = &'a SecurityRule>,
) -> Row {
    let (out, inward): (Vec<_>, Vec<_>) = rules.into_iter().partition(|rule| rule.egress);
    let rows = |rules: Vec<&SecurityRule>| -> Value {
        rules
            .into_iter()
            .map(|it| Value::from(rule(world, it)))
            .collect()
    };
    RowOf::new()
        .set("id", group.id.as_str())
        .set("name", group.name.as_str())
        .set("description", group.description.clone())
        .owner(world, &group.account)
        .set("ingressrule", rows(inward))
        .set("egressrule", rows(out))
        .set("tags", json!([]))
        .set("virtualmachineids", json!([]))
        .done()
}

fn rule(world: &World, rule: &SecurityRule) -> Row {
    let (first, last) = rule.range;
    let ports = match rule.protocol.as_str() {
        "icmp" => ["icmptype", "icmpcode"],
        _ => ["startport", "endport"],
    };
    let row = RowOf::new()
        .set("ruleid", rule.id.as_str())
        .set("protocol", rule.protocol.as_str())
        .set(ports[0], first)
        .set(ports[1], last)
        .set("tags", short_tags(world, &rule.id));
    match &rule.peer {
        Peer::Cidr(cidr) => row.set("cidr", cidr.as_str()).done(),
        Peer::Group(id) => match world.security_groups.get(id) {
            Some(group) => row
                .set("securitygroupname", group.name.as_str())
                .set("account", super::account_name(world, &group.account))
                .done(),
            None => row.done(),
        },
    }
}
