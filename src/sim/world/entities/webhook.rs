//! Webhooks: who is told of events, what is on its way to them, and what became of it.

use std::collections::{BTreeMap, VecDeque};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Uuid;

/// Whose events a webhook is told of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Scope {
    /// Those of the account that owns it.
    Local,
    /// Those of its domain and of all domains below.
    Domain,
    /// All.
    Global,
}

impl Scope {
    /// The word for it on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Local => "Local",
            Self::Domain => "Domain",
            Self::Global => "Global",
        }
    }
}

/// A webhook.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Webhook {
    /// Its UUID.
    pub id: Uuid,
    /// Its place in the order of creation.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: Option<String>,
    /// The account that owns it.
    pub account: Uuid,
    /// Whether anything is delivered.
    pub enabled: bool,
    /// Where to.
    pub payload_url: String,
    /// What deliveries are signed with.
    pub secret_key: Option<String>,
    /// Whether the certificate of an HTTPS receiver is checked.
    pub ssl_verification: bool,
    /// Whose events it is told of.
    pub scope: Scope,
    /// When it was created.
    pub created: Timestamp,
}

/// Something that is to be delivered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parcel {
    /// The UUID of the delivery, drawn beforehand.
    pub id: Uuid,
    /// The webhook; none for a test of a bare URL.
    pub webhook: Option<Uuid>,
    /// Where to.
    pub url: String,
    /// What it is signed with.
    pub secret_key: Option<String>,
    /// Whether the receiver's certificate is checked.
    pub ssl_verification: bool,
    /// The event.
    pub event: Uuid,
    /// Its type.
    pub event_type: String,
    /// The account that the event is about.
    pub account: Uuid,
    /// The body.
    pub payload: String,
    /// Whether it is kept in the log of deliveries.
    pub logged: bool,
}

/// What became of a delivery.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Delivery {
    /// What was delivered, or was not.
    pub parcel: Parcel,
    /// The headers that were sent, a line each.
    pub headers: String,
    /// Whether the receiver answered 200.
    pub success: bool,
    /// What it answered, or why it did not.
    pub response: String,
    /// When the last try began.
    pub started: Timestamp,
    /// When it ended.
    pub ended: Timestamp,
}

/// Everything about webhooks.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Hooks {
    /// The webhooks.
    pub webhooks: BTreeMap<Uuid, Webhook>,
    /// What became of deliveries, oldest first.
    pub deliveries: VecDeque<Delivery>,
    /// What is to be delivered, oldest first.
    pub parcels: VecDeque<Parcel>,
    /// What a request waits for to be delivered.
    pub asked: Vec<Parcel>,
    /// How many webhooks were ever made.
    pub made: u64,
}
