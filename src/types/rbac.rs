//! `Role`, `ClusterRole`, `RoleBinding` and `ClusterRoleBinding`: who may do what, in Kubernetes'
//! own kinds (`rbac.authorization.k8s.io/v1`).
//!
//! Rules only add up: none takes anything away. What they mean is said by
//! [`PolicyRule::allows`]; who has which is found out by the API.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::meta::resource;

/// The group of these kinds.
pub const RBAC_GROUP: &str = "rbac.authorization.k8s.io";
/// Means every verb, group, resource or path.
pub const ALL: &str = "*";

resource! {
    /// Rights within one namespace.
    Role {
        /// What may be done.
        #[serde(default)]
        rules: Vec<PolicyRule>,
    }
}

resource! {
    /// Rights everywhere, or in the namespaces where a `RoleBinding` gives them.
    ClusterRole {
        /// What may be done.
        #[serde(default)]
        rules: Vec<PolicyRule>,
    }
}

resource! {
    /// Gives the rights of a role to users and groups, within one namespace.
    RoleBinding {
        /// Who gets them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        subjects: Vec<Subject>,
        /// The role whose rights they are. It cannot be changed.
        role_ref: RoleRef,
    }
}

resource! {
    /// Gives the rights of a `ClusterRole` to users and groups, everywhere.
    ClusterRoleBinding {
        /// Who gets them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        subjects: Vec<Subject>,
        /// The role whose rights they are. It cannot be changed.
        role_ref: RoleRef,
    }
}

/// Some verbs on some resources, or on some paths that are no resources.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PolicyRule {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`, or `*`
    /// for all.
    pub verbs: Vec<String>,
    /// The groups of the resources; an empty text is Kubernetes' core group, `*` all of them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub api_groups: Vec<String>,
    /// Plurals like `secrets`, with subresources like `machines/status`, `*/status`, or `*` for
    /// all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resources: Vec<String>,
    /// Only objects of these names; none given means all. A `create` has no name yet, so it is
    /// never allowed by a rule with names.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub resource_names: Vec<String>,
    /// Paths like `/metrics`, or `/openapi/*` for all that begin so; only in a `ClusterRole` that
    /// is bound by a `ClusterRoleBinding`.
    #[serde(rename = "nonResourceURLs", skip_serializing_if = "Vec::is_empty")]
    pub non_resource_urls: Vec<String>,
}

/// Points at a role.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleRef {
    /// `rbac.authorization.k8s.io`; said for you where it is left out.
    pub api_group: String,
    /// `Role` or `ClusterRole`.
    pub kind: String,
    /// Its name.
    pub name: String,
}

/// Whom a binding gives rights.
#[derive(
    Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase", default)]
pub struct Subject {
    /// `User`, `Group` or `ServiceAccount`.
    pub kind: String,
    /// `rbac.authorization.k8s.io` for users and groups, empty for service accounts; said for you
    /// where it is left out.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub api_group: String,
    /// The name.
    pub name: String,
    /// The namespace of a service account.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub namespace: String,
}

/// What somebody wants to do, in the words of Kubernetes' authorisation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// `get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`; for a
    /// path that is no resource, the method in lower case.
    pub verb: String,
    /// The path, where no resource is meant.
    pub path: Option<String>,
    /// The group of the resource.
    pub group: String,
    /// Its plural.
    pub resource: String,
    /// The subresource, if one is meant.
    pub subresource: String,
    /// The namespace; empty for all of them, and for what has none.
    pub namespace: String,
    /// The name; empty for a collection, and for what is to be created.
    pub name: String,
}

impl Attributes {
    /// The resource as rules and refusals write it: `machines`, `machines/status`.
    #[must_use]
    pub fn resource_path(&self) -> String {
        match self.subresource.as_str() {
            "" => self.resource.clone(),
            part => format!("{}/{part}", self.resource),
        }
    }
}

impl PolicyRule {
    /// Whether the rule lets somebody do that.
    #[must_use]
    pub fn allows(&self, wanted: &Attributes) -> bool {
        if !has(&self.verbs, &wanted.verb) {
            return false;
        }
        match &wanted.path {
            Some(path) => self
                .non_resource_urls
                .iter()
                .any(|url| covers_path(url, path)),
            None => {
                has(&self.api_groups, &wanted.group)
                    && self
                        .resources
                        .iter()
                        .any(|rule| is_resource(rule, &wanted.resource, &wanted.subresource))
                    && (self.resource_names.is_empty()
                        || self.resource_names.contains(&wanted.name))
            }
        }
    }

