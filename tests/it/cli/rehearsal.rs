//! `weir sim …`: how one breaks a simulator from a terminal, and what it says to mistakes.

use std::fs;

use super::{
    lab::{Lab, run, stack},
    told::snapshot,
};

/// Runs commands of `weir sim` one after the other; they end as told.
fn session(lab: &Lab, code: i32, lines: &[&str]) -> String {
    let at = lab.endpoint.trim_end_matches("/client/api");
    let told = lines.iter().map(|line| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let told = run(
            lab.dir(),
            &[&["sim"], &words[..], &["--at", at]].concat(),
            "",
        );
        assert_eq!(told.code, code, "{told}");
        told.to_string()
    });
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_rehearsal_is_set_up_looked_at_and_ended() {
    let lab = Lab::empty("instant");
    let own = "name: own\nsteps:\n  - {at: 1h, break: {what: stop-vm, vm: any}}\n";
    fs::write(lab.dir().join("own.yaml"), own).unwrap();
    let told = session(
        &lab,
        0,
        &[
            "fault list",
            "fault add lost-reply command=createvpc count=2 probability=0.5",
            "fault add slow millis=3000 user=stranger skip=1",
            "fault list",
            "fault clear 1",
            "fault clear",
            "fault kinds",
            "break",
            "operator list",
            "operator add rate=6 does=stop-vm,delete-tags count=3",
            "operator clear",
            "scenarios",
            "play own.yaml",
            "stop 2",
            "play",
            "settings expunge.delay=60 profile=lab",
            "state",
        ],
    );
    snapshot("rehearsal_session", told);
    let all = session(&lab, 0, &["settings"]);
    assert!(
        all.contains("expunge.delay") && all.contains(" 60\n"),
        "{all}"
    );
    let printed = session(&lab, 0, &["scenarios bad-night"]);
    assert!(printed.contains("\nname: bad-night\n"), "{printed}");
}

#[test]
fn mistakes_are_told_with_place_value_and_remedy() {
    let lab = Lab::empty("instant");
    let wrong = "name: own\nsteps:\n  - {at: soon, clear: faults}\n  - {break: {what: stopvm}}\n";
    fs::write(lab.dir().join("wrong.yaml"), wrong).unwrap();
    let told = session(
        &lab,
        1,
        &[
            "fault add lost-replay",
            "fault add slow",
            "fault add html command=listVPC",
            "fault add html probability=often",
            "fault add html once",
            "fault clear 9",
            "break stopvm any",
            "break stop-vm",
            "break stop-vm any",
            "break close-port 5060 user=nobody",
            "operator add rate=often",
            "operator add rate=6 user=kim",
            "play goodnight",
            "play badnight",
            "play wrong.yaml",
            "play no/such.yaml",
            "settings expunge.dela=60",
            "settings expunge.delay=soon",
        ],
    );
    snapshot("rehearsal_mistakes", told);
    let words = ["sim", "--listen", "127.0.0.1:0", "--scenario", "wrong.yaml"];
    let told = run(lab.dir(), &words, "").failed(1);
    snapshot("rehearsal_wrong_scenario", told);
}

#[test]
fn a_scenario_at_the_start_strikes_a_stack() {
    let night = "name: night\nsteps:\n  - {at: 2s, every: 1s, break: {what: rename-vm, vm: any}}\n";
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("night.yaml"), night).unwrap();
    let lab = Lab::on(dir, &["--profile", "instant", "--scenario", "night.yaml"]);
    lab.account("default");
    lab.apply("default", &stack("ims", "")).done();
    let at = lab.endpoint.trim_end_matches("/client/api").to_owned();
    super::lab::until("a machine was renamed", || {
        let told = run(lab.dir(), &["sim", "play", "--at", &at], "").done();
        let renamed = told
            .lines()
            .any(|line| line.contains("night") && line.contains(" is called "));
        renamed.then_some(()).ok_or(told)
    });
}
