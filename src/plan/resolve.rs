//! What became of the commands that were sent: read off the look, or asked of the job.
//!
//! A command's effect, once visible, settles it, whatever its job says. Where it is not visible,
//! the job is asked; and "failed" or "lost" never means "did not happen".

use std::time::Duration;

use super::{Input, Planner, remedy::elapsed, settle};
use crate::types::{
    action::{Action, Answer, JobOutcome, Question, VmChange},
    id::{AddressId, VmId, VpcId},
    inventory::{AclRule, Address, Inventory, Vm, VmState},
    ledger::{Pending, PublicAddress},
    stack::RuleSpec,
};

/// How long a request that nobody remembers may still be on its way: a controller can be killed
/// between sending a request and CloudStack taking it in.
const STILL_ON_ITS_WAY: Duration = Duration::from_secs(5);

impl Planner<'_> {
    /// Settles every pending command that can be settled; asks about the others.
    pub(super) fn resolve(&mut self) {
        self.try_anew();
        for pending in std::mem::take(&mut self.plan.ledger.pending) {
            if let Some(open) = self.resolve_one(pending) {
                self.plan.ledger.pending.push(open);
            }
        }
        let now = self.input.now;
        self.plan.ledger.parked.retain(|parked| parked.until > now);
        for record in self.plan.ledger.machines.values_mut() {
            record.held.retain(|held| held.until > now);
        }
    }

    /// A new spec may be what a refused command was waiting for: what failed under the old one
    /// rests no longer.
    fn try_anew(&mut self) {
        let stack = self.input.stack;
        let generation = stack.metadata.generation.unwrap_or_default();
        let told = stack
            .status
            .as_ref()
            .map(|status| status.observed_generation);
        if told.is_some_and(|told| told != generation) {
            self.plan.ledger.failures.clear();
        }
    }

    /// Gives back what stays open.
    fn resolve_one(&mut self, pending: Pending) -> Option<Pending> {
        let inventory = self.input.inventory;
        if visible(&pending, inventory) {
            self.took_effect(&pending, None);
            return None;
        }
        if pending.action.synchronous() {
            return self.resolve_synchronous(pending);
        }
        if let Action::DeployVm(deploy) = &pending.action
            && self.refused_for_its_place(&deploy.machine, &pending.job)
        {
            let (now, reason) = (self.input.now, "AddressHeld");
            let message = format!(
                "{} is taken, perhaps by a VM that this account cannot see",
                deploy.address
            );
            self.warn(&pending.subject, reason, message.clone());
            settle::failed(&mut self.plan.ledger, &pending, reason, &message, now);
            return None;
        }
        if locked(&pending, inventory) {
            return self.still_running(pending);
        }
        // What became of its job is known; another list is what is waited for.
        if self.rests(pending.job.as_str()) {
            return Some(pending);
        }
        match &inventory.jobs {
            None => {
                self.plan.needs_jobs = true;
                return Some(pending);
            }
            Some(jobs) if jobs.contains(&pending.job) => return self.still_running(pending),
            Some(_) => {}
        }
        match self.ask(Question::Job(pending.job.clone())) {
            Some(Answer::Job(outcome)) => self.job_ended(pending, outcome),
            _ => Some(pending),
        }
    }

    fn took_effect(&mut self, pending: &Pending, resource: Option<&str>) {
        let now = self.input.now;
        match (&pending.action, resource.or(pending.resource.as_deref())) {
            (Action::AssociateAddress { .. }, Some(id)) => self.adopt_address(pending, id),
            _ => settle::succeeded(&mut self.plan.ledger, pending, resource, now),
        }
    }

    fn adopt_address(&mut self, pending: &Pending, id: &str) {
        let id = AddressId::new(id);
        let Some(row) = self.input.inventory.addresses.get(&id) else {
            return;
        };
        self.plan.ledger.failures.remove(&pending.subject);
        let machine = pending.subject.trim_start_matches("address ");
        let Some(record) = self.plan.ledger.machines.get_mut(machine) else {
            self.plan.ledger.strays.insert(id);
            return;
        };
        // An address that is handed out was free: its release as a stray is over.
        self.plan.ledger.strays.remove(&id);
        let lost = record.lost_address.take();
        record.lost_address_taken = false;
        record.public_address = Some(PublicAddress {
            id,
            ip: row.ip,
            cleaned: false,
            leased: row.leased,
        });
        if let Some(lost) = lost.filter(|lost| *lost != row.ip) {
            let message = format!("public address {lost} was lost; it is {} now", row.ip);
            self.warn(&pending.subject, "AddressReplaced", message);
        }
    }

    /// A synchronous command whose effect does not show had none, once it cannot be on its way.
    fn resolve_synchronous(&mut self, pending: Pending) -> Option<Pending> {
        if let Action::CreateTier { vpc, cidr, .. } = &pending.action
            && let Some(found) = self.marked_tier(vpc, *cidr)
        {
            self.took_effect(&pending, Some(found.as_str()));
            return None;
        }
        self.on_its_way(&pending).then_some(pending)
    }

    /// Whether a request that nobody remembers may yet arrive. Steps of one round wait for their
    /// turn, so one that an earlier controller recorded long ago may have been sent at its end.
    fn on_its_way(&self, pending: &Pending) -> bool {
        self.sent_ago(pending) < STILL_ON_ITS_WAY
    }

    /// Time since a request was sent at the latest.
    fn sent_ago(&self, pending: &Pending) -> Duration {
        let Input { began, now, .. } = self.input;
        // A beginning that lies ahead was told by a clock that has been set back since.
        let began = if began > now { pending.since } else { began };
        elapsed(pending.since.max(began), now)
    }

    fn still_running(&mut self, pending: Pending) -> Option<Pending> {
        let age = self.age(&pending);
        if age > self.input.limits.job_timeout.get() {
            let message = format!(
                "{} (job {}) has not ended for {} minutes; CloudStack may need an operator",
                pending.action.command(),
                pending.job,
                age.as_secs() / 60
            );
            self.blocked(&pending.subject, "JobStuck", message);
        }
        Some(pending)
    }

    fn age(&self, pending: &Pending) -> Duration {
        elapsed(pending.since, self.input.now)
    }

    fn job_ended(&mut self, pending: Pending, outcome: &JobOutcome) -> Option<Pending> {
        match outcome {
            JobOutcome::Running => self.still_running(pending),
            JobOutcome::Succeeded { resource } => self.job_succeeded(pending, resource.as_deref()),
            JobOutcome::Failed {
                code,
                text,
                resource,
            } => {
                let id = resource.as_deref().or(pending.resource.as_deref());
                // A failure need not give the address back that it took.
                if let (Action::AssociateAddress { .. }, Some(id)) = (&pending.action, id)
                    && !self.give_back_if_stuck(&pending.subject, id)
                {
                    return Some(pending);
                }
                let message = format!("{text} (errorcode {code})");
                self.job_failed(&pending, *code, &message, id);
                None
            }
            JobOutcome::Lost { resource } => {
                let resource = resource.as_deref().or(pending.resource.as_deref());
                let resource = resource.map(str::to_owned);
                self.job_lost(pending, resource.as_deref())
            }
            // One that was answered with what it makes did arrive, whatever became of its job.
            JobOutcome::Unknown => match pending.resource.clone() {
                Some(resource) => self.job_lost(pending, Some(&resource)),
                None => self.never_arrived(pending),
            },
        }
    }

    fn job_succeeded(&mut self, pending: Pending, resource: Option<&str>) -> Option<Pending> {
        let id = resource.or(pending.resource.as_deref()).map(str::to_owned);
        // An address must be seen before it is taken over: its row has the address itself.
        let address = matches!(pending.action, Action::AssociateAddress { .. });
        let seen = id.as_ref().is_some_and(|id| {
            self.input
                .inventory
                .addresses
                .contains_key(&AddressId::new(id.as_str()))
        });
        if address && !seen && self.sent_ago(&pending) < 12 * STILL_ON_ITS_WAY {
            return Some(Pending {
                resource: id,
                ..pending
            });
        }
        self.took_effect(&pending, id.as_deref());
        None
    }

    fn job_failed(&mut self, pending: &Pending, code: u16, message: &str, resource: Option<&str>) {
        let now = self.input.now;
        let reason = match job_failure_reason(&pending.action, code) {
            // Whoever may expunge has nothing in the tier that only time removes.
            "TierHeld" if self.input.catalogue.rights.expunge => "JobFailed",
            reason => reason,
        };
        if let (Action::DeployVm(deploy), Some(id)) = (&pending.action, resource) {
            self.discard_vm(&deploy.machine, &VmId::new(id), "its deploy failed");
        }
        self.warn(
            &pending.subject,
            reason,
            format!("{} failed: {message}", pending.action.command()),
        );
        settle::failed(&mut self.plan.ledger, pending, reason, message, now);
    }

    /// Puts a VM that a deploy left behind among those to be destroyed, if it is there at all.
    fn discard_vm(&mut self, machine: &str, vm: &VmId, reason: &str) {
        if self.input.inventory.vms.contains_key(vm) {
            self.part_with(machine, vm, reason);
        }
    }

    /// The same, whether or not a list shows it.
    fn part_with(&mut self, machine: &str, vm: &VmId, reason: &str) {
        let since = self.input.now;
        if let Some(record) = self.plan.ledger.machines.get_mut(machine)
            && !record.knows_vm(vm)
        {
            record.parts_with(vm.clone(), reason, since);
        }
    }

    /// The management server went away: keep what took effect, and let the plan repeat the rest.
    fn job_lost(&mut self, pending: Pending, resource: Option<&str>) -> Option<Pending> {
        let inventory = self.input.inventory;
        let message = format!(
            "CloudStack lost the job of {}; looking what came of it",
            pending.action.command()
        );
        let found = match (&pending.action, resource) {
            (Action::DeployVm(_), Some(id)) => inventory
                .vms
                .contains_key(&VmId::new(id))
                .then(|| id.to_owned()),
            (action, _) if known_by_its_mark(action) => match self.made_nevertheless(&pending) {
                None => return Some(pending),
                Some(found) => found,
            },
            (Action::AssociateAddress { .. }, Some(id)) => return self.address_lost(pending, id),
            _ => None,
        };
        if let (Action::DeployVm(deploy), Some(id), None) = (&pending.action, resource, &found) {
            // No list shows it: it never came to be, or somebody destroyed it before it was known,
            // and it holds its place and the tier until it is purged.
            self.part_with(&deploy.machine, &VmId::new(id), "its deploy was lost");
        }
        self.note(&pending.subject, "JobLost", message);
        if let Some(id) = found {
            self.took_effect(&pending, Some(&id));
        }
        None
    }

    /// An address whose job was lost is allocated, stuck half-way, or not ours at all.
    fn address_lost(&mut self, pending: Pending, id: &str) -> Option<Pending> {
        let address = AddressId::new(id);
        if self
            .input
            .inventory
            .addresses
            .get(&address)
            .is_some_and(allocated)
        {
            self.took_effect(&pending, Some(id));
            return None;
        }
        let known = self.give_back_if_stuck(&pending.subject, id);
        (!known).then_some(pending)
    }

    /// Has an address given back if it is stuck half-way; says whether it is known by now.
    fn give_back_if_stuck(&mut self, subject: &str, id: &str) -> bool {
        let Some(answer) = self.ask(Question::StuckAddresses) else {
            return false;
        };
        if let Answer::Addresses(stuck) = answer
            && stuck.iter().any(|row| row.id.as_str() == id)
        {
            let message = format!("address {id} is stuck in Allocating; giving it back");
            self.warn(subject, "AddressStuck", message);
            self.plan.ledger.strays.insert(AddressId::new(id));
        }
        true
    }

    /// What a create made whose job cannot tell any more, by the mark on it, or by its lease. Nothing
    /// while that is being asked: one list that lacks it does not decide, since what is made again is
    /// there twice.
    fn made_nevertheless(&mut self, pending: &Pending) -> Option<Option<String>> {
        let found = match &pending.action {
            Action::CreateVpc { .. } => {
                let mut marked = self.input.inventory.vpcs_of_stack(self.uid);
                marked.next().map(|vpc| vpc.id.to_string())
            }
            Action::CreateAclList { vpc, .. } => {
                let marked = self.marked_acl_list(vpc)?;
                marked.map(|list| list.to_string())
            }
            Action::CreateAffinityGroup { name, .. } => {
                let named = match self.ask(Question::AffinityGroups)? {
                    Answer::AffinityGroups(groups) => groups.iter().find(|row| row.name == *name),
                    _ => None,
                };
                named.map(|group| group.id.to_string())
            }
            Action::AssociateAddress { vpc, .. } if self.plan.ledger.vpc.as_ref() == Some(vpc) => {
                let leased = self.leased_meanwhile(pending, vpc)?;
                leased.map(|address| address.to_string())
            }
            _ => return Some(None),
        };
        (found.is_some() || self.missed_again(pending.job.as_str())).then_some(found)
    }

    /// CloudStack knows nothing of the job: the request never arrived, unless it is late, or it
    /// took effect and its job is forgotten.
    fn never_arrived(&mut self, pending: Pending) -> Option<Pending> {
        if self.on_its_way(&pending) {
            return Some(pending);
        }
        let command = pending.action.command();
        let Some(made) = self.made_nevertheless(&pending) else {
            return Some(pending);
        };
        if let Some(found) = made {
            let message = format!("CloudStack forgot the job of {command}, which worked");
            self.note(&pending.subject, "JobLost", message);
            self.took_effect(&pending, Some(&found));
            return None;
        }
        let message = format!("{command} never arrived; it is sent again");
        self.note(&pending.subject, "RequestLost", message);
        None
    }
}

