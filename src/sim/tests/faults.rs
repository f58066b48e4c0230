//! What goes wrong between a client and its cloud.

use std::time::Duration;

use serde_json::json;

use super::Cloud;
use crate::sim::{Fault, FaultKind, Profile, Who};

#[tokio::test(start_paused = true)]
async fn a_lost_request_has_no_effect_and_a_lost_reply_has_one() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let count = || cloud.sim.world(|world| world.totals.addresses);
    let before = count();
    let params = [("vpcid", stack.vpc.as_str())];
    cloud
        .sim
        .add_fault(Fault::once("associateIpAddress", FaultKind::LostRequest));
    assert!(
        cloud
            .send(Who::Tenant, "associateIpAddress", &params)
            .await
            .is_lost()
    );
    assert_eq!(count(), before);
    cloud
        .sim
        .add_fault(Fault::once("associateIpAddress", FaultKind::LostReply));
    assert!(
        cloud
            .send(Who::Tenant, "associateIpAddress", &params)
            .await
            .is_lost()
    );
    assert_eq!(count(), before + 1);
}

#[tokio::test(start_paused = true)]
async fn statuses_of_cloudstack_and_of_a_proxy_look_different() {
    let cloud = Cloud::new(Profile::Instant);
    for code in [401, 429, 502, 503] {
        cloud
            .sim
            .add_fault(Fault::once("listZones", FaultKind::Status { code }));
        let reply = cloud.send(Who::Tenant, "listZones", &[]).await;
        assert_eq!(reply.status, code);
        assert_eq!(reply.body.starts_with("<html>"), code >= 500);
        assert_eq!(reply.inner()["errorcode"].is_u64(), code < 500);
    }
}

#[tokio::test(start_paused = true)]
async fn lists_can_come_back_empty_short_with_a_gap_or_cut_in_half() {
    let cloud = Cloud::new(Profile::Instant);
    let list = async |kind| {
        cloud
            .sim
            .add_fault(Fault::once("listNetworkOfferings", kind));
        cloud.send(Who::Tenant, "listNetworkOfferings", &[]).await
    };
    assert_eq!(list(FaultKind::EmptyList).await.inner(), json!({}));
    let short = list(FaultKind::ShortList).await.inner();
    let rows = short["networkoffering"].as_array().map(Vec::len).unwrap();
    assert!(short["count"].as_u64() > Some(rows as u64));
    let gappy = list(FaultKind::GappyList).await.inner();
    let left = gappy["networkoffering"].as_array().map(Vec::len).unwrap();
    let all = short["count"].as_u64().unwrap();
    assert_eq!(
        (gappy["count"].as_u64(), left as u64),
        (Some(all - 1), all - 1)
    );
    let half = list(FaultKind::Truncated).await;
    assert!(half.status == 200 && half.json().is_null());
}

