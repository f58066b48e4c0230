//! The backend that several controllers share: etcd 3.4 or later.
//!
//! A version is a revision of etcd's, of which every write in the whole cluster takes the next; so
//! versions go up but not one by one. Keys are below a prefix. An expectation is a comparison of
//! the key's `mod_revision` in the same transaction. Reads are linearizable: whoever reads sees
//! every write that was acknowledged to anybody.
//!
//! [`address`] reads what the operator typed, [`wire`] is what is spoken, [`client`] speaks to one
//! member or the next, [`follow`] keeps the history that serves watchers, [`fence`] is how one of
//! several controllers can be the one that writes, and [`error`] finds the words.
//!
//! *Invariant*: a write of which nobody knows whether it took effect is never sent again.
//! *Invariant*: once [`Backend::version`] has answered with a version, every watch has ready what
//! was written up to it.

mod address;
mod client;
mod error;
mod fence;
mod follow;
mod wire;

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::{
    task::JoinSet,
    time::{Instant, timeout},
};

pub use self::{
    address::{EtcdConfig, EtcdFiles},
    error::EtcdError,
};
use self::{
    client::{Client, Effect, LIMIT, revision},
    wire::{
        Compare, DeleteRangeRequest, KeyValue, PUT, PutRequest, PutResponse, RANGE, RangeRequest,
        RangeResponse, Request, TXN, Target, TxnRequest, TxnResponse,
    },
};
use super::{
    backend::{Backend, BackendError, Changes, Entry, Expect, Range, Reply},
    history::{History, Shared},
};
use crate::types::meta::ResourceVersion;

/// What keys below the prefix begin with that are no objects.
const RESERVED: char = '.';

/// The key that says how everything below the prefix is written, and its value.
const FORMAT: (&str, &str) = (".format", "weir state format 1");

/// The key that is written in order to be heard of; see [`Inner::mark`].
const MARK: &str = ".mark";

/// Values that are read at a time: with objects of some ten kilobytes, a few megabytes.
const PAGE: i64 = 256;

/// How often a list is begun anew because its revision was compacted before its last page. etcd
/// keeps thousands of revisions, so once is rare.
const LISTS: usize = 3;

/// How long a watch is given to hear of a write by itself before it is asked how far it is.
const HEARING: Duration = Duration::from_millis(50);

/// How long the history of etcd may take to be read at the start.
const LOADING: Duration = Duration::from_secs(60);

/// Keys and values in etcd. Dropping it ends its watches.
#[derive(Debug)]
pub struct Etcd {
    inner: Arc<Inner>,
    _tasks: JoinSet<()>,
}

#[derive(Debug)]
struct Inner {
    client: Client,
    prefix: String,
    history: Shared<History>,
    /// Changes that are remembered.
    keep: usize,
    /// Held by whoever writes the mark.
    marking: tokio::sync::Mutex<()>,
}

impl Etcd {
    /// Connects, reads the last `history` changes for watchers, and follows what comes.
    ///
    /// # Errors
    /// No member can be used, it refuses the user, or what is there was written by a newer Weir.
    pub async fn connect(config: &EtcdConfig, history: usize) -> Result<Self, EtcdError> {
        let inner = Arc::new(Inner::new(config, history)?);
        inner.client.link(Instant::now()).await?;
        inner.check_format().await?;
        let mut tasks = JoinSet::new();
        tasks.spawn(follow::follow(Arc::clone(&inner)));
        let latest = inner.latest().await?;
        inner.heard(latest, LOADING).await?;
        tasks.spawn(follow::compact(Arc::clone(&inner)));
        Ok(Self {
            inner,
            _tasks: tasks,
        })
    }

    /// Connects for reading alone: nothing is written, followed or compacted. It has no watches, and
    /// [`Backend::version`] does not answer.
    ///
    /// # Errors
    /// As for [`Self::connect`], and where no state is below the prefix.
    pub async fn look(config: &EtcdConfig) -> Result<Self, EtcdError> {
        let inner = Arc::new(Inner::new(config, 0)?);
        inner.client.link(Instant::now()).await?;
        let (key, known) = FORMAT;
        match inner.get(key).await? {
            Some(found) if found.value == known.as_bytes() => Ok(Self {
                inner,
                _tasks: JoinSet::new(),
            }),
            Some(found) => Err(inner.newer(&found.value)),
            None => Err(EtcdError::Absent {
                place: config.prefix.clone(),
            }),
        }
    }
}

