//! Kubernetes' object metadata, as the API serves it and the store keeps it.

mod object;

use std::{collections::BTreeMap, fmt, str::FromStr};

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

pub use self::object::Object;
use super::{id::Uid, rbac::RBAC_GROUP, schema};

/// The API group of Weir's own kinds.
pub const GROUP: &str = "weir.dev";
/// The version of Weir's own kinds.
pub const VERSION: &str = "v1alpha1";
/// `apiVersion` of Weir's own kinds.
pub const API_VERSION: &str = "weir.dev/v1alpha1";
/// Keeps an object in the store until what it stands for is gone from CloudStack.
pub const FINALIZER: &str = "weir.dev/cloud-resources";

/// The kinds that Weir stores.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// How to reach a CloudStack, and how gently.
    CloudAccount,
    /// One Clearwater deployment.
    ClearwaterStack,
    /// One component VM as Weir wants it.
    Machine,
    /// Keys and passwords.
    Secret,
    /// Texts and files that are no secret.
    ConfigMap,
    /// Something that happened to an object.
    Event,
    /// Who leads.
    Lease,
    /// A tenant.
    Namespace,
    /// Rights within a namespace.
    Role,
    /// Who has the rights of a role within a namespace.
    RoleBinding,
    /// Rights everywhere, or where they are bound.
    ClusterRole,
    /// Who has the rights of a `ClusterRole` everywhere.
    ClusterRoleBinding,
}

impl Kind {
    /// Every kind, in the order in which discovery lists them.
    pub const ALL: [Self; 12] = [
        Self::ClearwaterStack,
        Self::Machine,
        Self::CloudAccount,
        Self::Secret,
        Self::ConfigMap,
        Self::Event,
        Self::Lease,
        Self::Namespace,
        Self::Role,
        Self::RoleBinding,
        Self::ClusterRole,
        Self::ClusterRoleBinding,
    ];

    /// The kinds that say who may do what.
    pub const RBAC: [Self; 4] = [
        Self::Role,
        Self::RoleBinding,
        Self::ClusterRole,
        Self::ClusterRoleBinding,
    ];

