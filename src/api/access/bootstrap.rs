//! The roles and bindings that are always there, as in Kubernetes: `view`, `edit`, `admin`,
//! `cluster-admin`, and what everybody may do.
//!
//! They are made at every start, and rights that they lack are added again, except where the
//! annotation `rbac.authorization.kubernetes.io/autoupdate` is `false`. What was added to them
//! stays.

use serde_json::{Value, json};

use crate::{
    api::auth::{AUTHENTICATED, MASTERS, UNAUTHENTICATED},
    store::{Preconditions, Store, StoreError},
    types::{
        meta::{GROUP, Kind, Object, ObjectKey},
        rbac::{ClusterRole, ClusterRoleBinding, PolicyRule, RBAC_GROUP, RoleRef, Subject},
    },
};

/// On a role or binding: whether what it lacks is added again.
const AUTOUPDATE: &str = "rbac.authorization.kubernetes.io/autoupdate";
/// How often one is reconciled again because another controller wrote it in between.
const ATTEMPTS: usize = 8;

const READ: &[&str] = &["get", "list", "watch"];
const WRITE: &[&str] = &["create", "delete", "deletecollection", "patch", "update"];
/// Machines are made by the controller alone.
const CHANGE: &[&str] = &["delete", "deletecollection", "patch", "update"];

/// Why they are not as they should be.
#[derive(Debug, thiserror::Error)]
#[error("the role or binding {name} cannot be made")]
pub(in crate::api) struct BootstrapError {
    name: String,
    source: StoreError,
}

/// Makes those that are missing, and adds what those that are there lack.
///
/// # Errors
/// The store cannot be read or written.
pub(in crate::api) async fn reconcile(store: &Store) -> Result<(), BootstrapError> {
    for wanted in roles().into_iter().chain(bindings()) {
        one(store, &wanted).await.map_err(|source| BootstrapError {
            name: wanted.metadata.name.clone(),
            source,
        })?;
    }
    Ok(())
}

async fn one(store: &Store, wanted: &Object) -> Result<(), StoreError> {
    let key = wanted.key().map_err(StoreError::Invalid)?;
    for _ in 0..ATTEMPTS {
        let written = match store.get(&key).await? {
            None => store.create(wanted.clone()).await.map(drop),
            Some(stored) => match completed(&stored, wanted) {
                Repair::Nothing => return Ok(()),
                Repair::Write(next) => store.update(*next).await.map(drop),
                Repair::MakeAnew => again(store, &key, wanted).await,
            },
        };
        match written {
            Err(
                StoreError::AlreadyExists(_)
                | StoreError::Conflict { .. }
                | StoreError::NotFound(_),
            ) => {}
            other => return other,
        }
    }
    Ok(())
}

/// A binding to another role than ours, which cannot be changed in place.
async fn again(store: &Store, key: &ObjectKey, wanted: &Object) -> Result<(), StoreError> {
    store.delete(key, &Preconditions::default()).await?;
    store.create(wanted.clone()).await.map(drop)
}

/// What one that is stored needs.
enum Repair {
    Nothing,
    Write(Box<Object>),
    MakeAnew,
}

fn completed(stored: &Object, wanted: &Object) -> Repair {
    let annotation = stored.metadata.annotations.get(AUTOUPDATE);
    if annotation.is_some_and(|value| value == "false") {
        return Repair::Nothing;
    }
    let mut next = stored.clone();
    if let (Ok(wanted), Ok(role)) = (
        wanted.decode::<ClusterRole>(),
        stored.decode::<ClusterRole>(),
    ) && stored.kind == Kind::ClusterRole.name()
    {
        let held = |part: &PolicyRule| role.rules.iter().any(|rule| rule.covers(part));
        let lacks = |rule: &&PolicyRule| !rule.parts().all(|part| held(&part));
        let missing: Vec<&PolicyRule> = wanted.rules.iter().filter(lacks).collect();
        extend(&mut next, "rules", &missing);
    } else if let Ok(wanted) = wanted.decode::<ClusterRoleBinding>() {
        let Ok(binding) = stored.decode::<ClusterRoleBinding>() else {
            return Repair::MakeAnew;
        };
        let to = |role: &RoleRef| (role.kind.clone(), role.name.clone());
        if to(&binding.role_ref) != to(&wanted.role_ref) {
            return Repair::MakeAnew;
        }
        let same = |one: &Subject, two: &Subject| (&one.kind, &one.name) == (&two.kind, &two.name);
        let lacks = |subject: &&Subject| !binding.subjects.iter().any(|had| same(had, subject));
        let missing: Vec<&Subject> = wanted.subjects.iter().filter(lacks).collect();
        extend(&mut next, "subjects", &missing);
    }
    if next == *stored {
        Repair::Nothing
    } else {
        Repair::Write(Box::new(next))
    }
}

