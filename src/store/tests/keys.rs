//! Secrets at rest: what is stored of them, which keys read it, and what is said where none does.

use std::{collections::BTreeSet, fs, path::Path, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use bytes::Bytes;
use serde_json::{Value, json};

use super::{clock, key, machine, object, on_disk};
use crate::{
    store::{
        Backend, BackendError, Changes, Entry, Expect, HISTORY, Keys, Memory, Range, Reply, Store,
        StoreError,
    },
    types::{
        core::Secret,
        meta::{Kind, Object, ObjectKey, ResourceVersion},
    },
};

/// What must not be found anywhere.
const PLANTED: &str = "planted-value-7f3a";

fn line(name: &str, byte: u8) -> String {
    format!("{name}:{}\n", STANDARD.encode([byte; 32]))
}

fn keys(lines: &[(&str, u8)]) -> Arc<Keys> {
    let text: String = lines.iter().map(|(name, byte)| line(name, *byte)).collect();
    Arc::new(Keys::read(&text).unwrap())
}

fn store(memory: &Arc<Memory>, lines: &[(&str, u8)]) -> Store {
    let store = Store::with_backend(memory.clone(), clock());
    if lines.is_empty() {
        return store;
    }
    store.encrypted(keys(lines))
}

fn secret(name: &str, value: &str) -> Object {
    let data = json!({"data": {"password": STANDARD.encode(value)}});
    let mut secret = object(Kind::Secret, "default", name, data);
    let applied = "kubectl.kubernetes.io/last-applied-configuration".to_owned();
    let annotations = &mut secret.metadata.annotations;
    annotations.insert(applied, format!("{{\"stringData\":\"{value}\"}}"));
    secret
}

fn secret_key(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Secret, "default", name)
}

async fn value(store: &Store, name: &str) -> String {
    let secret: Secret = store.get_as("default", name).await.unwrap().unwrap();
    let bytes = STANDARD.decode(secret.data["password"].expose()).unwrap();
    String::from_utf8(bytes).unwrap()
}

async fn raw(memory: &Memory, path: &str) -> Bytes {
    memory.get(path).await.unwrap().unwrap().value
}

fn holds(bytes: &[u8], value: &str) -> bool {
    let forms = [value.to_owned(), STANDARD.encode(value)];
    forms.iter().any(|form| {
        let mut windows = bytes.windows(form.len());
        windows.any(|window| window == form.as_bytes())
    })
}

async fn why(store: &Store, name: &str) -> String {
    let refused = store.get(&secret_key(name)).await.unwrap_err();
    refused.with_causes()
}

#[tokio::test]
async fn a_secret_is_stored_encrypted_and_read_as_it_was() {
    let memory = Arc::new(Memory::new(HISTORY));
    let store = store(&memory, &[("a", 1)]);
    let made = store.create(secret("one", PLANTED)).await.unwrap();
    store.create(machine("bono-0", 1)).await.unwrap();
    let read = store.get(&secret_key("one")).await.unwrap().unwrap();
    assert_eq!(read, made);
    assert_eq!(value(&store, "one").await, PLANTED);
    let stored = raw(&memory, "secrets/default/one").await;
    assert!(!holds(&stored, PLANTED), "{stored:?}");
    let stored: Value = serde_json::from_slice(&stored).unwrap();
    assert_eq!(
        (&stored["format"], &stored["sealed"]["key"]),
        (&json!(2), &json!("a"))
    );
    let clear: Value =
        serde_json::from_slice(&raw(&memory, "machines/default/bono-0").await).unwrap();
    assert_eq!(clear["format"], 1, "all else stays readable to others");
    let listed = store.list(Kind::Secret, None).await.unwrap();
    assert_eq!(listed.items, [read]);
}

#[tokio::test]
async fn a_watch_decrypts_what_is_and_what_was() {
    let memory = Arc::new(Memory::new(HISTORY));
    let store = store(&memory, &[("a", 1)]);
    let first = store.create(secret("one", "first")).await.unwrap();
    let second = store.update(secret("one", "second")).await.unwrap();
    let mut watch = store.watch(Kind::Secret, None, ResourceVersion(1)).unwrap();
    let event = watch.next().await.unwrap();
    assert_eq!(event.object, second);
    let previous = event.previous().unwrap().unwrap();
    assert_eq!(previous.body, first.body);
}