/// Whether only a mark in a list tells of what a command made whose job is forgotten.
fn known_by_its_mark(action: &Action) -> bool {
    matches!(action, Action::CreateVpc { .. }) || action.made_at_submit()
}

/// Why a job failed, as the one word that decides how soon it is tried again.
fn job_failure_reason(action: &Action, code: u16) -> &'static str {
    match (action, code) {
        (Action::DeleteTier { .. }, 530) => "TierHeld",
        (_, 533 | 535) => "InsufficientCapacity",
        (_, 431 | 432) => "Rejected",
        _ => "JobFailed",
    }
}

pub(super) fn allocated(row: &Address) -> bool {
    row.state == "Allocated" && row.vpc.is_some()
}

/// Whether the row that the command works on shows a job at work on it.
fn locked(pending: &Pending, inventory: &Inventory) -> bool {
    let vm = |vm: &VmId| inventory.vms.get(vm).is_some_and(|vm| vm.job.is_some());
    match &pending.action {
        Action::DeployVm(_) => pending
            .resource
            .as_ref()
            .is_some_and(|id| vm(&VmId::new(id.as_str()))),
        Action::StartVm { vm: id }
        | Action::StopVm { vm: id }
        | Action::RebootVm { vm: id }
        | Action::DestroyVm { vm: id, .. }
        | Action::ExpungeVm { vm: id }
        | Action::ReimageVm { vm: id, .. }
        | Action::MoveNic { vm: id, .. }
        | Action::SetAffinityGroups { vm: id, .. } => vm(id),
        _ => false,
    }
}

