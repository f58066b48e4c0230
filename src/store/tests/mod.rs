//! The store's promises, each as a test; on sled unless the disk plays no part.

mod folder;
mod keys;
mod records;
mod whole;

use std::path::Path;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Store;
use crate::{
    clock::Clock,
    types::meta::{Kind, Object, ObjectKey},
};

/// A store in a folder. A store that was just dropped may hold the folder for a moment longer,
/// until its last task has let go of it.
fn on_disk(dir: &Path) -> Store {
    for _ in 0..10_000 {
        match Store::open(dir, clock()) {
            Err(crate::store::OpenError::Locked { .. }) => std::thread::yield_now(),
            opened => return opened.unwrap(),
        }
    }
    panic!("{} stays locked", dir.display());
}

fn clock() -> Clock {
    Clock::starting_at("2026-03-01T12:00:00.75Z".parse::<Timestamp>().unwrap())
}

/// A machine with `spec.size`. The store looks into no spec, so it need not be a valid one.
fn machine(name: &str, size: u64) -> Object {
    object(
        Kind::Machine,
        "default",
        name,
        json!({"spec": {"size": size}}),
    )
}

fn object(kind: Kind, namespace: &str, name: &str, body: Value) -> Object {
    let mut object: Object = serde_json::from_value(json!({
        "apiVersion": kind.api_version(),
        "kind": kind.name(),
        "metadata": {"name": name, "namespace": namespace},
    }))
    .unwrap();
    object.body = serde_json::from_value(body).unwrap();
    object
}

fn key(name: &str) -> ObjectKey {
    ObjectKey::new(Kind::Machine, "default", name)
}

fn version(object: &Object) -> u64 {
    object.metadata.resource_version.parse().unwrap()
}

fn size(object: &Object) -> u64 {
    object.body["spec"]["size"].as_u64().unwrap()
}
