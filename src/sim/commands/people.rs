//! Accounts that come and go. An account is created with its first user, and takes all that it owns
//! with it.

use serde_json::{Value, json};

use super::Answer;
use super::account::account_row;
use super::call::{Answered, Call};
use super::declare::{Command, admin_class, domain_admin, for_domain_admins, job};
use super::role::Role;
use super::user::new_user;
use crate::sim::effects::leaving::Leaving;
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::world::{Account, AccountKind, Kind, Limits, Standing, Uuid, World};

/// How many accounts, users and domains there can be together: a bound of this simulator.
const PEOPLE_MAX: usize = 10_000;

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    domain_admin(
        "createAccount",
        "username! password! email! firstname! lastname! accounttype:integer roleid:uuid account \
         domainid:uuid networkdomain timezone",
        create_account,
    ),
    domain_admin(
        "updateAccount",
        "id:uuid account domainid:uuid newname networkdomain roleid:uuid accountdetails:map",
        update,
    ),
    for_domain_admins(job(
        "deleteAccount",
        "id!:uuid",
        delete_account,
        admin_class("account", "DeleteAccountCmd", "Account"),
    )),
    domain_admin("enableAccount", "id:uuid account domainid:uuid", enable),
    for_domain_admins(job(
        "disableAccount",
        "lock!:boolean id:uuid account domainid:uuid",
        disable,
        admin_class("account", "DisableAccountCmd", "Account"),
    )),
];

pub(super) fn within_bounds(world: &World) -> Result<(), ApiError> {
    let people = world.accounts.len() + world.users.len() + world.domains.len();
    if people < PEOPLE_MAX {
        return Ok(());
    }
    let text = format!("This simulator keeps {PEOPLE_MAX} domains, accounts and users at most");
    Err(ApiError::quota(text))
}

/// The domain that a parameter names, or the caller's.
pub(super) fn domain_named(call: &Call<'_>, name: &str) -> Result<Uuid, ApiError> {
    let home = call.world.domain_of(&call.caller.home).to_owned();
    let domain = call.id(name, Kind::Domain)?.unwrap_or_else(|| home.clone());
    if call.caller.admin || call.world.is_within(&domain, &home) {
        Ok(domain)
    } else {
        Err(ApiError::not_yours())
    }
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
    let (admin, kind) = kind_asked(call)?;
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

/// What an account is to be: by its role, or else by its type. Root admins alone make root admins.
fn kind_asked(call: &Call<'_>) -> Result<(bool, AccountKind), ApiError> {
    let number = match call.text("roleid") {
        Some(id) => {
            Role::with_id(id)
                .ok_or_else(|| ApiError::unknown_id(call.command.name, "roleid", id))?
                .account_type
        }
        None => call.parsed::<i32>("accounttype")?.unwrap_or(0),
    };
    match number {
        1 if call.caller.admin => Ok((true, AccountKind::Ordinary)),
        1 => Err(ApiError::denied(
            "Only a root admin can create an account of the type root admin",
        )),
        2 => Ok((false, AccountKind::DomainAdmin)),
        0 => Ok((false, AccountKind::Ordinary)),
        other => Err(ApiError::value(format!(
            "Invalid account type {other}: it is none of 0, 1 and 2"
        ))),
    }
}

/// `updateAccount`.
fn update(call: &mut Call<'_>) -> Answered {
    let id = managed(call)?;
    let old = call.world.accounts.get(&id);
    let role = old.map_or(0, Account::type_number);
    let kind = match call.text("roleid") {
        Some(asked) if Some(asked) != Role::of(role).map(|role| role.id) => {
            came_with_the_cloud(old.map(|row| row.created.is_none()))?;
            Some(kind_asked(call)?)
        }
        Some(_) | None => None,
    };
    let name = call.owned_text("newname");
    if let Some(name) = &name {
        let domain = call.world.domain_of(&id);
        let namesake = call.world.account_in(domain, name);
        if namesake.is_some_and(|other| other.id != id) {
            return Err(ApiError::value(format!(
                "There already exists an account with the name {name} in the domain"
            )));
        }
    }
    let network = call.owned_text("networkdomain");
    if let Some(account) = call.world.accounts.get_mut(&id) {
        account.name = name.unwrap_or_else(|| account.name.clone());
        account.network_domain = network.or_else(|| account.network_domain.clone());
        (account.admin, account.kind) = kind.unwrap_or((account.admin, account.kind));
    }
    Ok(Answer::Object(account_answer(call.world, &id)))
}

fn account_answer(world: &World, id: &str) -> Value {
    let row = world.accounts.get(id);
    json!({"account": row.map(|row| account_row(world, row))})
}

/// The account that a command manages, by id or by name and domain.
pub(super) fn managed(call: &Call<'_>) -> Result<Uuid, ApiError> {
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
    if id == call.caller.home {
        let text = format!("Unable to delete account {id}: it is the caller's own");
        return Err(ApiError::value(text));
    }
    refuse_manager(call, &id)?;
    let work = Work::Leave(Leaving::Account {
        account: id.clone(),
    });
    call.submit(work, Some(id), None)
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

/// Refuses to take those out whom every world has.
pub(super) fn came_with_the_cloud(came: Option<bool>) -> Result<(), ApiError> {
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
