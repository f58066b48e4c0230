//! What a path means.

use std::borrow::Cow;

use serde_json::{Value, json};

use super::{
    discovery::Served,
    events,
    ownership::{Manager, Operation},
    review::Review,
    status::Status,
};
use crate::types::meta::{Kind, Object, ObjectKey};

/// What is asked for.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Route<'a> {
    /// `/livez`, `/healthz`, `/readyz`, or one part of what they tell.
    Health(Check, Option<&'a str>),
    /// `/metrics`.
    Metrics,
    /// `/export`: all objects, secrets and statuses included.
    Export,
    /// `/version`.
    Version,
    /// `/openapi/v2`, which is there but empty.
    OpenApiV2,
    /// `/openapi/v3`.
    OpenApiRoot,
    /// `/openapi/v3/…`: the document of a group and version, like `apis/weir.dev/v1alpha1`.
    OpenApi(&'a str),
    /// `/api`.
    CoreVersions,
    /// `/apis`.
    Groups,
    /// `/apis/GROUP`.
    Group(&'a str),
    /// `/api/v1` or `/apis/GROUP/VERSION`: group and version.
    Resources(&'a str, &'a str),
    /// Objects.
    Objects(Target),
    /// A question about rights or users, and its namespace.
    Review(Review, String),
    /// Nothing, below a path where Kubernetes answers with a `Status`.
    UnknownResource,
    /// Nothing.
    Unknown,
}

/// See [`Route::Health`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Check {
    Live,
    Ready,
}

/// Which objects.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Target {
    pub(super) kind: Kind,
    /// Empty for all namespaces, and for kinds that have none.
    pub(super) namespace: String,
    /// Nothing for a collection.
    pub(super) name: Option<String>,
    pub(super) part: Part,
    pub(super) guise: Guise,
}

/// In which group objects are addressed, and so how they are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Guise {
    /// In their kind's own.
    Own,
    /// Events, in their other group.
    NewEvent,
}

/// The subresource.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    Status,
    /// The plan that applying the body would start.
    Plan,
}

impl Target {
    /// Whoever writes this part of the object in that way.
    pub(super) fn manager(&self, operation: Operation, name: String) -> Manager {
        let subresource = match self.part {
            Part::Status => "status",
            Part::Whole | Part::Plan => "",
        };
        Manager {
            operation,
            name,
            subresource: subresource.to_owned(),
            api_version: self.kind.api_version().to_owned(),
        }
    }

    /// The group in which the objects are addressed.
    pub(super) const fn group(&self) -> &'static str {
        match self.guise {
            Guise::Own => self.kind.group(),
            Guise::NewEvent => events::GROUP,
        }
    }

    /// Group and version in which the objects are shown.
    pub(super) const fn api_version(&self) -> &'static str {
        match self.guise {
            Guise::Own => self.kind.api_version(),
            Guise::NewEvent => events::API_VERSION,
        }
    }

    /// An object as it is shown here.
    pub(super) fn shown(&self, object: &Object) -> Value {
        match self.guise {
            Guise::Own if self.kind == Kind::Namespace => {
                let mut namespace = json!(object);
                namespace["status"] = json!({ "phase": phase(object) });
                namespace
            }
            Guise::Own => json!(object),
            Guise::NewEvent => events::shown(json!(object)),
        }
    }

    /// What was written here, as it is stored.
    ///
    /// # Errors
    /// 400: it is of another group.
    pub(super) fn stored(&self, value: &mut Value) -> Result<(), Status> {
        match self.guise {
            Guise::Own => Ok(()),
            Guise::NewEvent => events::stored(value),
        }
    }

    /// A field selector in the store's words.
    pub(super) fn selector<'a>(&self, text: &'a str) -> Cow<'a, str> {
        match self.guise {
            Guise::Own => text.into(),
            Guise::NewEvent => events::selector(text).into(),
        }
    }

    /// The one namespace that is meant, unless all are.
    pub(super) fn within(&self) -> Option<&str> {
        Some(self.namespace.as_str()).filter(|name| !name.is_empty())
    }

    /// The object's key; of a collection, one without a name.
    pub(super) fn key(&self) -> ObjectKey {
        let name = self.name.as_deref().unwrap_or_default();
        ObjectKey::new(self.kind, &self.namespace, name)
    }
}

/// Where a namespace is in its life.
pub(super) fn phase(namespace: &Object) -> &'static str {
    if namespace.metadata.deleting() {
        "Terminating"
    } else {
        "Active"
    }
}

