//! How hard we press on an account: its pace, its lanes, and when to hold still.
//!
//! Five promises, each with its test: no more requests a second and no more in flight than the
//! limits say; changes go ahead of reads; no two `associateIpAddress` at once; no more deploys of
//! one tier at once than its limit; after a 429 or a server in trouble everybody waits. All waits
//! are on tokio's time and cancel-safe: whoever stops waiting leaves the queue.

use std::{
    collections::{BTreeSet, HashMap},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

use crate::types::{account::Limits, id::NetworkId};

/// The longest back-off; also caps what a `Retry-After` may ask for, so that a wrong answer cannot
/// silence us for an hour.
const BACKOFF_MAX: Duration = Duration::from_secs(60);

/// The first back-off, doubled with each further one. CloudStack's throttle counts in windows of
/// one second (`api.throttling.interval`).
const BACKOFF_MIN: Duration = Duration::from_secs(1);

/// A fifth of a second's requests may come in one burst. CloudStack's throttle allows 25 in each
/// window of a second: 20 requests of the default pace plus this burst stay below.
const BURST_DIVISOR: u32 = 5;

/// Whose turn comes first. Changes are few and are made on a look that ages; a resync can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Priority {
    /// A command that changes something.
    Change,
    /// A list or a question.
    Read,
}

/// What an answer says about the server's state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Health {
    /// It answers.
    Fine,
    /// It asks to be left alone, or is not there; for so long, if it says so.
    Trouble(Option<Duration>),
}

/// Lets requests pass at the account's pace.
pub(super) struct Governor {
    gate: Arc<Gate>,
    addresses: Arc<Semaphore>,
    deploys: Mutex<HashMap<NetworkId, Arc<Semaphore>>>,
    deploys_per_tier: usize,
}

struct Gate {
    /// Held for a few instructions at a time, never across an await.
    state: Mutex<State>,
    /// Told whenever a slot or the head of the queue gets free.
    changed: Notify,
    in_flight_max: u32,
    /// Time between two requests at the pace of the limit.
    interval: Duration,
    /// How far ahead of that pace a burst may run.
    burst: Duration,
}

struct State {
    in_flight: u32,
    /// When the next request would be due if all had kept to `interval`.
    due: Instant,
    paused_until: Instant,
    /// Since when the server has been answering badly, so to speak: how often in a row.
    failures: u32,
    next_ticket: u64,
    waiting: BTreeSet<Ticket>,
}

type Ticket = (Priority, u64);

impl Governor {
    /// A governor that holds to `limits`; a limit of zero is taken as one.
    pub(super) fn new(limits: &Limits) -> Self {
        let per_second = limits.requests_per_second.max(1);
        let interval = Duration::from_secs(1) / per_second;
        let now = Instant::now();
        let state = State {
            in_flight: 0,
            due: now,
            paused_until: now,
            failures: 0,
            next_ticket: 0,
            waiting: BTreeSet::new(),
        };
        let gate = Gate {
            state: Mutex::new(state),
            changed: Notify::new(),
            in_flight_max: limits.requests_in_flight.max(1),
            interval,
            burst: interval * (per_second / BURST_DIVISOR).saturating_sub(1),
        };
        Self {
            gate: Arc::new(gate),
            addresses: Arc::new(Semaphore::new(1)),
            deploys: Mutex::default(),
            deploys_per_tier: usize::try_from(limits.deploys_per_tier.max(1)).unwrap_or(1),
        }
    }

    /// Waits for its turn to send one request. The slot is free again when the permit is dropped.
    pub(super) async fn admit(&self, priority: Priority) -> Permit {
        let mut place = Place::take(&self.gate, priority);
        loop {
            let mut changed = std::pin::pin!(self.gate.changed.notified());
            // From here on no notification is missed.
            changed.as_mut().enable();
            match place.try_pass() {
                Turn::Pass(permit) => return permit,
                Turn::At(time) => {
                    tokio::select! {
                        () = changed => {}
                        () = sleep_until(time) => {}
                    }
                }
                Turn::Later => changed.await,
            }
        }
    }

