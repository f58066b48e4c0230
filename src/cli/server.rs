//! The controller as commands see it: the API client, the namespace, and errors that say what to
//! do next.

use std::pin::Pin;

use anyhow::{Result, bail};
use futures_util::Stream;
use serde_json::Value;

use super::{args::Connection, plan_view::PlanView, table::Table};
use crate::types::meta::{Kind, Object, ObjectKey};

/// Which objects are meant.
#[derive(Clone, Debug)]
pub(super) struct Query {
    pub(super) kind: Kind,
    /// `None`: all namespaces.
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    /// A label selector.
    pub(super) selector: Option<String>,
    /// Of events: kind and name of the object that they are about.
    pub(super) of_object: Option<(String, String)>,
}

impl Query {
    /// All of a kind in a namespace.
    pub(super) fn all(kind: Kind, namespace: &str) -> Self {
        Self {
            kind,
            namespace: Some(namespace.to_owned()),
            name: None,
            selector: None,
            of_object: None,
        }
    }

    /// One object, whether it exists or not.
    pub(super) fn one(kind: Kind, namespace: &str, name: &str) -> Self {
        Self {
            name: Some(name.to_owned()),
            ..Self::all(kind, namespace)
        }
    }
}

/// Objects, and the version from which to watch them.
#[derive(Clone, Debug)]
pub(super) struct List {
    pub(super) objects: Vec<Object>,
    pub(super) version: String,
}

/// What a watch tells.
#[derive(Clone, Debug)]
pub(super) enum WatchEvent {
    /// An object was made or changed.
    Put(Object),
    /// An object is gone.
    Gone(Object),
    /// Nothing happened for a while.
    Bookmark,
    /// The version to watch from is no longer kept: list again.
    TooOld,
}

/// Whether a write is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Write {
    /// It is.
    Keep,
    /// It is only judged.
    DryRun,
}

/// What an apply did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    Created,
    Configured,
    Unchanged,
}

impl Outcome {
    /// As kubectl says it.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Created => "created",
            Self::Configured => "configured",
            Self::Unchanged => "unchanged",
        }
    }
}

/// A watch that is under way.
pub(super) type Events = Pin<Box<dyn Stream<Item = Result<WatchEvent>> + Send>>;

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Server {
    namespace: String,
}

impl Server {
    pub(super) async fn connect(_connection: &Connection) -> Result<Self> {
        bail!("none")
    }

    /// The namespace that commands work in.
    pub(super) fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The key of an object in the namespace.
    pub(super) fn key(&self, kind: Kind, name: &str) -> ObjectKey {
        let namespace = if kind.namespaced() {
            &self.namespace
        } else {
            ""
        };
        ObjectKey::new(kind, namespace, name)
    }

    /// The object in the namespace, unless it says in which it is.
    pub(super) fn placed(&self, object: &Object) -> Object {
        let mut object = object.clone();
        let namespaced = object.key().is_ok_and(|key| key.kind.namespaced());
        if namespaced && object.metadata.namespace.is_empty() {
            object.metadata.namespace.clone_from(&self.namespace);
        }
        object
    }

    pub(super) async fn get(&self, kind: Kind, name: &str) -> Result<Option<Object>> {
        self.get_key(&self.key(kind, name)).await
    }
    pub(super) async fn get_key(&self, _key: &ObjectKey) -> Result<Option<Object>> {
        bail!("none")
    }
    pub(super) async fn need(&self, _kind: Kind, _name: &str) -> Result<Object> {
        bail!("none")
    }
    pub(super) async fn list(&self, _query: &Query) -> Result<List> {
        bail!("none")
    }
    pub(super) async fn watch(&self, _query: &Query, _version: &str) -> Result<Events> {
        bail!("none")
    }
    pub(super) async fn table(&self, _query: &Query) -> Result<Table> {
        bail!("none")
    }
    pub(super) async fn apply(&self, _object: &Object, _write: Write) -> Result<Outcome> {
        bail!("none")
    }
    pub(super) async fn patch(&self, _kind: Kind, _name: &str, _patch: &Value) -> Result<Object> {
        bail!("none")
    }
    pub(super) async fn delete(&self, _key: &ObjectKey) -> Result<Option<()>> {
        bail!("none")
    }
    pub(super) async fn plan(&self, _object: &Object) -> Result<PlanView> {
        bail!("none")
    }
    pub(super) async fn version(&self) -> Result<Value> {
        bail!("none")
    }
}
