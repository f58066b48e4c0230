//! Disks that are full, read-only, somebody else's or damaged.

use std::{
    fs::{self, File, Permissions},
    io::Write as _,
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    time::Duration,
};

use serde_json::{Value, json};
use tokio::process::Command;

use super::{
    bed::{Bed, until},
    mount::Mount,
};
use crate::{kill::script::Rights, support::stage::reads};

/// Bytes of a file system that a small stack's state fits into.
const SMALL: &str = "size=8m";

/// Longest time that a controller may take to refuse.
const REFUSAL: Duration = Duration::from_secs(20);

/// Fills a file system to its last byte.
fn fill(folder: &Path) -> PathBuf {
    let path = folder.join("ballast");
    let mut file = File::create(&path).unwrap();
    for size in [1 << 16, 1 << 12, 1] {
        while file.write_all(&vec![b'x'; size]).is_ok() {}
    }
    path
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_nothing_is_sent_that_is_not_recorded() {
    let dir = tempfile::tempdir().unwrap();
    let Some(small) = Mount::make(
        &dir.path().join("small"),
        &format!("mount -t tmpfs -o {SMALL} tmpfs \"$0\""),
    ) else {
        return;
    };
    let bed = Bed::make_in(small.folder().join("state"), 201, Rights::Plain).await;
    bed.process.start();
    bed.account(&bed.cloud.endpoint).await;
    bed.apply(&bed.spec()).await.unwrap();
    bed.settled().await.unwrap();

    let ballast = fill(small.folder());
    // Changes until one of them found no room.
    let refused = until("a change is refused", async || {
        let change = json!({"metadata": {"annotations": {"filler": "x".repeat(20_000)}}});
        let key = crate::kill::user::stack_key();
        let client = bed.user.client()?;
        match client.patch_merge(&key, &change).await {
            Ok(_) => {
                let change = json!({"metadata": {"annotations": {"filler": null}}});
                client.patch_merge(&key, &change).await.ok();
                Err("there is still room".to_owned())
            }
            Err(error) => Ok(error.to_string()),
        }
    })
    .await
    .unwrap();
    let ready = bed.readyz().await;
    bed.cloud.ask("DELETE", "requests", &Value::Null).await;
    let vm = bed.vm_of("ims-sprout-0").unwrap();
    let broken = json!({"what": "destroy-vm", "vm": vm});
    let broken = bed.cloud.ask("POST", "break", &broken).await;
    assert!(broken["done"].is_string(), "{broken}");
    let looks = until("it looks on", async || {
        let commands = bed.cloud.commands().await;
        let looks = commands.iter().filter(|one| *one == "listVirtualMachines");
        match looks.count() >= 3 {
            true => Ok(commands),
            false => Err(format!("{commands:?}")),
        }
    })
    .await
    .unwrap();
    let stranger = ["destroyVirtualMachine"];
    let sent: Vec<&String> = looks
        .iter()
        .filter(|one| !reads(one) && !stranger.contains(&one.as_str()))
        .collect();
    assert!(sent.is_empty(), "it could not record {sent:?}");
    for told in [ready, refused, bed.process.log()] {
        assert!(told.contains("make room on its disk"), "{told}");
    }

    fs::remove_file(ballast).unwrap();
    assert!(bed.process.kill(), "it ended by itself");
    bed.process.start();
    let wrong = bed.wrong().await.unwrap();
    assert!(wrong.is_empty(), "{wrong:#?}");
}

/// Has a controller started that must refuse; gives what it said.
async fn refuses(program: &[&str], state: &Path) -> String {
    let mut command = Command::new(program[0]);
    command
        .args(&program[1..])
        .args(["controller", "--listen", "127.0.0.1:0", "--state"])
        .arg(state)
        .env("RUST_BACKTRACE", "0")
        .kill_on_drop(true);
    let output = tokio::time::timeout(REFUSAL, command.output()).await;
    let output = output.expect("it refuses").unwrap();
    let told = String::from_utf8_lossy(&output.stderr).into_owned()
        + &String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(1), "{told}");
    assert!(!told.contains("panicked"), "{told}");
    told
}

const WEIR: &str = env!("CARGO_BIN_EXE_weir");

/// A state folder that a controller made and left.
async fn left_state(dir: &Path) -> PathBuf {
    let bed = Bed::make_in(dir.join("state"), 202, Rights::Plain).await;
    bed.process.start();
    bed.account(&bed.cloud.endpoint).await;
    bed.process.kill();
    dir.join("state")
}

