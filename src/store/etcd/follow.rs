//! What etcd is asked to tell: every write below the prefix, once, into the history that serves
//! all watchers of this process; and what it is asked to forget.
//!
//! However many watchers there are, etcd has one. When its stream breaks, another one goes on
//! after the last version that was heard of, at another member if need be. Only where etcd has
//! forgotten what came next does the history begin anew, and whoever watched finds itself expired.

use std::{sync::Arc, time::Duration};

use tokio::time::sleep;

use super::{
    Inner, RESERVED,
    client::{Effect, revision},
    error::EtcdError,
    range_end,
    wire::{
        COMPACT, CompactionRequest, CompactionResponse, Event, WATCH, WatchCreateRequest,
        WatchRequest, WatchResponse,
    },
};
use crate::{store::backend::Change, types::meta::ResourceVersion};

/// Between one broken stream and the next, beyond what connecting takes.
const PAUSE: Duration = Duration::from_millis(100);

/// etcd's history is cut when it is longer than ours by this part of it: often enough that it stays
/// bounded, seldom enough that it costs nothing.
const SLACK: u64 = 10;

/// Revisions that etcd keeps at most for each change that we keep. Others may write more than
/// Weir, and what they wrote is of no use to it.
const REVISIONS: u64 = 10;

/// Pause after a compaction that failed.
const COMPACT_AGAIN: Duration = Duration::from_secs(60);

/// Keeps the history up to date for ever.
pub(super) async fn follow(inner: Arc<Inner>) {
    loop {
        let Err(error) = inner.listen().await;
        match error {
            EtcdError::Compacted { .. } => {
                tracing::info!("etcd's history was compacted; watches from before it expire");
            }
            error => tracing::warn!(%error, "the watch on etcd broke; another one goes on"),
        }
        sleep(PAUSE).await;
    }
}

/// Has etcd forget, for ever, what is older than the history.
pub(super) async fn compact(inner: Arc<Inner>) {
    let mut news = inner.history.subscribe();
    let mut done = inner.history.lock().oldest().0;
    let keep = inner.keep as u64;
    loop {
        let floor = {
            let history = inner.history.lock();
            let bound = history.reached().0.saturating_sub(keep * REVISIONS);
            history.oldest().0.max(bound)
        };
        if floor > done + keep / SLACK {
            match inner.forget(floor).await {
                // Another controller was quicker.
                Ok(()) | Err(EtcdError::Compacted { .. }) => done = floor,
                Err(error) => {
                    tracing::warn!(%error, "etcd's history is not compacted; it grows");
                    sleep(COMPACT_AGAIN).await;
                }
            }
        }
        if news.changed().await.is_err() {
            return;
        }
    }
}

impl Inner {
    async fn forget(&self, floor: u64) -> Result<(), EtcdError> {
        let revision = signed(floor)?;
        let request = CompactionRequest { revision };
        let answer = self.client.call(COMPACT, &request, Effect::Read).await;
        answer.map(|_: CompactionResponse| ())
    }

    /// Listens to one stream until it ends, which is always an error.
    async fn listen(&self) -> Result<std::convert::Infallible, EtcdError> {
        let from = self.history.lock().reached().0;
        let create = WatchCreateRequest {
            key: self.prefix.clone().into(),
            range_end: range_end(&self.prefix),
            start_revision: signed(from + 1)?,
            progress_notify: true,
            prev_kv: true,
            fragment: true,
        };
        let request = WatchRequest {
            create_request: Some(create),
        };
        let (link, mut answers) = self.client.open(WATCH, request).await?;
        let mut pending = Vec::new();
        loop {
            let answer = tokio::select! {
                biased;
                answer = answers.message() => answer,
                () = self.client.given_up(&link) => {
                    return Err(EtcdError::Strange("its member does not answer".to_owned()));
                }
            };
            let answer: WatchResponse = match answer {
                Ok(Some(answer)) => answer,
                Ok(None) => {
                    let over = tonic::Status::unavailable("the stream has ended");
                    return Err(self.client.failure(&link, &over));
                }
                Err(status) => return Err(self.client.failure(&link, &status)),
            };
            if answer.canceled {
                return Err(self.canceled(&link, &answer));
            }
            if !answer.created {
                self.hear(answer, &mut pending)?;
            }
        }
    }

