//! Whole worlds in one thread and in virtual time: the real controller, planner, client and store
//! against the simulator, with no socket and no clock of the machine between them. An hour takes
//! a moment, and a seed gives the same world every time, request by request.

mod chaos;
mod doom;
mod fate;
mod safety;
mod world;

use std::sync::Arc;

use serde_json::json;
use tokio::task::JoinSet;
use weir::{
    sim::{Breakage, Profile, Sim, Who},
    store::Preconditions,
    types::meta::{Kind, ObjectKey},
};

use crate::world::small_stack;

use world::{World, run};

/// One stack from its create over a few repairs to its delete; gives every request.
async fn a_life(seed: u64) -> String {
    let mut world = World::new(seed, Profile::Lab);
    let nobody = Arc::new(|_: &Sim| Vec::new());
    world.start(Who::Tenant, nobody).await;
    let retain = json!({"deletionPolicy": {"network": "Retain"}});
    world.create(small_stack(&retain)).await;
    world.settled().await.unwrap();
    let sprout = || "ims-sprout-0".to_owned();
    world.mended(Breakage::StopVm { vm: sprout() }).await;
    let gone = Breakage::DestroyVm {
        vm: sprout(),
        expunge: true,
    };
    world.mended(gone).await;
    let key = ObjectKey::new(Kind::ClearwaterStack, "default", "ims");
    let any = Preconditions::default();
    world.store.delete(&key, &any).await.unwrap();
    world
        .within("gone", async |stack| stack.is_none())
        .await
        .unwrap();
    world.log()
}

#[test]
fn a_seed_gives_the_same_world_request_by_request() {
    let mut lives = JoinSet::new();
    let twice = run(async {
        // Each in a runtime of its own; two threads, since the seed alone may decide.
        for _ in 0..2 {
            lives.spawn_blocking(|| run(a_life(7)));
        }
        lives.join_all().await
    });
    let [first, second] = twice.as_slice() else {
        unreachable!("two lives were lived")
    };
    let differs = first.lines().zip(second.lines()).find(|(a, b)| a != b);
    assert_eq!(differs, None);
    assert_eq!(first.len(), second.len());
    assert!(first.contains("deployVirtualMachine"), "{first}");
}
