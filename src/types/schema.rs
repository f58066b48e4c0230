//! The OpenAPI schema of each kind, as `kubectl explain` reads it and admission applies it.
//!
//! Derived from the types and then put into the plain form that Kubernetes' clients expect: no
//! references, no `nullable`, one list of words for an enum, one set of members for an object
//! that comes in several forms. What is written as a word *or* as an object (`acl`, `drift`,
//! `deletionPolicy`) keeps a `oneOf` with both, which is the one place where the schema is not
//! structural in Kubernetes' strict sense.
//!
//! An object that lists its `properties` has no others: unknown ones are dropped or refused by
//! [admission](super::admission), as a Kubernetes API server does it.

use std::{borrow::Cow, collections::BTreeMap, sync::LazyLock};

use schemars::{JsonSchema, Schema, SchemaGenerator, generate::SchemaSettings, json_schema};
use serde_json::{Map, Value, json};

use super::{
    account::CloudAccount,
    core::{ConfigMap, Event, Lease, Namespace, Secret},
    machine::Machine,
    meta::Kind,
    rbac::{ClusterRole, ClusterRoleBinding, Role, RoleBinding},
    stack::ClearwaterStack,
};

/// Marks a place where anything goes.
pub(crate) const ANYTHING: &str = "x-kubernetes-preserve-unknown-fields";
/// Marks a number that may also be written as a percentage.
pub(crate) const INT_OR_STRING: &str = "x-kubernetes-int-or-string";

/// The schema of a kind: self-contained, without references.
#[must_use]
pub fn openapi(kind: Kind) -> Value {
    of(kind).clone()
}

/// The schema of a kind, made once.
pub(crate) fn of(kind: Kind) -> &'static Value {
    static SCHEMAS: LazyLock<BTreeMap<Kind, Value>> =
        LazyLock::new(|| Kind::ALL.map(|kind| (kind, make(kind))).into());
    &SCHEMAS[&kind]
}

fn make(kind: Kind) -> Value {
    let mut schema = match kind {
        Kind::CloudAccount => derived::<CloudAccount>(),
        Kind::ClearwaterStack => derived::<ClearwaterStack>(),
        Kind::Machine => derived::<Machine>(),
        Kind::Secret => derived::<Secret>(),
        Kind::ConfigMap => derived::<ConfigMap>(),
        Kind::Event => derived::<Event>(),
        Kind::Lease => derived::<Lease>(),
        Kind::Namespace => derived::<Namespace>(),
        Kind::Role => derived::<Role>(),
        Kind::RoleBinding => derived::<RoleBinding>(),
        Kind::ClusterRole => derived::<ClusterRole>(),
        Kind::ClusterRoleBinding => derived::<ClusterRoleBinding>(),
    };
    schema["x-kubernetes-group-version-kind"] =
        json!([{ "group": kind.group(), "version": kind.version(), "kind": kind.name() }]);
    // Every object has these; the address of a request stands in where a body leaves them out.
    if let Some(required) = schema["required"].as_array_mut() {
        required.retain(|name| !["apiVersion", "kind", "metadata"].iter().any(|n| name == n));
        if required.is_empty() {
            remove(&mut schema, "required");
        }
    }
    for (list, marks) in [
        (
            "/properties/metadata/properties/finalizers",
            json!({ "x-kubernetes-list-type": "set" }),
        ),
        (
            "/properties/metadata/properties/ownerReferences",
            map_by("uid"),
        ),
        ("/properties/status/properties/conditions", map_by("type")),
    ] {
        if let (Some(Value::Object(list)), Value::Object(marks)) = (schema.pointer_mut(list), marks)
        {
            list.extend(marks);
        }
    }
    schema
}

