//! Domains, and the accounts and users that are made in them.
//!
//! An account is created with its first user. Deleting one is refused while it owns machines or
//! networks, where the server would destroy them one by one.

use serde_json::{Value, json};

use super::Answer;
use super::account::{account_row, owns_something, user_row};
use super::call::{Answered, Call};
use super::declare::{Command, class, domain_admin, for_domain_admins, job, sync};
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::view::RowOf;
use crate::sim::world::catalogue::Row;
use crate::sim::world::{
    Account, AccountKind, Domain, Kind, Limits, Standing, User, Uuid, World, first_password,
};

/// How many accounts, users and domains there can be together: a bound of this simulator.
const PEOPLE_MAX: usize = 10_000;

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    sync(
        "listDomains",
        "id:uuid name level:integer listall:boolean details:list",
        domains,
    ),
    domain_admin(
        "createDomain",
        "name! parentdomainid:uuid networkdomain domainid",
        create_domain,
    ),
    domain_admin(
        "createAccount",
        "username! password! email! firstname! lastname! accounttype:integer roleid:uuid account \
         domainid:uuid networkdomain timezone",
        create_account,
    ),
    for_domain_admins(job(
        "deleteAccount",
        "id!:uuid",
        delete_account,
        class("account", "DeleteAccountCmd", "Account"),
    )),
    domain_admin("enableAccount", "id:uuid account domainid:uuid", enable),
    for_domain_admins(job(
        "disableAccount",
        "lock!:boolean id:uuid account domainid:uuid",
        disable,
        class("account", "DisableAccountCmd", "Account"),
    )),
    domain_admin(
        "createUser",
        "username! password! account! email! firstname! lastname! domainid:uuid timezone",
        create_user,
    ),
    domain_admin("deleteUser", "id!:uuid", delete_user),
    sync("registerUserKeys", "id!:uuid", register_keys),
    sync("getUserKeys", "id!:uuid", keys),
];

fn within_bounds(world: &World) -> Result<(), ApiError> {
    let people = world.accounts.len() + world.users.len() + world.domains.len();
    if people < PEOPLE_MAX {
        return Ok(());
    }
    let text = format!("This simulator keeps {PEOPLE_MAX} domains, accounts and users at most");
    Err(ApiError::quota(text))
}

/// The domain that a parameter names, or the caller's.
fn domain_named(call: &Call<'_>, name: &str) -> Result<Uuid, ApiError> {
    let home = call.world.domain_of(&call.caller.home).to_owned();
    let domain = call.id(name, Kind::Domain)?.unwrap_or_else(|| home.clone());
    if call.caller.admin || call.world.is_within(&domain, &home) {
        Ok(domain)
    } else {
        Err(ApiError::not_yours())
    }
}

fn domain_row(world: &World, domain: &Domain) -> Row {
    let parent = domain.parent.as_ref();
    let parent = parent.and_then(|id| world.domains.get(id));
    let mut others = world.domains.values();
    let children = others.any(|other| other.parent.as_ref() == Some(&domain.id));
    RowOf::new()
        .set("id", domain.id.as_str())
        .set("name", domain.name.as_str())
        .set(
            "level",
            world.domain_line(&domain.id).count().saturating_sub(1),
        )
        .set("parentdomainid", parent.map(|row| row.id.clone()))
        .set("parentdomainname", parent.map(|row| row.name.clone()))
        .set("haschild", children)
        .set("networkdomain", domain.network_domain.clone())
        .set("path", world.domain_path(&domain.id))
        .set("state", "Active")
        .done()
}

/// `listDomains`: the caller's and, for those who manage, what is inside of it.
fn domains(call: &mut Call<'_>) -> Answered {
    let home = call.world.domain_of(&call.caller.home).to_owned();
    let deep = call.caller.admin || call.caller.domain_admin;
    let shown = |row: &&Domain| row.id == home || (deep && call.world.is_within(&row.id, &home));
    let mut rows: Vec<&Domain> = call
        .world
        .domains
        .values()
        .filter(shown)
        .filter(|row| call.wants("id", Some(&row.id)) && call.wants("name", Some(&row.name)))
        .filter(|row| call.holds("keyword", &row.name))
        .collect();
    rows.sort_by_key(|row| row.number);
    call.page("domain", &rows, |row| domain_row(call.world, row))
}

