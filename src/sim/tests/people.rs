//! Whose things are whose: accounts, domains and projects.

use serde_json::Value;

use super::Cloud;
use crate::sim::{Profile, Who};

fn vpcs(list: &Value) -> Vec<&str> {
    let rows = list["vpc"].as_array().into_iter().flatten();
    rows.map(|row| row["name"].as_str().unwrap()).collect()
}

async fn vpc_in(cloud: &Cloud, project: &str) -> (u16, Value) {
    let params = [
        ("name", "shared"),
        ("cidr", "10.9.0.0/16"),
        ("zoneid", cloud.zone.as_str()),
        ("vpcofferingid", cloud.vpc_offering.as_str()),
        ("projectid", project),
    ];
    let reply = cloud.send(Who::Tenant, "createVPC", &params).await;
    (reply.status, reply.inner())
}

#[tokio::test(start_paused = true)]
async fn what_is_in_a_project_is_listed_with_it_only() {
    let cloud = Cloud::new(Profile::Instant);
    let made = cloud.tenant("createProject", &[("name", "p")]).await;
    let project = made["id"].as_str().unwrap().to_owned();
    let (status, vpc) = vpc_in(&cloud, &project).await;
    assert_eq!(status, 200, "{vpc}");
    let id = vpc["id"].as_str().unwrap();
    for (who, params, shown) in [
        (Who::Tenant, vec![], false),
        (Who::Tenant, vec![("projectid", project.as_str())], true),
        (Who::Tenant, vec![("projectid", "-1")], true),
        (Who::Tenant, vec![("id", id)], false),
        (Who::Admin, vec![("id", id)], true),
        (Who::Admin, vec![("listall", "true")], false),
    ] {
        let list = cloud.ask(who, "listVPCs", &params).await;
        assert_eq!(
            vpcs(&list) == ["shared"],
            shown,
            "{who:?} {params:?}: {list}"
        );
        if shown {
            assert_eq!(list["vpc"][0]["project"], "p");
            assert!(list["vpc"][0]["account"].is_null());
        }
    }
    cloud.tenant("suspendProject", &[("id", &project)]).await;
    assert_eq!(vpc_in(&cloud, &project).await.0, 531);
}

#[tokio::test(start_paused = true)]
async fn a_made_account_sends_what_its_keys_sign_and_sees_its_own() {
    let cloud = Cloud::new(Profile::Instant);
    let domain = cloud
        .ask(Who::Admin, "createDomain", &[("name", "d")])
        .await;
    let domain = domain["domain"]["id"].as_str().unwrap().to_owned();
    let params = [
        ("username", "u"),
        ("password", "p"),
        ("email", "u@example.com"),
        ("firstname", "U"),
        ("lastname", "U"),
        ("domainid", domain.as_str()),
    ];
    let made = cloud.ask(Who::Admin, "createAccount", &params).await;
    assert_eq!(made["account"]["domainpath"], "ROOT/d");
    let user = made["account"]["user"][0]["id"].as_str().unwrap();
    let keys = cloud
        .ask(Who::Admin, "registerUserKeys", &[("id", user)])
        .await;
    assert!(keys["userkeys"]["secretkey"].is_string());
    let again = cloud.send(Who::Admin, "createAccount", &params).await;
    assert_eq!(again.status, 431);
    let lacking = cloud
        .send(Who::Tenant, "createDomain", &[("name", "x")])
        .await;
    assert_eq!(lacking.status, 432);
    let foreign = cloud
        .send(Who::Tenant, "getUserKeys", &[("id", user)])
        .await;
    assert_eq!(foreign.status, 531);
    let listed = cloud.tenant("listAccounts", &[("listall", "true")]).await;
    assert_eq!(listed["count"], 1);
}

#[tokio::test(start_paused = true)]
async fn values_are_held_to_their_types() {
    let cloud = Cloud::new(Profile::Instant);
    let (status, text) = cloud
        .refusal("listResourceLimits", &[("resourcetype", "x")])
        .await;
    let told = "Unable to execute API command listresourcelimits due to invalid value x for parameter resourcetype";
    assert_eq!((status, text.as_str()), (431, told));
    let long = "x".repeat(256);
    let (status, text) = cloud.refusal("listVPCs", &[("name", &long)]).await;
    assert!(
        status == 431 && text.ends_with("allowed length 255 for param: name"),
        "{text}"
    );
}
