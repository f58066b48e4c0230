//! What must never be, looked for after every write of the controller.

use std::{collections::BTreeMap, sync::Arc};

use weir::{
    sim::world::{Vm, VmState, World},
    types::action::mark,
};

use crate::kill::audit::Strangers;

use super::doom::Watchman;

/// VM records that may be there at once: seven machines after a scale-up, one of surge, three.
const RECORDS_MAX: usize = 7 + 1 + 3;

/// Watches over what these strangers have, and over what the controller makes.
pub(super) fn watchman(strangers: &Arc<Strangers>) -> Watchman {
    let strangers = Arc::clone(strangers);
    Arc::new(move |sim| sim.world(|world| wrong(world, &strangers)))
}

/// What is wrong in a world.
pub(crate) fn wrong(world: &World, strangers: &Strangers) -> Vec<String> {
    let mut wrong = strangers.changed_in(world);
    let spare = |vm: &&Vm| strangers.spare(&vm.id, &vm.account) && !vm.state.is_gone();
    let ours: Vec<&Vm> = world.vms.values().filter(spare).collect();
    if ours.len() > RECORDS_MAX {
        wrong.push(format!("{} VM records, {RECORDS_MAX} may be", ours.len()));
    }
    let mut living: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    let mut nat: BTreeMap<&str, u32> = BTreeMap::new();
    for vm in &ours {
        let lives = matches!(vm.state, VmState::Running | VmState::Starting);
        if let (true, Some(machine)) = (lives, vm.details.get(mark::MACHINE)) {
            living.entry(machine).or_default().push(&vm.id);
        }
    }
    for (machine, vms) in living {
        if vms.len() > 1 {
            wrong.push(format!("{machine} lives in {vms:?}"));
        }
    }
    for address in world.addresses.values() {
        if let Some(led) = &address.static_nat {
            *nat.entry(&led.vm).or_default() += 1;
        }
    }
    for (vm, addresses) in nat {
        if addresses > 1 {
            wrong.push(format!("{addresses} addresses lead to {vm}"));
        }
    }
    wrong
}
