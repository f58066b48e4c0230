//! Machines: deploys, wrecks, parking, and what a tenant may not do.

use super::Cloud;
use crate::sim::{Fault, FaultKind, Profile, Who};

#[tokio::test(start_paused = true)]
async fn a_tenant_cannot_expunge() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let vm = cloud.vm(&stack.tier, "bono-0").await;
    let (code, text) = cloud
        .failure("destroyVirtualMachine", &[("id", &vm), ("expunge", "true")])
        .await;
    assert_eq!(
        (code, text.as_str()),
        (530, "Account does not have permission for expunging.")
    );
    assert_eq!(cloud.row("bono-0").await["state"], "Running");
}

#[tokio::test(start_paused = true)]
async fn a_destroyed_machine_vanishes_yet_keeps_name_address_and_nat_until_the_purge() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let params = cloud.deploy(&stack.tier, "bono-0", &[("ipaddress", "10.1.0.20")]);
    let vm = cloud.done("deployVirtualMachine", &params).await;
    let vm = vm["virtualmachine"]["id"].as_str().unwrap().to_owned();
    let address = cloud.nat(&stack, &vm).await;
    cloud.done("destroyVirtualMachine", &[("id", &vm)]).await;

    assert!(cloud.row("bono-0").await.is_null());
    let nat = cloud.address_row(&address).await;
    assert_eq!(
        (&nat["isstaticnat"], &nat["virtualmachinename"]),
        (&true.into(), &"bono-0".into())
    );
    let (status, text) = cloud.refusal("deployVirtualMachine", &params).await;
    assert_eq!(status, 431);
    assert!(text.starts_with("The vm with hostName bono-0 already exists in the network domain:"));
    let other = cloud.deploy(&stack.tier, "bono-1", &[("ipaddress", "10.1.0.20")]);
    assert_eq!(cloud.refusal("deployVirtualMachine", &other).await.0, 530);
    let (code, text) = cloud.failure("deleteNetwork", &[("id", &stack.tier)]).await;
    assert_eq!((code, text.as_str()), (530, "Failed to delete network"));

    cloud
        .clock
        .sleep(std::time::Duration::from_secs(49 * 3600))
        .await;
    cloud.done("deployVirtualMachine", &params).await;
    assert_eq!(cloud.address_row(&address).await["isstaticnat"], false);
}

#[tokio::test(start_paused = true)]
async fn a_parked_machine_makes_way_for_its_successor() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let params = cloud.deploy(&stack.tier, "bono-0", &[("ipaddress", "10.1.0.20")]);
    cloud.done("deployVirtualMachine", &params).await;
    let row = cloud.row("bono-0").await;
    let (vm, nic) = (
        row["id"].as_str().unwrap(),
        row["nic"][0]["id"].as_str().unwrap(),
    );
    let address = cloud.nat(&stack, vm).await;

    cloud
        .done("stopVirtualMachine", &[("id", vm), ("forced", "true")])
        .await;
    cloud
        .done("disableStaticNat", &[("ipaddressid", &address)])
        .await;
    cloud
        .done(
            "updateVmNicIp",
            &[("nicid", nic), ("ipaddress", "10.1.0.250")],
        )
        .await;
    cloud
        .tenant(
            "updateVirtualMachine",
            &[("id", vm), ("name", "bono-0-old")],
        )
        .await;
    cloud.done("destroyVirtualMachine", &[("id", vm)]).await;
    let next = cloud.done("deployVirtualMachine", &params).await;
    let next = next["virtualmachine"]["id"].as_str().unwrap();
    let nat = [
        ("ipaddressid", address.as_str()),
        ("virtualmachineid", next),
        ("networkid", &stack.tier),
    ];
    cloud.tenant("enableStaticNat", &nat).await;
    assert_eq!(cloud.row("bono-0").await["ipaddress"], "10.1.0.20");
}

