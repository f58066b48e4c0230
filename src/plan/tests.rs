//! The planner against its own predictions, and against worlds that were broken by hand.

mod absent;
mod budget;
mod left;
mod userdata;

use std::collections::{BTreeMap, BTreeSet};

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::{
    Input, Plan, Step, check, plan, predict,
    preview::{Preview, preview},
    settle,
};
use crate::{
    bootstrap::{Memo, Secrets},
    types::{
        account::{Limits, Rights},
        action::{Action, Answer, Answers, JobOutcome, Question, mark},
        id::{AddressId, JobId, Uid, VmId, ZoneId},
        inventory::{Catalogue, Entry, Inventory, Vm, VmState},
        ledger::{Ledger, Lost, PublicAddress},
        role::Role,
        stack::{ClearwaterStack, DriftField},
    },
};

/// A stack, its ledger and the cloud it lives in, all in memory.
struct World {
    stack: ClearwaterStack,
    ledger: Ledger,
    catalogue: Catalogue,
    inventory: Inventory,
    answers: Answers,
    limits: Limits,
    secrets: Option<Secrets>,
    memo: Memo,
    began: Timestamp,
    now: Timestamp,
    jobs: usize,
}

impl World {
    fn new(components: &serde_json::Value) -> Self {
        let stack = json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "ClearwaterStack",
            "metadata": {"name": "ims", "namespace": "default", "uid": "0a1b2c3d-uid", "generation": 1},
            "spec": {
                "accountRef": {"name": "zurich"}, "domain": "ims.example.com",
                "template": {"name": "Ubuntu"}, "serviceOffering": {"name": "small"},
                "packages": {"repository": "http://mirror.example.net/clearwater"},
                "components": components,
            },
        });
        let entry = |id: &str, name: &str| Entry {
            id: id.to_owned(),
            name: name.to_owned(),
        };
        let catalogue = Catalogue {
            zone: Some(ZoneId::new("zone")),
            templates: vec![entry("t1", "Ubuntu"), entry("t2", "Ubuntu 2")],
            service_offerings: vec![entry("s1", "small"), entry("s2", "large")],
            network_offerings: vec![entry("n1", "DefaultIsolatedNetworkOfferingForVpcNetworks")],
            vpc_offerings: vec![entry("v1", "Default VPC offering")],
            ..Catalogue::default()
        };
        Self {
            stack: serde_json::from_value(stack).unwrap(),
            ledger: Ledger::default(),
            catalogue,
            inventory: empty(),
            answers: Answers::new(),
            limits: Limits::default(),
            secrets: None,
            memo: Memo::default(),
            began: Timestamp::UNIX_EPOCH,
            now: Timestamp::UNIX_EPOCH,
            jobs: 0,
        }
    }

    fn input<'a>(&'a self, none: &'a None) -> Input<'a> {
        Input {
            stack: &self.stack,
            ledger: &self.ledger,
            replace: &none.0,
            catalogue: &self.catalogue,
            inventory: &self.inventory,
            answers: &self.answers,
            health: &none.1,
            limits: &self.limits,
            secrets: self.secrets.as_ref(),
            memo: &self.memo,
            began: self.began,
            now: self.now,
        }
    }

    fn preview(&self) -> Preview {
        preview(self.input(&None::default()))
    }

    /// One round in which every question is answered truly and every step works.
    fn round(&mut self) -> (Plan, Vec<Step>) {
        let none = None::default();
        let (plan, steps) = loop {
            self.inventory.index();
            let plan = plan(self.input(&none));
            let open = plan
                .questions
                .iter()
                .filter(|q| !self.answers.contains_key(q));
            let open: Vec<_> = open.cloned().collect();
            if open.is_empty() {
                let (steps, refused) = check::check(&plan, self.input(&none));
                assert!(refused.is_empty(), "{refused:?}");
                break (
                    plan,
                    steps
                        .iter()
                        .map(|step| step.step().clone())
                        .collect::<Vec<_>>(),
                );
            }
            for question in open {
                let answer = predict::answer(&question, &self.inventory, &plan.ledger);
                self.answers.insert(question, answer);
            }
        };
        self.answers.clear();
        self.ledger = plan.ledger.clone();
        let jobs = &mut self.jobs;
        let next = || {
            *jobs += 1;
            JobId::new(format!("job-{jobs}"))
        };
        let ids = settle::commit(&mut self.ledger, &steps, next, self.now);
        for (step, id) in steps.iter().zip(&ids) {
            let resource = predict::predict(&mut self.inventory, &step.action, id);
            let answer = match step.action.synchronous() {
                true => settle::Submitted::Done { resource },
                false => settle::Submitted::Job { resource },
            };
            settle::submitted(&mut self.ledger, id, &answer, self.now);
        }
        (plan, steps)
    }

    /// Rounds until nothing is wanted; gives all steps taken as `command subject`.
    fn settle(&mut self) -> Vec<String> {
        let mut taken = Vec::new();
        for _ in 0..100 {
            let before = self.ledger.clone();
            let (plan, steps) = self.round();
            if steps.is_empty() && plan.ledger == before {
                assert!(plan.blocked.is_empty(), "{:?}", plan.blocked);
                return taken;
            }
            taken.extend(
                steps
                    .iter()
                    .map(|s| format!("{} {}", s.action.command(), s.subject)),
            );
        }
        panic!("not settled after 100 rounds: {taken:#?}");
    }

    fn vm(&mut self, machine: &str) -> &mut Vm {
        let id = self.ledger.machines[machine]
            .vm
            .clone()
            .expect("the machine has a VM");
        self.inventory.vms.get_mut(&id).expect("the VM is there")
    }

    fn vm_id(&self, machine: &str) -> VmId {
        self.ledger.machines[machine]
            .vm
            .clone()
            .expect("the machine has a VM")
    }
}

