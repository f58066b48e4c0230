//! Items 46 to 71: machines.

use serde_json::{Value, json};
use weir::sim::{Breakage, Fault, FaultKind, HostFailure, Profile, Who};

use super::{Cloud, text};

/// 46. Deploy with a used name in the same network → HTTP 431 "The vm with hostName X already exists in
/// the network domain: …", no row created.
#[tokio::test(start_paused = true)]
async fn c046_a_used_name_in_the_same_network_is_refused() {
    let cloud = Cloud::new(Profile::Instant).await;
    cloud.stopped("a").await;
    let (status, text) = cloud
        .refusal("deployVirtualMachine", &cloud.deploy("a", &[]))
        .await;
    assert_eq!(status, 431);
    let start = "The vm with hostName a already exists in the network domain: ";
    assert!(text.starts_with(start), "{text}");
    let list = cloud.tenant("listVirtualMachines", &[]).await;
    assert_eq!(list["count"], 1);
}

/// 47. Same name in another tier of the same VPC → same error; in an unrelated network → accepted.
#[tokio::test(start_paused = true)]
async fn c047_a_name_is_taken_in_all_tiers_of_a_vpc_and_nowhere_else() {
    let cloud = Cloud::new(Profile::Instant).await;
    cloud.stopped("a").await;
    let second = cloud.new_tier(&cloud.vpc, "t2", "10.1.1.1").await;
    let mut params = cloud.deploy("a", &[]);
    params[1] = ("networkids", &second);
    let (status, _) = cloud.refusal("deployVirtualMachine", &params).await;
    assert_eq!(status, 431);
    let offering = cloud
        .sim
        .world(|world| text(&world.catalogue.vpc_offerings[0]["id"]));
    let vpc = cloud.new_vpc("w", &offering).await;
    let other = cloud.new_tier(&vpc, "t3", "10.1.0.1").await;
    let mut params = cloud.deploy("a", &[]);
    params[1] = ("networkids", &other);
    cloud.done("deployVirtualMachine", &params).await;
}

/// 48. Same name after destroy without expunge → still 431; after expunge → accepted.
#[tokio::test(start_paused = true)]
async fn c048_a_name_is_free_after_the_expunge_only() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.vm("a").await;
    cloud.done("destroyVirtualMachine", &[("id", &vm)]).await;
    let params = cloud.deploy("a", &[]);
    assert_eq!(cloud.refusal("deployVirtualMachine", &params).await.0, 431);
    let job = cloud
        .job_as(Who::Admin, "expungeVirtualMachine", &[("id", &vm)])
        .await;
    assert_eq!(job["jobresult"], json!({"success": true}));
    cloud.done("deployVirtualMachine", &params).await;
}

/// 49. Deploy with no capacity → job 2, 533 "No destination found for a deployment …"; the VM stays,
/// state Error; listed.
#[tokio::test(start_paused = true)]
async fn c049_a_deploy_without_room_leaves_a_machine_in_error() {
    let cloud = Cloud::new(Profile::Instant).await;
    cloud
        .sim
        .world(|world| world.settings.host_memory_mib = 256);
    let params = cloud.deploy("a", &[]);
    let (code, text) = cloud.failure("deployVirtualMachine", &params).await;
    assert_eq!(code, 533);
    let start = "No destination found for a deployment for VM instance {";
    assert!(text.starts_with(start), "{text}");
    let list = cloud.tenant("listVirtualMachines", &[("name", "a")]).await;
    assert_eq!(list["virtualmachine"][0]["state"], "Error");
}

