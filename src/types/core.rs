//! `Secret`, `ConfigMap`, `Event`, `Lease` and `Namespace`: Kubernetes' own kinds, as far as Weir uses them.

use std::{collections::BTreeMap, fmt};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{id::Uid, meta::resource, schema};

/// A value that is never printed: no `Debug`, no `Display`.
#[derive(Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct Confidential(String);

impl Confidential {
    /// Wraps a value.
    #[must_use]
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    /// The value itself, for the one place that must send it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Confidential {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[confidential]")
    }
}

resource! {
    /// Keys and passwords, as in Kubernetes: `data` is base64, `stringData` is plain and
    /// write-only.
    Secret {
        /// The type, by default `Opaque`.
        #[serde(rename = "type", default = "opaque")]
        kind_of_secret: String,
        /// Values in base64.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        data: BTreeMap<String, Confidential>,
        /// Plain values; moved into `data` when the object is written.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        string_data: BTreeMap<String, Confidential>,
        /// Whether the values may no longer change. Once true, it stays so. Default false.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        immutable: Option<bool>,
    }
}

resource! {
    /// Texts and files that are no secret, as in Kubernetes. Weir itself reads none; they are there for
    /// what else is kept beside a stack.
    ConfigMap {
        /// Texts.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        data: BTreeMap<String, String>,
        /// Files in base64, whose keys are not in `data` too.
        #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
        binary_data: BTreeMap<String, String>,
        /// Whether the values may no longer change. Once true, it stays so. Default false.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        immutable: Option<bool>,
    }
}

fn opaque() -> String {
    "Opaque".to_owned()
}

resource! {
    /// Something that happened to an object (core/v1 form; `events.k8s.io` shows the same store).
    Event {
        /// The object that it happened to.
        involved_object: ObjectReference,
        /// One CamelCase word.
        reason: String,
        /// A sentence for people.
        #[serde(default)]
        message: String,
        /// `Normal` or `Warning`.
        #[serde(rename = "type", default)]
        level: String,
        /// How often it happened since `firstTimestamp`.
        #[serde(default)]
        count: i32,
        /// When it was first seen.
        #[serde(default)]
        #[schemars(with = "Option<schema::Time>")]
        first_timestamp: Option<Timestamp>,
        /// When it was last seen.
        #[serde(default)]
        #[schemars(with = "Option<schema::Time>")]
        last_timestamp: Option<Timestamp>,
        /// Who reports it.
        #[serde(default)]
        source: EventSource,
        /// The controller that reports it.
        #[serde(default)]
        reporting_component: String,
        /// The instance of that controller.
        #[serde(default)]
        reporting_instance: String,
        /// When it happened, as reporters of `events.k8s.io` say it.
        #[serde(default, with = "micro", skip_serializing_if = "Option::is_none")]
        #[schemars(with = "Option<schema::Time>")]
        event_time: Option<Timestamp>,
        /// That it happens again and again, as reporters of `events.k8s.io` say it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        series: Option<EventSeries>,
        /// What was done, in one word.
        #[serde(default, skip_serializing_if = "String::is_empty")]
        action: String,
        /// Another object that has to do with it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        related: Option<ObjectReference>,
    }
}

/// Something that happens again and again.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct EventSeries {
    /// How often so far.
    pub count: i32,
    /// When it was last seen.
    #[serde(with = "micro", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Time>")]
    pub last_observed_time: Option<Timestamp>,
}

/// A time as Kubernetes' `MicroTime` is written: clients in Go read no other form than one with
/// six digits behind the point.
pub(crate) fn micro_time(time: Timestamp) -> String {
    format!("{time:.6}")
}

/// Times in that form.
mod micro {
    use jiff::Timestamp;
    use serde::{Deserialize, Deserializer, Serializer};

    #[expect(clippy::ref_option, reason = "serde hands it over so")]
    pub(super) fn serialize<S: Serializer>(
        time: &Option<Timestamp>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        match time {
            Some(time) => serializer.serialize_str(&super::micro_time(*time)),
            None => serializer.serialize_none(),
        }
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Timestamp>, D::Error> {
        Option::deserialize(deserializer)
    }
}

/// Points at an object.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct ObjectReference {
    /// `apiVersion` of the object.
    pub api_version: String,
    /// Its kind.
    pub kind: String,
    /// Its namespace.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// Its uid.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uid: Option<Uid>,
    /// The version of it that is meant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// The part of it that is meant.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub field_path: String,
}

/// Who reports an event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct EventSource {
    /// The component, like `weir-controller`.
    pub component: String,
    /// The host it runs on.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub host: String,
}

resource! {
    /// Who leads, and until when, as in Kubernetes.
    Lease {
        /// The claim.
        #[serde(default)]
        spec: LeaseSpec,
    }
}

/// A claim to lead.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct LeaseSpec {
    /// Who holds the lease.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub holder_identity: Option<String>,
    /// For how many seconds after `renewTime` the claim stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_duration_seconds: Option<i32>,
    /// When the present holder took it.
    #[serde(with = "micro", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Time>")]
    pub acquire_time: Option<Timestamp>,
    /// When the present holder last renewed it.
    #[serde(with = "micro", skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Time>")]
    pub renew_time: Option<Timestamp>,
    /// How often it changed hands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lease_transitions: Option<i32>,
}

resource! {
    /// A tenant: the space in which names are unique.
    Namespace {
        /// Kubernetes' own, which clients send along; not kept.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        spec: Option<NamespaceSpec>,
        /// Whether it is going. Only shown: it follows from `metadata.deletionTimestamp`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<NamespaceStatus>,
    }
}

/// Kubernetes' own.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespaceSpec {
    /// Who empties a namespace in Kubernetes; here that is done by the server.
    pub finalizers: Vec<String>,
}

/// Where a namespace is in its life.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NamespaceStatus {
    /// `Active` or `Terminating`.
    pub phase: String,
}