    /// The rule in parts of one verb on one resource (and name) or path each.
    pub fn parts(&self) -> impl Iterator<Item = Self> + '_ {
        let one = |text: &String| vec![text.clone()];
        let no_name = [String::new()];
        let names: Vec<String> = if self.resource_names.is_empty() {
            no_name.to_vec()
        } else {
            self.resource_names.clone()
        };
        self.verbs.iter().flat_map(move |verb| {
            let paths = self.non_resource_urls.iter().map(move |url| Self {
                verbs: one(verb),
                non_resource_urls: one(url),
                ..Self::default()
            });
            let names = names.clone();
            let resources = self.api_groups.iter().flat_map(move |group| {
                let names = names.clone();
                self.resources.iter().flat_map(move |resource| {
                    let part = move |name: String| Self {
                        verbs: one(verb),
                        api_groups: one(group),
                        resources: one(resource),
                        resource_names: Some(name).filter(|n| !n.is_empty()).into_iter().collect(),
                        ..Self::default()
                    };
                    names.clone().into_iter().map(part)
                })
            });
            resources.chain(paths)
        })
    }

    /// Whether everything that a [part](Self::parts) of a rule allows is allowed by this one.
    #[must_use]
    pub fn covers(&self, part: &Self) -> bool {
        let all_of = |mine: &[String], theirs: &[String]| theirs.iter().all(|one| has(mine, one));
        if !all_of(&self.verbs, &part.verbs) {
            return false;
        }
        let path = |url: &String| {
            self.non_resource_urls
                .iter()
                .any(|mine| covers_path(mine, url))
        };
        if !part.non_resource_urls.is_empty() {
            return part.non_resource_urls.iter().all(path);
        }
        let resource = |wanted: &String| {
            let (resource, part) = wanted.split_once('/').unwrap_or((wanted, ""));
            let same = |rule: &String| rule == wanted || is_resource(rule, resource, part);
            self.resources.iter().any(same)
        };
        let names = self.resource_names.is_empty()
            || !part.resource_names.is_empty()
                && part
                    .resource_names
                    .iter()
                    .all(|name| self.resource_names.contains(name));
        all_of(&self.api_groups, &part.api_groups) && part.resources.iter().all(resource) && names
    }
}

/// Whether a list has a word, or stands for all.
fn has(list: &[String], word: &str) -> bool {
    list.iter().any(|one| one == ALL || one == word)
}

fn is_resource(rule: &str, resource: &str, part: &str) -> bool {
    match rule.split_once('/') {
        None => rule == ALL || part.is_empty() && rule == resource,
        // `*/status` is the subresource of every resource.
        Some((of, rule_part)) => {
            !part.is_empty() && rule_part == part && (of == ALL || of == resource)
        }
    }
}

