//! Nobody gives what they do not have: Kubernetes' rule for writers of roles and bindings.
//!
//! Whoever may `escalate` a role can write any rules into it, and whoever may `bind` one can give
//! it to anybody; for all others each rule must be among their own.

use super::{authorize, follow::Authority};
use crate::{
    api::{auth::User, status::Status},
    types::{
        meta::{Kind, Object, ObjectKey},
        rbac::{Attributes, ClusterRole, PolicyRule, RBAC_GROUP, Role, RoleRef},
    },
};

/// Rules that a refusal lists.
const LISTED: usize = 20;

/// Says whether the user may write `next` in the place of `stored`.
///
/// # Errors
/// 403: it gives more than the user has. 404: the role that a binding names does not exist, so that
/// nobody can tell what it gives.
pub(in crate::api) fn may_grant(
    authority: &Authority,
    user: &User,
    stored: Option<&Object>,
    next: &Object,
) -> Result<(), Status> {
    let Ok(key) = next.key() else {
        return Ok(());
    };
    let members = match key.kind {
        Kind::Role | Kind::ClusterRole => ["rules", ""],
        Kind::RoleBinding | Kind::ClusterRoleBinding => ["roleRef", "subjects"],
        _ => return Ok(()),
    };
    let same = |stored: &Object| {
        let member = |name: &&str| stored.body.get(*name) == next.body.get(*name);
        members.iter().all(member)
    };
    if stored.is_some_and(same) {
        return Ok(());
    }
    let rules = match key.kind {
        Kind::Role | Kind::ClusterRole => {
            if may(authority, user, "escalate", &key) {
                return Ok(());
            }
            rules_in(&key, next)?
        }
        _ => match rules_behind(authority, user, &key, next)? {
            Some(rules) => rules,
            None => return Ok(()),
        },
    };
    held(authority, user, &key, &rules)
}

fn may(authority: &Authority, user: &User, verb: &str, key: &ObjectKey) -> bool {
    let wanted = Attributes {
        verb: verb.to_owned(),
        group: RBAC_GROUP.to_owned(),
        resource: key.kind.plural().to_owned(),
        namespace: key.namespace.clone(),
        name: key.name.clone(),
        ..Attributes::default()
    };
    authorize(authority, user, &wanted).is_ok()
}

fn rules_in(key: &ObjectKey, role: &Object) -> Result<Vec<PolicyRule>, Status> {
    let rules = match key.kind {
        Kind::Role => role.decode::<Role>().map(|role| role.rules),
        _ => role.decode::<ClusterRole>().map(|role| role.rules),
    };
    rules.map_err(|error| Status::bad_request(error.to_string()))
}

/// The rules that a binding gives; nothing where the user may bind the role whatever it gives.
fn rules_behind(
    authority: &Authority,
    user: &User,
    key: &ObjectKey,
    binding: &Object,
) -> Result<Option<Vec<PolicyRule>>, Status> {
    let role = binding.body.get("roleRef").cloned().unwrap_or_default();
    let role: RoleRef =
        serde_json::from_value(role).map_err(|error| Status::bad_request(error.to_string()))?;
    let kind = match role.kind.as_str() {
        "Role" => Kind::Role,
        _ => Kind::ClusterRole,
    };
    // Asked in the namespace of the binding, also where the role is a ClusterRole.
    let asked = ObjectKey::new(kind, &key.namespace, &role.name);
    if may(authority, user, "bind", &asked) {
        return Ok(None);
    }
    let rules = authority.policy().rules_of(&key.namespace, &role);
    rules
        .map(Some)
        .ok_or_else(|| Status::not_found(&ObjectKey::new(kind, "", role.name)))
}

/// Whether all rules are among the user's own in the namespace of the key.
fn held(
    authority: &Authority,
    user: &User,
    key: &ObjectKey,
    rules: &[PolicyRule],
) -> Result<(), Status> {
    let policy = authority.policy();
    let own: Vec<&PolicyRule> = policy.rules(user, &key.namespace).collect();
    let missing = rules.iter().flat_map(PolicyRule::parts);
    let missing = missing.filter(|part| !own.iter().any(|rule| rule.covers(part)));
    let mut missing: Vec<String> = missing.map(|part| shown(&part)).collect();
    missing.dedup();
    if missing.is_empty() {
        return Ok(());
    }
    let more = missing.len().saturating_sub(LISTED);
    missing.truncate(LISTED);
    if more > 0 {
        missing.push(format!("and {more} more"));
    }
    Err(Status::escalates(key, user, &missing.join("\n")))
}

/// A rule as Kubernetes prints it in such a refusal.
fn shown(rule: &PolicyRule) -> String {
    let lists = [
        ("APIGroups", &rule.api_groups),
        ("Resources", &rule.resources),
        ("ResourceNames", &rule.resource_names),
        ("NonResourceURLs", &rule.non_resource_urls),
        ("Verbs", &rule.verbs),
    ];
    let lists = lists.iter().filter(|(_, list)| !list.is_empty());
    let lists: Vec<String> = lists
        .map(|(name, list)| format!("{name}:{list:?}"))
        .collect();
    format!("{{{}}}", lists.join(", "))
}
