//! Thirty days of a hundred stacks in virtual time, with breakages, lost answers and torn lists:
//! nothing that the controller keeps may grow.
//!
//! Controller, client, store (a real sled) and simulator in one thread. Memory is counted by the
//! allocator, the simulator's own included, which remembers a bounded number of what is gone.

#![allow(clippy::print_stdout, reason = "the table is what a bench is for")]

mod support;

use std::{alloc::System, fs, path::Path, process::ExitCode, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};
use support::{
    figures::{Figures, count},
    manifest::keys,
};
use tokio::{runtime::Builder, task::JoinSet, time::sleep};
use tokio_util::sync::CancellationToken;
use weir::{
    clock::Clock,
    cloud::{
        Connect,
        cloudstack::{Carrier, CloudStack, CloudStackConfig, Reply, Silence},
    },
    controller::{Context, Ids, runner},
    sim::{Breakage, Fault, FaultKind, Profile, Sim, SimConfig, Who, world::Limits},
    store::Store,
    types::{
        account::CloudAccountSpec,
        core::Confidential,
        meta::{API_VERSION, FINALIZER, Kind, Object},
        stack::ClearwaterStack,
    },
};

/// Everything that is allocated is counted.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const STACKS: usize = 100;
const DAYS: u64 = 30;

/// Days between two lines of the table.
const STRIDE: u64 = 5;

/// Time between two breakages, each of another machine.
const BREAKAGES: Duration = Duration::from_secs(3_600);

/// The day whose figures the last ones are held against: everything that is kept for some days is
/// there by then.
const BASE: u64 = 10;

/// How much more may be held at the end than on that day.
const GROWTH_MAX: f64 = 1.10;

/// Events that the controller keeps at most, with those of the ten minutes between two sweeps.
const EVENTS_MAX: f64 = 5_500.0;

struct InProcess(Sim);

impl Carrier for InProcess {
    fn carry(&self, form: String) -> BoxFuture<'_, Result<Reply, Silence>> {
        Box::pin(async move {
            let reply = self.0.post("", &form).await;
            match reply.is_lost() {
                true => Err(Silence::Lost("the simulator lost the connection".into())),
                false => Ok(Reply {
                    status: reply.status,
                    retry_after: None,
                    body: reply.body.into(),
                }),
            }
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
        Ok(CloudStack::over(
            Box::new(InProcess(self.1.clone())),
            config,
        ))
    }
}

fn name(number: usize) -> String {
    format!("s{number:02}")
}

fn stack(number: usize) -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "ClearwaterStack",
        "metadata": {"name": name(number), "namespace": "default", "finalizers": [FINALIZER]},
        "spec": {
            "accountRef": {"name": "cloud"}, "domain": format!("{}.example.com", name(number)),
            "template": {"name": "Ubuntu 14.04"}, "serviceOffering": {"name": "2vCPU-4GB"},
            "packages": {"repository": "http://mirror.example.net/clearwater"},
            "components": {
                "sprout": {"replicas": 2}, "homer": {"replicas": 0},
                "ralf": {"replicas": 0}, "ellis": {"replicas": 0},
            },
        },
    })
}

fn account() -> Value {
    json!({
        "apiVersion": API_VERSION, "kind": "CloudAccount",
        "metadata": {"name": "cloud", "namespace": "default"},
        "spec": {
            "endpoint": "http://cloud.example.net/client/api", "secretRef": {"name": "keys"},
            "resyncInterval": "1h", "auditInterval": "6h",
        },
    })
}

/// What is held on one day.
struct Held {
    memory: f64,
    disk: f64,
    tasks: f64,
    events: f64,
    ready: usize,
}

struct Soak {
    sim: Sim,
    store: Store,
    dir: tempfile::TempDir,
    rng: fastrand::Rng,
    _tasks: JoinSet<()>,
}

