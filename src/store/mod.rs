//! Desired objects and their statuses: durable, versioned and watchable.
//!
//! [`Store`] applies Kubernetes' rules to writes (`rules`) and keeps the results in a
//! [`Backend`]: `disk` (sled, opened through `folder`), `memory` or `etcd`. The first two serve
//! readers from a `table` in memory; all of them serve watchers from a `history` in memory.
//! `record` is how an object is written down, with Secrets encrypted by `keys` and rewritten by
//! `rekey`, and `whole` is about all of them at once. `lease` is how one of several controllers on
//! `etcd` or `memory` can be the one that writes, and `lead` how it becomes and stays that one.
//!
//! The store does not validate specs, fill in defaults or collect dependents: that is done by
//! whoever writes.
//!
//! *Invariant*: what was acknowledged survives a crash, and what could not survive one has been
//! seen by nobody.

mod backend;
mod blobs;
mod dependents;
mod disk;
mod error;
mod etcd;
mod folder;
mod history;
mod keys;
mod lead;
mod lease;
mod memory;
mod record;
mod rehearsal;
mod rekey;
mod rules;
mod seal;
mod snapshot;
mod status;
mod table;
mod watch;
mod whole;

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
};

use futures_util::{StreamExt, TryStreamExt, stream};
use jiff::Timestamp;

use self::rules::Outcome;
pub use self::{
    backend::{Backend, BackendError, Change, Changes, Entry, Expect, Range, Reply},
    dependents::{Dependents, FOREGROUND, ORPHAN},
    disk::Disk,
    error::{Failure, StoreError},
    etcd::{Etcd, EtcdConfig, EtcdError, EtcdFiles},
    folder::OpenError,
    keys::{Keys, KeysError},
    lead::{Leadership, leader},
    lease::{Fence, Fenced, LeaseId, Leases},
    memory::Memory,
    rekey::Rekeyed,
    watch::{ChangeKind, Watch, WatchEvent},
    whole::{Record, RestoreError},
};
use crate::{
    clock::Clock,
    types::{
        core::Event,
        id::Uid,
        meta::{Kind, Object, ObjectKey, ObjectMeta, Resource, ResourceVersion},
    },
};

/// Changes that are remembered for watchers unless said otherwise; Kubernetes' watch cache keeps
/// as many. With objects of a few kilobytes that is some ten megabytes.
pub const HISTORY: usize = 10_000;

/// How often a write without `resourceVersion` is decided again because another write of the same
/// object came first. Each time, somebody else succeeded.
const ATTEMPTS: usize = 64;

/// Removals under way at once when old events are compacted: enough to share flushes, few enough
/// to leave other writers their turn.
const REMOVALS: usize = 16;

/// All objects. Cheap to clone; every clone is the same store.
#[derive(Clone, Debug)]
pub struct Store {
    backend: Arc<dyn Backend>,
    clock: Clock,
    uids: Uids,
    /// What Secrets are encrypted with; none where they are kept in clear.
    keys: Option<Arc<Keys>>,
    /// Whether lists leave out what cannot be decrypted.
    passes_over: bool,
}

/// Objects as they were together at one version.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The objects, ordered by namespace and name.
    pub items: Vec<Object>,
    /// The version to watch from in order to miss nothing.
    pub version: ResourceVersion,
}

/// What must be true of an object for it to be deleted.
#[derive(Clone, Debug, Default)]
pub struct Preconditions {
    /// It still is this object, and not a successor of the same name.
    pub uid: Option<Uid>,
    /// It has not been written since.
    pub resource_version: Option<ResourceVersion>,
}

/// What became of an object that was to be deleted.
#[derive(Clone, Debug, PartialEq)]
pub enum Deleted {
    /// It is gone; this was its last state, with the version of the deletion.
    Gone(Object),
    /// It is marked, and goes when its last finalizer has been removed.
    Marked(Object),
}

/// Where uids come from.
#[derive(Clone, Debug)]
enum Uids {
    System,
    Seeded(Arc<Mutex<fastrand::Rng>>),
}