    /// The kind as written in manifests.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CloudAccount => "CloudAccount",
            Self::ClearwaterStack => "ClearwaterStack",
            Self::Machine => "Machine",
            Self::Secret => "Secret",
            Self::ConfigMap => "ConfigMap",
            Self::Event => "Event",
            Self::Lease => "Lease",
            Self::Namespace => "Namespace",
            Self::Role => "Role",
            Self::RoleBinding => "RoleBinding",
            Self::ClusterRole => "ClusterRole",
            Self::ClusterRoleBinding => "ClusterRoleBinding",
        }
    }

    /// The group; empty for Kubernetes' core group.
    #[must_use]
    pub const fn group(self) -> &'static str {
        match self {
            Self::CloudAccount | Self::ClearwaterStack | Self::Machine => GROUP,
            Self::Secret | Self::ConfigMap | Self::Event | Self::Namespace => "",
            Self::Lease => "coordination.k8s.io",
            Self::Role | Self::RoleBinding | Self::ClusterRole | Self::ClusterRoleBinding => {
                RBAC_GROUP
            }
        }
    }

    /// The version within the group.
    #[must_use]
    pub const fn version(self) -> &'static str {
        match self {
            Self::CloudAccount | Self::ClearwaterStack | Self::Machine => VERSION,
            _ => "v1",
        }
    }

    /// `apiVersion` as written in manifests.
    #[must_use]
    pub const fn api_version(self) -> &'static str {
        match self {
            Self::CloudAccount | Self::ClearwaterStack | Self::Machine => API_VERSION,
            Self::Secret | Self::ConfigMap | Self::Event | Self::Namespace => "v1",
            Self::Lease => "coordination.k8s.io/v1",
            Self::Role | Self::RoleBinding | Self::ClusterRole | Self::ClusterRoleBinding => {
                "rbac.authorization.k8s.io/v1"
            }
        }
    }

    /// The lower-case plural used in URLs.
    #[must_use]
    pub const fn plural(self) -> &'static str {
        match self {
            Self::CloudAccount => "cloudaccounts",
            Self::ClearwaterStack => "clearwaterstacks",
            Self::Machine => "machines",
            Self::Secret => "secrets",
            Self::ConfigMap => "configmaps",
            Self::Event => "events",
            Self::Lease => "leases",
            Self::Namespace => "namespaces",
            Self::Role => "roles",
            Self::RoleBinding => "rolebindings",
            Self::ClusterRole => "clusterroles",
            Self::ClusterRoleBinding => "clusterrolebindings",
        }
    }

    /// The lower-case singular.
    #[must_use]
    pub const fn singular(self) -> &'static str {
        match self {
            Self::CloudAccount => "cloudaccount",
            Self::ClearwaterStack => "clearwaterstack",
            Self::Machine => "machine",
            Self::Secret => "secret",
            Self::ConfigMap => "configmap",
            Self::Event => "event",
            Self::Lease => "lease",
            Self::Namespace => "namespace",
            Self::Role => "role",
            Self::RoleBinding => "rolebinding",
            Self::ClusterRole => "clusterrole",
            Self::ClusterRoleBinding => "clusterrolebinding",
        }
    }

    /// Short names that the command line understands.
    #[must_use]
    pub const fn short_names(self) -> &'static [&'static str] {
        match self {
            Self::CloudAccount => &["ca", "account", "accounts"],
            Self::ClearwaterStack => &["cws", "stack", "stacks"],
            Self::Machine => &["ma"],
            Self::ConfigMap => &["cm"],
            Self::Event => &["ev"],
            Self::Namespace => &["ns"],
            _ => &[],
        }
    }

    /// Whether objects of the kind live in a namespace.
    #[must_use]
    pub const fn namespaced(self) -> bool {
        !matches!(
            self,
            Self::Namespace | Self::ClusterRole | Self::ClusterRoleBinding
        )
    }

    /// Whether the kind has a `status` that only the controller writes.
    #[must_use]
    pub const fn has_status(self) -> bool {
        matches!(
            self,
            Self::CloudAccount | Self::ClearwaterStack | Self::Machine
        )
    }

    /// Whether the kind says who may do what.
    #[must_use]
    pub fn is_rbac(self) -> bool {
        Self::RBAC.contains(&self)
    }

    /// The kind that a word on the command line or in a manifest means, whatever its case.
    #[must_use]
    pub fn from_word(word: &str) -> Option<Self> {
        let word = word.to_ascii_lowercase();
        Self::ALL.into_iter().find(|kind| {
            kind.plural() == word
                || kind.singular() == word
                || kind.short_names().contains(&word.as_str())
        })
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A version of the whole store; each write takes the next one. Opaque to clients.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceVersion(pub u64);

impl fmt::Display for ResourceVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl FromStr for ResourceVersion {
    type Err = std::num::ParseIntError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().map(Self)
    }
}

/// Where an object is: kind, namespace (empty for cluster-scoped kinds) and name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The kind.
    pub kind: Kind,
    /// The namespace; empty where the kind has none.
    pub namespace: String,
    /// The name.
    pub name: String,
}

impl ObjectKey {
    /// A key from its parts.
    #[must_use]
    pub fn new(kind: Kind, namespace: impl Into<String>, name: impl Into<String>) -> Self {
        Self {
            kind,
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ObjectKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}/{}/{}",
            self.kind.singular(),
            self.namespace,
            self.name
        )
    }
}

/// Metadata that every object carries; the fields are Kubernetes' own.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct ObjectMeta {
    /// Unique within kind and namespace; at most 63 characters of `a-z`, `0-9` and `-`.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub name: String,
    /// A prefix from which the server makes a name where `name` is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generate_name: Option<String>,
    /// The tenant; `default` where nothing is said.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub namespace: String,
    /// Set by the server at creation, never reused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub uid: Option<Uid>,
    /// The version of the store at which the object was last written; opaque.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub resource_version: String,
    /// Counts changes of the spec.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub generation: Option<i64>,
    /// When the object was created.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Time>")]
    pub creation_timestamp: Option<Timestamp>,
    /// When its deletion was asked for; it goes once `finalizers` is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Time>")]
    pub deletion_timestamp: Option<Timestamp>,
    /// Seconds that were granted for a graceful deletion.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub deletion_grace_period_seconds: Option<i64>,
    /// Keys and values to select by.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub labels: BTreeMap<String, String>,
    /// Keys and values for tools and people.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Whom the object belongs to; it goes when they go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub owner_references: Vec<OwnerReference>,
    /// Who must still clean up before the object may go.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub finalizers: Vec<String>,
    /// Who wrote which fields.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<serde_json::Value>")]
    pub managed_fields: Vec<Value>,
    /// Removed from Kubernetes; accepted and kept.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub self_link: Option<String>,
}

