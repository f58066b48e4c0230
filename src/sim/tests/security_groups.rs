//! Security groups: kept for clients that ask for them, and heeded by nothing.

use serde_json::{Value, json};

use super::Cloud;
use crate::sim::{Profile, Who};

/// A rule of the account's own group.
fn rule<'a>(more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    [&[("securitygroupname", "default")], more].concat()
}

#[tokio::test(start_paused = true)]
async fn every_account_has_a_group_that_stays() {
    let cloud = Cloud::new(Profile::Instant);
    let list = cloud.tenant("listSecurityGroups", &[]).await;
    assert_eq!(list["count"], 1);
    let group = &list["securitygroup"][0];
    assert_eq!(
        (&group["name"], &group["description"]),
        (&json!("default"), &json!("Default Security Group"))
    );
    let empty = ["ingressrule", "egressrule", "tags", "virtualmachineids"];
    for member in empty {
        assert_eq!(group[member], json!([]), "{member}");
    }
    let id = ("id", group["id"].as_str().unwrap());
    for (command, more, why) in [
        (
            "deleteSecurityGroup",
            vec![id],
            "The network group default is reserved",
        ),
        (
            "updateSecurityGroup",
            vec![id, ("name", "x")],
            "The default security group cannot be renamed",
        ),
    ] {
        assert_eq!(cloud.refusal(command, &more).await, (431, why.to_owned()));
    }
    let all = [("listall", "true"), ("projectid", "-1")];
    let all = cloud.ask(Who::Admin, "listSecurityGroups", &all).await;
    let accounts = cloud
        .ask(Who::Admin, "listAccounts", &[("listall", "true")])
        .await;
    assert_eq!(all["count"], accounts["count"]);
}

#[tokio::test(start_paused = true)]
async fn each_peer_of_a_request_is_a_rule_and_what_is_there_is_not_added() {
    let cloud = Cloud::new(Profile::Instant);
    let ports = [("protocol", "TCP"), ("startport", "80"), ("endport", "90")];
    let two = rule(&[&ports[..], &[("cidrlist", "192.0.2.0/24,10.0.0.0/8")]].concat());
    let command = "authorizeSecurityGroupIngress";
    let done = cloud.done(command, &two).await;
    let rules = done["securitygroup"]["ingressrule"].as_array().unwrap();
    assert_eq!(rules.len(), 2);
    let first = &rules[0];
    assert_eq!(
        (&first["protocol"], &first["startport"], &first["endport"]),
        (&json!("tcp"), &json!(80), &json!(90))
    );
    let more = rule(&[&ports[..], &[("cidrlist", "10.0.0.0/8,0.0.0.0/0")]].concat());
    let done = cloud.done(command, &more).await;
    let added = done["securitygroup"]["ingressrule"].as_array().unwrap();
    assert_eq!(added.len(), 1);
    assert_eq!(added[0]["cidr"], "0.0.0.0/0");
    let why = "Failed to authorize security group ingress rule(s)";
    assert_eq!(cloud.failure(command, &two).await, (530, why.to_owned()));
    let out = cloud.done("authorizeSecurityGroupEgress", &two).await;
    assert_eq!(
        out["securitygroup"]["egressrule"].as_array().unwrap().len(),
        2
    );
    let list = cloud.tenant("listSecurityGroups", &[]).await;
    let count = |member: &str| list["securitygroup"][0][member].as_array().map(Vec::len);
    assert_eq!(
        (count("ingressrule"), count("egressrule")),
        (Some(3), Some(2))
    );
}

