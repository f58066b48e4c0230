//! What is stored now and what was written lately, in memory: the part that backends share.
//!
//! Readers and watchers only ever see a [`Table`], and a write enters it only once it is durable.
//! So nobody can act on something that a crash takes back, or hold a version that a later write
//! gets again. The history is also every watcher's buffer: a watcher is a position in it, costs a
//! writer nothing, and has expired once the history has moved past its position.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use futures_util::{StreamExt, stream};
use tokio::sync::watch;

use super::{
    backend::{BackendError, Change, Changes, Entry, Expect, Range},
    seal::Seal,
};
use crate::types::meta::ResourceVersion;

/// Changes that a watcher takes out of the history at a time: enough to make a turn of the lock
/// worth it, few enough that a slow watcher does not pin much of what the history has dropped.
const BATCH: usize = 64;

/// A write that is asked for.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) key: String,
    pub(super) value: Option<Bytes>,
    pub(super) expect: Expect,
}

/// The present values and the latest changes.
///
/// Every version is exactly one change, so the changes in `history` have consecutive versions and
/// the last one has `version`.
#[derive(Debug)]
pub(super) struct Table {
    entries: BTreeMap<String, Entry>,
    history: VecDeque<Arc<Change>>,
    version: u64,
    keep: usize,
}

impl Table {
    pub(super) fn new(keep: usize) -> Self {
        Self::restored(keep, BTreeMap::new(), VecDeque::new(), 0)
    }

    /// A table as it was left. Of `history`, which is in order, what does not reach up to
    /// `version` without a gap is forgotten.
    pub(super) fn restored(
        keep: usize,
        entries: BTreeMap<String, Entry>,
        mut history: VecDeque<Arc<Change>>,
        version: u64,
    ) -> Self {
        let unbroken = (0..=version)
            .rev()
            .zip(history.iter().rev())
            .take_while(|(version, change)| change.version.0 == *version)
            .count();
        history.drain(..history.len() - unbroken.min(keep));
        Self {
            entries,
            history,
            version,
            keep,
        }
    }

    pub(super) fn get(&self, key: &str) -> Option<Entry> {
        self.entries.get(key).cloned()
    }

    pub(super) fn range(&self, prefix: &str) -> Range {
        let entries = self
            .entries
            .range(prefix.to_owned()..)
            .take_while(|(key, _)| key.starts_with(prefix))
            .map(|(key, entry)| (key.clone(), entry.clone()))
            .collect();
        Range {
            entries,
            version: self.version(),
        }
    }

    pub(super) fn version(&self) -> ResourceVersion {
        ResourceVersion(self.version)
    }

    /// The oldest version from which a watch misses nothing.
    pub(super) fn oldest(&self) -> ResourceVersion {
        ResourceVersion(self.version - self.history.len() as u64)
    }

    /// Lets a durable change be seen.
    fn publish(&mut self, change: Arc<Change>) {
        assert_eq!(
            change.version.0,
            self.version + 1,
            "versions are consecutive"
        );
        self.version += 1;
        match &change.value {
            Some(value) => {
                let entry = Entry {
                    value: value.clone(),
                    version: change.version,
                };
                self.entries.insert(change.key.clone(), entry);
            }
            None => {
                self.entries.remove(&change.key);
            }
        }
        self.history.push_back(change);
        while self.history.len() > self.keep {
            self.history.pop_front();
        }
    }

    /// Changes under `prefix` after the version `after`, at most [`BATCH`], and how far that goes.
    fn changes(
        &self,
        prefix: &str,
        after: u64,
    ) -> Result<(VecDeque<Arc<Change>>, u64), BackendError> {
        let oldest = self.oldest();
        if after < oldest.0 {
            return Err(BackendError::Expired { oldest });
        }
        let skip = usize::try_from(after - oldest.0).unwrap_or(usize::MAX);
        let found: VecDeque<_> = self
            .history
            .iter()
            .skip(skip)
            .filter(|change| change.key.starts_with(prefix))
            .take(BATCH)
            .cloned()
            .collect();
        let reached = match found.back() {
            Some(last) if found.len() == BATCH => last.version.0,
            _ => self.version.max(after),
        };
        Ok((found, reached))
    }
}

