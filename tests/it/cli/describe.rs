//! `weir describe machine` while a machine is under repair, caught at each stage: it tells a
//! stranger what is wrong, what Weir does, since when, and what comes next.

use serde_json::{Value, json};

use super::{
    lab::{Lab, stack, until},
    told::snapshot,
};

impl Lab {
    /// Waits until a machine is in a phase and its description says all of this, and nothing that
    /// is marked by an exclamation mark; gives it. The phase is written a moment later than what
    /// the stack says.
    #[track_caller]
    fn described(&self, machine: &str, phase: &str, words: &[&str]) -> String {
        let phase = format!("Phase:       {phase} for ");
        let words = [&[phase.as_str()], words].concat();
        until(&words.join(", "), || {
            let told = self.weir(&format!("describe machine {machine}"));
            let said = |word: &&str| match word.strip_prefix('!') {
                Some(word) => !told.out.contains(word),
                None => told.out.contains(*word),
            };
            match words.iter().all(said) {
                true => Ok(told.to_string()),
                false => Err(told.to_string()),
            }
        })
    }
}

/// All but the events, which are written a moment later than the rest.
fn told(description: &str) -> &str {
    let end = description.find("\n\nEvents").expect("it has events");
    &description[..end]
}

/// The part that a person reads first: up to the tables.
fn top(description: &str) -> &str {
    let end = description
        .find("\n\nConditions")
        .expect("it has conditions");
    &description[..end]
}

#[test]
fn a_stopped_machine_is_followed_from_start_to_the_end_of_its_budget() {
    let lab = Lab::start();
    let spec = stack("ims", "  remediation: {maxPerHour: 2, maxUnhealthy: 3}\n");
    lab.apply("default", &spec).done();
    lab.ready("default", "ims");
    let text = lab.described("ims-sprout-0", "Running", &["Nothing that Weir can see"]);
    snapshot("describe_a_machine_that_is_well", told(&text));

    lab.fault(&json!({"command": "startVirtualMachine", "kind": "hang-job", "count": 1}));
    lab.broken("stop-vm ims-sprout-0");
    let text = lab.described("ims-sprout-0", "Starting", &["Starting its VM"]);
    snapshot("describe_a_machine_being_started", told(&text));

    lab.fault(&json!({"command": "startVirtualMachine", "kind": "start-fails"}));
    lab.broken("stop-vm ims-sprout-1");
    let text = lab.described("ims-sprout-1", "Unhealthy", &["failed once"]);
    snapshot("describe_a_machine_whose_start_failed", told(&text));
    let text = lab.described("ims-sprout-1", "Unhealthy", &["failed 2 times in a row"]);
    snapshot("describe_a_machine_whose_start_keeps_failing", top(&text));
    let text = lab.described("ims-sprout-1", "Unhealthy", &["Nothing more for now"]);
    snapshot("describe_a_machine_beyond_its_budget", top(&text));
    let stack = lab.weir("describe stack ims").done();
    assert!(stack.contains("RemediationExhausted"), "{stack}");

    // Somebody starts it by hand: then it is well, and what failed before is past.
    lab.no_faults();
    let vm = lab.member("machine ims-sprout-1", "/status/vmId");
    lab.cloud("startVirtualMachine", &[("id", vm.as_str().unwrap())]);
    lab.described("ims-sprout-1", "Running", &["Nothing that Weir can see"]);
    let failures = lab.member("stack ims", "/status/ledger/failures");
    assert_eq!(failures["machine ims-sprout-1"], Value::Null, "{failures}");
}

#[test]
fn a_destroyed_machine_a_pause_and_too_many_dead_are_explained() {
    let lab = Lab::start();
    let spec = stack("ims", "  remediation: {maxUnhealthy: 1}\n");
    lab.apply("default", &spec).done();
    lab.ready("default", "ims");

    lab.fault(&json!({"command": "deployVirtualMachine", "kind": "hang-job", "count": 1}));
    lab.broken("destroy-vm ims-bono-0");
    let text = lab.described(
        "ims-bono-0",
        "Provisioning",
        &["Making its VM", "!Freeing its", "VM is being deployed"],
    );
    snapshot("describe_a_machine_whose_address_is_held", told(&text));
    lab.broken("restart-management-server");
    lab.ready("default", "ims");

    lab.weir("pause ims --for 2h --why storage").done();
    lab.broken("stop-vm ims-sprout-0");
    let text = lab.described("ims-sprout-0", "Repairing", &["is Stopped"]);
    snapshot("describe_a_machine_of_a_paused_stack", top(&text));

    lab.broken("stop-vm ims-sprout-1");
    lab.described("ims-sprout-1", "Unhealthy", &["is Stopped"]);
    lab.weir("resume ims").done();
    let text = lab.described("ims-sprout-1", "Unhealthy", &["on purpose"]);
    snapshot("describe_a_machine_held_back", top(&text));
}

#[test]
fn a_machine_that_runs_and_does_not_serve_is_given_time_and_then_repaired() {
    let lab = Lab::start();
    let spec = stack("ims", "").replace(
        "    sprout: {replicas: 2}\n",
        "    sprout: {replicas: 1, probe: {kind: TCP, port: 9, period: 1s, timeout: 500ms, failureThreshold: 1}}\n    \
         bono: {replicas: 0}\n    \
         homestead: {replicas: 0}\n",
    ) + "  remediation: {unhealthyAfter: 3s, startupTimeout: 3s, maxUnhealthy: 1}\n  \
         network: {vpc: {cidr: 127.77.0.0/16}, cidr: 127.77.0.0/24}\n";
    lab.apply("default", &spec).done();
    let text = lab.described(
        "ims-sprout-0",
        "Starting",
        &["gives the machine time", "refused"],
    );
    snapshot("describe_a_machine_that_does_not_serve_yet", top(&text));
    lab.fault(&json!({"command": "rebootVirtualMachine", "kind": "hang-job"}));
    let text = lab.described("ims-sprout-0", "Repairing", &["Rebooting its VM"]);
    snapshot("describe_a_machine_being_rebooted", top(&text));
}
