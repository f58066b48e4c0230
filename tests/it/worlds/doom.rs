//! When the controller dies: at a request to the cloud or at a write to its store, before it, after
//! it, or with the request still on its way. The controller's future is dropped where it waits,
//! which is what a kill leaves: everything that was written, and nothing that was not.

use std::{
    collections::BTreeMap,
    fmt, future,
    sync::{Arc, Mutex, MutexGuard},
};

use bytes::Bytes;
use futures_util::future::BoxFuture;
use tokio::sync::Notify;
use weir::{
    cloud::cloudstack::{Carrier, Reply as Response, Silence},
    sim::Sim,
    store::{Backend, BackendError, Changes, Entry, Expect, Memory, Range, Reply},
    types::meta::ResourceVersion,
};

use crate::{kill::gate::parameter, support::stage::reads};

use super::safety::Watch;

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

    fn is_of_store(self) -> bool {
        use Place::{AfterWrite, BeforeWrite, FailedWrite, FailedYetWritten};
        matches!(
            self,
            BeforeWrite | AfterWrite | FailedWrite | FailedYetWritten
        )
    }

    fn kills(self) -> bool {
        !matches!(self, Self::FailedWrite | Self::FailedYetWritten)
    }
}

/// A death that waits for its moment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Doom {
    pub(super) place: Place,
    /// How many requests or writes of that kind are let pass first; reads do not count.
    pub(super) after: u32,
    /// The command that it waits for; any if absent.
    pub(super) at: Option<&'static str>,
}

impl Doom {
    fn waits_for(&self, of_store: bool, at: &str) -> bool {
        self.place.is_of_store() == of_store && self.at.is_none_or(|wanted| wanted == at)
    }
}

/// What is between the controller and its cloud and store. Clones are handles to the same.
#[derive(Clone)]
pub(super) struct Fates {
    sim: Sim,
    inner: Arc<Inner>,
}

#[derive(Default)]
struct Inner {
    state: Mutex<State>,
    fallen: Notify,
}

#[derive(Default)]
struct State {
    waiting: Vec<Doom>,
    /// Whether the controller is dead, so that nothing of it gets through any more.
    dead: bool,
    /// A request that has still to arrive.
    late: Option<String>,
    struck: BTreeMap<(Place, String), u32>,
    /// Whether the store's disk is full, so that every write fails.
    full: bool,
    /// Who looks at what the controller does.
    watch: Option<Arc<Watch>>,
}

impl fmt::Debug for Fates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fates").finish_non_exhaustive()
    }
}

impl Fates {
    pub(super) fn new(sim: Sim) -> Self {
        let inner = Arc::default();
        Self { sim, inner }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap()
    }

    /// Has somebody look at everything that the controller does.
    pub(super) fn watch(&self, watch: Arc<Watch>) {
        self.state().watch = Some(watch);
    }

    fn watched(&self) -> Option<Arc<Watch>> {
        self.state().watch.clone()
    }

    /// Lets the store's disk be full, or have room again.
    pub(super) fn fill_disk(&self, full: bool) {
        self.state().full = full;
    }

    /// Has the controller die now.
    pub(super) fn kill(&self) {
        self.state().dead = true;
        self.inner.fallen.notify_waiters();
    }

    /// Has the controller die, or its store fail, at a moment from now on.
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
            let told = self.inner.fallen.notified();
            if self.state().dead {
                return;
            }
            told.await;
        }
    }

    /// The controller is dead and cleared away: what was on its way arrives, and another may live.
    pub(super) async fn bury(&self) {
        let late = self.state().late.take();
        if let Some(form) = late {
            self.sim.post("", &form).await;
        }
        self.state().dead = false;
    }

    /// How often each doom struck at which command or kind of key.
    pub(super) fn struck(&self) -> BTreeMap<(Place, String), u32> {
        self.state().struck.clone()
    }

    /// The doom whose moment this is, if any is.
    fn due(&self, of_store: bool, at: &str) -> Option<Place> {
        let mut state = self.state();
        let mine = |doom: &Doom| doom.waits_for(of_store, at);
        let place = state
            .waiting
            .iter()
            .position(|doom| mine(doom) && doom.after == 0);
        for doom in state.waiting.iter_mut().filter(|doom| mine(doom)) {
            doom.after = doom.after.saturating_sub(1);
        }
        let doom = state.waiting.remove(place?);
        *state.struck.entry((doom.place, at.to_owned())).or_default() += 1;
        if doom.place.kills() {
            state.dead = true;
            self.inner.fallen.notify_waiters();
        }
        Some(doom.place)
    }

    fn is_dead(&self) -> bool {
        self.state().dead
    }
}

