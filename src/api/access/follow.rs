//! Keeps the compiled policy beside the store: read once, then followed.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::{FutureExt, StreamExt, stream::SelectAll};
use tokio::{
    sync::{mpsc, oneshot, watch},
    task::unconstrained,
};
use tokio_util::sync::CancellationToken;

use super::policy::Policy;
use crate::{
    clock::Clock,
    store::{ChangeKind, Store, StoreError, Watch, WatchEvent},
    types::meta::{Kind, Object, ObjectKey},
};

/// Pause before the store is read again after it could not be followed.
const AGAIN: Duration = Duration::from_secs(1);
/// How long a write of a role or binding waits for the policy to have it.
const CATCH_UP: Duration = Duration::from_secs(5);
/// Writes that wait for that at once; each of them answers a client who waits as well.
const WAITERS: usize = 64;

/// The present policy; cheap to clone.
#[derive(Clone, Debug)]
pub(in crate::api) struct Authority {
    present: watch::Receiver<Present>,
    waiters: mpsc::Sender<oneshot::Sender<()>>,
}

/// What holds now.
#[derive(Clone, Debug, Default)]
struct Present {
    policy: Arc<Policy>,
    /// Why the store cannot be followed at the moment.
    lost: Option<String>,
}

/// Follows the store; see [`Follower::run`].
pub(in crate::api) struct Follower {
    store: Store,
    clock: Clock,
    present: watch::Sender<Present>,
    waiting: mpsc::Receiver<oneshot::Sender<()>>,
    known: Known,
}

/// Roles and bindings, and what happens to them.
struct Known {
    objects: BTreeMap<ObjectKey, Object>,
    changes: SelectAll<Watch>,
}

impl Authority {
    /// Reads the policy. Nobody is let in before that.
    ///
    /// # Errors
    /// The store cannot be read.
    pub(in crate::api) async fn load(
        store: Store,
        clock: Clock,
    ) -> Result<(Self, Follower), StoreError> {
        let known = Known::read(&store).await?;
        let now = Present {
            policy: known.policy(),
            lost: None,
        };
        let (sender, present) = watch::channel(now);
        let (waiters, waiting) = mpsc::channel(WAITERS);
        let follower = Follower {
            store,
            clock,
            present: sender,
            waiting,
            known,
        };
        Ok((Self { present, waiters }, follower))
    }

    /// What holds now.
    pub(in crate::api) fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.present.borrow().policy)
    }

    /// Waits until another policy holds. Cancel-safe; never ends once nothing is followed.
    pub(in crate::api) async fn changed(&mut self) {
        if self.present.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }

    /// Waits until the policy has everything that is stored, so that a client who took a right
    /// away finds it gone with the next request.
    pub(in crate::api) async fn catch_up(&self) {
        let caught_up = async {
            let (done, wait) = oneshot::channel();
            self.waiters.send(done).await.ok()?;
            wait.await.ok()
        };
        if !matches!(
            tokio::time::timeout(CATCH_UP, caught_up).await,
            Ok(Some(()))
        ) {
            tracing::warn!("a change of roles is stored, and holds once the store can be followed");
        }
    }

    /// Whether the policy is what is stored.
    ///
    /// # Errors
    /// Why it may be older.
    pub(in crate::api) fn check(&self) -> Result<(), String> {
        match &self.present.borrow().lost {
            None => Ok(()),
            Some(why) => Err(format!("roles cannot be followed: {why}")),
        }
    }
}

impl Known {
    async fn read(store: &Store) -> Result<Self, StoreError> {
        let mut known = Self {
            objects: BTreeMap::new(),
            changes: SelectAll::new(),
        };
        for kind in Kind::RBAC {
            let listing = store.list(kind, None).await?;
            for object in listing.items {
                known.put(object);
            }
            known
                .changes
                .push(store.watch(kind, None, listing.version)?);
        }
        Ok(known)
    }

    fn put(&mut self, object: Object) {
        if let Ok(key) = object.key() {
            self.objects.insert(key, object);
        }
    }

    fn take(&mut self, event: WatchEvent) {
        if event.kind != ChangeKind::Deleted {
            self.put(event.object);
        } else if let Ok(key) = event.object.key() {
            self.objects.remove(&key);
        }
    }

    /// Takes what is ready, all of it: without tokio's budget, which would say "later".
    fn drain(&mut self) -> Result<(), Lost> {
        while let Some(Some(event)) = unconstrained(self.changes.next()).now_or_never() {
            self.take(event?);
        }
        if self.changes.len() < Kind::RBAC.len() {
            return Err(Lost::closed());
        }
        Ok(())
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::new(Policy::compile(self.objects.iter()))
    }
}

/// Why the store is not followed any more.
struct Lost {
    why: String,
    /// Too much was written at once: it is enough to read everything again.
    behind: bool,
}

impl Lost {
    fn closed() -> Self {
        Self {
            why: "the store ended a watch".to_owned(),
            behind: false,
        }
    }
}

impl From<StoreError> for Lost {
    fn from(error: StoreError) -> Self {
        Self {
            why: error.with_causes(),
            behind: matches!(error, StoreError::Expired { .. }),
        }
    }
}

/// What a follower waited for.
enum Woken {
    Change(Option<Box<Result<WatchEvent, StoreError>>>),
    Waiter(Option<oneshot::Sender<()>>),
}

impl Follower {
    /// Follows the store until `stop`. Where it cannot, what held last holds on, and everything is
    /// read again as soon as it can be.
    pub(in crate::api) async fn run(mut self, stop: CancellationToken) {
        stop.run_until_cancelled(async {
            loop {
                if let Err(lost) = self.follow().await {
                    self.read_again(lost).await;
                }
            }
        })
        .await;
    }

    async fn follow(&mut self) -> Result<(), Lost> {
        let woken = tokio::select! {
            biased;
            change = self.known.changes.next() => Woken::Change(change.map(Box::new)),
            waiter = self.waiting.recv() => Woken::Waiter(waiter),
        };
        let waiter = match woken {
            Woken::Change(Some(event)) => {
                self.known.take((*event)?);
                None
            }
            Woken::Change(None) => return Err(Lost::closed()),
            Woken::Waiter(Some(waiter)) => {
                // Every watch then has ready what was written before.
                self.store.version().await?;
                Some(waiter)
            }
            Woken::Waiter(None) => std::future::pending().await,
        };
        self.known.drain()?;
        self.publish();
        if let Some(waiter) = waiter {
            waiter.send(()).ok();
        }
        Ok(())
    }

    fn publish(&self) {
        let policy = self.known.policy();
        self.present.send_replace(Present { policy, lost: None });
    }

    async fn read_again(&mut self, mut lost: Lost) {
        loop {
            if !lost.behind {
                tracing::warn!(
                    why = lost.why,
                    "roles cannot be followed; what held last holds on"
                );
                let why = lost.why;
                self.present.send_modify(|present| present.lost = Some(why));
                self.clock.sleep(AGAIN).await;
            }
            match Known::read(&self.store).await {
                Ok(known) => {
                    self.known = known;
                    return self.publish();
                }
                Err(error) => lost = error.into(),
            }
        }
    }
}