#[tokio::test]
async fn each_write_has_another_nonce() {
    let memory = Arc::new(Memory::new(HISTORY));
    let store = store(&memory, &[("a", 1)]);
    store.create(secret("one", "value")).await.unwrap();
    let mut nonces = BTreeSet::new();
    for round in 0..20 {
        store
            .update(secret("one", &format!("value {round}")))
            .await
            .unwrap();
        let stored: Value =
            serde_json::from_slice(&raw(&memory, "secrets/default/one").await).unwrap();
        nonces.insert(stored["sealed"]["nonce"].to_string());
    }
    assert_eq!(nonces.len(), 20);
}

#[tokio::test]
async fn what_was_changed_or_moved_is_refused() {
    let memory = Arc::new(Memory::new(HISTORY));
    let store = store(&memory, &[("a", 1)]);
    store.create(secret("one", PLANTED)).await.unwrap();
    let stored = raw(&memory, "secrets/default/one").await;
    memory
        .put("secrets/default/two", stored.clone(), Expect::Absent)
        .await
        .unwrap();
    let moved = why(&store, "two").await;
    assert!(
        moved.contains("secrets/default/two") && moved.contains("changed or moved"),
        "{moved}"
    );
    let good: Value = serde_json::from_slice(&stored).unwrap();
    for member in ["nonce", "ciphertext"] {
        let text = good["sealed"][member].as_str().unwrap();
        for place in [0, text.len() / 2] {
            let mut bytes = text.to_owned().into_bytes();
            bytes[place] = if bytes[place] == b'A' { b'B' } else { b'A' };
            let mut bad = good.clone();
            bad["sealed"][member] = String::from_utf8(bytes).unwrap().into();
            let bad = serde_json::to_vec(&bad).unwrap().into();
            memory
                .put("secrets/default/one", bad, Expect::Any)
                .await
                .unwrap();
            let told = why(&store, "one").await;
            assert!(told.contains("the key a does not decrypt it"), "{told}");
        }
    }
    memory
        .put("secrets/default/one", stored, Expect::Any)
        .await
        .unwrap();
    assert_eq!(value(&store, "one").await, PLANTED);
}

#[tokio::test]
async fn without_the_right_key_one_secret_is_unreadable_and_nothing_is_lost() {
    let memory = Arc::new(Memory::new(HISTORY));
    let right = store(&memory, &[("a", 1)]);
    right.create(secret("one", PLANTED)).await.unwrap();
    right.create(machine("bono-0", 1)).await.unwrap();
    let other = store(&memory, &[("b", 2), ("c", 3)]);
    other.create(secret("two", "theirs")).await.unwrap();
    let told = why(&other, "one").await;
    assert_eq!(
        told,
        "secrets/default/one cannot be decrypted: it is encrypted with the key a, and only these \
         are given: b, c; give that key as well, in --encryption-key-file or WEIR_ENCRYPTION_KEYS; if it is \
         lost, `weir state rekey --remove-lost` removes the Secret"
    );
    assert!(
        why(&store(&memory, &[]), "one")
            .await
            .contains("and none is given")
    );
    assert!(
        why(&store(&memory, &[("a", 9)]), "one")
            .await
            .contains("stood for another key")
    );
    assert_eq!(value(&other, "two").await, "theirs");
    assert!(other.get(&key("bono-0")).await.unwrap().is_some());
    // Neither a write nor a rewriting takes the place of what could not be read.
    assert!(other.update(secret("one", "over it")).await.is_err());
    let done = other.rekey().await.unwrap();
    assert_eq!(
        (done.current, done.rewritten, done.unreadable.len()),
        (1, 0, 1)
    );
    assert_eq!(value(&right, "one").await, PLANTED);
    assert!(other.list(Kind::Secret, None).await.is_err(), "half a list");
    let loops = other.clone().passing_over_undecrypted();
    let listed = loops.list(Kind::Secret, None).await.unwrap().items;
    assert_eq!(listed.len(), 1, "{listed:?}");
    let removed = other.remove_lost().await.unwrap();
    assert_eq!(removed, ["secrets/default/one"]);
    assert_eq!(right.get(&secret_key("one")).await.unwrap(), None);
    assert_eq!(value(&other, "two").await, "theirs");
}

