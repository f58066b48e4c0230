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

/// `AffinityGroupServiceImpl` and `UserVmManagerImpl.addInstanceToGroup` of the server.
#[tokio::test(start_paused = true)]
async fn a_machine_has_groups_and_volumes_of_its_own_account_only() {
    let cloud = Cloud::new(Profile::Instant);
    let project = cloud.tenant("createProject", &[("name", "p")]).await;
    let project = project["id"].as_str().unwrap();
    let group = [("name", "g"), ("type", "host anti-affinity")];
    let group = [&group[..], &[("projectid", project)]].concat();
    let group = cloud.done("createAffinityGroup", &group).await;
    let group = group["affinitygroup"]["id"].as_str().unwrap();
    let stack = cloud.stack().await;
    let params = cloud.deploy(&stack.tier, "a", &[("affinitygroupids", group)]);
    let (status, text) = cloud.refusal("deployVirtualMachine", &params).await;
    assert_eq!(status, 531);
    assert!(text.ends_with("belong to different accounts"), "{text}");
    let vm = cloud.stopped_vm(&stack.tier, "a").await;
    let params = [("id", vm.as_str()), ("affinitygroupids", group)];
    let (code, _) = cloud.failure("updateVMAffinityGroup", &params).await;
    assert_eq!(code, 531);
    let command = "updateVMAffinityGroup";
    let job = cloud.job_as(Who::Admin, command, &params).await;
    let text = job["jobresult"]["errortext"].as_str().unwrap();
    assert!(
        text.ends_with("does not belong to the VM's account"),
        "{text}"
    );
    let offering = cloud.sim.world(|world| {
        let mut rows = world.catalogue.disk_offerings.iter();
        let row = rows.find(|row| row["name"] == "Small").unwrap();
        row["id"].as_str().unwrap().to_owned()
    });
    let volume = [
        ("name", "d"),
        ("zoneid", &cloud.zone),
        ("diskofferingid", &offering),
        ("projectid", project),
    ];
    let volume = cloud.done("createVolume", &volume).await;
    let volume = volume["volume"]["id"].as_str().unwrap();
    let attach = [("id", volume), ("virtualmachineid", vm.as_str())];
    assert_eq!(cloud.failure("attachVolume", &attach).await.0, 531);
    let params = [("id", vm.as_str()), ("group", "w")];
    cloud.ask(Who::Admin, "updateVirtualMachine", &params).await;
    let groups = cloud.tenant("listInstanceGroups", &[]).await;
    assert_eq!(groups["instancegroup"][0]["name"], "w", "{groups}");
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