impl ObjectMeta {
    /// Whether deletion has been asked for.
    #[must_use]
    pub fn deleting(&self) -> bool {
        self.deletion_timestamp.is_some()
    }

    /// The uid of a stored object.
    ///
    /// # Panics
    /// If the object never went through the store, which gives every object its uid.
    #[must_use]
    pub fn stored_uid(&self) -> &Uid {
        self.uid.as_ref().expect("a stored object has a uid")
    }
}

/// Whom an object belongs to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct OwnerReference {
    /// `apiVersion` of the owner.
    pub api_version: String,
    /// Kind of the owner.
    pub kind: String,
    /// Name of the owner.
    pub name: String,
    /// Uid of the owner.
    pub uid: Uid,
    /// Whether the owner is the managing controller.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub controller: Option<bool>,
    /// Whether a foreground deletion of the owner waits for this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub block_owner_deletion: Option<bool>,
}

/// `True`, `False` or `Unknown`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ConditionStatus {
    /// The condition holds.
    True,
    /// It does not.
    False,
    /// It could not be told.
    Unknown,
}

/// One aspect of an object's state, in Kubernetes' form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// A positive adjective or participle, like `Ready`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Whether it holds.
    pub status: ConditionStatus,
    /// One CamelCase word saying why.
    pub reason: String,
    /// A sentence for people.
    pub message: String,
    /// When `status` last changed.
    #[schemars(with = "schema::Time")]
    pub last_transition_time: Timestamp,
    /// The generation of the spec that it speaks of.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
}

/// Puts `condition` among `conditions`; its time stays that of the last change of `status`.
pub fn set_condition(conditions: &mut Vec<Condition>, mut condition: Condition) {
    match conditions.iter_mut().find(|old| old.kind == condition.kind) {
        Some(old) => {
            if old.status == condition.status {
                condition.last_transition_time = old.last_transition_time;
            }
            *old = condition;
        }
        None => conditions.push(condition),
    }
}

/// The condition of that type, if it was ever told.
#[must_use]
pub fn condition<'a>(conditions: &'a [Condition], kind: &str) -> Option<&'a Condition> {
    conditions.iter().find(|condition| condition.kind == kind)
}

/// A kind with a Rust type.
pub trait Resource: Serialize + DeserializeOwned + Clone + Send + Sync + 'static {
    /// Which kind it is.
    const KIND: Kind;

    /// Its metadata.
    fn meta(&self) -> &ObjectMeta;

    /// Its metadata, to be changed.
    fn meta_mut(&mut self) -> &mut ObjectMeta;

    /// Where it is stored.
    fn key(&self) -> ObjectKey {
        ObjectKey::new(Self::KIND, &self.meta().namespace, &self.meta().name)
    }
}

/// Declares the outer struct of a kind: `apiVersion`, `kind`, `metadata`, then its own members.
macro_rules! resource {
    ($(#[$doc:meta])* $name:ident { $($(#[$field_doc:meta])* $field:ident: $type:ty),* $(,)? }) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize, schemars::JsonSchema)]
        #[serde(rename_all = "camelCase")]
        pub struct $name {
            /// Group and version of the kind.
            pub api_version: String,
            /// The kind.
            pub kind: String,
            /// Name, namespace, labels and what the server keeps about the object.
            pub metadata: $crate::types::meta::ObjectMeta,
            $($(#[$field_doc])* pub $field: $type,)*
        }

        impl $crate::types::meta::Resource for $name {
            const KIND: $crate::types::meta::Kind = $crate::types::meta::Kind::$name;

            fn meta(&self) -> &$crate::types::meta::ObjectMeta {
                &self.metadata
            }

            fn meta_mut(&mut self) -> &mut $crate::types::meta::ObjectMeta {
                &mut self.metadata
            }
        }
    };
}
pub(crate) use resource;