#[tokio::test(start_paused = true)]
async fn a_refused_deploy_leaves_a_wreck_and_each_retry_another() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let taken = cloud.deploy(&stack.tier, "bono-0", &[("ipaddress", "10.1.0.1")]);
    for _ in 0..3 {
        let reply = cloud
            .send(Who::Tenant, "deployVirtualMachine", &taken)
            .await;
        assert_eq!(
            (reply.status, reply.inner()["cserrorcode"].as_i64()),
            (530, Some(0))
        );
    }
    let all = cloud
        .tenant("listVirtualMachines", &[("name", "bono-0")])
        .await;
    assert_eq!(all["count"], 3);
    assert_eq!(all["virtualmachine"][0]["state"], "Error");
    assert_eq!(all["virtualmachine"][0]["nic"], serde_json::json!([]));
    let here = cloud
        .tenant("listVirtualMachines", &[("networkid", &stack.tier)])
        .await;
    assert_eq!(here, serde_json::json!({}));

    let wreck = all["virtualmachine"][0]["id"].as_str().unwrap();
    cloud.done("destroyVirtualMachine", &[("id", wreck)]).await;
    let left = cloud
        .tenant("listVirtualMachines", &[("name", "bono-0")])
        .await;
    assert_eq!(left["count"], 2);
    cloud.stopped_vm(&stack.tier, "bono-0").await;
}

#[tokio::test(start_paused = true)]
async fn a_machine_born_stopped_is_stopped_again_after_a_failed_start() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let vm = cloud.stopped_vm(&stack.tier, "bono-0").await;
    cloud
        .sim
        .add_fault(Fault::once("startVirtualMachine", FaultKind::StartFails));
    assert_eq!(
        cloud.failure("startVirtualMachine", &[("id", &vm)]).await.0,
        530
    );
    assert_eq!(cloud.row("bono-0").await["state"], "Stopped");
    cloud.done("startVirtualMachine", &[("id", &vm)]).await;
    assert_eq!(cloud.row("bono-0").await["state"], "Running");
}

#[tokio::test(start_paused = true)]
async fn a_deploy_that_fails_to_start_ends_in_error_and_blocks_its_name() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    cloud
        .sim
        .add_fault(Fault::once("deployVirtualMachine", FaultKind::NoCapacity));
    let params = cloud.deploy(&stack.tier, "bono-0", &[]);
    assert_eq!(cloud.failure("deployVirtualMachine", &params).await.0, 533);
    let row = cloud.row("bono-0").await;
    assert_eq!(row["state"], "Error");
    let (id, nic) = (
        row["id"].as_str().unwrap(),
        row["nic"][0]["id"].as_str().unwrap(),
    );

    let (code, text) = cloud.failure("startVirtualMachine", &[("id", id)]).await;
    assert!(code == 530 && text.contains("no usable volumes found"));
    assert_eq!(
        cloud
            .failure("restoreVirtualMachine", &[("virtualmachineid", id)])
            .await
            .0,
        530
    );
    let moved = [("nicid", nic), ("ipaddress", "10.1.0.250")];
    assert_eq!(cloud.failure("updateVmNicIp", &moved).await.0, 431);
    let renamed = [("id", id), ("name", "bono-0-old")];
    assert_eq!(cloud.refusal("updateVirtualMachine", &renamed).await.0, 530);
    cloud.done("destroyVirtualMachine", &[("id", id)]).await;
    assert!(cloud.row("bono-0").await.is_null());
    assert_eq!(cloud.refusal("deployVirtualMachine", &params).await.0, 431);
}

