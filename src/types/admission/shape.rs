//! An object against the schema of its kind: unknown fields, missing ones, wrong types, unknown
//! words. What values mean is not judged here.

use std::net::Ipv4Addr;

use ipnet::Ipv4Net;
use jiff::Timestamp;
use serde_json::{Map, Value};

use super::{FieldValidation, error::ErrorKind, findings::Findings, nearest::nearest};
use crate::types::{
    duration::Duration,
    meta::Kind,
    schema::{self, ANYTHING, INT_OR_STRING},
    stack::Share,
};

/// Names that an error lists before it gives up.
const NAMES_MAX: usize = 12;

/// Walks an object along its schema, and takes nulls and unknown fields out of it.
///
/// A null is how clients write a field that they leave out, so it counts as left out.
pub(super) fn check(
    kind: Kind,
    object: &mut Value,
    mode: FieldValidation,
    findings: &mut Findings,
) {
    let mut walk = Walk { mode, findings };
    let at = Place {
        path: String::new(),
        confidential: false,
        secret: kind == Kind::Secret,
    };
    walk.value(schema::of(kind), object, &at);
}

/// As [`check`], for metadata alone.
pub(super) fn metadata(metadata: &mut Value, mode: FieldValidation, findings: &mut Findings) {
    let schema = &schema::of(Kind::Namespace)["properties"]["metadata"];
    let at = Place {
        path: "metadata".to_owned(),
        confidential: false,
        secret: false,
    };
    Walk { mode, findings }.value(schema, metadata, &at);
}

/// Where the walk is.
struct Place {
    path: String,
    /// The values here are never repeated.
    confidential: bool,
    /// The object is a Secret.
    secret: bool,
}

impl Place {
    fn member(&self, name: &str) -> Self {
        let path = match self.path.as_str() {
            "" => name.to_owned(),
            path => format!("{path}.{name}"),
        };
        let values = self.path.is_empty() && ["data", "stringData"].contains(&name);
        Self {
            path,
            confidential: self.confidential || self.secret && values,
            secret: self.secret,
        }
    }

    fn element(&self, key: &dyn std::fmt::Display) -> Self {
        Self {
            path: format!("{}[{key}]", self.path),
            ..*self
        }
    }

    /// The value, unless it must not be repeated.
    fn show(&self, value: &Value) -> Value {
        if self.confidential {
            Value::Null
        } else {
            value.clone()
        }
    }
}

struct Walk<'a> {
    mode: FieldValidation,
    findings: &'a mut Findings,
}

