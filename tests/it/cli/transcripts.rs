//! What the commands of every day print, held as transcripts.

use std::fs;

use serde_json::Value;

use super::{
    lab::{Lab, Server, account, run, run_in, stack, until},
    told::{redacted, snapshot},
};

/// What there is in the simulated cloud.
pub(super) fn holdings(lab: &Lab) -> Value {
    let state = lab.http("GET", "/sim/state", "");
    let mut state: Value = serde_json::from_str(&state).unwrap();
    let members = state.as_object_mut().unwrap();
    members.retain(|name, _| !matches!(name.as_str(), "now" | "totals" | "jobs"));
    state
}

/// Waits until the account's status counts the machines of the small stack.
fn counted(lab: &Lab) {
    until("the account counts its machines", || {
        let count = lab.member("account cloud", "/status/virtualMachines");
        (count == 4).then_some(()).ok_or(count.to_string())
    });
}

/// Runs commands one after the other, and gives what a terminal would show.
fn transcript(lab: &Lab, lines: &[&str]) -> String {
    let told = lines.iter().map(|line| lab.weir(line).to_string());
    told.collect::<Vec<_>>().join("\n")
}

#[test]
fn a_stack_is_read_in_every_form() {
    let lab = Lab::start();
    let nothing = [
        "get stacks",
        "get stacks -A",
        "events",
        "watch --plain --until ready --timeout 100ms",
    ];
    let before = transcript(&lab, &nothing);
    let apply = || lab.apply("default", &stack("ims", "")).to_string();
    let applied = [apply(), apply()].join("\n");
    lab.ready("default", "ims");
    counted(&lab);
    let lines = [
        "get stacks",
        "get stack ims -o wide",
        "get cws,machines",
        "get machines -o wide",
        "get machines -l weir.dev/role=sprout -o name",
        "get machine ims-bono-0 -o jsonpath={.status.phase}/{.status.publicAddress}",
        "get accounts",
        "get secrets",
        "get namespaces",
        "zone ims",
        "zone ims --view public",
        "describe account cloud",
        "describe secret cloud-keys",
    ];
    let after = transcript(&lab, &lines);
    snapshot("transcript_reading", [before, applied, after].join("\n"));
}

#[test]
fn a_slip_of_the_hand_waits_for_a_word_and_a_protected_stack_stays() {
    let lab = Lab::empty("instant");
    lab.account("default");
    let more = "  deletionProtection: true\n  update: {maxDestroys: 1}\n";
    lab.apply("default", &stack("ims", more)).done();
    lab.ready("default", "ims");
    lab.weir("scale ims sprout=4").done();
    lab.ready("default", "ims");
    let early = transcript(&lab, &["approve ims", "scale ims sprout=1"]);
    let why = until("the plan waits", || {
        let told = lab.weir("approve ims");
        (told.code == 0).then_some(told.out.clone()).ok_or(told.out)
    });
    until("nothing else is under way", || {
        let phase = lab.member("stack ims", "/status/phase");
        (phase == "Blocked").then_some(()).ok_or(phase.to_string())
    });
    let plan = why.split("approve ims ").nth(1).unwrap();
    let plan = plan.split('`').next().unwrap();
    let waits = transcript(
        &lab,
        &[
            "approve ims",
            "get stacks",
            "approve ims 00000000",
            "delete stack ims",
        ],
    );
    let approved = transcript(&lab, &[&format!("approve ims {plan}")]);
    until("three machines are left", || {
        let names = lab.weir("get machines -o name").out;
        (names.lines().count() == 3).then_some(()).ok_or(names)
    });
    let machines = transcript(&lab, &["get machines -o name", "approve ims"]);
    let told = [early, waits, approved, machines].join("\n");
    snapshot("transcript_brakes", told.replace(plan, "<plan>"));
}

