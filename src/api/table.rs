//! What `kubectl get` prints: `meta.k8s.io/v1` Tables.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    age::{age, span},
    query::Include,
    route::phase,
};
use crate::types::{
    account::CloudAccount,
    core::{ConfigMap, Event, Lease},
    machine::Machine,
    meta::{Condition, ConditionStatus, Kind, Object, ObjectMeta, Resource, condition},
    rbac::{ClusterRoleBinding, RoleBinding, RoleRef, Subject},
    stack::{ClearwaterStack, StepReport, StepState},
};

/// A column: its name, its type, its priority (above 0 only in wide output) and what it says.
struct Column(&'static str, &'static str, u8, &'static str);

const NAME: Column = Column("Name", "string", 0, "The name of the object.");
const AGE: Column = Column("Age", "string", 0, "Time since the object was created.");

const STACK: &[Column] = &[
    NAME,
    Column("Domain", "string", 0, "The home domain."),
    Column("Phase", "string", 0, "Where the stack is in its life."),
    Column(
        "Ready",
        "string",
        0,
        "Machines that are ready, of those wanted.",
    ),
    Column(
        "Drift",
        "string",
        0,
        "Fields that differ from the manifest.",
    ),
    AGE,
    Column("Account", "string", 1, "The CloudAccount it is built in."),
    Column("Next", "string", 1, "What is being done or comes next."),
];

const MACHINE: &[Column] = &[
    NAME,
    Column("Role", "string", 0, "The role in the stack."),
    Column("Phase", "string", 0, "Where the machine is in its life."),
    Column("VM", "string", 0, "The state of its VM in CloudStack."),
    Column("Address", "string", 0, "Its address in the tier."),
    Column("Public", "string", 0, "Its public address."),
    AGE,
    Column("Stack", "string", 1, "The stack it belongs to."),
    Column("VM-ID", "string", 1, "The id of its VM in CloudStack."),
    Column("Next", "string", 1, "What is being done or comes next."),
];

const fn columns(kind: Kind) -> &'static [Column] {
    match kind {
        Kind::ClearwaterStack => STACK,
        Kind::Machine => MACHINE,
        Kind::CloudAccount => &[
            NAME,
            Column("Endpoint", "string", 0, "The URL of CloudStack's API."),
            Column("Ready", "string", 0, "Whether the last look succeeded."),
            Column("Version", "string", 0, "CloudStack's version."),
            Column("VMs", "integer", 0, "Virtual machines in the account."),
            AGE,
            Column("Message", "string", 1, "Why it is ready or not."),
        ],
        Kind::Secret => &[
            NAME,
            Column("Type", "string", 0, "The type of the secret."),
            Column("Data", "integer", 0, "Number of values."),
            AGE,
        ],
        Kind::ConfigMap => &[NAME, Column("Data", "integer", 0, "Number of values."), AGE],
        Kind::Event => &[
            Column("Last Seen", "string", 0, "Time since it last happened."),
            Column("Type", "string", 0, "Normal or Warning."),
            Column("Reason", "string", 0, "One word for what happened."),
            Column("Object", "string", 0, "What it happened to."),
            Column("Message", "string", 0, "What happened."),
            Column("Source", "string", 1, "Who reports it."),
            Column("First Seen", "string", 1, "Time since it first happened."),
            Column("Count", "integer", 1, "How often it happened."),
            Column("Name", "string", 1, "The name of the event."),
        ],
        Kind::Lease => &[
            NAME,
            Column("Holder", "string", 0, "Who holds the lease."),
            AGE,
        ],
        Kind::Role | Kind::ClusterRole => &[
            NAME,
            Column("Created At", "date", 0, "When the role was made."),
        ],
        Kind::RoleBinding | Kind::ClusterRoleBinding => &[
            NAME,
            Column("Role", "string", 0, "The role whose rights are given."),
            AGE,
            Column("Users", "string", 1, "The users who get them."),
            Column("Groups", "string", 1, "The groups that get them."),
            Column(
                "ServiceAccounts",
                "string",
                1,
                "The service accounts that get them.",
            ),
        ],
        Kind::Namespace => &[
            NAME,
            Column("Status", "string", 0, "Active or Terminating."),
            AGE,
        ],
    }
}

