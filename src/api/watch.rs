//! Watches: what happens to the selected objects, as it happens, one line of JSON each.
//!
//! A watch reads the store's history at its client's pace. Nobody waits for it, and a client that
//! falls behind the history is told to list again.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Duration};

use axum::{body::Body, http::HeaderValue};
use bytes::Bytes;
use futures_util::{FutureExt, Stream, StreamExt, stream};
use serde_json::{Value, json};
use tokio::{
    sync::watch,
    time::{Instant, Sleep, sleep_until},
};

use super::{
    access::{Authority, authorize},
    auth::User,
    dispatch::{Api, Inbound},
    limits::Held,
    negotiate::Form,
    query::{Include, Initial, Since},
    read,
    reply::{self, Reply},
    route::Target,
    selector::Selection,
    status::Status,
    table,
};
use crate::{
    store::{ChangeKind, StoreError, Watch, WatchEvent},
    types::{
        meta::{Object, ResourceVersion},
        rbac::Attributes,
    },
};

/// How long a watch lives whose client does not say, in minutes: spread, so that clients do not
/// all come back at once. Kubernetes' own numbers.
const MINUTES: std::ops::RangeInclusive<u64> = 30..=60;

/// Opens a watch. What can be refused is refused here, with a status of its own, but for a version
/// that is too old: that is told by an event, as Kubernetes does. kube-rs lists again for the event
/// alone; where the watch itself is refused, it asks for the same version for ever.
pub(super) async fn open(api: &Arc<Api>, inbound: &Inbound) -> Result<Reply, Status> {
    let (target, query) = (&inbound.target, &inbound.query);
    let selection = read::selection(target, query)?;
    let (bookmarks, include) = (query.bookmarks()?, query.include()?);
    let seconds = query.timeout_seconds()?.filter(|seconds| *seconds > 0);
    #[expect(clippy::disallowed_methods, reason = "nothing is decided on it")]
    let mut lifetime = seconds.map_or_else(
        || Duration::from_secs(60 * fastrand::u64(MINUTES)),
        Duration::from_secs,
    );
    // With the credential ends what it opened.
    if let Some(until) = inbound.user.until {
        let left = Duration::try_from(until.duration_since(api.clock.now()));
        lifetime = lifetime.min(left.unwrap_or_default());
    }
    let held = api.watches.take(inbound.asker);
    let held = held.ok_or_else(|| Status::too_many("too many watches; try again later"))?;
    let shape = Shape {
        target: target.clone(),
        form: inbound.form,
        include,
    };
    let start = Start::of(query.since()?, query.initial()?);
    let mut lines = Lines::new(api.clone(), shape);
    let from = match start {
        Start::From(version) => version,
        Start::Now => api.store.version().await.map_err(read::refused)?,
        Start::State { told } => {
            let mut listing = read::listing(api, target).await?;
            listing.items.retain(|object| selection.matches(object));
            for object in &listing.items {
                lines.push("ADDED", object);
            }
            if told && bookmarks {
                lines.bookmark(listing.version, true);
            }
            listing.version
        }
    };
    let namespace = Some(target.namespace.clone()).filter(|name| !name.is_empty());
    let watch = match api.store.watch(target.kind, namespace, from) {
        Ok(watch) => watch,
        Err(error @ StoreError::Expired { .. }) => {
            lines.line("ERROR", &json!(read::refused(error)));
            return Ok(streamed(stream::iter(lines.ready).map(Ok)));
        }
        Err(error) => return Err(read::refused(error)),
    };
    let live = Live {
        authority: api.authority.clone(),
        credentials: api.auth.changes(),
        asked: (inbound.user.clone(), inbound.attributes.clone()),
        shown_by: inbound.shown_by.clone(),
        lines,
        watch,
        selection,
        bookmarks,
        deadline: Box::pin(sleep_until(Instant::now() + lifetime)),
        next_bookmark: Instant::now() + api.limits.bookmark_every,
        reached: from,
        over: false,
        _held: held,
    };
    let lines = stream::unfold(live, |mut live| async {
        let line = live.next().await?;
        Some((Ok(line), live))
    });
    Ok(streamed(lines))
}

