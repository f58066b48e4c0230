//! The backend that a single controller uses: sled, with every write on the disk before it counts.
//!
//! sled keeps `o` + key → version and value, `h` + version → the change, and `v` → the version of
//! the last write and a [`Seal`] over all objects. A group of writes is one sled batch, which a
//! crash leaves done or not done, followed by one flush that all of its writers wait for (group
//! commit). Reads are served from a [`Table`] that the group enters only after the flush.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    fs::File,
    future::ready,
    path::Path,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use bytes::{Buf, BufMut, Bytes};
use sled::Batch;
use tokio::{sync::oneshot, task::spawn_blocking};

use super::{
    backend::{Backend, BackendError, Change, Changes, Entry, Expect, Range, Reply},
    blobs::Blobs,
    history::Shared,
    seal::Seal,
    table::{Group, Table, Write},
};
use crate::types::meta::ResourceVersion;

/// sled's own cache. Small, because reads are served from memory without it.
const CACHE_BYTES: u64 = 16 << 20;

/// The layout of a change in the history; the first byte of its value.
const CHANGE_FORMAT: u8 = 1;

const OBJECT: u8 = b'o';
const HISTORY: u8 = b'h';
const VERSION: [u8; 1] = [b'v'];

/// Keys and values in a folder. Cheap to clone; the folder is free again once every clone is gone.
#[derive(Clone)]
pub struct Disk {
    inner: Arc<Inner>,
}

struct Inner {
    db: sled::Db,
    /// sled's data file, once more: sled's flush hands the pages to the kernel's write-out
    /// (`sync_file_range`), which does not empty the drive's own cache. `fdatasync` does.
    file: File,
    shared: Shared<Table>,
    history: usize,
    /// Writes that wait for their turn. Each has a thread of tokio's blocking pool, which bounds
    /// their number (512 by default).
    queue: Mutex<Vec<Queued>>,
    /// Held by the thread that writes a group, across the flush; tasks never touch it.
    turn: Mutex<Turn>,
}

struct Queued {
    write: Write,
    answer: oneshot::Sender<Answer>,
}

type Answer = Result<ResourceVersion, BackendError>;

/// What the thread needs that writes.
struct Turn {
    /// Why sled may no longer be written to. A batch or a flush failed: sled's memory and the disk
    /// may differ, and no later flush could tell. Only a restart, which reads the disk again, gets
    /// out of this.
    broken: Option<String>,
    /// Over what the table holds.
    seal: Seal,
    blobs: Blobs,
}

impl Disk {
    /// Makes a database in the folder `path`, whose versions begin after `version`, or finishes one
    /// that a crash left half-made.
    pub(super) fn create(path: &Path, history: usize, version: u64) -> Result<Self, OpenFailure> {
        let db = open_sled(path)?;
        if db.is_empty() {
            let counter = written_version(ResourceVersion(version), Seal::default());
            db.insert(VERSION, counter)?;
            db.flush()?;
        }
        Self::over(db, path, history)
    }

    /// Opens the database in the folder `path` and remembers the last `history` changes for
    /// watchers.
    pub(super) fn open(path: &Path, history: usize) -> Result<Self, OpenFailure> {
        Self::over(open_sled(path)?, path, history)
    }

    /// What is in the database in the folder `path`. sled may change the folder.
    pub(super) fn contents(path: &Path) -> Result<Table, OpenFailure> {
        load(&open_sled(path)?, 0).map(|(table, _)| table)
    }

    fn over(db: sled::Db, path: &Path, history: usize) -> Result<Self, OpenFailure> {
        trim(&db, history)?;
        let (table, seal) = load(&db, history)?;
        let file = File::open(path.join("db")).map_err(sled::Error::from)?;
        let mut blobs = Blobs::of(path);
        // A process that was killed may have left what no drive has yet: it is to be seen only
        // once a power loss cannot take it back.
        blobs.sync().map_err(sled::Error::from)?;
        file.sync_data().map_err(sled::Error::from)?;
        let inner = Inner {
            db,
            file,
            shared: Shared::new(table),
            history,
            queue: Mutex::new(Vec::new()),
            turn: Mutex::new(Turn {
                broken: None,
                seal,
                blobs,
            }),
        };
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    fn write(&self, key: &str, value: Option<Bytes>, expect: Expect) -> Reply<'_, ResourceVersion> {
        let key = key.to_owned();
        let write = Write { key, value, expect };
        let inner = self.inner.clone();
        Box::pin(async move {
            spawn_blocking(move || inner.commit(write))
                .await
                .map_err(BackendError::failed)?
        })
    }
}

impl Inner {
    /// Writes, in a group with whatever else is waiting. Blocks until the write is on the disk.
    ///
    /// Whoever gets the turn writes for everybody; the others find their answer when the turn
    /// comes to them.
    fn commit(&self, write: Write) -> Answer {
        let (answer, mut answered) = oneshot::channel();
        lock(&self.queue).push(Queued { write, answer });
        let mut turn = lock(&self.turn);
        if let Ok(answer) = answered.try_recv() {
            return answer;
        }
        let queued = std::mem::take(&mut *lock(&self.queue));
        self.commit_group(queued, &mut turn);
        answered
            .try_recv()
            .expect("our own write was queued, and the group answered each of its writes")
    }

