//! Events, secrets, leases and reviews: checks 106 to 112.

use serde_json::{Value, json};

use super::bed::{APPLY, Bed, MERGE, SECRETS, secret};
use crate::{
    cli::{
        access,
        lab::{Lab, stack, until},
    },
    parts::present,
};

const EVENTS: &str = "/api/v1/namespaces/default/events";
const NEW_EVENTS: &str = "/apis/events.k8s.io/v1/namespaces/default/events";
const LEASES: &str = "/apis/coordination.k8s.io/v1/namespaces/default/leases";

/// An event about a stack, in its old form.
fn event(name: &str, about: &str, kind: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": name, "namespace": "default"},
        "involvedObject": {"apiVersion": "weir.dev/v1alpha1", "kind": "ClearwaterStack",
                           "namespace": "default", "name": about},
        "reason": "Told", "message": format!("{name} is told"), "type": kind, "count": 3,
        "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:10:00Z",
        "source": {"component": "weir-controller"}, "reportingComponent": "weir-controller",
    })
}

/// Check 106: describe shows what was told about an object, and of a Secret sizes only.
#[test]
fn k106_describe_shows_events_and_no_secret() {
    let Some(bed) = Bed::kubectl() else { return };
    let made = bed.stack("a");
    let mut about = event("e", "a", "Warning");
    about["involvedObject"]["uid"] = made["metadata"]["uid"].clone();
    bed.post(EVENTS, &about).is(201);
    let told = bed.k("describe cws a").ok();
    assert!(
        told.contains("Warning  Told") && told.contains("e is told"),
        "{told}"
    );
    bed.post(SECRETS, &secret("s")).is(201);
    let told = bed.k("describe secret s").ok();
    assert!(
        told.contains("k:  1 bytes") && !told.contains("dg=="),
        "{told}"
    );
}

/// Check 107: events are found by what they are about, in both of their groups.
#[test]
fn k107_events_are_found_by_their_object_in_both_groups() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.stack("a");
    for (name, about, kind) in [
        ("e", "a", "Warning"),
        ("f", "a", "Normal"),
        ("g", "b", "Warning"),
    ] {
        bed.post(EVENTS, &event(name, about, kind)).is(201);
    }
    let told = bed.k("events --for=cws/a").ok();
    assert!(
        told.contains("e is told") && told.contains("f is told"),
        "{told}"
    );
    assert!(!told.contains("g is told"), "{told}");
    let selector = "--field-selector=involvedObject.name=a,type=Warning";
    let told = bed.k(&format!("get events {selector} -o name")).ok();
    assert_eq!(told, "event/e\n");
    let told = bed.k("get events.v1.events.k8s.io").ok();
    assert!(
        told.starts_with("LAST SEEN") && told.contains("e is told"),
        "{told}"
    );
    let seen = bed.get(&format!("{NEW_EVENTS}/e")).is(200);
    assert_eq!(seen["apiVersion"], "events.k8s.io/v1");
    assert_eq!(
        (&seen["note"], &seen["regarding"]["name"]),
        (&json!("e is told"), &json!("a"))
    );
    assert_eq!(
        (&seen["deprecatedCount"], &seen["reportingController"]),
        (&json!(3), &json!("weir-controller"))
    );
    let fields = bed
        .get(&format!("{NEW_EVENTS}?fieldSelector=regarding.name%3Db"))
        .is(200);
    assert_eq!(fields["items"][0]["metadata"]["name"], "g");
    let mut watch = bed.follow(&format!(
        "{NEW_EVENTS}?watch=true&resourceVersion={}",
        bed.version()
    ));
    let new = json!({
        "apiVersion": "events.k8s.io/v1", "kind": "Event",
        "metadata": {"name": "h", "namespace": "default"},
        "regarding": {"apiVersion": "weir.dev/v1alpha1", "kind": "ClearwaterStack", "name": "a",
                      "namespace": "default"},
        "eventTime": "2026-01-01T00:00:00.000001Z", "reportingController": "c",
        "reportingInstance": "c-0", "action": "Tell", "reason": "Told", "type": "Normal",
        "note": "h is told",
    });
    bed.post(NEW_EVENTS, &new).is(201);
    let (_, heard) = watch.event();
    assert_eq!(
        (&heard["note"], &heard["apiVersion"]),
        (&json!("h is told"), &json!("events.k8s.io/v1"))
    );
    let old = bed.get(&format!("{EVENTS}/h")).is(200);
    assert_eq!(
        (&old["message"], &old["involvedObject"]["name"]),
        (&json!("h is told"), &json!("a"))
    );
    assert_eq!(old["eventTime"], "2026-01-01T00:00:00.000001Z");
    bed.k("events --for=cws/a").says("h is told");
}

