//! Security, robustness and operations: checks 113 to 126, but for 114 and 116.

use std::{
    fs,
    io::{Read, Write},
    net::TcpStream,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::{task::JoinSet, time::Instant};
use weir::{
    api::{Limits, client::Client},
    sim::{Breakage, Profile},
    types::{
        admission::FieldValidation,
        meta::{Kind, Object, ObjectKey},
        stack::StackStatus,
    },
};

use super::bed::{
    APPLY, Bed, JSON_PATCH, MERGE, Made, SECRETS, STACKS, number, scaled, secret, stack,
};
use crate::{
    cli::{
        etcd::{lab_on, now},
        lab::{self, Lab, run, until},
        leader,
    },
    clients,
    store::server,
    world::{Sampler, World},
};

/// Check 113: no credential or a bad one is nobody's (401), and somebody without a right is told
/// which one (403).
#[test]
fn k113_who_may_not_is_told_why() {
    let bed = Bed::new();
    let wrong = bed.answer(bed.ask_as(Some("wrong"), "GET", STACKS));
    assert_eq!(
        wrong.refused(401, "Unauthorized")["message"],
        "Unauthorized"
    );
    let status = bed
        .answer(bed.ask_as(Some("ann-token"), "GET", STACKS))
        .refused(403, "Forbidden");
    let why = "clearwaterstacks.weir.dev is forbidden: User \"ann\" cannot list resource \
               \"clearwaterstacks\" in API group \"weir.dev\" in the namespace \"default\"";
    assert_eq!(status["message"], why);
    bed.answer(bed.ask_as(None, "GET", STACKS))
        .refused(401, "Unauthorized");
    // What is not there is not told to who may not look.
    let path = format!("{STACKS}/nope");
    bed.answer(bed.ask_as(Some("ann-token"), "GET", &path))
        .refused(403, "Forbidden");
}

/// Check 115: nothing is told in clear, and whoever lets everybody in listens on loopback only.
#[test]
fn k115_there_is_no_plain_http() {
    let bed = Bed::new();
    let mut stream = TcpStream::connect(bed.address()).unwrap();
    stream
        .write_all(b"GET /version HTTP/1.1\r\nHost: weir\r\n\r\n")
        .unwrap();
    let mut told = Vec::new();
    // It may be cut off in the middle.
    let _ = stream.read_to_end(&mut told);
    assert!(!String::from_utf8_lossy(&told).contains("HTTP"), "{told:?}");
    let dir = tempfile::tempdir().unwrap();
    let words = ["controller", "--listen", "0.0.0.0:0", "--insecure-no-auth"];
    let told = run(dir.path(), &words, "").failed(1);
    assert!(told.contains("listen on loopback"), "{told}");
}

/// Check 117: health is told to everybody, line by line on request, and a server that is not ready
/// says so, with 503 as load balancers know it.
#[test]
fn k117_health_is_told() {
    let bed = Bed::new();
    for path in ["/livez", "/healthz", "/readyz"] {
        let answer = bed.answer(bed.ask_as(None, "GET", path));
        assert_eq!((answer.code, answer.text.as_str()), (200, "ok"), "{path}");
    }
    let told = bed.get("/readyz?verbose").text;
    for line in [
        "[+]ping ok",
        "[+]store ok",
        "[+]shutdown ok",
        "readyz check passed",
    ] {
        assert!(told.contains(line), "{told}");
    }
    bed.unready("the loop has not begun");
    let answer = bed.get("/readyz");
    assert_eq!(answer.code, 503);
    assert!(
        answer
            .text
            .contains("[-]controller failed: the loop has not begun"),
        "{}",
        answer.text
    );
    assert_eq!(bed.get("/livez").code, 200);
    for path in ["/readyz?exclude=controller", "/readyz/store", "/livez/ping"] {
        assert_eq!(bed.get(path).text, "ok", "{path}");
    }
    assert_eq!(bed.get("/readyz/controller").code, 503);
    bed.get("/readyz/nothing").refused(404, "NotFound");
    assert_eq!(bed.get("/readyz?verbose=").code, 503);
}

/// Check 118: metrics are in Prometheus' form, and counters say that they are. Their names are
/// Weir's own: what is counted is not what an API server of Kubernetes counts.
#[test]
fn k118_metrics_can_be_scraped() {
    let lab = Lab::empty("instant");
    let (code, text) = lab.health("/metrics");
    assert_eq!(code, 200);
    let kinds = text.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    let kinds: Vec<(&str, &str)> = kinds.filter_map(|line| line.split_once(' ')).collect();
    assert!(kinds.len() > 10, "{text}");
    for (name, kind) in kinds {
        assert_eq!(
            kind == "counter",
            name.ends_with("_total"),
            "{name} is a {kind}"
        );
        assert!(text.contains(&format!("# HELP {name} ")), "{name}");
    }
    for line in text.lines().filter(|line| !line.starts_with('#')) {
        let value = line.rsplit(' ').next().unwrap();
        assert!(value.parse::<f64>().is_ok(), "{line}");
    }
}

/// Check 119: who is told to come back later does, and nobody notices.
#[test]
fn k119_a_client_that_is_put_off_comes_again() {
    if !crate::parts::present("kubectl") {
        return;
    }
    let bed = Bed::with(Made::limited(Limits {
        watches: 1,
        ..Limits::default()
    }));
    let held = bed.follow(&format!("{STACKS}?watch=true"));
    let mut watch = bed.started("get secrets -w");
    until("kubectl was put off twice", || {
        let lines = bed.audit();
        let put_off = lines
            .iter()
            .filter(|line| line["responseStatus"]["code"] == 429)
            .count();
        (put_off >= 2).then_some(()).ok_or(watch.said())
    });
    drop(held);
    bed.post(SECRETS, &secret("s")).is(201);
    until("kubectl sees", || {
        watch
            .said()
            .contains("Opaque")
            .then_some(())
            .ok_or(watch.said())
    });
    assert_eq!(watch.ended(), None);
    let status = bed.get(&format!("{STACKS}?watch=true"));
    assert_eq!(status.header("retry-after"), "1");
    status.refused(429, "TooManyRequests");
}

/// Writes until the server is gone; gives what was acknowledged, by name and version.
async fn acknowledged(client: Client, writer: u32) -> Vec<(String, u64)> {
    let mut all = Vec::new();
    for number in 0.. {
        let name = format!("s-{writer}-{number}");
        let object: Object = serde_json::from_value(secret(&name)).unwrap();
        match client.apply(&object, false, FieldValidation::Strict).await {
            Ok(applied) => {
                let version = applied.object.metadata.resource_version.parse().unwrap();
                all.push((name, version));
            }
            Err(_) => break,
        }
    }
    all
}

/// Check 120: what was acknowledged survives `kill -9`, and versions go on.
#[test]
fn k120_what_was_acknowledged_survives_a_kill() {
    let mut lab = Lab::empty("instant");
    let client = || Client::from_kubeconfig(&lab.dir().join("state/kubeconfig"), None).unwrap();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut writers = JoinSet::new();
    for writer in 0..4 {
        writers.spawn_on(acknowledged(client(), writer), runtime.handle());
    }
    until("much is written", || {
        let told = lab.weir("get secrets -o name").out.lines().count();
        (told > 40).then_some(()).ok_or(told.to_string())
    });
    lab.controller.signal("KILL");
    lab.controller.ended();
    let all: Vec<_> = runtime
        .block_on(writers.join_all())
        .into_iter()
        .flatten()
        .collect();
    lab.restart();
    let told = lab.weir("get secrets -o name").done();
    let latest = all.iter().map(|(_, version)| *version).max().unwrap();
    for (name, _) in &all {
        assert!(
            told.lines().any(|line| line.ends_with(&format!("/{name}"))),
            "{name} is lost"
        );
    }
    lab.namespace("later");
    let later = number(&lab.member("namespace later", "/metadata/resourceVersion"));
    assert!(later > latest, "{later} after {latest}");
}

/// Check 121: when the leader dies another one acts within 17 s, and the lease changed hands once.
#[test]
fn k121_another_controller_takes_over() {
    let Some(etcd) = now(server::single()) else {
        return;
    };
    let lab = lab_on(&etcd);
    lab.account("default");
    let first = leader::leads(&lab);
    let second = leader::second(&lab, &etcd);
    let transitions = || {
        let words = "get lease weir-controller -o jsonpath={.spec.leaseTransitions}";
        leader::ask(&lab, words).parse::<u32>().unwrap()
    };
    let before = transitions();
    let since = Instant::now();
    lab.controller.signal("KILL");
    until("another one leads", || {
        let holder = leader::holder(&lab);
        (holder != first).then_some(()).ok_or(second.log())
    });
    assert!(
        since.elapsed() < Duration::from_secs(17),
        "{:?}",
        since.elapsed()
    );
    assert_eq!(transitions(), before + 1);
}

/// Check 122: a controller that is started again in the middle makes nothing twice.
#[test]
fn k122_a_restart_makes_nothing_twice() {
    let mut lab = Lab::empty("lab");
    lab.account("default");
    lab.apply("default", &lab::stack("ims", "")).done();
    let machines = |lab: &Lab| {
        let all = lab.cloud("listVirtualMachines", &[("listall", "true")]);
        let all = all["virtualmachine"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let mut names: Vec<_> = all.iter().map(|vm| vm["name"].to_string()).collect();
        names.sort();
        names
    };
    for wanted in [1, 3] {
        until("machines are on their way", || {
            let found = machines(&lab).len();
            (found >= wanted)
                .then_some(())
                .ok_or_else(|| lab.everything())
        });
        lab.controller.signal("KILL");
        lab.controller.ended();
        lab.restart();
    }
    lab.ready("default", "ims");
    let wanted = ["bono-0", "homestead-0", "sprout-0", "sprout-1"];
    assert_eq!(machines(&lab), wanted.map(|name| format!("\"ims-{name}\"")));
    assert_eq!(
        lab.weir("get machines -o name").done().lines().count(),
        wanted.len()
    );
}

/// Check 123: while a change is rolled out, no more of a role is away than may be, by the cloud's
/// own account of it.
#[tokio::test(flavor = "multi_thread")]
async fn k123_a_rollout_keeps_to_its_bounds() {
    let world = World::start(Profile::Lab).await;
    world
        .apply(json!({"components": {"sprout": {"replicas": 3}}}))
        .await;
    world.settled().await;
    let sampler = Sampler::start(&world.sim, &[("sprout", 3)]);
    world
        .change(json!({"serviceOffering": {"name": "4vCPU-8GB"}}))
        .await;
    let generation = world.stack().await.metadata.generation.unwrap_or_default();
    let updated = |status: &StackStatus| {
        let mut roles = status.roles.values();
        status.observed_generation == generation
            && status.phase == "Ready"
            && roles.all(|role| role.updated == role.desired)
    };
    world.until("rolled out", updated).await;
    sampler.assert_away_at_most(1);
}

/// Check 124: where too much looks dead at once nothing is done about it, and that is told; below
/// that it is healed.
#[tokio::test(flavor = "multi_thread")]
async fn k124_too_much_at_once_is_told_and_left_alone() {
    let world = World::with(json!({"remediation": {"maxUnhealthy": 1}})).await;
    world
        .broken_and_repaired(Breakage::StopVm {
            vm: "ims-sprout-0".to_owned(),
        })
        .await;
    for name in ["ims-sprout-0", "ims-sprout-1"] {
        world.broken(Breakage::StopVm {
            vm: name.to_owned(),
        });
    }
    world.tells("look dead at once").await;
    let before = world.writes();
    world.seen_again().await;
    assert_eq!(world.writes(), before);
    let waits = world.stack().await;
    let conditions = waits.status.unwrap().conditions;
    let told = conditions
        .iter()
        .find(|one| one.reason == "TooManyUnhealthy");
    assert!(told.is_some(), "{conditions:?}");
}

/// Check 125: what kubectl of older and newer versions sends that this one does not, and those
/// versions themselves where they are installed beside it.
#[test]
fn k125_other_versions_of_kubectl_are_understood() {
    let bed = Bed::new();
    // 1.27: the beta form of discovery only, and OpenAPI v2 before v3.
    let beta = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
    for path in ["/api", "/apis"] {
        let told = bed.get_as(beta, path).is(200);
        assert_eq!(told["apiVersion"], "apidiscovery.k8s.io/v2beta1");
    }
    let v2 = "application/com.github.proto-openapi.spec.v2@v1.0+protobuf";
    assert_eq!(bed.get_as(v2, "/openapi/v2?timeout=32s").code, 200);
    // Before 1.32: typed objects as JSON; since: as protobuf, which check 109 has.
    let review = json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
                        "metadata": {"creationTimestamp": null},
                        "spec": {"resourceAttributes": {"verb": "get", "resource": "secrets"}}});
    let path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";
    let send = bed
        .ask("POST", path)
        .header("Content-Type", "application/json");
    let send = send
        .header("Accept", "application/json, */*")
        .body(review.to_string());
    assert_eq!(bed.answer(send).is(201)["status"]["allowed"], true);
    // 1.35: lists as watches.
    let list = "watch=true&allowWatchBookmarks=true&sendInitialEvents=true&\
                resourceVersionMatch=NotOlderThan&timeoutSeconds=1";
    let mut watch = bed.follow(&format!("{SECRETS}?{list}"));
    assert_eq!(watch.event().0, "BOOKMARK");
    for program in others() {
        lives(&program);
    }
}

