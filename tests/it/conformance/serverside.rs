//! Server-side apply: checks 65 to 76.

use serde_json::{Value, json};

use super::bed::{APPLY, Answer, Bed, MERGE, SECRETS, STACKS, scaled, secret, stack};

fn read(bed: &Bed) -> Value {
    bed.get(&format!("{STACKS}/a")).is(200)
}

/// The entry of a manager.
fn entry(object: &Value, manager: &str) -> Option<Value> {
    let entries = object["metadata"]["managedFields"].as_array()?;
    let found = entries.iter().find(|entry| entry["manager"] == manager);
    found.cloned()
}

/// Applies a stack's spec, and nothing else, for a manager.
fn apply(bed: &Bed, manager: &str, spec: &Value) -> Answer {
    let path = format!("{STACKS}/a?fieldManager={manager}");
    bed.patch(APPLY, &path, &wanted(&json!({ "spec": spec })))
}

/// A stack with nothing but these members.
fn wanted(members: &Value) -> Value {
    let mut object = json!({"apiVersion": "weir.dev/v1alpha1", "kind": "ClearwaterStack",
                            "metadata": {"name": "a"}});
    json_patch::merge(&mut object, members);
    object
}

/// Check 65: an object is made by applying it, and applied again it stays as it is.
#[test]
fn k065_an_object_is_applied() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("b.yaml", &stack("a"));
    let said = bed.k("apply --server-side -f b.yaml -v=6");
    assert!(said.err.contains("201 Created"), "{said}");
    said.says("clearwaterstack.weir.dev/a serverside-applied");
    let before = read(&bed);
    let said = bed.k("apply --server-side -f b.yaml -v=6");
    assert!(said.err.contains("200 OK"), "{said}");
    said.says("serverside-applied");
    assert_eq!(read(&bed), before);
}

/// Check 66: a manager owns what it applied, to the leaf.
#[test]
fn k066_a_manager_owns_what_it_applied() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("a.yaml", &stack("a"));
    bed.k("apply --server-side -f a.yaml").ok();
    let entry = entry(&read(&bed), "kubectl").unwrap();
    assert_eq!(
        (&entry["operation"], &entry["fieldsType"]),
        (&json!("Apply"), &json!("FieldsV1"))
    );
    assert_eq!(entry["apiVersion"], "weir.dev/v1alpha1");
    let fields = json!({
        "f:metadata": {"f:labels": {"f:app": {}}},
        "f:spec": {
            "f:accountRef": {"f:name": {}}, "f:domain": {}, "f:template": {},
            "f:serviceOffering": {}, "f:packages": {"f:repository": {}},
            "f:components": {"f:sprout": {"f:replicas": {}}},
        },
    });
    assert_eq!(entry["fieldsV1"], fields);
}

/// Check 67: another value from another manager is a conflict, unless it is forced.
#[test]
fn k067_another_value_is_a_conflict() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("a.yaml", &stack("a"));
    bed.file("a2.yaml", &scaled("a", 3));
    bed.k("apply --server-side -f a.yaml").ok();
    let said = bed.k("apply --server-side --field-manager=other -f a2.yaml");
    let why = "conflict with \"kubectl\": .spec.components.sprout.replicas";
    assert!(said.code == Some(1) && said.err.contains(why), "{said}");
    let status = apply(
        &bed,
        "other",
        &json!({"domain": "x.example", "components": {"sprout": {"replicas": 3}}}),
    );
    let status = status.refused(409, "Conflict");
    let message = "Apply failed with 2 conflicts: conflicts with \"kubectl\":\n\
                   - .spec.components.sprout.replicas\n- .spec.domain";
    assert_eq!(status["message"], message);
    let cause = json!({"reason": "FieldManagerConflict", "message": "conflict with \"kubectl\"",
                       "field": ".spec.domain"});
    assert_eq!(status["details"]["causes"][1], cause);
    bed.k("apply --server-side --field-manager=other --force-conflicts -f a2.yaml")
        .ok();
    let now = read(&bed);
    assert_eq!(now["spec"]["components"]["sprout"]["replicas"], 3);
    let components =
        |manager| entry(&now, manager).unwrap()["fieldsV1"]["f:spec"]["f:components"].clone();
    assert_eq!(components("kubectl"), Value::Null);
    assert_eq!(components("other"), json!({"f:sprout": {"f:replicas": {}}}));
}

/// Check 68: the same value is owned by both, and stays when one of them drops it.
#[test]
fn k068_the_same_value_is_shared() {
    let bed = Bed::new();
    apply(&bed, "one", &stack("a")["spec"]).is(201);
    apply(&bed, "other", &json!({"domain": "ims.example.com"})).is(200);
    let mut less = stack("a")["spec"].clone();
    less.as_object_mut().unwrap().remove("domain");
    let now = apply(&bed, "one", &less).is(200);
    assert_eq!(now["spec"]["domain"], "ims.example.com");
    assert_eq!(
        entry(&now, "one").unwrap()["fieldsV1"]["f:spec"]["f:domain"],
        Value::Null
    );
    assert_eq!(
        entry(&now, "other").unwrap()["fieldsV1"],
        json!({"f:spec": {"f:domain": {}}})
    );
}

