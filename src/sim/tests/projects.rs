//! Projects, as those who use them together see them.

use serde_json::Value;

use super::Cloud;
use crate::sim::{Profile, Who};

/// A project of the tenant's with an isolated network and an address of it.
async fn with_address(cloud: &Cloud) -> (String, String) {
    let project = cloud.tenant("createProject", &[("name", "p")]).await;
    let project = project["id"].as_str().unwrap().to_owned();
    let offerings = cloud.tenant("listNetworkOfferings", &[]).await;
    let offerings = offerings["networkoffering"].as_array().unwrap();
    let usual = "DefaultIsolatedNetworkOfferingWithSourceNatService";
    let offering = offerings.iter().find(|row| row["name"] == usual).unwrap();
    let network = cloud
        .tenant(
            "createNetwork",
            &[
                ("name", "n"),
                ("zoneid", &cloud.zone),
                ("networkofferingid", offering["id"].as_str().unwrap()),
                ("projectid", &project),
            ],
        )
        .await;
    let network = network["network"]["id"].as_str().unwrap();
    let address = [("networkid", network), ("projectid", &project)];
    let address = cloud.tenant("associateIpAddress", &address).await;
    (project, address["id"].as_str().unwrap().to_owned())
}

#[tokio::test(start_paused = true)]
async fn who_takes_part_gives_an_address_of_the_project_back_and_nobody_else() {
    let cloud = Cloud::new(Profile::Instant);
    let (project, address) = with_address(&cloud).await;
    let id = [("id", address.as_str())];
    let reply = cloud.send(Who::Other, "disassociateIpAddress", &id).await;
    assert_eq!(reply.status, 531, "{:?}", reply.inner());
    cloud.tenant("disassociateIpAddress", &id).await;
    let params = [("id", address.as_str()), ("projectid", &project)];
    let left = cloud.tenant("listPublicIpAddresses", &params).await;
    assert_eq!(left, serde_json::json!({}));
}

#[tokio::test(start_paused = true)]
async fn a_tag_belongs_to_whom_its_resource_belongs_to() {
    let cloud = Cloud::new(Profile::Instant);
    let (project, address) = with_address(&cloud).await;
    for (id, kind) in [(&project, "project"), (&address, "publicipaddress")] {
        let params = [
            ("resourceids", id.as_str()),
            ("resourcetype", kind),
            ("tags[0].key", "use"),
            ("tags[0].value", "shop"),
        ];
        cloud.tenant("createTags", &params).await;
    }
    assert_eq!(cloud.tenant("listTags", &[]).await, serde_json::json!({}));
    let params = [("projectid", project.as_str())];
    let tags = cloud.tenant("listTags", &params).await;
    let rows: &Vec<Value> = tags["tag"].as_array().unwrap();
    let kind = |tag: &Value| tag["resourcetype"].as_str().unwrap().to_owned();
    let kinds: Vec<String> = rows.iter().map(kind).collect();
    assert_eq!(kinds, ["Project", "PublicIpAddress"]);
    let list = cloud.tenant("listProjects", &[]).await;
    assert_eq!(list["project"][0]["tags"][0]["key"], "use", "{list}");
}

#[tokio::test(start_paused = true)]
async fn an_admin_makes_a_project_for_an_account_and_finds_it_by_its_domain() {
    let cloud = Cloud::new(Profile::Instant);
    let root = cloud.ask(Who::Admin, "listDomains", &[]).await;
    let root = root["domain"][0]["id"].as_str().unwrap();
    let params = [("name", "p"), ("account", "other"), ("domainid", root)];
    let made = cloud.ask(Who::Admin, "createProject", &params).await;
    let list = async |who, params: &[(&str, &str)]| {
        let list = cloud.ask(who, "listProjects", params).await;
        list["project"][0]["id"] == made["id"]
    };
    assert!(list(Who::Other, &[]).await);
    assert!(list(Who::Admin, &[("domainid", root)]).await);
    assert!(list(Who::Admin, &[("listall", "true")]).await);
    assert!(list(Who::Admin, &[("account", "other"), ("domainid", root)]).await);
    assert!(!list(Who::Admin, &[("account", "operator"), ("domainid", root)]).await);
    assert!(!list(Who::Admin, &[]).await);
    assert!(!list(Who::Tenant, &[]).await);
    let params = [("name", "q"), ("account", "other"), ("domainid", root)];
    let reply = cloud.send(Who::Tenant, "createProject", &params).await;
    assert_eq!(reply.status, 531, "{:?}", reply.inner());
}
