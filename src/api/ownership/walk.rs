//! Objects taken apart along the schema of their kind: which fields a value has, what differs
//! between two, one merged into another, and fields taken out.
//!
//! Lists are one field unless their schema tells their items apart. An object that comes in several
//! forms is one field as well: half of one form and half of another would be none.

use serde_json::{Map, Value};

use super::fields::{Fields, member, name};
use crate::types::schema::ANYTHING;

/// A part of a value.
struct Part<'s, 'v> {
    step: String,
    /// Nothing where the schema does not know the member.
    schema: Option<&'s Value>,
    value: &'v Value,
    /// It stands for itself, beside its own parts: the entry of a map, or the item of a list.
    item: bool,
    /// It has not what tells it apart from others.
    keyless: bool,
}

/// How the parts of a value are told apart.
enum Shape<'a> {
    /// Not at all.
    One,
    Members,
    /// By these members of each item.
    Keyed(&'a Value),
    /// By themselves.
    Set,
}

fn shape<'a>(schema: &'a Value, value: &Value) -> Shape<'a> {
    let is = |key: &str, word: &str| schema[key] == word;
    match value {
        Value::Object(_) if schema[ANYTHING] == true || is("x-kubernetes-map-type", "atomic") => {
            Shape::One
        }
        Value::Object(_) if is("type", "object") => Shape::Members,
        Value::Array(_) if is("x-kubernetes-list-type", "map") => {
            Shape::Keyed(&schema["x-kubernetes-list-map-keys"])
        }
        Value::Array(_) if is("x-kubernetes-list-type", "set") => Shape::Set,
        _ => Shape::One,
    }
}

/// The schema of a member, and whether it is an entry of a map.
fn below<'a>(schema: &'a Value, name: &str) -> (Option<&'a Value>, bool) {
    match schema["properties"].get(name) {
        Some(known) => (Some(known), false),
        None => (schema.get("additionalProperties"), true),
    }
}

fn words(list: &Value) -> impl Iterator<Item = &str> {
    list.as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
}

fn keyed(keys: &Value, item: &Value) -> String {
    let keys: Map<String, Value> = words(keys)
        .map(|key| (key.to_owned(), item[key].clone()))
        .collect();
    format!("k:{}", Value::Object(keys))
}

/// The parts of a value; nothing where it is one field.
fn parts<'s, 'v>(schema: &'s Value, value: &'v Value) -> Option<Vec<Part<'s, 'v>>> {
    let items = |keys: &Value, step: &dyn Fn(&Value) -> String| {
        let items = value.as_array().into_iter().flatten();
        let part = |value| Part {
            step: step(value),
            schema: schema.get("items"),
            value,
            item: true,
            keyless: words(keys).any(|key| value[key].is_null()),
        };
        items.map(part).collect()
    };
    match shape(schema, value) {
        Shape::One => None,
        Shape::Members => {
            let members = value.as_object().into_iter().flatten();
            let part = |(name, value): (&'v String, &'v Value)| {
                let (schema, item) = below(schema, name);
                Part {
                    step: member(name),
                    schema,
                    value,
                    item,
                    keyless: false,
                }
            };
            Some(members.map(part).collect())
        }
        Shape::Keyed(keys) => Some(items(keys, &|item| keyed(keys, item))),
        Shape::Set => Some(items(&Value::Null, &|item| format!("v:{item}"))),
    }
}

/// The fields of a value that somebody wants.
///
/// # Errors
/// What the schema does not know, and items that cannot be told apart: a path and why.
pub(super) fn wanted(schema: &Value, value: &Value) -> Result<Fields, Vec<String>> {
    let mut errors = Vec::new();
    let fields = collect(schema, value, "", &mut errors);
    if errors.is_empty() {
        Ok(fields)
    } else {
        Err(errors)
    }
}

/// The fields of a value, as far as the schema knows them.
pub(super) fn fields(schema: &Value, value: &Value) -> Fields {
    collect(schema, value, "", &mut Vec::new())
}

fn collect(schema: &Value, value: &Value, path: &str, errors: &mut Vec<String>) -> Fields {
    let Some(parts) = parts(schema, value).filter(|parts| !parts.is_empty()) else {
        return Fields::leaf();
    };
    let mut fields = Fields::default();
    for part in parts {
        let path = match name(&part.step) {
            Some(name) => format!("{path}.{name}"),
            None => format!("{path}[{}]", &part.step[2..]),
        };
        let Some(schema) = part.schema else {
            errors.push(format!("{path}: field not declared in schema"));
            continue;
        };
        if part.keyless {
            errors.push(format!("{path}: an item of this list needs its key"));
        }
        let mut found = collect(schema, part.value, &path, errors);
        found.own |= part.item;
        if fields.below.insert(part.step, found).is_some() {
            errors.push(format!("{path}: duplicate entries"));
        }
    }
    fields
}

