//! Registered user data: texts with a name that machines are given instead of texts of their own.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::json;

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, sync};
use super::vm_deploy::user_data;
use crate::sim::reply::ApiError;
use crate::sim::view::RowOf;
use crate::sim::world::catalogue::{Catalogue, Row};
use crate::sim::world::{Kind, TemplateUserData, UserData, UserDataPolicy, Uuid, World};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    sync(
        "registerUserData",
        "name! userdata! params account domainid:uuid projectid:uuid",
        register,
    ),
    sync("listUserData", "id:uuid name @owned", list),
    sync(
        "deleteUserData",
        "id!:uuid account domainid:uuid projectid:uuid",
        delete,
    ),
    sync(
        "linkUserDataToTemplate",
        "templateid:uuid isoid:uuid userdataid:uuid userdatapolicy",
        link,
    ),
];

fn row(world: &World, data: &UserData) -> Row {
    RowOf::new()
        .set("id", data.id.as_str())
        .set("name", data.name.as_str())
        .owner(world, &data.account)
        .set("userdata", data.data.as_str())
        .set("params", data.params.clone())
        .set("hasannotations", false)
        .done()
}

/// `registerUserData`: neither the name nor the text may be there already.
pub(crate) fn register(call: &mut Call<'_>) -> Answered {
    let name = call.required("name")?;
    let data = user_data(call)?.unwrap_or_default();
    let account = call.caller.account.clone();
    let mine = |row: &&UserData| row.account == account;
    let mut all = call.world.user_data.values().filter(mine);
    if all.clone().any(|row| row.name == name) {
        return Err(ApiError::value(format!(
            "A userdata with name {name} already exists for this account."
        )));
    }
    if let Some(same) = all.find(|row| row.data == data) {
        return Err(ApiError::value(format!(
            "Userdata {} with same content already exists for this account.",
            same.name
        )));
    }
    let data = UserData {
        number: call.world.next_number(Kind::UserData),
        id: call.world.fresh_id(),
        name,
        account,
        data,
        params: call.owned_text("params"),
    };
    let shown = row(call.world, &data);
    call.world.user_data.insert(data.id.clone(), data);
    Ok(Answer::Object(json!({"userdata": shown})))
}

/// `listUserData`.
pub(crate) fn list(call: &mut Call<'_>) -> Answered {
    call.id("id", Kind::UserData)?;
    let mut all: Vec<&UserData> = call
        .world
        .user_data
        .values()
        .filter(|data| call.sees(Some(&data.account)))
        .filter(|data| call.wants("id", Some(&data.id)))
        .filter(|data| call.wants("name", Some(&data.name)))
        .filter(|data| call.holds("keyword", &data.name))
        .collect();
    all.sort_by_key(|data| data.number);
    call.page("userdata", &all, |data| row(call.world, data))
}

/// `deleteUserData`, unless a machine or a template has it.
pub(crate) fn delete(call: &mut Call<'_>) -> Answered {
    let id = call.own("id", Kind::UserData)?;
    let Some(data) = call.world.user_data.get(&id).cloned() else {
        return Err(ApiError::value(format!("Unable to find userdata {id}")));
    };
    let mut vms = call.world.vms.values();
    if vms.any(|vm| vm.user_data_id.as_ref() == Some(&id)) {
        return Err(ApiError::internal(
            4250,
            format!(
                "Userdata {} cannot be removed as it is being used by some VMs",
                data.name
            ),
        ));
    }
    let mut links = call.world.template_user_data.values();
    if links.any(|link| link.id == id) {
        return Err(ApiError::internal(
            4250,
            format!(
                "Userdata {} cannot be removed as it is linked to some templates",
                data.name
            ),
        ));
    }
    call.world.user_data.remove(&id);
    call.world.bury(Kind::UserData, &id, data.number);
    Ok(Answer::success())
}

/// `linkUserDataToTemplate`; without user data the link goes.
pub(crate) fn link(call: &mut Call<'_>) -> Answered {
    let Some(template) = call.id("templateid", Kind::Template)? else {
        return Err(ApiError::value(
            "Either templateid or isoid must be specified",
        ));
    };
    let word = call.text("userdatapolicy").unwrap_or("ALLOWOVERRIDE");
    let policy = UserDataPolicy::read(word)
        .ok_or_else(|| ApiError::value(format!("Invalid userdatapolicy specified: {word}")))?;
    match call.own_if_given("userdataid", Kind::UserData)? {
        Some(id) => {
            let link = TemplateUserData { id, policy };
            call.world.template_user_data.insert(template.clone(), link);
        }
        None => {
            call.world.template_user_data.remove(&template);
        }
    }
    let row = Catalogue::find(&call.world.catalogue.templates, &template).cloned();
    let row = row.map(|row| {
        RowOf::new()
            .with(row)
            .with(linked(call.world, &template))
            .done()
    });
    Ok(Answer::Object(json!({"template": row})))
}

/// What a template says of the user data that comes with it.
pub(super) fn linked(world: &World, template: &str) -> Row {
    let link = world.template_user_data.get(template);
    let data = link.and_then(|link| world.user_data.get(&link.id));
    RowOf::new()
        .set("userdataid", data.map(|data| data.id.clone()))
        .set("userdataname", data.map(|data| data.name.clone()))
        .set("userdatapolicy", link.map(|link| link.policy.word()))
        .done()
}

/// The user data of a machine: what it is, and the registered text that it comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Chosen {
    pub(super) data: Option<String>,
    pub(super) id: Option<Uuid>,
}

/// The user data that a request gives, by text or by id.
///
/// # Errors
/// Both are given, or what is given cannot be used.
pub(super) fn given(call: &Call<'_>) -> Result<Chosen, ApiError> {
    let id = call.own_if_given("userdataid", Kind::UserData)?;
    let data = user_data(call)?;
    match (data, id) {
        (Some(_), Some(_)) => Err(ApiError::value(
            "Both userdata and userdata ID inputs are not allowed, please provide only one",
        )),
        (data, None) => Ok(Chosen { data, id: None }),
        (None, Some(id)) => {
            let row = call.world.user_data.get(&id);
            Ok(Chosen {
                data: row.map(|row| row.data.clone()),
                id: Some(id),
            })
        }
    }
}

/// The user data of a machine that is deployed from a template, which may bring its own.
///
/// # Errors
/// The template allows no other.
pub(super) fn with_template(
    call: &Call<'_>,
    template: &str,
    given: Chosen,
) -> Result<Chosen, ApiError> {
    let Some(link) = call.world.template_user_data.get(template) else {
        return Ok(given);
    };
    let own = call
        .world
        .user_data
        .get(&link.id)
        .map(|row| row.data.clone());
    let own = Chosen {
        data: own,
        id: Some(link.id.clone()),
    };
    match (given.data, link.policy) {
        (None, _) => Ok(own),
        (Some(_), UserDataPolicy::DenyOverride) => Err(ApiError::value(format!(
            "UserData input is not allowed here since template {template} is configured to deny override of its UserData"
        ))),
        (Some(data), UserDataPolicy::AllowOverride) => Ok(Chosen {
            data: Some(data),
            id: given.id,
        }),
        (Some(data), UserDataPolicy::Append) => Ok(Chosen {
            data: Some(appended(own.data.as_deref().unwrap_or_default(), &data)),
            id: own.id,
        }),
    }
}

/// One text after the other.
fn appended(first: &str, second: &str) -> String {
    let read = |text: &str| STANDARD.decode(text.trim()).unwrap_or_default();
    STANDARD.encode([read(first), b"\n".to_vec(), read(second)].concat())
}