    fn commit_group(&self, queued: Vec<Queued>, turn: &mut Turn) {
        if let Some(why) = &turn.broken {
            for Queued { answer, .. } in queued {
                let _ = answer.send(Err(BackendError::failed(why.clone())));
            }
            return;
        }
        let (answers, changes, seal) = self.decide(queued, turn.seal);
        if let Err(error) = self.persist(&changes, seal, &mut turn.blobs) {
            let why = format!(
                "a write failed ({}): make room on its disk or mend it, then restart Weir",
                told(&error)
            );
            for (answer, decided) in answers {
                let _ = answer.send(decided.and(Err(BackendError::failed(why.clone()))));
            }
            turn.broken = Some(why);
            return;
        }
        turn.seal = seal;
        self.shared.publish(changes);
        for (answer, decided) in answers {
            let _ = answer.send(decided);
        }
    }

    fn decide(&self, queued: Vec<Queued>, seal: Seal) -> (Vec<Decided>, Vec<Arc<Change>>, Seal) {
        let table = self.shared.lock();
        let mut group = Group::new(&table);
        let answers = queued
            .into_iter()
            .map(|Queued { write, answer }| (answer, group.add(write)))
            .collect();
        let seal = group.sealed(seal);
        (answers, group.changes, seal)
    }

    /// Puts changes on the disk, together, and forgets as many old ones as they are.
    fn persist(
        &self,
        changes: &[Arc<Change>],
        seal: Seal,
        blobs: &mut Blobs,
    ) -> Result<(), sled::Error> {
        let Some(last) = changes.last() else {
            return Ok(());
        };
        let mut batch = Batch::default();
        for change in changes {
            match &change.value {
                Some(value) => batch.insert(object_key(&change.key), entry(change.version, value)),
                None => batch.remove(object_key(&change.key)),
            }
            batch.insert(&history_key(change.version.0), written_change(change));
            if let Some(old) = change.version.0.checked_sub(self.history as u64) {
                batch.remove(&history_key(old));
            }
        }
        batch.insert(&VERSION, written_version(last.version, seal));
        self.db.apply_batch(batch)?;
        // What the log points to comes before the log.
        blobs.sync()?;
        self.db.flush()?;
        self.file.sync_data()?;
        Ok(())
    }
}

type Decided = (oneshot::Sender<Answer>, Answer);

impl Backend for Disk {
    fn get<'a>(&'a self, key: &'a str) -> Reply<'a, Option<Entry>> {
        Box::pin(ready(Ok(self.inner.shared.lock().get(key))))
    }

    fn range<'a>(&'a self, prefix: &'a str) -> Reply<'a, Range> {
        Box::pin(ready(Ok(self.inner.shared.lock().range(prefix))))
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, expect: Expect) -> Reply<'a, ResourceVersion> {
        self.write(key, Some(value), expect)
    }

    fn remove<'a>(&'a self, key: &'a str, expect: Expect) -> Reply<'a, ResourceVersion> {
        self.write(key, None, expect)
    }

    fn watch(&self, prefix: &str, from: ResourceVersion) -> Result<Changes, BackendError> {
        self.inner.shared.watch(prefix, from)
    }

    fn version(&self) -> Reply<'_, ResourceVersion> {
        // While a group is being written nothing is known to be wrong.
        let broken = match self.inner.turn.try_lock().as_deref() {
            Ok(turn) => turn.broken.clone(),
            Err(_) => None,
        };
        Box::pin(ready(match broken {
            Some(why) => Err(BackendError::failed(why)),
            None => Ok(self.inner.shared.lock().version()),
        }))
    }
}

impl fmt::Debug for Disk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Disk").finish_non_exhaustive()
    }
}

/// sled's error in the system's words, where it is the system's. sled passes its copies on, which
/// know no more than the kind.
fn told(error: &sled::Error) -> String {
    match error {
        sled::Error::Io(error) if error.raw_os_error().is_none() => error.kind().to_string(),
        sled::Error::Io(error) => error.to_string(),
        error => error.to_string(),
    }
}

