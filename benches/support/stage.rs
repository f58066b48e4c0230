//! A controller on a simulated CloudStack, in one process, through real HTTP.
//!
//! Store, loop, client and simulator are those of the binary; only the API is left out. What is
//! counted is what the simulator received.

#![allow(clippy::print_stdout, reason = "the trace is asked for")]

use std::{
    collections::BTreeMap,
    net::Ipv4Addr,
    time::{Duration, Instant},
};

use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;
use weir::{
    clock::Clock,
    cloud::{
        Connect,
        cloudstack::{CloudStack, CloudStackConfig},
    },
    controller::{Context, Ids, runner},
    sim::{LoggedRequest, Profile, Sim, SimConfig, Who},
    store::Store,
    types::{
        account::{CloudAccount, CloudAccountSpec},
        core::Confidential,
        meta::{API_VERSION, ConditionStatus, Object, condition},
        stack::{ClearwaterStack, StackStatus},
    },
};

use super::manifest::keys;

/// Longest wait for a level; far more than two busy cores need.
const PATIENCE: Duration = Duration::from_secs(180);

/// How often a level is looked at.
const GLANCE: Duration = Duration::from_millis(5);

/// What a look reads.
pub(crate) const LISTS: [&str; 5] = [
    "listVPCs",
    "listNetworks",
    "listNetworkACLs",
    "listVirtualMachines",
    "listPublicIpAddresses",
];

/// How long no request comes before a stack is taken to be at rest: three times the longest pause
/// between two requests of one burst.
const REST: Duration = Duration::from_millis(300);

/// Which cloud, and how it is treated.
pub(crate) struct Setting {
    /// The pace of the simulated cloud.
    pub(crate) profile: Profile,
    /// `spec.limits` of the account; an empty object for the defaults.
    pub(crate) limits: Value,
    /// `spec.resyncInterval` of the account.
    pub(crate) resync: &'static str,
}

impl Setting {
    /// The defaults, on a cloud of this pace.
    pub(crate) fn defaults(profile: Profile) -> Self {
        Self {
            profile,
            limits: json!({}),
            resync: "30s",
        }
    }
}

/// See the module.
pub(crate) struct Stage {
    pub(crate) sim: Sim,
    pub(crate) store: Store,
    stop: CancellationToken,
    _tasks: JoinSet<()>,
    _dir: tempfile::TempDir,
}

struct Connector(Clock);

impl Connect for Connector {
    type Cloud = CloudStack;

    fn connect(
        &self,
        spec: &CloudAccountSpec,
        api_key: &Confidential,
        secret_key: &Confidential,
    ) -> Result<CloudStack, String> {
        CloudStack::connect(CloudStackConfig::of(spec, api_key, secret_key, &self.0))
            .map_err(|error| error.to_string())
    }
}

