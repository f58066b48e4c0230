//! The drift table: a test a row. Each breaks the simulator behind Weir's back and asserts the
//! commands that Weir sent.

mod address;
mod machine;
mod report;
mod server;
mod stranger;

use serde_json::json;
use weir::sim::{Breakage, Fault, FaultKind, Rule, Who};

use crate::world::World;

fn vm(name: &str) -> String {
    format!("ims-{name}")
}

#[track_caller]
fn sent(world: &World, wanted: &[&str]) {
    assert_eq!(world.writes(), wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_vm_is_started() {
    let world = World::ready().await;
    world
        .broken_and_repaired(Breakage::StopVm { vm: vm("sprout-0") })
        .await;
    sent(&world, &["startVirtualMachine"]);
    let told = world.told().await.join("\n");
    assert!(told.contains("want Running, have Stopped"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_in_error_is_destroyed_and_its_successor_takes_the_next_name() {
    let world = World::ready().await;
    world
        .broken_and_repaired(Breakage::ErrorVm { vm: vm("sprout-0") })
        .await;
    let writes = world.writes();
    assert!(
        writes.contains(&"destroyVirtualMachine".to_owned()),
        "{writes:?}"
    );
    let deploys = writes
        .iter()
        .filter(|write| *write == "deployVirtualMachine")
        .count();
    assert_eq!(deploys, 1, "{writes:?}");
    let status = world.status().await;
    assert_eq!(
        status.ledger.machines["ims-sprout-0"].host_name,
        "ims-sprout-0-r1"
    );
    assert!(
        status
            .conditions
            .iter()
            .any(|condition| condition.kind == "AddressHeld")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expunged_vm_is_deployed_again_with_the_same_name_and_addresses() {
    let world = World::ready().await;
    let before = world.status().await.ledger.machines["ims-bono-0"].clone();
    world
        .broken_and_repaired(Breakage::DestroyVm {
            vm: vm("bono-0"),
            expunge: true,
        })
        .await;
    let writes = world.writes_sorted();
    assert_eq!(
        writes,
        [
            "createTags",
            "deployVirtualMachine",
            "enableStaticNat",
            "startVirtualMachine"
        ]
    );
    let after = world.status().await.ledger.machines["ims-bono-0"].clone();
    assert_eq!(after.host_name, before.host_name);
    assert_eq!(after.private_address, before.private_address);
    assert_eq!(after.public_address, before.public_address);
    assert_ne!(after.vm, before.vm);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destroyed_vm_that_a_tenant_cannot_expunge_yields_its_place() {
    let world = World::ready().await;
    let before = world.status().await.ledger.machines["ims-bono-0"].clone();
    world
        .broken_and_repaired(Breakage::DestroyVm {
            vm: vm("bono-0"),
            expunge: false,
        })
        .await;
    let writes = world.writes_sorted();
    assert_eq!(
        writes,
        [
            "createTags",
            "deployVirtualMachine",
            "disableStaticNat",
            "enableStaticNat",
            "startVirtualMachine"
        ]
    );
    let status = world.status().await;
    let after = &status.ledger.machines["ims-bono-0"];
    assert_eq!(after.host_name, "ims-bono-0-r1");
    assert_ne!(after.private_address, before.private_address);
    assert_eq!(after.public_address, before.public_address);
    assert!(
        status
            .conditions
            .iter()
            .any(|condition| condition.kind == "AddressHeld")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renamed_vm_gets_its_name_back() {
    let world = World::ready().await;
    world
        .broken_and_repaired(Breakage::RenameVm {
            vm: vm("sprout-0"),
            name: None,
        })
        .await;
    assert!(
        world
            .writes()
            .iter()
            .all(|write| write == "updateVirtualMachine")
    );
    assert!(world.sim.world(|sim| sim.find_vm("ims-sprout-0").is_some()));
    let told = world.told().await.join("\n");
    assert!(told.contains("user stranger did VM.UPDATE"), "{told}");
}

#[tokio::test(flavor = "multi_thread")]
async fn another_offering_is_changed_back_with_a_stop() {
    let world = World::ready().await;
    world
        .broken_and_repaired(Breakage::ChangeOffering {
            vm: vm("sprout-0"),
            offering: None,
        })
        .await;
    sent(
        &world,
        &[
            "stopVirtualMachine",
            "changeServiceForVirtualMachine",
            "startVirtualMachine",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_moved_private_address_is_moved_back_with_a_stop() {
    let world = World::ready().await;
    world
        .broken_and_repaired(Breakage::MoveNic {
            vm: vm("sprout-0"),
            ip: None,
        })
        .await;
    sent(
        &world,
        &["stopVirtualMachine", "updateVmNicIp", "startVirtualMachine"],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wiped_mark_and_deleted_tags_are_put_back() {
    let world = World::ready().await;
    world.broken(Breakage::WipeDetails { vm: vm("sprout-0") });
    world
        .broken_and_repaired(Breakage::DeleteTags {
            resource: vm("sprout-0"),
        })
        .await;
    let writes = world.writes_sorted();
    assert_eq!(writes, ["createTags", "updateVirtualMachine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_static_nat_that_was_switched_off_is_enabled() {
    let world = World::ready().await;
    world
        .broken_and_repaired(Breakage::DisableNat {
            address: vm("bono-0"),
        })
        .await;
    sent(&world, &["enableStaticNat"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_public_address_that_leads_elsewhere_is_led_back() {
    let world = World::ready().await;
    world
        .broken_and_repaired(Breakage::MoveAddress {
            address: vm("bono-0"),
            to: vm("sprout-0"),
        })
        .await;
    sent(&world, &["disableStaticNat", "enableStaticNat"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_released_public_address_is_taken_again() {
    let world = World::ready().await;
    let before = world.status().await.ledger.machines["ims-bono-0"]
        .public_address
        .clone();
    world
        .broken_and_repaired(Breakage::ReleaseAddress {
            address: vm("bono-0"),
        })
        .await;
    let writes = world.writes_sorted();
    assert_eq!(
        writes,
        ["associateIpAddress", "createTags", "enableStaticNat"]
    );
    let after = world.status().await.ledger.machines["ims-bono-0"]
        .public_address
        .clone();
    assert_eq!(
        before.map(|address| address.ip),
        after.map(|address| address.ip)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn acl_rules_are_restored_in_place() {
    let port = |port: u16, protocol: &str| Rule {
        port: Some(port),
        protocol: Some(protocol.to_owned()),
        ..Rule::default()
    };
    let world = World::ready().await;
    world.broken(Breakage::EditRule {
        rule: port(5062, "tcp"),
        to: None,
    });
    world
        .broken_and_repaired(Breakage::ClosePort {
            rule: port(5060, "udp"),
        })
        .await;
    let writes = world.writes_sorted();
    assert_eq!(writes, ["createNetworkACL", "updateNetworkACLItem"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_somebody_added_goes() {
    let world = World::ready().await;
    let rule = Rule {
        port: Some(2222),
        protocol: Some("tcp".to_owned()),
        ..Rule::default()
    };
    world.broken_and_repaired(Breakage::AddRule { rule }).await;
    sent(&world, &["deleteNetworkACL"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn another_acl_list_on_the_tier_is_replaced_back() {
    let world = World::ready().await;
    world
        .broken_and_repaired(Breakage::ReplaceAcl {
            tier: Some("ims".to_owned()),
        })
        .await;
    sent(&world, &["replaceNetworkACLList"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_tier_comes_back_with_its_machines() {
    let world = World::ready().await;
    world
        .broken_and_repaired(Breakage::DeleteTier {
            tier: "ims".to_owned(),
        })
        .await;
    let writes = world.writes();
    let count = |command: &str| writes.iter().filter(|write| *write == command).count();
    assert_eq!(count("createNetwork"), 1, "{writes:?}");
    assert_eq!(count("deployVirtualMachine"), 4, "{writes:?}");
    assert_eq!(count("startVirtualMachine"), 4, "{writes:?}");
    assert_eq!(count("createVPC"), 0, "{writes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_vpc_comes_back_with_everything_in_it() {
    let world = World::ready().await;
    world
        .broken_and_repaired(Breakage::DeleteVpc {
            vpc: "ims".to_owned(),
        })
        .await;
    let writes = world.writes();
    let count = |command: &str| writes.iter().filter(|write| *write == command).count();
    assert_eq!(count("createVPC"), 1, "{writes:?}");
    assert_eq!(count("deployVirtualMachine"), 4, "{writes:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_too_many_look_dead_weir_waits_and_resumes_by_itself() {
    let world = World::ready().await;
    for name in ["sprout-0", "sprout-1", "homestead-0"] {
        world.broken(Breakage::StopVm { vm: vm(name) });
    }
    world.seen_again().await;
    sent(&world, &[]);
    let status = world.status().await;
    assert!(
        status
            .conditions
            .iter()
            .any(|condition| condition.reason == "TooManyUnhealthy")
    );
    let id = world
        .sim
        .world(|sim| sim.find_vm("ims-sprout-0").unwrap().id.clone());
    let start = [("command", "startVirtualMachine"), ("id", id.as_str())];
    assert_eq!(world.sim.call(Who::Operator, &start).await.status, 200);
    world.settled().await;
    sent(&world, &["startVirtualMachine", "startVirtualMachine"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_fails_is_empty_or_short_changes_nothing() {
    for (command, kind) in [
        ("listVirtualMachines", FaultKind::Status { code: 503 }),
        ("listVirtualMachines", FaultKind::Truncated),
        ("listVirtualMachines", FaultKind::ShortList),
        ("listPublicIpAddresses", FaultKind::EmptyList),
        ("listNetworks", FaultKind::EmptyList),
    ] {
        let world = World::ready().await;
        let fault = Fault {
            count: Some(1),
            ..Fault::always(Some(command), kind.clone())
        };
        world.sim.add_fault(fault);
        world.seen_again().await;
        world.settled().await;
        assert_eq!(world.writes(), [""; 0], "{command} {kind:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn another_template_is_rolled_out_one_machine_of_a_role_at_a_time() {
    let world = World::ready().await;
    world
        .change(json!({"template": {"name": "Ubuntu 22.04"}}))
        .await;
    world
        .until("seen", |status| status.observed_generation == 2)
        .await;
    world
        .until("rolled out", |status| {
            let away = status
                .roles
                .values()
                .any(|role| role.desired > role.ready + 1);
            assert!(
                !away,
                "more than one machine of a role away: {:?}",
                status.roles
            );
            status.phase == "Ready"
                && status.ledger.pending.is_empty()
                && status.ledger.machines.values().all(|record| {
                    record.image.as_ref().is_some_and(|image| {
                        world.sim.world(|sim| {
                            let row = sim.catalogue.templates.iter();
                            row.clone().any(|row| {
                                row["id"] == image.template.as_str()
                                    && row["name"] == "Ubuntu 22.04"
                            })
                        })
                    })
                })
        })
        .await;
    let writes = world.writes();
    assert!(
        writes.iter().all(|write| write == "restoreVirtualMachine"),
        "{writes:?}"
    );
    assert_eq!(writes.len(), 4);
}
