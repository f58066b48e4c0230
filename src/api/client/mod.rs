//! A client of Weir's own API, for the command line and for tests.
//!
//! It speaks the same contract as kubectl and knows nothing that kubectl could not know.

mod error;
mod stream;
mod three_way;
mod transport;

use std::path::Path;

use reqwest::{Method, StatusCode};
use serde_json::Value;

use self::transport::{Call, Transport};
pub use self::{
    error::ClientError,
    stream::{WatchItem, WatchStream},
    three_way::LAST_APPLIED,
};
pub use super::kubeconfig;
use super::kubeconfig::Access;
use crate::types::{
    admission::FieldValidation,
    meta::{Kind, Object, ObjectKey},
};

/// What this client calls itself among the managers of fields.
const FIELD_MANAGER: &str = "weir";
const MERGE_PATCH: &str = "application/merge-patch+json";
const TABLE: &str = "application/json;as=Table;v=v1;g=meta.k8s.io,application/json";
/// Objects in one page of a list: kubectl's number.
const PAGE: &str = "500";

/// A client of one server. Cheap to clone; clones share their connections.
#[derive(Clone, Debug)]
pub struct Client {
    transport: Transport,
    namespace: String,
}

/// Which objects of a kind are meant.
#[derive(Clone, Debug, Default)]
pub struct ListOptions {
    /// Like `app=x,tier in (a,b)`.
    pub label_selector: Option<String>,
    /// Like `metadata.name=ims`.
    pub field_selector: Option<String>,
}

/// Objects as they were together at one version.
#[derive(Clone, Debug)]
pub struct ObjectList {
    /// The objects, ordered by namespace and name.
    pub items: Vec<Object>,
    /// The version to watch from in order to miss nothing.
    pub version: String,
}

/// What became of an applied manifest.
#[derive(Clone, Debug)]
pub struct Applied {
    /// The object as it is now, or as it would be.
    pub object: Object,
    /// What was done.
    pub outcome: Outcome,
    /// What the server found worth saying.
    pub warnings: Vec<String>,
}

/// See [`Applied::outcome`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The object is new.
    Created,
    /// The object was changed.
    Configured,
    /// The object was as the manifest says.
    Unchanged,
}

impl Client {
    /// A client for the server of a kubeconfig's context, by default the current one.
    ///
    /// # Errors
    /// The kubeconfig cannot be used.
    pub fn from_kubeconfig(path: &Path, context: Option<&str>) -> Result<Self, ClientError> {
        let access = kubeconfig::read(path, context).map_err(ClientError::Kubeconfig)?;
        Self::new(&access)
    }

    /// A client for a server.
    ///
    /// # Errors
    /// The URL or the authority cannot be used.
    pub fn new(access: &Access) -> Result<Self, ClientError> {
        Ok(Self {
            transport: Transport::new(access)?,
            namespace: access.namespace.clone(),
        })
    }

    /// The namespace of the kubeconfig's context.
    #[must_use]
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// The server's URL.
    #[must_use]
    pub fn server(&self) -> &str {
        self.transport.server()
    }

    /// The object at `key`, if there is one.
    ///
    /// # Errors
    /// Nobody answered, or the server refused.
    pub async fn get(&self, key: &ObjectKey) -> Result<Option<Object>, ClientError> {
        let call = Call::new(Method::GET, item(key));
        present(self.object(call).await)
    }

    /// All objects of a kind that are selected, or those in one namespace; page by page.
    ///
    /// # Errors
    /// Nobody answered, or the server refused. Half a list is never returned.
    pub async fn list(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        options: &ListOptions,
    ) -> Result<ObjectList, ClientError> {
        let mut items = Vec::new();
        let mut next: Option<String> = None;
        loop {
            let call = selected(kind, namespace, options)
                .query("limit", Some(PAGE))
                .query("continue", next.take());
            let (_, mut page) = self.transport.json(call).await?;
            let found: Vec<Object> = serde_json::from_value(page["items"].take())
                .map_err(|error| self.transport.nonsense(&error))?;
            items.extend(found);
            let text = |member: &str| page["metadata"][member].as_str().map(str::to_owned);
            next = text("continue").filter(|token| !token.is_empty());
            if next.is_none() {
                let version = text("resourceVersion").unwrap_or_default();
                return Ok(ObjectList { items, version });
            }
        }
    }

