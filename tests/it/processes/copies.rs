//! Copies of a state folder: made while it is written to, and as a power loss leaves them.

use std::{
    collections::BTreeMap,
    fs,
    path::{Path, PathBuf},
    process::Command,
    sync::atomic::{AtomicBool, Ordering},
};

use fastrand::Rng;
use serde_json::{Value, json};
use weir::{
    clock::Clock,
    store::{ChangeKind, OpenError, Preconditions, Store},
    types::meta::{Kind, Object, ObjectKey, ResourceVersion},
};

use super::mount::Mount;
use crate::{kill::asked_seeds, parts::present};

/// Writes while copies are made, and copies that are made about.
const WRITES: u64 = 400;
const COPIES: u64 = 60;

/// Objects that are written.
const NAMES: u64 = 40;

/// The store of a folder. One that was just dropped may hold it for a moment longer.
pub(super) async fn open(dir: &Path) -> Result<Store, OpenError> {
    loop {
        match Store::open(dir, Clock::system()) {
            Err(OpenError::Locked { .. }) => tokio::task::yield_now().await,
            opened => return opened,
        }
    }
}

pub(super) fn copy(from: &Path, to: &Path) -> std::io::Result<()> {
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let target = to.join(entry.file_name());
        match entry.file_type()?.is_dir() {
            true => copy(&entry.path(), &target)?,
            // It may be gone again, as `cp -r` would say too.
            false => drop(fs::copy(entry.path(), target)),
        }
    }
    Ok(())
}

/// Writes something drawn; gives its version.
async fn write(store: &Store, rng: &mut Rng) -> u64 {
    let name = format!("m-{}", rng.u64(..NAMES));
    let key = ObjectKey::new(Kind::Machine, "default", &name);
    if rng.u32(..5) == 0 && store.get(&key).await.unwrap().is_some() {
        store.delete(&key, &Preconditions::default()).await.unwrap();
        return store.version().await.unwrap().0;
    }
    // A stack of hundreds of machines has a status of hundreds of kilobytes.
    let size = match rng.u32(..60) {
        0 => rng.usize(100_000..600_000),
        1..10 => rng.usize(10_000..40_000),
        _ => rng.usize(..3_000),
    };
    put(store, &name, size, rng).await
}

/// Writes an object of about that many bytes; gives its version.
pub(super) async fn put(store: &Store, name: &str, size: usize, rng: &mut Rng) -> u64 {
    let filler: String = (0..size / 16)
        .map(|_| format!("{:016x}", rng.u64(..)))
        .collect();
    let object: Object = serde_json::from_value(json!({
        "apiVersion": Kind::Machine.api_version(), "kind": "Machine",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"filler": filler, "drawn": rng.u64(..)},
    }))
    .unwrap();
    let key = ObjectKey::new(Kind::Machine, "default", name);
    let written = match store.get(&key).await.unwrap() {
        Some(_) => store.update(object).await,
        None => store.create(object).await,
    };
    written.unwrap().metadata.resource_version.parse().unwrap()
}

/// Every object after each version.
struct Past(BTreeMap<u64, (ChangeKind, Object)>);

impl Past {
    async fn of(store: &Store) -> Self {
        let newest = store.version().await.unwrap().0;
        let mut watch = store
            .watch(Kind::Machine, None, ResourceVersion(0))
            .unwrap();
        let mut past = BTreeMap::new();
        while past.len() < usize::try_from(newest).unwrap() {
            let event = watch.next().await.unwrap();
            past.insert(event.version.0, (event.kind, event.object));
        }
        Self(past)
    }

    fn at(&self, version: u64) -> BTreeMap<String, Value> {
        let mut objects = BTreeMap::new();
        for (kind, object) in self.0.range(..=version).map(|(_, event)| event) {
            let name = object.metadata.name.clone();
            match kind {
                ChangeKind::Deleted => objects.remove(&name),
                _ => objects.insert(name, serde_json::to_value(object).unwrap()),
            };
        }
        objects
    }