/// The versions of kubectl that are installed beside the one that is found, as some vendors do it:
/// `kubectl.1.27` and so on.
fn others() -> Vec<String> {
    let found = std::env::var("PATH").unwrap_or_default();
    let folders = found
        .split(':')
        .map(|folder| std::path::Path::new(folder).join("kubectl"));
    let folders = folders.filter_map(|file| Some(file.canonicalize().ok()?.parent()?.to_owned()));
    let files = folders
        .filter_map(|folder| fs::read_dir(folder).ok())
        .flatten();
    let files = files.filter_map(|file| file.ok()?.path().to_str().map(str::to_owned));
    let mut all: Vec<_> = files.filter(|file| file.contains("/kubectl.1.")).collect();
    all.sort();
    all.dedup();
    all
}

/// Checks 3, 12, 18, 21, 47, 65, 106 and 111, by another kubectl.
fn lives(program: &str) {
    let bed = Bed::new();
    bed.file("a.yaml", &stack("a"));
    bed.file("a2.yaml", &scaled("a", 3));
    bed.file("b.yaml", &stack("b"));
    for (line, words) in [
        (
            "api-resources --api-group=weir.dev -o wide",
            "clearwaterstacks",
        ),
        ("explain cws.spec.domain", "<string>"),
        ("create -f b.yaml", "clearwaterstack.weir.dev/b created"),
        ("get cws -A", "NAMESPACE"),
        ("get cws --show-labels", "app=x"),
        ("apply -f a.yaml", "created"),
        ("apply -f a.yaml", "unchanged"),
        ("apply -f a2.yaml", "configured"),
        (
            "apply --server-side -f b.yaml --force-conflicts",
            "serverside-applied",
        ),
        ("describe cws a", "Events:"),
        ("auth can-i get cws", "yes"),
        ("create ns t", "namespace/t created"),
        (
            "create secret generic s --from-literal=k=v",
            "secret/s created",
        ),
        ("describe secret s", "1 bytes"),
        ("delete secret s", "deleted"),
    ] {
        let said = bed.k_by(program, line, &[], "");
        assert!(
            said.code == Some(0) && said.out.contains(words),
            "{program}: {said}"
        );
    }
}

