//! `ConfigMap`, which Weir itself does not read and clients expect: what it takes, who may read and
//! write it, and what goes with it.

use serde_json::{Value, json};

use super::{
    bed::{Bed, JSON_PATCH, MERGE, NAMESPACES, SECRETS, STRATEGIC},
    transcripts::{bed_of_golden_words, transcript},
};
use crate::cli::{lab::until, told::snapshot};

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// A map as its user writes it.
fn map(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name},
        "data": {"color": "blue"}, "binaryData": {"blob.bin": "AP8="},
    })
}

#[test]
fn kubectl_makes_shows_and_changes_them() {
    let Some(bed) = bed_of_golden_words() else {
        return;
    };
    std::fs::write(bed.dir().join("blob.bin"), [0, 255, 1]).unwrap();
    bed.file("map.yaml", &map("applied"));
    let lines = [
        "get cm",
        "create configmap site --from-literal=color=blue --from-file=blob.bin",
        "create configmap site --from-literal=color=red",
        "create configmap bad --from-literal=co/lor=red",
        "get configmaps",
        "get cm site -o yaml",
        "describe configmap site",
        "apply -f map.yaml",
        "apply -f map.yaml",
        "patch cm site -p '{\"data\":{\"color\":\"red\"}}'",
        "get cm site -o jsonpath={.data.color}",
        "patch cm site -p '{\"immutable\":true}'",
        "patch cm site -p '{\"data\":{\"color\":\"green\"}}'",
        "patch cm site -p '{\"immutable\":null}'",
        "label cm site tier=gold",
        "explain cm.binaryData",
        "delete cm site applied",
        "get cm",
    ];
    snapshot("kubectl_configmaps", transcript(&bed, &lines));
}

#[test]
fn what_kubernetes_does_not_take_is_refused_by_field() {
    let bed = Bed::new();
    let long = "x".repeat(1 << 20);
    for (member, key, value, field, says) in [
        ("data", "a/b", "x", "data[a/b]", "not a key"),
        ("data", "", "x", "data[]", "not a key"),
        ("data", "..", "x", "data[..]", "leads out"),
        ("binaryData", "..a", "eA==", "binaryData[..a]", "leads out"),
        ("binaryData", "b", "no!", "binaryData[b]", "not base64"),
        (
            "binaryData",
            "color",
            "eA==",
            "data[color]",
            "duplicate of key",
        ),
        (
            "data",
            "blob.bin",
            "x",
            "binaryData[blob.bin]",
            "duplicate of key",
        ),
        ("data", "long", &long, "data", "1 MiB"),
    ] {
        let mut wrong = map("a");
        wrong[member][key] = json!(value);
        let status = bed.post(MAPS, &wrong).refused(422, "Invalid");
        let mut causes = status["details"]["causes"].as_array().unwrap().iter();
        let told = causes.any(|cause| {
            cause["field"] == field && cause["message"].as_str().unwrap().contains(says)
        });
        assert!(told, "{field}: {says}: {status}");
    }
    // 1 MiB is counted as it is, and not as it is written.
    let mut large = map("large");
    large["binaryData"] = json!({"b": "AAAA".repeat((1 << 20) / 3 - 3)});
    bed.post(MAPS, &large).is(201);
    let mut dotted = map("kube-root-ca.crt");
    dotted["data"]["number"] = json!(5);
    assert_eq!(bed.post(MAPS, &dotted).code, 422);
    dotted["data"]["number"] = json!("5");
    bed.post(MAPS, &dotted).is(201);
}

#[test]
fn an_immutable_one_stays_as_it_is() {
    let bed = Bed::new();
    let mut sent = map("a");
    bed.post(MAPS, &sent).is(201);
    let path = format!("{MAPS}/a");
    // Without a version it is written over whatever there is.
    sent["data"]["color"] = json!("red");
    bed.put(&path, &sent).is(200);
    bed.patch(MERGE, &path, &json!({"immutable": true})).is(200);
    for (media, patch, field) in [
        (MERGE, json!({"data": {"color": "green"}}), "data"),
        (
            STRATEGIC,
            json!({"binaryData": {"more": "eA=="}}),
            "binaryData",
        ),
        (MERGE, json!({"immutable": false}), "immutable"),
        (
            JSON_PATCH,
            json!([{"op": "remove", "path": "/immutable"}]),
            "immutable",
        ),
    ] {
        let status = bed.patch(media, &path, &patch).refused(422, "Invalid");
        assert_eq!(status["details"]["causes"][0]["field"], field, "{status}");
    }
    let label = json!({"metadata": {"labels": {"a": "b"}}});
    let now = bed.patch(MERGE, &path, &label).is(200);
    assert_eq!(
        (&now["data"]["color"], &now["binaryData"]["blob.bin"]),
        (&json!("red"), &json!("AP8="))
    );
}

#[test]
fn viewers_read_and_editors_write_them() {
    let bed = Bed::new();
    bed.post(MAPS, &map("a")).is(201);
    let asked = |method: &str, path: &str| {
        let request = bed.ask_as(Some("ann-token"), method, path);
        let request = match method {
            "POST" => request.body(map("b").to_string()),
            _ => request,
        };
        bed.answer(request).code
    };
    let may = || {
        [
            asked("GET", MAPS),
            asked("GET", SECRETS),
            asked("POST", MAPS),
        ]
    };
    assert_eq!(may(), [403, 403, 403]);
    for (role, wanted) in [("view", [200, 403, 403]), ("edit", [200, 200, 201])] {
        let binding = json!({
            "metadata": {"name": role},
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": role},
            "subjects": [{"apiGroup": "rbac.authorization.k8s.io", "kind": "User", "name": "ann"}],
        });
        let bindings = "/apis/rbac.authorization.k8s.io/v1/namespaces/default/rolebindings";
        bed.post(bindings, &binding).is(201);
        assert_eq!(may(), wanted, "{role}");
    }
}

#[test]
fn they_go_with_their_owner_and_with_their_namespace() {
    let bed = Bed::new();
    let owner = bed.post(MAPS, &map("owner")).is(201);
    let mut part = map("part");
    part["metadata"]["ownerReferences"] = json!([{
        "apiVersion": "v1", "kind": "ConfigMap", "name": "owner", "uid": owner["metadata"]["uid"],
    }]);
    bed.post(MAPS, &part).is(201);
    bed.delete(&format!("{MAPS}/owner"), &json!({})).is(200);
    until("the part goes too", || {
        let part = bed.get(&format!("{MAPS}/part"));
        (part.code == 404).then_some(()).ok_or(part.text)
    });
    bed.post(NAMESPACES, &json!({"metadata": {"name": "lab"}}))
        .is(201);
    let maps = "/api/v1/namespaces/lab/configmaps";
    bed.post(maps, &map("a")).is(201);
    bed.delete(&format!("{NAMESPACES}/lab"), &json!({})).is(200);
    let left = bed.get("/api/v1/configmaps").is(200);
    assert_eq!(left["items"], json!([]));
}
