//! Every way in which CloudStack says no, as it said it: replies out of `tests/recordings`, and
//! what each must become. Where nobody recorded one it is constructed, and says after what.

use std::{collections::BTreeMap, fmt::Write, fs, io, net::Ipv4Addr, path::Path, sync::Arc};

use axum::{Router, http::StatusCode};
use serde_json::json;
use tokio::net::TcpListener;

use super::*;
use crate::{
    clock::Clock,
    cloud::{
        Cloud,
        cloudstack::{CloudStack, CloudStackConfig, Unobserved},
    },
    types::{
        account::Limits,
        action::{Answer, Question},
        core::Confidential,
        id::JobId,
    },
};

/// Recorded replies: role, file and line; the reason that the error gives; and words that it must
/// pass on.
const RECORDED: &[(&str, &str, &str)] = &[
    // 431: a parameter is missing, makes no sense, or asks for what is impossible.
    (
        "admin/01:3",
        "Rejected",
        "missing parameter serviceofferingid",
    ),
    (
        "admin/01:16",
        "Rejected",
        "\"pagesize\" parameter is required",
    ),
    (
        "admin/02:5",
        "Rejected",
        "Invalid CIDR specified 10.0.0.0/99",
    ),
    (
        "admin/02:25",
        "Rejected",
        "ACL item with number 1 already exists",
    ),
    (
        "admin/03:14",
        "Rejected",
        "Invalid value provided for API arg: name",
    ),
    ("admin/04:12", "Rejected", "Failed to enable static nat"),
    ("tenant/12:25", "Rejected", "Not upgrading vm"),
    // 432: the role may not use the command.
    (
        "tenant/12:6",
        "Rejected",
        "[resetUserDataForVirtualMachine] does not exist",
    ),
    // 431 as well, but a new spec will not help: what it speaks of is gone, or never was. A
    // malformed id reads the same.
    (
        "admin/01:4",
        "Gone",
        "Invalid parameter id value=not-a-uuid",
    ),
    ("admin/01:5", "Gone", "entity does not exist"),
    ("admin/01:7", "Gone", "Invalid parameter jobid"),
    ("admin/07:5", "Gone", "Unable to find UUID for id [8]"),
    ("tenant/26:37", "Gone", "deletenetworkacl"),
    // 431 once more: the host name is taken, perhaps by a VM that nobody can see any more.
    ("admin/03:11", "NameHeld", "hostName bono-1 already exists"),
    ("tenant/22:8", "NameHeld", "hostName bono-0 already exists"),
    // 530 proves nothing. A guest address that is taken, told to an administrator and to a tenant.
    (
        "admin/03:12",
        "OutcomeUnknown",
        "errorcode 530: Unable to acquire Guest IP address",
    ),
    (
        "tenant/13:11",
        "OutcomeUnknown",
        "errorcode 530: Internal error executing command",
    ),
    // A job id that was used before; of the deploy a VM stays behind.
    ("admin/11:5", "OutcomeUnknown", "Entity already exists"),
    ("admin/11:11", "OutcomeUnknown", "Entity already exists"),
    // A VM in Error that was to be renamed.
    ("tenant/23:9", "OutcomeUnknown", "errorcode 530"),
    // An answer in XML: somebody sent no `response=json`.
    (
        "admin/01:14",
        "OutcomeUnknown",
        "HTTP 200 without an answer",
    ),
    // 533: the public range is used up.
    (
        "admin/04:26",
        "InsufficientCapacity",
        "Insufficient address capacity",
    ),
    // 537: the address leads to another VM.
    (
        "admin/04:13",
        "InUse",
        "Failed to enable static for the ip address",
    ),
    // 401: an unknown command, a wrong signature, an unknown key, a signature that has expired.
    (
        "admin/01:1",
        "Unauthorized",
        "unable to verify user credentials",
    ),
    (
        "admin/01:8",
        "Unauthorized",
        "unable to verify user credentials",
    ),
    (
        "admin/01:9",
        "Unauthorized",
        "unable to verify user credentials",
    ),
    (
        "admin/01:13",
        "Unauthorized",
        "unable to verify user credentials",
    ),
    // 531: a right that only an administrator has.
    (
        "tenant/13:12",
        "Unauthorized",
        "can only be done by an Admin",
    ),
];