/// Every file of a folder, with its contents and mode.
fn contents(folder: &Path) -> Vec<(PathBuf, u32, Vec<u8>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let mode = fs::metadata(&path).unwrap().permissions().mode();
        match path.is_dir() {
            true => found.extend(contents(&path)),
            false => found.push((path.clone(), mode, fs::read(&path).unwrap())),
        }
    }
    found.sort();
    found
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_folder_that_can_only_be_read_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let state = left_state(dir.path()).await;
    let before = contents(&state);
    let words = "mount --bind \"$0\" \"$0\" && mount -o remount,bind,ro \"$0\"";
    let Some(mount) = Mount::make(&state, words) else {
        return;
    };
    let told = refuses(&[WEIR], mount.folder()).await;
    assert!(told.contains("mount it for writing"), "{told}");
    let new = refuses(&[WEIR], &mount.folder().join("new")).await;
    assert!(new.contains("mount it for writing"), "{new}");
    assert!(contents(&state) == before, "it was changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_full_disk_is_told_at_the_start() {
    let dir = tempfile::tempdir().unwrap();
    let state = left_state(dir.path()).await;
    let words = format!("mount -t tmpfs -o {SMALL} tmpfs \"$0\"");
    let Some(small) = Mount::make(&dir.path().join("small"), &words) else {
        return;
    };
    let copied = small.folder().join("state");
    let done = Command::new("cp")
        .arg("-r")
        .args([&state, &copied])
        .status();
    assert!(done.await.unwrap().success());
    let ballast = fill(small.folder());
    let before = contents(&copied);
    let told = refuses(&[WEIR], &copied).await;
    let new = refuses(&[WEIR], &small.folder().join("new")).await;
    assert!(
        told.contains("make room") && new.contains("make room"),
        "{told}{new}"
    );
    assert!(contents(&copied) == before, "it was changed");
    fs::remove_file(ballast).unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn somebody_elses_folder_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let state = left_state(dir.path()).await;
    let nobody = [
        "setpriv",
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
    ];
    let may = Command::new(nobody[0])
        .args(&nobody[1..])
        .arg("true")
        .output()
        .await;
    if !may.is_ok_and(|output| output.status.success()) {
        println!("LEFT OUT: becoming another user is not allowed here");
        return;
    }
    // Where anybody can run it.
    fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let weir = dir.path().join("weir");
    if fs::hard_link(WEIR, &weir).is_err() {
        fs::copy(WEIR, &weir).unwrap();
    }
    let before = contents(&state);
    let program = [&nobody[..], &[weir.to_str().unwrap()]].concat();
    let told = refuses(&program, &state).await;
    assert!(told.contains("this user may read and write"), "{told}");
    // The same where the folder can be looked into and some of its files be read.
    for (name, mode) in [("", 0o755), ("db", 0o755), ("tls", 0o755)] {
        fs::set_permissions(state.join(name), Permissions::from_mode(mode)).unwrap();
    }
    let before = (before.len() == contents(&state).len()).then(|| contents(&state));
    let told = refuses(&program, &state).await;
    assert!(told.contains("this user may read and write"), "{told}");
    assert!(before == Some(contents(&state)), "it was changed");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_damaged_file_is_told_with_a_remedy() {
    let dir = tempfile::tempdir().unwrap();
    let state = left_state(dir.path()).await;
    let (renew, restore) = ("move the folder `tls` away", "restore a backup");
    let damages = [
        ("tls/ca.crt", "scribble", renew),
        ("tls/ca.crt", "", renew),
        ("tls/ca.key", "scribble", renew),
        ("tls/server.crt", "scribble", renew),
        ("tls/server.key", "scribble", renew),
        ("format", "", restore),
        ("db/conf", "a configuration from elsewhere", restore),
        ("db/db", "a database from elsewhere", restore),
    ];
    for (name, damage, remedy) in damages {
        let sound = fs::read(state.join(name)).unwrap();
        fs::write(state.join(name), damage).unwrap();
        let before = contents(&state);
        let told = refuses(&[WEIR], &state).await;
        assert!(told.contains(remedy), "{name}: {told}");
        assert!(told.contains(name) || remedy == restore, "{name}: {told}");
        let changed: Vec<_> = contents(&state)
            .into_iter()
            .filter(|file| !before.contains(file))
            // A sound database was opened before, which tidies it up.
            .filter(|(path, ..)| remedy == restore || !path.starts_with(state.join("db")))
            .map(|(path, ..)| path)
            .collect();
        assert!(changed.is_empty(), "{name}: {changed:?}");
        fs::write(state.join(name), sound).unwrap();
    }
}
