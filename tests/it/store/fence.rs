//! Leases and fences: of several that would write, one does.

use std::{
    sync::{Arc, OnceLock},
    time::Duration,
};

use weir::store::{Backend, BackendError, Etcd, Expect, Fence, Fenced};

use super::{
    etcd,
    server::{self, until},
    suite::{bytes, put},
};

fn fenced(etcd: &Arc<Etcd>, fence: Fence) -> Fenced {
    Arc::clone(etcd).fenced(Arc::new(OnceLock::from(fence)))
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_lost_its_lease_writes_nothing_any_more() {
    let Some(server) = server::single().await else {
        return;
    };
    let (one, two) = (etcd(&server).await, etcd(&server).await);
    let lease = one.lease(Duration::from_secs(60)).await.unwrap();
    let held = one.hold("leader", bytes("one"), &lease).await.unwrap();
    let first = fenced(&one, held.expect("nobody has it"));
    let made = put(&first, "a/1", "one", Expect::Absent).await;
    assert!(lease.renew().await.unwrap().is_some());

    let other = two.lease(Duration::from_secs(60)).await.unwrap();
    let held = two.hold("leader", bytes("two"), &other).await.unwrap();
    assert_eq!(held, None, "it is held");
    lease.revoke().await.unwrap();
    let gone = first.put("a/1", bytes("late"), Expect::At(made)).await;
    assert!(matches!(gone, Err(BackendError::Fenced)), "{gone:?}");

    let held = two.hold("leader", bytes("two"), &other).await.unwrap();
    let second = fenced(&two, held.expect("it is free"));
    // The key is there again, but it is not the one that the first holder made.
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
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lease_that_is_not_renewed_ends_by_itself() {
    let Some(server) = server::single().await else {
        return;
    };
    let one = etcd(&server).await;
    let lease = one.lease(Duration::from_secs(1)).await.unwrap();
    let held = one.hold("leader", bytes("one"), &lease).await.unwrap();
    let fenced = fenced(&one, held.expect("nobody has it"));
    until("the lease ends", async || {
        match fenced.put("a/1", bytes("x"), Expect::Any).await {
            Err(BackendError::Fenced) => Ok(()),
            answer => Err(format!("{answer:?}")),
        }
    })
    .await;
    assert_eq!(lease.renew().await.unwrap(), None);
}