/// What differs between two values.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Difference {
    /// Fields that are new or have another value.
    pub(super) set: Fields,
    /// Fields that are gone.
    pub(super) removed: Fields,
}

impl Difference {
    pub(super) fn between(schema: &Value, old: &Value, new: &Value) -> Self {
        let mut difference = Self::default();
        difference.compare(Some(schema), Some(old), Some(new));
        difference
    }

    fn compare(&mut self, schema: Option<&Value>, old: Option<&Value>, new: Option<&Value>) {
        if old == new {
            return;
        }
        let nothing = Value::Null;
        let schema = schema.unwrap_or(&nothing);
        let (before, after) = (
            old.and_then(|old| parts(schema, old)),
            new.and_then(|new| parts(schema, new)),
        );
        match (old.is_some(), new.is_some()) {
            (false, _) => self.set.own = true,
            (_, false) => self.removed.own = true,
            _ if before.is_none() || after.is_none() => {
                self.set.own = true;
                return;
            }
            _ => {}
        }
        let (before, after) = (before.unwrap_or_default(), after.unwrap_or_default());
        for part in &after {
            let former = before.iter().find(|former| former.step == part.step);
            let former = former.map(|former| former.value);
            self.part(&part.step, part.schema, former, Some(part.value));
        }
        for part in before {
            if !after.iter().any(|later| later.step == part.step) {
                self.part(&part.step, part.schema, Some(part.value), None);
            }
        }
    }

    fn part(
        &mut self,
        step: &str,
        schema: Option<&Value>,
        old: Option<&Value>,
        new: Option<&Value>,
    ) {
        let mut below = Self::default();
        below.compare(schema, old, new);
        for (all, some) in [
            (&mut self.set, below.set),
            (&mut self.removed, below.removed),
        ] {
            if !some.is_empty() {
                all.below.insert(step.to_owned(), some);
            }
        }
    }
}

/// Puts what is wanted into a value, and leaves the rest of it.
pub(super) fn merge(schema: &Value, live: &mut Value, wanted: &Value) {
    match (shape(schema, live), shape(schema, wanted)) {
        (Shape::Members, Shape::Members) => {
            let wanted = wanted.as_object().into_iter().flatten();
            for (name, wanted) in wanted {
                let known = below(schema, name).0.unwrap_or(&Value::Null);
                match live.get_mut(name) {
                    Some(live) => merge(known, live, wanted),
                    None => live[name] = wanted.clone(),
                }
            }
        }
        (Shape::Keyed(_) | Shape::Set, Shape::Keyed(_) | Shape::Set) => {
            let Some(wanted) = parts(schema, wanted) else {
                return;
            };
            for part in wanted {
                let found = parts(schema, live).unwrap_or_default();
                let place = found.iter().position(|one| one.step == part.step);
                match (live.as_array_mut(), place) {
                    (Some(items), Some(place)) => {
                        merge(&schema["items"], &mut items[place], part.value);
                    }
                    (Some(items), None) => items.push(part.value.clone()),
                    (None, _) => {}
                }
            }
        }
        _ => *live = wanted.clone(),
    }
}

/// Takes fields out of a value, and with them what is left empty. What has other parts stays, and so
/// does what is kept.
pub(super) fn remove(schema: &Value, value: &mut Value, gone: &Fields, kept: &Fields) {
    let nothing = Fields::default();
    for (step, gone) in &gone.below {
        let kept = kept.below.get(step).unwrap_or(&nothing);
        let found = parts(schema, value).unwrap_or_default();
        let Some(place) = found.iter().position(|part| part.step == *step) else {
            continue;
        };
        let known = found[place].schema.unwrap_or(&Value::Null);
        let dissolved = match &mut *value {
            Value::Object(members) => {
                let part = name(step).and_then(|name| members.get_mut(name));
                part.is_some_and(|part| dissolves(known, part, gone, kept))
            }
            Value::Array(items) => dissolves(known, &mut items[place], gone, kept),
            _ => false,
        };
        match (&mut *value, name(step)) {
            _ if !dissolved => {}
            (Value::Object(members), Some(name)) => drop(members.remove(name)),
            (Value::Array(items), _) => drop(items.remove(place)),
            _ => {}
        }
    }
}

