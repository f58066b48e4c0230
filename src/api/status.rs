//! Kubernetes' `Status`: the body of every failed request, and of a delete that is done.
//!
//! The shapes and texts are those that kubectl tells cases apart by; see "Status and errors" in
//! Kubernetes' API conventions.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::auth::User;
use crate::types::{
    meta::{Kind, ObjectKey},
    rbac::Attributes,
};

/// How a request ended, in Kubernetes' form.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Status {
    /// Always `Status`.
    pub kind: String,
    /// Always `v1`.
    pub api_version: String,
    /// Empty, except where a list that expired can be continued.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// `Failure` or `Success`.
    #[serde(default)]
    pub status: String,
    /// A sentence for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// One word for programs, like `NotFound`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// What it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub details: Option<Details>,
    /// The HTTP status.
    #[serde(default)]
    pub code: u16,
}

/// What a [`Status`] is about.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Details {
    /// The object's name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// Its group.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub group: String,
    /// Its plural, or for reason `Invalid` its kind.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub kind: String,
    /// Its uid.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub uid: String,
    /// The single things that are wrong.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub causes: Vec<Cause>,
    /// When it is worth trying again.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u32>,
}

/// One thing that is wrong.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Cause {
    /// One word for programs, like `FieldValueRequired`.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub reason: String,
    /// A sentence for people.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub message: String,
    /// The path of the field.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field: String,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.message)
    }
}

impl std::error::Error for Status {}

/// The plural with its group, as errors name a resource: `machines.weir.dev`, `secrets`.
pub(super) fn qualified(kind: Kind) -> String {
    if kind.group().is_empty() {
        kind.plural().to_owned()
    } else {
        format!("{}.{}", kind.plural(), kind.group())
    }
}

/// The kind with its group, as validation errors name it: `Machine.weir.dev`, `Secret`.
fn qualified_kind(kind: Kind) -> String {
    if kind.group().is_empty() {
        kind.name().to_owned()
    } else {
        format!("{}.{}", kind.name(), kind.group())
    }
}

fn about(kind: Kind, name: &str) -> Details {
    Details {
        name: name.to_owned(),
        group: kind.group().to_owned(),
        kind: kind.plural().to_owned(),
        ..Details::default()
    }
}

impl Status {
    /// A failure with the given HTTP status, reason and message.
    #[must_use]
    pub fn failure(code: u16, reason: &str, message: impl Into<String>) -> Self {
        Self {
            kind: "Status".to_owned(),
            api_version: "v1".to_owned(),
            metadata: Map::new(),
            status: "Failure".to_owned(),
            message: message.into(),
            reason: reason.to_owned(),
            details: None,
            code,
        }
    }

    /// The answer to a delete after which the object is gone.
    pub(super) fn deleted(key: &ObjectKey, uid: &str) -> Self {
        let details = Details {
            uid: uid.to_owned(),
            ..about(key.kind, &key.name)
        };
        Self {
            status: "Success".to_owned(),
            details: Some(details),
            ..Self::failure(200, "", "")
        }
    }

    fn with(mut self, details: Details) -> Self {
        self.details = Some(details);
        self
    }

    fn retry_after(self, seconds: u32) -> Self {
        self.with(Details {
            retry_after_seconds: Some(seconds),
            ..Details::default()
        })
    }

