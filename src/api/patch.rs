//! Patches: merge (RFC 7386), JSON Patch (RFC 6902 with Kubernetes' leniencies), and of strategic
//! merge what kubectl sends for Kubernetes' own kinds.

use json_patch::{Patch, PatchOperation};
use serde_json::{Map, Value, json};

use super::{
    apply,
    status::{Cause, Details, Status},
};
use crate::types::meta::Kind;

/// Operations in one JSON Patch; Kubernetes' limit.
const OPERATIONS_MAX: usize = 10_000;

/// How a patch is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PatchType {
    Merge,
    Json,
    Strategic,
}

impl PatchType {
    /// The media types of patches that a kind takes.
    pub(super) const fn accepted(kind: Kind) -> &'static [&'static str] {
        match kind {
            Kind::Secret
            | Kind::ConfigMap
            | Kind::Event
            | Kind::Lease
            | Kind::Namespace
            | Kind::Role
            | Kind::RoleBinding
            | Kind::ClusterRole
            | Kind::ClusterRoleBinding => &[
                apply::MEDIA,
                "application/json-patch+json",
                "application/merge-patch+json",
                "application/strategic-merge-patch+json",
            ],
            Kind::CloudAccount | Kind::ClearwaterStack | Kind::Machine => &[
                apply::MEDIA,
                "application/json-patch+json",
                "application/merge-patch+json",
            ],
        }
    }

    /// The type of a patch by its media type.
    ///
    /// # Errors
    /// 415: the kind takes none of that type.
    pub(super) fn of(kind: Kind, media: &str) -> Result<Self, Status> {
        let accepted = Self::accepted(kind);
        match media {
            "application/merge-patch+json" => Ok(Self::Merge),
            "application/json-patch+json" => Ok(Self::Json),
            "application/strategic-merge-patch+json" if accepted.contains(&media) => {
                Ok(Self::Strategic)
            }
            other => Err(Status::unsupported_media_type(other, accepted)),
        }
    }

    /// Changes `document` as `patch` says.
    ///
    /// # Errors
    /// The patch is none, or cannot be done to this document.
    pub(super) fn apply(self, document: &mut Value, patch: &Value) -> Result<(), Status> {
        if self == Self::Json {
            return operations(patch)?
                .iter()
                .try_for_each(|operation| operate(document, operation));
        }
        if !patch.is_object() {
            return Err(Status::bad_request("a merge patch must be an object"));
        }
        match self {
            Self::Strategic => strategic(document, patch),
            _ => json_patch::merge(document, patch),
        }
        Ok(())
    }
}

fn operations(patch: &Value) -> Result<&[Value], Status> {
    let operations = patch
        .as_array()
        .ok_or_else(|| Status::bad_request("a JSON Patch must be a list of operations"))?;
    if operations.len() > OPERATIONS_MAX {
        return Err(Status::too_large(format!(
            "the JSON Patch has {} operations; at most {OPERATIONS_MAX} are taken",
            operations.len()
        )));
    }
    Ok(operations)
}

/// Carries out one operation, with what Kubernetes allows beyond RFC 6902: `replace` adds what is
/// missing, `test` against null holds for a missing member, and indices may count from the end.
fn operate(document: &mut Value, operation: &Value) -> Result<(), Status> {
    let mut operation = operation.clone();
    for member in ["path", "from"] {
        if let Some(path) = operation[member].as_str() {
            operation[member] = json!(from_the_end(document, path));
        }
    }
    let path = operation["path"].as_str().unwrap_or_default().to_owned();
    let missing = document.pointer(&path).is_none();
    match operation["op"].as_str() {
        Some("replace") if missing => operation["op"] = json!("add"),
        Some("test") if missing && operation["value"].is_null() && has_parent(document, &path) => {
            return Ok(());
        }
        _ => {}
    }
    let parsed: PatchOperation = serde_json::from_value(operation)
        .map_err(|error| Status::bad_request(format!("no operation of a JSON Patch: {error}")))?;
    json_patch::patch(document, &Patch(vec![parsed])).map_err(|error| failed(&error))
}

fn failed(error: &json_patch::PatchError) -> Status {
    let why = error.kind.to_string();
    let message = format!(
        "the server rejected our request due to an error in our request: the JSON Patch cannot \
         be done at {}: {why}",
        error.path
    );
    Status {
        details: Some(Details::default()),
        ..Status::failure(422, "Invalid", message)
    }
}

fn has_parent(document: &Value, path: &str) -> bool {
    path.rsplit_once('/')
        .is_some_and(|(parent, _)| document.pointer(parent).is_some())
}

/// A path with its negative indices, which count from the end of a list, made ordinary ones.
fn from_the_end(document: &Value, path: &str) -> String {
    let mut plain = String::new();
    for part in path.split('/').skip(1) {
        let length = document
            .pointer(&plain)
            .and_then(Value::as_array)
            .map(Vec::len);
        let index = length.and_then(|length| {
            let back: usize = part.strip_prefix('-')?.parse().ok()?;
            length.checked_sub(back)
        });
        plain.push('/');
        match index {
            Some(index) => plain.push_str(&index.to_string()),
            None => plain.push_str(part),
        }
    }
    plain
}

