//! What `apply` changes: the difference between what was applied last, what is wanted now, and
//! what is there.
//!
//! As with `kubectl apply`: members that were applied before and are no longer in the manifest
//! go; members in the manifest are set; everything else on the object is somebody else's and
//! stays. The result is a merge patch (RFC 7386), so lists are replaced as a whole.

use serde_json::{Map, Value, json};

use crate::types::meta::{Kind, Object};

/// Annotation: the manifest that was applied last.
pub const LAST_APPLIED: &str = "weir.dev/last-applied";
/// The same of `kubectl apply`, read where ours is missing.
const KUBECTL_LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// The manifest with a note of itself, as it is sent.
pub(super) fn with_note(object: &Object) -> Value {
    let mut wanted = manifest(object);
    let note = note(object, &wanted).to_string();
    wanted["metadata"]["annotations"][LAST_APPLIED] = Value::String(note);
    wanted
}

/// The merge patch that turns `live` into what `wanted` asks for; nothing where it is that already.
pub(super) fn patch(wanted: &Object, live: &Object) -> Option<Value> {
    let last = last_applied(live);
    let live = manifest(live);
    let mut patch = Map::new();
    let fresh = with_note(wanted);
    difference(last.as_ref(), &fresh, &live, &mut patch);
    // Who the object is cannot change; its address says it.
    for (parent, member) in [("/metadata", "name"), ("/metadata", "namespace")] {
        let parent = patch.get_mut(&parent[1..]).and_then(Value::as_object_mut);
        parent.map(|parent| parent.remove(member));
    }
    patch.retain(|_, value| value.as_object().is_none_or(|members| !members.is_empty()));
    (!patch.is_empty()).then_some(Value::Object(patch))
}

/// The object as a manifest: without what only the server writes.
fn manifest(object: &Object) -> Value {
    let mut value = serde_json::to_value(object).expect("an object's members have text keys");
    if let Some(metadata) = value["metadata"].as_object_mut() {
        for member in [
            "uid",
            "resourceVersion",
            "generation",
            "creationTimestamp",
            "managedFields",
            "selfLink",
        ] {
            metadata.remove(member);
        }
        let annotations = metadata
            .entry("annotations")
            .or_insert_with(|| json!({}))
            .as_object_mut();
        annotations.map(|annotations| annotations.remove(KUBECTL_LAST_APPLIED));
    }
    if let Some(members) = value.as_object_mut() {
        members.remove("status");
    }
    value
}

/// What the annotation keeps of a manifest. Only the names of members matter to the next apply,
/// so a Secret's values are left out.
fn note(object: &Object, manifest: &Value) -> Value {
    let mut note = manifest.clone();
    if object.kind == Kind::Secret.name() {
        for member in ["data", "stringData"] {
            if let Some(values) = note[member].as_object_mut() {
                values.values_mut().for_each(|value| *value = json!(""));
            }
        }
    }
    if let Some(annotations) = note["metadata"]["annotations"].as_object_mut() {
        annotations.remove(LAST_APPLIED);
    }
    note
}

fn last_applied(live: &Object) -> Option<Value> {
    let annotations = &live.metadata.annotations;
    let text = annotations
        .get(LAST_APPLIED)
        .or_else(|| annotations.get(KUBECTL_LAST_APPLIED))?;
    let mut last: Value = serde_json::from_str(text).ok()?;
    // What was written as `stringData` is to be found in `data`.
    if let Some(plain) = last.as_object_mut().and_then(|o| o.remove("stringData"))
        && let (Some(plain), Some(last)) = (plain.as_object(), last.as_object_mut())
    {
        let data = last.entry("data").or_insert_with(|| json!({}));
        if let Some(data) = data.as_object_mut() {
            data.extend(plain.clone());
        }
    }
    Some(last)
}

fn difference(last: Option<&Value>, wanted: &Value, live: &Value, patch: &mut Map<String, Value>) {
    let none = Map::new();
    let members = |value: &Value| value.as_object().cloned();
    let last_members = last.and_then(members).unwrap_or_default();
    let wanted_members = wanted.as_object().unwrap_or(&none);
    let live_members = live.as_object().unwrap_or(&none);
    for (name, value) in wanted_members {
        match (value, live_members.get(name)) {
            (Value::Null, None) => {}
            (value, Some(found)) if value == found => {}
            (Value::Object(_), Some(found @ Value::Object(_))) => {
                let mut inner = Map::new();
                difference(last_members.get(name), value, found, &mut inner);
                if !inner.is_empty() {
                    patch.insert(name.clone(), Value::Object(inner));
                }
            }
            (value, _) => {
                patch.insert(name.clone(), value.clone());
            }
        }
    }
    for name in last_members.keys() {
        if !wanted_members.contains_key(name) && live_members.contains_key(name) {
            patch.insert(name.clone(), Value::Null);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stack(spec: &Value) -> Object {
        serde_json::from_value(json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "ClearwaterStack",
            "metadata": {"name": "ims", "namespace": "default"}, "spec": spec,
        }))
        .unwrap()
    }

    fn stored(applied: &Object) -> Object {
        let mut live: Object = serde_json::from_value(with_note(applied)).unwrap();
        live.metadata.resource_version = "7".to_owned();
        live.metadata.generation = Some(1);
        live.body
            .insert("status".to_owned(), json!({"phase": "Ready"}));
        live
    }

    #[test]
    fn the_same_manifest_changes_nothing() {
        let wanted = stack(&json!({"domain": "a", "list": [1, 2]}));
        assert_eq!(patch(&wanted, &stored(&wanted)), None);
    }

    #[test]
    fn what_left_the_manifest_goes_and_what_others_set_stays() {
        let before = stack(&json!({"domain": "a", "key": {"x": 1, "y": 2}}));
        let mut live = stored(&before);
        live.body["spec"]["others"] = json!(true);
        let patch = patch(&stack(&json!({"domain": "b", "key": {"x": 1}})), &live).unwrap();
        assert_eq!(patch["spec"], json!({"domain": "b", "key": {"y": null}}));
        assert!(patch["metadata"]["annotations"][LAST_APPLIED].is_string());
        assert!(patch.get("status").is_none());
    }

    #[test]
    fn a_member_that_is_gone_already_is_not_removed_again() {
        let mut live = stored(&stack(&json!({"domain": "a", "gone": 1})));
        live.body["spec"].as_object_mut().unwrap().remove("gone");
        let patch = patch(&stack(&json!({"domain": "a"})), &live).unwrap();
        assert!(patch.get("spec").is_none(), "{patch}");
    }

    #[test]
    fn a_secrets_values_are_not_noted() {
        let secret: Object = serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Secret", "metadata": {"name": "s"},
            "stringData": {"apiKey": "canary"}, "data": {"old": "Y2FuYXJ5"},
        }))
        .unwrap();
        let sent = with_note(&secret);
        let note = sent["metadata"]["annotations"][LAST_APPLIED]
            .as_str()
            .unwrap();
        assert!(
            !note.contains("canary") && !note.contains("Y2FuYXJ5"),
            "{note}"
        );
        assert!(note.contains("apiKey"));
    }
}