/// Check 126: what the client library for Rust sends, with neither `Accept` nor `User-Agent`; and a
/// life with the one for Python, where it is installed.
#[test]
fn k126_a_client_library_is_understood() {
    let bed = Bed::new();
    bed.stack("a");
    let list = bed.get(&format!("{STACKS}?&limit=500")).is(200);
    let version = list["metadata"]["resourceVersion"].as_str().unwrap();
    let query = "watch=true&timeoutSeconds=290&allowWatchBookmarks=true";
    let mut watch = bed.follow(&format!("{STACKS}?&{query}&resourceVersion={version}"));
    let mut streamed = bed.follow(&format!(
        "{STACKS}?&{query}&sendInitialEvents=true&resourceVersionMatch=NotOlderThan&resourceVersion=0"
    ));
    assert_eq!(streamed.events(2), ["ADDED a", "BOOKMARK "]);
    // The helper for finalizers adds behind the present ones, and takes away by place.
    let path = format!("{STACKS}/a");
    let patch = json!([{"op": "test", "path": "/metadata/finalizers", "value": ["weir.dev/cloud-resources"]},
                       {"op": "add", "path": "/metadata/finalizers/-", "value": "weir.dev/t"}]);
    bed.patch(JSON_PATCH, &path, &patch).is(200);
    let patch = json!([{"op": "test", "path": "/metadata/finalizers/1", "value": "weir.dev/t"},
                       {"op": "remove", "path": "/metadata/finalizers/1"}]);
    bed.patch(JSON_PATCH, &path, &patch).is(200);
    assert_eq!(watch.events(2), ["MODIFIED a", "MODIFIED a"]);
    let apply = json!({"apiVersion": "weir.dev/v1alpha1", "kind": "ClearwaterStack",
                       "spec": {"sshKeyPair": "ops"}});
    let applied = bed
        .patch(APPLY, &format!("{path}?&force=true&fieldManager=x"), &apply)
        .is(200);
    assert_eq!(applied["spec"]["sshKeyPair"], "ops");
    let status = json!({"status": {"phase": "Ready"}});
    bed.patch(MERGE, &format!("{path}/status?&fieldManager=x"), &status)
        .is(200);
    assert_eq!(bed.get(&format!("{path}/scale")).code, 404);
    library_events(&bed);
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                       "metadata": {"name": "l"},
                       "spec": {"holderIdentity": "x", "acquireTime": "2026-01-02T03:04:05.000000Z"}});
    let path =
        "/apis/coordination.k8s.io/v1/namespaces/default/leases/l?&force=true&fieldManager=x";
    bed.patch(APPLY, path, &lease).is(201);
    bed.patch(APPLY, path, &lease).is(200);
    let delete = json!({"propagationPolicy": "Foreground"});
    bed.delete(&format!("{STACKS}/a"), &delete).is(200);
    let missing: Value = bed.get(&format!("{STACKS}/nope")).refused(404, "NotFound");
    assert_eq!(missing["code"], 404);
    python_lives(&bed);
}

