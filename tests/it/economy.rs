//! What Weir costs a CloudStack: the counts of `benches/requests.rs`, on a cloud without latency,
//! so that a wasteful read turns a test red and not only a table.

use weir::sim::Profile;

use crate::support::{
    manifest::{MACHINES, RESOURCES, WRITES_MAX, stack},
    stage::{LISTS, Setting, Stage, Tally},
};

/// Requests that make the stack of seven, from its first command until it is ready.
const CREATE_MAX: usize = 80;

/// Looks that are held against each other.
const LOOKS: usize = 3;

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
    stage.looked(LOOKS + 1).await;
    let requests = stage.sim.requests();
    let idle = Tally::of(&requests);
    assert_eq!(idle.writes(), 0, "{idle}");
    // The lists age each for itself, so a look has no edge that all of them share. But while one
    // of them is read anew three times, no other has more than three whole ages.
    for list in LISTS {
        let mut reads = (0..).zip(&requests).filter(|(_, r)| r.command == list);
        let (first, _) = reads.next().unwrap();
        let (last, _) = reads.nth(LOOKS - 1).unwrap();
        let whole = Tally::of(&requests[first..=last]);
        let lists: usize = LISTS.iter().map(|list| whole.times(list)).sum();
        assert_eq!(whole.all(), lists, "more than the lists: {whole}");
        for other in LISTS {
            let times = whole.times(other);
            assert!(times <= LOOKS + 1, "{LOOKS} looks by {list}: {whole}");
        }
    }
}