/// An answer of lines.
fn streamed(lines: impl Stream<Item = Result<Bytes, Infallible>> + Send + 'static) -> Reply {
    let media = HeaderValue::from_static("application/json");
    reply::reply(200, media, Body::from_stream(lines))
}

/// Where a watch starts.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Start {
    /// After a version.
    From(ResourceVersion),
    /// With what comes.
    Now,
    /// With the present state; `told`: whose end is marked by a bookmark.
    State { told: bool },
}

impl Start {
    const fn of(since: Since, initial: Initial) -> Self {
        match (initial, since) {
            (Initial::Send, _) => Self::State { told: true },
            (_, Since::Version(version)) => Self::From(version),
            (Initial::Skip, _) => Self::Now,
            (Initial::Unsaid, _) => Self::State { told: false },
        }
    }
}

/// How objects are shown.
struct Shape {
    target: Target,
    form: Form,
    include: Include,
}

/// Lines that are ready to be sent.
struct Lines {
    api: Arc<Api>,
    shape: Shape,
    ready: VecDeque<Bytes>,
    /// Column definitions are sent once.
    columns: Value,
    /// The version of the last bookmark.
    marked: Option<ResourceVersion>,
}

impl Lines {
    fn new(api: Arc<Api>, shape: Shape) -> Self {
        Self {
            api,
            columns: table::definitions(shape.target.kind),
            shape,
            ready: VecDeque::new(),
            marked: None,
        }
    }

    fn push(&mut self, event: &str, object: &Object) {
        let shown = match self.shape.form {
            Form::Table => {
                let Shape {
                    target, include, ..
                } = &self.shape;
                let row = read::row(target, object, *include, self.api.clock.now());
                self.table(row, &object.metadata.resource_version)
            }
            Form::Metadata => table::metadata_only(object),
            Form::Plain | Form::Aggregated(_) => self.shape.target.shown(object),
        };
        self.line(event, &shown);
    }

    fn table(&mut self, row: Value, version: &str) -> Value {
        let columns = self.columns.take();
        table::table(&columns, &[row], &json!({ "resourceVersion": version }))
    }

    /// Says how far the watch has come; `end`: that the present state has been sent.
    fn bookmark(&mut self, version: ResourceVersion, end: bool) {
        self.marked = Some(version);
        let target = &self.shape.target;
        let version = version.to_string();
        let mut metadata = json!({ "resourceVersion": version });
        if end {
            metadata["annotations"] = json!({ "k8s.io/initial-events-end": "true" });
        }
        let mark = json!({
            "kind": target.kind.name(), "apiVersion": target.api_version(),
            "metadata": metadata,
        });
        let shown = match self.shape.form {
            Form::Table => {
                let cells = vec![Value::Null; self.columns.as_array().map_or(1, Vec::len)];
                let row = json!({ "cells": cells, "object": mark });
                self.table(row, &version)
            }
            Form::Metadata => json!({
                "kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1",
                "metadata": metadata,
            }),
            Form::Plain | Form::Aggregated(_) => mark,
        };
        self.line("BOOKMARK", &shown);
    }

    fn line(&mut self, event: &str, object: &Value) {
        let mut line = json!({ "type": event, "object": object }).to_string();
        line.push('\n');
        self.ready.push_back(line.into());
    }
}

/// A watch under way.
struct Live {
    authority: Authority,
    credentials: watch::Receiver<u64>,
    /// Who asked for what: asked again whenever the policy changes.
    asked: (User, Attributes),
    /// Whose credential it rests on.
    shown_by: User,
    lines: Lines,
    watch: Watch,
    selection: Selection,
    bookmarks: bool,
    deadline: std::pin::Pin<Box<Sleep>>,
    next_bookmark: Instant,
    /// The version of the last event, also where it is not of the selection.
    reached: ResourceVersion,
    over: bool,
    _held: Held,
}

/// What a watch waited for.
enum Woken {
    Stop,
    Deadline,
    Bookmark,
    Policy,
    Event(Option<Box<WatchEvent>>),
}

