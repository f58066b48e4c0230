//! A backend that keeps everything in memory and nothing after that: for tests and rehearsals.
//!
//! It never waits, so a test that holds the clock still stays in control of it. A clone of its
//! `Arc` outlives a store, and so plays the disk that outlives a crash.

use std::{
    future::ready,
    sync::{Mutex, PoisonError},
};

use bytes::Bytes;

use super::{
    HISTORY,
    backend::{Backend, BackendError, Changes, Entry, Expect, Range, Reply},
    history::Shared,
    table::{Group, Table, Write},
};
use crate::types::meta::ResourceVersion;

/// Keys and values in memory.
#[derive(Debug)]
pub struct Memory {
    shared: Shared<Table>,
    /// Held by the one write that is being decided.
    turn: Mutex<()>,
}

impl Memory {
    /// An empty backend that remembers the last `history` changes for watchers.
    #[must_use]
    pub fn new(history: usize) -> Self {
        Self::over(Table::new(history))
    }

    /// A backend that begins with what is in a table.
    pub(super) fn over(table: Table) -> Self {
        Self {
            shared: Shared::new(table),
            turn: Mutex::new(()),
        }
    }

    fn write(&self, write: Write) -> Result<ResourceVersion, BackendError> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let (version, changes) = {
            let table = self.shared.lock();
            let mut group = Group::new(&table);
            (group.add(write)?, group.changes)
        };
        self.shared.publish(changes);
        Ok(version)
    }
}

impl Default for Memory {
    fn default() -> Self {
        Self::new(HISTORY)
    }
}

impl Backend for Memory {
    fn get<'a>(&'a self, key: &'a str) -> Reply<'a, Option<Entry>> {
        Box::pin(ready(Ok(self.shared.lock().get(key))))
    }

    fn range<'a>(&'a self, prefix: &'a str) -> Reply<'a, Range> {
        Box::pin(ready(Ok(self.shared.lock().range(prefix))))
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, expect: Expect) -> Reply<'a, ResourceVersion> {
        Box::pin(ready(self.write(Write {
            key: key.to_owned(),
            value: Some(value),
            expect,
        })))
    }

    fn remove<'a>(&'a self, key: &'a str, expect: Expect) -> Reply<'a, ResourceVersion> {
        Box::pin(ready(self.write(Write {
            key: key.to_owned(),
            value: None,
            expect,
        })))
    }

    fn watch(&self, prefix: &str, from: ResourceVersion) -> Result<Changes, BackendError> {
        self.shared.watch(prefix, from)
    }

    fn version(&self) -> Reply<'_, ResourceVersion> {
        Box::pin(ready(Ok(self.shared.lock().version())))
    }
}
