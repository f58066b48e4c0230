//! Files into objects.
//!
//! Text is read once, by a visitor that knows where in an object it is: what YAML allows and a
//! manifest does not (a key twice, an unknown kind, a misspelt member of `metadata`) is refused
//! at its own line. `spec` is left to [`admit`](super::admit), on the server, which knows the
//! fields that the server has.

use std::{cell::RefCell, fmt};

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::{FieldValidation, ManifestError, findings::Findings, nearest::nearest, shape};
use crate::types::{
    meta::{Kind, Object},
    schema,
};

/// Reads the objects of a file: YAML with any number of documents, or JSON. A `List` is
/// flattened. `file` is only named in errors.
///
/// # Errors
/// The first thing that is no manifest, with its place.
pub fn parse(text: &str, file: &str) -> Result<Vec<Object>, ManifestError> {
    let told = RefCell::new(None);
    let seed = Seed {
        place: Place::Object,
        told: &told,
    };
    let values = if is_json(text) {
        json(text, &seed)
    } else {
        yaml(text, &seed)
    };
    let values = values.map_err(|error| ManifestError {
        file: file.to_owned(),
        ..error
    })?;
    let mut objects = Vec::new();
    for (document, value) in values {
        flatten(value, &mut objects).map_err(|error| ManifestError {
            file: file.to_owned(),
            document: Some(document),
            ..whole(error.to_string())
        })?;
    }
    if objects.is_empty() {
        let reason = "there is no object in it; is it the right file?".to_owned();
        return Err(ManifestError {
            file: file.to_owned(),
            ..whole(reason)
        });
    }
    Ok(objects)
}

/// An error that has no place yet.
const fn whole(reason: String) -> ManifestError {
    ManifestError {
        file: String::new(),
        line: None,
        column: None,
        document: None,
        reason,
    }
}

/// YAML's flow style begins like JSON; only what JSON reads to its end is JSON.
fn is_json(text: &str) -> bool {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<IgnoredAny>();
    text.trim_start().starts_with(['{', '[']) && values.all(|value| value.is_ok())
}

type Documents = Vec<(usize, Value)>;

fn json(text: &str, seed: &Seed<'_>) -> Result<Documents, ManifestError> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut values = Vec::new();
    while deserializer.end().is_err() {
        let document = values.len() + 1;
        let value = seed
            .deserialize(&mut deserializer)
            .map_err(|error| ManifestError {
                line: Some(error.line()),
                column: Some(error.column()),
                document: Some(document),
                ..whole(seed.told.take().unwrap_or_else(|| error.to_string()))
            })?;
        values.push((document, value));
    }
    Ok(values)
}

fn yaml(text: &str, seed: &Seed<'_>) -> Result<Documents, ManifestError> {
    let mut values = Vec::new();
    for (index, document) in serde_yaml::Deserializer::from_str(text).enumerate() {
        let value = seed.deserialize(document).map_err(|error| ManifestError {
            line: error.location().map(|at| at.line()),
            column: error.location().map(|at| at.column()),
            document: Some(index + 1),
            ..whole(seed.told.take().unwrap_or_else(|| explain(&error, text)))
        })?;
        values.push((index + 1, value));
    }
    Ok(values)
}

/// What the YAML parser says, without the place, which is told in front, and with a hint.
fn explain(error: &serde_yaml::Error, text: &str) -> String {
    let mut words = error.to_string();
    let Some(at) = error.location() else {
        return words;
    };
    let place = format!(" at line {} column {}", at.line(), at.column());
    words = words.replacen(&place, "", 1);
    let line = text.lines().nth(at.line() - 1).unwrap_or_default();
    let indent = line.len() - line.trim_start().len();
    if line[..indent].contains('\t') {
        return "the line is indented with a tab; YAML takes spaces only".to_owned();
    }
    if words.contains("end of stream") {
        return format!("{words}; is the file cut off?");
    }
    format!("this is not YAML: {words}")
}

