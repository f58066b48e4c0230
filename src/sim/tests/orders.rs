//! What a machine can be ordered with, and what admins add to choose from.

use serde_json::{Value, json};

use super::Cloud;
use crate::sim::{Profile, Who};

fn id_of(value: &Value) -> String {
    value["id"].as_str().unwrap_or_default().to_owned()
}

async fn offering(cloud: &Cloud, more: &[(&str, &str)]) -> String {
    let mut params = vec![("name", "o"), ("displaytext", "o")];
    params.extend_from_slice(more);
    let answer = cloud
        .ask(Who::Admin, "createServiceOffering", &params)
        .await;
    id_of(&answer["serviceoffering"])
}

/// The parameters of a deploy with another offering.
fn with<'a>(
    cloud: &'a Cloud,
    tier: &'a str,
    offering: &'a str,
    more: &[(&'a str, &'a str)],
) -> Vec<(&'a str, &'a str)> {
    let mut params = cloud.deploy(tier, "a", more);
    for (name, value) in &mut params {
        if *name == "serviceofferingid" {
            *value = offering;
        }
    }
    params
}

#[tokio::test(start_paused = true)]
async fn a_customised_offering_leaves_the_size_to_the_machine() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let custom = offering(&cloud, &[]).await;
    let missing = with(&cloud, &stack.tier, &custom, &[]);
    assert_eq!(cloud.refusal("deployVirtualMachine", &missing).await.0, 431);
    let sizes = [
        ("details[0].cpuNumber", "3"),
        ("details[0].cpuSpeed", "700"),
        ("details[0].memory", "2048"),
    ];
    let params = with(&cloud, &stack.tier, &custom, &sizes);
    let vm = cloud.done("deployVirtualMachine", &params).await["virtualmachine"].clone();
    assert_eq!(
        (&vm["cpunumber"], &vm["cpuspeed"], &vm["memory"]),
        (&json!(3), &json!(700), &json!(2048))
    );
    let used = cloud.sim.world(|world| {
        let account = world.account_named("operator").unwrap().id.clone();
        ["cpu", "memory"].map(|what| crate::sim::commands::used(world, &account, what))
    });
    assert_eq!(used, [3, 2048]);
    let fixed = cloud.deploy(&stack.tier, "b", &sizes);
    let (status, text) = cloud.refusal("deployVirtualMachine", &fixed).await;
    assert_eq!(status, 431);
    assert!(text.ends_with("should not be specified for static service offering"));
}

#[tokio::test(start_paused = true)]
async fn a_deleted_offering_is_neither_shown_nor_used() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let sizes = [("cpunumber", "1"), ("cpuspeed", "100"), ("memory", "64")];
    let fixed = offering(&cloud, &sizes).await;
    let shown = cloud
        .tenant("listServiceOfferings", &[("id", &fixed)])
        .await;
    assert_eq!(shown["count"], 1);
    cloud
        .ask(Who::Admin, "deleteServiceOffering", &[("id", &fixed)])
        .await;
    let shown = cloud
        .tenant("listServiceOfferings", &[("id", &fixed)])
        .await;
    assert_eq!(shown, json!({}));
    let params = with(&cloud, &stack.tier, &fixed, &[]);
    assert_eq!(cloud.refusal("deployVirtualMachine", &params).await.0, 431);
}

#[tokio::test(start_paused = true)]
async fn a_host_is_an_admins_to_choose() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let host = cloud
        .sim
        .world(|world| world.catalogue.hosts[2]["id"].as_str().unwrap().to_owned());
    let params = cloud.deploy(&stack.tier, "a", &[("hostid", &host)]);
    let (code, text) = cloud.failure("deployVirtualMachine", &params).await;
    assert_eq!(
        (code, text.as_str()),
        (
            530,
            "Parameter hostid can only be specified by a Root Admin, permission denied"
        )
    );
    assert_eq!(cloud.row("a").await["state"], "Stopped");
}

#[tokio::test(start_paused = true)]
async fn a_template_may_bring_its_user_data_and_forbid_other() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let template = cloud.sim.world(|world| {
        world.catalogue.templates[0]["id"]
            .as_str()
            .unwrap()
            .to_owned()
    });
    let data = [("name", "u"), ("userdata", "QQ==")];
    let data = cloud.ask(Who::Admin, "registerUserData", &data).await;
    let data = id_of(&data["userdata"]);
    let link = |policy| {
        [
            ("templateid", template.as_str()),
            ("userdataid", data.as_str()),
            ("userdatapolicy", policy),
        ]
    };
    let given = cloud.deploy(&stack.tier, "a", &[("userdata", "Qg==")]);
    cloud
        .ask(Who::Admin, "linkUserDataToTemplate", &link("DENYOVERRIDE"))
        .await;
    assert_eq!(cloud.refusal("deployVirtualMachine", &given).await.0, 431);
    cloud
        .ask(Who::Admin, "linkUserDataToTemplate", &link("APPEND"))
        .await;
    let vm = cloud.done("deployVirtualMachine", &given).await["virtualmachine"].clone();
    let id = id_of(&vm);
    let read = [("virtualmachineid", id.as_str())];
    let got = cloud.tenant("getVirtualMachineUserData", &read).await;
    // A, a line end, B.
    assert_eq!(got["virtualmachineuserdata"]["userdata"], "QQpC");
}

