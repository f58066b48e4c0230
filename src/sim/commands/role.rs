//! Roles: what the users of an account may call. There are those that CloudStack comes with and
//! that its account types stand for; none can be made.

use super::call::{Answered, Call};
use super::declare::{Access, Command, domain_admin};
use super::table;
use crate::sim::reply::ApiError;
use crate::sim::view::RowOf;

/// A role.
#[derive(Debug)]
pub(super) struct Role {
    pub(super) id: &'static str,
    pub(super) name: &'static str,
    /// Its type, as `type` and `roletype` tell it.
    pub(super) kind: &'static str,
    description: &'static str,
    /// The type of the accounts that have it.
    pub(super) account_type: i32,
}

/// The roles, in the order of their numbers in the server's database.
const ROLES: &[Role] = &[
    Role {
        id: "5f2b6c1e-0d41-4c3a-9a57-000000000001",
        name: "Root Admin",
        kind: "Admin",
        description: "Default root admin role",
        account_type: 1,
    },
    Role {
        id: "5f2b6c1e-0d41-4c3a-9a57-000000000003",
        name: "Domain Admin",
        kind: "DomainAdmin",
        description: "Default domain admin role",
        account_type: 2,
    },
    Role {
        id: "5f2b6c1e-0d41-4c3a-9a57-000000000004",
        name: "User",
        kind: "User",
        description: "Default user role",
        account_type: 0,
    },
];

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    domain_admin("listRoles", "id:uuid name type state", roles),
    domain_admin("listRolePermissions", "roleid:uuid", permissions),
];

impl Role {
    /// The role of accounts of this type.
    pub(super) fn of(account_type: u8) -> Option<&'static Self> {
        let number = i32::from(account_type);
        ROLES.iter().find(|role| role.account_type == number)
    }

    /// The role with this id.
    pub(super) fn with_id(id: &str) -> Option<&'static Self> {
        ROLES.iter().find(|role| role.id == id)
    }

    /// Whether those who have it may call a command.
    fn may(&self, access: Access) -> bool {
        match access {
            Access::Everyone => true,
            Access::DomainAdmins => self.account_type != 0,
            Access::AdminOnly => self.account_type == 1,
        }
    }
}

/// `listRoles`.
fn roles(call: &mut Call<'_>) -> Answered {
    let enabled = |word: &str| word.eq_ignore_ascii_case("enabled");
    let shown = |role: &&Role| {
        call.wants("id", Some(role.id))
            && call.holds("name", role.name)
            && call.holds("keyword", role.name)
            && call.wants("type", Some(role.kind))
            && call.text("state").is_none_or(enabled)
    };
    let rows: Vec<&Role> = ROLES.iter().filter(shown).collect();
    call.page("role", &rows, |role| {
        RowOf::new()
            .set("id", role.id)
            .set("name", role.name)
            .set("type", role.kind)
            .set("description", role.description)
            .set("isdefault", true)
            .set("ispublic", true)
            .set("state", "enabled")
            .done()
    })
}

/// `listRolePermissions`: a root admin's rule is for everything, the others' name each command.
fn permissions(call: &mut Call<'_>) -> Answered {
    let asked = call.text("roleid");
    if let Some(id) = asked.filter(|id| Role::with_id(id).is_none()) {
        return Err(ApiError::unknown_id(call.command.name, "roleid", id));
    }
    let roles = ROLES
        .iter()
        .filter(|role| asked.is_none_or(|id| role.id == id));
    let rules: Vec<(&Role, &str)> = roles
        .flat_map(|role| {
            let each = table::all().filter(|command| role.may(command.access));
            let rules: Vec<&str> = match role.account_type {
                1 => vec!["*"],
                _ => each.map(|command| command.name).collect(),
            };
            rules.into_iter().map(move |rule| (role, rule))
        })
        .collect();
    call.page("rolepermission", &rules, |(role, rule)| {
        RowOf::new()
            .set("id", format!("{}-{rule}", role.id))
            .set("roleid", role.id)
            .set("rolename", role.name)
            .set("rule", *rule)
            .set("permission", "allow")
            .done()
    })
}
