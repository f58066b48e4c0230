//! Killed while it starts, before each call to the kernel that changes something.
//!
//! The calls are counted for each thread and each kind of call by itself, by strace.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Child, Command, Stdio},
    sync::Mutex,
};

use weir::types::meta::Kind;

use super::{
    bed::until,
    copies::{copy, open, put},
};
use crate::{kill::process::Process, parts::present};

/// Calls that change files or say when they are on the drive.
const CALLS: [&str; 9] = [
    "write",
    "pwrite64",
    "rename",
    "renameat",
    "unlink",
    "mkdir",
    "fsync",
    "fdatasync",
    "sync_file_range",
];

/// More calls of one kind than a thread makes in a start.
const MOST: usize = 60;

/// What a controller says when it has started.
const RUNS: &str = "weir controller runs";

/// Starts a controller on `folder/state` that is killed before a thread's `nth` call of a kind.
fn doomed(folder: &Path, call: &str, nth: usize) -> Child {
    let log = fs::File::create(folder.join("doomed")).unwrap();
    Command::new("strace")
        // Beside what it traces, so that the child is the controller itself.
        .args(["-D", "-f", "-qq", "-o", "/dev/null"])
        .args(["-e", &format!("trace={call}")])
        .args(["-e", &format!("inject={call}:signal=KILL:when={nth}")])
        .arg(env!("CARGO_BIN_EXE_weir"))
        .args(["controller", "--listen", "127.0.0.1:0", "--state"])
        .arg(folder.join("state"))
        .env("NO_COLOR", "1")
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap()
}

/// Whether the call was made, and killed it; otherwise it runs, and is stopped.
async fn dies(folder: &Path, call: &str, nth: usize) -> bool {
    let child = Mutex::new(doomed(folder, call, nth));
    let ended = until("it runs or is killed", async || {
        if child.lock().unwrap().try_wait().unwrap().is_some() {
            return Ok(true);
        }
        match fs::read_to_string(folder.join("doomed")).unwrap() {
            log if log.contains(RUNS) => Ok(false),
            log => Err(log),
        }
    });
    let ended = ended.await.unwrap();
    let mut child = child.into_inner().unwrap();
    if !ended {
        child.kill().unwrap();
    }
    child.wait().unwrap();
    ended
}

/// Starts a controller on a folder as it was left, and has it run.
async fn runs(folder: &Path) -> Result<(), String> {
    let process = Process::new(folder);
    process.start();
    let started = until(RUNS, async || match process.log() {
        log if log.contains(RUNS) => Ok(Ok(())),
        log if !process.runs() => Ok(Err(log)),
        log => Err(log),
    });
    started.await?
}

/// The names of what is stored.
async fn names(state: &Path) -> BTreeSet<String> {
    let store = open(state).await.unwrap();
    let machines = store.list(Kind::Machine, None).await.unwrap();
    let names = machines.items.into_iter();
    names.map(|object| object.metadata.name).collect()
}

/// Kills the start on copies of `begun` before each call; what is wrong after it.
async fn killed_at_each_call(begun: &Path) -> (usize, Vec<String>) {
    let held = match begun.join("state").exists() {
        true => names(&begun.join("state")).await,
        false => BTreeSet::new(),
    };
    let (mut kills, mut wrong) = (0, Vec::new());
    for call in CALLS {
        for nth in 1.. {
            assert!(nth < MOST, "{nth} times {call} in one start");
            let folder = tempfile::tempdir().unwrap();
            copy(begun, folder.path()).unwrap();
            if !dies(folder.path(), call, nth).await {
                break;
            }
            kills += 1;
            let state = folder.path().join("state");
            match runs(folder.path()).await {
                Ok(()) if names(&state).await == held => {}
                Ok(()) => wrong.push(format!("{call} {nth}: objects are missing")),
                Err(why) => wrong.push(format!("{call} {nth}: {why}")),
            }
        }
    }
    (kills, wrong)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_any_call_of_its_first_start_it_starts() {
    if !present("strace") {
        return;
    }
    let empty = tempfile::tempdir().unwrap();
    let (kills, wrong) = killed_at_each_call(empty.path()).await;
    println!("killed {kills} times");
    assert!(kills > 30, "killed {kills} times only");
    assert!(wrong.is_empty(), "{wrong:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_before_any_call_of_a_later_start_it_starts_and_has_everything() {
    if !present("strace") {
        return;
    }
    let begun = tempfile::tempdir().unwrap();
    runs(begun.path()).await.unwrap();
    // What a start finds that no snapshot of sled's has yet.
    let store = open(&begun.path().join("state")).await.unwrap();
    let mut rng = fastrand::Rng::with_seed(3);
    for size in [30, 400_000, 70] {
        put(&store, &format!("m-{size}"), size, &mut rng).await;
    }
    drop(store);
    let (kills, wrong) = killed_at_each_call(begun.path()).await;
    println!("killed {kills} times");
    assert!(kills > 8, "killed {kills} times only");
    assert!(wrong.is_empty(), "{wrong:#?}");
}
