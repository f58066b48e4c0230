//! The store as a whole: everything in it at once, and putting everything back into an empty one.
//!
//! While objects are put back, the key `.import` says so. It is made first and removed last: a store
//! that has it holds an unknown part of what it should, and is neither used nor written to.

use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt, stream};

use super::{
    Listing, Store, StoreError,
    backend::{BackendError, Expect, Range},
    path, record, rules, unread,
};
use crate::types::meta::{Object, ObjectKey, ResourceVersion};

/// The key that is there while objects are put back. No path of an object begins like this.
const MARKER: (&str, &str) = (".import", "an import is under way");

/// Objects that are put back at once: enough to share flushes.
const WRITES: usize = 64;

/// What is stored under one key, readable or not.
#[derive(Debug)]
pub struct Record {
    /// The key, like `machines/default/ims-bono-0`.
    pub path: String,
    /// The object.
    pub object: Result<Object, StoreError>,
}

impl Record {
    /// The record of an object that somebody who read it has told of.
    ///
    /// # Errors
    /// The text of `kind` where it is none of ours.
    pub fn told(object: Object) -> Result<Self, String> {
        Ok(Self {
            path: path(&object.key()?),
            object: Ok(object),
        })
    }

    /// Whether the object, if it can be read, is stored where it belongs.
    #[must_use]
    pub fn in_place(&self) -> bool {
        let Ok(object) = &self.object else {
            return true;
        };
        object.key().is_ok_and(|key| path(&key) == self.path)
    }
}

/// Why a store is not used as it is, or nothing was put into it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RestoreError {
    /// A former import did not end.
    #[error("an import was begun there and did not end, so a part of the objects may be missing")]
    Unfinished,
    /// There are objects already.
    #[error("there are objects already, {found} of them, like {example}")]
    NotEmpty {
        /// How many.
        found: usize,
        /// Where one is.
        example: String,
    },
    /// The store could not be read or written, or an object cannot be stored.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl Store {
    /// Everything that is stored, as it was together at one version, in the order of the paths.
    ///
    /// # Errors
    /// [`StoreError::Io`]: nothing is known.
    pub async fn records(&self) -> Result<(Vec<Record>, ResourceVersion), StoreError> {
        let Range { entries, version } = self.backend.range("").await.map_err(unread)?;
        let entries = entries.into_iter().filter(|(path, _)| path != MARKER.0);
        let records = entries.map(|(path, entry)| Record {
            object: self.read(&path, &entry),
            path,
        });
        Ok((records.collect(), version))
    }

    /// All objects, as they were together at one version, in the order of their paths.
    ///
    /// # Errors
    /// [`StoreError::Io`]: nothing is known, or one of them cannot be read. Half of them are never
    /// returned.
    pub async fn everything(&self) -> Result<Listing, StoreError> {
        let (records, version) = self.records().await?;
        let read = records.into_iter().map(|record| {
            let path = record.path;
            let unreadable = |error| match error {
                // It names the path itself.
                StoreError::Undecrypted { .. } => error,
                error => StoreError::io(format!("{path} cannot be read"), error),
            };
            record.object.map_err(unreadable)
        });
        let items = read.collect::<Result<_, _>>()?;
        Ok(Listing { items, version })
    }

    /// Whether no import was left half done.
    ///
    /// # Errors
    /// [`RestoreError::Unfinished`]; [`RestoreError::Store`]: nothing is known.
    pub async fn complete(&self) -> Result<(), RestoreError> {
        match self.backend.get(MARKER.0).await.map_err(unread)? {
            None => Ok(()),
            Some(_) => Err(RestoreError::Unfinished),
        }
    }

    /// Puts objects into an empty store as they are, with their uids, statuses and so on; only
    /// `metadata.resourceVersion` is the store's own. Nobody else may write meanwhile.
    ///
    /// # Errors
    /// [`RestoreError::NotEmpty`], [`RestoreError::Unfinished`] and [`StoreError::Invalid`]: nothing
    /// was written. Any other: a part of the objects may be there, and the store counts as
    /// unfinished.
    pub async fn restore(&self, objects: Vec<Object>) -> Result<usize, RestoreError> {
        let keyed: Vec<(ObjectKey, Object)> = objects
            .into_iter()
            .map(|object| rules::key(&object).map(|key| (key, object)))
            .collect::<Result<_, _>>()?;
        let marker = self.mark().await?;
        let (there, _) = self.records().await?;
        if let Some(example) = there.first() {
            self.unmark(marker).await?;
            return Err(RestoreError::NotEmpty {
                found: there.len(),
                example: example.path.clone(),
            });
        }
        let written = stream::iter(keyed)
            .map(|(key, mut object)| async move {
                let path = path(&key);
                let value = record::write(&path, &mut object, self.keys.as_deref())?;
                let put = self.backend.put(&path, value, Expect::Absent).await;
                put.map_err(|error| match error {
                    BackendError::Unexpected { .. } => StoreError::AlreadyExists(key),
                    error => unwritten(error),
                })
            })
            .buffer_unordered(WRITES);
        let count = written
            .try_fold(0, async |sum: usize, _| Ok(sum + 1))
            .await?;
        self.unmark(marker).await?;
        Ok(count)
    }

    async fn mark(&self) -> Result<ResourceVersion, RestoreError> {
        let (key, value) = MARKER;
        let value = Bytes::from_static(value.as_bytes());
        match self.backend.put(key, value, Expect::Absent).await {
            Ok(version) => Ok(version),
            Err(BackendError::Unexpected { .. }) => Err(RestoreError::Unfinished),
            Err(error) => Err(unwritten(error).into()),
        }
    }

    async fn unmark(&self, marker: ResourceVersion) -> Result<(), RestoreError> {
        let removed = self.backend.remove(MARKER.0, Expect::At(marker)).await;
        removed.map(|_| ()).map_err(|error| unwritten(error).into())
    }
}

pub(super) fn unwritten(error: BackendError) -> StoreError {
    StoreError::io("the store cannot be written", error)
}
