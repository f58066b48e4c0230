//! GET: one object, or a list of them, page by page.

use axum::http::HeaderValue;
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::{
    dispatch::{Api, Inbound},
    negotiate::Form,
    query::{Include, Query, Since},
    reply::{self, Reply},
    route::Target,
    selector::Selection,
    status::{Cause, Status},
    table,
};
use crate::{
    store::{Listing, StoreError},
    types::{
        export,
        meta::{Object, ObjectKey, ResourceVersion},
    },
};

/// The media type of lines of JSON.
const JSON_LINES: HeaderValue = HeaderValue::from_static("application/jsonl");

/// How long a list waits for a version that this server has not reached, and how often it looks.
/// Kubernetes waits about 3 s.
const CATCH_UP: (u32, std::time::Duration) = (30, std::time::Duration::from_millis(100));

/// GET of an object.
pub(super) async fn get(api: &Api, inbound: &Inbound) -> Result<Reply, Status> {
    let object = stored(api, &inbound.target.key()).await?;
    Ok(reply::json(200, &one(api, inbound, &object)?))
}

/// The object at `key`.
///
/// # Errors
/// 404: there is none.
pub(super) async fn stored(api: &Api, key: &ObjectKey) -> Result<Object, Status> {
    let found = api.store.get(key).await.map_err(refused)?;
    found.ok_or_else(|| Status::not_found(key))
}

/// An object in the form that the client accepts.
pub(super) fn one(api: &Api, inbound: &Inbound, object: &Object) -> Result<Value, Status> {
    let kind = inbound.target.kind;
    Ok(match inbound.form {
        Form::Table => {
            let row = row(
                &inbound.target,
                object,
                inbound.query.include()?,
                api.clock.now(),
            );
            let metadata = json!({ "resourceVersion": object.metadata.resource_version });
            table::table(&table::definitions(kind), &[row], &metadata)
        }
        Form::Metadata => table::metadata_only(object),
        Form::Plain | Form::Aggregated(_) => inbound.target.shown(object),
    })
}

/// A row of a table, with as much of its object as was asked for.
pub(super) fn row(target: &Target, object: &Object, include: Include, now: Timestamp) -> Value {
    let mut row = table::row(target.kind, object, include, now);
    if include == Include::Object {
        row["object"] = target.shown(object);
    }
    row
}

/// What the selectors of a request select.
pub(super) fn selection(target: &Target, query: &Query) -> Result<Selection, Status> {
    let fields = target.selector(query.fields());
    Selection::parse(target.kind, query.labels(), &fields).map_err(Status::bad_request)
}

/// GET of a collection.
pub(super) async fn list(api: &Api, inbound: &Inbound) -> Result<Reply, Status> {
    let (target, query) = (&inbound.target, &inbound.query);
    let selection = selection(target, query)?;
    let token = query.continuation().map(Token::read).transpose()?;
    let exact = query.exact()?;
    if let Since::Version(version) = query.since()? {
        if token.is_some() {
            let why = "specifying resource version is not allowed when using continue";
            return Err(Status::bad_request(why));
        }
        reached(api, version).await?;
    }
    let mut listing = match (&token, query.since()?) {
        (Some(token), _) if token.version > 0 => then(api, target, token).await?,
        (None, Since::Version(version)) if exact => {
            let listing = api
                .store
                .list_at(target.kind, target.within(), version)
                .await;
            listing.map_err(refused)?
        }
        _ => listing(api, target).await?,
    };
    listing.items.retain(|object| selection.matches(object));
    let page = page(listing, query.limit()?, token.as_ref(), selection.is_all());
    Ok(reply::json(200, &many(api, inbound, &page)?))
}

/// All objects of a target's kind and namespace.
pub(super) async fn listing(api: &Api, target: &Target) -> Result<Listing, Status> {
    let listing = api.store.list(target.kind, target.within()).await;
    listing.map_err(refused)
}

/// The same at the moment of the first page. Where nobody remembers it any more, the refusal has a
/// token with which the rest can be had as it is by then.
async fn then(api: &Api, target: &Target, token: &Token) -> Result<Listing, Status> {
    let version = ResourceVersion(token.version);
    let listing = api
        .store
        .list_at(target.kind, target.within(), version)
        .await;
    listing.map_err(|error| {
        let expired = matches!(error, StoreError::Expired { .. });
        let mut status = refused(error);
        if expired {
            let on = Token {
                version: 0,
                namespace: token.namespace.clone(),
                name: token.name.clone(),
            };
            status
                .metadata
                .insert("continue".to_owned(), json!(on.write()));
        }
        status
    })
}

/// Waits until the store has reached a version.
async fn reached(api: &Api, wanted: ResourceVersion) -> Result<(), Status> {
    let (attempts, pause) = CATCH_UP;
    let mut latest = api.store.version().await.map_err(refused)?;
    for _ in 0..attempts {
        if latest >= wanted {
            break;
        }
        api.clock.sleep(pause).await;
        latest = api.store.version().await.map_err(refused)?;
    }
    if latest < wanted {
        return Err(Status::too_large_version(wanted.0, latest.0));
    }
    Ok(())
}

/// A part of a list.
struct Page {
    items: Vec<Object>,
    metadata: Value,
}

