//! What was found, and what Weir is doing about the difference.

use std::collections::BTreeMap;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{DriftField, DriftMode};
use crate::types::{ledger::Ledger, meta::Condition, role::Role, schema};

/// What was found, and what Weir is doing about the difference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StackStatus {
    /// The generation of the spec that this status speaks of.
    pub observed_generation: i64,
    /// One word for tables: `Pending`, `Progressing`, `Ready`, `Degraded`, `Paused`, `Blocked`
    /// or `Deleting`.
    pub phase: String,
    /// `Ready`, `Progressing`, `Degraded`, `DriftFree`, `Planned`, `Paused` and, where they
    /// apply, `AddressHeld` and `DNSReady`.
    pub conditions: Vec<Condition>,
    /// Machines wanted, over all roles.
    pub replicas: u32,
    /// Machines ready, over all roles.
    pub ready_replicas: u32,
    /// Counts by role.
    pub roles: BTreeMap<Role, RoleStatus>,
    /// What differs from the manifest at the moment.
    pub drift: Vec<DriftReport>,
    /// What is being done, what comes next, and what waits for what.
    pub steps: Vec<StepReport>,
    /// The round that wrote this, as in the log.
    pub round: u64,
    /// When the account was last seen whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Time>")]
    pub last_look: Option<Timestamp>,
    /// What Weir has recorded of the resources it made. Read it, do not write it.
    pub ledger: Ledger,
}

/// Machines of one role.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct RoleStatus {
    /// Wanted.
    pub desired: u32,
    /// Running and healthy.
    pub ready: u32,
    /// With the template, offering and user data that the manifest asks for.
    pub updated: u32,
}

/// One field that differs.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct DriftReport {
    /// What it is a field of, like `machine ims-sprout-0` or `rule 30`.
    pub subject: String,
    /// The field.
    pub field: DriftField,
    /// As the manifest says.
    pub want: String,
    /// As it was found.
    pub have: String,
    /// `Repair` or `Report`.
    pub mode: DriftMode,
    /// When it was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Time>")]
    pub since: Option<Timestamp>,
    /// Who did it, where CloudStack's events tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
}

/// One step of the plan, as told to people.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct StepReport {
    /// What it is done to.
    pub subject: String,
    /// The CloudStack command, or what is waited for.
    pub action: String,
    /// Why.
    pub reason: String,
    /// `Running`, `Next` or `Waiting`.
    pub state: StepState,
    /// Since when it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Time>")]
    pub since: Option<Timestamp>,
}

/// See [`StepReport::state`].
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum StepState {
    /// CloudStack is at it.
    Running,
    /// It is about to be sent.
    Next,
    /// Something must happen first; the reason says what.
    Waiting,
}