impl Store {
    /// Opens the state folder `dir`, creating it if need be.
    ///
    /// # Errors
    /// The folder is locked, newer than this program or unreadable. It is left as it is, and the
    /// error says what to do.
    pub fn open(dir: &Path, clock: Clock) -> Result<Self, OpenError> {
        Self::open_with_history(dir, clock, HISTORY)
    }

    /// Opens the state folder `dir` and remembers the last `history` changes for watchers.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_with_history(dir: &Path, clock: Clock, history: usize) -> Result<Self, OpenError> {
        let disk = folder::open(dir, history, 0)?;
        Ok(Self::with_backend(Arc::new(disk), clock))
    }

    /// As [`Self::open_with_history`], where there is a database.
    ///
    /// # Errors
    /// As for [`Self::open`], and where there is none.
    pub fn open_existing(dir: &Path, clock: Clock, history: usize) -> Result<Self, OpenError> {
        let disk = folder::open_existing(dir, history)?;
        Ok(Self::with_backend(Arc::new(disk), clock))
    }

    /// As [`Self::open`]; a folder that is created begins after `version`, so that versions which
    /// clients know from another store stay older than what comes.
    ///
    /// # Errors
    /// As for [`Self::open`].
    pub fn open_after(
        dir: &Path,
        clock: Clock,
        version: ResourceVersion,
    ) -> Result<Self, OpenError> {
        let disk = folder::open(dir, HISTORY, version.0)?;
        Ok(Self::with_backend(Arc::new(disk), clock))
    }

    /// What is in the state folder `dir`, for reading. Nothing in the folder is changed or made.
    ///
    /// # Errors
    /// As for [`Self::open`], and where there is no database. [`OpenError::Locked`]: somebody
    /// writes to it.
    pub fn look(dir: &Path, clock: Clock) -> Result<Self, OpenError> {
        let found = folder::look(dir)?;
        Ok(Self::with_backend(Arc::new(found), clock).rehearsal())
    }

    /// A store over any backend.
    #[must_use]
    pub fn with_backend(backend: Arc<dyn Backend>, clock: Clock) -> Self {
        Self {
            backend,
            clock,
            uids: Uids::System,
            keys: None,
            passes_over: false,
        }
    }

    /// The keys and values below.
    #[must_use]
    pub fn backend(&self) -> Arc<dyn Backend> {
        Arc::clone(&self.backend)
    }

    /// Draws uids from a seed, so that a test can repeat itself.
    #[must_use]
    pub fn with_uids_seeded(mut self, seed: u64) -> Self {
        self.uids = Uids::Seeded(Arc::new(Mutex::new(fastrand::Rng::with_seed(seed))));
        self
    }

    /// The same store, but its writes are only decided on and answered as if they had been done.
    /// A new object then has the `resourceVersion` 0, any other one keeps its own.
    #[must_use]
    pub fn rehearsal(&self) -> Self {
        Self {
            backend: Arc::new(rehearsal::Rehearsal(self.backend.clone())),
            ..self.clone()
        }
    }

    /// The object at `key`, if there is one.
    ///
    /// # Errors
    /// [`StoreError::Io`]: nothing is known.
    pub async fn get(&self, key: &ObjectKey) -> Result<Option<Object>, StoreError> {
        let path = path(key);
        let entry = self.backend.get(&path).await.map_err(unread)?;
        entry.map(|entry| self.read(&path, &entry)).transpose()
    }

    /// The object of that name as its own type.
    ///
    /// # Errors
    /// [`StoreError::Io`]: nothing is known, or what is stored has not the type's shape.
    pub async fn get_as<T: Resource>(
        &self,
        namespace: &str,
        name: &str,
    ) -> Result<Option<T>, StoreError> {
        let key = path(&ObjectKey::new(T::KIND, namespace, name));
        let entry = self.backend.get(&key).await.map_err(unread)?;
        entry.map(|entry| self.read_as(&key, &entry)).transpose()
    }

    /// All objects of a kind, or those in one namespace.
    ///
    /// # Errors
    /// [`StoreError::Io`]: nothing is known. Half a list is never returned.
    pub async fn list(&self, kind: Kind, namespace: Option<&str>) -> Result<Listing, StoreError> {
        self.listing(&prefix(kind, namespace)).await
    }

    /// Objects of a type in a namespace whose names begin so. Costs as much as there are of them,
    /// however many others there are.
    ///
    /// # Errors
    /// As for [`Self::list_as`].
    pub async fn list_named<T: Resource>(
        &self,
        namespace: &str,
        beginning: &str,
    ) -> Result<Vec<T>, StoreError> {
        let prefix = format!("{}{beginning}", prefix(T::KIND, Some(namespace)));
        self.typed(&prefix).await
    }

    async fn typed<T: Resource>(&self, prefix: &str) -> Result<Vec<T>, StoreError> {
        let range = self.backend.range(prefix).await.map_err(unread)?;
        let entries = range.entries.iter();
        let items: Result<Vec<T>, _> = entries
            .map(|(path, entry)| self.read_as(path, entry))
            .collect();
        let mut items = items?;
        items.sort_by(|a, b| place(a.meta()).cmp(&place(b.meta())));
        Ok(items)
    }

    async fn listing(&self, prefix: &str) -> Result<Listing, StoreError> {
        let range = self.backend.range(prefix).await;
        self.read_all(&range.map_err(unread)?)
    }

    fn read_all(&self, range: &Range) -> Result<Listing, StoreError> {
        let entries = range.entries.iter();
        let mut items: Vec<Object> = entries
            .map(|(path, entry)| self.read(path, entry))
            .filter(|read| {
                !(self.passes_over && matches!(read, Err(StoreError::Undecrypted { .. })))
            })
            .collect::<Result<_, _>>()?;
        items.sort_by(|a, b| place(&a.metadata).cmp(&place(&b.metadata)));
        let version = range.version;
        Ok(Listing { items, version })
    }

    /// All objects of a type, or those in one namespace.
    ///
    /// # Errors
    /// [`StoreError::Io`]: nothing is known, or an object has not the type's shape.
    pub async fn list_as<T: Resource>(
        &self,
        namespace: Option<&str>,
    ) -> Result<Vec<T>, StoreError> {
        self.typed(&prefix(T::KIND, namespace)).await
    }

    /// Stores a new object and returns it as it was stored. Its `status`, if the kind has one, is
    /// dropped: a user might claim there that somebody else's resources are ours.
    ///
    /// # Errors
    /// [`StoreError::AlreadyExists`]; [`StoreError::Invalid`] where the object cannot be stored
    /// or has a `resourceVersion`; [`StoreError::Io`].
    pub async fn create(&self, object: Object) -> Result<Object, StoreError> {
        let key = rules::key(&object)?;
        let object = rules::created(object, &key, self.uids.next(), self.clock.now())?;
        let written = self.put(&key, object, Expect::Absent).await?;
        written.ok_or(StoreError::AlreadyExists(key))
    }

    /// Replaces everything but the status and the server's fields of an object. Given a
    /// `resourceVersion` or a uid, it writes only where they still hold; without, it writes over
    /// whatever is there. Nothing is written where nothing would change. Removing the last
    /// finalizer of an object that is being deleted removes the object.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`]; [`StoreError::Invalid`] where the
    /// object cannot be stored or gains a finalizer while it is being deleted; [`StoreError::Io`].
    pub async fn update(&self, object: Object) -> Result<Object, StoreError> {
        let key = rules::key(&object)?;
        let decide = |stored: &Object| rules::updated(stored, &object, &key);
        Ok(self.change(&key, decide).await?.into_object())
    }

    /// Replaces the status of an object and nothing else. Given a `resourceVersion` or a uid, it
    /// writes only where they still hold.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`]; [`StoreError::Invalid`] where the kind
    /// has no status; [`StoreError::Io`].
    pub async fn update_status(&self, object: Object) -> Result<Object, StoreError> {
        let key = rules::key(&object)?;
        let decide = |stored: &Object| rules::with_status(stored, &object, &key);
        Ok(self.change(&key, decide).await?.into_object())
    }

    /// Deletes an object, or marks it where finalizers hold it. Marking again changes nothing.
    ///
    /// # Errors
    /// [`StoreError::NotFound`]; [`StoreError::Conflict`] where a precondition does not hold;
    /// [`StoreError::Io`].
    pub async fn delete(
        &self,
        key: &ObjectKey,
        preconditions: &Preconditions,
    ) -> Result<Deleted, StoreError> {
        self.delete_with(key, preconditions, Dependents::After)
            .await
    }

    /// Follows what is written after the version `from`: of a kind, or in one namespace.
    ///
    /// # Errors
    /// [`StoreError::Expired`] where the history does not reach back to `from`: list again, and
    /// watch from the version of the list. [`StoreError::Io`].
    #[expect(
        clippy::needless_pass_by_value,
        reason = "a watch outlives its caller, who hands over what it is to follow"
    )]
    pub fn watch(
        &self,
        kind: Kind,
        namespace: Option<String>,
        from: ResourceVersion,
    ) -> Result<Watch, StoreError> {
        let prefix = prefix(kind, namespace.as_deref());
        let changes = self.backend.watch(&prefix, from);
        let changes = changes.map_err(|error| watch::failure(error, from))?;
        Ok(Watch::new(changes, from, self.keys.clone()))
    }

    /// The version of the last write.
    ///
    /// # Errors
    /// [`StoreError::Io`]: the store can serve no reads, or takes no writes any more.
    pub async fn version(&self) -> Result<ResourceVersion, StoreError> {
        self.backend.version().await.map_err(unread)
    }

    /// Whether the store is fit for use.
    ///
    /// # Errors
    /// [`StoreError::Io`]: it is not, and why.
    pub async fn check(&self) -> Result<(), StoreError> {
        let version = self.backend.version().await;
        version
            .map(drop)
            .map_err(|error| StoreError::io("the store takes no writes", error))
    }

    /// Removes events that were last seen before `older_than`, and the oldest of the others so
    /// that at most `keep` remain. Returns how many went.
    ///
    /// # Errors
    /// [`StoreError::Io`]; some may have gone then.
    pub async fn compact_events(
        &self,
        keep: usize,
        older_than: Timestamp,
    ) -> Result<usize, StoreError> {
        let mut events: Vec<_> = self
            .list_as::<Event>(None)
            .await?
            .iter()
            .map(|event| (last_seen(event), event.key()))
            .collect();
        events.sort_by(|one, other| other.cmp(one));
        let fresh = events.partition_point(|(seen, _)| *seen >= older_than);
        let old = events.split_off(fresh.min(keep));
        let removed = stream::iter(old)
            .map(|(_, key)| async move { self.delete(&key, &Preconditions::default()).await })
            .buffer_unordered(REMOVALS)
            .map(|deleted| match deleted {
                Ok(_) => Ok(1),
                // Somebody else was quicker.
                Err(StoreError::NotFound(_)) => Ok(0),
                Err(error) => Err(error),
            });
        removed.try_fold(0, async |sum, one| Ok(sum + one)).await
    }

    /// Decides on the stored object and writes; again, where another write came in between.
    async fn change(
        &self,
        key: &ObjectKey,
        decide: impl Fn(&Object) -> Result<Outcome, StoreError>,
    ) -> Result<Changed, StoreError> {
        let path = path(key);
        for _ in 0..ATTEMPTS {
            let Some(entry) = self.backend.get(&path).await.map_err(unread)? else {
                return Err(StoreError::NotFound(key.clone()));
            };
            let stored = self.read(&path, &entry)?;
            let expect = Expect::At(entry.version);
            match decide(&stored)? {
                Outcome::Same if self.current(&path, &entry) => {
                    return Ok(Changed::Stored(stored));
                }
                // Written again as it is, it is encrypted with the present key.
                Outcome::Same => {
                    if let Some(object) = self.put(key, stored, expect).await? {
                        return Ok(Changed::Stored(object));
                    }
                }
                Outcome::Store(next) => {
                    if let Some(object) = self.put(key, next, expect).await? {
                        return Ok(Changed::Stored(object));
                    }
                }
                Outcome::Remove(last) => {
                    if let Some(object) = self.remove(key, last, expect).await? {
                        return Ok(Changed::Removed(object));
                    }
                }
            }
        }
        let why = format!("it was written {ATTEMPTS} times while this write waited");
        Err(StoreError::conflict(key, why))
    }

    async fn put(
        &self,
        key: &ObjectKey,
        mut object: Object,
        expect: Expect,
    ) -> Result<Option<Object>, StoreError> {
        let path = path(key);
        let value = record::write(&path, &mut object, self.keys.as_deref())?;
        written(self.backend.put(&path, value, expect).await, object)
    }

    async fn remove(
        &self,
        key: &ObjectKey,
        last: Object,
        expect: Expect,
    ) -> Result<Option<Object>, StoreError> {
        written(self.backend.remove(&path(key), expect).await, last)
    }

    fn read(&self, path: &str, entry: &Entry) -> Result<Object, StoreError> {
        record::read(path, &entry.value, entry.version, self.keys.as_deref())
    }

    /// An object as its own type. What cannot be read so is read step by step, which tells why.
    fn read_as<T: Resource>(&self, path: &str, entry: &Entry) -> Result<T, StoreError> {
        match record::read_as(&entry.value, entry.version) {
            Some(object) => Ok(object),
            None => decode(&self.read(path, entry)?),
        }
    }
}