/// A list whose members are told apart by one of their fields.
fn map_by(key: &str) -> Value {
    json!({ "x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [key] })
}

fn derived<T: JsonSchema>() -> Value {
    let settings = SchemaSettings::openapi3().with(|settings| {
        settings.inline_subschemas = true;
        settings.meta_schema = None;
    });
    let mut schema = settings
        .into_generator()
        .into_root_schema_for::<T>()
        .to_value();
    tidy(&mut schema);
    schema
}

/// Puts a schema and everything below it into plain form.
fn tidy(schema: &mut Value) {
    unwrap_option(schema);
    let Value::Object(node) = schema else {
        *schema = json!({ ANYTHING: true });
        return;
    };
    node.retain(|key, value| match key.as_str() {
        "title" | "nullable" => false,
        // The defaults of objects follow from those of their members.
        "default" => !(value.is_null() || value.is_object() || value.is_array()),
        "additionalProperties" => value.is_object(),
        _ => true,
    });
    if let Some(Value::String(description)) = node.get_mut("description") {
        *description = plain(description);
    }
    if node.get("format").is_some_and(|format| format == "uint32") {
        node.insert("maximum".to_owned(), json!(u32::MAX));
    }
    for key in ["items", "additionalProperties"] {
        node.get_mut(key).into_iter().for_each(tidy);
    }
    if let Some(Value::Object(properties)) = node.get_mut("properties") {
        properties.values_mut().for_each(tidy);
    }
    if let Some(Value::Array(mut forms)) = node.remove("oneOf").or_else(|| node.remove("anyOf")) {
        forms.iter_mut().for_each(tidy);
        join(node, forms);
    }
    if !["type", "oneOf", INT_OR_STRING]
        .iter()
        .any(|key| node.contains_key(*key))
    {
        node.insert(ANYTHING.to_owned(), Value::Bool(true));
    }
}

/// `anyOf: [T, null]` becomes T with the description of the field.
fn unwrap_option(schema: &mut Value) {
    let Some(Value::Array(forms)) = schema.get_mut("anyOf") else {
        return;
    };
    let null = forms.iter().position(|form| form["enum"] == json!([null]));
    if let (Some(null), 2) = (null, forms.len()) {
        let mut inner = forms.swap_remove(1 - null);
        for key in ["description", "default"] {
            if let Some(value) = schema.get(key) {
                inner[key] = value.clone();
            }
        }
        *schema = inner;
    }
}

/// A doc comment as running text, without rustdoc's links.
fn plain(text: &str) -> String {
    text.replace("\n\n", "\u{2029}")
        .replace('\n', " ")
        .replace('\u{2029}', "\n\n")
        .replace("[`", "`")
        .replace("`]", "`")
}

/// Joins the forms that a value may have: words into one list of words, objects into one object.
fn join(node: &mut Map<String, Value>, forms: Vec<Value>) {
    let (objects, words): (Vec<_>, Vec<_>) =
        forms.into_iter().partition(|form| form["type"] == "object");
    match (words.is_empty(), objects.is_empty()) {
        (false, true) => join_words(node, &words),
        (true, false) => join_objects(node, objects),
        _ => {
            let (mut word, mut object) = (Map::new(), Map::new());
            join_words(&mut word, &words);
            join_objects(&mut object, objects);
            node.insert("oneOf".to_owned(), json!([word, object]));
        }
    }
}

fn join_words(node: &mut Map<String, Value>, forms: &[Value]) {
    let words = |form: &Value| form["enum"].as_array().cloned().unwrap_or_default();
    let all: Vec<Value> = forms.iter().flat_map(words).collect();
    for form in forms {
        match words(form).as_slice() {
            [Value::String(word)] => describe(node, word, form),
            _ => describe(node, "", form),
        }
    }
    node.insert("type".to_owned(), json!("string"));
    node.insert("enum".to_owned(), Value::Array(all));
}

/// One object with the members of all forms, and a `oneOf` that says which go together.
fn join_objects(node: &mut Map<String, Value>, mut forms: Vec<Value>) {
    node.insert("type".to_owned(), json!("object"));
    if let [form] = forms.as_mut_slice() {
        let form = std::mem::take(form);
        describe(node, "", &form);
        if let Value::Object(form) = form {
            node.extend(form.into_iter().filter(|(key, _)| key != "description"));
        }
        return;
    }
    let mut all = Map::new();
    for form in &mut forms {
        let required = form["required"].clone();
        let name = required[0].as_str().unwrap_or_default();
        describe(node, name, form);
        let description = form["description"].clone();
        if let Some(Value::Object(properties)) = form.get_mut("properties") {
            if let Some(Value::Object(member)) = properties.get_mut(name) {
                member.entry("description").or_insert(description);
            }
            properties.iter().for_each(|(name, member)| {
                all.entry(name).or_insert_with(|| member.clone());
            });
        }
    }
    let exclusive = forms.iter().map(|form| {
        let foreign = all
            .keys()
            .filter(|name| form["properties"].get(name).is_none());
        let foreign: Vec<Value> = foreign.map(|name| json!({ "required": [name] })).collect();
        json!({ "required": form["required"], "not": { "anyOf": foreign } })
    });
    let exclusive: Vec<Value> = exclusive.collect();
    node.insert("oneOf".to_owned(), Value::Array(exclusive));
    node.insert("properties".to_owned(), Value::Object(all));
    // Half of one form and half of another would be none: one manager owns all of it.
    node.insert("x-kubernetes-map-type".to_owned(), json!("atomic"));
}

/// Adds what a form is for to the description of the whole.
fn describe(node: &mut Map<String, Value>, name: &str, form: &Value) {
    let Some(meaning) = form["description"].as_str() else {
        return;
    };
    let whole = node.get("description").and_then(Value::as_str);
    let whole = whole.unwrap_or_default();
    let opening = format!("`{name}`:");
    let whole = match name {
        "" => format!("{whole} {meaning}"),
        _ if whole.contains(&opening) => whole.to_owned(),
        _ if meaning.starts_with(&opening) => format!("{whole} {meaning}"),
        _ => format!("{whole} {opening} {meaning}"),
    };
    node.insert(
        "description".to_owned(),
        Value::String(whole.trim().to_owned()),
    );
}

fn remove(schema: &mut Value, key: &str) {
    if let Value::Object(node) = schema {
        node.remove(key);
    }
}

/// A point in time on the wire, as RFC 3339 has it.
pub(crate) struct Time;

/// A range of addresses on the wire, like `10.0.0.0/24`.
pub(crate) struct Cidr;

impl JsonSchema for Time {
    fn schema_name() -> Cow<'static, str> {
        "Time".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "date-time" })
    }
}

impl JsonSchema for Cidr {
    fn schema_name() -> Cow<'static, str> {
        "Cidr".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "format": "cidr" })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_plain_schema() {
        for kind in Kind::ALL {
            insta::assert_yaml_snapshot!(kind.singular(), openapi(kind));
        }
    }

    #[test]
    fn nothing_is_referred_to_and_every_field_is_described() {
        for kind in Kind::ALL {
            let schema = openapi(kind);
            assert!(!schema.to_string().contains("$ref"), "{kind}");
            described(&schema, kind.name());
        }
    }

    #[track_caller]
    fn described(schema: &Value, path: &str) {
        for (name, field) in schema["properties"].as_object().into_iter().flatten() {
            let path = format!("{path}.{name}");
            assert!(
                field["description"].is_string(),
                "{path} has no description"
            );
            described(field, &path);
            described(&field["items"], &path);
            described(&field["additionalProperties"], &path);
        }
    }
}
