//! The state folder: what is opened, what is refused, and what a crash leaves of it.

use std::{
    fs,
    io::{BufRead, BufReader, Write as _},
    os::unix::fs::PermissionsExt,
    path::Path,
    process::{Command, Stdio},
};

use futures_util::{StreamExt, stream};

use super::{clock, key, machine, on_disk, size, version};
use crate::{
    store::{OpenError, Preconditions, Store, StoreError},
    types::meta::{Kind, ResourceVersion},
};

#[tokio::test]
async fn what_was_written_is_there_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = on_disk(dir.path());
    let written = store.create(machine("bono-0", 1)).await.unwrap();
    drop(store);
    let store = on_disk(dir.path());
    assert_eq!(store.get(&key("bono-0")).await.unwrap(), Some(written));
}

#[tokio::test]
async fn versions_go_on_after_a_restart_even_if_the_newest_object_is_gone() {
    let dir = tempfile::tempdir().unwrap();
    let store = on_disk(dir.path());
    store.create(machine("bono-0", 1)).await.unwrap();
    let any = Preconditions::default();
    store.delete(&key("bono-0"), &any).await.unwrap();
    drop(store);
    let store = on_disk(dir.path());
    assert_eq!(store.version().await.unwrap(), ResourceVersion(2));
    let next = store.create(machine("bono-1", 1)).await.unwrap();
    assert_eq!(version(&next), 3);
}

#[tokio::test]
async fn a_watch_goes_on_exactly_after_a_restart() {
    let dir = tempfile::tempdir().unwrap();
    let store = on_disk(dir.path());
    store.create(machine("bono-0", 1)).await.unwrap();
    store.update(machine("bono-0", 2)).await.unwrap();
    let mut before = store
        .watch(Kind::Machine, None, ResourceVersion(0))
        .unwrap();
    let expected = [before.next().await.unwrap(), before.next().await.unwrap()];
    drop((store, before));
    let store = on_disk(dir.path());
    let mut after = store
        .watch(Kind::Machine, None, ResourceVersion(0))
        .unwrap();
    assert_eq!(
        [after.next().await.unwrap(), after.next().await.unwrap()],
        expected
    );
}

#[tokio::test]
async fn a_watch_from_before_the_history_has_expired_after_a_restart_as_well() {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_with_history(dir.path(), clock(), 3).unwrap();
    store.create(machine("bono-0", 0)).await.unwrap();
    for size in 1..10 {
        store.update(machine("bono-0", size)).await.unwrap();
    }
    drop(store);
    let store = Store::open_with_history(dir.path(), clock(), 3).unwrap();
    let from = |version| store.watch(Kind::Machine, None, ResourceVersion(version));
    assert!(matches!(
        from(6),
        Err(StoreError::Expired {
            oldest: ResourceVersion(7),
            ..
        })
    ));
    assert_eq!(
        from(7).unwrap().next().await.unwrap().version,
        ResourceVersion(8)
    );
}

#[tokio::test]
async fn a_second_process_is_told_that_the_folder_is_in_use() {
    let dir = tempfile::tempdir().unwrap();
    let _store = on_disk(dir.path());
    let before = snapshot(dir.path());
    let refused = Store::open(dir.path(), clock()).unwrap_err();
    assert!(matches!(refused, OpenError::Locked { .. }), "{refused}");
    assert!(
        refused
            .to_string()
            .contains("in use by another Weir process")
    );
    assert_eq!(snapshot(dir.path()), before);
}

#[tokio::test]
async fn a_newer_folder_is_refused_and_left_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    drop(on_disk(dir.path()));
    fs::write(dir.path().join("format"), "weir state format 2\n").unwrap();
    let before = snapshot(dir.path());
    let refused = Store::open(dir.path(), clock()).unwrap_err();
    assert!(
        matches!(
            refused,
            OpenError::Newer {
                found: 2,
                known: 1,
                ..
            }
        ),
        "{refused}"
    );
    assert_eq!(snapshot(dir.path()), before);
}

