//! `listApis` tells of every member of every answer.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::Cloud;
use super::town::Town;
use crate::sim::commands;
use crate::sim::{Profile, Who};

/// How often everybody asks for something.
const ROUNDS: usize = 400;

/// Commands whose answers are of one kind or another, as a parameter says; the one that
/// CloudStack describes is described.
const TWOFOLD: &[&str] = &["listLoadBalancerRuleInstances"];

/// Members by their names, with their own.
type Told = BTreeMap<String, (String, Value)>;

fn told(members: &Value) -> Told {
    let members = members.as_array().into_iter().flatten();
    let each = members.map(|member| {
        let text = |name: &str| member[name].as_str().unwrap_or_default().to_owned();
        (text("name"), (text("type"), member["response"].clone()))
    });
    each.collect()
}

async fn apis(cloud: &Cloud, who: Who) -> BTreeMap<String, Value> {
    let listed = cloud.ask(who, "listApis", &[]).await;
    let rows = listed["api"].as_array().unwrap().iter();
    let named = rows.map(|row| (row["name"].as_str().unwrap().to_owned(), row.clone()));
    named.collect()
}

/// Whether a value can be called by a type.
fn is_of(value: &Value, kind: &str) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(_) => kind == "boolean",
        Value::Number(_) => ["integer", "long", "float"].contains(&kind),
        Value::String(_) => ["string", "date"].contains(&kind),
        Value::Array(_) => ["set", "list"].contains(&kind),
        Value::Object(_) => kind == "map" || kind.ends_with("response"),
    }
}

/// What of an answer is not told: the paths of the members, with what they hold.
fn untold(path: &str, rows: &Value, members: &Value, found: &mut BTreeSet<String>) {
    let members = told(members);
    let rows = rows
        .as_array()
        .map_or(std::slice::from_ref(rows), Vec::as_slice);
    let rows = rows.iter().filter_map(Value::as_object);
    for (name, value) in rows.flatten() {
        let path = format!("{path}.{name}");
        match members.get(name) {
            None => {
                found.insert(format!("{path} is not told: {value}"));
            }
            Some((kind, _)) if !is_of(value, kind) => {
                found.insert(format!("{path} is no {kind}: {value}"));
            }
            Some((_, inner)) if inner.is_array() => untold(&path, value, inner, found),
            Some(_) => {}
        }
    }
}

/// The rows of an answer: what its only member holds, or itself where it is bare.
fn rows_of<'a>(command: &str, answer: &'a Value) -> &'a Value {
    let members = answer.as_object().into_iter().flatten();
    let mut members = members.filter(|(name, _)| *name != "count");
    match (members.next(), members.next()) {
        (Some((_, only)), None)
            if command != "queryAsyncJobResult" && (only.is_array() || only.is_object()) =>
        {
            only
        }
        _ => answer,
    }
}

#[tokio::test(start_paused = true)]
async fn every_member_of_every_answer_is_told() {
    let mut town = Town::new(1, TWOFOLD);
    let apis = apis(&town.cloud, Who::Admin).await;
    let mut found = BTreeSet::new();
    let mut answered = BTreeSet::new();
    for _ in 0..ROUNDS {
        for who in [Who::Tenant, Who::Operator, Who::Other, Who::Admin] {
            let Some((command, answer)) = town.step(who).await else {
                continue;
            };
            let rows = rows_of(command, &answer);
            answered.insert(command);
            if rows.as_object().is_none_or(|rows| !rows.is_empty()) {
                untold(command, rows, &apis[command]["response"], &mut found);
            }
        }
    }
    let found: Vec<_> = found.into_iter().collect();
    assert!(found.is_empty(), "{}", found.join("\n"));
    assert!(answered.len() >= 100, "only {answered:?} were answered");
}

#[tokio::test(start_paused = true)]
async fn everybody_is_told_of_what_he_may_send() {
    let cloud = Cloud::new(Profile::Instant);
    let all: BTreeSet<String> = commands::names().map(ToOwned::to_owned).collect();
    let admins = apis(&cloud, Who::Admin).await;
    assert_eq!(admins.keys().cloned().collect::<BTreeSet<_>>(), all);
    let tenants = apis(&cloud, Who::Tenant).await;
    assert!(tenants.contains_key("listVPCs") && !tenants.contains_key("listHosts"));
    let made = [("id", "x")];
    for (command, _) in admins
        .iter()
        .filter(|(name, _)| !tenants.contains_key(*name))
    {
        let refused = cloud.send(Who::Tenant, command, &made).await;
        assert_eq!(refused.status, 432, "{command}: {}", refused.body);
    }
    for (command, row) in &admins {
        let empty = row["response"].as_array().unwrap().is_empty();
        let described = command.starts_with("list") || !empty || command.contains("log");
        assert!(described, "{command} answers with nothing");
    }
}

#[tokio::test(start_paused = true)]
async fn a_parameter_leads_to_the_list_that_shows_what_it_names() {
    let cloud = Cloud::new(Profile::Instant);
    let apis = apis(&cloud, Who::Admin).await;
    for (command, param, list) in [
        ("deployVirtualMachine", "zoneid", "listZones"),
        ("deployVirtualMachine", "networkids", "listNetworks"),
        ("enableStaticNat", "ipaddressid", "listPublicIpAddresses"),
        ("deleteVPC", "id", "listVPCs"),
        ("deleteNetworkACL", "id", "listNetworkACLs"),
        ("replaceNetworkACLList", "aclid", "listNetworkACLLists"),
        ("stopVirtualMachine", "id", "listVirtualMachines"),
        (
            "assignToLoadBalancerRule",
            "virtualmachineids",
            "listVirtualMachines",
        ),
    ] {
        let params = apis[command]["params"].as_array().unwrap();
        let found = params.iter().find(|row| row["name"] == param);
        let related = found.and_then(|row| row["related"].as_str());
        let related = related.unwrap_or_default();
        assert!(
            related.split(',').any(|name| name == list),
            "{command} {param}: {related:?}"
        );
    }
}
