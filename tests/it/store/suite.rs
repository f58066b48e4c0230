//! The promises of a backend, whatever it is made of: each is tried on an empty one.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use futures_util::{FutureExt, StreamExt, future::join_all};
use serde_json::json;
use weir::{
    clock::Clock,
    store::{
        Backend, BackendError, Change, ChangeKind, Changes, Deleted, Entry, Expect, Keys,
        Preconditions, Store, StoreError,
    },
    types::{
        id::Uid,
        machine::{Machine, MachineStatus},
        meta::{Kind, Object, ResourceVersion},
    },
};

use super::HISTORY;

/// Longest wait for a change to be told.
const PATIENCE: Duration = Duration::from_secs(30);

/// What the promises are tried on.
pub(super) trait Subject {
    /// An empty backend of its own for a promise, which remembers `history` changes.
    async fn backend(&self, name: &str, history: usize) -> Arc<dyn Backend>;
}

/// Tries every promise, one after the other.
pub(super) async fn keeps(subject: &impl Subject) {
    what_is_written_is_read(&*subject.backend("written", HISTORY).await).await;
    an_expectation_decides(&*subject.backend("expected", HISTORY).await).await;
    of_many_writers_one_wins(&*subject.backend("raced", HISTORY).await).await;
    a_range_is_one_moment(&*subject.backend("ranged", HISTORY).await).await;
    a_watch_tells_each_change_once(&*subject.backend("watched", HISTORY).await).await;
    a_watch_may_start_in_the_future(&*subject.backend("future", HISTORY).await).await;
    a_version_is_a_level_for_watches(&*subject.backend("level", HISTORY).await).await;
    what_is_too_old_has_expired(&*subject.backend("expired", 3).await).await;
    an_object_lives_and_dies(subject.backend("object", HISTORY).await).await;
    a_status_is_put_over_the_one_that_was_read(subject.backend("status", HISTORY).await).await;
    a_list_can_be_had_as_it_was(subject.backend("then", 8).await).await;
    a_secret_is_kept_encrypted(subject.backend("secret", HISTORY).await).await;
}

async fn what_is_written_is_read(backend: &dyn Backend) {
    assert_eq!(backend.get("a/1").await.unwrap(), None);
    let before = backend.version().await.unwrap();
    let first = put(backend, "a/1", "one", Expect::Absent).await;
    let second = put(backend, "a/2", "two", Expect::Any).await;
    assert!(before < first && first < second);
    let entry = backend.get("a/1").await.unwrap().unwrap();
    assert_eq!((&*entry.value, entry.version), (&b"one"[..], first));
    assert_eq!(backend.version().await.unwrap(), second);
    let gone = backend.remove("a/1", Expect::At(first)).await.unwrap();
    assert!(gone > second);
    assert_eq!(backend.get("a/1").await.unwrap(), None);
    assert_eq!(backend.version().await.unwrap(), gone);
}

async fn an_expectation_decides(backend: &dyn Backend) {
    let unexpected = async |put: Option<&str>, expect| {
        let answer = match put {
            Some(value) => backend.put("a/1", bytes(value), expect).await,
            None => backend.remove("a/1", expect).await,
        };
        match answer {
            Err(BackendError::Unexpected { found }) => found,
            answer => panic!("{expect:?}: {answer:?}"),
        }
    };
    for expect in [
        Expect::At(ResourceVersion(0)),
        Expect::At(ResourceVersion(7)),
    ] {
        assert_eq!(unexpected(Some("x"), expect).await, None);
    }
    for expect in [Expect::Any, Expect::Absent, Expect::At(ResourceVersion(0))] {
        assert_eq!(unexpected(None, expect).await, None);
    }
    let first = put(backend, "a/1", "one", Expect::Absent).await;
    assert_eq!(unexpected(Some("x"), Expect::Absent).await, Some(first));
    assert_eq!(unexpected(None, Expect::Absent).await, Some(first));
    let second = put(backend, "a/1", "two", Expect::At(first)).await;
    assert_eq!(unexpected(Some("x"), Expect::At(first)).await, Some(second));
    assert_eq!(unexpected(None, Expect::At(first)).await, Some(second));
    assert_eq!(&*backend.get("a/1").await.unwrap().unwrap().value, b"two");
    assert_eq!(backend.version().await.unwrap(), second);
    backend.remove("a/1", Expect::Any).await.unwrap();
    put(backend, "a/1", "three", Expect::Absent).await;
}

