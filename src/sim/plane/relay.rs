//! TCP by public addresses: each connection is let in or reset as the world says at that moment,
//! and is carried to the machine for as long as the world lets it.

use std::net::{Ipv4Addr, SocketAddr, SocketAddrV4};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::task::JoinSet;

use super::Shared;
use super::flow::Flow;
use super::gate::{self, From, Place};

/// How long a machine may take to accept: the loopback needs no time, a full queue takes for ever.
const CONNECT: Duration = Duration::from_secs(5);
/// What is read at once in either direction.
const BUFFER: usize = 16_384;

/// Relays connections to a public place.
pub(super) async fn listen(shared: Arc<Shared>, place: Place, listener: TcpListener) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            biased;
            Some(_) = connections.join_next() => {}
            accepted = listener.accept() => match accepted {
                Ok((stream, SocketAddr::V4(peer))) => {
                    connections.spawn(carry(Arc::clone(&shared), place, stream, peer));
                }
                Ok((_, SocketAddr::V6(_))) => {}
                Err(error) => tracing::debug!(%error, "a public address could not accept"),
            },
        }
    }
}

async fn carry(shared: Arc<Shared>, place: Place, client: TcpStream, peer: SocketAddrV4) {
    let relayed = relay(&shared, place, &client, *peer.ip()).await;
    let Some((flow, guest)) = relayed else {
        reset(&client);
        return;
    };
    let entered = shared.flows.enter(flow.clone());
    // The rule may have gone between the two looks.
    let lets = shared.sim.peek(|world, _| flow.passes(world));
    let idle = shared.config.limits.idle;
    let (mut client, mut guest) = (client, guest);
    let cut = async {
        if lets {
            entered.cut.cancelled().await;
        }
    };
    let ended = tokio::select! {
        biased;
        () = cut => false,
        () = both_ways(&mut client, &mut guest, idle) => true,
    };
    if !ended {
        reset(&client);
        reset(&guest);
    }
}

/// Lets a connection in: the flow, and the connection to the machine.
async fn relay(
    shared: &Arc<Shared>,
    place: Place,
    client: &TcpStream,
    source: Ipv4Addr,
) -> Option<(Flow, TcpStream)> {
    let ways = shared
        .sim
        .peek(|world, _| gate::ways(world, place, From::Source(source)));
    let way = shared.flows.choose(ways)?;
    let connected = tokio::time::timeout(CONNECT, connect(source, way.to)).await;
    let guest = connected.ok()?.ok()?;
    for stream in [client, &guest] {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
    }
    Some((Flow { place, source, way }, guest))
}

/// Connects to a machine in the name of the client, as static NAT leaves the source as it is.
async fn connect(source: Ipv4Addr, to: SocketAddrV4) -> std::io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    if source.is_loopback() {
        socket.bind(SocketAddr::from((source, 0)))?;
    }
    socket.connect(to.into()).await
}

fn reset(stream: &TcpStream) {
    if let Err(error) = stream.set_zero_linger() {
        tracing::debug!(%error, "a connection ends in order where it should be reset");
    }
}

/// Carries bytes both ways until both have ended, one fails, or nobody said anything for a while.
async fn both_ways(client: &mut TcpStream, guest: &mut TcpStream, idle: Duration) {
    let moved = AtomicU64::new(0);
    let (from_client, to_client) = client.split();
    let (from_guest, to_guest) = guest.split();
    let there = pump(from_client, to_guest, &moved);
    let back = pump(from_guest, to_client, &moved);
    let carried = async {
        // One failure ends the other direction as well; there is nobody to tell of it.
        tokio::try_join!(there, back).ok();
    };
    let silent = async {
        let mut before = 0;
        loop {
            tokio::time::sleep(idle).await;
            let now = moved.load(Ordering::Relaxed);
            if now == before {
                return;
            }
            before = now;
        }
    };
    tokio::select! {
        biased;
        () = carried => {}
        () = silent => {}
    }
}

async fn pump(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    moved: &AtomicU64,
) -> std::io::Result<()> {
    let mut buffer = vec![0; BUFFER];
    loop {
        let read = from.read(&mut buffer).await?;
        if read == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..read]).await?;
        moved.fetch_add(1, Ordering::Relaxed);
    }
}
