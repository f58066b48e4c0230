//! What a write makes of an object: Kubernetes' rules for metadata, status and deletion.
//!
//! Pure functions from the stored object and the wanted one to the next one. They neither read
//! nor write, so [`super::Store`] can apply them again when somebody else wrote in between.
//! Source: Kubernetes API conventions 1.34 and `apiextensions-apiserver` 0.34, as observed.

use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{Preconditions, error::StoreError};
use crate::types::{
    id::Uid,
    meta::{Object, ObjectKey, ObjectMeta},
};

/// What an update comes to.
#[derive(Debug)]
pub(super) enum Outcome {
    /// Nothing would change: nothing is written.
    Same,
    /// This is to be stored.
    Store(Object),
    /// The last finalizer of a deleting object has gone, and so does the object.
    Remove(Object),
}

/// The key of an object of a kind that is stored here.
pub(super) fn known(object: &Object) -> Result<ObjectKey, StoreError> {
    object.key().map_err(|kind| {
        StoreError::Invalid(format!("kind: {kind} is not one of the kinds stored here"))
    })
}

/// Where an object belongs, if it can be stored at all.
pub(super) fn key(object: &Object) -> Result<ObjectKey, StoreError> {
    let key = known(object)?;
    if key.name.is_empty() {
        return invalid("metadata.name: a name is needed");
    }
    if key.kind.namespaced() == key.namespace.is_empty() {
        return invalid(if key.namespace.is_empty() {
            "metadata.namespace: a namespace is needed"
        } else {
            "metadata.namespace: the kind has no namespaces"
        });
    }
    // They are the parts of the path under which the object is stored.
    let unfit = |text: &str| text.contains(|c: char| c == '/' || c.is_control());
    if unfit(&key.name) || unfit(&key.namespace) {
        return invalid("metadata: name and namespace may contain no `/` or control character");
    }
    Ok(key)
}

/// A new object, as the server completes it. What the client says of the server's fields is
/// ignored; `status` is the controller's, who writes it once the object exists.
pub(super) fn created(
    mut object: Object,
    key: &ObjectKey,
    uid: Uid,
    now: Timestamp,
) -> Result<Object, StoreError> {
    // "0" means "any version" to Kubernetes, and its API server accepts it here.
    if !matches!(object.metadata.resource_version.as_str(), "" | "0") {
        return invalid("metadata.resourceVersion: must not be set on an object to be created");
    }
    if key.kind.has_status() {
        object.body.remove("status");
    }
    object.metadata = ObjectMeta {
        uid: Some(uid),
        generation: Some(1),
        creation_timestamp: Some(whole_seconds(now)),
        deletion_timestamp: None,
        deletion_grace_period_seconds: None,
        ..object.metadata
    };
    Ok(object)
}

/// `wanted` in the place of `stored`, but with the status and the server's fields of `stored`.
pub(super) fn updated(
    stored: &Object,
    wanted: &Object,
    key: &ObjectKey,
) -> Result<Outcome, StoreError> {
    same_object(&stored.metadata, &wanted.metadata, key)?;
    let mut next = wanted.clone();
    if key.kind.has_status() {
        replace(&mut next.body, "status", stored.body.get("status"));
    }
    let respecified = next.body != stored.body;
    keep_server_fields(&mut next.metadata, &stored.metadata);
    if respecified {
        next.metadata.generation = bumped(&stored.metadata);
    }
    if stored.metadata.deleting() {
        refuse_new_finalizers(&stored.metadata, &next.metadata)?;
        if next.metadata.finalizers.is_empty() {
            return Ok(Outcome::Remove(next));
        }
    }
    Ok(unless_same(stored, next))
}

/// `stored` with the status of `wanted`, and its word on who wrote what.
pub(super) fn with_status(
    stored: &Object,
    wanted: &Object,
    key: &ObjectKey,
) -> Result<Outcome, StoreError> {
    if !key.kind.has_status() {
        return invalid(format!("status: a {} has none", key.kind));
    }
    same_object(&stored.metadata, &wanted.metadata, key)?;
    let mut next = stored.clone();
    replace(&mut next.body, "status", wanted.body.get("status"));
    // Who wrote which field is known to whoever read this very version.
    if !wanted.metadata.resource_version.is_empty() {
        let entries = &wanted.metadata.managed_fields;
        next.metadata.managed_fields.clone_from(entries);
    }
    Ok(unless_same(stored, next))
}