/// Each of many writers adds one to a number, which none may lose.
async fn of_many_writers_one_wins(backend: &dyn Backend) {
    put(backend, "a/1", "0", Expect::Absent).await;
    let writer = async |_| {
        let mut lost = 0;
        loop {
            let entry = backend.get("a/1").await.unwrap().unwrap();
            let number: u64 = std::str::from_utf8(&entry.value).unwrap().parse().unwrap();
            let next = bytes(&(number + 1).to_string());
            match backend.put("a/1", next, Expect::At(entry.version)).await {
                Ok(_) => return lost,
                Err(BackendError::Unexpected { .. }) => lost += 1,
                Err(error) => panic!("{error}"),
            }
        }
    };
    join_all((0..16).map(writer)).await;
    assert_eq!(&*backend.get("a/1").await.unwrap().unwrap().value, b"16");
}

async fn a_range_is_one_moment(backend: &dyn Backend) {
    // More than are read at a time, and among neighbours.
    let count = 600;
    for chunk in (0..count).collect::<Vec<_>>().chunks(50) {
        let puts = chunk.iter().map(|n| (format!("a/{n:04}"), n));
        join_all(puts.map(|(key, n)| async move {
            put(backend, &key, &n.to_string(), Expect::Absent).await;
        }))
        .await;
    }
    put(backend, "a", "before", Expect::Absent).await;
    put(backend, "a0", "after", Expect::Absent).await;
    let last = put(backend, "b/1", "after", Expect::Absent).await;
    let range = backend.range("a/").await.unwrap();
    assert_eq!(range.version, last);
    let keys: Vec<_> = range.entries.iter().map(|(key, _)| key.clone()).collect();
    let wanted: Vec<_> = (0..count).map(|n| format!("a/{n:04}")).collect();
    assert_eq!(keys, wanted);
    let versions: BTreeSet<_> = range.entries.iter().map(|(_, e)| e.version).collect();
    assert_eq!(versions.len(), wanted.len());
    assert_eq!(backend.range("").await.unwrap().entries.len(), count + 3);
    assert!(backend.range("c/").await.unwrap().entries.is_empty());
    // The first and the last are written in turns, while the range is read.
    let number =
        |entry: &Entry| -> u64 { std::str::from_utf8(&entry.value).unwrap().parse().unwrap() };
    put(backend, "a/0599", "0", Expect::Any).await;
    put(backend, "a/0000", "0", Expect::Any).await;
    let writer = async {
        for round in 1.. {
            put(backend, "a/0000", &round.to_string(), Expect::Any).await;
            put(backend, "a/0599", &round.to_string(), Expect::Any).await;
            tokio::task::yield_now().await;
        }
    };
    let reader = async {
        for _ in 0..50 {
            let entries = backend.range("a/").await.unwrap().entries;
            let (first, last) = (number(&entries[0].1), number(&entries[count - 1].1));
            assert!(first == last || first == last + 1, "{first} and {last}");
            // A backend that never waits would have the writer wait for ever.
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = writer => {}
        () = reader => {}
    }
}

async fn a_watch_tells_each_change_once(backend: &dyn Backend) {
    let from = backend.version().await.unwrap();
    let mut early = backend.watch("a/", from).unwrap();
    let made = put(backend, "a/1", "one", Expect::Absent).await;
    put(backend, "b/1", "elsewhere", Expect::Absent).await;
    let changed = put(backend, "a/1", "two", Expect::At(made)).await;
    let gone = backend.remove("a/1", Expect::Any).await.unwrap();
    let again = put(backend, "a/1", "three", Expect::Absent).await;
    let wanted = [
        change(made, Some("one"), None),
        change(changed, Some("two"), Some(("one", made))),
        change(gone, None, Some(("two", changed))),
        change(again, Some("three"), None),
    ];
    let mut late = backend.watch("a/", from).unwrap();
    let mut later = backend.watch("a/", changed).unwrap();
    assert_eq!(take(&mut early, 4).await, wanted);
    assert_eq!(take(&mut late, 4).await, wanted);
    assert_eq!(take(&mut later, 2).await, wanted[2..]);
    for watch in [&mut early, &mut late, &mut later] {
        assert!(watch.next().now_or_never().is_none(), "there is no more");
    }
}

async fn a_watch_may_start_in_the_future(backend: &dyn Backend) {
    let present = backend.version().await.unwrap();
    let from = ResourceVersion(present.0 + 3);
    let mut watch = backend.watch("a/", from).unwrap();
    let mut told = Vec::new();
    while told.len() < 2 {
        let version = put(backend, "a/1", "x", Expect::Any).await;
        if version > from {
            told.push(version);
        }
    }
    let seen = take(&mut watch, 2).await;
    let seen: Vec<_> = seen.iter().map(|change| change.version).collect();
    assert_eq!(seen, told);
}

async fn a_version_is_a_level_for_watches(backend: &dyn Backend) {
    let from = backend.version().await.unwrap();
    let mut watch = backend.watch("a/", from).unwrap();
    for round in 0..50 {
        let written = put(backend, "a/1", &round.to_string(), Expect::Any).await;
        put(backend, "b/1", "elsewhere", Expect::Any).await;
        let version = backend.version().await.unwrap();
        assert!(version > written);
        let ready = watch.next().now_or_never().expect("it is ready by now");
        assert_eq!(ready.unwrap().unwrap().version, written);
        assert!(watch.next().now_or_never().is_none());
    }
}

async fn what_is_too_old_has_expired(backend: &dyn Backend) {
    let from = backend.version().await.unwrap();
    let mut slow = backend.watch("a/", from).unwrap();
    let mut written = Vec::new();
    for round in 0..10 {
        written.push(put(backend, "a/1", &round.to_string(), Expect::Any).await);
    }
    backend.version().await.unwrap();
    let oldest = match backend.watch("a/", from) {
        Err(BackendError::Expired { oldest }) => oldest,
        watch => panic!("{:?}", watch.map(|_| "it is watched")),
    };
    assert_eq!(oldest, written[6]);
    let mut watch = backend.watch("a/", oldest).unwrap();
    let versions = take(&mut watch, 3).await;
    let versions: Vec<_> = versions.iter().map(|change| change.version).collect();
    assert_eq!(versions, written[7..]);
    let last = slow.next().await.unwrap();
    assert!(
        matches!(last, Err(BackendError::Expired { .. })),
        "{last:?}"
    );
    assert!(slow.next().await.is_none(), "it has ended");
}

/// The same through the store, as the API and the loop use it.
async fn an_object_lives_and_dies(backend: Arc<dyn Backend>) {
    let store = Store::with_backend(backend, Clock::system());
    let from = store.version().await.unwrap();
    let mut watch = store.watch(Kind::Machine, None, from).unwrap();
    let mut object: Object = serde_json::from_value(json!({
        "apiVersion": Kind::Machine.api_version(), "kind": "Machine",
        "metadata": {"name": "bono-0", "namespace": "default", "finalizers": ["weir.dev/vm"]},
        "spec": {"size": 1},
    }))
    .unwrap();
    let made = store.create(object.clone()).await.unwrap();
    let twice = store.create(object.clone()).await;
    assert!(
        matches!(twice, Err(StoreError::AlreadyExists(_))),
        "{twice:?}"
    );
    object.body["spec"]["size"] = json!(2);
    let rehearsed = store.rehearsal().update(object.clone()).await.unwrap();
    assert_eq!(
        rehearsed.metadata.resource_version,
        made.metadata.resource_version
    );
    let changed = store.update(object).await.unwrap();
    let stale = store.update(made.clone()).await;
    assert!(
        matches!(stale, Err(StoreError::Conflict { .. })),
        "{stale:?}"
    );
    let key = made.key().unwrap();
    let any = Preconditions::default();
    let Deleted::Marked(mut marked) = store.delete(&key, &any).await.unwrap() else {
        panic!("a finalizer holds it");
    };
    let listing = store.list(Kind::Machine, None).await.unwrap();
    assert_eq!(listing.items, [marked.clone()]);
    marked.metadata.finalizers.clear();
    let last = store.update(marked).await.unwrap();
    assert_eq!(store.get(&key).await.unwrap(), None);
    let mut seen = Vec::new();
    for _ in 0..4 {
        let event = tokio::time::timeout(PATIENCE, watch.next()).await.unwrap();
        let event = event.unwrap();
        seen.push((event.kind, event.object.metadata.resource_version));
    }
    assert_eq!(seen[0], (ChangeKind::Added, made.metadata.resource_version));
    assert_eq!(
        seen[1],
        (ChangeKind::Modified, changed.metadata.resource_version)
    );
    assert_eq!(
        seen[3],
        (ChangeKind::Deleted, last.metadata.resource_version)
    );
}

/// And the rest stays as it is, what the type does not know included.
async fn a_status_is_put_over_the_one_that_was_read(backend: Arc<dyn Backend>) {
    let store = Store::with_backend(Arc::clone(&backend), Clock::system());
    let object: Object = serde_json::from_value(json!({
        "apiVersion": Kind::Machine.api_version(), "kind": "Machine",
        "metadata": {"name": "bono-0", "namespace": "default", "labels": {"a": "b"}},
        "spec": {"stackRef": {"name": "ims"}, "role": "bono", "index": 0},
        "further": [1, {"two": null}],
    }))
    .unwrap();
    let made = store.create(object).await.unwrap();
    let mut typed: Machine = made.decode().unwrap();
    typed.status = Some(MachineStatus {
        next: Some("it waits".to_owned()),
        ..MachineStatus::default()
    });
    let told = store.put_status(&typed).await.unwrap();
    let stored = store.get(&made.key().unwrap()).await.unwrap().unwrap();
    assert_eq!(stored.metadata, told);
    assert_eq!(stored.body["status"]["next"], "it waits");
    let mut before = stored.clone();
    before.body.remove("status");
    before.metadata.resource_version = made.metadata.resource_version.clone();
    assert_eq!(before, made, "nothing but the status has changed");
    let stale = store.put_status(&typed).await;
    assert!(
        matches!(stale, Err(StoreError::Conflict { .. })),
        "{stale:?}"
    );
    typed.metadata = told;
    typed.metadata.uid = Some(Uid::new("another"));
    let another = store.put_status(&typed).await;
    assert!(
        matches!(another, Err(StoreError::Conflict { .. })),
        "{another:?}"
    );
    assert_eq!(store.get(&made.key().unwrap()).await.unwrap(), Some(stored));
    typed.metadata.name = "bono-1".to_owned();
    let absent = store.put_status(&typed).await;
    assert!(matches!(absent, Err(StoreError::NotFound(_))), "{absent:?}");
}

/// What was written since is undone, while the history remembers it.
async fn a_list_can_be_had_as_it_was(backend: Arc<dyn Backend>) {
    let store = Store::with_backend(backend, Clock::system());
    let secret = |name: &str, value: &str| -> Object {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": name, "namespace": "default"}, "data": {"k": value},
        }))
        .unwrap()
    };
    for name in ["a", "c", "d"] {
        store.create(secret(name, "b2xk")).await.unwrap();
    }
    let then = store.list(Kind::Secret, None).await.unwrap();
    for value in ["bmV3", "bmV3ZXI="] {
        store.update(secret("c", value)).await.unwrap();
    }
    store.create(secret("b", "b2xk")).await.unwrap();
    let gone = then.items[2].key().unwrap();
    let before = Preconditions::default();
    store.delete(&gone, &before).await.unwrap();
    for namespace in [None, Some("default")] {
        let seen = store.list_at(Kind::Secret, namespace, then.version).await;
        let seen = seen.unwrap();
        assert_eq!(
            (seen.items, seen.version),
            (then.items.clone(), then.version)
        );
    }
    for number in 0..8 {
        store
            .create(secret(&format!("e{number}"), "b2xk"))
            .await
            .unwrap();
    }
    let lost = store.list_at(Kind::Secret, None, then.version).await;
    assert!(matches!(lost, Err(StoreError::Expired { .. })), "{lost:?}");
}

