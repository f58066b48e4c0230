//! One world: a cloud, a store, and a controller that is started again whenever it dies; or two of
//! them on one store, of which one leads.

use std::{future::Future, iter, sync::Arc, time::Duration};

use serde_json::{Value, json};
use tokio::{runtime::Builder, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use weir::{
    clock::Clock,
    cloud::{
        Connect, Guard,
        cloudstack::{CloudStack, CloudStackConfig},
    },
    controller::{Context, Ids, runner},
    run::leader::{LEASE, Leading, lead},
    sim::{Breakage, LoggedRequest, Profile, Sim, SimConfig, Who},
    store::{Backend, Leadership, Memory, Preconditions, Store, StoreError},
    types::{
        account::CloudAccountSpec,
        core::Confidential,
        meta::{API_VERSION, Kind, Object, ObjectKey},
        stack::ClearwaterStack,
    },
};

use crate::{
    kill::audit::is_settled,
    support::{manifest, stage::reads},
};

use super::{
    doom::Fates,
    ports::{Asked, Disk, InProcess},
};

/// Longest wait for a level, in virtual time. The budgets of remediation are hourly, so that the
/// last repair of a bad day may have to wait for two hours.
pub(crate) const PATIENCE: Duration = Duration::from_secs(4 * 3_600);

/// How often a level is looked at, in virtual time.
const GLANCE: Duration = Duration::from_secs(2);

/// How long a controller that died stays dead, as a service manager would have it.
const DEAD_FOR: Duration = Duration::from_secs(2);

struct Connector {
    clock: Clock,
    fates: Fates,
    guard: Option<Arc<dyn Guard>>,
}

impl Connect for Connector {
    type Cloud = CloudStack;

    fn connect(
        &self,
        spec: &CloudAccountSpec,
        api_key: &Confidential,
        secret_key: &Confidential,
    ) -> Result<CloudStack, String> {
        let config = CloudStackConfig {
            guard: self.guard.clone(),
            ..CloudStackConfig::of(spec, api_key, secret_key, &self.clock)
        };
        let carrier = InProcess(self.fates.clone());
        Ok(CloudStack::over(Box::new(carrier), config))
    }
}

/// What every life of a controller is made of.
#[derive(Clone)]
struct Making {
    seed: u64,
    clock: Clock,
    kept: Arc<Memory>,
    fates: Fates,
    /// Which of several controllers it is; none where it is alone.
    number: Option<u64>,
}

impl Making {
    /// A controller, from what is in the store. Each life draws ids of its own.
    fn controller(&self, life: u64) -> impl Future<Output = ()> + Send + use<> {
        let seed = self.seed ^ (life << 32) ^ (self.number.unwrap_or_default() << 48);
        let stop = CancellationToken::new();
        let holder = self.number.map(|number| format!("{number}.{life}"));
        let fates = self.fates.born(&stop, holder.as_deref());
        let disk = Arc::new(Disk::new(Arc::clone(&self.kept), fates.clone()));
        let claim = holder.map(|holder| {
            let leadership = Leadership::new(Arc::clone(&disk) as _, LEASE);
            (holder, Arc::new(Leading(leadership)))
        });
        let backend: Arc<dyn Backend> = match &claim {
            Some((_, leading)) => Arc::new(leading.0.backend()),
            None => disk,
        };
        let guard = claim.as_ref().map(|(_, leading)| {
            let (leading, fates) = (Arc::clone(leading), fates.clone());
            Arc::new(Asked { leading, fates }) as Arc<dyn Guard>
        });
        let store = Store::with_backend(backend, self.clock.clone()).with_uids_seeded(seed);
        let connector = Connector {
            clock: self.clock.clone(),
            fates,
            guard,
        };
        let ids = Ids::seeded(seed);
        let (context, entries) = Context::new(store, self.clock.clone(), ids, |_| connector);
        async move {
            // A store that fails at the start ends it, and so does the loss of the lead; whoever
            // keeps it running starts it anew.
            let running = runner::run(Arc::clone(&context), entries, stop.clone());
            match claim {
                None => drop(running.await),
                Some((holder, leading)) => {
                    let running = Box::pin(async { Ok(running.await?) });
                    drop(lead(leading, &holder, &context, running, stop).await);
                }
            }
        }
    }
}

/// Keeps a controller running for as long as it is polled.
async fn keep(making: Making) {
    for number in 1.. {
        let mut life = JoinSet::new();
        life.spawn(making.controller(number));
        tokio::select! {
            biased;
            () = making.fates.fallen() => {}
            _ = life.join_next() => {}
        }
        life.shutdown().await;
        tokio::time::sleep(DEAD_FOR).await;
        making.fates.bury().await;
    }
}

/// See the module.
pub(crate) struct World {
    pub(crate) sim: Sim,
    /// What users write through: it does not fail, and nobody dies of it.
    pub(crate) store: Store,
    /// Of the first controller.
    pub(super) fates: Fates,
    making: Making,
    /// Of the other one, where there is one.
    rival: Option<Fates>,
    /// Ends when the world is dropped.
    keeper: JoinSet<()>,
}

impl World {
    /// A cloud with nothing running yet.
    pub(crate) fn new(seed: u64, profile: Profile) -> Self {
        // The client spreads its retries by the luck of its thread.
        fastrand::seed(seed);
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let sim = Sim::new(SimConfig {
            profile,
            seed,
            clock: clock.clone(),
            state_file: None,
        });
        let kept = Arc::new(Memory::default());
        let fates = Fates::new(sim.clone(), Arc::clone(&kept));
        let making = Making {
            seed,
            clock: clock.clone(),
            kept: Arc::clone(&kept),
            fates: fates.clone(),
            number: None,
        };
        Self {
            sim,
            store: Store::with_backend(kept, clock).with_uids_seeded(seed),
            fates,
            making,
            rival: None,
            keeper: JoinSet::new(),
        }
    }

    /// The same with two controllers, of which one leads.
    pub(crate) fn with_a_rival(mut self) -> Self {
        self.making.number = Some(1);
        self.rival = Some(self.fates.rival());
        self
    }

    /// What is between each controller and the rest.
    fn controllers(&self) -> impl Iterator<Item = &Fates> {
        iter::once(&self.fates).chain(&self.rival)
    }

    /// The controller that leads, or the one that does not; none where nobody leads.
    pub(super) fn who(&self, leads: bool) -> Option<&Fates> {
        let leader = self.fates.leader()?;
        let first = leader.starts_with("1.");
        match first == leads {
            true => Some(&self.fates),
            false => self.rival.as_ref(),
        }
    }

    /// Has every controller die now.
    pub(super) fn kill(&self) {
        self.controllers().for_each(Fates::kill);
    }

    /// Starts the controller, and gives it an account.
    pub(crate) async fn start(&mut self, who: Who) {
        self.keeper.spawn(keep(self.making.clone()));
        if let Some(fates) = self.rival.clone() {
            self.keeper.spawn(keep(Making {
                number: Some(2),
                fates,
                ..self.making.clone()
            }));
        }
        self.create(manifest::keys(&self.sim, who)).await;
        self.create(account()).await;
    }

    pub(crate) async fn create(&self, object: Value) {
        let object: Object = serde_json::from_value(object).unwrap();
        self.store.create(object).await.unwrap();
    }

    /// Begins the end of the stack, or of a `Machine`.
    ///
    /// # Errors
    /// There is none.
    pub(crate) async fn delete(&self, kind: Kind, name: &str) -> Result<(), StoreError> {
        let key = ObjectKey::new(kind, "default", name);
        let deleted = self.store.delete(&key, &Preconditions::default()).await;
        deleted.map(drop)
    }

    pub(crate) async fn stack(&self) -> Option<ClearwaterStack> {
        self.stack_named("ims").await
    }

    pub(crate) async fn stack_named(&self, name: &str) -> Option<ClearwaterStack> {
        self.store.get_as("default", name).await.unwrap()
    }

    /// Waits for a level of a stack.
    ///
    /// # Errors
    /// It did not come; with what there is instead.
    pub(crate) async fn within(
        &self,
        (name, patience): (&str, Duration),
        what: &str,
        level: impl AsyncFn(Option<ClearwaterStack>) -> bool,
    ) -> Result<(), String> {
        let begun = Instant::now();
        let mut seen = None;
        loop {
            // Nothing is worth a look that has not changed.
            let version = self.store.version().await.unwrap();
            if seen != Some(version) {
                seen = Some(version);
                if level(self.stack_named(name).await).await {
                    return Ok(());
                }
            }
            if begun.elapsed() >= patience {
                let status = self.stack_named(name).await.and_then(|stack| stack.status);
                let status = serde_json::to_string_pretty(&status).unwrap();
                let world = self.sim.overview();
                return Err(format!(
                    "{name} not within {patience:?}: {what}: {status}\n{world:#}"
                ));
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits until nothing of a stack is left.
    ///
    /// # Errors
    /// As [`Self::within`].
    pub(crate) async fn gone(&self, name: &str) -> Result<(), String> {
        self.goes(name, PATIENCE).await
    }

    /// The same with another patience.
    ///
    /// # Errors
    /// As [`Self::within`].
    pub(super) async fn goes(&self, name: &str, patience: Duration) -> Result<(), String> {
        let gone = async |stack: Option<ClearwaterStack>| stack.is_none();
        self.within((name, patience), "gone", gone).await
    }

    /// Waits until the stack is ready and nothing is left to do.
    ///
    /// # Errors
    /// As [`Self::within`].
    pub(crate) async fn settled(&self) -> Result<(), String> {
        self.settles("ims", PATIENCE).await
    }

    /// The same, of any stack and with another patience.
    ///
    /// # Errors
    /// As [`Self::within`].
    pub(super) async fn settles(&self, name: &str, patience: Duration) -> Result<(), String> {
        let settled = async |stack: Option<ClearwaterStack>| {
            stack.is_some_and(|stack| is_settled(&stack)) && self.machines_stay().await
        };
        self.within((name, patience), "settled", settled).await
    }

    /// Whether no `Machine` is on its way out.
    async fn machines_stay(&self) -> bool {
        let machines = self.store.list(Kind::Machine, Some("default")).await;
        let machines = machines.unwrap().items;
        machines.iter().all(|machine| !machine.metadata.deleting())
    }

    /// Breaks something and waits until it was seen and put right.
    pub(super) async fn mended(&self, what: Breakage) {
        self.sim.break_it(what).unwrap();
        self.looked().await;
        self.settled().await.unwrap();
    }

    /// Long enough for two looks at everything.
    pub(crate) async fn looked(&self) {
        tokio::time::sleep(Duration::from_secs(130)).await;
    }

    /// Looks twice; nothing may be sent for it that changes something.
    ///
    /// # Errors
    /// What was sent, and that this was the reason.
    pub(super) async fn unmoved(&self, what: &str) -> Result<(), String> {
        let before = self.writes().len();
        self.looked().await;
        let sent = self.writes().split_off(before);
        match sent.is_empty() {
            true => Ok(()),
            false => Err(format!("{what} made it send {sent:#?}")),
        }
    }

    /// What was sent so far that changes something, a line each.
    pub(super) fn writes(&self) -> Vec<String> {
        let requests = self.sim.requests();
        let writes = requests.iter().filter(|request| !reads(&request.command));
        let line = |request: &LoggedRequest| {
            let params = request.params.iter();
            let params = params.filter(|(name, _)| *name != "userdata");
            let params: Vec<String> = params.map(|(k, v)| format!("{k}={v}")).collect();
            let (at, user, status) = (request.at, &request.user, request.status);
            format!(
                "{at} {user} {} {status} {}",
                request.command,
                params.join(" ")
            )
        };
        writes.map(line).collect()
    }

    /// Every request so far, with when and how it was answered.
    pub(super) fn log(&self) -> String {
        serde_json::to_string_pretty(&self.sim.requests()).unwrap()
    }
}

fn account() -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "CloudAccount",
        "metadata": {"name": "cloud", "namespace": "default"},
        "spec": {
            "endpoint": "http://cloud.example.net/client/api", "secretRef": {"name": "keys"},
        },
    })
}

/// Runs a world to its end, in one thread and with time that moves only when all wait.
pub(crate) fn run<T>(world: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(world)
}
