//! Items 34 to 45: jobs.

use serde_json::json;
use weir::sim::{Profile, Who};

use super::{Cloud, text};

/// 34. stopVirtualMachine → a job id alone; job 0, then 1 with `jobresult.virtualmachine.state` Stopped.
#[tokio::test(start_paused = true)]
async fn c034_a_stop_is_a_job_that_ends_with_the_machine() {
    let cloud = Cloud::new(Profile::Lab).await;
    let vm = cloud.vm("a").await;
    let reply = cloud
        .send(Who::Tenant, "stopVirtualMachine", &[("id", &vm)])
        .await;
    let envelope = reply.json();
    let inside = &envelope["stopvirtualmachineresponse"];
    assert_eq!(inside.as_object().map(serde_json::Map::len), Some(1));
    let job = text(&inside["jobid"]);
    let row = cloud
        .tenant("queryAsyncJobResult", &[("jobid", &job)])
        .await;
    assert_eq!(row["jobstatus"], 0);
    let row = cloud.ended(&job).await;
    assert_eq!(row["jobstatus"], 1);
    assert_eq!(row["jobresult"]["virtualmachine"]["state"], "Stopped");
}

/// 35. deployVirtualMachine → both id and jobid; the id is listable at once, state Stopped then
/// Starting, with `nic[0].ipaddress` set and jobid and jobstatus 0 on the row.
#[tokio::test(start_paused = true)]
async fn c035_a_deploy_is_listed_before_it_has_begun() {
    let cloud = Cloud::new(Profile::Lab).await;
    let params = cloud.deploy("a", &[]);
    let answer = cloud.tenant("deployVirtualMachine", &params).await;
    let (id, job) = (text(&answer["id"]), text(&answer["jobid"]));
    let row = cloud.seen(Who::Tenant, &id).await;
    assert_eq!(row["state"], "Stopped");
    assert_eq!((&row["jobid"], &row["jobstatus"]), (&json!(job), &json!(0)));
    assert!(row["nic"][0]["ipaddress"].is_string());
    cloud.wait(1).await;
    assert_eq!(cloud.seen(Who::Tenant, &id).await["state"], "Starting");
    cloud.ended(&job).await;
    assert_eq!(cloud.seen(Who::Tenant, &id).await["state"], "Running");
}

/// 36. Job failure → jobstatus 2, jobresultcode = errorcode, jobresult exactly errorcode and errortext.
#[tokio::test(start_paused = true)]
async fn c036_a_failed_job_says_code_and_text_and_no_more() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.stopped("a").await;
    let job = cloud
        .job_as(Who::Tenant, "rebootVirtualMachine", &[("id", &vm)])
        .await;
    assert_eq!(
        (&job["jobstatus"], &job["jobresultcode"]),
        (&json!(2), &json!(431))
    );
    let result = job["jobresult"].as_object().unwrap();
    assert_eq!(result.len(), 2);
    assert_eq!(result["errorcode"], 431);
    assert!(result["errortext"].is_string());
}

/// 37. A job of the success type → `{"success":true}`.
#[tokio::test(start_paused = true)]
async fn c037_a_job_with_nothing_to_show_says_success() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.stopped("a").await;
    let tag = [
        ("resourceids", vm.as_str()),
        ("resourcetype", "UserVm"),
        ("tags[0].key", "k"),
        ("tags[0].value", "v"),
    ];
    assert_eq!(
        cloud.done("createTags", &tag).await,
        json!({"success": true})
    );
}

/// 38. queryAsyncJobResult of an unknown or purged id → HTTP 431.
#[tokio::test(start_paused = true)]
async fn c038_an_unknown_job_is_refused() {
    let cloud = Cloud::new(Profile::Instant).await;
    let unknown = [("jobid", "11111111-2222-4333-8444-555555555555")];
    let (status, text) = cloud.refusal("queryAsyncJobResult", &unknown).await;
    assert_eq!(status, 431);
    assert!(text.contains("Invalid parameter jobid value="), "{text}");
}