/// Check 69: what its only owner drops is gone.
#[test]
fn k069_what_nobody_wants_any_more_is_gone() {
    let bed = Bed::new();
    let mut more = stack("a")["spec"].clone();
    json_patch::merge(
        &mut more,
        &json!({"sshKeyPair": "ops", "components": {"bono": {"replicas": 2}}}),
    );
    apply(&bed, "one", &more).is(201);
    let now = apply(&bed, "one", &stack("a")["spec"]).is(200);
    assert_eq!(now["spec"], stack("a")["spec"]);
    assert_eq!(now["metadata"]["generation"], 2);
}

/// Check 70: of a list whose items are told apart, each manager has its own. Weir's stacks have no
/// such list in their spec: finalizers are a set, and owners are told apart by uid.
#[test]
fn k070_lists_are_shared_item_by_item() {
    let bed = Bed::new();
    let path = |manager: &str| format!("{SECRETS}/s?fieldManager={manager}");
    let owner = |name: &str, uid: &str| json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": name, "uid": uid});
    let want = |finalizer: &str, owner: Value| {
        json!({"apiVersion": "v1", "kind": "Secret",
               "metadata": {"name": "s", "finalizers": [finalizer], "ownerReferences": [owner]}})
    };
    let nothing = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"}});
    bed.patch(APPLY, &path("one"), &want("weir.dev/one", owner("x", "1")))
        .is(201);
    let both = bed
        .patch(APPLY, &path("two"), &want("weir.dev/two", owner("y", "2")))
        .is(200);
    let both = &both["metadata"];
    assert_eq!(both["finalizers"], json!(["weir.dev/one", "weir.dev/two"]));
    assert_eq!(both["ownerReferences"].as_array().map(Vec::len), Some(2));
    let left = bed.patch(APPLY, &path("one"), &nothing).is(200);
    assert_eq!(left["metadata"]["finalizers"], json!(["weir.dev/two"]));
    assert_eq!(
        left["metadata"]["ownerReferences"],
        json!([owner("y", "2")])
    );
    let twice = json!({"apiVersion": "v1", "kind": "Secret",
                       "metadata": {"name": "s", "finalizers": ["weir.dev/a", "weir.dev/a"]}});
    bed.patch(APPLY, &path("one"), &twice)
        .refused(400, "BadRequest");
}

/// Check 71: what somebody else changed meanwhile is a conflict with them.
#[test]
fn k071_a_change_by_others_is_a_conflict() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("a.yaml", &stack("a"));
    bed.k("apply --server-side -f a.yaml").ok();
    let patch = r#"{"spec":{"components":{"sprout":{"replicas":7}}}}"#;
    bed.k(&format!("patch cws a --type=merge -p '{patch}'"))
        .ok();
    let why =
        "conflict with \"kubectl-patch\" using weir.dev/v1alpha1: .spec.components.sprout.replicas";
    bed.k("apply --server-side -f a.yaml").fails(why);
}

/// Check 72: an apply has a manager and no entries of its own, and nothing else is forced.
#[test]
fn k072_an_apply_says_who_applies() {
    let bed = Bed::new();
    let status = bed
        .patch(APPLY, &format!("{STACKS}/a"), &stack("a"))
        .refused(422, "Invalid");
    let cause = &status["details"]["causes"][0];
    assert_eq!(
        (&cause["reason"], &cause["field"]),
        (&json!("FieldValueRequired"), &json!("fieldManager"))
    );
    let path = format!("{STACKS}/a?fieldManager=m");
    for entries in [json!([]), json!([{}])] {
        let entries = json!({"metadata": {"managedFields": entries}});
        bed.patch(APPLY, &path, &wanted(&entries))
            .refused(400, "BadRequest");
    }
    bed.stack("a");
    bed.patch(MERGE, &format!("{path}&force=true"), &json!({}))
        .refused(422, "Invalid");
    let long = format!("{STACKS}/a?fieldManager={}", "m".repeat(129));
    bed.patch(APPLY, &long, &stack("a")).refused(422, "Invalid");
    // Unknown fields are refused whatever was said about them.
    let unknown = wanted(&json!({"spec": {"bogus": 1}}));
    let status = bed.patch(APPLY, &format!("{path}&fieldValidation=Ignore"), &unknown);
    let status = status.refused(400, "BadRequest");
    let told = status["message"].as_str().unwrap();
    assert!(
        told.contains(".spec.bogus: field not declared in schema"),
        "{told}"
    );
    let bare = json!({"spec": {}});
    bed.patch(APPLY, &path, &bare).refused(400, "BadRequest");
}

