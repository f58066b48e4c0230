//! One shared view of a CloudStack account: the inventory, the catalogue and the commands that are
//! on their way.
//!
//! All stacks of an account decide on the same inventory. A list is read again when something
//! that it shows was changed, or when it has grown old; so the number of requests follows what
//! changes and the number of pages, never the number of stacks.
//!
//! Rounds hand commands over and go on; [`Account::run`] sends them, follows their jobs together,
//! and wakes the object when there is something to decide. A command that was not told of yet
//! counts as on its way, so what a round sees of lists and commands fits together.

use std::{
    collections::{BTreeMap, BTreeSet},
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::{FutureExt, future::try_join_all};
use jiff::Timestamp;
use tokio::{sync::Notify, task::JoinSet};

use super::{
    breaker::{Breakers, Held, Outcome, Turned},
    jobs::{Ask, Command, Jobs, Told},
    pace::FIRST_START,
};
use crate::{
    clock::Clock,
    cloud::{Cloud, CloudError, Depth},
    execute::execute,
    plan::{check::CheckedStep, settle::Submitted},
    types::{
        account::CloudAccountSpec,
        action::{self, Action, Question},
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
    /// Rung when there is something new for [`Account::run`].
    handed: Notify,
}

#[derive(Default)]
struct State {
    inventory: Arc<Inventory>,
    lists: BTreeMap<List, Freshness>,
    audited_at: Option<Timestamp>,
    looked_at: Option<Timestamp>,
    catalogue: Option<(Arc<Catalogue>, Timestamp)>,
    /// The jobs in flight when CloudStack was last asked; nothing before the first time.
    in_flight: InFlight,
    jobs: Jobs,
    breakers: Breakers,
    outbox: Vec<Handed>,
    /// Answers that are not recorded yet.
    inbox: BTreeMap<ObjectKey, Vec<Answer>>,
}

/// A command that a round handed over.
struct Handed {
    key: ObjectKey,
    step: CheckedStep,
    job: JobId,
}

/// What came back at once from a command.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The command's job id.
    pub job: JobId,
    /// What the command was done to.
    pub subject: String,
    /// What went wrong, if something did: one CamelCase word and CloudStack's own words.
    pub error: Option<(&'static str, String)>,
    /// What it did.
    pub submitted: Submitted,
    /// When it came.
    pub at: Timestamp,
}

#[derive(Default)]
struct Freshness {
    read_at: Option<Timestamp>,
    /// Changes of what the list shows, counted.
    touched: u64,
    /// How many of them the last reading has seen.
    seen: u64,
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
            handed: Notify::new(),
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
        let (stale, depth, jobs) = self.stale(now, age);
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
        if state.inventory.jobs != jobs {
            Arc::make_mut(&mut state.inventory).jobs = jobs;
        }
        Ok(Arc::clone(&state.inventory))
    }

    /// Lists that have to be read, each with the changes that a reading begun now will show, and
    /// the jobs of which these lists may not show the end. A job that is told while they are read
    /// still counts as on its way, or its effect would seem to be missing.
    fn stale(&self, now: Timestamp, age: Duration) -> (Vec<(List, u64)>, Depth, InFlight) {
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
        let jobs = state.in_flight();
        (List::ALL.iter().filter_map(stale).collect(), depth, jobs)
    }

    /// Has lists read again at the next look.
    pub fn read_again<'a>(&self, lists: impl IntoIterator<Item = &'a List>) {
        self.lock().read_again(lists);
    }

    /// Asks which jobs are in flight; the next look shows it.
    ///
    /// # Errors
    /// CloudStack could not be asked.
    pub async fn jobs(&self) -> Result<(), CloudError> {
        let asked = self.clock.now();
        let jobs = self.cloud.jobs_in_flight().await?;
        let mut state = self.lock();
        state.jobs.polled(&jobs, asked, self.clock.now());
        state.in_flight = Some(jobs);
        Ok(())
    }

    /// Whether it was ever asked which jobs are in flight.
    pub fn knows_jobs(&self) -> bool {
        self.lock().in_flight.is_some()
    }

    /// Asks a question about a single resource.
    ///
    /// # Errors
    /// CloudStack could not be asked.
    pub async fn ask(&self, question: &Question) -> Result<action::Answer, CloudError> {
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

    /// Commands that were handed over and are not answered yet.
    pub fn in_hand(&self) -> usize {
        self.lock().jobs.in_hand()
    }

    /// Which of the commands that an object is about to record are not to be sent now, and why.
    pub(super) fn admit(&self, key: &ObjectKey, commands: &[&str]) -> Vec<Option<Held>> {
        let now = self.clock.now();
        self.lock().breakers.admit(key, commands, now)
    }

    /// Takes in what became of an object's commands; gives the breakers that opened or closed.
    pub(super) fn learn(&self, key: &ObjectKey, outcomes: &[Outcome]) -> Vec<Turned> {
        let now = self.clock.now();
        self.lock().breakers.learn(key, outcomes, now)
    }

    /// Commands that are not sent because they keep failing, and why.
    pub fn open_breakers(&self) -> Vec<(String, String)> {
        self.lock().breakers.open()
    }

    /// Takes commands to be sent, which are recorded, and goes on at once.
    pub fn hand_over(&self, key: &ObjectKey, steps: Vec<(CheckedStep, JobId, Follow)>) {
        let mut state = self.lock();
        for (step, job, follow) in steps {
            let action = &step.step().action;
            state.breakers.sent(key, action.command());
            state
                .jobs
                .hand_over(job.clone(), follow.command(key, action));
            let key = key.clone();
            state.outbox.push(Handed { key, step, job });
        }
        drop(state);
        self.handed.notify_one();
    }

    /// The answers for an object that it has not recorded; they stay until [`Account::recorded`].
    pub fn answers(&self, key: &ObjectKey) -> Vec<Answer> {
        let state = self.lock();
        let answers = state.inbox.get(key).into_iter().flatten();
        answers
            .filter(|answer| state.jobs.told(&answer.job))
            .cloned()
            .collect()
    }

    /// Forgets answers that are recorded.
    pub fn recorded(&self, key: &ObjectKey, answers: &[Answer]) {
        let mut state = self.lock();
        let Some(inbox) = state.inbox.get_mut(key) else {
            return;
        };
        inbox.retain(|open| answers.iter().all(|answer| answer.job != open.job));
        if inbox.is_empty() {
            state.inbox.remove(key);
        }
    }

    /// Objects with answers that are not recorded.
    pub fn unrecorded(&self) -> Vec<ObjectKey> {
        self.lock().inbox.keys().cloned().collect()
    }

    /// Follows a job that an earlier life of the controller submitted.
    pub fn follow(&self, job: &JobId, key: &ObjectKey, action: &Action, follow: Follow) {
        let command = follow.command(key, action);
        let now = self.clock.now();
        self.lock().jobs.follow(job.clone(), command, now);
        self.handed.notify_one();
    }

    /// Stops following a job of which a look showed the end.
    pub fn settled(&self, job: &JobId) {
        let now = self.clock.now();
        self.lock().jobs.settled(job, now);
    }

    /// Sends what is handed over and follows the jobs of the account together; calls `wake` for
    /// each object that has something to decide. Never returns; to be dropped with the account.
    pub async fn run(self: Arc<Self>, wake: impl Fn(ObjectKey)) {
        let mut busy: JoinSet<Came> = JoinSet::new();
        let mut polling = false;
        loop {
            let outbox = std::mem::take(&mut self.lock().outbox);
            for handed in outbox {
                let account = Arc::clone(&self);
                busy.spawn(async move { account.send(handed).await });
            }
            let (pause, ask) = match self.next() {
                Some((pause, ask)) if !(polling && ask == Ask::Poll) => (Some(pause), ask),
                _ => (None, Ask::Tell),
            };
            tokio::select! {
                biased;
                () = self.handed.notified() => {}
                () = self.clock.sleep(pause.unwrap_or_default()), if pause.is_some() => match ask {
                    Ask::Tell => self.tell(Jobs::tell).into_iter().for_each(&wake),
                    Ask::Look => self.tell(Jobs::look).into_iter().for_each(&wake),
                    Ask::Poll => {
                        polling = true;
                        let account = Arc::clone(&self);
                        busy.spawn(async move { account.poll().await });
                    }
                },
                Some(came) = busy.join_next() => match came {
                    Ok(Came::Answer(came)) => {
                        let (handed, answer) = *came;
                        self.answered(&handed, answer).into_iter().for_each(&wake);
                    }
                    Ok(Came::Jobs) => {
                        polling = false;
                        self.tell(Jobs::tell).into_iter().for_each(&wake);
                    }
                    Err(error) => tracing::error!(%error, "a command's task ended badly"),
                },
            }
        }
    }

    fn next(&self) -> Option<(Duration, Ask)> {
        let now = self.clock.now();
        let (at, ask) = self.lock().jobs.next()?;
        Some((at.duration_since(now).try_into().unwrap_or_default(), ask))
    }

    /// Sends one command. A bug in the way of one is as good as a lost answer.
    async fn send(&self, handed: Handed) -> Came {
        let sent = execute(&self.cloud, &handed.step, &handed.job);
        let (submitted, error) = match AssertUnwindSafe(sent).catch_unwind().await {
            Ok(came) => came,
            Err(_) => {
                let message = "a bug of Weir's while it was sent".to_owned();
                (Submitted::Uncertain { message }, None)
            }
        };
        let answer = Answer {
            job: handed.job.clone(),
            subject: handed.step.step().subject.clone(),
            error: error.map(|error| (error.reason(), error.to_string())),
            submitted,
            at: self.clock.now(),
        };
        Came::Answer(Box::new((handed, answer)))
    }

    async fn poll(&self) -> Came {
        if let Err(error) = self.jobs().await {
            tracing::debug!(
                error = &error as &dyn std::error::Error,
                "jobs not asked for"
            );
            let now = self.clock.now();
            self.lock().jobs.put_off(now);
        }
        Came::Jobs
    }

    /// Takes in an answer; gives whom to wake.
    fn answered(&self, handed: &Handed, answer: Answer) -> BTreeSet<ObjectKey> {
        let Handed { key, step, job } = handed;
        let action = &step.step().action;
        let mut state = self.lock();
        match &answer.submitted {
            Submitted::Job { resource } if !(resource.is_some() && action.made_at_submit()) => {
                state.jobs.started(job, answer.at);
            }
            Submitted::Job { .. } | Submitted::Done { .. } => state.jobs.done(job, answer.at),
            Submitted::Uncertain { .. } | Submitted::Refused { .. } => {
                state.jobs.forget(job);
                state.read_again(action.touches());
            }
        }
        let bad = matches!(
            answer.submitted,
            Submitted::Uncertain { .. } | Submitted::Refused { .. }
        );
        state.inbox.entry(key.clone()).or_default().push(answer);
        let told = state.jobs.tell(self.clock.now());
        state.read_again(&told.lists);
        let mut woken = told.keys;
        if bad {
            woken.insert(key.clone());
        }
        woken
    }

    fn tell(&self, tell: impl FnOnce(&mut Jobs, Timestamp) -> Told) -> BTreeSet<ObjectKey> {
        let now = self.clock.now();
        let mut state = self.lock();
        let told = tell(&mut state.jobs, now);
        state.read_again(&told.lists);
        told.keys
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state
            .lock()
            .expect("nothing panics while it holds the account's state")
    }
}

/// What a task of the account came back with.
enum Came {
    Answer(Box<(Handed, Answer)>),
    Jobs,
}

impl State {
    fn read_again<'a>(&mut self, lists: impl IntoIterator<Item = &'a List>) {
        for list in lists {
            self.lists.entry(*list).or_default().touched += 1;
        }
    }

    /// Every job that is not known to have ended, or not told to its object.
    fn in_flight(&self) -> InFlight {
        let in_flight = self.in_flight.as_ref()?;
        let untold = self.jobs.untold();
        Some(in_flight.iter().chain(untold).cloned().collect())
    }
}

/// Jobs in flight; nothing where nobody has asked yet.
type InFlight = Option<BTreeSet<JobId>>;

/// How a command is to be followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Follow {
    /// As all others of its kind.
    Together,
    /// By itself: other steps wait for it.
    Leading,
    /// By itself, and it takes longer than others: it brings a tier up.
    FirstStart,
}

impl Follow {
    fn command(self, key: &ObjectKey, action: &Action) -> Command {
        Command {
            key: key.clone(),
            kind: match self {
                Self::FirstStart => FIRST_START,
                Self::Together | Self::Leading => action.command(),
            },
            touches: action.touches(),
            shown: action.shown(),
            leads: self != Self::Together,
        }
    }
}