impl Live {
    /// The next line; none at the end.
    async fn next(&mut self) -> Option<Bytes> {
        loop {
            if let Some(line) = self.lines.ready.pop_front() {
                return Some(line);
            }
            if self.over {
                return None;
            }
            match self.wait().await {
                Woken::Stop => self.over = true,
                Woken::Deadline => {
                    self.over = true;
                    self.mark().await;
                }
                Woken::Bookmark => {
                    self.next_bookmark = Instant::now() + self.lines.api.limits.bookmark_every;
                    self.mark().await;
                }
                Woken::Policy => {
                    let (user, attributes) = &self.asked;
                    if !self.lines.api.auth.still_good(&self.shown_by) {
                        self.fail(&Status::unauthorized());
                    } else if let Err(status) = authorize(&self.authority, user, attributes) {
                        self.fail(&status);
                    }
                }
                Woken::Event(event) => self.take(event.map(|event| *event)),
            }
        }
    }

    async fn wait(&mut self) -> Woken {
        let bookmark = async {
            if self.bookmarks {
                sleep_until(self.next_bookmark).await;
            } else {
                std::future::pending::<()>().await;
            }
        };
        tokio::select! {
            biased;
            () = self.lines.api.stop.cancelled() => Woken::Stop,
            () = &mut self.deadline => Woken::Deadline,
            () = self.authority.changed() => Woken::Policy,
            Ok(()) = self.credentials.changed() => Woken::Policy,
            event = self.watch.next() => Woken::Event(event.map(Box::new)),
            () = bookmark => Woken::Bookmark,
        }
    }

    /// Says how far the watch has come, if that is news.
    async fn mark(&mut self) {
        if !self.bookmarks {
            return;
        }
        // What was written before this version is in the history, and so taken first.
        let Ok(version) = self.lines.api.store.version().await else {
            return;
        };
        while let Some(event) = self.watch.next().now_or_never() {
            self.take(event);
            if self.over {
                return;
            }
        }
        // What was taken may be newer, and whoever goes on from here is not to hear of it again.
        let version = version.max(self.reached);
        if self.lines.marked.is_none_or(|marked| marked < version) {
            self.lines.bookmark(version, false);
        }
    }

    fn take(&mut self, event: Option<WatchEvent>) {
        match event {
            Some(event) => {
                self.reached = event.version;
                match self.shown(&event) {
                    Ok(Some((name, object))) => self.lines.push(name, &object),
                    Ok(None) => {}
                    Err(error) => self.fail(&read::refused(error)),
                }
            }
            None => match self.watch.ended() {
                Some(StoreError::Expired { from, oldest }) => {
                    let why = format!("too old resource version: {from} ({oldest})");
                    self.fail(&Status::expired(why));
                }
                _ => self.over = true,
            },
        }
    }

    fn fail(&mut self, status: &Status) {
        self.over = true;
        self.lines.line("ERROR", &json!(status));
    }

    /// What an event is to somebody who sees only the selection.
    fn shown(&self, event: &WatchEvent) -> Result<Option<(&'static str, Object)>, StoreError> {
        let selected = |object: &Object| self.selection.matches(object);
        let now = event.kind != ChangeKind::Deleted && selected(&event.object);
        if self.selection.is_all() || event.kind == ChangeKind::Added {
            let name = match event.kind {
                ChangeKind::Added if !now => return Ok(None),
                ChangeKind::Added => "ADDED",
                ChangeKind::Modified => "MODIFIED",
                ChangeKind::Deleted => "DELETED",
            };
            return Ok(Some((name, event.object.clone())));
        }
        let before = event.previous()?.filter(selected);
        Ok(match (before, now) {
            (None, false) => None,
            (None, true) => Some(("ADDED", event.object.clone())),
            (Some(_), true) => Some(("MODIFIED", event.object.clone())),
            (Some(last), false) => Some(("DELETED", last)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_starts_where_it_was_told() {
        let version = Since::Version(ResourceVersion(5));
        let state = |told| Start::State { told };
        assert_eq!(Start::of(Since::Latest, Initial::Unsaid), state(false));
        assert_eq!(Start::of(Since::Any, Initial::Unsaid), state(false));
        assert_eq!(
            Start::of(version, Initial::Unsaid),
            Start::From(ResourceVersion(5))
        );
        assert_eq!(Start::of(version, Initial::Send), state(true));
        assert_eq!(Start::of(Since::Latest, Initial::Skip), Start::Now);
    }
}