/// Why sled's folder could not be opened.
#[derive(Debug, thiserror::Error)]
pub(super) enum OpenFailure {
    #[error(transparent)]
    Sled(#[from] sled::Error),
    #[error("{0}")]
    Damaged(String),
}

fn open_sled(path: &Path) -> Result<sled::Db, sled::Error> {
    sled::Config::new()
        .path(path)
        .cache_capacity(CACHE_BYTES)
        // Every write is flushed by its writer: there is nothing for a timer to do.
        .flush_every_ms(None)
        .open()
}

/// Removes changes that a longer history has left behind the last `history` ones.
fn trim(db: &sled::Db, history: usize) -> Result<(), sled::Error> {
    let counter = db.get(VERSION)?.and_then(|bytes| read_counter(&bytes));
    let Some((version, _)) = counter else {
        return Ok(());
    };
    let kept = version.saturating_sub(history as u64) + 1;
    let mut batch = Batch::default();
    let mut found = false;
    for key in db
        .range([HISTORY].to_vec()..history_key(kept).to_vec())
        .keys()
    {
        batch.remove(key?);
        found = true;
    }
    if found {
        db.apply_batch(batch)?;
        db.flush()?;
    }
    Ok(())
}

fn load(db: &sled::Db, history: usize) -> Result<(Table, Seal), OpenFailure> {
    let damaged = |what: &str| OpenFailure::Damaged(what.to_owned());
    let mut entries = BTreeMap::<String, Entry>::new();
    for item in db.scan_prefix([OBJECT]) {
        let (key, value) = item?;
        let (key, entry) =
            read_entry(&key, &value).ok_or_else(|| damaged("an object's entry is cut off"))?;
        entries.insert(key, entry);
    }
    let mut changes = VecDeque::new();
    for item in db.scan_prefix([HISTORY]) {
        let (key, value) = item?;
        let change = read_change(&key, &value)
            .ok_or_else(|| damaged("an entry of the history is cut off"))?;
        changes.push_back(Arc::new(change));
    }
    let counter = db.get(VERSION)?.and_then(|bytes| read_counter(&bytes));
    let (version, sealed) = counter.ok_or_else(|| damaged("the version counter is missing"))?;
    if entries.values().any(|entry| entry.version.0 > version) {
        return Err(damaged("an object is newer than the version counter"));
    }
    let objects = entries.iter();
    let seal = objects.fold(Seal::default(), |seal, (key, entry)| {
        seal.with(key, entry.version)
    });
    if sealed.is_some_and(|sealed| sealed != seal) {
        return Err(damaged(
            "its parts are of different times, as in a copy made while Weir wrote",
        ));
    }
    Ok((Table::restored(history, entries, changes, version), seal))
}

fn object_key(key: &str) -> Vec<u8> {
    let mut bytes = vec![OBJECT];
    bytes.extend_from_slice(key.as_bytes());
    bytes
}

fn history_key(version: u64) -> [u8; 9] {
    let mut bytes = [HISTORY; 9];
    bytes[1..].copy_from_slice(&version.to_be_bytes());
    bytes
}

fn read_version(bytes: &[u8]) -> Option<u64> {
    Some(u64::from_be_bytes(bytes.try_into().ok()?))
}

/// The version counter as it is kept.
fn written_version(version: ResourceVersion, seal: Seal) -> Vec<u8> {
    [&version.0.to_be_bytes()[..], &seal.written()].concat()
}

/// The version, and the seal unless it was written before there were seals.
fn read_counter(bytes: &[u8]) -> Option<(u64, Option<Seal>)> {
    let (version, seal) = bytes.split_at_checked(8)?;
    let seal = match seal {
        [] => None,
        seal => Some(Seal::read(seal)?),
    };
    Some((read_version(version)?, seal))
}

fn entry(version: ResourceVersion, value: &[u8]) -> Vec<u8> {
    let mut bytes = version.0.to_be_bytes().to_vec();
    bytes.extend_from_slice(value);
    bytes
}

fn read_entry(key: &[u8], bytes: &[u8]) -> Option<(String, Entry)> {
    let (version, value) = bytes.split_at_checked(8)?;
    let entry = Entry {
        value: Bytes::copy_from_slice(value),
        version: ResourceVersion(read_version(version)?),
    };
    Some((String::from_utf8(key[1..].to_vec()).ok()?, entry))
}

/// A change as the history keeps it: the format, then key, value and previous value, each after
/// its length plus one; zero stands for a value that there is not. What follows is the version of
/// the previous value, which an earlier Weir neither wrote nor minds.
fn written_change(change: &Change) -> Vec<u8> {
    let key = Some(change.key.as_bytes());
    let mut bytes = vec![CHANGE_FORMAT];
    for part in [key, change.value.as_deref(), change.previous.as_deref()] {
        bytes.put_u64(part.map_or(0, |part| part.len() as u64 + 1));
        bytes.extend_from_slice(part.unwrap_or_default());
    }
    if let Some(version) = change.previous_version {
        bytes.put_u64(version.0);
    }
    bytes
}

fn read_change(key: &[u8], bytes: &[u8]) -> Option<Change> {
    let version = ResourceVersion(read_version(&key[1..])?);
    let (&CHANGE_FORMAT, mut rest) = bytes.split_first()? else {
        return None;
    };
    let mut part = || -> Option<Option<Bytes>> {
        let length = rest.try_get_u64().ok()?;
        let Some(length) = length.checked_sub(1) else {
            return Some(None);
        };
        let (part, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        rest = after;
        Some(Some(Bytes::copy_from_slice(part)))
    };
    Some(Change {
        key: String::from_utf8(part()??.to_vec()).ok()?,
        version,
        value: part()?,
        previous: part()?,
        previous_version: rest.try_get_u64().ok().map(ResourceVersion),
    })
}

/// A thread that panicked while holding one of these locks had not changed what they guard, or
/// its group has been answered with the closed channels.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
