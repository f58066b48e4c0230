//! Public addresses and the static NAT that leads each to its machine's VM.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use super::{
    Planner, Step, address_subject, network::machine_in, resolve::allocated, wish::MachineWish,
};
use crate::types::{
    action::{Action, Answer, Question, mark},
    id::{AddressId, JobId, VmId, VpcId},
    inventory::Address,
    ledger::{MAX_MISSED, MachineRecord, Pending, PublicAddress},
    stack::DriftField,
};

/// How far CloudStack's clock, which dates leases, may be behind ours.
const CLOCKS_APART: Duration = Duration::from_secs(60);

/// How long after it was sent a command may yet take effect: its signature is over then, and as long
/// again for a clock that is ahead of ours.
const MAY_ARRIVE: Duration = Duration::from_secs(1_200);

impl Planner<'_> {
    /// The next step of each machine's public address, and of addresses that no machine has.
    pub(super) fn addresses(&mut self) {
        self.release_strays();
        self.part_shared_addresses();
        for wish in Arc::clone(&self.wish.machines).iter() {
            match wish.public {
                true => self.address(wish),
                false => self.release_address(&wish.name, "the manifest wants it no more"),
            }
        }
        self.give_back_the_missed();
    }

    /// Of machines that are recorded with one address, the first keeps it.
    fn part_shared_addresses(&mut self) {
        let mut known = BTreeSet::new();
        for record in self.plan.ledger.machines.values_mut() {
            record
                .public_address
                .take_if(|own| !known.insert(own.id.clone()));
        }
    }

    fn address(&mut self, wish: &MachineWish) {
        let subject = address_subject(&wish.name);
        let Some(record) = self.plan.ledger.machines.get(&wish.name).cloned() else {
            return;
        };
        let Some(have) = &record.public_address else {
            self.take_address(&subject, &record);
            return;
        };
        let Some(row) = self.input.inventory.addresses.get(&have.id) else {
            if self.confirmed_absent(Question::Address(have.id.clone())) {
                self.address_is_gone(wish, have, "released");
                self.take_address(&subject, &record_now(self, &wish.name));
            } else {
                self.wait(
                    &subject,
                    "Confirming",
                    format!("address {} is not listed", have.ip),
                );
            }
            return;
        };
        // Our id under another VPC is somebody else's lease of an address that we once had.
        if self.vpc().is_some() && row.vpc != self.vpc() {
            self.address_is_gone(wish, have, "given to another network");
        } else if row.source_nat {
            let message = format!("{} serves as the VPC's source NAT; taking another", row.ip);
            self.warn(&subject, "SourceNat", message);
            self.set_address(&wish.name, None);
        } else if row.state != "Allocated" || row.job.is_some() {
            self.wait(
                &subject,
                "JobRunning",
                format!("address {} is {}", row.ip, row.state),
            );
        } else {
            self.note_lease(wish, row);
            self.static_nat(&subject, &record, row);
        }
    }

    fn take_address(&mut self, subject: &str, record: &MachineRecord) {
        let Some(vpc) = self.vpc() else { return };
        if let Some(back) = self.turned_up_again(subject, record, &vpc) {
            self.set_address_of(subject, back);
            return;
        }
        if self.giving_back() {
            let message = "one that no machine has is given back first";
            self.wait(subject, "WaitingOnAddress", message);
            return;
        }
        let (reason, ip) = match record.lost_address {
            Some(ip) if record.lost_address_taken => {
                (format!("it lost {ip}, which is not to be had again"), None)
            }
            Some(ip) => (format!("it lost {ip}; asking for the same again"), Some(ip)),
            None => ("the machine needs a public address".to_owned(), None),
        };
        let mut step = Step::new(subject, Action::AssociateAddress { vpc, ip }, reason);
        if self.plan.ledger.lost.contains_key(subject) {
            step = step.repairs(DriftField::PublicAddress);
            if !self.may_repair(DriftField::PublicAddress) {
                return;
            }
        }
        self.step(step);
    }

    /// Whether a stray is on its way back. CloudStack gives the address that it got last to whoever
    /// asks next, under the same id: a lease that came before the release was seen to end would be
    /// taken for what was released.
    fn giving_back(&self) -> bool {
        self.under_way()
            .any(|(subject, _)| subject.starts_with("stray "))
    }

    /// An address that was missed in a look, and even by id, and is there after all.
    fn turned_up_again(
        &self,
        subject: &str,
        record: &MachineRecord,
        vpc: &VpcId,
    ) -> Option<PublicAddress> {
        let lost = self.plan.ledger.lost.get(subject)?;
        let row = self
            .input
            .inventory
            .addresses
            .get(&AddressId::new(lost.id.as_str()))?;
        // CloudStack hands an address that was released out again under its id, its tags perhaps
        // still on it: while one is being taken, it may be that one.
        let taking = self.coming(|action| matches!(action, Action::AssociateAddress { .. }));
        let same = record.lost_address == Some(row.ip);
        (same && !taking).then(|| self.unheld(row, vpc)).flatten()
    }

    /// Another address of ours that leads to a VM, and that no machine is known to have: it was
    /// missed in every look until another was taken for it. CloudStack leads one to a VM at most.
    fn serves_instead(&self, vm: &VmId, taken: &AddressId) -> Option<PublicAddress> {
        let vpc = self.vpc()?;
        let mut leading = self.input.inventory.addresses_of_vm(vm);
        let row = leading.find(|row| row.id != *taken && !row.source_nat)?;
        self.unheld(row, &vpc)
    }

    /// An address of this stack in its VPC that no machine is recorded with.
    fn unheld(&self, row: &Address, vpc: &VpcId) -> Option<PublicAddress> {
        let tag = row.tags.get(mark::TAG_STACK).map(String::as_str);
        let ours = tag == Some(self.uid.as_str()) || self.is_missed(row);
        let here = row.vpc.as_ref() == Some(vpc);
        (ours && here && !self.is_held(&row.id)).then(|| PublicAddress {
            id: row.id.clone(),
            ip: row.ip,
            cleaned: tag.is_none_or(|tag| tag == self.uid.as_str()),
            leased: row.leased,
        })
    }

    /// The address that a command took whose job cannot tell, in a VPC that is this stack's alone: it
    /// was leased while the command may have arrived, and no one is recorded with it or uses it.
    /// Nothing while another such command is at work, which may have taken it.
    pub(super) fn leased_meanwhile(
        &self,
        pending: &Pending,
        vpc: &VpcId,
    ) -> Option<Option<AddressId>> {
        let (ledger, inventory) = (&self.plan.ledger, self.input.inventory);
        let at_work = |job: &JobId| {
            inventory
                .jobs
                .as_ref()
                .is_none_or(|jobs| jobs.contains(job))
        };
        let mut others = self.input.ledger.pending.iter().filter(|other| {
            other.job != pending.job && matches!(other.action, Action::AssociateAddress { .. })
        });
        if others.any(|other| at_work(&other.job)) {
            return None;
        }
        let (from, until) = (pending.since - CLOCKS_APART, pending.since + MAY_ARRIVE);
        let mut rows = inventory.addresses.values().filter(|row| {
            let unused = row.vm.is_none() && row.tier.is_none() && !row.source_nat;
            row.vpc.as_ref() == Some(vpc) && allocated(row) && unused
        });
        let leased = rows.find(|row| {
            let meanwhile = row.leased.is_some_and(|at| at >= from && at <= until);
            let known = ledger.strays.contains(&row.id) || ledger.missed.contains_key(&row.id);
            meanwhile && !known && !self.is_held(&row.id)
        });
        Some(leased.map(|row| row.id.clone()))
    }

    /// Whether a machine is recorded with an address.
    fn is_held(&self, address: &AddressId) -> bool {
        let mut records = self.plan.ledger.machines.values();
        records.any(|record| record.holds(address))
    }

    /// Whether an address was taken for gone and is still on the lease that it had then, which proves
    /// that it is ours whatever became of its tags.
    fn is_missed(&self, row: &Address) -> bool {
        let lease = self.plan.ledger.missed.get(&row.id);
        lease.is_some() && lease == row.leased.as_ref()
    }

    /// Remembers an address that is taken for gone, in case that was a lie.
    pub(super) fn miss(&mut self, had: &PublicAddress) {
        let missed = &mut self.plan.ledger.missed;
        missed.extend(had.leased.map(|leased| (had.id.clone(), leased)));
        while missed.len() > MAX_MISSED {
            let oldest = missed.iter().min_by_key(|(_, leased)| **leased);
            let oldest = oldest.map(|(id, _)| id.clone());
            missed.retain(|id, _| Some(id) != oldest.as_ref());
        }
    }

    /// Has addresses given back that were taken for gone and are there, and that no machine will
    /// take back. One that is on another lease by now is somebody else's.
    pub(super) fn give_back_the_missed(&mut self) {
        let vpc = self.any_vpc();
        for id in self.plan.ledger.missed.keys().cloned().collect::<Vec<_>>() {
            let Some(row) = self.input.inventory.addresses.get(&id) else {
                continue;
            };
            let ours = self.is_missed(row) && row.vpc == vpc && !row.source_nat;
            if ours && !self.is_held(&id) {
                if self.will_be_taken_back(row) {
                    continue;
                }
                let message = format!("{} was taken for gone; giving it back", row.ip);
                self.warn(&format!("stray {id}"), "TurnedUpAgain", message);
                self.plan.ledger.strays.insert(id.clone());
            }
            self.plan.ledger.missed.remove(&id);
        }
    }

    /// Whether a wanted machine without an address, or whose VM is led to, takes an address back by
    /// itself.
    fn will_be_taken_back(&self, row: &Address) -> bool {
        let wanted = self.wish.machines.iter().filter(|wish| wish.public);
        let mut records = wanted.filter_map(|wish| self.plan.ledger.machines.get(&wish.name));
        records.any(|record| {
            let serves = row.vm.is_some() && row.vm == record.vm;
            let back = record.public_address.is_none() && record.lost_address == Some(row.ip);
            serves || back
        })
    }

    /// Records the lease that a machine's address is on.
    fn note_lease(&mut self, wish: &MachineWish, row: &Address) {
        if let Some(record) = self.plan.ledger.machines.get_mut(&wish.name)
            && let Some(own) = &mut record.public_address
            && row.leased.is_some()
        {
            own.leased = row.leased;
        }
    }

    fn address_is_gone(&mut self, wish: &MachineWish, had: &PublicAddress, how: &str) {
        let subject = address_subject(&wish.name);
        self.lose(&subject, how, had.id.as_str());
        self.miss(had);
        let drift = self
            .difference(&subject, DriftField::PublicAddress, had.ip, how)
            .of(&had.id);
        self.drift(drift);
        if let Some(record) = self.plan.ledger.machines.get_mut(&wish.name) {
            record.lost_address = Some(had.ip);
            record.lost_address_taken = false;
            record.public_address = None;
        }
        // That the next address leads nowhere yet is no further drift.
        self.plan.ledger.applied.remove(&subject);
    }

    fn set_address(&mut self, machine: &str, address: Option<PublicAddress>) {
        if let Some(record) = self.plan.ledger.machines.get_mut(machine) {
            record.public_address = address;
        }
    }

    fn set_address_of(&mut self, subject: &str, address: PublicAddress) {
        if let Some(machine) = machine_in(subject) {
            self.set_address(machine, Some(address));
        }
    }

    /// Leads the address to the machine's VM, away from any other.
    fn static_nat(&mut self, subject: &str, record: &MachineRecord, row: &Address) {
        let vm = record
            .vm
            .as_ref()
            .and_then(|vm| self.input.inventory.vms.get(vm));
        let tier = self.plan.ledger.tier.clone();
        let ready = match (&vm, &tier) {
            (Some(vm), Some(tier)) => !vm.state.dead() && vm.nic_in(tier).is_some(),
            _ => false,
        };
        let want = record.vm.as_ref();
        self.consider(subject, want.map_or("", |vm| vm.as_str()));
        if want.is_some() && row.vm.as_ref() == want {
            self.in_sync();
            return;
        }
        let name = |vm: &VmId| match self.input.inventory.vms.get(vm) {
            Some(row) => row.name.clone(),
            None => format!("VM {vm}, which is gone"),
        };
        let wanted = want.map_or_else(|| "no VM".to_owned(), name);
        if let Some(other) = &row.vm {
            let have = name(other);
            let drift = self
                .difference(subject, DriftField::StaticNat, &wanted, &have)
                .of(&row.id);
            if self.drift(drift) {
                let reason = format!("{} leads to {have} instead of {wanted}", row.ip);
                let action = Action::DisableStaticNat {
                    address: row.id.clone(),
                };
                self.step(Step::new(subject, action, reason).repairs(DriftField::StaticNat));
            }
            return;
        }
        let (Some(vm), Some(tier), true) = (want, tier, ready) else {
            return;
        };
        if let Some(serves) = self.serves_instead(vm, &row.id) {
            let message = format!("{} serves still; giving {} back", serves.ip, row.ip);
            self.warn(subject, "TurnedUpAgain", message);
            self.plan.ledger.strays.insert(row.id.clone());
            self.set_address_of(subject, serves);
            return;
        }
        let drift = self
            .difference(subject, DriftField::StaticNat, &wanted, "off")
            .of(&row.id);
        let drifted = self.was_in_sync(subject);
        if self.drift(drift) {
            let reason = format!("{} leads to {wanted}", row.ip);
            let action = Action::EnableStaticNat {
                address: row.id.clone(),
                vm: vm.clone(),
                tier,
            };
            let step = Step::new(subject, action, reason);
            self.step(if drifted {
                step.repairs(DriftField::StaticNat)
            } else {
                step
            });
        }
    }

    /// Gives a machine's public address back.
    pub(super) fn release_address(&mut self, machine: &str, reason: &str) {
        let record = self.plan.ledger.machines.get(machine);
        let Some(had) = record.and_then(|record| record.public_address.clone()) else {
            return;
        };
        let address = had.id.clone();
        let listed = self.input.inventory.addresses.contains_key(&address);
        let subject = address_subject(machine);
        if !listed && !self.is_gone(&subject, Question::Address(address.clone())) {
            return;
        }
        if !self.ours_still(&address) {
            self.miss(&had);
            self.set_address(machine, None);
            return;
        }
        let action = Action::ReleaseAddress { address };
        self.step(Step::new(subject, action, reason));
    }

    /// Whether a recorded address is still leased to a network of ours.
    fn ours_still(&self, address: &AddressId) -> bool {
        let row = self.input.inventory.addresses.get(address);
        row.is_some_and(|row| {
            self.plan.ledger.vpc.is_none() || row.vpc.is_none() || row.vpc == self.any_vpc()
        })
    }

    /// The VPC by id, whatever state it is in.
    pub(super) fn any_vpc(&self) -> Option<VpcId> {
        match &self.spec().network.vpc {
            crate::types::stack::VpcSpec::Existing { id } => Some(id.clone()),
            crate::types::stack::VpcSpec::Owned { .. } => self.plan.ledger.vpc.clone(),
        }
    }

    /// Addresses that a lost command left half taken, or that were taken for one that turned up
    /// again. Those half taken are in no list but that of the stuck ones, so only that tells when
    /// they are given back.
    pub(super) fn release_strays(&mut self) {
        for address in self.plan.ledger.strays.clone() {
            let subject = format!("stray {address}");
            if self.busy(&subject) {
                continue;
            }
            let vpc = self.any_vpc();
            let row = self.input.inventory.addresses.get(&address);
            let listed = row.is_some_and(|row| row.vpc.is_some() && row.vpc == vpc);
            let stuck = match self.ask(Question::StuckAddresses) {
                Some(Answer::Addresses(stuck)) => stuck.iter().any(|row| row.id == address),
                _ => continue,
            };
            if !listed && !stuck {
                // Under another network it is another's lease by now.
                if row.is_some() || self.is_gone(&subject, Question::Address(address.clone())) {
                    self.plan.ledger.strays.remove(&address);
                }
                continue;
            }
            let action = Action::ReleaseAddress { address };
            self.step(Step::new(subject, action, "no machine has it"));
        }
    }
}

fn record_now(planner: &Planner<'_>, machine: &str) -> MachineRecord {
    planner.plan.ledger.machines[machine].clone()
}
