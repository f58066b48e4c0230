//! The port below the store: keys, values and versions, in the few verbs that etcd has as well.
//!
//! A backend knows nothing of objects: it keeps bytes under keys, counts its writes, and can tell
//! what was written since. What a write *means* is decided above, in [`super::rules`]. [`Disk`]
//! keeps everything in sled, [`Memory`] in memory only, [`Etcd`] in a cluster that several
//! controllers share; to the store's users they are the same.
//!
//! [`Disk`]: super::disk::Disk
//! [`Memory`]: super::memory::Memory
//! [`Etcd`]: super::etcd::Etcd

use std::{error::Error, fmt, sync::Arc};

use bytes::Bytes;
use futures_util::{future::BoxFuture, stream::BoxStream};

use crate::types::meta::ResourceVersion;

/// What a backend's methods return.
pub type Reply<'a, T> = BoxFuture<'a, Result<T, BackendError>>;

/// The changes that a watch yields, each once and in order of their versions.
pub type Changes = BoxStream<'static, Result<Arc<Change>, BackendError>>;

/// Keys, values and versions.
///
/// Each write takes a later version of one counter, which never goes back and never gives out a
/// version twice, restarts and crashes included; where others write there as well, some versions
/// are none of ours. Nobody sees a write, be it by reading or by
/// watching, before it would survive a crash.
///
/// Reads are cancel-safe. A write whose future was dropped may or may not take effect.
pub trait Backend: fmt::Debug + Send + Sync + 'static {
    /// The value under `key`.
    ///
    /// # Errors
    /// [`BackendError::Failed`]: nothing is known.
    fn get<'a>(&'a self, key: &'a str) -> Reply<'a, Option<Entry>>;

    /// All values whose key starts with `prefix`, as they were together at one version.
    ///
    /// # Errors
    /// [`BackendError::Failed`]: nothing is known.
    fn range<'a>(&'a self, prefix: &'a str) -> Reply<'a, Range>;

    /// Puts `value` under `key` and answers with the version of the write, once it is durable.
    ///
    /// # Errors
    /// [`BackendError::Unexpected`] and [`BackendError::Fenced`]: nothing was written.
    /// [`BackendError::Failed`]: the write may have taken effect.
    fn put<'a>(&'a self, key: &'a str, value: Bytes, expect: Expect) -> Reply<'a, ResourceVersion>;

    /// Removes `key` and answers with the version of the removal, once it is durable.
    ///
    /// # Errors
    /// As for [`Self::put`]; a key that is absent is unexpected whatever was expected.
    fn remove<'a>(&'a self, key: &'a str, expect: Expect) -> Reply<'a, ResourceVersion>;

    /// What is written under `prefix` after the version `from`, until the stream is dropped or
    /// the backend goes away.
    ///
    /// A version that is still to come yields nothing until it has come and gone. A reader that
    /// falls behind the history gets [`BackendError::Expired`] as its last item; it never slows
    /// a writer down.
    ///
    /// # Errors
    /// [`BackendError::Expired`]: `from` is older than the history.
    fn watch(&self, prefix: &str, from: ResourceVersion) -> Result<Changes, BackendError>;

    /// The version of the last write. Every watch then has ready what was written up to it.
    ///
    /// # Errors
    /// [`BackendError::Failed`]: the backend can serve no reads, or takes no writes any more.
    fn version(&self) -> Reply<'_, ResourceVersion>;
}

/// What must be under a key for a write to happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Nothing.
    Absent,
    /// The value that was written at this version.
    At(ResourceVersion),
    /// Whatever there is.
    Any,
}

/// A value and when it was written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// The value.
    pub value: Bytes,
    /// The version of the write.
    pub version: ResourceVersion,
}

/// Many values, as they were together.
#[derive(Clone, Debug)]
pub struct Range {
    /// The keys and their values, in the order of the keys.
    pub entries: Vec<(String, Entry)>,
    /// The version at which this is the whole truth.
    pub version: ResourceVersion,
}

/// One write, as a watch tells of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The key.
    pub key: String,
    /// The version of the write.
    pub version: ResourceVersion,
    /// What is under the key since; nothing after a removal.
    pub value: Option<Bytes>,
    /// What was there before; nothing before a creation.
    pub previous: Option<Bytes>,
    /// When that was written, where it is known.
    pub previous_version: Option<ResourceVersion>,
}

/// Why a backend did not do it.
#[derive(Debug, thiserror::Error)]
pub enum BackendError {
    /// The expectation of a write was not met.
    #[error("another write came first")]
    Unexpected {
        /// The version of what is there, if anything is.
        found: Option<ResourceVersion>,
    },
    /// The history does not reach back that far.
    #[error("the history begins after version {oldest}")]
    Expired {
        /// The oldest version from which a watch can start.
        oldest: ResourceVersion,
    },
    /// The writer no longer holds what it writes behind: nothing was written.
    #[error("another controller leads now")]
    Fenced,
    /// It could not be read or written.
    #[error("the database failed")]
    Failed(#[source] Box<dyn Error + Send + Sync>),
}

impl BackendError {
    /// A failure from what caused it.
    pub fn failed(cause: impl Into<Box<dyn Error + Send + Sync>>) -> Self {
        Self::Failed(cause.into())
    }
}