impl Walk<'_> {
    fn value(&mut self, schema: &Value, value: &mut Value, at: &Place) {
        if schema[ANYTHING] == true {
            return;
        }
        if schema[INT_OR_STRING] == true {
            return self.share(value, at);
        }
        match (schema["type"].as_str(), &mut *value) {
            (Some("object"), Value::Object(members)) => self.object(schema, members, at),
            (Some("array"), Value::Array(elements)) => {
                for (index, element) in elements.iter_mut().enumerate() {
                    self.value(&schema["items"], element, &at.element(&index));
                }
            }
            (Some("string"), Value::String(text)) => self.text(schema, text, at),
            (Some("boolean"), Value::Bool(_)) => {}
            (Some("integer"), Value::Number(number)) if number.is_u64() || number.is_i64() => {
                self.integer(schema, value, at);
            }
            // A word or an object: the schema of the one that it is.
            (None, Value::String(_)) => self.value(&schema["oneOf"][0], value, at),
            (None, Value::Object(_)) => self.value(&schema["oneOf"][1], value, at),
            _ => self.wrong_type(schema, value, at),
        }
    }

    fn object(&mut self, schema: &Value, members: &mut Map<String, Value>, at: &Place) {
        let no_properties = Map::new();
        let properties = schema["properties"].as_object();
        let known = properties.unwrap_or(&no_properties);
        let others = schema.get("additionalProperties");
        members.retain(|name, value| {
            let (schema, at) = match (known.get(name), others) {
                (Some(schema), _) => (schema, at.member(name)),
                (None, Some(schema)) => (schema, at.element(name)),
                (None, None) => {
                    self.unknown(name, known, at);
                    return false;
                }
            };
            if value.is_null() {
                return false;
            }
            self.value(schema, value, &at);
            true
        });
        for name in names(&schema["required"]) {
            if !members.contains_key(name) {
                self.missing(&known[name], &at.member(name));
            }
        }
        if let Some(forms) = schema["oneOf"].as_array() {
            self.one_form(forms, members, at);
        }
    }

    /// Holds an object that comes in several forms to one of them.
    fn one_form(&mut self, forms: &[Value], members: &Map<String, Value>, at: &Place) {
        let given = |form: &&Value| names(&form["required"]).all(|name| members.contains_key(name));
        let chosen: Vec<&Value> = forms.iter().filter(given).collect();
        let choices = |forms: &[&Value]| {
            let first = forms.iter().filter_map(|form| form["required"][0].as_str());
            first
                .map(|name| format!("`{name}`"))
                .collect::<Vec<_>>()
                .join(" and ")
        };
        match chosen.as_slice() {
            [] => {
                let all = choices(&forms.iter().collect::<Vec<_>>());
                let remedy = format!("give exactly one of {all}");
                self.findings
                    .missing(&at.path, ("what is meant is not said", remedy));
            }
            [form] => {
                let foreign = form["not"]["anyOf"].as_array().into_iter().flatten();
                let foreign = foreign.flat_map(|foreign| names(&foreign["required"]));
                for name in foreign.filter(|name| members.contains_key(*name)) {
                    let reason = format!("does not go together with {}", choices(&[form]));
                    let at = at.member(name);
                    let why = (reason, "remove one of the two");
                    self.findings
                        .add(ErrorKind::FieldValueForbidden, at.path, &(), why);
                }
            }
            several => {
                let reason = format!("says {}, of which only one can hold", choices(several));
                let value = at.show(&Value::Object(members.clone()));
                self.findings
                    .invalid(&at.path, &value, (reason, "keep one of them"));
            }
        }
    }

    fn text(&mut self, schema: &Value, text: &str, at: &Place) {
        if let Some(words) = schema["enum"].as_array() {
            if !words.iter().any(|word| word == text) {
                self.unsupported(schema, text, at);
            }
            return;
        }
        let (valid, why) = match schema["format"].as_str() {
            Some("duration") => (text.parse::<Duration>().is_ok(), NO_DURATION),
            Some("ipv4") => (text.parse::<Ipv4Addr>().is_ok(), NO_ADDRESS),
            Some("cidr") => (text.parse::<Ipv4Net>().is_ok(), NO_CIDR),
            Some("date-time") => (text.parse::<Timestamp>().is_ok(), NO_TIME),
            _ => return,
        };
        if !valid {
            self.findings.invalid(&at.path, text, why);
        }
    }

    fn unsupported(&mut self, schema: &Value, text: &str, at: &Place) {
        let words = names(&schema["enum"]);
        let quoted: Vec<String> = words.clone().map(|word| format!("{word:?}")).collect();
        let remedy = match nearest(text, words) {
            Some(word) => format!("did you mean {word:?}?"),
            None => "write one of them".to_owned(),
        };
        let reason = format!("supported values: {}", quoted.join(", "));
        let kind = ErrorKind::FieldValueNotSupported;
        self.findings.add(kind, &at.path, text, (reason, remedy));
    }

    fn integer(&mut self, schema: &Value, value: &Value, at: &Place) {
        let number = |value: &Value| {
            let signed = value.as_i64().map(i128::from);
            signed.or_else(|| value.as_u64().map(i128::from))
        };
        let ceiling = if schema["format"] == "uint64" {
            i128::from(u64::MAX)
        } else {
            i128::from(i64::MAX)
        };
        let least = number(&schema["minimum"]).unwrap_or(i128::from(i64::MIN));
        let most = number(&schema["maximum"]).unwrap_or(ceiling);
        if number(value).is_some_and(|number| number < least || number > most) {
            let why = (
                "out of range",
                format!("write a number from {least} to {most}"),
            );
            self.findings.invalid(&at.path, value, why);
        }
    }

    fn share(&mut self, value: &Value, at: &Place) {
        if serde_json::from_value::<Share>(value.clone()).is_err() {
            let why = (
                "neither a number nor a percentage",
                "write it like 2 or 40%",
            );
            self.findings.invalid(&at.path, value, why);
        }
    }

    fn wrong_type(&mut self, schema: &Value, value: &Value, at: &Place) {
        let reason = format!("{} where {} belongs", found(value), wanted(schema));
        let why = (reason, retype(schema, value, at));
        let kind = ErrorKind::FieldValueTypeInvalid;
        self.findings.add(kind, &at.path, &at.show(value), why);
    }

    fn missing(&mut self, schema: &Value, at: &Place) {
        let description = schema["description"].as_str().unwrap_or_default();
        let first = description
            .split_once(". ")
            .map_or(description, |(first, _)| first);
        let remedy = format!("add it: {}", first.trim_end_matches('.'));
        self.findings.missing(&at.path, ("missing", remedy));
    }

    fn unknown(&mut self, name: &str, known: &Map<String, Value>, at: &Place) {
        let names: Vec<&str> = known.keys().map(String::as_str).collect();
        let remedy = match nearest(name, names.iter().copied()) {
            Some(meant) => format!("did you mean {meant:?}?"),
            None if names.len() <= NAMES_MAX => format!("there are {}", names.join(", ")),
            None => "remove it".to_owned(),
        };
        let field = at.member(name).path;
        match self.mode {
            FieldValidation::Strict => {
                let why = ("there is no such field", remedy);
                self.findings.add(ErrorKind::UnknownField, field, &(), why);
            }
            // Kubernetes' words, which tools look for.
            FieldValidation::Warn => {
                let warning = format!("unknown field {field:?}: dropped; {remedy}");
                self.findings.warnings.push(warning);
            }
            FieldValidation::Ignore => {}
        }
    }
}

