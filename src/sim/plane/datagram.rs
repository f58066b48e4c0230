//! UDP by public addresses: each datagram passes or is dropped as the world says at that moment.
//! Answers find their way back as long as the peer keeps talking.

use std::collections::BTreeMap;
use std::net::{SocketAddr, SocketAddrV4};
use std::sync::Arc;

use tokio::net::UdpSocket;
use tokio::sync::OwnedSemaphorePermit;
use tokio::task::{Id, JoinSet};

use super::Shared;
use super::flow::Flow;
use super::gate::{self, From, Place, Way};
use super::guest::DATAGRAM_MAX;

/// A peer's way to a machine.
struct Session {
    way: Way,
    to_guest: Arc<UdpSocket>,
    task: Id,
}

/// A public place, and who talks there.
struct Post {
    shared: Arc<Shared>,
    place: Place,
    public: Arc<UdpSocket>,
    sessions: BTreeMap<SocketAddrV4, Session>,
    tasks: JoinSet<SocketAddrV4>,
}

/// Relays the datagrams to a public place.
pub(super) async fn receive(shared: Arc<Shared>, place: Place, public: UdpSocket) {
    let mut post = Post {
        shared,
        place,
        public: Arc::new(public),
        sessions: BTreeMap::new(),
        tasks: JoinSet::new(),
    };
    let public = Arc::clone(&post.public);
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        let received = tokio::select! {
            biased;
            Some(ended) = post.tasks.join_next_with_id() => {
                post.forget(ended.ok());
                continue;
            }
            received = public.recv_from(&mut buffer) => received,
        };
        // A peer that is gone is told by an error of the next call.
        if let Ok((length, SocketAddr::V4(peer))) = received {
            post.pass(peer, &buffer[..length]).await;
        }
    }
}

impl Post {
    fn forget(&mut self, ended: Option<(Id, SocketAddrV4)>) {
        if let Some((task, peer)) = ended
            && self
                .sessions
                .get(&peer)
                .is_some_and(|session| session.task == task)
        {
            self.sessions.remove(&peer);
        }
    }

    /// Sends a datagram on, or drops it. So does a router whose queue is full.
    async fn pass(&mut self, peer: SocketAddrV4, datagram: &[u8]) {
        let (shared, place) = (&self.shared, self.place);
        let ways = shared
            .sim
            .peek(|world, _| gate::ways(world, place, From::Source(*peer.ip())));
        let known = self.sessions.get(&peer);
        if known.is_none_or(|session| !ways.contains(&session.way)) {
            self.sessions.remove(&peer);
            self.open(peer, ways);
        }
        if let Some(session) = self.sessions.get(&peer)
            && let Err(error) = session.to_guest.send(datagram).await
        {
            tracing::debug!(%error, "a datagram to a machine is lost");
        }
    }

    fn open(&mut self, peer: SocketAddrV4, ways: Vec<Way>) {
        let flows = &self.shared.flows;
        let Some(way) = flows.choose(ways) else {
            return;
        };
        let Some(room) = flows.room_for_peer() else {
            tracing::warn!(%peer, "too many peers talk to public addresses");
            return;
        };
        let to_guest = match towards(peer, way.to) {
            Ok(socket) => Arc::new(socket),
            Err(error) => {
                tracing::warn!(%peer, %error, "a peer has no way to its machine");
                return;
            }
        };
        let flow = Flow {
            place: self.place,
            source: *peer.ip(),
            way: way.clone(),
        };
        let back = answers(
            Arc::clone(&self.shared),
            (Arc::clone(&self.public), Arc::clone(&to_guest)),
            (peer, flow),
            room,
        );
        let task = self.tasks.spawn(back).id();
        self.sessions.insert(
            peer,
            Session {
                way,
                to_guest,
                task,
            },
        );
    }
}

/// A socket that speaks to a machine in the name of a peer.
fn towards(peer: SocketAddrV4, to: SocketAddrV4) -> std::io::Result<UdpSocket> {
    let from = if peer.ip().is_loopback() {
        *peer.ip()
    } else {
        std::net::Ipv4Addr::UNSPECIFIED
    };
    let socket = std::net::UdpSocket::bind((from, 0))?;
    socket.connect(to)?;
    socket.set_nonblocking(true)?;
    UdpSocket::from_std(socket)
}

/// Carries answers back until none came for a while, or the flow is cut.
async fn answers(
    shared: Arc<Shared>,
    (public, to_guest): (Arc<UdpSocket>, Arc<UdpSocket>),
    (peer, flow): (SocketAddrV4, Flow),
    _room: OwnedSemaphorePermit,
) -> SocketAddrV4 {
    let entered = shared.flows.enter(flow.clone());
    let mut buffer = vec![0; DATAGRAM_MAX];
    loop {
        let received = tokio::select! {
            biased;
            () = entered.cut.cancelled() => return peer,
            received = tokio::time::timeout(shared.config.limits.idle, to_guest.recv(&mut buffer)) => received,
        };
        let length = match received {
            // Nobody answered for a while, or the machine's kernel said that nothing listens.
            Err(_) | Ok(Err(_)) => return peer,
            Ok(Ok(length)) => length,
        };
        if !shared.sim.peek(|world, _| flow.passes(world)) {
            return peer;
        }
        if let Err(error) = public.send_to(&buffer[..length], peer).await {
            tracing::debug!(%error, "an answer to a peer is lost");
        }
    }
}