/// The column definitions of a kind's table.
pub(super) fn definitions(kind: Kind) -> Value {
    let definition = |Column(name, kind, priority, description): &Column| {
        let format = if *name == "Name" && *priority == 0 {
            "name"
        } else {
            ""
        };
        json!({
            "name": name, "type": kind, "format": format,
            "description": description, "priority": priority,
        })
    };
    columns(kind).iter().map(definition).collect()
}

/// One row, with as much of its object as was asked for.
pub(super) fn row(kind: Kind, object: &Object, include: Include, now: Timestamp) -> Value {
    let mut cells = cells(kind, object, now);
    cells.resize(columns(kind).len(), Value::Null);
    let object = match include {
        Include::None => Value::Null,
        Include::Metadata => metadata_only(object),
        Include::Object => json!(object),
    };
    json!({ "cells": cells, "object": object })
}

/// A table from its rows.
pub(super) fn table(columns: &Value, rows: &[Value], metadata: &Value) -> Value {
    json!({
        "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
        "columnDefinitions": columns, "rows": rows,
    })
}

/// The metadata of an object, as clients ask for it that want nothing else.
pub(super) fn metadata_only(object: &Object) -> Value {
    json!({
        "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
        "metadata": object.metadata,
    })
}

fn cells(kind: Kind, object: &Object, now: Timestamp) -> Vec<Value> {
    let cells = match kind {
        Kind::ClearwaterStack => typed(object, now, stack),
        Kind::Machine => typed(object, now, machine),
        Kind::CloudAccount => typed(object, now, account),
        Kind::Event => typed(object, now, event),
        Kind::Lease => typed(object, now, lease),
        Kind::Secret => Some(secret(object, now)),
        Kind::ConfigMap => typed(object, now, config_map),
        Kind::Namespace => Some(namespace(object, now)),
        Kind::Role | Kind::ClusterRole => Some(role(object)),
        Kind::RoleBinding => typed(object, now, |object: &RoleBinding, now| {
            binding(&object.metadata, (&object.role_ref, &object.subjects), now)
        }),
        Kind::ClusterRoleBinding => typed(object, now, |object: &ClusterRoleBinding, now| {
            binding(&object.metadata, (&object.role_ref, &object.subjects), now)
        }),
    };
    // An object that has not its type's shape still has a name.
    cells.unwrap_or_else(|| vec![json!(object.metadata.name)])
}

fn typed<T: Resource>(
    object: &Object,
    now: Timestamp,
    cells: fn(&T, Timestamp) -> Vec<Value>,
) -> Option<Vec<Value>> {
    object.decode().ok().map(|typed| cells(&typed, now))
}

fn created<T: Resource>(object: &T, now: Timestamp) -> Value {
    json!(age(object.meta().creation_timestamp, now))
}

fn stack(stack: &ClearwaterStack, now: Timestamp) -> Vec<Value> {
    let status = stack.status.as_ref();
    let phase = match status.map(|status| status.phase.as_str()) {
        _ if stack.metadata.deleting() => "Deleting",
        None | Some("") => "Pending",
        Some(phase) => phase,
    };
    let ready = status.map(|status| format!("{}/{}", status.ready_replicas, status.replicas));
    let drift = status.map(|status| match status.drift.len() {
        0 => "none".to_owned(),
        n => n.to_string(),
    });
    let next = status.and_then(|status| next_step(&status.steps));
    vec![
        json!(stack.metadata.name),
        json!(stack.spec.domain),
        json!(phase),
        json!(ready),
        json!(drift),
        created(stack, now),
        json!(stack.spec.account_ref.name),
        json!(next),
    ]
}