#[tokio::test]
async fn a_secret_in_clear_is_read_and_encrypted_by_its_next_write() {
    let memory = Arc::new(Memory::new(HISTORY));
    let before = store(&memory, &[]);
    let made = before.create(secret("one", PLANTED)).await.unwrap();
    assert!(holds(&raw(&memory, "secrets/default/one").await, PLANTED));
    let after = store(&memory, &[("a", 1)]);
    assert_eq!(after.get(&secret_key("one")).await.unwrap(), Some(made));
    let found = after.at_rest().await.unwrap();
    assert_eq!((found.clear, found.current), (1, 0));
    // A write that changes nothing else, as `kubectl replace` of what `kubectl get` gave.
    after.update(secret("one", PLANTED)).await.unwrap();
    assert!(!holds(&raw(&memory, "secrets/default/one").await, PLANTED));
    let version = after.version().await.unwrap();
    after.update(secret("one", PLANTED)).await.unwrap();
    assert_eq!(after.version().await.unwrap(), version, "once is enough");
}

#[tokio::test]
async fn a_rotation_that_breaks_off_leaves_all_readable_and_is_repeated() {
    let memory = Arc::new(Memory::new(HISTORY));
    let old = store(&memory, &[("old", 1)]);
    for index in 0..5 {
        old.create(secret(&format!("s{index}"), &format!("value {index}")))
            .await
            .unwrap();
    }
    let both = [("new", 2), ("old", 1)];
    let broken = Arc::new(Breaking {
        memory: memory.clone(),
        left: 2.into(),
    });
    let rotated = Store::with_backend(broken, clock())
        .encrypted(keys(&both))
        .rekey()
        .await;
    assert!(matches!(rotated, Err(StoreError::Io(_))), "{rotated:?}");
    let half = store(&memory, &both);
    let found = half.at_rest().await.unwrap();
    assert_eq!(
        (found.current, found.former, found.unreadable.len()),
        (2, 3, 0)
    );
    for index in 0..5 {
        assert_eq!(
            value(&half, &format!("s{index}")).await,
            format!("value {index}")
        );
    }
    let done = half.rekey().await.unwrap();
    assert_eq!((done.current, done.rewritten), (5, 3));
    let new = store(&memory, &[("new", 2)]);
    for index in 0..5 {
        assert_eq!(
            value(&new, &format!("s{index}")).await,
            format!("value {index}")
        );
    }
    assert_eq!(new.rekey().await.unwrap().rewritten, 0);
}

/// A backend that fails for good after some writes.
#[derive(Debug)]
struct Breaking {
    memory: Arc<Memory>,
    left: std::sync::atomic::AtomicUsize,
}

impl Backend for Breaking {
    fn get<'a>(&'a self, key: &'a str) -> Reply<'a, Option<Entry>> {
        self.memory.get(key)
    }

