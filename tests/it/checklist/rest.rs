//! Items 94 to 103 and 106: tags, groups, keys, user data, and what the server says of
//! itself.

use serde_json::json;
use weir::sim::{Profile, Who};

use super::{Cloud, text};

fn tag<'a>(resource: &'a str, kind: &'a str, key: &'a str) -> [(&'a str, &'a str); 4] {
    [
        ("resourceids", resource),
        ("resourcetype", kind),
        ("tags[0].key", key),
        ("tags[0].value", "v"),
    ]
}

/// 94. createTags → job success; the tag is in the resource's tags array and in listTags.
#[tokio::test(start_paused = true)]
async fn c094_a_tag_is_seen_on_its_resource_and_in_the_list() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.stopped("a").await;
    cloud.done("createTags", &tag(&vm, "UserVm", "k")).await;
    let row = cloud.seen(Who::Tenant, &vm).await;
    assert_eq!(
        (&row["tags"][0]["key"], &row["tags"][0]["value"]),
        (&json!("k"), &json!("v"))
    );
    let list = cloud.tenant("listTags", &[("key", "k")]).await;
    assert_eq!(list["tag"][0]["resourceid"], vm);
}

/// 95. createTags with an existing key → job 530 "tag K already on UserVm with id U", none of the batch applied.
#[tokio::test(start_paused = true)]
async fn c095_a_key_that_is_there_fails_the_whole_batch() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.stopped("a").await;
    cloud.done("createTags", &tag(&vm, "UserVm", "k")).await;
    let mut batch = tag(&vm, "UserVm", "fresh").to_vec();
    batch.extend([("tags[1].key", "k"), ("tags[1].value", "w")]);
    assert_eq!(
        cloud.failure("createTags", &batch).await,
        (530, format!("tag k already on UserVm with id {vm}"))
    );
    let list = cloud.tenant("listTags", &[]).await;
    assert_eq!(list["count"], 1);
}

/// 96. deleteTags with no match → job 530 "Failed to delete tags".
#[tokio::test(start_paused = true)]
async fn c096_a_tag_that_is_not_there_cannot_be_deleted() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.stopped("a").await;
    assert_eq!(
        cloud.failure("deleteTags", &tag(&vm, "UserVm", "k")).await,
        (530, "Failed to delete tags".to_owned())
    );
}

/// 97. createTags resourcetype=NetworkACLList → job 431 "The resource type NetworkACLList doesn't
/// support resource tags"; AffinityGroup → job 431 "Invalid resource type AffinityGroup".
#[tokio::test(start_paused = true)]
async fn c097_not_everything_can_be_tagged() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.stopped("a").await;
    assert_eq!(
        cloud
            .failure("createTags", &tag(&vm, "NetworkACLList", "k"))
            .await,
        (
            431,
            "The resource type NetworkACLList doesn't support resource tags".to_owned()
        )
    );
    assert_eq!(
        cloud
            .failure("createTags", &tag(&vm, "AffinityGroup", "k"))
            .await,
        (431, "Invalid resource type AffinityGroup".to_owned())
    );
}

/// 98. createAffinityGroup with an existing name → 431; deleteAffinityGroup with members → success
/// and members detached.
#[tokio::test(start_paused = true)]
async fn c098_a_group_with_members_can_go() {
    let cloud = Cloud::new(Profile::Instant).await;
    let kind = [("name", "g"), ("type", "host anti-affinity")];
    cloud.done("createAffinityGroup", &kind).await;
    assert_eq!(cloud.refusal("createAffinityGroup", &kind).await.0, 431);
    let params = cloud.deploy("a", &[("affinitygroupnames", "g")]);
    let vm = cloud.done("deployVirtualMachine", &params).await;
    let vm = text(&vm["virtualmachine"]["id"]);
    assert_eq!(
        cloud.done("deleteAffinityGroup", &[("name", "g")]).await,
        json!({"success": true})
    );
    assert_eq!(
        cloud.seen(Who::Tenant, &vm).await["affinitygroup"],
        json!([])
    );
}

/// 99. registerSSHKeyPair duplicate → 431; response key `keypair`; list key `sshkeypair`; delete by name.
#[tokio::test(start_paused = true)]
async fn c099_a_key_pair_has_one_name_in_answers_and_another_in_lists() {
    let cloud = Cloud::new(Profile::Instant).await;
    let key = [("name", "k"), ("publickey", "ssh-ed25519 AAAA me")];
    let answer = cloud.tenant("registerSSHKeyPair", &key).await;
    assert_eq!(answer["keypair"]["name"], "k");
    assert_eq!(cloud.refusal("registerSSHKeyPair", &key).await.0, 431);
    let list = cloud.tenant("listSSHKeyPairs", &[]).await;
    assert_eq!(list["sshkeypair"][0]["name"], "k");
    cloud.tenant("deleteSSHKeyPair", &[("name", "k")]).await;
    assert_eq!(cloud.tenant("listSSHKeyPairs", &[]).await, json!({}));
}

