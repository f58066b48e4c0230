//! Leases and fences: how one of several controllers can be the one that writes.
//!
//! A [`Lease`] is time that etcd counts; a key that hangs on it goes when it ends. Whoever made the
//! key holds a [`Fence`]: the revision at which the key was created, which no other holder ever
//! gets. A [`Fenced`] backend writes only while the key is still that one, and etcd decides so in
//! the same transaction as the write itself, so that a holder that slept through the end of its
//! lease can write nothing, whatever it believes.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;

use super::{
    Etcd, Inner, RESERVED,
    client::{Effect, revision},
    created_at,
    error::EtcdError,
    only,
    wire::{
        Compare, LEASE_GRANT, LEASE_KEEP_ALIVE, LEASE_REVOKE, LeaseGrantRequest,
        LeaseGrantResponse, LeaseKeepAliveRequest, LeaseKeepAliveResponse, LeaseRevokeRequest,
        LeaseRevokeResponse, PutRequest, RANGE, RangeResponse, Request, ResponseOp, TXN, Target,
        TxnRequest, TxnResponse,
    },
};
use crate::{
    store::backend::{Backend, BackendError, Changes, Entry, Expect, Range, Reply},
    types::meta::ResourceVersion,
};

/// Time that etcd counts. It ends unless it is renewed, and not before.
#[derive(Debug)]
pub struct Lease {
    inner: Arc<Inner>,
    id: i64,
}

/// That a key is still the one that its holder made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    key: Bytes,
    created: i64,
}

/// The same keys and values, of which nothing is written but behind a fence; and nothing at all
/// before there is one.
#[derive(Debug)]
pub struct Fenced {
    etcd: Arc<Etcd>,
    fence: Arc<OnceLock<Fence>>,
}

impl Etcd {
    /// A new lease of `time`, in whole seconds of at least one; etcd may give more.
    ///
    /// # Errors
    /// [`BackendError::Failed`]: there is none, or one that ends by itself.
    pub async fn lease(&self, time: Duration) -> Result<Lease, BackendError> {
        let ttl = i64::try_from(time.as_secs().max(1)).map_err(BackendError::failed)?;
        let request = LeaseGrantRequest { ttl };
        // One that nobody knows of ends by itself.
        let answer = self.inner.client.call(LEASE_GRANT, &request, Effect::Read);
        let answer: LeaseGrantResponse = answer.await.map_err(BackendError::failed)?;
        Ok(Lease {
            inner: Arc::clone(&self.inner),
            id: answer.id,
        })
    }

    /// What the key `name` holds, if somebody has it.
    ///
    /// # Errors
    /// [`BackendError::Failed`]: nobody knows.
    pub(super) async fn holder(&self, name: &str) -> Result<Option<Bytes>, BackendError> {
        let found = self.inner.get(&format!("{RESERVED}{name}")).await;
        Ok(found
            .map_err(BackendError::failed)?
            .map(|entry| entry.value))
    }

    /// Makes the key `name` for the holder of a lease; nothing where somebody else has it.
    ///
    /// # Errors
    /// [`BackendError::Failed`]: the key may have been made. It goes with the lease.
    pub async fn hold(
        &self,
        name: &str,
        value: Bytes,
        lease: &Lease,
    ) -> Result<Option<Fence>, BackendError> {
        let key = self.inner.key(&format!("{RESERVED}{name}"));
        let put = PutRequest {
            key: key.clone(),
            value,
            lease: lease.id,
        };
        let txn = TxnRequest {
            compare: vec![created_at(key.clone(), 0)],
            success: vec![Request::Put(put).into()],
            failure: Vec::new(),
        };
        let answer = self.inner.client.call(TXN, &txn, Effect::Write).await;
        let answer: TxnResponse = answer.map_err(BackendError::failed)?;
        let created = revision(answer.header).map_err(BackendError::failed)?;
        let created = i64::try_from(created).map_err(BackendError::failed)?;
        Ok(answer.succeeded.then_some(Fence { key, created }))
    }

