//! The roles and bindings that are stored, compiled so that a decision is a few look-ups.
//!
//! Made as a whole from all of them whenever one changes, and never changed after that: whoever
//! holds one decides on one state of the rules.

use std::{
    collections::BTreeMap,
    sync::{Arc, LazyLock},
};

use crate::{
    api::auth::{MASTERS, User},
    types::{
        meta::{Kind, Object, ObjectKey, Resource},
        rbac::{
            ALL, Attributes, ClusterRole, ClusterRoleBinding, PolicyRule, Role, RoleBinding,
            RoleRef, Subject,
        },
    },
};

/// Who may do what. Nobody may do anything before there is something in it, except
/// `system:masters`.
#[derive(Debug, Default)]
pub(in crate::api) struct Policy {
    everywhere: Grants,
    within: BTreeMap<String, Grants>,
    /// By namespace, which is empty for a `ClusterRole`, and name.
    roles: BTreeMap<(String, String), Rules>,
}

type Rules = Arc<[PolicyRule]>;

/// What bindings of one scope give, by whom they give it.
#[derive(Debug, Default)]
struct Grants {
    users: BTreeMap<String, Vec<Grant>>,
    groups: BTreeMap<String, Vec<Grant>>,
}

/// The rights of one role by one binding.
#[derive(Clone, Debug)]
struct Grant {
    rules: Rules,
    binding: Arc<str>,
}

/// May do everything, whatever is stored: so nobody can lock the administrator out.
static EVERYTHING: LazyLock<Grant> = LazyLock::new(|| {
    let all = || vec![ALL.to_owned()];
    let resources = PolicyRule {
        verbs: all(),
        api_groups: all(),
        resources: all(),
        ..PolicyRule::default()
    };
    let paths = PolicyRule {
        verbs: all(),
        non_resource_urls: all(),
        ..PolicyRule::default()
    };
    Grant {
        rules: [resources, paths].into(),
        binding: format!("group {MASTERS:?}").into(),
    }
});

impl Policy {
    /// The policy that roles and bindings make together. One that has not its kind's shape gives
    /// no right, and neither does a binding whose role is missing.
    pub(in crate::api) fn compile<'a>(
        objects: impl Iterator<Item = (&'a ObjectKey, &'a Object)> + Clone,
    ) -> Self {
        let mut policy = Self::default();
        for (key, object) in objects.clone() {
            let rules = match key.kind {
                Kind::Role => typed::<Role>(object).map(|role| role.rules),
                Kind::ClusterRole => typed::<ClusterRole>(object).map(|role| role.rules),
                _ => None,
            };
            if let Some(rules) = rules {
                let place = (key.namespace.clone(), key.name.clone());
                policy.roles.insert(place, rules.into());
            }
        }
        for (key, object) in objects {
            match key.kind {
                Kind::RoleBinding => {
                    if let Some(binding) = typed::<RoleBinding>(object) {
                        policy.bind(key, &binding.role_ref, &binding.subjects);
                    }
                }
                Kind::ClusterRoleBinding => {
                    if let Some(binding) = typed::<ClusterRoleBinding>(object) {
                        policy.bind(key, &binding.role_ref, &binding.subjects);
                    }
                }
                _ => {}
            }
        }
        policy
    }

    fn bind(&mut self, key: &ObjectKey, role: &RoleRef, subjects: &[Subject]) {
        let Some(rules) = self.role(&key.namespace, role) else {
            return;
        };
        let place = match key.namespace.as_str() {
            "" => key.name.clone(),
            namespace => format!("{}/{namespace}", key.name),
        };
        let told = format!("{} {place:?} of {} {:?}", key.kind, role.kind, role.name);
        let grant = Grant {
            rules: Arc::clone(rules),
            binding: told.into(),
        };
        let grants = match key.namespace.as_str() {
            "" => &mut self.everywhere,
            namespace => self.within.entry(namespace.to_owned()).or_default(),
        };
        for subject in subjects {
            let (list, name) = match subject.kind.as_str() {
                "User" => (&mut grants.users, subject.name.clone()),
                "Group" => (&mut grants.groups, subject.name.clone()),
                "ServiceAccount" => {
                    let Subject {
                        namespace, name, ..
                    } = subject;
                    let user = format!("system:serviceaccount:{namespace}:{name}");
                    (&mut grants.users, user)
                }
                _ => continue,
            };
            list.entry(name).or_default().push(grant.clone());
        }
    }

    /// The rules of a role that a binding in a namespace (empty: in none) points at.
    fn role(&self, namespace: &str, role: &RoleRef) -> Option<&Rules> {
        let namespace = match role.kind.as_str() {
            "Role" => namespace,
            "ClusterRole" => "",
            _ => return None,
        };
        self.roles.get(&(namespace.to_owned(), role.name.clone()))
    }

    /// The rules of a role, copied out.
    pub(in crate::api) fn rules_of(
        &self,
        namespace: &str,
        role: &RoleRef,
    ) -> Option<Vec<PolicyRule>> {
        self.role(namespace, role).map(|rules| rules.to_vec())
    }

    /// What lets the user do that, in words; nothing where it may not be done.
    pub(in crate::api) fn allows(&self, user: &User, wanted: &Attributes) -> Option<String> {
        let allows = |grant: &&Grant| grant.rules.iter().any(|rule| rule.allows(wanted));
        let grant = self.grants(user, &wanted.namespace).find(allows)?;
        Some(format!("RBAC: allowed by {}", grant.binding))
    }

    /// All rules that hold for the user in a namespace, or of those that hold everywhere.
    pub(in crate::api) fn rules<'a>(
        &'a self,
        user: &'a User,
        namespace: &str,
    ) -> impl Iterator<Item = &'a PolicyRule> {
        self.grants(user, namespace)
            .flat_map(|grant| grant.rules.iter())
    }

    fn grants<'a>(&'a self, user: &'a User, namespace: &str) -> impl Iterator<Item = &'a Grant> {
        let master = user.groups.iter().any(|group| group == MASTERS);
        let within = Some(namespace).filter(|name| !name.is_empty());
        let within = within.and_then(|name| self.within.get(name));
        let scopes = std::iter::once(&self.everywhere).chain(within);
        let stored = scopes.flat_map(|grants| grants.of(user));
        master.then(|| &*EVERYTHING).into_iter().chain(stored)
    }
}

