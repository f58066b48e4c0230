//! Leases and fences by etcd: see [`Leases`].
//!
//! A lease is etcd's own, a held name is a key that hangs on it, and a fence is the revision at which
//! that key was created; a write compares it in its own transaction.

use std::time::Duration;

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
    store::{
        backend::{BackendError, Expect, Reply},
        lease::{Fence, LeaseId, Leases},
    },
    types::meta::ResourceVersion,
};

impl Inner {
    /// The key of a name that is held.
    fn held(&self, name: &str) -> Bytes {
        self.key(&format!("{RESERVED}{name}"))
    }

    /// That a fence stands.
    fn standing(&self, fence: &Fence) -> Result<Compare, EtcdError> {
        let created = i64::try_from(fence.created);
        let created = created.map_err(|error| EtcdError::Strange(error.to_string()))?;
        Ok(created_at(self.held(&fence.name), created))
    }

    async fn grant(&self, time: Duration) -> Result<LeaseId, BackendError> {
        let ttl = i64::try_from(time.as_secs().max(1)).map_err(BackendError::failed)?;
        let request = LeaseGrantRequest { ttl };
        // One that nobody knows of ends by itself.
        let answer = self.client.call(LEASE_GRANT, &request, Effect::Read);
        let answer: LeaseGrantResponse = answer.await.map_err(BackendError::failed)?;
        Ok(LeaseId(answer.id))
    }

    async fn renew(&self, lease: LeaseId) -> Result<Option<Duration>, BackendError> {
        let request = LeaseKeepAliveRequest { id: lease.0 };
        let opened = self.client.open(LEASE_KEEP_ALIVE, request).await;
        let (link, mut answers) = opened.map_err(BackendError::failed)?;
        let answer = tokio::time::timeout(super::LIMIT, answers.message()).await;
        let answer: Option<LeaseKeepAliveResponse> = match answer {
            Ok(Ok(answer)) => answer,
            Ok(Err(status)) => {
                let failure = self.client.failure(&link, &status);
                return Err(BackendError::failed(failure));
            }
            Err(late) => return Err(BackendError::failed(late)),
        };
        let left = answer.map(|answer| u64::try_from(answer.ttl).unwrap_or(0));
        Ok(left.filter(|left| *left > 0).map(Duration::from_secs))
    }

    async fn revoke(&self, lease: LeaseId) -> Result<(), BackendError> {
        let request = LeaseRevokeRequest { id: lease.0 };
        let answer = self.client.call(LEASE_REVOKE, &request, Effect::Read).await;
        match answer {
            Ok(LeaseRevokeResponse {}) => Ok(()),
            Err(error @ EtcdError::Refused { .. }) => {
                tracing::debug!(%error, "the lease was over already");
                Ok(())
            }
            Err(error) => Err(BackendError::failed(error)),
        }
    }

    async fn hold(
        &self,
        name: &str,
        value: Bytes,
        lease: LeaseId,
    ) -> Result<Option<Fence>, BackendError> {
        let key = self.held(name);
        let put = PutRequest {
            key: key.clone(),
            value,
            lease: lease.0,
        };
        let txn = TxnRequest {
            compare: vec![created_at(key, 0)],
            success: vec![Request::Put(put).into()],
            failure: Vec::new(),
        };
        let answer = self.client.call(TXN, &txn, Effect::Write).await;
        let answer: TxnResponse = answer.map_err(BackendError::failed)?;
        let created = revision(answer.header).map_err(BackendError::failed)?;
        let name = name.to_owned();
        Ok(answer.succeeded.then_some(Fence { name, created }))
    }

    async fn stands(&self, fence: &Fence) -> Result<bool, EtcdError> {
        let request = only(self.held(&fence.name));
        let answer: RangeResponse = self.client.call(RANGE, &request, Effect::Read).await?;
        let created = answer.kvs.first().map(|kv| kv.create_revision);
        Ok(created.and_then(|created| u64::try_from(created).ok()) == Some(fence.created))
    }
}

impl Leases for Etcd {
    fn grant(&self, time: Duration) -> Reply<'_, LeaseId> {
        Box::pin(self.inner.grant(time))
    }

    fn renew(&self, lease: LeaseId) -> Reply<'_, Option<Duration>> {
        Box::pin(self.inner.renew(lease))
    }

    fn revoke(&self, lease: LeaseId) -> Reply<'_, ()> {
        Box::pin(self.inner.revoke(lease))
    }

    fn hold<'a>(&'a self, name: &'a str, value: Bytes, lease: LeaseId) -> Reply<'a, Option<Fence>> {
        Box::pin(self.inner.hold(name, value, lease))
    }

    fn holder<'a>(&'a self, name: &'a str) -> Reply<'a, Option<Bytes>> {
        Box::pin(async move {
            let found = self.inner.get(&format!("{RESERVED}{name}")).await;
            let found = found.map_err(BackendError::failed)?;
            Ok(found.map(|entry| entry.value))
        })
    }

    fn stands<'a>(&'a self, fence: &'a Fence) -> Reply<'a, bool> {
        Box::pin(async move {
            let stands = self.inner.stands(fence).await;
            stands.map_err(BackendError::failed)
        })
    }

    fn write_behind<'a>(
        &'a self,
        fence: &'a Fence,
        key: &'a str,
        value: Option<Bytes>,
        expect: Expect,
    ) -> Reply<'a, ResourceVersion> {
        Box::pin(async move {
            let standing = self.inner.standing(fence).map_err(BackendError::failed)?;
            self.inner.write(key, value, expect, Some(standing)).await
        })
    }
}

/// Whether a fence stood when a transaction failed, by what it found under the fence's key.
pub(super) fn holds(fence: &Compare, found: Option<&ResponseOp>) -> bool {
    let range = found.and_then(|found| found.response_range.as_ref());
    let created = range.and_then(|range| range.kvs.first());
    let created = created.map(|kv| Target::CreateRevision(kv.create_revision));
    created == fence.target_union
}
