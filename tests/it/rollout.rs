//! Changes of the manifest while the stack serves: never more of a role away than
//! `update.maxUnavailable`, by the simulator's own account of it, and never more VM records than
//! the replicas and the surge.

use serde_json::{Value, json};
use weir::{
    sim::{Breakage, Fault, FaultKind, Profile, world::VmState},
    types::{
        ledger::Ledger,
        meta::condition,
        stack::{StackStatus, StepState},
    },
};

use crate::world::{Sampler, World};

/// A stack in a cloud that takes its time, so that what is away can be seen to be away.
async fn stack(spec: Value) -> World {
    let world = World::start(Profile::Lab).await;
    world.apply(spec).await;
    world.settled().await;
    world.sim.clear_requests();
    world
}

/// Waits until the newest manifest is what stands, and nothing is on its way.
async fn rolled_out(world: &World) {
    let generation = world.stack().await.metadata.generation.unwrap_or_default();
    world
        .until("rolled out", |status| {
            status.observed_generation == generation
                && idle(status)
                && status
                    .roles
                    .values()
                    .all(|role| role.updated == role.desired)
        })
        .await;
}

fn idle(status: &StackStatus) -> bool {
    status.phase == "Ready" && status.ledger.pending.is_empty() && gone(&status.ledger)
}

fn gone(ledger: &Ledger) -> bool {
    ledger
        .machines
        .values()
        .all(|record| record.former.is_empty() && !record.retiring)
}

/// The template and the offering of each living VM of ours, by name.
fn images(world: &World) -> Vec<(String, String, String)> {
    world.sim.world(|sim| {
        let name = |rows: &[weir::sim::world::catalogue::Row], id: &str| {
            let row = rows.iter().find(|row| row["id"] == id);
            row.map_or_else(String::new, |row| row["name"].as_str().unwrap().to_owned())
        };
        let living = sim
            .vms
            .values()
            .filter(|vm| !vm.state.is_gone() && vm.name.starts_with("ims-"));
        let mut images: Vec<_> = living
            .map(|vm| {
                (
                    vm.name.clone(),
                    name(&sim.catalogue.templates, &vm.template),
                    name(&sim.catalogue.service_offerings, &vm.offering),
                )
            })
            .collect();
        images.sort();
        images
    })
}

#[track_caller]
fn assert_all(world: &World, template: &str, offering: &str) {
    for (name, has_template, has_offering) in images(world) {
        assert_eq!(
            (has_template.as_str(), has_offering.as_str()),
            (template, offering),
            "{name}"
        );
    }
}

fn sprouts(replicas: u32) -> Value {
    json!({"components": {"sprout": {"replicas": replicas}}})
}

const NEW_TEMPLATE: &str = "Ubuntu 22.04";
const OLD_TEMPLATE: &str = "Ubuntu 14.04";
const NEW_OFFERING: &str = "4vCPU-8GB";
const OLD_OFFERING: &str = "2vCPU-4GB";

