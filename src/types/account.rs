//! `CloudAccount`: which CloudStack, with whose keys, and how gently.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    duration::Duration,
    meta::{Condition, resource},
    schema,
};

resource! {
    /// A CloudStack account that stacks are built in.
    CloudAccount {
        /// How to reach it.
        spec: CloudAccountSpec,
        /// What Weir found there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        status: Option<CloudAccountStatus>,
    }
}

/// A reference by name within the namespace.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NameRef {
    /// The name of the object.
    pub name: String,
}

/// How to reach a CloudStack account.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CloudAccountSpec {
    /// The API's URL, like `https://cloud.example.net/client/api`.
    pub endpoint: String,
    /// The zone in which everything is made, by name or id. May be left out where the account
    /// sees just one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The project that owns everything, by id. Default: none, the account itself owns it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub project: Option<String>,
    /// The Secret with the keys `apiKey` and `secretKey`.
    pub secret_ref: NameRef,
    /// PEM certificates to trust besides the system's.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_bundle: Option<String>,
    /// How hard Weir may press.
    #[serde(default)]
    pub limits: Limits,
    /// Time between two looks at the account when nothing happens. Default 30s.
    #[serde(default = "resync_default")]
    pub resync_interval: Duration,
    /// Time between two looks that also read what is costly to read (user data). Default 10m.
    #[serde(default = "audit_default")]
    pub audit_interval: Duration,
}

const fn resync_default() -> Duration {
    Duration::from_secs(30)
}

const fn audit_default() -> Duration {
    Duration::from_secs(600)
}

/// How hard Weir may press on an account.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default, deny_unknown_fields)]
pub struct Limits {
    /// Requests a second. Where CloudStack's own throttle is on (it is off by default, and allows
    /// 25 a second otherwise), Weir reads it from `listCapabilities` and stays below it. Default
    /// 50: with it a stack that comes up hardly ever waits for its turn. What a slow server feels
    /// is `requestsInFlight`.
    pub requests_per_second: u32,
    /// Requests in flight at once. Default 8.
    pub requests_in_flight: u32,
    /// Machines of one tier being deployed at once. Default 8.
    pub deploys_per_tier: u32,
    /// Time to connect. Default 10s.
    pub connect_timeout: Duration,
    /// Time for one request; `createNetwork` and `enableStaticNat` answer only when the router
    /// is done. Default 120s.
    pub request_timeout: Duration,
    /// Time after which an unfinished job is told as stuck. Default 15m.
    pub job_timeout: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            requests_per_second: 50,
            requests_in_flight: 8,
            deploys_per_tier: 8,
            connect_timeout: Duration::from_secs(10),
            request_timeout: Duration::from_secs(120),
            job_timeout: Duration::from_secs(900),
        }
    }
}

/// What Weir found in the account.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CloudAccountStatus {
    /// The generation of the spec that this status speaks of.
    pub observed_generation: i64,
    /// `Ready`: the last look succeeded. `BreakerOpen`, where it applies: which commands are held
    /// back because they keep failing, and why.
    pub conditions: Vec<Condition>,
    /// CloudStack's version.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// What the account's role allows, read from `listApis` and `listCapabilities`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rights: Option<Rights>,
    /// When the account was last seen whole.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<schema::Time>")]
    pub last_look: Option<Timestamp>,
    /// Virtual machines in the account, Weir's and others'.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub virtual_machines: Option<u64>,
}

/// What an account's role allows beyond a plain tenant's; only makes things quicker.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Rights {
    /// May expunge a destroyed VM, which frees its name and address at once.
    pub expunge: bool,
    /// Sees destroyed VMs in lists.
    pub see_destroyed: bool,
}
