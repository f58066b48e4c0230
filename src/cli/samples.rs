//! Objects that the tests of several views share: a small stack with something of everything.

use jiff::Timestamp;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

use crate::types::{core::Event, machine::Machine, stack::ClearwaterStack};

/// The time at which everything is looked at.
pub(super) fn now() -> Timestamp {
    "2026-01-04T12:00:00Z".parse().unwrap()
}

fn typed<T: DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

/// A stack with a stopped sprout, a paused repair, drift, steps and a failure.
pub(super) fn stack() -> ClearwaterStack {
    typed(json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "ClearwaterStack",
        "metadata": {
            "name": "ims", "namespace": "default", "uid": "0b7e", "generation": 4,
            "creationTimestamp": "2026-01-01T00:00:00Z", "labels": {"site": "lab"},
            "annotations": {"weir.dev/paused-until": "2026-01-04T13:30:00Z",
                            "weir.dev/paused-why": "storage maintenance, ask Ana"}},
        "spec": spec(),
        "status": status(),
    }))
}

fn spec() -> Value {
    json!({
        "accountRef": {"name": "zurich"}, "domain": "ims.example.com",
        "template": {"name": "Ubuntu 14.04"}, "serviceOffering": {"name": "2vCPU-4GB"},
        "packages": {"repository": "http://mirror.example.net/clearwater"},
        "components": {"bono": {"replicas": 2}, "sprout": {"replicas": 2}, "ralf": {"replicas": 0}},
    })
}

fn status() -> Value {
    json!({
        "observedGeneration": 3, "phase": "Degraded", "replicas": 7, "readyReplicas": 5,
        "lastLook": "2026-01-04T11:59:48Z", "round": 812,
        "conditions": [
            {"type": "Ready", "status": "False", "reason": "MachinesUnhealthy",
             "message": "2 of 7 machines are not ready: ims-sprout-0, ims-bono-1",
             "lastTransitionTime": "2026-01-04T11:54:30Z"},
            {"type": "DriftFree", "status": "False", "reason": "Drifted",
             "message": "2 fields differ", "lastTransitionTime": "2026-01-04T11:54:30Z"},
            {"type": "Planned", "status": "True", "reason": "Planned", "message": "3 steps",
             "lastTransitionTime": "2026-01-01T00:00:05Z"}],
        "roles": {
            "homestead": {"desired": 1, "ready": 1, "updated": 1},
            "homer": {"desired": 1, "ready": 1, "updated": 1},
            "sprout": {"desired": 2, "ready": 1, "updated": 2},
            "bono": {"desired": 2, "ready": 1, "updated": 1},
            "ellis": {"desired": 1, "ready": 1, "updated": 1}},
        "drift": [
            {"subject": "machine ims-sprout-0", "field": "powerState", "want": "Running",
             "have": "Stopped", "mode": "Repair", "since": "2026-01-04T11:54:30Z", "by": "user mallory did VM.STOP at 11:54:21"},
            {"subject": "rule 30", "field": "aclRule", "want": "allow tcp 5060", "have": "",
             "mode": "Report", "since": "2026-01-04T09:00:00Z"}],
        "steps": [
            {"subject": "tier", "action": "wait", "reason": "two rules are being written",
             "state": "Waiting"},
            {"subject": "machine ims-sprout-0", "action": "startVirtualMachine",
             "reason": "its VM is Stopped", "state": "Running", "since": "2026-01-04T11:59:20Z"},
            {"subject": "machine ims-bono-1", "action": "deployVirtualMachine",
             "reason": "the machine has no VM", "state": "Next"}],
        "ledger": ledger(),
    })
}