    fn canceled(&self, link: &super::client::Link, answer: &WatchResponse) -> EtcdError {
        match u64::try_from(answer.compact_revision) {
            Ok(oldest) if oldest > 0 => {
                self.history.change(|history| history.restart(oldest));
                let endpoint = "the watch".to_owned();
                EtcdError::Compacted { endpoint }
            }
            _ => {
                let status = tonic::Status::unavailable(answer.cancel_reason.clone());
                self.client.failure(link, &status)
            }
        }
    }

    /// Takes one answer. Of one that comes in parts, the last revision may go on in the next part,
    /// and waits for it in `pending`.
    fn hear(&self, answer: WatchResponse, pending: &mut Vec<Event>) -> Result<(), EtcdError> {
        if answer.events.is_empty() && pending.is_empty() && !answer.fragment {
            let reached = revision(answer.header)?;
            self.history.change(|history| history.reach(reached));
            return Ok(());
        }
        pending.extend(answer.events);
        let whole = match pending.last().map(written_at) {
            Some(last) if answer.fragment => pending.partition_point(|e| written_at(e) < last),
            _ => pending.len(),
        };
        let heard: Vec<_> = pending.drain(..whole).collect();
        self.record(heard)
    }

    fn record(&self, events: Vec<Event>) -> Result<(), EtcdError> {
        let known = self.history.lock().reached().0;
        let mut heard = Vec::with_capacity(events.len());
        let mut last = known;
        for event in events {
            let version = u64::try_from(written_at(&event)).unwrap_or(0);
            if version <= known || version < last {
                let why = format!("etcd told of revision {version} after {last}");
                return Err(EtcdError::Strange(why));
            }
            last = version;
            heard.push((version, self.change(event, version)));
        }
        self.history.change(|history| {
            for (version, heard) in heard {
                match heard {
                    Heard::Change(change) => history.push(Arc::new(change)),
                    Heard::Half => history.restart(version),
                    Heard::Nothing => {}
                }
            }
            history.reach(last);
        });
        Ok(())
    }

    fn change(&self, event: Event, version: u64) -> Heard {
        let deleted = event.r#type == Event::DELETE;
        let Some(now) = event.kv else {
            return Heard::Nothing;
        };
        let key = std::str::from_utf8(&now.key).ok();
        let Some(key) = key.and_then(|key| key.strip_prefix(&self.prefix)) else {
            return Heard::Nothing;
        };
        if key.starts_with(RESERVED) {
            return Heard::Nothing;
        }
        let previous_version = event.prev_kv.as_ref().map(|kv| kv.mod_revision);
        let previous_version = previous_version.and_then(|version| u64::try_from(version).ok());
        let previous = event.prev_kv.map(|kv| kv.value);
        if previous.is_none() && (deleted || now.version > 1) {
            return Heard::Half;
        }
        Heard::Change(Change {
            key: key.to_owned(),
            version: ResourceVersion(version),
            value: (!deleted).then_some(now.value),
            previous,
            previous_version: previous_version.map(ResourceVersion),
        })
    }
}

/// What an event is to the history.
enum Heard {
    Change(Change),
    /// A change whose previous value etcd no longer has: it was compacted while it was told of.
    Half,
    /// Not about an object.
    Nothing,
}

fn written_at(event: &Event) -> i64 {
    event.kv.as_ref().map_or(0, |kv| kv.mod_revision)
}

