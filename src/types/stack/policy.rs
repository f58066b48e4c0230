//! How far Weir may go: remediation, updates, deletion.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::types::duration::Duration;

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
    /// Remediations of all machines of a role within an hour before Weir stops trying: what keeps
    /// hitting a whole role is not healed machine by machine. Default: `maxPerHour`, and 2 for each
    /// machine of the role.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per_hour_per_role: Option<u32>,
    /// The same for all machines of the stack. Default: twice `maxPerHour`, and 1 for each machine.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_per_hour_per_stack: Option<u32>,
}

impl RemediationSpec {
    /// Remediations of a role within an hour, of which there are so many machines.
    #[must_use]
    pub fn budget_of_role(&self, machines: usize) -> usize {
        let derived = self.max_per_hour as usize + 2 * machines;
        self.max_per_hour_per_role
            .map_or(derived, |most| most as usize)
    }

    /// Remediations of the stack within an hour, which has so many machines.
    #[must_use]
    pub fn budget_of_stack(&self, machines: usize) -> usize {
        let derived = 2 * self.max_per_hour as usize + machines;
        self.max_per_hour_per_stack
            .map_or(derived, |most| most as usize)
    }
}

impl Default for RemediationSpec {
    fn default() -> Self {
        Self {
            unhealthy_after: Duration::from_secs(90),
            startup_timeout: Duration::from_secs(1200),
            max_unhealthy: Share::Percent(40),
            max_per_hour: 6,
            max_per_hour_per_role: None,
            max_per_hour_per_stack: None,
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
    /// Machines of one role that may be away at once by Weir's doing: changed, replaced on request
    /// or scaled in. One that is away already takes nothing away. Default 1.
    pub max_unavailable: u32,
    /// VM records of one role that may exist beyond its replicas while machines are replaced: a
    /// machine keeps its name and address, so its successor is deployed as soon as its predecessor
    /// has let go of them, while that is still being destroyed. With 0 the predecessor goes first.
    /// Whatever fails, a stack never has more than its replicas, this, and 3 more. Default 1.
    pub max_surge: u32,
    /// Machines that a change of the manifest may destroy before somebody has approved its plan
    /// (`weir approve`): what is more may be a slip of the hand. A delete of the stack, or of a
    /// `Machine`, needs no approval. Default 5.
    pub max_destroys: u32,
}

impl Default for UpdateSpec {
    fn default() -> Self {
        Self {
            max_unavailable: 1,
            max_surge: 1,
            max_destroys: 5,
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
