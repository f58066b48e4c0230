//! Events as the group `events.k8s.io` shows them: the same objects as the core group's, with other
//! names for some of their members.

use serde_json::{Map, Value, json};

use super::status::Status;
use crate::types::{meta::Kind, schema};

/// The group and its version.
pub(super) const GROUP: &str = "events.k8s.io";
pub(super) const VERSION: &str = "v1";
pub(super) const API_VERSION: &str = "events.k8s.io/v1";

/// What members are called in the store and here.
const NAMES: [(&str, &str); 7] = [
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("reportingComponent", "reportingController"),
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("source", "deprecatedSource"),
];

/// An event of the store as this group shows it.
pub(super) fn shown(mut event: Value) -> Value {
    if let Some(members) = event.as_object_mut() {
        rename(members, |(stored, shown)| (stored, shown));
    }
    event["apiVersion"] = json!(API_VERSION);
    event
}

/// An event of this group as it is stored.
///
/// # Errors
/// 400: it is one of another group.
pub(super) fn stored(event: &mut Value) -> Result<(), Status> {
    let Some(members) = event.as_object_mut() else {
        // Whoever reads it next tells that it is no object.
        return Ok(());
    };
    match members.get("apiVersion").and_then(Value::as_str) {
        None | Some("" | API_VERSION) => {}
        Some(other) => {
            return Err(Status::bad_request(format!(
                "the apiVersion in the body ({other}) is not the one of the URL ({API_VERSION})"
            )));
        }
    }
    rename(members, |(stored, shown)| (shown, stored));
    let version = Kind::Event.api_version();
    members.insert("apiVersion".to_owned(), json!(version));
    Ok(())
}

fn rename(
    members: &mut Map<String, Value>,
    way: impl Fn((&'static str, &'static str)) -> (&'static str, &'static str),
) {
    for (from, to) in NAMES.map(way) {
        if let Some(value) = members.remove(from) {
            members.insert(to.to_owned(), value);
        }
    }
}

/// A field selector of this group in the store's words.
pub(super) fn selector(text: &str) -> String {
    let text = text.replace("regarding.", "involvedObject.");
    text.replace("reportingController", "reportingComponent")
}

/// The schema of this group's events.
pub(super) fn openapi() -> Value {
    let mut schema = schema::openapi(Kind::Event);
    if let Some(Value::Object(members)) = schema.get_mut("properties") {
        rename(members, |(stored, shown)| (stored, shown));
    }
    if let Some(Value::Array(required)) = schema.get_mut("required") {
        required.retain(|name| NAMES.iter().all(|(stored, _)| name != stored));
    }
    schema["x-kubernetes-group-version-kind"] =
        json!([{ "group": GROUP, "version": VERSION, "kind": Kind::Event.name() }]);
    schema
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_shown_and_stored_without_loss() {
        let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "e"},
                           "involvedObject": {"name": "ims"}, "message": "told", "count": 2,
                           "reason": "Told"});
        let mut seen = shown(event.clone());
        assert_eq!(
            (&seen["note"], &seen["regarding"]["name"]),
            (&json!("told"), &json!("ims"))
        );
        assert_eq!(seen["message"], Value::Null);
        stored(&mut seen).unwrap();
        assert_eq!(seen, event);
        let mut other = event;
        assert_eq!(stored(&mut other).unwrap_err().code, 400);
    }

    #[test]
    fn the_schema_has_this_groups_names() {
        let schema = openapi();
        assert!(schema["properties"]["note"].is_object());
        assert!(schema["properties"]["message"].is_null());
        assert_eq!(
            selector("regarding.name=a,reason=B"),
            "involvedObject.name=a,reason=B"
        );
    }
}
