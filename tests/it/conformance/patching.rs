//! Client-side apply, diff, edit and patches: checks 47 to 64.

use std::time::Duration;

use serde_json::{Value, json};

use super::bed::{
    Bed, JSON_PATCH, MERGE, SECRETS, STACKS, STRATEGIC, number, scaled, secret, stack,
};

fn version(bed: &Bed) -> u64 {
    let stack = bed.get(&format!("{STACKS}/a")).is(200);
    number(&stack["metadata"]["resourceVersion"])
}

fn generation(bed: &Bed) -> Value {
    bed.get(&format!("{STACKS}/a")).is(200)["metadata"]["generation"].clone()
}

fn replicas(bed: &Bed) -> Value {
    let stack = bed.get(&format!("{STACKS}/a")).is(200);
    stack["spec"]["components"]["sprout"]["replicas"].clone()
}

/// Check 47: applied again, nothing is written; applied with a change, the generation counts on.
#[test]
fn k047_an_applied_object_changes_when_its_manifest_does() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("a.yaml", &stack("a"));
    bed.file("a2.yaml", &scaled("a", 3));
    bed.k("apply -f a.yaml").says("/a created");
    let before = version(&bed);
    bed.k("apply -f a.yaml").says("/a unchanged");
    assert_eq!(version(&bed), before);
    bed.k("apply -f a2.yaml").says("/a configured");
    assert_eq!((generation(&bed), replicas(&bed)), (json!(2), json!(3)));
}

/// Check 48: a field that leaves the manifest leaves the object; what others wrote stays.
#[test]
fn k048_a_field_that_leaves_the_manifest_is_removed() {
    let Some(bed) = Bed::kubectl() else { return };
    let mut more = stack("a");
    more["spec"]["sshKeyPair"] = json!("ops");
    bed.file("more.yaml", &more);
    bed.file("a.yaml", &stack("a"));
    bed.k("apply -f more.yaml").ok();
    bed.k("patch cws a --type=merge -p '{\"spec\":{\"drift\":\"Report\"}}'")
        .ok();
    bed.k("apply -f a.yaml").says("configured");
    let spec = bed.get(&format!("{STACKS}/a")).is(200)["spec"].clone();
    assert_eq!(
        (&spec["sshKeyPair"], &spec["drift"]),
        (&Value::Null, &json!("Report"))
    );
}

/// Check 49: a diff shows what apply would change, and changes nothing.
#[test]
fn k049_a_diff_shows_the_change_alone() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("a.yaml", &stack("a"));
    bed.file("a2.yaml", &scaled("a", 3));
    bed.k("apply -f a.yaml").ok();
    let before = version(&bed);
    assert_eq!(bed.k("diff -f a.yaml").ok(), "");
    let said = bed.k("diff -f a2.yaml");
    let changed = |sign: char| {
        let lines = said.out.lines().filter(|line| line.starts_with(sign));
        let lines = lines.filter(|line| !line.starts_with("---") && !line.starts_with("+++"));
        lines
            .map(|line| line[1..].trim().to_owned())
            .collect::<Vec<_>>()
    };
    assert_eq!(said.code, Some(1), "{said}");
    assert_eq!(changed('-'), ["generation: 1", "replicas: 2"]);
    assert_eq!(changed('+'), ["generation: 2", "replicas: 3"]);
    assert_eq!(version(&bed), before);
}

/// Check 51: what an editor makes of an object is stored, if it makes anything of it.
#[test]
fn k051_an_object_is_edited() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.stack("a");
    let edit = |editor: &str| bed.k_with("edit cws a", &[("KUBE_EDITOR", editor)], "");
    edit("sed -i s/replicas:.*/replicas:\\ 3/").says("edited");
    assert_eq!(replicas(&bed), 3);
    let said = edit("true");
    assert!(
        said.err.contains("Edit cancelled, no changes made"),
        "{said}"
    );
}

