//! When a controller dies, sleeps or loses its lease: at a request to the cloud or at a write to its
//! store, before it, after it, or with the request still on its way. At a death the controller's
//! future is dropped where it waits, which is what a kill leaves: everything that was written, and
//! nothing that was not.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::FutureExt;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};
use tokio_util::sync::CancellationToken;
use weir::{
    sim::Sim,
    store::{BackendError, LeaseId, Leases, Memory, leader},
    types::meta::ResourceVersion,
};

use crate::kill::gate::parameter;

use super::safety::Watch;

/// What a controller does when a doom strikes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    /// It sends a command that changes something.
    Request,
    /// It writes to the store.
    Write,
    /// It asks the store whether it still leads.
    Lead,
}

/// Where the controller dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Place {
    /// The request never arrives.
    BeforeRequest,
    /// The request takes effect, and nobody gets the answer.
    AfterRequest,
    /// The request arrives when the controller is dead.
    LateRequest,
    /// Nothing is written.
    BeforeWrite,
    /// It is written, and nobody is told.
    AfterWrite,
    /// The store says that it failed, and wrote nothing. The controller lives.
    FailedWrite,
    /// The store says that it failed, and wrote. The controller lives.
    FailedYetWritten,
    /// It sleeps with the request in hand, which arrives when it wakes.
    AsleepBeforeRequest,
    /// The request takes effect, and the answer is heard when it wakes.
    AsleepAfterRequest,
    /// It sleeps with the write in hand.
    AsleepBeforeWrite,
    /// It is written, and the answer is heard when it wakes.
    AsleepAfterWrite,
    /// The store says that it leads, and that is heard when it wakes.
    AsleepAfterAsking,
    /// Its lease is taken from it, and the request arrives when another one leads.
    LeaseLost,
}

impl Place {
    pub(super) const ALL: [Self; 7] = [
        Self::BeforeRequest,
        Self::AfterRequest,
        Self::LateRequest,
        Self::BeforeWrite,
        Self::AfterWrite,
        Self::FailedWrite,
        Self::FailedYetWritten,
    ];

    /// What only one of several controllers can live through.
    pub(super) const OF_RIVALS: [Self; 6] = [
        Self::AsleepBeforeRequest,
        Self::AsleepAfterRequest,
        Self::AsleepBeforeWrite,
        Self::AsleepAfterWrite,
        Self::AsleepAfterAsking,
        Self::LeaseLost,
    ];

    pub(super) fn door(self) -> Door {
        match self {
            Self::BeforeRequest
            | Self::AfterRequest
            | Self::LateRequest
            | Self::AsleepBeforeRequest
            | Self::AsleepAfterRequest
            | Self::LeaseLost => Door::Request,
            Self::AsleepAfterAsking => Door::Lead,
            Self::BeforeWrite
            | Self::AfterWrite
            | Self::FailedWrite
            | Self::FailedYetWritten
            | Self::AsleepBeforeWrite
            | Self::AsleepAfterWrite => Door::Write,
        }
    }

    fn kills(self) -> bool {
        match self {
            Self::BeforeRequest
            | Self::AfterRequest
            | Self::LateRequest
            | Self::BeforeWrite
            | Self::AfterWrite => true,
            Self::FailedWrite
            | Self::FailedYetWritten
            | Self::AsleepBeforeRequest
            | Self::AsleepAfterRequest
            | Self::AsleepBeforeWrite
            | Self::AsleepAfterWrite
            | Self::AsleepAfterAsking
            | Self::LeaseLost => false,
        }
    }
}

/// A death that waits for its moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doom {
    pub(super) place: Place,
    /// How often that is let pass first; reads do not count.
    pub(super) after: u32,
    /// The command that it waits for; any if absent.
    pub(super) at: Option<&'static str>,
    /// How long the controller sleeps, where it does.
    pub(super) time: Duration,
}

impl Doom {
    fn waits_for(&self, door: Door, at: &str) -> bool {
        self.place.door() == door && self.at.is_none_or(|wanted| wanted == at)
    }
}

/// What is between a controller and its cloud and store. Clones are handles to the same.
#[derive(Clone)]
pub(super) struct Fates {
    pub(super) sim: Sim,
    kept: Arc<Memory>,
    /// What all controllers share.
    inner: Arc<Mutex<State>>,
    /// What is this controller's own, from life to life.
    own: Arc<Own>,
    /// Who it is in this life, where there are several.
    holder: Option<Arc<str>>,
}

