//! Leases and fences, in memory and on a real etcd: of several that would write, one does.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use weir::store::{Backend, BackendError, Expect, Fence, Fenced, Leases, Memory};

use super::{
    etcd,
    server::{self, until},
    suite::{bytes, put},
};

fn fenced(leases: &Arc<dyn Leases>, fence: Fence) -> Fenced {
    Fenced::new(Arc::clone(leases), Arc::new(OnceLock::from(fence)))
}

/// Two ways to one etcd.
async fn in_etcd(server: &server::Server) -> [Arc<dyn Leases>; 2] {
    [etcd(server).await, etcd(server).await]
}

/// Two ways to one memory.
fn in_memory() -> [Arc<dyn Leases>; 2] {
    let memory = Arc::new(Memory::default());
    [Arc::clone(&memory) as _, memory]
}

async fn lost(leases: [Arc<dyn Leases>; 2]) {
    let [one, two] = &leases;
    let lease = one.grant(Duration::from_secs(60)).await.unwrap();
    let held = one.hold("leader", bytes("one"), lease).await.unwrap();
    let first = held.expect("nobody has it");
    assert!(one.stands(&first).await.unwrap());
    assert_eq!(two.holder("leader").await.unwrap(), Some(bytes("one")));
    let fenced_off = first.clone();
    let first = fenced(one, first);
    let made = put(&first, "a/1", "one", Expect::Absent).await;
    assert!(one.renew(lease).await.unwrap().is_some());

    let other = two.grant(Duration::from_secs(60)).await.unwrap();
    let held = two.hold("leader", bytes("two"), other).await.unwrap();
    assert_eq!(held, None, "it is held");
    one.revoke(lease).await.unwrap();
    one.revoke(lease).await.unwrap();
    let gone = first.put("a/1", bytes("late"), Expect::At(made)).await;
    assert!(matches!(gone, Err(BackendError::Fenced)), "{gone:?}");
    assert_eq!(two.holder("leader").await.unwrap(), None);
    let held = one.hold("leader", bytes("one"), lease).await;
    assert!(matches!(held, Err(BackendError::Failed(_))), "{held:?}");

    let held = two.hold("leader", bytes("two"), other).await.unwrap();
    let second = fenced(two, held.expect("it is free"));
    // The key is there again, but it is not the one that the first holder made.
    assert!(!one.stands(&fenced_off).await.unwrap());
    for expect in [Expect::At(made), Expect::Any] {
        let late = first.put("a/1", bytes("late"), expect).await;
        assert!(matches!(late, Err(BackendError::Fenced)), "{late:?}");
        let late = first.remove("a/1", expect).await;
        assert!(matches!(late, Err(BackendError::Fenced)), "{late:?}");
    }
    let stale = second.put("a/1", bytes("x"), Expect::Absent).await;
    let Err(BackendError::Unexpected { found }) = stale else {
        panic!("{stale:?}");
    };
    assert_eq!(found, Some(made));
    put(&second, "a/1", "two", Expect::At(made)).await;
    let names = two.range("").await.unwrap().entries;
    let names: Vec<_> = names.into_iter().map(|(name, _)| name).collect();
    assert_eq!(names, ["a/1"], "what is held is beside what is kept");
}

async fn ended([one, _]: [Arc<dyn Leases>; 2]) {
    let lease = one.grant(Duration::from_secs(1)).await.unwrap();
    let held = one.hold("leader", bytes("one"), lease).await.unwrap();
    let fenced = fenced(&one, held.expect("nobody has it"));
    until("the lease ends", async || {
        match fenced.put("a/1", bytes("x"), Expect::Any).await {
            Err(BackendError::Fenced) => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    })
    .await;
    assert_eq!(one.renew(lease).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_its_lease_writes_nothing_any_more() {
    lost(in_memory()).await;
    let Some(server) = server::single().await else {
        return;
    };
    lost(in_etcd(&server).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_not_renewed_ends_by_itself() {
    ended(in_memory()).await;
    let Some(server) = server::single().await else {
        return;
    };
    ended(in_etcd(&server).await).await;
}