/// An account in which nothing is and no job runs.
fn empty() -> Inventory {
    let mut inventory = Inventory::default();
    inventory.jobs = Some([].into());
    inventory
}

type None = (BTreeMap<String, VmId>, BTreeMap<String, super::Health>);

fn small() -> World {
    World::new(
        &json!({"sprout": {"replicas": 2}, "homer": {"replicas": 0}, "ralf": {"replicas": 0}}),
    )
}

fn settled() -> World {
    let mut world = small();
    world.settle();
    world
}

#[test]
fn a_stack_comes_up_and_then_wants_nothing() {
    let mut world = small();
    let taken = world.settle();
    let count = |word: &str| taken.iter().filter(|step| step.starts_with(word)).count();
    assert_eq!(count("deployVirtualMachine"), 5, "{taken:#?}");
    assert_eq!(count("startVirtualMachine"), 5);
    assert_eq!(count("associateIpAddress"), 2);
    assert_eq!(count("enableStaticNat"), 2);
    assert_eq!(count("createTags"), 2, "{taken:#?}");
    assert!(
        world
            .inventory
            .vms
            .values()
            .all(|vm| vm.state == VmState::Running)
    );
}

#[test]
fn the_preview_lists_the_steps_that_are_then_taken() {
    let mut world = small();
    let foreseen: Vec<String> = world
        .preview()
        .steps
        .iter()
        .map(|s| format!("{} {}", s.command, s.subject))
        .collect();
    assert_eq!(foreseen, world.settle());
    assert_eq!(world.preview().summary, "nothing to do");
}

#[test]
fn the_first_machine_brings_the_tier_up_and_the_rest_follow_at_once() {
    let mut world = small();
    let mut starts = Vec::new();
    for _ in 0..20 {
        let (_, steps) = world.round();
        let started = steps
            .iter()
            .filter(|s| matches!(s.action, Action::StartVm { .. }))
            .count();
        starts.extend((started > 0).then_some(started));
    }
    assert_eq!(starts, [1, 4]);
}

#[test]
fn a_stopped_vm_is_started() {
    let mut world = settled();
    world.vm("ims-sprout-0").state = VmState::Stopped;
    assert_eq!(world.settle(), ["startVirtualMachine machine ims-sprout-0"]);
}

