//! What the members of roles and bindings mean: Kubernetes' own rules for them.

use serde_json::{Map, Value};

use super::{
    error::ErrorKind,
    findings::Findings,
    metadata::{DNS_NAME_MAX, is_label},
};
use crate::types::{
    meta::Kind,
    rbac::{PolicyRule, RBAC_GROUP, RoleRef, Subject},
};

/// Rules of a role, and subjects of a binding: far above what anybody reads through.
const MEMBERS_MAX: usize = 1000;

/// Judges a `Role` or a `ClusterRole`.
pub(super) fn role(kind: Kind, value: &Value, findings: &mut Findings) {
    let rules = list::<PolicyRule>(value, "rules", findings);
    for (index, rule) in rules {
        let field = format!("rules[{index}]");
        if rule.verbs.is_empty() {
            let why = ("no verb", "name some, like get, or \"*\" for all");
            findings.missing(format!("{field}.verbs"), why);
        }
        if !rule.non_resource_urls.is_empty() {
            paths(kind, &field, &rule, findings);
            continue;
        }
        if rule.api_groups.is_empty() {
            let why = (
                "no group",
                "name some; \"\" is the group of Secrets and Events",
            );
            findings.missing(format!("{field}.apiGroups"), why);
        }
        if rule.resources.is_empty() {
            let why = ("no resource", "name some, like machines, or \"*\" for all");
            findings.missing(format!("{field}.resources"), why);
        }
    }
}

fn paths(kind: Kind, field: &str, rule: &PolicyRule, findings: &mut Findings) {
    let at = format!("{field}.nonResourceURLs");
    let urls = &rule.non_resource_urls;
    if kind.namespaced() {
        let why = (
            "a path is in no namespace, so a Role can give no right to it",
            "put the rule into a ClusterRole",
        );
        findings.invalid(&at, urls, why);
    }
    if [&rule.api_groups, &rule.resources, &rule.resource_names]
        .iter()
        .any(|list| !list.is_empty())
    {
        let why = (
            "a rule is about paths or about resources, not both",
            "make two rules of it",
        );
        findings.invalid(&at, urls, why);
    }
}

/// Judges a `RoleBinding` or a `ClusterRoleBinding`.
pub(super) fn binding(kind: Kind, value: &Value, findings: &mut Findings) {
    if let Some(role) = value.as_object().and_then(role_ref) {
        role_reference(kind, &role, findings);
    }
    for (index, subject) in list::<Subject>(value, "subjects", findings) {
        judge_subject(&format!("subjects[{index}]"), &subject, findings);
    }
}

/// The role that a binding points at, with its group filled in.
pub(super) fn role_ref(members: &Map<String, Value>) -> Option<RoleRef> {
    let role: RoleRef = serde_json::from_value(members.get("roleRef")?.clone()).ok()?;
    Some(match role.api_group.as_str() {
        "" => RoleRef {
            api_group: RBAC_GROUP.to_owned(),
            ..role
        },
        _ => role,
    })
}

fn role_reference(kind: Kind, role: &RoleRef, findings: &mut Findings) {
    let known: &[&str] = match kind {
        Kind::RoleBinding => &["Role", "ClusterRole"],
        _ => &["ClusterRole"],
    };
    let group = ("roleRef.apiGroup", role.api_group.as_str());
    one_of(group, &[RBAC_GROUP], findings);
    one_of(("roleRef.kind", &role.kind), known, findings);
    named("roleRef.name", &role.name, findings);
}

fn judge_subject(field: &str, subject: &Subject, findings: &mut Findings) {
    let at = |member: &str| format!("{field}.{member}");
    named(&at("name"), &subject.name, findings);
    let known = ["User", "Group", "ServiceAccount"];
    one_of((&at("kind"), &subject.kind), &known, findings);
    let account = subject.kind == "ServiceAccount";
    let groups: &[&str] = if account { &[""] } else { &["", RBAC_GROUP] };
    one_of((&at("apiGroup"), &subject.api_group), groups, findings);
    let namespace = &subject.namespace;
    if !account && !namespace.is_empty() {
        let why = ("users and groups are in no namespace", "remove it");
        findings.add(ErrorKind::FieldValueForbidden, at("namespace"), &(), why);
    } else if account && !is_label(namespace) {
        let why = ("the namespace of the service account", "name it");
        findings.missing(at("namespace"), why);
    }
}

fn one_of((field, word): (&str, &str), known: &[&str], findings: &mut Findings) {
    if !known.contains(&word) {
        let quoted: Vec<String> = known.iter().map(|word| format!("{word:?}")).collect();
        let reason = format!("supported values: {}", quoted.join(", "));
        let why = (reason, "write one of them");
        findings.add(ErrorKind::FieldValueNotSupported, field, word, why);
    }
}

