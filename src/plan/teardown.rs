//! Taking a stack down: VMs and addresses side by side, then the tier, the ACL list, the VPC.
//!
//! The same loop with nothing desired: each round does what can be done next, and the stack is
//! let go when a look finds nothing of it, not when a destroy was accepted.

use super::{MachineView, Planner, Step};
use crate::types::{
    action::{Action, Question},
    machine::Phase,
    stack::{DeletionMode, DeletionPolicy, VpcSpec},
};

impl Planner<'_> {
    pub(super) fn teardown(&mut self) {
        if self.spec().deletion_protection {
            let message = "spec.deletionProtection was set while the stack is being deleted: what \
                           is left stays as it is, and goes once it is false";
            self.blocked("stack", "DeletionProtected", message);
            self.tell_machines("its stack was being deleted and is protected now");
            return;
        }
        let policy = &self.spec().deletion_policy;
        if *policy == DeletionPolicy::All(DeletionMode::Orphan) {
            self.plan.ledger = crate::types::ledger::Ledger::default();
            return;
        }
        let keep_network = matches!(policy, DeletionPolicy::Keep { .. });
        self.retire_all();
        self.give_back_the_missed();
        self.release_strays();
        if self.machines_left() {
            return;
        }
        self.delete_affinity_groups();
        if keep_network {
            let ledger = &mut self.plan.ledger;
            (ledger.vpc, ledger.acl, ledger.tier) = (None, None, None);
            return;
        }
        if self.delete_tier() && self.delete_acl() {
            self.delete_vpc();
        }
    }

    fn retire_all(&mut self) {
        for record in self.plan.ledger.machines.values_mut() {
            record.retiring = true;
        }
        self.retire();
        self.tell_machines("its stack is being deleted");
    }

    fn tell_machines(&mut self, message: &str) {
        for name in self.plan.ledger.machines.keys() {
            let view = MachineView::of(Phase::Deleting, message.to_owned());
            self.plan.machines.insert(name.clone(), view);
        }
    }

    /// Whether machines, or commands on them, are still there.
    fn machines_left(&mut self) -> bool {
        let ledger = &self.plan.ledger;
        let left = ledger.machines.len();
        if left > 0 {
            self.wait(
                "tier",
                "WaitingOnMachines",
                format!("{left} machines are still to go"),
            );
        }
        left > 0
    }

    fn delete_affinity_groups(&mut self) {
        for (role, group) in self.plan.ledger.affinity_groups.clone() {
            let action = Action::DeleteAffinityGroup { group };
            self.step(Step::new(
                format!("affinity {role}"),
                action,
                "the stack is being deleted",
            ));
        }
    }

    /// Whether the tier is gone.
    fn delete_tier(&mut self) -> bool {
        let Some(tier) = self.plan.ledger.tier.clone() else {
            return self.plan.ledger.pending_on("tier").is_none();
        };
        if !self.input.inventory.networks.contains_key(&tier) {
            let gone = self.is_gone("tier", Question::Tier(tier));
            if gone {
                self.plan.ledger.tier = None;
            }
            return gone;
        }
        let strangers = self.strangers_in(&tier);
        if !strangers.is_empty() {
            let message = format!(
                "the tier holds VMs that are not Weir's ({}); move or destroy them, or set \
                 spec.deletionPolicy to {{network: Retain}}",
                strangers.join(", ")
            );
            self.blocked("tier", "NotEmpty", message);
            return false;
        }
        let action = Action::DeleteTier { tier };
        let added = self.step(Step::new("tier", action, "the stack is being deleted"));
        if !added {
            self.tell_what_holds_the_tier();
        }
        false
    }

    fn strangers_in(&self, tier: &crate::types::id::NetworkId) -> Vec<String> {
        // Weir's own are gone by now; one that only carries its mark is somebody else's.
        let others = self
            .input
            .inventory
            .vms_in_network(tier)
            .filter(|vm| !vm.state.dead());
        others.map(|vm| vm.name.clone()).collect()
    }

    fn tell_what_holds_the_tier(&mut self) {
        let held = self
            .plan
            .ledger
            .failures
            .get("tier")
            .is_some_and(|failure| failure.reason == "TierHeld");
        if !held || self.input.catalogue.rights.expunge {
            return;
        }
        let now = self.input.now;
        let until = self.plan.ledger.tier_held_until;
        let until = *self
            .plan
            .ledger
            .tier_held_until
            .insert(until.unwrap_or(now + super::settle::PURGED_WITHIN));
        let message = format!(
            "destroyed VMs hold the tier until CloudStack purges them, by {} at the latest; this \
             account may not expunge them. Weir keeps trying; an administrator can expunge them, \
             or set spec.deletionPolicy to {{network: Retain}} to let the network stay",
            until.strftime("%Y-%m-%d %H:%M UTC")
        );
        self.blocked("tier", "TierHeld", message);
    }

    /// Whether the ACL list is gone, or goes with its VPC.
    fn delete_acl(&mut self) -> bool {
        let Some(acl) = self.plan.ledger.acl.clone() else {
            return self.plan.ledger.pending_on("acl").is_none();
        };
        if let VpcSpec::Owned { .. } = self.spec().network.vpc {
            return true;
        }
        self.step(Step::new(
            "acl",
            Action::DeleteAclList { acl },
            "the stack is being deleted",
        ));
        false
    }

    fn delete_vpc(&mut self) {
        let Some(vpc) = self.plan.ledger.vpc.clone() else {
            return;
        };
        if !self.input.inventory.vpcs.contains_key(&vpc) {
            if self.is_gone("vpc", Question::Vpc(vpc)) {
                self.plan.ledger.vpc = None;
                self.plan.ledger.acl = None;
            }
            return;
        }
        self.step(Step::new(
            "vpc",
            Action::DeleteVpc { vpc },
            "the stack is being deleted",
        ));
    }
}