/// Reads a path, without its query.
pub(super) fn route(path: &str) -> Route<'_> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').collect();
    match parts.as_slice() {
        ["livez" | "healthz"] => Route::Health(Check::Live, None),
        ["readyz"] => Route::Health(Check::Ready, None),
        ["livez" | "healthz", part] => Route::Health(Check::Live, Some(part)),
        ["readyz", part] => Route::Health(Check::Ready, Some(part)),
        ["metrics"] => Route::Metrics,
        ["export"] => Route::Export,
        ["version"] => Route::Version,
        ["openapi", "v2"] => Route::OpenApiV2,
        ["openapi", "v3"] => Route::OpenApiRoot,
        ["openapi", "v3", ..] => {
            Route::OpenApi(path.trim_matches('/').trim_start_matches("openapi/v3/"))
        }
        ["api"] => Route::CoreVersions,
        ["apis"] => Route::Groups,
        ["api", version] => Route::Resources("", version),
        ["apis", group] => Route::Group(group),
        ["apis", group, version] => Route::Resources(group, version),
        ["api", version, rest @ ..] => {
            objects("", version, rest).map_or(Route::UnknownResource, Route::Objects)
        }
        ["apis", group, version, rest @ ..] => {
            match (
                objects(group, version, rest),
                Review::find(group, version, rest),
            ) {
                (Some(target), _) => Route::Objects(target),
                (None, Some((review, namespace))) => Route::Review(review, namespace),
                (None, None) => Route::Unknown,
            }
        }
        _ => Route::Unknown,
    }
}

fn objects(group: &str, version: &str, rest: &[&str]) -> Option<Target> {
    let served = Served::of(group, version);
    let guise = match served.first() {
        Some(first) if first.group != first.kind.group() => Guise::NewEvent,
        _ => Guise::Own,
    };
    let of = |plural: &str| {
        let mut kinds = served.iter().map(|served| served.kind);
        kinds.find(|kind| kind.plural() == plural)
    };
    let (kind, namespace, rest) = match rest {
        ["namespaces", namespace, plural, rest @ ..]
            if of(plural).is_some_and(Kind::namespaced) =>
        {
            (of(plural)?, *namespace, rest)
        }
        [plural, rest @ ..] => (of(plural)?, "", rest),
        [] => return None,
    };
    let (name, part) = match rest {
        [] => (None, Part::Whole),
        _ if kind.namespaced() && namespace.is_empty() => return None,
        [name] => (Some(*name), Part::Whole),
        [name, "status"] if kind.has_status() => (Some(*name), Part::Status),
        [name, "plan"] if kind == Kind::ClearwaterStack => (Some(*name), Part::Plan),
        _ => return None,
    };
    Some(Target {
        kind,
        namespace: namespace.to_owned(),
        name: name.map(str::to_owned),
        part,
        guise,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(path: &str) -> Option<(Kind, String, Option<String>, Part)> {
        match route(path) {
            Route::Objects(t) => Some((t.kind, t.namespace, t.name, t.part)),
            _ => None,
        }
    }

    #[test]
    fn objects_are_found_by_group_version_and_plural() {
        let base = "/apis/weir.dev/v1alpha1";
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            target(&format!("{base}/namespaces/lab/machines/ims-bono-0/status")),
            Some((
                Kind::Machine,
                "lab".into(),
                some("ims-bono-0"),
                Part::Status
            ))
        );
        assert_eq!(
            target(&format!("{base}/clearwaterstacks")),
            Some((Kind::ClearwaterStack, String::new(), None, Part::Whole))
        );
        assert_eq!(
            target("/api/v1/namespaces/lab"),
            Some((Kind::Namespace, String::new(), some("lab"), Part::Whole))
        );
        assert_eq!(
            target("/api/v1/namespaces/lab/secrets"),
            Some((Kind::Secret, "lab".into(), None, Part::Whole))
        );
    }

    #[test]
    fn what_is_not_served_is_unknown() {
        assert_eq!(route("/api/v1/pods"), Route::UnknownResource);
        assert_eq!(route("/apis/apps/v1/deployments"), Route::Unknown);
        assert_eq!(route("/apis/weir.dev/v1alpha1/machines/x"), Route::Unknown);
        assert_eq!(
            route("/api/v1/namespaces/a/secrets/s/status"),
            Route::UnknownResource
        );
        assert_eq!(route("/"), Route::Unknown);
    }
}