/// 50. Anti-affinity group with more members than hosts → job 533 with the affinity suffix.
#[tokio::test(start_paused = true)]
async fn c050_a_strict_group_has_no_more_members_than_hosts() {
    let cloud = Cloud::new(Profile::Instant).await;
    let kind = [("name", "g"), ("type", "host anti-affinity")];
    cloud.done("createAffinityGroup", &kind).await;
    let hosts = cloud.sim.world(|world| world.catalogue.hosts.len());
    let mut used = std::collections::BTreeSet::new();
    for place in 0..hosts {
        let name = format!("m{place}");
        let params = cloud.deploy(&name, &[("affinitygroupnames", "g")]);
        let vm = cloud.done("deployVirtualMachine", &params).await;
        let id = text(&vm["virtualmachine"]["id"]);
        used.insert(text(&cloud.seen(Who::Admin, &id).await["hostid"]));
    }
    assert_eq!(used.len(), hosts);
    let params = cloud.deploy("last", &[("affinitygroupnames", "g")]);
    let (code, text) = cloud.failure("deployVirtualMachine", &params).await;
    assert_eq!(code, 533);
    let end = ", Please check the affinity groups provided, there may not be sufficient capacity to follow them";
    assert!(text.ends_with(end), "{text}");
}

/// 51. Destroy of an Error VM → Expunging, then gone.
#[tokio::test(start_paused = true)]
async fn c051_a_machine_in_error_is_expunging_at_once() {
    let cloud = Cloud::new(Profile::Instant).await;
    cloud
        .sim
        .add_fault(Fault::once("deployVirtualMachine", FaultKind::NoCapacity));
    let params = cloud.deploy("a", &[]);
    let answer = cloud.tenant("deployVirtualMachine", &params).await;
    let id = text(&answer["id"]);
    cloud.ended(&text(&answer["jobid"])).await;
    cloud.done("destroyVirtualMachine", &[("id", &id)]).await;
    assert_eq!(cloud.state(&id).await, "Expunging");
    cloud.wait(49 * 3600).await;
    assert!(cloud.seen(Who::Admin, &id).await.is_null());
}

/// 52. Quota reached → HTTP 535 with the "Maximum amount of resources of Type = 'user_vm'…" text,
/// cserrorcode 4370, no row.
#[tokio::test(start_paused = true)]
async fn c052_a_full_account_gets_no_more_machines() {
    let cloud = Cloud::new(Profile::Instant).await;
    cloud.stopped("a").await;
    cloud
        .sim
        .world(|world| world.limits_of("operator").unwrap().set("user_vm", 1));
    let reply = cloud
        .send(Who::Tenant, "deployVirtualMachine", &cloud.deploy("b", &[]))
        .await;
    assert_eq!(reply.status, 535);
    assert_eq!(reply.inner()["cserrorcode"], 4370);
    let text = text(&reply.inner()["errortext"]);
    let start = "Maximum amount of resources of Type = 'user_vm', tag = 'null' for Account Name = operator in Domain Id = ";
    assert!(text.starts_with(start), "{text}");
    let list = cloud.tenant("listVirtualMachines", &[]).await;
    assert_eq!(list["count"], 1);
}

/// 53. Deploy startvm=false → job 1 promptly, state Stopped.
#[tokio::test(start_paused = true)]
async fn c053_a_machine_can_be_born_stopped() {
    let cloud = Cloud::new(Profile::Lab).await;
    let vm = cloud.stopped("a").await;
    assert_eq!(cloud.state(&vm).await, "Stopped");
    assert!(cloud.seen(Who::Admin, &vm).await["hostid"].is_null());
}

/// 54. networkids + iptonetworklist → 431; a requested address in use → as observed, 530 with
/// cserrorcode 0 and a wreck, not 533.
#[tokio::test(start_paused = true)]
async fn c054_networks_are_given_in_one_way_and_addresses_once() {
    let cloud = Cloud::new(Profile::Instant).await;
    let both = cloud.deploy(
        "a",
        &[
            ("iptonetworklist[0].networkid", cloud.tier.as_str()),
            ("iptonetworklist[0].ip", "10.1.0.9"),
        ],
    );
    assert_eq!(cloud.refusal("deployVirtualMachine", &both).await.0, 431);
    let alone: Vec<_> = both
        .into_iter()
        .filter(|(name, _)| *name != "networkids")
        .collect();
    let vm = cloud.done("deployVirtualMachine", &alone).await;
    assert_eq!(vm["virtualmachine"]["ipaddress"], "10.1.0.9");
    let taken = cloud.deploy("b", &[("ipaddress", "10.1.0.9")]);
    let reply = cloud
        .send(Who::Tenant, "deployVirtualMachine", &taken)
        .await;
    assert_eq!(
        (reply.status, &reply.inner()["cserrorcode"]),
        (530, &json!(0))
    );
}

