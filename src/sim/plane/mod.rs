//! The data plane: machines that answer.
//!
//! Where a tier lies in 127.0.0.0/8, a machine that runs binds its addresses and answers TCP, HTTP
//! and UDP; where public addresses lie there too, they are bound and relayed as static NAT and ACL
//! rules say. So a probe, a SIP client or a browser sees what it would see of a real stack, and
//! stops seeing it when the machine is stopped, destroyed, hung or cut off.
//!
//! The plane lives outside the world and follows it: it wakes when the world changes or something
//! falls due, reads off what should be bound (`wanted`), and opens and closes sockets until that
//! is so (`sockets`). Nothing in the world depends on it, so a world replays the same with or
//! without it. A port that cannot be bound is a [`Problem`] that `/sim/state` shows, and is tried
//! again.

mod datagram;
mod flow;
mod gate;
mod guest;
mod relay;
mod responder;
mod service;
mod sockets;
mod wanted;

use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;
use tokio_util::sync::CancellationToken;

use super::Sim;
use flow::Flows;
use gate::Place;
pub use responder::{Echo, Http, Machine, Responder};
pub use service::{Kinds, Protocol, Service};
use sockets::Sockets;

/// How soon what could not be bound is tried again.
const RETRY: Duration = Duration::from_secs(5);
/// How many problems are shown.
const PROBLEMS_MAX: usize = 100;
/// How much longer than its last reading of the world the plane rests before the next one, so that
/// a storm of changes costs a fifth of a core at most.
const REST: u32 = 4;

/// What the plane may use. The defaults fit into the 1,024 open files that a process usually gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Places bound at the same time, guests' and public ones.
    pub sockets: usize,
    /// Connections at the same time. One by a public address counts twice: there and at the guest.
    pub connections: usize,
    /// Peers of public UDP ports at the same time.
    pub peers: usize,
    /// How long a relayed connection or peer may be silent.
    pub idle: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            sockets: 512,
            connections: 256,
            peers: 128,
            idle: Duration::from_secs(60),
        }
    }
}

/// What the machines answer.
#[derive(Clone, Debug)]
pub struct PlaneConfig {
    /// What each machine answers that does not say it itself, by its detail or tag `answer`.
    pub services: Vec<Service>,
    /// What there is to answer with.
    pub kinds: Kinds,
    /// What the plane may use.
    pub limits: Limits,
}

impl PlaneConfig {
    /// Machines that answer these services, such as `tcp:22,http:80,udp:5060`.
    ///
    /// # Errors
    /// See [`Kinds::read`].
    pub fn answering(services: &str) -> Result<Self, String> {
        let kinds = Kinds::default();
        Ok(Self {
            services: kinds.read(services)?,
            kinds,
            limits: Limits::default(),
        })
    }
}

/// Something that should be bound and is not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Problem {
    /// The name of the machine; empty for a public address.
    pub vm: String,
    /// What it is about.
    pub what: String,
    /// Why it is not so.
    pub why: String,
}

impl Problem {
    fn new(vm: &str, what: &str, why: impl Into<String>) -> Self {
        Self {
            vm: vm.to_owned(),
            what: what.to_owned(),
            why: why.into(),
        }
    }

    fn at(vm: &str, place: Place, why: impl Into<String>) -> Self {
        Self::new(vm, &format!("{} {}", place.protocol, place.at), why)
    }
}

/// How the plane is doing, as `/sim/state` shows it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PlaneReport {
    /// What is bound, such as `tcp 127.16.0.5:80`.
    pub bound: Vec<String>,
    /// Connections and peers that are relayed by public addresses.
    pub relayed: usize,
    /// What should be bound and is not; the first hundred.
    pub problems: Vec<Problem>,
}

/// What all parts of the plane share.
struct Shared {
    sim: Sim,
    config: PlaneConfig,
    flows: Arc<Flows>,
}

/// Follows the world until `stop` is cancelled.
pub(super) async fn run(sim: Sim, config: PlaneConfig, stop: CancellationToken) {
    let mut changes = sim.changes();
    let flows = Arc::new(Flows::new(&config.limits));
    let shared = Arc::new(Shared { sim, config, flows });
    let mut sockets = Sockets::new(Arc::clone(&shared));
    loop {
        changes.borrow_and_update();
        let began = tokio::time::Instant::now();
        let (wanted, next) = shared.sim.peek(|world, next| {
            shared.flows.cut(world);
            (wanted::wanted(world, &shared.config), next)
        });
        let took = began.elapsed();
        let report = sockets.make(wanted).await;
        let retry = (!report.problems.is_empty()).then_some(RETRY);
        shared.sim.report_plane(report);
        let wait = next.into_iter().chain(retry).min();
        let due = async {
            match wait {
                Some(wait) => tokio::time::sleep(wait).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            changed = changes.changed() => if changed.is_err() { break },
            () = due => {}
        }
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            () = tokio::time::sleep(took * REST) => {}
        }
    }
    sockets.close().await;
    shared.sim.report_plane(PlaneReport::default());
}
