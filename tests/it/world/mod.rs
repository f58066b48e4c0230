//! A stack on a simulated CloudStack, kept by a real controller through real HTTP.
//!
//! The parts are those of the binary: store, loop, client, simulator. Only the API is left out;
//! objects are written to the store. A test breaks the simulator behind the controller's back and
//! waits for a level, never an edge.

mod front;
mod guests;
mod sampler;
mod touchy;

use std::{
    sync::{Arc, atomic::AtomicU32},
    time::Duration,
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
    sim::{Breakage, LoggedRequest, Profile, Sim, SimConfig, Who, World as CloudWorld},
    store::Store,
    types::{
        account::{CloudAccount, CloudAccountSpec},
        core::{Confidential, Event},
        machine::{Machine, MachineStatus},
        meta::{API_VERSION, FINALIZER, Kind, Object, ObjectKey, Resource, condition},
        stack::{ClearwaterStack, StackStatus},
    },
};

pub(crate) use front::{Answer, Front};
pub(crate) use guests::Guests;
pub(crate) use sampler::Sampler;
use touchy::Touchy;

use crate::support::{manifest, stage::reads};

/// Longest wait for a level. Far more than a machine of two cores needs, under any load.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a level is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// See the module.
pub(crate) struct World {
    pub(crate) sim: Sim,
    pub(crate) store: Store,
    /// The time of all parts; sockets keep their own.
    pub(crate) clock: Clock,
    /// The simulator's URL.
    pub(crate) endpoint: String,
    /// Looks that are to panic.
    pub(crate) panics: Arc<AtomicU32>,
    context: Arc<Context<Connector>>,
    stop: CancellationToken,
    _tasks: JoinSet<()>,
    _dir: tempfile::TempDir,
}

struct Connector(Clock, Arc<AtomicU32>);

impl Connect for Connector {
    type Cloud = Touchy;

    fn connect(
        &self,
        spec: &CloudAccountSpec,
        api_key: &Confidential,
        secret_key: &Confidential,
    ) -> Result<Touchy, String> {
        let panics = Arc::clone(&self.1);
        CloudStack::connect(CloudStackConfig::of(spec, api_key, secret_key, &self.0))
            .map(|client| Touchy { client, panics })
            .map_err(|error| error.to_string())
    }
}

impl World {
    /// A small stack (a bono with a public address, two sprouts, a homestead) that is ready, in an
    /// account where somebody else has things too.
    pub(crate) async fn ready() -> Self {
        Self::with(json!({})).await
    }

    /// The same, with members of the spec added.
    pub(crate) async fn with(spec: Value) -> Self {
        Self::prepared(|_| {}, spec).await
    }

    /// The same, in a cloud that something was done to before.
    pub(crate) async fn prepared(prepare: impl FnOnce(&mut CloudWorld), spec: Value) -> Self {
        let world = Self::start(Profile::Instant).await;
        world.sim.add_neighbour().expect("the neighbour finds room");
        world.sim.world(prepare);
        world.apply(spec).await;
        world.settled().await;
        world.sim.clear_requests();
        world
    }

    /// A controller with an account, and no stack yet.
    pub(crate) async fn start(profile: Profile) -> Self {
        let world = Self::bare(profile).await;
        world.account(json!({})).await;
        world
    }

