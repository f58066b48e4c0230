//! What is on its way through public addresses: every relayed connection and peer, so that it is
//! cut when the NAT or the rule that let it in is taken away.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::Limits;
use super::gate::{self, From, Place, Way};
use crate::sim::world::World;

/// Somebody who reaches a machine by a public address.
#[derive(Clone, Debug)]
pub(super) struct Flow {
    pub(super) place: Place,
    pub(super) source: Ipv4Addr,
    pub(super) way: Way,
}

impl Flow {
    /// Whether it may go on.
    pub(super) fn passes(&self, world: &World) -> bool {
        gate::ways(world, self.place, From::Source(self.source)).contains(&self.way)
    }
}

/// See the module.
pub(super) struct Flows {
    open: Mutex<Open>,
    connections: Arc<Semaphore>,
    peers: Arc<Semaphore>,
    turn: AtomicUsize,
}

#[derive(Default)]
struct Open {
    next: u64,
    flows: BTreeMap<u64, (Flow, CancellationToken)>,
}

impl Flows {
    pub(super) fn new(limits: &Limits) -> Self {
        Self {
            open: Mutex::default(),
            connections: Arc::new(Semaphore::new(limits.connections)),
            peers: Arc::new(Semaphore::new(limits.peers)),
            turn: AtomicUsize::new(0),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Open> {
        self.open
            .lock()
            .expect("held lock cannot be poisoned: nothing panics under it")
    }

    /// Room for one more connection, if there is any.
    pub(super) fn room(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.connections).try_acquire_owned().ok()
    }

    /// Room for one more peer, if there is any.
    pub(super) fn room_for_peer(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.peers).try_acquire_owned().ok()
    }

    /// Counts a flow in until what is returned is dropped.
    pub(super) fn enter(self: &Arc<Self>, flow: Flow) -> Entered {
        let cut = CancellationToken::new();
        let mut open = self.lock();
        let number = open.next;
        open.next += 1;
        open.flows.insert(number, (flow, cut.clone()));
        Entered {
            flows: Arc::clone(self),
            number,
            cut,
        }
    }

    /// One of several ways, in turn.
    pub(super) fn choose(&self, mut ways: Vec<Way>) -> Option<Way> {
        if ways.is_empty() {
            return None;
        }
        let turn = self.turn.fetch_add(1, Ordering::Relaxed);
        let place = turn % ways.len();
        Some(ways.swap_remove(place))
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.lock().flows.len()
    }

    /// Cuts those that may no longer pass.
    pub(super) fn cut(&self, world: &World) {
        for (flow, cut) in self.lock().flows.values() {
            if !flow.passes(world) {
                cut.cancel();
            }
        }
    }
}

/// A flow that is counted in.
pub(super) struct Entered {
    flows: Arc<Flows>,
    number: u64,
    /// Cancelled when the flow may no longer pass.
    pub(super) cut: CancellationToken,
}

impl Drop for Entered {
    fn drop(&mut self) {
        self.flows.lock().flows.remove(&self.number);
    }
}
