//! Rows of the management server: what an account may do, and jobs that a restart cut short.

use serde_json::json;
use weir::{
    sim::{Breakage, Fault, FaultKind, Profile, World as CloudWorld},
    types::stack::StackStatus,
};

use super::vm;
use crate::world::World;

fn may_expunge(sim: &mut CloudWorld) {
    sim.settings.allow_user_expunge_recover_vm = true;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_expunge_gets_name_and_address_back_at_once() {
    let world = World::prepared(may_expunge, json!({})).await;
    let before = world.status().await.ledger.machines["ims-bono-0"].clone();
    world
        .broken_and_repaired(Breakage::DestroyVm {
            vm: vm("bono-0"),
            expunge: false,
        })
        .await;
    let mut writes = world.writes_sorted();
    writes.dedup();
    assert_eq!(
        writes,
        [
            "createTags",
            "deployVirtualMachine",
            "enableStaticNat",
            "expungeVirtualMachine",
            "startVirtualMachine"
        ]
    );
    let after = world.status().await.ledger.machines["ims-bono-0"].clone();
    assert_eq!(after.host_name, before.host_name);
    assert_eq!(after.private_address, before.private_address);
    assert_eq!(after.public_address, before.public_address);
    assert!(after.held.is_empty() && after.former.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_that_may_expunge_replaces_a_vm_in_error_in_its_place() {
    let world = World::prepared(may_expunge, json!({})).await;
    world
        .broken_and_repaired(Breakage::ErrorVm { vm: vm("sprout-0") })
        .await;
    let writes = world.writes_sorted();
    assert_eq!(
        writes,
        [
            "createTags",
            "deployVirtualMachine",
            "destroyVirtualMachine",
            "startVirtualMachine"
        ]
    );
    let after = world.status().await.ledger.machines["ims-sprout-0"].clone();
    assert_eq!(after.host_name, "ims-sprout-0");
}

/// Everything in the tenant's account is what the small stack asks for, and nothing else.
fn exactly_the_stack(world: &World, context: &str) {
    world.sim.world(|sim| {
        let tenant = sim.account_named("operator").unwrap().id.clone();
        let mut vms: Vec<(&str, String)> = sim
            .vms
            .values()
            .filter(|vm| vm.account == tenant)
            .map(|vm| (vm.name.as_str(), vm.state.to_string()))
            .collect();
        vms.sort_unstable();
        let running = |name| (name, "Running".to_owned());
        let machines = [
            "ims-bono-0",
            "ims-homestead-0",
            "ims-sprout-0",
            "ims-sprout-1",
        ];
        assert_eq!(vms, machines.map(running), "{context}");
        let vpcs = sim
            .vpcs
            .values()
            .filter(|vpc| vpc.account == tenant)
            .count();
        let tiers = sim
            .networks
            .values()
            .filter(|tier| tier.account == tenant)
            .count();
        let vpc = sim.vpcs.values().find(|vpc| vpc.account == tenant).unwrap();
        let lists = sim
            .acl_lists
            .values()
            .filter(|list| list.vpc.as_ref() == Some(&vpc.id));
        let addresses = sim
            .addresses
            .values()
            .filter(|row| row.account.as_ref() == Some(&tenant) && !row.source_nat);
        assert_eq!(
            (vpcs, tiers, lists.count(), addresses.count()),
            (1, 1, 1, 1),
            "{context}"
        );
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_that_a_restart_of_cloudstack_cut_short_are_looked_after() {
    for command in [
        "createVPC",
        "createNetworkACLList",
        "createNetworkACL",
        "createAffinityGroup",
        "associateIpAddress",
        "deployVirtualMachine",
        "createTags",
        "startVirtualMachine",
    ] {
        let world = World::start(Profile::Instant).await;
        world
            .sim
            .add_fault(Fault::once(command, FaultKind::HangJob));
        world.apply(json!({})).await;
        let hangs = |_: &StackStatus| {
            world.sim.world(|sim| {
                sim.jobs
                    .values()
                    .any(|job| job.command == command && job.completed.is_none())
            })
        };
        world.until(command, hangs).await;
        world.seen_again().await;
        world.sim.world(|sim| {
            sim.restart_server();
            sim.down_until = None;
        });
        world.settled().await;
        let status = serde_json::to_string_pretty(&world.status().await.ledger).unwrap();
        let told = world.told().await.join("\n");
        exactly_the_stack(
            &world,
            &format!("{command}: {status}\n{told}\n{:#}", world.sim.overview()),
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_restarts_in_the_middle_of_everything_costs_nothing_but_time() {
    let world = World::start(Profile::Lab).await;
    world.apply(json!({})).await;
    world
        .until("several jobs in flight", |status| {
            status.ledger.pending.len() >= 4
        })
        .await;
    world.broken(Breakage::RestartManagementServer);
    world.sim.world(|sim| sim.down_until = None);
    world.settled().await;
    exactly_the_stack(&world, "lab");
}
