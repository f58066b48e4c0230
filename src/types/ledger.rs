//! What Weir has recorded of the resources it made: the one durable memory of the loop.
//!
//! The ledger is part of a stack's status and is written, flushed, *before* each command that
//! it speaks of. An id in it is ours even where every mark in CloudStack was wiped; a mark in
//! CloudStack without an entry here proves nothing.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::Ipv4Addr,
};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    action::Action,
    id::{AclId, AddressId, AffinityGroupId, JobId, NetworkId, TemplateId, VmId, VpcId},
    role::Role,
};

/// Everything that Weir made for one stack.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Ledger {
    /// The VPC, where Weir made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vpc: Option<VpcId>,
    /// The network ACL list, where Weir made it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub acl: Option<AclId>,
    /// The tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier: Option<NetworkId>,
    /// The affinity group of each role that has one.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub affinity_groups: BTreeMap<Role, AffinityGroupId>,
    /// One entry for each machine, by the name of the `Machine`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub machines: BTreeMap<String, MachineRecord>,
    /// Commands that were sent, or were about to be, and whose outcome is not known yet.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub pending: Vec<Pending>,
    /// The last failure of each subject, until it succeeds.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub failures: BTreeMap<String, Failure>,
    /// Fingerprints of what was wanted of each subject when it was last found in sync. A
    /// difference from the same wish is drift; one from a new wish is a change.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub applied: BTreeMap<String, u32>,
    /// What was there and is gone, by subject, until it is there again.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub lost: BTreeMap<String, Lost>,
    /// What is recorded and was neither listed nor known by its id, by that id, and since when.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub absent: BTreeMap<String, Timestamp>,
    /// Public addresses that were taken for gone, with when their lease began: one that is seen with
    /// that lease is still ours. At most [`MAX_MISSED`].
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    #[schemars(with = "BTreeMap<String, String>")]
    pub missed: BTreeMap<AddressId, Timestamp>,
    /// Public addresses that no machine has, left by lost commands and false looks, to be given back.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub strays: BTreeSet<AddressId>,
    /// Until when destroyed VMs hold the tier, where the account may not expunge them.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub tier_held_until: Option<Timestamp>,
    /// Addresses of the tier that destroyed VMs were parked on, until they are purged.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub parked: Vec<Parked>,
    /// Whether the site's etcd exists: its founder has been up, and one of its members still has its
    /// disk. From then on every machine joins it.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub etcd_founded: bool,
    /// Name servers that may have records of the stack, of which it is not the owner.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub name_servers: BTreeSet<NameServer>,
    /// Foreign resources in our tier that were told once.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub told: BTreeSet<String>,
}

/// A name server that the stack's names were put on. Written before they are.
#[derive(
    Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub struct NameServer {
    /// Where it listens, with its port.
    pub address: String,
    /// The name of the key that it knows Weir by.
    pub key_name: String,
    /// The domain that the names are in.
    pub domain: String,
    /// The Secret, in the stack's namespace, that has the key.
    pub secret: String,
}

impl NameServer {
    /// Whether both speak of the same names.
    #[must_use]
    pub fn same_names(&self, other: &Self) -> bool {
        let names = |one: &Self| {
            (
                one.address.clone(),
                one.key_name.clone(),
                one.domain.clone(),
            )
        };
        names(self) == names(other)
    }
}