#[derive(Default)]
struct State {
    waiting: Vec<Doom>,
    struck: BTreeMap<(String, String), u32>,
    /// How many commands that change something each life of several controllers sent.
    sent: BTreeMap<Arc<str>, usize>,
    /// Whether the store's disk is full, so that every write fails.
    full: bool,
    /// Who looks at what the controllers do.
    watch: Option<Arc<Watch>>,
}

#[derive(Default)]
struct Own {
    body: Mutex<Body>,
    fallen: Notify,
}

#[derive(Default)]
struct Body {
    /// Whether the controller is dead, so that nothing of it gets through any more.
    dead: bool,
    /// Requests that have still to arrive, and whose they are.
    late: Vec<(Option<Arc<str>>, String)>,
    /// Until when it sleeps.
    asleep: Option<Instant>,
    /// Until when it cannot reach its store.
    cut_off: Option<Instant>,
    /// The lease that it was given last.
    lease: Option<LeaseId>,
    /// Asks the present life to stop in order.
    stop: CancellationToken,
    /// Who it is in its present life, where there are several.
    holder: Option<Arc<str>>,
}

impl fmt::Debug for Fates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fates").finish_non_exhaustive()
    }
}

impl Fates {
    pub(super) fn new(sim: Sim, kept: Arc<Memory>) -> Self {
        Self {
            sim,
            kept,
            inner: Arc::default(),
            own: Arc::default(),
            holder: None,
        }
    }

    /// Those of another controller in the same world.
    pub(super) fn rival(&self) -> Self {
        Self {
            own: Arc::default(),
            ..self.clone()
        }
    }

    /// Those of a new life, which stops when it is asked to; of one of several it has a name.
    pub(super) fn born(&self, stop: &CancellationToken, holder: Option<&str>) -> Self {
        let holder: Option<Arc<str>> = holder.map(Arc::from);
        let mut body = self.body();
        body.stop = stop.clone();
        body.holder.clone_from(&holder);
        drop(body);
        Self {
            holder,
            ..self.clone()
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.lock().unwrap()
    }

    fn body(&self) -> MutexGuard<'_, Body> {
        self.own.body.lock().unwrap()
    }

    /// Has somebody look at everything that the controllers do.
    pub(super) fn watch(&self, watch: Arc<Watch>) {
        self.state().watch = Some(watch);
    }

    pub(super) fn watched(&self) -> Option<Arc<Watch>> {
        self.state().watch.clone()
    }

    /// Lets the store's disk be full, or have room again.
    pub(super) fn fill_disk(&self, full: bool) {
        self.state().full = full;
    }

    pub(super) fn disk_is_full(&self) -> bool {
        self.state().full
    }

    /// Has the controller die now.
    pub(super) fn kill(&self) {
        self.body().dead = true;
        self.own.fallen.notify_waiters();
    }

    /// Asks the controller to stop in order.
    pub(super) fn resign(&self) {
        self.body().stop.cancel();
    }

    /// Has the controller sleep from now on.
    pub(super) fn sleep(&self, time: Duration) {
        self.body().asleep = Some(Instant::now() + time);
    }

    /// Lets the controller not reach its store from now on.
    pub(super) fn cut_off(&self, time: Duration) {
        self.body().cut_off = Some(Instant::now() + time);
    }

    pub(super) fn has_lease(&self, lease: LeaseId) {
        self.body().lease = Some(lease);
    }

    /// Takes the lease from the controller, as an operator of the store can.
    pub(super) fn lose_lease(&self) {
        let lease = self.body().lease;
        if let Some(lease) = lease {
            let revoked = self.kept.revoke(lease).now_or_never();
            revoked.expect("memory answers at once").unwrap();
        }
    }

    /// Has a controller die, sleep or lose its lease, or its store fail, at a moment from now on.
    pub(super) fn await_doom(&self, doom: Doom) {
        self.state().waiting.push(doom);
    }

    /// Nothing waits any more.
    pub(super) fn relent(&self) {
        self.state().waiting.clear();
    }

    /// Waits for the controller's death.
    pub(super) async fn fallen(&self) {
        loop {
            let told = self.own.fallen.notified();
            if self.is_dead() {
                return;
            }
            told.await;
        }
    }

    /// The controller is dead and cleared away: what was on its way arrives, and another may live.
    pub(super) async fn bury(&self) {
        let late = std::mem::take(&mut self.body().late);
        for (holder, form) in late {
            let sender = Self {
                holder,
                ..self.clone()
            };
            sender.arrives(&parameter(form.as_bytes(), "command"));
            self.sim.post("", &form).await;
        }
        self.body().dead = false;
    }

