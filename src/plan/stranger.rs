//! What is somebody else's: in the stack's network, where it is never touched and told once; and
//! a stack of the same name, beside which none is built.

use super::Planner;
use crate::types::{
    action::{Action, mark},
    inventory::{Address, Vm},
    stack::{ALLOWED_NAMESAKE, VpcSpec},
};

impl Planner<'_> {
    /// Why the stack is not built, where the account has a living stack of the same name: of
    /// another Weir, of another namespace, or this one's own from before its state was lost. A
    /// stack of which something ran already goes on; of two that begin at once, the one with the
    /// lower uid does.
    pub(super) fn namesake(&self) -> Option<String> {
        let mut records = self.plan.ledger.machines.values();
        if records.any(|record| record.started_at.is_some()) {
            return None;
        }
        let begun = self
            .plan
            .ledger
            .machines
            .values()
            .any(|record| record.vm.is_some());
        let stack = &self.input.stack.metadata;
        let allowed = stack.annotations.get(ALLOWED_NAMESAKE).map(String::as_str);
        let inventory = self.input.inventory;
        let vpcs = inventory
            .vpcs
            .iter()
            .map(|(id, vpc)| (format!("VPC {id}"), &vpc.display_text));
        let tiers = inventory.networks.iter();
        let tiers = tiers.map(|(id, tier)| (format!("tier {id}"), &tier.display_text));
        vpcs.chain(tiers).find_map(|(what, text)| {
            let (namespace, name, uid) = mark::stack_in(text)?;
            let alive = || inventory.vms_of_stack(&uid).any(|vm| !vm.state.dead());
            let other = name == stack.name && uid != *self.uid && allowed != Some(uid.as_str());
            (other && (!begun || uid < *self.uid) && alive()).then(|| {
                format!(
                    "{what} holds VMs of another stack {namespace}/{name} (uid {uid}): of another \
                     Weir, of another namespace, or of this stack before its state was lost. To \
                     build a second one beside it, rename this stack, or set its annotation \
                     {ALLOWED_NAMESAKE} to {uid}; else restore the state, or remove those resources"
                )
            })
        })
    }

    /// Says once what in the stack's network is somebody else's.
    pub(super) fn strangers(&mut self) {
        let found: Vec<(String, String)> =
            self.strange_vms().chain(self.strange_addresses()).collect();
        for (id, what) in &found {
            if self.plan.ledger.told.insert(id.clone()) {
                let message = format!("{what} is not Weir's: left alone");
                self.warn("tier", "NotOurs", message);
            }
        }
        let inventory = self.input.inventory;
        self.plan.ledger.told.retain(|id| {
            found.iter().any(|(there, _)| there == id)
                || inventory.vms.keys().any(|vm| vm.as_str() == id)
                || inventory
                    .addresses
                    .keys()
                    .any(|address| address.as_str() == id)
        });
    }

    fn strange_vms(&self) -> impl Iterator<Item = (String, String)> {
        let tier = self.plan.ledger.tier.as_ref();
        tier.into_iter()
            .flat_map(|tier| self.input.inventory.vms_in_network(tier))
            .filter(|vm| self.is_strange_vm(vm))
            .map(|vm| {
                let what = format!("VM {} ({}) in the stack's tier", vm.name, vm.id);
                (vm.id.to_string(), what)
            })
    }

    /// Neither recorded, nor about to be, nor just destroyed by Weir.
    fn is_strange_vm(&self, vm: &Vm) -> bool {
        let ledger = &self.plan.ledger;
        let intent = vm.intent();
        let expected = ledger.pending.iter().any(|pending| {
            pending.resource.as_deref() == Some(vm.id.as_str())
                || intent.is_some_and(|job| pending.job.as_str() == job)
        });
        !ledger.knows_vm(&vm.id) && !vm.state.dead() && !expected
    }

    fn strange_addresses(&self) -> impl Iterator<Item = (String, String)> {
        let rows = self
            .any_vpc()
            .map(|vpc| self.input.inventory.addresses_of(&vpc).collect::<Vec<_>>());
        let rows = rows.unwrap_or_default().into_iter();
        rows.filter(|row| self.is_strange_address(row)).map(|row| {
            let what = format!(
                "public address {} ({}) in the stack's network",
                row.ip, row.id
            );
            (row.id.to_string(), what)
        })
    }

    /// In a VPC of somebody else's, only what leads into our tier is told.
    fn is_strange_address(&self, row: &Address) -> bool {
        let ledger = &self.plan.ledger;
        let near = match self.spec().network.vpc {
            VpcSpec::Owned { .. } => true,
            VpcSpec::Existing { .. } => row.tier.is_some() && row.tier == ledger.tier,
        };
        let mut records = ledger.machines.values();
        let recorded = ledger.strays.contains(&row.id)
            || records.any(|record| record.holds(&row.id) || record.lost_address == Some(row.ip));
        // Any could be the one that an unanswered request was given.
        let asked = |action: &Action| matches!(action, Action::AssociateAddress { .. });
        let expected = ledger.pending.iter().any(|pending| asked(&pending.action));
        near && !row.source_nat && !recorded && !expected
    }
}