/// What Weir knows of one machine, whichever VM realises it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct MachineRecord {
    /// Its role.
    pub role: Role,
    /// Its number within the role, from 0.
    pub index: u32,
    /// The host name of its VM.
    pub host_name: String,
    /// Its address in the tier.
    pub private_address: Ipv4Addr,
    /// Its public address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub public_address: Option<PublicAddress>,
    /// A public address that it had and lost; asked for again before any other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub lost_address: Option<Ipv4Addr>,
    /// Whether it was refused when it was asked for again: any other will do then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub lost_address_taken: bool,
    /// The VM that realises it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmId>,
    /// What its root disk was last made from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<Image>,
    /// SHA-256 of the user data that its VM was last given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data: Option<String>,
    /// SHA-256 of what of it takes effect with a new image only; none where that is all of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_data_image: Option<String>,
    /// Job ids of deploys that were sent for it; at most [`MAX_DEPLOYS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deploys: Vec<JobId>,
    /// The VMs that these deploys are known to have made: no other one is theirs.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub made: BTreeMap<JobId, VmId>,
    /// VMs that realised it before and are still to be destroyed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub former: Vec<Former>,
    /// Names and addresses that a dead VM still holds.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub held: Vec<Held>,
    /// What was done to heal it, newest last; at most [`MAX_REMEDIATIONS`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub remediations: Vec<Remediation>,
    /// When its VM last began to run: started, rebooted or given a new image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub started_at: Option<Timestamp>,
    /// When its probe first succeeded since its VM last began to run; none until it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub served_at: Option<Timestamp>,
    /// Whether its VM was stopped by Weir, to be changed and started again.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub updating: bool,
    /// Whether it is being taken away: scaled in, or its stack deleted.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retiring: bool,
}

/// Remediations that are remembered of a machine: enough for the hourly budget and for a
/// person to see the pattern.
pub const MAX_REMEDIATIONS: usize = 16;

/// Held names and addresses that are remembered of a machine. One that is forgotten is tried
/// again and refused again, which costs a deploy and nothing else.
pub const MAX_HELD: usize = 32;

/// Addresses that are remembered as missed: each costs two lists and an answer that lied.
pub const MAX_MISSED: usize = 16;

/// Deploys that are remembered of a machine, to know a late VM of theirs as ours.
pub const MAX_DEPLOYS: usize = 16;

/// A public address.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct PublicAddress {
    /// Its id; belongs to the address, not to the lease.
    pub id: AddressId,
    /// The address.
    pub ip: Ipv4Addr,
    /// Whether the tags that it brought from a former owner are gone.
    #[serde(default)]
    pub cleaned: bool,
    /// When its lease began, to the second, where that is known. Its id tells nothing of that: the
    /// next lease of the same address has the same id.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>")]
    pub leased: Option<Timestamp>,
}

/// What a root disk was made from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Image {
    /// The template.
    pub template: TemplateId,
    /// SHA-256 of what of the user data took effect with it.
    pub user_data: String,
    /// Whether that makes it a machine of Clearwater's, which takes part in the site's etcd.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub bootstrapped: bool,
}

/// A VM that realised a machine before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Former {
    /// The VM.
    pub vm: VmId,
    /// Why it had to go.
    pub reason: String,
    /// Since when.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// Whether Weir destroyed it, by a command that is known to have done so.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub destroyed: bool,
}

impl Former {
    /// The reason where a list and an answer by its id lacked the VM, or showed it destroyed.
    pub const TAKEN_FOR_GONE: &str = "somebody destroyed it";
}

/// A name or an address that a dead VM holds until CloudStack purges it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Held {
    /// The host name.
    pub host_name: String,
    /// The address in the tier.
    pub private_address: Ipv4Addr,
    /// The dead VM, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vm: Option<VmId>,
    /// When CloudStack purges it at the latest, with its default settings.
    #[schemars(with = "String")]
    pub until: Timestamp,
}

/// Something that was there and is gone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lost {
    /// What was seen instead of it.
    pub have: String,
    /// The CloudStack id that it had.
    pub id: String,
    /// Whether it went with something that is known to be gone, so that it proves no outage.
    #[serde(default)]
    pub explained: bool,
    /// Since when.
    #[schemars(with = "String")]
    pub since: Timestamp,
}

/// An address that a destroyed VM was parked on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Parked {
    /// The address in the tier.
    pub address: Ipv4Addr,
    /// When CloudStack purges the VM at the latest, with its default settings.
    #[schemars(with = "String")]
    pub until: Timestamp,
}

/// One attempt to heal a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Remediation {
    /// Which rung of the ladder.
    pub rung: Rung,
    /// When.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Why.
    pub reason: String,
}