pub(super) async fn put(
    backend: &dyn Backend,
    key: &str,
    value: &str,
    expect: Expect,
) -> ResourceVersion {
    let answer = backend.put(key, bytes(value), expect).await;
    answer.unwrap_or_else(|error| panic!("{key} {expect:?}: {error:?}"))
}

pub(super) fn bytes(text: &str) -> Bytes {
    Bytes::copy_from_slice(text.as_bytes())
}

fn change(
    version: ResourceVersion,
    value: Option<&str>,
    previous: Option<(&str, ResourceVersion)>,
) -> Change {
    Change {
        key: "a/1".to_owned(),
        version,
        value: value.map(bytes),
        previous: previous.map(|(value, _)| bytes(value)),
        previous_version: previous.map(|(_, version)| version),
    }
}

/// The next changes of a watch.
pub(super) async fn take(watch: &mut Changes, count: usize) -> Vec<Change> {
    let mut taken = Vec::new();
    while taken.len() < count {
        let next = tokio::time::timeout(PATIENCE, watch.next()).await;
        let next = next.unwrap_or_else(|_| panic!("nothing more after {taken:?}"));
        taken.push(Change::clone(&next.expect("it goes on").unwrap()));
    }
    taken
}

/// What the backend has of a Secret shows nothing of it, now and in its history, and goes from one
/// key to the next.
async fn a_secret_is_kept_encrypted(backend: Arc<dyn Backend>) {
    let keys = |bytes: &[u8]| {
        let lines = bytes.iter().map(|byte| {
            let key = STANDARD.encode([*byte; 32]);
            format!("k{byte}:{key}\n")
        });
        Arc::new(Keys::read(&lines.collect::<String>()).unwrap())
    };
    let under = |bytes: &[u8]| {
        Store::with_backend(Arc::clone(&backend), Clock::system()).encrypted(keys(bytes))
    };
    let secret = |value: &str| -> Object {
        serde_json::from_value(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "one", "namespace": "default"}, "data": {"password": value},
        }))
        .unwrap()
    };
    let first = under(&[1]);
    let from = first.version().await.unwrap();
    let made = first.create(secret("cGxhbnRlZC1vbmU=")).await.unwrap();
    let changed = first.update(secret("cGxhbnRlZC10d28=")).await.unwrap();
    assert_eq!(
        first.get(&made.key().unwrap()).await.unwrap(),
        Some(changed)
    );
    let mut watch = first.watch(Kind::Secret, None, from).unwrap();
    assert_eq!(watch.next().await.unwrap().object, made);
    let previous = watch.next().await.unwrap().previous().unwrap().unwrap();
    assert_eq!(previous.body, made.body);
    let mut raw = backend.watch("", from).unwrap();
    for change in take(&mut raw, 2).await {
        let shown = format!("{change:?}");
        assert!(!shown.contains("cGxhbnRlZC"), "{shown}");
    }
    assert!(under(&[2]).get(&made.key().unwrap()).await.is_err());
    assert_eq!(under(&[2, 1]).rekey().await.unwrap().rewritten, 1);
    let last = under(&[2])
        .get(&made.key().unwrap())
        .await
        .unwrap()
        .unwrap();
    assert_eq!(last.body, secret("cGxhbnRlZC10d28=").body);
}
