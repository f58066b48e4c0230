//! Global settings, as `listConfigurations` shows them and `updateConfiguration` changes them.

use serde_json::{Value, json};

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, admin};
use crate::sim::fields::Fields;
use crate::sim::reply::ApiError;
use crate::sim::settings;
use crate::sim::view::RowOf;
use crate::sim::world::catalogue::Row;

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    admin(
        "listConfigurations",
        "name category group subgroup zoneid:uuid clusterid:uuid storageid:uuid \
         accountid:uuid domainid:uuid",
        list,
    ),
    admin(
        "updateConfiguration",
        "name! value zoneid:uuid clusterid:uuid storageid:uuid accountid:uuid domainid:uuid",
        update,
    ),
];

fn row(name: &str, value: &Value) -> Row {
    let kind = match value {
        Value::Bool(_) => "Boolean",
        _ => "Number",
    };
    // A limit that is off is zero.
    let value = if value.is_null() { &json!(0) } else { value };
    RowOf::new()
        .set("name", name)
        .set("value", value.to_string())
        .set("category", "Advanced")
        .set("type", kind)
        .set("isdynamic", true)
        .done()
}

/// `listConfigurations`.
fn list(call: &mut Call<'_>) -> Answered {
    let all = settings::of_the_server(call.world);
    let shown = |name: &str| {
        call.wants("name", Some(name))
            && call.holds("keyword", name)
            && call
                .text("category")
                .is_none_or(|word| word.eq_ignore_ascii_case("advanced"))
    };
    let rows: Vec<(&String, &Value)> = all.iter().filter(|(name, _)| shown(name)).collect();
    call.page("configuration", &rows, |(name, value)| row(name, value))
}

/// `updateConfiguration`. A setting without a value stays as it is.
fn update(call: &mut Call<'_>) -> Answered {
    let name = call.required("name")?;
    if !settings::of_the_server(call.world).contains_key(&name) {
        return Err(ApiError::value(format!(
            "Config parameter with name {name} doesn't exist"
        )));
    }
    if let Some(value) = call.owned_text("value") {
        let refused = |why: String| ApiError::value(why);
        let fields = Fields::of("", json!({name.clone(): value}));
        let fields = fields.map_err(|wrong| refused(wrong.to_string()))?;
        settings::change(call.world, fields).map_err(|wrong| refused(wrong.to_string()))?;
    }
    let all = settings::of_the_server(call.world);
    let row = all.get(&name).map(|value| row(&name, value));
    Ok(Answer::Object(json!({"configuration": row})))
}