#[test]
fn with_drift_reported_nothing_is_touched() {
    let mut world = small();
    world.stack.spec.drift = serde_json::from_value(json!("Report")).unwrap();
    world.settle();
    world.vm("ims-sprout-0").state = VmState::Stopped;
    world.vm("ims-bono-0").name = "mallory".to_owned();
    let (plan, steps) = world.round();
    assert!(steps.is_empty(), "{steps:?}");
    assert_eq!(plan.drift.len(), 2, "{:?}", plan.drift);
}

#[test]
fn a_destroyed_vm_without_trace_gets_a_successor_of_the_same_name_and_address() {
    let mut world = settled();
    let (old, address) = (
        world.vm_id("ims-bono-0"),
        world.ledger.machines["ims-bono-0"].private_address,
    );
    world.inventory.vms.remove(&old);
    for row in world
        .inventory
        .addresses
        .values_mut()
        .filter(|row| row.vm.as_ref() == Some(&old))
    {
        row.vm = None;
    }
    let taken = world.settle();
    let record = &world.ledger.machines["ims-bono-0"];
    assert_eq!(
        (record.host_name.as_str(), record.private_address),
        ("ims-bono-0", address)
    );
    assert_ne!(record.vm, Some(old));
    assert_eq!(taken.len(), 4, "deploy, tag, static NAT, start: {taken:#?}");
}

#[test]
fn a_dead_vm_that_a_tenant_cannot_expunge_makes_the_successor_take_the_next_name() {
    let mut world = settled();
    let old = world.vm_id("ims-bono-0");
    world.inventory.vms.remove(&old);
    let taken = world.settle();
    let record = &world.ledger.machines["ims-bono-0"];
    assert_eq!(record.host_name, "ims-bono-0-r1");
    assert!(
        taken.contains(&"disableStaticNat address ims-bono-0".to_owned()),
        "{taken:#?}"
    );
}

#[test]
fn a_successor_starts_when_its_former_vm_runs_no_longer() {
    let mut world = settled();
    let id = world.vm_id("ims-sprout-0");
    let mut former = world.inventory.vms[&id].clone();
    former.id = VmId::new("turned-up-again");
    let record = world.ledger.machines.get_mut("ims-sprout-0").unwrap();
    record.parts_with(former.id.clone(), "somebody destroyed it", world.now);
    world
        .inventory
        .vms
        .insert(former.id.clone(), former.clone());
    world.vm("ims-sprout-0").state = VmState::Stopped;
    world.inventory.index();
    let starts = |plan: &Plan| {
        let start = |step: &Step| matches!(&step.action, Action::StartVm { vm } if *vm == id);
        plan.steps.iter().any(start)
    };
    let none = None::default();
    let waiting = plan(world.input(&none));
    assert!(!starts(&waiting), "{:?}", waiting.steps);
    let told = &waiting.machines["ims-sprout-0"].message;
    assert!(told.contains("former VM is still there"), "{told}");
    world.inventory.vms.get_mut(&former.id).unwrap().state = VmState::Stopped;
    assert!(starts(&plan(world.input(&none))));
}

#[test]
fn no_address_is_led_to_a_vm_that_goes() {
    let mut world = settled();
    world.vm("ims-bono-0").state = VmState::Error;
    for row in world.inventory.addresses.values_mut() {
        row.vm = None;
    }
    world.inventory.index();
    let (plan, _) = world.round();
    let led = |step: &&Step| matches!(step.action, Action::EnableStaticNat { .. });
    let led = plan.steps.iter().filter(led);
    let led: Vec<&str> = led.map(|step| step.subject.as_str()).collect();
    assert_eq!(led, ["address ims-ellis-0"]);
    assert_eq!(plan.ledger.machines["ims-bono-0"].vm, None);
}

#[test]
fn a_tenant_parks_before_destroying_so_that_the_place_is_free() {
    let mut world = settled();
    world
        .ledger
        .machines
        .get_mut("ims-bono-0")
        .unwrap()
        .remediations = Vec::new();
    let replace = BTreeMap::from([("ims-bono-0".to_owned(), world.vm_id("ims-bono-0"))]);
    world.inventory.index();
    let none = None::default();
    let plan = plan(Input {
        replace: &replace,
        ..world.input(&none)
    });
    world.ledger = plan.ledger;
    let taken = world.settle();
    let farewell: Vec<&str> = taken
        .iter()
        .filter(|step| step.contains(" vm new-"))
        .map(|step| step.split(' ').next().unwrap())
        .collect();
    assert_eq!(
        farewell,
        [
            "disableStaticNat",
            "stopVirtualMachine",
            "updateVmNicIp",
            "updateVirtualMachine",
            "destroyVirtualMachine"
        ],
        "{taken:#?}"
    );
    assert_eq!(world.ledger.machines["ims-bono-0"].host_name, "ims-bono-0");
}

