//! A backend that keeps everything in memory and nothing after that: for tests and rehearsals.
//!
//! It never waits, so a test that holds the clock still stays in control of it. A clone of its
//! `Arc` outlives a store, and so plays the disk that outlives a crash; several controllers of one
//! process can share it, with leases that go by tokio's time, paused time included.

use std::{
    collections::BTreeMap,
    future::ready,
    sync::{Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::Instant;

use super::{
    HISTORY,
    backend::{Backend, BackendError, Changes, Entry, Expect, Range, Reply},
    history::Shared,
    lease::{Fence, LeaseId, Leases},
    table::{Group, Table, Write},
};
use crate::types::meta::ResourceVersion;

/// Keys and values in memory.
#[derive(Debug)]
pub struct Memory {
    shared: Shared<Table>,
    /// Held by the one write that is being decided.
    turn: Mutex<()>,
    leased: Mutex<Leased>,
}

/// Leases, and the names that are held by them.
#[derive(Debug, Default)]
struct Leased {
    /// The last number that was given to a lease or to a name that was made.
    last: u32,
    leases: BTreeMap<LeaseId, Lease>,
    names: BTreeMap<String, Held>,
}

#[derive(Debug)]
struct Lease {
    /// For how long a renewal holds.
    time: Duration,
    /// When it ends unless it is renewed.
    until: Instant,
}

#[derive(Debug)]
struct Held {
    value: Bytes,
    by: LeaseId,
    created: u64,
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
            leased: Mutex::default(),
        }
    }

    /// The leases that live now, and what hangs on them.
    fn leased(&self) -> MutexGuard<'_, Leased> {
        let mut leased = self.leased.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        leased.keep(|lease| lease.until > now);
        leased
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

impl Leased {
    /// Ends every lease but those that are to be kept, and what hangs on it.
    fn keep(&mut self, mut keep: impl FnMut(&Lease) -> bool) {
        self.leases.retain(|_, lease| keep(lease));
        let leases = &self.leases;
        self.names.retain(|_, held| leases.contains_key(&held.by));
    }

    fn next(&mut self) -> u32 {
        self.last += 1;
        self.last
    }

    fn grant(&mut self, time: Duration) -> LeaseId {
        let id = LeaseId(self.next().into());
        let time = Duration::from_secs(time.as_secs().max(1));
        let until = Instant::now() + time;
        self.leases.insert(id, Lease { time, until });
        id
    }

    fn renew(&mut self, id: LeaseId) -> Option<Duration> {
        let lease = self.leases.get_mut(&id)?;
        lease.until = Instant::now() + lease.time;
        Some(lease.time)
    }

    fn revoke(&mut self, id: LeaseId) {
        self.leases.remove(&id);
        self.keep(|_| true);
    }

    fn hold(
        &mut self,
        name: &str,
        value: Bytes,
        by: LeaseId,
    ) -> Result<Option<Fence>, BackendError> {
        if !self.leases.contains_key(&by) {
            return Err(BackendError::failed("the lease is over"));
        }
        if self.names.contains_key(name) {
            return Ok(None);
        }
        let (name, created) = (name.to_owned(), self.next().into());
        let held = Held { value, by, created };
        self.names.insert(name.clone(), held);
        Ok(Some(Fence { name, created }))
    }

    fn stands(&self, fence: &Fence) -> bool {
        let held = self.names.get(&fence.name);
        held.is_some_and(|held| held.created == fence.created)
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

impl Leases for Memory {
    fn grant(&self, time: Duration) -> Reply<'_, LeaseId> {
        Box::pin(ready(Ok(self.leased().grant(time))))
    }

    fn renew(&self, lease: LeaseId) -> Reply<'_, Option<Duration>> {
        Box::pin(ready(Ok(self.leased().renew(lease))))
    }

    fn revoke(&self, lease: LeaseId) -> Reply<'_, ()> {
        self.leased().revoke(lease);
        Box::pin(ready(Ok(())))
    }

    fn hold<'a>(&'a self, name: &'a str, value: Bytes, lease: LeaseId) -> Reply<'a, Option<Fence>> {
        Box::pin(ready(self.leased().hold(name, value, lease)))
    }

    fn holder<'a>(&'a self, name: &'a str) -> Reply<'a, Option<Bytes>> {
        let leased = self.leased();
        let value = leased.names.get(name).map(|held| held.value.clone());
        Box::pin(ready(Ok(value)))
    }

    fn stands<'a>(&'a self, fence: &'a Fence) -> Reply<'a, bool> {
        Box::pin(ready(Ok(self.leased().stands(fence))))
    }

    fn write_behind<'a>(
        &'a self,
        fence: &'a Fence,
        key: &'a str,
        value: Option<Bytes>,
        expect: Expect,
    ) -> Reply<'a, ResourceVersion> {
        // Held until it is written: nobody else can come to hold the name in between.
        let leased = self.leased();
        let written = if leased.stands(fence) {
            let key = key.to_owned();
            self.write(Write { key, value, expect })
        } else {
            Err(BackendError::Fenced)
        };
        drop(leased);
        Box::pin(ready(written))
    }
}
