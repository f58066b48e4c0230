//! What the real kubectl prints, verb by verb, held as transcripts.
//!
//! They are those of one minor version of kubectl: others word some of it otherwise, and what they
//! are answered is held by the numbered checks.

use serde_json::{Value, json};

use super::bed::{Bed, SECRETS, STACKS, Said, scaled, secret, stack};
use crate::cli::{lab::until, told::snapshot};

/// The version whose words these are.
const MINOR: &str = "32";

/// A bed where that kubectl is installed.
pub(super) fn bed_of_golden_words() -> Option<Bed> {
    let bed = Bed::kubectl()?;
    let told = bed.k("version --client -o json").ok();
    let told: Value = serde_json::from_str(&told).unwrap();
    let minor = told["clientVersion"]["minor"].as_str().unwrap();
    let minor = minor.trim_end_matches('+');
    if minor != MINOR {
        println!("left out: transcripts are of kubectl 1.{MINOR}, and 1.{minor} is installed");
        return None;
    }
    Some(bed)
}

fn shown(said: &Said) -> String {
    let code = match said.code {
        Some(0) => String::new(),
        code => format!("[exit code {}]\n", code.unwrap_or(-1)),
    };
    format!("$ kubectl {}\n{}{}{code}", said.line, said.out, said.err)
}

/// Runs commands one after the other, and gives what a terminal would show, without what differs
/// from run to run.
pub(super) fn transcript(bed: &Bed, lines: &[&str]) -> String {
    let told: Vec<_> = lines.iter().map(|line| shown(&bed.k(line))).collect();
    plain(&told.join("\n"))
}