fn named(field: &str, name: &str, findings: &mut Findings) {
    if name.is_empty() {
        findings.missing(field, ("missing", "name it"));
    } else if name.len() > DNS_NAME_MAX || name.contains(char::is_control) {
        let rule = "use at most 253 characters that can be printed";
        findings.invalid(field, name, ("not a name", rule));
    }
}

/// The members of a list that can be read, each with its place.
fn list<T: serde::de::DeserializeOwned>(
    value: &Value,
    member: &str,
    findings: &mut Findings,
) -> Vec<(usize, T)> {
    let members = value[member].as_array().map(Vec::as_slice);
    let members = members.unwrap_or_default();
    if members.len() > MEMBERS_MAX {
        let why = (
            format!("{} of them", members.len()),
            format!("have at most {MEMBERS_MAX}"),
        );
        findings.add(ErrorKind::FieldValueTooMany, member, &(), why);
        return Vec::new();
    }
    let read = |(index, value): (usize, &Value)| {
        let read = serde_json::from_value(value.clone()).ok()?;
        Some((index, read))
    };
    members.iter().enumerate().filter_map(read).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::types::{
        admission::{FieldValidation, admit_update, admit_value},
        meta::Object,
    };

    fn object(kind: &str, members: &serde_json::Value) -> serde_json::Value {
        let namespace = if kind.starts_with("Cluster") {
            json!({})
        } else {
            json!("lab")
        };
        let mut object = json!({
            "apiVersion": "rbac.authorization.k8s.io/v1", "kind": kind,
            "metadata": {"name": "system:a B"},
        });
        if namespace.is_string() {
            object["metadata"]["namespace"] = namespace;
        }
        let members = members.as_object().unwrap().clone();
        object.as_object_mut().unwrap().extend(members);
        object
    }

    #[track_caller]
    fn refused(kind: &str, members: &serde_json::Value, field: &str) {
        let errors = admit_value(&object(kind, members), FieldValidation::Strict).unwrap_err();
        let fields: Vec<&str> = errors.iter().map(|error| error.field.as_str()).collect();
        assert_eq!(fields, [field], "{errors:?}");
    }

    #[test]
    fn what_kubernetes_refuses_is_refused() {
        let rule = |rule: serde_json::Value| json!({"rules": [rule]});
        refused(
            "Role",
            &rule(json!({"apiGroups": [""], "resources": ["secrets"]})),
            "rules[0].verbs",
        );
        refused(
            "Role",
            &rule(json!({"verbs": ["get"], "resources": ["secrets"]})),
            "rules[0].apiGroups",
        );
        refused(
            "Role",
            &rule(json!({"verbs": ["get"], "apiGroups": [""]})),
            "rules[0].resources",
        );
        let path = rule(json!({"verbs": ["get"], "nonResourceURLs": ["/metrics"]}));
        refused("Role", &path, "rules[0].nonResourceURLs");
        admit_value(&object("ClusterRole", &path), FieldValidation::Strict).unwrap();
        let both =
            rule(json!({"verbs": ["get"], "nonResourceURLs": ["/m"], "resources": ["secrets"]}));
        refused("ClusterRole", &both, "rules[0].nonResourceURLs");
        let bound = |role: &str, subject: serde_json::Value| json!({"roleRef": {"kind": role, "name": "view"}, "subjects": [subject]});
        let user = json!({"kind": "User", "name": "ann"});
        admit_value(
            &object("RoleBinding", &bound("Role", user.clone())),
            FieldValidation::Strict,
        )
        .unwrap();
        refused(
            "ClusterRoleBinding",
            &bound("Role", user.clone()),
            "roleRef.kind",
        );
        refused("RoleBinding", &bound("View", user), "roleRef.kind");
        refused(
            "RoleBinding",
            &bound("Role", json!({"kind": "Robot", "name": "a"})),
            "subjects[0].kind",
        );
        refused(
            "RoleBinding",
            &bound("Role", json!({"kind": "User"})),
            "subjects[0].name",
        );
        let account = json!({"kind": "ServiceAccount", "name": "bot"});
        refused(
            "RoleBinding",
            &bound("Role", account),
            "subjects[0].namespace",
        );
        refused("RoleBinding", &json!({}), "roleRef");
    }

    #[test]
    fn a_binding_keeps_its_role() {
        let bound = |role: serde_json::Value| -> Object {
            serde_json::from_value(object("RoleBinding", &json!({"roleRef": role}))).unwrap()
        };
        let old = bound(json!({"kind": "Role", "name": "a"}));
        let said =
            bound(json!({"kind": "Role", "name": "a", "apiGroup": "rbac.authorization.k8s.io"}));
        assert!(admit_update(&old, &said).is_empty());
        let other = bound(json!({"kind": "Role", "name": "b"}));
        assert_eq!(admit_update(&old, &other)[0].field, "roleRef");
    }
}
