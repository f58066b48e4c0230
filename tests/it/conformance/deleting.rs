//! Deletion, finalizers and what belongs to what: checks 98 to 105.

use serde_json::{Value, json};

use super::bed::{Bed, GROUP, MERGE, NAMESPACES, SECRETS, STACKS, number, secret, stack};
use crate::cli::lab::until;

const ACCOUNTS: &str = "/apis/weir.dev/v1alpha1/namespaces/default/cloudaccounts";

/// An account: a kind of ours that nothing keeps in the store.
fn account(name: &str) -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "CloudAccount",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "x"}},
        "spec": {"endpoint": "http://127.0.0.1:9/client/api", "secretRef": {"name": "none"}},
    })
}

/// Check 98: a delete returns when the object is gone, and says which one it was.
#[test]
fn k098_an_object_is_deleted() {
    let Some(bed) = Bed::kubectl() else { return };
    let made = bed.post(ACCOUNTS, &account("a")).is(201);
    let told = bed.delete(&format!("{ACCOUNTS}/a"), &json!({})).is(200);
    assert_eq!(
        (&told["kind"], &told["status"]),
        (&json!("Status"), &json!("Success"))
    );
    assert_eq!(told["details"]["uid"], made["metadata"]["uid"]);
    bed.post(ACCOUNTS, &account("a")).is(201);
    bed.k("delete cloudaccount a").says("\"a\" deleted");
    bed.get(&format!("{ACCOUNTS}/a")).refused(404, "NotFound");
    bed.k("delete cloudaccount a").fails("(NotFound)");
    bed.k("delete cloudaccount a --ignore-not-found").ok();
}

/// Check 99: what a finalizer keeps is marked, takes no new finalizer, and goes with the last one.
#[test]
fn k099_finalizers_keep_an_object() {
    let Some(bed) = Bed::kubectl() else { return };
    let made = bed.stack("a");
    let path = format!("{STACKS}/a");
    let from = number(&made["metadata"]["resourceVersion"]);
    bed.k("delete cws a --wait=false").says("deleted");
    let marked = bed.get(&path).is(200);
    let meta = &marked["metadata"];
    assert!(meta["deletionTimestamp"].is_string(), "{meta}");
    assert_eq!(
        (&meta["generation"], &meta["deletionGracePeriodSeconds"]),
        (&json!(2), &json!(0))
    );
    bed.k("get cws").says("\na ");
    // Once more changes nothing.
    let again = bed.delete(&path, &json!({})).is(200);
    assert_eq!(
        again["metadata"]["resourceVersion"],
        meta["resourceVersion"]
    );
    let more = json!({"metadata": {"finalizers": ["weir.dev/cloud-resources", "weir.dev/t"]}});
    let status = bed.patch(MERGE, &path, &more).refused(422, "Invalid");
    assert_eq!(
        status["details"]["causes"][0]["field"],
        "metadata.finalizers"
    );
    let status = bed.post(STACKS, &stack("a")).refused(409, "AlreadyExists");
    assert!(
        status["message"]
            .as_str()
            .unwrap()
            .contains("is being deleted"),
        "{status}"
    );
    let last = bed
        .patch(MERGE, &path, &json!({"metadata": {"finalizers": null}}))
        .is(200);
    assert_eq!(last["metadata"]["uid"], made["metadata"]["uid"]);
    bed.get(&path).refused(404, "NotFound");
    let mut watch = bed.follow(&format!("{STACKS}?watch=true&resourceVersion={from}"));
    assert_eq!(watch.events(1), ["MODIFIED a"]);
    let (kind, object) = watch.event();
    assert_eq!(kind, "DELETED");
    let kept = json!(["weir.dev/cloud-resources"]);
    assert_eq!(
        object["metadata"]["finalizers"], kept,
        "the last one is still shown"
    );
}

/// Check 100: who applies what is being deleted is warned.
#[test]
fn k100_applying_what_is_being_deleted_warns() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("a.yaml", &stack("a"));
    bed.k("apply -f a.yaml").ok();
    bed.k("delete cws a --wait=false").ok();
    let said = bed.k("apply -f a.yaml");
    assert!(said.err.contains("currently being deleted"), "{said}");
    said.ok();
}

/// Check 102: a dry run deletes nothing, and neither does a delete of another object.
#[test]
fn k102_a_delete_may_be_a_dry_run_or_conditional() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.post(ACCOUNTS, &account("a")).is(201);
    let path = format!("{ACCOUNTS}/a");
    bed.k("delete cloudaccount a --dry-run=server")
        .says("(server dry run)");
    bed.delete(&format!("{path}?dryRun=All"), &json!({}))
        .is(200);
    for preconditions in [
        json!({"uid": "5c1e2f0a-93c7-4c1c-8f39-5f0d7f4c2a77"}),
        json!({"resourceVersion": "1"}),
    ] {
        let status = bed.delete(&path, &json!({ "preconditions": preconditions }));
        let status = status.refused(409, "Conflict");
        assert_eq!(status["details"]["kind"], "CloudAccount");
        let about =
            "Operation cannot be fulfilled on CloudAccount.weir.dev \"a\": Precondition failed";
        assert!(
            status["message"].as_str().unwrap().starts_with(about),
            "{status}"
        );
    }
    bed.get(&path).is(200);
}

