//! `weir state`: exports, imports, fsck and backups, of a controller that runs and of one that does
//! not, in a folder and in etcd.

use std::{
    fs,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    process::Command,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::{Value, json};

use super::{
    etcd::{lab_on, now},
    lab::{Lab, Server, http, run, stack, until},
    told,
    transcripts::holdings,
};
use crate::store::server;

/// Compares with a snapshot, but for how many objects there are: events come and go.
#[track_caller]
fn snapshot(name: &str, text: impl Into<String>) {
    let text = text.into();
    let counts = regex::Regex::new(r"\d+( objects| of them)").unwrap();
    let text = counts.replace_all(&text, "<n>$1");
    let json = regex::Regex::new(r#"("objects": )\d+"#).unwrap();
    told::snapshot(name, json.replace_all(&text, "$1<n>"));
}

/// A lab whose stack is ready.
fn ready_lab() -> Lab {
    let lab = Lab::start();
    lab.apply("default", &stack("ims", "")).done();
    lab.ready("default", "ims");
    lab
}

/// The objects of an export, but for events and for what every look at the cloud writes.
fn steady(text: &str) -> Vec<Value> {
    let mut objects: Vec<_> = all_objects(text)
        .into_iter()
        .filter(|object| object["kind"] != "Event" && object["kind"] != "Lease")
        .collect();
    for object in &mut objects {
        if let Some(status) = object["status"].as_object_mut() {
            status.retain(|name, _| !["lastLook", "round", "virtualMachines"].contains(&&**name));
        }
    }
    objects
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// Waits until a controller that was just started has gone through some rounds, and makes sure that
/// all it did was look.
fn only_looks(lab: &Lab) {
    let rounds = regex::Regex::new(r"(?m)^weir_reconciles_total\S* (\d+)").unwrap();
    let text = until("the controller goes its rounds", || {
        let text = lab.health("/metrics").1;
        let counts = rounds
            .captures_iter(&text)
            .map(|found| found[1].parse::<u64>());
        let count: u64 = counts.map(Result::unwrap).sum();
        (count >= 4)
            .then(|| text.clone())
            .ok_or_else(|| format!("{text}\n{}", lab.controller.log()))
    });
    let commands =
        regex::Regex::new(r#"weir_cloudstack_requests_total\S*command="(\w+)""#).unwrap();
    let sent: Vec<_> = commands
        .captures_iter(&text)
        .map(|found| found[1].to_owned())
        .collect();
    let changes = sent.iter().filter(|command| !command.starts_with("list"));
    let changes: Vec<_> = changes.collect();
    assert!(!sent.is_empty() && changes.is_empty(), "{sent:?}");
    lab.ready("default", "ims");
}

#[test]
fn a_running_and_a_stopped_controller_export_the_same() {
    let mut lab = ready_lab();
    let told = lab
        .weir("state export --reveal-secrets -o running.jsonl")
        .to_string();
    let checked = lab.weir("state fsck").to_string();
    let piped = lab.weir("state export --reveal-secrets -o -").done();
    let refused = lab.weir("state import running.jsonl").to_string();
    assert_eq!(lab.health("/export").0, 401, "a stranger gets no secrets");
    lab.stop();
    let stopped = lab
        .weir("state export --reveal-secrets -o stopped.jsonl")
        .to_string();
    let named = lab.weir("state export");
    assert!(named.out.contains("exported to weir-2"), "{named}");
    let rest = [
        "state fsck",
        "state fsck -o json",
        "state import stopped.jsonl",
        "state export -o state",
        "state export -o lost/file",
        "state fsck --state lost",
        "state export --state lost",
    ];
    let rest = rest.map(|words| lab.weir(words).to_string()).join("\n");
    snapshot(
        "state_export",
        [told, checked, refused, stopped, rest].join("\n"),
    );
    let read = |name: &str| fs::read_to_string(lab.dir().join(name)).unwrap();
    let (running, stopped) = (read("running.jsonl"), read("stopped.jsonl"));
    assert_eq!(steady(&running), steady(&stopped));
    assert_eq!(steady(&piped), steady(&stopped));
    assert!(stopped.contains("secretKey"), "secrets are in it");
    assert_eq!(mode(&lab.dir().join("running.jsonl")), 0o600);
    assert!(!lab.dir().join("lost").exists(), "nothing was made");
}

#[test]
fn a_backup_is_restored_by_what_it_says_and_nothing_changes() {
    let mut lab = ready_lab();
    let token = fs::read_to_string(lab.dir().join("state/token")).unwrap();
    let told = lab.weir("state backup monday");
    let again = lab.weir("state backup monday");
    snapshot("state_backup", format!("{told}{again}"));
    assert_eq!(mode(&lab.dir().join("monday")), 0o700);
    assert_eq!(mode(&lab.dir().join("monday/state/tls/ca.key")), 0o600);
    let line = told.out.lines().last().unwrap();
    let line = line.strip_prefix("Restore it with: ").unwrap().to_owned();
    lab.stop();
    let before = (exported_stack(&lab, "monday/objects.jsonl"), holdings(&lab));
    fs::rename(lab.dir().join("state"), lab.dir().join("lost")).unwrap();
    let weir = PathBuf::from(env!("CARGO_BIN_EXE_weir"));
    let path = format!("{}:/usr/bin:/bin", weir.parent().unwrap().display());
    let done = Command::new("sh")
        .args(["-c", &line])
        .current_dir(lab.dir())
        .env("PATH", path)
        .output()
        .unwrap();
    assert!(done.status.success(), "{line}: {done:?}");
    lab.restart();
    only_looks(&lab);
    assert_eq!(holdings(&lab), before.1, "nothing was changed");
    let after = lab.member("stack ims", "");
    assert_eq!(after["metadata"]["uid"], before.0["metadata"]["uid"]);
    assert_eq!(
        after["metadata"]["generation"],
        before.0["metadata"]["generation"]
    );
    let old = fs::read_to_string(lab.dir().join("state/token")).unwrap();
    assert_eq!(old, token, "kubeconfigs of users stay good");
    // It goes on: what is broken now is repaired by record.
    lab.weir("scale ims sprout=1").done();
    lab.ready("default", "ims");
    assert!(lab.weir("state fsck").code == 0);
}

/// The stack in an export.
fn exported_stack(lab: &Lab, file: &str) -> Value {
    let text = fs::read_to_string(lab.dir().join(file)).unwrap();
    let mut stacks = all_objects(&text).into_iter();
    stacks
        .find(|object| object["kind"] == "ClearwaterStack")
        .unwrap()
}

/// The objects of an export.
fn all_objects(text: &str) -> Vec<Value> {
    let lines = text.lines().skip(1);
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn a_state_moves_to_etcd_and_back_and_nothing_changes() {
    let Some(etcd) = now(server::single()) else {
        return;
    };
    let mut lab = ready_lab();
    lab.stop();
    let cloud = holdings(&lab);
    lab.weir("state export -o first.jsonl").done();
    let first = exported_stack(&lab, "first.jsonl");
    let address = etcd.address();
    let keys = "state/encryption-keys";
    let on = |words: &str| format!("state {words} --store {address} --encryption-key-file {keys}");
    let early = lab.weir(&on("fsck")).to_string();
    lab.weir(&on("import first.jsonl")).done();
    lab.restart_with(&["--store", &address, "--encryption-key-file", keys]);
    only_looks(&lab);
    assert_eq!(holdings(&lab), cloud, "nothing was changed");
    let lines = ["fsck", "export -o second.jsonl", "import second.jsonl"];
    let running = lines.map(|words| lab.weir(&on(words)).to_string()).join("");
    lab.stop();
    until("the lead is given back", || {
        let told = lab.weir(&on("import second.jsonl")).to_string();
        let objects = told.contains("there are objects already");
        objects.then_some(()).ok_or(told)
    });
    let refused = lab.weir(&on("import second.jsonl")).to_string();
    let holder = regex::Regex::new(r"controller \S+:").unwrap();
    let told = [early, running, refused].join("\n");
    let told = told.replace(&address, "etcd://<etcd>");
    snapshot(
        "state_etcd",
        holder.replace_all(&told, "controller <holder>:"),
    );
    let second = exported_stack(&lab, "second.jsonl");
    assert_eq!(first["metadata"], second["metadata"]);
    assert_eq!(first["status"]["ledger"], second["status"]["ledger"]);

    fs::rename(lab.dir().join("state"), lab.dir().join("old")).unwrap();
    fs::create_dir(lab.dir().join("state")).unwrap();
    fs::copy(lab.dir().join("old/encryption-keys"), lab.dir().join(keys)).unwrap();
    lab.weir("state import second.jsonl").done();
    lab.restart_with(&[]);
    only_looks(&lab);
    assert_eq!(holdings(&lab), cloud, "nothing was changed");
}

#[test]
fn a_damaged_record_in_etcd_is_found_and_no_export_is_made_of_it() {
    let Some(etcd) = now(server::single()) else {
        return;
    };
    let mut lab = lab_on(&etcd);
    lab.stop();
    let address = etcd.address();
    let word = |text: &str| STANDARD.encode(text);
    let put = json!({"key": word("/weir/machines/default/ims-bono-0"), "value": word("{scribble")});
    let url = format!("http://{}/v3/kv/put", address.trim_start_matches("etcd://"));
    let (status, text) = http("POST", &url, &put.to_string(), None);
    assert_eq!(status, 200, "{text}");
    let on = |words: &str| format!("state {words} --store {address}");
    let told = ["fsck", "export -o -"].map(|words| lab.weir(&on(words)).to_string());
    let told = told.join("\n").replace(&address, "etcd://<etcd>");
    snapshot("state_etcd_damaged", told);
}

/// An export of some namespaces.
fn namespaces(count: usize) -> String {
    let header = json!({"format": "weir export 1", "weir": "0.1.0", "storeVersion": 7,
                        "time": "2026-03-01T12:00:00Z", "objects": count});
    let mut text = format!("{header}\n");
    for index in 0..count {
        let object = json!({"apiVersion": "v1", "kind": "Namespace",
            "metadata": {"name": format!("n{index}"), "uid": format!("u{index}"), "generation": 1}});
        text.push_str(&format!("{object}\n"));
    }
    text
}

#[test]
fn a_file_that_is_no_whole_export_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let whole = namespaces(3);
    let third = whole.rfind("{\"apiVersion").unwrap();
    let files = [
        ("cut.jsonl", whole[..third].to_owned()),
        ("torn.jsonl", whole[..whole.len() - 20].to_owned()),
        ("newer.jsonl", whole.replace("export 1", "export 3")),
        ("twice.jsonl", whole.replace("n2", "n1")),
        ("uid.jsonl", whole.replace("u2", "u1")),
        ("kind.jsonl", whole.replace("Namespace", "Pod")),
        ("else.jsonl", "kind: Namespace\n".to_owned()),
    ];
    let mut told = String::new();
    for (name, text) in &files {
        fs::write(dir.path().join(name), text).unwrap();
        told += &run(dir.path(), &["state", "import", name], "").to_string();
    }
    told += &run(dir.path(), &["state", "import", "absent.jsonl"], "").to_string();
    assert!(!dir.path().join("state").exists(), "nothing was made");
    snapshot("state_import_refusals", told);
}

#[test]
fn an_import_that_was_killed_is_used_by_nobody() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("many.jsonl"), namespaces(20_000)).unwrap();
    let mut import = Server::start(dir.path(), "import", &["state", "import", "many.jsonl"]);
    until("the import is under way", || {
        let size = fs::metadata(dir.path().join("state/db/db")).map_or(0, |file| file.len());
        assert!(import.runs(), "{}", import.log());
        (size > 1 << 20).then_some(()).ok_or(size.to_string())
    });
    import.signal("KILL");
    import.ended();
    let lines: [&[&str]; 4] = [
        &["state", "import", "many.jsonl"],
        &["controller", "--listen", "127.0.0.1:0"],
        &["state", "export", "-o", "-"],
        &["state", "fsck"],
    ];
    let told = lines.map(|words| run(dir.path(), words, "").to_string());
    let told = told.join("\n");
    snapshot("state_import_killed", told);
}

/// Plants a damage in a ready stack's objects.
type Damage = (&'static str, fn(&mut Vec<Value>));

fn find<'a>(objects: &'a mut [Value], kind: &str, name: &str) -> &'a mut Value {
    let found = objects
        .iter_mut()
        .find(|object| object["kind"] == kind && object["metadata"]["name"] == name);
    found.unwrap()
}

fn ledger(objects: &mut [Value]) -> &mut Value {
    &mut find(objects, "ClearwaterStack", "ims")["status"]["ledger"]
}

fn without(objects: &mut Vec<Value>, kind: &str) {
    objects.retain(|object| object["kind"] != kind);
}

fn pending(subject: &str, job: &str) -> Value {
    json!({"subject": subject, "reason": "test", "job": job, "since": "2026-03-01T12:00:00Z",
           "action": {"command": "deleteVpc", "vpc": "v"}})
}

const DAMAGES: &[Damage] = &[
    ("nothing", |_| {}),
    ("a VM in two records", |all| {
        let machines = &mut ledger(all)["machines"];
        machines["ims-sprout-1"]["vm"] = machines["ims-sprout-0"]["vm"].clone();
    }),
    ("a VM that is also a former one", |all| {
        let machine = &mut ledger(all)["machines"]["ims-sprout-0"];
        machine["former"] = json!([{"vm": machine["vm"], "reason": "test",
                                    "since": "2026-03-01T12:00:00Z"}]);
    }),
    ("a public address in two records", |all| {
        let machines = &mut ledger(all)["machines"];
        machines["ims-sprout-0"]["publicAddress"] = machines["ims-bono-0"]["publicAddress"].clone();
    }),
    ("a private address in two records", |all| {
        let machines = &mut ledger(all)["machines"];
        let address = machines["ims-sprout-0"]["privateAddress"].clone();
        machines["ims-sprout-1"]["privateAddress"] = address;
    }),
    ("a stack of the same account with the same VPC", |all| {
        let mut other = find(all, "ClearwaterStack", "ims").clone();
        other["metadata"]["name"] = json!("other");
        other["metadata"]["uid"] = json!("another");
        let vpc = other["status"]["ledger"]["vpc"].clone();
        other["status"]["ledger"] = json!({ "vpc": vpc });
        all.push(other);
    }),
    ("a job and a subject twice pending", |all| {
        let subject = "machine ims-sprout-0";
        ledger(all)["pending"] = json!([pending(subject, "j"), pending(subject, "j")]);
    }),
    ("a retiring machine without VM", |all| {
        let machine = &mut ledger(all)["machines"]["ims-sprout-1"];
        machine["retiring"] = json!(true);
        machine.as_object_mut().unwrap().remove("vm");
    }),
    ("no stack for the machines", |all| {
        without(all, "ClearwaterStack");
    }),
    ("no account", |all| without(all, "CloudAccount")),
    ("no secret", |all| without(all, "Secret")),
    ("no key in the secret", |all| {
        let secret = find(all, "Secret", "cloud-keys");
        secret["data"].as_object_mut().unwrap().remove("secretKey");
    }),
    ("no namespace", |all| without(all, "Namespace")),
    ("no finalizer", |all| {
        find(all, "ClearwaterStack", "ims")["metadata"]["finalizers"] = json!([]);
    }),
    ("another stack's machine", |all| {
        let machine = find(all, "Machine", "ims-bono-0");
        machine["metadata"]["ownerReferences"][0]["uid"] = json!("another");
    }),
    ("a spec that admission refuses", |all| {
        find(all, "ClearwaterStack", "ims")["spec"]["domain"] = json!("not a domain");
    }),
    ("a machine that the ledger does not know", |all| {
        let machines = &mut ledger(all)["machines"];
        machines.as_object_mut().unwrap().remove("ims-bono-0");
    }),
];

#[test]
fn fsck_finds_each_damage() {
    let mut lab = ready_lab();
    lab.stop();
    let text = lab.weir("state export --reveal-secrets -o -").done();
    let header: Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let mut told = String::new();
    for (index, (name, plant)) in DAMAGES.iter().enumerate() {
        let mut objects: Vec<Value> = all_objects(&text)
            .into_iter()
            .filter(|object| object["kind"] != "Event")
            .collect();
        plant(&mut objects);
        let mut header = header.clone();
        header["objects"] = json!(objects.len());
        let lines = [header].into_iter().chain(objects);
        let lines: String = lines.map(|line| format!("{line}\n")).collect();
        fs::write(lab.dir().join("damaged.jsonl"), lines).unwrap();
        let place = format!("damaged-{index}");
        lab.weir(&format!("state import damaged.jsonl --state {place}"))
            .done();
        let found = lab.weir(&format!("state fsck --state {place}"));
        told += &format!("# {name}\n{found}\n");
    }
    snapshot("state_fsck", told);
}