/// Check 52: an edit that the server refuses comes back with its words in it.
#[test]
fn k052_a_refused_edit_is_not_lost() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.stack("a");
    // The second time, the editor keeps what it was shown and changes nothing.
    let editor = "sh -c 'cat \"$1\" >> seen; grep -q drift \"$1\" || \
                  sed -i \"s/^spec:/spec:\\n  drift: Perhaps/\" \"$1\"' --";
    let said = bed.k_with("edit cws a", &[("KUBE_EDITOR", editor)], "");
    let seen = std::fs::read_to_string(bed.dir().join("seen")).unwrap();
    let (_, again) = seen.split_once("Please edit the object below").unwrap();
    let (_, again) = again
        .split_once("# clearwaterstacks.weir.dev \"a\" was not valid")
        .unwrap();
    assert!(again.contains("* spec.drift: Unsupported value") && again.contains("drift: Perhaps"));
    assert_eq!(said.code, Some(1), "{said}");
    assert_eq!(generation(&bed), 1);
}

/// Check 53: a merge patch sets, and null removes.
#[test]
fn k053_a_merge_patch_sets_and_removes() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.stack("a");
    let patch = |body: &str| bed.k(&format!("patch cws a --type=merge -p '{body}'"));
    patch(r#"{"spec":{"sshKeyPair":"ops","drift":"Report"}}"#).says("patched");
    patch(r#"{"spec":{"sshKeyPair":null}}"#).says("patched");
    let spec = bed.get(&format!("{STACKS}/a")).is(200)["spec"].clone();
    assert_eq!(
        (&spec["sshKeyPair"], &spec["drift"]),
        (&Value::Null, &json!("Report"))
    );
    bed.patch(MERGE, &format!("{STACKS}/nope"), &json!({}))
        .refused(404, "NotFound");
}

/// Check 54: a JSON patch is done as a whole, if its tests hold.
#[test]
fn k054_a_json_patch_is_done_if_its_tests_hold() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.stack("a");
    let patch = |tested: u32| {
        let path = "/spec/components/sprout/replicas";
        let operations = json!([{"op": "test", "path": path, "value": tested},
                                {"op": "replace", "path": path, "value": 5}]);
        bed.k(&format!("patch cws a --type=json -p '{operations}'"))
    };
    patch(2).says("patched");
    let before = version(&bed);
    let said = patch(2);
    assert!(said.code == Some(1), "{said}");
    assert_eq!((replicas(&bed), version(&bed)), (json!(5), before));
    let wrong = json!([{"op": "test", "path": "/spec/drift", "value": "Repair"}]);
    bed.patch(JSON_PATCH, &format!("{STACKS}/a"), &wrong)
        .refused(422, "Invalid");
}

/// Check 55: a test for null holds where there is nothing, which is how finalizers are added first.
#[test]
fn k055_a_json_patch_may_test_for_nothing() {
    let bed = Bed::new();
    bed.post(SECRETS, &secret("s")).is(201);
    let path = format!("{SECRETS}/s");
    let patch = json!([{"op": "test", "path": "/metadata/finalizers", "value": null},
                       {"op": "add", "path": "/metadata/finalizers", "value": ["weir.dev/t"]}]);
    let patched = bed.patch(JSON_PATCH, &path, &patch).is(200);
    assert_eq!(patched["metadata"]["finalizers"], json!(["weir.dev/t"]));
    bed.patch(JSON_PATCH, &path, &patch).refused(422, "Invalid");
    let patch = json!([{"op": "test", "path": "/metadata/finalizers/0", "value": "weir.dev/t"},
                       {"op": "remove", "path": "/metadata/finalizers/0"}]);
    let patched = bed.patch(JSON_PATCH, &path, &patch).is(200);
    assert_eq!(patched["metadata"]["finalizers"], Value::Null);
}

