//! What was written lately, and whoever follows it: what all backends share.
//!
//! The history is every watcher's buffer: a watcher is a position in it, costs a writer nothing, and
//! has expired once the history has moved past its position. Where the changes come from is the
//! backend's business: its own writes, or what it hears of everybody's.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, MutexGuard},
};

use futures_util::{StreamExt, stream};
use tokio::{sync::watch, task::unconstrained};

use super::backend::{BackendError, Change, Changes};
use crate::types::meta::ResourceVersion;

/// Changes that a watcher takes out of the history at a time: enough to make a turn of the lock
/// worth it, few enough that a slow watcher does not pin much of what the history has dropped.
const BATCH: usize = 64;

/// The latest changes, in the order of their versions, and up to which version that is all.
///
/// A version may be missing: it was a write that is none of ours. Two changes may have the same
/// version where one transaction wrote both; they are told together.
#[derive(Debug)]
pub(super) struct History {
    changes: VecDeque<Arc<Change>>,
    oldest: u64,
    reached: u64,
    keep: usize,
}

impl History {
    /// A history of at most `keep` changes that begins after `version`.
    pub(super) const fn after(version: u64, keep: usize) -> Self {
        Self {
            changes: VecDeque::new(),
            oldest: version,
            reached: version,
            keep,
        }
    }

    /// The oldest version from which a watch misses nothing.
    pub(super) const fn oldest(&self) -> ResourceVersion {
        ResourceVersion(self.oldest)
    }

    /// The version up to which this is all that was written.
    pub(super) const fn reached(&self) -> ResourceVersion {
        ResourceVersion(self.reached)
    }

    /// Adds a change, and forgets the oldest one where there are too many.
    pub(super) fn push(&mut self, change: Arc<Change>) {
        let last = self.changes.back().map(|last| last.version.0);
        assert!(
            change.version.0 > self.reached || last == Some(change.version.0),
            "changes come in the order of their versions: {} after {}",
            change.version,
            self.reached
        );
        self.reached = change.version.0;
        self.changes.push_back(change);
        while self.changes.len() > self.keep {
            let Some(forgotten) = self.changes.pop_front() else {
                break;
            };
            self.oldest = forgotten.version.0;
        }
    }

    /// Nothing else was written up to `version`.
    pub(super) const fn reach(&mut self, version: u64) {
        if version > self.reached {
            self.reached = version;
        }
    }

    /// Forgets everything: what was written up to `version` is no longer known.
    pub(super) fn restart(&mut self, version: u64) {
        *self = Self::after(version.max(self.reached), self.keep);
    }

    /// Changes under `prefix` after the version `after`, about [`BATCH`] of them at most, and how
    /// far that goes.
    fn changes(
        &self,
        prefix: &str,
        after: u64,
    ) -> Result<(VecDeque<Arc<Change>>, u64), BackendError> {
        if after < self.oldest {
            return Err(BackendError::Expired {
                oldest: self.oldest(),
            });
        }
        let skip = self.changes.partition_point(|c| c.version.0 <= after);
        let mut found = VecDeque::new();
        for change in self.changes.iter().skip(skip) {
            match found.back() {
                Some(last) if found.len() >= BATCH && version(last) != version(change) => {
                    return Ok((found.clone(), version(last)));
                }
                _ if change.key.starts_with(prefix) => found.push_back(Arc::clone(change)),
                _ => {}
            }
        }
        Ok((found, self.reached.max(after)))
    }
}

impl AsRef<Self> for History {
    fn as_ref(&self) -> &Self {
        self
    }
}

fn version(change: &Arc<Change>) -> u64 {
    change.version.0
}

/// A history, and what goes with it, that many tasks share.
#[derive(Debug)]
pub(super) struct Shared<T> {
    /// Held for lookups and insertions only, never while anything is written or waited for.
    state: Arc<Mutex<T>>,
    /// Wakes the watchers; they end when it is dropped.
    reached: watch::Sender<u64>,
}

impl<T: AsRef<History> + Send + 'static> Shared<T> {
    pub(super) fn new(state: T) -> Self {
        let (reached, _) = watch::channel(state.as_ref().reached);
        Self {
            state: Arc::new(Mutex::new(state)),
            reached,
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, T> {
        lock(&self.state)
    }

    /// Changes the state, and wakes whoever watches: while nobody sees the state, so that whoever
    /// does finds every watch awake.
    pub(super) fn change(&self, change: impl FnOnce(&mut T)) {
        let mut state = self.lock();
        change(&mut state);
        self.reached.send_replace(state.as_ref().reached);
    }

    /// How far the history goes, to be waited for.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.reached.subscribe()
    }

    pub(super) fn watch(
        &self,
        prefix: &str,
        from: ResourceVersion,
    ) -> Result<Changes, BackendError> {
        let oldest = self.lock().as_ref().oldest();
        if from < oldest {
            return Err(BackendError::Expired { oldest });
        }
        let position = Position {
            state: self.state.clone(),
            reached: self.reached.subscribe(),
            prefix: prefix.to_owned(),
            after: from.0,
            ready: VecDeque::new(),
            over: false,
        };
        Ok(stream::unfold(position, async |mut position| {
            let item = position.next().await?;
            Some((item, position))
        })
        .boxed())
    }
}