#[test]
fn a_stack_is_scaled_paused_mended_and_deleted_to_the_last_trace() {
    let lab = Lab::empty("instant");
    // Somebody who may expunge, so that the deletion comes to its end.
    let (key, secret) = (
        lab.variable("CLOUDSTACK_KEY"),
        lab.variable("CLOUDSTACK_SECRET"),
    );
    let account = account("cloud", &lab.endpoint, &key, &secret);
    lab.apply("default", &account).done();
    let before = holdings(&lab);
    lab.apply("default", &stack("ims", "")).done();
    lab.ready("default", "ims");
    let lines = [
        "scale ims sprout=3 homestead=1",
        "scale ims sprout=3",
        "pause ims --for 2h --why storage",
    ];
    let changed = transcript(&lab, &lines);
    until("the pause is seen", || {
        let phase = lab.member("stack ims", "/status/phase");
        (phase == "Paused").then_some(()).ok_or(phase.to_string())
    });
    let resumed = transcript(&lab, &["get stacks", "resume ims", "resume ims"]);
    lab.ready("default", "ims");
    let old = lab.member("machine ims-homestead-0", "/metadata/uid");
    let mended = transcript(&lab, &["delete machine ims-homestead-0"]);
    until("another homestead serves", || {
        let machine = lab.member("machine ims-homestead-0", "");
        let new = machine["metadata"]["uid"] != old;
        let serves = new && machine["status"]["phase"] == "Running";
        serves.then_some(()).ok_or(machine.to_string())
    });
    lab.ready("default", "ims");
    let deleted = lab.weir("delete stack ims").done();
    let last = deleted.lines().last();
    assert_eq!(
        last,
        Some("clearwaterstack.weir.dev/ims deleted"),
        "{deleted}"
    );
    let lines = [
        "get stacks,machines",
        "delete account cloud",
        "delete secret cloud-keys",
    ];
    let gone = transcript(&lab, &lines);
    snapshot(
        "transcript_changing",
        [changed, resumed, mended, gone].join("\n"),
    );
    assert_eq!(holdings(&lab), before, "nothing is left in the cloud");
}

#[test]
fn a_deletion_that_must_wait_for_cloudstack_says_until_when_and_goes_on() {
    let mut lab = Lab::start();
    lab.apply("default", &stack("ims", "")).done();
    lab.ready("default", "ims");
    let server = Server::start(lab.dir(), "delete", &["delete", "stack", "ims"]);
    until("it says what it waits for", || {
        let log = server.log();
        log.contains("hold the tier").then_some(()).ok_or(log)
    });
    drop(server);
    lab.controller.signal("TERM");
    lab.controller.ended();
    lab.restart();
    let told =
        lab.weir("delete stack ims --timeout 1s").to_string() + &lab.weir("get stacks").to_string();
    snapshot("transcript_deletion_that_waits", told);
    // The way out that the message names.
    let retain = stack("ims", "  deletionPolicy: {network: Retain}\n");
    lab.apply("default", &retain).done();
    until("the stack is let go", || {
        let told = lab.weir("get stacks -o name").done();
        told.is_empty().then_some(()).ok_or(told)
    });
}

#[test]
fn yaml_and_json_are_whole_objects_that_can_be_applied_again() {
    let lab = Lab::start();
    lab.apply("default", &stack("ims", "")).done();
    lab.ready("default", "ims");
    for form in ["yaml", "json"] {
        let text = lab.weir(&format!("get stack ims -o {form}")).done();
        let object: Value = serde_yaml::from_str(&text).unwrap();
        assert_eq!(object["spec"]["domain"], "ims.example.com");
        assert_eq!(object["metadata"]["managedFields"], Value::Null);
        let told = lab.apply("default", &text).done();
        assert_eq!(told, "clearwaterstack.weir.dev/ims unchanged\n", "{text}");
    }
    counted(&lab);
    let account = lab.weir("get account cloud -o yaml").done();
    snapshot("transcript_yaml", account);
    let list = lab.weir("get machines -o json").done();
    let list: Value = serde_json::from_str(&list).unwrap();
    assert_eq!(list["items"].as_array().map(Vec::len), Some(4));
    for command in [
        "describe stack ims",
        "events ims",
        "version",
        "scale ims sprout=2",
        "diff -f s.yaml",
        "apply -f s.yaml",
    ] {
        fs::write(lab.dir().join("s.yaml"), stack("ims", "")).unwrap();
        let told = lab.weir(&format!("{command} -o json"));
        let read: Result<Value, _> = serde_json::from_str(&told.out);
        assert!(read.is_ok() && told.code == 0, "{told}");
    }
}

#[test]
fn manifests_come_from_files_folders_and_standard_input() {
    let lab = Lab::start();
    let folder = lab.dir().join("stacks");
    fs::create_dir_all(folder.join("deep")).unwrap();
    fs::write(folder.join("a.yaml"), stack("first", "")).unwrap();
    fs::write(folder.join("notes.txt"), "no manifest").unwrap();
    fs::write(folder.join("deep/b.yml"), stack("second", "")).unwrap();
    let told = [
        lab.weir("apply -f stacks --dry-run"),
        lab.weir("apply -f stacks -R --dry-run"),
        lab.weir("apply -f stacks/a.yaml -f stacks/deep/b.yml --dry-run -o json"),
        lab.weir("apply -f stacks -n elsewhere --dry-run"),
        lab.weir("get stacks -A"),
        lab.weir("apply -f stacks/deep"),
        lab.weir("delete -f stacks -R --ignore-not-found --wait=false"),
    ];
    snapshot(
        "transcript_sources",
        told.map(|told| told.to_string()).join("\n"),
    );
}

