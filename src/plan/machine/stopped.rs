//! A machine whose VM does not run: new, stopped to be changed, or stopped behind our back.

use super::Case;
use crate::{
    plan::{MachineView, Planner, Step, address_subject, remedy::Remedy},
    types::{
        action::{Action, mark},
        inventory::{Vm, VmState},
        ledger::Rung,
        machine::Phase,
        stack::DriftField,
    },
};

impl Planner<'_> {
    /// A VM that does not run: new and to be made ours, stopped by us to be changed, or stopped
    /// behind our back.
    pub(super) fn stopped(&mut self, case: &Case<'_>, vm: &Vm) -> MachineView {
        let view = MachineView::of;
        let born = case.record.started_at.is_none() && !case.record.updating;
        let drifted = !born && !case.record.updating;
        if drifted {
            let drift = self
                .difference(&case.subject, DriftField::PowerState, "Running", "Stopped")
                .of(&vm.id);
            let considered = std::mem::take(&mut self.subject);
            let repair = self.drift(drift);
            self.subject = considered;
            if !repair {
                return view(
                    Phase::Unhealthy,
                    "VM is Stopped; drift policy says Report".to_owned(),
                );
            }
            if let Some(why) = self.plan.held_back.clone() {
                return view(Phase::Unhealthy, why);
            }
        }
        if let Some(message) = self
            .correct(case, vm)
            .or_else(|| self.change_stopped(case, vm))
        {
            let phase = if born {
                Phase::Provisioning
            } else {
                Phase::Updating
            };
            return view(phase, message);
        }
        if born && let Some(message) = self.not_ours_yet(case, vm) {
            self.wait(&case.subject, "WaitingOn", message.clone());
            return view(Phase::Provisioning, message);
        }
        if !drifted {
            return self.start(case, vm);
        }
        match self.remedy_stopped(&case.record) {
            Remedy::Take(Rung::Start, reason) => match self.waits_to_start(case) {
                Some(why) => view(Phase::Repairing, why.to_owned()),
                None => {
                    self.take_rung(case, vm, Rung::Start, &reason);
                    view(Phase::Repairing, reason)
                }
            },
            remedy => self.heal(case, vm, remedy),
        }
    }

    /// What a stop is used for: all that differs and needs one.
    fn change_stopped(&mut self, case: &Case<'_>, vm: &Vm) -> Option<String> {
        let groups = self.groups(case.wish);
        if vm.affinity_groups != groups.iter().cloned().collect()
            && self.may_repair(DriftField::AffinityGroup)
        {
            let reason = "it is not in its role's affinity group".to_owned();
            let action = Action::SetAffinityGroups {
                vm: vm.id.clone(),
                groups,
            };
            self.step(Step::new(&case.subject, action, reason.clone()));
            return Some(reason);
        }
        let (field, reason) = self.disruptive_difference(case, vm)?;
        let action = match field {
            DriftField::ServiceOffering => Action::ChangeOffering {
                vm: vm.id.clone(),
                offering: case.wish.offering.clone(),
            },
            DriftField::PrivateAddress => {
                let nic = vm.nic_in(self.plan.ledger.tier.as_ref()?)?;
                Action::MoveNic {
                    vm: vm.id.clone(),
                    nic: nic.id.clone(),
                    address: case.record.private_address,
                }
            }
            _ => Action::ReimageVm {
                vm: vm.id.clone(),
                template: case.wish.template.clone(),
            },
        };
        let step = Step::new(&case.subject, action, reason.clone());
        self.step(if self.was_in_sync(&case.subject) {
            step.repairs(field)
        } else {
            step
        });
        Some(reason)
    }

    /// What a new VM still lacks before it may run: its tag and its public address.
    fn not_ours_yet(&self, case: &Case<'_>, vm: &Vm) -> Option<String> {
        let ledger = &self.plan.ledger;
        if !vm.tags.contains_key(mark::TAG_STACK) && !ledger.failures.contains_key("tags vm") {
            return Some("waits for its tag".to_owned());
        }
        let address = address_subject(&case.wish.name);
        (!self.reached(case, &vm.id) && !ledger.failures.contains_key(&address))
            .then(|| "waits for its public address to lead to it".to_owned())
    }

    fn start(&mut self, case: &Case<'_>, vm: &Vm) -> MachineView {
        let message = match self.waits_to_start(case) {
            Some(why) => why,
            None => {
                let reason = match case.record.updating {
                    true => "it was stopped to be changed",
                    false => "it is ready to run",
                };
                let action = Action::StartVm { vm: vm.id.clone() };
                self.step(Step::new(&case.subject, action, reason));
                reason
            }
        };
        MachineView {
            phase: Phase::Starting,
            message: message.to_owned(),
            ..MachineView::default()
        }
    }

    /// What a start waits for, if for anything.
    ///
    /// One VM of a machine runs at a time, also where the former was taken for gone and is not. And
    /// the first start brings the tier's router up and holds a lock on which others would sleep in
    /// steps of five seconds (`cloudstack-observed` §1.16), so one goes ahead.
    fn waits_to_start(&mut self, case: &Case<'_>) -> Option<&'static str> {
        let vms = &self.input.inventory.vms;
        let mut former = case.record.former.iter();
        let lives = former.any(|former| {
            let row = vms.get(&former.vm);
            row.is_some_and(|row| {
                let rests = matches!(row.state, VmState::Stopped | VmState::Error);
                !rests && !row.state.dead()
            })
        });
        if lives {
            let why = "waits: its former VM is still there and goes first";
            self.wait(&case.subject, "WaitingOnFormer", why);
            return Some(why);
        }
        // A machine that runs proves that the router is up, also where the tier was last read
        // before it was.
        let inventory = self.input.inventory;
        let up = self.tier_row().is_some_and(|tier| {
            let runs = |vm: &Vm| vm.state == VmState::Running;
            !matches!(tier.state.as_str(), "Allocated" | "Implementing")
                || inventory.vms_in_network(&tier.id).any(runs)
        });
        let another = self
            .under_way()
            .any(|(_, action)| matches!(action, Action::StartVm { .. }));
        if up || !another {
            return None;
        }
        let why = "waits: one machine brings the tier up, the rest follow";
        self.wait(&case.subject, "WaitingOnTier", why);
        Some(why)
    }
}