fn next_step(steps: &[StepReport]) -> Option<String> {
    let order = [StepState::Running, StepState::Next, StepState::Waiting];
    let first = |state| steps.iter().find(|step| step.state == state);
    let step = order.into_iter().find_map(first)?;
    let others = match steps.len() - 1 {
        0 => String::new(),
        n => format!(" and {n} more"),
    };
    Some(format!("{} {}{others}", step.action, step.subject))
}

fn machine(machine: &Machine, now: Timestamp) -> Vec<Value> {
    let status = machine.status.clone().unwrap_or_default();
    vec![
        json!(machine.metadata.name),
        json!(machine.spec.role),
        json!(status.phase.name()),
        json!(status.vm_state),
        json!(status.private_address),
        json!(status.public_address),
        created(machine, now),
        json!(machine.spec.stack_ref.name),
        json!(status.vm_id),
        json!(status.next),
    ]
}

fn account(account: &CloudAccount, now: Timestamp) -> Vec<Value> {
    let status = account.status.clone().unwrap_or_default();
    let ready = condition(&status.conditions, "Ready");
    vec![
        json!(account.metadata.name),
        json!(account.spec.endpoint),
        json!(ready.map_or("Unknown", truth)),
        json!(status.version),
        json!(status.virtual_machines),
        created(account, now),
        json!(ready.map(|ready| &ready.message)),
    ]
}

const fn truth(condition: &Condition) -> &'static str {
    match condition.status {
        ConditionStatus::True => "True",
        ConditionStatus::False => "False",
        ConditionStatus::Unknown => "Unknown",
    }
}

fn event(event: &Event, now: Timestamp) -> Vec<Value> {
    let first = event.first_timestamp.or(event.metadata.creation_timestamp);
    let last = event.last_timestamp.or(first);
    let source = if event.source.component.is_empty() {
        &event.reporting_component
    } else {
        &event.source.component
    };
    let object = &event.involved_object;
    let object = format!("{}/{}", object.kind.to_ascii_lowercase(), object.name);
    let seen = match (first, last) {
        (Some(first), Some(last)) if event.count > 1 => {
            let since = span(last.duration_since(first).as_secs().max(0));
            format!("{} (x{} over {since})", age(Some(last), now), event.count)
        }
        _ => age(last, now),
    };
    vec![
        json!(seen),
        json!(event.level),
        json!(event.reason),
        json!(object),
        json!(event.message.trim()),
        json!(source),
        json!(age(first, now)),
        json!(event.count.max(1)),
        json!(event.metadata.name),
    ]
}

fn lease(lease: &Lease, now: Timestamp) -> Vec<Value> {
    vec![
        json!(lease.metadata.name),
        json!(lease.spec.holder_identity.as_deref().unwrap_or_default()),
        created(lease, now),
    ]
}

/// Not by its type, so that the values stay where they are.
fn secret(secret: &Object, now: Timestamp) -> Vec<Value> {
    let values = secret.body.get("data").and_then(Value::as_object);
    let kind = secret.body.get("type").and_then(Value::as_str);
    vec![
        json!(secret.metadata.name),
        json!(kind.unwrap_or("Opaque")),
        json!(values.map_or(0, serde_json::Map::len)),
        json!(age(secret.metadata.creation_timestamp, now)),
    ]
}

fn config_map(map: &ConfigMap, now: Timestamp) -> Vec<Value> {
    vec![
        json!(map.metadata.name),
        json!(map.data.len() + map.binary_data.len()),
        created(map, now),
    ]
}

fn namespace(namespace: &Object, now: Timestamp) -> Vec<Value> {
    let phase = phase(namespace);
    vec![
        json!(namespace.metadata.name),
        json!(phase),
        json!(age(namespace.metadata.creation_timestamp, now)),
    ]
}

