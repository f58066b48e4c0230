//! Keeps stacks' names on their name servers.
//!
//! A round says what is to be on which server (`round`); looks and updates are made here, beside
//! the rounds, so that a server that does not answer keeps no round waiting. What a look found wakes
//! the stack, whose round decides on it, records and tells, and only then hands updates over. Nothing
//! is remembered that a look would not tell again.

mod place;
pub(super) mod round;

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use tokio::sync::Notify;

use super::queue::{Queue, Urgency};
use crate::{
    clock::Clock,
    cloud::Guard,
    dns::{Client, DnsError, Server},
    names::{Records, diff::Seen, update::Update},
    telemetry::Metrics,
    types::{ledger::NameServer, meta::ObjectKey},
};

/// Name servers that are spoken to at once.
const AT_ONCE: usize = 16;

/// Longest time between two tries of what fails.
const BACK_OFF_MAX: Duration = Duration::from_secs(60);

/// Shortest time between two looks for what is due.
const TICK: Duration = Duration::from_millis(50);

/// What is watched, and what was found.
pub struct Names {
    clock: Clock,
    queue: Arc<Queue>,
    metrics: Metrics,
    client: Client,
    guard: Option<Arc<dyn Guard>>,
    /// Changed by short, synchronous methods only.
    watched: Mutex<BTreeMap<Place, Watched>>,
    /// Told when something else is to be done.
    changed: Notify,
}

/// A domain of a stack's on a server.
type Place = (ObjectKey, NameServer);

#[derive(Clone, Debug)]
struct Watched {
    server: Server,
    wanted: Records,
    /// Time between two looks where nothing is wrong.
    every: Duration,
    due: Timestamp,
    /// Whether it is being spoken to; there is never a second conversation.
    under_way: bool,
    /// What is to be sent before the next look, and the zone it belongs to.
    updates: Option<(String, Vec<Update>)>,
    known: Known,
    /// Looks that failed in a row, and updates.
    failures: u32,
    refusals: u32,
}

/// What is known of a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Known {
    /// What the last look saw, or why it failed; none before the first.
    seen: Option<Result<Seen, DnsError>>,
    /// Whether an update is on its way, so that none is to be sent.
    busy: bool,
    /// Why the last update was not made. Forgotten with the next one that is.
    not_updated: Option<DnsError>,
    /// Not updated again before.
    retry_after: Option<Timestamp>,
}

/// What came of speaking to a server.
struct Spoken {
    seen: Result<Seen, DnsError>,
    updated: Option<Result<(), DnsError>>,
}

impl Names {
    /// Nothing is watched yet.
    #[must_use]
    pub fn new(
        clock: Clock,
        queue: Arc<Queue>,
        metrics: Metrics,
        guard: Option<Arc<dyn Guard>>,
    ) -> Self {
        Self {
            client: Client::new(clock.clone()),
            clock,
            queue,
            metrics,
            guard,
            watched: Mutex::default(),
            changed: Notify::new(),
        }
    }

    /// Looks at these servers of a stack, and at no others; gives what is known of each. Where other
    /// records are wanted than before, it looks at once.
    fn watch(
        &self,
        stack: &ObjectKey,
        places: Vec<(NameServer, Server, Records)>,
        every: Duration,
    ) -> BTreeMap<NameServer, Known> {
        let now = self.clock.now();
        let mut watched = self.lock();
        let mut former = BTreeMap::new();
        watched.retain(|(owner, place), watched| {
            if owner == stack {
                former.insert(place.clone(), watched.clone());
            }
            owner != stack
        });
        let mut known = BTreeMap::new();
        for (place, server, wanted) in places {
            let kept = former.remove(&place).filter(|one| one.server == server);
            let mut kept = kept.unwrap_or_else(|| Watched::new(server, now));
            kept.every = every;
            if kept.wanted != wanted {
                kept.wanted = wanted;
                // What was seen may lack what is wanted now.
                kept.due = now;
                kept.known.seen = None;
                kept.known.busy = kept.under_way && kept.known.busy;
                kept.updates = None;
            }
            known.insert(place.clone(), kept.known.clone());
            watched.insert((stack.clone(), place), kept);
        }
        if !known.is_empty() {
            self.changed.notify_one();
        }
        known
    }

    /// What is wanted on a server of a stack's, as it was last said.
    fn wanted(&self, stack: &ObjectKey, place: &NameServer) -> Option<Records> {
        let key = (stack.clone(), place.clone());
        self.lock().get(&key).map(|watched| watched.wanted.clone())
    }

    /// Sends updates that a round has recorded, then looks again.
    fn send(&self, stack: &ObjectKey, place: &NameServer, zone: String, updates: Vec<Update>) {
        let key = (stack.clone(), place.clone());
        if let Some(watched) = self.lock().get_mut(&key) {
            watched.updates = Some((zone, updates));
            watched.known.busy = true;
            watched.due = self.clock.now();
        }
        self.changed.notify_one();
    }

    /// Looks at no server of a stack any more.
    pub fn forget(&self, stack: &ObjectKey) {
        self.lock().retain(|(key, _), _| key != stack);
    }

