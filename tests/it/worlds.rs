//! Whole worlds in one thread and in virtual time: the real controller, planner, client and store
//! against the simulator, with no socket and no clock of the machine between them. An hour takes
//! a moment, and a seed gives the same world every time, request by request.

use std::{future::Future, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::{runtime::Builder, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use weir::{
    clock::Clock,
    cloud::{
        Connect,
        cloudstack::{Carrier, CloudStack, CloudStackConfig, Reply, Silence},
    },
    controller::{Context, Ids, runner},
    sim::{Breakage, Profile, Sim, SimConfig, Who},
    store::{Memory, Preconditions, Store, StoreError},
    types::{
        account::CloudAccountSpec,
        core::Confidential,
        meta::{API_VERSION, Kind, Object, ObjectKey},
        stack::ClearwaterStack,
    },
};

use crate::{support::manifest, world::small_stack};

/// Longest wait for a level, in virtual time: half an hour is more than any repair takes.
const PATIENCE: Duration = Duration::from_secs(1_800);

/// How often a level is looked at, in virtual time.
const GLANCE: Duration = Duration::from_millis(500);

/// Carries requests to the simulator by a call.
struct InProcess(Sim);

impl Carrier for InProcess {
    fn carry(&self, form: String) -> BoxFuture<'_, Result<Reply, Silence>> {
        Box::pin(async move {
            let reply = self.0.post("", &form).await;
            if reply.is_lost() {
                return Err(Silence::Lost("the simulator lost the connection".into()));
            }
            Ok(Reply {
                status: reply.status,
                retry_after: None,
                body: reply.body.into(),
            })
        })
    }
}

struct Connector(Clock, Sim);

impl Connect for Connector {
    type Cloud = CloudStack;

    fn connect(
        &self,
        spec: &CloudAccountSpec,
        api_key: &Confidential,
        secret_key: &Confidential,
    ) -> Result<CloudStack, String> {
        let config = CloudStackConfig::of(spec, api_key, secret_key, &self.0);
        let carrier = Box::new(InProcess(self.1.clone()));
        Ok(CloudStack::over(carrier, config))
    }
}

/// See the module.
struct World {
    sim: Sim,
    store: Store,
    /// Ends when the world is dropped.
    _controller: JoinSet<Result<(), StoreError>>,
}

impl World {
    /// A cloud at the measured pace, an account and a controller.
    async fn start(seed: u64) -> Self {
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().unwrap());
        let sim = Sim::new(SimConfig {
            profile: Profile::Lab,
            seed,
            clock: clock.clone(),
            state_file: None,
        });
        let backend = Arc::new(Memory::default());
        let store = Store::with_backend(backend, clock.clone()).with_uids_seeded(seed);
        let connector = Connector(clock.clone(), sim.clone());
        let ids = Ids::seeded(seed);
        let (context, entries) = Context::new(store.clone(), clock, ids, |_| connector);
        let mut controller = JoinSet::new();
        controller.spawn(runner::run(context, entries, CancellationToken::new()));
        let world = Self {
            _controller: controller,
            sim,
            store,
        };
        let keys = manifest::keys(&world.sim, Who::Tenant);
        world.create(keys).await;
        world.create(account()).await;
        world
    }

    async fn create(&self, object: Value) {
        let object: Object = serde_json::from_value(object).unwrap();
        self.store.create(object).await.unwrap();
    }

    async fn stack(&self) -> Option<ClearwaterStack> {
        self.store.get_as("default", "ims").await.unwrap()
    }

    async fn until(&self, what: &str, level: impl AsyncFn(Option<ClearwaterStack>) -> bool) {
        let begun = Instant::now();
        while !level(self.stack().await).await {
            assert!(
                begun.elapsed() < PATIENCE,
                "not within {PATIENCE:?}: {what}: {:?}\n{:#}",
                self.stack().await.and_then(|stack| stack.status),
                self.sim.overview()
            );
            tokio::time::sleep(GLANCE).await;
        }
    }

    /// Waits until the stack is ready and nothing is left to do.
    async fn settled(&self) {
        let settled = |stack: ClearwaterStack| {
            let generation = stack.metadata.generation;
            stack.status.is_some_and(|status| {
                status.phase == "Ready"
                    && Some(status.observed_generation) == generation
                    && status.drift.is_empty()
                    && status.ledger.pending.is_empty()
                    && status.ledger.strays.is_empty()
            })
        };
        self.until("settled", async |stack| stack.is_some_and(settled))
            .await;
    }

    /// Breaks something and waits until it was seen and put right.
    async fn mended(&self, what: Breakage) {
        self.sim.break_it(what).unwrap();
        tokio::time::sleep(Duration::from_secs(130)).await;
        self.settled().await;
    }

    /// Every request so far, with when and how it was answered.
    fn log(&self) -> String {
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
fn run<T>(world: impl Future<Output = T>) -> T {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(world)
}

/// One stack from its create over a few repairs to its delete; gives every request.
async fn a_life(seed: u64) -> String {
    let world = World::start(seed).await;
    let retain = json!({"deletionPolicy": {"network": "Retain"}});
    world.create(small_stack(&retain)).await;
    world.settled().await;
    let sprout = || "ims-sprout-0".to_owned();
    world.mended(Breakage::StopVm { vm: sprout() }).await;
    let gone = Breakage::DestroyVm {
        vm: sprout(),
        expunge: true,
    };
    world.mended(gone).await;
    let key = ObjectKey::new(Kind::ClearwaterStack, "default", "ims");
    let any = Preconditions::default();
    world.store.delete(&key, &any).await.unwrap();
    world.until("gone", async |stack| stack.is_none()).await;
    world.log()
}

#[test]
fn a_seed_gives_the_same_world_request_by_request() {
    let mut lives = JoinSet::new();
    let twice = run(async {
        // Each in a runtime of its own; two threads, since the seed alone may decide.
        for _ in 0..2 {
            lives.spawn_blocking(|| run(a_life(7)));
        }
        lives.join_all().await
    });
    let [first, second] = twice.as_slice() else {
        unreachable!("two lives were lived")
    };
    let differs = first.lines().zip(second.lines()).find(|(a, b)| a != b);
    assert_eq!(differs, None);
    assert_eq!(first.len(), second.len());
    assert!(first.contains("deployVirtualMachine"), "{first}");
}
