//! `drift: Report`: each row of the table is told, with field, want and have, and nothing is done.

use serde_json::json;
use weir::{
    sim::{Breakage, Rule},
    types::stack::{DriftField, DriftMode},
};

use super::{sent, vm};
use crate::world::World;

async fn reporting() -> World {
    World::with(json!({"drift": "Report"})).await
}

/// Waits until all of this is told, looks on, and finds nothing else told and nothing done.
async fn told_only(world: &World, wanted: &[(&str, DriftField)]) {
    let mut wanted: Vec<(String, DriftField)> = wanted
        .iter()
        .map(|(subject, field)| ((*subject).to_owned(), *field))
        .collect();
    wanted.sort();
    let told = |status: &weir::types::stack::StackStatus| {
        let mut told: Vec<_> = status
            .drift
            .iter()
            .map(|drift| (drift.subject.clone(), drift.field))
            .collect();
        told.sort();
        told
    };
    world
        .until(&format!("told {wanted:?}"), |status| told(status) == wanted)
        .await;
    world.seen_again().await;
    let status = world.status().await;
    assert_eq!(told(&status), wanted);
    for drift in &status.drift {
        let complete = !drift.want.is_empty() && !drift.have.is_empty();
        assert!(complete && drift.mode == DriftMode::Report, "{drift:?}");
    }
    sent(world, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_of_machines_is_only_told() {
    let world = reporting().await;
    let homestead = world.vm_id("ims-homestead-0");
    let template = world.sim.world(|sim| {
        let rows = &sim.catalogue.templates;
        let row = rows.iter().find(|row| row["name"] == "Ubuntu 22.04");
        row.unwrap()["id"].as_str().unwrap().to_owned()
    });
    for breakage in [
        Breakage::ChangeOffering {
            vm: vm("sprout-1"),
            offering: None,
        },
        Breakage::MoveNic {
            vm: vm("sprout-1"),
            ip: None,
        },
        Breakage::DeleteTags {
            resource: vm("sprout-1"),
        },
        Breakage::WipeDetails { vm: vm("bono-0") },
        Breakage::RenameVm {
            vm: vm("bono-0"),
            name: None,
        },
        Breakage::StopVm { vm: vm("sprout-0") },
    ] {
        world.broken(breakage);
    }
    let update = ("command", "updateVirtualMachine");
    let id = ("id", homestead.as_str());
    world.stranger(&[update, id, ("displayname", "mine")]).await;
    world
        .stranger(&[update, id, ("userdata", "I2Nsb3VkLWNvbmZpZwo=")])
        .await;
    world
        .stranger(&[
            ("command", "restoreVirtualMachine"),
            ("virtualmachineid", &homestead),
            ("templateid", &template),
        ])
        .await;
    told_only(
        &world,
        &[
            ("machine ims-bono-0", DriftField::Details),
            ("machine ims-bono-0", DriftField::Name),
            ("machine ims-homestead-0", DriftField::DisplayName),
            ("machine ims-homestead-0", DriftField::Template),
            ("machine ims-homestead-0", DriftField::UserData),
            ("machine ims-sprout-0", DriftField::PowerState),
            ("machine ims-sprout-1", DriftField::PrivateAddress),
            ("machine ims-sprout-1", DriftField::ServiceOffering),
            ("machine ims-sprout-1", DriftField::Tags),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_changed_of_the_network_is_only_told() {
    let world = reporting().await;
    let rule = |port: u16, protocol: &str| Rule {
        port: Some(port),
        protocol: Some(protocol.to_owned()),
        ..Rule::default()
    };
    let group = world.sim.world(|sim| {
        let mut groups = sim.affinity_groups.values();
        let group = groups.find(|group| group.name.starts_with("weir-ims-sprout"));
        group.unwrap().name.clone()
    });
    let number = |world: &World, port: u16, protocol: &str| {
        let protocol = protocol.to_owned();
        world.sim.world(|sim| {
            let mut rules = sim.acl_items.values();
            let rule =
                rules.find(|rule| rule.start_port == Some(port) && rule.protocol == protocol);
            format!("rule {}", rule.unwrap().number)
        })
    };
    let (closed, edited) = (number(&world, 5060, "udp"), number(&world, 5062, "tcp"));
    for breakage in [
        Breakage::ClosePort {
            rule: rule(5060, "udp"),
        },
        Breakage::EditRule {
            rule: rule(5062, "tcp"),
            to: None,
        },
        Breakage::AddRule {
            rule: Rule {
                number: Some(777),
                ..rule(2222, "tcp")
            },
        },
        Breakage::ReplaceAcl {
            tier: Some("ims".to_owned()),
        },
        Breakage::DisableNat {
            address: vm("bono-0"),
        },
        Breakage::DeleteAffinityGroup { group },
    ] {
        world.broken(breakage);
    }
    told_only(
        &world,
        &[
            (closed.as_str(), DriftField::AclRule),
            (edited.as_str(), DriftField::AclRule),
            ("rule 777", DriftField::AclRule),
            ("tier", DriftField::Acl),
            ("address ims-bono-0", DriftField::StaticNat),
            ("affinity sprout", DriftField::Existence),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_renumbered_rule_and_a_stolen_address_are_only_told() {
    let world = reporting().await;
    let rule = Rule {
        port: Some(5060),
        protocol: Some("udp".to_owned()),
        ..Rule::default()
    };
    let place = world.sim.world(|sim| {
        let mut rules = sim.acl_items.values();
        let rule = rules.find(|rule| rule.start_port == Some(5060) && rule.protocol == "udp");
        format!("rule {}", rule.unwrap().number)
    });
    world.broken(Breakage::RenumberRule { rule, to: Some(7) });
    world.broken(Breakage::MoveAddress {
        address: vm("bono-0"),
        to: vm("sprout-0"),
    });
    told_only(
        &world,
        &[
            (place.as_str(), DriftField::AclRule),
            ("address ims-bono-0", DriftField::StaticNat),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_gone_is_only_told() {
    for expunge in [true, false] {
        let world = reporting().await;
        world.broken(Breakage::DestroyVm {
            vm: vm("sprout-0"),
            expunge,
        });
        world.broken(Breakage::ReleaseAddress {
            address: vm("bono-0"),
        });
        told_only(
            &world,
            &[
                ("machine ims-sprout-0", DriftField::Existence),
                ("address ims-bono-0", DriftField::Existence),
            ],
        )
        .await;
        let record = world.status().await.ledger.machines["ims-sprout-0"].clone();
        assert_eq!(record.host_name, "ims-sprout-0");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_in_error_and_a_wreck_are_only_told() {
    let world = reporting().await;
    world.broken(Breakage::ErrorVm { vm: vm("sprout-0") });
    let uid = world.stack().await.metadata.uid.unwrap().to_string();
    let taken = world
        .sim
        .world(|sim| sim.find_vm("ims-sprout-1").unwrap().ip().unwrap());
    let taken = taken.to_string();
    let refused = [
        ("ipaddress", taken.as_str()),
        ("name", "wreck"),
        ("details[0].weirStack", uid.as_str()),
        ("details[0].weirMachine", "ims-sprout-1"),
    ];
    assert_eq!(world.somebody_deploys(&refused).await, 530);
    told_only(
        &world,
        &[
            ("machine ims-sprout-0", DriftField::PowerState),
            ("machine ims-sprout-1", DriftField::Wreck),
        ],
    )
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_network_is_only_told() {
    let world = reporting().await;
    world.broken(Breakage::DeleteVpc {
        vpc: "ims".to_owned(),
    });
    world
        .until("told", |status| {
            let gone = |what: &str| status.drift.iter().any(|drift| drift.subject == what);
            gone("vpc") && gone("tier") && gone("machine ims-sprout-0")
        })
        .await;
    world.seen_again().await;
    sent(&world, &[]);
}
