//! Rows of machines: what somebody changes of a VM, and VMs that are neither up nor down.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::json;
use weir::{
    sim::{Breakage, world::VmState},
    types::machine::Machine,
};

use super::{sent, vm};
use crate::world::World;

/// What is said of a machine that waits for a stop to change its group.
const AT_ITS_NEXT_STOP: &str = "its affinity group changes at its next stop";

/// The id of a template that the stack does not ask for.
fn other_template(world: &World) -> String {
    world.sim.world(|sim| {
        let mut rows = sim.catalogue.templates.iter();
        let row = rows.find(|row| row["name"] == "Ubuntu 22.04").unwrap();
        row["id"].as_str().unwrap().to_owned()
    })
}

/// Waits until Weir says something about a machine.
async fn until_said(world: &World, name: &str, what: &str) {
    let said = async || {
        let machine: Option<Machine> = world.store.get_as("default", name).await.unwrap();
        machine
            .and_then(|machine| machine.status?.next)
            .unwrap_or_default()
    };
    let wait = async {
        while !said().await.contains(what) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let waited = tokio::time::timeout(std::time::Duration::from_secs(30), wait).await;
    assert!(
        waited.is_ok(),
        "{name} does not say `{what}` but `{}`",
        said().await
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_display_name_is_put_back() {
    let world = World::ready().await;
    let id = world.vm_id("ims-sprout-0");
    world
        .stranger(&[
            ("command", "updateVirtualMachine"),
            ("id", &id),
            ("displayname", "mine now"),
        ])
        .await;
    world.seen_again().await;
    world.settled().await;
    sent(&world, &["updateVirtualMachine"]);
    let shown = world.sim.world(|sim| sim.vms[&id].display_name.clone());
    assert_eq!(shown.as_deref(), Some("ims-sprout-0"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_restored_from_another_template_is_imaged_again() {
    let world = World::ready().await;
    let id = world.vm_id("ims-sprout-0");
    let template = other_template(&world);
    world
        .stranger(&[
            ("command", "restoreVirtualMachine"),
            ("virtualmachineid", &id),
            ("templateid", &template),
        ])
        .await;
    world.seen_again().await;
    world.settled().await;
    sent(&world, &["restoreVirtualMachine"]);
    assert_ne!(
        world.sim.world(|sim| sim.vms[&id].template.clone()),
        template
    );
    let told = world.told().await.join("\n");
    assert!(
        told.contains("want Ubuntu 14.04, have Ubuntu 22.04"),
        "{told}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn user_data_that_somebody_changed_is_written_again() {
    let world = World::ready().await;
    let id = world.vm_id("ims-sprout-0");
    let before = world.sim.world(|sim| sim.vms[&id].user_data.clone());
    let theirs = STANDARD.encode("#cloud-config\nruncmd: [poweroff]\n");
    world
        .stranger(&[
            ("command", "updateVirtualMachine"),
            ("id", &id),
            ("userdata", &theirs),
        ])
        .await;
    world.seen_again().await;
    world.settled().await;
    sent(&world, &["updateVirtualMachine"]);
    assert_eq!(
        world.sim.world(|sim| sim.vms[&id].user_data.clone()),
        before
    );
    assert!(!world.told().await.join("\n").contains("poweroff"));
}

#[tokio::test(flavor = "multi_thread")]
async fn new_user_data_is_written_and_waits_for_the_next_image() {
    let world = World::ready().await;
    let mirror = json!({"packages": {"repository": "http://mirror2.example.net/clearwater"}});
    world.change(mirror).await;
    world
        .until("written", |status| {
            status.observed_generation == 2
                && status.phase == "Ready"
                && status.ledger.pending.is_empty()
                && status.roles.values().all(|role| role.updated == 0)
        })
        .await;
    sent(&world, &["updateVirtualMachine"; 4]);
    until_said(&world, "ims-sprout-0", "takes effect with its next image").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn tags_of_several_machines_are_put_back_in_one_call() {
    let world = World::ready().await;
    for name in ["sprout-0", "sprout-1", "homestead-0"] {
        let resource = vm(name);
        world.broken(Breakage::DeleteTags { resource });
    }
    world.seen_again().await;
    world.settled().await;
    let tags = world.writes();
    assert!(tags.iter().all(|write| write == "createTags"), "{tags:?}");
    // A look between two of the three deletions may have seen only the first.
    assert!(tags.len() <= 2, "{tags:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_tag_with_another_value_is_replaced() {
    let world = World::ready().await;
    let id = world.vm_id("ims-sprout-0");
    world.sim.world(|sim| {
        let tag = sim.tags.iter_mut().find(|tag| tag.resource == id).unwrap();
        "somebody-else".clone_into(&mut tag.value);
    });
    world.seen_again().await;
    world.settled().await;
    sent(&world, &["deleteTags", "createTags"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deleted_affinity_group_comes_back_and_its_members_at_their_next_stop() {
    let world = World::ready().await;
    let group = world.sim.world(|sim| {
        let mut groups = sim.affinity_groups.values();
        groups
            .find(|group| group.name.starts_with("weir-ims-sprout"))
            .unwrap()
            .name
            .clone()
    });
    world.broken(Breakage::DeleteAffinityGroup {
        group: group.clone(),
    });
    for machine in ["ims-sprout-0", "ims-sprout-1"] {
        until_said(&world, machine, AT_ITS_NEXT_STOP).await;
    }
    world
        .until("the group is back", |status| {
            status.drift.is_empty() && status.phase == "Ready"
        })
        .await;
    sent(&world, &["createAffinityGroup"]);

    world
        .broken_and_repaired(Breakage::StopVm { vm: vm("sprout-0") })
        .await;
    until_said(&world, "ims-sprout-1", AT_ITS_NEXT_STOP).await;
    sent(
        &world,
        &[
            "createAffinityGroup",
            "updateVMAffinityGroup",
            "startVirtualMachine",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_taken_out_of_its_group_joins_it_at_its_next_stop() {
    let world = World::ready().await;
    let id = world.vm_id("ims-sprout-0");
    world
        .sim
        .world(|sim| sim.vms.get_mut(&id).unwrap().affinity_groups.clear());
    until_said(&world, "ims-sprout-0", AT_ITS_NEXT_STOP).await;
    world.seen_again().await;
    sent(&world, &[]);
    // The stop that another offering needs is used for the group too.
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
            "updateVMAffinityGroup",
            "changeServiceForVirtualMachine",
            "startVirtualMachine",
        ],
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_on_its_way_somewhere_is_waited_for() {
    let world = World::ready().await;
    let id = world.vm_id("ims-sprout-0");
    for state in [VmState::Starting, VmState::Stopping, VmState::Migrating] {
        let set = |state| {
            let sim = &world.sim;
            sim.world(|sim| sim.vms.get_mut(&id).unwrap().state = state);
        };
        set(state);
        world
            .until("waits", |status| {
                let step = status
                    .steps
                    .iter()
                    .find(|step| step.subject == "machine ims-sprout-0");
                step.is_some_and(|step| step.reason.contains(&state.to_string()))
            })
            .await;
        world.seen_again().await;
        set(VmState::Running);
        world.settled().await;
    }
    sent(&world, &[]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_vm_on_which_somebodys_job_works_is_left_alone() {
    use weir::sim::{Fault, FaultKind, Who};

    let world = World::ready().await;
    let id = world.vm_id("ims-sprout-0");
    world
        .sim
        .add_fault(Fault::once("rebootVirtualMachine", FaultKind::HangJob));
    let reboot = [("command", "rebootVirtualMachine"), ("id", id.as_str())];
    assert_eq!(world.sim.call(Who::Operator, &reboot).await.status, 200);
    world.broken(Breakage::RenameVm {
        vm: vm("sprout-0"),
        name: None,
    });
    world
        .until("waits", |status| {
            status
                .steps
                .iter()
                .any(|step| step.reason.contains("CloudStack is at work"))
        })
        .await;
    world.seen_again().await;
    sent(&world, &[]);
    world.sim.world(weir::sim::World::restart_server);
    world.sim.world(|sim| sim.down_until = None);
    world.settled().await;
    sent(&world, &["updateVirtualMachine"]);
}
