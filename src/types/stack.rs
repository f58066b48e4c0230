//! `ClearwaterStack`: one Clearwater deployment, as wanted and as found.

use std::{borrow::Cow, collections::BTreeMap, net::Ipv4Addr};

use ipnet::Ipv4Net;
use jiff::Timestamp;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    account::NameRef,
    duration::Duration,
    id::{AclId, VpcId},
    ledger::Ledger,
    meta::{Condition, resource},
    role::{Protocol, Role},
    schema,
};

/// Annotation: until when Weir looks but does not act (RFC 3339).
pub const PAUSED_UNTIL: &str = "weir.dev/paused-until";
/// Annotation: why somebody paused the stack.
pub const PAUSED_WHY: &str = "weir.dev/paused-why";

resource! {
    /// One Clearwater deployment.
    ClearwaterStack {
        /// What is wanted.
        spec: StackSpec,
        /// What was found, and what Weir is doing about the difference.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<StackStatus>,
    }
}

/// What a stack is to be.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct StackSpec {
    /// The `CloudAccount`, in the same namespace, that the stack is built in.
    pub account_ref: NameRef,
    /// Clearwater's home domain, like `ims.example.com`.
    pub domain: String,
    /// The template that machines boot from; a component may name its own.
    pub template: Selector,
    /// The service offering of machines; a component may name its own.
    pub service_offering: Selector,
    /// An SSH key pair of the account, put into each machine. Default: none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ssh_key_pair: Option<String>,
    /// Where the machines live.
    #[serde(default)]
    pub network: NetworkSpec,
    /// Where Clearwater's packages come from.
    pub packages: PackagesSpec,
    /// Who serves the stack's names.
    #[serde(default)]
    pub dns: DnsSpec,
    /// How many machines of each role, and how they differ from the rest. A role that is left
    /// out has one machine.
    #[serde(default)]
    pub components: Components,
    /// When a machine counts as dead, and what may be done about it.
    #[serde(default)]
    pub remediation: RemediationSpec,
    /// How many machines of a role a change may take away at once.
    #[serde(default)]
    pub update: UpdateSpec,
    /// What is done about drift: repaired, or only reported. Default `Repair`.
    #[serde(default)]
    pub drift: DriftPolicy,
    /// What a delete of the stack takes down. Default `Delete`: everything.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

/// Points at something of CloudStack's by name or by id; exactly one of the two.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub enum Selector {
    /// By name; refused where several have it.
    Name(String),
    /// By id.
    Id(String),
}

impl Selector {
    /// The name or id as written.
    #[must_use]
    pub fn text(&self) -> &str {
        match self {
            Self::Name(text) | Self::Id(text) => text,
        }
    }
}

/// Where the machines live: one tier of a VPC.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct NetworkSpec {
    /// The VPC: one that Weir makes, or one that exists. Default: made, with 10.0.0.0/16.
    pub vpc: VpcSpec,
    /// The tier's range, within the VPC's. Default 10.0.0.0/24.
    #[schemars(with = "schema::Cidr")]
    pub cidr: Ipv4Net,
    /// The tier's gateway. Default: the first address of `cidr`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub gateway: Option<Ipv4Addr>,
    /// The network offering of the tier. Default
    /// `DefaultIsolatedNetworkOfferingForVpcNetworks`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offering: Option<Selector>,
    /// The tier's network ACL list: `Managed` (made from each role's ports and `rules`), or an
    /// existing one, whose rules Weir then leaves alone. Default `Managed`.
    pub acl: AclSpec,
    /// Further rules of a managed list, after those of the roles.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleSpec>,
    /// Who may reach SSH on every machine through the tier's router. Default: nobody.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schemars(with = "Vec<schema::Cidr>")]
    pub management_cidrs: Vec<Ipv4Net>,
}

