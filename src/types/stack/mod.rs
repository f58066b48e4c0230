//! `ClearwaterStack`: one Clearwater deployment, as wanted and as found.

mod bootstrap;
mod component;
mod dns;
mod drift;
mod network;
mod packages;
mod policy;
mod status;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{account::NameRef, meta::resource, role::Role};

pub use bootstrap::{
    BootstrapSpec, HssSpec, KEYS_OF_SECRETS, KEYS_OF_WEIR, LOCAL_KEYS, LogSpec, SmtpSpec,
    USER_DATA_MAX, is_plain_value,
};
pub use component::{AntiAffinity, Component, Components, Numbers, Probe, ProbeKind, ProbeVia};
pub use dns::{DnsMode, DnsServer, DnsSpec, DnsView};
pub use drift::{DriftField, DriftMode, DriftPolicy};
pub use network::{AclSpec, Direction, NetworkSpec, RuleAction, RuleSpec, VpcSpec};
pub use packages::{Layout, PackagesSpec};
pub use policy::{DeletionMode, DeletionPolicy, RemediationSpec, Retain, Share, UpdateSpec};
pub use status::{DriftReport, RoleStatus, StackStatus, StepReport, StepState};

/// Annotation: until when Weir looks but does not act (RFC 3339).
pub const PAUSED_UNTIL: &str = "weir.dev/paused-until";
/// Annotation: the plan that may destroy more machines than `update.maxDestroys`, by its hash.
pub const APPROVED_PLAN: &str = "weir.dev/approved-plan";
/// Annotation: the uid of a stack of the same name, kept by another Weir or in another namespace,
/// beside which this one may be built in the same account.
pub const ALLOWED_NAMESAKE: &str = "weir.dev/allowed-namesake";
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

impl ClearwaterStack {
    /// Whether somebody asked Weir to look and not to act, and the time has not run out.
    #[must_use]
    pub fn paused(&self, now: Timestamp) -> bool {
        self.paused_until().is_some_and(|until| until > now)
    }

    /// Until when Weir looks and does not act, if somebody asked for it.
    #[must_use]
    pub fn paused_until(&self) -> Option<Timestamp> {
        self.metadata.annotations.get(PAUSED_UNTIL)?.parse().ok()
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
    /// How machines become Clearwater's: secrets, settings, clock, resolver, logs. Default: a
    /// machine gets the packages of its role and its `local_config`, and the rest is the
    /// operator's business.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bootstrap: Option<BootstrapSpec>,
    /// When a machine counts as dead, and what may be done about it.
    #[serde(default)]
    pub remediation: RemediationSpec,
    /// How many machines of a role a change may take away at once.
    #[serde(default)]
    pub update: UpdateSpec,
    /// What is done about drift: repaired, or only reported. Default `Repair`.
    #[serde(default)]
    pub drift: DriftPolicy,
    /// Whether deleting the stack is refused; set during a deletion, it stops that where it is.
    /// Default false.
    #[serde(default)]
    pub deletion_protection: bool,
    /// What a delete of the stack takes down. Default `Delete`: everything.
    #[serde(default)]
    pub deletion_policy: DeletionPolicy,
}

impl StackSpec {
    /// How many machines of a role the stack is to have: none of a role that its layout lacks.
    #[must_use]
    pub fn replicas(&self, role: Role) -> u32 {
        let wanted = match role {
            Role::Dns => self.dns.mode == DnsMode::Managed,
            role => self.packages.layout().has(role),
        };
        if wanted {
            self.components.get(role).replicas
        } else {
            0
        }
    }
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