    /// What was lost of the first `acknowledged` versions, or makes no sense.
    async fn loses(&self, found: Result<Store, OpenError>, acknowledged: u64) -> Option<String> {
        let store = match found {
            Ok(store) => store,
            Err(why) => return Some(why.to_string()),
        };
        let version = store.version().await.unwrap().0;
        if version < acknowledged {
            return Some(format!(
                "{version} is left, {acknowledged} was acknowledged"
            ));
        }
        self.wrong(&store).await
    }

    /// What is wrong with a store that is to be as this one was, at its own version.
    async fn wrong(&self, store: &Store) -> Option<String> {
        let version = store.version().await.unwrap().0;
        let want = self.at(version);
        let have = match store.list(Kind::Machine, None).await {
            Ok(list) => list.items,
            Err(error) => return Some(format!("at {version}: {error}")),
        };
        let have: BTreeMap<String, Value> = have
            .iter()
            .map(|object| {
                let value = serde_json::to_value(object).unwrap();
                (object.metadata.name.clone(), value)
            })
            .collect();
        let differ: Vec<&String> = want
            .keys()
            .chain(have.keys())
            .filter(|name| want.get(*name) != have.get(*name))
            .collect();
        (!differ.is_empty()).then(|| format!("at {version} these differ: {differ:?}"))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_made_while_it_is_written_is_whole_or_refused() {
    let seed = asked_seeds().map_or(7, |seeds| seeds[0]);
    let dir = tempfile::tempdir().unwrap();
    let store = open(&dir.path().join("state")).await.unwrap();
    let (over, mut rng) = (AtomicBool::new(false), Rng::with_seed(seed));
    let writing = async {
        for _ in 0..WRITES {
            write(&store, &mut rng).await;
        }
        over.store(true, Ordering::SeqCst);
    };
    let copying = async {
        let mut copies = Vec::new();
        let mut last = 0;
        while !over.load(Ordering::SeqCst) {
            let at_least = store.version().await.unwrap().0;
            if at_least < last + WRITES / COPIES {
                tokio::task::yield_now().await;
                continue;
            }
            last = at_least;
            let to = dir.path().join(format!("copy-{}", copies.len()));
            let from = dir.path().join("state");
            let copied = tokio::task::spawn_blocking(move || copy(&from, &to).is_ok());
            if copied.await.unwrap() {
                copies.push(at_least);
            }
        }
        copies
    };
    let ((), copies) = futures_util::join!(writing, copying);
    let past = Past::of(&store).await;
    let (mut whole, mut refused, mut wrong) = (0, Vec::new(), Vec::new());
    for (number, at_least) in copies.iter().enumerate() {
        match open(&dir.path().join(format!("copy-{number}"))).await {
            Err(why @ OpenError::Unreadable { .. }) => refused.push(why.to_string()),
            found => {
                whole += 1;
                let lost = past.loses(found, *at_least).await;
                wrong.extend(lost.map(|why| format!("copy {number}: {why}")));
            }
        }
    }
    println!(
        "SEED={seed}: {whole} copies whole, {} refused: {refused:?}",
        refused.len()
    );
    assert!(wrong.is_empty(), "SEED={seed}: {} {wrong:#?}", wrong.len());
}

/// One page of what a drive may have written, or not, when power is lost.
const PAGE: usize = 4096;

fn files(dir: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
    let mut found = BTreeMap::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(folder) = pending.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => pending.push(path),
                // sled throws away what it needs no more at any time.
                false => {
                    if let Ok(contents) = fs::read(&path) {
                        found.insert(path.strip_prefix(dir).unwrap().to_owned(), contents);
                    }
                }
            }
        }
    }
    found
}