#[test]
fn a_strangers_copy_of_our_mark_is_never_touched() {
    let mut world = settled();
    let mut copy = world.vm("ims-sprout-0").clone();
    copy.id = VmId::new("mallory");
    copy.name = "mallory".to_owned();
    world.inventory.vms.insert(copy.id.clone(), copy);
    let (plan, steps) = world.round();
    assert!(steps.is_empty(), "{steps:?}");
    assert!(
        plan.notes.iter().any(|note| note.reason == "NotOurs"),
        "{:?}",
        plan.notes
    );
}

#[test]
fn a_copy_of_the_mark_of_a_vm_that_is_gone_is_never_touched() {
    let mut world = settled();
    let gone = world.vm_id("ims-sprout-0");
    let mut copy = world.inventory.vms.remove(&gone).unwrap();
    let intent = JobId::new(copy.intent().unwrap());
    world.settle();
    copy.id = VmId::new("mallory");
    copy.name = "mallory".to_owned();
    copy.nics.clear();
    world.inventory.vms.insert(copy.id.clone(), copy);
    // CloudStack forgets jobs, so that nobody could tell any more.
    let unknown = Answer::Job(JobOutcome::Unknown);
    world.answers.insert(Question::Job(intent), unknown);
    let (plan, steps) = world.round();
    assert!(steps.is_empty(), "{steps:?}");
    assert!(!plan.ledger.knows_vm(&VmId::new("mallory")));
}

#[test]
fn a_vm_that_was_taken_for_gone_and_lost_its_marks_is_still_ours() {
    let mut world = settled();
    let id = world.vm_id("ims-sprout-0");
    let mut back = world.inventory.vms.remove(&id).unwrap();
    world.settle();
    assert_ne!(world.vm_id("ims-sprout-0"), id);
    (back.details, back.tags) = Default::default();
    world.inventory.vms.insert(id.clone(), back);
    world.settle();
    assert!(!world.inventory.vms.contains_key(&id) || world.inventory.vms[&id].state.dead());
    assert_eq!(
        world
            .inventory
            .vms
            .values()
            .filter(|vm| !vm.state.dead())
            .count(),
        5
    );
}

#[test]
fn a_lost_affinity_group_that_is_wanted_no_longer_is_not_missed() {
    let mut world = settled();
    world.ledger.affinity_groups.remove(&Role::Sprout).unwrap();
    for machine in ["ims-sprout-0", "ims-sprout-1"] {
        world.vm(machine).affinity_groups.clear();
    }
    let lost = Lost {
        have: "deleted".to_owned(),
        id: "group".to_owned(),
        explained: false,
        since: world.now,
    };
    world.ledger.lost.insert("affinity sprout".to_owned(), lost);
    world.stack.spec.components.sprout.replicas = 1;
    world.settle();
    assert_eq!(world.ledger.lost, BTreeMap::new());
    assert_eq!(world.round().0.drift, []);
}

#[test]
fn the_first_of_a_role_that_grows_joins_the_group_when_it_stops_anyway() {
    let mut world = settled();
    world.stack.spec.components.homestead.replicas = 2;
    world.settle();
    let (plan, _) = world.round();
    assert_eq!(plan.drift, []);
    let told = &plan.machines["ims-homestead-0"].message;
    assert_eq!(told, "its affinity group changes at its next stop");
    assert_eq!(plan.machines["ims-homestead-1"].message, "");
    let group = world.ledger.affinity_groups[&Role::Homestead].clone();
    world.vm("ims-homestead-0").state = VmState::Stopped;
    world.settle();
    let groups = &world.vm("ims-homestead-0").affinity_groups;
    assert_eq!(*groups, BTreeSet::from([group]));
}

