//! A machine whose VM runs: put right, healed, or changed when its role can spare it.

use super::Case;
use crate::{
    plan::{MachineView, Planner, Step, remedy::Remedy},
    types::{
        action::Action,
        inventory::Vm,
        ledger::{Remediation, Rung},
        machine::Phase,
        stack::DriftField,
    },
};

impl Planner<'_> {
    pub(super) fn running(&mut self, case: &Case<'_>, vm: &Vm) -> MachineView {
        let name = &case.wish.name;
        let now = self.input.now;
        if let Some(record) = self.plan.ledger.machines.get_mut(name) {
            record.started_at.get_or_insert(now);
        }
        let view = |phase, message: String| MachineView {
            phase,
            message,
            ..MachineView::default()
        };
        if let Some(message) = self.correct(case, vm) {
            return view(Phase::Running, message);
        }
        if let Some(health) = self.input.health.get(name).cloned()
            && let Some(remedy) = self.remedy_unhealthy(&case.record, &health)
        {
            return self.heal(case, vm, remedy);
        }
        match self.disrupt(case, vm) {
            Some(message) if self.disrupted(name) => view(Phase::Updating, message),
            Some(message) => view(Phase::Running, message),
            None => {
                if let Some(record) = self.plan.ledger.machines.get_mut(name) {
                    record.updating = false;
                }
                view(Phase::Running, self.later(case, vm))
            }
        }
    }

    /// Whether this plan takes the machine away.
    fn disrupted(&self, name: &str) -> bool {
        self.plan
            .steps
            .iter()
            .any(|step| step.disrupts.as_deref() == Some(name))
    }

    /// What takes effect only at the next stop or image, for people.
    fn later(&mut self, case: &Case<'_>, vm: &Vm) -> String {
        let groups = self.groups(case.wish);
        let image = case
            .record
            .image
            .as_ref()
            .map(|image| image.user_data.as_str());
        let mut later = Vec::new();
        if vm.affinity_groups != groups.into_iter().collect() {
            let field = DriftField::AffinityGroup;
            let drift =
                self.difference(&case.subject, field, "its role's group", "another or none");
            if self.drift(drift.of(&vm.id)) {
                later.push("joins its affinity group at its next stop");
            }
        }
        if image.is_some_and(|image| image != case.user_data.1) {
            later.push("its new user data takes effect with its next image");
        }
        if !later.is_empty() {
            return later.join("; ");
        }
        self.in_sync();
        String::new()
    }

    pub(super) fn heal(&mut self, case: &Case<'_>, vm: &Vm, remedy: Remedy) -> MachineView {
        let view = |phase, message: String| MachineView {
            phase,
            message,
            ..MachineView::default()
        };
        let (rung, reason) = match remedy {
            Remedy::Patience(message) => return view(Phase::Starting, message),
            Remedy::Exhausted(message) => {
                self.blocked(&case.subject, "RemediationExhausted", message.clone());
                return view(Phase::Unhealthy, message);
            }
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
            Rung::Replace => {
                let (at, reason) = (self.input.now, reason.to_owned());
                if let Some(record) = self.plan.ledger.machines.get_mut(&case.wish.name) {
                    record.remediations.push(Remediation { rung, at, reason });
                }
                self.lose(&case.subject, "beyond repair", vm.id.as_str());
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