/// `createDomain`.
fn create_domain(call: &mut Call<'_>) -> Answered {
    within_bounds(call.world)?;
    let name = call.required("name")?;
    let parent = domain_named(call, "parentdomainid")?;
    let mut siblings = call.world.domains.values();
    if siblings.any(|row| row.parent.as_ref() == Some(&parent) && row.name == name) {
        let text = format!("Domain with name {name} already exists for the parent id=1");
        return Err(ApiError::value(text));
    }
    let depth = call.world.domain_line(&parent).count();
    if depth + 1 >= crate::sim::world::DOMAIN_DEPTH_MAX {
        return Err(ApiError::value("The domain is too deep"));
    }
    let domain = Domain {
        id: call.world.fresh_id(),
        number: call.world.next_number(Kind::Domain),
        name,
        parent: Some(parent),
        network_domain: call.owned_text("networkdomain"),
        created: call.world.now(),
    };
    let row = domain_row(call.world, &domain);
    call.world.domains.insert(domain.id.clone(), domain);
    Ok(Answer::Object(json!({"domain": row})))
}

fn new_user(call: &mut Call<'_>, account: &str) -> Result<User, ApiError> {
    let name = call.required("username")?;
    if call.world.user_named(&name).is_some() {
        let text = format!("The user {name} already exists in domain 1");
        return Err(ApiError::value(text));
    }
    Ok(User {
        id: call.world.fresh_id(),
        name,
        account: account.to_owned(),
        api_key: String::new(),
        secret_key: String::new(),
        password: call.owned_text("password").unwrap_or_else(first_password),
        first_name: call.owned_text("firstname"),
        last_name: call.owned_text("lastname"),
        email: call.owned_text("email"),
        timezone: call.owned_text("timezone"),
        standing: Standing::Enabled,
        created: Some(call.world.now()),
    })
}

/// `createAccount`: the account and its first user.
fn create_account(call: &mut Call<'_>) -> Answered {
    within_bounds(call.world)?;
    let domain = domain_named(call, "domainid")?;
    let name = match call.owned_text("account") {
        Some(name) => name,
        None => call.required("username")?,
    };
    if call.world.account_in(&domain, &name).is_some() {
        return Err(ApiError::value(format!(
            "The specified account: {name} already exists"
        )));
    }
    let (admin, kind) = match call.parsed::<i32>("accounttype")?.unwrap_or(0) {
        1 if call.caller.admin => (true, AccountKind::Ordinary),
        2 => (false, AccountKind::DomainAdmin),
        _ => (false, AccountKind::Ordinary),
    };
    let id = call.world.fresh_id();
    let user = new_user(call, &id)?;
    let row = Account {
        id: id.clone(),
        number: call.world.next_number(Kind::Account),
        name,
        admin,
        kind,
        domain,
        standing: Standing::Enabled,
        network_domain: call.owned_text("networkdomain"),
        created: Some(call.world.now()),
    };
    let limits = if admin {
        Limits::none()
    } else {
        Limits::of_a_new_account()
    };
    call.world.limits.insert(id.clone(), limits);
    call.world.users.insert(user.id.clone(), user);
    call.world.accounts.insert(id.clone(), row);
    call.world.add_default_security_group(&id);
    Ok(Answer::Object(account_answer(call.world, &id)))
}

fn account_answer(world: &World, id: &str) -> Value {
    let row = world.accounts.get(id);
    json!({"account": row.map(|row| account_row(world, row))})
}

/// The account that a command manages, by id or by name and domain.
fn managed(call: &Call<'_>) -> Result<Uuid, ApiError> {
    let mut accounts = call.world.accounts.values();
    let id = match (call.id("id", Kind::Account)?, call.text("account")) {
        (Some(id), _) if accounts.any(|row| row.id == id && row.is_project()) => {
            let text = "The specified account does not exist in the system";
            return Err(ApiError::value(text));
        }
        (Some(id), _) => id,
        (None, Some(name)) => {
            let domain = domain_named(call, "domainid")?;
            let found = call.world.account_in(&domain, name);
            let text = format!("Unable to find account {name} in domain");
            found
                .map(|row| row.id.clone())
                .ok_or_else(|| ApiError::value(text))?
        }
        (None, None) => return Err(ApiError::missing(call.command.name, "id")),
    };
    if call.world.may_act(&call.caller.home, &id) {
        Ok(id)
    } else {
        Err(ApiError::not_yours())
    }
}

