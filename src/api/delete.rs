//! DELETE: of one object, or of all that are selected.

use futures_util::{StreamExt, TryStreamExt, stream};
use serde::Deserialize;
use serde_json::json;

use super::{
    body,
    dispatch::{Api, DEFAULT_NAMESPACE, Inbound},
    query::is_dry_run,
    read,
    reply::{self, Reply},
    status::{Cause, Status},
};
use crate::{
    store::{Deleted, Dependents, Preconditions, Store, StoreError},
    types::{
        id::Uid,
        meta::{Kind, ObjectKey},
    },
};

/// Deletions of a collection under way at once.
const SIDE_BY_SIDE: usize = 8;

/// Kubernetes' `DeleteOptions`, from the body or the query.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Options {
    preconditions: Option<Before>,
    propagation_policy: Option<String>,
    dry_run: Vec<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Before {
    uid: Option<String>,
    resource_version: Option<String>,
}

/// DELETE of an object.
pub(super) async fn one(api: &Api, inbound: &Inbound) -> Result<Reply, Status> {
    let key = inbound.target.key();
    let options = options(inbound)?;
    let store = store(api, inbound, &options)?;
    let dependents = options.dependents()?;
    let before = preconditions(options.preconditions)?;
    if key.kind == Kind::Namespace {
        empty(&store, &key).await?;
    }
    match delete(&store, &key, &before, dependents).await? {
        Deleted::Marked(object) => Ok(reply::json(200, &read::one(api, inbound, &object)?)),
        Deleted::Gone(object) => {
            let uid = object.metadata.stored_uid().as_str();
            Ok(reply::status(&Status::deleted(&key, uid)))
        }
    }
}

/// DELETE of a collection.
pub(super) async fn many(api: &Api, inbound: &Inbound) -> Result<Reply, Status> {
    let target = &inbound.target;
    if target.kind == Kind::Namespace {
        return Err(Status::method_not_allowed());
    }
    let options = options(inbound)?;
    let store = store(api, inbound, &options)?;
    let dependents = options.dependents()?;
    let selection = read::selection(target, &inbound.query)?;
    let mut listing = read::listing(api, target).await?;
    listing.items.retain(|object| selection.matches(object));
    let mut last = Vec::new();
    for object in &listing.items {
        let key = object.key().map_err(Status::internal)?;
        let before = Preconditions {
            uid: object.metadata.uid.clone(),
            resource_version: None,
        };
        match delete(&store, &key, &before, dependents).await {
            Ok(Deleted::Marked(object) | Deleted::Gone(object)) => last.push(object),
            // Somebody else was quicker.
            Err(status) if matches!(status.code, 404 | 409) => {}
            Err(status) => return Err(status),
        }
    }
    let list = json!({
        "kind": format!("{}List", target.kind.name()), "apiVersion": target.api_version(),
        "metadata": { "resourceVersion": listing.version.to_string() },
        "items": last.iter().map(|object| target.shown(object)).collect::<Vec<_>>(),
    });
    Ok(reply::json(200, &list))
}

async fn delete(
    store: &Store,
    key: &ObjectKey,
    before: &Preconditions,
    dependents: Dependents,
) -> Result<Deleted, Status> {
    let deleted = store.delete_with(key, before, dependents).await;
    deleted.map_err(|error| match error {
        StoreError::Conflict { key, why } => Status::precondition(&key, &why),
        error => read::refused(error),
    })
}

fn options(inbound: &Inbound) -> Result<Options, Status> {
    let mut options = if inbound.body.is_empty() {
        Options::default()
    } else {
        let value = body::decode(&inbound.media, &inbound.body)?;
        serde_json::from_value(value)
            .map_err(|error| Status::bad_request(format!("no DeleteOptions: {error}")))?
    };
    if let Some(policy) = inbound.query.get("propagationPolicy") {
        options.propagation_policy = Some(policy.to_owned());
    }
    Ok(options)
}

impl Options {
    /// What becomes of what belongs to the object.
    fn dependents(&self) -> Result<Dependents, Status> {
        match self.propagation_policy.as_deref() {
            None | Some("" | "Background") => Ok(Dependents::After),
            Some("Foreground") => Ok(Dependents::Before),
            Some("Orphan") => Ok(Dependents::Kept),
            Some(_) => {
                let known =
                    r#"Unsupported value: supported values: "Background", "Foreground", "Orphan""#;
                let cause = Cause::new("FieldValueNotSupported", "propagationPolicy", known);
                Err(Status::invalid_options("DeleteOptions", vec![cause]))
            }
        }
    }
}

fn store(api: &Api, inbound: &Inbound, options: &Options) -> Result<Store, Status> {
    let in_query = inbound.query.write("DeleteOptions")?.dry_run;
    let in_body = options.dry_run.iter().map(String::as_str);
    Ok(if is_dry_run("DeleteOptions", in_body)? || in_query {
        api.store.rehearsal()
    } else {
        api.store.clone()
    })
}

fn preconditions(before: Option<Before>) -> Result<Preconditions, Status> {
    let before = before.unwrap_or_default();
    let version = before.resource_version.map(|version| {
        version.parse().map_err(|_| {
            Status::bad_request("preconditions.resourceVersion: not one of this server's")
        })
    });
    Ok(Preconditions {
        uid: before.uid.map(Uid::new),
        resource_version: version.transpose()?,
    })
}

/// Takes what is left out of a namespace that is to go. What stands for something in a cloud must
/// have been deleted before: nobody means to lose that by the name of a namespace.
async fn empty(store: &Store, namespace: &ObjectKey) -> Result<(), Status> {
    let name = &namespace.name;
    if name == DEFAULT_NAMESPACE {
        let message = format!("namespaces \"{name}\" is forbidden: it is always there");
        return Err(Status::failure(403, "Forbidden", message));
    }
    if store.get(namespace).await.map_err(read::refused)?.is_none() {
        return Err(Status::not_found(namespace));
    }
    for kind in [Kind::ClearwaterStack, Kind::Machine, Kind::CloudAccount] {
        let listing = store.list(kind, Some(name)).await.map_err(read::refused)?;
        if let Some(object) = listing.items.first() {
            let why = format!(
                "it still has {} {} (such as {:?}); delete them first",
                listing.items.len(),
                kind.plural(),
                object.metadata.name
            );
            return Err(Status::conflict(namespace, &why));
        }
    }
    for kind in [
        Kind::Secret,
        Kind::ConfigMap,
        Kind::Event,
        Kind::Lease,
        Kind::RoleBinding,
        Kind::Role,
    ] {
        let listing = store.list(kind, Some(name)).await.map_err(read::refused)?;
        stream::iter(listing.items)
            .map(|object| async move {
                let key = ObjectKey::new(kind, name, object.metadata.name);
                match store.delete(&key, &Preconditions::default()).await {
                    Ok(_) | Err(StoreError::NotFound(_)) => Ok(()),
                    Err(error) => Err(read::refused(error)),
                }
            })
            .buffer_unordered(SIDE_BY_SIDE)
            .try_collect::<()>()
            .await?;
    }
    Ok(())
}
