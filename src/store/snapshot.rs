//! Lists as they were: what was written since is undone, as far as the history remembers it.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::{FutureExt, StreamExt};

use super::{
    Listing, Store,
    backend::{Entry, Range},
    error::StoreError,
    prefix, unread, watch,
};
use crate::types::meta::{Kind, ResourceVersion};

impl Store {
    /// All objects of a kind, or those in one namespace, as they were together at a version that
    /// this store has reached. Costs as much as a list and the changes since then.
    ///
    /// # Errors
    /// [`StoreError::Expired`]: the history does not tell any more what there was; list as it is
    /// now. [`StoreError::Io`].
    pub async fn list_at(
        &self,
        kind: Kind,
        namespace: Option<&str>,
        version: ResourceVersion,
    ) -> Result<Listing, StoreError> {
        let prefix = prefix(kind, namespace);
        let refused = |error| watch::failure(error, version);
        let mut changes = self.backend.watch(&prefix, version).map_err(refused)?;
        let range = self.backend.range(&prefix).await.map_err(unread)?;
        let mut entries: BTreeMap<String, Entry> = range.entries.into_iter().collect();
        // What was written up to the version that is told now is ready, and so all up to the list.
        self.backend.version().await.map_err(unread)?;
        let mut undone = BTreeSet::new();
        while let Some(Some(change)) = changes.next().now_or_never() {
            let change = change.map_err(refused)?;
            if change.version > range.version {
                break;
            }
            if !undone.insert(change.key.clone()) {
                continue;
            }
            let before = match (&change.previous, change.previous_version) {
                (None, _) => None,
                (Some(value), Some(version)) => Some(Entry {
                    value: value.clone(),
                    version,
                }),
                (Some(_), None) => {
                    return Err(StoreError::Expired {
                        from: version,
                        oldest: change.version,
                    });
                }
            };
            match before {
                Some(entry) => entries.insert(change.key.clone(), entry),
                None => entries.remove(&change.key),
            };
        }
        self.read_all(&Range {
            entries: entries.into_iter().collect(),
            version,
        })
    }
}