#[tokio::test(start_paused = true)]
async fn a_stale_list_shows_the_world_as_it_was() {
    let cloud = Cloud::new(Profile::Instant);
    cloud
        .sim
        .add_fault(Fault::once("listVPCs", FaultKind::StaleList));
    cloud.stack().await;
    assert_eq!(cloud.tenant("listVPCs", &[]).await, json!({}));
    assert_eq!(cloud.tenant("listVPCs", &[]).await["count"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_slow_answer_comes_late_and_its_effect_does_not() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    cloud.sim.add_fault(Fault::once(
        "createNetwork",
        FaultKind::Slow { millis: 9_000 },
    ));
    let params = cloud.tier_params(&stack.vpc, &stack.list, "late", "10.1.9.1");
    let impatient = tokio::time::timeout(
        Duration::from_secs(5),
        cloud.send(Who::Tenant, "createNetwork", &params),
    );
    assert!(impatient.await.is_err());
    assert!(
        cloud
            .sim
            .world(|world| world.networks.values().any(|tier| tier.name == "late"))
    );
}

#[tokio::test(start_paused = true)]
async fn a_job_can_be_made_to_fail_without_effect() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let vm = cloud.vm(&stack.tier, "a").await;
    let kind = FaultKind::FailJob {
        code: 534,
        text: "router gone".into(),
    };
    cloud.sim.add_fault(Fault::once("stopVirtualMachine", kind));
    let failure = cloud.failure("stopVirtualMachine", &[("id", &vm)]).await;
    assert_eq!(failure, (534, "router gone".to_owned()));
    assert_eq!(cloud.row("a").await["state"], "Running");
    cloud.sim.add_fault(Fault::once(
        "stopVirtualMachine",
        FaultKind::HypervisorStopFails,
    ));
    let (code, text) = cloud.failure("stopVirtualMachine", &[("id", &vm)]).await;
    assert!(
        code == 530 && text.starts_with("Unable to stop VM instance {"),
        "{text}"
    );
    assert_eq!(cloud.row("a").await["state"], "Running");
}

#[tokio::test(start_paused = true)]
async fn a_job_can_do_its_work_and_be_forgotten() {
    let cloud = Cloud::new(Profile::Lab);
    let stack = cloud.stack().await;
    let vm = cloud.vm(&stack.tier, "a").await;
    cloud
        .sim
        .add_fault(Fault::once("stopVirtualMachine", FaultKind::LoseJob));
    let answer = cloud.tenant("stopVirtualMachine", &[("id", &vm)]).await;
    let job = [("jobid", answer["jobid"].as_str().unwrap())];
    let pending = cloud.tenant("queryAsyncJobResult", &job).await;
    assert_eq!(pending["jobstatus"], 0);
    cloud.clock.sleep(Duration::from_secs(10)).await;
    assert_eq!(cloud.row("a").await["state"], "Stopped");
    let (status, text) = cloud.refusal("queryAsyncJobResult", &job).await;
    assert_eq!(status, 431);
    assert!(text.contains("entity does not exist"), "{text}");
}

#[tokio::test(start_paused = true)]
async fn a_server_in_maintenance_lists_and_takes_no_jobs() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    cloud
        .sim
        .add_fault(Fault::always(None, FaultKind::Maintenance));
    assert_eq!(cloud.tenant("listVPCs", &[]).await["count"], 1);
    let (status, text) = cloud.refusal("deleteVPC", &[("id", &stack.vpc)]).await;
    assert_eq!(status, 503);
    assert!(text.ends_with("Can not accept new jobs"), "{text}");
    assert_eq!(cloud.tenant("listVPCs", &[]).await["count"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_proxy_can_answer_with_a_page_that_says_that_all_is_well() {
    let cloud = Cloud::new(Profile::Instant);
    cloud
        .sim
        .add_fault(Fault::once("listZones", FaultKind::Html));
    let page = cloud.send(Who::Tenant, "listZones", &[]).await;
    assert_eq!(
        (page.status, page.content_type.as_str()),
        (200, "text/html")
    );
    assert!(page.body.starts_with("<html>") && page.json().is_null());
}

#[tokio::test(start_paused = true)]
async fn a_stale_list_that_begins_later_shows_the_world_of_that_moment() {
    let cloud = Cloud::new(Profile::Instant);
    let names = async || {
        let list = cloud.tenant("listVPCs", &[]).await;
        list["count"].as_u64().unwrap_or_default()
    };
    cloud.stack().await;
    let start = cloud.clock.now();
    let after = |seconds| Some(start + Duration::from_secs(seconds));
    cloud.sim.add_fault(Fault {
        from: after(10),
        until: after(20),
        ..Fault::always(Some("listVPCs"), FaultKind::StaleList)
    });
    assert_eq!(names().await, 1);
    cloud.clock.sleep(Duration::from_secs(5)).await;
    cloud.stack().await;
    assert_eq!(names().await, 2);
    cloud.clock.sleep(Duration::from_secs(6)).await;
    cloud.stack().await;
    cloud.stack().await;
    assert_eq!(names().await, 2, "as it was when the window opened");
    cloud.clock.sleep(Duration::from_secs(10)).await;
    assert_eq!(names().await, 4);
}

#[tokio::test(start_paused = true)]
async fn requests_are_logged_without_keys_and_with_their_status() {
    let cloud = Cloud::new(Profile::Instant);
    cloud
        .tenant(
            "listVPCs",
            &[("name", "x"), ("apiKey", "K"), ("signature", "S")],
        )
        .await;
    let log = cloud.sim.requests();
    let last = log.last().unwrap();
    assert_eq!(
        (last.user.as_str(), last.command.as_str(), last.status),
        ("operator", "listVPCs", 200)
    );
    assert_eq!(last.params.keys().collect::<Vec<_>>(), ["name"]);
    cloud.sim.clear_requests();
    assert!(cloud.sim.requests().is_empty());
}