/// Replies that nobody recorded, constructed after CloudStack's sources (4.22): status, body, the
/// reason that the error gives, and words that it must pass on.
const CONSTRUCTED: &[(u16, &str, &str, &str)] = &[
    // api/…/ApiErrorCode.java, MALFORMED_PARAMETER_ERROR: a map that cannot be read.
    (
        430,
        r#"{"errorresponse": {"errorcode": 430, "errortext": "malformed"}}"#,
        "Rejected",
        "malformed",
    ),
    // ApiErrorCode.java, BAD_REQUEST: a server that enforces POST got something else.
    (
        400,
        r#"{"errorresponse": {"errorcode": 400, "errortext": "use POST"}}"#,
        "Rejected",
        "use POST",
    ),
    // ApiErrorCode.java, ACCOUNT_RESOURCE_LIMIT_ERROR.
    (
        532,
        r#"{"createvpcresponse": {"errorcode": 532, "errortext": "limit"}}"#,
        "InsufficientCapacity",
        "limit",
    ),
    // ResourceLimitManagerImpl.java, RESOURCE_ALLOCATION_ERROR: a quota.
    (
        535,
        r#"{"deployvirtualmachineresponse": {"uuidList": [], "errorcode": 535, "cserrorcode": 4370,
            "errortext": "Maximum amount of resources of Type = 'user_vm' is exceeded"}}"#,
        "InsufficientCapacity",
        "Maximum amount of resources",
    ),
    // ApiErrorCode.java, RESOURCE_UNAVAILABLE_ERROR: a router or an agent cannot be reached.
    (
        534,
        r#"{"createvpcresponse": {"errorcode": 534, "errortext": "unavailable"}}"#,
        "InUse",
        "unavailable",
    ),
    // ApiErrorCode.java, RESOURCE_IN_USE_ERROR.
    (
        536,
        r#"{"deletesecuritygroupresponse": {"errorcode": 536, "errortext": "in use"}}"#,
        "InUse",
        "in use",
    ),
    // DeployVMCmd and all other parameters that a spec chooses: that a template is unknown says
    // nothing of the VM. The text is that of admin/01:5, with another parameter.
    (
        431,
        r#"{"restorevmresponse": {"errorcode": 431, "errortext": "Unable to execute API command restorevirtualmachine due to invalid value. Invalid parameter templateid value=00000000-0000-0000-0000-000000000000 due to incorrect long value format, or entity does not exist"}}"#,
        "Rejected",
        "Invalid parameter templateid",
    ),
    // ApiServer.java: a management server that is being shut down takes no more jobs.
    (
        503,
        r#"{"startvirtualmachineresponse": {"errorcode": 503, "errortext": "Maintenance or Shutdown has been initiated"}}"#,
        "OutcomeUnknown",
        "errorcode 503",
    ),
    // A code that no version has had so far.
    (
        599,
        r#"{"errorresponse": {"errorcode": 599, "errortext": "new"}}"#,
        "OutcomeUnknown",
        "errorcode 599: new",
    ),
    // Proxies: a page, half an answer, nothing.
    (
        502,
        "<html>Bad Gateway</html>",
        "OutcomeUnknown",
        "HTTP 502 without an answer",
    ),
    (
        200,
        r#"{"listvirtualmachinesresponse": {"count": 3, "virt"#,
        "OutcomeUnknown",
        "HTTP 200",
    ),
    (200, "", "OutcomeUnknown", "HTTP 200"),
    // An error that came with the status of a success.
    (
        200,
        r#"{"errorresponse": {"errorcode": 431, "errortext": "no"}}"#,
        "Rejected",
        "no",
    ),
];

/// The text of plugins/api/rate-limit (4.22): off by default, so nobody recorded it.
const THROTTLED: &str = r#"{"listzonesresponse": {"errorcode": 429, "cserrorcode": 4545,
    "errortext": "The given user has reached his/her account api limit, please retry after [740] ms."}}"#;

