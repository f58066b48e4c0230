//! A CloudStack that misbehaves on request: a simulator of the 4.22 management server.
//!
//! It answers the commands that a controller of VPC-based stacks needs, in the envelopes, with
//! the statuses, members and texts of the recorded server (`tests/recordings`), in process by
//! [`Sim::call`] and over HTTP by [`Sim::serve`]. It shares no code with the client in this crate:
//! it parses the protocol with its own, so that one misreading cannot hide in both ends.
//!
//! ```text
//! http ─▶ protocol ─▶ commands ─▶ world ◀─ jobs ─▶ effects        faults: between client and cloud
//!                        └▶ view ─▶ reply                         breakage: what strangers do
//! ```
//!
//! The world is a value behind one lock ([`world`]); time moves only by the [`Clock`] it was
//! given, and luck only by its seed, so the same requests at the same times get the same answers.
//! Start reading at `commands/table.rs` for what there is, and at `effects/` for how it behaves.

mod admin;
mod breakage;
mod commands;
mod door;
mod effects;
mod events;
mod faults;
mod fields;
mod hands;
mod http;
mod jobs;
mod neighbour;
mod overview;
mod pipeline;
pub mod plane;
mod profile;
mod protocol;
mod reply;
mod requests;
mod script;
mod settings;
mod state;
#[cfg(test)]
mod tests;
mod view;
mod webhooks;
pub mod world;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::clock::Clock;
pub use breakage::{Breakage, Rule};
use commands::Method;
pub use faults::{Fault, FaultKind, WaitingFault};
pub use fields::Wrong;
pub use jobs::{Job, JobResult, JobStatus};
use pipeline::{Incoming, Outgoing, State};
use plane::{PlaneConfig, PlaneReport};
pub use profile::Profile;
use protocol::Params;
pub use reply::Reply;
pub use script::{Operator, Scenario};
use state::{Keeper, Urgency};
pub use world::{HostFailure, World};

/// What a simulator is made from.
#[derive(Clone, Debug)]
pub struct SimConfig {
    /// Its pace.
    pub profile: Profile,
    /// What all its luck is drawn from.
    pub seed: u64,
    /// Its time.
    pub clock: Clock,
    /// Where the world is kept, if it is to outlive the process.
    pub state_file: Option<PathBuf>,
}

/// The users that requests can come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Who {
    /// The root admin.
    Admin,
    /// An ordinary user, for whom a controller works.
    Tenant,
    /// A second user of the tenant's account: a stranger who interferes.
    Operator,
    /// The user of another account, whose things the tenant must not see.
    Other,
}

impl Who {
    fn user_name(self) -> &'static str {
        match self {
            Self::Admin => "admin",
            Self::Tenant => world::TENANT,
            Self::Operator => world::STRANGER,
            Self::Other => world::OTHER,
        }
    }
}

/// What a user signs requests with.
#[derive(Clone)]
pub struct Credentials {
    /// The API key, which requests carry.
    pub api_key: String,
    /// The secret key, which they are signed with.
    pub secret_key: String,
}

/// A request that the simulator received.
#[derive(Clone, Debug, Serialize)]
pub struct LoggedRequest {
    /// When.
    pub at: Timestamp,
    /// The name of the user.
    pub user: String,
    /// The command.
    pub command: String,
    /// Its parameters, without the key and the signature.
    pub params: BTreeMap<String, String>,
    /// The status that it was answered with; 0 if the answer was lost.
    pub status: u16,
}

/// A simulator. Clones are handles to the same one.
#[derive(Clone)]
pub struct Sim {
    shared: Arc<Shared>,
}

struct Shared {
    clock: Clock,
    keeper: Keeper,
    state: Mutex<State>,
    /// The version of what the data plane is about, for those who wait for the next.
    changes: watch::Sender<u64>,
    plane: Mutex<PlaneReport>,
    /// Told when there is something to be delivered to a webhook.
    parcels: Notify,
}

/// How often a world that was too large to be written at once is looked at again.
const REST: Duration = Duration::from_secs(1);

impl Drop for Shared {
    fn drop(&mut self) {
        if let Ok(state) = self.state.get_mut() {
            self.keeper.keep(&state.world, Urgency::Last);
        }
    }
}