fn flatten(value: Value, objects: &mut Vec<Object>) -> Result<(), serde_json::Error> {
    match value {
        Value::Null => Ok(()),
        Value::Object(mut list) if list.contains_key("items") => {
            let items = list.remove("items");
            let items = items
                .as_ref()
                .and_then(Value::as_array)
                .into_iter()
                .flatten();
            items.cloned().try_for_each(|item| flatten(item, objects))
        }
        object => serde_json::from_value(object).map(|object| objects.push(object)),
    }
}

/// Where in a manifest a value is, as far as it matters.
#[derive(Clone, Copy, PartialEq)]
enum Place {
    Object,
    ApiVersion,
    Kind,
    Metadata,
    Items,
    Elsewhere,
}

impl Place {
    fn below(self, name: &str) -> Self {
        match (self, name) {
            (Self::Object, "apiVersion") => Self::ApiVersion,
            (Self::Object, "kind") => Self::Kind,
            (Self::Object, "metadata") => Self::Metadata,
            (Self::Object, "items") => Self::Items,
            _ => Self::Elsewhere,
        }
    }
}

/// Reads one value. What is wrong goes to `told`, since parsers mix their own words into errors.
#[derive(Clone, Copy)]
struct Seed<'a> {
    place: Place,
    told: &'a RefCell<Option<String>>,
}

impl Seed<'_> {
    fn refuse<E: Error>(&self, reason: impl Into<String>) -> E {
        let reason = reason.into();
        let error = E::custom(&reason);
        self.told.replace(Some(reason));
        error
    }

    fn at(self, place: Place) -> Self {
        Self { place, ..self }
    }

    /// A value that is neither a list nor an object.
    fn scalar<E: Error>(self, value: Value) -> Result<Value, E> {
        match (self.place, &value) {
            (Place::Object, Value::Null) | (Place::Items | Place::Elsewhere, _) => Ok(value),
            (Place::Kind, Value::String(word)) => match unknown_kind(word) {
                Some(reason) => Err(self.refuse(reason)),
                None => Ok(value),
            },
            (Place::ApiVersion, Value::String(word)) => match unknown_version(word) {
                Some(reason) => Err(self.refuse(reason)),
                None => Ok(value),
            },
            (Place::Object, _) => Err(self.refuse(
                "this is no object: it must begin with `apiVersion:` and `kind:`; is the file cut off?",
            )),
            (Place::Metadata, _) => Err(self.refuse("`metadata` is empty: give at least `name`")),
            (Place::Kind, _) => Err(self.refuse("`kind` is no word; write it like ClearwaterStack")),
            (Place::ApiVersion, _) => {
                Err(self.refuse("`apiVersion` is no text; write it like weir.dev/v1alpha1"))
            }
        }
    }

    /// A whole object, or a list of them.
    fn complete<E: Error>(self, mut object: Value) -> Result<Value, E> {
        if let Some(items) = object.get("items").filter(|_| is_list(&object["kind"])) {
            return match items {
                Value::Array(_) | Value::Null => Ok(object),
                _ => Err(self.refuse("`items` is no list; write each member with a `-` before it")),
            };
        }
        for name in ["apiVersion", "kind", "metadata"] {
            if object.get(name).is_none() {
                let reason = format!("the object has no `{name}`; is the file cut off?");
                return Err(self.refuse(reason));
            }
        }
        let kind = Kind::ALL
            .into_iter()
            .find(|kind| object["kind"] == kind.name());
        let Some(kind) = kind else {
            return Err(self.refuse("a List has `items`; is the file cut off?"));
        };
        if object["apiVersion"] != kind.api_version() {
            let (right, wrong) = (kind.api_version(), &object["apiVersion"]);
            let reason = format!("a {kind} has `apiVersion: {right}`, not {wrong}");
            return Err(self.refuse(reason));
        }
        let mut findings = Findings::default();
        let mode = FieldValidation::Ignore;
        shape::metadata(&mut object["metadata"], mode, &mut findings);
        match findings.errors.first() {
            Some(error) => Err(self.refuse(error.to_string())),
            None => Ok(object),
        }
    }
}