impl Soak {
    async fn begin() -> Self {
        let clock = Clock::starting_at("2026-01-01T00:00:00Z".parse().expect("a time"));
        let sim = Sim::new(SimConfig {
            profile: Profile::Instant,
            seed: 1,
            clock: clock.clone(),
            state_file: None,
        });
        sim.world(|world| {
            let limits = world.limits.values_mut();
            limits.for_each(|limits| *limits = Limits::none());
        });
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(dir.path(), clock.clone()).expect("a fresh state folder");
        let connector = Connector(clock.clone(), sim.clone());
        let (context, entries) = Context::new(store.clone(), clock, Ids::seeded(1), |_| connector);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let ran = runner::run(Arc::clone(&context), entries, CancellationToken::new()).await;
            ran.expect("the store can be read");
        });
        let soak = Self {
            sim,
            store,
            dir,
            rng: fastrand::Rng::with_seed(1),
            _tasks: tasks,
        };
        soak.create(keys(&soak.sim, Who::Tenant)).await;
        soak.create(account()).await;
        for number in 0..STACKS {
            soak.create(stack(number)).await;
        }
        soak
    }

    async fn create(&self, object: Value) {
        let object: Object = serde_json::from_value(object).expect("an object");
        self.store.create(object).await.expect("a new object");
    }

    fn faults(&self) {
        let faults = [
            ("list*", FaultKind::Truncated, 0.01),
            ("start*", FaultKind::LostReply, 0.05),
            ("deploy*", FaultKind::LostReply, 0.05),
            ("start*", FaultKind::StartFails, 0.05),
        ];
        for (command, kind, probability) in faults {
            self.sim.add_fault(Fault {
                probability,
                ..Fault::always(Some(command), kind)
            });
        }
    }

    /// Breaks something of a machine; what is broken already stays as it is.
    fn break_something(&mut self) -> bool {
        let role = ["bono-0", "sprout-0", "sprout-1", "homestead-0"][self.rng.usize(..4)];
        let vm = format!("{}-{role}", name(self.rng.usize(..STACKS)));
        let what = match self.rng.usize(..10) {
            0..6 => Breakage::StopVm { vm },
            6 => Breakage::DestroyVm { vm, expunge: true },
            7 => Breakage::RenameVm { vm, name: None },
            8 => Breakage::WipeDetails { vm },
            _ => Breakage::DeleteTags { resource: vm },
        };
        self.sim.break_it(what).is_ok()
    }

    async fn held(&self) -> Held {
        let memory = ALLOCATOR.stats();
        let tasks = tokio::runtime::Handle::current().metrics();
        let events = self.store.list(Kind::Event, None).await.expect("a list");
        let stacks = self.store.list_as::<ClearwaterStack>(None).await;
        let stacks = stacks.expect("a list").into_iter();
        let ready = |stack: &ClearwaterStack| {
            let status = stack.status.as_ref();
            status.is_some_and(|status| status.phase == "Ready")
        };
        Held {
            memory: count(memory.bytes_allocated - memory.bytes_deallocated),
            disk: size(self.dir.path()),
            tasks: count(tasks.num_alive_tasks()),
            events: count(events.items.len()),
            ready: stacks.filter(ready).count(),
        }
    }
}

fn size(path: &Path) -> f64 {
    let Ok(entries) = fs::read_dir(path) else {
        let length = fs::metadata(path).map(|file| file.len());
        return count(usize::try_from(length.unwrap_or(0)).unwrap_or(usize::MAX));
    };
    entries.flatten().map(|entry| size(&entry.path())).sum()
}

async fn soak() -> ExitCode {
    let mut soak = Soak::begin().await;
    println!(
        "  {:>4} {:>9} {:>12} {:>11} {:>7} {:>7} {:>6}",
        "day", "breakages", "memory, MiB", "state, MiB", "events", "tasks", "ready"
    );
    let (mut broken, mut days) = (0, Vec::new());
    for day in 0..=DAYS {
        if day % STRIDE == 0 {
            let held = soak.held().await;
            println!(
                "  {day:>4} {broken:>9} {:>12.1} {:>11.1} {:>7} {:>7} {:>6}",
                held.memory / f64::from(1 << 20),
                held.disk / f64::from(1 << 20),
                held.events,
                held.tasks,
                held.ready,
            );
            days.push((day, held));
        }
        if day == 0 {
            sleep(Duration::from_secs(3_600)).await;
            soak.faults();
        }
        for _ in 0..86_400 / BREAKAGES.as_secs() {
            broken += usize::from(soak.break_something());
            sleep(BREAKAGES).await;
        }
    }
    soak.sim.clear_faults();
    sleep(Duration::from_secs(2 * 3_600)).await;
    let last = soak.held().await;
    let base = days.into_iter().find(|(day, _)| *day == BASE);
    let (_, base) = base.expect("a line of the table");
    let mut figures = Figures::default();
    let growth = |what: &str| format!("{what} on day {DAYS} ÷ on day {BASE}");
    let (memory, disk) = (last.memory / base.memory, last.disk / base.disk);
    figures.at_most(&growth("memory"), memory, GROWTH_MAX);
    figures.at_most(&growth("state folder"), disk, GROWTH_MAX);
    figures.at_most(&growth("tasks"), last.tasks / base.tasks, 1.0);
    figures.at_most("events kept", last.events, EVENTS_MAX);
    figures.at_least("stacks ready at the end", count(last.ready), count(STACKS));
    figures.judge("a month of a hundred stacks")
}

fn main() -> ExitCode {
    let runtime = Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(soak())
}
