//! What is served: groups, versions and resources, in Kubernetes' old and new form.

use serde_json::{Value, json};

use super::{
    events,
    negotiate::Form,
    review::{AUTHENTICATION, AUTHORIZATION, Review},
    status::Status,
};
use crate::types::{
    meta::{GROUP, Kind},
    rbac::RBAC_GROUP,
};

const VERBS: [&str; 8] = [
    "create",
    "delete",
    "deletecollection",
    "get",
    "list",
    "patch",
    "update",
    "watch",
];
const STATUS_VERBS: [&str; 3] = ["get", "patch", "update"];

/// The version of Kubernetes whose contract is kept; clients compare it with their own.
const KUBERNETES: (&str, &str, &str) = ("1", "32", "v1.32.0");

/// Groups in order of priority, each with its one version.
const GROUPS: [(&str, &str); 6] = [
    (GROUP, "v1alpha1"),
    (events::GROUP, events::VERSION),
    ("coordination.k8s.io", "v1"),
    (RBAC_GROUP, "v1"),
    (AUTHORIZATION, "v1"),
    (AUTHENTICATION, "v1"),
];

/// Every group and version with the path of its resources, the core group included.
pub(super) fn group_versions() -> Vec<(&'static str, &'static str, String)> {
    let core = ("", "v1", "api/v1".to_owned());
    let others = GROUPS.map(|(group, version)| (group, version, format!("apis/{group}/{version}")));
    [core].into_iter().chain(others).collect()
}

/// A kind in one of the groups that show it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Served {
    pub(super) kind: Kind,
    pub(super) group: &'static str,
    pub(super) version: &'static str,
}

impl Served {
    /// The kinds of a group and version.
    pub(super) fn of(group: &str, version: &str) -> Vec<Self> {
        let own = Kind::ALL.map(|kind| Self {
            kind,
            group: kind.group(),
            version: kind.version(),
        });
        let other = Self {
            kind: Kind::Event,
            group: events::GROUP,
            version: events::VERSION,
        };
        let mut all: Vec<Self> = own.into_iter().chain([other]).collect();
        all.retain(|served| (served.group, served.version) == (group, version));
        all
    }

    fn response(self) -> Value {
        json!({ "group": self.group, "version": self.version, "kind": self.kind.name() })
    }
}

/// `/version`.
pub(super) fn version() -> Value {
    let (major, minor, version) = KUBERNETES;
    json!({
        "major": major, "minor": minor, "gitVersion": version,
        "weirVersion": env!("CARGO_PKG_VERSION"),
        "gitCommit": concat!("weir-", env!("CARGO_PKG_VERSION")),
        "gitTreeState": "clean", "buildDate": "1970-01-01T00:00:00Z",
        "goVersion": "none", "compiler": "rustc",
        "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH),
    })
}

/// `/api`.
pub(super) fn core_versions(form: Form) -> Value {
    match form {
        Form::Aggregated(version) => aggregated(version, &[("", "v1")]),
        _ => json!({ "kind": "APIVersions", "versions": ["v1"] }),
    }
}

/// `/apis`.
pub(super) fn groups(form: Form) -> Value {
    match form {
        Form::Aggregated(version) => aggregated(version, &GROUPS),
        _ => json!({
            "kind": "APIGroupList", "apiVersion": "v1",
            "groups": GROUPS.map(|(group, version)| group_entry(group, version)),
        }),
    }
}

/// `/apis/GROUP`.
pub(super) fn group(name: &str) -> Option<Value> {
    let (group, version) = GROUPS.into_iter().find(|(group, _)| *group == name)?;
    let mut entry = group_entry(group, version);
    entry["kind"] = json!("APIGroup");
    entry["apiVersion"] = json!("v1");
    Some(entry)
}

