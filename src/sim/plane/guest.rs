//! The machines' own ports: accept, hand over to the responder, and fall silent with the machine.

use std::sync::Arc;

use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::Shared;
use super::responder::{Machine, Responder};
use super::wanted::Mood;

/// What a datagram holds at most.
pub(super) const DATAGRAM_MAX: usize = 65_536;

/// Who answers at a place.
#[derive(Clone)]
pub(super) struct Guest {
    pub(super) shared: Arc<Shared>,
    pub(super) machine: Arc<Machine>,
    pub(super) responder: Arc<dyn Responder>,
    pub(super) mood: watch::Receiver<Mood>,
}

impl Guest {
    fn is_silent(&self) -> bool {
        *self.mood.borrow() == Mood::Silent
    }

    /// Takes connections. A machine that hangs takes none: the kernel still lets peers connect, as
    /// that of a machine whose programs hang does.
    pub(super) async fn listen(mut self, listener: TcpListener) {
        let mut connections = JoinSet::new();
        loop {
            let silent = self.is_silent();
            tokio::select! {
                biased;
                Some(_) = connections.join_next() => {}
                changed = self.mood.changed() => if changed.is_err() { return },
                accepted = listener.accept(), if !silent => match accepted {
                    Ok((stream, _)) => {
                        connections.spawn(self.clone().converse(stream));
                    }
                    Err(error) => tracing::debug!(%error, "a machine could not accept"),
                },
            }
        }
    }

    async fn converse(mut self, stream: TcpStream) {
        let Some(_room) = self.shared.flows.room() else {
            return;
        };
        let mut serving = self.responder.connected(Arc::clone(&self.machine), stream);
        loop {
            let silent = self.is_silent();
            tokio::select! {
                biased;
                changed = self.mood.changed() => if changed.is_err() { return },
                () = &mut serving, if !silent => return,
            }
        }
    }

    /// Answers datagrams. Those that a machine gets while it hangs are lost.
    pub(super) async fn receive(self, socket: UdpSocket) {
        let mut buffer = vec![0; DATAGRAM_MAX];
        loop {
            // An error is the news that an earlier answer could not be delivered.
            let Ok((length, peer)) = socket.recv_from(&mut buffer).await else {
                tokio::task::yield_now().await;
                continue;
            };
            if self.is_silent() {
                continue;
            }
            let answer = self.responder.received(&self.machine, &buffer[..length]);
            if let Some(answer) = answer
                && let Err(error) = socket.send_to(&answer, peer).await
            {
                tracing::debug!(%error, "a machine's answer could not be sent");
            }
        }
    }
}
