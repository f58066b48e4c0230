//! A set of fields, in the form in which `managedFields` keeps it (`FieldsV1`).
//!
//! A tree whose steps are `f:NAME` for a member, `k:{…}` for the item of a list that is told apart
//! by its keys, and `v:VALUE` for a value of a set.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// Fields of an object. Cheap to compare and to combine; says nothing of values but those that are
/// steps.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Fields {
    /// The field that stands here is in the set itself, beside what is below it.
    pub(super) own: bool,
    pub(super) below: BTreeMap<String, Fields>,
}

impl Fields {
    /// A set of one field, which stands here.
    pub(super) fn leaf() -> Self {
        Self {
            own: true,
            below: BTreeMap::new(),
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        !self.own && self.below.is_empty()
    }

    /// Reads `fieldsV1` of an entry; nothing where it is none.
    pub(super) fn read(value: &Value) -> Option<Self> {
        let mut root = Self::read_node(value)?;
        root.own = false;
        Some(root)
    }

    fn read_node(value: &Value) -> Option<Self> {
        let members = value.as_object()?;
        let mut fields = Self {
            own: members.is_empty(),
            below: BTreeMap::new(),
        };
        for (step, value) in members {
            match step.as_str() {
                "." => fields.own = true,
                step if is_step(step) => {
                    fields
                        .below
                        .insert(step.to_owned(), Self::read_node(value)?);
                }
                _ => return None,
            }
        }
        Some(fields)
    }

    /// As `fieldsV1` has it.
    pub(super) fn write(&self) -> Value {
        let below = self.below.iter();
        let mut members: Map<String, Value> = below
            .map(|(step, fields)| (step.clone(), fields.write()))
            .collect();
        if self.own && !members.is_empty() {
            members.insert(".".to_owned(), json!({}));
        }
        Value::Object(members)
    }

    /// Adds all fields of another set.
    pub(super) fn extend(&mut self, other: &Self) {
        self.own |= other.own;
        for (step, fields) in &other.below {
            self.below.entry(step.clone()).or_default().extend(fields);
        }
    }

    /// The fields that another set has not.
    #[must_use]
    pub(super) fn without(&self, other: &Self) -> Self {
        let below = self
            .below
            .iter()
            .map(|(step, fields)| match other.below.get(step) {
                Some(others) => (step.clone(), fields.without(others)),
                None => (step.clone(), fields.clone()),
            });
        Self {
            own: self.own && !other.own,
            below: below.filter(|(_, fields)| !fields.is_empty()).collect(),
        }
    }

    /// The fields that both sets have.
    #[must_use]
    pub(super) fn common(&self, other: &Self) -> Self {
        let below = self.below.iter().filter_map(|(step, fields)| {
            let common = fields.common(other.below.get(step)?);
            (!common.is_empty()).then(|| (step.clone(), common))
        });
        Self {
            own: self.own && other.own,
            below: below.collect(),
        }
    }

    /// The fields as Kubernetes names them in a conflict: `.spec.nodes[name="a"].size`.
    pub(super) fn paths(&self) -> Vec<String> {
        let mut paths = Vec::new();
        self.walk("", &mut paths);
        paths
    }

    fn walk(&self, path: &str, paths: &mut Vec<String>) {
        if self.own {
            paths.push(path.to_owned());
        }
        for (step, fields) in &self.below {
            fields.walk(&format!("{path}{}", shown(step)), paths);
        }
    }
}

fn is_step(text: &str) -> bool {
    ["f:", "k:", "v:", "i:"]
        .iter()
        .any(|kind| text.starts_with(kind))
}

/// The step to a member.
pub(super) fn member(name: &str) -> String {
    format!("f:{name}")
}

/// The name of the member that a step leads to, if it leads to one.
pub(super) fn name(step: &str) -> Option<&str> {
    step.strip_prefix("f:")
}

fn shown(step: &str) -> String {
    let (kind, rest) = step.split_at(2);
    match kind {
        "f:" => format!(".{rest}"),
        "k:" => {
            let keys: Map<String, Value> = serde_json::from_str(rest).unwrap_or_default();
            let keys = keys.iter().map(|(key, value)| format!("{key}={value}"));
            format!("[{}]", keys.collect::<Vec<_>>().join(","))
        }
        "v:" => format!("[={rest}]"),
        _ => format!("[{rest}]"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(value: &Value) -> Fields {
        Fields::read(value).unwrap()
    }

    #[test]
    fn a_set_is_written_as_it_was_read() {
        let value = json!({"f:spec": {".": {}, "f:a": {}, "f:list": {"k:{\"name\":\"x\"}": {
            ".": {}, "f:name": {}}}}, "f:metadata": {"f:finalizers": {"v:\"a/b\"": {}}}});
        assert_eq!(fields(&value).write(), value);
        assert_eq!(Fields::read(&json!({})), Some(Fields::default()));
        for wrong in [json!({"spec": {}}), json!([]), json!({"f:a": 1})] {
            assert_eq!(Fields::read(&wrong), None, "{wrong}");
        }
    }

    #[test]
    fn sets_are_combined_field_by_field() {
        let one = fields(&json!({"f:a": {".": {}, "f:b": {}, "f:c": {}}}));
        let other = fields(&json!({"f:a": {"f:b": {}, "f:d": {}}}));
        assert_eq!(
            one.without(&other),
            fields(&json!({"f:a": {".": {}, "f:c": {}}}))
        );
        assert_eq!(one.common(&other), fields(&json!({"f:a": {"f:b": {}}})));
        let mut both = one.clone();
        both.extend(&other);
        assert_eq!(both.without(&one), fields(&json!({"f:a": {"f:d": {}}})));
        assert!(one.without(&one).is_empty());
    }

    #[test]
    fn a_field_is_named_by_its_path() {
        let set = json!({"f:spec": {"f:n": {"k:{\"name\":\"a\",\"port\":80}": {"f:size": {}}},
                                    "f:s": {"v:\"x\"": {}}}});
        let paths = [".spec.n[name=\"a\",port=80].size", ".spec.s[=\"x\"]"];
        assert_eq!(fields(&set).paths(), paths);
    }
}
