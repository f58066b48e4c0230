//! What an API server of Kubernetes was seen to do besides the numbered checks, or otherwise than
//! its documents say.

use serde_json::{Value, json};

use super::bed::{APPLY, Bed, JSON_PATCH, MERGE, NAMESPACES, SECRETS, STACKS, secret, stack};

#[test]
fn an_unknown_path_is_text_but_below_the_core_group() {
    let bed = Bed::new();
    for path in [
        "/nope",
        "/apis/weir.dev/v1alpha1/nope",
        "/apis/apps/v1/deployments",
    ] {
        let answer = bed.get(path);
        assert_eq!(
            (answer.code, answer.text.as_str()),
            (404, "404 page not found\n"),
            "{path}"
        );
    }
    bed.get("/api/v1/pods").refused(404, "NotFound");
}

#[test]
fn a_json_patch_is_lenient_where_kubernetes_is() {
    let bed = Bed::new();
    let mut made = secret("s");
    made["metadata"]["finalizers"] = json!(["a/a", "a/b"]);
    bed.post(SECRETS, &made).is(201);
    let path = format!("{SECRETS}/s");
    let patch = |patch: Value| bed.patch(JSON_PATCH, &path, &patch);
    let new = patch(json!([{"op": "replace", "path": "/metadata/labels", "value": {"a": "b"}}]));
    assert_eq!(new.is(200)["metadata"]["labels"]["a"], "b");
    let last = patch(json!([{"op": "remove", "path": "/metadata/finalizers/-1"}])).is(200);
    assert_eq!(last["metadata"]["finalizers"], json!(["a/a"]));
    patch(json!([{"op": "test", "path": "/no/where", "value": null}])).refused(422, "Invalid");
    let many = vec![json!({"op": "test", "path": "/kind", "value": "Secret"}); 10_001];
    patch(json!(many)).refused(413, "RequestEntityTooLarge");
    patch(json!({})).refused(400, "BadRequest");
}

#[test]
fn a_version_is_refused_on_what_is_new() {
    let bed = Bed::new();
    let mut versioned = stack("a");
    versioned["metadata"]["resourceVersion"] = json!("5");
    bed.post(STACKS, &versioned).refused(400, "BadRequest");
    versioned["metadata"]["resourceVersion"] = json!("0");
    bed.post(STACKS, &versioned).is(201);
}

#[test]
fn an_item_is_not_watched_and_a_stream_is_json() {
    let bed = Bed::new();
    bed.stack("a");
    let one = bed.get(&format!("{STACKS}/a?watch=true")).is(200);
    assert_eq!(one["kind"], "ClearwaterStack");
    let yaml = bed.get_as("application/yaml", &format!("{STACKS}?watch=true"));
    yaml.refused(406, "NotAcceptable");
}

#[test]
fn entries_of_managers_are_the_servers_to_keep() {
    let bed = Bed::new();
    let mut drawn = secret("");
    drawn["metadata"] = json!({"generateName": "s-"});
    let mut made = bed
        .post(&format!("{SECRETS}?fieldManager=m"), &drawn)
        .is(201);
    let entries = made["metadata"]["managedFields"].clone();
    assert_eq!(
        entries[0]["fieldsV1"]["f:metadata"]["f:generateName"],
        json!({})
    );
    let path = format!("{SECRETS}/{}", made["metadata"]["name"].as_str().unwrap());
    made["metadata"]["managedFields"] = json!([{"manager": "x", "operation": "Guess"}]);
    let kept = bed.put(&format!("{path}?fieldManager=m"), &made).is(200);
    assert_eq!(kept["metadata"]["managedFields"], entries);
    // Who updates and applies under one name is two managers.
    let want = json!({"apiVersion": "v1", "kind": "Secret", "data": {"k": "dw=="}});
    let status = bed
        .patch(APPLY, &format!("{path}?fieldManager=m"), &want)
        .refused(409, "Conflict");
    assert_eq!(
        status["message"],
        "Apply failed with 1 conflict: conflict with \"m\" using v1: .data.k"
    );
}

