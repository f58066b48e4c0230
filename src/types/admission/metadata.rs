//! Names, labels and annotations: Kubernetes' rules, which hold for every kind.

use jiff::Timestamp;
use serde_json::Value;

use super::{error::ErrorKind, findings::Findings};
use crate::types::{
    meta::{Kind, ObjectMeta},
    stack::PAUSED_UNTIL,
};

/// Longest DNS label (RFC 1123), and longest name of an object whose name becomes one.
pub(super) const LABEL_MAX: usize = 63;
/// Longest DNS name.
pub(super) const DNS_NAME_MAX: usize = 253;
/// All annotations of an object together, in bytes; Kubernetes' limit.
const ANNOTATIONS_MAX: usize = 256 * 1024;

/// Finalizers of Kubernetes' own, which have no domain.
const KUBERNETES_OWN: [&str; 3] = ["foregroundDeletion", "kubernetes", "orphan"];

const LABEL_RULE: &str = "use at most 63 of a-z, 0-9 and -, with a letter or digit at both ends";
const NAME_RULE: &str =
    "use at most 63 of A-Z, a-z, 0-9, -, _ and ., with a letter or digit at both ends";

/// Judges the metadata of an object.
pub(super) fn check(kind: Kind, meta: &ObjectMeta, findings: &mut Findings) {
    name(kind, meta, findings);
    namespace(kind, meta, findings);
    for (key, value) in &meta.labels {
        qualified("metadata.labels", key, findings);
        if !value.is_empty() && !is_name(value) {
            let field = format!("metadata.labels[{key}]");
            findings.invalid(field, value, ("not a label's value", NAME_RULE));
        }
    }
    for key in meta.annotations.keys() {
        qualified("metadata.annotations", key, findings);
    }
    let size = |(key, value): (&String, &String)| key.len() + value.len();
    if meta.annotations.iter().map(size).sum::<usize>() > ANNOTATIONS_MAX {
        let why = ("more than 256 KiB together", "shorten or remove some");
        findings.add(
            ErrorKind::FieldValueTooLong,
            "metadata.annotations",
            &(),
            why,
        );
    }
    for (index, finalizer) in meta.finalizers.iter().enumerate() {
        qualified(
            &format!("metadata.finalizers[{index}]"),
            finalizer,
            findings,
        );
        if !finalizer.contains('/') && !KUBERNETES_OWN.contains(&finalizer.as_str()) {
            let sentence = format!(
                "{finalizer:?}: prefer a domain-qualified finalizer name including a path (/) to \
                 avoid accidental conflicts with other finalizer writers"
            );
            findings.warn("metadata.finalizers", &sentence);
        }
    }
    paused(kind, meta, findings);
}

/// Takes out of the owners of an object those that are there twice, and says so.
pub(super) fn owners_once(object: &mut Value, findings: &mut Findings) {
    let owners = object.pointer_mut("/metadata/ownerReferences");
    let Some(owners) = owners.and_then(Value::as_array_mut) else {
        return;
    };
    let all = owners.len();
    let mut seen = Vec::new();
    owners.retain(|owner| {
        let new = !seen.contains(owner);
        seen.push(owner.clone());
        new
    });
    if owners.len() < all {
        let sentence = "there are duplicate entries; one of each is kept";
        findings.warn("metadata.ownerReferences", sentence);
    }
}

fn name(kind: Kind, meta: &ObjectMeta, findings: &mut Findings) {
    let generated = meta.generate_name.as_deref().unwrap_or_default();
    let (field, text) = match (meta.name.as_str(), generated) {
        ("", "") => {
            let why = ("missing", "add it: the object is addressed by it");
            return findings.missing("metadata.name", why);
        }
        // What follows the prefix is letters, so a hyphen or dot at its end is fine.
        ("", prefix) => ("metadata.generateName", prefix.trim_end_matches(['-', '.'])),
        (name, _) => ("metadata.name", name),
    };
    if kind.is_rbac() {
        return path_segment(field, text, findings);
    }
    let (valid, rule) = if is_host_part(kind) {
        (is_label(text), LABEL_RULE)
    } else {
        let rule = "use at most 253 of a-z, 0-9, - and ., with a letter or digit at both ends";
        (is_dns_name(text), rule)
    };
    if !valid {
        let proposal = propose(text);
        let remedy = if is_label(&proposal) {
            format!("{rule}, like {proposal:?}")
        } else {
            rule.to_owned()
        };
        findings.invalid(field, text, ("not a name that Kubernetes takes", remedy));
    }
}