    /// The rows that `get` prints, as a `meta.k8s.io/v1` Table: of one object, or of a list.
    ///
    /// # Errors
    /// Nobody answered, or the server refused; a missing object is refused with 404.
    pub async fn table(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        name: Option<&str>,
        options: &ListOptions,
    ) -> Result<Value, ClientError> {
        let mut call = match name {
            Some(name) => {
                let key = ObjectKey::new(kind, namespace.unwrap_or_default(), name);
                Call::new(Method::GET, item(&key))
            }
            None => selected(kind, namespace, options),
        };
        call.accept = TABLE;
        Ok(self.transport.json(call).await?.1)
    }

    /// Makes an object be what a manifest says, as `kubectl apply` does: members that the last
    /// applied manifest had and this one has not are removed, and what others wrote stays.
    ///
    /// # Errors
    /// Nobody answered, or the server refused.
    pub async fn apply(
        &self,
        object: &Object,
        dry_run: bool,
        validation: FieldValidation,
    ) -> Result<Applied, ClientError> {
        let key = self.key(object)?;
        let Some(live) = self.get(&key).await? else {
            let path = collection(key.kind, Some(&key.namespace));
            let call = Call::new(Method::POST, path).json(&three_way::with_note(object));
            let call = written(call, dry_run, validation);
            return self.applied(call, |_| Outcome::Created).await;
        };
        let Some(patch) = three_way::patch(object, &live) else {
            return Ok(Applied {
                object: live,
                outcome: Outcome::Unchanged,
                warnings: Vec::new(),
            });
        };
        let call = Call::new(Method::PATCH, item(&key)).body(MERGE_PATCH, &patch);
        let call = written(call, dry_run, validation);
        self.applied(call, |after| {
            if same_content(&live, after) {
                Outcome::Unchanged
            } else {
                Outcome::Configured
            }
        })
        .await
    }

    /// Changes an object by a merge patch (RFC 7386).
    ///
    /// # Errors
    /// Nobody answered, or the server refused.
    pub async fn patch_merge(&self, key: &ObjectKey, patch: &Value) -> Result<Object, ClientError> {
        let call = Call::new(Method::PATCH, item(key)).body(MERGE_PATCH, patch);
        let call = call.query("fieldManager", Some(FIELD_MANAGER));
        self.object(call).await
    }

    /// Deletes an object, or marks it for deletion. Returns its state where it still exists,
    /// waiting for its finalizers, and nothing where it is gone.
    ///
    /// # Errors
    /// Nobody answered, or the server refused; a missing object is refused with 404.
    pub async fn delete(&self, key: &ObjectKey) -> Result<Option<Object>, ClientError> {
        let call = Call::new(Method::DELETE, item(key));
        let (_, value) = self.transport.json(call).await?;
        if value["kind"] == "Status" {
            return Ok(None);
        }
        self.decode(value).map(Some)
    }

    /// Follows objects of a kind, from the version of a list on, or from their present state.
    ///
    /// The stream ends when the server ends the watch; a new one from the last version seen
    /// misses nothing. [`ClientError::is_expired`] means: list again.
    ///
    /// # Errors
    /// Nobody answered, or the server refused.
    pub async fn watch(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        field_selector: Option<&str>,
        from: Option<&str>,
    ) -> Result<WatchStream, ClientError> {
        let mut call = Call::new(Method::GET, collection(kind, namespace))
            .query("watch", Some("true"))
            .query("allowWatchBookmarks", Some("true"))
            .query("fieldSelector", field_selector)
            .query("resourceVersion", from);
        call.timeout = None;
        let response = self.transport.send(call).await?;
        Ok(WatchStream::new(self.transport.clone(), response))
    }

    /// The plan that applying a stack's manifest would start.
    ///
    /// # Errors
    /// Nobody answered, or the server refused, for example because the account cannot be seen.
    pub async fn plan(&self, stack: &Object) -> Result<Value, ClientError> {
        let key = self.key(stack)?;
        let value = serde_json::to_value(stack).expect("an object's members have text keys");
        let call = Call::new(Method::POST, format!("{}/plan", item(&key))).json(&value);
        Ok(self.transport.json(call).await?.1)
    }

