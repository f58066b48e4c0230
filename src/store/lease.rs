//! Leases and fences: how one of several writers can be the one that writes.
//!
//! A lease is time that a backend counts; a key that hangs on it goes when it ends. Whoever made the
//! key holds a [`Fence`]: when the key was made, which no other holder ever gets. A [`Fenced`]
//! backend writes only while the key is still that one, and the backend below decides so together
//! with the write itself, so that a holder that slept through the end of its lease can write
//! nothing, whatever it believes. [`super::lead`] makes a leader of this.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use bytes::Bytes;

use super::backend::{Backend, BackendError, Changes, Entry, Expect, Range, Reply};
use crate::types::meta::ResourceVersion;

/// Which lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct LeaseId(pub(super) i64);

/// That a key is still the one that its holder made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fence {
    /// The name that was held.
    pub(super) name: String,
    /// When the key was made, as the backend counts: no two keys are made at the same.
    pub(super) created: u64,
}

/// A backend that several controllers share: with time that it counts, and writes behind a fence.
///
/// The names that are held are beside the keys of the backend: no range and no watch has them.
pub trait Leases: Backend {
    /// A new lease of `time`, in whole seconds of at least one; the backend may give more. It ends
    /// unless it is renewed, and not before.
    ///
    /// # Errors
    /// [`BackendError::Failed`]: there is none, or one that ends by itself.
    fn grant(&self, time: Duration) -> Reply<'_, LeaseId>;

    /// Renews a lease, and says how long it lives from the moment at which this was asked for;
    /// nothing where it is over.
    ///
    /// # Errors
    /// [`BackendError::Failed`]: nobody knows whether it was renewed.
    fn renew(&self, lease: LeaseId) -> Reply<'_, Option<Duration>>;

    /// Ends a lease, and with it every key that hangs on it. One that is over is no error.
    ///
    /// # Errors
    /// [`BackendError::Failed`]: it ends by itself.
    fn revoke(&self, lease: LeaseId) -> Reply<'_, ()>;

    /// Makes the key `name` for the holder of a lease; nothing where somebody else has it.
    ///
    /// # Errors
    /// [`BackendError::Failed`]: the key may have been made. It goes with the lease.
    fn hold<'a>(&'a self, name: &'a str, value: Bytes, lease: LeaseId) -> Reply<'a, Option<Fence>>;

    /// What the key `name` holds, if somebody has it.
    ///
    /// # Errors
    /// [`BackendError::Failed`]: nobody knows.
    fn holder<'a>(&'a self, name: &'a str) -> Reply<'a, Option<Bytes>>;

    /// Whether a fence stands.
    ///
    /// # Errors
    /// [`BackendError::Failed`]: nobody knows.
    fn stands<'a>(&'a self, fence: &'a Fence) -> Reply<'a, bool>;

    /// Puts a value under `key`, or removes it where there is no value, if the fence stands at that
    /// very moment.
    ///
    /// # Errors
    /// As for [`Backend::put`] and [`Backend::remove`].
    fn write_behind<'a>(
        &'a self,
        fence: &'a Fence,
        key: &'a str,
        value: Option<Bytes>,
        expect: Expect,
    ) -> Reply<'a, ResourceVersion>;
}

/// The same keys and values, of which nothing is written but behind a fence; and nothing at all
/// before there is one.
#[derive(Debug)]
pub struct Fenced {
    below: Arc<dyn Leases>,
    fence: Arc<OnceLock<Fence>>,
}

impl Fenced {
    /// What `below` has, written only while the fence stands; see [`BackendError::Fenced`].
    #[must_use]
    pub fn new(below: Arc<dyn Leases>, fence: Arc<OnceLock<Fence>>) -> Self {
        Self { below, fence }
    }

    async fn write(
        &self,
        key: &str,
        value: Option<Bytes>,
        expect: Expect,
    ) -> Result<ResourceVersion, BackendError> {
        let fence = self.fence.get().ok_or(BackendError::Fenced)?;
        self.below.write_behind(fence, key, value, expect).await
    }
}

impl Backend for Fenced {
    fn get<'a>(&'a self, key: &'a str) -> Reply<'a, Option<Entry>> {
        self.below.get(key)
    }

    fn range<'a>(&'a self, prefix: &'a str) -> Reply<'a, Range> {
        self.below.range(prefix)
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, expect: Expect) -> Reply<'a, ResourceVersion> {
        Box::pin(self.write(key, Some(value), expect))
    }

    fn remove<'a>(&'a self, key: &'a str, expect: Expect) -> Reply<'a, ResourceVersion> {
        Box::pin(self.write(key, None, expect))
    }

    fn watch(&self, prefix: &str, from: ResourceVersion) -> Result<Changes, BackendError> {
        self.below.watch(prefix, from)
    }

    fn version(&self) -> Reply<'_, ResourceVersion> {
        self.below.version()
    }
}
