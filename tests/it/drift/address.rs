//! Rows of public addresses and rules, beyond those in `mod.rs`.

use serde_json::json;
use weir::{
    sim::{Breakage, Fault, FaultKind, Rule, world::AddressState, world::Tag},
    types::stack::DriftField,
};

use super::{sent, vm};
use crate::world::World;

#[tokio::test(flavor = "multi_thread")]
async fn a_released_address_that_somebody_took_is_replaced_and_both_are_named() {
    let world = World::ready().await;
    let before = world.status().await.ledger.machines["ims-bono-0"]
        .public_address
        .clone()
        .unwrap();
    world.broken(Breakage::ReleaseAddress {
        address: vm("bono-0"),
    });
    world.sim.world(|sim| {
        let other = sim.account_named("other").unwrap().id.clone();
        let row = sim.addresses.get_mut(before.id.as_str()).unwrap();
        (row.state, row.account) = (AddressState::Allocated, Some(other));
    });
    world.seen_again().await;
    world.settled().await;
    let after = world.status().await.ledger.machines["ims-bono-0"]
        .public_address
        .clone()
        .unwrap();
    assert_ne!(before.ip, after.ip);
    let told = world.told().await;
    let both = told.iter().any(|line| {
        line.starts_with("AddressReplaced")
            && line.contains(&before.ip.to_string())
            && line.contains(&after.ip.to_string())
    });
    assert!(both, "{told:#?}");
    let nat = world
        .sim
        .world(|sim| sim.addresses[after.id.as_str()].static_nat.clone());
    assert_eq!(nat.unwrap().vm, world.vm_id("ims-bono-0"));
    // The first try asks for the same address and is refused.
    let writes = world.writes();
    let count = |command: &str| writes.iter().filter(|write| *write == command).count();
    assert_eq!(
        (
            count("associateIpAddress"),
            count("enableStaticNat"),
            count("createTags")
        ),
        (2, 1, 1),
        "{writes:?}"
    );
    assert_eq!(count("disassociateIpAddress"), 0, "{writes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_a_former_owner_are_deleted_and_ours_set() {
    let world = World::prepared(
        |sim| {
            let tenant = sim.account_named("other").unwrap().id.clone();
            let free: Vec<String> = sim
                .addresses
                .values()
                .filter(|row| row.state == AddressState::Free)
                .map(|row| row.id.clone())
                .collect();
            for resource in free {
                for (key, value) in [("weir.dev/stack", "another-stack"), ("owner", "them")] {
                    sim.tags.push(Tag {
                        resource_type: "PublicIpAddress".to_owned(),
                        resource: resource.clone(),
                        key: key.to_owned(),
                        value: value.to_owned(),
                        account: tenant.clone(),
                    });
                }
            }
        },
        json!({}),
    )
    .await;
    let stack = world.stack().await;
    let uid = stack.metadata.uid.unwrap().to_string();
    let record = &stack.status.unwrap().ledger.machines["ims-bono-0"];
    let address = record.public_address.clone().unwrap();
    assert!(address.cleaned);
    let tags = world.sim.world(|sim| {
        let tags = sim
            .tags
            .iter()
            .filter(|tag| tag.resource == address.id.as_str());
        tags.map(|tag| (tag.key.clone(), tag.value.clone()))
            .collect::<Vec<_>>()
    });
    assert_eq!(tags, [("weir.dev/stack".to_owned(), uid)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renumbered_rule_is_numbered_back() {
    let world = World::ready().await;
    let rule = Rule {
        port: Some(5060),
        protocol: Some("udp".to_owned()),
        ..Rule::default()
    };
    world
        .broken_and_repaired(Breakage::RenumberRule { rule, to: Some(7) })
        .await;
    sent(&world, &["updateNetworkACLItem"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn rules_of_a_list_that_is_not_ours_are_left_alone() {
    let world = World::start(weir::sim::Profile::Instant).await;
    let vpc = world.their_vpc().await;
    let list = world
        .stranger(&[
            ("command", "createNetworkACLList"),
            ("name", "theirs"),
            ("vpcid", &vpc),
        ])
        .await;
    let list = list["id"].as_str().unwrap().to_owned();
    world
        .apply(json!({"network": {"vpc": {"id": vpc, "cidr": null}, "acl": {"id": list}}}))
        .await;
    world.settled().await;
    world.sim.clear_requests();
    let rule = Rule {
        port: Some(2222),
        protocol: Some("tcp".to_owned()),
        list: Some(list.clone()),
        ..Rule::default()
    };
    world.broken_and_repaired(Breakage::AddRule { rule }).await;
    sent(&world, &[]);
    assert_eq!(world.sim.world(|sim| sim.rules_of(&list).len()), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_address_stuck_in_allocating_is_found_by_its_job_and_given_back() {
    let world = World::start(weir::sim::Profile::Instant).await;
    world
        .sim
        .add_fault(Fault::once("associateIpAddress", FaultKind::HangJob));
    world.apply(json!({})).await;
    world
        .until("half taken", |_| {
            let half = |row: &weir::sim::world::Address| row.state == AddressState::Allocating;
            world.sim.world(|sim| sim.addresses.values().any(half))
        })
        .await;
    let stuck = world.sim.world(|sim| {
        let stuck = sim
            .addresses
            .values()
            .find(|row| row.state == AddressState::Allocating);
        let stuck = stuck.map(|row| row.id.clone());
        sim.restart_server();
        sim.down_until = None;
        stuck
    });
    let stuck = stuck.expect("the killed job left an address half taken");
    world.settled().await;
    let released = world
        .write_requests()
        .iter()
        .any(|request| request.command == "disassociateIpAddress" && request.params["id"] == stuck);
    let state = world.sim.world(|sim| sim.addresses[&stuck].state);
    assert!(released && state != AddressState::Allocating, "{state:?}");
    let status = world.status().await;
    assert!(status.ledger.strays.is_empty());
    let held = world.sim.world(|sim| {
        let tenant = sim
            .account_named("operator")
            .map(|account| account.id.clone());
        sim.addresses
            .values()
            .filter(|row| row.account == tenant && !row.source_nat)
            .count()
    });
    let _ = held;
    assert!(
        status
            .drift
            .iter()
            .all(|drift| drift.field != DriftField::PublicAddress)
    );
}