fn extend<T: serde::Serialize>(object: &mut Object, member: &str, missing: &[T]) {
    if missing.is_empty() {
        return;
    }
    let list = object.body.entry(member).or_insert_with(|| json!([]));
    if let Some(list) = list.as_array_mut() {
        list.extend(missing.iter().map(|one| json!(one)));
    }
}

fn object(kind: Kind, name: &str, members: &Value) -> Object {
    let mut object = json!({
        "apiVersion": kind.api_version(), "kind": kind.name(),
        "metadata": {
            "name": name,
            "labels": { "kubernetes.io/bootstrapping": "rbac-defaults" },
            "annotations": { AUTOUPDATE: "true" },
        },
    });
    if let (Some(object), Some(members)) = (object.as_object_mut(), members.as_object()) {
        object.extend(members.clone());
    }
    serde_json::from_value(object).expect("the objects written here have their kinds' shapes")
}

fn resources(group: &str, resources: &[&str], verbs: &[&str]) -> Value {
    json!({ "apiGroups": [group], "resources": resources, "verbs": verbs })
}

fn paths(paths: &[&str]) -> Value {
    json!({ "nonResourceURLs": paths, "verbs": ["get"] })
}

/// What may be read in a namespace: no Secrets, and no roles, which would tell whom to attack.
fn view() -> Vec<Value> {
    let own = [
        "clearwaterstacks",
        "clearwaterstacks/status",
        "cloudaccounts",
        "cloudaccounts/status",
        "machines",
        "machines/status",
    ];
    vec![
        resources(GROUP, &own, READ),
        resources("", &["configmaps", "events", "namespaces"], READ),
        resources("events.k8s.io", &["events"], READ),
        resources("coordination.k8s.io", &["leases"], READ),
    ]
}

/// What may be changed in a namespace. Statuses are the controller's.
fn edit() -> Vec<Value> {
    let mut rules = view();
    rules.extend([
        resources(GROUP, &["clearwaterstacks", "cloudaccounts"], WRITE),
        resources(GROUP, &["clearwaterstacks/plan"], &["create"]),
        resources(GROUP, &["machines"], CHANGE),
        resources("", &["secrets"], READ),
        resources("", &["configmaps", "secrets"], WRITE),
        resources("coordination.k8s.io", &["leases"], WRITE),
    ]);
    rules
}

fn admin() -> Vec<Value> {
    let mut rules = edit();
    let local = ["localsubjectaccessreviews"];
    rules.extend([
        resources(RBAC_GROUP, &["roles", "rolebindings"], READ),
        resources(RBAC_GROUP, &["roles", "rolebindings"], WRITE),
        resources("authorization.k8s.io", &local, &["create"]),
    ]);
    rules
}

fn roles() -> Vec<Object> {
    let health = ["/healthz", "/livez", "/readyz", "/version", "/version/"];
    let discovery = [
        "/api",
        "/api/*",
        "/apis",
        "/apis/*",
        "/healthz",
        "/livez",
        "/openapi",
        "/openapi/*",
        "/readyz",
        "/version",
        "/version/",
    ];
    let asking = ["selfsubjectaccessreviews", "selfsubjectrulesreviews"];
    let create: &[&str] = &["create"];
    let roles = [
        ("view", view()),
        ("edit", edit()),
        ("admin", admin()),
        (
            "cluster-admin",
            vec![
                resources("*", &["*"], &["*"]),
                json!({ "nonResourceURLs": ["*"], "verbs": ["*"] }),
            ],
        ),
        ("system:discovery", vec![paths(&discovery)]),
        ("system:public-info-viewer", vec![paths(&health)]),
        (
            "system:monitoring",
            vec![paths(&["/metrics", "/healthz", "/livez", "/readyz"])],
        ),
        (
            "system:basic-user",
            vec![
                resources("authorization.k8s.io", &asking, create),
                resources("authentication.k8s.io", &["selfsubjectreviews"], create),
            ],
        ),
    ];
    let role = |(name, rules): (&str, Vec<Value>)| {
        object(Kind::ClusterRole, name, &json!({ "rules": rules }))
    };
    roles.into_iter().map(role).collect()
}