/// The first state with some of the pages of the second.
fn mixed(before: &[u8], after: &[u8], rng: &mut Rng) -> Vec<u8> {
    let all = rng.u32(..4);
    let mut mixed = before.to_vec();
    let end = match rng.u32(..3) {
        0 => before.len(),
        1 => after.len(),
        _ => rng.usize(before.len().min(after.len())..=before.len().max(after.len())),
    };
    mixed.resize(end, 0);
    for at in (0..end).step_by(PAGE) {
        let upto = (at + PAGE).min(after.len()).min(end);
        if at < upto && rng.u32(..4) >= all {
            mixed[at..upto].copy_from_slice(&after[at..upto]);
        }
    }
    mixed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_power_loss_everything_acknowledged_is_there() {
    let seed = asked_seeds().map_or(7, |seeds| seeds[0]);
    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("state");
    let store = open(&state).await.unwrap();
    let mut rng = Rng::with_seed(seed);
    let mut crashes = Vec::new();
    let mut before = files(&state);
    let mut acknowledged = store.version().await.unwrap().0;
    for round in 0..100 {
        let version = write(&store, &mut rng).await;
        if round % 5 == 0 {
            let after = files(&state);
            for _ in 0..3 {
                let crash = dir.path().join(format!("crash-{}", crashes.len()));
                for (name, contents) in &after {
                    let was = before.get(name).map_or(&[][..], Vec::as_slice);
                    let left = mixed(was, contents, &mut rng);
                    let path = crash.join(name);
                    fs::create_dir_all(path.parent().unwrap()).unwrap();
                    fs::write(path, left).unwrap();
                }
                crashes.push(acknowledged);
            }
            before = after;
        } else {
            before = files(&state);
        }
        acknowledged = version;
    }
    let past = Past::of(&store).await;
    let mut wrong = Vec::new();
    for (number, acknowledged) in crashes.iter().enumerate() {
        let found = open(&dir.path().join(format!("crash-{number}"))).await;
        let lost = past.loses(found, *acknowledged).await;
        wrong.extend(lost.map(|why| format!("crash {number}: {why}")));
    }
    println!(
        "SEED={seed}: {} crashes, {} wrong",
        crashes.len(),
        wrong.len()
    );
    assert!(wrong.is_empty(), "SEED={seed}: {} {wrong:#?}", wrong.len());
}

/// Bytes of a drive for a small database.
const DRIVE: u64 = 24 << 20;

/// Power losses of a drive.
const LOSSES: usize = 8;

/// What reached the drive is what the file behind a loop device holds: a copy of that is what a
/// power loss leaves, apart from the drive's own cache, which is modelled above.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_acknowledged_has_reached_the_drive() {
    let seed = asked_seeds().map_or(8, |seeds| seeds[0]);
    let dir = tempfile::tempdir().unwrap();
    let drive = dir.path().join("drive");
    fs::File::create(&drive).unwrap().set_len(DRIVE).unwrap();
    if !present("mkfs.ext4") {
        return;
    }
    let made = Command::new("mkfs.ext4").arg("-q").arg(&drive).status();
    assert!(made.unwrap().success());
    let mounted = |drive: &Path, on: &str| {
        let words = format!("mount -o loop '{}' \"$0\"", drive.display());
        Mount::make(&dir.path().join(on), &words)
    };
    let Some(mount) = mounted(&drive, "mounted") else {
        return;
    };
    let store = open(&mount.folder().join("state")).await.unwrap();
    let mut rng = Rng::with_seed(seed);
    let mut losses = Vec::new();
    for number in 0..LOSSES {
        for _ in 0..4 {
            write(&store, &mut rng).await;
        }
        // The last one is large or small: each way to the drive is one of its own.
        let size = [400_000, 30][number % 2];
        let acknowledged = put(&store, &format!("last-{number}"), size, &mut rng).await;
        let lost = dir.path().join(format!("drive-{number}"));
        fs::copy(&drive, &lost).unwrap();
        losses.push((lost, acknowledged));
    }
    let past = Past::of(&store).await;
    drop((store, mount));
    let mut wrong = Vec::new();
    for (number, (lost, acknowledged)) in losses.iter().enumerate() {
        let mount = mounted(lost, &format!("after-{number}")).unwrap();
        let found = open(&mount.folder().join("state")).await;
        wrong.extend(
            past.loses(found, *acknowledged)
                .await
                .map(|why| format!("loss {number}: {why}")),
        );
    }
    assert!(wrong.is_empty(), "SEED={seed}: {wrong:#?}");
}
