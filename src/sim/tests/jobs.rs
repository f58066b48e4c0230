//! Jobs: their ids, their order, and what a killed server leaves of them.

use std::time::Duration;

use serde_json::{Value, json};

use super::Cloud;
use crate::sim::{Fault, FaultKind, Profile, Who};

const CUSTOM: &str = "11111111-2222-4333-8444-555555555555";

#[tokio::test(start_paused = true)]
async fn a_custom_job_id_finds_the_job_and_does_not_guard_a_create() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let first = cloud.deploy(&stack.tier, "a", &[("customjobid", CUSTOM)]);
    let answer = cloud.tenant("deployVirtualMachine", &first).await;
    assert_eq!(answer["jobid"], CUSTOM);
    assert_eq!(cloud.ended(CUSTOM).await["jobinstanceid"], answer["id"]);

    let again = cloud.deploy(&stack.tier, "a2", &[("customjobid", CUSTOM)]);
    let reply = cloud.send(Who::Admin, "deployVirtualMachine", &again).await;
    assert_eq!(
        (reply.status, &reply.inner()["errortext"]),
        (530, &json!("Entity already exists "))
    );
    let (status, text) = cloud
        .refusal(
            "deployVirtualMachine",
            &cloud.deploy(&stack.tier, "a3", &[("customjobid", CUSTOM)]),
        )
        .await;
    assert!(status == 530 && text.starts_with("Internal error executing command"));
    let left = cloud.row("a3").await;
    assert_eq!(left["state"], "Stopped");
    assert_eq!(left["nic"].as_array().map(Vec::len), Some(1));
}

#[tokio::test(start_paused = true)]
async fn a_custom_job_id_must_be_a_uuid_in_lower_case_and_not_in_flight() {
    let cloud = Cloud::new(Profile::Lab);
    let stack = cloud.stack().await;
    let with = |id| [("vpcid", stack.vpc.as_str()), ("customjobid", id)];
    for id in ["soon", "AAAAAAAA-2222-4333-8444-555555555555"] {
        let (status, text) = cloud
            .refusal("restartVPC", &[("id", stack.vpc.as_str()), with(id)[1]])
            .await;
        assert_eq!(
            (status, text),
            (431, format!("UUID: {id} doesn't follow the UUID format"))
        );
    }
    cloud
        .tenant(
            "restartVPC",
            &[("id", stack.vpc.as_str()), ("customjobid", CUSTOM)],
        )
        .await;
    let (status, text) = cloud.refusal("associateIpAddress", &with(CUSTOM)).await;
    assert!(
        status == 431 && text.contains("already exists so can't create/update"),
        "{text}"
    );
}

#[tokio::test(start_paused = true)]
async fn only_jobs_in_flight_are_listed_and_to_a_tenant_too() {
    let cloud = Cloud::new(Profile::Lab);
    let stack = cloud.stack().await;
    let vm = cloud.stopped_vm(&stack.tier, "a").await;
    assert_eq!(cloud.tenant("listAsyncJobs", &[]).await, json!({}));
    let job = cloud.tenant("startVirtualMachine", &[("id", &vm)]).await;
    let jobs = cloud.tenant("listAsyncJobs", &[]).await;
    assert_eq!(jobs["asyncjobs"][0]["jobid"], job["jobid"]);
    assert_eq!(jobs["asyncjobs"][0]["jobstatus"], 0);
    cloud.ended(job["jobid"].as_str().unwrap()).await;
    assert_eq!(cloud.tenant("listAsyncJobs", &[]).await, json!({}));
}

#[tokio::test(start_paused = true)]
async fn commands_for_a_busy_machine_are_queued_and_its_row_says_so() {
    let cloud = Cloud::new(Profile::Lab);
    let stack = cloud.stack().await;
    let deploy = cloud
        .tenant("deployVirtualMachine", &cloud.deploy(&stack.tier, "a", &[]))
        .await;
    let id = deploy["id"].as_str().unwrap();
    let destroy = cloud.tenant("destroyVirtualMachine", &[("id", id)]).await;
    let stop = cloud.tenant("stopVirtualMachine", &[("id", id)]).await;
    assert_eq!(cloud.row("a").await["jobid"], deploy["jobid"]);
    let job = |answer: &Value| answer["jobid"].as_str().unwrap().to_owned();
    assert_eq!(cloud.ended(&job(&deploy)).await["jobstatus"], 1);
    assert_eq!(cloud.ended(&job(&stop)).await["jobstatus"], 1);
    assert_eq!(cloud.row("a").await["state"], "Stopped");
    assert_eq!(cloud.row("a").await["jobid"], destroy["jobid"]);
    assert_eq!(cloud.ended(&job(&destroy)).await["jobstatus"], 1);
    assert!(cloud.row("a").await.is_null());
}

