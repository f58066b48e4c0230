//! The users of accounts, and their keys.

use serde_json::json;

use super::Answer;
use super::account::user_row;
use super::call::{Answered, Call};
use super::declare::{Command, admin, admin_class, domain_admin, for_domain_admins, job, sync};
use super::people::{came_with_the_cloud, managed, within_bounds};
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::world::{Kind, Standing, User, Uuid, first_password};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    domain_admin(
        "createUser",
        "username! password! account! email! firstname! lastname! domainid:uuid timezone",
        create,
    ),
    sync(
        "updateUser",
        "id!:uuid username password currentpassword firstname lastname email timezone \
         userapikey usersecretkey",
        update,
    ),
    domain_admin("deleteUser", "id!:uuid", delete),
    admin("getUser", "userapikey!", get),
    domain_admin("enableUser", "id!:uuid", enable),
    for_domain_admins(job(
        "disableUser",
        "id!:uuid",
        disable,
        admin_class("user", "DisableUserCmd", "User"),
    )),
    domain_admin("lockUser", "id!:uuid", lock),
    sync("registerUserKeys", "id!:uuid", register_keys),
    sync("getUserKeys", "id!:uuid", keys),
];

/// A user who is about to be, with its parameters checked.
pub(super) fn new_user(call: &mut Call<'_>, account: &str) -> Result<User, ApiError> {
    let name = call.required("username")?;
    only_one(call, &name, "")?;
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

/// Refuses a second user of one name, other than the one that is `itself`.
fn only_one(call: &Call<'_>, name: &str, itself: &str) -> Result<(), ApiError> {
    match call.world.user_named(name) {
        Some(user) if user.id != itself => Err(ApiError::value(format!(
            "The user {name} already exists in domain 1"
        ))),
        Some(_) | None => Ok(()),
    }
}

/// `createUser`.
fn create(call: &mut Call<'_>) -> Answered {
    within_bounds(call.world)?;
    let account = managed(call)?;
    let user = new_user(call, &account)?;
    let id = user.id.clone();
    call.world.users.insert(id.clone(), user);
    shown(call, &id)
}

/// The user as it is now.
fn shown(call: &Call<'_>, id: &str) -> Answered {
    let user = call.world.users.get(id);
    let row = user.map(|user| user_row(call.world, user));
    Ok(Answer::Object(json!({"user": row})))
}

/// `updateUser`.
fn update(call: &mut Call<'_>) -> Answered {
    let id = call.own("id", Kind::User)?;
    if let Some(name) = call.text("username") {
        only_one(call, name, &id)?;
    }
    let keys = match (call.text("userapikey"), call.text("usersecretkey")) {
        (Some(key), Some(secret)) => Some((key.to_owned(), secret.to_owned())),
        (None, None) => None,
        (Some(_), None) | (None, Some(_)) => {
            let text = "Please provide a userApiKey/userSecretKey pair";
            return Err(ApiError::value(text));
        }
    };
    let taken = |user: &User| {
        let key = keys.as_ref().map(|(key, _)| key);
        user.id != id && !user.api_key.is_empty() && Some(&user.api_key) == key
    };
    if call.world.users.values().any(taken) {
        let text = format!("The api key of user {id} exists already");
        return Err(ApiError::value(text));
    }
    knows_the_password(call, &id)?;
    let text = |name: &str| call.owned_text(name);
    let (name, password) = (text("username"), text("password"));
    let (first, last) = (text("firstname"), text("lastname"));
    let (email, zone) = (text("email"), text("timezone"));
    if let Some(user) = call.world.users.get_mut(&id) {
        user.name = name.unwrap_or_else(|| user.name.clone());
        user.password = password.unwrap_or_else(|| user.password.clone());
        user.first_name = first.or_else(|| user.first_name.clone());
        user.last_name = last.or_else(|| user.last_name.clone());
        user.email = email.or_else(|| user.email.clone());
        user.timezone = zone.or_else(|| user.timezone.clone());
        if let Some((key, secret)) = keys {
            (user.api_key, user.secret_key) = (key, secret);
        }
    }
    shown(call, &id)
}

/// Who changes a password without being an admin has to know the old one.
fn knows_the_password(call: &Call<'_>, id: &str) -> Result<(), ApiError> {
    if call.text("password").is_none() || call.caller.admin || call.caller.domain_admin {
        return Ok(());
    }
    let user = call.world.users.get(id);
    match call.text("currentpassword") {
        None => Err(ApiError::value(
            "To set a new password the current password must be provided.",
        )),
        Some(word) if user.is_some_and(|user| user.password == word) => Ok(()),
        Some(_) => Err(ApiError::value("Current password is incorrect.")),
    }
}

/// The user that an admin's command is about, if it did not come with the cloud.
fn subject(call: &Call<'_>) -> Result<Uuid, ApiError> {
    let id = call.own("id", Kind::User)?;
    came_with_the_cloud(call.world.users.get(&id).map(|row| row.created.is_none()))?;
    Ok(id)
}

/// `deleteUser`.
fn delete(call: &mut Call<'_>) -> Answered {
    let id = subject(call)?;
    call.world.drop_user(&id);
    Ok(Answer::success())
}

/// `getUser`: the one with this API key.
fn get(call: &mut Call<'_>) -> Answered {
    let key = call.required("userapikey")?;
    let user = call.world.users.values().find(|user| user.api_key == key);
    match user.map(|user| user.id.clone()) {
        Some(id) => shown(call, &id),
        None => Err(ApiError::value("User not found for API key")),
    }
}

fn stand(call: &mut Call<'_>, id: &str, standing: Standing) {
    if let Some(user) = call.world.users.get_mut(id) {
        user.standing = standing;
    }
}

/// `enableUser`.
fn enable(call: &mut Call<'_>) -> Answered {
    let id = subject(call)?;
    stand(call, &id, Standing::Enabled);
    shown(call, &id)
}

/// `disableUser`.
fn disable(call: &mut Call<'_>) -> Answered {
    let id = subject(call)?;
    stand(call, &id, Standing::Disabled);
    let user = call.world.users.get(&id);
    let result = json!({"user": user.map(|user| user_row(call.world, user))});
    call.submit(Work::Settled { result }, Some(id), None)
}

/// `lockUser`.
fn lock(call: &mut Call<'_>) -> Answered {
    let id = subject(call)?;
    stand(call, &id, Standing::Locked);
    shown(call, &id)
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
