//! How the ledger follows what was sent and what came back. Pure, like the planner.
//!
//! [`commit`] writes every step down before it is sent; [`submitted`] takes in the immediate
//! answer. What became of a job is read off a later look, in `resolve`.

use std::time::Duration;

use jiff::Timestamp;

use super::Step;
use crate::types::{
    action::{Action, Deploy, VmChange},
    id::{AclId, AddressId, AffinityGroupId, JobId, NetworkId, VmId, VpcId},
    ledger::{
        Failure, Held, Ledger, MAX_DEPLOYS, MAX_HELD, MachineRecord, Parked, Pending, Remediation,
    },
    role::Role,
};

/// How long CloudStack may keep a destroyed VM: `expunge.delay` and `expunge.interval`, a day
/// each by default.
pub const PURGED_WITHIN: Duration = Duration::from_secs(2 * 86_400);

/// What came back at once from a submitted step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Submitted {
    /// CloudStack works on it.
    Job {
        /// The id of what is being made, where the answer gave one.
        resource: Option<String>,
    },
    /// It is done.
    Done {
        /// The id of what was made, where the answer gave one.
        resource: Option<String>,
    },
    /// Nobody knows whether it took effect.
    Uncertain {
        /// What was seen instead of an answer.
        message: String,
    },
    /// It was refused and had no effect.
    Refused {
        /// One CamelCase word.
        reason: &'static str,
        /// What CloudStack said.
        message: String,
    },
}

/// Records steps as pending, each under a job id of its own, in the order given.
///
/// The caller stores the ledger, flushed, before it sends any of them.
pub fn commit(
    ledger: &mut Ledger,
    steps: &[Step],
    mut job_id: impl FnMut() -> JobId,
    now: Timestamp,
) -> Vec<JobId> {
    steps
        .iter()
        .map(|step| commit_one(ledger, step, job_id(), now))
        .collect()
}

fn commit_one(ledger: &mut Ledger, step: &Step, job: JobId, now: Timestamp) -> JobId {
    if let Some((machine, rung)) = &step.remedy
        && let Some(record) = ledger.machines.get_mut(machine)
    {
        let (rung, reason) = (*rung, step.reason.clone());
        record.remediated(Remediation {
            rung,
            at: now,
            reason,
        });
    }
    match &step.action {
        Action::DeployVm(deploy) => {
            if let Some(record) = ledger.machines.get_mut(&deploy.machine) {
                record.deploys.push(job.clone());
                keep_last(&mut record.deploys, MAX_DEPLOYS);
                let deploys = &record.deploys;
                record.made.retain(|job, _| deploys.contains(job));
            }
        }
        Action::StopVm { vm } => {
            if let Some(record) = record_of(ledger, vm) {
                record.updating = true;
            }
        }
        Action::MoveNic { address, .. }
            if !ledger
                .machines
                .values()
                .any(|record| record.private_address == *address) =>
        {
            ledger.parked.push(Parked {
                address: *address,
                until: now + PURGED_WITHIN,
            });
        }
        _ => {}
    }
    ledger.pending.push(Pending {
        subject: step.subject.clone(),
        action: step.action.clone(),
        reason: step.reason.clone(),
        job: job.clone(),
        since: now,
        resource: None,
    });
    job
}

fn keep_last<T>(list: &mut Vec<T>, most: usize) {
    let surplus = list.len().saturating_sub(most);
    list.drain(..surplus);
}

/// Takes in the immediate answer to a submitted step.
pub fn submitted(ledger: &mut Ledger, job: &JobId, answer: &Submitted, now: Timestamp) {
    let Some(place) = ledger
        .pending
        .iter()
        .position(|pending| pending.job == *job)
    else {
        return;
    };
    match answer {
        Submitted::Done { resource } => {
            let pending = ledger.pending.remove(place);
            succeeded(ledger, &pending, resource.as_deref(), now);
        }
        Submitted::Job { resource } => {
            ledger.pending[place].resource.clone_from(resource);
            // The row of these exists once the submit is answered, and no list of a look shows
            // it; the job only reports it.
            if resource.is_some() && ledger.pending[place].action.made_at_submit() {
                let pending = ledger.pending.remove(place);
                succeeded(ledger, &pending, resource.as_deref(), now);
            }
        }
        Submitted::Uncertain { .. } => {}
        Submitted::Refused { reason, message } => {
            let pending = ledger.pending.remove(place);
            failed(ledger, &pending, reason, message, now);
        }
    }
}

