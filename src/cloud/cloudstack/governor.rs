//! How hard we press on an account: its pace, its lanes, and when to hold still.
//!
//! Five promises, each with its test: no more requests a second and no more in flight than the
//! limits say; changes go ahead of reads, and reads for a while ahead of what comes in bulk; no two
//! `associateIpAddress` at once; no more deploys of one tier at once than its limit; after a 429
//! or a server in trouble everybody waits. All waits are on tokio's time and cancel-safe: whoever
//! stops waiting leaves the queue.

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

/// A fifth of a second's requests may come in one burst. CloudStack's throttle counts in windows:
/// a pace of four fifths of what it allows, and this burst on top, stay below.
const BURST_DIVISOR: u32 = 5;

/// How long what comes in bulk lets reads pass. A stack that comes up takes about that long; looks
/// that take all of a slow pace must not keep its rules back for ever.
const BULK_PATIENCE: Duration = Duration::from_secs(5);

/// Whose turn comes first. Changes are few and are made on a look that ages; a resync can wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Priority {
    /// A command that changes something.
    Change,
    /// A list or a question.
    Read,
    /// A command that comes by the dozen and that no other waits for: a new rule. Behind reads,
    /// since those are what the next step of a stack that comes up waits for.
    Bulk,
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
    requests_per_second: u32,
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
}

/// How fast requests may follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pace {
    /// Time between two requests.
    interval: Duration,
    /// How far ahead of that a burst may run.
    burst: Duration,
}

impl Pace {
    fn per_second(requests: u32) -> Self {
        let requests = requests.max(1);
        let interval = Duration::from_secs(1) / requests;
        Self {
            interval,
            burst: interval * (requests / BURST_DIVISOR).saturating_sub(1),
        }
    }
}

