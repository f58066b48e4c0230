//! State folders as earlier formats left them, `state/records/format-N`: each is opened, and must
//! have its objects, their versions and its history. `state/README.md` says how one is made.

use std::{
    collections::BTreeMap,
    error::Error,
    fs,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;

use futures_util::StreamExt;
use serde_json::Value;

use super::{clock, folder::copy, key, on_disk, version};
use crate::{
    store::{
        Backend, ChangeKind, Expect, Keys, Memory, Preconditions, Store, folder, record::FORMAT,
    },
    types::{
        account::CloudAccount,
        core::{ConfigMap, Event, Lease, Namespace, Secret},
        machine::Machine,
        meta::{Kind, Object, ObjectKey, Resource, ResourceVersion},
        rbac::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
        stack::ClearwaterStack,
    },
};

/// Where the state folder is that [`the_present_format_is_recorded`] is to make a record of.
const SOURCE: &str = "WEIR_RECORD_STATE";

/// The file with the key of a record's Secrets.
const KEYS: &str = "encryption-keys";

/// Objects of a kind that are taken over into a record.
const OF_A_KIND: usize = 3;

#[tokio::test]
async fn format_1_has_its_objects_and_their_versions() {
    let dir = recorded(1);
    let store = on_disk(dir.path());
    let mut found = Vec::new();
    for kind in Kind::ALL {
        for object in store.list(kind, None).await.unwrap().items {
            assert_understood(kind, &object);
            found.push(format!("{} {}", object.key().unwrap(), version(&object)));
        }
    }
    insta::assert_snapshot!(found.join("\n"), @r"
    clearwaterstack/default/ims 12
    machine/default/ims-bono-0 6
    machine/default/ims-ellis-0 8
    cloudaccount/default/demo 2
    secret/default/demo-keys 10
    event/default/ims.03f6c48febc58968 3
    event/default/ims.08eeab4d9fcd3b16 4
    event/default/ims.0a606e00c248be6c 5
    namespace//default 9
    ");
    let stack: ClearwaterStack = store.get_as("default", "ims").await.unwrap().unwrap();
    let ledger = stack.status.unwrap().ledger;
    assert!(!ledger.machines.is_empty(), "{ledger:?}");
}

#[tokio::test]
async fn format_1_has_its_history() {
    let dir = recorded(1);
    let store = on_disk(dir.path());
    let newest = store.version().await.unwrap();
    let changes = async |kind, count| {
        let watch = store.watch(kind, None, ResourceVersion(0)).unwrap();
        let changes: Vec<_> = watch.take(count).collect().await;
        changes.into_iter().map(Result::unwrap).collect::<Vec<_>>()
    };
    let of_the_stack = changes(Kind::ClearwaterStack, 3).await;
    let kinds: Vec<_> = of_the_stack.iter().map(|change| change.kind).collect();
    assert_eq!(
        kinds,
        [
            ChangeKind::Added,
            ChangeKind::Modified,
            ChangeKind::Modified
        ]
    );
    let last = changes(Kind::Machine, OF_A_KIND + 2).await.pop().unwrap();
    assert_eq!((last.kind, last.version), (ChangeKind::Deleted, newest));
}

#[tokio::test]
async fn format_1_is_written_on() {
    let dir = recorded(1);
    let store = on_disk(dir.path());
    let before = store.version().await.unwrap();
    let key = ObjectKey::new(Kind::ClearwaterStack, "default", "ims");
    let mut stack = store.get(&key).await.unwrap().unwrap();
    stack
        .metadata
        .labels
        .insert("tested".to_owned(), "yes".to_owned());
    let stack = store.update(stack).await.unwrap();
    assert_eq!(version(&stack), before.0 + 1);
    drop(store);
    let again = on_disk(dir.path());
    assert_eq!(again.get(&key).await.unwrap(), Some(stack));
}

#[tokio::test]
async fn format_2_has_its_objects_and_a_secret_that_its_key_decrypts() {
    let dir = recorded(2);
    let text = fs::read_to_string(dir.path().join(KEYS)).unwrap();
    let store = on_disk(dir.path());
    let sealed = store.get_as::<Secret>("default", "demo-keys").await;
    let why = sealed.unwrap_err().with_causes();
    assert!(why.contains("and none is given"), "{why}");
    let store = store.encrypted(Arc::new(Keys::read(&text).unwrap()));
    let mut found = 0;
    for kind in Kind::ALL {
        for object in store.list(kind, None).await.unwrap().items {
            assert_understood(kind, &object);
            found += 1;
        }
    }
    assert_eq!(found, 9);
    let secret: Secret = store.get_as("default", "demo-keys").await.unwrap().unwrap();
    assert!(secret.data.contains_key("secretKey"), "{secret:?}");
    assert_eq!(store.at_rest().await.unwrap().current, 1);
}

#[tokio::test]
async fn the_present_format_is_recorded() {
    let place = place(FORMAT);
    if let Some(source) = std::env::var_os(SOURCE) {
        record(Path::new(&source), &place).await;
    }
    assert!(place.join("db").is_dir(), "{} is missing", place.display());
}

#[tokio::test]
async fn a_record_of_a_later_format_is_refused() {
    let memory = Arc::new(Memory::new(1));
    let path = "machines/default/bono-0";
    let later = Bytes::from_static(br#"{"format": 3, "object": {"all": "new"}}"#);
    memory.put(path, later, Expect::Absent).await.unwrap();
    let store = Store::with_backend(memory, clock());
    let refused = store.get(&key("bono-0")).await.unwrap_err();
    let why = refused.source().unwrap().to_string();
    assert!(why.contains("it has format 3"), "{refused}: {why}");
    // Half a list is never returned.
    assert!(store.list(Kind::Machine, None).await.is_err());
}

fn place(format: u32) -> PathBuf {
    let name = format!("state/records/format-{format}");
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// A copy of a recorded folder: opening one changes it.
fn recorded(format: u32) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    copy(&place(format), dir.path());
    dir
}

/// Holds an object against the type of today, which must know everything that is in it.
#[track_caller]
fn assert_understood(kind: Kind, object: &Object) {
    let lost = match kind {
        Kind::ClearwaterStack => lost_by::<ClearwaterStack>(object),
        Kind::CloudAccount => lost_by::<CloudAccount>(object),
        Kind::Machine => lost_by::<Machine>(object),
        Kind::Secret => lost_by::<Secret>(object),
        Kind::ConfigMap => lost_by::<ConfigMap>(object),
        Kind::Event => lost_by::<Event>(object),
        Kind::Lease => lost_by::<Lease>(object),
        Kind::Namespace => lost_by::<Namespace>(object),
        Kind::Role => lost_by::<Role>(object),
        Kind::RoleBinding => lost_by::<RoleBinding>(object),
        Kind::ClusterRole => lost_by::<ClusterRole>(object),
        Kind::ClusterRoleBinding => lost_by::<ClusterRoleBinding>(object),
    };
    assert!(lost.is_empty(), "{object:?}: {lost:?}");
}

/// What would be gone if the object were read and written again: types pass over members that they
/// do not know, so a member that was renamed is lost without a word.
fn lost_by<T: Resource>(object: &Object) -> Vec<String> {
    let typed: T = match object.decode() {
        Ok(typed) => typed,
        Err(error) => return vec![error.to_string()],
    };
    let value = |object: &Object| serde_json::to_value(object).unwrap();
    let mut lost = Vec::new();
    compare(
        "",
        &value(object),
        &value(&Object::encode(&typed)),
        &mut lost,
    );
    lost
}

fn compare(place: &str, before: &Value, after: &Value, lost: &mut Vec<String>) {
    match (before, after) {
        (Value::Object(before), Value::Object(after)) => {
            for (name, before) in before {
                let after = after.get(name).unwrap_or(&Value::Null);
                compare(&format!("{place}.{name}"), before, after, lost);
            }
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (before, after)) in before.iter().zip(after).enumerate() {
                compare(&format!("{place}[{index}]"), before, after, lost);
            }
        }
        (before, after) if before == after => {}
        (before, after) => lost.push(format!("{place}: {before} became {after}")),
    }
}

/// Makes a record of a state folder: a few objects of each kind, byte for byte as they were
/// written, in a database of their own, and a little history.
async fn record(source: &Path, target: &Path) {
    fs::remove_dir_all(target).unwrap_or_default();
    let from = folder::open(source, 1, 0).unwrap();
    let to = folder::open(target, crate::store::HISTORY, 0).unwrap();
    let mut taken = BTreeMap::<_, usize>::new();
    for (key, entry) in from.range("").await.unwrap().entries {
        let kind = key.split('/').next().unwrap().to_owned();
        let count = taken.entry(kind).or_default();
        *count += 1;
        if *count <= OF_A_KIND {
            to.put(&key, entry.value, Expect::Absent).await.unwrap();
        }
    }
    drop(to);
    fs::copy(source.join(KEYS), target.join(KEYS)).unwrap();
    let store = on_disk(target);
    let stacks = store.list(Kind::ClearwaterStack, None).await.unwrap().items;
    for word in ["a", "b"] {
        let mut stack = store.get(&stacks[0].key().unwrap()).await.unwrap().unwrap();
        stack
            .metadata
            .annotations
            .insert("word".to_owned(), word.to_owned());
        store.update(stack).await.unwrap();
    }
    let mut machine = store
        .list(Kind::Machine, None)
        .await
        .unwrap()
        .items
        .swap_remove(1);
    machine.metadata.finalizers.clear();
    let machine = store.update(machine).await.unwrap();
    store
        .delete(&machine.key().unwrap(), &Preconditions::default())
        .await
        .unwrap();
}