/// Never returns: whoever waits here is dead.
async fn dead<T>() -> T {
    future::pending().await
}

/// Carries requests to the simulator by a call.
pub(super) struct InProcess(pub(super) Fates);

impl InProcess {
    async fn post(&self, form: &str) -> Result<Response, Silence> {
        let reply = self.0.sim.post("", form).await;
        if reply.is_lost() {
            return Err(Silence::Lost("the simulator lost the connection".into()));
        }
        Ok(Response {
            status: reply.status,
            retry_after: None,
            body: reply.body.into(),
        })
    }
}

impl Carrier for InProcess {
    fn carry(&self, form: String) -> BoxFuture<'_, Result<Response, Silence>> {
        Box::pin(async move {
            if self.0.is_dead() {
                return dead().await;
            }
            let command = parameter(form.as_bytes(), "command");
            if reads(&command) {
                return self.post(&form).await;
            }
            match self.0.due(false, &command) {
                Some(Place::BeforeRequest) => return dead().await,
                Some(Place::LateRequest) => {
                    self.0.state().late = Some(form);
                    return dead().await;
                }
                Some(_) => {
                    self.post(&form).await.ok();
                    return dead().await;
                }
                None => {}
            }
            let watch = self.0.watched();
            if let Some(watch) = &watch {
                watch.before(&self.0.sim, &command, form.as_bytes());
            }
            let reply = self.post(&form).await;
            if let Some(watch) = &watch {
                watch.after(&self.0.sim, &command);
            }
            reply
        })
    }
}

/// A store that keeps what was written whoever dies, and fails when it is to fail.
#[derive(Debug)]
pub(super) struct Disk {
    kept: Arc<Memory>,
    fates: Fates,
}

impl Disk {
    pub(super) fn new(kept: Arc<Memory>, fates: Fates) -> Self {
        Self { kept, fates }
    }

    async fn write<'a>(
        &'a self,
        key: &'a str,
        value: Option<&[u8]>,
        write: impl FnOnce() -> Reply<'a, ResourceVersion>,
    ) -> Result<ResourceVersion, BackendError> {
        if self.fates.is_dead() {
            return dead().await;
        }
        let broken = || BackendError::Failed("the disk is broken".into());
        if self.fates.state().full {
            return Err(BackendError::Failed("no space left on the disk".into()));
        }
        if let (Some(watch), Some(value)) = (self.fates.watched(), value) {
            watch.told(&self.fates.sim, key, value);
        }
        let kind = key.trim_start_matches('/').split('/').next();
        match self.fates.due(true, kind.unwrap_or_default()) {
            None => write().await,
            Some(Place::BeforeWrite) => dead().await,
            Some(Place::FailedWrite) => Err(broken()),
            Some(Place::FailedYetWritten) => write().await.and_then(|_| Err(broken())),
            Some(_) => {
                write().await.ok();
                dead().await
            }
        }
    }
}

impl Backend for Disk {
    fn get<'a>(&'a self, key: &'a str) -> Reply<'a, Option<Entry>> {
        self.kept.get(key)
    }

    fn range<'a>(&'a self, prefix: &'a str) -> Reply<'a, Range> {
        self.kept.range(prefix)
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, expect: Expect) -> Reply<'a, ResourceVersion> {
        Box::pin(async move {
            let told = value.clone();
            let write = move || self.kept.put(key, value, expect);
            self.write(key, Some(&told), write).await
        })
    }

    fn remove<'a>(&'a self, key: &'a str, expect: Expect) -> Reply<'a, ResourceVersion> {
        Box::pin(self.write(key, None, move || self.kept.remove(key, expect)))
    }

    fn watch(&self, prefix: &str, from: ResourceVersion) -> Result<Changes, BackendError> {
        self.kept.watch(prefix, from)
    }

    fn version(&self) -> Reply<'_, ResourceVersion> {
        self.kept.version()
    }
}
