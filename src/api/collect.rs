//! What belongs to a deleted object goes with it: Kubernetes' garbage collector, for the kinds that
//! stand for nothing outside the store.
//!
//! A stack, a machine or an account is never collected: nobody means to lose what it stands for by
//! the name of its owner, and the controller takes away itself what it made. An owner of a kind that
//! is not served here is unknown, and unknown is not gone.

use std::{collections::BTreeSet, time::Duration};

use futures_util::{FutureExt, StreamExt, stream::SelectAll};
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    store::{ChangeKind, FOREGROUND, ORPHAN, Preconditions, Store, StoreError, Watch, WatchEvent},
    types::meta::{Kind, Object, ObjectKey, ObjectMeta, OwnerReference},
};

/// Kinds whose objects go with their owners.
const COLLECTED: [Kind; 7] = [
    Kind::Secret,
    Kind::ConfigMap,
    Kind::Lease,
    Kind::Role,
    Kind::RoleBinding,
    Kind::ClusterRole,
    Kind::ClusterRoleBinding,
];

/// Pause after the store could not be followed or written to.
const AGAIN: Duration = Duration::from_secs(1);

/// Follows the store until `stop`, and collects whenever something has gone or is to go.
pub(super) async fn run(store: Store, clock: Clock, stop: CancellationToken) {
    while !stop.is_cancelled() {
        let ended = stop.run_until_cancelled(follow(&store)).await;
        if let Some(Err(error)) = ended {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "dependents are not collected; trying again"
            );
        }
        stop.run_until_cancelled(clock.sleep(AGAIN)).await;
    }
}

/// Collects until the store cannot be followed any more.
async fn follow(store: &Store) -> Result<(), StoreError> {
    let mut held = BTreeSet::new();
    let mut changes = SelectAll::<Watch>::new();
    // Events own nothing, and many go at once.
    for kind in Kind::ALL.into_iter().filter(|kind| *kind != Kind::Event) {
        let listing = store.list(kind, None).await?;
        held.extend(
            listing
                .items
                .iter()
                .filter(|object| holds(object))
                .filter_map(key),
        );
        changes.push(store.watch(kind, None, listing.version)?);
    }
    loop {
        sweep(store, &mut held).await?;
        let mut due = false;
        while !due {
            let Some(event) = changes.next().await else {
                return Ok(());
            };
            due = concerns(&event?, &mut held);
        }
        // What happened at once is swept at once.
        while let Some(Some(event)) = changes.next().now_or_never() {
            concerns(&event?, &mut held);
        }
    }
}

/// Whether there may be something to collect.
fn concerns(event: &WatchEvent, held: &mut BTreeSet<ObjectKey>) -> bool {
    let object = &event.object;
    if event.kind == ChangeKind::Deleted {
        return true;
    }
    if holds(object) {
        held.extend(key(object));
        return true;
    }
    let owned = !object.metadata.owner_references.is_empty();
    owned && key(object).is_some_and(|key| COLLECTED.contains(&key.kind))
}

fn key(object: &Object) -> Option<ObjectKey> {
    object.key().ok()
}

/// Whether an object is to go and waits for what becomes of its dependents.
fn holds(object: &Object) -> bool {
    let held = |finalizer: &String| [FOREGROUND, ORPHAN].contains(&finalizer.as_str());
    object.metadata.deleting() && object.metadata.finalizers.iter().any(held)
}

/// One look at everything that has an owner, and at the owners that wait.
async fn sweep(store: &Store, held: &mut BTreeSet<ObjectKey>) -> Result<(), StoreError> {
    let mut waited_for = BTreeSet::new();
    for kind in COLLECTED {
        for object in store.list(kind, None).await?.items {
            if !object.metadata.owner_references.is_empty() {
                dependent(store, kind, object, &mut waited_for).await?;
            }
        }
    }
    for owner in held.clone() {
        let gone = match store.get(&owner).await? {
            Some(object) if holds(&object) => {
                let uid = object.metadata.stored_uid().as_str().to_owned();
                !waited_for.contains(&uid) && release(store, object).await?
            }
            _ => true,
        };
        if gone {
            held.remove(&owner);
        }
    }
    Ok(())
}

/// What an owner is to its dependent.
enum Owner {
    /// It stays, or nothing is known of it.
    There,
    /// It goes once its dependents have gone.
    Waits,
    /// It goes and leaves its dependents behind.
    LetsGo,
    Gone,
}

async fn owner(
    store: &Store,
    of: &ObjectMeta,
    reference: &OwnerReference,
) -> Result<Owner, StoreError> {
    let known =
        |kind: &Kind| kind.name() == reference.kind && kind.api_version() == reference.api_version;
    let Some(kind) = Kind::ALL.into_iter().find(known) else {
        return Ok(Owner::There);
    };
    if kind.namespaced() && of.namespace.is_empty() {
        // Nobody can tell in which namespace.
        return Ok(Owner::There);
    }
    let namespace = if kind.namespaced() {
        &*of.namespace
    } else {
        ""
    };
    let owner = store
        .get(&ObjectKey::new(kind, namespace, &*reference.name))
        .await?;
    let Some(owner) = owner.filter(|owner| *owner.metadata.stored_uid() == reference.uid) else {
        return Ok(Owner::Gone);
    };
    let has = |finalizer: &str| owner.metadata.finalizers.iter().any(|one| one == finalizer);
    Ok(match owner.metadata.deleting() {
        true if has(ORPHAN) => Owner::LetsGo,
        true if has(FOREGROUND) => Owner::Waits,
        _ => Owner::There,
    })
}

