//! What every backend of the store must keep, on memory, sled and a real etcd; and what only a
//! cluster can get wrong: members that die, connections that break, answers that never come.

mod broken;
mod cluster;
mod fence;
mod proxy;
mod safe;
pub(crate) mod server;
mod suite;

use std::sync::Arc;

use weir::{
    clock::Clock,
    store::{Backend, Etcd, Memory, Store},
};

use self::{server::Server, suite::Subject};

/// Changes that are remembered where a test does not want few.
const HISTORY: usize = 1_000;

#[tokio::test]
async fn memory_keeps_the_promises_of_a_backend() {
    suite::keeps(&InMemory).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn sled_keeps_the_promises_of_a_backend() {
    suite::keeps(&OnDisk::default()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn etcd_keeps_the_promises_of_a_backend() {
    let Some(server) = server::single().await else {
        return;
    };
    suite::keeps(&InEtcd(server)).await;
}

struct InMemory;

impl Subject for InMemory {
    async fn backend(&self, _: &str, history: usize) -> Arc<dyn Backend> {
        Arc::new(Memory::new(history))
    }
}

#[derive(Default)]
struct OnDisk(std::sync::Mutex<Vec<tempfile::TempDir>>);

impl Subject for OnDisk {
    async fn backend(&self, _: &str, history: usize) -> Arc<dyn Backend> {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open_with_history(dir.path(), Clock::system(), history).unwrap();
        self.0.lock().unwrap().push(dir);
        store.backend()
    }
}

struct InEtcd(Server);

impl Subject for InEtcd {
    async fn backend(&self, name: &str, history: usize) -> Arc<dyn Backend> {
        let address = format!("{}/{name}", self.0.address());
        Arc::new(server::connect(&address, history).await)
    }
}

/// Connects to an etcd that must be there.
async fn etcd(server: &Server) -> Arc<Etcd> {
    Arc::new(server::connect(&server.address(), HISTORY).await)
}