    /// How often each doom struck at which command or kind of key.
    pub(super) fn struck(&self) -> BTreeMap<(String, String), u32> {
        self.state().struck.clone()
    }

    /// Notes that something struck.
    pub(super) fn strike(&self, what: &str, at: &str) {
        let cell = (what.to_owned(), at.to_owned());
        *self.state().struck.entry(cell).or_default() += 1;
    }

    /// The doom whose moment this is, if any is.
    pub(super) fn due(&self, door: Door, at: &str) -> Option<Doom> {
        let mut state = self.state();
        let mine = |doom: &Doom| doom.waits_for(door, at);
        let place = state
            .waiting
            .iter()
            .position(|doom| mine(doom) && doom.after == 0);
        for doom in state.waiting.iter_mut().filter(|doom| mine(doom)) {
            doom.after = doom.after.saturating_sub(1);
        }
        let doom = state.waiting.remove(place?);
        drop(state);
        self.strike(&format!("{:?}", doom.place), at);
        if doom.place.kills() {
            self.kill();
        }
        Some(doom)
    }

    pub(super) fn is_dead(&self) -> bool {
        self.body().dead
    }

    fn asleep_until(&self) -> Option<Instant> {
        self.body().asleep.filter(|until| *until > Instant::now())
    }

    fn cut_off_until(&self) -> Option<Instant> {
        self.body().cut_off.filter(|until| *until > Instant::now())
    }

    /// Waits for as long as the controller sleeps.
    pub(super) async fn awake(&self) {
        while let Some(until) = self.asleep_until() {
            sleep_until(until).await;
        }
    }

    pub(super) fn is_cut_off(&self) -> bool {
        self.cut_off_until().is_some()
    }

    /// Waits until the controller is awake and hears of its store.
    pub(super) async fn hears(&self) {
        while let Some(until) = self.asleep_until().or(self.cut_off_until()) {
            sleep_until(until).await;
        }
    }

    /// Whether this life leads, as the store itself has it; of a single controller always.
    pub(super) fn leads(&self) -> bool {
        match &self.holder {
            None => true,
            Some(holder) => self.leader().as_deref() == Some(holder),
        }
    }

    /// Who leads, as the store itself has it.
    pub(super) fn leader(&self) -> Option<String> {
        let led = leader(&*self.kept).now_or_never();
        led.expect("memory answers at once").unwrap()
    }

    /// The controller hands a command over that changes something.
    pub(super) fn hands_over(&self, command: &str) {
        if let Some(holder) = &self.holder {
            *self.state().sent.entry(Arc::clone(holder)).or_default() += 1;
        }
        if !self.leads() {
            self.usurps(&format!("{command} was sent"));
        }
    }

    /// How many commands that change something a life sent.
    pub(super) fn sent(&self, holder: &str) -> usize {
        self.state().sent.get(holder).copied().unwrap_or_default()
    }

    /// Who the controller is in its present life.
    pub(super) fn present(&self) -> Option<Arc<str>> {
        self.body().holder.clone()
    }

    /// A request is in hand, or on its way, and may be there for longer than the lease.
    pub(super) fn in_hand(&self) {
        if let Some(watch) = self.watched() {
            watch.may_stray();
        }
    }

    /// The request arrives when the controller is dead, or leads no more.
    pub(super) fn is_late(&self, form: String) {
        self.in_hand();
        self.body().late.push((self.holder.clone(), form));
    }

    /// A command arrives that was in hand or on its way.
    pub(super) fn arrives(&self, command: &str) {
        if self.leads() {
            return;
        }
        self.strike("OnItsWay", command);
        if let Some(watch) = self.watched() {
            watch.strayed(command);
        }
    }

    /// What came of a write.
    pub(super) fn written(&self, kind: &str, written: &Result<ResourceVersion, BackendError>) {
        match written {
            Err(BackendError::Fenced) => self.strike("Fenced", kind),
            Ok(_) if !self.leads() => self.usurps(&format!("{kind} were written")),
            _ => {}
        }
    }

    fn usurps(&self, what: &str) {
        if let Some(watch) = self.watched() {
            let (by, leader) = (&self.holder, self.leader());
            watch.usurped(format!("{what} by {by:?} while {leader:?} leads"));
        }
    }
}