/// 39. queryAsyncJobResult of another user's job → 531.
#[tokio::test(start_paused = true)]
async fn c039_a_foreign_job_is_not_shown() {
    let cloud = Cloud::new(Profile::Instant).await;
    let answer = cloud
        .ask(
            Who::Admin,
            "createAffinityGroup",
            &[("name", "g"), ("type", "host anti-affinity")],
        )
        .await;
    let job = text(&answer["jobid"]);
    let (status, _) = cloud
        .refusal("queryAsyncJobResult", &[("jobid", &job)])
        .await;
    assert_eq!(status, 531);
}

/// 40. Restart: pending jobs → status 2, code 530, no jobresult; a VM in Starting → Stopped, in
/// Stopping → Running. As observed, a killed associate leaves its address in `Allocating`.
#[tokio::test(start_paused = true)]
async fn c040_a_restart_ends_jobs_without_a_result_and_not_what_they_did() {
    let cloud = Cloud::new(Profile::Lab).await;
    let (starts, stops) = (cloud.stopped("a").await, cloud.vm("b").await);
    let start = cloud
        .tenant("startVirtualMachine", &[("id", &starts)])
        .await;
    let stop = cloud.tenant("stopVirtualMachine", &[("id", &stops)]).await;
    cloud
        .clock
        .sleep(std::time::Duration::from_millis(500))
        .await;
    assert_eq!(cloud.state(&starts).await, "Starting");
    assert_eq!(cloud.state(&stops).await, "Stopping");
    let address = cloud
        .tenant("associateIpAddress", &[("vpcid", &cloud.vpc)])
        .await;
    cloud.sim.world(|world| world.restart_server());
    cloud.wait(30).await;
    for answer in [&start, &stop, &address] {
        let job = cloud.ended(&text(&answer["jobid"])).await;
        assert_eq!(
            (&job["jobstatus"], &job["jobresultcode"]),
            (&json!(2), &json!(530))
        );
        assert!(job.get("jobresult").is_none(), "{job}");
    }
    assert_eq!(cloud.state(&starts).await, "Stopped");
    assert_eq!(cloud.state(&stops).await, "Running");
    let id = text(&address["id"]);
    let stuck = [("id", id.as_str()), ("state", "Allocating")];
    let list = cloud.tenant("listPublicIpAddresses", &stuck).await;
    assert_eq!(list["publicipaddress"][0]["state"], "Allocating");
    cloud.done("startVirtualMachine", &[("id", &starts)]).await;
}

/// 41. A job is purged after job.expire.minutes.
#[tokio::test(start_paused = true)]
async fn c041_a_job_is_forgotten_after_a_day() {
    let cloud = Cloud::new(Profile::Instant).await;
    let vm = cloud.stopped("a").await;
    let answer = cloud.tenant("startVirtualMachine", &[("id", &vm)]).await;
    let job = text(&answer["jobid"]);
    cloud.wait(1_439 * 60).await;
    cloud
        .tenant("queryAsyncJobResult", &[("jobid", &job)])
        .await;
    cloud.wait(120).await;
    let (status, _) = cloud
        .refusal("queryAsyncJobResult", &[("jobid", &job)])
        .await;
    assert_eq!(status, 431);
}

/// 42. listAsyncJobs shows only pending jobs; a finished one is missing.
#[tokio::test(start_paused = true)]
async fn c042_only_jobs_in_flight_are_listed() {
    let cloud = Cloud::new(Profile::Lab).await;
    let vm = cloud.stopped("a").await;
    let answer = cloud.tenant("startVirtualMachine", &[("id", &vm)]).await;
    let list = cloud.tenant("listAsyncJobs", &[]).await;
    assert_eq!(
        (&list["count"], &list["asyncjobs"][0]["jobid"]),
        (&json!(1), &answer["jobid"])
    );
    cloud.ended(&text(&answer["jobid"])).await;
    assert_eq!(cloud.tenant("listAsyncJobs", &[]).await, json!({}));
}

