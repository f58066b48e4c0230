//! Asking machines whether they serve: TCP and HTTP probes, as configured by role.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard, OnceLock},
    time::Duration,
};

use futures_util::{StreamExt, stream::FuturesUnordered};
use jiff::Timestamp;
use tokio::{net::TcpStream, sync::Notify};

use super::queue::{Queue, Urgency};
use crate::{
    clock::Clock,
    plan::{Health, check, machine_subject},
    types::{
        inventory::{Inventory, VmState},
        ledger::Ledger,
        meta::{ObjectKey, Resource},
        stack::{ClearwaterStack, Probe, ProbeKind, ProbeVia},
    },
};

/// Probes under way at once: enough for hundreds of machines at ten seconds each.
const AT_ONCE: usize = 64;

/// Shortest time between two looks for probes that are due, so that those of one moment are begun
/// together.
const TICK: Duration = Duration::from_millis(250);

/// What is probed, and what was found.
pub struct Probes {
    clock: Clock,
    queue: Arc<Queue>,
    /// Changed by short, synchronous methods only.
    targets: Mutex<BTreeMap<Place, Target>>,
    /// Told when something else is to be probed.
    changed: Notify,
    /// Made for the first probe over HTTP: it takes a while, and many stacks have none.
    http: OnceLock<Result<reqwest::Client, String>>,
}

#[derive(Clone, Debug)]
struct Target {
    address: Ipv4Addr,
    probe: Probe,
    /// When the VM last began to run, by the ledger: what was seen before says nothing.
    began: Option<Timestamp>,
    due: Timestamp,
    /// Whether a try is under way; there is never a second one.
    under_way: bool,
    /// Failures in a row, since when, and the last one in words.
    failures: u32,
    failing_since: Option<(Timestamp, String)>,
    verdict: Option<Health>,
}

impl Target {
    fn same(&self, other: &Self) -> bool {
        (self.address, self.began) == (other.address, other.began) && self.probe == other.probe
    }
}

type Place = (ObjectKey, String);

impl Probes {
    /// Nothing is probed yet.
    #[must_use]
    pub fn new(clock: Clock, queue: Arc<Queue>) -> Self {
        Self {
            clock,
            queue,
            targets: Mutex::default(),
            changed: Notify::new(),
            http: OnceLock::new(),
        }
    }

    /// What is known of a stack's machines.
    #[must_use]
    pub fn health(&self, stack: &ObjectKey) -> BTreeMap<String, Health> {
        let targets = self.lock();
        let ours = targets.iter().filter(|((key, _), _)| key == stack);
        ours.filter_map(|((_, name), target)| Some((name.clone(), target.verdict.clone()?)))
            .collect()
    }

    /// Probes those machines of a stack that run and have a probe, and no others. A machine that
    /// a command is about to take away starts from nothing when it is back.
    pub fn watch(&self, stack: &ClearwaterStack, ledger: &Ledger, inventory: &Inventory) {
        let (key, now) = (stack.key(), self.clock.now());
        let mut targets = self.lock();
        let mut former: BTreeMap<_, _> = BTreeMap::new();
        targets.retain(|(owner, name), target| {
            if *owner == key {
                former.insert(name.clone(), target.clone());
            }
            *owner != key
        });
        for (name, record) in &ledger.machines {
            let pending = ledger.pending_on(&machine_subject(name));
            let leaving = pending.is_some_and(|pending| check::takes_away(&pending.action));
            let vm = record.vm.as_ref().and_then(|vm| inventory.vms.get(vm));
            let running = vm.is_some_and(|vm| vm.state == VmState::Running) && !leaving;
            let Some(probe) = stack.spec.components.get(record.role).probe.clone() else {
                continue;
            };
            let address = match probe.via {
                ProbeVia::Private => Some(record.private_address),
                ProbeVia::Public => record.public_address.as_ref().map(|address| address.ip),
            };
            let (Some(address), true) = (address, running) else {
                continue;
            };
            let fresh = Target {
                address,
                probe,
                began: record.started_at,
                due: now,
                under_way: false,
                failures: 0,
                failing_since: None,
                verdict: None,
            };
            let kept = former.remove(name).filter(|target| target.same(&fresh));
            targets.insert((key.clone(), name.clone()), kept.unwrap_or(fresh));
        }
        if !targets.is_empty() {
            self.changed.notify_one();
        }
    }

    /// Probes a stack no longer.
    pub fn forget(&self, stack: &ObjectKey) {
        self.lock().retain(|(key, _), _| key != stack);
    }

