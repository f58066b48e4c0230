//! What machines are told beyond their packages: secrets, settings, clock, resolver, logs.

use std::{collections::BTreeMap, net::Ipv4Addr};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::{account::NameRef, role::Protocol};

/// Characters of base64 that CloudStack takes as user data by default. Source: its global setting
/// `vm.userdata.max.length`.
pub const USER_DATA_MAX: u32 = 32_768;

/// How a machine becomes Clearwater's at its first boot. A change of it, or of its Secret, takes
/// effect with a machine's next image.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct BootstrapSpec {
    /// The Secret, in the same namespace, with the keys `signupKey`, `turnWorkaround`,
    /// `ellisApiKey` and `ellisCookieKey`; `tsigKey` (base64) where `dns.mode` is `Managed`;
    /// `smtpUsername` and `smtpPassword` where `smtp` needs them; and, if clients are to know the
    /// machines, `sshHostKey.<machine>` or `sshHostKey` with an SSH host key.
    pub secret_ref: NameRef,
    /// Clearwater's name of this site. Default `site1`.
    #[serde(default = "site")]
    pub site: String,
    /// Further settings of the whole site, as in Clearwater's `shared_config`, like
    /// `reg_max_expires`. They are written once, by one machine, into the site's etcd.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub shared_config: BTreeMap<String, String>,
    /// Settings of each machine, as in Clearwater's `user_settings`, like `log_level`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub user_settings: BTreeMap<String, String>,
    /// Names that Clearwater takes for other ones (its `dns.json`): name, and what it stands for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub dns_overrides: BTreeMap<String, String>,
    /// An HSS outside. Default: none, subscribers are provisioned in homestead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hss: Option<HssSpec>,
    /// The relay for mails of ellis. Default: none, ellis sends no mail.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub smtp: Option<SmtpSpec>,
    /// Public keys that may log in over SSH, beside `sshKeyPair`. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ssh_authorized_keys: Vec<String>,
    /// Time servers, by name or address. Default: those of the template.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ntp_servers: Vec<String>,
    /// Name servers that answer for the rest of the world. With `dns.mode` `Managed` the machines
    /// ask the stack's own, and these are what that one asks. Default: those that the network
    /// hands out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub resolvers: Vec<Ipv4Addr>,
    /// Where each machine's system log is sent. Default: nowhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub logs: Option<LogSpec>,
    /// Where a machine reads its user data. Default: the tier's gateway, which is CloudStack's
    /// virtual router.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metadata_server: Option<Ipv4Addr>,
    /// Most characters of base64 that CloudStack takes as user data: its global setting
    /// `vm.userdata.max.length`. Default 32768.
    #[serde(default = "user_data_max")]
    pub user_data_max: u32,
}

fn site() -> String {
    "site1".to_owned()
}

const fn user_data_max() -> u32 {
    USER_DATA_MAX
}

/// An HSS outside.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct HssSpec {
    /// Its name.
    pub hostname: String,
    /// Its Diameter realm.
    pub realm: String,
    /// Its Diameter port. Default 3868.
    #[serde(default = "diameter")]
    pub port: u16,
}

const fn diameter() -> u16 {
    3868
}

/// A relay for mails.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct SmtpSpec {
    /// Its name.
    pub host: String,
    /// Who mails come from. Default: `clearwater@` and the domain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sender: Option<String>,
}

/// A collector of system logs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct LogSpec {
    /// Its name or address.
    pub host: String,
    /// Its port. Default 514.
    #[serde(default = "syslog")]
    pub port: u16,
    /// `tcp` or `udp`. Default `tcp`.
    #[serde(default = "tcp")]
    pub protocol: Protocol,
}

const fn syslog() -> u16 {
    514
}

const fn tcp() -> Protocol {
    Protocol::Tcp
}

/// Settings that hold secrets: they come from the stack's Secret.
pub const KEYS_OF_SECRETS: &[&str] = &[
    "ellis_api_key",
    "ellis_cookie_key",
    "signup_key",
    "smtp_password",
    "smtp_username",
    "turn_workaround",
];

/// Settings that speak of one machine. Source: Clearwater's own check of its shared configuration.
pub const LOCAL_KEYS: &[&str] = &[
    "etcd_cluster",
    "etcd_cluster_key",
    "etcd_proxy",
    "local_ip",
    "local_site_name",
    "node_idx",
    "public_hostname",
    "public_ip",
];

/// Settings that follow from other fields of a stack.
pub const KEYS_OF_WEIR: &[&str] = &[
    "cassandra_hostname",
    "chronos_hostname",
    "email_recovery_sender",
    "home_domain",
    "homestead_impu_store",
    "hs_hostname",
    "hs_hostname_mgmt",
    "hs_provisioning_hostname",
    "hss_hostname",
    "hss_port",
    "hss_realm",
    "icscf",
    "ralf_hostname",
    "ralf_session_store",
    "smtp_smarthost",
    "sprout_hostname",
    "sprout_hostname_mgmt",
    "sprout_impi_store",
    "sprout_registration_store",
    "upstream_hostname",
    "upstream_port",
    "xdms_hostname",
];

/// Longest value of a setting: far above any that Clearwater knows.
const VALUE_MAX: usize = 1024;

/// Whether a shell reads a value as it is written. Clearwater's settings are lines of shell, and
/// not all that reads them knows quotes.
#[must_use]
pub fn is_plain_value(value: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || "._:,/@+=%^-".contains(c);
    (1..=VALUE_MAX).contains(&value.len()) && value.chars().all(plain)
}