/// `/api/v1`, `/apis/GROUP/VERSION`.
pub(super) fn resources(group: &str, version: &str) -> Result<Value, Status> {
    if !group_versions()
        .iter()
        .any(|known| (known.0, known.1) == (group, version))
    {
        return Err(Status::no_such_path());
    }
    let group_version = if group.is_empty() {
        version.to_owned()
    } else {
        format!("{group}/{version}")
    };
    let served = Served::of(group, version).into_iter();
    let kinds = served.flat_map(|served| legacy_entries(served.kind));
    let reviews = reviews(group).map(|review| {
        json!({
            "name": review.plural(), "singularName": "", "namespaced": review.namespaced(),
            "kind": review.kind(), "verbs": ["create"],
        })
    });
    let resources: Vec<Value> = kinds.chain(reviews).collect();
    Ok(json!({
        "kind": "APIResourceList", "apiVersion": "v1",
        "groupVersion": group_version, "resources": resources,
    }))
}

fn group_entry(group: &str, version: &str) -> Value {
    let version = json!({ "groupVersion": format!("{group}/{version}"), "version": version });
    json!({ "name": group, "versions": [version], "preferredVersion": version })
}

fn legacy_entries(kind: Kind) -> Vec<Value> {
    let mut entries = vec![json!({
        "name": kind.plural(), "singularName": kind.singular(), "namespaced": kind.namespaced(),
        "kind": kind.name(), "verbs": VERBS, "shortNames": kind.short_names(),
        "categories": categories(kind),
    })];
    if kind.has_status() {
        entries.push(json!({
            "name": format!("{}/status", kind.plural()), "singularName": "",
            "namespaced": kind.namespaced(), "kind": kind.name(), "verbs": STATUS_VERBS,
        }));
    }
    entries
}

/// The names under which several kinds are listed at once.
const fn categories(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::ClearwaterStack | Kind::Machine | Kind::CloudAccount => &["all", "weir"],
        _ => &[],
    }
}

fn aggregated(form: &str, groups: &[(&str, &str)]) -> Value {
    let items: Vec<Value> = groups
        .iter()
        .map(|(group, version)| {
            let metadata = if group.is_empty() {
                json!({})
            } else {
                json!({ "name": group })
            };
            let kinds = Served::of(group, version).into_iter().map(aggregated_entry);
            let reviews = reviews(group).map(aggregated_review);
            let resources: Vec<Value> = kinds.chain(reviews).collect();
            json!({ "metadata": metadata, "versions": [
                { "version": version, "freshness": "Current", "resources": resources },
            ]})
        })
        .collect();
    json!({
        "kind": "APIGroupDiscoveryList",
        "apiVersion": format!("apidiscovery.k8s.io/{form}"),
        "metadata": {}, "items": items,
    })
}

/// The questions of a group.
fn reviews(group: &str) -> impl Iterator<Item = Review> {
    let of = move |review: &Review| review.group() == group;
    Review::ALL.into_iter().filter(of)
}

fn aggregated_review(review: Review) -> Value {
    let response = json!({ "group": review.group(), "version": "v1", "kind": review.kind() });
    json!({
        "resource": review.plural(), "responseKind": response,
        "scope": if review.namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": "", "verbs": ["create"],
    })
}

fn aggregated_entry(served: Served) -> Value {
    let (kind, response) = (served.kind, served.response());
    let mut entry = json!({
        "resource": kind.plural(), "responseKind": response,
        "scope": if kind.namespaced() { "Namespaced" } else { "Cluster" },
        "singularResource": kind.singular(), "verbs": VERBS,
        "shortNames": kind.short_names(), "categories": categories(kind),
    });
    if kind.has_status() {
        entry["subresources"] = json!([
            { "subresource": "status", "responseKind": response, "verbs": STATUS_VERBS },
        ]);
    }
    entry
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_is_found_in_both_forms() {
        for kind in Kind::ALL {
            let list = resources(kind.group(), kind.version()).unwrap();
            let listed = list["resources"].as_array().unwrap().iter();
            assert!(listed.clone().any(|r| r["name"] == kind.plural()), "{kind}");
            let form = Form::Aggregated("v2");
            let all = if kind.group().is_empty() {
                core_versions(form)
            } else {
                groups(form)
            };
            assert!(all.to_string().contains(&format!("\"{}\"", kind.plural())));
        }
        assert!(resources("weir.dev", "v2").is_err());
    }
}
