//! The loop: look, decide, act, tell, come back.
//!
//! - [`queue`]: which objects are to be looked at, and when.
//! - [`runner`]: workers, the store's watches that wake them, graceful stop.
//! - [`reconcile`]: one round for one stack. Start reading there; `sending` has its steps sent.
//! - [`account`], [`accounts`]: the shared view of each CloudStack account, and what is on its way;
//!   `jobs` and `pace` say when to ask what became of it, `breaker` what is not to be sent.
//! - [`status`], [`machines`], [`journal`]: telling: status, `Machine` objects, events.
//! - `drift`, `audit`: what is told of drift, and of what is left after a delete.
//! - [`probe`]: asking machines whether they serve. `names`: keeping their names on name servers.

pub mod account;
pub mod accounts;
mod audit;
mod breaker;
mod drift;
mod jobs;
pub mod journal;
pub mod machines;
pub mod names;
mod pace;
pub mod probe;
pub mod queue;
pub mod reconcile;
pub mod runner;
mod sending;
pub mod status;

use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use crate::{
    bootstrap::Memo, clock::Clock, cloud::Connect, store::Store, telemetry::Metrics,
    types::id::JobId,
};
use accounts::Accounts;
use journal::{About, Entry, Journal};
use names::Names;
use probe::Probes;
use queue::Queue;

/// What every round needs. One for the life of a controller.
pub struct Context<K: Connect> {
    /// Desired objects and their statuses.
    pub store: Store,
    /// The time.
    pub clock: Clock,
    /// CloudStack accounts.
    pub accounts: Accounts<K>,
    /// What the probes say.
    pub probes: Probes,
    /// What name servers have of the stacks' names.
    pub names: Names,
    /// Who is to be looked at.
    pub queue: Arc<Queue>,
    /// What is told.
    pub journal: Journal,
    /// What is counted.
    pub metrics: Metrics,
    /// Where job ids come from.
    pub ids: Ids,
    /// Digests of user data made lately.
    pub memo: Memo,
}

impl<K: Connect> Context<K> {
    /// What a controller starts with, and what its journal is written from, which
    /// [`runner::run`] wants as well. `connect` is told what counts the requests.
    #[must_use]
    pub fn new(
        store: Store,
        clock: Clock,
        ids: Ids,
        connect: impl FnOnce(&Metrics) -> K,
    ) -> (Arc<Self>, mpsc::Receiver<(About, Entry)>) {
        let (journal, entries) = Journal::new();
        let queue = Arc::new(Queue::default());
        let metrics = Metrics::new();
        let connect = connect(&metrics);
        let guard = connect.guard();
        let context = Self {
            store,
            accounts: Accounts::new(connect, clock.clone(), Arc::clone(&queue)),
            probes: Probes::new(clock.clone(), Arc::clone(&queue)),
            names: Names::new(clock.clone(), Arc::clone(&queue), metrics.clone(), guard),
            clock,
            queue,
            journal,
            metrics,
            ids,
            memo: Memo::default(),
        };
        (Arc::new(context), entries)
    }
}

/// Job ids: random UUIDs, or a reproducible sequence where a seed is given.
pub struct Ids(Option<Mutex<fastrand::Rng>>);

impl Ids {
    /// Ids that nobody can foresee.
    #[must_use]
    pub fn random() -> Self {
        Self(None)
    }

    /// The same ids in every run with the same seed.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self(Some(Mutex::new(fastrand::Rng::with_seed(seed))))
    }

    /// The next id.
    pub fn next(&self) -> JobId {
        let uuid = match &self.0 {
            #[expect(
                clippy::disallowed_methods,
                reason = "the real thing, where no seed is given"
            )]
            None => uuid::Uuid::new_v4(),
            Some(rng) => {
                let mut rng = rng
                    .lock()
                    .expect("nothing panics while it holds the generator");
                uuid::Builder::from_random_bytes(rng.u128(..).to_be_bytes()).into_uuid()
            }
        };
        JobId::new(uuid.to_string())
    }

    /// A share of a duration, to spread what would otherwise come at once.
    pub fn jitter(&self, of: std::time::Duration) -> std::time::Duration {
        let share = match &self.0 {
            #[expect(
                clippy::disallowed_methods,
                reason = "the real thing, where no seed is given"
            )]
            None => fastrand::f64(),
            Some(rng) => rng
                .lock()
                .expect("nothing panics while it holds the generator")
                .f64(),
        };
        of.mul_f64(share)
    }
}
