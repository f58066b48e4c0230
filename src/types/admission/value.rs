//! Rules for single values that several kinds share.

use std::time::Duration as Std;

use serde::de::DeserializeOwned;
use serde_json::Value;
use url::{Host, Url};

use super::{error::ErrorKind, findings::Findings, metadata::is_dns_name};
use crate::types::{duration::Duration, stack::Selector};

/// A day: nothing that Weir waits for, or does regularly, takes longer.
pub(super) const DAY: Std = Std::from_secs(86_400);

/// Longest parameter of CloudStack's that does not say otherwise, in bytes.
const PARAMETER_MAX: usize = 255;

/// A member of an object as its own type; none where it is absent or has another shape, which
/// is told elsewhere.
pub(super) fn part<T: DeserializeOwned>(object: &Value, name: &str) -> Option<T> {
    serde_json::from_value(object.get(name)?.clone()).ok()
}

/// As [`part`], with the default where the member is absent.
pub(super) fn part_or_default<T: DeserializeOwned + Default>(
    object: &Value,
    name: &str,
) -> Option<T> {
    match object.get(name) {
        Some(_) => part(object, name),
        None => Some(T::default()),
    }
}

/// A name or id of CloudStack's.
pub(super) fn selector(field: &str, selector: &Selector, findings: &mut Findings) {
    match selector {
        Selector::Name(name) => filled(&format!("{field}.name"), name, findings),
        Selector::Id(id) => identifier(&format!("{field}.id"), id, findings),
    }
}

/// A text with something in it and no space around it.
pub(super) fn filled(field: &str, text: &str, findings: &mut Findings) {
    if text.trim().is_empty() {
        findings.invalid(field, text, ("empty", "write it out, or remove the field"));
    } else if text.trim() != text {
        let why = (
            "a space at an end",
            "remove the space: CloudStack would compare it",
        );
        findings.invalid(field, text, why);
    }
    sendable(field, text, findings);
}

/// A text that CloudStack takes as a parameter: it answers 431 to others.
pub(super) fn sendable(field: &str, text: &str, findings: &mut Findings) {
    if text.len() > PARAMETER_MAX {
        let why = (format!("more than {PARAMETER_MAX} bytes"), "shorten it");
        findings.add(ErrorKind::FieldValueTooLong, field, text, why);
    }
    if text.contains(char::is_control) {
        let why = ("a control character", "write it on one line, without tabs");
        findings.invalid(field, text, why);
    }
}

/// An id: no space at all.
pub(super) fn identifier(field: &str, text: &str, findings: &mut Findings) {
    if text.is_empty() {
        findings.invalid(
            field,
            text,
            ("empty", "write the id as CloudStack shows it"),
        );
    } else if text.contains(char::is_whitespace) {
        let why = ("a space in an id", "write the id as CloudStack shows it");
        findings.invalid(field, text, why);
    }
}

/// The name of an object in the same namespace.
pub(super) fn reference(field: &str, name: &str, findings: &mut Findings) {
    if !is_dns_name(name) {
        let remedy = "write the object's `metadata.name`: a-z, 0-9 and -";
        findings.invalid(field, name, ("not the name of an object", remedy));
    }
}

/// A length of time within limits.
pub(super) fn within(
    field: &str,
    duration: Duration,
    (least, most): (Std, Std),
    findings: &mut Findings,
) {
    let (least, most) = (Duration::from(least), Duration::from(most));
    if duration < least || duration > most {
        let why = (
            "out of range",
            format!("write a time from {least} to {most}"),
        );
        findings.invalid(field, &duration, why);
    }
}

/// A number within limits.
pub(super) fn count(field: &str, number: u32, (least, most): (u32, u32), findings: &mut Findings) {
    if number < least || number > most {
        let why = (
            "out of range",
            format!("write a number from {least} to {most}"),
        );
        findings.invalid(field, &number, why);
    }
}

/// An http or https URL; the text is not repeated where it may hold a password.
pub(super) fn url(field: &str, text: &str, findings: &mut Findings) -> Option<Url> {
    let url = Url::parse(text).ok();
    let url = url.filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    if url.is_none() || text.contains(char::is_whitespace) {
        let shown = if text.contains('@') {
            Value::Null
        } else {
            text.into()
        };
        let why = (
            "not an http or https URL",
            "write it like https://host.example.net/path",
        );
        findings.add(ErrorKind::FieldValueInvalid, field, &shown, why);
        return None;
    }
    url
}

/// Whether a URL carries a user's name or password.
pub(super) fn has_credentials(url: &Url) -> bool {
    !url.username().is_empty() || url.password().is_some()
}

/// Whether a URL leads no further than this computer.
pub(super) fn is_local(url: &Url) -> bool {
    match url.host() {
        Some(Host::Domain(name)) => name == "localhost" || name.ends_with(".localhost"),
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}