/// How far one watcher has read. It holds the history but not the backend, so that a forgotten
/// watch keeps no database open.
struct Position<T> {
    state: Arc<Mutex<T>>,
    reached: watch::Receiver<u64>,
    prefix: String,
    after: u64,
    ready: VecDeque<Arc<Change>>,
    over: bool,
}

impl<T: AsRef<History>> Position<T> {
    async fn next(&mut self) -> Option<Result<Arc<Change>, BackendError>> {
        while !self.over {
            if let Some(change) = self.ready.pop_front() {
                return Some(Ok(change));
            }
            // Marked as seen before the history is read: a write in between wakes us again.
            self.reached.borrow_and_update();
            let read = lock(&self.state).as_ref().changes(&self.prefix, self.after);
            match read {
                Ok((ready, reached)) => (self.ready, self.after) = (ready, reached),
                Err(expired) => {
                    self.over = true;
                    return Some(Err(expired));
                }
            }
            if self.ready.is_empty() {
                // A task that has done much before it yields is told "not yet" by tokio's own
                // signals, whatever is there: but what is written is ready.
                self.over = unconstrained(self.reached.changed()).await.is_err();
            }
        }
        None
    }
}

fn lock<T>(state: &Mutex<T>) -> MutexGuard<'_, T> {
    state
        .lock()
        .expect("a thread that panicked with the history in hand has broken an invariant")
}

#[cfg(test)]
mod tests {
    use std::task::{Context, Wake};

    use futures_util::FutureExt;

    use super::*;

    fn change(key: &str, version: u64) -> Arc<Change> {
        Arc::new(Change {
            key: key.to_owned(),
            version: ResourceVersion(version),
            value: None,
            previous: None,
            previous_version: None,
        })
    }

    fn versions(history: &History, after: u64) -> (Vec<u64>, u64) {
        let (changes, reached) = history.changes("a/", after).unwrap();
        (changes.iter().map(version).collect(), reached)
    }

    /// What a watch has ready, up to a version.
    fn ready(changes: &mut Changes, version: u64) -> Result<(), u64> {
        let mut seen = 0;
        while seen < version {
            match changes.next().now_or_never() {
                Some(change) => seen = change.unwrap().unwrap().version.0,
                None => return Err(seen),
            }
        }
        Ok(())
    }

    /// Notes whether the history could be seen when a watch was woken.
    struct Waking {
        state: Arc<Mutex<History>>,
        seen: Mutex<Vec<bool>>,
    }

    impl Wake for Waking {
        fn wake(self: Arc<Self>) {
            lock(&self.seen).push(self.state.try_lock().is_ok());
        }
    }

    #[test]
    fn a_watch_is_awake_before_anybody_sees_a_change() {
        let shared = Shared::new(History::after(0, 8));
        let mut watch = shared.watch("a/", ResourceVersion(0)).unwrap();
        let waking = Arc::new(Waking {
            state: Arc::clone(&shared.state),
            seen: Mutex::default(),
        });
        let waker = Arc::clone(&waking).into();
        let mut context = Context::from_waker(&waker);
        assert!(watch.poll_next_unpin(&mut context).is_pending());
        shared.change(|history| history.push(change("a/1", 1)));
        assert_eq!(*lock(&waking.seen), [false]);
        assert_eq!(ready(&mut watch, 1), Ok(()));
    }

    #[tokio::test]
    async fn a_task_that_has_done_much_finds_its_watch_ready() {
        let shared = Shared::new(History::after(0, 8));
        let mut watch = shared.watch("a/", ResourceVersion(0)).unwrap();
        assert_eq!(ready(&mut watch, 1), Err(0));
        shared.change(|history| history.push(change("a/1", 1)));
        while tokio::task::coop::has_budget_remaining() {
            tokio::task::coop::consume_budget().await;
        }
        assert_eq!(ready(&mut watch, 1), Ok(()));
    }

    #[test]
    fn versions_of_others_leave_gaps_in_which_a_watch_may_start() {
        let mut history = History::after(10, 8);
        history.push(change("a/1", 15));
        history.push(change("b/1", 17));
        history.push(change("a/2", 20));
        history.reach(30);
        assert_eq!(versions(&history, 10), (vec![15, 20], 30));
        assert_eq!(versions(&history, 16), (vec![20], 30));
        assert_eq!(versions(&history, 40), (vec![], 40));
        assert!(history.changes("a/", 9).is_err());
    }

    #[test]
    fn changes_of_one_version_are_told_together() {
        let mut history = History::after(0, 1_000);
        for version in 1..BATCH as u64 {
            history.push(change("a/1", version));
        }
        for _ in 0..3 {
            history.push(change("a/2", 100));
        }
        history.push(change("a/3", 101));
        let (first, reached) = versions(&history, 0);
        assert_eq!((first.len(), reached), (BATCH + 2, 100));
        assert_eq!(versions(&history, reached), (vec![101], 101));
    }

    #[test]
    fn a_history_that_lost_its_place_begins_anew() {
        let mut history = History::after(0, 8);
        history.push(change("a/1", 5));
        history.restart(9);
        assert_eq!(history.oldest(), ResourceVersion(9));
        assert_eq!(versions(&history, 9), (vec![], 9));
        assert!(history.changes("a/", 8).is_err());
    }
}
