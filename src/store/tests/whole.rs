//! The store as a whole: what is put back is what was there, and half of it is not used.

use std::{
    fs,
    path::Path,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use bytes::Bytes;
use serde_json::json;

use super::{clock, folder::copy, machine, on_disk, version};
use crate::{
    store::{
        Backend, BackendError, Changes, Entry, Expect, Memory, OpenError, Range, Reply,
        RestoreError, Store, StoreError,
    },
    types::meta::{Kind, Object, ResourceVersion},
};

/// A backend that fails after some writes.
#[derive(Debug)]
struct Failing {
    backend: Memory,
    writes: AtomicUsize,
}

impl Backend for Failing {
    fn get<'a>(&'a self, key: &'a str) -> Reply<'a, Option<Entry>> {
        self.backend.get(key)
    }

    fn range<'a>(&'a self, prefix: &'a str) -> Reply<'a, Range> {
        self.backend.range(prefix)
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, expect: Expect) -> Reply<'a, ResourceVersion> {
        let left = self
            .writes
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| {
                left.checked_sub(1)
            });
        match left {
            Ok(_) => self.backend.put(key, value, expect),
            Err(_) => Box::pin(async { Err(BackendError::failed("the disk is full")) }),
        }
    }

    fn remove<'a>(&'a self, key: &'a str, expect: Expect) -> Reply<'a, ResourceVersion> {
        self.backend.remove(key, expect)
    }

    fn watch(&self, prefix: &str, from: ResourceVersion) -> Result<Changes, BackendError> {
        self.backend.watch(prefix, from)
    }

    fn version(&self) -> Reply<'_, ResourceVersion> {
        self.backend.version()
    }
}

fn failing(writes: usize) -> (Arc<Failing>, Store) {
    let backend = Arc::new(Failing {
        backend: Memory::default(),
        writes: AtomicUsize::new(writes),
    });
    (backend.clone(), Store::with_backend(backend, clock()))
}

fn memory(writes: usize) -> Store {
    failing(writes).1
}

async fn filled(store: &Store) -> Vec<Object> {
    for name in ["bono-0", "bono-1", "bono-2"] {
        store.create(machine(name, 1)).await.unwrap();
    }
    store.update(machine("bono-1", 2)).await.unwrap();
    let mut told = machine("bono-1", 2);
    told.body
        .insert("status".to_owned(), json!({"phase": "Running"}));
    store.update_status(told).await.unwrap();
    store.everything().await.unwrap().items
}

fn unversioned(mut objects: Vec<Object>) -> Vec<Object> {
    for object in &mut objects {
        object.metadata.resource_version.clear();
    }
    objects
}

#[tokio::test]
async fn what_is_put_back_is_what_was_there() {
    let objects = filled(&memory(100)).await;
    assert_eq!(objects[1].metadata.generation, Some(2));
    let dir = tempfile::tempdir().unwrap();
    let store = Store::open_after(dir.path(), clock(), ResourceVersion(500)).unwrap();
    assert_eq!(store.restore(objects.clone()).await.unwrap(), 3);
    drop(store);
    let store = on_disk(dir.path());
    store.complete().await.unwrap();
    let back = store.everything().await.unwrap();
    assert!(back.items.iter().all(|object| version(object) > 500));
    assert_eq!(unversioned(back.items), unversioned(objects.clone()));
    let listed = store.list(Kind::Machine, None).await.unwrap().items;
    assert_eq!(unversioned(listed), unversioned(objects));
}

#[tokio::test]
async fn a_store_with_objects_is_left_as_it_is() {
    let store = memory(100);
    let before = filled(&store).await;
    let refused = store.restore(before.clone()).await.unwrap_err();
    assert!(
        matches!(&refused, RestoreError::NotEmpty { found: 3, example }
            if example == "machines/default/bono-0"),
        "{refused:?}"
    );
    store.complete().await.unwrap();
    assert_eq!(store.everything().await.unwrap().items, before);
}

#[tokio::test]
async fn an_object_that_cannot_be_stored_stops_everything_before_it_begins() {
    let store = memory(100);
    let nameless = machine("", 1);
    let refused = store.restore(vec![machine("a", 1), nameless]).await;
    assert!(matches!(
        refused,
        Err(RestoreError::Store(StoreError::Invalid(_)))
    ));
    assert!(store.everything().await.unwrap().items.is_empty());
    store.complete().await.unwrap();
}

#[tokio::test]
async fn what_was_put_back_in_part_is_used_by_nobody() {
    let objects = filled(&memory(100)).await;
    // The marker is the first write.
    for writes in 1..4 {
        let (backend, store) = failing(writes);
        let failed = store.restore(objects.clone()).await.unwrap_err();
        assert!(matches!(failed, RestoreError::Store(StoreError::Io(_))));
        let refused = store.complete().await;
        assert!(matches!(refused, Err(RestoreError::Unfinished)), "{writes}");
        backend.writes.store(100, Ordering::Relaxed);
        let again = store.restore(objects.clone()).await;
        assert!(matches!(again, Err(RestoreError::Unfinished)), "{writes}");
    }
    let store = memory(4);
    store.restore(objects).await.unwrap();
    store.complete().await.unwrap();
}

#[tokio::test]
async fn a_look_changes_nothing_and_respects_the_lock() {
    let (open, dir) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = on_disk(open.path());
    let objects = filled(&store).await;
    // As a crash would leave it: whoever opens this has something to put in order.
    copy(open.path(), dir.path());
    let before = contents(dir.path());
    let looked = Store::look(dir.path(), clock()).unwrap();
    assert_eq!(looked.everything().await.unwrap().items, objects);
    let _ = looked.create(machine("bono-9", 1)).await;
    drop(looked);
    assert_eq!(
        Store::look(dir.path(), clock())
            .unwrap()
            .everything()
            .await
            .unwrap()
            .items,
        objects
    );
    assert!(contents(dir.path()) == before, "the folder was changed");
    let locked = Store::look(open.path(), clock());
    assert!(matches!(locked, Err(OpenError::Locked { .. })));
    drop(store);
}

#[test]
fn a_look_makes_no_folder() {
    let dir = tempfile::tempdir().unwrap();
    let place = dir.path().join("state");
    let absent = Store::look(&place, clock());
    assert!(matches!(absent, Err(OpenError::Absent { .. })));
    assert!(!place.exists());
}

fn contents(dir: &Path) -> Vec<(String, Vec<u8>)> {
    let mut found = Vec::new();
    let mut pending = vec![dir.to_owned()];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).unwrap();
            pending.extend(entries.map(|entry| entry.unwrap().path()));
        } else {
            found.push((path.display().to_string(), fs::read(&path).unwrap()));
        }
    }
    found.sort();
    found
}