/// A text that is wrong, and what to write.
type Words = (&'static str, &'static str);

const NO_DURATION: Words = (
    "not a duration",
    "write a number with a unit, like 90s, 20m or 1h30m",
);
const NO_ADDRESS: Words = ("not an IPv4 address", "write it like 10.0.0.10");
const NO_CIDR: Words = (
    "not an IPv4 range",
    "write an address and a prefix length, like 10.0.0.0/24",
);
const NO_TIME: Words = (
    "not a time",
    "write it as RFC 3339 has it, like 2026-01-31T18:00:00Z",
);

fn names(list: &Value) -> impl Iterator<Item = &str> + Clone {
    let list = list.as_array().map(Vec::as_slice).unwrap_or_default();
    list.iter().filter_map(Value::as_str)
}

fn found(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "a number",
        Value::String(_) => "a text",
        Value::Array(_) => "a list",
        Value::Object(_) => "an object",
    }
}

fn wanted(schema: &Value) -> &'static str {
    match schema["type"].as_str() {
        Some("object") => "an object",
        Some("array") => "a list",
        Some("integer") => "a whole number",
        Some("boolean") => "true or false",
        Some(_) => "a text",
        None => "a word or an object",
    }
}

/// How the same thing is said with the type that belongs there.
fn retype(schema: &Value, value: &Value, at: &Place) -> String {
    let number = |text: &String| text.parse::<i64>().is_ok();
    match (schema["type"].as_str(), value) {
        (Some("string"), _) if schema["format"] == "duration" => NO_DURATION.1.to_owned(),
        (Some("string"), Value::Number(_) | Value::Bool(_)) if at.confidential => {
            "put it in quotes".to_owned()
        }
        (Some("string"), Value::Number(_) | Value::Bool(_)) => {
            format!("put it in quotes: \"{value}\"")
        }
        (Some("string"), _) => "write a single text".to_owned(),
        (Some("integer"), Value::String(text)) if number(text) => "remove the quotes".to_owned(),
        (Some("integer"), _) => "write a whole number".to_owned(),
        (Some("boolean"), _) => "write true or false, without quotes".to_owned(),
        (Some("array"), _) => "write a list, even where it has one member: [ … ]".to_owned(),
        (Some(_), _) => format!("write members below it: {}", examples(schema)),
        (None, _) => {
            let words: Vec<&str> = names(&schema["oneOf"][0]["enum"]).collect();
            let members = examples(&schema["oneOf"][1]);
            format!(
                "write {}, or members below it: {members}",
                words.join(" or ")
            )
        }
    }
}

/// A few members of an object, those that it must have first.
fn examples(schema: &Value) -> String {
    let required = names(&schema["required"]);
    let forms = schema["oneOf"].as_array().into_iter().flatten();
    let forms = forms.filter_map(|form| form["required"][0].as_str());
    let mut examples: Vec<&str> = required.chain(forms).collect();
    if examples.is_empty() {
        let all = schema["properties"].as_object().into_iter().flatten();
        examples = all.map(|(name, _)| name.as_str()).take(NAMES_MAX).collect();
    }
    match examples.as_slice() {
        [] => "key: value".to_owned(),
        [one] => format!("{one}: …"),
        several if schema["oneOf"].is_array() => format!("{}: …", several.join(": … or ")),
        several => several.join(", "),
    }
}