/// A merge that also follows the directives `$patch` and `$retainKeys`, merges finalizers as a
/// set, and does without the orders that kubectl adds for merged lists.
fn strategic(document: &mut Value, patch: &Value) {
    let Some(changes) = patch.as_object() else {
        *document = patch.clone();
        return;
    };
    if changes
        .get("$patch")
        .is_some_and(|directive| directive == "replace")
        || !document.is_object()
    {
        *document = json!({});
    }
    let Some(members) = document.as_object_mut() else {
        return;
    };
    if let Some(kept) = changes.get("$retainKeys").and_then(Value::as_array) {
        members.retain(|name, _| kept.iter().any(|keep| keep == name));
    }
    for (name, change) in changes {
        if let Some(list) = name.strip_prefix("$deleteFromPrimitiveList/") {
            remove_elements(members, list, change);
        } else if !name.starts_with('$') {
            strategic_member(members, name, change);
        }
    }
}

fn strategic_member(members: &mut Map<String, Value>, name: &str, change: &Value) {
    let deletes = change.is_null() || change["$patch"] == "delete";
    match (members.get_mut(name), change) {
        _ if deletes => {
            members.remove(name);
        }
        (Some(Value::Array(present)), Value::Array(added)) if name == "finalizers" => {
            let new = added.iter().filter(|item| !present.contains(item));
            let new: Vec<Value> = new.cloned().collect();
            present.extend(new);
        }
        _ => strategic(members.entry(name).or_insert(Value::Null), change),
    }
}

fn remove_elements(members: &mut Map<String, Value>, list: &str, gone: &Value) {
    if let (Some(Value::Array(present)), Some(gone)) = (members.get_mut(list), gone.as_array()) {
        present.retain(|item| !gone.contains(item));
    }
}

/// 422 for a patch whose result has fields that the kind has not.
pub(super) fn unknown_fields(kind: Kind, name: &str, why: &str) -> Status {
    let mut status = Status::invalid(kind, name, vec![Cause::invalid("patch", "", why)]);
    if let Some(details) = &mut status.details {
        details.name.clear();
        details.kind.clear();
    }
    status
}

#[cfg(test)]
mod tests {
    use super::*;

    #[expect(
        clippy::needless_pass_by_value,
        reason = "cases are written as literals"
    )]
    fn patched(kind: PatchType, document: Value, patch: Value) -> Result<Value, Status> {
        let mut document = document;
        kind.apply(&mut document, &patch)?;
        Ok(document)
    }

    #[test]
    fn a_json_patch_has_kubernetes_leniencies() {
        let document = json!({"metadata": {}, "list": [1, 2, 3]});
        let patch = json!([
            {"op": "test", "path": "/metadata/finalizers", "value": null},
            {"op": "add", "path": "/metadata/finalizers", "value": ["a"]},
            {"op": "replace", "path": "/metadata/new", "value": 1},
            {"op": "remove", "path": "/list/-1"},
        ]);
        assert_eq!(
            patched(PatchType::Json, document, patch),
            Ok(json!({"metadata": {"finalizers": ["a"], "new": 1}, "list": [1, 2]}))
        );
    }

    #[test]
    fn a_json_patch_that_cannot_be_done_is_refused_as_a_whole() {
        let fail = |patch: Value| {
            patched(PatchType::Json, json!({"a": 1}), patch)
                .unwrap_err()
                .code
        };
        assert_eq!(fail(json!([{"op": "test", "path": "/a", "value": 2}])), 422);
        assert_eq!(fail(json!([{"op": "remove", "path": "/b"}])), 422);
        assert_eq!(
            fail(json!([{"op": "test", "path": "/b/c", "value": null}])),
            422
        );
        assert_eq!(fail(json!([{"op": "dance", "path": "/a"}])), 400);
        assert_eq!(fail(json!({"a": 2})), 400);
        let many = vec![json!({"op": "test", "path": "/a", "value": 1}); OPERATIONS_MAX + 1];
        assert_eq!(fail(Value::Array(many)), 413);
    }

    #[test]
    fn a_strategic_patch_is_for_kubernetes_own_kinds() {
        let media = "application/strategic-merge-patch+json";
        assert_eq!(PatchType::of(Kind::Secret, media), Ok(PatchType::Strategic));
        let refused = PatchType::of(Kind::ClearwaterStack, media).unwrap_err();
        assert_eq!(refused.code, 415);
        let document = json!({"data": {"a": "1", "b": "2"}, "metadata": {"finalizers": ["x"]}});
        let patch = json!({
            "data": {"$patch": "replace", "c": "3"},
            "metadata": {"finalizers": ["y"], "$setElementOrder/finalizers": ["x", "y"]},
        });
        assert_eq!(
            patched(PatchType::Strategic, document, patch),
            Ok(json!({"data": {"c": "3"}, "metadata": {"finalizers": ["x", "y"]}}))
        );
    }
}