/// 100. registerUserData same content under another name → 431.
#[tokio::test(start_paused = true)]
async fn c100_a_text_is_registered_once() {
    let cloud = Cloud::new(Profile::Instant).await;
    let named = |name| [("name", name), ("userdata", "QUFB")];
    let answer = cloud.tenant("registerUserData", &named("u")).await;
    let id = text(&answer["userdata"]["id"]);
    assert_eq!(
        cloud.refusal("registerUserData", &named("w")).await,
        (
            431,
            "Userdata u with same content already exists for this account.".to_owned()
        )
    );
    let params = cloud.deploy("a", &[("userdataid", &id)]);
    let vm = cloud.done("deployVirtualMachine", &params).await;
    assert_eq!(vm["virtualmachine"]["userdataname"], "u");
    let reply = cloud
        .send(Who::Admin, "deleteUserData", &[("id", &id)])
        .await;
    assert_eq!(
        (reply.status, text(&reply.inner()["errortext"]).as_str()),
        (
            530,
            "Userdata u cannot be removed as it is being used by some VMs"
        )
    );
}

/// 101. createSecurityGroup duplicate → 431; delete in use → 536.
#[tokio::test(start_paused = true)]
async fn c101_a_security_group_that_a_rule_names_stays() {
    let cloud = Cloud::new(Profile::Instant).await;
    let named = |name| [("name", name)];
    let made = cloud.tenant("createSecurityGroup", &named("web")).await;
    let id = text(&made["securitygroup"]["id"]);
    let why = "Unable to create security group, a group with name web already exists.";
    assert_eq!(
        cloud.refusal("createSecurityGroup", &named("web")).await,
        (431, why.to_owned())
    );
    let rule = [
        ("securitygroupname", "default"),
        ("protocol", "tcp"),
        ("startport", "80"),
        ("endport", "90"),
        ("usersecuritygrouplist[0].account", "operator"),
        ("usersecuritygrouplist[0].group", "web"),
    ];
    let done = cloud.done("authorizeSecurityGroupIngress", &rule).await;
    let rules = done["securitygroup"]["ingressrule"].as_array().unwrap();
    assert_eq!(rules.len(), 1, "{done}");
    assert_eq!(rules[0]["securitygroupname"], "web");
    let reply = cloud
        .send(Who::Tenant, "deleteSecurityGroup", &[("id", &id)])
        .await;
    let inside = reply.inner();
    assert_eq!(
        (
            reply.status,
            &inside["cserrorcode"],
            text(&inside["errortext"]).as_str()
        ),
        (
            536,
            &json!(4375),
            "Cannot delete group when there are security rules that allow this group"
        )
    );
    let revoke = text(&rules[0]["ruleid"]);
    cloud
        .done("revokeSecurityGroupIngress", &[("id", &revoke)])
        .await;
    let answer = cloud.tenant("deleteSecurityGroup", &[("id", &id)]).await;
    assert_eq!(answer, json!({"success": true}));
    let list = cloud.tenant("listSecurityGroups", &[]).await;
    assert_eq!(list["count"], 1);
    assert_eq!(list["securitygroup"][0]["name"], "default");
}

/// 102. listCapabilities → object `capability` with the version: as observed, "4.22.0.0-SNAPSHOT".
#[tokio::test(start_paused = true)]
async fn c102_capabilities_are_one_object_with_the_version() {
    let cloud = Cloud::new(Profile::Instant).await;
    let answer = cloud.tenant("listCapabilities", &[]).await;
    let version = text(&answer["capability"]["cloudstackversion"]);
    assert!(version.starts_with("4.22.0.0"), "{version}");
    assert!(answer["count"].is_null());
}

/// 103. listApis name=deployVirtualMachine → one api with isasync=true and its params.
#[tokio::test(start_paused = true)]
async fn c103_an_api_tells_its_parameters() {
    let cloud = Cloud::new(Profile::Instant).await;
    let list = cloud
        .tenant("listApis", &[("name", "deployVirtualMachine")])
        .await;
    assert_eq!(list["count"], 1);
    let api = &list["api"][0];
    assert_eq!(api["isasync"], true);
    let params = api["params"].as_array().unwrap();
    let zone = params.iter().find(|param| param["name"] == "zoneid");
    assert_eq!(zone.unwrap()["required"], true);
}

/// 106. The event list: resourceid without resourcetype → 431. As observed, a page runs from the newest
/// events and reads forwards, oldest first.
#[tokio::test(start_paused = true)]
async fn c106_pages_of_events_begin_with_the_newest() {
    let cloud = Cloud::new(Profile::Lab).await;
    let vm = cloud.vm("a").await;
    cloud.wait(5).await;
    cloud.done("stopVirtualMachine", &[("id", &vm)]).await;
    let alone = [("resourceid", vm.as_str())];
    assert_eq!(cloud.refusal("listEvents", &alone).await.0, 431);
    let newest = [("page", "1"), ("pagesize", "3")];
    let list = cloud.tenant("listEvents", &newest).await;
    let events = list["event"].as_array().unwrap();
    let states: Vec<String> = events.iter().map(|event| text(&event["state"])).collect();
    assert_eq!(states, ["Scheduled", "Started", "Completed"]);
    for event in events {
        assert_eq!(
            (&event["type"], &event["username"], &event["resourceid"]),
            (&json!("VM.STOP"), &json!("operator"), &json!(vm))
        );
    }
}