/// What a request to delete comes to; `hold` is one more finalizer, which says what becomes of what
/// belongs to the object.
pub(super) fn deleted(
    stored: &Object,
    preconditions: &Preconditions,
    (now, hold): (Timestamp, Option<&str>),
    key: &ObjectKey,
) -> Result<Outcome, StoreError> {
    if let Some(uid) = &preconditions.uid {
        same_uid(&stored.metadata, uid, key)?;
    }
    if let Some(version) = preconditions.resource_version {
        same_version(&stored.metadata, &version.to_string(), key)?;
    }
    if stored.metadata.deleting() && !stored.metadata.finalizers.is_empty() {
        return Ok(Outcome::Same);
    }
    if protected(stored) {
        return Err(StoreError::Protected(key.clone()));
    }
    let mut next = stored.clone();
    let finalizers = &mut next.metadata.finalizers;
    finalizers.extend(hold.map(str::to_owned));
    if finalizers.is_empty() {
        return Ok(Outcome::Remove(next));
    }
    next.metadata.deletion_timestamp = Some(whole_seconds(now));
    next.metadata.deletion_grace_period_seconds = Some(0);
    next.metadata.generation = bumped(&stored.metadata);
    Ok(Outcome::Store(next))
}

/// Whether the object's own spec says that it is not to be deleted.
fn protected(stored: &Object) -> bool {
    let spec = stored.body.get("spec");
    let protection = spec.and_then(|spec| spec.get("deletionProtection"));
    protection.and_then(Value::as_bool) == Some(true)
}

/// Whether what is wanted was made of what is stored.
pub(super) fn same_object(
    stored: &ObjectMeta,
    wanted: &ObjectMeta,
    key: &ObjectKey,
) -> Result<(), StoreError> {
    if let Some(uid) = &wanted.uid {
        same_uid(stored, uid, key)?;
    }
    match wanted.resource_version.as_str() {
        "" => Ok(()),
        version => same_version(stored, version, key),
    }
}

fn same_uid(stored: &ObjectMeta, uid: &Uid, key: &ObjectKey) -> Result<(), StoreError> {
    let found = stored.stored_uid();
    if found == uid {
        return Ok(());
    }
    let why = format!("its uid is {found} and not {uid}; it was deleted and created again");
    Err(StoreError::conflict(key, why))
}

fn same_version(stored: &ObjectMeta, version: &str, key: &ObjectKey) -> Result<(), StoreError> {
    let found = &stored.resource_version;
    if found == version {
        return Ok(());
    }
    let why = format!("it was changed since, and is at version {found} and not {version}");
    Err(StoreError::conflict(key, why))
}

fn keep_server_fields(next: &mut ObjectMeta, stored: &ObjectMeta) {
    next.uid.clone_from(&stored.uid);
    next.resource_version.clone_from(&stored.resource_version);
    next.generation = stored.generation;
    next.creation_timestamp = stored.creation_timestamp;
    next.deletion_timestamp = stored.deletion_timestamp;
    next.deletion_grace_period_seconds = stored.deletion_grace_period_seconds;
}

fn refuse_new_finalizers(stored: &ObjectMeta, next: &ObjectMeta) -> Result<(), StoreError> {
    let new = |finalizer: &&String| !stored.finalizers.contains(finalizer);
    match next.finalizers.iter().find(new) {
        Some(finalizer) => invalid(format!(
            "metadata.finalizers: {finalizer} cannot be added to an object that is being deleted"
        )),
        None => Ok(()),
    }
}

fn unless_same(stored: &Object, next: Object) -> Outcome {
    if next == *stored {
        Outcome::Same
    } else {
        Outcome::Store(next)
    }
}

fn replace(body: &mut Map<String, Value>, member: &str, value: Option<&Value>) {
    match value {
        Some(value) => body.insert(member.to_owned(), value.clone()),
        None => body.remove(member),
    };
}

fn bumped(stored: &ObjectMeta) -> Option<i64> {
    Some(stored.generation.unwrap_or(0) + 1)
}

/// Kubernetes' timestamps have no fractions.
fn whole_seconds(time: Timestamp) -> Timestamp {
    Timestamp::from_second(time.as_second()).expect("a part of a valid time is one as well")
}

fn invalid<T>(why: impl Into<String>) -> Result<T, StoreError> {
    Err(StoreError::Invalid(why.into()))
}
