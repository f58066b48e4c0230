//! A machine whose VM runs: put right, healed, or changed when its role can spare it.

use super::Case;
use crate::{
    plan::{
        Health, MachineView, Planner, Step,
        remedy::{Exhausted, Remedy},
    },
    types::{action::Action, inventory::Vm, ledger::Rung, machine::Phase, stack::DriftField},
};

impl Planner<'_> {
    pub(super) fn running(&mut self, case: &Case<'_>, vm: &Vm) -> MachineView {
        let name = &case.wish.name;
        let now = self.input.now;
        let health = self.input.health.get(name);
        if let Some(record) = self.plan.ledger.machines.get_mut(name) {
            record.started_at.get_or_insert(now);
            if health == Some(&Health::Serving) {
                record.served_at.get_or_insert(now);
            }
        }
        let view = MachineView::of;
        if let Some(message) = self.correct(case, vm) {
            return view(Phase::Running, message);
        }
        // A change of the manifest goes ahead of the ladder, its patience and its budget: it may be
        // what heals the machine, and a bad change must never stand in the way of a good one.
        let failing = matches!(health, Some(Health::Failing { .. }));
        let held = failing && self.plan.held_back.is_some() && self.was_in_sync(&case.subject);
        let change = if held { None } else { self.disrupt(case, vm) };
        match change {
            Some(message) if self.disrupted(name) => return view(Phase::Updating, message),
            Some(message) => return view(Phase::Running, message),
            None => {}
        }
        if let Some(health) = health
            && let Some(remedy) = self.remedy_unhealthy(&case.record, health)
        {
            return self.heal(case, vm, remedy);
        }
        if let Some(record) = self.plan.ledger.machines.get_mut(name) {
            record.updating = false;
        }
        let later = self.later(case, vm);
        if health.is_none() && self.probed(case.wish.role) {
            return view(Phase::Starting, "has not been probed yet".to_owned());
        }
        view(Phase::Running, later)
    }

    /// Whether this plan takes the machine away.
    fn disrupted(&self, name: &str) -> bool {
        self.plan
            .steps
            .iter()
            .any(|step| step.disrupts.as_deref() == Some(name))
    }

    /// What takes effect only at the next stop or image, for people. A VM changes its affinity group
    /// while it is stopped, which is not worth a stop: it is no drift that anybody works at, unless it
    /// is to be told only.
    fn later(&mut self, case: &Case<'_>, vm: &Vm) -> String {
        let groups = self.groups(case.wish);
        let mut image = case.record.image.iter();
        let mut later = Vec::new();
        if vm.affinity_groups != groups.into_iter().collect() {
            let field = DriftField::AffinityGroup;
            if self.may_repair(field) {
                later.push("its affinity group changes at its next stop");
            } else {
                let drift =
                    self.difference(&case.subject, field, "its role's group", "another or none");
                self.drift(drift.of(&vm.id));
            }
        }
        if image.any(|image| !case.images_to(&image.user_data)) {
            later.push("its new user data takes effect with its next image");
        }
        self.in_sync();
        later.join("; ")
    }

    pub(super) fn heal(&mut self, case: &Case<'_>, vm: &Vm, remedy: Remedy) -> MachineView {
        let view = MachineView::of;
        let (rung, reason) = match remedy {
            Remedy::Patience(message) if case.record.served_at.is_none() => {
                return view(Phase::Starting, message);
            }
            Remedy::Patience(message) => return view(Phase::Unhealthy, message),
            Remedy::Exhausted(exhausted) => return self.beyond_budget(case, exhausted),
            Remedy::Take(rung, reason) => (rung, reason),
        };
        let drift = self
            .difference(&case.subject, DriftField::Health, "serving", &reason)
            .of(&vm.id);
        self.subject = Default::default();
        if !self.drift(drift) {
            return view(Phase::Unhealthy, reason);
        }
        if let Some(why) = self.plan.held_back.clone() {
            return view(Phase::Unhealthy, why);
        }
        self.take_rung(case, vm, rung, &reason);
        view(Phase::Repairing, format!("{}: {reason}", rung.name()))
    }

    /// A machine for which nothing more is done within the hour.
    pub(super) fn beyond_budget(&mut self, case: &Case<'_>, exhausted: Exhausted) -> MachineView {
        let Exhausted { reason, message } = exhausted;
        self.blocked(&case.subject, reason, message.clone());
        MachineView::of(Phase::Unhealthy, message)
    }

    /// Takes a rung of the ladder.
    pub(super) fn take_rung(&mut self, case: &Case<'_>, vm: &Vm, rung: Rung, reason: &str) {
        let id = vm.id.clone();
        let action = match rung {
            Rung::Start => Action::StartVm { vm: id },
            Rung::Reboot => Action::RebootVm { vm: id },
            Rung::Reimage => Action::ReimageVm {
                vm: id,
                template: case.wish.template.clone(),
            },
            Rung::Replace | Rung::Redeploy if self.paused() => return,
            Rung::Replace | Rung::Redeploy => {
                let message = format!("another VM takes the place of {id}: {reason}");
                self.warn(&case.subject, "Replaced", message);
                self.needs_another(case, rung, reason, ("beyond repair", &vm.id));
                self.retire_vm(&case.wish.name, "no milder remedy helped");
                return;
            }
        };
        let field = if rung == Rung::Start {
            DriftField::PowerState
        } else {
            DriftField::Health
        };
        let step = Step::new(&case.subject, action, reason).repairs(field);
        self.step(step.remedy(&case.wish.name, rung));
    }

    /// Changes that take the machine away for a while, within what the role can spare.
    fn disrupt(&mut self, case: &Case<'_>, vm: &Vm) -> Option<String> {
        let (field, reason) = self.disruptive_difference(case, vm)?;
        if !self.may_disrupt(&case.wish.name, case.wish.role) {
            let message = format!(
                "{reason}; waits for others of {} to be ready",
                case.wish.role
            );
            self.wait(&case.subject, "MaxUnavailable", message.clone());
            return Some(message);
        }
        let action = match field {
            DriftField::Template => Action::ReimageVm {
                vm: vm.id.clone(),
                template: case.wish.template.clone(),
            },
            _ => Action::StopVm { vm: vm.id.clone() },
        };
        let step = Step::new(&case.subject, action, reason.clone()).disrupts(&case.wish.name);
        self.step(if self.was_in_sync(&case.subject) {
            step.repairs(field)
        } else {
            step
        });
        Some(reason)
    }
}