/// Whether a look shows the effect of a command.
pub(super) fn visible(pending: &Pending, inventory: &Inventory) -> bool {
    match &pending.action {
        // A VPC is Enabled from its first moment; only its job tells when its router is up.
        Action::CreateVpc { .. } => {
            let jobs = inventory.jobs.as_ref();
            let ended = jobs.is_some_and(|jobs| !jobs.contains(&pending.job));
            let id = pending.resource.as_deref().map(VpcId::new);
            ended && id.is_some_and(|id| inventory.vpcs.contains_key(&id))
        }
        Action::CreateTier { .. } => pending.resource.as_ref().is_some_and(|id| {
            inventory
                .networks
                .values()
                .any(|network| network.id.as_str() == id)
        }),
        Action::ReplaceAcl { tier, acl } => inventory
            .networks
            .get(tier)
            .is_some_and(|network| network.acl.as_ref() == Some(acl)),
        Action::CreateAclRule { acl, number, rule } => inventory
            .rules_of(acl)
            .any(|have| have.number == *number && settled(have, rule)),
        Action::UpdateAclRule { id, number, rule } => inventory
            .rules
            .get(id)
            .is_some_and(|have| have.number == *number && settled(have, rule)),
        Action::DeleteAclRule { id } => !inventory.rules.contains_key(id),
        Action::AssociateAddress { .. } => pending.resource.as_ref().is_some_and(|id| {
            inventory
                .addresses
                .get(&AddressId::new(id.as_str()))
                .is_some_and(allocated)
        }),
        Action::EnableStaticNat { address, vm, .. } => inventory
            .addresses
            .get(address)
            .is_some_and(|row| row.vm.as_ref() == Some(vm)),
        Action::DisableStaticNat { address } => inventory
            .addresses
            .get(address)
            .is_none_or(|row| row.vm.is_none()),
        Action::DeployVm(_)
        | Action::StartVm { .. }
        | Action::StopVm { .. }
        | Action::DestroyVm { .. }
        | Action::UpdateVm { .. }
        | Action::ChangeOffering { .. }
        | Action::MoveNic { .. }
        | Action::SetAffinityGroups { .. } => visible_on_a_vm(pending, inventory),
        Action::Tag {
            resources, tags, ..
        } => resources
            .iter()
            .all(|id| tags.iter().all(|tag| has_tag(inventory, id, tag))),
        Action::Untag { resource, keys, .. } => tags_of(inventory, resource)
            .is_none_or(|tags| !keys.iter().any(|key| tags.contains_key(key))),
        // No list shows these, or only by what it lacks, and a list may lack what is there. Their
        // jobs tell.
        Action::DeleteVpc { .. }
        | Action::DeleteTier { .. }
        | Action::ReleaseAddress { .. }
        | Action::CreateAclList { .. }
        | Action::DeleteAclList { .. }
        | Action::CreateAffinityGroup { .. }
        | Action::DeleteAffinityGroup { .. }
        | Action::RebootVm { .. }
        | Action::ReimageVm { .. }
        | Action::ExpungeVm { .. } => false,
    }
}