impl Uids {
    fn next(&self) -> Uid {
        let uuid = match self {
            #[expect(
                clippy::disallowed_methods,
                reason = "the real thing, where no seed is given"
            )]
            Self::System => uuid::Uuid::new_v4(),
            Self::Seeded(rng) => {
                let drawn = rng.lock().unwrap_or_else(PoisonError::into_inner).u128(..);
                uuid::Builder::from_random_bytes(drawn.to_be_bytes()).into_uuid()
            }
        };
        Uid::new(uuid.to_string())
    }
}

/// What became of an object.
enum Changed {
    Stored(Object),
    Removed(Object),
}

impl Changed {
    fn into_object(self) -> Object {
        match self {
            Self::Stored(object) | Self::Removed(object) => object,
        }
    }
}

/// What a write stored or removed; nothing where another write came first.
fn written(
    answer: Result<ResourceVersion, BackendError>,
    mut object: Object,
) -> Result<Option<Object>, StoreError> {
    match answer {
        Ok(version) => {
            object.metadata.resource_version = version.to_string();
            Ok(Some(object))
        }
        Err(BackendError::Unexpected { .. }) => Ok(None),
        Err(error) => Err(unwritten(error)),
    }
}

fn unwritten(error: BackendError) -> StoreError {
    StoreError::io("the store cannot be written", error)
}

fn unread(error: BackendError) -> StoreError {
    StoreError::io("the store cannot be read", error)
}

/// The order of lists. That of paths is not quite this one: `/` comes after `-`.
fn place(meta: &ObjectMeta) -> (&str, &str) {
    (&meta.namespace, &meta.name)
}

fn decode<T: Resource>(object: &Object) -> Result<T, StoreError> {
    object.decode().map_err(|error| {
        let meta = &object.metadata;
        let what = format!("{}/{}/{}", T::KIND.singular(), meta.namespace, meta.name);
        StoreError::io(
            format!("the stored {what} has not the shape of its kind"),
            error,
        )
    })
}

fn last_seen(event: &Event) -> Timestamp {
    event
        .last_timestamp
        .or(event.first_timestamp)
        .or(event.metadata.creation_timestamp)
        .unwrap_or(Timestamp::MIN)
}

/// Where an object is in the backend.
fn path(key: &ObjectKey) -> String {
    format!("{}/{}/{}", key.kind.plural(), key.namespace, key.name)
}

/// What the paths of a kind's objects begin with.
fn prefix(kind: Kind, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("{}/{namespace}/", kind.plural()),
        None => format!("{}/", kind.plural()),
    }
}

#[cfg(test)]
mod tests;
