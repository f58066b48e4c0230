//! The controller as commands see it: the API client, the namespace, and errors that say what to
//! do next.

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    pin::Pin,
};

use anyhow::{Context, Error, Result, anyhow};
use futures_util::{Stream, StreamExt};
use serde_json::Value;

use super::{args::Connection, plan_view::PlanView, table::Table};
use crate::{
    api::client::{
        Client, ClientError, ListOptions, WatchItem,
        kubeconfig::{self, Access},
    },
    types::{
        admission::FieldValidation,
        meta::{Kind, Object, ObjectKey},
    },
};

pub(super) use crate::api::client::Outcome;

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

    fn options(&self) -> ListOptions {
        ListOptions {
            label_selector: self.selector.clone(),
            field_selector: self.field_selector(),
        }
    }

    fn field_selector(&self) -> Option<String> {
        let name = self.name.iter().map(|name| format!("metadata.name={name}"));
        let of_object = self
            .of_object
            .iter()
            .map(|(kind, name)| format!("involvedObject.kind={kind},involvedObject.name={name}"));
        let terms: Vec<_> = name.chain(of_object).collect();
        (!terms.is_empty()).then(|| terms.join(","))
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

/// An outcome as kubectl says it.
pub(super) const fn word(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Created => "created",
        Outcome::Configured => "configured",
        Outcome::Unchanged => "unchanged",
    }
}

/// What an apply did, and what the server found worth saying.
#[derive(Clone, Debug)]
pub(super) struct Applied {
    pub(super) outcome: Outcome,
    pub(super) warnings: Vec<String>,
}

/// What a delete did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Deletion {
    /// There was nothing to delete.
    Absent,
    /// It is gone.
    Gone,
    /// It is marked, and goes once everything it stands for is gone.
    Marked,
}

/// A watch that is under way.
pub(super) type Events = Pin<Box<dyn Stream<Item = Result<WatchEvent>> + Send>>;

/// See the module. Cheap to clone.
#[derive(Clone, Debug)]
pub(super) struct Server {
    client: Client,
    namespace: String,
}

impl Server {
    /// Finds the controller; whether it answers shows at the first request.
    pub(super) fn connect(connection: &Connection) -> Result<Self> {
        let path = kubeconfig(connection, env::var_os("KUBECONFIG"), Path::exists);
        let client = Client::from_kubeconfig(&path, connection.context.as_deref())?;
        let namespace = connection.namespace.clone();
        Ok(Self {
            namespace: namespace.unwrap_or_else(|| client.namespace().to_owned()),
            client,
        })
    }

