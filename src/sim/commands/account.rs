//! Accounts, their users and what they may have.

use serde_json::json;

use super::Answer;
use super::call::{Answered, Call, used};
use super::declare::{Command, domain_admin, sync};
use super::role::Role;
use super::scope::Scope;
use crate::sim::reply::ApiError;
use crate::sim::view::{RowOf, net};
use crate::sim::world::catalogue::Row;
use crate::sim::world::{Account, Limits, RESOURCE_TYPES, User, Uuid, World};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    sync(
        "listAccounts",
        "id:uuid name accounttype:integer state iscleanuprequired:boolean details:list \
         domainid:uuid listall:boolean isrecursive:boolean",
        accounts,
    ),
    sync(
        "listUsers",
        "id:uuid username account accounttype:integer state domainid:uuid \
         listall:boolean isrecursive:boolean",
        users,
    ),
    sync(
        "listResourceLimits",
        "id:long resourcetype:integer resourcetypename tag @owned",
        limits,
    ),
    domain_admin(
        "updateResourceLimit",
        "resourcetype!:integer account domainid:uuid projectid:uuid max:long tag",
        set_limit,
    ),
];

/// `listAccounts`.
pub(crate) fn accounts(call: &mut Call<'_>) -> Answered {
    let accounts: Vec<&Account> = call
        .world
        .accounts
        .values()
        .filter(|account| !account.is_project() && call.sees(Some(&account.id)))
        .filter(|account| call.wants("id", Some(&account.id)))
        .filter(|account| call.wants("name", Some(&account.name)))
        .collect();
    call.page("account", &accounts, |account| {
        account_row(call.world, account)
    })
}

pub(super) fn account_row(world: &World, account: &Account) -> Row {
    let limits = world.limits.get(&account.id);
    let max = |place: usize| limits.and_then(|limits| limits.max.get(place)).copied();
    let domain = world.domain_of(&account.id);
    let role = Role::of(account.type_number());
    let row = RowOf::new()
        .set("id", account.id.as_str())
        .set("name", account.name.as_str())
        .set("accounttype", account.type_number())
        .set("roleid", role.map(|role| role.id))
        .set("rolename", role.map(|role| role.name))
        .set("roletype", role.map(|role| role.kind))
        .set("domainid", domain)
        .set(
            "domain",
            world.domains.get(domain).map(|row| row.name.clone()),
        )
        .set("domainpath", world.domain_path(domain))
        .set("state", account.standing.word())
        .set("networkdomain", account.network_domain.clone())
        .set("isdefault", account.created.is_none())
        .set("created", account.created.map(crate::sim::view::date));
    let resources = [
        ("vm", 0),
        ("ip", 1),
        ("volume", 2),
        ("snapshot", 3),
        ("template", 4),
        ("project", 5),
        ("network", 6),
        ("vpc", 7),
        ("cpu", 8),
        ("memory", 9),
        ("primarystorage", 10),
        ("secondarystorage", 11),
    ];
    let row = resources.into_iter().fold(row, |row, (name, place)| {
        let max = max(place).unwrap_or(-1);
        let total = used(world, &account.id, RESOURCE_TYPES[place]);
        let (limit, left) = if max < 0 {
            ("Unlimited".to_owned(), "Unlimited".to_owned())
        } else {
            (max.to_string(), (max - total).to_string())
        };
        row.set(&format!("{name}limit"), limit)
            .set(&format!("{name}total"), total)
            .set(&format!("{name}available"), left)
    });
    let users = world
        .users
        .values()
        .filter(|user| user.account == account.id);
    let users: Vec<_> = users
        .map(|user| serde_json::Value::from(user_row(world, user)))
        .collect();
    row.set("user", users).done()
}

pub(super) fn user_row(world: &World, user: &User) -> Row {
    let account = world.accounts.get(&user.account);
    let kind = account.map(Account::type_number);
    let role = kind.and_then(Role::of);
    RowOf::new()
        .set("id", user.id.as_str())
        .set("username", user.name.as_str())
        .set(
            "firstname",
            user.first_name.as_deref().unwrap_or(&user.name),
        )
        .set("lastname", user.last_name.as_deref().unwrap_or(&user.name))
        .set("email", user.email.clone())
        .set("timezone", user.timezone.clone())
        .set("state", user.standing.word())
        .set("created", user.created.map(crate::sim::view::date))
        .set("accounttype", kind)
        .set("roleid", role.map(|role| role.id))
        .set("rolename", role.map(|role| role.name))
        .set("roletype", role.map(|role| role.kind))
        .set("accountid", user.account.as_str())
        .holder(world, &user.account)
        .set_if(!user.api_key.is_empty(), "apikey", user.api_key.as_str())
        .done()
}

/// `listUsers`.
pub(crate) fn users(call: &mut Call<'_>) -> Answered {
    let users: Vec<&User> = call
        .world
        .users
        .values()
        .filter(|user| call.sees(Some(&user.account)))
        .filter(|user| call.wants("id", Some(&user.id)))
        .filter(|user| call.wants("username", Some(&user.name)))
        .collect();
    call.page("user", &users, |user| user_row(call.world, user))
}

/// The account that a limit is about: the caller's, or the one an admin names.
fn account_of(call: &Call<'_>) -> Uuid {
    match &call.scope {
        Scope::Accounts(accounts) if call.command.is_list() => accounts.first().cloned(),
        _ => None,
    }
    .unwrap_or_else(|| call.caller.account.clone())
}

/// `listResourceLimits`.
pub(crate) fn limits(call: &mut Call<'_>) -> Answered {
    let account = account_of(call);
    let none = Limits::none();
    let limits = call.world.limits.get(&account).unwrap_or(&none);
    let rows: Vec<(usize, &str, i64)> = RESOURCE_TYPES
        .into_iter()
        .zip(&limits.max)
        .enumerate()
        .map(|(number, (name, max))| (number, name, *max))
        .filter(|(number, name, _)| {
            call.wants("resourcetype", Some(&number.to_string()))
                && call.wants("resourcetypename", Some(name))
        })
        .collect();
    call.page("resourcelimit", &rows, |(number, name, max)| {
        net::limit(call.world, &account, *number, name, *max)
    })
}

/// `updateResourceLimit`.
pub(crate) fn set_limit(call: &mut Call<'_>) -> Answered {
    let account = account_of(call);
    let place: usize = call.parsed("resourcetype")?.unwrap_or_default();
    let max: i64 = call.parsed("max")?.unwrap_or(-1);
    let limits = call
        .world
        .limits
        .entry(account.clone())
        .or_insert_with(Limits::none);
    let (Some(slot), Some(name)) = (limits.max.get_mut(place), RESOURCE_TYPES.get(place)) else {
        return Err(ApiError::value(format!(
            "Please specify a valid resource type: {place}"
        )));
    };
    *slot = max;
    let row = net::limit(call.world, &account, place, name, max);
    Ok(Answer::Object(json!({"resourcelimit": row})))
}

/// Whether an account has anything that must not be left without an owner.
pub(super) fn owns_something(world: &World, account: &str) -> bool {
    let kept = ["user_vm", "network", "vpc", "volume", "public_ip"];
    kept.iter().any(|what| used(world, account, what) > 0)
}