    fn range<'a>(&'a self, prefix: &'a str) -> Reply<'a, Range> {
        self.memory.range(prefix)
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, expect: Expect) -> Reply<'a, ResourceVersion> {
        use std::sync::atomic::Ordering::SeqCst;
        let left = self
            .left
            .fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1));
        if left.is_err() {
            let gone = BackendError::failed("the power went");
            return Box::pin(std::future::ready(Err(gone)));
        }
        self.memory.put(key, value, expect)
    }

    fn remove<'a>(&'a self, key: &'a str, expect: Expect) -> Reply<'a, ResourceVersion> {
        self.memory.remove(key, expect)
    }

    fn watch(&self, prefix: &str, from: ResourceVersion) -> Result<Changes, BackendError> {
        self.memory.watch(prefix, from)
    }

    fn version(&self) -> Reply<'_, ResourceVersion> {
        self.memory.version()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_holds_no_value_and_its_history_goes_with_a_rotation() {
    let dir = tempfile::tempdir().unwrap();
    let store = on_disk(dir.path()).encrypted(keys(&[("old", 1)]));
    store.create(secret("one", PLANTED)).await.unwrap();
    store
        .update(secret("one", "later-value-91c2"))
        .await
        .unwrap();
    drop(store);
    for planted in [PLANTED, "later-value-91c2"] {
        assert!(!anywhere(dir.path(), planted), "{planted} is in the folder");
    }
    let both = keys(&[("new", 2), ("old", 1)]);
    let fresh = loop {
        match Store::open_with_history(dir.path(), clock(), 0) {
            Err(crate::store::OpenError::Locked { .. }) => std::thread::yield_now(),
            opened => break opened.unwrap().encrypted(both),
        }
    };
    assert_eq!(fresh.rekey().await.unwrap().rewritten, 1);
    drop(fresh);
    let database = loop {
        if let Ok(database) = sled::open(dir.path().join("db")) {
            break database;
        }
        std::thread::yield_now();
    };
    let kept: Vec<_> = database.scan_prefix("h").keys().collect();
    assert!(kept.is_empty(), "former values are kept: {kept:?}");
    drop(database);
    let again = on_disk(dir.path()).encrypted(keys(&[("new", 2)]));
    assert_eq!(value(&again, "one").await, "later-value-91c2");
    let former = again.watch(Kind::Secret, None, ResourceVersion(0));
    assert!(
        matches!(former, Err(StoreError::Expired { .. })),
        "{former:?}"
    );
}

fn anywhere(folder: &Path, value: &str) -> bool {
    fs::read_dir(folder).unwrap().any(|entry| {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => anywhere(&path, value),
            false => holds(&fs::read(&path).unwrap(), value),
        }
    })
}

#[test]
fn an_object_is_sealed_for_others_to_keep() {
    let keys = keys(&[("a", 1)]);
    let mut whole = secret("one", PLANTED);
    whole.metadata.uid = Some(crate::types::id::Uid::new("u-1"));
    let sealed = keys.sealed(&whole).unwrap();
    let text = serde_json::to_string(&sealed).unwrap();
    assert!(!holds(text.as_bytes(), PLANTED), "{text}");
    assert_eq!(sealed.metadata.uid, whole.metadata.uid);
    let opened = Keys::unsealed(Some(&keys), sealed.clone()).unwrap();
    assert_eq!(opened, whole);
    let mut moved = sealed.clone();
    moved.metadata.name = "two".to_owned();
    assert!(Keys::unsealed(Some(&keys), moved).is_err());
    assert!(Keys::unsealed(None, sealed).is_err());
    let clear = machine("bono-0", 1);
    assert_eq!(Keys::unsealed(None, clear.clone()).unwrap(), clear);
}

#[test]
fn what_is_no_key_is_told_without_being_shown() {
    let told = |text: &str| {
        let error = Keys::read(text).unwrap_err().to_string();
        assert!(
            !error.contains("c2VjcmV0") && !error.contains("AQEB"),
            "{error}"
        );
        error.split(';').next().unwrap().to_owned()
    };
    let good = line("a", 1);
    insta::assert_snapshot!(
        [
            told(""),
            told("# only words\n"),
            told("c2VjcmV0"),
            told("a:c2VjcmV0"),
            told(&format!("{good}b:c2VjcmV0!")),
            told("two words:c2VjcmV0"),
            told(&format!("{good}\n{good}")),
        ]
        .join("\n"),
        @r"
    there is no key in it
    there is no key in it
    line 1: no colon in it
    line 1: the key a has 6 bytes and not 32
    line 2: the key b is no base64
    line 1: the name before the colon has other letters than a-z, A-Z, 0-9, `-`, `_` and `.`, or not 1 to 63 of them
    line 3: the name a is there already: choose another
    "
    );
    let keys = Keys::read(&format!("# the newest first\n{}{good}", line("b", 2))).unwrap();
    assert_eq!(format!("{keys:?}"), r#"["b", "a"]"#);
    let drawn = Keys::generate().unwrap();
    assert_ne!(*drawn, *Keys::generate().unwrap());
    let name = drawn.split(':').next().unwrap();
    assert_eq!(Keys::read(&drawn).unwrap().first(), name);
}