/// Records what a command that took effect made or changed.
pub(super) fn succeeded(
    ledger: &mut Ledger,
    pending: &Pending,
    resource: Option<&str>,
    now: Timestamp,
) {
    ledger.failures.remove(&pending.subject);
    let resource = resource.or(pending.resource.as_deref());
    match (&pending.action, resource) {
        (Action::CreateVpc { .. }, Some(id)) => ledger.vpc = Some(VpcId::new(id)),
        (Action::CreateAclList { .. }, Some(id)) => ledger.acl = Some(AclId::new(id)),
        (Action::CreateTier { .. }, Some(id)) => {
            ledger.tier = Some(NetworkId::new(id));
            ledger.tier_held_until = None;
        }
        (Action::CreateAffinityGroup { .. }, Some(id)) => {
            let role = pending
                .subject
                .rsplit(' ')
                .next()
                .and_then(|word| word.parse::<Role>().ok());
            if let Some(role) = role {
                ledger
                    .affinity_groups
                    .insert(role, AffinityGroupId::new(id));
            }
        }
        (Action::DeleteVpc { .. }, _) => (ledger.vpc, ledger.acl) = (None, None),
        (Action::DeleteAclList { .. }, _) => ledger.acl = None,
        (Action::DeleteTier { .. }, _) => ledger.tier = None,
        (Action::DeleteAffinityGroup { group }, _) => {
            ledger.affinity_groups.retain(|_, known| known != group);
        }
        // What was given back as a stray may be a machine's by now: CloudStack hands out the same
        // address again.
        (Action::ReleaseAddress { address }, _) if pending.subject.starts_with("stray ") => {
            ledger.strays.remove(address);
        }
        (Action::ReleaseAddress { address }, _) => forget_address(ledger, address),
        (Action::DeployVm(deploy), Some(id)) => {
            deployed(ledger, deploy, &pending.job, &VmId::new(id));
        }
        _ => changed(ledger, &pending.action, now),
    }
}

fn deployed(ledger: &mut Ledger, deploy: &Deploy, job: &JobId, vm: &VmId) {
    let Some(record) = ledger.machines.get_mut(&deploy.machine) else {
        return;
    };
    record.vm = Some(vm.clone());
    if record.deploys.contains(job) {
        record.made.insert(job.clone(), vm.clone());
    }
    record.ends();
    record.user_data = Some(deploy.user_data_hash.clone());
    record.user_data_image.clone_from(&deploy.user_data_image);
    record.imaged(deploy.template.clone());
}

fn changed(ledger: &mut Ledger, action: &Action, now: Timestamp) {
    match action {
        Action::StartVm { vm } | Action::RebootVm { vm } => {
            if let Some(record) = record_of(ledger, vm) {
                record.begins(now);
                record.updating = false;
            }
        }
        Action::ReimageVm { vm, template } => {
            if let Some(record) = record_of(ledger, vm) {
                record.begins(now);
                record.imaged(template.clone());
            }
        }
        Action::ExpungeVm { vm } | Action::DestroyVm { vm, expunge: true } => {
            for record in ledger.machines.values_mut() {
                record.former.retain(|former| former.vm != *vm);
            }
        }
        Action::DestroyVm { vm, expunge: false } => {
            let machines = ledger.machines.values_mut();
            let former = machines.flat_map(|record| &mut record.former);
            for former in former.filter(|former| former.vm == *vm) {
                former.destroyed = true;
            }
        }
        Action::UpdateVm {
            vm,
            change: VmChange::UserData { hash, image, .. },
        } => {
            if let Some(record) = record_of(ledger, vm) {
                record.user_data = Some(hash.clone());
                record.user_data_image.clone_from(image);
            }
        }
        _ => {}
    }
}

fn record_of<'a>(ledger: &'a mut Ledger, vm: &VmId) -> Option<&'a mut MachineRecord> {
    ledger
        .machines
        .values_mut()
        .find(|record| record.vm.as_ref() == Some(vm))
}

