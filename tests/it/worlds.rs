//! Whole worlds in one thread and in virtual time: the real controller, planner, client and store
//! against the simulator, with no socket and no clock of the machine between them. An hour takes
//! a moment, and a seed gives the same world every time, request by request.

mod aims;
mod calm;
mod chaos;
mod coverage;
mod doom;
mod ear;
mod errand;
mod fate;
mod kept;
mod leases;
mod ports;
mod rivals;
pub(crate) mod safety;
pub(crate) mod world;

use std::thread;

use serde_json::json;
use weir::{
    sim::{Breakage, Profile, Who},
    types::meta::Kind,
};

use crate::world::small_stack;

use world::{World, run};

/// One stack from its create over a few repairs to its delete; gives every request.
async fn a_life(seed: u64) -> String {
    let mut world = World::new(seed, Profile::Lab);
    world.start(Who::Tenant).await;
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
    world.delete(Kind::ClearwaterStack, "ims").await.unwrap();
    world.gone("ims").await.unwrap();
    world.log()
}

/// Lives a life twice and asserts that it told the same, line by line; gives what it told.
fn lived_twice(life: impl AsyncFn() -> String + Sync) -> String {
    let lived = || run(life());
    // Each in a runtime of its own; two threads, since the seed alone may decide.
    let (first, second) = thread::scope(|scope| {
        let other = scope.spawn(lived);
        (lived(), other.join().unwrap())
    });
    let differs = first.lines().zip(second.lines()).find(|(a, b)| a != b);
    assert_eq!(differs, None);
    assert_eq!(first.len(), second.len());
    first
}

#[test]
fn a_seed_gives_the_same_world_request_by_request() {
    let told = lived_twice(async || a_life(7).await);
    assert!(told.contains("deployVirtualMachine"), "{told}");
}