/// The names of roles and bindings: whatever can be a part of a path.
fn path_segment(field: &str, text: &str, findings: &mut Findings) {
    let unfit = |c: char| "/%".contains(c) || c.is_control();
    if text.contains(unfit) || [".", ".."].contains(&text) || text.len() > DNS_NAME_MAX {
        let rule = "use at most 253 characters, none of them / or %";
        findings.invalid(field, text, ("not a name that Kubernetes takes", rule));
    }
}

/// Whether the names of a kind end up in host names or URLs' host parts, and are held to labels;
/// the rest are Kubernetes' own kinds, whose clients put dots into names.
const fn is_host_part(kind: Kind) -> bool {
    !matches!(
        kind,
        Kind::Secret | Kind::ConfigMap | Kind::Event | Kind::Lease
    )
}

fn propose(text: &str) -> String {
    let hyphenate = |c: char| if c.is_ascii_alphanumeric() { c } else { '-' };
    let proposal: String = text.to_ascii_lowercase().chars().map(hyphenate).collect();
    proposal.trim_matches('-').to_owned()
}

fn namespace(kind: Kind, meta: &ObjectMeta, findings: &mut Findings) {
    let namespace = &meta.namespace;
    if namespace.is_empty() {
        return;
    }
    if !kind.namespaced() {
        let why = (format!("a {kind} lives in no namespace"), "remove it");
        findings.add(
            ErrorKind::FieldValueForbidden,
            "metadata.namespace",
            &(),
            why,
        );
    } else if !is_label(namespace) {
        findings.invalid(
            "metadata.namespace",
            namespace,
            ("not a namespace", LABEL_RULE),
        );
    }
}

/// A key of labels or annotations, or a finalizer: `[prefix/]name`.
fn qualified(field: &str, key: &str, findings: &mut Findings) {
    let (prefix, name) = match key.split_once('/') {
        Some((prefix, name)) => (Some(prefix), name),
        None => (None, key),
    };
    if prefix.is_some_and(|prefix| !is_dns_name(prefix)) {
        let why = (
            "the prefix is no DNS name",
            "write it like example.com/name",
        );
        findings.invalid(field, key, why);
    } else if !is_name(name) {
        findings.invalid(field, key, ("not a qualified name", NAME_RULE));
    }
}

/// A pause that ends at no time would be a pause that nobody meant.
fn paused(kind: Kind, meta: &ObjectMeta, findings: &mut Findings) {
    let Some(until) = meta.annotations.get(PAUSED_UNTIL) else {
        return;
    };
    if kind == Kind::ClearwaterStack && until.parse::<Timestamp>().is_err() {
        let remedy = "write it as RFC 3339 has it, like 2026-01-31T18:00:00Z";
        let field = format!("metadata.annotations[{PAUSED_UNTIL}]");
        findings.invalid(field, until, ("not a time", remedy));
    }
}

/// A DNS label (RFC 1123), in lower case.
pub(super) fn is_label(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit();
    (1..=LABEL_MAX).contains(&text.len())
        && text.chars().all(|c| letter(c) || c == '-')
        && text.starts_with(letter)
        && text.ends_with(letter)
}

/// DNS labels with dots between them.
pub(super) fn is_dns_name(text: &str) -> bool {
    text.len() <= DNS_NAME_MAX && text.split('.').all(is_label)
}

fn is_name(text: &str) -> bool {
    let end = |c: char| c.is_ascii_alphanumeric();
    (1..=LABEL_MAX).contains(&text.len())
        && text.chars().all(|c| end(c) || "-_.".contains(c))
        && text.starts_with(end)
        && text.ends_with(end)
}
