//! Hosts: the hypervisors that machines run on.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// What the management server believes of a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum HostState {
    /// It answers.
    #[default]
    Up,
    /// It is known to be dead.
    Down,
    /// It does not answer, and nobody knows why.
    Disconnected,
    /// It has not answered for so long that somebody ought to look.
    Alert,
}

/// What an operator wants a host to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ResourceState {
    /// It takes machines.
    #[default]
    Enabled,
    /// It takes none, and keeps those that it has.
    Disabled,
    /// Its machines are being moved away.
    PrepareForMaintenance,
    /// It is empty and takes no machines.
    Maintenance,
    /// Not all of its machines could be moved away.
    ErrorInPrepareForMaintenance,
}

/// How a host fails. Either way its machines stop answering at that moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum HostFailure {
    /// The server finds out that it is down: its machines become `Stopped`, and those with high
    /// availability start elsewhere.
    Down,
    /// The server cannot tell: its machines stay `Running`, and only `hostcontrolstate` says that
    /// something is wrong.
    Undetermined,
}

/// What changes of a host; what it is made of stands in the catalogue.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Host {
    /// What the management server believes of it.
    pub state: HostState,
    /// What an operator wants it to be.
    pub resource: ResourceState,
    /// How it has failed, whether or not the server knows.
    pub failure: Option<HostFailure>,
    /// When the server next changes its mind about it.
    pub next: Option<Timestamp>,
}

impl Host {
    /// Whether new machines may be placed on it, as far as the server knows.
    #[must_use]
    pub fn takes_machines(&self) -> bool {
        self.state == HostState::Up && self.resource == ResourceState::Enabled
    }

    /// What the owner of a machine on it is told: `hostcontrolstate`.
    #[must_use]
    pub fn control_state(&self) -> &'static str {
        match (self.state, self.resource) {
            (HostState::Down | HostState::Disconnected | HostState::Alert, _) => "Offline",
            (HostState::Up, ResourceState::Enabled) => "Enabled",
            (HostState::Up, ResourceState::Disabled) => "Disabled",
            (
                HostState::Up,
                ResourceState::PrepareForMaintenance
                | ResourceState::Maintenance
                | ResourceState::ErrorInPrepareForMaintenance,
            ) => "Maintenance",
        }
    }
}