#[tokio::test(start_paused = true)]
async fn a_restore_keeps_everything_but_the_disk() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let more = [("details[0].weir", "uid-1"), ("userdata", "YQ==")];
    cloud
        .done(
            "deployVirtualMachine",
            &cloud.deploy(&stack.tier, "bono-0", &more),
        )
        .await;
    let before = cloud.row("bono-0").await;
    let id = before["id"].as_str().unwrap();
    cloud.nat(&stack, id).await;
    cloud
        .done("restoreVirtualMachine", &[("virtualmachineid", id)])
        .await;
    let after = cloud.row("bono-0").await;
    for member in ["id", "name", "state", "ipaddress", "details"] {
        assert_eq!(before[member], after[member], "{member}");
    }
    assert!(after["publicip"].is_string());
    let images = cloud.sim.world(|world| world.vms[id].images);
    assert_eq!(images, 2);
}

#[tokio::test(start_paused = true)]
async fn details_are_there_from_the_first_moment_and_an_update_replaces_them_all() {
    let cloud = Cloud::new(Profile::Lab);
    let stack = cloud.stack().await;
    let params = cloud.deploy(&stack.tier, "bono-0", &[("details[0].weir", "uid-1")]);
    let answer = cloud.tenant("deployVirtualMachine", &params).await;
    let row = cloud.row("bono-0").await;
    assert_eq!(
        (&row["state"], &row["details"]["weir"]),
        (&"Stopped".into(), &"uid-1".into())
    );
    assert_eq!(row["jobid"], answer["jobid"]);
    cloud.ended(answer["jobid"].as_str().unwrap()).await;

    let id = answer["id"].as_str().unwrap();
    cloud
        .tenant(
            "updateVirtualMachine",
            &[("id", id), ("details[0].other", "1")],
        )
        .await;
    assert_eq!(
        cloud.row("bono-0").await["details"],
        serde_json::json!({"other": "1"})
    );
    cloud
        .tenant(
            "updateVirtualMachine",
            &[("id", id), ("cleanupdetails", "true")],
        )
        .await;
    assert_eq!(cloud.row("bono-0").await["details"], serde_json::json!({}));
}

#[tokio::test(start_paused = true)]
async fn what_needs_a_stopped_machine_fails_on_a_running_one() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let vm = cloud.vm(&stack.tier, "bono-0").await;
    let nic = cloud.row("bono-0").await["nic"][0]["id"]
        .as_str()
        .unwrap()
        .to_owned();
    let medium = cloud
        .sim
        .world(|world| world.catalogue.service_offerings[1]["id"].clone());
    let medium = medium.as_str().unwrap();
    let moved = [("nicid", nic.as_str()), ("ipaddress", "10.1.0.99")];
    assert_eq!(cloud.failure("updateVmNicIp", &moved).await.0, 431);
    assert_eq!(
        cloud
            .failure("updateVMAffinityGroup", &[("id", &vm)])
            .await
            .0,
        431
    );
    let resized = [("id", vm.as_str()), ("serviceofferingid", medium)];
    assert_eq!(
        cloud
            .refusal("changeServiceForVirtualMachine", &resized)
            .await
            .0,
        431
    );
    cloud.done("stopVirtualMachine", &[("id", &vm)]).await;
    cloud.done("updateVmNicIp", &moved).await;
    cloud
        .tenant("changeServiceForVirtualMachine", &resized)
        .await;
    let row = cloud.row("bono-0").await;
    assert_eq!(
        (&row["ipaddress"], &row["memory"]),
        (&"10.1.0.99".into(), &1024.into())
    );
}

#[tokio::test(start_paused = true)]
async fn a_user_lacks_the_command_that_resets_user_data() {
    let cloud = Cloud::new(Profile::Instant);
    let reply = cloud
        .send(
            Who::Tenant,
            "resetUserDataForVirtualMachine",
            &[("id", "x")],
        )
        .await;
    assert_eq!(reply.status, 432);
    assert_eq!(reply.json()["errorresponse"]["cserrorcode"], 9999);
    assert!(
        reply
            .headers
            .iter()
            .any(|(name, _)| name == "X-Description")
    );
}