/// 43. customjobid → that job id; reuse while pending → 431; upper case or no UUID → 431; on a
/// deploy the clash still leaves a Stopped VM. As observed, the reuse of an ended job's id is 530.
#[tokio::test(start_paused = true)]
async fn c043_a_chosen_job_id_finds_the_job_and_guards_nothing() {
    let cloud = Cloud::new(Profile::Lab).await;
    let vm = cloud.stopped("a").await;
    let chosen = "aaaaaaaa-0000-4000-8000-000000000001";
    let start = [("id", vm.as_str()), ("customjobid", chosen)];
    let answer = cloud.tenant("startVirtualMachine", &start).await;
    assert_eq!(answer["jobid"], chosen);
    let again = cloud.deploy("b", &[("customjobid", chosen)]);
    assert_eq!(cloud.refusal("deployVirtualMachine", &again).await.0, 431);
    let list = cloud.tenant("listVirtualMachines", &[("name", "b")]).await;
    assert_eq!(list["virtualmachine"][0]["state"], "Stopped");
    for bad in ["AAAAAAAA-0000-4000-8000-000000000001", "mine"] {
        let start = [("id", vm.as_str()), ("customjobid", bad)];
        assert_eq!(cloud.refusal("startVirtualMachine", &start).await.0, 431);
    }
    cloud.ended(chosen).await;
    let again = cloud.deploy("c", &[("customjobid", chosen)]);
    assert_eq!(cloud.refusal("deployVirtualMachine", &again).await.0, 530);
}

/// 44. Start twice in parallel → two jobs, both end 1, one start performed.
#[tokio::test(start_paused = true)]
async fn c044_a_second_start_joins_the_first() {
    let cloud = Cloud::new(Profile::Lab).await;
    let vm = cloud.stopped("a").await;
    let first = cloud.tenant("startVirtualMachine", &[("id", &vm)]).await;
    let second = cloud.tenant("startVirtualMachine", &[("id", &vm)]).await;
    assert_ne!(first["jobid"], second["jobid"]);
    let ended = [
        cloud.ended(&text(&first["jobid"])).await,
        cloud.ended(&text(&second["jobid"])).await,
    ];
    for job in &ended {
        assert_eq!(job["jobstatus"], 1, "{job}");
    }
    assert_eq!(ended[0]["completed"], ended[1]["completed"]);
}

/// 45. 503 mode: asynchronous commands refused with the maintenance text, lists still answer.
#[tokio::test(start_paused = true)]
async fn c045_a_server_that_is_about_to_leave_takes_no_jobs() {
    let cloud = Cloud::new(Profile::Lab).await;
    let vm = cloud.stopped("a").await;
    let running = cloud.tenant("startVirtualMachine", &[("id", &vm)]).await;
    let told = cloud.ask(Who::Admin, "prepareForShutdown", &[]).await;
    assert_eq!(told["readyforshutdown"]["readyforshutdown"], false);
    let (status, text) = cloud.refusal("stopVirtualMachine", &[("id", &vm)]).await;
    assert_eq!(
        (status, text.as_str()),
        (
            503,
            "Maintenance or Shutdown has been initiated on this management server. Can not accept new jobs"
        )
    );
    cloud.tenant("listVirtualMachines", &[]).await;
    let job = cloud.ended(&super::text(&running["jobid"])).await;
    assert_eq!(job["jobstatus"], 1);
    let told = cloud.ask(Who::Admin, "readyForShutdown", &[]).await;
    assert_eq!(told["readyforshutdown"]["readyforshutdown"], true);
    cloud.ask(Who::Admin, "cancelShutdown", &[]).await;
    cloud.done("stopVirtualMachine", &[("id", &vm)]).await;
}
