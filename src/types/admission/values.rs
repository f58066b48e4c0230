//! What the values of a `Secret` and of a `ConfigMap` must be, as Kubernetes holds them.

use base64::{Engine, engine::general_purpose::STANDARD};
use serde_json::Value;

use super::{error::ErrorKind, findings::Findings};

/// The values of an object together, in bytes, those in base64 decoded; Kubernetes' limit.
const VALUES_MAX: usize = 1024 * 1024;

/// Judges a `Secret`. Its values are never repeated.
pub(super) fn secret(object: &Value, findings: &mut Findings) {
    let put = "put it as it is under `stringData`";
    let size = encoded(object, "data", put, findings) + plain(object, "stringData", findings);
    within_limit(size, findings);
}

/// Judges a `ConfigMap`.
pub(super) fn config_map(object: &Value, findings: &mut Findings) {
    let put = "put a text as it is under `data`";
    let size = plain(object, "data", findings) + encoded(object, "binaryData", put, findings);
    within_limit(size, findings);
    for (here, there) in [("data", "binaryData"), ("binaryData", "data")] {
        let entries = object[here].as_object();
        for key in entries.into_iter().flat_map(|entries| entries.keys()) {
            if !object[there][key].is_null() {
                let why = format!("duplicate of key present in {there}");
                let remedy = "leave one of them out";
                findings.invalid(format!("{here}[{key}]"), key.as_str(), (&*why, remedy));
            }
        }
    }
}

/// The size of the texts of a member, whose keys are judged.
fn plain(object: &Value, member: &str, findings: &mut Findings) -> usize {
    let values = object[member].as_object().into_iter().flatten();
    values
        .map(|(key, value)| {
            judge_key(&format!("{member}[{key}]"), key, findings);
            value.as_str().unwrap_or_default().len()
        })
        .sum()
}

/// The same of values in base64, which are decoded.
fn encoded(object: &Value, member: &str, put: &str, findings: &mut Findings) -> usize {
    let values = object[member].as_object().into_iter().flatten();
    values
        .map(|(key, value)| {
            let field = format!("{member}[{key}]");
            judge_key(&field, key, findings);
            let decoded = STANDARD.decode(value.as_str().unwrap_or_default());
            if decoded.is_err() {
                let remedy = format!("encode it on one line, or {put}");
                findings.invalid(&field, &(), ("not base64", &*remedy));
            }
            decoded.map_or(0, |bytes| bytes.len())
        })
        .sum()
}

fn within_limit(size: usize, findings: &mut Findings) {
    if size > VALUES_MAX {
        let why = ("more than 1 MiB together", "shorten or split it");
        findings.add(ErrorKind::FieldValueTooLong, "data", &(), why);
    }
}

/// Keys become names of files where a program mounts them, and must not lead out of their folder.
fn judge_key(field: &str, key: &str, findings: &mut Findings) {
    let fits = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
    if !(1..=253).contains(&key.len()) || !key.chars().all(fits) {
        let remedy = "use at most 253 of A-Z, a-z, 0-9, -, _ and .";
        findings.invalid(field, &(), ("not a key that Kubernetes takes", remedy));
    } else if key == "." || key.starts_with("..") {
        let remedy = "begin it with something else";
        findings.invalid(field, &(), ("a key that leads out of a folder", remedy));
    }
}