#[tokio::test(start_paused = true)]
async fn two_starts_at_once_both_succeed_and_start_once() {
    let cloud = Cloud::new(Profile::Lab);
    let stack = cloud.stack().await;
    let vm = cloud.stopped_vm(&stack.tier, "a").await;
    let one = cloud.tenant("startVirtualMachine", &[("id", &vm)]).await;
    let two = cloud.tenant("startVirtualMachine", &[("id", &vm)]).await;
    for job in [one, two] {
        assert_eq!(
            cloud.ended(job["jobid"].as_str().unwrap()).await["jobstatus"],
            1
        );
    }
    cloud.done("startVirtualMachine", &[("id", &vm)]).await;
}

#[tokio::test(start_paused = true)]
async fn after_a_restart_failed_does_not_mean_that_it_did_not_happen() {
    let cloud = Cloud::new(Profile::Lab);
    let stack = cloud.stack().await;
    let stopped = cloud.stopped_vm(&stack.tier, "b").await;
    let start = cloud
        .tenant("startVirtualMachine", &[("id", &stopped)])
        .await;
    let deploy = cloud
        .tenant("deployVirtualMachine", &cloud.deploy(&stack.tier, "a", &[]))
        .await;
    let list = [("name", "crash"), ("vpcid", stack.vpc.as_str())];
    let list = cloud.tenant("createNetworkACLList", &list).await;
    cloud.sim.world(|world| world.restart_server());

    assert!(cloud.send(Who::Tenant, "listZones", &[]).await.is_lost());
    cloud.clock.sleep(Duration::from_secs(21)).await;
    for answer in [&start, &deploy, &list] {
        let job = cloud.ended(answer["jobid"].as_str().unwrap()).await;
        assert_eq!(
            (&job["jobstatus"], &job["jobresultcode"]),
            (&json!(2), &json!(530))
        );
        assert!(job.get("jobresult").is_none());
    }
    assert_eq!(cloud.row("a").await["state"], "Stopped");
    assert_eq!(cloud.row("b").await["state"], "Stopped");
    let lists = cloud
        .tenant("listNetworkACLLists", &[("name", "crash")])
        .await;
    assert_eq!(lists["networkacllist"][0]["id"], list["id"]);
    cloud
        .done(
            "startVirtualMachine",
            &[("id", deploy["id"].as_str().unwrap())],
        )
        .await;
}

#[tokio::test(start_paused = true)]
async fn a_job_that_hangs_holds_its_machine_for_ever() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let vm = cloud.stopped_vm(&stack.tier, "a").await;
    cloud
        .sim
        .add_fault(Fault::once("startVirtualMachine", FaultKind::HangJob));
    let job = cloud.tenant("startVirtualMachine", &[("id", &vm)]).await;
    cloud.clock.sleep(Duration::from_secs(3600)).await;
    let row = cloud.row("a").await;
    assert_eq!(
        (&row["state"], &row["jobid"]),
        (&json!("Starting"), &job["jobid"])
    );
}

#[tokio::test(start_paused = true)]
async fn jobs_of_others_and_unknown_jobs_are_refused() {
    let cloud = Cloud::new(Profile::Instant);
    cloud.sim.add_neighbour().unwrap();
    let foreign = cloud
        .sim
        .world(|world| world.jobs.keys().next().unwrap().clone());
    assert_eq!(
        cloud
            .refusal("queryAsyncJobResult", &[("jobid", &foreign)])
            .await
            .0,
        531
    );
    let unknown = [("jobid", "00000000-0000-0000-0000-000000000000")];
    assert_eq!(cloud.refusal("queryAsyncJobResult", &unknown).await.0, 431);
}

#[tokio::test(start_paused = true)]
async fn an_ended_job_is_forgotten_after_a_day() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let job = cloud.tenant("restartVPC", &[("id", &stack.vpc)]).await;
    let id = job["jobid"].as_str().unwrap();
    cloud.ended(id).await;
    cloud.clock.sleep(Duration::from_secs(25 * 3600)).await;
    assert_eq!(
        cloud
            .refusal("queryAsyncJobResult", &[("jobid", id)])
            .await
            .0,
        431
    );
}

#[tokio::test(start_paused = true)]
async fn the_event_feed_tells_who_did_what_since_when() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    let vm = cloud.vm(&stack.tier, "a").await;
    cloud.clock.sleep(Duration::from_secs(60)).await;
    let stop = [("id", vm.as_str())];
    cloud
        .job_as(Who::Operator, "stopVirtualMachine", &stop)
        .await;
    let since = [("startdate", "1970-01-01 00:00:30"), ("type", "VM.STOP")];
    let feed = cloud.tenant("listEvents", &since).await;
    let events = feed["event"].as_array().unwrap();
    let states: Vec<_> = events
        .iter()
        .map(|event| event["state"].as_str().unwrap())
        .collect();
    assert_eq!(states, ["Scheduled", "Started", "Completed"]);
    assert!(events.iter().all(|event| event["username"] == "stranger"));
    assert!(events.iter().all(|event| event["resourceid"] == *vm));
    let later = [("startdate", "1970-01-01T00:02:00+0000")];
    assert_eq!(cloud.tenant("listEvents", &later).await, json!({}));
}