/// Takes fields out of a part, and says whether nothing of it is to be left.
fn dissolves(schema: &Value, part: &mut Value, gone: &Fields, kept: &Fields) -> bool {
    let Some(before) = parts(schema, part).map(|parts| parts.len()) else {
        return gone.own;
    };
    remove(schema, part, gone, kept);
    let empty = parts(schema, part).is_none_or(|parts| parts.is_empty());
    empty && !kept.own && (gone.own || before > 0)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn schema() -> Value {
        json!({"type": "object", "properties": {
            "word": {"type": "string"},
            "map": {"type": "object", "additionalProperties": {"type": "string"}},
            "form": {"type": "object", "x-kubernetes-map-type": "atomic",
                     "properties": {"a": {}, "b": {}}},
            "list": {"type": "array", "items": {"type": "string"}},
            "set": {"type": "array", "x-kubernetes-list-type": "set", "items": {"type": "string"}},
            "nodes": {"type": "array", "x-kubernetes-list-type": "map",
                      "x-kubernetes-list-map-keys": ["name"], "items": {"type": "object",
                      "properties": {"name": {"type": "string"}, "size": {"type": "integer"}}}},
        }})
    }

    #[test]
    fn the_fields_of_a_value_are_its_leaves_and_items() {
        let value = json!({"word": "w", "map": {"k": "v"}, "form": {"a": 1}, "list": ["x"],
                           "set": ["y"], "nodes": [{"name": "n"}]});
        let fields = json!({"f:word": {}, "f:map": {"f:k": {}}, "f:form": {}, "f:list": {},
                            "f:set": {"v:\"y\"": {}},
                            "f:nodes": {"k:{\"name\":\"n\"}": {".": {}, "f:name": {}}}});
        assert_eq!(wanted(&schema(), &value).unwrap().write(), fields);
        let wrong = json!({"nope": 1, "set": ["a", "a"], "nodes": [{"size": 1}]});
        let errors = wanted(&schema(), &wrong).unwrap_err();
        assert_eq!(errors.len(), 3, "{errors:?}");
    }

    #[test]
    fn a_difference_names_what_came_changed_and_went() {
        let old = json!({"word": "w", "map": {"a": "1"}, "nodes": [{"name": "n", "size": 1}]});
        let new = json!({"map": {"a": "2", "b": "1"}, "nodes": [{"name": "n", "size": 2}],
                         "form": {"a": 1}});
        let difference = Difference::between(&schema(), &old, &new);
        assert_eq!(difference.removed.write(), json!({"f:word": {}}));
        assert_eq!(
            difference.set.write(),
            json!({"f:map": {"f:a": {}, "f:b": {}}, "f:form": {},
                   "f:nodes": {"k:{\"name\":\"n\"}": {"f:size": {}}}})
        );
        assert_eq!(
            Difference::between(&schema(), &new, &new),
            Difference::default()
        );
    }

    #[test]
    fn what_is_merged_in_can_be_taken_out_again() {
        let live = json!({"word": "w", "map": {"a": "1"}, "set": ["x"], "list": ["l"],
                          "nodes": [{"name": "n", "size": 1}]});
        let want = json!({"map": {"b": "1"}, "set": ["y", "x"], "list": ["m"], "form": {"a": 1},
                          "nodes": [{"name": "o", "size": 2}]});
        let mut merged = live.clone();
        merge(&schema(), &mut merged, &want);
        let all = json!({"word": "w", "map": {"a": "1", "b": "1"}, "set": ["x", "y"], "list": ["m"],
                         "form": {"a": 1},
                         "nodes": [{"name": "n", "size": 1}, {"name": "o", "size": 2}]});
        assert_eq!(merged, all);
        let gone = wanted(&schema(), &want).unwrap();
        remove(&schema(), &mut merged, &gone, &Fields::default());
        let left = json!({"word": "w", "map": {"a": "1"}, "nodes": [{"name": "n", "size": 1}]});
        assert_eq!(merged, left);
    }

    #[test]
    fn an_item_goes_only_when_nothing_of_it_is_left() {
        let mut value = json!({"nodes": [{"name": "n", "size": 1}]});
        let gone = json!({"f:nodes": {"k:{\"name\":\"n\"}": {".": {}, "f:name": {}}}});
        let mut kept = value.clone();
        let other = Fields::read(&json!({"f:map": {}})).unwrap();
        remove(&schema(), &mut kept, &other, &Fields::default());
        assert_eq!(kept, value);
        let gone = Fields::read(&gone).unwrap();
        remove(&schema(), &mut value, &gone, &Fields::default());
        assert_eq!(value, json!({"nodes": [{"size": 1}]}));
        // What is left empty goes as well, unless somebody keeps it.
        let gone = Fields::read(&json!({"f:map": {"f:a": {}}})).unwrap();
        for (kept, left) in [
            (json!({}), json!({})),
            (json!({"f:map": {}}), json!({"map": {}})),
        ] {
            let mut value = json!({"map": {"a": "1"}});
            remove(&schema(), &mut value, &gone, &Fields::read(&kept).unwrap());
            assert_eq!(value, left);
        }
    }
}