fn python_lives(bed: &Bed) {
    let Some(python) = clients::installed("python") else {
        return;
    };
    // The library has no program of its own to look for: one that it needs has.
    if clients::installed("wsdump").is_none() {
        return;
    }
    let life = clients::root().join("tests/clients/kubernetes_life.py");
    let ended = std::process::Command::new(python)
        .arg(life)
        .arg(bed.dir().join("kubeconfig"))
        .env("HOME", bed.dir())
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .output()
        .unwrap();
    let told = String::from_utf8_lossy(&ended.stdout);
    let why = String::from_utf8_lossy(&ended.stderr);
    assert!(ended.status.success(), "{told}{why}");
    assert!(told.ends_with("nothing left behind\n"), "{told}");
}

/// The library's recorder: a new event, and the same once more as a series.
fn library_events(bed: &Bed) {
    let path = "/apis/events.k8s.io/v1/namespaces/default/events";
    let event = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": "a.17f", "namespace": "default"}, "action": "Tell", "note": "told",
        "eventTime": "2026-01-02T03:04:05.678901Z", "reason": "Told", "type": "Normal",
        "regarding": {"apiVersion": "weir.dev/v1alpha1", "kind": "ClearwaterStack", "name": "a",
                      "namespace": "default"},
        "reportingController": "x", "reportingInstance": "x-0",
    });
    bed.post(&format!("{path}?"), &event).is(201);
    let series = json!({"series": {"count": 2, "lastObservedTime": "2026-01-02T03:05:05.678901Z"}});
    let told = bed.patch(MERGE, &format!("{path}/a.17f?"), &series).is(200);
    assert_eq!(
        (&told["series"]["count"], &told["note"]),
        (&json!(2), &json!("told"))
    );
    let key = ObjectKey::new(Kind::Event, "default", "a.17f");
    let stored = bed.block_on(bed.store.get(&key)).unwrap().unwrap();
    assert_eq!(stored.api_version, "v1", "both groups show one store");
}