impl Inner {
    fn new(config: &EtcdConfig, history: usize) -> Result<Self, EtcdError> {
        Ok(Self {
            client: Client::new(config)?,
            prefix: config.prefix.clone(),
            history: Shared::new(History::after(0, history)),
            keep: history,
            marking: tokio::sync::Mutex::default(),
        })
    }

    fn newer(&self, found: &[u8]) -> EtcdError {
        let (key, known) = FORMAT;
        EtcdError::Newer {
            place: format!("{}{key}", self.prefix),
            found: String::from_utf8_lossy(found).into_owned(),
            known: known.to_owned(),
        }
    }

    /// Says in etcd how things are written, or sees whether it is written as is understood here.
    async fn check_format(&self) -> Result<(), EtcdError> {
        let (key, value) = FORMAT;
        let put = PutRequest {
            key: self.key(key),
            value: Bytes::from_static(value.as_bytes()),
            lease: 0,
        };
        let txn = TxnRequest {
            compare: vec![created_at(self.key(key), 0)],
            success: vec![Request::Put(put).into()],
            failure: vec![Request::Range(only(self.key(key))).into()],
        };
        // What it writes is always the same, so that it may be sent twice.
        let answer: TxnResponse = self.client.call(TXN, &txn, Effect::Read).await?;
        let found = first(&answer);
        match found {
            None if answer.succeeded => Ok(()),
            Some(found) if found.value == value.as_bytes() => Ok(()),
            found => Err(self.newer(&found.map(|kv| kv.value).unwrap_or_default())),
        }
    }

    fn key(&self, key: &str) -> Bytes {
        format!("{}{key}", self.prefix).into()
    }

    async fn get(&self, key: &str) -> Result<Option<Entry>, EtcdError> {
        let request = only(self.key(key));
        let answer: RangeResponse = self.client.call(RANGE, &request, Effect::Read).await?;
        Ok(answer.kvs.into_iter().next().map(entry))
    }

    async fn range(&self, prefix: &str) -> Result<Range, EtcdError> {
        for _ in 1..LISTS {
            match self.pages(prefix).await {
                Err(EtcdError::Compacted { .. }) => {}
                read => return read,
            }
        }
        self.pages(prefix).await
    }

    /// Reads page by page, all at the revision of the first one.
    async fn pages(&self, prefix: &str) -> Result<Range, EtcdError> {
        let begin = format!("{}{prefix}", self.prefix);
        let mut request = RangeRequest {
            range_end: range_end(&begin),
            key: begin.into(),
            limit: PAGE,
            revision: 0,
            keys_only: false,
        };
        let mut entries = Vec::new();
        loop {
            let answer = self.client.call(RANGE, &request, Effect::Read).await;
            let page: RangeResponse = match answer {
                // Large objects: fewer at a time.
                Err(EtcdError::TooLarge { .. }) if request.limit > 1 => {
                    request.limit /= 4;
                    continue;
                }
                answer => answer?,
            };
            if request.revision == 0 {
                request.revision = page.header.map_or(0, |header| header.revision);
            }
            let last = page.kvs.last().map(|kv| kv.key.clone());
            for kv in page.kvs {
                let key = self.relative(&kv.key)?;
                if !key.starts_with(RESERVED) {
                    entries.push((key, entry(kv)));
                }
            }
            match last {
                Some(last) if page.more => request.key = [&last[..], b"\0"].concat().into(),
                _ => break,
            }
        }
        let version = u64::try_from(request.revision).unwrap_or(0);
        let version = ResourceVersion(version);
        Ok(Range { entries, version })
    }