#[tokio::test(start_paused = true)]
async fn a_rule_that_means_nothing_fails_in_its_job() {
    let cloud = Cloud::new(Profile::Instant);
    let anybody = ("cidrlist", "0.0.0.0/0");
    let icmp = ("protocol", "icmp");
    for (more, why) in [
        (
            vec![("protocol", "tcp"), anybody],
            "Invalid port range specified, startPort = null, endPort = null",
        ),
        (
            vec![
                ("protocol", "tcp"),
                ("startport", "9"),
                ("endport", "8"),
                anybody,
            ],
            "Invalid port range 9:8",
        ),
        (
            vec![
                ("protocol", "udp"),
                ("startport", "9"),
                ("endport", "65536"),
                anybody,
            ],
            "Invalid port numbers 9:65536",
        ),
        (
            vec![("startport", "9"), anybody],
            "Cannot specify startPort or endPort without specifying protocol",
        ),
        (
            vec![icmp, anybody],
            "Invalid ICMP type/code specified, icmpType = null, icmpCode = null",
        ),
        (
            vec![icmp, ("icmptype", "-1"), ("icmpcode", "3"), anybody],
            "Invalid icmp code",
        ),
        (vec![("protocol", "carp"), anybody], "Invalid protocol carp"),
        (
            vec![("protocol", "256"), anybody],
            "Invalid protocol number: 256",
        ),
        (
            vec![("cidrlist", "10.0.0.0/33")],
            "Invalid cidr 10.0.0.0/33",
        ),
        (
            vec![],
            "At least one cidr or at least one security group needs to be specified",
        ),
    ] {
        let failed = cloud
            .failure("authorizeSecurityGroupEgress", &rule(&more))
            .await;
        assert_eq!(failed, (431, why.to_owned()), "{more:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_rule_is_about_somebody_and_belongs_to_a_group() {
    let cloud = Cloud::new(Profile::Instant);
    let nobody = [("account", "nobody"), ("group", "g")]
        .map(|(key, value)| (format!("usersecuritygrouplist[0].{key}"), value));
    let nobody: Vec<(&str, &str)> = nobody.iter().map(|(k, v)| (k.as_str(), *v)).collect();
    let (code, why) = cloud
        .failure("authorizeSecurityGroupIngress", &rule(&nobody))
        .await;
    assert_eq!(code, 431);
    assert!(why.starts_with("Nonexistent account: nobody"), "{why}");
    let unnamed = [("cidrlist", "0.0.0.0/0")];
    let (status, _) = cloud
        .refusal("authorizeSecurityGroupIngress", &unnamed)
        .await;
    assert_eq!(status, 431);
}

#[tokio::test(start_paused = true)]
async fn a_rule_is_revoked_by_whom_it_belongs_to_and_in_its_direction() {
    let cloud = Cloud::new(Profile::Instant);
    let all = rule(&[("cidrlist", "0.0.0.0/0")]);
    let done = cloud.done("authorizeSecurityGroupIngress", &all).await;
    let id = done["securitygroup"]["ingressrule"][0]["ruleid"]
        .as_str()
        .unwrap();
    let id = [("id", id)];
    let theirs = cloud
        .send(Who::Other, "revokeSecurityGroupIngress", &id)
        .await;
    assert_eq!(theirs.status, 531, "{}", theirs.body);
    let (code, why) = cloud.failure("revokeSecurityGroupEgress", &id).await;
    assert_eq!(code, 431);
    assert!(why.starts_with("Mismatch in rule type"), "{why}");
    let done = cloud.done("revokeSecurityGroupIngress", &id).await;
    assert_eq!(done, json!({"success": true}));
    assert_eq!(
        cloud.refusal("revokeSecurityGroupIngress", &id).await.0,
        431
    );
    let events = [
        ("type", "SG.REVOKE.INGRESS"),
        ("page", "1"),
        ("pagesize", "3"),
    ];
    let events = cloud.tenant("listEvents", &events).await;
    assert_eq!(events["count"], 3, "{events}");
}

#[tokio::test(start_paused = true)]
async fn no_machine_of_this_zone_is_in_a_group() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let params = cloud.deploy(&stack.tier, "a", &[("securitygroupnames", "default")]);
    let (status, why) = cloud.refusal("deployVirtualMachine", &params).await;
    assert_eq!(status, 431);
    assert!(why.ends_with("is not enabled per zone"), "{why}");
    let vm = cloud.vm(&stack.tier, "a").await;
    let of = [("virtualmachineid", vm.as_str())];
    let none = cloud.tenant("listSecurityGroups", &of).await;
    assert_eq!(none, Value::Object(serde_json::Map::new()));
}
