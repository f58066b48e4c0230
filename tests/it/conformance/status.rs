//! Status, generation and what the controller does with them: checks 77, 82 and 83. A stack has no
//! `scale`: see the table of what cannot apply.

use serde_json::{Value, json};

use super::bed::{Bed, MERGE, STACKS};
use crate::cli::lab::{Lab, stack, until};

/// Check 77: `/status` changes the status and nothing else, and everything else changes all but it.
#[test]
fn k077_status_and_the_rest_are_written_apart() {
    let bed = Bed::new();
    let mut stack = bed.stack("a");
    let path = format!("{STACKS}/a");
    stack["spec"]["domain"] = json!("other.example.com");
    stack["metadata"]["labels"]["app"] = json!("y");
    stack["status"] = json!({"phase": "Ready"});
    let told = bed.put(&format!("{path}/status"), &stack).is(200);
    assert_eq!(told["status"]["phase"], "Ready");
    assert_eq!(told["spec"]["domain"], "ims.example.com");
    assert_eq!(
        (
            &told["metadata"]["labels"]["app"],
            &told["metadata"]["generation"]
        ),
        (&json!("x"), &json!(1))
    );
    bed.put(&format!("{path}/status"), &stack)
        .refused(409, "Conflict");
    stack["metadata"]["resourceVersion"] = told["metadata"]["resourceVersion"].clone();
    stack["status"] = json!({"phase": "Degraded"});
    let told = bed.put(&path, &stack).is(200);
    assert_eq!(told["status"]["phase"], "Ready");
    assert_eq!(
        (&told["spec"]["domain"], &told["metadata"]["generation"]),
        (&json!("other.example.com"), &json!(2))
    );
    let patched = bed.patch(
        MERGE,
        &format!("{path}/status"),
        &json!({"status": {"phase": "Paused"}}),
    );
    assert_eq!(patched.is(200)["status"]["phase"], "Paused");
    assert_eq!(
        bed.get(&format!("{path}/status")).is(200)["spec"],
        told["spec"]
    );
    assert_eq!(bed.get(&format!("{path}/nope")).code, 404);
}

fn generations(lab: &Lab) -> [Value; 3] {
    let told = lab.member("stack ims", "");
    let conditions = told["status"]["conditions"]
        .as_array()
        .cloned()
        .unwrap_or_default();
    let ready = conditions
        .into_iter()
        .find(|condition| condition["type"] == "Ready");
    let ready = ready.unwrap_or_default();
    [
        told["metadata"]["generation"].clone(),
        told["status"]["observedGeneration"].clone(),
        ready["observedGeneration"].clone(),
    ]
}

/// Check 82: the controller says of which spec it speaks, in the status and in its conditions.
#[test]
fn k082_the_controller_says_which_spec_it_speaks_of() {
    let lab = Lab::start();
    lab.apply("default", &stack("ims", "")).done();
    lab.ready("default", "ims");
    lab.weir("scale ims sprout=3").done();
    until("the new spec is spoken of", || {
        let seen = generations(&lab);
        let all = seen.iter().all(|one| *one == json!(2));
        all.then_some(()).ok_or(format!("{seen:?}"))
    });
}

/// Check 83: rounds that change nothing write nothing.
#[test]
fn k083_rounds_without_a_change_write_nothing() {
    let lab = Lab::start();
    lab.apply("default", &stack("ims", "")).done();
    lab.ready("default", "ims");
    let rounds = || {
        let (_, text) = lab.health("/metrics");
        let line = "weir_reconcile_seconds_count{kind=\"clearwaterstack\"} ";
        let count = text.lines().find_map(|text| text.strip_prefix(line));
        count.unwrap_or("0").parse::<u32>().unwrap()
    };
    let version = || lab.member("stack ims", "/metadata/resourceVersion");
    // The last round of a change may still be on its way.
    let settled = |more: u32| {
        let enough = rounds() + more;
        until("further rounds", || {
            let now = rounds();
            (now >= enough)
                .then_some(())
                .ok_or(format!("{now} of {enough}"))
        });
    };
    settled(2);
    let before = version();
    settled(4);
    assert_eq!(version(), before);
}