/// A group of writes that become durable together, before anybody sees one of them.
pub(super) struct Group<'a> {
    table: &'a Table,
    heads: HashMap<String, Option<Entry>>,
    pub(super) changes: Vec<Arc<Change>>,
}

impl<'a> Group<'a> {
    pub(super) fn new(table: &'a Table) -> Self {
        Self {
            table,
            heads: HashMap::new(),
            changes: Vec::new(),
        }
    }

    /// Adds a write, decided on the table and the writes of the group before it.
    ///
    /// # Errors
    /// [`BackendError::Unexpected`]; the group is as it was.
    pub(super) fn add(&mut self, write: Write) -> Result<ResourceVersion, BackendError> {
        let present = match self.heads.get(&write.key) {
            Some(head) => head.clone(),
            None => self.table.get(&write.key),
        };
        let found = present.as_ref().map(|entry| entry.version);
        let met = match write.expect {
            Expect::Absent => found.is_none(),
            Expect::At(version) => found == Some(version),
            Expect::Any => true,
        };
        let removes_nothing = write.value.is_none() && found.is_none();
        if !met || removes_nothing {
            return Err(BackendError::Unexpected { found });
        }
        let version = ResourceVersion(self.table.version + 1 + self.changes.len() as u64);
        let head = write.value.clone().map(|value| Entry { value, version });
        self.heads.insert(write.key.clone(), head);
        self.changes.push(Arc::new(Change {
            key: write.key,
            version,
            value: write.value,
            previous: present.map(|entry| entry.value),
        }));
        Ok(version)
    }

    /// The seal over what will be there after the group, from that over what is there now.
    pub(super) fn sealed(&self, seal: Seal) -> Seal {
        self.heads.iter().fold(seal, |mut seal, (key, head)| {
            if let Some(present) = self.table.entries.get(key) {
                seal = seal.without(key, present.version);
            }
            match head {
                Some(head) => seal.with(key, head.version),
                None => seal,
            }
        })
    }
}

/// A table that many tasks share.
#[derive(Debug)]
pub(super) struct Shared {
    /// Held for lookups and insertions only, never while anything is written to a disk.
    table: Arc<Mutex<Table>>,
    /// Wakes the watchers; they end when it is dropped.
    latest: watch::Sender<u64>,
}

impl Shared {
    pub(super) fn new(table: Table) -> Self {
        let (latest, _) = watch::channel(table.version);
        Self {
            table: Arc::new(Mutex::new(table)),
            latest,
        }
    }

    pub(super) fn table(&self) -> MutexGuard<'_, Table> {
        lock(&self.table)
    }

    /// Lets durable changes be seen, and wakes whoever watches.
    pub(super) fn publish(&self, changes: Vec<Arc<Change>>) {
        let mut table = self.table();
        for change in changes {
            table.publish(change);
        }
        let version = table.version;
        drop(table);
        self.latest.send_replace(version);
    }

    pub(super) fn watch(
        &self,
        prefix: &str,
        from: ResourceVersion,
    ) -> Result<Changes, BackendError> {
        let oldest = self.table().oldest();
        if from < oldest {
            return Err(BackendError::Expired { oldest });
        }
        let position = Position {
            table: self.table.clone(),
            latest: self.latest.subscribe(),
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

/// How far one watcher has read. It holds the table but not the backend, so that a forgotten
/// watch keeps no database open.
struct Position {
    table: Arc<Mutex<Table>>,
    latest: watch::Receiver<u64>,
    prefix: String,
    after: u64,
    ready: VecDeque<Arc<Change>>,
    over: bool,
}

impl Position {
    async fn next(&mut self) -> Option<Result<Arc<Change>, BackendError>> {
        while !self.over {
            if let Some(change) = self.ready.pop_front() {
                return Some(Ok(change));
            }
            // Marked as seen before the table is read: a write in between wakes us again.
            self.latest.borrow_and_update();
            match lock(&self.table).changes(&self.prefix, self.after) {
                Ok((ready, reached)) => (self.ready, self.after) = (ready, reached),
                Err(expired) => {
                    self.over = true;
                    return Some(Err(expired));
                }
            }
            if self.ready.is_empty() {
                self.over = self.latest.changed().await.is_err();
            }
        }
        None
    }
}

fn lock(table: &Mutex<Table>) -> MutexGuard<'_, Table> {
    table
        .lock()
        .expect("a thread that panicked with the table in hand has broken an invariant")
}
