//! Label and field selectors, as Kubernetes writes them in `labelSelector` and `fieldSelector`.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::types::meta::{Kind, Object};

/// Which objects a list, watch or delete is about; an empty one means all.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Selection {
    labels: Vec<LabelTerm>,
    fields: Vec<FieldTerm>,
}

#[derive(Clone, Debug, PartialEq)]
struct LabelTerm {
    key: String,
    test: LabelTest,
}

#[derive(Clone, Debug, PartialEq)]
enum LabelTest {
    Exists,
    Absent,
    In(Vec<String>),
    NotIn(Vec<String>),
    Greater(i64),
    Less(i64),
}

#[derive(Clone, Debug, PartialEq)]
struct FieldTerm {
    field: String,
    equal: bool,
    value: String,
}

impl Selection {
    /// Reads both selectors for a kind.
    ///
    /// # Errors
    /// The sentence for a 400 where one cannot be read or names a field that cannot be selected by.
    pub(super) fn parse(kind: Kind, labels: &str, fields: &str) -> Result<Self, String> {
        let labels = split(labels)
            .into_iter()
            .map(label_term)
            .collect::<Result<_, _>>()?;
        let fields = field_terms(fields)?;
        match fields.iter().find(|term| !selectable(kind, &term.field)) {
            Some(term) => Err(format!("field label not supported: {}", term.field)),
            None => Ok(Self { labels, fields }),
        }
    }

    /// The name that a field selector leaves nothing else than, if it does.
    pub(super) fn only_name(fields: &str) -> Option<String> {
        let terms = field_terms(fields).ok()?;
        let mut terms = terms.into_iter();
        let term = terms.find(|term| term.field == "metadata.name" && term.equal)?;
        Some(term.value).filter(|name| !name.is_empty())
    }

    /// Whether everything is selected.
    pub(super) fn is_all(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }

    /// Whether the object is selected.
    pub(super) fn matches(&self, object: &Object) -> bool {
        let labels = &object.metadata.labels;
        self.labels.iter().all(|term| term.matches(labels))
            && self
                .fields
                .iter()
                .all(|term| (field(object, &term.field) == term.value) == term.equal)
    }
}

impl LabelTerm {
    fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        let value = labels.get(&self.key);
        match &self.test {
            LabelTest::Exists => value.is_some(),
            LabelTest::Absent => value.is_none(),
            LabelTest::In(values) => value.is_some_and(|value| values.contains(value)),
            LabelTest::NotIn(values) => !value.is_some_and(|value| values.contains(value)),
            LabelTest::Greater(bound) => number(value).is_some_and(|n| n > *bound),
            LabelTest::Less(bound) => number(value).is_some_and(|n| n < *bound),
        }
    }
}

fn number(value: Option<&String>) -> Option<i64> {
    value.and_then(|value| value.parse().ok())
}