#[test]
fn a_group_that_is_only_reported_is_told_as_drift() {
    let mut world = settled();
    world.stack.spec.drift = serde_json::from_value(json!({"affinityGroup": "Report"})).unwrap();
    world.vm("ims-sprout-0").affinity_groups.clear();
    let (plan, _) = world.round();
    let told: Vec<_> = plan.drift.iter().map(|drift| drift.field).collect();
    assert_eq!(told, [DriftField::AffinityGroup]);
}

#[test]
fn an_offering_changes_one_machine_at_a_time() {
    let mut world = settled();
    world.stack.spec.service_offering = serde_json::from_value(json!({"name": "large"})).unwrap();
    for _ in 0..60 {
        world.round();
        let away = world
            .ledger
            .machines
            .iter()
            .filter(|(_, record)| record.role.name() == "sprout")
            .filter(|(_, record)| {
                world.inventory.vms[record.vm.as_ref().unwrap()].state != VmState::Running
            })
            .count();
        assert!(away <= 1, "{away} sprouts away");
    }
    assert!(
        world
            .inventory
            .vms
            .values()
            .all(|vm| vm.offering.as_ref().unwrap().as_str() == "s2")
    );
    assert_eq!(world.preview().summary, "nothing to do");
}

#[test]
fn when_too_many_look_dead_nothing_is_done_to_them() {
    let mut world = settled();
    for vm in world.inventory.vms.values_mut().take(4) {
        vm.state = VmState::Stopped;
    }
    let (plan, steps) = world.round();
    assert!(steps.is_empty(), "{steps:?}");
    assert!(plan.held_back.is_some());
    for vm in world.inventory.vms.values_mut().take(2) {
        vm.state = VmState::Running;
    }
    assert_eq!(world.settle().len(), 2);
}

#[test]
fn a_deleted_vpc_is_made_again_with_all_that_was_in_it() {
    let mut world = settled();
    world.inventory = empty();
    let before = world.ledger.clone();
    assert!(world.settle().is_empty(), "one look does not decide");
    assert_eq!(
        (&world.ledger.vpc, &world.ledger.tier),
        (&before.vpc, &before.tier)
    );
    absent::later(&mut world);
    world.settle();
    assert_ne!(world.ledger.vpc, before.vpc);
    assert_eq!(world.inventory.vms.len(), 5);
    assert_eq!(world.inventory.addresses.len(), 2);
}

#[test]
fn a_vpc_whose_tier_is_still_listed_is_not_taken_for_gone() {
    let mut world = settled();
    world.inventory.vpcs.clear();
    let before = world.ledger.clone();
    let (plan, steps) = world.round();
    assert!(steps.is_empty(), "{steps:?}");
    assert_eq!(
        (plan.ledger.vpc, plan.ledger.tier),
        (before.vpc, before.tier)
    );
    world.inventory = empty();
    let (plan, _) = world.round();
    assert_eq!(plan.held_back, Option::None);
    world.settle();
    absent::later(&mut world);
    world.settle();
    assert_eq!(world.inventory.vms.len(), 5);
}

#[test]
fn a_tier_whose_vms_are_still_listed_is_not_taken_for_gone() {
    let mut world = settled();
    let networks = std::mem::take(&mut world.inventory.networks);
    let before = world.ledger.clone();
    let (plan, steps) = world.round();
    assert!(steps.is_empty(), "{steps:?}");
    assert_eq!(plan.ledger.tier, before.tier);
    let wait = plan.waits.iter().find(|wait| wait.subject == "tier");
    assert_eq!(wait.unwrap().reason, "Confirming");
    world.inventory.networks = networks;
    assert!(world.settle().is_empty());
    world.inventory.networks.clear();
    world.inventory.vms.clear();
    let (plan, _) = world.round();
    assert_eq!(plan.held_back, Option::None);
    world.settle();
    absent::later(&mut world);
    world.settle();
    assert_eq!(world.inventory.vms.len(), 5);
}

#[test]
fn a_deleted_stack_leaves_nothing() {
    let mut world = settled();
    world.stack.metadata.deletion_timestamp = Some(world.now);
    let taken = world.settle();
    assert!(world.ledger.is_empty(), "{:?}", world.ledger);
    assert!(world.inventory.vms.is_empty() && world.inventory.vpcs.is_empty());
    assert_eq!(taken.last().map(String::as_str), Some("deleteVPC vpc"));
}