/// 55. userdata not base64 → 431; POST with 40000 → 431 configurable max; POST with 20000 → accepted;
/// getVirtualMachineUserData returns the same text.
#[tokio::test(start_paused = true)]
async fn c055_user_data_is_base64_and_not_too_long() {
    let cloud = Cloud::new(Profile::Instant).await;
    let refusal = |data: String| {
        let cloud = &cloud;
        async move {
            let params = cloud.deploy("a", &[("userdata", &data)]);
            cloud.refusal("deployVirtualMachine", &params).await
        }
    };
    assert_eq!(
        refusal("?!".to_owned()).await,
        (431, "User data is not base64 encoded.".to_owned())
    );
    let (status, text) = refusal("QUFB".repeat(10_000)).await;
    assert_eq!(
        (status, text.as_str()),
        (431, "User data has exceeded configurable max length: 32768")
    );
    let data = "QUFB".repeat(5_000);
    let params = cloud.deploy("a", &[("userdata", &data)]);
    let vm = cloud.done("deployVirtualMachine", &params).await;
    let id = super::text(&vm["virtualmachine"]["id"]);
    let got = cloud
        .tenant("getVirtualMachineUserData", &[("virtualmachineid", &id)])
        .await;
    assert_eq!(got["virtualmachineuserdata"]["userdata"], data);
}

/// 56. Unknown keypair → 431 "Not all specified keypairs exist".
#[tokio::test(start_paused = true)]
async fn c056_an_unknown_key_pair_is_refused() {
    let cloud = Cloud::new(Profile::Instant).await;
    let params = cloud.deploy("a", &[("keypair", "nobody's")]);
    assert_eq!(
        cloud.refusal("deployVirtualMachine", &params).await,
        (431, "Not all specified keypairs exist".to_owned())
    );
}

/// 57. Stop on Stopped → job success; reboot on Stopped → job 431 "unable to reboot it". As observed,
/// a start of a running machine is accepted and its job succeeds.
#[tokio::test(start_paused = true)]
async fn c057_a_machine_that_is_there_already_is_no_failure() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.vm("a").await;
    cloud.done("startVirtualMachine", &[("id", &vm)]).await;
    cloud.done("stopVirtualMachine", &[("id", &vm)]).await;
    cloud.done("stopVirtualMachine", &[("id", &vm)]).await;
    let (code, text) = cloud.failure("rebootVirtualMachine", &[("id", &vm)]).await;
    assert_eq!(code, 431);
    assert!(text.ends_with("unable to reboot it"), "{text}");
}

/// 58. Destroy on Destroyed → job success. Destroy or start of an expunged id → HTTP 431 "Unable to find
/// UUID for id [N] of type [VirtualMachine]"; a never-existing id → HTTP 431 "Invalid parameter id value=…".
#[tokio::test(start_paused = true)]
async fn c058_gone_and_never_there_are_told_apart() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.vm("a").await;
    for _ in 0..2 {
        let job = cloud
            .job_as(Who::Admin, "destroyVirtualMachine", &[("id", &vm)])
            .await;
        assert_eq!(job["jobstatus"], 1);
    }
    cloud
        .job_as(Who::Admin, "expungeVirtualMachine", &[("id", &vm)])
        .await;
    for command in ["destroyVirtualMachine", "startVirtualMachine"] {
        let (status, text) = cloud.refusal(command, &[("id", &vm)]).await;
        assert_eq!(status, 431);
        assert!(text.starts_with("Unable to find UUID for id ["), "{text}");
        assert!(text.ends_with("] of type [VirtualMachine]"), "{text}");
    }
    let never = "11111111-2222-4333-8444-555555555555";
    let (status, text) = cloud.refusal("startVirtualMachine", &[("id", never)]).await;
    assert_eq!(status, 431);
    assert!(text.contains(&format!("Invalid parameter id value={never}")));
}

