//! What needs a person: a change of the manifest that destroys many machines.

use std::collections::{BTreeMap, BTreeSet};

use super::{MachineView, Planner, fingerprint};
use crate::types::{id::VmId, inventory::VmState, machine::Phase, stack::APPROVED_PLAN};

/// Names that a sentence lists at most.
const LISTED: usize = 10;

impl Planner<'_> {
    /// Machines that the manifest does not want and that stay until somebody has approved that so
    /// many are destroyed. What was approved, or needed no approval, is under way and goes on.
    pub(super) fn kept_for_approval(&mut self, wished: &BTreeSet<&str>) -> BTreeSet<String> {
        let machines = self.plan.ledger.machines.iter();
        let unwished =
            machines.filter(|(name, record)| !record.retiring && !wished.contains(name.as_str()));
        let doomed: BTreeMap<String, VmId> = unwished
            .filter_map(|(name, record)| Some((name.clone(), record.vm.clone()?)))
            .collect();
        let most = self.spec().update.max_destroys as usize;
        if doomed.len() <= most {
            return BTreeSet::new();
        }
        let plan = plan_hash(&doomed);
        let stack = &self.input.stack.metadata;
        if stack.annotations.get(APPROVED_PLAN) == Some(&plan) {
            return BTreeSet::new();
        }
        let name = stack.name.clone();
        let message = format!(
            "the manifest no longer wants {} machines, more than spec.update.maxDestroys lets go \
             without a word ({most}): {}. `weir approve {name} {plan}` destroys them; to keep them, \
             put the manifest right",
            doomed.len(),
            listed(&doomed)
        );
        self.blocked("machines", "ApprovalRequired", message);
        for machine in doomed.keys() {
            self.tell_kept(machine, &plan);
        }
        doomed.into_keys().collect()
    }

    fn tell_kept(&mut self, name: &str, plan: &str) {
        let record = &self.plan.ledger.machines[name];
        let vm = record.vm.as_ref();
        let vm = vm.and_then(|vm| self.input.inventory.vms.get(vm));
        let ready = self.ready(name, record);
        let runs = vm.is_some_and(|vm| vm.state == VmState::Running);
        let view = MachineView {
            phase: if runs {
                Phase::Running
            } else {
                Phase::Unhealthy
            },
            vm_state: vm.map(|vm| vm.state.word().to_owned()),
            ready,
            updated: false,
            message: format!("no longer wanted; stays until plan {plan} is approved"),
        };
        self.plan.machines.insert(name.to_owned(), view);
    }
}

/// What an approval is given for: these VMs and no others, so that it is given once.
fn plan_hash(doomed: &BTreeMap<String, VmId>) -> String {
    let vms: Vec<&str> = doomed.values().map(VmId::as_str).collect();
    format!("{:08x}", fingerprint(vms.join(" ")))
}

fn listed(doomed: &BTreeMap<String, VmId>) -> String {
    let shown: Vec<&str> = doomed.keys().take(LISTED).map(String::as_str).collect();
    match doomed.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}
