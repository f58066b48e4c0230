//! Asking machines whether they serve: TCP and HTTP probes, as configured by role.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use jiff::Timestamp;
use tokio::net::TcpStream;

use super::queue::{Queue, Urgency};
use crate::{
    clock::Clock,
    plan::Health,
    types::{
        inventory::{Inventory, VmState},
        ledger::Ledger,
        meta::{ObjectKey, Resource},
        stack::{ClearwaterStack, Probe, ProbeKind, ProbeVia},
    },
};

/// Probes under way at once: enough for hundreds of machines at ten seconds each.
const AT_ONCE: usize = 64;

/// How often probes that are due are looked for.
const TICK: Duration = Duration::from_millis(250);

/// What is probed, and what was found.
pub struct Probes {
    clock: Clock,
    queue: Arc<Queue>,
    /// Changed by short, synchronous methods only.
    targets: Mutex<BTreeMap<(ObjectKey, String), Target>>,
}

#[derive(Clone, Debug)]
struct Target {
    address: Ipv4Addr,
    probe: Probe,
    due: Timestamp,
    /// Failures in a row, since when, and the last one in words.
    failures: u32,
    failing_since: Option<(Timestamp, String)>,
    verdict: Option<Health>,
}

impl Probes {
    /// Nothing is probed yet.
    #[must_use]
    pub fn new(clock: Clock, queue: Arc<Queue>) -> Self {
        Self {
            clock,
            queue,
            targets: Mutex::default(),
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

    /// Probes those machines of a stack that run and have a probe, and no others.
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
            let vm = record.vm.as_ref().and_then(|vm| inventory.vms.get(vm));
            let running = vm.is_some_and(|vm| vm.state == VmState::Running);
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
            let kept = former
                .remove(name)
                .filter(|target| target.address == address && target.probe == probe);
            let fresh = Target {
                address,
                probe,
                due: now,
                failures: 0,
                failing_since: None,
                verdict: None,
            };
            targets.insert((key.clone(), name.clone()), kept.unwrap_or(fresh));
        }
    }

    /// Probes a stack no longer.
    pub fn forget(&self, stack: &ObjectKey) {
        self.lock().retain(|(key, _), _| key != stack);
    }

    /// Probes what is due, for ever; wakes stacks of which a machine's verdict changed.
    pub async fn run(&self) {
        loop {
            self.clock.sleep(TICK).await;
            let due = self.due();
            stream::iter(due)
                .for_each_concurrent(AT_ONCE, |(place, target)| async move {
                    let seen = probe(&target).await;
                    if self.note(&place, seen) {
                        self.queue.add(place.0, Urgency::Change);
                    }
                })
                .await;
        }
    }

    fn due(&self) -> Vec<((ObjectKey, String), Target)> {
        let now = self.clock.now();
        let mut due = Vec::new();
        for (place, target) in self
            .lock()
            .iter_mut()
            .filter(|(_, target)| target.due <= now)
        {
            target.due = now + target.probe.period.get();
            due.push((place.clone(), target.clone()));
        }
        due
    }

    /// Takes in what a probe saw; says whether the verdict changed.
    fn note(&self, place: &(ObjectKey, String), seen: Result<(), String>) -> bool {
        let now = self.clock.now();
        let mut targets = self.lock();
        let Some(target) = targets.get_mut(place) else {
            return false;
        };
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

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(ObjectKey, String), Target>> {
        self.targets
            .lock()
            .expect("nothing panics while it holds the probes")
    }
}

/// Tries once; the error is what was seen, in a few words.
async fn probe(target: &Target) -> Result<(), String> {
    let limit = target.probe.timeout.get();
    let place = SocketAddr::from((target.address, target.probe.port));
    let attempt = async {
        match target.probe.kind {
            ProbeKind::Tcp => TcpStream::connect(place)
                .await
                .map(drop)
                .map_err(|error| format!("TCP {place}: {error}")),
            ProbeKind::Http => http(place, &target.probe.path, limit).await,
        }
    };
    let late = || format!("{place}: no answer within {} ms", limit.as_millis());
    tokio::time::timeout(limit, attempt)
        .await
        .unwrap_or_else(|_| Err(late()))
}

async fn http(place: SocketAddr, path: &str, limit: Duration) -> Result<(), String> {
    let client = crate::http::client().timeout(limit).build();
    let client = client.map_err(|error| error.to_string())?;
    let url = format!("http://{place}{path}");
    match client.get(&url).send().await {
        Ok(answer) if answer.status().as_u16() < 400 => Ok(()),
        Ok(answer) => Err(format!("{url}: HTTP {}", answer.status().as_u16())),
        Err(error) => Err(format!("{url}: {}", error.without_url())),
    }
}