/// 59. destroy with expunge=true by a normal user while the setting is false → job 530 "Account does
/// not have permission for expunging."; VM unchanged.
#[tokio::test(start_paused = true)]
async fn c059_a_user_does_not_expunge() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.vm("a").await;
    let both = [("id", vm.as_str()), ("expunge", "true")];
    assert_eq!(
        cloud.failure("destroyVirtualMachine", &both).await,
        (
            530,
            "Account does not have permission for expunging.".to_owned()
        )
    );
    assert_eq!(cloud.state(&vm).await, "Running");
    cloud
        .sim
        .world(|world| world.settings.allow_user_expunge_recover_vm = true);
    cloud.done("destroyVirtualMachine", &both).await;
    assert!(cloud.seen(Who::Admin, &vm).await.is_null());
}

/// 60. Destroyed VM: invisible to its normal user, visible to admin; NIC, IP, static NAT still
/// reserved; data disks detached.
#[tokio::test(start_paused = true)]
async fn c060_a_destroyed_machine_keeps_what_it_had_but_its_data_disks() {
    let cloud = Cloud::new(Profile::Instant).await;
    let disk = cloud
        .sim
        .world(|world| text(&world.catalogue.disk_offerings[0]["id"]));
    let params = cloud.deploy("a", &[("diskofferingid", &disk)]);
    let vm = cloud.done("deployVirtualMachine", &params).await;
    let vm = text(&vm["virtualmachine"]["id"]);
    let address = cloud
        .done("associateIpAddress", &[("vpcid", &cloud.vpc)])
        .await;
    let address = text(&address["ipaddress"]["id"]);
    let nat = [
        ("ipaddressid", address.as_str()),
        ("virtualmachineid", &vm),
        ("networkid", &cloud.tier),
    ];
    cloud.tenant("enableStaticNat", &nat).await;
    cloud.done("destroyVirtualMachine", &[("id", &vm)]).await;

    assert!(cloud.seen(Who::Tenant, &vm).await.is_null());
    let row = cloud.seen(Who::Admin, &vm).await;
    assert_eq!(row["state"], "Destroyed");
    assert!(row["nic"][0]["ipaddress"].is_string());
    let nat = cloud
        .tenant("listPublicIpAddresses", &[("id", &address)])
        .await;
    assert_eq!(nat["publicipaddress"][0]["virtualmachineid"], vm);
    let data = cloud.tenant("listVolumes", &[("type", "DATADISK")]).await;
    assert!(data["volume"][0]["id"].is_string(), "{data}");
    assert!(data["volume"][0]["virtualmachineid"].is_null(), "{data}");
}

/// 61. deleteprotection=true → destroy job 431 with the delete-protection text;
/// updateVirtualMachine deleteprotection=false unlocks.
#[tokio::test(start_paused = true)]
async fn c061_a_protected_machine_is_not_destroyed() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.vm("a").await;
    let lock = |on| [("id", vm.as_str()), ("deleteprotection", on)];
    cloud.tenant("updateVirtualMachine", &lock("true")).await;
    let (code, text) = cloud.failure("destroyVirtualMachine", &[("id", &vm)]).await;
    assert_eq!(code, 431);
    let end = "has delete protection enabled and cannot be deleted.";
    assert!(text.ends_with(end), "{text}");
    cloud.tenant("updateVirtualMachine", &lock("false")).await;
    cloud.done("destroyVirtualMachine", &[("id", &vm)]).await;
}