/// `deleteAccount`.
fn delete_account(call: &mut Call<'_>) -> Answered {
    let id = managed(call)?;
    came_with_the_cloud(
        call.world
            .accounts
            .get(&id)
            .map(|row| row.created.is_none()),
    )?;
    if id == call.caller.home || owns_something(call.world, &id) {
        let text = format!("Unable to delete account {id}: it owns resources");
        return Err(ApiError::value(text));
    }
    refuse_manager(call, &id)?;
    let users = call.world.users.values().filter(|user| user.account == id);
    for user in users.map(|user| user.id.clone()).collect::<Vec<_>>() {
        drop_user(call.world, &user);
    }
    call.world.drop_belongings(&id);
    for project in call.world.projects.values_mut() {
        project.members.retain(|member| member.account != id);
    }
    let number = call.world.accounts.remove(&id).map_or(0, |row| row.number);
    call.world.bury(Kind::Account, &id, number);
    call.settled(id)
}

/// Refuses to take an account out that projects are managed by.
fn refuse_manager(call: &Call<'_>, account: &str) -> Result<(), ApiError> {
    let manages = |project: &&crate::sim::world::Project| {
        let mut members = project.members.iter();
        members.any(|member| member.manages && member.account == *account)
    };
    let projects = call.world.projects.values().filter(manages);
    let ids: Vec<String> = projects.map(|project| project.number.to_string()).collect();
    if ids.is_empty() {
        return Ok(());
    }
    let number = call.world.accounts.get(account).map_or(0, |row| row.number);
    Err(ApiError::value(format!(
        "The account id={number} manages project(s) with ids {}and can't be removed",
        ids.iter().map(|id| format!("{id},")).collect::<String>()
    )))
}

/// Takes a user out; what it made still names it.
fn drop_user(world: &mut World, id: &str) {
    if world.users.remove(id).is_some() {
        world.bury(Kind::User, id, 0);
    }
}

/// Refuses to take those out whom every world has.
fn came_with_the_cloud(came: Option<bool>) -> Result<(), ApiError> {
    match came {
        Some(true) => Err(ApiError::value(
            "The account or user is a default one and can't be deleted",
        )),
        Some(false) | None => Ok(()),
    }
}

/// `enableAccount`.
fn enable(call: &mut Call<'_>) -> Answered {
    let id = managed(call)?;
    stand(call.world, &id, Standing::Enabled);
    Ok(Answer::Object(account_answer(call.world, &id)))
}

/// `disableAccount`, which locks it if told so.
fn disable(call: &mut Call<'_>) -> Answered {
    let id = managed(call)?;
    let locked = call.flag("lock") == Some(true);
    let standing = if locked {
        Standing::Locked
    } else {
        Standing::Disabled
    };
    stand(call.world, &id, standing);
    let result = account_answer(call.world, &id);
    call.submit(Work::Settled { result }, Some(id), None)
}

fn stand(world: &mut World, account: &str, standing: Standing) {
    if let Some(row) = world.accounts.get_mut(account) {
        row.standing = standing;
    }
}

/// `createUser`.
fn create_user(call: &mut Call<'_>) -> Answered {
    within_bounds(call.world)?;
    let account = managed(call)?;
    let user = new_user(call, &account)?;
    let row = user_row(call.world, &user);
    call.world.users.insert(user.id.clone(), user);
    Ok(Answer::Object(json!({"user": row})))
}

/// `deleteUser`.
fn delete_user(call: &mut Call<'_>) -> Answered {
    let id = call.own("id", Kind::User)?;
    came_with_the_cloud(call.world.users.get(&id).map(|row| row.created.is_none()))?;
    call.world.users.remove(&id);
    call.world.bury(Kind::User, &id, 0);
    Ok(Answer::success())
}

/// `registerUserKeys`: new keys, and the old ones no longer count.
fn register_keys(call: &mut Call<'_>) -> Answered {
    let id = call.own("id", Kind::User)?;
    let (api_key, secret_key) = (call.world.chance.text(86), call.world.chance.text(86));
    if let Some(user) = call.world.users.get_mut(&id) {
        user.api_key.clone_from(&api_key);
        user.secret_key.clone_from(&secret_key);
    }
    let keys = json!({"apikey": api_key, "secretkey": secret_key});
    Ok(Answer::Object(json!({"userkeys": keys})))
}

/// `getUserKeys`.
fn keys(call: &mut Call<'_>) -> Answered {
    let id = call.own("id", Kind::User)?;
    let user = call.world.users.get(&id);
    let keys = user.map(|user| json!({"apikey": user.api_key, "secretkey": user.secret_key}));
    Ok(Answer::Object(json!({"userkeys": keys})))
}
