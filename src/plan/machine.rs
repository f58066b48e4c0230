//! The next step of each machine: deploy, make ours, start; repair; change; replace.

use std::collections::BTreeMap;

use super::{
    MachineView, Planner, Step, machine_subject, remedy::Remedy, settle, userdata, wish,
    wish::MachineWish,
};
use crate::types::{
    action::{Action, Deploy, Question, VmChange, mark},
    core::Confidential,
    id::{AffinityGroupId, NetworkId, VmId},
    inventory::{Vm, VmState},
    ledger::{Former, MachineRecord, Rung},
    machine::Phase,
    stack::DriftField,
};

/// A machine under consideration.
struct Case<'a> {
    subject: String,
    wish: &'a MachineWish,
    record: MachineRecord,
    user_data: (String, String),
}

impl Planner<'_> {
    /// The next step of each machine that is wanted.
    pub(super) fn machines(&mut self) {
        for wish in self.wish.machines.clone() {
            self.replace_on_request(&wish.name);
            let Some(record) = self.plan.ledger.machines.get(&wish.name).cloned() else {
                continue;
            };
            let user_data = userdata::user_data(self.spec(), &wish, &record);
            let subject = machine_subject(&wish.name);
            let print = format!(
                "{} {} {} {}",
                wish.template, wish.offering, record.private_address, user_data.1
            );
            self.consider(&subject, &print);
            let view = self.machine(&Case {
                subject,
                wish: &wish,
                record,
                user_data,
            });
            self.plan.machines.insert(wish.name, view);
        }
    }

    /// Deleting a `Machine` asks for another VM in its place.
    fn replace_on_request(&mut self, name: &str) {
        let asked = self.input.replace.get(name);
        let current = self
            .plan
            .ledger
            .machines
            .get(name)
            .and_then(|record| record.vm.clone());
        if let (Some(asked), Some(current)) = (asked, current)
            && *asked == current
            && self
                .plan
                .ledger
                .pending_on(&machine_subject(name))
                .is_none()
        {
            self.retire_vm(name, "its Machine was deleted");
        }
    }

    /// Moves a machine's VM among those to be destroyed; a successor follows.
    pub(super) fn retire_vm(&mut self, name: &str, reason: &str) {
        let since = self.input.now;
        let Some(record) = self.plan.ledger.machines.get_mut(name) else {
            return;
        };
        if let Some(vm) = record.vm.take() {
            record.former.push(Former {
                vm,
                reason: reason.to_owned(),
                since,
            });
        }
        record.started_at = None;
        record.updating = false;
    }

    fn machine(&mut self, case: &Case<'_>) -> MachineView {
        let Some(id) = &case.record.vm else {
            return self.deploy(case);
        };
        let Some(vm) = self.input.inventory.vms.get(id) else {
            return self.missing(case, id);
        };
        let mut view = self.present(case, vm);
        view.vm_state = Some(vm.state.word().to_owned());
        view.ready = self.ready(&case.wish.name, &case.record) && view.phase == Phase::Running;
        view.updated = self.up_to_date(case, vm);
        view
    }

    fn up_to_date(&self, case: &Case<'_>, vm: &Vm) -> bool {
        let image = case.record.image.as_ref();
        vm.template.as_ref() == Some(&case.wish.template)
            && vm.offering.as_ref() == Some(&case.wish.offering)
            && image.is_some_and(|image| image.user_data == case.user_data.1)
    }

    /// A machine without a VM.
    fn deploy(&mut self, case: &Case<'_>) -> MachineView {
        let (subject, name) = (&case.subject, &case.wish.name);
        let view = |phase, message: String| MachineView {
            phase,
            message,
            ..MachineView::default()
        };
        if self.busy(subject) {
            return view(Phase::Provisioning, "its VM is being deployed".to_owned());
        }
        if let Some(why) = self.not_deployable(case) {
            self.wait(subject, "WaitingOn", why.clone());
            return view(Phase::Pending, why);
        }
        if let Some(why) = self.too_many_records(name, &case.record) {
            self.blocked(subject, "TooManyRecords", why.clone());
            return view(Phase::Pending, why);
        }
        let lost = self.plan.ledger.lost.contains_key(subject);
        if lost && !self.may_repair(DriftField::Existence) {
            return view(
                Phase::Pending,
                "its VM is gone; drift policy says Report".to_owned(),
            );
        }
        let Some(deploy) = self.deployment(case) else {
            return view(Phase::Pending, "waits for its tier".to_owned());
        };
        let reason = match (lost, case.record.former.last()) {
            (true, _) => "its VM is gone".to_owned(),
            (false, Some(former)) => {
                format!("successor of a VM that went because {}", former.reason)
            }
            (false, None) => "the machine needs a VM".to_owned(),
        };
        let mut step = Step::new(subject, Action::DeployVm(Box::new(deploy)), reason.clone());
        if lost {
            step = step.repairs(DriftField::Existence);
        }
        self.step(step);
        view(Phase::Provisioning, reason)
    }

    fn not_deployable(&mut self, case: &Case<'_>) -> Option<String> {
        let record = &case.record;
        if self.plan.ledger.lost.contains_key(&case.subject) && self.plan.held_back.is_some() {
            return self.plan.held_back.clone();
        }
        let Some(tier) = self.tier_row().map(|row| row.id.clone()) else {
            return Some("waits for its tier".to_owned());
        };
        let role = case.wish.role;
        if wish::affinity_kind(self.spec(), role).is_some()
            && !self.plan.ledger.affinity_groups.contains_key(&role)
        {
            return Some("waits for its affinity group".to_owned());
        }
        let address = super::address_subject(&case.wish.name);
        if case.wish.public
            && record.public_address.is_none()
            && !self.plan.ledger.failures.contains_key(&address)
        {
            return Some("waits for its public address".to_owned());
        }
        let deploying = |action: &Action| matches!(action, Action::DeployVm(_));
        let running = self
            .plan
            .ledger
            .pending
            .iter()
            .filter(|p| deploying(&p.action))
            .count()
            + self
                .plan
                .steps
                .iter()
                .filter(|step| deploying(&step.action))
                .count();
        if running >= self.input.limits.deploys_per_tier as usize {
            return Some(format!(
                "waits: {running} machines of the tier are being deployed"
            ));
        }
        self.place_taken(case, &tier)
    }

    /// Whether the machine's name or address is still in somebody's hands.
    fn place_taken(&mut self, case: &Case<'_>, tier: &NetworkId) -> Option<String> {
        let record = &case.record;
        let inventory = self.input.inventory;
        let networks: Vec<NetworkId> = self
            .vpc()
            .map(|vpc| {
                inventory
                    .networks_of(&vpc)
                    .map(|network| network.id.clone())
                    .collect()
            })
            .unwrap_or_default();
        let near = |vm: &&Vm| vm.nics.iter().any(|nic| networks.contains(&nic.network));
        let holder =
            |vm: &Vm| vm.nic_in(tier).and_then(|nic| nic.address) == Some(record.private_address);
        let mut holders = inventory
            .vms_named(&record.host_name)
            .filter(near)
            .chain(inventory.vms_in_network(tier).filter(|vm| holder(vm)));
        let vm = holders.next()?;
        if self.plan.ledger.knows_vm(&vm.id) {
            return Some(format!(
                "waits until VM {} has let go of name and address",
                vm.name
            ));
        }
        let (id, name) = (vm.id.clone(), vm.name.clone());
        let message = format!(
            "VM {name} ({id}) has the machine's name or address and is not Weir's; taking the next"
        );
        self.give_way(&case.wish.name, Some(&id), message.clone());
        Some(message)
    }

    /// Gives the machine the next host name and address, and says so.
    fn give_way(&mut self, name: &str, holder: Option<&VmId>, message: String) {
        let now = self.input.now;
        if let Some(record) = self.plan.ledger.machines.get_mut(name) {
            settle::hold(record, name, holder, now);
        }
        self.warn(&machine_subject(name), "AddressHeld", message);
    }

    fn deployment(&self, case: &Case<'_>) -> Option<Deploy> {
        let (wish, record) = (case.wish, &case.record);
        Some(Deploy {
            machine: wish.name.clone(),
            name: record.host_name.clone(),
            display_name: wish.name.clone(),
            zone: self.wish.zone.clone()?,
            template: wish.template.clone(),
            offering: wish.offering.clone(),
            tier: self.plan.ledger.tier.clone()?,
            address: record.private_address,
            key_pair: self.spec().ssh_key_pair.clone(),
            affinity_groups: self.groups(wish),
            details: self.marks(&wish.name),
            user_data: Confidential::new(case.user_data.0.clone()),
            user_data_hash: case.user_data.1.clone(),
        })
    }

    fn groups(&self, wish: &MachineWish) -> Vec<AffinityGroupId> {
        let wanted = wish::affinity_kind(self.spec(), wish.role).is_some();
        let group = self
            .plan
            .ledger
            .affinity_groups
            .get(&wish.role)
            .filter(|_| wanted);
        group.cloned().into_iter().collect()
    }

    fn marks(&self, name: &str) -> BTreeMap<String, String> {
        BTreeMap::from([
            (mark::STACK.to_owned(), self.uid.to_string()),
            (mark::MACHINE.to_owned(), name.to_owned()),
        ])
    }

    /// A machine whose VM no list shows.
    fn missing(&mut self, case: &Case<'_>, id: &VmId) -> MachineView {
        let (subject, name) = (&case.subject, &case.wish.name);
        let view = |message: String| MachineView {
            phase: Phase::Unhealthy,
            message,
            ..MachineView::default()
        };
        if self.busy(subject) {
            return view("waits for a command on its VM".to_owned());
        }
        if let Some(why) = self.plan.held_back.clone() {
            return view(why);
        }
        if !self.confirmed_absent(Question::Vm(id.clone())) {
            self.wait(
                subject,
                "Confirming",
                format!("VM {id} is not listed; asking for it by id"),
            );
            return view(format!("VM {id} is not listed; asking for it by id"));
        }
        self.lose(subject, "destroyed", id.as_str());
        let drift = self
            .difference(subject, DriftField::Existence, "exists", "destroyed")
            .of(id);
        self.subject = Default::default();
        self.drift(drift);
        let rights = self.input.catalogue.rights;
        self.retire_vm(name, "somebody destroyed it");
        // A dead VM that is not purged still has its static NAT: the one trace that a plain
        // tenant can see of it.
        let traced = self.input.inventory.addresses_of_vm(id).next().is_some();
        if traced && !rights.expunge {
            let (host, address) = (&case.record.host_name, case.record.private_address);
            let message = format!(
                "VM {id} was destroyed and holds the name {host} and the address {address} until \
                 CloudStack purges it; the successor gets the next ones"
            );
            self.give_way(name, Some(id), message);
        }
        view("its VM was destroyed; a successor follows".to_owned())
    }

    /// A machine whose VM is there.
    fn present(&mut self, case: &Case<'_>, vm: &Vm) -> MachineView {
        let view = |phase, message: String| MachineView {
            phase,
            message,
            ..MachineView::default()
        };
        if self.busy(&case.subject) {
            let message = self.plan.waits.last().map(|wait| wait.message.clone());
            return view(self.phase_of_pending(case, vm), message.unwrap_or_default());
        }
        if vm.job.is_some() || vm.state.transitional() {
            let message = format!(
                "CloudStack is at work on the VM, which is {}",
                vm.state.word()
            );
            self.wait(&case.subject, "JobRunning", message.clone());
            return view(Phase::Starting, message);
        }
        match &vm.state {
            VmState::Running => self.running(case, vm),
            VmState::Stopped => self.stopped(case, vm),
            VmState::Error | VmState::Destroyed => self.broken(case, vm),
            VmState::Expunging => {
                self.retire_vm(&case.wish.name, "it is being purged");
                view(
                    Phase::Repairing,
                    "its VM is being purged; a successor follows".to_owned(),
                )
            }
            VmState::Starting
            | VmState::Stopping
            | VmState::Migrating
            | VmState::Restoring
            | VmState::Other(_) => {
                let message = format!("its VM is {}", vm.state.word());
                self.wait(&case.subject, "WaitingOnState", message.clone());
                view(Phase::Unhealthy, message)
            }
        }
    }

    fn phase_of_pending(&self, case: &Case<'_>, vm: &Vm) -> Phase {
        let pending = self
            .plan
            .ledger
            .pending_on(&case.subject)
            .map(|pending| &pending.action);
        match pending {
            Some(Action::StartVm { .. }) => Phase::Starting,
            Some(Action::UpdateVm { .. }) | None if vm.state == VmState::Running => Phase::Running,
            Some(Action::RebootVm { .. } | Action::ReimageVm { .. }) => Phase::Repairing,
            Some(_) if case.record.started_at.is_none() => Phase::Provisioning,
            Some(_) => Phase::Updating,
            None => Phase::Unhealthy,
        }
    }

    /// A VM that can never run again.
    fn broken(&mut self, case: &Case<'_>, vm: &Vm) -> MachineView {
        let message = format!("its VM is in state {}", vm.state.word());
        let view = MachineView {
            phase: Phase::Unhealthy,
            message,
            ..MachineView::default()
        };
        if let Some(why) = self.plan.held_back.clone() {
            return MachineView {
                message: why,
                ..view
            };
        }
        let drift = self
            .difference(
                &case.subject,
                DriftField::PowerState,
                "Running",
                vm.state.word(),
            )
            .of(&vm.id);
        self.subject = Default::default();
        if !self.drift(drift) {
            return view;
        }
        self.lose(&case.subject, vm.state.word(), vm.id.as_str());
        self.retire_vm(
            &case.wish.name,
            &format!("it was in state {}", vm.state.word()),
        );
        if !self.input.catalogue.rights.expunge {
            let message = format!(
                "VM {} is in state {} and keeps its name and address until CloudStack purges it; \
                 the successor gets the next ones",
                vm.id,
                vm.state.word()
            );
            self.give_way(&case.wish.name, Some(&vm.id), message);
        }
        MachineView {
            phase: Phase::Repairing,
            ..view
        }
    }

    fn running(&mut self, case: &Case<'_>, vm: &Vm) -> MachineView {
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
            later.push("joins its affinity group at its next stop");
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

    fn heal(&mut self, case: &Case<'_>, vm: &Vm, remedy: Remedy) -> MachineView {
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
    fn take_rung(&mut self, case: &Case<'_>, vm: &Vm, rung: Rung, reason: &str) {
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
                    record.remediations.push(crate::types::ledger::Remediation {
                        rung,
                        at,
                        reason,
                    });
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

    /// Differences that need no stop; the first that has a step ends it.
    fn correct(&mut self, case: &Case<'_>, vm: &Vm) -> Option<String> {
        let details = self.marks(&case.wish.name);
        let marked = details
            .iter()
            .all(|(key, value)| vm.details.get(key) == Some(value));
        let mut all_details = vm.details.clone();
        all_details.extend(details);
        // What CloudStack was last given, by the last audit or by our own record.
        let user_data = vm
            .user_data_hash
            .as_ref()
            .or(case.record.user_data.as_ref());
        let (text, hash) = &case.user_data;
        let host_name = &case.record.host_name;
        let corrections = [
            (
                DriftField::Name,
                (vm.name != *host_name).then(|| (host_name.clone(), vm.name.clone())),
                VmChange::Name(host_name.clone()),
            ),
            (
                DriftField::DisplayName,
                (vm.display_name != case.wish.name)
                    .then(|| (case.wish.name.clone(), vm.display_name.clone())),
                VmChange::DisplayName(case.wish.name.clone()),
            ),
            (
                DriftField::Details,
                (!marked).then(|| ("the owner mark".to_owned(), "wiped or changed".to_owned())),
                VmChange::Details(all_details),
            ),
            (
                DriftField::UserData,
                (user_data != Some(hash)).then(|| (short(Some(hash)), short(user_data))),
                VmChange::UserData {
                    text: Confidential::new(text.as_str()),
                    hash: hash.clone(),
                },
            ),
        ];
        for (field, difference, change) in corrections {
            let Some((want, have)) = difference else {
                continue;
            };
            let drift = self
                .difference(&case.subject, field, &want, &have)
                .of(&vm.id);
            if !self.drift(drift) {
                continue;
            }
            let reason = format!("{} is {have} instead of {want}", field.name());
            let action = Action::UpdateVm {
                vm: vm.id.clone(),
                change,
            };
            let mut step = Step::new(&case.subject, action, reason.clone());
            if self.was_in_sync(&case.subject) {
                step = step.repairs(field);
            }
            self.step(step);
            return Some(reason);
        }
        None
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

    /// The first difference that may be put right and needs a stop or a new image.
    fn disruptive_difference(&mut self, case: &Case<'_>, vm: &Vm) -> Option<(DriftField, String)> {
        let text = |value: Option<&str>| value.unwrap_or("none").to_owned();
        let tier = self.plan.ledger.tier.clone()?;
        let address = vm.nic_in(&tier).and_then(|nic| nic.address);
        let catalogue = self.input.catalogue;
        let name = |entries: &[crate::types::inventory::Entry], id: &str| {
            let entry = entries.iter().find(|entry| entry.id == id);
            entry.map_or_else(|| id.to_owned(), |entry| entry.name.clone())
        };
        let offering = |id: &str| name(&catalogue.service_offerings, id);
        let template = |id: &str| name(&catalogue.templates, id);
        let differences = [
            (
                DriftField::ServiceOffering,
                vm.offering.as_ref() != Some(&case.wish.offering),
                offering(case.wish.offering.as_str()),
                text(
                    vm.offering
                        .as_ref()
                        .map(|id| offering(id.as_str()))
                        .as_deref(),
                ),
            ),
            (
                DriftField::PrivateAddress,
                address != Some(case.record.private_address),
                case.record.private_address.to_string(),
                text(address.map(|address| address.to_string()).as_deref()),
            ),
            (
                DriftField::Template,
                vm.template.as_ref() != Some(&case.wish.template),
                template(case.wish.template.as_str()),
                text(
                    vm.template
                        .as_ref()
                        .map(|id| template(id.as_str()))
                        .as_deref(),
                ),
            ),
        ];
        for (field, differs, want, have) in differences {
            if !differs {
                continue;
            }
            let drift = self
                .difference(&case.subject, field, &want, &have)
                .of(&vm.id);
            if self.drift(drift) {
                return Some((
                    field,
                    format!("{} is {have} instead of {want}", field.name()),
                ));
            }
        }
        None
    }

    /// A VM that does not run: new and to be made ours, stopped by us to be changed, or stopped
    /// behind our back.
    fn stopped(&mut self, case: &Case<'_>, vm: &Vm) -> MachineView {
        let view = |phase, message: String| MachineView {
            phase,
            message,
            ..MachineView::default()
        };
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
            Remedy::Take(Rung::Start, reason) if self.may_start(case) => {
                self.take_rung(case, vm, Rung::Start, &reason);
                view(Phase::Repairing, reason)
            }
            Remedy::Take(Rung::Start, reason) => view(Phase::Repairing, reason),
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
        let address = super::address_subject(&case.wish.name);
        let leads = case.record.public_address.as_ref().is_some_and(|address| {
            let row = self.input.inventory.addresses.get(&address.id);
            row.is_some_and(|row| row.vm.as_ref() == Some(&vm.id))
        });
        (case.wish.public && !leads && !ledger.failures.contains_key(&address))
            .then(|| "waits for its public address to lead to it".to_owned())
    }

    fn start(&mut self, case: &Case<'_>, vm: &Vm) -> MachineView {
        let message = if self.may_start(case) {
            let reason = match case.record.updating {
                true => "it was stopped to be changed",
                false => "it is ready to run",
            };
            let action = Action::StartVm { vm: vm.id.clone() };
            self.step(Step::new(&case.subject, action, reason));
            reason
        } else {
            "waits: one machine brings the tier up, the rest follow"
        };
        MachineView {
            phase: Phase::Starting,
            message: message.to_owned(),
            ..MachineView::default()
        }
    }

    /// The first start brings the tier's router up and holds a lock on which others would sleep
    /// in steps of five seconds (`cloudstack-observed` §1.16). So one goes ahead.
    fn may_start(&mut self, case: &Case<'_>) -> bool {
        let up = self
            .tier_row()
            .is_some_and(|tier| tier.state != "Allocated");
        let starting = |action: &Action| matches!(action, Action::StartVm { .. });
        let another = self
            .plan
            .ledger
            .pending
            .iter()
            .any(|pending| starting(&pending.action))
            || self.plan.steps.iter().any(|step| starting(&step.action));
        if up || !another {
            return true;
        }
        self.wait(
            &case.subject,
            "WaitingOnTier",
            "one machine brings the tier up, the rest follow",
        );
        false
    }
}

fn short(hash: Option<&String>) -> String {
    hash.map_or_else(
        || "unknown".to_owned(),
        |hash| hash.chars().take(12).collect(),
    )
}
