//! The sockets that are open, and how they become those that should be.
//!
//! What goes is closed to the end before anything is opened, so an address that another machine
//! got is free when it is bound for it.

use std::collections::BTreeMap;
use std::io;
use std::sync::Arc;

use tokio::net::{TcpListener, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::gate::Place;
use super::guest::Guest;
use super::service::Protocol;
use super::wanted::{Mood, Use, Wanted};
use super::{PROBLEMS_MAX, PlaneReport, Problem, Shared, datagram, relay};

/// See the module.
pub(super) struct Sockets {
    shared: Arc<Shared>,
    open: BTreeMap<Place, Socket>,
    /// What was not bound the last time, so that each is logged once.
    problems: Vec<Problem>,
}

struct Socket {
    what: Use,
    mood: watch::Sender<Mood>,
    /// The one task that owns the socket and all its connections.
    task: JoinSet<()>,
}

impl Sockets {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        Self {
            shared,
            open: BTreeMap::new(),
            problems: Vec::new(),
        }
    }

    /// Opens and closes until everything is as wanted, as far as it can be.
    pub(super) async fn make(&mut self, wanted: Wanted) -> PlaneReport {
        let Wanted {
            places,
            mut problems,
        } = wanted;
        let stays = |place: &Place, socket: &Socket| {
            places
                .get(place)
                .is_some_and(|(what, _)| *what == socket.what)
        };
        let gone: Vec<Place> = self
            .open
            .iter()
            .filter(|(place, socket)| !stays(place, socket))
            .map(|(place, _)| *place)
            .collect();
        for place in gone {
            if let Some(mut socket) = self.open.remove(&place) {
                socket.task.shutdown().await;
            }
        }
        for (place, (what, mood)) in places {
            match self.open.get(&place) {
                Some(socket) => socket.mood.send_if_modified(|now| {
                    let changed = *now != mood;
                    *now = mood;
                    changed
                }),
                None => {
                    if let Err(error) = self.open_one(place, &what, mood).await {
                        let name = what.machine_name();
                        problems.push(Problem::at(name, place, error.to_string()));
                    }
                    false
                }
            };
        }
        self.tell(problems)
    }

    async fn open_one(&mut self, place: Place, what: &Use, mood: Mood) -> io::Result<()> {
        let shared = Arc::clone(&self.shared);
        let (mood, listens) = watch::channel(mood);
        let mut task = JoinSet::new();
        match what {
            Use::Guest { machine, kind } => {
                let responder = shared.config.kinds.responder(kind);
                let guest = Guest {
                    responder: responder.ok_or(io::ErrorKind::Unsupported)?,
                    machine: Arc::clone(machine),
                    mood: listens,
                    shared,
                };
                match place.protocol {
                    Protocol::Tcp => task.spawn(guest.listen(TcpListener::bind(place.at).await?)),
                    Protocol::Udp => task.spawn(guest.receive(UdpSocket::bind(place.at).await?)),
                };
            }
            Use::Public => {
                match place.protocol {
                    Protocol::Tcp => {
                        let listener = TcpListener::bind(place.at).await?;
                        task.spawn(relay::listen(shared, place, listener));
                    }
                    Protocol::Udp => {
                        let socket = UdpSocket::bind(place.at).await?;
                        task.spawn(datagram::receive(shared, place, socket));
                    }
                };
            }
        }
        let what = what.clone();
        self.open.insert(place, Socket { what, mood, task });
        Ok(())
    }

    fn tell(&mut self, mut problems: Vec<Problem>) -> PlaneReport {
        for problem in problems
            .iter()
            .filter(|problem| !self.problems.contains(problem))
        {
            let Problem { vm, what, why } = problem;
            tracing::warn!(vm, what, why, "a machine cannot answer there");
        }
        problems.truncate(PROBLEMS_MAX);
        self.problems.clone_from(&problems);
        let bound = self.open.keys();
        PlaneReport {
            bound: bound
                .map(|place| format!("{} {}", place.protocol, place.at))
                .collect(),
            relayed: self.shared.flows.len(),
            problems,
        }
    }

    /// Closes everything.
    pub(super) async fn close(&mut self) {
        for socket in self.open.values_mut() {
            socket.task.shutdown().await;
        }
        self.open.clear();
    }
}
