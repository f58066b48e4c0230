//! What fsck finds, on states with planted damages that no import would bring in. Damages between
//! objects are planted by the tests of the command.

use std::sync::Arc;

use serde_json::{Value, json};

use super::check::check;
use crate::{
    clock::Clock,
    store::{Backend, Expect, Memory, Store},
};

/// What fsck says of some records.
async fn found(records: &[(&str, &str)]) -> Vec<String> {
    let backend = Memory::default();
    for (path, value) in records {
        let value = value.to_string().into();
        backend.put(path, value, Expect::Absent).await.unwrap();
    }
    let store = Store::with_backend(Arc::new(backend), Clock::system());
    let mut findings = check(&store.records().await.unwrap().0);
    findings.sort();
    findings.iter().map(ToString::to_string).collect()
}

fn record(object: &Value) -> String {
    json!({"format": 1, "object": object}).to_string()
}

fn namespace(name: &str, uid: &str) -> Value {
    json!({"apiVersion": "v1", "kind": "Namespace",
           "metadata": {"name": name, "uid": uid, "generation": 1}})
}

#[tokio::test]
async fn a_sound_state_has_no_findings() {
    let (a, b) = (record(&namespace("a", "1")), record(&namespace("b", "2")));
    let told = found(&[("namespaces//a", &a), ("namespaces//b", &b)]).await;
    assert!(told.is_empty(), "{told:?}");
}

#[tokio::test]
async fn records_that_cannot_be_read_are_told() {
    let foreign = json!({"format": 9, "object": namespace("b", "2")}).to_string();
    let told = found(&[("namespaces//a", "scribble"), ("namespaces//b", &foreign)]).await;
    assert_eq!(
        told,
        [
            "error: namespaces//a: the record cannot be read: expected value at line 1 column 1; \
             restore a backup from before that, since no export can be made",
            "error: namespaces//b: the record cannot be read: it has format 9, and this Weir knows \
             formats up to 2; restore a backup from before that, since no export can be made",
        ]
    );
}

#[tokio::test]
async fn objects_in_a_wrong_place_or_of_no_kind_are_told() {
    let moved = record(&namespace("a", "1"));
    let mut pod = namespace("b", "2");
    pod["kind"] = json!("Pod");
    let pod = record(&pod);
    let told = found(&[("namespaces//b", &moved), ("pods//b", &pod)]).await;
    assert_eq!(
        told,
        [
            "error: namespaces//b: metadata.name a: what is stored there says that it is \
             namespace//a; restore a backup, or take it out of an export and import that",
            "error: pods//b: kind v1 Pod: this Weir does not know the kind; run a later one",
        ]
    );
}

#[tokio::test]
async fn uids_and_deletions_are_looked_at() {
    let first = record(&namespace("a", "1"));
    let same = record(&namespace("b", "1"));
    let mut none = namespace("c", "");
    none["metadata"].as_object_mut().unwrap().remove("uid");
    let none = record(&none);
    let mut going = namespace("d", "4");
    going["metadata"]["deletionTimestamp"] = json!("2026-03-01T12:00:00Z");
    let going = record(&going);
    let told = found(&[
        ("namespaces//a", &first),
        ("namespaces//b", &same),
        ("namespaces//c", &none),
        ("namespaces//d", &going),
    ])
    .await;
    assert_eq!(
        told,
        [
            "error: namespace//b: metadata.uid 1: namespace//a has the same; restore a backup, or \
             take it out of an export and import that",
            "error: namespace//c: metadata.uid: missing; restore a backup, or take it out of an \
             export and import that",
            "error: namespace//d: metadata.finalizers: it is being deleted, and nothing holds it; \
             delete it again, which removes it",
        ]
    );
}

#[tokio::test]
async fn a_secret_is_never_repeated() {
    let secret = json!({"apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "keys", "namespace": "a", "uid": "2", "generation": 1},
        "data": {"apiKey": "s3cr3t!"}});
    let (secret, namespace) = (record(&secret), record(&namespace("a", "1")));
    let told = found(&[("secrets/a/keys", &secret), ("namespaces//a", &namespace)]).await;
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("error: secret/a/keys: data[apiKey]: ") && !told[0].contains("s3cr3t"),
        "{told:?}"
    );
}
