//! VPCs, tiers and ACL rules: what clashes, and what has to go first.

use serde_json::json;

use super::Cloud;
use crate::sim::{Profile, Who};

#[tokio::test(start_paused = true)]
async fn a_vpc_with_tiers_is_not_deleted_and_loses_its_tags_all_the_same() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let tags = [
        ("resourceids", stack.vpc.as_str()),
        ("resourcetype", "Vpc"),
        ("tags[0].key", "a"),
        ("tags[0].value", "1"),
    ];
    cloud.done("createTags", &tags).await;
    let (code, text) = cloud.failure("deleteVPC", &[("id", &stack.vpc)]).await;
    assert!(
        code == 431 && text.ends_with("as its used by 1 networks"),
        "{text}"
    );
    let row = cloud.tenant("listVPCs", &[("id", &stack.vpc)]).await;
    assert_eq!(row["vpc"][0]["tags"], json!([]));
    assert_eq!(row["vpc"][0]["network"][0]["name"], "t");
}

#[tokio::test(start_paused = true)]
async fn an_acl_list_in_use_is_not_deleted() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let (code, text) = cloud
        .failure("deleteNetworkACLList", &[("id", &stack.list)])
        .await;
    let list = &stack.list;
    let expected =
        format!("ACL is still associated with 1 tier(s). Cannot delete network ACL: {list}");
    assert_eq!((code, text), (530, expected));
    cloud.done("deleteNetwork", &[("id", &stack.tier)]).await;
    cloud
        .done("deleteNetworkACLList", &[("id", &stack.list)])
        .await;
    let (status, text) = cloud.refusal("deleteNetwork", &[("id", &stack.tier)]).await;
    assert!(status == 431 && text.starts_with("Network ID="), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_tier_must_fit_into_its_vpc_beside_the_others() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let (vpc, list) = (stack.vpc.as_str(), stack.list.as_str());
    let outside = cloud.tier_params(vpc, list, "x", "192.168.7.1");
    let (status, text) = cloud.refusal("createNetwork", &outside).await;
    assert!(
        status == 431 && text.contains("is not within vpc"),
        "{text}"
    );
    let crossing = cloud.tier_params(vpc, list, "x", "10.1.0.9");
    let (status, text) = cloud.refusal("createNetwork", &crossing).await;
    assert!(
        status == 431 && text.contains("crosses other network cidr"),
        "{text}"
    );
    for gateway in ["10.1.1.1", "10.1.2.1"] {
        cloud.tier(vpc, list, "more", gateway).await;
    }
    let fourth = cloud.tier_params(vpc, list, "x", "10.1.3.1");
    let (status, text) = cloud.refusal("createNetwork", &fourth).await;
    assert!(
        status == 530 && text.starts_with("Internal error"),
        "{text}"
    );
}

fn rule<'a>(list: &'a str, port: &'a str, more: &[(&'a str, &'a str)]) -> Vec<(&'a str, &'a str)> {
    let mut params = vec![("aclid", list), ("protocol", "tcp"), ("startport", port)];
    params.extend_from_slice(more);
    params
}

#[tokio::test(start_paused = true)]
async fn rule_numbers_are_unique_and_follow_on_by_themselves() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let list = stack.list.as_str();
    cloud
        .done("createNetworkACL", &rule(list, "22", &[("number", "7")]))
        .await;
    let next = cloud.done("createNetworkACL", &rule(list, "23", &[])).await;
    assert_eq!(next["networkacl"]["number"], 8);
    assert_eq!(next["networkacl"]["endport"], "23");
    let (status, text) = cloud
        .refusal("createNetworkACL", &rule(list, "24", &[("number", "7")]))
        .await;
    assert_eq!(
        (status, text),
        (
            431,
            format!("ACL item with number 7 already exists in ACL: {list}")
        )
    );
    let id = next["networkacl"]["id"].as_str().unwrap();
    let (code, _) = cloud
        .failure("updateNetworkACLItem", &[("id", id), ("number", "7")])
        .await;
    assert_eq!(code, 431);
}