#[tokio::test(start_paused = true)]
async fn a_group_comes_with_its_first_machine_and_goes_without_it() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let params = cloud.deploy(&stack.tier, "a", &[("group", "g")]);
    cloud.done("deployVirtualMachine", &params).await;
    assert_eq!(cloud.row("a").await["group"], "g");
    let groups = cloud.tenant("listInstanceGroups", &[]).await;
    let id = id_of(&groups["instancegroup"][0]);
    let list = cloud
        .tenant("listVirtualMachines", &[("groupid", &id)])
        .await;
    assert_eq!(list["count"], 1);
    cloud.tenant("deleteInstanceGroup", &[("id", &id)]).await;
    assert!(cloud.row("a").await["group"].is_null());
}

#[tokio::test(start_paused = true)]
async fn keys_are_reset_while_a_machine_is_stopped() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let vm = cloud.vm(&stack.tier, "a").await;
    let key = [("name", "k"), ("publickey", "ssh-rsa AAAA me")];
    cloud.tenant("registerSSHKeyPair", &key).await;
    let reset = [("id", vm.as_str()), ("keypair", "k")];
    let command = "resetSSHKeyForVirtualMachine";
    assert_eq!(cloud.failure(command, &reset).await.0, 431);
    cloud.done("stopVirtualMachine", &[("id", &vm)]).await;
    let answer = cloud.done(command, &reset).await;
    assert_eq!(answer["virtualmachine"]["keypairs"], "k");
    let password = [("id", vm.as_str())];
    let (code, _) = cloud
        .failure("resetPasswordForVirtualMachine", &password)
        .await;
    assert_eq!(code, 431);
}

#[tokio::test(start_paused = true)]
async fn a_host_in_maintenance_is_empty_and_takes_nothing() {
    let cloud = Cloud::new(Profile::Lab);
    let stack = cloud.stack().await;
    let vm = cloud.vm(&stack.tier, "a").await;
    let on = |cloud: &Cloud| {
        cloud
            .sim
            .world(|world| world.vms[&vm].host.clone().unwrap())
    };
    let host = on(&cloud);
    let params = [("id", host.as_str())];
    let job = cloud
        .job_as(Who::Admin, "prepareHostForMaintenance", &params)
        .await;
    assert_eq!(job["jobresult"]["host"]["resourcestate"], "Maintenance");
    assert_ne!(on(&cloud), host);
    let back = [("virtualmachineid", vm.as_str()), ("hostid", &host)];
    let job = cloud
        .job_as(Who::Admin, "migrateVirtualMachine", &back)
        .await;
    assert_eq!(job["jobresultcode"], 530);
    assert_eq!(cloud.row("a").await["state"], "Running");
    cloud
        .job_as(Who::Admin, "cancelHostMaintenance", &params)
        .await;
    let job = cloud
        .job_as(Who::Admin, "migrateVirtualMachine", &back)
        .await;
    assert_eq!(job["jobstatus"], 1);
    assert_eq!(on(&cloud), host);
    assert_eq!(cloud.refusal("migrateVirtualMachine", &back).await.0, 432);
}

#[tokio::test(start_paused = true)]
async fn what_lies_below_the_zone_is_listed_for_admins() {
    let cloud = Cloud::new(Profile::Instant);
    for (command, key) in [
        ("listPods", "pod"),
        ("listClusters", "cluster"),
        ("listStoragePools", "storagepool"),
        ("listSystemVms", "systemvm"),
        ("listHosts", "host"),
    ] {
        let list = cloud.ask(Who::Admin, command, &[]).await;
        assert!(list[key][0]["id"].is_string(), "{command}: {list}");
        assert_eq!(cloud.refusal(command, &[]).await.0, 432);
    }
    for (command, key) in [
        ("listOsTypes", "ostype"),
        ("listOsCategories", "oscategory"),
        ("listHypervisors", "hypervisor"),
        ("listDiskOfferings", "diskoffering"),
    ] {
        let list = cloud.tenant(command, &[]).await;
        assert!(list[key][0]["name"].is_string(), "{command}: {list}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_registered_template_is_its_owners() {
    let cloud = Cloud::new(Profile::Instant);
    let params = [
        ("name", "mine"),
        ("format", "QCOW2"),
        ("hypervisor", "Simulator"),
        ("url", "http://images.example.org/mine.qcow2"),
    ];
    let answer = cloud.tenant("registerTemplate", &params).await;
    assert_eq!(answer["template"][0]["isready"], true);
    let named = |filter| [("templatefilter", filter), ("name", "mine")];
    let own = cloud.tenant("listTemplates", &named("self")).await;
    assert_eq!(own["count"], 1);
    let featured = cloud.tenant("listTemplates", &named("featured")).await;
    assert_eq!(featured, json!({}));
}
