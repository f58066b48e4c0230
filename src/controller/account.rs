//! One shared view of a CloudStack account: the inventory, the catalogue and the jobs in flight.
//!
//! All stacks of an account decide on the same inventory. A list is read again when something
//! that it shows was changed, or when it has grown old; so the number of requests follows what
//! changes and the number of pages, never the number of stacks.

use std::{
    collections::{BTreeMap, BTreeSet, btree_map::Entry},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::future::try_join_all;
use jiff::Timestamp;
use tokio::sync::Notify;

use crate::{
    clock::Clock,
    cloud::{Cloud, CloudError, Depth},
    types::{
        account::CloudAccountSpec,
        action::{Answer, Question},
        id::JobId,
        inventory::{Catalogue, Inventory, List},
        meta::ObjectKey,
    },
};

/// How long what the account offers is taken for unchanged.
const CATALOGUE_AGE: Duration = Duration::from_secs(600);

/// A CloudStack account as the controller sees it.
pub struct Account<C> {
    cloud: C,
    spec: CloudAccountSpec,
    clock: Clock,
    began: Timestamp,
    /// Held while lists are being read, so that stacks that look at once share one look.
    reading: tokio::sync::Mutex<()>,
    /// Changed by short, synchronous methods only.
    state: Mutex<State>,
    /// Rung when a job is followed that was not before.
    followed: Notify,
}

#[derive(Default)]
struct State {
    inventory: Arc<Inventory>,
    lists: BTreeMap<List, Freshness>,
    audited_at: Option<Timestamp>,
    looked_at: Option<Timestamp>,
    catalogue: Option<(Arc<Catalogue>, Timestamp)>,
    jobs: BTreeMap<JobId, Followed>,
    /// What jobs took, by command: learned, to ask at the right time.
    pace: BTreeMap<&'static str, Duration>,
}

#[derive(Default)]
struct Freshness {
    read_at: Option<Timestamp>,
    /// Changes of what the list shows, counted.
    touched: u64,
    /// How many of them the last reading has seen.
    seen: u64,
}

/// A job that was submitted for an object and has not been seen to end.
#[derive(Clone)]
struct Followed {
    key: ObjectKey,
    command: &'static str,
    touches: &'static [List],
    since: Timestamp,
}

impl<C: Cloud> Account<C> {
    /// An account of which nothing is known yet.
    pub fn new(cloud: C, spec: CloudAccountSpec, clock: Clock) -> Self {
        Self {
            cloud,
            spec,
            began: clock.now(),
            clock,
            reading: tokio::sync::Mutex::default(),
            state: Mutex::default(),
            followed: Notify::new(),
        }
    }

    /// The port to the account.
    pub fn cloud(&self) -> &C {
        &self.cloud
    }

    /// Since when this connection to the account is in use.
    pub fn began(&self) -> Timestamp {
        self.began
    }

    /// What the account's object says.
    pub fn spec(&self) -> &CloudAccountSpec {
        &self.spec
    }

    /// The account, with no list older than its resync interval and none that misses a change
    /// known to Weir.
    ///
    /// # Errors
    /// A list could not be read. What was known stays known, and nothing is decided on it.
    pub async fn observe(&self) -> Result<Arc<Inventory>, CloudError> {
        // A fraction early, so that a resync a moment before the others' finds the look stale.
        self.observe_within(self.spec.resync_interval.get() * 9 / 10)
            .await
    }

    /// The account, with no list older than `age`.
    ///
    /// # Errors
    /// As [`Account::observe`].
    pub async fn observe_within(&self, age: Duration) -> Result<Arc<Inventory>, CloudError> {
        let _reading = self.reading.lock().await;
        let now = self.clock.now();
        let (stale, depth) = self.stale(now, age);
        let read = stale.iter().map(|(list, touched)| async move {
            let depth = if *list == List::Vms {
                depth
            } else {
                Depth::Look
            };
            self.cloud
                .list(*list, depth)
                .await
                .map(|rows| (*list, *touched, rows))
        });
        let read = try_join_all(read).await?;
        let mut state = self.lock();
        if !read.is_empty() {
            let inventory = Arc::make_mut(&mut state.inventory);
            let mut freshness = Vec::new();
            for (list, touched, rows) in read {
                inventory.replace(rows);
                freshness.push((list, touched));
            }
            inventory.index();
            for (list, touched) in freshness {
                let entry = state.lists.entry(list).or_default();
                entry.read_at = Some(now);
                entry.seen = touched;
                if list == List::Vms && depth == Depth::Audit {
                    state.audited_at = Some(now);
                }
            }
            state.looked_at = state.lists.values().filter_map(|list| list.read_at).min();
        }
        Ok(Arc::clone(&state.inventory))
    }

    /// Lists that have to be read, each with the changes that a reading begun now will show.
    fn stale(&self, now: Timestamp, age: Duration) -> (Vec<(List, u64)>, Depth) {
        let state = self.lock();
        let old = |at: Option<Timestamp>, age: Duration| {
            at.is_none_or(|at| now.duration_since(at).unsigned_abs() >= age)
        };
        let stale = |list: &List| match state.lists.get(list) {
            None => Some((*list, 0)),
            Some(fresh) if fresh.touched > fresh.seen || old(fresh.read_at, age) => {
                Some((*list, fresh.touched))
            }
            Some(_) => None,
        };
        let depth = if old(state.audited_at, self.spec.audit_interval.get()) {
            Depth::Audit
        } else {
            Depth::Look
        };
        (List::ALL.iter().filter_map(stale).collect(), depth)
    }

    /// Notes that lists no longer show the truth.
    pub fn touch(&self, lists: &[List]) {
        let mut state = self.lock();
        for list in lists {
            state.lists.entry(*list).or_default().touched += 1;
        }
        Arc::make_mut(&mut state.inventory).jobs = None;
    }

    /// Has lists read again at the next look, without doubting what is known of the jobs.
    pub fn read_again(&self, lists: &[List]) {
        let mut state = self.lock();
        for list in lists {
            state.lists.entry(*list).or_default().touched += 1;
        }
    }

    /// Asks which jobs are in flight, and notes it in the inventory.
    ///
    /// # Errors
    /// CloudStack could not be asked.
    pub async fn jobs(&self) -> Result<BTreeSet<JobId>, CloudError> {
        let jobs = self.cloud.jobs_in_flight().await?;
        let mut state = self.lock();
        Arc::make_mut(&mut state.inventory).jobs = Some(jobs.clone());
        Ok(jobs)
    }

    /// Asks a question about a single resource.
    ///
    /// # Errors
    /// CloudStack could not be asked.
    pub async fn ask(&self, question: &Question) -> Result<Answer, CloudError> {
        self.cloud.ask(question).await
    }

    /// What the account offers, read anew when old or when `refresh` says that something was not
    /// found in it.
    ///
    /// # Errors
    /// CloudStack could not be asked.
    pub async fn catalogue(&self, age: Duration) -> Result<Arc<Catalogue>, CloudError> {
        let now = self.clock.now();
        if let Some((catalogue, at)) = &self.lock().catalogue
            && now.duration_since(*at).unsigned_abs() < age.min(CATALOGUE_AGE)
        {
            return Ok(Arc::clone(catalogue));
        }
        let catalogue = Arc::new(self.cloud.catalogue().await?);
        self.lock().catalogue = Some((Arc::clone(&catalogue), now));
        Ok(catalogue)
    }

    /// When the oldest list of the present inventory was read.
    pub fn looked_at(&self) -> Option<Timestamp> {
        self.lock().looked_at
    }

    /// Virtual machines seen at the last look.
    pub fn virtual_machines(&self) -> usize {
        self.lock().inventory.vms.len()
    }

    /// Jobs that are being followed.
    pub fn jobs_followed(&self) -> usize {
        self.lock().jobs.len()
    }

    /// Follows a submitted job until it ends; `key` is woken then.
    pub fn follow(
        &self,
        job: JobId,
        key: ObjectKey,
        command: &'static str,
        touches: &'static [List],
    ) {
        let since = self.clock.now();
        let followed = Followed {
            key,
            command,
            touches,
            since,
        };
        if let Entry::Vacant(entry) = self.lock().jobs.entry(job) {
            entry.insert(followed);
            self.followed.notify_one();
        }
    }

    /// Follows all jobs of the account together, and calls `wake` for each object of which one
    /// ended. Never returns; to be dropped with the account.
    pub async fn follow_jobs(&self, wake: impl Fn(ObjectKey)) {
        loop {
            let Some(pause) = self.next_poll() else {
                self.followed.notified().await;
                // The first look at fresh jobs reads what they change instead of the jobs: with
                // a quick cloud that is all that is needed.
                self.clock.sleep(FIRST_LOOK).await;
                self.lock()
                    .jobs
                    .values()
                    .map(|job| job.key.clone())
                    .for_each(&wake);
                continue;
            };
            tokio::select! {
                () = self.clock.sleep(pause) => {}
                () = self.followed.notified() => {
                    self.clock.sleep(FIRST_LOOK).await;
                    self.young().into_iter().for_each(&wake);
                    continue;
                }
            }
            if let Ok(jobs) = self.jobs().await {
                self.ended(&jobs).into_iter().for_each(&wake);
            }
        }
    }

    /// Objects with jobs that were submitted since the last poll.
    fn young(&self) -> BTreeSet<ObjectKey> {
        let now = self.clock.now();
        let young = |job: &&Followed| now.duration_since(job.since).unsigned_abs() < 3 * FIRST_LOOK;
        self.lock()
            .jobs
            .values()
            .filter(young)
            .map(|job| job.key.clone())
            .collect()
    }

    /// Stops following a job of which a look showed the end.
    pub fn settled(&self, job: &JobId) {
        let now = self.clock.now();
        let mut state = self.lock();
        if let Some(job) = state.jobs.remove(job) {
            learn(&mut state.pace, &job, now);
        }
    }

    /// Takes out the jobs that are no longer in flight; gives the objects to wake.
    fn ended(&self, in_flight: &BTreeSet<JobId>) -> BTreeSet<ObjectKey> {
        let now = self.clock.now();
        let mut woken = BTreeSet::new();
        let mut touched = BTreeSet::new();
        let mut state = self.lock();
        let gone: Vec<JobId> = state
            .jobs
            .keys()
            .filter(|job| !in_flight.contains(*job))
            .cloned()
            .collect();
        for id in gone {
            let Some(job) = state.jobs.remove(&id) else {
                continue;
            };
            learn(&mut state.pace, &job, now);
            touched.extend(job.touches);
            woken.insert(job.key);
        }
        for list in touched {
            state.lists.entry(list).or_default().touched += 1;
        }
        woken
    }

    /// Time until the jobs are asked for again: shortly before the first is expected to end, then
    /// in steps that grow with how long it is overdue.
    fn next_poll(&self) -> Option<Duration> {
        let now = self.clock.now();
        let state = self.lock();
        let due = |job: &Followed| {
            let age = now.duration_since(job.since).unsigned_abs();
            let expected = state.pace.get(job.command).copied().unwrap_or(FIRST_POLL);
            let overdue = age.saturating_sub(expected);
            let step = (overdue / 4).clamp(SHORTEST_POLL, LONGEST_POLL);
            expected.saturating_sub(age).max(step)
        };
        state.jobs.values().map(due).min()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds the account's state")
    }
}

/// Time after a submit at which its effect is looked for: enough for a simulator that is told to
/// be instant, little beside a real job.
const FIRST_LOOK: Duration = Duration::from_millis(40);

/// Time after which a job whose pace is not known yet is asked for.
const FIRST_POLL: Duration = Duration::from_millis(700);

/// Shortest time between two polls of the jobs in flight.
const SHORTEST_POLL: Duration = Duration::from_millis(150);

/// Longest time between two polls of the jobs in flight.
const LONGEST_POLL: Duration = Duration::from_secs(10);

/// Remembers what a command takes, leaning to the shorter: a poll too early costs one request,
/// one too late costs service.
fn learn(pace: &mut BTreeMap<&'static str, Duration>, job: &Followed, now: Timestamp) {
    let took = now.duration_since(job.since).unsigned_abs();
    let known = pace.entry(job.command).or_insert(took);
    *known = if took < *known {
        took
    } else {
        (*known * 3 + took) / 4
    };
}