impl Default for NetworkSpec {
    fn default() -> Self {
        Self {
            vpc: VpcSpec::default(),
            cidr: net(24),
            gateway: None,
            offering: None,
            acl: AclSpec::default(),
            rules: Vec::new(),
            management_cidrs: Vec::new(),
        }
    }
}

impl NetworkSpec {
    /// The gateway as written, else the first address of the range.
    #[must_use]
    pub fn gateway(&self) -> Ipv4Addr {
        let first = u32::from(self.cidr.network()).saturating_add(1);
        self.gateway.unwrap_or_else(|| first.into())
    }
}

fn net(prefix: u8) -> Ipv4Net {
    Ipv4Net::new_assert(Ipv4Addr::new(10, 0, 0, 0), prefix)
}

/// A VPC to make, or one to live in.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged, deny_unknown_fields)]
pub enum VpcSpec {
    /// An existing VPC, by id: used, never changed, never deleted.
    Existing {
        /// Its id.
        id: VpcId,
    },
    /// A VPC that Weir makes and owns.
    Owned {
        /// Its range.
        #[schemars(with = "schema::Cidr")]
        cidr: Ipv4Net,
        /// The VPC offering. Default `Default VPC offering`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        offering: Option<Selector>,
    },
}

impl Default for VpcSpec {
    fn default() -> Self {
        Self::Owned {
            cidr: net(16),
            offering: None,
        }
    }
}

/// Which network ACL list the tier has.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum AclSpec {
    /// `Managed`: Weir makes the list and keeps its rules.
    #[default]
    #[serde(with = "managed")]
    #[schemars(with = "managed::Word")]
    Managed,
    /// An existing list, by id.
    Existing {
        /// Its id.
        id: AclId,
    },
}

/// The one word that [`AclSpec::Managed`] is written as.
mod managed {
    use schemars::JsonSchema;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    #[derive(Serialize, Deserialize, JsonSchema)]
    pub(super) enum Word {
        Managed,
    }

    pub(super) fn serialize<S: Serializer>(serializer: S) -> Result<S::Ok, S::Error> {
        Word::Managed.serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<(), D::Error> {
        Word::deserialize(deserializer).map(|Word::Managed| ())
    }
}

/// A rule of a managed network ACL list.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RuleSpec {
    /// `tcp`, `udp`, `icmp` or `all`.
    pub protocol: Protocol,
    /// First port; for `tcp` and `udp` only. Default: every port.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_port: Option<u16>,
    /// Last port. Default: `startPort`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end_port: Option<u16>,
    /// Whom it speaks of: sources of ingress, destinations of egress. Default 0.0.0.0/0.
    #[serde(default = "anywhere")]
    #[schemars(with = "Vec<schema::Cidr>")]
    pub cidrs: Vec<Ipv4Net>,
    /// `Ingress` or `Egress`. Default `Ingress`.
    #[serde(default)]
    pub direction: Direction,
    /// `Allow` or `Deny`. Default `Allow`.
    #[serde(default)]
    pub action: RuleAction,
    /// What it is for; shown in CloudStack as the rule's reason.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub reason: String,
}

fn anywhere() -> Vec<Ipv4Net> {
    vec![Ipv4Net::new_assert(Ipv4Addr::UNSPECIFIED, 0)]
}

/// Into the tier or out of it.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum Direction {
    /// Into the tier.
    #[default]
    Ingress,
    /// Out of the tier.
    Egress,
}

/// What a rule does with what it matches.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
pub enum RuleAction {
    /// Lets it pass.
    #[default]
    Allow,
    /// Drops it.
    Deny,
}

/// Where Clearwater's packages come from.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct PackagesSpec {
    /// URL of an apt repository. Clearwater's own went away with the project, so there is no
    /// default.
    pub repository: String,
    /// URL of the key that signs it. Default: none, the repository is trusted as it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_url: Option<String>,
}