/// Check 108: what goes wrong again and again in the same words is told once and counted.
#[test]
fn k108_what_repeats_is_counted() {
    const TIMES: u64 = 5;
    let lab = Lab::start();
    lab.apply("default", &stack("ims", "")).done();
    lab.ready("default", "ims");
    for time in 1..=TIMES {
        lab.broken("stop-vm ims-sprout-0");
        until("it is told again", || {
            let told = lab.weir("get events -o json").done();
            let list: Value = serde_json::from_str(&told).unwrap();
            let events = list["items"].as_array().unwrap().iter();
            let counts: Vec<u64> = events
                .filter(|event| event["reason"] == "NotReady")
                .map(|event| event["count"].as_u64().unwrap())
                .collect();
            assert!(counts.len() <= 3, "{told}");
            (counts.iter().sum::<u64>() >= time)
                .then_some(())
                .ok_or(told)
        });
        lab.ready("default", "ims");
    }
}

/// Check 109: kubectl's own creators send protobuf. What Weir does not have, kubectl is told.
#[test]
fn k109_kubectl_creates_by_protobuf() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.k("create secret generic s --from-literal=k=v --from-literal=l=w")
        .says("secret/s created");
    let made = bed.get(&format!("{SECRETS}/s")).is(200);
    assert_eq!(
        (&made["data"], &made["type"]),
        (&json!({"k": "dg==", "l": "dw=="}), &json!("Opaque"))
    );
    bed.k("create namespace t").says("namespace/t created");
    bed.k("create configmap m --from-literal=k=v")
        .says("configmap/m created");
    let made = bed.get("/api/v1/namespaces/default/configmaps/m").is(200);
    assert_eq!(made["data"], json!({"k": "v"}));
    bed.k("create serviceaccount a")
        .fails("could not find the requested resource");
}

/// Check 110: a lease is taken by whoever read it last, and its times have six digits.
#[test]
fn k110_a_lease_is_taken_once() {
    let Some(bed) = Bed::kubectl() else { return };
    let mut lease = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "l", "namespace": "default"},
        "spec": {"holderIdentity": "one", "leaseDurationSeconds": 15,
                 "acquireTime": "2026-01-02T03:04:05.000000Z", "renewTime": "2026-01-02T03:04:05Z"},
    });
    let made = bed.post(LEASES, &lease).is(201);
    assert_eq!(made["spec"]["acquireTime"], "2026-01-02T03:04:05.000000Z");
    assert_eq!(made["spec"]["renewTime"], "2026-01-02T03:04:05.000000Z");
    lease["metadata"]["resourceVersion"] = made["metadata"]["resourceVersion"].clone();
    lease["spec"]["holderIdentity"] = json!("two");
    let path = format!("{LEASES}/l");
    bed.put(&path, &lease).is(200);
    lease["spec"]["holderIdentity"] = json!("three");
    bed.put(&path, &lease).refused(409, "Conflict");
    let told = bed.k("get lease").ok();
    assert!(
        told.starts_with("NAME") && told.contains("HOLDER") && told.contains("two"),
        "{told}"
    );
    let renewed = json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "spec": {"renewTime": "2026-01-02T03:04:06.5Z"},
    });
    let request = format!("{path}?fieldManager=elector&force=true");
    let applied = bed.patch(APPLY, &request, &renewed).is(200);
    assert_eq!(applied["spec"]["renewTime"], "2026-01-02T03:04:06.500000Z");
    let again = bed.patch(APPLY, &request, &renewed).is(200);
    assert_eq!(
        again, applied,
        "the same time in another form is the same time"
    );
    bed.patch(MERGE, &path, &json!({"spec": {"renewTime": "soon"}}))
        .refused(422, "Invalid");
}

