//! What is stored now and what was written lately, in memory: what the backends of a single
//! process share.
//!
//! Readers and watchers only ever see a [`Table`], and a write enters it only once it is durable.
//! So nobody can act on something that a crash takes back, or hold a version that a later write
//! gets again.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    sync::Arc,
};

use bytes::Bytes;

use super::{
    backend::{BackendError, Change, Entry, Expect, Range},
    history::{History, Shared},
    seal::Seal,
};
use crate::types::meta::ResourceVersion;

/// A write that is asked for.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) key: String,
    pub(super) value: Option<Bytes>,
    pub(super) expect: Expect,
}

/// The present values and the latest changes.
///
/// Every version is exactly one change, so the changes in `history` have consecutive versions.
#[derive(Debug)]
pub(super) struct Table {
    entries: BTreeMap<String, Entry>,
    history: History,
}

impl Table {
    pub(super) fn new(keep: usize) -> Self {
        Self::restored(keep, BTreeMap::new(), VecDeque::new(), 0)
    }

    /// A table as it was left. Of `changes`, which are in order, what does not reach up to
    /// `version` without a gap is forgotten.
    pub(super) fn restored(
        keep: usize,
        entries: BTreeMap<String, Entry>,
        mut changes: VecDeque<Arc<Change>>,
        version: u64,
    ) -> Self {
        let unbroken = (0..=version)
            .rev()
            .zip(changes.iter().rev())
            .take_while(|(version, change)| change.version.0 == *version)
            .count();
        changes.drain(..changes.len() - unbroken.min(keep));
        date(&mut changes);
        let mut history = History::after(version - changes.len() as u64, keep);
        changes.into_iter().for_each(|change| history.push(change));
        Self { entries, history }
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
        self.history.reached()
    }

    /// Lets a durable change be seen.
    fn publish(&mut self, change: Arc<Change>) {
        assert_eq!(
            change.version.0,
            self.version().0 + 1,
            "versions are consecutive"
        );
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
        self.history.push(change);
    }
}

/// Tells changes when the value before them was written, where the changes before them know.
fn date(changes: &mut VecDeque<Arc<Change>>) {
    let mut written = HashMap::<String, ResourceVersion>::new();
    for change in changes {
        let before = written.insert(change.key.clone(), change.version);
        if change.previous.is_some() && change.previous_version.is_none() {
            Arc::make_mut(change).previous_version = before;
        }
    }
}

impl AsRef<History> for Table {
    fn as_ref(&self) -> &History {
        &self.history
    }
}

impl Shared<Table> {
    /// Lets durable changes be seen, and wakes whoever watches.
    pub(super) fn publish(&self, changes: Vec<Arc<Change>>) {
        self.change(|table| {
            for change in changes {
                table.publish(change);
            }
        });
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
        let version = ResourceVersion(self.table.version().0 + 1 + self.changes.len() as u64);
        let head = write.value.clone().map(|value| Entry { value, version });
        self.heads.insert(write.key.clone(), head);
        self.changes.push(Arc::new(Change {
            key: write.key,
            version,
            value: write.value,
            previous_version: present.as_ref().map(|entry| entry.version),
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
