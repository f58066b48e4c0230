//! `Machine`: one component VM as Weir wants it. Made by the controller; read it, watch it,
//! delete it (which means: replace it, as with a pod).

use std::net::Ipv4Addr;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    account::NameRef,
    id::VmId,
    ledger::Remediation,
    meta::{Condition, resource},
    role::Role,
    schema,
};

resource! {
    /// One component VM as Weir wants it.
    Machine {
        /// What is wanted; derived from the stack.
        spec: MachineSpec,
        /// What was found.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<MachineStatus>,
    }
}

/// What a machine is to be.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct MachineSpec {
    /// The stack it belongs to.
    pub stack_ref: NameRef,
    /// Its role.
    pub role: Role,
    /// Its number within the role, from 0.
    pub index: u32,
}

/// What was found of a machine.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct MachineStatus {
    /// One word for tables: see [`Phase`].
    pub phase: Phase,
    /// `Ready`, `UpToDate` and, where it applies, `AddressHeld`.
    pub conditions: Vec<Condition>,
    /// The VM that realises it at the moment.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm_id: Option<VmId>,
    /// The VM's state in CloudStack's words.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm_state: Option<String>,
    /// The VM's host name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub host_name: Option<String>,
    /// Its address in the tier.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub private_address: Option<Ipv4Addr>,
    /// Its public address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_address: Option<Ipv4Addr>,
    /// What was last done to heal it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_remediation: Option<Remediation>,
    /// What is being done or comes next, and why it waits.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
    /// Since when `phase` is what it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Time>")]
    pub since: Option<Timestamp>,
}

/// Where a machine is in its life.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Phase {
    /// It has no VM yet.
    #[default]
    Pending,
    /// Its VM is being deployed, tagged and given its address.
    Provisioning,
    /// Its VM is starting, or runs and does not serve yet.
    Starting,
    /// It runs and serves.
    Running,
    /// It runs, and its probe fails or its VM is about to be repaired.
    Unhealthy,
    /// It is being repaired.
    Repairing,
    /// It is being changed: offering, template, address.
    Updating,
    /// Its VM is being destroyed.
    Deleting,
}

impl Phase {
    /// The phase as written in tables and metrics.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "Pending",
            Self::Provisioning => "Provisioning",
            Self::Starting => "Starting",
            Self::Running => "Running",
            Self::Unhealthy => "Unhealthy",
            Self::Repairing => "Repairing",
            Self::Updating => "Updating",
            Self::Deleting => "Deleting",
        }
    }

    /// Every phase.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Provisioning,
        Self::Starting,
        Self::Running,
        Self::Unhealthy,
        Self::Repairing,
        Self::Updating,
        Self::Deleting,
    ];
}