/// Who serves the stack's names.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct DnsSpec {
    /// `None` (names are the operator's business), or `Managed` (the stack has machines of the
    /// role `dns`). Default `None`.
    pub mode: DnsMode,
}

/// See [`DnsSpec::mode`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DnsMode {
    /// The operator sees to it.
    #[default]
    None,
    /// The stack has its own name servers.
    Managed,
}

/// The machines of each role.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Components {
    /// Edge proxies.
    pub bono: Component,
    /// SIP routers.
    pub sprout: Component,
    /// HSS mirrors.
    pub homestead: Component,
    /// Charging trigger functions.
    pub ralf: Component,
    /// XDMS.
    pub homer: Component,
    /// Provisioning portals.
    pub ellis: Component,
    /// Name servers; only where `dns.mode` is `Managed`.
    pub dns: Component,
}

impl Components {
    /// The component of a role.
    #[must_use]
    pub const fn get(&self, role: Role) -> &Component {
        match role {
            Role::Bono => &self.bono,
            Role::Sprout => &self.sprout,
            Role::Homestead => &self.homestead,
            Role::Ralf => &self.ralf,
            Role::Homer => &self.homer,
            Role::Ellis => &self.ellis,
            Role::Dns => &self.dns,
        }
    }
}

/// The machines of one role.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Component {
    /// How many. Default 1; 0 leaves the role out.
    pub replicas: u32,
    /// Default: the stack's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub template: Option<Selector>,
    /// Default: the stack's.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub service_offering: Option<Selector>,
    /// Whether each machine has a public address with static NAT. Default: true for bono,
    /// ellis and dns, which the world must reach.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub public_address: Option<bool>,
    /// Private addresses of the machines, by index. Default: Weir chooses, once.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub addresses: Vec<Ipv4Addr>,
    /// Whether machines of the role are kept on different hosts. Default: `Preferred` where
    /// there are several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub anti_affinity: Option<AntiAffinity>,
    /// A check that a running machine really serves. Default: none, a running VM counts as
    /// healthy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probe: Option<Probe>,
}

impl Default for Component {
    fn default() -> Self {
        Self {
            replicas: 1,
            template: None,
            service_offering: None,
            public_address: None,
            addresses: Vec::new(),
            anti_affinity: None,
            probe: None,
        }
    }
}

/// How strictly machines of a role are kept on different hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum AntiAffinity {
    /// Not at all.
    Off,
    /// Where there is room (CloudStack: `non-strict host anti-affinity`).
    Preferred,
    /// Or they do not start (CloudStack: `host anti-affinity`).
    Required,
}

/// A check that a running machine really serves.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Probe {
    /// `TCP` connects; `HTTP` asks and wants a status below 400.
    pub kind: ProbeKind,
    /// The port.
    pub port: u16,
    /// The path of an HTTP probe. Default `/`.
    #[serde(default = "slash")]
    pub path: String,
    /// Which address is tried. Default `Private`.
    #[serde(default)]
    pub via: ProbeVia,
    /// Time between two tries. Default 10s.
    #[serde(default = "ten_seconds")]
    pub period: Duration,
    /// Time for one try. Default 2s.
    #[serde(default = "two_seconds")]
    pub timeout: Duration,
    /// Failures in a row that make a machine unhealthy. Default 3.
    #[serde(default = "three")]
    pub failure_threshold: u32,
}

fn slash() -> String {
    "/".to_owned()
}

const fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

const fn two_seconds() -> Duration {
    Duration::from_secs(2)
}

const fn three() -> u32 {
    3
}

/// See [`Probe::kind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProbeKind {
    /// Connects.
    #[serde(rename = "TCP")]
    Tcp,
    /// Asks for a path.
    #[serde(rename = "HTTP")]
    Http,
}

/// See [`Probe::via`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum ProbeVia {
    /// The address in the tier; the controller must have a route to it.
    #[default]
    Private,
    /// The public address.
    Public,
}