#[tokio::test(start_paused = true)]
async fn an_anti_affinity_group_has_room_for_as_many_machines_as_there_are_hosts() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let group = [("name", "bono"), ("type", "host anti-affinity")];
    let group = cloud.done("createAffinityGroup", &group).await;
    let group = group["affinitygroup"]["id"].as_str().unwrap().to_owned();
    for name in ["bono-0", "bono-1", "bono-2", "bono-3"] {
        let params = cloud.deploy(&stack.tier, name, &[("affinitygroupids", &group)]);
        cloud.done("deployVirtualMachine", &params).await;
    }
    let params = cloud.deploy(&stack.tier, "bono-4", &[("affinitygroupids", &group)]);
    let (code, text) = cloud.failure("deployVirtualMachine", &params).await;
    assert!(
        code == 533 && text.contains("Please check the affinity groups provided"),
        "{text}"
    );
    cloud.done("deleteAffinityGroup", &[("id", &group)]).await;
    assert_eq!(
        cloud.row("bono-0").await["affinitygroup"],
        serde_json::json!([])
    );
    let params = cloud.deploy(&stack.tier, "bono-5", &[("affinitygroupids", &group)]);
    assert_eq!(
        cloud.refusal("deployVirtualMachine", &params).await,
        (431, "Unable to find affinity group null".to_owned())
    );
}

#[tokio::test(start_paused = true)]
async fn the_id_of_a_purged_machine_is_refused_in_other_words_than_an_unknown_one() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let vm = cloud.vm(&stack.tier, "bono-0").await;
    let expunged = [("id", vm.as_str()), ("expunge", "true")];
    let job = cloud
        .job_as(Who::Admin, "destroyVirtualMachine", &expunged)
        .await;
    assert_eq!(
        job["jobresult"]["virtualmachine"]["nic"],
        serde_json::json!([])
    );
    let (_, text) = cloud.refusal("destroyVirtualMachine", &[("id", &vm)]).await;
    assert!(text.starts_with("Unable to find UUID for id ["), "{text}");
    let unknown = [("id", "00000000-0000-0000-0000-000000000000")];
    let (_, text) = cloud.refusal("destroyVirtualMachine", &unknown).await;
    assert!(text.contains("Invalid parameter id value="), "{text}");
    let listed = cloud.tenant("listVirtualMachines", &[("id", &vm)]).await;
    assert_eq!(listed, serde_json::json!({}));
}

#[tokio::test(start_paused = true)]
async fn a_full_account_is_refused_with_535() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    cloud
        .sim
        .world(|world| world.limits_of("operator").unwrap().set("user_vm", 1));
    cloud.stopped_vm(&stack.tier, "bono-0").await;
    let params = cloud.deploy(&stack.tier, "bono-1", &[]);
    let (status, text) = cloud.refusal("deployVirtualMachine", &params).await;
    assert_eq!(status, 535);
    assert!(text.starts_with("Maximum amount of resources of Type = 'user_vm', tag = 'null'"));
    assert_eq!(cloud.sim.world(|world| world.vms.len()), 1);
}

#[tokio::test(start_paused = true)]
async fn user_data_comes_back_as_it_was_sent_and_in_rows_only_on_request() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let vm = cloud.stopped_vm(&stack.tier, "bono-0").await;
    cloud
        .tenant("updateVirtualMachine", &[("id", &vm), ("userdata", "YWJj")])
        .await;
    let answer = cloud
        .tenant("getVirtualMachineUserData", &[("virtualmachineid", &vm)])
        .await;
    assert_eq!(answer["virtualmachineuserdata"]["userdata"], "YWJj");
    assert!(cloud.row("bono-0").await["userdata"].is_null());
    let rows = cloud
        .tenant("listVirtualMachines", &[("userdata", "true")])
        .await;
    assert_eq!(rows["virtualmachine"][0]["userdata"], "YWJj");
    let wrong = [("id", vm.as_str()), ("userdata", "no base64!")];
    assert_eq!(cloud.refusal("updateVirtualMachine", &wrong).await.0, 431);
}