/// The terms of a label selector: split at commas outside of parentheses.
fn split(text: &str) -> Vec<&str> {
    let mut terms = Vec::new();
    let (mut depth, mut start) = (0_u32, 0);
    for (at, c) in text.char_indices() {
        match c {
            '(' => depth += 1,
            ')' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                terms.push(text[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    terms.push(text[start..].trim());
    if terms == [""] { Vec::new() } else { terms }
}

fn label_term(text: &str) -> Result<LabelTerm, String> {
    let wrong = || {
        format!(
            "unable to parse requirement: `{text}` is no label selector: write key=value, \
             key!=value, key in (a,b), key notin (a,b), key or !key"
        )
    };
    let (key, test) = operator(text).ok_or_else(wrong)?;
    if is_key(key) {
        Ok(LabelTerm {
            key: key.to_owned(),
            test,
        })
    } else {
        Err(wrong())
    }
}

fn operator(text: &str) -> Option<(&str, LabelTest)> {
    if let Some(key) = text.strip_prefix('!') {
        return Some((key.trim(), LabelTest::Absent));
    }
    if let Some(inner) = text.strip_suffix(')') {
        let (head, values) = inner.split_once('(')?;
        let values = values.split(',').map(|v| v.trim().to_owned()).collect();
        return match head.trim().rsplit_once(char::is_whitespace)? {
            (key, "in") => Some((key.trim(), LabelTest::In(values))),
            (key, "notin") => Some((key.trim(), LabelTest::NotIn(values))),
            _ => None,
        };
    }
    let pair = |sign: &str| {
        let (key, value) = text.split_once(sign)?;
        is_value(value.trim()).then(|| (key.trim(), value.trim().to_owned()))
    };
    if text.contains("!=") {
        pair("!=").map(|(key, value)| (key, LabelTest::NotIn(vec![value])))
    } else if text.contains("==") {
        pair("==").map(|(key, value)| (key, LabelTest::In(vec![value])))
    } else if text.contains('=') {
        pair("=").map(|(key, value)| (key, LabelTest::In(vec![value])))
    } else if text.contains('>') {
        pair(">").and_then(|(key, value)| Some((key, LabelTest::Greater(value.parse().ok()?))))
    } else if text.contains('<') {
        pair("<").and_then(|(key, value)| Some((key, LabelTest::Less(value.parse().ok()?))))
    } else {
        Some((text, LabelTest::Exists))
    }
}

fn is_key(text: &str) -> bool {
    !text.is_empty()
        && text
            .chars()
            .all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
}

fn is_value(text: &str) -> bool {
    text.chars()
        .all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
}

fn field_terms(text: &str) -> Result<Vec<FieldTerm>, String> {
    let mut terms = Vec::new();
    for part in split_escaped(text) {
        let at = part.find('=').ok_or_else(|| {
            format!("invalid selector: `{part}`; can't understand it: write field=value")
        })?;
        let (field, rest) = part.split_at(at);
        let value = rest.trim_start_matches('=');
        terms.push(FieldTerm {
            field: field.trim_end_matches('!').to_owned(),
            equal: !field.ends_with('!'),
            value: unescape(value),
        });
    }
    Ok(terms)
}

/// The terms of a field selector: split at commas that no backslash precedes.
fn split_escaped(text: &str) -> Vec<String> {
    let mut terms = vec![String::new()];
    let mut escaped = false;
    for c in text.chars() {
        if c == ',' && !escaped {
            terms.push(String::new());
        } else if let Some(term) = terms.last_mut() {
            term.push(c);
        }
        escaped = c == '\\' && !escaped;
    }
    terms.retain(|term| !term.is_empty());
    terms
}

fn unescape(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        match c {
            '\\' => plain.extend(characters.next()),
            c => plain.push(c),
        }
    }
    plain
}

/// The fields, besides name and namespace, that a kind can be selected by.
const fn fields(kind: Kind) -> &'static [&'static str] {
    match kind {
        Kind::Event => &[
            "involvedObject.kind",
            "involvedObject.namespace",
            "involvedObject.name",
            "involvedObject.uid",
            "involvedObject.apiVersion",
            "involvedObject.resourceVersion",
            "involvedObject.fieldPath",
            "reason",
            "reportingComponent",
            "source",
            "type",
        ],
        Kind::ClearwaterStack => &["spec.accountRef.name", "status.phase"],
        Kind::Machine => &["spec.stackRef.name", "spec.role", "status.phase"],
        Kind::Secret => &["type"],
        Kind::Namespace => &["status.phase"],
        _ => &[],
    }
}

fn selectable(kind: Kind, field: &str) -> bool {
    matches!(field, "metadata.name" | "metadata.namespace") || fields(kind).contains(&field)
}

/// The value of a field as text; empty where it is missing.
fn field(object: &Object, field: &str) -> String {
    match field {
        "metadata.name" => return object.metadata.name.clone(),
        "metadata.namespace" => return object.metadata.namespace.clone(),
        _ => {}
    }
    let path = if field == "source" {
        "source.component"
    } else {
        field
    };
    let mut members = path.split('.');
    let first = members.next().and_then(|member| object.body.get(member));
    match members.fold(first, |value, member| value?.get(member)) {
        Some(Value::String(text)) => text.clone(),
        None | Some(Value::Null) => String::new(),
        Some(other) => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn object() -> Object {
        serde_json::from_value(json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "ClearwaterStack",
            "metadata": {"name": "ims", "namespace": "lab", "labels": {"app": "x", "n": "5"}},
            "spec": {"accountRef": {"name": "zurich"}}, "status": {"phase": "Ready"},
        }))
        .unwrap()
    }

    #[track_caller]
    fn labels(selector: &str) -> bool {
        Selection::parse(Kind::ClearwaterStack, selector, "")
            .unwrap()
            .matches(&object())
    }

    #[track_caller]
    fn fields(selector: &str) -> bool {
        Selection::parse(Kind::ClearwaterStack, "", selector)
            .unwrap()
            .matches(&object())
    }

    #[test]
    fn labels_select_as_in_kubernetes() {
        for selector in [
            "",
            "app=x",
            "app==x",
            "app!=y",
            "other!=x",
            "app in (w, x),!zzz",
            "app notin (y)",
            "other notin (y)",
            "app",
            "n>4,n<6",
        ] {
            assert!(labels(selector), "{selector}");
        }
        for selector in ["app=y", "app in (y)", "!app", "zzz", "n>5", "app notin (x)"] {
            assert!(!labels(selector), "{selector}");
        }
    }

    #[test]
    fn a_selector_that_cannot_be_read_is_refused() {
        for selector in ["app in x", "a b c", "=x", "app=(", ","] {
            assert!(
                Selection::parse(Kind::Machine, selector, "").is_err(),
                "{selector}"
            );
        }
    }

    #[test]
    fn fields_select_what_the_kind_declares() {
        assert!(fields("metadata.name=ims,metadata.namespace!=default"));
        assert!(fields("spec.accountRef.name=zurich,status.phase=Ready"));
        assert!(!fields("metadata.name!=ims"));
        assert_eq!(
            Selection::parse(Kind::ClearwaterStack, "", "spec.nope=1"),
            Err("field label not supported: spec.nope".to_owned())
        );
    }

    #[test]
    fn a_backslash_takes_a_commas_meaning_away() {
        let terms = field_terms(r"a=x\,y,b=\\").unwrap();
        assert_eq!(terms[0].value, "x,y");
        assert_eq!(terms[1].value, r"\");
    }
}
