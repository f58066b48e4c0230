//! Following what is written, object by object.

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_util::{Stream, StreamExt};

use super::{
    backend::{BackendError, Change, Changes},
    error::StoreError,
    keys::Keys,
    record,
};
use crate::types::meta::{Object, ResourceVersion};

/// The events after some version: each once, in order, without a gap.
///
/// It ends when the store is closed, or when its reader was so slow that the history no longer
/// holds what comes next. [`Watch::next`] is for loops that list again in both cases; as a
/// `Stream`, a watch yields the error as its last item.
pub struct Watch {
    changes: Changes,
    keys: Option<Arc<Keys>>,
    reached: ResourceVersion,
    ended: Option<StoreError>,
    over: bool,
}

/// What happened to an object.
#[derive(Clone, Debug)]
pub struct WatchEvent {
    /// Whether it came, changed or went.
    pub kind: ChangeKind,
    /// The object as it is since; of a deleted one, its last state. Its `resourceVersion` is
    /// [`Self::version`], also when it was deleted.
    pub object: Object,
    /// The version of the write.
    pub version: ResourceVersion,
    change: Arc<Change>,
    keys: Option<Arc<Keys>>,
}

impl WatchEvent {
    /// The object as it was before, unless it was added. Who watches a selection needs it to tell
    /// whether the object was in it. Its `resourceVersion` is [`Self::version`], which is what
    /// Kubernetes sends with an object that leaves a selection.
    ///
    /// # Errors
    /// [`StoreError::Io`] where the record cannot be read.
    pub fn previous(&self) -> Result<Option<Object>, StoreError> {
        let path = &self.change.key;
        let previous = self.change.previous.as_ref();
        previous
            .map(|record| record::read(path, record, self.version, self.keys.as_deref()))
            .transpose()
    }
}

impl PartialEq for WatchEvent {
    fn eq(&self, other: &Self) -> bool {
        let parts = |event: &Self| (event.kind, event.version, Arc::clone(&event.change));
        parts(self) == parts(other) && self.object == other.object
    }
}

/// How an object changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChangeKind {
    /// It was created.
    Added,
    /// It was written again.
    Modified,
    /// It is gone.
    Deleted,
}

impl Watch {
    pub(super) fn new(changes: Changes, from: ResourceVersion, keys: Option<Arc<Keys>>) -> Self {
        Self {
            changes,
            keys,
            reached: from,
            ended: None,
            over: false,
        }
    }

    /// The next event; waits for one. `None` when the watch has ended, and [`Self::ended`] tells
    /// why: list again, and watch from the version of the list.
    ///
    /// Cancel-safe: an event is not lost when the future is dropped.
    pub async fn next(&mut self) -> Option<WatchEvent> {
        match StreamExt::next(self).await? {
            Ok(event) => Some(event),
            Err(error) => {
                self.ended = Some(error);
                None
            }
        }
    }

    /// Why [`Self::next`] ended: [`StoreError::Expired`] where the reader was too slow, nothing
    /// where the store was closed.
    #[must_use]
    pub const fn ended(&self) -> Option<&StoreError> {
        self.ended.as_ref()
    }
}

impl Stream for Watch {
    type Item = Result<WatchEvent, StoreError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        if self.over {
            return Poll::Ready(None);
        }
        let Some(change) = ready!(self.changes.poll_next_unpin(cx)) else {
            self.over = true;
            return Poll::Ready(None);
        };
        let event = match change {
            Ok(change) => event(change, self.keys.clone()),
            Err(error) => Err(failure(error, self.reached)),
        };
        match &event {
            Ok(event) => self.reached = event.version,
            Err(_) => self.over = true,
        }
        Poll::Ready(Some(event))
    }
}

impl std::fmt::Debug for Watch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Watch")
            .field("reached", &self.reached)
            .field("ended", &self.ended)
            .finish_non_exhaustive()
    }
}

/// A backend's refusal to watch, in the store's words.
pub(super) fn failure(error: BackendError, from: ResourceVersion) -> StoreError {
    match error {
        BackendError::Expired { oldest } => StoreError::Expired { from, oldest },
        error => StoreError::io("the store cannot be watched", error),
    }
}

fn event(change: Arc<Change>, keys: Option<Arc<Keys>>) -> Result<WatchEvent, StoreError> {
    let (kind, record) = match (&change.value, &change.previous) {
        (Some(value), None) => (ChangeKind::Added, value),
        (Some(value), Some(_)) => (ChangeKind::Modified, value),
        (None, Some(last)) => (ChangeKind::Deleted, last),
        (None, None) => unreachable!("a backend removes only what is there"),
    };
    Ok(WatchEvent {
        kind,
        object: record::read(&change.key, record, change.version, keys.as_deref())?,
        version: change.version,
        change,
        keys,
    })
}