/// When a machine counts as dead, and what may be done about it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct RemediationSpec {
    /// How long a probe may fail before anything is done. Default 90s.
    pub unhealthy_after: Duration,
    /// How long a machine may take to serve after it was started. Default 20m.
    pub startup_timeout: Duration,
    /// How many of a stack's machines may look dead before Weir stops acting on them and waits:
    /// a number or a percentage, rounded up. Default 40%.
    pub max_unhealthy: Share,
    /// Remediations of one machine within an hour before Weir stops trying. Default 6.
    pub max_per_hour: u32,
}

impl Default for RemediationSpec {
    fn default() -> Self {
        Self {
            unhealthy_after: Duration::from_secs(90),
            startup_timeout: Duration::from_secs(1200),
            max_unhealthy: Share::Percent(40),
            max_per_hour: 6,
        }
    }
}

/// A number, or a percentage of a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Share {
    /// So many.
    Count(u32),
    /// So many in a hundred.
    Percent(u32),
}

impl Share {
    /// The share of `whole`, percentages rounded up.
    #[must_use]
    pub fn of(self, whole: usize) -> usize {
        match self {
            Self::Count(n) => n as usize,
            Self::Percent(p) => (whole * p as usize).div_ceil(100),
        }
    }
}

/// How many machines of a role a change may take away, or add, at once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct UpdateSpec {
    /// Machines of one role that a change may take away at once. Default 1.
    pub max_unavailable: u32,
    /// Machines of one role that may exist beyond its replicas while one is replaced. Default 1.
    pub max_surge: u32,
}

impl Default for UpdateSpec {
    fn default() -> Self {
        Self {
            max_unavailable: 1,
            max_surge: 1,
        }
    }
}

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
        }
    }
}

/// What a delete of the stack takes down.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum DeletionPolicy {
    /// `Delete`: everything that Weir made; `Orphan`: nothing, Weir lets go.
    All(DeletionMode),
    /// Everything but the network.
    Keep {
        /// `Retain`: the VPC, tier and ACL list stay. Useful where the account may not expunge:
        /// destroyed VMs hold the tier for a day or two.
        network: Retain,
    },
}

impl Default for DeletionPolicy {
    fn default() -> Self {
        Self::All(DeletionMode::Delete)
    }
}

/// See [`DeletionPolicy::All`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum DeletionMode {
    /// Everything that Weir made goes.
    Delete,
    /// Everything stays; Weir lets go.
    Orphan,
}

/// The one word of [`DeletionPolicy::Keep`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub enum Retain {
    /// It stays.
    Retain,
}

/// What was found, and what Weir is doing about the difference.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct StackStatus {
    /// The generation of the spec that this status speaks of.
    pub observed_generation: i64,
    /// One word for tables: `Pending`, `Progressing`, `Ready`, `Degraded`, `Paused`, `Blocked`
    /// or `Deleting`.
    pub phase: String,
    /// `Ready`, `Progressing`, `Degraded`, `DriftFree`, `Planned`, `Paused` and, where it
    /// applies, `AddressHeld`.
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

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Count(n) => serializer.serialize_u32(*n),
            Self::Percent(p) => serializer.collect_str(&format_args!("{p}%")),
        }
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u32),
            Text(String),
        }
        let invalid = |text: &dyn std::fmt::Display| {
            de::Error::custom(format!(
                "`{text}` is neither a number nor a percentage: write 2 or 40%"
            ))
        };
        match Written::deserialize(deserializer)? {
            Written::Number(n) => Ok(Self::Count(n)),
            Written::Text(text) => text
                .strip_suffix('%')
                .and_then(|digits| digits.parse().ok())
                .filter(|percent| *percent <= 100)
                .map(Self::Percent)
                .ok_or_else(|| invalid(&text)),
        }
    }
}

impl JsonSchema for Share {
    fn schema_name() -> Cow<'static, str> {
        "Share".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true })
    }
}