#[test]
fn every_row_of_the_table_is_told_apart_in_recorded_replies() {
    for (place, reason, words) in RECORDED {
        let error = exchange(place).open().unwrap_err();
        assert_eq!(error.reason(), *reason, "{place}: {error}");
        assert!(error.to_string().contains(words), "{place}: {error}");
    }
}

#[test]
fn what_nobody_recorded_is_told_apart_as_well() {
    for (status, body, reason, words) in CONSTRUCTED {
        let error = open("startVirtualMachine", &reply(*status, body)).unwrap_err();
        assert_eq!(error.reason(), *reason, "{body}: {error}");
        assert!(error.to_string().contains(words), "{body}: {error}");
    }
}

#[test]
fn the_two_tables_have_a_reply_for_every_error() {
    let recorded = RECORDED.iter().map(|(_, reason, _)| *reason);
    let constructed = CONSTRUCTED.iter().map(|(_, _, reason, _)| *reason);
    let mut reasons: Vec<_> = recorded.chain(constructed).chain(["Throttled"]).collect();
    reasons.sort_unstable();
    reasons.dedup();
    let all = [
        "Gone",
        "InUse",
        "InsufficientCapacity",
        "NameHeld",
        "OutcomeUnknown",
        "Rejected",
        "Throttled",
        "Unauthorized",
    ];
    assert_eq!(reasons, all);
}

#[test]
fn a_throttled_client_is_told_how_long_to_wait() {
    let wait = |reply: &Reply| match open("listZones", reply) {
        Err(CloudError::Throttled { retry_after, .. }) => retry_after,
        other => panic!("{other:?}"),
    };
    let milliseconds = |n| Some(Duration::from_millis(n));
    assert_eq!(wait(&reply(429, THROTTLED)), milliseconds(740));
    // A proxy sends a page, and the header that CloudStack lacks.
    let mut page = reply(429, "<html>Too Many Requests</html>");
    assert_eq!(wait(&page), None);
    page.retry_after = milliseconds(3_000);
    assert_eq!(wait(&page), milliseconds(3_000));
}

#[test]
fn silence_may_have_had_its_effect() {
    let cause = || io::Error::other("reset by peer").into();
    for silence in [
        Silence::Timeout(cause()),
        Silence::Lost(cause()),
        Silence::TooLong,
    ] {
        let words = silence.to_string();
        let error = super::silence("deployVirtualMachine", silence);
        assert!(matches!(error, CloudError::Uncertain { .. }), "{error}");
        assert!(error.to_string().contains(&words), "{error}");
        assert!(error.source().is_some());
    }
}

#[test]
fn a_server_that_was_not_reached_took_nothing_in() {
    let cause = || io::Error::other("refused").into();
    for silence in [Silence::Unreachable(cause()), Silence::Untrusted(cause())] {
        let words = silence.to_string();
        let error = super::silence("deployVirtualMachine", silence);
        assert!(matches!(error, CloudError::Unreachable { .. }), "{error}");
        assert!(error.to_string().contains(&words), "{error}");
        assert!(error.source().is_some());
    }
}

#[test]
fn a_long_text_is_cut() {
    let body = json!({"errorresponse": {"errorcode": 431, "errortext": "x".repeat(9_000)}});
    let error = open("listZones", &reply(431, &body.to_string())).unwrap_err();
    assert!(error.to_string().len() < 2 * TEXT_MAX, "{error}");
}

