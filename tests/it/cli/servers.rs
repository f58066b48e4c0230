//! `weir controller` as a process: what it refuses, how it stops, and that nothing is lost.

use std::{fs, path::Path, time::Duration};

use super::{
    etcd::{KEY, KEYS},
    lab::{Lab, run, stack, until},
    told::snapshot,
};

/// Time that a stop may take.
const STOP: Duration = Duration::from_secs(5);

/// Everything in a folder, by path.
fn contents(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => all.extend(contents(&path)),
            false => all.push((path.display().to_string(), fs::read(&path).unwrap())),
        }
    }
    all.sort();
    all
}

/// Starts a controller that must refuse, and gives what it said.
#[track_caller]
fn refuses(dir: &Path, words: &[&str]) -> String {
    let words = [&["controller"], words].concat();
    let told = run(dir, &words, "");
    assert_eq!((told.code, told.out.as_str()), (1, ""), "{told}");
    told.to_string()
}

#[test]
fn a_state_that_cannot_be_used_is_refused_and_left_as_it_is() {
    let mut lab = Lab::empty("instant");
    let free = ["--state", "state", "--listen", "127.0.0.1:0"];
    let second = refuses(lab.dir(), &free);
    let taken = fs::read_to_string(lab.dir().join("state/kubeconfig")).unwrap();
    let taken = taken
        .split("https://")
        .nth(1)
        .unwrap()
        .lines()
        .next()
        .unwrap();
    // Without a key of its own, which would be warned of.
    fs::write(lab.dir().join(KEYS), KEY).unwrap();
    let words = [
        "--state",
        "other",
        "--listen",
        taken,
        "--encryption-key-file",
        KEYS,
    ];
    let port = refuses(lab.dir(), &words);
    assert!(lab.controller.runs(), "the first one goes on");
    lab.weir("get stacks").done();

    lab.controller.signal("TERM");
    until("the controller is gone", || match lab.controller.runs() {
        true => Err(lab.controller.log()),
        false => Ok(()),
    });
    let format = lab.dir().join("state/format");
    let written = fs::read_to_string(&format).unwrap();
    fs::write(&format, written.replace('1', "99")).unwrap();
    let before = contents(&lab.dir().join("state"));
    let newer = refuses(lab.dir(), &free);
    fs::write(&format, "scribble").unwrap();
    let unreadable = refuses(lab.dir(), &free);
    fs::write(&format, written.replace('1', "99")).unwrap();
    assert_eq!(before, contents(&lab.dir().join("state")), "it was touched");
    fs::write(&format, written).unwrap();
    fs::write(lab.dir().join("file"), "a file").unwrap();
    let file = refuses(lab.dir(), &["--state", "file", "--listen", "127.0.0.1:0"]);
    let deep = refuses(
        lab.dir(),
        &["--state", "file/deep", "--listen", "127.0.0.1:0"],
    );
    snapshot(
        "servers_refusals",
        [second, port, newer, unreadable, file, deep].join("\n"),
    );
    lab.restart();
}

#[test]
fn a_signal_stops_the_controller_in_order_and_nothing_is_lost() {
    let mut lab = Lab::start();
    lab.apply("default", &stack("ims", "")).done();
    lab.ready("default", "ims");
    for (signal, sprouts) in [("TERM", 3), ("INT", 2)] {
        lab.weir(&format!("scale ims sprout={sprouts}")).done();
        lab.controller.signal(signal);
        let (status, took) = lab.controller.ended();
        let log = lab.controller.log();
        assert_eq!(status.code(), Some(0), "SIG{signal}: {log}");
        assert!(took < STOP, "SIG{signal}: {took:?}: {log}");
        lab.restart();
        lab.ready("default", "ims");
        until("there are as many sprouts as were asked for", || {
            let told = lab
                .weir("get machines -l weir.dev/role=sprout -o name")
                .done();
            (told.lines().count() == sprouts).then_some(()).ok_or(told)
        });
    }
}

#[test]
fn a_simulator_that_cannot_listen_says_so() {
    let lab = Lab::empty("instant");
    let at = lab
        .endpoint
        .trim_start_matches("http://")
        .trim_end_matches("/client/api");
    let told = [
        run(lab.dir(), &["sim", "--listen", at], ""),
        run(
            lab.dir(),
            &[
                "sim",
                "--listen",
                "127.0.0.1:0",
                "--env-file",
                "no/such/folder",
            ],
            "",
        ),
        run(
            lab.dir(),
            &[
                "sim",
                "break",
                "stop-vm",
                "nobody",
                "--at",
                &format!("http://{at}"),
            ],
            "",
        ),
        run(
            lab.dir(),
            &["sim", "break", "burn-down", "--at", &format!("http://{at}")],
            "",
        ),
        run(
            lab.dir(),
            &["sim", "break", "stop-vm", "x", "--at", "http://127.0.0.1:1"],
            "",
        ),
    ];
    snapshot(
        "servers_sim_refusals",
        told.map(|told| {
            assert_eq!(told.code, 1, "{told}");
            told.to_string()
        })
        .join("\n"),
    );
}