#[test]
fn a_stack_that_is_protected_while_it_is_being_deleted_loses_nothing_more() {
    let mut world = settled();
    world.stack.metadata.deletion_timestamp = Some(world.now);
    world.stack.spec.deletion_protection = true;
    let before = world.ledger.clone();
    let (plan, steps) = world.round();
    assert_eq!((steps, &plan.ledger), (vec![], &before));
    assert_eq!(plan.blocked[0].reason, "DeletionProtected");
}

#[test]
fn scaled_in_machines_go_from_the_top() {
    let mut world = settled();
    world.stack.spec.components.sprout.replicas = 5;
    world.settle();
    assert_eq!(world.inventory.vms.len(), 8);
    world.stack.spec.components.sprout.replicas = 2;
    world.settle();
    assert_eq!(world.inventory.vms.len(), 5);
    assert!(world.ledger.machines.contains_key("ims-sprout-1"));
    assert!(!world.ledger.machines.contains_key("ims-sprout-2"));
}

#[test]
fn acl_rules_are_restored_in_place() {
    let mut world = settled();
    let ids: Vec<_> = world.inventory.rules.keys().cloned().collect();
    world.inventory.rules.remove(&ids[0]);
    world.inventory.rules.get_mut(&ids[1]).unwrap().number = 7;
    world.inventory.rules.get_mut(&ids[2]).unwrap().start_port = Some(1);
    let taken = world.settle();
    let count = |word: &str| taken.iter().filter(|step| step.starts_with(word)).count();
    assert_eq!(
        (
            count("createNetworkACL "),
            count("updateNetworkACLItem "),
            taken.len()
        ),
        (1, 2, 3),
        "{taken:?}"
    );
}

#[test]
fn the_same_input_gives_the_same_plan() {
    let mut world = settled();
    world.vm("ims-sprout-0").state = VmState::Stopped;
    world.inventory.index();
    let none = None::default();
    let twice = [plan(world.input(&none)), plan(world.input(&none))].map(|p| format!("{p:?}"));
    assert_eq!(twice[0], twice[1]);
}

#[test]
fn a_world_with_more_rights_expunges_and_keeps_the_place() {
    let mut world = settled();
    world.catalogue.rights = Rights {
        expunge: true,
        see_destroyed: false,
    };
    let old = world.vm_id("ims-bono-0");
    world.inventory.vms.remove(&old);
    let taken = world.settle();
    assert!(
        taken.contains(&format!("expungeVirtualMachine vm {old}")),
        "{taken:#?}"
    );
    assert_eq!(world.ledger.machines["ims-bono-0"].host_name, "ims-bono-0");
}

#[test]
fn a_wiped_mark_is_put_back() {
    let mut world = settled();
    world.vm("ims-sprout-1").details.clear();
    world.vm("ims-sprout-1").tags.clear();
    let mut taken = world.settle();
    taken.sort();
    assert_eq!(
        taken,
        [
            "createTags tags vm",
            "updateVirtualMachine machine ims-sprout-1"
        ]
    );
    assert_eq!(
        world.vm("ims-sprout-1").details[mark::STACK],
        Uid::new("0a1b2c3d-uid").to_string()
    );
}

#[test]
fn what_an_earlier_controller_recorded_long_ago_may_have_been_sent_at_its_end() {
    let mut world = small();
    let none = None::default();
    let plan = plan(world.input(&none));
    let (steps, _) = check::check(&plan, world.input(&none));
    let steps: Vec<Step> = steps.iter().map(|step| step.step().clone()).collect();
    world.ledger = plan.ledger.clone();
    let id = || JobId::new("late");
    let recorded = settle::commit(&mut world.ledger, &steps[..1], id, world.now);
    let unknown = Answer::Job(JobOutcome::Unknown);
    let question = Question::Job(recorded[0].clone());
    // It made nothing that could be found by its mark either.
    let nothing = Answer::AffinityGroups(Vec::new());
    world.answers.insert(Question::AffinityGroups, nothing);
    world.now += SignedDuration::from_secs(60);
    world.began = world.now - SignedDuration::from_secs(1);
    // It may still be on its way; then it is missed once, and once more.
    for (later, open) in [(0, 1), (9, 1), (40, 0)] {
        world.now += SignedDuration::from_secs(later);
        world.answers.insert(question.clone(), unknown.clone());
        let plan = super::plan(world.input(&none));
        assert_eq!(plan.ledger.pending.len(), open, "{:?}", plan.ledger.pending);
        world.ledger = plan.ledger;
    }
}