impl Stage {
    /// A cloud with an account that has been looked at once, and nothing in it.
    pub(crate) async fn warm(setting: Setting) -> Self {
        let clock = Clock::system();
        let sim = Sim::new(SimConfig {
            profile: setting.profile,
            seed: 1,
            clock: clock.clone(),
            state_file: None,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let port = listener.local_addr().expect("a bound listener").port();
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (serving, token) = (sim.clone(), stop.clone());
        tasks.spawn(async move { serving.serve(listener, token).await.expect("it serves") });
        let dir = tempfile::tempdir().expect("a temporary folder");
        let store = Store::open(dir.path(), clock.clone()).expect("a fresh state folder");
        let connector = Connector(clock.clone());
        let (context, entries) = Context::new(store.clone(), clock, Ids::seeded(1), |_| connector);
        let token = stop.clone();
        tasks.spawn(async move {
            let ran = runner::run(context, entries, token).await;
            ran.expect("the store can be read");
        });
        let stage = Self {
            sim,
            store,
            stop,
            _tasks: tasks,
            _dir: dir,
        };
        stage.account(port, &setting).await;
        stage
    }

    async fn account(&self, port: u16, setting: &Setting) {
        self.create(keys(&self.sim, Who::Tenant)).await;
        self.create(json!({
            "apiVersion": API_VERSION, "kind": "CloudAccount",
            "metadata": {"name": "cloud", "namespace": "default"},
            "spec": {
                "endpoint": format!("http://127.0.0.1:{port}/client/api"),
                "secretRef": {"name": "keys"},
                "resyncInterval": setting.resync, "limits": setting.limits,
            },
        }))
        .await;
        self.until("the account is ready", || async {
            let account: Option<CloudAccount> = self
                .store
                .get_as("default", "cloud")
                .await
                .expect("the store can be read");
            let status = account.and_then(|account| account.status);
            let conditions = status.map(|status| status.conditions).unwrap_or_default();
            condition(&conditions, "Ready").is_some_and(|c| c.status == ConditionStatus::True)
        })
        .await;
    }

    /// Lifts the limits of a new account, so that a hundred stacks find room.
    pub(crate) fn make_room(&self) {
        self.sim.world(|world| {
            world.set_public_range(&[(
                Ipv4Addr::new(198, 18, 0, 1),
                Ipv4Addr::new(198, 18, 7, 254),
            )]);
            world.settings.host_memory_mib = 1 << 30;
            world.settings.host_cpu_mhz = 1 << 30;
            if let Some(limits) = world.limits_of("operator") {
                limits.max.fill(-1);
            }
        });
    }

    /// Stores an object, as the API would.
    pub(crate) async fn create(&self, object: Value) {
        let object: Object = serde_json::from_value(object).expect("an object");
        self.store.create(object).await.expect("it is new");
    }

    /// Waits until a stack is ready and nothing is on its way; gives the time that took.
    pub(crate) async fn ready(&self, name: &str) -> Duration {
        #[expect(clippy::disallowed_methods, reason = "a bench measures real time")]
        let started = Instant::now();
        self.until("the stack is ready", || async {
            let status = self.status(name).await;
            status.phase == "Ready"
                && status.drift.is_empty()
                && status.ledger.pending.is_empty()
                && status.ready_replicas == status.replicas
                && status.replicas > 0
        })
        .await;
        started.elapsed()
    }

    /// Waits until no request has come for a while.
    pub(crate) async fn at_rest(&self) {
        let mut seen = usize::MAX;
        while seen != self.sim.requests().len() {
            seen = self.sim.requests().len();
            tokio::time::sleep(REST).await;
        }
    }

    /// Waits until every list has been read so often.
    pub(crate) async fn looked(&self, times: usize) {
        self.until("it is looked at", || async {
            let tally = self.tally();
            LISTS.iter().all(|list| tally.times(list) >= times)
        })
        .await;
    }

    async fn status(&self, name: &str) -> StackStatus {
        let stack: Option<ClearwaterStack> = self
            .store
            .get_as("default", name)
            .await
            .expect("the store can be read");
        stack.and_then(|stack| stack.status).unwrap_or_default()
    }

    async fn until<F: Future<Output = bool>>(&self, what: &str, holds: impl Fn() -> F) {
        let wait = async {
            while !holds().await {
                tokio::time::sleep(GLANCE).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("{what}: not after {PATIENCE:?}: {:#}", self.sim.overview());
        }
    }

    /// Prints every request with its time, to see where the time goes.
    pub(crate) fn print_trace(&self) {
        let requests = self.sim.requests();
        let begun = requests.first().map(|request| request.at);
        for request in &requests {
            let at = begun.map(|begun| request.at.duration_since(begun).as_secs_f64());
            let about = ["name", "number", "id", "jobid"]
                .iter()
                .find_map(|key| request.params.get(*key));
            let about = about.map_or("", String::as_str);
            let at = at.unwrap_or_default();
            println!("{at:>8.3} {:<24} {about}", request.command);
        }
    }

    /// What the simulator received, by command.
    pub(crate) fn tally(&self) -> Tally {
        Tally::of(&self.sim.requests())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

/// Requests by command.
pub(crate) struct Tally(BTreeMap<String, usize>);

impl Tally {
    /// Counts requests.
    pub(crate) fn of(requests: &[LoggedRequest]) -> Self {
        let mut tally = BTreeMap::new();
        for request in requests {
            *tally.entry(request.command.clone()).or_default() += 1;
        }
        Self(tally)
    }

    /// All of them.
    pub(crate) fn all(&self) -> usize {
        self.0.values().sum()
    }

    /// Those that change something.
    pub(crate) fn writes(&self) -> usize {
        let writes = self.0.iter().filter(|(command, _)| !reads(command));
        writes.map(|(_, times)| times).sum()
    }

    /// Looks: each reads the VPCs once, which fit on a page.
    pub(crate) fn looks(&self) -> usize {
        self.times("listVPCs")
    }

    /// Of one command.
    pub(crate) fn times(&self, command: &str) -> usize {
        self.0.get(command).copied().unwrap_or_default()
    }
}

impl std::fmt::Display for Tally {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (place, (command, times)) in self.0.iter().enumerate() {
            let comma = if place == 0 { "" } else { ", " };
            write!(f, "{comma}{command} {times}")?;
        }
        Ok(())
    }
}

/// Whether a command changes nothing.
pub(crate) fn reads(command: &str) -> bool {
    ["list", "query", "get"]
        .iter()
        .any(|read| command.starts_with(read))
}
