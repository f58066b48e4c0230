//! What `describe` tells, as snapshots of whole pages.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::{
    super::{paint::Paint, samples},
    machine::{self, MachineView},
    other,
    stack::{self, StackView},
};
use crate::types::{
    account::CloudAccount,
    core::Secret,
    meta::Object,
    stack::{StepReport, StepState},
};

fn typed<T: serde::de::DeserializeOwned>(value: Value) -> T {
    serde_json::from_value(value).unwrap()
}

fn now() -> Timestamp {
    samples::now()
}

#[test]
fn a_stack_in_trouble() {
    let view = StackView {
        stack: &samples::stack(),
        account: None,
        machines: &samples::machines(),
        events: &samples::events(),
    };
    insta::assert_snapshot!(stack::describe(&view, now(), Paint::Mono));
}

#[test]
fn a_stack_that_nobody_has_looked_at() {
    let mut stack = samples::stack();
    stack.status = None;
    stack.metadata.annotations.clear();
    let view = StackView {
        stack: &stack,
        account: None,
        machines: &[],
        events: &[],
    };
    insta::assert_snapshot!(stack::describe(&view, now(), Paint::Mono));
}

#[test]
fn a_machine_being_repaired() {
    let machines = samples::machines();
    let view = MachineView {
        machine: &machines[2],
        stack: Some(&samples::stack()),
        account: None,
        events: &samples::events()[1..],
    };
    insta::assert_snapshot!(machine::describe(&view, now(), Paint::Mono));
}

#[test]
fn a_machine_whose_role_is_beyond_its_budget() {
    let (machines, mut stack) = (samples::machines(), samples::stack());
    stack.spec.remediation.max_per_hour_per_role = Some(1);
    stack.metadata.annotations.clear();
    let status = stack.status.as_mut().unwrap();
    status.ledger.pending.clear();
    status.steps = vec![StepReport {
        subject: format!("machine {}", machines[2].metadata.name),
        action: "RoleRemediationExhausted".to_owned(),
        reason: "machines of sprout were remediated 1 times within the hour, which is all that \
                 spec.remediation.maxPerHourPerRole allows; look for what they have in common"
            .to_owned(),
        state: StepState::Waiting,
        since: None,
    }];
    let view = MachineView {
        machine: &machines[2],
        stack: Some(&stack),
        account: None,
        events: &[],
    };
    insta::assert_snapshot!(machine::describe(&view, now(), Paint::Mono));
}

#[test]
fn a_machine_that_serves_and_whose_stack_cannot_be_read() {
    let machines = samples::machines();
    let view = MachineView {
        machine: &machines[0],
        stack: None,
        account: None,
        events: &[],
    };
    insta::assert_snapshot!(machine::describe(&view, now(), Paint::Mono));
}

#[test]
fn an_account() {
    let account: CloudAccount = typed(json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "CloudAccount",
        "metadata": {"name": "zurich", "namespace": "default",
                     "creationTimestamp": "2026-01-01T00:00:00Z"},
        "spec": {"endpoint": "https://cloud.example.net/client/api", "secretRef": {"name": "keys"}},
        "status": {"version": "4.22.0", "lastLook": "2026-01-04T11:59:40Z", "virtualMachines": 12,
                   "rights": {"expunge": true}, "conditions": [
            {"type": "Ready", "status": "True", "reason": "Seen", "message": "seen whole",
             "lastTransitionTime": "2026-01-01T00:01:00Z"}]},
    }));
    insta::assert_snapshot!(other::account(&account, &[], now(), Paint::Mono));
}

#[test]
fn a_secret_shows_sizes_and_no_values() {
    let secret: Secret = typed(json!({
        "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
        "metadata": {"name": "keys", "namespace": "default"},
        "data": {"apiKey": "aHVudGVyMg==", "secretKey": "aHVudGVyMw=="},
    }));
    let text = other::secret(&secret, now(), Paint::Mono);
    assert!(
        !text.contains("aHVudGVy") && !text.contains("hunter"),
        "{text}"
    );
    insta::assert_snapshot!(text);
}

#[test]
fn what_has_no_description_of_its_own_is_shown_as_it_is() {
    let lease: Object = typed(json!({
        "apiVersion": "coordination.k8s.io/v1", "kind": "Lease",
        "metadata": {"name": "leader", "namespace": "default"},
        "spec": {"holderIdentity": "a", "leaseDurationSeconds": 15},
    }));
    insta::assert_snapshot!(other::any(&lease, &[], now(), Paint::Mono));
}