    fn relative(&self, key: &Bytes) -> Result<String, EtcdError> {
        let text = std::str::from_utf8(key).ok();
        let relative = text.and_then(|text| text.strip_prefix(&self.prefix));
        relative.map(str::to_owned).ok_or_else(|| {
            let key = String::from_utf8_lossy(key).into_owned();
            EtcdError::Strange(format!(
                "the key {key:?} in etcd is none of Weir's: remove it"
            ))
        })
    }

    /// Writes where the expectation holds, and whatever else is `also` compared.
    async fn write(
        &self,
        key: &str,
        value: Option<Bytes>,
        expect: Expect,
        also: Option<Compare>,
    ) -> Result<ResourceVersion, BackendError> {
        let full = self.key(key);
        let Some(expected) = compare(&full, value.is_some(), expect) else {
            let found = self.get(key).await.map_err(BackendError::failed)?;
            let found = found.map(|entry| entry.version);
            return Err(BackendError::Unexpected { found });
        };
        let request = match value {
            Some(value) => Request::Put(PutRequest {
                key: full.clone(),
                value,
                lease: 0,
            }),
            None => Request::DeleteRange(DeleteRangeRequest { key: full.clone() }),
        };
        let present = RangeRequest {
            keys_only: true,
            ..only(full)
        };
        let mut failure = vec![Request::Range(present).into()];
        if let Some(also) = &also {
            failure.push(Request::Range(only(also.key.clone())).into());
        }
        let txn = TxnRequest {
            compare: expected.into_iter().chain(also.clone()).collect(),
            success: vec![request.into()],
            failure,
        };
        let answer = self.client.call(TXN, &txn, Effect::Write).await;
        let answer: TxnResponse = answer.map_err(BackendError::failed)?;
        if answer.succeeded {
            let version = revision(answer.header).map_err(BackendError::failed)?;
            return Ok(ResourceVersion(version));
        }
        if also.is_some_and(|also| !fence::holds(&also, answer.responses.get(1))) {
            return Err(BackendError::Fenced);
        }
        let found = first(&answer).map(|kv| version(&kv));
        Err(BackendError::Unexpected { found })
    }

    /// The revision of the last write in all of etcd.
    ///
    /// # Errors
    /// etcd cannot be asked, or it has gone back behind what it told before.
    async fn latest(&self) -> Result<u64, EtcdError> {
        let told = self.history.lock().reached().0;
        let request = RangeRequest {
            keys_only: true,
            ..only(self.key(MARK))
        };
        let answer: RangeResponse = self.client.call(RANGE, &request, Effect::Read).await?;
        let latest = revision(answer.header)?;
        if latest >= told {
            return Ok(latest);
        }
        Err(EtcdError::Strange(format!(
            "etcd's revision went back from {told} to {latest}: was it restored from a backup? \
             Restart Weir, and let clients list again"
        )))
    }

    async fn version(&self) -> Result<ResourceVersion, EtcdError> {
        let latest = self.latest().await?;
        self.heard(latest, LIMIT).await?;
        Ok(ResourceVersion(latest))
    }

    /// Waits until the history goes up to `version`.
    async fn heard(&self, version: u64, limit: Duration) -> Result<(), EtcdError> {
        if self.reached(version, HEARING).await {
            return Ok(());
        }
        let _turn = self.marking.lock().await;
        if self.history.lock().reached().0 >= version {
            return Ok(());
        }
        let mark = self.mark().await?;
        if self.reached(mark, limit).await {
            return Ok(());
        }
        let reached = self.history.lock().reached();
        Err(EtcdError::Strange(format!(
            "the watch on etcd is at revision {reached} and did not come to {mark} within {limit:?}"
        )))
    }

    async fn reached(&self, version: u64, limit: Duration) -> bool {
        let mut news = self.history.subscribe();
        let heard = news.wait_for(|reached| *reached >= version);
        matches!(timeout(limit, heard).await, Ok(Ok(_)))
    }

    /// Writes something for the watch to hear of, since it cannot be asked how far it is: before
    /// etcd 3.4.25 and 3.5.8 the answer to that may overtake changes (etcd issue 15220). It is
    /// needed only where others write to etcd, whose writes the watch does not hear of.
    async fn mark(&self) -> Result<u64, EtcdError> {
        let request = PutRequest {
            key: self.key(MARK),
            value: Bytes::new(),
            lease: 0,
        };
        // A mark may be written twice.
        let answer: PutResponse = self.client.call(PUT, &request, Effect::Read).await?;
        revision(answer.header)
    }
}