/// 62. recoverVirtualMachine on Destroyed → synchronous VM object, Stopped; on Running → 431.
#[tokio::test(start_paused = true)]
async fn c062_a_destroyed_machine_is_recovered_at_once() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.vm("a").await;
    let reply = cloud
        .send(Who::Admin, "recoverVirtualMachine", &[("id", &vm)])
        .await;
    assert_eq!(reply.status, 431);
    cloud.done("destroyVirtualMachine", &[("id", &vm)]).await;
    let answer = cloud
        .ask(Who::Admin, "recoverVirtualMachine", &[("id", &vm)])
        .await;
    assert_eq!(answer["virtualmachine"]["state"], "Stopped");
    assert_eq!(cloud.seen(Who::Tenant, &vm).await["state"], "Stopped");
}

/// 63. updateVirtualMachine details replaces all previous details; synchronous.
#[tokio::test(start_paused = true)]
async fn c063_new_details_replace_the_old_ones() {
    let cloud = Cloud::new(Profile::Instant).await;
    let params = cloud.deploy("a", &[("details[0].one", "1"), ("details[0].two", "2")]);
    let vm = cloud.done("deployVirtualMachine", &params).await;
    let vm = text(&vm["virtualmachine"]["id"]);
    let three = [("id", vm.as_str()), ("details[0].three", "3")];
    let answer = cloud.tenant("updateVirtualMachine", &three).await;
    assert_eq!(answer["virtualmachine"]["details"], json!({"three": "3"}));
    let clean = [("id", vm.as_str()), ("cleanupdetails", "true")];
    let answer = cloud.tenant("updateVirtualMachine", &clean).await;
    assert_eq!(answer["virtualmachine"]["details"], json!({}));
}

/// 64. changeServiceForVirtualMachine on Running → 431; on Stopped → new cpunumber and memory.
#[tokio::test(start_paused = true)]
async fn c064_a_size_changes_while_the_machine_is_stopped() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.vm("a").await;
    let medium = cloud
        .sim
        .world(|world| text(&world.catalogue.service_offerings[1]["id"]));
    let change = [("id", vm.as_str()), ("serviceofferingid", medium.as_str())];
    let (status, _) = cloud
        .refusal("changeServiceForVirtualMachine", &change)
        .await;
    assert_eq!(status, 431);
    cloud.done("stopVirtualMachine", &[("id", &vm)]).await;
    let answer = cloud
        .tenant("changeServiceForVirtualMachine", &change)
        .await;
    assert_eq!(answer["virtualmachine"]["memory"], 1024);
}

/// 65. resetUserDataForVirtualMachine on Running → 431. As observed, the role User lacks it (432).
#[tokio::test(start_paused = true)]
async fn c065_user_data_is_reset_while_the_machine_is_stopped() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.vm("a").await;
    let reset = [("id", vm.as_str()), ("userdata", "QUFB")];
    let command = "resetUserDataForVirtualMachine";
    assert_eq!(cloud.refusal(command, &reset).await.0, 432);
    assert_eq!(cloud.send(Who::Admin, command, &reset).await.status, 431);
    cloud.done("stopVirtualMachine", &[("id", &vm)]).await;
    cloud.ask(Who::Admin, command, &reset).await;
}

/// 66. hostid, hostname, instancename absent for users, present for root admin; hostcontrolstate present
/// for both.
#[tokio::test(start_paused = true)]
async fn c066_users_are_not_told_where_a_machine_runs() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.vm("a").await;
    let (user, admin) = (
        cloud.seen(Who::Tenant, &vm).await,
        cloud.seen(Who::Admin, &vm).await,
    );
    for member in ["hostid", "hostname", "instancename"] {
        assert!(user[member].is_null(), "{member}");
        assert!(admin[member].is_string(), "{member}");
    }
    for row in [&user, &admin] {
        assert_eq!(row["hostcontrolstate"], "Enabled");
    }
}

async fn host_of(cloud: &Cloud, vm: &str) -> Value {
    cloud.seen(Who::Admin, vm).await["hostid"].clone()
}

