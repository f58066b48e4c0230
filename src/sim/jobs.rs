//! Asynchronous jobs: what CloudStack promises in the answer to a long command, and when it
//! keeps the promise.
//!
//! A job is queued, runs, and ends; each step has its time on the clock, and nothing runs between
//! two looks at the world: [`World::advance`](super::World::advance) settles all that fell due, oldest first. Jobs on one
//! machine run one after the other. What a job does is in [`super::effects`].

mod queue;
mod schedule;

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::{RawValue, to_raw_value};

use super::effects::leaving::Leaving;
use super::effects::nic::NicWork;
use super::effects::rule::RuleWork;
use super::effects::security_group::SecurityWork;
use super::profile::Profile;
use super::world::Uuid;

/// Where a job stands, as `jobstatus` tells it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum JobStatus {
    /// 0: queued or running.
    Pending,
    /// 1: done.
    Succeeded,
    /// 2: failed, with or without a reason.
    Failed,
}

impl JobStatus {
    /// The number on the wire.
    #[must_use]
    pub fn number(self) -> u8 {
        match self {
            Self::Pending => 0,
            Self::Succeeded => 1,
            Self::Failed => 2,
        }
    }
}

/// A job.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Job {
    /// Its UUID, which a client may have chosen.
    pub id: Uuid,
    /// Its place in the order of submission.
    pub number: u64,
    /// The command that it carries out.
    pub command: String,
    /// The name of the server's class, which clients see as `cmd`.
    pub class: String,
    /// The account that submitted it.
    pub account: Uuid,
    /// The user that submitted it.
    pub user: Uuid,
    /// The type of the resource that it works on, where CloudStack tells.
    pub instance_type: Option<String>,
    /// The resource that it works on, where CloudStack tells.
    pub instance: Option<Uuid>,
    /// When it was submitted.
    pub created: Timestamp,
    /// When it ended.
    pub completed: Option<Timestamp>,
    /// Where it stands.
    pub status: JobStatus,
    /// 0, or the code of the failure.
    pub code: u16,
    /// What it answers; absent when the server died meanwhile.
    pub result: Option<JobResult>,
    /// Whether a root admin submitted it, who is told more.
    pub admin: bool,
    pub(crate) work: Work,
    pub(crate) phase: Phase,
    pub(crate) twist: Option<Twist>,
    pub(crate) event: Uuid,
}

/// What a job answers. It is kept as text, which takes a tenth of the room: thousands are kept for
/// a day.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(transparent)]
pub struct JobResult(Box<RawValue>);

impl JobResult {
    /// # Panics
    /// Never: a JSON value can be written.
    pub(crate) fn of(value: &Value) -> Self {
        Self(to_raw_value(value).expect("a JSON value can be written"))
    }

    /// As the client sees it.
    ///
    /// # Panics
    /// Never: what was written can be read.
    #[must_use]
    pub fn value(&self) -> Value {
        serde_json::from_str(self.0.get()).expect("what was written can be read")
    }
}

/// What a job is to do.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Work {
    CreateVpc {
        vpc: Uuid,
    },
    UpdateVpc {
        vpc: Uuid,
        name: Option<String>,
        display_text: Option<String>,
    },
    DeleteVpc {
        vpc: Uuid,
        forced: bool,
    },
    RestartVpc {
        vpc: Uuid,
    },
    UpdateNetwork {
        network: Uuid,
        name: Option<String>,
        display_text: Option<String>,
        domain: Option<String>,
        offering: Option<Uuid>,
    },
    DeleteNetwork {
        network: Uuid,
        forced: bool,
    },
    RestartNetwork {
        network: Uuid,
    },
    CreateAclList {
        list: Uuid,
    },
    UpdateAclList {
        list: Uuid,
        name: Option<String>,
        description: Option<String>,
    },
    DeleteAclList {
        list: Uuid,
    },
    ReplaceAclList {
        list: Uuid,
        network: Option<Uuid>,
    },
    CreateAclItem {
        item: Uuid,
    },
    UpdateAclItem {
        item: Uuid,
        change: BTreeMap<String, String>,
    },
    MoveAclItem {
        item: Uuid,
        after: Option<Uuid>,
        before: Option<Uuid>,
    },
    DeleteAclItem {
        item: Uuid,
    },
    Associate {
        address: Uuid,
        vpc: Option<Uuid>,
        network: Option<Uuid>,
    },
    Disassociate {
        address: Uuid,
    },
    DisableNat {
        address: Uuid,
    },
    Rule(RuleWork),
    Leave(Leaving),
    Security(SecurityWork),
    Deploy {
        vm: Uuid,
        start: bool,
    },
    Start {
        vm: Uuid,
    },
    Stop {
        vm: Uuid,
    },
    /// The server starts a machine by itself; it has tried so often before.
    Revive {
        vm: Uuid,
        tries: u32,
    },
    Reboot {
        vm: Uuid,
        forced: bool,
    },
    Destroy {
        vm: Uuid,
        expunge: bool,
        /// The data disks that go with it.
        #[serde(default)]
        volumes: Vec<Uuid>,
    },
    Expunge {
        vm: Uuid,
    },
    Restore {
        vm: Uuid,
        template: Option<Uuid>,
        #[serde(default)]
        root_gib: Option<i64>,
    },
    Scale {
        vm: Uuid,
        offering: Uuid,
    },
    Nic(NicWork),
    MoveNic {
        nic: Uuid,
        ip: Ipv4Addr,
    },
    Regroup {
        vm: Uuid,
        groups: Vec<Uuid>,
    },
    Machine {
        vm: Uuid,
        change: MachineChange,
    },
    Maintain {
        host: Uuid,
    },
    EndMaintenance {
        host: Uuid,
    },
    Volume {
        volume: Uuid,
        change: VolumeChange,
    },
    CreateGroup {
        group: Uuid,
    },
    DeleteGroup {
        group: Uuid,
    },
    CreateTags {
        kind: String,
        resources: Vec<Uuid>,
        tags: Vec<(String, String)>,
    },
    DeleteTags {
        kind: String,
        resources: Vec<Uuid>,
        tags: Vec<(String, Option<String>)>,
    },
    AddDetails {
        kind: String,
        resource: Uuid,
        details: BTreeMap<String, String>,
    },
    /// Nothing more: it was done when the job was submitted.
    Settled {
        result: Value,
    },
    RemoveDetail {
        kind: String,
        resource: Uuid,
        key: Option<String>,
    },
}