fn forget_address(ledger: &mut Ledger, address: &AddressId) {
    for record in ledger.machines.values_mut() {
        if record.holds(address) {
            record.public_address = None;
        }
    }
}

/// Records a failure, and when the subject may be tried again.
pub(super) fn failed(
    ledger: &mut Ledger,
    pending: &Pending,
    reason: &str,
    message: &str,
    now: Timestamp,
) {
    learn(ledger, &pending.action, reason, now);
    let times = ledger
        .failures
        .get(&pending.subject)
        .map_or(0, |failure| failure.times)
        + 1;
    // Another address may be asked for at once.
    let wait = match pending.action {
        Action::AssociateAddress { ip: Some(_), .. } if times == 1 => Duration::ZERO,
        _ => back_off(reason, times, &pending.subject),
    };
    let failure = Failure {
        command: pending.action.command().to_owned(),
        reason: reason.to_owned(),
        message: message.to_owned(),
        times,
        at: now,
        retry_after: now + wait,
    };
    ledger.failures.insert(pending.subject.clone(), failure);
}

/// What some refusals teach beyond "try again later".
fn learn(ledger: &mut Ledger, action: &Action, reason: &str, now: Timestamp) {
    match action {
        Action::DeployVm(deploy) if matches!(reason, "NameHeld" | "AddressHeld") => {
            if let Some(record) = ledger.machines.get_mut(&deploy.machine) {
                hold(record, &deploy.machine, None, now);
            }
        }
        Action::AssociateAddress { ip: Some(ip), .. }
            if !matches!(reason, "Throttled" | "Unauthorized") =>
        {
            for record in ledger.machines.values_mut() {
                record.lost_address_taken |= record.lost_address == Some(*ip);
            }
        }
        _ => {}
    }
}

/// Notes that a dead VM holds a machine's name and address, and gives the machine the next name.
/// The planner gives it another address, see `records`.
pub(super) fn hold(record: &mut MachineRecord, machine: &str, vm: Option<&VmId>, now: Timestamp) {
    record.held.push(Held {
        host_name: record.host_name.clone(),
        private_address: record.private_address,
        vm: vm.cloned(),
        until: now + PURGED_WITHIN,
    });
    keep_last(&mut record.held, MAX_HELD);
    let taken = |name: &str| record.held.iter().any(|held| held.host_name == name);
    let next = (1..)
        .map(|n| format!("{machine}-r{n}"))
        .find(|name| !taken(name));
    record.host_name = next.expect("an endless range has a free number");
}

/// How long a subject rests after failing so many times in a row.
///
/// Doubling from a base that fits the reason, up to a ceiling, with up to a quarter more so that
/// machines that failed together do not come back together. The "random" part is drawn from the
/// subject, since a planner that is the same twice must not roll dice.
fn back_off(reason: &str, times: u32, subject: &str) -> Duration {
    let (base, ceiling) = match reason {
        // The next name and address are tried at once, and those after them ever more slowly: each
        // refusal can leave a wreck.
        "NameHeld" | "AddressHeld" if times == 1 => (0, 0),
        "NameHeld" | "AddressHeld" => (1, 600),
        "Rejected" => (30, 600),
        "InsufficientCapacity" => (20, 600),
        "Unauthorized" => (60, 600),
        "TierHeld" => (600, 600),
        _ => (3, 300),
    };
    let seconds = (base << times.saturating_sub(1).min(10)).min(ceiling);
    let hash = subject.bytes().fold(u64::from(times), |hash, byte| {
        hash.wrapping_mul(31).wrapping_add(u64::from(byte))
    });
    Duration::from_millis(seconds * 1000 + hash % (seconds * 250 + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn back_off_grows_to_its_ceiling_and_stays_there() {
        let wait = |times| back_off("InUse", times, "machine a");
        assert!(wait(1) >= Duration::from_secs(3) && wait(1) < Duration::from_secs(4));
        assert!(wait(3) > wait(2) && wait(2) > wait(1));
        assert!(wait(60) >= Duration::from_secs(300) && wait(60) <= Duration::from_secs(375));
    }
}