/// The ladder of remediation, mildest first.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
pub enum Rung {
    /// Start a stopped VM.
    Start,
    /// Reboot a VM that does not serve.
    Reboot,
    /// New root disk, same VM.
    Reimage,
    /// New VM, same name and addresses.
    Replace,
    /// New VM in place of one that is gone or broken by no doing of Weir's; beside the ladder, and
    /// within the same budget.
    Redeploy,
}

impl Rung {
    /// The rung as metric label.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Start => "start",
            Self::Reboot => "reboot",
            Self::Reimage => "reimage",
            Self::Replace => "replace",
            Self::Redeploy => "redeploy",
        }
    }
}

/// A command whose outcome is not known yet. Written before the command is sent.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Pending {
    /// What it is done to, like `machine ims-sprout-0`; one pending command a subject.
    pub subject: String,
    /// The command.
    #[schemars(with = "serde_json::Value")]
    pub action: Action,
    /// Why.
    pub reason: String,
    /// The job id that Weir chose (`customjobid`); for a synchronous command just a label.
    pub job: JobId,
    /// When it was recorded.
    #[schemars(with = "String")]
    pub since: Timestamp,
    /// The id that the answer to the submit gave to what is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub resource: Option<String>,
}

/// The last failure of a subject.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Failure {
    /// The command that failed.
    pub command: String,
    /// One CamelCase word.
    pub reason: String,
    /// What CloudStack said.
    pub message: String,
    /// How many times in a row.
    pub times: u32,
    /// When it last failed.
    #[schemars(with = "String")]
    pub at: Timestamp,
    /// Not tried again before.
    #[schemars(with = "String")]
    pub retry_after: Timestamp,
}

impl Ledger {
    /// Whether nothing that Weir made is recorded any more.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.vpc.is_none()
            && self.acl.is_none()
            && self.tier.is_none()
            && self.affinity_groups.is_empty()
            && self.machines.is_empty()
            && self.strays.is_empty()
            && self.pending.is_empty()
    }

    /// Notes a name server that is about to be given names; its key may be in another Secret by now.
    pub fn remember_name_server(&mut self, server: NameServer) {
        self.name_servers.retain(|one| !one.same_names(&server));
        self.name_servers.insert(server);
    }

    /// The pending command on a subject.
    #[must_use]
    pub fn pending_on(&self, subject: &str) -> Option<&Pending> {
        self.pending
            .iter()
            .find(|pending| pending.subject == subject)
    }

    /// Brings back to `now` what is recorded as past and lies ahead: it was taken from a clock that
    /// has been set back since, and a wait that counts from it would last for as long as that
    /// clock was ahead.
    pub fn set_back(&mut self, now: Timestamp) {
        for pending in &mut self.pending {
            pending.since = pending.since.min(now);
        }
        for failure in self.failures.values_mut().filter(|one| one.at > now) {
            failure.retry_after = now + failure.at.until(failure.retry_after).unwrap_or_default();
            failure.at = now;
        }
        for lost in self.lost.values_mut() {
            lost.since = lost.since.min(now);
        }
        for since in self.absent.values_mut() {
            *since = (*since).min(now);
        }
        for record in self.machines.values_mut() {
            let times = [&mut record.started_at, &mut record.served_at];
            for time in times.into_iter().flatten() {
                *time = (*time).min(now);
            }
            for remediation in &mut record.remediations {
                remediation.at = remediation.at.min(now);
            }
            for former in &mut record.former {
                former.since = former.since.min(now);
            }
        }
    }

    /// Whether a VM is, or was, one of ours by record.
    #[must_use]
    pub fn knows_vm(&self, vm: &VmId) -> bool {
        self.machines.values().any(|machine| machine.knows_vm(vm))
    }
}

impl MachineRecord {
    /// Whether this is the machine's public address.
    #[must_use]
    pub fn holds(&self, address: &AddressId) -> bool {
        let own = self.public_address.as_ref();
        own.is_some_and(|own| own.id == *address)
    }

