//! Where Clearwater's packages come from, and which release of it they are.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::types::role::Role;

/// The first release of the split layout. Source: the packages dime and vellum appear in 122.
const FIRST_SPLIT: u32 = 122;

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
    /// The key itself, as `gpg --armor --export` prints it; instead of `keyUrl`, so that nothing
    /// is fetched before it is trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<String>,
    /// The key's fingerprint: 40 hex digits, with or without spaces. A key that has another one
    /// is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_fingerprint: Option<String>,
    /// The suite. One that ends in `/` is a folder with packages and has no components. Default
    /// `binary/`, as Clearwater's own repository had it.
    #[serde(default = "suite", skip_serializing_if = "is_suite")]
    pub suite: String,
    /// The components of the suite. Default: none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub components: Vec<String>,
    /// The version of Clearwater's packages, like `1.0-160518*`, which apt holds on to. Default:
    /// the newest of the repository.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub version: Option<String>,
    /// Clearwater's release that the packages are of, from 90 to 130. Below 122 the layout is
    /// classic: homestead and ralf, each with stores of its own; from 122 it is split: dime and
    /// vellum. Default 98.
    #[serde(default = "release", skip_serializing_if = "is_release")]
    pub release: u32,
}

fn suite() -> String {
    "binary/".to_owned()
}

fn is_suite(suite: &str) -> bool {
    suite == self::suite()
}

const fn release() -> u32 {
    98
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
const fn is_release(release: &u32) -> bool {
    *release == self::release()
}

impl PackagesSpec {
    /// Repository, suite and components as apt's `sources.list` writes them, without `deb` and options.
    #[must_use]
    pub fn source(&self) -> String {
        let words = [&self.repository, &self.suite].into_iter();
        let words: Vec<&str> = words.chain(&self.components).map(String::as_str).collect();
        words.join(" ")
    }

    /// Which roles there are, and what each of them is made of.
    #[must_use]
    pub const fn layout(&self) -> Layout {
        if self.release < FIRST_SPLIT {
            Layout::Classic
        } else {
            Layout::Split
        }
    }
}

/// How Clearwater's functions are spread over roles.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Layout {
    /// Six roles, of which four keep stores of their own.
    Classic,
    /// The stores are vellum's, and dime is homestead and ralf in one.
    Split,
}

impl Layout {
    /// As people call it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classic => "classic",
            Self::Split => "split",
        }
    }

    /// Whether the layout has a role.
    #[must_use]
    pub const fn has(self, role: Role) -> bool {
        match role {
            Role::Homestead | Role::Ralf => matches!(self, Self::Classic),
            Role::Vellum | Role::Dime => matches!(self, Self::Split),
            Role::Dns | Role::Homer | Role::Sprout | Role::Bono | Role::Ellis => true,
        }
    }
}