    /// The server's version, in the form of Kubernetes' `/version`.
    ///
    /// # Errors
    /// Nobody answered, or the server refused.
    pub async fn version(&self) -> Result<Value, ClientError> {
        let call = Call::new(Method::GET, "/version");
        Ok(self.transport.json(call).await?.1)
    }

    /// The text at a path, like `/metrics` or `/readyz?verbose`.
    ///
    /// # Errors
    /// Nobody answered, or the server refused.
    pub async fn raw(&self, path: &str) -> Result<String, ClientError> {
        let (path, query) = path.split_once('?').unwrap_or((path, ""));
        let mut call = Call::new(Method::GET, path);
        call.accept = "application/json, */*";
        call.raw_query = (!query.is_empty()).then(|| query.to_owned());
        let response = self.transport.send(call).await?;
        let body = self.transport.bytes(response).await?;
        Ok(String::from_utf8_lossy(&body).into_owned())
    }

    async fn applied(
        &self,
        call: Call,
        outcome: impl FnOnce(&Object) -> Outcome,
    ) -> Result<Applied, ClientError> {
        let response = self.transport.send(call).await?;
        let warnings = transport::warnings(&response);
        let body = self.transport.bytes(response).await?;
        let object =
            serde_json::from_slice(&body).map_err(|error| self.transport.nonsense(&error))?;
        Ok(Applied {
            outcome: outcome(&object),
            object,
            warnings,
        })
    }

    async fn object(&self, call: Call) -> Result<Object, ClientError> {
        let (_, value) = self.transport.json(call).await?;
        self.decode(value)
    }

    fn decode(&self, value: Value) -> Result<Object, ClientError> {
        serde_json::from_value(value).map_err(|error| self.transport.nonsense(&error))
    }

    /// Where a manifest's object is; in the context's namespace unless it names one.
    fn key(&self, object: &Object) -> Result<ObjectKey, ClientError> {
        let mut key = object.key().map_err(|kind| {
            ClientError::Request(format!("{kind} is not a kind that weir knows"))
        })?;
        if key.name.is_empty() {
            return Err(ClientError::Request(format!(
                "metadata.name: the {} needs a name",
                key.kind
            )));
        }
        if key.kind.namespaced() && key.namespace.is_empty() {
            key.namespace.clone_from(&self.namespace);
        }
        Ok(key)
    }
}

fn present<T>(result: Result<T, ClientError>) -> Result<Option<T>, ClientError> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(error) if error.code() == Some(StatusCode::NOT_FOUND.as_u16()) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Whether only the server's own bookkeeping differs.
fn same_content(one: &Object, other: &Object) -> bool {
    let plain = |object: &Object| {
        let mut object = object.clone();
        object.metadata.resource_version.clear();
        object.metadata.managed_fields.clear();
        object.metadata.annotations.remove(LAST_APPLIED);
        object
    };
    plain(one) == plain(other)
}

fn written(call: Call, dry_run: bool, validation: FieldValidation) -> Call {
    let validation = match validation {
        FieldValidation::Strict => "Strict",
        FieldValidation::Warn => "Warn",
        FieldValidation::Ignore => "Ignore",
    };
    call.query("fieldManager", Some(FIELD_MANAGER))
        .query("fieldValidation", Some(validation))
        .query("dryRun", dry_run.then_some("All"))
}

fn selected(kind: Kind, namespace: Option<&str>, options: &ListOptions) -> Call {
    Call::new(Method::GET, collection(kind, namespace))
        .query("labelSelector", options.label_selector.clone())
        .query("fieldSelector", options.field_selector.clone())
}

/// The path of all objects of a kind, or of those in a namespace.
fn collection(kind: Kind, namespace: Option<&str>) -> String {
    let root = if kind.group().is_empty() {
        "/api".to_owned()
    } else {
        format!("/apis/{}", kind.group())
    };
    let version = kind.version();
    match namespace.filter(|ns| kind.namespaced() && !ns.is_empty()) {
        Some(ns) => format!("{root}/{version}/namespaces/{ns}/{}", kind.plural()),
        None => format!("{root}/{version}/{}", kind.plural()),
    }
}

fn item(key: &ObjectKey) -> String {
    let collection = collection(key.kind, Some(&key.namespace));
    format!("{collection}/{}", key.name)
}
