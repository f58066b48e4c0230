//! What runs inside the simulated machines: listeners on their addresses in a tier of 127.0.0.0/8.

use std::{
    collections::BTreeMap,
    net::{Ipv4Addr, SocketAddr},
    sync::Mutex,
};

use serde_json::{Value, json};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
    task::JoinSet,
};
use weir::sim::Sim;

use super::World;

/// The port on which guests serve.
const PORT: u16 = 18_080;

/// See the module. A guest is closed until it is told to answer.
pub(crate) struct Guests {
    /// The second byte of the tier's range: one for each test, since they share the machine.
    net: u8,
    open: Mutex<BTreeMap<Ipv4Addr, JoinSet<()>>>,
}

impl Guests {
    pub(crate) fn new(net: u8) -> Self {
        let open = Mutex::default();
        Self { net, open }
    }

    /// The network of a stack whose machines are reachable here.
    pub(crate) fn network(&self) -> Value {
        let net = self.net;
        json!({"vpc": {"cidr": format!("127.{net}.0.0/16")}, "cidr": format!("127.{net}.0.0/24")})
    }

    /// A probe of a kind that is quick and takes one failure for an answer.
    pub(crate) fn probe(kind: &str) -> Value {
        json!({
            "kind": kind, "port": PORT, "path": "/ping", "period": "100ms", "timeout": "1s",
            "failureThreshold": 1,
        })
    }

    /// From now on the guest at a machine's address answers HTTP requests with a status that is
    /// asked of `status` each time, and takes TCP connections. Without one it says nothing.
    pub(crate) async fn answer(
        &self,
        world: &World,
        machine: &str,
        status: impl Fn(&Sim) -> Option<u16> + Send + 'static,
    ) {
        let address = address(world, machine).await;
        self.close_at(address).await;
        let place = SocketAddr::from((address, PORT));
        let listener = TcpListener::bind(place).await.unwrap();
        let sim = world.sim.clone();
        let mut task = JoinSet::new();
        task.spawn(async move {
            let mut silent = Vec::new();
            while let Ok((mut stream, _)) = listener.accept().await {
                let Some(status) = status(&sim) else {
                    silent.push(stream);
                    continue;
                };
                let reply = format!(
                    "HTTP/1.1 {status} Told\r\nLocation: https://192.0.2.1/\r\n\
                     Content-Length: 0\r\nConnection: close\r\n\r\n"
                );
                let mut request = [0; 1024];
                // Whoever connects and says nothing is a TCP probe.
                if stream.read(&mut request).await.is_ok_and(|read| read > 0) {
                    stream.write_all(reply.as_bytes()).await.ok();
                }
            }
        });
        self.open.lock().unwrap().insert(address, task);
    }

    /// The guest answers with 200.
    pub(crate) async fn serve(&self, world: &World, machine: &str) {
        self.answer(world, machine, |_| Some(200)).await;
    }

    /// The guest stops answering.
    pub(crate) async fn close(&self, world: &World, machine: &str) {
        let address = address(world, machine).await;
        self.close_at(address).await;
    }

    async fn close_at(&self, address: Ipv4Addr) {
        let task = self.open.lock().unwrap().remove(&address);
        if let Some(mut task) = task {
            // The listener is closed once the task is gone.
            task.shutdown().await;
        }
    }
}

async fn address(world: &World, machine: &str) -> Ipv4Addr {
    let name = format!("ims-{machine}");
    let known =
        |status: &weir::types::stack::StackStatus| status.ledger.machines.contains_key(&name);
    world.until("the machine has an address", known).await;
    world.status().await.ledger.machines[&name].private_address
}