#[test]
fn a_watch_prints_what_changes_as_it_changes() {
    let lab = Lab::start();
    let dir = lab.dir().to_owned();
    let follow = |name: &str, line: &str| {
        let words: Vec<&str> = line.split(' ').collect();
        Server::start(&dir, name, &words)
    };
    let table = follow("table", "get stacks -w");
    let names = follow("names", "get machines -w -o name");
    let events = follow("events", "events ims -w");
    lab.apply("default", &stack("ims", "")).done();
    let lines = follow("lines", "watch ims --plain");
    lab.ready("default", "ims");
    lab.broken("stop-vm ims-sprout-0");
    let says = |server: &Server, words: &[&str]| {
        until(&words.join(", "), || {
            let log = server.log();
            let all = words.iter().all(|word| log.contains(word));
            all.then_some(()).ok_or(log)
        });
    };
    says(&table, &["NAME", "Ready", "Degraded"]);
    says(&names, &["machine.weir.dev/ims-bono-0"]);
    says(
        &lines,
        &["stack ims", "machine ims-sprout-0", "startVirtualMachine"],
    );
    says(&events, &["DriftDetected", "DriftRepaired"]);
    let events = events.log();
    let seen = redacted(
        events
            .lines()
            .find(|line| line.contains("DriftDetected"))
            .unwrap(),
    );
    assert!(
        seen.starts_with("<time>   Warning   DriftDetected"),
        "{seen}"
    );
}

#[test]
fn the_controller_is_found_by_itself() {
    let lab = Lab::start();
    let elsewhere = tempfile::tempdir().unwrap();
    let state = lab.dir().join("state");
    let state = state.to_str().unwrap();
    let config = format!("{state}/kubeconfig");
    // ./state, --state, --kubeconfig and $KUBECONFIG; what is typed wins.
    run(lab.dir(), &["get", "accounts"], "").done();
    run(elsewhere.path(), &["get", "accounts", "--state", state], "").done();
    run(
        elsewhere.path(),
        &["get", "accounts", "--kubeconfig", &config],
        "",
    )
    .done();
    let words = ["get", "accounts"];
    run_in(elsewhere.path(), &words, "", &[("KUBECONFIG", &config)]).done();
    run_in(
        lab.dir(),
        &["get", "accounts", "--state", state],
        "",
        &[("KUBECONFIG", "absent")],
    )
    .done();
    let told = run(elsewhere.path(), &words, "").failed(1);
    snapshot("transcript_no_kubeconfig", told);
}

#[test]
fn versions_and_completions_are_printed() {
    let lab = Lab::empty("instant");
    let version = env!("CARGO_PKG_VERSION");
    let told = lab.weir("version").done();
    assert_eq!(told, format!("weir {version}\ncontroller {version}\n"));
    let told = run(lab.dir(), &["version", "--client"], "").done();
    assert_eq!(told, format!("weir {version}\n"));
    for shell in ["bash", "zsh", "fish"] {
        let script = lab.weir(&format!("completion {shell}")).done();
        assert!(
            script.contains("rehearse") || script.contains("describe"),
            "{script}"
        );
    }
}

/// Commands that have commands.
const GROUPS: [&str; 2] = ["sim", "state"];

#[test]
fn every_help_has_an_example() {
    let dir = tempfile::tempdir().unwrap();
    let top = run(dir.path(), &["--help"], "").done();
    let listed = |help: &str| -> Vec<String> {
        let lines = help.lines().skip_while(|line| *line != "Commands:").skip(1);
        let lines = lines.take_while(|line| !line.is_empty());
        let first = lines.filter_map(|line| line.strip_prefix("  ")?.split(' ').next());
        first
            .filter(|word| !word.is_empty() && *word != "help")
            .map(str::to_owned)
            .collect()
    };
    let mut commands: Vec<Vec<String>> = listed(&top).into_iter().map(|word| vec![word]).collect();
    assert!(commands.len() > 12, "{top}");
    for group in GROUPS {
        let help = run(dir.path(), &[group, "--help"], "").done();
        commands.extend(
            listed(&help)
                .into_iter()
                .map(|word| vec![group.to_owned(), word]),
        );
    }
    for command in commands {
        let mut words: Vec<&str> = command.iter().map(String::as_str).collect();
        words.push("--help");
        let help = run(dir.path(), &words, "").done();
        let example = format!("  weir {}", command.join(" "));
        assert!(
            help.contains("Example") && help.contains(&example),
            "{help}"
        );
    }
}