/// The same for commands that change a single VM.
fn visible_on_a_vm(pending: &Pending, inventory: &Inventory) -> bool {
    let vm = |vm: &VmId| inventory.vms.get(vm);
    let vm_is = |id: &VmId, test: &dyn Fn(&Vm) -> bool| {
        vm(id).is_some_and(|vm| vm.job.is_none() && test(vm))
    };
    match &pending.action {
        Action::DeployVm(_) => pending
            .resource
            .as_ref()
            .is_some_and(|id| vm_is(&VmId::new(id.as_str()), &|vm| !vm.state.transitional())),
        Action::StartVm { vm } => vm_is(vm, &|vm| vm.state == VmState::Running),
        Action::StopVm { vm } => vm_is(vm, &|vm| vm.state == VmState::Stopped),
        Action::DestroyVm { vm: id, expunge } => {
            !expunge && vm(id).is_some_and(|vm| vm.state.dead())
        }
        Action::UpdateVm { vm: id, change } => vm(id).is_some_and(|vm| has_change(vm, change)),
        Action::ChangeOffering { vm, offering } => {
            vm_is(vm, &|vm| vm.offering.as_ref() == Some(offering))
        }
        Action::MoveNic { vm, nic, address } => vm_is(vm, &|vm| {
            vm.nics
                .iter()
                .any(|have| have.id == *nic && have.address == Some(*address))
        }),
        Action::SetAffinityGroups { vm, groups } => vm_is(vm, &|vm| {
            vm.affinity_groups == groups.iter().cloned().collect()
        }),
        _ => false,
    }
}

fn settled(have: &AclRule, want: &RuleSpec) -> bool {
    have.state == "Active" && super::rules::same(have, want)
}

fn has_change(vm: &Vm, change: &VmChange) -> bool {
    match change {
        VmChange::Name(name) => vm.name == *name,
        VmChange::DisplayName(name) => vm.display_name == *name,
        VmChange::Details(details) => details
            .iter()
            .all(|(key, value)| vm.details.get(key) == Some(value)),
        VmChange::UserData { hash, .. } => vm.user_data_hash.as_ref() == Some(hash),
    }
}

fn has_tag(inventory: &Inventory, id: &str, (key, value): (&String, &String)) -> bool {
    tags_of(inventory, id).is_some_and(|tags| tags.get(key) == Some(value))
}

fn tags_of<'a>(inventory: &'a Inventory, id: &str) -> Option<&'a crate::types::inventory::Tags> {
    let vm = inventory.vms.get(&VmId::new(id)).map(|vm| &vm.tags);
    vm.or_else(|| {
        inventory
            .addresses
            .get(&AddressId::new(id))
            .map(|address| &address.tags)
    })
}
