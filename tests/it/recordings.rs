//! Holds the simulator against a real CloudStack: every recorded request is sent to it, and every
//! answer is compared with the recorded one, down to member names, types, states and error texts.
//!
//! Requests are signed and sent over HTTP. What is excused, and why, stands in [`excuses`]; nothing
//! else is, and an excuse that is not needed any more fails the test.
//! The recordings themselves are described in `tests/recordings/README.md`.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod compare;
mod door;
mod exchange;
mod excuses;
mod ids;
mod mask;
mod replay;
mod rows;
mod tables;
mod xml;

use std::collections::BTreeMap;

use weir::sim::Who;

use self::replay::{Outcome, replay};

/// As many lines as the recordings have: a lost file must not pass for a success.
const ALL: usize = 715;

#[tokio::test(start_paused = true)]
async fn the_simulator_answers_as_the_recorded_cloud_did() {
    let mut admin = replay(Who::Admin, tables::ADMIN).await;
    let tenant = replay(Who::Tenant, tables::TENANT).await;
    let summary = summary(&[&admin, &tenant]);
    println!("{summary}");
    let report = admin.report() + &tenant.report();
    assert!(report.is_empty(), "recorded ≠ simulated\n{report}{summary}");
    assert_eq!(lines(&admin) + lines(&tenant), ALL);
    admin.used.extend(tenant.used);
    assert_eq!(admin.used.stale(), [""; 0], "excused, and equal by now");
}

fn lines(outcome: &Outcome) -> usize {
    outcome.replayed + outcome.left_out.len()
}

fn summary(outcomes: &[&Outcome]) -> String {
    let replayed: usize = outcomes.iter().map(|outcome| outcome.replayed).sum();
    let early: usize = outcomes.iter().map(|outcome| outcome.early).sum();
    let mut reasons = BTreeMap::<_, Vec<String>>::new();
    for (place, reason) in outcomes.iter().flat_map(|outcome| &outcome.left_out) {
        reasons.entry(*reason).or_default().push(place.to_string());
    }
    let left_out: usize = reasons.values().map(Vec::len).sum();
    let told: Vec<_> = reasons
        .iter()
        .map(|(reason, at)| format!("{}: {reason}", at.join(", ")))
        .collect();
    format!(
        "{replayed} of {ALL} replayed, {left_out} left out ({}), {early} jobs ended early",
        told.join("; ")
    )
}