    /// A backend that writes only while the fence stands; see [`BackendError::Fenced`].
    #[must_use]
    pub const fn fenced(self: Arc<Self>, fence: Arc<OnceLock<Fence>>) -> Fenced {
        Fenced { etcd: self, fence }
    }

    /// Whether a fence stands.
    ///
    /// # Errors
    /// [`BackendError::Failed`]: nobody knows.
    pub async fn stands(&self, fence: &Fence) -> Result<bool, BackendError> {
        let request = only(fence.key.clone());
        let answer = self.inner.client.call(RANGE, &request, Effect::Read).await;
        let answer: RangeResponse = answer.map_err(BackendError::failed)?;
        let created = answer.kvs.first().map(|kv| kv.create_revision);
        Ok(created == Some(fence.created))
    }
}

impl Lease {
    /// Renews it, and says how long it lives from the moment at which this was asked for; nothing
    /// where it is over.
    ///
    /// # Errors
    /// [`BackendError::Failed`]: nobody knows whether it was renewed.
    pub async fn renew(&self) -> Result<Option<Duration>, BackendError> {
        let request = LeaseKeepAliveRequest { id: self.id };
        let opened = self.inner.client.open(LEASE_KEEP_ALIVE, request).await;
        let (link, mut answers) = opened.map_err(BackendError::failed)?;
        let answer = tokio::time::timeout(super::LIMIT, answers.message()).await;
        let answer: Option<LeaseKeepAliveResponse> = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(status)) => {
                let failure = self.inner.client.failure(&link, &status);
                return Err(BackendError::failed(failure));
            }
            Err(late) => return Err(BackendError::failed(late)),
        };
        let left = answer.map(|answer| u64::try_from(answer.ttl).unwrap_or(0));
        Ok(left.filter(|left| *left > 0).map(Duration::from_secs))
    }

    /// Ends it, and with it every key that hangs on it.
    ///
    /// # Errors
    /// [`BackendError::Failed`]: it ends by itself.
    pub async fn revoke(self) -> Result<(), BackendError> {
        let request = LeaseRevokeRequest { id: self.id };
        let client = &self.inner.client;
        let answer = client.call(LEASE_REVOKE, &request, Effect::Read).await;
        match answer {
            Ok(LeaseRevokeResponse {}) => Ok(()),
            Err(error @ EtcdError::Refused { .. }) => {
                tracing::debug!(%error, "the lease was over already");
                Ok(())
            }
            Err(error) => Err(BackendError::failed(error)),
        }
    }
}

impl Fenced {
    async fn write(
        &self,
        key: &str,
        value: Option<Bytes>,
        expect: Expect,
    ) -> Result<ResourceVersion, BackendError> {
        let fence = self.fence.get().ok_or(BackendError::Fenced)?;
        let stands = created_at(fence.key.clone(), fence.created);
        let inner = &self.etcd.inner;
        inner.write(key, value, expect, Some(stands)).await
    }
}

impl Backend for Fenced {
    fn get<'a>(&'a self, key: &'a str) -> Reply<'a, Option<Entry>> {
        self.etcd.get(key)
    }

    fn range<'a>(&'a self, prefix: &'a str) -> Reply<'a, Range> {
        self.etcd.range(prefix)
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, expect: Expect) -> Reply<'a, ResourceVersion> {
        Box::pin(self.write(key, Some(value), expect))
    }

    fn remove<'a>(&'a self, key: &'a str, expect: Expect) -> Reply<'a, ResourceVersion> {
        Box::pin(self.write(key, None, expect))
    }

    fn watch(&self, prefix: &str, from: ResourceVersion) -> Result<Changes, BackendError> {
        self.etcd.watch(prefix, from)
    }

    fn version(&self) -> Reply<'_, ResourceVersion> {
        self.etcd.version()
    }
}

/// Whether a fence stood when a transaction failed, by what it found under the fence's key.
pub(super) fn holds(fence: &Compare, found: Option<&ResponseOp>) -> bool {
    let range = found.and_then(|found| found.response_range.as_ref());
    let created = range.and_then(|range| range.kvs.first());
    let created = created.map(|kv| Target::CreateRevision(kv.create_revision));
    created == fence.target_union
}