/// Check 73: the address says which object is meant, if it is there.
#[test]
fn k073_an_apply_may_leave_out_the_name() {
    let bed = Bed::new();
    let mut bare = stack("a");
    bare.as_object_mut().unwrap().remove("metadata");
    let path = format!("{STACKS}/a?fieldManager=m");
    bed.patch(APPLY, &path, &bare).refused(400, "BadRequest");
    bed.stack("a");
    bare["spec"]["sshKeyPair"] = json!("ops");
    let now = bed.patch(APPLY, &path, &bare).is(200);
    assert_eq!(now["spec"]["sshKeyPair"], "ops");
    // Another's uid is a mistake, or a conflict where nobody is there.
    let uid = wanted(&json!({"metadata": {"uid": "5c1e2f0a-93c7-4c1c-8f39-5f0d7f4c2a77"}}));
    bed.patch(APPLY, &path, &uid).refused(422, "Invalid");
    let mut absent = uid;
    absent["metadata"]["name"] = json!("b");
    bed.patch(APPLY, &format!("{STACKS}/b?fieldManager=m"), &absent)
        .refused(409, "Conflict");
}

/// Check 74: whoever applied on the client's side before takes it over without a conflict.
#[test]
fn k074_kubectl_takes_over_what_it_applied_itself() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("a.yaml", &stack("a"));
    bed.k("apply -f a.yaml").ok();
    assert!(entry(&read(&bed), "kubectl-client-side-apply").is_some());
    bed.file("a2.yaml", &scaled("a", 3));
    bed.k("apply --server-side -f a2.yaml")
        .says("serverside-applied");
    let now = read(&bed);
    assert_eq!(now["spec"]["components"]["sprout"]["replicas"], 3);
    assert_eq!(entry(&now, "kubectl-client-side-apply"), None, "{now}");
    let note = &now["metadata"]["annotations"]["kubectl.kubernetes.io/last-applied-configuration"];
    assert!(note.as_str().unwrap().contains("\"replicas\":3"), "{note}");
}

/// Check 75: the status is applied by its own address, and by no other.
#[test]
fn k075_a_status_is_applied_by_its_own_address() {
    let Some(bed) = Bed::kubectl() else { return };
    let mut all = stack("a");
    all["status"] = json!({"phase": "Ready"});
    bed.file("all.yaml", &all);
    bed.k("apply --server-side -f all.yaml").ok();
    let now = read(&bed);
    assert_eq!(now["status"], Value::Null);
    assert_eq!(
        entry(&now, "kubectl").unwrap()["fieldsV1"]["f:status"],
        Value::Null
    );
    all["spec"]["domain"] = json!("other.example");
    bed.file("all.yaml", &all);
    bed.k("apply --server-side --subresource=status --field-manager=m -f all.yaml")
        .ok();
    let now = read(&bed);
    assert_eq!(
        (&now["status"]["phase"], &now["spec"]["domain"]),
        (&json!("Ready"), &json!("ims.example.com"))
    );
    let owned = entry(&now, "m").unwrap();
    assert_eq!(owned["subresource"], "status");
    assert_eq!(owned["fieldsV1"], json!({"f:status": {"f:phase": {}}}));
    let path = format!("{STACKS}/a/status?fieldManager=other");
    let status = wanted(&json!({"status": {"phase": "Degraded"}}));
    let status = bed.patch(APPLY, &path, &status).refused(409, "Conflict");
    let why = "Apply failed with 1 conflict: conflict with \"m\" with subresource \"status\": .status.phase";
    assert_eq!(status["message"], why);
}

/// Check 76: of many managers that update, the oldest are remembered together.
#[test]
fn k076_the_oldest_updates_are_remembered_together() {
    let bed = Bed::new();
    bed.post(&format!("{SECRETS}?fieldManager=m0"), &secret("s"))
        .is(201);
    for number in 1..=12 {
        let path = format!("{SECRETS}/s?fieldManager=m{number}");
        let label = json!({"metadata": {"labels": { format!("l{number}"): "x" }}});
        bed.patch(MERGE, &path, &label).is(200);
    }
    let secret = bed.get(&format!("{SECRETS}/s")).is(200);
    let entries = secret["metadata"]["managedFields"].as_array().unwrap();
    assert_eq!(entries.len(), 10, "{secret}");
    let ancient = entry(&secret, "ancient-changes").unwrap();
    assert_eq!(ancient["operation"], "Update");
    // Entries are forgotten on request, and kept where a client knows nothing of them.
    let path = format!("{SECRETS}/s?fieldManager=m0");
    let none = bed
        .patch(MERGE, &path, &json!({"metadata": {"managedFields": []}}))
        .is(200);
    assert_eq!(
        none["metadata"]["managedFields"].as_array().map(Vec::len),
        Some(10)
    );
    let none = bed
        .patch(MERGE, &path, &json!({"metadata": {"managedFields": [{}]}}))
        .is(200);
    assert_eq!(none["metadata"]["managedFields"], Value::Null);
    let apply = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"labels": {"l1": "y"}}});
    let status = bed
        .patch(APPLY, &format!("{SECRETS}/s?fieldManager=a"), &apply)
        .refused(409, "Conflict");
    let why = "Apply failed with 1 conflict: conflict with \"before-first-apply\" using v1: .metadata.labels.l1";
    assert_eq!(status["message"], why);
}