    /// 400: the request cannot be understood.
    #[must_use]
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, "BadRequest", message)
    }

    /// 401: no credential, or one that is not known.
    pub(super) fn unauthorized() -> Self {
        Self::failure(401, "Unauthorized", "Unauthorized")
    }

    /// 403: the user may not do that. Kubernetes' own words, which people search for.
    pub(super) fn forbidden(user: &User, wanted: &Attributes) -> Self {
        let name = &user.name;
        let Attributes { verb, group, .. } = wanted;
        if let Some(path) = &wanted.path {
            let message = format!("forbidden: User {name:?} cannot {verb} path {path:?}");
            return Self::failure(403, "Forbidden", message).with(Details::default());
        }
        let mut what = wanted.resource.clone();
        if !group.is_empty() {
            what = format!("{what}.{group}");
        }
        if !wanted.name.is_empty() {
            what = format!("{what} {:?}", wanted.name);
        }
        let place = match wanted.namespace.as_str() {
            "" => "at the cluster scope".to_owned(),
            namespace => format!("in the namespace {namespace:?}"),
        };
        let message = format!(
            "{what} is forbidden: User {name:?} cannot {verb} resource {:?} in API group \
             {group:?} {place}",
            wanted.resource_path()
        );
        Self::failure(403, "Forbidden", message).with(Details {
            name: wanted.name.clone(),
            group: group.clone(),
            kind: wanted.resource.clone(),
            ..Details::default()
        })
    }

    /// 403: the user would give rights that they do not have.
    pub(super) fn escalates(key: &ObjectKey, user: &User, rules: &str) -> Self {
        let groups = user.groups.iter().map(|group| format!("{group:?}"));
        let groups = groups.collect::<Vec<_>>().join(" ");
        let message = format!(
            "{} {:?} is forbidden: user {:?} (groups=[{groups}]) is attempting to grant RBAC \
             permissions not currently held:\n{rules}",
            qualified(key.kind),
            key.name,
            user.name
        );
        Self::failure(403, "Forbidden", message).with(about(key.kind, &key.name))
    }

    /// 404: no such object.
    pub(super) fn not_found(key: &ObjectKey) -> Self {
        let message = format!("{} \"{}\" not found", qualified(key.kind), key.name);
        Self::failure(404, "NotFound", message).with(about(key.kind, &key.name))
    }

    /// 404: the namespace that something is to be written into does not exist.
    pub(super) fn no_namespace(name: &str) -> Self {
        let message = format!("namespaces \"{name}\" not found: create the namespace first");
        Self::failure(404, "NotFound", message).with(about(Kind::Namespace, name))
    }

    /// 404: nothing is served at that path below an API group.
    pub(super) fn no_such_path() -> Self {
        Self::failure(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .with(Details::default())
    }

    /// 405: the path exists, the verb does not.
    pub(super) fn method_not_allowed() -> Self {
        Self::failure(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
    }

    /// 406: nothing that the client accepts can be served.
    pub(super) fn not_acceptable(accepted: &str) -> Self {
        let message =
            format!("only the following media types can be served: {accepted}; ask for one");
        Self::failure(406, "NotAcceptable", message)
    }

    /// 415: a body of a type that is not understood here.
    pub(super) fn unsupported_media_type(got: &str, accepted: &[&str]) -> Self {
        let message = format!(
            "the body of the request was in an unknown format ({}) - accepted media types \
             include: {}",
            if got.is_empty() {
                "no Content-Type"
            } else {
                got
            },
            accepted.join(", ")
        );
        Self::failure(415, "UnsupportedMediaType", message)
    }

    /// 409: the name is taken.
    pub(super) fn already_exists(key: &ObjectKey, deleting: bool) -> Self {
        let prefix = if deleting {
            "object is being deleted: "
        } else {
            ""
        };
        let message = format!(
            "{prefix}{} \"{}\" already exists",
            qualified(key.kind),
            key.name
        );
        Self::failure(409, "AlreadyExists", message).with(about(key.kind, &key.name))
    }

    /// 403: the object says that it is not to be deleted.
    pub(super) fn protected(key: &ObjectKey) -> Self {
        let message = format!(
            "{} \"{}\" is forbidden: spec.deletionProtection is true; set it to false first, if \
             everything that belongs to it is really to go",
            qualified(key.kind),
            key.name
        );
        Self::failure(403, "Forbidden", message).with(about(key.kind, &key.name))
    }

    /// 403: the namespace of the object is going.
    pub(super) fn terminating(key: &ObjectKey) -> Self {
        let (what, namespace) = (qualified(key.kind), &key.namespace);
        let why = format!("namespace {namespace} is being terminated");
        let message = format!(
            "{what} \"{}\" is forbidden: unable to create new content in namespace {namespace} \
             because it is being terminated",
            key.name
        );
        Self::failure(403, "Forbidden", message).with(Details {
            causes: vec![Cause::new(
                "NamespaceTerminating",
                "metadata.namespace",
                why,
            )],
            ..about(key.kind, &key.name)
        })
    }

    /// 409: somebody wrote first, or a precondition does not hold.
    pub(super) fn conflict(key: &ObjectKey, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{}\": {why}",
            qualified(key.kind),
            key.name
        );
        Self::failure(409, "Conflict", message).with(about(key.kind, &key.name))
    }

    /// 409 on a delete whose precondition does not hold; names the kind, not the plural.
    pub(super) fn precondition(key: &ObjectKey, why: &str) -> Self {
        let message = format!(
            "Operation cannot be fulfilled on {} \"{}\": Precondition failed: {why}",
            qualified_kind(key.kind),
            key.name
        );
        let details = Details {
            kind: key.kind.name().to_owned(),
            ..about(key.kind, &key.name)
        };
        Self::failure(409, "Conflict", message).with(details)
    }

    /// 409: others own fields that an apply would change.
    pub(super) fn apply_conflict(message: String, causes: Vec<Cause>) -> Self {
        Self::failure(409, "Conflict", message).with(Details {
            causes,
            ..Details::default()
        })
    }

    /// 410: the version asked for is no longer kept.
    pub(super) fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, "Expired", message)
    }

    /// 413: more bytes or operations than are taken.
    pub(super) fn too_large(message: impl Into<String>) -> Self {
        Self::failure(413, "RequestEntityTooLarge", message)
    }

    /// 422: the object is understood and wrong.
    pub(super) fn invalid(kind: Kind, name: &str, causes: Vec<Cause>) -> Self {
        let details = Details {
            kind: kind.name().to_owned(),
            ..about(kind, name)
        };
        Self::unprocessable(
            &format!("{} \"{name}\"", qualified_kind(kind)),
            details,
            causes,
        )
    }

    /// 422 for the options of a request instead of an object.
    pub(super) fn invalid_options(options: &str, causes: Vec<Cause>) -> Self {
        let details = Details {
            group: "meta.k8s.io".to_owned(),
            kind: options.to_owned(),
            ..Details::default()
        };
        Self::unprocessable(&format!("{options}.meta.k8s.io \"\""), details, causes)
    }

    fn unprocessable(what: &str, mut details: Details, causes: Vec<Cause>) -> Self {
        let mut texts: Vec<String> = causes.iter().map(Cause::text).collect();
        let list = match texts.len() {
            1 => texts.remove(0),
            _ => format!("[{}]", texts.join(", ")),
        };
        details.causes = causes;
        Self::failure(422, "Invalid", format!("{what} is invalid: {list}")).with(details)
    }

    /// 429: too much at once; sent only before anything was done.
    pub(super) fn too_many(message: &str) -> Self {
        Self::failure(429, "TooManyRequests", message).retry_after(1)
    }

    /// 429: more requests than a user may send; after so long there may be another one.
    pub(super) fn too_fast(wait: Duration) -> Self {
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let seconds = u32::try_from(seconds).unwrap_or(u32::MAX);
        let message = "too many requests from you; try again later, and send fewer a second";
        Self::failure(429, "TooManyRequests", message).retry_after(seconds)
    }

    /// 408: the body did not come.
    pub(super) fn slow_body(limit: Duration) -> Self {
        let message = format!("the body of the request took longer than {limit:?} to come");
        Self::failure(408, "Timeout", message)
    }

    /// 500: our own fault.
    #[must_use]
    pub fn internal(message: impl Into<String>) -> Self {
        let message = format!("Internal error occurred: {}", message.into());
        Self::failure(500, "InternalError", message)
    }

    /// 503: starting or stopping.
    #[must_use]
    pub fn unavailable(message: impl Into<String>) -> Self {
        Self::failure(503, "ServiceUnavailable", message).retry_after(1)
    }

    /// 504: it took too long.
    pub(super) fn timeout(message: impl Into<String>) -> Self {
        Self::failure(504, "Timeout", message).retry_after(1)
    }

    /// 504: a version that this server has not reached yet.
    pub(super) fn too_large_version(asked: u64, current: u64) -> Self {
        let message =
            format!("Too large resource version: {asked}, current: {current}; list again");
        Self::failure(504, "Timeout", message).with(Details {
            causes: vec![Cause::new(
                "ResourceVersionTooLarge",
                "",
                "Too large resource version",
            )],
            retry_after_seconds: Some(1),
            ..Details::default()
        })
    }
}