fn is_list(kind: &Value) -> bool {
    kind.as_str().is_some_and(|kind| kind.ends_with("List"))
}

fn unknown_kind(word: &str) -> Option<String> {
    let name = word.strip_suffix("List").unwrap_or(word);
    if name.is_empty() || Kind::ALL.iter().any(|kind| kind.name() == name) {
        return None;
    }
    let names = Kind::ALL.map(Kind::name);
    let meant = Kind::from_word(word).map(Kind::name);
    let hint = meant.or_else(|| nearest(word, names));
    let hint = hint.map(|name| format!("; did you mean {name}?"));
    let known = names.join(", ");
    Some(format!(
        "there is no kind `{word}`{}; there are {known}",
        hint.unwrap_or_default()
    ))
}

fn unknown_version(word: &str) -> Option<String> {
    let mut known = Kind::ALL.map(Kind::api_version).to_vec();
    known.sort_unstable();
    known.dedup();
    if known.contains(&word) {
        return None;
    }
    let hint = nearest(word, known.iter().copied());
    let hint = hint.map(|version| format!("; did you mean {version}?"));
    let known = known.join(", ");
    Some(format!(
        "there is no apiVersion `{word}`{}; there are {known}",
        hint.unwrap_or_default()
    ))
}

impl<'de> DeserializeSeed<'de> for &Seed<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(*self)
    }
}

impl<'de> Visitor<'de> for Seed<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text, a number, true or false, a list or an object")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Value, E> {
        self.scalar(value.into())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        self.scalar(value.into())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        self.scalar(value.into())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Value, E> {
        match serde_json::Number::from_f64(value) {
            Some(number) => self.scalar(number.into()),
            None => Err(self.refuse(format!("`{value}` is no number that a manifest can hold"))),
        }
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<Value, E> {
        self.scalar(value.into())
    }

    fn visit_unit<E: Error>(self) -> Result<Value, E> {
        self.scalar(Value::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Value, E> {
        self.visit_unit()
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let place = match self.place {
            Place::Items => Place::Object,
            Place::Elsewhere => Place::Elsewhere,
            _ => return Err(self.refuse("there is a list where an object or a word belongs")),
        };
        let mut elements = Vec::new();
        while let Some(element) = list.next_element_seed(&self.at(place))? {
            elements.push(element);
        }
        Ok(Value::Array(elements))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut members = Map::new();
        loop {
            let key = Key {
                seed: self,
                members: &members,
            };
            let Some(name) = map.next_key_seed(key)? else {
                break;
            };
            let place = self.place.below(&name);
            members.insert(name, map.next_value_seed(&self.at(place))?);
        }
        match self.place {
            Place::Object => self.complete(Value::Object(members)),
            _ => Ok(Value::Object(members)),
        }
    }
}

/// Reads a key. Numbers and words of logic become texts, as in JSON.
struct Key<'a> {
    seed: Seed<'a>,
    members: &'a Map<String, Value>,
}

impl Key<'_> {
    fn name<E: Error>(&self, name: String) -> Result<String, E> {
        if self.members.contains_key(&name) {
            let reason = format!("the key `{name}` is there twice; remove one of them");
            return Err(self.seed.refuse(reason));
        }
        let metadata = &schema::of(Kind::Namespace)["properties"]["metadata"]["properties"];
        if self.seed.place == Place::Metadata && metadata.get(&name).is_none() {
            let known = metadata.as_object().into_iter().flatten();
            let hint = nearest(&name, known.map(|(name, _)| name.as_str()));
            let hint = hint.map(|name| format!("; did you mean `{name}`?"));
            let reason = format!(
                "`metadata` has no field `{name}`{}",
                hint.unwrap_or_default()
            );
            return Err(self.seed.refuse(reason));
        }
        Ok(name)
    }
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = String;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<String, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Key<'_> {
    type Value = String;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<String, E> {
        self.name(value.to_string())
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<String, E> {
        self.name(value.to_string())
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<String, E> {
        self.name(value.to_string())
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<String, E> {
        self.name(value.to_string())
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<String, E> {
        self.name(value.to_owned())
    }
}
