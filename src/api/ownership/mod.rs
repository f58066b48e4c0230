//! Who owns which field of an object, and server-side apply, as Kubernetes has it.
//!
//! Every write through the API leaves its trace in `metadata.managedFields`. An *update* owns what
//! it changed, and takes it from everybody else. An *apply* says all that its manager wants: fields
//! that another manager owns with another value are a conflict, and fields that the manager wanted
//! before and no longer names go, unless somebody else owns them. What the controller writes
//! straight into the store is nobody's.
//!
//! Source: `structured-merge-diff` v6 and `apimachinery` 0.34, as observed and documented.

mod entries;
mod fields;
mod walk;

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::{Value, json};

pub(super) use self::entries::{Manager, Operation};
use self::{
    entries::Entries,
    fields::{Fields, member},
    walk::Difference,
};
use crate::types::{
    meta::{Kind, Object},
    schema,
};

/// Who is said to have written what was there before anything was applied.
const BEFORE: &str = "before-first-apply";
/// The manager whose applies take over what it applied by itself before, on the client's side.
const KUBECTL: &str = "kubectl";
/// Where kubectl keeps what it applied on the client's side.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// Members of the metadata that the server keeps for itself.
const SERVERS: [&str; 10] = [
    "name",
    "namespace",
    "uid",
    "creationTimestamp",
    "deletionTimestamp",
    "deletionGracePeriodSeconds",
    "generation",
    "resourceVersion",
    "selfLink",
    "managedFields",
];

/// Fields that somebody else owns with another value.
#[derive(Debug, PartialEq)]
pub(super) struct Conflict {
    /// Who, as it is told.
    pub(super) manager: String,
    /// The field, like `.spec.domain`.
    pub(super) field: String,
}

/// Why an apply was not done.
#[derive(Debug, PartialEq)]
pub(super) enum Refusal {
    /// What is applied is no object of its kind: paths and why.
    Unfit(Vec<String>),
    Conflicts(Vec<Conflict>),
}

/// Notes in `next` who changed what of `stored`. Entries that the client sent are taken as a
/// beginning, if they are any; a single empty one forgets everything.
pub(super) fn updated(
    kind: Kind,
    stored: Option<&Object>,
    next: &mut Object,
    writer: &Manager,
    now: Timestamp,
) {
    let kept = stored.map_or(&[][..], |stored| &stored.metadata.managed_fields);
    let given = std::mem::take(&mut next.metadata.managed_fields);
    let entries = match given.as_slice() {
        [Value::Object(members)] if members.is_empty() => Some(Entries::default()),
        [] => None,
        given => Entries::read(given),
    };
    let reset = entries.as_ref().is_some_and(Entries::is_empty);
    let mut entries = entries.or_else(|| Entries::read(kept)).unwrap_or_default();
    let nothing = json!({});
    let (old, new) = (
        stored.map_or(nothing, |stored| json!(stored)),
        json!(&*next),
    );
    let difference = difference(kind, writer, &old, &new);
    if !reset && difference != Difference::default() {
        let mut fields = entries.of(writer).cloned().unwrap_or_default();
        fields = fields.without(&difference.removed);
        fields.extend(&difference.set);
        entries.take_from_others(writer, &difference.set);
        entries.take_from_others(writer, &difference.removed);
        entries.put(writer.clone(), fields, now);
    }
    next.metadata.managed_fields = entries.write();
}

/// What `stored` becomes when its manager applies `config`, with the entries that say so.
///
/// # Errors
/// See [`Refusal`].
pub(super) fn applied(
    kind: Kind,
    stored: Option<&Object>,
    config: &Value,
    (applier, force, now): (&Manager, bool, Timestamp),
) -> Result<Value, Refusal> {
    let schema = schema::of(kind);
    let mut config = config.clone();
    without_empty_metadata(&mut config);
    let config = &config;
    let wanted = walk::wanted(schema, config).map_err(Refusal::Unfit)?;
    let wanted = tracked(kind, applier, &wanted);
    let live = stored.map_or_else(|| json!({}), |stored| json!(stored));
    let mut entries = entries_of(kind, stored, &live, now);
    let mut merged = live.clone();
    walk::merge(schema, &mut merged, config);
    let former = entries.of(applier).cloned().unwrap_or_default();
    let mut kept = wanted.clone();
    entries
        .others(applier)
        .for_each(|entry| kept.extend(&entry.fields));
    walk::remove(schema, &mut merged, &former.without(&kept), &kept);
    without_empty_metadata(&mut merged);
    let difference = difference(kind, applier, &live, &merged);
    let conflicts = if force {
        Vec::new()
    } else {
        let allowed = taken_over(schema, applier, &live);
        conflicts(&entries, applier, &difference.set.without(&allowed))
    };
    if !conflicts.is_empty() {
        return Err(Refusal::Conflicts(conflicts));
    }
    refresh_note(applier, &live, &mut merged, config);
    if difference != Difference::default() || entries.of(applier) != Some(&wanted) {
        entries.take_from_others(applier, &difference.set);
        entries.take_from_others(applier, &difference.removed);
        entries.put(applier.clone(), wanted, now);
    }
    merged["metadata"]["managedFields"] = json!(entries.write());
    Ok(merged)
}