/// Check 56: a strategic merge is for kinds that kubectl was built with.
#[test]
fn k056_a_strategic_merge_of_our_own_kinds_is_refused() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.stack("a");
    let said = bed.k("patch cws a -p '{}'");
    assert!(
        said.code == Some(1) && said.err.contains("is not supported"),
        "{said}"
    );
    let answer = bed.patch(STRATEGIC, &format!("{STACKS}/a"), &json!({}));
    answer.refused(415, "UnsupportedMediaType");
    let bare = bed.ask("PATCH", &format!("{STACKS}/a")).body("{}");
    bed.answer(bare).refused(415, "UnsupportedMediaType");
}

/// Check 57: Secrets are merged strategically, and their plain values are never told.
#[test]
fn k057_a_secret_is_applied_and_patched() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("sec.yaml", &secret("s"));
    bed.k("apply -f sec.yaml").says("secret/s created");
    let mut other = secret("s");
    other["stringData"] = json!({"k": "w", "l": "u"});
    bed.file("sec2.yaml", &other);
    bed.k("apply -f sec2.yaml").says("secret/s configured");
    bed.k("patch secret s -p '{\"stringData\":{\"z\":\"1\"}}'")
        .says("patched");
    let stored = bed.get(&format!("{SECRETS}/s")).is(200);
    assert_eq!(
        stored["data"],
        json!({"k": "dw==", "l": "dQ==", "z": "MQ=="})
    );
    assert_eq!(stored["stringData"], Value::Null);
}

/// Check 58: labels and annotations are no change of the spec.
#[test]
fn k058_labels_and_annotations_are_no_new_generation() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.stack("a");
    for (line, word) in [
        ("label cws a foo=bar", "labeled"),
        ("label cws a foo-", "unlabeled"),
        ("annotate cws a n=1", "annotated"),
        ("annotate cws a n=2 --overwrite", "annotated"),
    ] {
        let before = version(&bed);
        bed.k(line).says(word);
        assert!(version(&bed) > before, "{line}");
    }
    let meta = bed.get(&format!("{STACKS}/a")).is(200)["metadata"].clone();
    assert_eq!(
        (&meta["labels"], &meta["annotations"]),
        (&json!({"app": "x"}), &json!({"n": "2"}))
    );
    assert_eq!(meta["generation"], 1);
}

/// Check 59: a label that is meant for another version of the object.
#[test]
fn k059_a_label_may_be_meant_for_one_version() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.stack("a");
    bed.k("label cws a x=1 --resource-version=1")
        .fails("(Conflict)");
    let line = format!("label cws a x=1 --resource-version={}", version(&bed));
    bed.k(&line).says("labeled");
}

/// Check 60: a PUT replaces the version that it names, of an object that is there.
#[test]
fn k060_a_put_replaces_what_it_read() {
    let Some(bed) = Bed::kubectl() else { return };
    let stored = bed.stack("a");
    bed.file("a2.yaml", &scaled("a", 3));
    bed.k("replace -f a2.yaml").says("replaced");
    assert_eq!(replicas(&bed), 3);
    let path = format!("{STACKS}/a");
    let status = bed.put(&path, &stored).refused(409, "Conflict");
    let opening = "Operation cannot be fulfilled on clearwaterstacks.weir.dev \"a\": ";
    assert!(
        status["message"].as_str().unwrap().starts_with(opening),
        "{status}"
    );
    let status = bed.put(&path, &stack("a")).refused(422, "Invalid");
    assert_eq!(
        status["details"]["causes"][0]["field"],
        "metadata.resourceVersion"
    );
    let mut absent = stored;
    absent["metadata"]["name"] = json!("nope");
    bed.put(&format!("{STACKS}/nope"), &absent)
        .refused(404, "NotFound");
}

/// Check 61: what is put back as it was read is no write, and nobody is told.
#[test]
fn k061_a_put_without_a_change_is_no_write() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.stack("a");
    let before = bed.version();
    let mut watch = bed.follow(&format!("{STACKS}?watch=1&resourceVersion={before}"));
    let read = bed.k("get cws a -o json").ok();
    bed.k_with("replace -f -", &[], &read).says("replaced");
    assert_eq!((bed.version(), version(&bed)), (before, before));
    assert!(watch.silent_for(Duration::from_millis(200)));
    bed.stack("b");
    assert_eq!(watch.events(1), ["ADDED b"]);
}