/// 67. Host-down injection: non-HA VM → Stopped (or stays Running in the "undetermined" mode with
/// hostcontrolstate Offline); HA VM → Running with another hostid, same id and IP.
#[tokio::test(start_paused = true)]
async fn c067_a_host_goes_down_and_only_what_is_to_be_available_moves() {
    let cloud = Cloud::new(Profile::Lab).await;
    let (plain, available) = (cloud.vm("a").await, cloud.vm("b").await);
    let ha = [("id", available.as_str()), ("haenable", "true")];
    cloud.tenant("updateVirtualMachine", &ha).await;
    let first = text(&host_of(&cloud, &available).await);
    let move_there = [("virtualmachineid", plain.as_str()), ("hostid", &first)];
    let moved = cloud
        .job_as(Who::Admin, "migrateVirtualMachine", &move_there)
        .await;
    assert_eq!(moved["jobstatus"], 1, "{moved}");
    let before = cloud.seen(Who::Tenant, &available).await;

    cloud
        .sim
        .world(|world| world.fail_host(&first, HostFailure::Down))
        .unwrap();
    cloud.wait(200).await;
    assert_eq!(cloud.state(&plain).await, "Stopped");
    let after = cloud.seen(Who::Tenant, &available).await;
    assert_eq!(after["state"], "Running");
    assert_eq!(after["ipaddress"], before["ipaddress"]);
    let second = text(&host_of(&cloud, &available).await);
    assert_ne!(second, first);

    cloud
        .sim
        .world(|world| world.fail_host(&second, HostFailure::Undetermined))
        .unwrap();
    cloud.wait(200).await;
    let row = cloud.seen(Who::Tenant, &available).await;
    assert_eq!(
        (&row["state"], &row["hostcontrolstate"]),
        (&json!("Running"), &json!("Offline"))
    );
}

/// 68. Guest shutdown injection: Running → Stopped without any job.
#[tokio::test(start_paused = true)]
async fn c068_a_guest_shuts_itself_down_without_a_job() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.vm("a").await;
    let jobs = cloud.sim.world(|world| world.totals.jobs);
    cloud
        .sim
        .break_it(Breakage::StopVm { vm: "a".to_owned() })
        .unwrap();
    assert_eq!(cloud.state(&vm).await, "Stopped");
    assert_eq!(cloud.sim.world(|world| world.totals.jobs), jobs);
}

/// 69. A VM response always has the arrays securitygroup, nic, tags and affinitygroup.
#[tokio::test(start_paused = true)]
async fn c069_a_machine_always_has_its_four_arrays() {
    let cloud = Cloud::new(Profile::Instant).await;
    cloud.stopped("a").await;
    for details in ["all", "min"] {
        let list = cloud
            .tenant("listVirtualMachines", &[("details", details)])
            .await;
        for member in ["securitygroup", "nic", "tags", "affinitygroup"] {
            let row = &list["virtualmachine"][0];
            assert!(row[member].is_array(), "{details}: {member} in {row}");
        }
    }
}

/// 70. The affinitygroup list uses `virtualmachineIds`.
#[tokio::test(start_paused = true)]
async fn c070_members_of_a_group_are_spelt_in_camel_case() {
    let cloud = Cloud::new(Profile::Instant).await;
    let kind = [("name", "g"), ("type", "host anti-affinity")];
    cloud.done("createAffinityGroup", &kind).await;
    let params = cloud.deploy("a", &[("affinitygroupnames", "g")]);
    let vm = cloud.done("deployVirtualMachine", &params).await;
    let list = cloud.tenant("listAffinityGroups", &[]).await;
    assert_eq!(
        list["affinitygroup"][0]["virtualmachineIds"],
        json!([vm["virtualmachine"]["id"]])
    );
}

/// 71. restoreVirtualMachine → envelope `restorevmresponse`.
#[tokio::test(start_paused = true)]
async fn c071_a_restore_answers_under_another_name() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.vm("a").await;
    let reply = cloud
        .send(
            Who::Tenant,
            "restoreVirtualMachine",
            &[("virtualmachineid", &vm)],
        )
        .await;
    assert!(reply.json()["restorevmresponse"]["jobid"].is_string());
}