    /// The lane for `associateIpAddress`. Two of them at once wait for each other in CloudStack in
    /// steps of five seconds (recorded: seven take 30 s instead of half a second).
    pub(super) async fn address_lane(&self) -> OwnedSemaphorePermit {
        acquire(self.addresses.clone()).await
    }

    /// A lane for a deploy in a tier.
    pub(super) async fn deploy_lane(&self, tier: &NetworkId) -> OwnedSemaphorePermit {
        let lane = {
            let mut lanes = self.deploys.lock().expect("nothing panics under this lock");
            // Tiers come and go: only lanes that somebody is in or waits for are kept.
            lanes.retain(|_, lane| Arc::strong_count(lane) > 1);
            let lane = lanes.entry(tier.clone());
            lane.or_insert_with(|| Arc::new(Semaphore::new(self.deploys_per_tier)))
                .clone()
        };
        acquire(lane).await
    }
}

async fn acquire(lane: Arc<Semaphore>) -> OwnedSemaphorePermit {
    let permit = lane.acquire_owned().await;
    permit.expect("no lane is ever closed")
}

impl Gate {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics under this lock")
    }
}

/// What a waiter is told.
enum Turn {
    Pass(Permit),
    At(Instant),
    Later,
}

/// A place in the queue; given up when dropped.
struct Place {
    gate: Arc<Gate>,
    ticket: Ticket,
}

impl Place {
    fn take(gate: &Arc<Gate>, priority: Priority) -> Self {
        let mut state = gate.state();
        let ticket = (priority, state.next_ticket);
        state.next_ticket += 1;
        state.waiting.insert(ticket);
        drop(state);
        Self {
            gate: gate.clone(),
            ticket,
        }
    }

    /// Passes if it is first in the queue, a slot is free and the time has come.
    fn try_pass(&mut self) -> Turn {
        let gate = &self.gate;
        let mut state = gate.state();
        if state.waiting.first() != Some(&self.ticket) || state.in_flight >= gate.in_flight_max {
            return Turn::Later;
        }
        let now = Instant::now();
        let in_pace = state.due.checked_sub(gate.burst).unwrap_or(now);
        let time = in_pace.max(state.paused_until);
        if time > now {
            return Turn::At(time);
        }
        state.due = state.due.max(now) + gate.interval;
        state.in_flight += 1;
        Turn::Pass(Permit {
            gate: gate.clone(),
            sent: now,
        })
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.gate.state().waiting.remove(&self.ticket);
        self.gate.changed.notify_waiters();
    }
}

/// The right to have one request in flight.
pub(super) struct Permit {
    gate: Arc<Gate>,
    sent: Instant,
}

impl Permit {
    /// Takes note of how the request went.
    pub(super) fn heard(&self, health: Health) {
        let mut state = self.gate.state();
        match health {
            Health::Fine => state.failures = 0,
            // All that were under way when the trouble began fail together: they count as one.
            Health::Trouble(_) if self.sent < state.paused_until && state.failures > 0 => {}
            Health::Trouble(asked) => {
                state.failures += 1;
                #[expect(clippy::disallowed_methods, reason = "spreads clients of one server")]
                let jitter = fastrand::f64();
                let wait = backoff(state.failures, asked, jitter);
                state.paused_until = state.paused_until.max(Instant::now() + wait);
            }
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let mut state = self.gate.state();
        state.in_flight -= 1;
        drop(state);
        self.gate.changed.notify_waiters();
    }
}

/// How long to hold still after so many failures in a row. `jitter` from 0 to 1 spreads several
/// clients of one server; what the server asks for is never cut short by it.
fn backoff(failures: u32, asked: Option<Duration>, jitter: f64) -> Duration {
    let doubled = BACKOFF_MIN.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1)));
    let own = doubled.min(BACKOFF_MAX).mul_f64(0.5 + jitter / 2.0);
    let asked = asked.map(|asked| asked.min(BACKOFF_MAX).mul_f64(1.0 + jitter / 10.0));
    asked.unwrap_or(own).min(BACKOFF_MAX)
}