fn bindings() -> Vec<Object> {
    let bindings: [(&str, &[&str]); 5] = [
        ("cluster-admin", &[MASTERS]),
        ("system:discovery", &[AUTHENTICATED]),
        (
            "system:public-info-viewer",
            &[AUTHENTICATED, UNAUTHENTICATED],
        ),
        ("system:monitoring", &["system:monitoring"]),
        ("system:basic-user", &[AUTHENTICATED]),
    ];
    let binding = |(name, groups): (&str, &[&str])| {
        let group = |name: &&str| json!({ "kind": "Group", "apiGroup": RBAC_GROUP, "name": name });
        let subjects: Vec<Value> = groups.iter().map(group).collect();
        let role = json!({ "kind": "ClusterRole", "apiGroup": RBAC_GROUP, "name": name });
        let members = json!({ "roleRef": role, "subjects": subjects });
        object(Kind::ClusterRoleBinding, name, &members)
    };
    bindings.into_iter().map(binding).collect()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::{
        clock::Clock,
        store::Memory,
        types::admission::{FieldValidation, admit},
    };

    #[test]
    fn what_is_made_is_admitted() {
        for object in roles().into_iter().chain(bindings()) {
            admit(&object, FieldValidation::Strict).unwrap();
        }
    }

    #[test]
    fn nobody_but_who_may_edit_reads_secrets() {
        let secret = PolicyRule {
            verbs: vec!["get".to_owned()],
            api_groups: vec![String::new()],
            resources: vec!["secrets".to_owned()],
            ..PolicyRule::default()
        };
        for object in roles() {
            let role: ClusterRole = object.decode().unwrap();
            let reads = role.rules.iter().any(|rule| rule.covers(&secret));
            let name = role.metadata.name.as_str();
            assert_eq!(
                reads,
                ["edit", "admin", "cluster-admin"].contains(&name),
                "{name}"
            );
        }
    }

    #[tokio::test]
    async fn what_is_lacking_is_added_and_what_was_added_stays() {
        let clock = Clock::starting_at(jiff::Timestamp::UNIX_EPOCH);
        let store = Store::with_backend(Arc::new(Memory::new(100)), clock);
        reconcile(&store).await.unwrap();
        let before = store.version().await.unwrap();
        reconcile(&store).await.unwrap();
        assert_eq!(
            store.version().await.unwrap(),
            before,
            "nothing is written again"
        );
        let key = ObjectKey::new(Kind::ClusterRole, "", "view");
        let mut view = store.get(&key).await.unwrap().unwrap();
        view.body["rules"] = json!([resources("", &["secrets"], &["list"])]);
        store.update(view).await.unwrap();
        let binding = ObjectKey::new(Kind::ClusterRoleBinding, "", "cluster-admin");
        let mut changed = store.get(&binding).await.unwrap().unwrap();
        changed.body["roleRef"]["name"] = json!("view");
        store.update(changed).await.unwrap();
        reconcile(&store).await.unwrap();
        let view: ClusterRole = store.get_as("", "view").await.unwrap().unwrap();
        assert_eq!(view.rules.len(), 5, "{:?}", view.rules);
        let bound: ClusterRoleBinding = store.get_as("", "cluster-admin").await.unwrap().unwrap();
        assert_eq!(bound.role_ref.name, "cluster-admin");
        // Whoever says so is left alone.
        let mut view = store.get(&key).await.unwrap().unwrap();
        view.body["rules"] = json!([]);
        let annotations = &mut view.metadata.annotations;
        annotations.insert(AUTOUPDATE.to_owned(), "false".to_owned());
        store.update(view).await.unwrap();
        reconcile(&store).await.unwrap();
        let view: ClusterRole = store.get_as("", "view").await.unwrap().unwrap();
        assert!(view.rules.is_empty());
    }
}