impl Backend for Etcd {
    fn get<'a>(&'a self, key: &'a str) -> Reply<'a, Option<Entry>> {
        Box::pin(async { self.inner.get(key).await.map_err(BackendError::failed) })
    }

    fn range<'a>(&'a self, prefix: &'a str) -> Reply<'a, Range> {
        Box::pin(async { self.inner.range(prefix).await.map_err(BackendError::failed) })
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, expect: Expect) -> Reply<'a, ResourceVersion> {
        Box::pin(self.inner.write(key, Some(value), expect, None))
    }

    fn remove<'a>(&'a self, key: &'a str, expect: Expect) -> Reply<'a, ResourceVersion> {
        Box::pin(self.inner.write(key, None, expect, None))
    }

    fn watch(&self, prefix: &str, from: ResourceVersion) -> Result<Changes, BackendError> {
        self.inner.history.watch(prefix, from)
    }

    fn version(&self) -> Reply<'_, ResourceVersion> {
        Box::pin(async { self.inner.version().await.map_err(BackendError::failed) })
    }
}

/// What must hold for a write; nothing where it never can.
fn compare(key: &Bytes, puts: bool, expect: Expect) -> Option<Vec<Compare>> {
    let key = key.clone();
    Some(match expect {
        Expect::Absent if puts => vec![created_at(key, 0)],
        Expect::Absent | Expect::At(ResourceVersion(0)) => return None,
        Expect::At(ResourceVersion(version)) => {
            let revision = i64::try_from(version).ok()?;
            vec![Compare {
                result: Compare::EQUAL,
                target: Compare::MOD,
                key,
                target_union: Some(Target::ModRevision(revision)),
            }]
        }
        Expect::Any if puts => Vec::new(),
        Expect::Any => vec![Compare {
            result: Compare::GREATER,
            ..created_at(key, 0)
        }],
    })
}

/// That a key was created at a revision; at 0: that it is absent.
fn created_at(key: Bytes, revision: i64) -> Compare {
    Compare {
        result: Compare::EQUAL,
        target: Compare::CREATE,
        key,
        target_union: Some(Target::CreateRevision(revision)),
    }
}

/// Asks for one key.
fn only(key: Bytes) -> RangeRequest {
    RangeRequest {
        key,
        ..RangeRequest::default()
    }
}

/// The end of the keys that begin with `prefix`, which is not empty: all prefixes end with `/`, or
/// with a letter of a name.
fn range_end(prefix: &str) -> Bytes {
    let mut end = prefix.as_bytes().to_vec();
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end.into()
}

/// What the first range of a transaction found.
fn first(answer: &TxnResponse) -> Option<KeyValue> {
    let range = answer.responses.first()?.response_range.as_ref()?;
    range.kvs.first().cloned()
}

fn version(kv: &KeyValue) -> ResourceVersion {
    ResourceVersion(u64::try_from(kv.mod_revision).unwrap_or(0))
}

fn entry(kv: KeyValue) -> Entry {
    Entry {
        version: version(&kv),
        value: kv.value,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_ends_after_the_last_key_of_its_prefix() {
        assert_eq!(range_end("/weir/"), "/weir0");
        assert_eq!(range_end("/weir/a"), "/weir/b");
    }

    #[test]
    fn what_can_never_hold_is_not_asked_for() {
        let key = Bytes::from_static(b"k");
        let holds = |puts, expect| compare(&key, puts, expect).map(|all| all.len());
        assert_eq!(holds(false, Expect::Absent), None);
        assert_eq!(holds(true, Expect::At(ResourceVersion(0))), None);
        assert_eq!(holds(true, Expect::At(ResourceVersion(u64::MAX))), None);
        assert_eq!(holds(true, Expect::Any), Some(0));
        assert_eq!(holds(false, Expect::Any), Some(1));
        assert_eq!(holds(true, Expect::Absent), Some(1));
    }
}