/// What a diff is of has other names and times each time.
fn plain(text: &str) -> String {
    let mut text = text.to_owned();
    for (pattern, word) in [
        (r"/tmp/(LIVE|MERGED)-\d+", "$1"),
        (r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\.\d+ [+-]\d{4}", "<time>"),
        (r"(Resource Version: +)\d+", "${1}<version>"),
    ] {
        let pattern = regex::Regex::new(pattern).unwrap();
        text = pattern.replace_all(&text, word).into_owned();
    }
    text
}

#[test]
fn what_there_is_is_read() {
    let Some(bed) = bed_of_golden_words() else {
        return;
    };
    bed.file("a.yaml", &stack("a"));
    bed.file("b.yaml", &stack("b"));
    let event = json!({
        "apiVersion": "v1", "kind": "Event", "metadata": {"name": "e", "namespace": "default"},
        "involvedObject": {"apiVersion": "weir.dev/v1alpha1", "kind": "ClearwaterStack",
                           "namespace": "default", "name": "a"},
        "reason": "Told", "message": "something is told", "type": "Warning",
    });
    bed.file("e.yaml", &event);
    let lines = [
        "get cws",
        "create -f a.yaml",
        "create -f a.yaml",
        "apply -f b.yaml",
        "create -f e.yaml",
        "get cws",
        "get cws a -o wide",
        "get cws a -o yaml",
        "get cws -o jsonpath='{range .items[*]}{.metadata.name} {.spec.domain}{\"\\n\"}{end}'",
        "get cws --chunk-size=1 -o name",
        "get cws nope",
        "describe cws a",
        "events --for cws/a",
        "get events",
        "api-resources",
        "api-versions",
        "explain cws.spec.update",
        "explain events.note --api-version=events.k8s.io/v1",
        "auth can-i create cws",
        "auth can-i get nothing",
        "auth whoami",
        "cluster-info",
    ];
    snapshot("kubectl_reading", transcript(&bed, &lines));
}

#[test]
fn what_there_is_is_changed() {
    let Some(bed) = bed_of_golden_words() else {
        return;
    };
    bed.file("a.yaml", &stack("a"));
    bed.file("a2.yaml", &scaled("a", 3));
    let mut wrong = stack("a");
    wrong["spec"]["domian"] = json!("ims.example.com");
    bed.file("wrong.yaml", &wrong);
    let lines = [
        "apply -f a.yaml",
        "apply -f a.yaml",
        "apply -f wrong.yaml",
        "diff -f a2.yaml",
        "apply -f a2.yaml --dry-run=server",
        "apply -f a2.yaml",
        "label cws a tier=gold",
        "label cws a tier=silver",
        "label cws a tier=silver --overwrite",
        "annotate cws a note=why",
        "annotate cws a note-",
        "patch cws a --type=merge -p '{\"spec\":{\"drift\":\"Report\"}}'",
        "patch cws a -p '{}'",
        "scale cws a --replicas=4",
        "replace -f a.yaml",
        "set image cws/a x=y",
        "rollout status cws/a",
    ];
    let before = transcript(&bed, &lines);
    let edit = |editor: &str| {
        let said = bed.k_with("edit cws a", &[("KUBE_EDITOR", editor)], "");
        format!("KUBE_EDITOR='{editor}'\n{}", shown(&said))
    };
    let edited = [edit("sed -i s/ims.example/other.example/"), edit("true")].join("\n");
    snapshot("kubectl_changing", [before, edited].join("\n"));
}

#[test]
fn what_is_applied_by_several_is_told_apart() {
    let Some(bed) = bed_of_golden_words() else {
        return;
    };
    bed.file("a.yaml", &stack("a"));
    bed.file("a2.yaml", &scaled("a", 3));
    let lines = [
        "apply --server-side -f a.yaml",
        "apply --server-side -f a.yaml",
        "apply --server-side --field-manager=other -f a2.yaml",
        "diff --server-side -f a2.yaml",
        "apply --server-side --field-manager=other --force-conflicts -f a2.yaml",
        "apply --server-side -f a.yaml",
        "get cws a --show-managed-fields -o jsonpath={.metadata.managedFields[*].manager}",
        "apply --server-side --validate=ignore -f a.yaml --subresource=status",
    ];
    snapshot("kubectl_server_side", transcript(&bed, &lines));
}

#[test]
fn what_there_is_is_waited_for_pruned_and_deleted() {
    let Some(bed) = bed_of_golden_words() else {
        return;
    };
    let mut family = Vec::new();
    for name in ["owner", "part"] {
        let mut secret = secret(name);
        secret["metadata"]["labels"] = json!({"app": "x"});
        if let [owner] = family.as_slice() {
            let owner: &Value = owner;
            secret["metadata"]["ownerReferences"] = json!([{
                "apiVersion": "v1", "kind": "Secret", "name": "owner",
                "uid": owner["metadata"]["uid"], "blockOwnerDeletion": true,
            }]);
        }
        family.push(bed.post(SECRETS, &secret).is(201));
    }
    for name in ["kept", "left"] {
        let mut secret = secret(name);
        secret["metadata"]["labels"] = json!({"app": "x"});
        bed.file(&format!("{name}.yaml"), &secret);
    }
    bed.stack("a");
    let mut watch = bed.started("get secrets -w");
    until("the watch has begun", || {
        watch
            .said()
            .contains("part")
            .then_some(())
            .ok_or(watch.said())
    });
    let lines = [
        "delete secret owner --cascade=foreground",
        "get secrets",
        "apply -f kept.yaml",
        "replace --force -f kept.yaml",
        "wait --for=jsonpath={.type}=Opaque secret/kept --timeout=5s",
        "wait --for=condition=Ready cws/a --timeout=1s",
        "apply -f left.yaml",
        "apply --prune -l app=x --prune-allowlist=core/v1/Secret -f kept.yaml",
        "delete cws a --wait=false",
        "get cws",
        "delete secret kept --cascade=orphan",
        "delete secret kept",
        "delete secret kept --ignore-not-found",
        "create ns t",
        "delete ns t",
        "delete ns default",
    ];
    let told = transcript(&bed, &lines);
    let watched = until("the watch has told", || {
        let said = watch.said();
        (said.matches("kept").count() >= 6)
            .then_some(said.clone())
            .ok_or(said)
    });
    assert_eq!(watch.ended(), None);
    bed.get(&format!("{STACKS}/a")).is(200);
    snapshot(
        "kubectl_deleting",
        format!("{told}\n$ kubectl get secrets -w\n{watched}"),
    );
}
