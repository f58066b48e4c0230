//! Descriptions of the kinds that need no thought: accounts, secrets, and whatever else.

use jiff::Timestamp;
use serde_json::Value;

use super::{
    super::{
        age::between,
        page::Page,
        paint::{Cell, Paint, Tone, row},
    },
    parts,
};
use crate::types::{account::CloudAccount, core::Event, core::Secret, meta::Object};

/// The description of an account as of `now`.
pub(super) fn account(
    account: &CloudAccount,
    events: &[Event],
    now: Timestamp,
    paint: Paint,
) -> String {
    let mut page = Page::new(paint);
    let status = account.status.clone().unwrap_or_default();
    parts::metadata(&mut page, &account.metadata, now);
    page.field("Endpoint", &account.spec.endpoint);
    page.field(
        "Zone",
        account.spec.zone.as_deref().unwrap_or("the only one"),
    );
    page.field_if("Project", account.spec.project.as_ref());
    page.field("Keys", format!("secret {}", account.spec.secret_ref.name));
    page.field_if("CloudStack", status.version.as_ref());
    page.field_if(
        "VMs",
        status.virtual_machines.map(|count| count.to_string()),
    );
    let looked = status
        .last_look
        .map(|at| format!("{} ago", between(at, now)));
    page.field("Last look", looked.unwrap_or_else(|| "never".to_owned()));
    if let Some(rights) = status.rights {
        let may = |allowed: bool| if allowed { "yes" } else { "no" };
        page.field("May expunge", may(rights.expunge));
        page.field("Sees destroyed", may(rights.see_destroyed));
    }
    parts::conditions(&mut page, &status.conditions, now);
    parts::events(&mut page, events, now);
    page.finish()
}

/// The description of a secret: sizes, never values.
pub(super) fn secret(secret: &Secret, now: Timestamp, paint: Paint) -> String {
    let mut page = Page::new(paint);
    parts::metadata(&mut page, &secret.metadata, now);
    page.field("Type", &secret.kind_of_secret);
    let rows = secret
        .data
        .iter()
        .map(|(key, value)| row![key, format!("{} bytes", decoded_length(value.expose()))]);
    page.table("Data", &["KEY", "SIZE"], rows.collect());
    page.finish()
}

/// Bytes that a base64 text stands for.
fn decoded_length(base64: &str) -> usize {
    base64.trim_end_matches('=').len() * 3 / 4
}

/// The description of any object: its metadata, then its members as YAML.
pub(super) fn any(object: &Object, events: &[Event], now: Timestamp, paint: Paint) -> String {
    let mut page = Page::new(paint);
    parts::metadata(&mut page, &object.metadata, now);
    page.field("Kind", Cell::new(&object.kind, Tone::Plain));
    for (member, value) in &object.body {
        page.block(member, &yaml_lines(value));
    }
    parts::events(&mut page, events, now);
    page.finish()
}

fn yaml_lines(value: &Value) -> Vec<String> {
    let text = serde_yaml::to_string(value).unwrap_or_else(|_| value.to_string());
    text.lines().map(str::to_owned).collect()
}
