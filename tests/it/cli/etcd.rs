//! `weir controller --store etcd://…`: killed and started again without its state folder it goes
//! on, an etcd that is away is waited for, and one that cannot be used is refused.

use std::fs;

use super::{
    lab::{Lab, run, stack, until},
    told::snapshot,
};
use crate::store::server::{self, Server};

/// Runs what is asynchronous, from a test that has no runtime of its own.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(future)
}

/// Where controllers on an etcd have their encryption keys, and these.
pub(crate) const KEYS: &str = "keys";
pub(crate) const KEY: &str = "first:AQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQE=\n";

pub(crate) fn lab_on(etcd: &Server) -> Lab {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join(KEYS), KEY).unwrap();
    let words = ["--store", &etcd.address(), "--encryption-key-file", KEYS];
    Lab::with(dir, &["--profile", "lab"], &words)
}

/// Kills the controller with everything that is not in etcd, and starts it again.
fn lose_the_machine(lab: &mut Lab) {
    lab.controller.signal("KILL");
    until("the controller is gone", || match lab.controller.runs() {
        true => Err(lab.controller.log()),
        false => Ok(()),
    });
    fs::remove_dir_all(lab.dir().join("state")).unwrap();
    lab.restart();
}

pub(crate) fn machines(lab: &Lab) -> usize {
    let listed = lab.cloud("listVirtualMachines", &[("listall", "true")]);
    listed["virtualmachine"].as_array().map_or(0, Vec::len)
}

fn number(version: &serde_json::Value) -> u64 {
    version.as_str().unwrap().parse().unwrap()
}

#[test]
fn killed_with_its_machine_it_goes_on_from_what_is_in_etcd() {
    let Some(etcd) = now(server::single()) else {
        return;
    };
    let mut lab = lab_on(&etcd);
    lab.account("default");
    lab.apply("default", &stack("ims", "")).done();
    for wanted in [1, 3] {
        until("machines are on their way", || {
            let found = machines(&lab);
            (found >= wanted)
                .then_some(())
                .ok_or_else(|| lab.everything())
        });
        lose_the_machine(&mut lab);
    }
    lab.ready("default", "ims");
    let told = lab.weir("get machines -o name").done();
    assert_eq!(told.lines().count(), machines(&lab), "{told}");
    assert!(!lab.dir().join("state/db").exists(), "no database is made");

    // Versions go on as well: what a client has seen stays older than what comes.
    let before = number(&lab.member("stack ims", "/metadata/resourceVersion"));
    lose_the_machine(&mut lab);
    lab.broken("stop-vm ims-sprout-0");
    let sprout = || {
        let listed = lab.cloud("listVirtualMachines", &[("listall", "true")]);
        let all = listed["virtualmachine"].as_array().cloned();
        let all = all.unwrap_or_default().into_iter();
        let sprout = all.filter(|vm| vm["name"] == "ims-sprout-0");
        let states: Vec<_> = sprout.map(|vm| vm["state"].to_string()).collect();
        states.join(" ")
    };
    until("the repair is seen", || match sprout().as_str() {
        "\"Running\"" => Ok(()),
        seen => Err(format!("{seen}\n{}", lab.everything())),
    });
    lab.ready("default", "ims");
    let later = number(&lab.member("stack ims", "/metadata/resourceVersion"));
    assert!(later > before, "{later} {before}");
    lab.weir("delete stack ims --wait=false").done();
    until("no machine is left", || {
        let listed = lab.cloud("listVirtualMachines", &[("listall", "true")]);
        let text = listed.to_string();
        let gone = !text.contains("\"Running\"") && !text.contains("\"Stopped\"");
        gone.then_some(()).ok_or(text)
    });
}

#[test]
fn an_etcd_that_is_away_is_told_and_waited_for() {
    let Some(etcd) = now(server::single()) else {
        return;
    };
    let lab = lab_on(&etcd);
    assert_eq!(lab.health("/readyz").0, 200);
    etcd.kill();
    let (status, text) = lab.health("/readyz");
    assert_eq!(status, 503, "{text}");
    assert_eq!(lab.health("/livez").0, 200);
    etcd.start();
    now(etcd.serves());
    until("it is ready again", || match lab.health("/readyz") {
        (200, _) => Ok(()),
        seen => Err(format!("{seen:?}\n{}", lab.controller.log())),
    });
    lab.namespace("prod");
}

#[test]
fn an_etcd_that_cannot_be_used_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("not.pem"), "scribble\n").unwrap();
    fs::write(dir.path().join(KEYS), KEY).unwrap();
    let refused: Vec<_> = [
        "--store etcd://127.0.0.1:1,127.0.0.1:2 --encryption-key-file keys",
        "--store etcd://127.0.0.1:1",
        "--store etcd://127.0.0.1:1 --encryption-key-file not.pem",
        "--store etcd://127.0.0.1:1 --encryption-key-file absent",
        "--store 127.0.0.1:2379",
        "--store etcd://me:secret@127.0.0.1",
        "--store etcd://127.0.0.1/we?ir",
        "--store etcd://127.0.0.1 --etcd-ca ca.crt",
        "--store etcds://127.0.0.1 --etcd-ca ca.crt",
        "--store etcds://127.0.0.1 --etcd-ca not.pem",
        "--store etcds://127.0.0.1 --etcd-cert client.crt",
        "--store etcd://127.0.0.1 --etcd-user weir",
        "--etcd-user weir",
    ]
    .iter()
    .map(|words| {
        let words = format!("controller --state state --listen 127.0.0.1:0 {words}");
        let words: Vec<_> = words.split(' ').collect();
        let told = run(dir.path(), &words, "");
        assert!(told.out.is_empty() && told.code > 0, "{told}");
        told.to_string()
    })
    .collect();
    snapshot("servers_etcd_refusals", refused.join("\n"));
    assert!(!dir.path().join("state").exists(), "nothing was made");
}
