//! What the simulator tells, as text.

use serde_json::Value;

use crate::cli::console::Console;
use crate::cli::paint::{Cell, Layout, Tone, clean, grid, row};

/// How many of the last deeds are shown.
const DEEDS_SHOWN: usize = 20;

fn text(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// A point in time without its fraction.
fn moment(value: &Value) -> String {
    let text = text(value);
    match text.split_once('.') {
        Some((seconds, _)) => format!("{seconds}Z"),
        None => text,
    }
}

fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn table(console: &Console, head: Vec<Cell>, body: Vec<Vec<Cell>>, none: &str) -> Vec<String> {
    if body.is_empty() {
        return vec![none.to_owned()];
    }
    let all: Vec<Vec<Cell>> = std::iter::once(head).chain(body).collect();
    grid(&all, Layout::new(0, console.paint))
}

fn heading(console: &Console, text: &str) -> String {
    console.paint.tone(Tone::Strong, text)
}

/// Everything that narrows a fault down, in one cell.
fn narrowed(fault: &Value) -> String {
    let names = [
        "millis",
        "code",
        "text",
        "user",
        "count",
        "skip",
        "probability",
    ];
    let plain = |name: &str| match name {
        "skip" => fault["skip"] == 0,
        "probability" => fault["probability"] == 1.0,
        name => fault[name].is_null(),
    };
    let told = names
        .iter()
        .filter(|name| !plain(name))
        .map(|name| format!("{name}={}", text(&fault[name])));
    let times = ["from", "until"]
        .into_iter()
        .filter(|name| !fault[name].is_null());
    let times = times.map(|name| format!("{name}={}", moment(&fault[name])));
    told.chain(times).collect::<Vec<_>>().join(" ")
}

pub(super) fn faults(console: &Console, faults: &Value) -> Vec<String> {
    let body = rows(faults).map(|fault| {
        let command = fault["command"].as_str().unwrap_or("any");
        row![
            text(&fault["id"]),
            text(&fault["kind"]),
            command,
            text(&fault["struck"]),
            narrowed(fault)
        ]
    });
    let head = row!["ID", "KIND", "COMMAND", "STRUCK", "NARROWED DOWN"];
    table(console, head, body.collect(), "no fault is waiting")
}

pub(super) fn kinds(console: &Console, kinds: &Value) -> Vec<String> {
    let body = rows(kinds).map(|kind| row![text(&kind["kind"]), text(&kind["does"])]);
    table(
        console,
        row!["KIND", "WHAT HAPPENS"],
        body.collect(),
        "there are none",
    )
}

pub(super) fn breakages(console: &Console, kinds: &Value) -> Vec<String> {
    let body = rows(kinds).map(|kind| {
        row![
            text(&kind["what"]),
            text(&kind["fields"]),
            text(&kind["does"])
        ]
    });
    table(
        console,
        row!["WHAT", "FIELDS", "WHAT HAPPENS"],
        body.collect(),
        "there are none",
    )
}

pub(super) fn operators(console: &Console, operators: &Value) -> Vec<String> {
    let body = rows(operators).map(|operator| {
        row![
            text(&operator["id"]),
            text(&operator["user"]),
            text(&operator["rate"]),
            text(&operator["done"]),
            moment(&operator["next"]),
            moment(&operator["until"]),
            text(&operator["does"]),
        ]
    });
    let head = row!["ID", "USER", "AN HOUR", "DONE", "NEXT", "UNTIL", "DOES"];
    table(console, head, body.collect(), "no operator is at work")
}

pub(super) fn scenarios(console: &Console, scenarios: &Value) -> Vec<String> {
    let body =
        rows(scenarios).map(|scenario| row![text(&scenario["name"]), text(&scenario["about"])]);
    table(
        console,
        row!["NAME", "ABOUT"],
        body.collect(),
        "there are none",
    )
}

pub(super) fn playing(console: &Console, told: &Value) -> Vec<String> {
    let body = rows(&told["playing"]).map(|play| {
        let left = format!("{}/{}", text(&play["left"]), text(&play["steps"]));
        row![
            text(&play["id"]),
            text(&play["name"]),
            moment(&play["began"]),
            left,
            moment(&play["next"])
        ]
    });
    let head = row!["ID", "SCENARIO", "BEGAN", "LEFT", "NEXT"];
    let mut lines = table(console, head, body.collect(), "no scenario is being played");
    let journal: Vec<&Value> = rows(&told["journal"]).collect();
    let shown = journal.len().saturating_sub(DEEDS_SHOWN);
    if !journal.is_empty() {
        lines.push(String::new());
        let body = journal[shown..].iter().map(|entry| {
            let what = text(&entry["what"]);
            let tone = match what.starts_with("not done") {
                true => Tone::Dim,
                false => Tone::Plain,
            };
            row![
                moment(&entry["at"]),
                text(&entry["by"]),
                Cell::new(what, tone)
            ]
        });
        lines.extend(table(console, row!["AT", "BY", "WHAT"], body.collect(), ""));
    }
    lines
}

pub(super) fn settings(console: &Console, settings: &Value) -> Vec<String> {
    let members = settings.as_object().into_iter().flatten();
    let body = members.map(|(name, value)| row![name, text(value)]);
    table(
        console,
        row!["SETTING", "VALUE"],
        body.collect(),
        "there are none",
    )
}

pub(super) fn state(console: &Console, state: &Value) -> Vec<String> {
    let mut lines = vec![format!(
        "{} {}   {} {}",
        heading(console, "now"),
        moment(&state["now"]),
        heading(console, "profile"),
        clean(&text(&state["profile"])),
    )];
    let mut part = |name: &str, head: Vec<Cell>, body: Vec<Vec<Cell>>| {
        lines.push(String::new());
        lines.push(heading(console, name));
        lines.extend(table(console, head, body, "none"));
    };
    let vms = rows(&state["vms"]).map(|vm| {
        let (state, guest) = (text(&vm["state"]), text(&vm["guest"]));
        let guest = match (state.as_str(), guest.as_str()) {
            ("Running", "hung" | "dead") => Cell::new(guest, Tone::Bad),
            ("Running", _) => Cell::from(guest),
            _ => Cell::from(""),
        };
        row![
            text(&vm["name"]),
            Cell::word(&state),
            guest,
            text(&vm["ip"]),
            text(&vm["public"])
        ]
    });
    let head = row!["NAME", "STATE", "GUEST", "ADDRESS", "PUBLIC"];
    part("VMs", head, vms.collect());
    let tiers = rows(&state["tiers"]).map(|tier| {
        row![
            text(&tier["name"]),
            text(&tier["state"]),
            text(&tier["cidr"]),
            text(&tier["acl"])
        ]
    });
    part(
        "Networks",
        row!["NAME", "STATE", "CIDR", "ACL"],
        tiers.collect(),
    );
    let addresses = rows(&state["addresses"]).map(|address| {
        let to = match address["sourcenat"] == true {
            true => "source NAT".to_owned(),
            false => text(&address["vm"]),
        };
        row![text(&address["ip"]), text(&address["state"]), to]
    });
    part(
        "Addresses",
        row!["ADDRESS", "STATE", "LEADS TO"],
        addresses.collect(),
    );
    let jobs = rows(&state["jobs"]).map(|job| {
        row![
            text(&job["id"]),
            text(&job["command"]),
            text(&job["instance"])
        ]
    });
    part("Jobs", row!["ID", "COMMAND", "INSTANCE"], jobs.collect());
    lines
}