    /// A controller without an account.
    pub(crate) async fn bare(profile: Profile) -> Self {
        let clock = Clock::adjustable();
        let panics = Arc::new(AtomicU32::new(0));
        let connector = Connector(clock.clone(), Arc::clone(&panics));
        let sim = Sim::new(SimConfig {
            profile,
            seed: 1,
            clock: clock.clone(),
            state_file: None,
        });
        sim.world(|world| world.settings.guest_cidr_loopback = true);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}/client/api", listener.local_addr().unwrap());
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (serving, token) = (sim.clone(), stop.clone());
        tasks.spawn(async move { serving.serve(listener, token).await.unwrap() });
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path(), clock.clone()).unwrap();
        let ids = Ids::seeded(1);
        let (context, entries) = Context::new(store.clone(), clock.clone(), ids, |_| connector);
        let token = stop.clone();
        let running = Arc::clone(&context);
        tasks.spawn(async move { runner::run(running, entries, token).await.unwrap() });
        Self {
            sim,
            store,
            clock,
            endpoint,
            panics,
            context,
            stop,
            _tasks: tasks,
            _dir: dir,
        }
    }

    /// The Secret with the tenant's keys.
    pub(crate) fn keys(&self) -> Value {
        manifest::keys(&self.sim, Who::Tenant)
    }

    /// The account with its keys, with members of the spec added.
    pub(crate) async fn account(&self, more: Value) {
        self.create(self.keys()).await;
        self.account_without_keys(more).await;
    }

    /// The account alone.
    pub(crate) async fn account_without_keys(&self, more: Value) {
        let mut account = json!({
            "apiVersion": API_VERSION, "kind": "CloudAccount",
            "metadata": {"name": "cloud", "namespace": "default"},
            "spec": {
                "endpoint": self.endpoint, "secretRef": {"name": "keys"},
                "resyncInterval": "300ms", "auditInterval": "300ms",
                "limits": {"requestsPerSecond": 500},
            },
        });
        json_patch::merge(&mut account, &json!({"spec": more}));
        self.create(account).await;
    }

    /// The `Ready` condition of the account, as `reason: message`.
    pub(crate) async fn account_told(&self) -> String {
        let account: Option<CloudAccount> = self.store.get_as("default", "cloud").await.unwrap();
        let status = account.and_then(|account| account.status);
        let ready = status.and_then(|status| condition(&status.conditions, "Ready").cloned());
        ready.map_or_else(String::new, |ready| {
            format!("{}: {}", ready.reason, ready.message)
        })
    }

    /// Writes an object over the stored one.
    pub(crate) async fn update(&self, object: Value) {
        let object: Object = serde_json::from_value(object).unwrap();
        self.store.update(object).await.unwrap();
    }

    /// Adds annotations to the stack.
    pub(crate) async fn annotate(&self, annotations: Value) {
        let mut stack = serde_json::to_value(self.stack().await).unwrap();
        let metadata = json!({"annotations": annotations, "resourceVersion": ""});
        json_patch::merge(&mut stack, &json!({"metadata": metadata}));
        self.update(stack).await;
    }

    /// What `/readyz` is made from.
    pub(crate) async fn readiness(&self) -> Result<(), String> {
        runner::ready(&self.context).await
    }

    /// A metric's value, by its name and labels as printed; 0 where it is not there.
    pub(crate) async fn metric(&self, line: &str) -> f64 {
        let text = runner::metrics(&self.context).await;
        let found = text.lines().find_map(|text| text.strip_prefix(line));
        found.map_or(0.0, |value| value.trim().parse().unwrap())
    }

    /// A `Machine`, by role and number.
    pub(crate) async fn machine(&self, name: &str) -> MachineStatus {
        let name = format!("ims-{name}");
        let machine: Option<Machine> = self.store.get_as("default", &name).await.unwrap();
        machine
            .and_then(|machine| machine.status)
            .unwrap_or_default()
    }

    /// Asks for another VM in a machine's place.
    pub(crate) async fn delete_machine(&self, name: &str) {
        let key = ObjectKey::new(Kind::Machine, "default", format!("ims-{name}"));
        let any = weir::store::Preconditions::default();
        self.store.delete(&key, &any).await.unwrap();
    }

    pub(crate) async fn create(&self, object: Value) {
        let object: Object = serde_json::from_value(object).unwrap();
        self.store.create(object).await.unwrap();
    }

    /// Applies the small stack, with members of the spec added.
    pub(crate) async fn apply(&self, more: Value) {
        self.create(small_stack(&more)).await;
    }

    /// Changes the stack's spec.
    pub(crate) async fn change(&self, spec: Value) {
        let mut stack = serde_json::to_value(self.stack().await).unwrap();
        json_patch::merge(
            &mut stack,
            &json!({"spec": spec, "metadata": {"resourceVersion": ""}}),
        );
        let object: Object = serde_json::from_value(stack).unwrap();
        self.store.update(object).await.unwrap();
    }

    pub(crate) async fn stack(&self) -> ClearwaterStack {
        self.store
            .get_as("default", "ims")
            .await
            .unwrap()
            .expect("the stack is there")
    }

    pub(crate) async fn status(&self) -> StackStatus {
        self.stack().await.status.unwrap_or_default()
    }

    /// Deletes the stack.
    pub(crate) async fn delete(&self) {
        let key = self.stack().await.key();
        self.store
            .delete(&key, &weir::store::Preconditions::default())
            .await
            .unwrap();
    }

    /// Waits until the stack's object is gone.
    pub(crate) async fn gone(&self) {
        let there = || self.store.get_as::<ClearwaterStack>("default", "ims");
        let wait = async {
            while there().await.unwrap().is_some() {
                tokio::time::sleep(GLANCE).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            let status = serde_json::to_string_pretty(&self.status().await).unwrap();
            panic!(
                "not gone after {PATIENCE:?}: {status}\n{:#}",
                self.sim.overview()
            );
        }
    }

    /// Waits until a status is as wanted.
    pub(crate) async fn until(&self, what: &str, wanted: impl Fn(&StackStatus) -> bool) {
        let wait = async {
            while !wanted(&self.status().await) {
                tokio::time::sleep(GLANCE).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            let status = serde_json::to_string_pretty(&self.status().await).unwrap();
            panic!(
                "{what}: not after {PATIENCE:?}: {status}\n{:#}",
                self.sim.overview()
            );
        }
    }

    /// Waits until the stack is ready, in sync and idle.
    pub(crate) async fn settled(&self) {
        self.until("settled", |status| {
            status.phase == "Ready"
                && status.drift.is_empty()
                && status.ledger.pending.is_empty()
                && status.ledger.strays.is_empty()
                && status
                    .ledger
                    .machines
                    .values()
                    .all(|record| record.former.is_empty())
                && status.ready_replicas == status.replicas
                && status.replicas > 0
        })
        .await;
    }

    /// Breaks something and waits until the controller has seen it and put it right.
    pub(crate) async fn broken_and_repaired(&self, what: Breakage) {
        self.broken(what);
        self.seen_again().await;
        self.settled().await;
    }

    pub(crate) fn broken(&self, what: Breakage) {
        self.sim.break_it(what).expect("it can be broken");
    }

    /// A command of somebody else in our account, which must be accepted; its job, if it has one,
    /// has ended. Gives the inside of the envelope.
    pub(crate) async fn stranger(&self, params: &[(&str, &str)]) -> Value {
        let reply = self.sim.call(Who::Operator, params).await;
        let told = reply.inner();
        assert_eq!(reply.status, 200, "{params:?}: {told:#}");
        if let Some(job) = told["jobid"].as_str() {
            let job = job.to_owned();
            let ended = self.sim.world(|sim| sim.jobs[&job].result.clone());
            let ended = ended.map(|result| result.value());
            assert!(
                ended
                    .as_ref()
                    .is_some_and(|result| result.get("errorcode").is_none()),
                "{params:?}: {ended:?}"
            );
        }
        told
    }

    /// A VPC that somebody else made in our account; gives its id.
    pub(crate) async fn their_vpc(&self) -> String {
        let (zone, offering) = self.sim.world(|sim| {
            let offering = sim.catalogue.vpc_offerings[0]["id"].as_str().unwrap();
            (sim.catalogue.zone_id().to_owned(), offering.to_owned())
        });
        let made = self
            .stranger(&[
                ("command", "createVPC"),
                ("name", "theirs"),
                ("cidr", "10.0.0.0/16"),
                ("zoneid", &zone),
                ("vpcofferingid", &offering),
            ])
            .await;
        made["id"].as_str().unwrap().to_owned()
    }

    /// Deploys a VM in the stack's tier as somebody else; gives the status of the answer.
    pub(crate) async fn somebody_deploys(&self, more: &[(&str, &str)]) -> u16 {
        let common = self.sim.world(|sim| {
            let ours = sim.find_vm("ims-sprout-1").unwrap();
            [
                ("command", "deployVirtualMachine".to_owned()),
                ("zoneid", sim.catalogue.zone_id().to_owned()),
                ("serviceofferingid", ours.offering.clone()),
                ("templateid", ours.template.clone()),
                ("networkids", ours.nics[0].network.clone()),
            ]
        });
        let common = common.iter().map(|(name, value)| (*name, value.as_str()));
        let params: Vec<(&str, &str)> = common.chain(more.iter().copied()).collect();
        self.sim.call(Who::Operator, &params).await.status
    }

    /// The id of a VM that is there, by its host name.
    pub(crate) fn vm_id(&self, name: &str) -> String {
        let id = self
            .sim
            .world(|sim| sim.find_vm(name).map(|vm| vm.id.clone()));
        id.unwrap_or_else(|| panic!("there is no VM {name}: {:#}", self.sim.overview()))
    }

    /// Waits for two further looks at everything, and for rounds that decided on them.
    pub(crate) async fn seen_again(&self) {
        let looks = || {
            let requests = self.sim.requests();
            ["listVPCs", "listVirtualMachines"].map(|command| {
                let asked = requests.iter().filter(|request| request.command == command);
                asked.count()
            })
        };
        let enough = looks().map(|so_far| so_far + 3);
        let wait = async {
            while looks()
                .iter()
                .zip(enough)
                .any(|(looks, enough)| *looks < enough)
            {
                tokio::time::sleep(GLANCE).await;
            }
            let enough = self.rounds() + 2;
            while self.rounds() < enough {
                tokio::time::sleep(GLANCE).await;
            }
        };
        assert!(
            tokio::time::timeout(PATIENCE, wait).await.is_ok(),
            "no further look after {PATIENCE:?}: {:?}, {} rounds",
            looks(),
            self.rounds()
        );
    }

    /// Rounds that ended so far, of all stacks.
    fn rounds(&self) -> u64 {
        let text = self.context.metrics.text();
        let mut lines = text.lines();
        let count = lines.find_map(|line| {
            line.strip_prefix("weir_reconcile_seconds_count{kind=\"clearwaterstack\"} ")
        });
        count.map_or(0, |count| count.parse().unwrap())
    }

    /// The commands that Weir sent to change something, oldest first.
    pub(crate) fn writes(&self) -> Vec<String> {
        let writes = self.write_requests();
        writes.into_iter().map(|request| request.command).collect()
    }

    /// The same, sorted by name: for commands that go side by side.
    pub(crate) fn writes_sorted(&self) -> Vec<String> {
        let mut writes = self.writes();
        writes.sort();
        writes
    }

    /// The requests by which Weir changed something, oldest first.
    pub(crate) fn write_requests(&self) -> Vec<LoggedRequest> {
        let mine = |user: &str| user == "operator";
        let mut requests = self.sim.requests();
        requests.retain(|request| mine(&request.user) && !reads(&request.command));
        requests
    }

    /// Waits until an event says something: events are written beside the rounds.
    pub(crate) async fn tells(&self, words: &str) {
        let wait = async {
            while !self.told().await.iter().any(|event| event.contains(words)) {
                tokio::time::sleep(GLANCE).await;
            }
        };
        if tokio::time::timeout(PATIENCE, wait).await.is_err() {
            panic!("not told: {words}: {:#?}", self.told().await);
        }
    }

    /// What was told, as `reason: message`.
    pub(crate) async fn told(&self) -> Vec<String> {
        let events: Vec<Event> = self.store.list_as(Some("default")).await.unwrap();
        events
            .iter()
            .map(|event| format!("{}: {}", event.reason, event.message))
            .collect()
    }
}

/// The small stack, with members of the spec added.
pub(crate) fn small_stack(more: &Value) -> Value {
    let mut stack = json!({
        "apiVersion": API_VERSION, "kind": "ClearwaterStack",
        "metadata": {"name": "ims", "namespace": "default", "finalizers": [FINALIZER]},
        "spec": {
            "accountRef": {"name": "cloud"}, "domain": "ims.example.com",
            "template": {"name": "Ubuntu 14.04"}, "serviceOffering": {"name": "2vCPU-4GB"},
            "packages": {"repository": "http://mirror.example.net/clearwater"},
            "components": {
                "sprout": {"replicas": 2}, "homer": {"replicas": 0},
                "ralf": {"replicas": 0}, "ellis": {"replicas": 0},
            },
        },
    });
    json_patch::merge(&mut stack, &json!({"spec": more}));
    stack
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}
