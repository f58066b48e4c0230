//! What answers are made of, and which commands are about the same: `listApis` tells it, and
//! CloudMonkey completes what is typed with it.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use serde::Deserialize;
use serde_json::{Value, json};

/// How deep members are told within members.
const DEPTH_MAX: usize = 5;

/// What the answers of some commands are made of, as `answers.yaml` has it.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Shape {
    commands: String,
    members: String,
    /// The members of members, by their path.
    #[serde(default)]
    parts: BTreeMap<String, String>,
}

/// The shapes by their names.
static SHAPES: LazyLock<BTreeMap<String, Shape>> = LazyLock::new(|| {
    serde_yaml::from_str(include_str!("../answers.yaml")).expect("the embedded shapes")
});

/// Parameters that name something by another word than its shape, and the shape.
const ALIASES: &[(&str, &str)] = &[
    ("acl", "networkacllist"),
    ("associatednetwork", "network"),
    ("lbrule", "loadbalancer"),
    ("loadbalancerrule", "loadbalancer"),
    ("networkaclitem", "networkacl"),
    ("nextaclrule", "networkacl"),
    ("parentdomain", "domain"),
    ("previousaclrule", "networkacl"),
    ("publicip", "ipaddress"),
    ("sshkeypair", "keypair"),
];

/// The members of what a command answers, as `listApis` tells them.
pub(super) fn members_of(command: &str) -> Vec<Value> {
    let found = of(command).and_then(|name| SHAPES.get(name));
    found.map_or_else(Vec::new, |shape| told(shape, "", &shape.members, DEPTH_MAX))
}

/// The commands that answer with the same as this one.
pub(super) fn related_to(command: &str) -> String {
    let found = of(command).filter(|name| *name != "success");
    found.map_or_else(String::new, |name| others(name, command))
}

/// The commands that answer with what a parameter names.
pub(super) fn related_to_param(command: &str, param: &str) -> String {
    let named = match param {
        "id" | "ids" => of(command)
            .filter(|name| *name != "success")
            .or_else(|| ending(command)),
        _ => param
            .strip_suffix("ids")
            .or_else(|| param.strip_suffix("id"))
            .and_then(shape_named),
    };
    named.map_or_else(String::new, |name| others(name, command))
}

/// The name of the shape that a command answers with.
fn of(command: &str) -> Option<&'static str> {
    let has = |shape: &Shape| shape.commands.split(' ').any(|name| name == command);
    let mut shapes = SHAPES.iter();
    let found = shapes.find(|(_, shape)| has(shape));
    found.map(|(name, _)| name.as_str())
}

/// The shape of this name, or of what is also called so.
fn shape_named(word: &str) -> Option<&'static str> {
    let alias = ALIASES.iter().find(|(alias, _)| *alias == word);
    let word = alias.map_or(word, |(_, name)| name);
    SHAPES.get_key_value(word).map(|(name, _)| name.as_str())
}

/// What the name of a command ends with: `deleteVPC` is about a VPC.
fn ending(command: &str) -> Option<&'static str> {
    let lower = command.to_lowercase();
    let ends = lower.char_indices().map(|(start, _)| &lower[start..]);
    ends.filter_map(shape_named).next()
}

fn others(shape: &str, command: &str) -> String {
    let names = SHAPES[shape].commands.split(' ');
    let names: Vec<&str> = names.filter(|name| *name != command).collect();
    names.join(",")
}

/// The members that a text tells, and those of each that has any.
fn told(shape: &Shape, path: &str, text: &str, depth: usize) -> Vec<Value> {
    let each = text.split_ascii_whitespace().map(|word| {
        let (name, kind) = word.split_once(':').unwrap_or((word, "string"));
        let mut member = json!({"name": name, "description": "", "type": kind});
        let inner = within(shape, path, name, kind, depth);
        if !inner.is_empty() {
            member["response"] = Value::Array(inner);
        }
        member
    });
    each.collect()
}

/// The members of a member: a part of its own, or the shape that it is called by.
fn within(shape: &Shape, path: &str, name: &str, kind: &str, depth: usize) -> Vec<Value> {
    if depth == 0 {
        return Vec::new();
    }
    let path = match path {
        "" => name.to_owned(),
        path => format!("{path}.{name}"),
    };
    if let Some(text) = shape.parts.get(&path) {
        return told(shape, &path, text, depth - 1);
    }
    if kind != "set" {
        return Vec::new();
    }
    let singular = name.strip_suffix('s').unwrap_or(name);
    let named = SHAPES.get(name).or_else(|| SHAPES.get(singular));
    named.map_or_else(Vec::new, |shape| told(shape, "", &shape.members, depth - 1))
}
