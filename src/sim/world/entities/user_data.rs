//! Registered user data, and groups of machines: both are names that people give.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Uuid;

/// User data that was registered under a name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct UserData {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// Its name, unique in the account.
    pub name: String,
    /// The account that owns it.
    pub account: Uuid,
    /// What it says, base64 as it was sent.
    pub data: String,
    /// The variables that it declares, joined by commas.
    pub params: Option<String>,
}

/// What becomes of user data that is given although the template has its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UserDataPolicy {
    /// What is given wins.
    AllowOverride,
    /// Both are handed over, one after the other.
    Append,
    /// Nothing may be given.
    DenyOverride,
}

impl UserDataPolicy {
    /// The policy as the API spells it.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::AllowOverride => "ALLOWOVERRIDE",
            Self::Append => "APPEND",
            Self::DenyOverride => "DENYOVERRIDE",
        }
    }

    /// The policy that a word means, in any case.
    #[must_use]
    pub fn read(word: &str) -> Option<Self> {
        let all = [Self::AllowOverride, Self::Append, Self::DenyOverride];
        all.into_iter()
            .find(|policy| policy.word().eq_ignore_ascii_case(word))
    }
}

/// User data that comes with a template.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct TemplateUserData {
    /// The user data.
    pub id: Uuid,
    /// What becomes of what is given at a deploy.
    pub policy: UserDataPolicy,
}

/// A group of machines, which means nothing but its name.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct InstanceGroup {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// Its name, unique in the account.
    pub name: String,
    /// The account that owns it.
    pub account: Uuid,
    /// When it was created.
    pub created: Timestamp,
}