fn role(role: &Object) -> Vec<Value> {
    vec![
        json!(role.metadata.name),
        json!(role.metadata.creation_timestamp),
    ]
}

fn binding(
    metadata: &ObjectMeta,
    (role, subjects): (&RoleRef, &[Subject]),
    now: Timestamp,
) -> Vec<Value> {
    let of = |kind: &str| {
        let names = subjects.iter().filter(|subject| subject.kind == kind);
        let names = names.map(|subject| match subject.namespace.as_str() {
            "" => subject.name.clone(),
            namespace => format!("{namespace}/{}", subject.name),
        });
        names.collect::<Vec<_>>().join(", ")
    };
    vec![
        json!(metadata.name),
        json!(format!("{}/{}", role.kind, role.name)),
        json!(age(metadata.creation_timestamp, now)),
        json!(of("User")),
        json!(of("Group")),
        json!(of("ServiceAccount")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now() -> Timestamp {
        "2026-01-01T01:00:00Z".parse().unwrap()
    }

    #[track_caller]
    fn printed(kind: Kind, object: &Value) -> Vec<String> {
        let object: Object = serde_json::from_value(object.clone()).unwrap();
        let row = row(kind, &object, Include::None, now());
        let cells = row["cells"].as_array().unwrap();
        assert_eq!(cells.len(), columns(kind).len());
        let text = |cell: &Value| match cell {
            Value::Null => String::new(),
            Value::String(text) => text.clone(),
            other => other.to_string(),
        };
        cells.iter().map(text).collect()
    }

    #[test]
    fn a_stack_shows_readiness_drift_and_the_next_step() {
        let cells = printed(
            Kind::ClearwaterStack,
            &json!({
                "apiVersion": "weir.dev/v1alpha1", "kind": "ClearwaterStack",
                "metadata": {"name": "ims", "namespace": "default",
                             "creationTimestamp": "2026-01-01T00:00:00Z"},
                "spec": {"accountRef": {"name": "zurich"}, "domain": "ims.example.com",
                         "template": {"name": "t"}, "serviceOffering": {"name": "o"},
                         "packages": {"repository": "http://r"}},
                "status": {"phase": "Progressing", "replicas": 8, "readyReplicas": 5, "steps": [
                    {"subject": "bono-1", "action": "startVirtualMachine", "reason": "r",
                     "state": "Next"},
                    {"subject": "bono-0", "action": "deployVirtualMachine", "reason": "r",
                     "state": "Running"}]},
            }),
        );
        let text = cells.join("|");
        assert_eq!(
            text,
            "ims|ims.example.com|Progressing|5/8|none|60m|zurich|deployVirtualMachine bono-0 and \
             1 more"
        );
    }

    #[test]
    fn an_event_shows_how_often_it_was_seen() {
        let cells = printed(
            Kind::Event,
            &json!({
                "apiVersion": "v1", "kind": "Event",
                "metadata": {"name": "e", "namespace": "default"},
                "involvedObject": {"kind": "Machine", "name": "ims-bono-0"},
                "reason": "Rebooted", "message": "no answer\n", "type": "Warning", "count": 3,
                "firstTimestamp": "2026-01-01T00:00:00Z",
                "lastTimestamp": "2026-01-01T00:50:00Z",
                "source": {"component": "weir"},
            }),
        );
        assert_eq!(
            cells.join("|"),
            "10m (x3 over 50m)|Warning|Rebooted|machine/ims-bono-0|no answer|weir|60m|3|e"
        );
    }

    #[test]
    fn an_object_of_another_shape_still_has_its_name() {
        let cells = printed(
            Kind::Machine,
            &json!({"apiVersion": "weir.dev/v1alpha1", "kind": "Machine",
                    "metadata": {"name": "odd"}, "spec": 5}),
        );
        assert_eq!(cells[0], "odd");
    }
}
