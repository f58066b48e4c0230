//! How many records, how long patient, how much at once.

use std::{collections::BTreeMap, time::Duration};

use serde_json::json;

use super::{None, World, settled};
use crate::{
    plan::{Health, Input, Plan, check, plan},
    types::{
        action::{Action, mark},
        id::VmId,
        inventory::VmState,
        ledger::Former,
        stack::ClearwaterStack,
    },
};

const MACHINE: &str = "ims-sprout-0";

impl World {
    /// A machine without a VM, and so many wrecks of its deploys.
    fn wrecked(wrecks: usize) -> Self {
        let mut world = settled();
        let gone = world.vm_id(MACHINE);
        let row = world.inventory.vms.remove(&gone).unwrap();
        let record = world.ledger.machines.get_mut(MACHINE).unwrap();
        record.vm = None;
        for number in 0..wrecks {
            let mut wreck = row.clone();
            wreck.id = VmId::new(format!("wreck-{number}"));
            (wreck.state, wreck.nics) = (VmState::Error, Vec::new());
            record.former.push(Former {
                vm: wreck.id.clone(),
                reason: "a refused deploy left it".to_owned(),
                since: world.now,
            });
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
