//! How many records, how long patient, how much at once.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;

use super::{None, World, settled};
use crate::{
    plan::{Health, Input, Plan, Step, check, plan},
    types::{
        action::{Action, mark},
        id::{JobId, VmId},
        inventory::VmState,
        ledger::{Former, Remediation, Rung},
        stack::ClearwaterStack,
    },
};

const MACHINE: &str = "ims-sprout-0";

impl World {
    /// A machine without a VM, and so many wrecks of deploys, of each machine in turn.
    fn wrecked(wrecks: usize) -> Self {
        let names: Vec<String> = settled().ledger.machines.keys().cloned().collect();
        Self::wrecked_by(&names, wrecks)
    }

    /// A machine without a VM, and so many wrecks of deploys of the named machines in turn.
    fn wrecked_by(names: &[String], wrecks: usize) -> Self {
        let mut world = settled();
        let gone = world.vm_id(MACHINE);
        let row = world.inventory.vms.remove(&gone).unwrap();
        world.ledger.machines.get_mut(MACHINE).unwrap().vm = None;
        for (number, name) in names.iter().cycle().take(wrecks).enumerate() {
            let record = world.ledger.machines.get_mut(name).unwrap();
            let mut wreck = row.clone();
            wreck.id = VmId::new(format!("wreck-{number}"));
            (wreck.state, wreck.nics) = (VmState::Error, Vec::new());
            record.parts_with(wreck.id.clone(), "a refused deploy left it", world.now);
            world.inventory.vms.insert(wreck.id.clone(), wreck);
        }
        world.inventory.index();
        world
    }

    fn plan(&self, health: &BTreeMap<String, Health>) -> Plan {
        let none = None::default();
        plan(Input {
            health,
            ..self.input(&none)
        })
    }

    fn deploys(&self) -> bool {
        let plan = self.plan(&BTreeMap::new());
        let mut steps = plan.steps.iter();
        steps.any(|step| matches!(step.action, Action::DeployVm(_)))
    }

    /// The stack with a probe for each of its machines.
    fn probed(mut self) -> Self {
        let mut stack = serde_json::to_value(&self.stack).unwrap();
        let probe = json!({"probe": {"kind": "TCP", "port": 5060}});
        let components = ["bono", "sprout", "homestead", "ellis"].map(|role| (role, probe.clone()));
        let components: serde_json::Value = components.into_iter().collect();
        json_patch::merge(&mut stack, &json!({"spec": {"components": components}}));
        self.stack = serde_json::from_value::<ClearwaterStack>(stack).unwrap();
        self.inventory.index();
        self
    }

    fn failing(&self, machines: usize) -> BTreeMap<String, Health> {
        let mut health = BTreeMap::new();
        for (place, name) in self.ledger.machines.keys().enumerate() {
            let (since, why) = (self.now, "refused".to_owned());
            let failing = Health::Failing { since, why };
            let verdict = if place < machines {
                failing
            } else {
                Health::Serving
            };
            health.insert(name.clone(), verdict);
        }
        health
    }
}

/// Five machines, a surge of one and three more.
const CAP: usize = 5 + 1 + 3;

#[test]
fn a_vm_is_made_up_to_the_cap_and_none_beyond() {
    assert!(World::wrecked(CAP - 4 - 1).deploys());
    let world = World::wrecked(CAP - 4);
    assert!(!world.deploys());
    let plan = world.plan(&BTreeMap::new());
    let blocked = plan
        .blocked
        .iter()
        .find(|wait| wait.reason == "TooManyRecords");
    assert!(
        blocked
            .unwrap()
            .message
            .contains("9 VM records for 5 machines"),
        "{blocked:?}"
    );
}

#[test]
fn the_second_opinion_has_the_same_cap() {
    let mut world = World::wrecked(CAP - 4 - 1);
    let plan = world.plan(&BTreeMap::new());
    let none = None::default();
    let (_, refused) = check::check(&plan, world.input(&none));
    assert_eq!(refused, []);
    let mut one_more = world.inventory.vms[&VmId::new("wreck-0")].clone();
    one_more.id = VmId::new("one-more");
    let mut plan = plan;
    let record = plan.ledger.machines.get_mut(MACHINE).unwrap();
    record.former.push(Former {
        vm: one_more.id.clone(),
        ..record.former[0].clone()
    });
    world.inventory.vms.insert(one_more.id.clone(), one_more);
    world.inventory.index();
    let (_, refused) = check::check(&plan, world.input(&none));
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert!(matches!(refused[0].step.action, Action::DeployVm(_)));
}

#[test]
fn copies_of_a_mark_take_no_room() {
    let mut world = World::wrecked(CAP - 4 - 1);
    let other = world.vm_id("ims-bono-0");
    let deploy = JobId::new("made-bono");
    let record = world.ledger.machines.get_mut("ims-bono-0").unwrap();
    record.deploys.push(deploy.clone());
    record.made.insert(deploy.clone(), other.clone());
    for number in 0..2 {
        let mut copy = world.inventory.vms[&other].clone();
        copy.id = VmId::new(format!("copy-{number}"));
        copy.details
            .insert(mark::INTENT.to_owned(), deploy.to_string());
        world.inventory.vms.insert(copy.id.clone(), copy);
    }
    world.inventory.index();
    let plan = world.plan(&BTreeMap::new());
    let none = None::default();
    let (checked, refused) = check::check(&plan, world.input(&none));
    assert_eq!(refused, []);
    let deploys = |step: &Step| matches!(step.action, Action::DeployVm(_));
    assert!(
        checked.iter().any(|step| deploys(step.step())),
        "{:?}",
        plan.blocked
    );
}