    /// Whether a recorded deploy may have made this VM: it did, or is not known to have made
    /// another.
    #[must_use]
    pub fn may_have_made(&self, deploy: &JobId, vm: &VmId) -> bool {
        let known = self.made.get(deploy);
        self.deploys.contains(deploy) && known.is_none_or(|known| known == vm)
    }

    /// A machine that has nothing yet.
    #[must_use]
    pub fn new(role: Role, index: u32, host_name: String, private_address: Ipv4Addr) -> Self {
        Self {
            role,
            index,
            host_name,
            private_address,
            public_address: None,
            lost_address: None,
            lost_address_taken: false,
            vm: None,
            image: None,
            user_data: None,
            user_data_image: None,
            deploys: Vec::new(),
            made: BTreeMap::new(),
            former: Vec::new(),
            held: Vec::new(),
            remediations: Vec::new(),
            started_at: None,
            served_at: None,
            updating: false,
            retiring: false,
        }
    }

    /// Notes that its VM begins to run; that it serves is to be seen anew.
    pub fn begins(&mut self, at: Timestamp) {
        (self.started_at, self.served_at) = (Some(at), None);
    }

    /// The digest of what its next image is made from, of the user data that it has; none before it
    /// was given any.
    #[must_use]
    pub fn in_next_image(&self) -> Option<&str> {
        let digest = self.user_data_image.as_ref().or(self.user_data.as_ref());
        digest.map(String::as_str)
    }

    /// Notes that its VM has a new disk, made from a template and the user data that it has.
    pub fn imaged(&mut self, template: TemplateId) {
        self.image = Some(Image {
            template,
            user_data: self.in_next_image().unwrap_or_default().to_owned(),
            bootstrapped: self.user_data_image.is_some(),
        });
    }

    /// Puts a VM among those that realised it before and are to be destroyed.
    pub fn parts_with(&mut self, vm: VmId, reason: &str, since: Timestamp) {
        let reason = reason.to_owned();
        self.former.push(Former {
            vm,
            reason,
            since,
            destroyed: false,
        });
    }

    /// Notes that nothing of it runs.
    pub fn ends(&mut self) {
        (self.started_at, self.served_at) = (None, None);
    }

    /// Notes an attempt to heal it; the oldest beyond [`MAX_REMEDIATIONS`] are forgotten.
    pub fn remediated(&mut self, remediation: Remediation) {
        self.remediations.push(remediation);
        let surplus = self.remediations.len().saturating_sub(MAX_REMEDIATIONS);
        self.remediations.drain(..surplus);
    }

    /// Whether a VM realises, or realised, this machine.
    #[must_use]
    pub fn knows_vm(&self, vm: &VmId) -> bool {
        self.vm.as_ref() == Some(vm) || self.former.iter().any(|former| former.vm == *vm)
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;

    #[test]
    fn what_a_clock_ahead_recorded_waits_no_longer_than_it_would_have() {
        let (now, ahead) = (
            Timestamp::UNIX_EPOCH,
            Timestamp::UNIX_EPOCH + SignedDuration::from_hours(1),
        );
        let failed = |at: Timestamp| Failure {
            command: "startVirtualMachine".to_owned(),
            reason: "InsufficientCapacity".to_owned(),
            message: "no room".to_owned(),
            times: 1,
            at,
            retry_after: at + SignedDuration::from_secs(30),
        };
        let mut record = MachineRecord::new(
            Role::Sprout,
            0,
            "ims-sprout-0".to_owned(),
            Ipv4Addr::LOCALHOST,
        );
        record.begins(ahead);
        let mut ledger = Ledger::default();
        ledger.failures.insert("machine".to_owned(), failed(ahead));
        ledger.machines.insert("ims-sprout-0".to_owned(), record);
        ledger.set_back(now);
        assert_eq!(ledger.failures["machine"], failed(now));
        assert_eq!(ledger.machines["ims-sprout-0"].started_at, Some(now));
        let unchanged = ledger.clone();
        ledger.set_back(ahead);
        assert_eq!(ledger, unchanged, "the past stays as it was");
    }
}
