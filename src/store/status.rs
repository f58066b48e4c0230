//! A status written over the one that was read, with the rest of the record as it is.
//!
//! The controller writes a status for each step of each machine. To read a whole stack for that, make a
//! tree of it, compare it and write all of it anew would cost more than what it decides.

use super::{
    Store,
    backend::{BackendError, Expect},
    error::StoreError,
    path, record, rules, unread, unwritten,
};
use crate::types::meta::{Object, ObjectMeta, Resource};

impl Store {
    /// Writes the status of an object over the one it had at its `resourceVersion`, or not at all,
    /// and gives the metadata it has since. The rest of it is neither read nor written anew, and a
    /// status that says the same is written as well: whoever has the object can tell.
    ///
    /// # Errors
    /// As for [`Self::update_status`].
    pub async fn put_status<T: Resource>(&self, typed: &T) -> Result<ObjectMeta, StoreError> {
        let key = typed.key();
        let path = path(&key);
        let entry = self.backend.get(&path).await.map_err(unread)?;
        let entry = entry.ok_or_else(|| StoreError::NotFound(key.clone()))?;
        let outline = record::Outline::of(&entry.value, entry.version);
        let (Some(outline), Some(status)) = (outline, record::status_of(typed)) else {
            return Ok(self.update_status(Object::encode(typed)).await?.metadata);
        };
        rules::same_object(&outline.metadata, typed.meta(), &key)?;
        let mut metadata = outline.metadata.clone();
        let value = outline.with_status(&status);
        let written = self.backend.put(&path, value, Expect::At(entry.version));
        let version = written.await.map_err(|error| match error {
            BackendError::Unexpected { .. } => {
                StoreError::conflict(&key, "another write came in between")
            }
            error => unwritten(error),
        })?;
        metadata.resource_version = version.to_string();
        Ok(metadata)
    }
}