/// What is to become of a machine on an admin's word, or of its keys.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum MachineChange {
    Keys(Vec<String>),
    Password(String),
    Migrate { host: Option<Uuid> },
}

/// What is to become of a volume.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum VolumeChange {
    Create,
    Attach { vm: Uuid, device: Option<u32> },
    Detach { vm: Option<Uuid> },
    Destroy { expunge: bool },
    Resize { bytes: i64, offering: Option<Uuid> },
    Rename { name: String },
}

impl VolumeChange {
    /// The machine that it happens on.
    fn vm(&self) -> Option<&Uuid> {
        match self {
            Self::Attach { vm, .. } => Some(vm),
            Self::Detach { vm } => vm.as_ref(),
            Self::Create | Self::Destroy { .. } | Self::Resize { .. } | Self::Rename { .. } => None,
        }
    }
}

impl Work {
    /// The machine whose lock this work takes; changing a card or a group takes none.
    pub(crate) fn locks(&self) -> Option<&Uuid> {
        match self {
            Self::Deploy { vm, .. }
            | Self::Start { vm }
            | Self::Stop { vm }
            | Self::Revive { vm, .. }
            | Self::Reboot { vm, .. }
            | Self::Machine { vm, .. }
            | Self::Destroy { vm, .. }
            | Self::Expunge { vm }
            | Self::Restore { vm, .. }
            | Self::Scale { vm, .. } => Some(vm),
            Self::Volume { change, .. } => change.vm(),
            Self::Nic(work) => work.locks(),
            Self::CreateVpc { .. }
            | Self::UpdateVpc { .. }
            | Self::DeleteVpc { .. }
            | Self::RestartVpc { .. }
            | Self::UpdateNetwork { .. }
            | Self::DeleteNetwork { .. }
            | Self::RestartNetwork { .. }
            | Self::CreateAclList { .. }
            | Self::UpdateAclList { .. }
            | Self::DeleteAclList { .. }
            | Self::ReplaceAclList { .. }
            | Self::CreateAclItem { .. }
            | Self::UpdateAclItem { .. }
            | Self::MoveAclItem { .. }
            | Self::DeleteAclItem { .. }
            | Self::Associate { .. }
            | Self::Disassociate { .. }
            | Self::DisableNat { .. }
            | Self::Leave(_)
            | Self::Rule(_)
            | Self::Security(_)
            | Self::Maintain { .. }
            | Self::EndMaintenance { .. }
            | Self::MoveNic { .. }
            | Self::Regroup { .. }
            | Self::CreateGroup { .. }
            | Self::DeleteGroup { .. }
            | Self::CreateTags { .. }
            | Self::DeleteTags { .. }
            | Self::AddDetails { .. }
            | Self::RemoveDetail { .. }
            | Self::Settled { .. } => None,
        }
    }

    /// Whether a machine is put through its first or a later start.
    pub(crate) fn boots(&self) -> bool {
        matches!(
            self,
            Self::Start { .. } | Self::Revive { .. } | Self::Deploy { start: true, .. }
        )
    }

    /// Whether it is the server's own, which nobody can ask for.
    pub(crate) fn is_internal(&self) -> bool {
        matches!(self, Self::Revive { .. })
    }

    /// How long it is queued at least.
    fn lead(&self, profile: Profile) -> Duration {
        match self {
            Self::Deploy { .. } => profile.lead(true),
            _ if self.locks().is_some() => profile.lead(false),
            _ => Duration::ZERO,
        }
    }
}

/// How far a job has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Phase {
    /// Not before this time, and not before earlier jobs on the machine.
    Queued(Timestamp),
    /// Until this time; without one it never ends.
    Running(Option<Timestamp>),
    /// Over.
    Ended,
}

/// A fault that was put into a job when it was submitted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Twist {
    Fail {
        code: u16,
        text: String,
    },
    Hang,
    /// It is forgotten when it has ended.
    Lose,
    NoCapacity,
    StartFails,
    StopFails,
}

/// Why a job failed: what its `jobresult` says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct JobFailure {
    pub(crate) code: u16,
    pub(crate) text: String,
}

impl JobFailure {
    pub(crate) fn new(code: u16, text: impl Into<String>) -> Self {
        Self {
            code,
            text: text.into(),
        }
    }
}

/// A duration for sums with timestamps.
pub(crate) fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}