#[test]
fn finalizers_and_owners_are_taken_as_they_come_with_a_word() {
    let bed = Bed::new();
    let owner = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d", "uid": "1"});
    let mut odd = secret("s");
    odd["metadata"]["finalizers"] = json!(["plain", "a/b", "a/b"]);
    odd["metadata"]["ownerReferences"] = json!([owner, owner]);
    let answer = bed.post(SECRETS, &odd);
    let told = answer.warnings();
    assert!(
        told.contains("metadata.finalizers") && told.contains("\\\"plain\\\""),
        "{told}"
    );
    assert!(told.contains("metadata.ownerReferences"), "{told}");
    let made = answer.is(201);
    assert_eq!(
        made["metadata"]["finalizers"],
        json!(["plain", "a/b", "a/b"])
    );
    assert_eq!(made["metadata"]["ownerReferences"], json!([owner]));
}

#[test]
fn another_kind_or_version_is_told_by_the_way_it_came() {
    let bed = Bed::new();
    bed.stack("a");
    let path = format!("{STACKS}/a");
    let with = |member: &str, word: &str| {
        let mut stack = stack("b");
        stack[member] = json!(word);
        stack
    };
    bed.post(STACKS, &with("apiVersion", "weir.dev/v9"))
        .refused(400, "BadRequest");
    bed.post(STACKS, &with("kind", "Machine"))
        .refused(422, "Invalid");
    bed.post(SECRETS, &with("kind", "Machine"))
        .refused(400, "BadRequest");
    for patch in [
        json!({"apiVersion": "weir.dev/v9"}),
        json!({"kind": "Machine"}),
    ] {
        bed.patch(MERGE, &path, &patch).refused(422, "Invalid");
    }
    bed.patch(MERGE, &path, &json!({"metadata": {"name": "b"}}))
        .refused(400, "BadRequest");
    let gone = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z"}});
    bed.patch(MERGE, &path, &gone).refused(422, "Invalid");
}

#[test]
fn a_wrong_type_is_a_bad_request_in_the_metadata_and_invalid_in_the_spec() {
    let bed = Bed::new();
    let mut wrong = stack("a");
    wrong["metadata"]["labels"] = json!({"a": 1});
    bed.post(STACKS, &wrong).refused(400, "BadRequest");
    let mut wrong = stack("a");
    wrong["spec"]["domain"] = json!(1);
    let status = bed.post(STACKS, &wrong).refused(422, "Invalid");
    assert_eq!(
        status["details"]["causes"][0]["reason"],
        "FieldValueTypeInvalid"
    );
}

#[test]
fn a_put_makes_a_lease_that_is_missing() {
    let bed = Bed::new();
    let lease = json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
                       "metadata": {"name": "l", "namespace": "default"},
                       "spec": {"holderIdentity": "one"}});
    let path = "/apis/coordination.k8s.io/v1/namespaces/default/leases/l";
    bed.put(path, &lease).is(201);
}

#[test]
fn a_namespace_shows_its_phase_and_takes_what_clients_send_along() {
    let Some(bed) = Bed::kubectl() else { return };
    let sent = json!({"apiVersion": "v1", "kind": "Namespace", "spec": {}, "status": {},
                      "metadata": {"name": "t", "creationTimestamp": null}});
    let made = bed
        .post(&format!("{NAMESPACES}?fieldValidation=Strict"), &sent)
        .is(201);
    assert_eq!(
        (&made["status"]["phase"], &made["spec"]),
        (&json!("Active"), &Value::Null)
    );
    bed.k("wait --for=jsonpath={.status.phase}=Active ns/t --timeout=5s")
        .says("condition met");
    let read = bed.k("get ns t -o json").ok();
    bed.k_with("replace -f -", &[], &read).says("replaced");
    let same = bed.get(&format!("{NAMESPACES}/t")).is(200);
    assert_eq!(
        same["metadata"]["resourceVersion"],
        made["metadata"]["resourceVersion"]
    );
}

#[test]
fn an_immutable_secret_stays_as_it_is() {
    let bed = Bed::new();
    let mut frozen = secret("s");
    frozen["immutable"] = json!(true);
    bed.post(SECRETS, &frozen).is(201);
    let path = format!("{SECRETS}/s");
    for patch in [
        json!({"stringData": {"k": "w"}}),
        json!({"data": null}),
        json!({"immutable": false}),
        json!({"immutable": null}),
    ] {
        let status = bed.patch(MERGE, &path, &patch).refused(422, "Invalid");
        let cause = &status["details"]["causes"][0];
        assert_eq!(cause["reason"], "FieldValueForbidden", "{status}");
        assert!(!status.to_string().contains("dg=="), "{status}");
    }
    bed.patch(MERGE, &path, &json!({"metadata": {"labels": {"a": "b"}}}))
        .is(200);
    bed.delete(&path, &json!({})).is(200);
}