#[test]
fn no_address_is_asked_for_while_one_is_given_back() {
    let mut world = settled();
    world.ledger.strays.insert(AddressId::new("stuck"));
    let record = world.ledger.machines.get_mut("ims-bono-0").unwrap();
    let had = record.public_address.take().unwrap();
    world.inventory.addresses.remove(&had.id);
    let (plan, sent) = world.round();
    let commands = sent.iter().map(|step| step.action.command());
    let commands: Vec<&str> = commands
        .filter(|command| command.ends_with("IpAddress"))
        .collect();
    assert_eq!(commands, ["disassociateIpAddress"]);
    let wait = plan
        .waits
        .iter()
        .find(|wait| wait.subject == "address ims-bono-0");
    assert_eq!(wait.unwrap().reason, "WaitingOnAddress");
    let taken = world.settle();
    let taken = taken
        .iter()
        .filter(|step| step.starts_with("associateIpAddress"));
    assert_eq!(taken.count(), 1);
}

#[test]
fn a_stuck_address_is_given_back_until_no_list_of_stuck_ones_shows_it() {
    let mut world = settled();
    let stuck = AddressId::new("stuck");
    world.ledger.strays.insert(stuck.clone());
    let (_, sent) = world.round();
    assert!(
        matches!(&sent[..], [Step { action: Action::ReleaseAddress { address }, .. }] if *address == stuck),
        "{sent:?}"
    );
    // The controller was killed before it could be sent: no ordinary list shows the address, and
    // that must not be taken for the effect.
    let lost = world.ledger.pending[0].job.clone();
    world.now += SignedDuration::from_secs(60);
    let unknown = Answer::Job(JobOutcome::Unknown);
    world.answers.insert(Question::Job(lost), unknown);
    let (_, again) = world.round();
    assert_eq!(again.len(), 1, "{again:?}");
    world.settle();
    assert!(world.ledger.strays.is_empty());
    world.ledger.strays.insert(stuck);
    let gone = Answer::Addresses(Vec::new());
    for _ in 0..2 {
        assert!(!world.ledger.strays.is_empty(), "one look is not two");
        world.now += SignedDuration::from_secs(60);
        world.answers.insert(Question::StuckAddresses, gone.clone());
        let (_, steps) = world.round();
        assert!(steps.is_empty(), "{steps:?}");
    }
    assert!(world.ledger.strays.is_empty());
}

#[test]
fn an_address_that_serves_is_found_again_although_another_was_taken_for_it() {
    let mut world = settled();
    let record = world.ledger.machines.get_mut("ims-bono-0").unwrap();
    let serves = record.public_address.clone().unwrap();
    let mut row = world.inventory.addresses[&serves.id].clone();
    row.id = AddressId::new("taken");
    row.ip = "198.51.100.99".parse().unwrap();
    row.vm = None;
    record.public_address = Some(PublicAddress {
        id: row.id.clone(),
        ip: row.ip,
        cleaned: true,
        leased: None,
    });
    world.inventory.addresses.insert(row.id.clone(), row);
    let sent = world.settle();
    assert!(
        sent.iter()
            .any(|step| step.starts_with("disassociateIpAddress")),
        "{sent:?}"
    );
    assert!(
        !sent.iter().any(|step| step.contains("StaticNat")),
        "{sent:?}"
    );
    assert_eq!(
        world.ledger.machines["ims-bono-0"].public_address,
        Some(serves)
    );
}

