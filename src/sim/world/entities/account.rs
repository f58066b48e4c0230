//! Accounts, users, and how much of each thing an account may have.

use serde::{Deserialize, Serialize};

use super::Uuid;

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
