//! Domains, accounts, users, projects, and how much of each thing an account may have.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Uuid;

/// A domain: accounts live in domains, and domains in other domains.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Domain {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id: 1 for `ROOT`.
    pub number: u64,
    /// Its name, unique among the domains of its parent.
    pub name: String,
    /// The domain that it is in; `ROOT` is in none.
    pub parent: Option<Uuid>,
    /// The DNS domain of its networks, if it sets one.
    pub network_domain: Option<String>,
    /// When it was created.
    pub created: Timestamp,
}

/// What sort of account it is, among those that are not the root admin's.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum AccountKind {
    /// Of ordinary users.
    #[default]
    Ordinary,
    /// Of users who manage a domain.
    DomainAdmin,
    /// Nobody's own: the owner of a project's resources.
    Project,
}

/// Whether an account or a user may send requests.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Standing {
    /// It may.
    #[default]
    Enabled,
    /// It may not, and its machines were stopped.
    Disabled,
    /// It may not, although its machines run on.
    Locked,
}

impl Standing {
    /// The word on the wire.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Enabled => "enabled",
            Self::Disabled => "disabled",
            Self::Locked => "locked",
        }
    }
}

/// An account: the owner of resources.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Account {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id: 2 for the admin, 4 for the tenant.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// Whether its users are root admins.
    pub admin: bool,
    /// What it is, if they are not.
    #[serde(default)]
    pub kind: AccountKind,
    /// Its domain; `ROOT` where it is empty.
    #[serde(default)]
    pub domain: Uuid,
    /// Whether its users may send requests.
    #[serde(default)]
    pub standing: Standing,
    /// The DNS domain of its networks, if it sets one.
    #[serde(default)]
    pub network_domain: Option<String>,
    /// When it was created; none for those that came with the cloud.
    #[serde(default)]
    pub created: Option<Timestamp>,
}

impl Account {
    /// Its type, as `accounttype` tells it.
    #[must_use]
    pub fn type_number(&self) -> u8 {
        match self.kind {
            _ if self.admin => 1,
            AccountKind::Ordinary => 0,
            AccountKind::DomainAdmin => 2,
            AccountKind::Project => 5,
        }
    }

    /// Whether it owns the resources of a project.
    #[must_use]
    pub fn is_project(&self) -> bool {
        self.kind == AccountKind::Project
    }
}

/// A project: resources that several accounts share.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Project {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// Its name, unique in its domain.
    pub name: String,
    /// Its description.
    pub display_text: String,
    /// The account that owns its resources.
    pub account: Uuid,
    /// Its domain.
    pub domain: Uuid,
    /// `Active` or `Suspended`.
    pub active: bool,
    /// The accounts that take part, and whether they manage it.
    pub members: Vec<ProjectMember>,
    /// When it was created.
    pub created: Timestamp,
}

/// An account that takes part in a project.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProjectMember {
    /// The account.
    pub account: Uuid,
    /// Whether its role in the project is `Admin`; `Regular` if not.
    pub manages: bool,
}

/// A user of an account: the holder of an API key.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct User {
    /// Its UUID.
    pub id: Uuid,
    /// The login name, which events carry.
    pub name: String,
    /// The account that it acts for.
    pub account: Uuid,
    /// The public half of its API credentials.
    pub api_key: String,
    /// The secret half, which signs requests.
    pub secret_key: String,
    /// What it logs in with: this cloud keeps nothing that is worth hashing.
    #[serde(default = "first_password")]
    pub password: String,
    /// The first name; the login name where none was given.
    #[serde(default)]
    pub first_name: Option<String>,
    /// The last name.
    #[serde(default)]
    pub last_name: Option<String>,
    /// The e-mail address.
    #[serde(default)]
    pub email: Option<String>,
    /// The time zone.
    #[serde(default)]
    pub timezone: Option<String>,
    /// Whether it may send requests.
    #[serde(default)]
    pub standing: Standing,
    /// When it was created; none for those that came with the cloud.
    #[serde(default)]
    pub created: Option<Timestamp>,
}

/// The password of the users that come with the cloud, as a fresh installation has it.
pub(crate) fn first_password() -> String {
    "password".to_owned()
}

/// How much of each thing an account may have; −1 is no limit.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Limits {
    /// One number for each resource type, in the order of the types' numbers.
    pub max: Vec<i64>,
}

/// The names of the resource types, in the order of their numbers.
pub const RESOURCE_TYPES: [&str; 17] = [
    "user_vm",
    "public_ip",
    "volume",
    "snapshot",
    "template",
    "project",
    "network",
    "vpc",
    "cpu",
    "memory",
    "primary_storage",
    "secondary_storage",
    "backup",
    "backup_storage",
    "bucket",
    "object_storage",
    "gpu",
];

impl Limits {
    /// No limit at all: what the root admin has.
    #[must_use]
    pub fn none() -> Self {
        Self {
            max: vec![-1; RESOURCE_TYPES.len()],
        }
    }

    /// What CloudStack 4.22 gives a new account: twenty of most things.
    #[must_use]
    pub fn of_a_new_account() -> Self {
        let max = vec![
            20, 20, 20, 20, 20, 10, 20, 20, 40, 40_960, 200, 400, 20, 400, 20, 400, -1,
        ];
        Self { max }
    }

    /// Sets the limit of one resource type, by the name it has in [`RESOURCE_TYPES`].
    ///
    /// # Panics
    /// If there is no such type: the caller is a test or a demonstration, and misspelt it.
    pub fn set(&mut self, resource: &str, max: i64) {
        let place = RESOURCE_TYPES.iter().position(|name| *name == resource);
        self.max[place.expect("the resource type is one of RESOURCE_TYPES")] = max;
    }
}