/// Check 62: an object is the one that is meant, or it is not touched. A patch with another's uid
/// is a mistake in the patch (422), a PUT with it a conflict (409).
#[test]
fn k062_a_uid_is_a_precondition() {
    let bed = Bed::new();
    let mut stored = bed.stack("a");
    let (path, other) = (
        format!("{STACKS}/a"),
        "5c1e2f0a-93c7-4c1c-8f39-5f0d7f4c2a77",
    );
    let status = bed.patch(MERGE, &path, &json!({"metadata": {"uid": other}}));
    let status = status.refused(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "metadata.uid");
    stored["metadata"]["uid"] = json!(other);
    bed.put(&path, &stored).refused(409, "Conflict");
}

/// Check 63: what was applied with a label and is no longer in the manifests is pruned.
#[test]
fn k063_what_left_the_manifests_is_pruned() {
    let Some(bed) = Bed::kubectl() else { return };
    for name in ["a", "b"] {
        let mut secret = secret(name);
        secret["metadata"]["labels"] = json!({"app": "x"});
        bed.file(&format!("{name}.yaml"), &secret);
        bed.k(&format!("apply -f {name}.yaml")).ok();
        bed.file(&format!("stack-{name}.yaml"), &stack(name));
        bed.k(&format!("apply -f stack-{name}.yaml")).ok();
    }
    let line = "apply --prune -l app=x --prune-allowlist=core/v1/Secret -f a.yaml";
    bed.k(line).says("secret/b pruned");
    bed.get(&format!("{SECRETS}/b")).refused(404, "NotFound");
    // A stack goes when nothing of it is left in its cloud: until then it is marked.
    let line = "apply --prune -l app=x --prune-allowlist=weir.dev/v1alpha1/ClearwaterStack \
                -f stack-a.yaml";
    bed.k(line).says("clearwaterstack.weir.dev/b pruned");
    let marked = bed.get(&format!("{STACKS}/b")).is(200);
    assert!(
        marked["metadata"]["deletionTimestamp"].is_string(),
        "{marked}"
    );
}

/// Check 50: a diff by the server, and of an object that there is not.
#[test]
fn k050_a_diff_of_the_server_and_of_a_new_object() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("a.yaml", &stack("a"));
    bed.file("a2.yaml", &scaled("a", 3));
    bed.file("b.yaml", &stack("b"));
    bed.k("apply --server-side -f a.yaml").ok();
    assert_eq!(bed.k("diff --server-side -f a.yaml").ok(), "");
    let said = bed.k("diff --server-side -f a2.yaml");
    assert!(
        said.code == Some(1) && said.out.contains("+      replicas: 3"),
        "{said}"
    );
    let said = bed.k("diff -f b.yaml");
    let added = |line: &str| said.out.lines().any(|found| found == line);
    assert!(
        said.code == Some(1) && added("+kind: ClearwaterStack"),
        "{said}"
    );
    assert!(added("+  domain: ims.example.com"), "{said}");
    bed.get(&format!("{STACKS}/b")).refused(404, "NotFound");
}

/// Check 64: an apply set keeps its members in a Secret of its own.
#[test]
fn k064_an_apply_set_is_kept_in_a_secret() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.file("a.yaml", &stack("a"));
    let line = "apply --prune --applyset=set1 -n default -f a.yaml";
    let told = bed.k_with(line, &[("KUBECTL_APPLYSET", "true")], "");
    told.says("clearwaterstack.weir.dev/a created");
    let set = bed.get(&format!("{SECRETS}/set1")).is(200);
    let label = &set["metadata"]["labels"]["applyset.kubernetes.io/id"];
    assert!(label.is_string(), "{set}");
    let part = bed.get(&format!("{STACKS}/a")).is(200)["metadata"]["labels"].clone();
    assert_eq!(&part["applyset.kubernetes.io/part-of"], label);
}
