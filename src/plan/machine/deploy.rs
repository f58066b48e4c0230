//! A machine without a VM: when and how it gets one.

use super::Case;
use crate::{
    plan::{
        MachineView, Planner, Step, address_subject, budget::Crowded, machine_subject, settle, wish,
    },
    types::{
        action::{Action, Deploy},
        id::{NetworkId, VmId},
        inventory::Vm,
        machine::Phase,
        stack::DriftField,
    },
};

impl Planner<'_> {
    /// A machine without a VM.
    pub(super) fn deploy(&mut self, case: &Case<'_>) -> MachineView {
        let subject = &case.subject;
        let view = MachineView::of;
        if self.busy(subject) {
            return view(Phase::Provisioning, "its VM is being deployed".to_owned());
        }
        if let Some(why) = self.untold.clone() {
            return view(Phase::Pending, why);
        }
        if let Some(why) = self.not_deployable(case) {
            self.wait(subject, "WaitingOn", why.clone());
            return view(Phase::Pending, why);
        }
        match self.crowded(&case.wish.name, case.wish.role) {
            None => {}
            Some(Crowded::Surge(why)) => {
                self.wait(subject, "MaxSurge", why.clone());
                return view(Phase::Pending, why);
            }
            Some(Crowded::Cap(why)) => {
                self.blocked(subject, "TooManyRecords", why.clone());
                return view(Phase::Pending, why);
            }
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
        let address = address_subject(&case.wish.name);
        if case.wish.public
            && record.public_address.is_none()
            && !self.plan.ledger.failures.contains_key(&address)
        {
            return Some("waits for its public address".to_owned());
        }
        let running = self
            .under_way()
            .filter(|(_, action)| matches!(action, Action::DeployVm(_)))
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
    pub(super) fn give_way(&mut self, name: &str, holder: Option<&VmId>, message: String) {
        let now = self.input.now;
        if let Some(record) = self.plan.ledger.machines.get_mut(name) {
            settle::hold(record, name, holder, now);
        }
        self.warn(&machine_subject(name), "AddressHeld", message);
    }

    fn deployment(&self, case: &Case<'_>) -> Option<Deploy> {
        let (wish, record) = (case.wish, &case.record);
        let user_data = case.user_data.as_ref()?;
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
            user_data: self.user_data_text(wish, record)?,
            user_data_hash: user_data.hash.clone(),
            user_data_image: user_data.image.clone(),
        })
    }
}