/// Every recorded reply goes through, and is counted, so that a change shows in all its extent.
#[test]
fn all_recorded_replies_are_sorted() {
    let mut counts = BTreeMap::<_, usize>::new();
    for exchange in all() {
        let sorted = match exchange.open() {
            Ok(_) => "a success".to_owned(),
            Err(error) => {
                assert_code_is_kept(&exchange, &error);
                format!("{} {}", exchange.reply.status, error.reason())
            }
        };
        *counts.entry(sorted).or_default() += 1;
    }
    insta::assert_snapshot!(table(&counts), @r"
      1 200 OutcomeUnknown
      6 401 Unauthorized
      7 431 Gone
      7 431 NameHeld
     16 431 Rejected
      3 432 Rejected
     17 530 OutcomeUnknown
      1 531 Unauthorized
      1 533 InsufficientCapacity
      1 537 InUse
    651 a success
    ");
}

#[test]
fn all_recorded_jobs_are_sorted() {
    let mut counts = BTreeMap::<_, usize>::new();
    for exchange in all().filter(|exchange| exchange.command == "queryAsyncJobResult") {
        let Ok(content) = exchange.open() else {
            continue;
        };
        let sorted = match outcome(&content) {
            JobOutcome::Failed { code, .. } => format!("Failed {code}"),
            JobOutcome::Lost { resource: None } => "Lost, of nothing known".to_owned(),
            JobOutcome::Succeeded { resource: None } => "Succeeded, of nothing known".to_owned(),
            outcome => format!("{outcome:?}").split(' ').next().unwrap().to_owned(),
        };
        *counts.entry(sorted).or_default() += 1;
    }
    insta::assert_snapshot!(table(&counts), @r"
     17 Failed 431
     16 Failed 530
      6 Lost
      2 Lost, of nothing known
    104 Running
    115 Succeeded
     21 Succeeded, of nothing known
    ");
}

#[test]
fn a_job_ends_in_one_of_four_ways() {
    let ended = |place: &str| outcome(&exchange(place).open().unwrap());
    assert_eq!(ended("admin/02:2"), JobOutcome::Running);
    let vpc = Some("a34370b5-cb2d-4445-bc3a-d442f0be9786".to_owned());
    assert_eq!(ended("admin/02:3"), JobOutcome::Succeeded { resource: vpc });
    let failed = |code, text: &str| JobOutcome::Failed {
        code,
        text: text.to_owned(),
        resource: None,
    };
    let tag = "tag weir.dev/stack already on UserVm with id ddc210d3-33d5-4c6f-8f72-ba8da053649e";
    assert_eq!(ended("admin/03:29"), failed(530, tag));
    let nat = "Specified IP address id is not associated with any vm Id";
    assert_eq!(ended("admin/04:10"), failed(431, nat));
    let vm = Some("cd12c426-5576-49e2-a87a-db06547504a3".to_owned());
    assert_eq!(ended("tenant/27:11"), JobOutcome::Lost { resource: vm });
}

#[test]
fn a_job_that_says_little_is_understood_as_well() {
    let ended = |content: Value| job_outcome(serde_json::from_value(content).unwrap());
    // AsyncJobDispatcher (4.22): an exception without a message leaves out the text.
    let silent = ended(json!({"jobstatus": 2, "jobresult": {"errorcode": 533}}));
    let failed = |code, text: &str| {
        Some(JobOutcome::Failed {
            code,
            text: text.to_owned(),
            resource: None,
        })
    };
    assert_eq!(silent, failed(533, ""));
    let text = ended(json!({"jobstatus": 2, "jobresult": "it broke"}));
    assert_eq!(text, failed(530, "it broke"));
    // A job that waited in the queue for too long: cancelled, without a result.
    let cancelled = ended(json!({"jobstatus": 2, "jobresultcode": 0}));
    assert_eq!(cancelled, Some(JobOutcome::Lost { resource: None }));
    // A status that no version has had so far proves nothing.
    assert_eq!(ended(json!({"jobstatus": 3})), None);
}

#[tokio::test]
async fn an_unknown_job_is_an_answer() {
    let recorded = exchange("admin/01:7").reply;
    assert_eq!(
        ask_for_a_job(recorded).await.unwrap(),
        Answer::Job(JobOutcome::Unknown)
    );
    let lost = exchange("tenant/27:11").reply;
    let answer = ask_for_a_job(lost).await.unwrap();
    assert!(
        matches!(answer, Answer::Job(JobOutcome::Lost { .. })),
        "{answer:?}"
    );
    // Not to be let in says nothing about the job.
    let denied = exchange("admin/01:1").reply;
    let error = ask_for_a_job(denied).await.unwrap_err();
    assert_eq!(error.reason(), "Unauthorized");
    let strange = reply(200, r#"{"queryasyncjobresultresponse": {"jobstatus": 3}}"#);
    let error = ask_for_a_job(strange).await.unwrap_err();
    assert_eq!(error.reason(), "OutcomeUnknown");
}

/// Asks a server that always gives the same reply how a job ended.
async fn ask_for_a_job(reply: Reply) -> Result<Answer, CloudError> {
    let status = StatusCode::from_u16(reply.status).unwrap();
    let server = Router::new().fallback(move || async move { (status, reply.body) });
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut serving = tokio::task::JoinSet::new();
    serving.spawn(async move { axum::serve(listener, server).await });
    let client = CloudStack::connect(CloudStackConfig {
        endpoint: format!("http://{address}/client/api"),
        api_key: Confidential::new("key"),
        secret_key: Confidential::new("secret"),
        zone: None,
        project: None,
        ca_bundle: None,
        limits: Limits::default(),
        clock: Clock::system(),
        observer: Arc::new(Unobserved),
        guard: None,
    });
    let job = Question::Job(JobId::new("00000000-0000-0000-0000-000000000000"));
    client.unwrap().ask(&job).await
}

/// A recorded request and its reply.
struct Exchange {
    place: String,
    command: &'static str,
    reply: Reply,
}

impl Exchange {
    fn open(&self) -> Result<Content, CloudError> {
        open(self.command, &self.reply)
    }
}

fn reply(status: u16, body: &str) -> Reply {
    Reply {
        status,
        retry_after: None,
        body: body.to_owned().into(),
    }
}

fn outcome(content: &Content) -> JobOutcome {
    job_outcome(content.read().unwrap()).expect("CloudStack has three job states")
}

/// The exchange at a place like `tenant/27:11`: role, number of the file, line.
fn exchange(place: &str) -> Exchange {
    all()
        .find(|exchange| exchange.place == place)
        .unwrap_or_else(|| panic!("nothing is recorded at {place}"))
}

/// All recorded requests with their replies, in order.
fn all() -> impl Iterator<Item = Exchange> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings/cloudstack-4.22");
    ["admin", "tenant"].into_iter().flat_map(move |role| {
        let folder = fs::read_dir(root.join(role)).unwrap();
        let mut files: Vec<_> = folder.map(|entry| entry.unwrap().path()).collect();
        files.sort();
        files
            .into_iter()
            .flat_map(move |file| recorded(role, &file))
    })
}

fn recorded(role: &str, file: &Path) -> Vec<Exchange> {
    let number = &file.file_name().unwrap().to_str().unwrap()[..2];
    let text = fs::read_to_string(file).unwrap();
    let exchange = |(index, line): (usize, &str)| {
        let line: Value = serde_json::from_str(line).unwrap();
        let command = line["params"]["command"].as_str().unwrap_or_default();
        let body = match &line["body"] {
            Value::String(text) => text.clone(),
            body => body.to_string(),
        };
        // Faults of the hypervisor were recorded among the requests; they have no parameters.
        line.get("params").map(|_| Exchange {
            place: format!("{role}/{number}:{}", index + 1),
            command: command.to_owned().leak(),
            reply: reply(line["status"].as_u64().unwrap().try_into().unwrap(), &body),
        })
    };
    text.lines().enumerate().filter_map(exchange).collect()
}

/// An error keeps CloudStack's code, which is the status of the reply as well.
fn assert_code_is_kept(exchange: &Exchange, error: &CloudError) {
    if let CloudError::Rejected { code, .. }
    | CloudError::Capacity { code, .. }
    | CloudError::InUse { code, .. }
    | CloudError::Denied { code, .. } = error
    {
        assert_eq!(*code, exchange.reply.status, "{}", exchange.place);
    }
}

fn table(counts: &BTreeMap<String, usize>) -> String {
    counts
        .iter()
        .fold(String::new(), |mut table, (sorted, count)| {
            writeln!(table, "{count:>3} {sorted}").unwrap();
            table
        })
}