#[tokio::test]
async fn a_folder_that_makes_no_sense_is_refused_and_left_as_it_is() {
    type Spoil = fn(&Path) -> std::io::Result<()>;
    let spoilt: [(&str, Spoil); 6] = [
        ("does not say", |dir| {
            fs::write(dir.join("format"), "something else\n")
        }),
        ("no file `format`", |dir| {
            fs::remove_file(dir.join("format"))
        }),
        ("`db` is missing", |dir| fs::remove_dir_all(dir.join("db"))),
        ("", |dir| {
            fs::remove_dir_all(dir.join("db")).and_then(|()| fs::write(dir.join("db"), ""))
        }),
        ("counter is missing", |dir| fs::write(dir.join("db/db"), "")),
        ("", |dir| {
            fs::write(dir.join("db/conf"), "a configuration from elsewhere")
        }),
    ];
    for (why, spoil) in spoilt {
        let dir = tempfile::tempdir().unwrap();
        on_disk(dir.path())
            .create(machine("bono-0", 1))
            .await
            .unwrap();
        spoil(dir.path()).unwrap();
        let before = snapshot(dir.path());
        let refused = Store::open(dir.path(), clock()).unwrap_err();
        assert!(matches!(refused, OpenError::Unreadable { .. }), "{refused}");
        assert!(refused.to_string().contains(why), "{refused}");
        assert_eq!(snapshot(dir.path()), before, "{refused}");
    }
}

#[tokio::test]
async fn a_damaged_database_is_refused_and_left_as_it_is() {
    let sound = tempfile::tempdir().unwrap();
    let store = on_disk(sound.path());
    store.create(machine("bono-0", 0)).await.unwrap();
    for size in 1..2_000 {
        store.update(machine("bono-0", size)).await.unwrap();
    }
    drop(store);
    let dir = tempfile::tempdir().unwrap();
    copy(sound.path(), dir.path());
    let file = dir.path().join("db/db");
    let mut contents = fs::read(&file).unwrap();
    let end = contents.len();
    contents[end - 4096..].fill(b'x');
    for damaged in contents.chunks_mut(4096).skip(1).step_by(7) {
        damaged[..64].fill(b'x');
    }
    fs::write(&file, contents).unwrap();
    let before = snapshot(dir.path());
    let refused = Store::open(dir.path(), clock()).unwrap_err();
    assert!(matches!(refused, OpenError::Unreadable { .. }), "{refused}");
    assert!(
        refused.to_string().contains("restore a backup"),
        "{refused}"
    );
    assert_eq!(snapshot(dir.path()), before);
}

#[tokio::test]
async fn a_database_whose_parts_are_of_different_times_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let store = on_disk(dir.path());
    store.create(machine("bono-0", 1)).await.unwrap();
    store.create(machine("bono-1", 1)).await.unwrap();
    drop(store);
    drop(on_disk(dir.path()));
    let db = sled::open(dir.path().join("db")).unwrap();
    let one = db.scan_prefix("o").keys().next().unwrap().unwrap();
    db.remove(one).unwrap();
    drop(db);
    let refused = Store::open(dir.path(), clock()).unwrap_err();
    assert!(refused.to_string().contains("different times"), "{refused}");
}

#[tokio::test]
async fn a_folder_that_was_never_finished_is_finished() {
    let dir = tempfile::tempdir().unwrap();
    drop(on_disk(dir.path()));
    fs::rename(dir.path().join("format"), dir.path().join("unfinished")).unwrap();
    on_disk(dir.path())
        .create(machine("bono-0", 1))
        .await
        .unwrap();
    let again = on_disk(dir.path());
    assert!(again.get(&key("bono-0")).await.unwrap().is_some());
}

#[tokio::test]
async fn a_folder_with_other_files_in_it_becomes_a_state_folder() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("README.md"), "Databases live here.").unwrap();
    on_disk(dir.path())
        .create(machine("bono-0", 1))
        .await
        .unwrap();
    assert!(dir.path().join("README.md").exists());
}

#[tokio::test]
async fn a_new_folder_is_for_its_owner_only() {
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    drop(on_disk(&state));
    assert_eq!(
        fs::metadata(&state).unwrap().permissions().mode() & 0o777,
        0o700
    );
    assert_eq!(
        fs::read_to_string(state.join("format")).unwrap(),
        "weir state format 1\n"
    );
}