#[test]
fn one_machine_that_makes_wrecks_leaves_room_for_the_others() {
    let own = [MACHINE.to_owned()];
    assert!(World::wrecked_by(&own, 2).deploys());
    let world = World::wrecked_by(&own, 3);
    assert!(!world.deploys());
    let blocked = world.plan(&BTreeMap::new()).blocked;
    assert!(
        blocked[0].message.contains("the machine has 3 VM records"),
        "{blocked:?}"
    );
    // The planner's step, and one more wreck by the time that it is checked.
    let mut world = World::wrecked_by(&own, 2);
    let mut plan = world.plan(&BTreeMap::new());
    let third = World::wrecked_by(&own, 3);
    plan.ledger = third.ledger.clone();
    world.inventory = third.inventory;
    let none = None::default();
    let (_, refused) = check::check(&plan, world.input(&none));
    assert_eq!(refused.len(), 1, "{refused:?}");
}

/// Remediations of a machine, one a minute, the last now.
fn tries(world: &World, count: u64) -> Vec<Remediation> {
    let at = |number| world.now - Duration::from_secs(60 * number);
    let one = |number| Remediation {
        rung: Rung::Start,
        at: at(number),
        reason: "VM is Stopped and should run".to_owned(),
    };
    (0..count).rev().map(one).collect()
}

#[test]
fn a_role_has_a_budget_of_its_own_and_so_has_the_stack() {
    // Two machines of sprout: 6 and twice 2 an hour. Five machines: twice 6 and 5.
    for (on_the_other, on_ellis, reason) in [
        (5, 4_u64, ""),
        (10, 0, "RoleRemediationExhausted"),
        (5, 11, "StackRemediationExhausted"),
        (5, 12, "StackRemediationExhausted"),
    ] {
        let mut world = settled();
        world.vm(MACHINE).state = VmState::Stopped;
        for (name, count) in [
            (MACHINE, 0),
            ("ims-sprout-1", on_the_other),
            ("ims-ellis-0", on_ellis.min(6)),
            ("ims-bono-0", on_ellis.saturating_sub(6)),
            ("ims-homestead-0", 1),
        ] {
            let tries = tries(&world, count);
            world.ledger.machines.get_mut(name).unwrap().remediations = tries;
        }
        let plan = world.plan(&BTreeMap::new());
        let blocked: Vec<_> = plan.blocked.iter().map(|wait| wait.reason).collect();
        let starts = plan.steps.len();
        let case = format!("{on_the_other} {on_ellis}: {blocked:?} {:?}", plan.steps);
        match reason {
            "" => assert_eq!((starts, blocked.len()), (1, 0), "{case}"),
            reason => assert_eq!((starts, blocked.as_slice()), (0, &[reason][..]), "{case}"),
        }
        world.now += Duration::from_secs(3600);
        assert_eq!(world.plan(&BTreeMap::new()).steps.len(), 1, "an hour later");
    }
}

#[test]
fn a_machine_that_is_destroyed_again_and_again_gets_no_more_vms_than_its_budget() {
    let mut world = World::new(&json!({"bono": {"replicas": 1}}));
    world.settle();
    let mut deploys = 0;
    for _ in 0..20 {
        let id = world.vm_id("ims-bono-0");
        world.inventory.vms.remove(&id);
        for _ in 0..10 {
            let (_, steps) = world.round();
            let made = |step: &&Step| matches!(step.action, Action::DeployVm(_));
            deploys += steps.iter().filter(made).count();
        }
    }
    assert_eq!(deploys, 6);
    let (plan, _) = world.round();
    assert_eq!(plan.blocked[0].reason, "RemediationExhausted");
}

#[test]
fn what_is_dead_or_a_strangers_does_not_count() {
    let mut world = World::wrecked(CAP - 4);
    for vm in world.inventory.vms.values_mut().filter(|vm| vm.is_wreck()) {
        vm.state = VmState::Destroyed;
    }
    world.inventory.index();
    assert!(world.deploys());
    let mut world = World::wrecked(0);
    for number in 0..2 * CAP {
        let mut copy = world.vm("ims-sprout-1").clone();
        copy.id = VmId::new(format!("copy-{number}"));
        copy.name = format!("copy-{number}");
        copy.nics.clear();
        copy.details.remove(mark::INTENT);
        world.inventory.vms.insert(copy.id.clone(), copy);
    }
    world.inventory.index();
    assert!(world.deploys());
}

#[test]
fn a_machine_that_never_served_keeps_its_time_when_its_probes_begin_anew() {
    let mut world = settled().probed();
    let begun = world.now;
    world.now += Duration::from_secs(300);
    // As after a restart of the controller: failing, as far as anybody knows, since now.
    let health = world.failing(1);
    world.now += Duration::from_secs(120);
    let plan = world.plan(&health);
    assert!(plan.steps.is_empty(), "{:?}", plan.steps);
    let failing = plan.machines.values().find(|view| !view.ready).unwrap();
    let until = begun + Duration::from_secs(1200);
    let until = until.strftime("patience until %H:%M:%S UTC").to_string();
    assert!(failing.message.contains(&until), "{failing:?}");
    for record in world.ledger.machines.values_mut() {
        record.served_at = Some(begun);
    }
    let plan = world.plan(&health);
    assert!(
        matches!(plan.steps[0].action, Action::RebootVm { .. }),
        "{:?}",
        plan.steps
    );
}

#[test]
fn machines_that_are_still_starting_do_not_look_dead() {
    let mut world = settled().probed();
    let health = world.failing(5);
    world.now += Duration::from_secs(300);
    assert_eq!(world.plan(&health).held_back, Option::None);
    for record in world.ledger.machines.values_mut() {
        record.served_at = Some(record.started_at.unwrap());
    }
    assert!(world.plan(&health).held_back.is_some());
}