/// Takes out of the metadata what is empty, which is not told from what is not there.
fn without_empty_metadata(object: &mut Value) {
    let Some(Value::Object(metadata)) = object.get_mut("metadata") else {
        return;
    };
    for name in ["annotations", "finalizers", "labels", "ownerReferences"] {
        let empty = match metadata.get(name) {
            Some(Value::Object(members)) => members.is_empty(),
            Some(Value::Array(items)) => items.is_empty(),
            _ => false,
        };
        if empty {
            metadata.remove(name);
        }
    }
}

/// The entries of an object. One that has none was written by somebody before.
fn entries_of(kind: Kind, stored: Option<&Object>, live: &Value, now: Timestamp) -> Entries {
    let Some(stored) = stored else {
        return Entries::default();
    };
    let mut entries = Entries::read(&stored.metadata.managed_fields).unwrap_or_default();
    if entries.is_empty() {
        let before = Manager {
            operation: Operation::Update,
            name: BEFORE.to_owned(),
            subresource: String::new(),
            api_version: kind.api_version().to_owned(),
        };
        let all = difference(kind, &before, &json!({}), live);
        entries.put(before, all.set, now);
    }
    entries
}

fn difference(kind: Kind, writer: &Manager, old: &Value, new: &Value) -> Difference {
    let Difference { set, removed } = Difference::between(schema::of(kind), old, new);
    Difference {
        set: tracked(kind, writer, &set),
        removed: tracked(kind, writer, &removed),
    }
}

/// The fields that a writer can own: of a subresource what is its own, else everything but the
/// status and what the server keeps for itself.
fn tracked(kind: Kind, writer: &Manager, fields: &Fields) -> Fields {
    let mut fields = fields.clone();
    fields.own = false;
    let status = member("status");
    if !writer.subresource.is_empty() {
        fields.below.retain(|step, _| *step == status);
        return fields;
    }
    let outer = [member("apiVersion"), member("kind")];
    fields
        .below
        .retain(|step, _| !(outer.contains(step) || *step == status && kind.has_status()));
    if let Some(metadata) = fields.below.get_mut(&member("metadata")) {
        let servers = SERVERS.map(member);
        metadata.own = false;
        metadata.below.retain(|step, _| !servers.contains(step));
    }
    fields.below.retain(|_, fields| !fields.is_empty());
    fields
}

fn conflicts(entries: &Entries, applier: &Manager, changed: &Fields) -> Vec<Conflict> {
    let others = entries.others(applier);
    let of = |entry: &entries::Entry| {
        let manager = entry.manager.shown();
        let paths = entry.fields.common(changed).paths().into_iter();
        let conflict = move |field| Conflict {
            manager: manager.clone(),
            field,
        };
        paths.map(conflict).collect::<Vec<_>>()
    };
    others.flat_map(of).collect()
}

/// Fields that kubectl applied on the client's side and that are still as it left them: its
/// server-side apply may change them, whoever is said to own them.
fn taken_over(schema: &Value, applier: &Manager, live: &Value) -> Fields {
    let note = live["metadata"]["annotations"][LAST_APPLIED].as_str();
    let note = note.filter(|_| applier.name == KUBECTL);
    let Some(note) = note.and_then(|note| serde_json::from_str::<Value>(note).ok()) else {
        return Fields::default();
    };
    let difference = Difference::between(schema, &note, live);
    let fields = walk::fields(schema, &note);
    fields.without(&difference.set).without(&difference.removed)
}

/// Keeps the note true that kubectl's client-side apply would go by.
fn refresh_note(applier: &Manager, live: &Value, merged: &mut Value, config: &Value) {
    let noted = live["metadata"]["annotations"].get(LAST_APPLIED).is_some();
    if noted && applier.name == KUBECTL && applier.subresource.is_empty() {
        merged["metadata"]["annotations"][LAST_APPLIED] = json!(format!("{config}\n"));
    }
}

/// Conflicts in Kubernetes' words.
pub(super) fn told(conflicts: &[Conflict]) -> String {
    if let [Conflict { manager, field }] = conflicts {
        return format!("Apply failed with 1 conflict: conflict with {manager}: {field}");
    }
    let mut by_manager = BTreeMap::<&str, Vec<&str>>::new();
    for conflict in conflicts {
        by_manager
            .entry(&conflict.manager)
            .or_default()
            .push(&conflict.field);
    }
    let lines = by_manager
        .iter()
        .map(|(manager, fields)| format!("conflicts with {manager}:\n- {}", fields.join("\n- ")));
    let lines: Vec<_> = lines.collect();
    format!(
        "Apply failed with {} conflicts: {}",
        conflicts.len(),
        lines.join("\n")
    )
}

#[cfg(test)]
mod tests;