fn signed(version: u64) -> Result<i64, EtcdError> {
    i64::try_from(version)
        .map_err(|_| EtcdError::Strange(format!("version {version} is more than etcd counts")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::etcd::{EtcdConfig, EtcdFiles, wire::KeyValue, wire::ResponseHeader};

    /// A backend that is connected to nobody.
    fn inner() -> Inner {
        let config = EtcdConfig::read("etcd://127.0.0.1", &EtcdFiles::default());
        Inner::new(&config.unwrap(), 100).unwrap()
    }

    fn kv(key: &str, mod_revision: i64, version: i64) -> KeyValue {
        KeyValue {
            key: format!("/weir/{key}").into(),
            mod_revision,
            version,
            ..KeyValue::default()
        }
    }

    /// A put: of a new key where `version` is 1, else over a previous value.
    fn put(key: &str, mod_revision: i64, version: i64) -> Event {
        Event {
            r#type: 0,
            kv: Some(kv(key, mod_revision, version)),
            prev_kv: (version > 1).then(|| kv(key, 1, version - 1)),
        }
    }

    fn answer(revision: i64, fragment: bool, events: Vec<Event>) -> WatchResponse {
        WatchResponse {
            header: Some(ResponseHeader {
                revision,
                ..ResponseHeader::default()
            }),
            fragment,
            events,
            ..WatchResponse::default()
        }
    }

    fn reached(inner: &Inner) -> u64 {
        inner.history.lock().reached().0
    }

    #[tokio::test]
    async fn a_revision_in_two_parts_is_told_when_it_is_whole() {
        let (inner, mut pending) = (inner(), Vec::new());
        let first = vec![put("a/1", 5, 1), put("a/2", 7, 1)];
        inner.hear(answer(9, true, first), &mut pending).unwrap();
        assert_eq!(reached(&inner), 5, "7 may go on");
        let rest = vec![put("a/3", 7, 1)];
        inner.hear(answer(9, false, rest), &mut pending).unwrap();
        assert_eq!(reached(&inner), 7, "what comes up to 9 is still to be told");
        let mut watch = inner.history.watch("a/", ResourceVersion(0)).unwrap();
        let mut keys = Vec::new();
        for _ in 0..3 {
            let change = futures_util::StreamExt::next(&mut watch).await;
            keys.push(change.unwrap().unwrap().key.clone());
        }
        assert_eq!(keys, ["a/1", "a/2", "a/3"]);
    }

    #[test]
    fn progress_is_how_far_a_quiet_watch_is() {
        let (inner, mut pending) = (inner(), Vec::new());
        inner.hear(answer(9, false, vec![]), &mut pending).unwrap();
        assert_eq!(reached(&inner), 9);
        let mark = vec![put(".mark", 11, 4)];
        inner.hear(answer(12, false, mark), &mut pending).unwrap();
        assert_eq!(
            reached(&inner),
            11,
            "a mark is no change, but it is heard of"
        );
        assert_eq!(inner.history.lock().oldest().0, 0);
    }

    #[test]
    fn a_change_whose_previous_value_is_gone_is_not_told_as_a_new_key() {
        let deleted = Event {
            r#type: Event::DELETE,
            prev_kv: None,
            ..put("a/1", 8, 0)
        };
        let changed = Event {
            prev_kv: None,
            ..put("a/1", 8, 3)
        };
        for half in [deleted, changed] {
            let (inner, mut pending) = (inner(), Vec::new());
            let events = vec![put("a/1", 5, 1), half, put("a/2", 9, 1)];
            inner.hear(answer(9, false, events), &mut pending).unwrap();
            assert!(inner.history.watch("a/", ResourceVersion(7)).is_err());
            assert!(inner.history.watch("a/", ResourceVersion(8)).is_ok());
            assert_eq!(reached(&inner), 9);
        }
    }

    #[test]
    fn what_was_told_already_breaks_the_stream() {
        let (inner, mut pending) = (inner(), Vec::new());
        let events = vec![put("a/1", 5, 1)];
        inner.hear(answer(5, false, events), &mut pending).unwrap();
        let again = answer(5, false, vec![put("a/1", 5, 1)]);
        assert!(inner.hear(again, &mut pending).is_err());
        let disordered = answer(9, false, vec![put("a/1", 9, 2), put("a/2", 8, 1)]);
        assert!(inner.hear(disordered, &mut pending).is_err());
        assert_eq!(reached(&inner), 5);
    }
}
