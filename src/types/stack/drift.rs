//! What can differ from the manifest behind our back, and what is done about each.

use std::collections::BTreeMap;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};

/// `Repair` or `Report`, for the whole stack or field by field.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DriftPolicy {
    /// The same for every field.
    All(DriftMode),
    /// Field by field; the key `default` speaks of the fields that are not named.
    ByField(#[schemars(schema_with = "by_field")] BTreeMap<DriftField, DriftMode>),
}

/// A mode for each field that can drift: properties, where a map's schema would take any key.
fn by_field(generator: &mut SchemaGenerator) -> Schema {
    let mode = generator.subschema_for::<DriftMode>();
    let fields = generator.subschema_for::<DriftField>().to_value();
    let fields = fields["oneOf"].as_array().into_iter().flatten();
    let properties: serde_json::Map<_, _> = fields
        .filter_map(|field| {
            let mut mode = mode.clone();
            mode.insert("description".to_owned(), field["description"].clone());
            Some((field["const"].as_str()?.to_owned(), mode.to_value()))
        })
        .collect();
    json_schema!({ "type": "object", "properties": properties })
}

impl Default for DriftPolicy {
    fn default() -> Self {
        Self::All(DriftMode::Repair)
    }
}

impl DriftPolicy {
    /// What is done about drift of a field.
    #[must_use]
    pub fn mode(&self, field: DriftField) -> DriftMode {
        match self {
            Self::All(mode) => *mode,
            Self::ByField(modes) => *modes
                .get(&field)
                .or_else(|| modes.get(&DriftField::Default))
                .unwrap_or(&DriftMode::Repair),
        }
    }
}

/// What is done about drift.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum DriftMode {
    /// It is put right.
    Repair,
    /// It is only told.
    Report,
}

/// What can differ from the manifest without a change of the manifest.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "camelCase")]
pub enum DriftField {
    /// Every field that is not named.
    Default,
    /// The resource is missing.
    Existence,
    /// A VM is not running.
    PowerState,
    /// A running VM does not serve.
    Health,
    /// A VM's host name.
    Name,
    /// A VM's display name.
    DisplayName,
    /// A VM's service offering.
    ServiceOffering,
    /// A VM's template.
    Template,
    /// A VM's user data.
    UserData,
    /// A VM's private address.
    PrivateAddress,
    /// A machine's public address.
    PublicAddress,
    /// Which VM a public address leads to.
    StaticNat,
    /// A rule of the network ACL list.
    AclRule,
    /// The network ACL list of the tier.
    Acl,
    /// Tags.
    Tags,
    /// The owner mark in a VM's details.
    Details,
    /// A VM's affinity group.
    AffinityGroup,
    /// A VM record that nobody wants.
    Wreck,
    /// A second VM of one machine.
    Duplicate,
    /// Records of one name and type on a name server.
    DnsRecord,
}

impl DriftField {
    /// The field as written in manifests, metrics and messages.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Default => "default",
            Self::Existence => "existence",
            Self::PowerState => "powerState",
            Self::Health => "health",
            Self::Name => "name",
            Self::DisplayName => "displayName",
            Self::ServiceOffering => "serviceOffering",
            Self::Template => "template",
            Self::UserData => "userData",
            Self::PrivateAddress => "privateAddress",
            Self::PublicAddress => "publicAddress",
            Self::StaticNat => "staticNat",
            Self::AclRule => "aclRule",
            Self::Acl => "acl",
            Self::Tags => "tags",
            Self::Details => "details",
            Self::AffinityGroup => "affinityGroup",
            Self::Wreck => "wreck",
            Self::Duplicate => "duplicate",
            Self::DnsRecord => "dnsRecord",
        }
    }
}