#[test]
fn an_address_that_came_back_as_another_machines_is_not_taken_for_the_lost_one() {
    let mut world = settled();
    let lost = world.ledger.machines["ims-bono-0"].public_address.clone();
    let address = lost.clone().expect("bono has an address");
    let stands_for = Lost {
        have: "released".to_owned(),
        id: address.id.to_string(),
        explained: true,
        since: world.now,
    };
    let subject = "address ims-bono-0".to_owned();
    world.ledger.lost.insert(subject, stands_for);
    let bono = world.ledger.machines.get_mut("ims-bono-0").unwrap();
    bono.public_address = None;
    bono.lost_address = Some(address.ip);
    let ellis = world.ledger.machines.get_mut("ims-ellis-0").unwrap();
    let former = ellis.public_address.replace(address.clone()).unwrap();
    world.inventory.addresses.remove(&former.id);
    let row = world.inventory.addresses.get_mut(&address.id).unwrap();
    row.vm = ellis.vm.clone();
    world.settle();
    assert_eq!(world.ledger.machines["ims-ellis-0"].public_address, lost);
    let other = &world.ledger.machines["ims-bono-0"].public_address;
    assert!(other.is_some() && *other != lost, "{other:?}");
}

#[test]
fn an_address_that_two_machines_were_given_stays_the_first_ones() {
    let mut world = settled();
    let address = world.ledger.machines["ims-bono-0"].public_address.clone();
    let ellis = world.ledger.machines.get_mut("ims-ellis-0").unwrap();
    ellis.public_address = address.clone();
    world.settle();
    assert_eq!(world.ledger.machines["ims-bono-0"].public_address, address);
    assert_ne!(world.ledger.machines["ims-ellis-0"].public_address, address);
}

#[test]
fn an_address_given_back_as_a_stray_and_handed_out_again_stays_its_machines() {
    let mut world = settled();
    let had = world.ledger.machines["ims-bono-0"].public_address.clone();
    let address = had.clone().expect("bono has an address").id;
    world.ledger.strays.insert(address.clone());
    let release = Step::new(
        format!("stray {address}"),
        Action::ReleaseAddress { address },
        "no machine has it",
    );
    let job = JobId::new("release");
    settle::commit(&mut world.ledger, &[release], || job.clone(), world.now);
    let ended = Answer::Job(JobOutcome::Succeeded { resource: None });
    world.answers.insert(Question::Job(job), ended);
    assert_eq!(world.settle(), Vec::<String>::new());
    assert!(world.ledger.strays.is_empty());
    assert_eq!(world.ledger.machines["ims-bono-0"].public_address, had);
}

#[test]
fn what_a_list_lacks_is_not_taken_for_deleted_before_its_job_says_so() {
    let mut world = settled();
    let ledger = world.ledger.clone();
    let (vpc, tier) = (ledger.vpc.clone().unwrap(), ledger.tier.clone().unwrap());
    let address = ledger.machines["ims-bono-0"]
        .public_address
        .clone()
        .unwrap();
    let deletes = [
        ("vpc", Action::DeleteVpc { vpc: vpc.clone() }),
        ("tier", Action::DeleteTier { tier: tier.clone() }),
        ("address ims-bono-0", {
            let address = address.id.clone();
            Action::ReleaseAddress { address }
        }),
    ];
    world.inventory.vpcs.clear();
    world.inventory.networks.clear();
    world.inventory.addresses.clear();
    world.inventory.index();
    for (subject, action) in deletes {
        let step = Step::new(subject, action, "a delete");
        let job = JobId::new(subject);
        world.ledger = ledger.clone();
        settle::commit(&mut world.ledger, &[step], || job.clone(), world.now);
        let failed = JobOutcome::Failed {
            code: 530,
            text: "not today".to_owned(),
            resource: None,
        };
        let failed = Answer::Job(failed);
        world.answers = Answers::from([(Question::Job(job), failed)]);
        let plan = plan(world.input(&None::default()));
        assert!(plan.ledger.failures.contains_key(subject), "{subject}");
        assert_eq!(plan.ledger.vpc.as_ref(), Some(&vpc), "{subject}");
        assert_eq!(plan.ledger.tier.as_ref(), Some(&tier), "{subject}");
        let bono = &plan.ledger.machines["ims-bono-0"];
        assert_eq!(bono.public_address.as_ref(), Some(&address), "{subject}");
    }
}