#[tokio::test(flavor = "multi_thread")]
async fn scaled_out_and_in_the_highest_numbers_come_and_go_and_the_rest_serve_on() {
    let world = stack(json!({})).await;
    let sampler = Sampler::start(&world.sim, &[("sprout", 2), ("bono", 1)]);
    let more = json!({"components": {"sprout": {"replicas": 5}, "bono": {"replicas": 2}}});
    world.change(more.clone()).await;
    rolled_out(&world).await;
    sampler.wants("sprout", 5);
    let five = world.status().await.ledger;
    let bono = five.machines["ims-bono-1"].public_address.clone().unwrap();

    sampler.wants("sprout", 2);
    let less = json!({"components": {"sprout": {"replicas": 2}, "bono": {"replicas": 1}}});
    world.change(less).await;
    rolled_out(&world).await;
    let two = world.status().await.ledger;
    let names: Vec<&str> = two.machines.keys().map(String::as_str).collect();
    assert_eq!(
        names,
        [
            "ims-bono-0",
            "ims-homestead-0",
            "ims-sprout-0",
            "ims-sprout-1"
        ]
    );
    for name in ["ims-sprout-0", "ims-sprout-1", "ims-bono-0"] {
        assert_eq!(two.machines[name].vm, five.machines[name].vm, "{name}");
    }
    for name in ["ims-sprout-2", "ims-sprout-3", "ims-sprout-4"] {
        let why = format!("machine {name}: goes: the manifest wants 2 of sprout");
        world.tells(&why).await;
    }
    world.sim.world(|sim| {
        let vm = five.machines["ims-sprout-4"].vm.clone().unwrap();
        assert!(sim.vms.get(vm.as_str()).is_none_or(|vm| vm.state.is_gone()));
        let address = sim.find_address(&bono.ip.to_string()).unwrap();
        assert_eq!(address.account, None, "the public address is given back");
        assert_eq!(address.static_nat, None);
        assert_eq!(sim.tags_of(bono.id.as_str()).count(), 0);
    });

    world.change(more).await;
    rolled_out(&world).await;
    let again = world.status().await.ledger;
    for (name, record) in &again.machines {
        assert_eq!(record.host_name, *name, "the name can be used again");
        assert_eq!(record.private_address, five.machines[name].private_address);
    }
    sampler.assert_away_at_most(0);
    assert!(sampler.most_records("sprout") <= 5 + 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_offering_and_a_template_change_one_machine_of_a_role_at_a_time() {
    let world = stack(json!({})).await;
    let sampler = Sampler::start(&world.sim, &[]);
    world
        .change(json!({"serviceOffering": {"name": NEW_OFFERING}}))
        .await;
    rolled_out(&world).await;
    assert_all(&world, OLD_TEMPLATE, NEW_OFFERING);
    world
        .change(json!({"template": {"name": NEW_TEMPLATE}}))
        .await;
    rolled_out(&world).await;
    assert_all(&world, NEW_TEMPLATE, NEW_OFFERING);
    // Both at once cost each machine one stop.
    world.sim.clear_requests();
    let back = json!({
        "template": {"name": OLD_TEMPLATE}, "serviceOffering": {"name": OLD_OFFERING},
    });
    world.change(back).await;
    rolled_out(&world).await;
    assert_all(&world, OLD_TEMPLATE, OLD_OFFERING);
    let mut writes = world.writes_sorted();
    let of_each = ["changeServiceForVirtualMachine", "restoreVirtualMachine"];
    let of_each = [of_each, ["startVirtualMachine", "stopVirtualMachine"]].concat();
    for command in of_each {
        assert_eq!(
            writes.iter().filter(|write| *write == command).count(),
            4,
            "{command}"
        );
        writes.retain(|write| write != command);
    }
    assert_eq!(writes, [""; 0]);
    sampler.assert_away_at_most(1);
    assert_eq!(
        sampler.most_away("sprout").len(),
        1,
        "the sampler does see what is away"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn as_many_as_may_be_away_are_changed_side_by_side() {
    let spec = json!({"components": {"sprout": {"replicas": 4}}, "update": {"maxUnavailable": 2}});
    let world = stack(spec).await;
    let sampler = Sampler::start(&world.sim, &[]);
    world
        .change(json!({"template": {"name": NEW_TEMPLATE}}))
        .await;
    rolled_out(&world).await;
    assert_all(&world, NEW_TEMPLATE, OLD_OFFERING);
    sampler.assert_away_at_most(2);
    assert_eq!(sampler.most_away("sprout").len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_user_data_is_written_and_waits_for_the_next_image() {
    let world = stack(json!({})).await;
    let sampler = Sampler::start(&world.sim, &[]);
    let before = world
        .sim
        .world(|sim| sim.find_vm("ims-sprout-0").unwrap().user_data.clone());
    let packages = json!({"packages": {"repository": "http://other.example.net/clearwater"}});
    world.change(packages).await;
    world
        .until("written", |status| {
            status.observed_generation == 2
                && idle(status)
                && status.roles.values().all(|role| role.updated == 0)
        })
        .await;
    world.seen_again().await;
    assert_eq!(world.writes(), ["updateVirtualMachine"; 4]);
    sampler.assert_away_at_most(0);
    let after = world
        .sim
        .world(|sim| sim.find_vm("ims-sprout-0").unwrap().user_data.clone());
    assert_ne!(before, after);
    let machine = world.machine("sprout-0").await;
    let later = "its new user data takes effect with its next image";
    assert_eq!(machine.next.as_deref(), Some(later));
    let outdated = condition(&machine.conditions, "UpToDate").unwrap();
    assert_eq!(outdated.reason, "Outdated");

    world
        .change(json!({"template": {"name": NEW_TEMPLATE}}))
        .await;
    rolled_out(&world).await;
    assert_eq!(world.machine("sprout-0").await.next, None);
    sampler.assert_away_at_most(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_in_the_middle_of_another_supersedes_it() {
    let spec = sprouts(3);
    let world = stack(spec).await;
    let sampler = Sampler::start(&world.sim, &[("sprout", 3)]);
    world
        .change(json!({"template": {"name": NEW_TEMPLATE}}))
        .await;
    world
        .until("the first is being re-imaged", |status| {
            status.observed_generation == 2 && !status.ledger.pending.is_empty()
        })
        .await;
    let back = json!({
        "template": {"name": OLD_TEMPLATE}, "serviceOffering": {"name": NEW_OFFERING},
        "components": {"sprout": {"replicas": 2}},
    });
    sampler.wants("sprout", 2);
    world.change(back).await;
    rolled_out(&world).await;
    assert_all(&world, OLD_TEMPLATE, NEW_OFFERING);
    let names = images(&world).into_iter().map(|(name, ..)| name);
    assert_eq!(names.filter(|name| name.contains("sprout")).count(), 2);
    sampler.assert_away_at_most(1);
}

/// No host has room for what the new offering wants, so the first machine of each role that is
/// changed does not start again.
#[tokio::test(flavor = "multi_thread")]
async fn a_bad_change_stops_at_the_first_machine_and_a_good_one_frees_it() {
    let world = stack(json!({})).await;
    world
        .sim
        .world(|sim| sim.settings.host_memory_mib = 5 * 4096);
    let sampler = Sampler::start(&world.sim, &[]);
    world.sim.world(|sim| sim.settings.host_memory_mib = 4096);
    world
        .change(json!({"serviceOffering": {"name": NEW_OFFERING}}))
        .await;
    world
        .until("the start fails", |status| {
            let failed = status.ledger.failures.get("machine ims-sprout-0");
            failed.is_some_and(|failure| failure.reason == "InsufficientCapacity")
        })
        .await;
    world.seen_again().await;
    let status = world.status().await;
    let waits = status
        .steps
        .iter()
        .find(|step| step.subject == "machine ims-sprout-1")
        .unwrap();
    assert_eq!(
        (waits.action.as_str(), waits.state),
        ("MaxUnavailable", StepState::Waiting)
    );
    let failing = condition(&status.conditions, "Degraded").unwrap();
    assert!(failing.message.contains("ims-"), "{failing:?}");

    let rest = status.ledger.failures["machine ims-sprout-0"].retry_after;
    world
        .change(json!({"serviceOffering": {"name": OLD_OFFERING}}))
        .await;
    rolled_out(&world).await;
    assert!(
        world.clock.now() < rest,
        "a good change does not sit out what a bad one earned"
    );
    assert_all(&world, OLD_TEMPLATE, OLD_OFFERING);
    sampler.assert_away_at_most(1);
}

#[tokio::test(flavor = "multi_thread")]
async fn while_somebody_else_stops_a_machine_no_further_one_is_taken_away() {
    let world = stack(sprouts(3)).await;
    let sampler = Sampler::start(&world.sim, &[]);
    world
        .change(json!({"template": {"name": NEW_TEMPLATE}}))
        .await;
    world
        .until("the first is being re-imaged", |status| {
            let pending = &status.ledger.pending;
            pending
                .iter()
                .any(|pending| pending.subject == "machine ims-sprout-0")
        })
        .await;
    world.broken(Breakage::StopVm {
        vm: "ims-sprout-1".to_owned(),
    });
    rolled_out(&world).await;
    assert_all(&world, NEW_TEMPLATE, OLD_OFFERING);
    let away = sampler.most_away("sprout");
    let both = ["ims-sprout-0", "ims-sprout-1"].map(str::to_owned);
    assert_eq!(
        away,
        both.into(),
        "one by Weir, one by a stranger, and no third"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn who_is_scaled_in_stays_while_too_few_of_the_others_serve() {
    let world = World::with(json!({
        "components": {"sprout": {"replicas": 4}}, "remediation": {"maxPerHour": 0},
    }))
    .await;
    for name in ["ims-sprout-0", "ims-sprout-1"] {
        world.broken(Breakage::StopVm {
            vm: name.to_owned(),
        });
    }
    world
        .until("seen", |status| {
            status.ready_replicas + 2 == status.replicas
        })
        .await;
    world.change(sprouts(2)).await;
    world
        .until("held", |status| {
            let mut steps = status.steps.iter();
            steps.any(|step| {
                step.subject == "machine ims-sprout-3" && step.action == "MaxUnavailable"
            })
        })
        .await;
    world.seen_again().await;
    assert_eq!(world.writes(), [""; 0]);
    for name in ["ims-sprout-2", "ims-sprout-3"] {
        let state = world.sim.world(|sim| sim.find_vm(name).unwrap().state);
        assert_eq!(state, VmState::Running, "{name}");
    }
    let id = world.vm_id("ims-sprout-0");
    world
        .stranger(&[("command", "startVirtualMachine"), ("id", &id)])
        .await;
    world
        .until("gone", |status| {
            gone(&status.ledger) && status.ledger.machines.len() == 4
        })
        .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn machines_that_are_replaced_on_request_go_one_after_the_other() {
    let world = stack(json!({})).await;
    let before = world.status().await.ledger;
    let sampler = Sampler::start(&world.sim, &[]);
    world.delete_machine("sprout-0").await;
    world.delete_machine("sprout-1").await;
    let another = |status: &StackStatus, name: &str| {
        status.ledger.machines[name].vm != before.machines[name].vm
    };
    world
        .until("both are replaced", |status| {
            idle(status) && another(status, "ims-sprout-0") && another(status, "ims-sprout-1")
        })
        .await;
    sampler.assert_away_at_most(1);
    assert_eq!(
        sampler.most_records("sprout"),
        2 + 1,
        "the successor does not wait for the destroy"
    );
    let after = world.status().await.ledger;
    for (name, record) in &after.machines {
        assert_eq!(record.host_name, *name);
        assert_eq!(
            record.private_address,
            before.machines[name].private_address
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_surge_the_predecessor_is_gone_before_its_successor_comes() {
    let world = stack(json!({"update": {"maxSurge": 0}})).await;
    let before = world.vm_id("ims-sprout-0");
    let sampler = Sampler::start(&world.sim, &[]);
    world.delete_machine("sprout-0").await;
    world
        .until("told", |status| {
            let mut steps = status.steps.iter();
            steps.any(|step| {
                step.subject == "machine ims-sprout-0"
                    && step.action == "MaxSurge"
                    && step.reason.contains("spec.update.maxSurge is 0")
            })
        })
        .await;
    world
        .until("replaced", |status| {
            let vm = status.ledger.machines["ims-sprout-0"].vm.as_ref();
            idle(status) && vm.is_some_and(|vm| vm.as_str() != before)
        })
        .await;
    assert_eq!(sampler.most_records("sprout"), 2);
}

/// Deploys that fail, answers that are lost, starts that fail and no destroy that works, while
/// machines are scaled and replaced: VM records never go beyond the cap.
#[tokio::test(flavor = "multi_thread")]
async fn no_script_of_failures_makes_more_records_than_the_cap() {
    let world = World::ready().await;
    let sampler = Sampler::start(&world.sim, &[]);
    let fail = || FaultKind::FailJob {
        code: 530,
        text: "Internal error".to_owned(),
    };
    let faults = [
        ("deployVirtualMachine", fail(), 0.3),
        ("deployVirtualMachine", FaultKind::LostReply, 0.3),
        ("deployVirtualMachine", FaultKind::Status { code: 503 }, 0.1),
        ("destroyVirtualMachine", fail(), 1.0),
        ("startVirtualMachine", FaultKind::StartFails, 0.3),
        ("listVirtualMachines", FaultKind::Truncated, 0.05),
    ];
    for (command, kind, probability) in faults {
        world.sim.add_fault(Fault {
            probability,
            ..Fault::always(Some(command), kind)
        });
    }
    for replicas in [5, 2, 4] {
        world.change(sprouts(replicas)).await;
        for _ in 0..4 {
            for name in ["sprout-0", "sprout-1", "bono-0", "homestead-0"] {
                if world.machine(name).await.vm_id.is_some() {
                    world.delete_machine(name).await;
                }
            }
            world.seen_again().await;
        }
    }
    world.sim.clear_faults();
    world.change(sprouts(2)).await;
    rolled_out(&world).await;
    let (wanted, surge, spare) = (7, 1, 3);
    let told = world.told().await;
    let refused = told.iter().filter(|event| event.starts_with("StepRefused"));
    assert_eq!(
        refused.count(),
        0,
        "the planner itself stops in time: {told:#?}"
    );
    let most = sampler.most_records("");
    assert!(
        most > wanted && most <= wanted + surge + spare,
        "{most} records"
    );
    assert_eq!(
        world.sim.world(|sim| {
            let living = sim.vms.values().filter(|vm| !vm.state.is_gone());
            living.filter(|vm| vm.name.starts_with("ims-")).count()
        }),
        4
    );
}