/// Every file below `dir` with its contents.
fn snapshot(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files = Vec::new();
    let mut folders = vec![dir.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            if entry.file_type().unwrap().is_dir() {
                folders.push(entry.path());
            } else {
                let contents = fs::read(entry.path()).unwrap();
                files.push((entry.path().display().to_string(), contents));
            }
        }
    }
    files.sort();
    files
}

pub(super) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).unwrap();
    for entry in fs::read_dir(from).unwrap().map(Result::unwrap) {
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy(&entry.path(), &target);
        } else {
            fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[tokio::test]
async fn a_copy_of_the_open_database_has_every_acknowledged_write() {
    let dir = tempfile::tempdir().unwrap();
    let store = on_disk(dir.path());
    for round in 0..20 {
        let name = format!("bono-{round}");
        let mut object = store.create(machine(&name, round)).await.unwrap();
        if round % 3 == 0 {
            object.body["spec"]["size"] = (round + 100).into();
            store.update(object).await.unwrap();
        }
        let crashed = tempfile::tempdir().unwrap();
        copy(dir.path(), crashed.path());
        let recovered = on_disk(crashed.path());
        assert_eq!(
            recovered.list(Kind::Machine, None).await.unwrap().items,
            store.list(Kind::Machine, None).await.unwrap().items,
        );
        assert_eq!(
            recovered.version().await.unwrap(),
            store.version().await.unwrap()
        );
    }
}

/// Where the process to be killed keeps its state.
const VICTIM: &str = "WEIR_TEST_VICTIM";
/// Acknowledged writes after which it is killed.
const ACKNOWLEDGED: usize = 300;

#[tokio::test]
async fn a_killed_process_loses_nothing_that_it_acknowledged() {
    if let Some(dir) = std::env::var_os(VICTIM) {
        return write_until_killed(Path::new(&dir)).await;
    }
    let dir = tempfile::tempdir().unwrap();
    let this = "store::tests::folder::a_killed_process_loses_nothing_that_it_acknowledged";
    let mut victim = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", this, "--nocapture"])
        .env(VICTIM, dir.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(victim.stdout.take().unwrap()).lines();
    let acknowledged: Vec<(String, u64, u64)> = lines
        .map_while(Result::ok)
        .filter_map(|line| {
            let mut words = line.strip_prefix("wrote ")?.split(' ');
            let name = words.next()?.to_owned();
            Some((
                name,
                words.next()?.parse().ok()?,
                words.next()?.parse().ok()?,
            ))
        })
        .take(ACKNOWLEDGED)
        .collect();
    victim.kill().unwrap();
    victim.wait().unwrap();

    assert_eq!(acknowledged.len(), ACKNOWLEDGED);
    let store = on_disk(dir.path());
    for (name, wrote, at) in acknowledged {
        let found = store.get(&key(&name)).await.unwrap().expect(&name);
        // A later write of the same object may have become durable as well.
        assert!(
            size(&found) >= wrote && version(&found) >= at,
            "{name}: {found:?}"
        );
    }
    let newest = store.list(Kind::Machine, None).await.unwrap();
    let newest = newest.items.iter().map(version).max().unwrap();
    assert_eq!(store.version().await.unwrap(), ResourceVersion(newest));
}

/// Eight writers, each with an object of its own, that say what has been acknowledged.
async fn write_until_killed(dir: &Path) {
    let store = on_disk(dir);
    let writers = stream::iter(0..8).for_each_concurrent(None, |writer| {
        let store = store.clone();
        async move {
            let name = format!("bono-{writer}");
            for size in 0.. {
                let object = machine(&name, size);
                let object = if size == 0 {
                    store.create(object).await.unwrap()
                } else {
                    store.update(object).await.unwrap()
                };
                let line = format!("wrote {name} {size} {}\n", version(&object));
                // Once nobody reads any more we are about to be killed.
                if std::io::stdout().write_all(line.as_bytes()).is_err() {
                    return;
                }
            }
        }
    });
    writers.await;
}