#[tokio::test(start_paused = true)]
async fn a_rule_is_changed_in_place_under_its_id_and_shows_add_meanwhile() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let created = cloud
        .done(
            "createNetworkACL",
            &rule(&stack.list, "22", &[("reason", "r")]),
        )
        .await;
    let id = created["networkacl"]["id"].as_str().unwrap();
    let change = [("id", id), ("startport", "2200"), ("endport", "2222")];
    let changed = cloud.done("updateNetworkACLItem", &change).await;
    assert_eq!(changed["networkacl"]["state"], "Add");
    let rows = cloud
        .tenant("listNetworkACLs", &[("aclid", &stack.list)])
        .await;
    let row = &rows["networkacl"][0];
    assert_eq!((&row["id"], &row["state"]), (&id.into(), &"Active".into()));
    assert_eq!(
        (&row["endport"], &row["reason"]),
        (&"2222".into(), &"r".into())
    );
    let (code, _) = cloud
        .failure("updateNetworkACLItem", &[("id", id), ("protocol", "icmp")])
        .await;
    assert_eq!(code, 431);
    cloud.done("deleteNetworkACL", &[("id", id)]).await;
    assert_eq!(
        cloud.refusal("deleteNetworkACL", &[("id", id)]).await.0,
        431
    );
}

#[tokio::test(start_paused = true)]
async fn an_account_wide_list_of_rules_has_the_four_default_ones() {
    let cloud = Cloud::new(Profile::Instant);
    cloud.sim.add_neighbour().unwrap();
    let stack = cloud.stack().await;
    cloud
        .done("createNetworkACL", &rule(&stack.list, "22", &[]))
        .await;
    let rows = cloud.tenant("listNetworkACLs", &[]).await;
    assert_eq!(rows["count"], 5);
    let lists = cloud.tenant("listNetworkACLLists", &[]).await;
    let names: Vec<_> = lists["networkacllist"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| &row["name"])
        .collect();
    assert_eq!(names, ["l", "default_allow", "default_deny"]);
    let allow = lists["networkacllist"][1]["id"].as_str().unwrap();
    assert_eq!(
        cloud
            .refusal("createNetworkACL", &rule(allow, "22", &[]))
            .await
            .0,
        431
    );
}

#[tokio::test(start_paused = true)]
async fn names_of_vpcs_repeat_and_their_filter_is_a_substring() {
    let cloud = Cloud::new(Profile::Instant);
    cloud.stack().await;
    cloud.stack().await;
    assert_eq!(cloud.tenant("listVPCs", &[("name", "v")]).await["count"], 2);
    assert_eq!(cloud.ask(Who::Admin, "listVPCs", &[]).await, json!({}));
    assert_eq!(
        cloud
            .ask(Who::Admin, "listVPCs", &[("listall", "true")])
            .await["count"],
        2
    );
}

#[tokio::test(start_paused = true)]
async fn a_tier_is_implemented_by_its_first_start_and_falls_back_when_it_is_idle() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let state = async || {
        let row = cloud.tenant("listNetworks", &[("id", &stack.tier)]).await;
        row["network"][0]["state"].as_str().unwrap().to_owned()
    };
    assert_eq!(state().await, "Allocated");
    let vm = cloud.vm(&stack.tier, "a").await;
    assert_eq!(state().await, "Implemented");
    cloud.done("stopVirtualMachine", &[("id", &vm)]).await;
    cloud.clock.sleep(std::time::Duration::from_secs(700)).await;
    assert_eq!(state().await, "Allocated");
}

#[tokio::test(start_paused = true)]
async fn a_bad_range_is_refused_at_once() {
    let cloud = Cloud::new(Profile::Instant);
    let with = |cidr| {
        [
            ("name", "x"),
            ("cidr", cidr),
            ("zoneid", cloud.zone.as_str()),
            ("vpcofferingid", cloud.vpc_offering.as_str()),
        ]
    };
    let (status, text) = cloud.refusal("createVPC", &with("10.0.0.0/99")).await;
    assert_eq!(
        (status, text.as_str()),
        (431, "Invalid CIDR specified 10.0.0.0/99")
    );
    assert_eq!(cloud.refusal("createVPC", &with("8.8.0.0/16")).await.0, 431);
}

#[tokio::test(start_paused = true)]
async fn a_vpc_on_this_computer_is_refused_unless_the_setting_allows_it() {
    let cloud = Cloud::new(Profile::Instant);
    let vpc = [
        ("name", "v"),
        ("cidr", "127.16.0.0/16"),
        ("zoneid", cloud.zone.as_str()),
        ("vpcofferingid", cloud.vpc_offering.as_str()),
    ];
    let (status, text) = cloud.refusal("createVPC", &vpc).await;
    let expected = "Guest Cidr 127.16.0.0/16 is not RFC1918 compliant";
    assert_eq!((status, text.as_str()), (431, expected));
    cloud
        .sim
        .world(|world| world.settings.guest_cidr_loopback = true);
    cloud.done("createVPC", &vpc).await;
}