struct State {
    /// The account's own limit, or CloudStack's where that is lower.
    pace: Pace,
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
        let now = Instant::now();
        let state = State {
            pace: Pace::per_second(limits.requests_per_second),
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
        };
        Self {
            gate: Arc::new(gate),
            requests_per_second: limits.requests_per_second,
            addresses: Arc::new(Semaphore::new(1)),
            deploys: Mutex::default(),
            deploys_per_tier: usize::try_from(limits.deploys_per_tier.max(1)).unwrap_or(1),
        }
    }

    /// Keeps to CloudStack's throttle, which allows so many requests in a window of so many
    /// seconds, or to none. A fifth of it is left for the burst and for other clients of the
    /// account.
    pub(super) fn obey(&self, throttle: Option<(u32, u32)>) {
        let allowed = throttle.map(|(requests, seconds)| requests * 4 / (5 * seconds.max(1)));
        let own = self.requests_per_second;
        let pace = Pace::per_second(allowed.map_or(own, |allowed| allowed.min(own)));
        self.gate.state().pace = pace;
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
                        biased;
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
    since: Instant,
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
            since: Instant::now(),
        }
    }

    /// Passes if it is first in the queue, a slot is free and the time has come.
    fn try_pass(&mut self) -> Turn {
        let gate = &self.gate;
        let mut state = gate.state();
        if self.ticket.0 == Priority::Bulk && self.since.elapsed() >= BULK_PATIENCE {
            state.waiting.remove(&self.ticket);
            // Its number is older than those of the reads that came since.
            self.ticket.0 = Priority::Read;
            state.waiting.insert(self.ticket);
        }
        if state.waiting.first() != Some(&self.ticket) || state.in_flight >= gate.in_flight_max {
            return Turn::Later;
        }
        let now = Instant::now();
        let Pace { interval, burst } = state.pace;
        let in_pace = state.due.checked_sub(burst).unwrap_or(now);
        let time = in_pace.max(state.paused_until);
        if time > now {
            return Turn::At(time);
        }
        state.due = state.due.max(now) + interval;
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

#[cfg(test)]
mod tests {
    use futures_util::{FutureExt, future::join_all};

    use super::*;

    fn governor(per_second: u32, in_flight: u32) -> Governor {
        Governor::new(&Limits {
            requests_per_second: per_second,
            requests_in_flight: in_flight,
            ..Limits::default()
        })
    }

    /// Requests that pass within a time, if each is answered at once.
    async fn passed(governor: &Governor, within: Duration) -> usize {
        let mut passed = 0;
        let pass = async {
            loop {
                drop(governor.admit(Priority::Read).await);
                passed += 1;
            }
        };
        let ended: Result<(), _> = tokio::time::timeout(within, pass).await;
        assert!(ended.is_err(), "it never stops asking");
        passed
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_pass_in_a_second_than_the_limit_and_a_burst() {
        let governor = governor(50, 8);
        let first = passed(&governor, Duration::from_millis(999)).await;
        assert!((50..=60).contains(&first), "{first}");
        let second = passed(&governor, Duration::from_secs(1)).await;
        assert!((49..=51).contains(&second), "{second}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_throttle_of_the_server_is_kept_even_where_its_window_begins_with_a_burst() {
        let governor = governor(50, 8);
        governor.obey(Some((25, 1)));
        let first = passed(&governor, Duration::from_millis(999)).await;
        assert!((20..=25).contains(&first), "{first}");
        governor.obey(Some((1_000, 1)));
        let second = passed(&governor, Duration::from_secs(1)).await;
        assert!(second <= 60, "the account's own limit stands: {second}");
        governor.obey(None);
    }

    #[tokio::test(start_paused = true)]
    async fn no_more_are_in_flight_than_the_limit() {
        let governor = governor(1_000, 2);
        let first = governor.admit(Priority::Change).await;
        let _second = governor.admit(Priority::Change).await;
        let third = governor.admit(Priority::Change);
        tokio::pin!(third);
        let waited = tokio::time::timeout(Duration::from_secs(60), &mut third).await;
        assert!(waited.is_err(), "a third passed");
        drop(first);
        assert!(third.now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn reads_that_never_end_do_not_keep_bulk_back_for_ever() {
        let governor = governor(4, 1);
        let reads = async {
            loop {
                let one = || async { drop(governor.admit(Priority::Read).await) };
                tokio::join!(one(), one(), one());
            }
        };
        let bulk = tokio::time::timeout(2 * BULK_PATIENCE, governor.admit(Priority::Bulk));
        let passed = tokio::select! {
            passed = bulk => passed.is_ok(),
            () = reads => false,
        };
        assert!(passed);
    }

    #[tokio::test(start_paused = true)]
    async fn changes_go_ahead_of_reads_and_reads_ahead_of_bulk() {
        let governor = governor(1_000, 1);
        let held = governor.admit(Priority::Change).await;
        let order = Mutex::new(Vec::new());
        let one = |priority| {
            let (governor, order) = (&governor, &order);
            async move {
                let _permit = governor.admit(priority).await;
                order.lock().unwrap().push(priority);
            }
        };
        let queued = join_all([Priority::Bulk, Priority::Read, Priority::Change].map(one));
        let release = async {
            tokio::task::yield_now().await;
            drop(held);
        };
        tokio::join!(queued, release);
        let order = order.into_inner().unwrap();
        assert_eq!(order, [Priority::Change, Priority::Read, Priority::Bulk]);
    }

    #[tokio::test(start_paused = true)]
    async fn one_address_at_a_time_and_as_many_deploys_of_a_tier_as_its_limit() {
        let governor = governor(50, 8);
        let lane = governor.address_lane().await;
        assert!(governor.address_lane().now_or_never().is_none());
        drop(lane);
        assert!(governor.address_lane().now_or_never().is_some());
        let (one, other) = (NetworkId::new("one"), NetworkId::new("other"));
        let most = Limits::default().deploys_per_tier;
        let lanes = join_all((0..most).map(|_| governor.deploy_lane(&one))).await;
        assert!(governor.deploy_lane(&one).now_or_never().is_none());
        assert!(governor.deploy_lane(&other).now_or_never().is_some());
        drop(lanes);
        assert!(governor.deploy_lane(&one).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn after_trouble_everybody_waits_as_long_as_the_server_asks() {
        let governor = governor(50, 8);
        let asked = Duration::from_secs(7);
        let permit = governor.admit(Priority::Change).await;
        permit.heard(Health::Trouble(Some(asked)));
        drop(permit);
        let start = Instant::now();
        drop(governor.admit(Priority::Change).await);
        assert!(start.elapsed() >= asked && start.elapsed() < asked * 2);
    }
}