/// Check 111: what one may do, and who one is.
#[test]
fn k111_kubectl_is_told_what_one_may_do() {
    let Some(bed) = Bed::kubectl() else { return };
    assert_eq!(bed.k("auth can-i get cws").ok(), "yes\n");
    assert_eq!(
        bed.k("auth can-i create cws --subresource=status").ok(),
        "yes\n"
    );
    bed.k("auth can-i --list").says("*.*");
    bed.k("auth whoami").says("weir:admin");
    bed.restrict("ann", "ann-token");
    let said = bed.k("--kubeconfig=ann auth can-i get cws");
    assert_eq!((said.code, said.out.as_str()), (Some(1), "no\n"), "{said}");
    let told = bed.k("--kubeconfig=ann auth whoami").ok();
    assert!(
        told.contains("ann") && told.contains("[people system:authenticated]"),
        "{told}"
    );
}

/// Check 112: whoever may, acts as somebody else.
#[test]
fn k112_the_administrator_acts_as_somebody_else() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.k("--as=bob --as-group=lab auth whoami").says("bob");
    bed.restrict("ann", "ann-token");
    bed.k("--kubeconfig=ann --as=bob get cws")
        .fails("(Forbidden)");
}

/// Check 114: a certificate of our authority is its user, and one of another is nobody.
#[test]
fn k114_a_certificate_is_its_user() {
    if !present("kubectl") {
        return;
    }
    let town = access::bed::Bed::new();
    town.certify("cara", &["crew"], &town.dir().join("state/tls"));
    let told = town.by("cara", &["auth", "whoami"]).ok();
    assert!(
        told.contains("cara") && told.contains("[crew system:authenticated]"),
        "{told}"
    );
    let other = tempfile::tempdir().unwrap();
    let key = rcgen::KeyPair::generate().unwrap();
    std::fs::write(other.path().join("ca.key"), key.serialize_pem()).unwrap();
    town.certify("mallory", &["crew"], other.path());
    let said = town.by("mallory", &["auth", "whoami"]);
    assert!(!said.done, "{}", said.text);
}

/// Check 116: each request has a line in the audit log, found by the id in its answer; and no
/// secret is anywhere.
#[test]
fn k116_requests_are_written_down_without_secrets() {
    let bed = Bed::new();
    let mut kept = secret("s");
    kept["stringData"]["k"] = json!("canary-in-a-coal-mine");
    for answer in [
        bed.post(SECRETS, &kept),
        bed.get(&format!("{SECRETS}/s")),
        bed.patch(
            MERGE,
            &format!("{SECRETS}/s"),
            &json!({"stringData": {"k": "canary"}}),
        ),
        bed.get(&format!("{SECRETS}/nope")),
    ] {
        let id = answer.header("audit-id").to_owned();
        let lines = bed.audit();
        let of_it: Vec<_> = lines.iter().filter(|line| line["auditID"] == id).collect();
        assert_eq!(of_it.len(), 1, "{id}");
        assert_eq!(of_it[0]["responseStatus"]["code"], answer.code);
        assert_eq!(of_it[0]["objectRef"]["resource"], "secrets");
        let text = of_it[0].to_string();
        assert!(
            !text.contains("canary") && !text.contains("Y2FuYXJ5"),
            "{text}"
        );
    }
    if !present("kubectl") {
        return;
    }
    let town = access::bed::Bed::new();
    for path in [
        "/metrics",
        "/readyz?verbose",
        "/api/v1/namespaces/lab/events",
    ] {
        let text = town.admin(&["get", "--raw", path]).ok();
        assert!(!text.contains(access::bed::CANARY), "{text}");
        assert!(!text.contains(access::bed::CANARY_64), "{text}");
    }
    let log = town.controller.log();
    assert!(
        !log.contains(access::bed::CANARY) && !log.contains(access::bed::CANARY_64),
        "{log}"
    );
}