impl Grants {
    fn of<'a>(&'a self, user: &'a User) -> impl Iterator<Item = &'a Grant> {
        let by_name = self.users.get(&user.name);
        let by_group = user
            .groups
            .iter()
            .filter_map(|group| self.groups.get(group));
        by_name.into_iter().chain(by_group).flatten()
    }
}

fn typed<T: Resource>(object: &Object) -> Option<T> {
    let read = object.decode();
    if let Err(error) = &read {
        let name = &object.metadata.name;
        tracing::warn!(kind = object.kind, name, %error, "it gives no right: it cannot be read");
    }
    read.ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object(value: serde_json::Value) -> (ObjectKey, Object) {
        let mut object: Object = serde_json::from_value(value).unwrap();
        object.api_version = "rbac.authorization.k8s.io/v1".to_owned();
        (object.key().unwrap(), object)
    }

    fn policy() -> Policy {
        let base = |kind: &str, name: &str, namespace: &str| json!({"apiVersion": "", "kind": kind, "metadata": {"name": name, "namespace": namespace}});
        let with = |mut value: serde_json::Value, more: serde_json::Value| {
            let members = more.as_object().unwrap().clone();
            value.as_object_mut().unwrap().extend(members);
            object(value)
        };
        let get = |what: &str| json!({"rules": [{"verbs": ["get", "list"], "apiGroups": [""], "resources": [what]}]});
        let bound = |kind: &str, role: &str, who: serde_json::Value| json!({"roleRef": {"kind": kind, "name": role}, "subjects": [who]});
        let objects = [
            with(base("ClusterRole", "events", ""), get("events")),
            with(base("Role", "secrets", "a"), get("secrets")),
            with(base("Role", "secrets", "b"), json!({"rules": []})),
            with(
                base("RoleBinding", "of-a", "a"),
                bound("Role", "secrets", json!({"kind": "User", "name": "ann"})),
            ),
            with(
                base("RoleBinding", "of-b", "b"),
                bound("Role", "secrets", json!({"kind": "User", "name": "bob"})),
            ),
            with(
                base("RoleBinding", "gone", "a"),
                bound("Role", "gone", json!({"kind": "User", "name": "bob"})),
            ),
            with(
                base("RoleBinding", "down", "a"),
                bound(
                    "ClusterRole",
                    "events",
                    json!({"kind": "Group", "name": "ops"}),
                ),
            ),
            with(
                base("ClusterRoleBinding", "all", ""),
                bound(
                    "ClusterRole",
                    "events",
                    json!({"kind": "ServiceAccount", "name": "bot", "namespace": "a"}),
                ),
            ),
        ];
        Policy::compile(objects.iter().map(|(key, object)| (key, object)))
    }

    #[test]
    fn a_right_ends_with_its_namespace_and_its_subject() {
        let policy = policy();
        let table = [
            ("ann", "", "secrets", "a", true),
            ("ann", "", "secrets", "b", false),
            // All namespaces are more than one.
            ("ann", "", "secrets", "", false),
            ("bob", "", "secrets", "a", false),
            ("bob", "", "secrets", "b", false),
            ("ann", "", "events", "a", false),
            ("ann", "ops", "events", "a", true),
            ("ops", "", "events", "a", false),
            ("ann", "ops", "events", "b", false),
            ("system:serviceaccount:a:bot", "", "events", "b", true),
            ("system:serviceaccount:a:bot", "", "events", "", true),
            ("root", MASTERS, "secrets", "", true),
        ];
        for (name, group, resource, namespace, allowed) in table {
            let user = User::new(name, [group]);
            let wanted = Attributes {
                verb: "list".to_owned(),
                resource: resource.to_owned(),
                namespace: namespace.to_owned(),
                ..Attributes::default()
            };
            let told = policy.allows(&user, &wanted);
            assert_eq!(
                told.is_some(),
                allowed,
                "{name} {group} {resource} {namespace:?}: {told:?}"
            );
        }
    }
}