impl Sim {
    /// A simulator; it goes on where its state file ends, if there is one.
    #[must_use]
    pub fn new(config: SimConfig) -> Self {
        let SimConfig {
            profile,
            seed,
            clock,
            state_file,
        } = config;
        let kept = state_file.as_deref().and_then(state::load);
        let mut world = kept.unwrap_or_else(|| World::new(profile, seed, clock.now()));
        world.profile = profile;
        world.add_missing_sizes();
        world.advance(clock.now());
        let state = State::new(world);
        Self {
            shared: Arc::new(Shared {
                clock,
                keeper: Keeper::new(state_file),
                state: Mutex::new(state),
                changes: watch::Sender::new(0),
                plane: Mutex::default(),
                parcels: Notify::new(),
            }),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.shared
            .state
            .lock()
            .expect("held lock cannot be poisoned: nothing panics under it")
    }

    /// The keys of a user.
    ///
    /// # Panics
    /// Never: every world has these users.
    #[must_use]
    pub fn credentials(&self, who: Who) -> Credentials {
        let state = self.lock();
        let user = state
            .world
            .user_named(who.user_name())
            .expect("every world has these users");
        Credentials {
            api_key: user.api_key.clone(),
            secret_key: user.secret_key.clone(),
        }
    }

    /// Sends a request without a signature and without a network. If a fault loses the connection
    /// the reply [is lost](Reply::is_lost).
    pub async fn call(&self, who: Who, params: &[(&str, &str)]) -> Reply {
        let given = params
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        let json = [("response".to_owned(), "json".to_owned())];
        let params = Params::collect(given.chain(json));
        let user = who.user_name().to_owned();
        self.handle(Incoming {
            user,
            params,
            method: Method::Post,
        })
        .await
    }

    /// Takes a signed request as a POST with this query and this form, without a network.
    pub async fn post(&self, query: &str, form: &str) -> Reply {
        let params = Params::parse(query, form);
        self.receive(params, Method::Post, "").await
    }

    /// Serves HTTP on `/client/api` until `stop` is cancelled; on a loopback address also the
    /// unsigned `/sim/…` endpoints that break things.
    ///
    /// # Errors
    /// The listener failed.
    pub async fn serve(
        &self,
        listener: TcpListener,
        stop: CancellationToken,
    ) -> std::io::Result<()> {
        let rests = async {
            loop {
                self.shared.clock.sleep(REST).await;
                let state = self.lock();
                self.shared.keeper.keep(&state.world, Urgency::Rested);
            }
        };
        tokio::select! {
            biased;
            served = http::serve(self.clone(), listener, stop) => served,
            () = rests => Ok(()),
        }
    }

    /// Serves HTTP on `/client/api` by a connection that is there already, such as a pipe in memory,
    /// until it ends.
    pub async fn converse<S>(&self, stream: S)
    where
        S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Unpin + Send + 'static,
    {
        http::converse(self.clone(), stream, false).await;
    }

    /// The requests received so far, oldest first; the last 100 000, or 32 MiB.
    #[must_use]
    pub fn requests(&self) -> Vec<LoggedRequest> {
        self.lock().requests.iter().cloned().collect()
    }

    /// Forgets the requests received so far.
    pub fn clear_requests(&self) {
        self.lock().requests.clear();
    }

    /// Lends the world, brought to the present, to look into or to change.
    pub fn world<R>(&self, look: impl FnOnce(&mut World) -> R) -> R {
        let mut state = self.lock();
        state.advance(self.shared.clock.now());
        let seen = look(&mut state.world);
        self.save(&state);
        self.tell_changes(&state);
        seen
    }

    /// VMs, addresses, rules and jobs at a glance, as `GET /sim/state` shows them.
    #[must_use]
    pub fn overview(&self) -> serde_json::Value {
        let plane = self.shared.plane.lock();
        let plane = plane.map(|report| report.clone()).unwrap_or_default();
        let mut overview = self.world(|world| overview::overview(world));
        overview["plane"] = serde_json::json!(plane);
        overview
    }

    /// Does what a stranger might do, at once; the answer says what was done.
    ///
    /// # Errors
    /// What was to be broken does not exist, or CloudStack refused.
    pub fn break_it(&self, what: Breakage) -> Result<String, String> {
        self.break_as(world::STRANGER, what)
    }

    /// The same, done by the user of this name.
    ///
    /// # Errors
    /// As [`Sim::break_it`], or there is no such user.
    pub fn break_as(&self, user: &str, what: Breakage) -> Result<String, String> {
        self.world(|world| breakage::apply(world, user, what))
    }

    /// Gives another account a stack, so that there is something that tenants must not see.
    ///
    /// # Errors
    /// CloudStack refused: the pool of addresses is empty, or it was done before.
    pub fn add_neighbour(&self) -> Result<(), String> {
        self.world(neighbour::furnish)
    }

    /// Adds a fault to those that are waiting.
    ///
    /// # Panics
    /// A thousand faults are waiting.
    pub fn add_fault(&self, fault: Fault) {
        let added = self.present(|state| state.add_fault(fault));
        added.expect("nobody adds so many faults without clearing them");
    }

    /// Takes all waiting faults away.
    pub fn clear_faults(&self) {
        self.lock().faults.clear();
    }

    /// The faults that are waiting.
    #[must_use]
    pub fn faults(&self) -> Vec<Fault> {
        let state = self.lock();
        let waiting = state.faults.all().iter();
        waiting.map(|waiting| waiting.fault.clone()).collect()
    }

    /// How often each kind of fault, by its name, struck each command so far.
    #[must_use]
    pub fn struck(&self) -> BTreeMap<(&'static str, String), u64> {
        self.lock().faults.tally().clone()
    }

    /// Plays a scenario from now on.
    ///
    /// # Errors
    /// Too many are being played.
    pub fn play(&self, scenario: Scenario) -> Result<u64, String> {
        self.present(|state| {
            let now = state.world.now();
            let played = state.agenda.play(scenario, now);
            state.advance(now);
            played
        })
    }

    /// Whether a scenario is being played or an operator is at work.
    #[must_use]
    pub fn is_scripted(&self) -> bool {
        self.present(|state| state.agenda.next_change().is_some())
    }

    /// What scenarios and operators did so far, oldest first: who and what.
    #[must_use]
    pub fn journal(&self) -> Vec<(String, String)> {
        self.present(|state| {
            state
                .agenda
                .journal()
                .map(|e| (e.by.clone(), e.what.clone()))
                .collect()
        })
    }

    /// Lends everything, brought to the present.
    fn present<R>(&self, look: impl FnOnce(&mut State) -> R) -> R {
        let mut state = self.lock();
        state.advance(self.shared.clock.now());
        let seen = look(&mut state);
        self.tell_changes(&state);
        seen
    }

    /// Lets the machines answer on their addresses, where those are in 127.0.0.0/8, until `stop` is
    /// cancelled. From the call on, VPCs may lie there.
    pub fn answer(
        &self,
        config: PlaneConfig,
        stop: CancellationToken,
    ) -> impl Future<Output = ()> + Send + use<> {
        self.world(|world| world.settings.guest_cidr_loopback = true);
        plane::run(self.clone(), config, stop)
    }

    /// The versions of what the data plane is about.
    fn changes(&self) -> watch::Receiver<u64> {
        self.shared.changes.subscribe()
    }

    fn tell_changes(&self, state: &State) {
        if !state.world.hooks.parcels.is_empty() {
            self.shared.parcels.notify_one();
        }
        let version = state.world.version();
        self.shared.changes.send_if_modified(|told| {
            let changed = *told != version;
            *told = version;
            changed
        });
    }

    /// Looks at the world as it is now, and how long it stays so if nobody changes it.
    fn peek<R>(&self, look: impl FnOnce(&World, Option<Duration>) -> R) -> R {
        let now = self.shared.clock.now();
        let mut state = self.lock();
        state.advance(now);
        let next = state.next_change();
        let wait = next.map(|at| Duration::try_from(at - now).unwrap_or_default());
        look(&state.world, wait)
    }

    fn report_plane(&self, report: PlaneReport) {
        if let Ok(mut plane) = self.shared.plane.lock() {
            *plane = report;
        }
    }

    fn save(&self, state: &State) {
        self.shared.keeper.keep(&state.world, Urgency::Changed);
    }

    /// Takes a request through: waits for its lock, runs it, and holds the answer back for as long
    /// as the server would.
    async fn handle(&self, incoming: Incoming) -> Reply {
        while let Some(step) = self.wait_for_lock(&incoming) {
            self.shared.clock.sleep(step).await;
        }
        let Outgoing { reply, takes } = self.run(&incoming);
        let reply = self.after_delivery(&incoming, reply).await;
        if !takes.is_zero() {
            self.shared.clock.sleep(takes).await;
        }
        reply
    }

    /// Two `associateIpAddress` of one account wait for each other, in steps of five seconds and
    /// inside the request (`cloudstack-observed.md`, section 3). None means that it is its turn.
    fn wait_for_lock(&self, incoming: &Incoming) -> Option<Duration> {
        if incoming.params.exact("command") != Some("associateIpAddress") {
            return None;
        }
        let mut state = self.lock();
        let now = self.shared.clock.now();
        let world = &mut state.world;
        let step = Some(world.profile.lock_step()).filter(|step| !step.is_zero())?;
        let account = world.user_named(&incoming.user)?.account.clone();
        if world
            .address_locks
            .get(&account)
            .is_some_and(|until| *until > now)
        {
            return Some(step);
        }
        let takes = world.profile.request("associateIpAddress");
        world
            .address_locks
            .insert(account, now + jobs::signed(takes));
        None
    }

    fn run(&self, incoming: &Incoming) -> Outgoing {
        let now = self.shared.clock.now();
        let mut state = self.lock();
        state.advance(now);
        if state.world.down_until.is_some_and(|until| until > now) {
            return Outgoing {
                reply: Reply::lost(),
                takes: Duration::ZERO,
            };
        }
        let outgoing = state.run(incoming);
        state.world.advance(now);
        state.log(incoming, outgoing.reply.status);
        if !incoming
            .params
            .exact("command")
            .is_some_and(|name| name.starts_with("list"))
        {
            self.save(&state);
        }
        self.tell_changes(&state);
        outgoing
    }
}