/// Cuts the page out of a list that starts after `token`.
///
/// All pages show the moment of the first one, and have its version.
fn page(listing: Listing, limit: Option<usize>, token: Option<&Token>, all: bool) -> Page {
    let Listing { mut items, version } = listing;
    let version = version.0;
    if let Some(token) = token {
        let after = (&token.namespace, &token.name);
        items.retain(|object| (&object.metadata.namespace, &object.metadata.name) > after);
    }
    let mut metadata = json!({ "resourceVersion": version.to_string(), "continue": "" });
    if let Some(limit) = limit.filter(|limit| *limit < items.len()) {
        let rest = items.split_off(limit);
        if let Some(last) = items.last() {
            let token = Token {
                version,
                namespace: last.metadata.namespace.clone(),
                name: last.metadata.name.clone(),
            };
            metadata["continue"] = json!(token.write());
        }
        if all {
            metadata["remainingItemCount"] = json!(rest.len());
        }
    }
    Page { items, metadata }
}

fn many(api: &Api, inbound: &Inbound, page: &Page) -> Result<Value, Status> {
    let kind = inbound.target.kind;
    let Page { items, metadata } = page;
    Ok(match inbound.form {
        Form::Table => {
            let (include, now) = (inbound.query.include()?, api.clock.now());
            let row = |object| row(&inbound.target, object, include, now);
            let rows: Vec<Value> = items.iter().map(row).collect();
            table::table(&table::definitions(kind), &rows, metadata)
        }
        Form::Metadata => json!({
            "kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1",
            "metadata": metadata,
            "items": items.iter().map(table::metadata_only).collect::<Vec<_>>(),
        }),
        Form::Plain | Form::Aggregated(_) => json!({
            "kind": format!("{}List", kind.name()),
            "apiVersion": inbound.target.api_version(), "metadata": metadata,
            "items": items.iter().map(|item| inbound.target.shown(item)).collect::<Vec<_>>(),
        }),
    })
}

/// Where the next page begins.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
struct Token {
    /// That of the first page; 0 for whatever is the latest.
    version: u64,
    namespace: String,
    name: String,
}

impl Token {
    fn write(&self) -> String {
        let text = serde_json::to_vec(self).expect("a token has text keys");
        URL_SAFE_NO_PAD.encode(text)
    }

    fn read(text: &str) -> Result<Self, Status> {
        let bytes = URL_SAFE_NO_PAD.decode(text).ok();
        bytes
            .and_then(|bytes| serde_json::from_slice(&bytes).ok())
            .ok_or_else(|| Status::bad_request("continue key is not valid: list from the start"))
    }
}

/// GET of `/export`: all objects together, in the form of the file that they are kept in.
pub(super) async fn everything(api: &Api) -> Result<Reply, Status> {
    let all = api.store.everything().await.map_err(refused)?;
    let text = export::write(all.version, api.clock.now(), &all.items);
    Ok(reply::reply(200, JSON_LINES, text))
}

/// A refusal of the store, as clients are told of it.
pub(super) fn refused(error: StoreError) -> Status {
    match error {
        StoreError::NotFound(key) => Status::not_found(&key),
        StoreError::AlreadyExists(key) => Status::already_exists(&key, false),
        StoreError::Conflict { key, why } => {
            let message = format!(
                "the object has been modified; please apply your changes to the latest version \
                 and try again ({why})"
            );
            Status::conflict(&key, &message)
        }
        StoreError::Protected(key) => Status::protected(&key),
        StoreError::Expired { from, oldest } => Status::expired(format!(
            "too old resource version: {from} ({oldest}); list again"
        )),
        error => {
            tracing::error!(error = &error as &dyn std::error::Error, "store failed");
            Status::internal(error.with_causes())
        }
    }
}

/// As [`refused`], where an object is written.
pub(super) fn refused_write(key: &ObjectKey, error: StoreError) -> Status {
    match error {
        StoreError::Invalid(why) => {
            let (field, why) = why.split_once(": ").unwrap_or(("", &why));
            Status::invalid(key.kind, &key.name, vec![Cause::forbidden(field, why)])
        }
        error => refused(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> Listing {
        let object = |name: &&str| {
            let value = json!({"apiVersion": "v1", "kind": "Secret",
                               "metadata": {"name": name, "namespace": "default"}});
            serde_json::from_value(value).unwrap()
        };
        Listing {
            items: names.iter().map(object).collect(),
            version: ResourceVersion(7),
        }
    }

    fn names(page: &Page) -> Vec<&str> {
        page.items
            .iter()
            .map(|o| o.metadata.name.as_str())
            .collect()
    }

    #[test]
    fn pages_follow_each_other_without_a_gap() {
        let all = ["a", "b", "c"];
        let first = page(listing(&all), Some(2), None, true);
        assert_eq!(names(&first), ["a", "b"]);
        assert_eq!(first.metadata["remainingItemCount"], 1);
        let token = Token::read(first.metadata["continue"].as_str().unwrap()).unwrap();
        let last = page(listing(&["a", "b", "bb", "c"]), Some(2), Some(&token), true);
        assert_eq!(names(&last), ["bb", "c"]);
        assert_eq!(
            last.metadata,
            json!({"resourceVersion": "7", "continue": ""})
        );
    }

    #[test]
    fn a_token_that_is_none_is_refused() {
        assert_eq!(Token::read("garbage!").unwrap_err().code, 400);
    }
}
