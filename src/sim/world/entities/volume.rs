//! Volumes: the root disks of machines, and the data disks that outlive them.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Uuid;

/// A GiB, in bytes.
pub const GIB: i64 = 1 << 30;

/// The types of volumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeKind {
    /// The disk that a machine boots from; it is always a machine's.
    Root,
    /// Any other.
    Data,
}

impl VolumeKind {
    /// The type as the API spells it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Root => "ROOT",
            Self::Data => "DATADISK",
        }
    }
}

/// The states of a volume.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum VolumeState {
    /// It is a row in the database.
    Allocated,
    /// It lies on a storage pool.
    Ready,
    /// It is deleted, and can be recovered until it is purged.
    Destroy,
}

/// A volume.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Volume {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// Its name, which need not be unique.
    pub name: String,
    /// The account that owns it.
    pub account: Uuid,
    /// Its type.
    pub kind: VolumeKind,
    /// Its state.
    pub state: VolumeState,
    /// Its size, in bytes.
    pub bytes: i64,
    /// Its disk offering; the root disk of most machines has none of its own.
    pub offering: Option<Uuid>,
    /// The machine that it is attached to.
    pub vm: Option<Uuid>,
    /// Its place in the machine: 0 is the root disk's.
    pub device: u32,
    /// Whether it counts against the limits of its account.
    pub counted: bool,
    /// When it was created.
    pub created: Timestamp,
    /// Since when it has been attached.
    pub attached: Option<Timestamp>,
    /// When it was deleted.
    pub destroyed: Option<Timestamp>,
}
