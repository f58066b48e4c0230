//! Deleting an object that others belong to.

use super::{Changed, Deleted, Preconditions, Store, error::StoreError, rules};
use crate::types::meta::{Object, ObjectKey};

/// What becomes of what belongs to an object that is deleted. A finalizer says so, and whoever
/// collects dependents takes it off.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dependents {
    /// It goes after the object (`Background`).
    #[default]
    After,
    /// The object goes once it has gone (`Foreground`).
    Before,
    /// It stays, and belongs to nobody (`Orphan`).
    Kept,
}

/// Keeps an object until what belongs to it has gone; Kubernetes' word.
pub const FOREGROUND: &str = "foregroundDeletion";
/// Keeps an object until nothing belongs to it any more; Kubernetes' word.
pub const ORPHAN: &str = "orphan";

impl Dependents {
    const fn finalizer(self) -> Option<&'static str> {
        match self {
            Self::After => None,
            Self::Before => Some(FOREGROUND),
            Self::Kept => Some(ORPHAN),
        }
    }
}

impl Store {
    /// As [`Store::delete`], and says what becomes of what belongs to the object.
    ///
    /// # Errors
    /// As for [`Store::delete`].
    pub async fn delete_with(
        &self,
        key: &ObjectKey,
        preconditions: &Preconditions,
        dependents: Dependents,
    ) -> Result<Deleted, StoreError> {
        let now = self.clock.now();
        let hold = dependents.finalizer();
        let decide = |stored: &Object| rules::deleted(stored, preconditions, (now, hold), key);
        Ok(match self.change(key, decide).await? {
            Changed::Removed(object) => Deleted::Gone(object),
            Changed::Stored(object) => Deleted::Marked(object),
        })
    }
}