    /// Probes what is due, for ever; wakes stacks of which a machine's verdict changed. A machine
    /// that is slow to answer keeps no other waiting.
    pub async fn run(&self) {
        let mut tries = FuturesUnordered::new();
        loop {
            let room = AT_ONCE.saturating_sub(tries.len());
            tries.extend(
                self.due(room)
                    .into_iter()
                    .map(|(place, target)| async move {
                        let seen = self.probe(&target).await;
                        (place, target, seen)
                    }),
            );
            let wait = self.next_due().filter(|_| tries.len() < AT_ONCE);
            tokio::select! {
                biased;
                Some((place, target, seen)) = tries.next() => {
                    if self.note(&place, &target, seen) {
                        self.queue.add(place.0, Urgency::Change);
                    }
                }
                () = self.changed.notified() => {}
                () = self.clock.sleep(wait.unwrap_or_default()), if wait.is_some() => {}
            }
        }
    }

    /// Time until the next probe, if anything is to be probed.
    fn next_due(&self) -> Option<Duration> {
        let now = self.clock.now();
        let targets = self.lock();
        let waiting = targets.values().filter(|target| !target.under_way);
        let due = waiting.map(|target| target.due).min()?;
        let wait: Duration = due.duration_since(now).try_into().unwrap_or_default();
        Some(wait.max(TICK))
    }

    /// Takes out up to `most` targets whose time has come.
    fn due(&self, most: usize) -> Vec<(Place, Target)> {
        let now = self.clock.now();
        let mut targets = self.lock();
        let mut waiting: Vec<_> = targets
            .iter_mut()
            .filter(|(_, target)| target.due <= now && !target.under_way)
            .collect();
        waiting.sort_by_key(|(_, target)| target.due);
        let due = waiting.into_iter().take(most).map(|(place, target)| {
            target.due = now + target.probe.period.get();
            target.under_way = true;
            (place.clone(), target.clone())
        });
        due.collect()
    }

    /// Takes in what a probe saw; says whether the verdict changed. A try that was begun on what
    /// has been replaced or restarted since says nothing.
    fn note(&self, place: &Place, tried: &Target, seen: Result<(), String>) -> bool {
        let now = self.clock.now();
        let mut targets = self.lock();
        let Some(target) = targets.get_mut(place).filter(|target| target.same(tried)) else {
            return false;
        };
        target.under_way = false;
        let before = target.verdict.clone();
        match seen {
            Ok(()) => {
                (target.failures, target.failing_since) = (0, None);
                target.verdict = Some(Health::Serving);
            }
            Err(why) => {
                target.failures += 1;
                let (since, _) = target
                    .failing_since
                    .get_or_insert_with(|| (now, why.clone()));
                let since = *since;
                if target.failures >= target.probe.failure_threshold {
                    target.verdict = Some(Health::Failing { since, why });
                }
            }
        }
        let failing = |verdict: &Option<Health>| match verdict {
            None => None,
            Some(Health::Serving) => Some(false),
            Some(Health::Failing { .. }) => Some(true),
        };
        failing(&before) != failing(&target.verdict)
    }

    /// Tries once; the error is what was seen, in a few words.
    async fn probe(&self, target: &Target) -> Result<(), String> {
        let limit = target.probe.timeout.get();
        let place = SocketAddr::from((target.address, target.probe.port));
        let attempt = async {
            match target.probe.kind {
                ProbeKind::Tcp => TcpStream::connect(place)
                    .await
                    .map(drop)
                    .map_err(|error| format!("TCP {place}: {error}")),
                ProbeKind::Http => self.http(place, &target.probe.path).await,
            }
        };
        let late = || format!("{place}: no answer within {} ms", limit.as_millis());
        tokio::time::timeout(limit, attempt)
            .await
            .unwrap_or_else(|_| Err(late()))
    }

    async fn http(&self, place: SocketAddr, path: &str) -> Result<(), String> {
        let client = self.http.get_or_init(client);
        let client = client.as_ref().map_err(Clone::clone)?;
        let url = format!("http://{place}{path}");
        match client.get(&url).send().await {
            Ok(answer) if answer.status().as_u16() < 400 => Ok(()),
            Ok(answer) => Err(format!("{url}: HTTP {}", answer.status().as_u16())),
            Err(error) => Err(format!("{url}: {}", told(&error.without_url()))),
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(ObjectKey, String), Target>> {
        self.targets
            .lock()
            .expect("nothing panics while it holds the probes")
    }
}

/// A client that asks each time anew, as a caller of the service would, and takes a redirect for
/// the answer that it is. Its time limit is that of the probe.
fn client() -> Result<reqwest::Client, String> {
    let client = crate::http::client()
        .redirect(reqwest::redirect::Policy::none())
        .pool_max_idle_per_host(0);
    client.build().map_err(|error| told(&error))
}

/// An error down to its cause, which is what helps.
fn told(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.last().map(ToString::to_string).unwrap_or_default()
}