impl Cause {
    /// One thing that is wrong.
    #[must_use]
    pub fn new(reason: &str, field: &str, message: impl Into<String>) -> Self {
        Self {
            reason: reason.to_owned(),
            message: message.into(),
            field: field.to_owned(),
        }
    }

    /// A value that is not allowed, as a text in quotes.
    pub(super) fn invalid(field: &str, value: &str, why: &str) -> Self {
        let message = format!("Invalid value: {value:?}: {why}");
        Self::new("FieldValueInvalid", field, message)
    }

    /// Something that may not be written here.
    pub(super) fn forbidden(field: &str, why: &str) -> Self {
        Self::new("FieldValueForbidden", field, format!("Forbidden: {why}"))
    }

    fn text(&self) -> String {
        format!("{}: {}", self.field, self.message)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_invalid_object_names_its_kind_and_each_cause() {
        let causes = vec![
            Cause::invalid("spec.domain", "x", "too short"),
            Cause::new("FieldValueRequired", "spec.template", "Required value"),
        ];
        let status = Status::invalid(Kind::ClearwaterStack, "ims", causes);
        assert_eq!(
            status.message,
            "ClearwaterStack.weir.dev \"ims\" is invalid: [spec.domain: Invalid value: \"x\": too \
             short, spec.template: Required value]"
        );
        assert_eq!(status.details.unwrap().kind, "ClearwaterStack");
    }

    #[test]
    fn a_missing_object_is_named_by_plural_and_group() {
        let key = ObjectKey::new(Kind::Machine, "default", "ims-bono-0");
        let status = serde_json::to_value(Status::not_found(&key)).unwrap();
        assert_eq!(
            status["message"],
            "machines.weir.dev \"ims-bono-0\" not found"
        );
        assert_eq!(status["details"]["kind"], "machines");
        assert_eq!(status["metadata"], serde_json::json!({}));
    }
}
