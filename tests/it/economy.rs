//! What Weir costs a CloudStack: the counts of `benches/requests.rs`, on a cloud without latency,
//! so that a wasteful read turns a test red and not only a table.

use weir::sim::Profile;

use crate::support::{
    manifest::{MACHINES, RESOURCES, WRITES_MAX, stack},
    stage::{Setting, Stage},
};

/// Requests that make the stack of seven, from its first command until it is ready.
const CREATE_MAX: usize = 80;

/// Requests of a look: one for each list.
const LOOK_MAX: usize = 5;

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_of_seven_comes_up_with_a_write_for_each_resource_and_few_reads() {
    let stage = Stage::warm(Setting::defaults(Profile::Instant)).await;
    stage.sim.clear_requests();
    stage.create(stack("ims")).await;
    stage.ready("ims").await;
    let made = stage.tally();
    let least = RESOURCES + MACHINES;
    assert!(made.all() <= CREATE_MAX, "{} requests: {made}", made.all());
    assert!(
        (least..=WRITES_MAX).contains(&made.writes()),
        "{} writes: {made}",
        made.writes()
    );
    assert!(made.times("createTags") <= 3, "{made}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_that_is_left_alone_costs_five_lists_a_look() {
    let setting = Setting {
        resync: "1s",
        ..Setting::defaults(Profile::Instant)
    };
    let stage = Stage::warm(setting).await;
    stage.create(stack("ims")).await;
    stage.ready("ims").await;
    stage.at_rest().await;
    stage.sim.clear_requests();
    stage.looked(3).await;
    stage.at_rest().await;
    let idle = stage.tally();
    assert_eq!(idle.writes(), 0, "{idle}");
    assert!(idle.all() <= LOOK_MAX * idle.looks(), "{idle}");
}