    /// How the controller is reached, by whom it is asked now.
    pub(super) fn access(connection: &Connection) -> Result<Access> {
        let path = kubeconfig(connection, env::var_os("KUBECONFIG"), Path::exists);
        Ok(kubeconfig::read(&path, connection.context.as_deref())?)
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

    /// The object of that name, if there is one.
    pub(super) async fn get(&self, key: &ObjectKey) -> Result<Option<Object>> {
        self.client.get(key).await.map_err(explained)
    }

    /// The object of that name in the namespace, which must be there.
    pub(super) async fn need(&self, kind: Kind, name: &str) -> Result<Object> {
        let key = self.key(kind, name);
        self.get(&key).await?.ok_or_else(|| missing(&key))
    }

    /// The objects meant, as they are together.
    pub(super) async fn list(&self, query: &Query) -> Result<List> {
        let namespace = namespace_of(query);
        let list = self
            .client
            .list(query.kind, namespace, &query.options())
            .await;
        let list = list.map_err(explained)?;
        Ok(List {
            objects: list.items,
            version: list.version,
        })
    }

    /// What happens to the objects meant, from the version of a list on.
    pub(super) async fn watch(&self, query: &Query, version: &str) -> Result<Events> {
        let (namespace, fields) = (namespace_of(query), query.field_selector());
        let stream = self
            .client
            .watch(query.kind, namespace, fields.as_deref(), Some(version))
            .await;
        let stream = match stream {
            Ok(stream) => stream,
            Err(error) if error.is_expired() => {
                return Ok(Box::pin(futures_util::stream::iter([Ok(
                    WatchEvent::TooOld,
                )])));
            }
            Err(error) => return Err(explained(error)),
        };
        let events = stream.map(|item| match item {
            Ok(item) => Ok(event(item)),
            Err(error) if error.is_expired() => Ok(WatchEvent::TooOld),
            Err(error) => Err(explained(error)),
        });
        if query.selector.is_none() {
            return Ok(Box::pin(events));
        }
        let (server, query) = (self.clone(), query.clone());
        Ok(Box::pin(events.then(move |event| {
            let (server, query) = (server.clone(), query.clone());
            async move { server.selected(&query, event?).await }
        })))
    }

    /// A watch does not select by labels: whether an object still has them is asked for each
    /// that changes.
    async fn selected(&self, query: &Query, event: WatchEvent) -> Result<WatchEvent> {
        let WatchEvent::Put(object) = event else {
            return Ok(event);
        };
        let one = Query {
            namespace: Some(object.metadata.namespace.clone()),
            name: Some(object.metadata.name.clone()),
            ..query.clone()
        };
        let mut found = self.list(&one).await?.objects;
        Ok(found
            .pop()
            .map_or(WatchEvent::Gone(object), WatchEvent::Put))
    }

    /// The table that the server draws of the objects meant.
    pub(super) async fn table(&self, query: &Query) -> Result<Table> {
        let (namespace, name) = (namespace_of(query), query.name.as_deref());
        let table = self
            .client
            .table(query.kind, namespace, name, &query.options())
            .await;
        let table = table.map_err(|error| match name {
            Some(name) if error.is_not_found() => missing(&ObjectKey::new(
                query.kind,
                namespace.unwrap_or_default(),
                name,
            )),
            _ => explained(error),
        })?;
        serde_json::from_value(table).context("the controller drew a table that cannot be read")
    }

    /// Makes the object be what the manifest says.
    pub(super) async fn apply(&self, object: &Object, write: Write) -> Result<Applied> {
        let dry_run = write == Write::DryRun;
        let applied = self
            .client
            .apply(object, dry_run, FieldValidation::Strict)
            .await;
        let applied = applied.map_err(explained)?;
        Ok(Applied {
            outcome: applied.outcome,
            warnings: applied.warnings,
        })
    }

    /// Changes members of an object in the namespace.
    pub(super) async fn patch(&self, kind: Kind, name: &str, patch: &Value) -> Result<Object> {
        let key = self.key(kind, name);
        self.client
            .patch_merge(&key, patch)
            .await
            .map_err(|error| match error.is_not_found() {
                true => missing(&key),
                false => explained(error),
            })
    }

    /// Asks for the deletion of an object.
    pub(super) async fn delete(&self, key: &ObjectKey) -> Result<Deletion> {
        match self.client.delete(key).await {
            Ok(Some(_)) => Ok(Deletion::Marked),
            Ok(None) => Ok(Deletion::Gone),
            Err(error) if error.is_not_found() => Ok(Deletion::Absent),
            Err(error) => Err(explained(error)),
        }
    }

    /// The plan that applying a stack would start.
    pub(super) async fn plan(&self, stack: &Object) -> Result<PlanView> {
        let plan = self.client.plan(stack).await.map_err(explained)?;
        serde_json::from_value(plan).context("the controller made a plan that cannot be read")
    }

    /// The controller's version.
    pub(super) async fn version(&self) -> Result<Value> {
        self.client.version().await.map_err(explained)
    }
}

/// Kinds outside of namespaces are asked for without one.
fn namespace_of(query: &Query) -> Option<&str> {
    query
        .namespace
        .as_deref()
        .filter(|_| query.kind.namespaced())
}

fn event(item: WatchItem) -> WatchEvent {
    match item.event.as_str() {
        "DELETED" => WatchEvent::Gone(item.object),
        "BOOKMARK" => WatchEvent::Bookmark,
        _ => WatchEvent::Put(item.object),
    }
}

/// Where the kubeconfig is. What was typed wins over the environment.
fn kubeconfig(
    connection: &Connection,
    environment: Option<OsString>,
    exists: impl Fn(&Path) -> bool,
) -> PathBuf {
    if let Some(file) = &connection.kubeconfig {
        return file.clone();
    }
    if let Some(state) = &connection.state {
        return state.join("kubeconfig");
    }
    let listed: Vec<_> = env::split_paths(&environment.unwrap_or_default())
        .filter(|path| !path.as_os_str().is_empty())
        .collect();
    let found = listed.iter().find(|path| exists(path)).or(listed.first());
    found
        .cloned()
        .unwrap_or_else(|| PathBuf::from("state/kubeconfig"))
}

fn missing(key: &ObjectKey) -> Error {
    let word = match key.kind {
        Kind::ClearwaterStack => "stack",
        Kind::CloudAccount => "account",
        kind => kind.singular(),
    };
    let place = match key.namespace.as_str() {
        "" => String::new(),
        namespace => format!(" in namespace {namespace}"),
    };
    anyhow!(
        "there is no {word} `{}`{place}: `weir get {word}s` lists those that there are",
        key.name
    )
}

/// A refusal with each of its causes on a line of its own, as kubectl shows it; any other error
/// as the client tells it.
fn explained(error: ClientError) -> Error {
    if let Some(namespace) = error.missing_namespace() {
        return anyhow!(
            "there is no namespace `{namespace}`; make it first: echo '{{apiVersion: v1, kind: \
             Namespace, metadata: {{name: {namespace}}}}}' | weir apply -f -"
        );
    }
    let ClientError::Refused(status) = &error else {
        return error.into();
    };
    let Some(details) = status
        .details
        .as_ref()
        .filter(|details| details.causes.len() > 1)
    else {
        return error.into();
    };
    let cause = details.causes.iter();
    let causes: Vec<_> = cause
        .map(|cause| format!("\n  {}: {}", cause.field, cause.message))
        .collect();
    let summary = format!(
        "the {} \"{}\" is not valid:{}",
        details.kind,
        details.name,
        causes.join("")
    );
    anyhow!(summary)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kubeconfig_is_the_one_that_was_typed_else_the_environments() {
        let place = |kubeconfig: Option<&str>, state: Option<&str>, environment: &str| {
            let connection = Connection {
                kubeconfig: kubeconfig.map(PathBuf::from),
                state: state.map(PathBuf::from),
                ..Connection::default()
            };
            let exists = |path: &Path| path.starts_with("/there");
            let path = super::kubeconfig(&connection, Some(environment.into()), exists);
            path.display().to_string()
        };
        assert_eq!(place(Some("a"), Some("dir"), "/env"), "a");
        assert_eq!(place(None, Some("dir"), "/env"), "dir/kubeconfig");
        assert_eq!(place(None, None, "/env"), "/env");
        assert_eq!(place(None, None, "/no:/there/b:/there/c"), "/there/b");
        assert_eq!(place(None, None, ""), "state/kubeconfig");
    }

    #[test]
    fn what_is_missing_is_named_with_what_to_do() {
        let key = ObjectKey::new(Kind::ClearwaterStack, "default", "ims");
        assert_eq!(
            missing(&key).to_string(),
            "there is no stack `ims` in namespace default: `weir get stacks` lists those that there are"
        );
    }

    #[test]
    fn events_of_an_object_are_selected_by_whom_they_are_about() {
        let mut query = Query::all(Kind::Event, "default");
        assert_eq!(query.field_selector(), None);
        query.of_object = Some(("Machine".to_owned(), "ims-bono-0".to_owned()));
        assert_eq!(
            query.field_selector().as_deref(),
            Some("involvedObject.kind=Machine,involvedObject.name=ims-bono-0")
        );
    }
}
