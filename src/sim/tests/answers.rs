//! What holds of the answers of every simulator: no row names what no list shows, and what the
//! accounts are said to have is what the lists of it show.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Cloud;
use crate::sim::Who;

/// The lists that show everything there is, the member of their rows, and the members of other
/// rows that name one of these.
const LISTS: &[(&str, &str, &[&str])] = &[
    ("listVPCs", "vpc", &["vpcid"]),
    (
        "listNetworks",
        "network",
        &["networkid", "associatednetworkid"],
    ),
    ("listNetworkACLLists", "networkacllist", &["aclid"]),
    ("listNetworkACLs", "networkacl", &[]),
    (
        "listPublicIpAddresses",
        "publicipaddress",
        &["ipaddressid", "publicipid"],
    ),
    (
        "listVirtualMachines",
        "virtualmachine",
        &["virtualmachineid"],
    ),
    ("listVolumes", "volume", &["volumeid"]),
    ("listAffinityGroups", "affinitygroup", &["affinitygroupid"]),
    ("listInstanceGroups", "instancegroup", &["groupid"]),
    ("listUserData", "userdata", &["userdataid"]),
    ("listSSHKeyPairs", "sshkeypair", &[]),
    ("listFirewallRules", "firewallrule", &[]),
    ("listEgressFirewallRules", "firewallrule", &[]),
    ("listPortForwardingRules", "portforwardingrule", &[]),
    ("listLoadBalancerRules", "loadbalancerrule", &[]),
    ("listTags", "tag", &[]),
    ("listProjects", "project", &["projectid"]),
    ("listDomains", "domain", &["domainid"]),
    ("listHosts", "host", &["hostid"]),
    ("listZones", "zone", &["zoneid"]),
];

/// What is broken in the answers, a sentence each.
pub(in crate::sim) async fn check(cloud: &Cloud) -> Vec<String> {
    let mut rows: BTreeMap<&str, Vec<Value>> = BTreeMap::new();
    let mut broken = Vec::new();
    for (command, member, _) in LISTS {
        let listed = everything(cloud, command, member).await;
        let ids: BTreeSet<&str> = listed.iter().filter_map(|row| row["id"].as_str()).collect();
        if *member != "tag" && ids.len() != listed.len() {
            broken.push(format!("{command} shows something twice"));
        }
        rows.insert(command, listed);
    }
    for (command, _, names) in LISTS {
        let ids: BTreeSet<&str> = rows[command]
            .iter()
            .filter_map(|row| row["id"].as_str())
            .collect();
        for (other, listed) in &rows {
            for row in listed {
                let named = names.iter().flat_map(|name| members(row, name));
                let system = row["account"] == "system"
                    || *other == "listPublicIpAddresses" && names.contains(&"networkid");
                for id in named.filter(|id| !system && !ids.contains(id)) {
                    broken.push(format!(
                        "{other} names {id}, which {command} does not show: {row}"
                    ));
                }
            }
        }
    }
    tallies(cloud, &rows, &mut broken).await;
    broken
}

/// All rows of a list, those of projects too.
async fn everything(cloud: &Cloud, command: &str, member: &str) -> Vec<Value> {
    let mut params = vec![("listall", "true")];
    if !["listProjects", "listDomains", "listHosts", "listZones"].contains(&command) {
        params.push(("projectid", "-1"));
    }
    let list = cloud.ask(Who::Admin, command, &params).await;
    let mut rows = list[member].as_array().cloned().unwrap_or_default();
    if command == "listPublicIpAddresses" {
        // What is being allocated is in no list that does not ask for it.
        params.push(("state", "Allocating"));
        let list = cloud.ask(Who::Admin, command, &params).await;
        rows.extend(list[member].as_array().cloned().unwrap_or_default());
    }
    rows
}

/// The values of a member, wherever it stands in a row.
fn members<'row>(row: &'row Value, name: &str) -> Vec<&'row str> {
    match row {
        Value::Object(row) => {
            let here = row.get(name).and_then(Value::as_str);
            let deeper = row.values().flat_map(|value| members(value, name));
            here.into_iter().chain(deeper).collect()
        }
        Value::Array(rows) => rows.iter().flat_map(|row| members(row, name)).collect(),
        _ => Vec::new(),
    }
}

/// Holds what `listAccounts` counts against the lists.
async fn tallies(cloud: &Cloud, rows: &BTreeMap<&str, Vec<Value>>, broken: &mut Vec<String>) {
    let accounts = cloud
        .ask(Who::Admin, "listAccounts", &[("listall", "true")])
        .await;
    for account in accounts["account"].as_array().into_iter().flatten() {
        let of = |command: &str| -> Vec<&Value> {
            let mine = rows[command].iter().filter(|row| {
                row["account"] == account["name"] && row["domainid"] == account["domainid"]
            });
            mine.collect()
        };
        let mut vms = of("listVirtualMachines");
        vms.retain(|vm| {
            !["Destroyed", "Expunging", "Error"].contains(&vm["state"].as_str().unwrap_or_default())
        });
        let sum = |name: &str| vms.iter().filter_map(|vm| vm[name].as_i64()).sum::<i64>();
        let count = |rows: &[&Value]| i64::try_from(rows.len()).unwrap_or(i64::MAX);
        for (member, counted) in [
            ("vmtotal", count(&vms)),
            ("cputotal", sum("cpunumber")),
            ("memorytotal", sum("memory")),
            ("iptotal", count(&of("listPublicIpAddresses"))),
            ("networktotal", count(&of("listNetworks"))),
            ("vpctotal", count(&of("listVPCs"))),
        ] {
            if account[member] != counted {
                broken.push(format!(
                    "{} has {} {member}, and the lists show {counted}",
                    account["name"], account[member]
                ));
            }
        }
    }
}
