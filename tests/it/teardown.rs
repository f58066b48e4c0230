//! Deleting a stack: in order, to the end, as far as the account may, and never what is not ours.

use serde_json::json;
use weir::{
    sim::{Profile, Who, World as CloudWorld, world::VmState},
    types::meta::condition,
};

use crate::world::World;

fn may_expunge(sim: &mut CloudWorld) {
    sim.settings.allow_user_expunge_recover_vm = true;
}

/// What the tenant's account holds: VPCs, tiers, ACL lists, living VMs, addresses, groups.
fn holdings(world: &World) -> [usize; 6] {
    world.sim.world(|sim| {
        let tenant = sim.account_named("operator").unwrap().id.clone();
        let vpcs: Vec<_> = sim
            .vpcs
            .values()
            .filter(|vpc| vpc.account == tenant)
            .collect();
        let lists = sim.acl_lists.values().filter(|list| {
            list.vpc
                .as_ref()
                .is_some_and(|vpc| vpcs.iter().any(|own| own.id == *vpc))
        });
        let addresses = sim
            .addresses
            .values()
            .filter(|row| row.account.as_ref() == Some(&tenant));
        let vms = sim
            .vms
            .values()
            .filter(|vm| vm.account == tenant && !vm.state.is_gone());
        let groups = sim
            .affinity_groups
            .values()
            .filter(|group| group.account == tenant);
        let tiers = sim.networks.values().filter(|tier| tier.account == tenant);
        [
            vpcs.len(),
            tiers.count(),
            lists.count(),
            vms.count(),
            addresses.count(),
            groups.count(),
        ]
    })
}

const NOTHING: [usize; 6] = [0; 6];

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_stack_leaves_nothing_where_the_account_may_expunge() {
    let world = World::prepared(may_expunge, json!({})).await;
    world.delete().await;
    world.gone().await;
    assert_eq!(holdings(&world), NOTHING, "{:#}", world.sim.overview());
    let left = world.sim.world(|sim| {
        let tenant = sim.account_named("operator").unwrap().id.clone();
        sim.vms.values().filter(|vm| vm.account == tenant).count()
    });
    assert_eq!(left, 0, "destroyed VMs were purged");
    world
        .tells("an audit of the account finds nothing of the stack")
        .await;
    let machines: Vec<weir::types::machine::Machine> =
        world.store.list_as(Some("default")).await.unwrap();
    assert!(machines.is_empty());
    // The same name can be used again at once.
    world.apply(json!({})).await;
    world.settled().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plain_tenants_tier_waits_for_the_purge_and_says_so() {
    let world = World::ready().await;
    world.delete().await;
    world
        .until("told", |status| {
            let degraded = condition(&status.conditions, "Degraded");
            degraded.is_some_and(|degraded| degraded.reason == "TierHeld")
        })
        .await;
    let status = world.status().await;
    let message = condition(&status.conditions, "Degraded")
        .unwrap()
        .message
        .clone();
    let until = status.ledger.tier_held_until.unwrap();
    assert!(
        message.contains(&until.strftime("%Y-%m-%d %H:%M UTC").to_string()),
        "{message}"
    );
    assert!(message.contains("deletionPolicy"), "{message}");
    assert_eq!(status.phase, "Deleting");
    // It keeps trying, but not at every look.
    world.seen_again().await;
    let tries = world.writes();
    let tries = tries
        .iter()
        .filter(|write| *write == "deleteNetwork")
        .count();
    assert_eq!(tries, 1);
    // The user may change his mind about the network, and need not wait.
    world
        .change(json!({"deletionPolicy": {"network": "Retain"}}))
        .await;
    world.gone().await;
    assert_eq!(
        holdings(&world),
        [1, 1, 1, 0, 1, 0],
        "the source NAT stays with the VPC"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_with_its_network_retained_leaves_no_machine_and_no_address() {
    let world = World::with(json!({"deletionPolicy": {"network": "Retain"}})).await;
    world.delete().await;
    world.gone().await;
    assert_eq!(holdings(&world), [1, 1, 1, 0, 1, 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_orphaned_stack_is_let_go_without_a_touch() {
    let world = World::with(json!({"deletionPolicy": "Orphan"})).await;
    let before = holdings(&world);
    world.delete().await;
    world.gone().await;
    assert_eq!(holdings(&world), before);
    assert_eq!(world.writes(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stack_deleted_while_it_comes_up_leaves_nothing() {
    for pending in [1, 3, 6] {
        let world = World::start(Profile::Instant).await;
        world.sim.world(may_expunge);
        world.apply(json!({})).await;
        world
            .until("on its way", |status| {
                status.ledger.machines.len() >= pending || status.ledger.pending.len() >= pending
            })
            .await;
        world.delete().await;
        world.gone().await;
        assert_eq!(
            holdings(&world),
            NOTHING,
            "{pending}: {:#}",
            world.sim.overview()
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_strangers_vm_in_the_tier_stops_the_delete_and_is_told() {
    let world = World::prepared(may_expunge, json!({})).await;
    let uid = world.stack().await.metadata.uid.unwrap().to_string();
    let copy = [("name", "guest"), ("details[0].weirStack", uid.as_str())];
    assert_eq!(world.somebody_deploys(&copy).await, 200);
    let guest = world.vm_id("guest");
    world.delete().await;
    world
        .until("told", |status| {
            let degraded = condition(&status.conditions, "Degraded");
            degraded.is_some_and(|it| it.reason == "NotEmpty" && it.message.contains("guest"))
        })
        .await;
    assert_eq!(
        world.sim.world(|sim| sim.vms[&guest].state),
        VmState::Running
    );
    assert!(!world.writes().contains(&"deleteNetwork".to_owned()));
    let destroy = [
        ("command", "destroyVirtualMachine"),
        ("id", guest.as_str()),
        ("expunge", "true"),
    ];
    assert_eq!(world.sim.call(Who::Operator, &destroy).await.status, 200);
    world.gone().await;
    assert_eq!(holdings(&world), NOTHING, "{:#}", world.sim.overview());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vpc_that_was_there_before_stays() {
    let world = World::start(Profile::Instant).await;
    world.sim.world(may_expunge);
    let vpc = world.their_vpc().await;
    let before = holdings(&world);
    world.apply(json!({"network": {"vpc": {"id": vpc}}})).await;
    world.settled().await;
    world.delete().await;
    world.gone().await;
    assert_eq!(holdings(&world), before, "{:#}", world.sim.overview());
}