    /// Looks and updates, for ever; wakes stacks of which something new is known.
    pub async fn run(&self) {
        let mut under_way = FuturesUnordered::new();
        loop {
            let room = AT_ONCE.saturating_sub(under_way.len());
            let due = self.due(room).into_iter();
            under_way.extend(due.map(|(place, watched)| async move {
                let spoken = Box::pin(self.speak(&place, &watched)).await;
                (place, watched, spoken)
            }));
            let wait = self.next_due().filter(|_| under_way.len() < AT_ONCE);
            tokio::select! {
                biased;
                Some((place, watched, spoken)) = under_way.next() => {
                    if self.note(&place, &watched, spoken) {
                        self.queue.add(place.0, Urgency::Change);
                    }
                }
                () = self.changed.notified() => {}
                () = self.clock.sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
    }

    fn next_due(&self) -> Option<Duration> {
        let now = self.clock.now();
        let watched = self.lock();
        let idle = watched.values().filter(|watched| !watched.under_way);
        let due = idle.map(|watched| watched.due).min()?;
        let wait: Duration = due.duration_since(now).try_into().unwrap_or_default();
        Some(wait.max(TICK))
    }

    /// Takes out up to `most` places whose time has come, with what is to be sent to them.
    fn due(&self, most: usize) -> Vec<(Place, Watched)> {
        let now = self.clock.now();
        let mut watched = self.lock();
        let due = watched
            .iter_mut()
            .filter(|(_, one)| one.due <= now && !one.under_way);
        let due = due.take(most).map(|(place, one)| {
            one.under_way = true;
            let taken = one.clone();
            one.updates = None;
            (place.clone(), taken)
        });
        due.collect()
    }

    /// Sends what is to be sent, in order, up to the first that is not taken; then looks.
    async fn speak(&self, (_, place): &Place, watched: &Watched) -> Spoken {
        let mut updated = None;
        if let Some((zone, updates)) = &watched.updates {
            let outcome = self.update(&watched.server, zone, updates).await;
            self.metrics.names_updated(result(&outcome));
            updated = Some(outcome);
        }
        let keys = watched.wanted.keys().cloned().collect();
        let look = self.client.look(&watched.server, &place.domain, &keys);
        let seen = look.await;
        self.metrics.names_looked(result(&seen));
        Spoken { seen, updated }
    }

    async fn update(
        &self,
        server: &Server,
        zone: &str,
        updates: &[Update],
    ) -> Result<(), DnsError> {
        for update in updates {
            if let Some(guard) = &self.guard {
                let refused = |text| DnsError::NotLeading { text };
                guard.may_change().await.map_err(refused)?;
            }
            self.client.update(server, zone, update).await?;
        }
        Ok(())
    }

    /// Takes in what came of speaking to a server; says whether the stack has to know. What was
    /// begun for other records than are wanted by now says nothing of what is there.
    fn note(&self, place: &Place, asked: &Watched, spoken: Spoken) -> bool {
        let now = self.clock.now();
        let mut watched = self.lock();
        let Some(one) = watched.get_mut(place) else {
            return false;
        };
        one.under_way = false;
        if one.server != asked.server {
            return false;
        }
        let before = one.known.clone();
        let failed = spoken.seen.is_err();
        one.failures = if failed { one.failures + 1 } else { 0 };
        one.known.busy = one.updates.is_some();
        match spoken.updated {
            Some(Ok(())) => {
                (one.known.not_updated, one.known.retry_after) = (None, None);
                one.refusals = 0;
            }
            Some(Err(error)) => {
                one.refusals += 1;
                one.known.not_updated = Some(error);
                one.known.retry_after = Some(now + back_off(one.refusals));
            }
            None if one.known.retry_after.is_some_and(|at| at <= now) => {
                one.known.retry_after = None;
            }
            None => {}
        }
        if one.wanted == asked.wanted && one.updates.is_none() {
            let pause = if failed {
                back_off(one.failures)
            } else {
                one.every
            };
            one.due = (now + pause).min(one.known.retry_after.unwrap_or(Timestamp::MAX));
            one.known.seen = Some(spoken.seen);
        }
        one.known != before
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Place, Watched>> {
        self.watched
            .lock()
            .expect("nothing panics while it holds the names")
    }
}

impl Watched {
    fn new(server: Server, due: Timestamp) -> Self {
        Self {
            server,
            wanted: Records::new(),
            every: BACK_OFF_MAX,
            due,
            under_way: false,
            updates: None,
            known: Known::default(),
            failures: 0,
            refusals: 0,
        }
    }
}

/// Time until the next try after so many failures in a row: one second, then twice as long each time.
fn back_off(failures: u32) -> Duration {
    let doubled = Duration::from_secs(1 << failures.saturating_sub(1).min(6));
    doubled.min(BACK_OFF_MAX)
}

/// How something ended, as metric label.
fn result<T>(outcome: &Result<T, DnsError>) -> &'static str {
    outcome.as_ref().err().map_or("success", DnsError::reason)
}