/// Check 103: a collection is deleted as far as it is selected, and answered as a list.
#[test]
fn k103_a_selection_is_deleted() {
    let bed = Bed::new();
    for (name, app) in [("a", "x"), ("b", "x"), ("c", "y")] {
        let mut account = account(name);
        account["metadata"]["labels"] = json!({ "app": app });
        bed.post(ACCOUNTS, &account).is(201);
    }
    let request = bed.ask("DELETE", &format!("{ACCOUNTS}?labelSelector=app%3Dx"));
    let gone = bed
        .answer(request.header("Content-Type", "application/json"))
        .is(200);
    assert_eq!(
        (&gone["kind"], gone["items"].as_array().map(Vec::len)),
        (&json!("CloudAccountList"), Some(2))
    );
    let left = bed.get(ACCOUNTS).is(200);
    assert_eq!(left["items"][0]["metadata"]["name"], "c");
    assert_eq!(left["items"].as_array().map(Vec::len), Some(1));
}

/// Check 104: everything at once, by file, and one in the place of another.
#[test]
fn k104_objects_are_deleted_by_all_and_by_file_and_replaced() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("a.yaml", &account("a"));
    bed.k("create -f a.yaml").ok();
    let old = bed.get(&format!("{ACCOUNTS}/a")).is(200);
    bed.k("replace --force -f a.yaml").says("replaced");
    let new = bed.get(&format!("{ACCOUNTS}/a")).is(200);
    assert_ne!(old["metadata"]["uid"], new["metadata"]["uid"]);
    bed.k("delete -f a.yaml").says("deleted");
    for name in ["b", "c"] {
        bed.post(ACCOUNTS, &account(name)).is(201);
    }
    bed.k("delete cloudaccounts --all").ok();
    assert_eq!(bed.get(ACCOUNTS).is(200)["items"], json!([]));
}

/// Check 105: a namespace goes with what is in it, and nothing comes into one that is going. What
/// stands for something in a cloud is deleted first, by its own name: DESIGN wants no stack lost by
/// a slip of the hand.
#[test]
fn k105_a_namespace_goes_with_its_contents() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.k("create ns t").says("namespace/t created");
    bed.k("create secret generic s --from-literal=k=v -n t")
        .says("secret/s created");
    bed.k("get secrets -n t").says("Opaque");
    bed.k("delete ns t").says("deleted");
    bed.get("/api/v1/namespaces/t/secrets/s")
        .refused(404, "NotFound");
    bed.get(&format!("{NAMESPACES}/t")).refused(404, "NotFound");
    let held = json!({"apiVersion": "v1", "kind": "Namespace",
                      "metadata": {"name": "u", "finalizers": ["weir.dev/t"]}});
    bed.post(NAMESPACES, &held).is(201);
    let marked = bed.delete(&format!("{NAMESPACES}/u"), &json!({})).is(200);
    assert!(marked["metadata"]["deletionTimestamp"].is_string());
    bed.k("get ns u").says("Terminating");
    let mut elsewhere = secret("s");
    elsewhere["metadata"]["namespace"] = json!("u");
    let status = bed
        .post("/api/v1/namespaces/u/secrets", &elsewhere)
        .refused(403, "Forbidden");
    assert_eq!(
        status["details"]["causes"][0]["reason"],
        "NamespaceTerminating"
    );
    bed.k("create ns v").ok();
    let mut kept = account("a");
    kept["metadata"]["namespace"] = json!("v");
    bed.post(&format!("{GROUP}/namespaces/v/cloudaccounts"), &kept)
        .is(201);
    bed.delete(&format!("{NAMESPACES}/v"), &json!({}))
        .refused(409, "Conflict");
}

/// A Secret that belongs to another.
fn owned(name: &str, owner: &Value) -> Value {
    let mut secret = secret(name);
    secret["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "Secret", "name": owner["metadata"]["name"],
        "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true,
    }]);
    secret
}

/// Check 101: what belongs to a deleted object is kept without it, goes before it, or after it.
#[test]
fn k101_dependents_are_kept_or_go_before_or_after() {
    let Some(bed) = Bed::kubectl() else { return };
    let family = || {
        let owner = bed.post(SECRETS, &secret("owner")).is(201);
        bed.post(SECRETS, &owned("part", &owner)).is(201);
        bed.version()
    };
    let gone = |from: u64| {
        let mut watch = bed.follow(&format!("{SECRETS}?watch=true&resourceVersion={from}"));
        let mut order = Vec::new();
        while order.len() < 2 {
            let (kind, object) = watch.event();
            if kind == "DELETED" {
                order.push(object["metadata"]["name"].as_str().unwrap().to_owned());
            }
        }
        order
    };
    let from = family();
    bed.k("delete secret owner --cascade=foreground").ok();
    assert_eq!(gone(from), ["part", "owner"]);
    let from = family();
    bed.k("delete secret owner --cascade=background").ok();
    assert_eq!(gone(from), ["owner", "part"]);
    family();
    bed.k("delete secret owner --cascade=orphan").ok();
    let part = until("the part is let go", || {
        let part = bed.get(&format!("{SECRETS}/part")).is(200);
        let free = part["metadata"]["ownerReferences"].is_null();
        free.then_some(part.clone()).ok_or(part.to_string())
    });
    assert_eq!(part["data"]["k"], "dg==");
    bed.get(&format!("{SECRETS}/owner"))
        .refused(404, "NotFound");
}