/// Deletes a dependent that nobody owns any more, and else takes from it the owners that it has
/// lost. Notes the owners that wait for it.
async fn dependent(
    store: &Store,
    kind: Kind,
    object: Object,
    waited_for: &mut BTreeSet<String>,
) -> Result<(), StoreError> {
    let mut kept = Vec::new();
    let (mut owned, mut let_go) = (false, false);
    for reference in &object.metadata.owner_references {
        match owner(store, &object.metadata, reference).await? {
            Owner::There => {
                owned = true;
                kept.push(reference.clone());
            }
            Owner::Waits => kept.push(reference.clone()),
            Owner::LetsGo => let_go = true,
            Owner::Gone => {}
        }
    }
    let key = ObjectKey::new(kind, &*object.metadata.namespace, &*object.metadata.name);
    if !owned && !let_go {
        let before = Preconditions {
            uid: object.metadata.uid.clone(),
            // Somebody may have given it another owner since.
            resource_version: object.metadata.resource_version.parse().ok(),
        };
        return match store.delete(&key, &before).await {
            Ok(crate::store::Deleted::Marked(_)) => {
                waited_for.extend(blocked(&object));
                Ok(())
            }
            done => unless_overtaken(done.map(drop)),
        };
    }
    if kept.len() == object.metadata.owner_references.len() {
        return Ok(());
    }
    let mut next = object;
    next.metadata.owner_references = kept;
    unless_overtaken(store.update(next).await.map(drop))
}

/// The owners that may not go before a dependent.
fn blocked(object: &Object) -> impl Iterator<Item = String> {
    let references = object.metadata.owner_references.iter();
    let blocking = references.filter(|one| one.block_owner_deletion == Some(true));
    blocking.map(|one| one.uid.as_str().to_owned())
}

/// Takes off what kept an owner for its dependents' sake; says whether that is done.
async fn release(store: &Store, mut owner: Object) -> Result<bool, StoreError> {
    let finalizers = &mut owner.metadata.finalizers;
    finalizers.retain(|finalizer| ![FOREGROUND, ORPHAN].contains(&finalizer.as_str()));
    match store.update(owner).await {
        Err(StoreError::Conflict { .. }) => Ok(false),
        written => unless_overtaken(written.map(drop)).map(|()| true),
    }
}

/// Somebody else wrote first: that is an event, and so another look.
fn unless_overtaken(written: Result<(), StoreError>) -> Result<(), StoreError> {
    match written {
        Err(StoreError::Conflict { .. } | StoreError::NotFound(_)) => Ok(()),
        written => written,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use serde_json::{Value, json};

    use super::*;
    use crate::store::Memory;

    async fn made(store: &Store, kind: Kind, name: &str, owners: Value) -> Object {
        let namespace = if kind.namespaced() { "default" } else { "" };
        let object = json!({
            "apiVersion": kind.api_version(), "kind": kind.name(),
            "metadata": {"name": name, "namespace": namespace, "ownerReferences": owners},
        });
        let object = serde_json::from_value(object).unwrap();
        store.create(object).await.unwrap()
    }

    fn gone(kind: Kind, name: &str) -> Value {
        json!({"apiVersion": kind.api_version(), "kind": kind.name(), "name": name, "uid": "1"})
    }

    #[tokio::test]
    async fn only_what_certainly_lost_all_its_owners_is_collected() {
        let memory = Arc::new(Memory::new(100));
        let store = Store::with_backend(memory, Clock::system());
        let owner = made(&store, Kind::Secret, "owner", json!([])).await;
        let there = json!({"apiVersion": "v1", "kind": "Secret", "name": "owner",
                           "uid": owner.metadata.uid});
        let lost = gone(Kind::Secret, "lost");
        let foreign = json!({"apiVersion": "apps/v1", "kind": "Deployment", "name": "d",
                             "uid": "1"});
        made(&store, Kind::Secret, "shared", json!([there, lost])).await;
        made(&store, Kind::Secret, "foreign", json!([foreign])).await;
        made(&store, Kind::Secret, "lonely", json!([lost])).await;
        made(
            &store,
            Kind::Lease,
            "another",
            json!([gone(Kind::Secret, "owner")]),
        )
        .await;
        // Nobody can tell in which namespace its owner was.
        made(&store, Kind::ClusterRole, "wide", json!([lost])).await;
        // They stand for something in a cloud.
        made(&store, Kind::ClearwaterStack, "ims", json!([lost])).await;
        made(&store, Kind::Machine, "ims-bono-0", json!([lost])).await;
        sweep(&store, &mut BTreeSet::new()).await.unwrap();
        let mut left = Vec::new();
        for kind in Kind::ALL {
            let items = store.list(kind, None).await.unwrap().items;
            left.extend(items.into_iter().map(|object| {
                let owners = object.metadata.owner_references.len();
                format!("{} {owners}", object.metadata.name)
            }));
        }
        let wanted = [
            "ims 1",
            "ims-bono-0 1",
            "foreign 1",
            "owner 0",
            "shared 1",
            "wide 1",
        ];
        assert_eq!(left, wanted);
    }
}