fn ledger() -> Value {
    json!({
        "vpc": "vpc-1", "tier": "net-1",
        "machines": {"ims-sprout-0": {
            "role": "sprout", "index": 0, "hostName": "ims-sprout-0", "privateAddress": "10.0.0.12",
            "remediations": [
                {"rung": "Start", "at": "2026-01-03T08:00:00Z", "reason": "its VM was Stopped"},
                {"rung": "Reboot", "at": "2026-01-04T11:50:00Z", "reason": "port 5052 did not answer"}],
            "held": [{"hostName": "ims-sprout-0-old", "privateAddress": "10.0.0.9", "vm": "vm-7",
                      "until": "2026-01-05T12:00:00Z"}]}},
        "failures": {"machine ims-bono-1": {
            "command": "deployVirtualMachine", "reason": "InsufficientCapacity",
            "message": "no host has room (errorcode 533)", "times": 3,
            "at": "2026-01-04T11:58:00Z", "retryAfter": "2026-01-04T12:01:30Z"}},
    })
}

/// Three machines of that stack: one serves, one has no VM, one is being repaired.
pub(super) fn machines() -> Vec<Machine> {
    let machine = |role: &str, index: u32, status: Value| {
        typed(json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "Machine",
            "metadata": {"name": format!("ims-{role}-{index}"), "namespace": "default",
                         "creationTimestamp": "2026-01-01T00:00:10Z"},
            "spec": {"stackRef": {"name": "ims"}, "role": role, "index": index},
            "status": status,
        }))
    };
    let ready = |status: &str, reason: &str, message: &str| {
        json!([{"type": "Ready", "status": status, "reason": reason, "message": message,
                "lastTransitionTime": "2026-01-04T11:54:30Z"}])
    };
    vec![
        machine(
            "bono",
            0,
            json!({
            "phase": "Running", "vmId": "vm-1", "vmState": "Running", "hostName": "ims-bono-0",
            "privateAddress": "10.0.0.10", "publicAddress": "198.51.100.4",
            "since": "2026-01-01T00:05:00Z", "conditions": ready("True", "Serving", "it serves")}),
        ),
        machine(
            "bono",
            1,
            json!({
            "phase": "Pending", "next": "deployVirtualMachine, tried again in 90s: no host has room",
            "conditions": ready("False", "NoVm", "it has no VM")}),
        ),
        machine(
            "sprout",
            0,
            json!({
            "phase": "Repairing", "vmId": "vm-3", "vmState": "Stopped", "hostName": "ims-sprout-0",
            "privateAddress": "10.0.0.12", "since": "2026-01-04T11:59:20Z",
            "next": "wait until it serves, at most 20m",
            "lastRemediation": {"rung": "Reboot", "at": "2026-01-04T11:50:00Z",
                                "reason": "port 5052 did not answer"},
            "conditions": ready("False", "VmStopped", "its VM is Stopped, stopped by mallory")}),
        ),
    ]
}

/// What happened to them, oldest first.
pub(super) fn events() -> Vec<Event> {
    let event = |name: &str,
                 (kind, object): (&str, &str),
                 level: &str,
                 (reason, message): (&str, &str),
                 at: &str,
                 count: i32| {
        typed(json!({
            "apiVersion": "v1", "kind": "Event",
            "metadata": {"name": name, "namespace": "default"},
            "involvedObject": {"apiVersion": "weir.dev/v1alpha1", "kind": kind,
                               "namespace": "default", "name": object},
            "type": level, "reason": reason, "message": message, "count": count,
            "firstTimestamp": at, "lastTimestamp": at,
        }))
    };
    vec![
        event(
            "a",
            ("ClearwaterStack", "ims"),
            "Normal",
            ("Planned", "3 steps"),
            "2026-01-04T11:54:31Z",
            1,
        ),
        event(
            "b",
            ("Machine", "ims-sprout-0"),
            "Warning",
            ("Stopped", "its VM was stopped by mallory"),
            "2026-01-04T11:54:30Z",
            2,
        ),
        event(
            "c",
            ("Machine", "ims-sprout-0"),
            "Normal",
            ("Started", "startVirtualMachine was sent"),
            "2026-01-04T11:59:20Z",
            1,
        ),
    ]
}