/// Whether a path of a rule, which may end in `*`, stands for another.
fn covers_path(rule: &str, path: &str) -> bool {
    match rule.strip_suffix(ALL) {
        Some(beginning) => path.starts_with(beginning),
        None => rule == path,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(text: &str) -> Vec<String> {
        text.split(',')
            .filter(|w| !w.is_empty())
            .map(|w| w.trim_matches('\'').to_owned())
            .collect()
    }

    /// `verbs groups resources names`, with `''` for an empty word and `-` for an empty list.
    fn rule(text: &str) -> PolicyRule {
        let cells: Vec<&str> = text.split_whitespace().collect();
        let cell = |index: usize| match cells.get(index) {
            None | Some(&"-") => Vec::new(),
            Some(text) => words(text),
        };
        if cells
            .get(1)
            .is_some_and(|cell| cell.starts_with('/') || *cell == "url:*")
        {
            let urls = words(cells[1].trim_start_matches("url:"));
            return PolicyRule {
                verbs: cell(0),
                non_resource_urls: urls,
                ..PolicyRule::default()
            };
        }
        PolicyRule {
            verbs: cell(0),
            api_groups: cell(1),
            resources: cell(2),
            resource_names: cell(3),
            non_resource_urls: Vec::new(),
        }
    }

    /// `verb group resource[/part] [name]`, or `verb /path`.
    fn wanted(text: &str) -> Attributes {
        let cells: Vec<&str> = text.split_whitespace().collect();
        let verb = cells[0].to_owned();
        if cells[1].starts_with('/') {
            return Attributes {
                verb,
                path: Some(cells[1].to_owned()),
                ..Attributes::default()
            };
        }
        let (resource, part) = cells[2].split_once('/').unwrap_or((cells[2], ""));
        Attributes {
            verb,
            group: cells[1].trim_matches('\'').to_owned(),
            resource: resource.to_owned(),
            subresource: part.to_owned(),
            name: cells.get(3).copied().unwrap_or_default().to_owned(),
            ..Attributes::default()
        }
    }

    #[test]
    fn a_rule_allows_what_it_names_and_nothing_else() {
        let table = [
            // Verbs, groups and resources must all be named.
            ("get,list '' secrets", "get '' secrets s", true),
            ("get,list '' secrets", "watch '' secrets", false),
            ("get '' secrets", "get weir.dev secrets s", false),
            ("get '' secrets", "get '' events e", false),
            ("* * *", "escalate rbac.authorization.k8s.io roles r", true),
            ("get weir.dev *", "get '' secrets s", false),
            // A subresource is a resource of its own.
            (
                "get weir.dev machines",
                "get weir.dev machines/status m",
                false,
            ),
            (
                "get weir.dev machines/status",
                "get weir.dev machines/status m",
                true,
            ),
            (
                "get weir.dev machines/status",
                "get weir.dev machines m",
                false,
            ),
            (
                "get weir.dev */status",
                "get weir.dev machines/status m",
                true,
            ),
            ("get weir.dev */status", "get weir.dev machines m", false),
            (
                "get weir.dev */status",
                "get weir.dev machines/plan m",
                false,
            ),
            ("get weir.dev *", "get weir.dev machines/status m", true),
            // Names restrict, and what has none yet is not named.
            ("get,list '' secrets a,b", "get '' secrets b", true),
            ("get,list '' secrets a,b", "get '' secrets c", false),
            ("get,list '' secrets a,b", "list '' secrets", false),
            ("create '' secrets a", "create '' secrets", false),
            // Nothing listed is nothing allowed.
            ("- '' secrets", "get '' secrets s", false),
            ("get - secrets", "get '' secrets s", false),
            ("get '' -", "get '' secrets s", false),
            // Paths.
            ("get /metrics", "get /metrics", true),
            ("get /metrics", "post /metrics", false),
            ("get /metrics", "get /metrics/x", false),
            ("get /openapi/*", "get /openapi/v3/apis", true),
            ("get /openapi/*", "get /openapi", false),
            ("get url:*", "get /export", true),
            ("* * *", "get /export", false),
            ("get /metrics", "get '' secrets s", false),
        ];
        for (rule_text, wanted_text, allowed) in table {
            let told = rule(rule_text).allows(&wanted(wanted_text));
            assert_eq!(told, allowed, "`{rule_text}` on `{wanted_text}`");
        }
    }

    #[test]
    fn a_rule_covers_only_what_it_allows_itself() {
        let table = [
            ("* * *", "get '' secrets a", true),
            ("get * *", "* '' secrets", false),
            ("get '' *", "get * secrets", false),
            ("get '' secrets", "get '' secrets a", true),
            ("get '' secrets a", "get '' secrets", false),
            ("get '' secrets a", "get '' secrets a", true),
            ("get '' secrets", "get '' *", false),
            ("get weir.dev *", "get weir.dev machines/status", true),
            (
                "get weir.dev machines",
                "get weir.dev machines/status",
                false,
            ),
            (
                "get weir.dev */status",
                "get weir.dev machines/status",
                true,
            ),
            (
                "get weir.dev machines/status",
                "get weir.dev */status",
                false,
            ),
            ("get weir.dev */status", "get weir.dev */status", true),
            ("get url:*", "get /metrics", true),
            ("get /openapi/*", "get /openapi/v3/*", true),
            ("get /openapi/v3", "get /openapi/*", false),
            ("* * *", "get /metrics", false),
        ];
        for (mine, theirs, covered) in table {
            assert_eq!(
                rule(mine).covers(&rule(theirs)),
                covered,
                "`{mine}` and `{theirs}`"
            );
        }
    }

    #[test]
    fn a_rule_is_the_sum_of_its_parts() {
        let whole = rule("get,list '',weir.dev secrets,machines a,b");
        assert_eq!(whole.parts().count(), 16);
        assert!(whole.parts().all(|part| whole.covers(&part)));
        let no_resources = rule("get /metrics,/version");
        assert_eq!(no_resources.parts().count(), 2);
    }
}
