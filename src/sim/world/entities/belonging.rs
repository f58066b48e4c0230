//! What users hang on their resources or find written about them: groups, keys, tags, events.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Uuid;

/// An affinity group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AffinityGroup {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// Its name, unique in the account.
    pub name: String,
    /// Its type, such as `host anti-affinity`.
    pub kind: String,
    /// Its description.
    pub description: Option<String>,
    /// The account that owns it.
    pub account: Uuid,
}

/// An SSH key pair, of which only the public half is kept.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct KeyPair {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// Its name, unique in the account.
    pub name: String,
    /// The account that owns it.
    pub account: Uuid,
    /// The fingerprint of the public key.
    pub fingerprint: String,
    /// The public key.
    pub public_key: String,
}

/// A tag on a resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tag {
    /// The type of the resource, as the API spells it.
    pub resource_type: String,
    /// The resource.
    pub resource: Uuid,
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
    /// The account that set it.
    pub account: Uuid,
}

/// An event: the only place where CloudStack says who did what.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Event {
    /// Its UUID.
    pub id: Uuid,
    /// When it happened.
    pub created: Timestamp,
    /// Its type, such as `VM.STOP`.
    pub kind: String,
    /// `Created`, `Scheduled`, `Started` or `Completed`.
    pub state: String,
    /// `INFO` or `ERROR`.
    pub level: String,
    /// A sentence.
    pub description: String,
    /// The name of the user who did it.
    pub user: String,
    /// The account whose resource it is about.
    pub account: Uuid,
    /// The type of the resource, in the words of events.
    pub resource_type: String,
    /// The resource.
    pub resource: Option<Uuid>,
    /// The name that the resource had.
    pub resource_name: Option<String>,
    /// The event that this one continues.
    pub parent: Option<Uuid>,
}
