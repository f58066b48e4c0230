//! Rows of what is not ours, or only looks like it: never touched, and told once.

use serde_json::json;
use weir::sim::{Fault, FaultKind, Who, world::VmState};

use super::{sent, vm};
use crate::world::World;

async fn uid(world: &World) -> String {
    world.stack().await.metadata.uid.unwrap().to_string()
}

async fn told_of(world: &World, what: &str) -> usize {
    let told = world.told().await;
    told.iter()
        .filter(|line| line.starts_with("NotOurs") && line.contains(what))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_with_a_copy_of_our_mark_is_never_touched() {
    let world = World::ready().await;
    let uid = uid(&world).await;
    let intent = world
        .sim
        .world(|sim| sim.find_vm("ims-sprout-0").unwrap().details["weirIntent"].clone());
    let status = world
        .somebody_deploys(&[
            ("name", "copycat"),
            ("details[0].weirStack", &uid),
            ("details[0].weirMachine", "ims-sprout-0"),
            ("details[0].weirIntent", &intent),
        ])
        .await;
    assert_eq!(status, 200);
    let copy = world.vm_id("copycat");
    let tag = |key: &str| {
        let (key, value) = (key.to_owned(), uid.clone());
        (key, value)
    };
    let (key, value) = tag("weir.dev/stack");
    world
        .stranger(&[
            ("command", "createTags"),
            ("resourcetype", "UserVm"),
            ("resourceids", &copy),
            ("tags[0].key", &key),
            ("tags[0].value", &value),
        ])
        .await;
    world.seen_again().await;
    world.settled().await;
    world.seen_again().await;
    sent(&world, &[]);
    assert_eq!(told_of(&world, "copycat").await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_copied_mark_survives_the_replacement_of_the_machine_that_it_copies() {
    let world = World::ready().await;
    let uid = uid(&world).await;
    let intent = world
        .sim
        .world(|sim| sim.find_vm("ims-sprout-0").unwrap().details["weirIntent"].clone());
    let marks = [
        ("name", "copycat"),
        ("details[0].weirStack", uid.as_str()),
        ("details[0].weirMachine", "ims-sprout-0"),
        ("details[0].weirIntent", intent.as_str()),
    ];
    assert_eq!(world.somebody_deploys(&marks).await, 200);
    let copy = world.vm_id("copycat");
    world
        .broken_and_repaired(weir::sim::Breakage::DestroyVm {
            vm: vm("sprout-0"),
            expunge: true,
        })
        .await;
    world.seen_again().await;
    let touched = world.write_requests();
    let touched: Vec<_> = touched
        .iter()
        .filter(|request| request.params.values().any(|value| value.contains(&copy)))
        .collect();
    assert!(touched.is_empty(), "{touched:#?}");
    assert_eq!(
        world.sim.world(|sim| sim.vms[&copy].state),
        VmState::Running
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_has_in_our_network_is_never_touched_and_told_once() {
    let world = World::ready().await;
    assert_eq!(world.somebody_deploys(&[("name", "guest")]).await, 200);
    let vpc = world.status().await.ledger.vpc.unwrap().to_string();
    let address = world
        .stranger(&[("command", "associateIpAddress"), ("vpcid", &vpc)])
        .await;
    let address = address["id"].as_str().unwrap().to_owned();
    let ip = world
        .sim
        .world(|sim| sim.addresses[&address].ip.to_string());
    for _ in 0..3 {
        world.seen_again().await;
    }
    world.settled().await;
    sent(&world, &[]);
    assert_eq!(told_of(&world, "guest").await, 1);
    assert_eq!(told_of(&world, &ip).await, 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wreck_with_our_mark_or_name_is_destroyed() {
    let world = World::ready().await;
    let uid = uid(&world).await;
    let taken = world.sim.world(|sim| {
        sim.find_vm("ims-sprout-1")
            .unwrap()
            .ip()
            .unwrap()
            .to_string()
    });
    let marked = [
        ("name", "anything"),
        ("ipaddress", taken.as_str()),
        ("details[0].weirStack", uid.as_str()),
        ("details[0].weirMachine", "ims-sprout-0"),
    ];
    // CloudStack refuses both, and keeps a record of each in state Error.
    assert_eq!(world.somebody_deploys(&marked).await, 530);
    world.seen_again().await;
    world.settled().await;
    sent(&world, &["destroyVirtualMachine"]);
    world
        .sim
        .world(|sim| sim.vms.retain(|_, vm| vm.name != "anything"));
    let sprout = world.vm_id("ims-sprout-0");
    world.sim.world(|sim| {
        // The name is free for a moment, so that the address is what is refused.
        "elsewhere".clone_into(&mut sim.vms.get_mut(&sprout).unwrap().name);
    });
    let named = [("name", "ims-sprout-0"), ("ipaddress", taken.as_str())];
    let status = world.somebody_deploys(&named).await;
    world
        .sim
        .world(|sim| "ims-sprout-0".clone_into(&mut sim.vms.get_mut(&sprout).unwrap().name));
    assert_eq!(status, 530);
    world.seen_again().await;
    world.settled().await;
    let destroys = world.write_requests();
    let destroys = destroys
        .iter()
        .filter(|r| r.command == "destroyVirtualMachine");
    assert_eq!(destroys.count(), 2);
    let alive = world
        .sim
        .world(|sim| sim.vms.values().any(|vm| vm.is_wreck()));
    assert!(!alive, "{:#}", world.sim.overview());
}

#[tokio::test(flavor = "multi_thread")]
async fn hidden_holders_of_addresses_make_a_handful_of_wrecks_at_most() {
    let world = World::ready().await;
    // Dead VMs that a plain tenant cannot see hold every address that Weir would try next.
    let guests: Vec<String> = (14..60).map(|host| format!("10.0.0.{host}")).collect();
    world.sim.world(|sim| {
        let model = sim.find_vm("ims-sprout-1").unwrap().clone();
        for (place, ip) in guests.iter().enumerate() {
            let mut dead = model.clone();
            dead.id = format!("00000000-0000-4000-8000-{place:012}");
            dead.name = format!("dead-{place}");
            dead.state = VmState::Destroyed;
            dead.details.clear();
            dead.nics[0].ip = ip.parse().unwrap();
            dead.nics[0].id = format!("00000000-0000-4000-8001-{place:012}");
            sim.vms.insert(dead.id.clone(), dead);
        }
    });
    let before = world.sim.world(|sim| sim.totals.wrecks);
    world.broken(weir::sim::Breakage::DestroyVm {
        vm: vm("sprout-0"),
        expunge: false,
    });
    world
        .until("it backs off", |status| {
            let failure = status.ledger.failures.get("machine ims-sprout-0");
            failure.is_some_and(|failure| failure.times >= 4)
        })
        .await;
    world.sim.world(|sim| {
        let wrecks = sim.vms.values().filter(|vm| vm.is_wreck()).count();
        assert!(wrecks <= 3, "{wrecks} wrecks at once");
        let made = sim.totals.wrecks - before;
        assert!(made <= 5, "{made} wrecks");
    });
    let deploys = world.writes();
    let deploys = deploys
        .iter()
        .filter(|write| *write == "deployVirtualMachine")
        .count();
    // One refusal for the name, then one for each address.
    assert!(deploys <= 6, "{deploys} deploys");
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_vms_that_we_made_for_one_machine_the_recorded_one_stays() {
    let world = World::start(weir::sim::Profile::Instant).await;
    let fault = Fault::once("deployVirtualMachine", FaultKind::LostRequest);
    world.sim.add_fault(fault);
    world.apply(json!({})).await;
    world.settled().await;
    // The request that seemed lost arrives after all, late.
    let deploys = world.write_requests();
    let late = deploys
        .iter()
        .find(|request| request.command == "deployVirtualMachine" && request.status == 0)
        .unwrap();
    let mut params = late.params.clone();
    let machine = params["displayname"].clone();
    let recorded = world.status().await.ledger.machines[&machine]
        .vm
        .clone()
        .unwrap();
    // Its place is taken by its successor, unless it was moved meanwhile.
    params.insert("name".to_owned(), "late".to_owned());
    params.retain(|name, _| !name.starts_with("iptonetworklist"));
    let tier = world.status().await.ledger.tier.unwrap().to_string();
    params.insert("networkids".to_owned(), tier);
    let params: Vec<(&str, &str)> = [("command", "deployVirtualMachine")]
        .into_iter()
        .chain(
            params
                .iter()
                .map(|(name, value)| (name.as_str(), value.as_str())),
        )
        .collect();
    world.sim.clear_requests();
    let reply = world.sim.call(Who::Tenant, &params).await;
    assert_eq!(reply.status, 200, "{:#}", reply.json());
    let late = reply.inner()["id"].as_str().unwrap().to_owned();
    world.sim.clear_requests();
    world
        .until("it is gone", |_| {
            world.sim.world(|sim| sim.vms[&late].state.is_gone())
        })
        .await;
    world.settled().await;
    let status = world.status().await;
    assert_eq!(
        status.ledger.machines[&machine].vm.as_ref(),
        Some(&recorded)
    );
    assert_eq!(
        world.sim.world(|sim| sim.vms[recorded.as_str()].state),
        VmState::Running
    );
    let told = world.told().await.join("\n");
    assert!(told.contains("duplicate of machine"), "{told}");
}
