//! Scenarios as people write them: YAML, all of whose mistakes are told at once.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::{Clear, Deed, Scenario, Step, operator};
use crate::sim::fields::{Fields, Wrong, unknown};
use crate::sim::{breakage, faults, settings};

/// How long a scenario may be, in bytes and in steps: a long night of one step a minute fits ten
/// times.
const TEXT_MAX: usize = 262_144;
/// See [`TEXT_MAX`].
const STEPS_MAX: usize = 5_000;

/// What a step can do.
const DEEDS: [&str; 5] = ["fault", "break", "operator", "settings", "clear"];

pub(super) fn scenario(text: &str) -> Result<Scenario, Vec<Wrong>> {
    let one = |wrong| vec![wrong];
    if text.len() > TEXT_MAX {
        let what = format!("has {} bytes, and {TEXT_MAX} is the limit", text.len());
        return Err(one(Wrong::new("the scenario", what)));
    }
    let value: Value = serde_yaml::from_str(text)
        .map_err(|error| one(Wrong::new("the scenario", format!("is no YAML: {error}"))))?;
    let mut fields = Fields::of("", value).map_err(one)?;
    let mut wrong = Vec::new();
    let told = |wrongs: &mut Vec<Wrong>, read: Result<String, Wrong>| {
        read.unwrap_or_else(|error| {
            wrongs.push(error);
            String::new()
        })
    };
    let name = told(&mut wrong, fields.needed("name", "bad-night"));
    let about = told(
        &mut wrong,
        fields.text("about").map(Option::unwrap_or_default),
    );
    let steps = match fields.value("steps") {
        Some(Value::Array(steps)) if (1..=STEPS_MAX).contains(&steps.len()) => steps,
        _ => {
            let what = format!(
                "write a list of 1 to {STEPS_MAX} steps, like - {{at: 30s, break: {{what: stop-vm, vm: any}}}}"
            );
            wrong.push(fields.wrong("steps", what));
            Vec::new()
        }
    };
    let mut read = Vec::new();
    for (place, value) in steps.into_iter().enumerate() {
        match step(&format!("steps[{place}]"), value) {
            Ok(step) => read.push(step),
            Err(error) => wrong.push(error),
        }
    }
    wrong.extend(fields.end().err());
    if !wrong.is_empty() {
        return Err(wrong);
    }
    Ok(Scenario {
        name,
        about: about.trim().to_owned(),
        steps: read,
    })
}

fn step(place: &str, value: Value) -> Result<Step, Wrong> {
    let mut fields = Fields::of(place, value)?;
    let at = fields.span("at")?.unwrap_or_default();
    let every = fields.span("every")?;
    if every.is_some_and(|every| every < Duration::from_secs(1)) {
        return Err(fields.wrong("every", "is shorter than a second, the least there is"));
    }
    let until = fields.span("until")?;
    if until.is_some_and(|until| until <= at) {
        return Err(fields.wrong("until", "is not after `at`: both count from the beginning"));
    }
    if until.is_some() && every.is_none() {
        let what = "needs `every` beside it; what a fault or operator does until when is written inside of it";
        return Err(fields.wrong("until", what));
    }
    let named: Vec<&str> = DEEDS.into_iter().filter(|name| fields.has(name)).collect();
    let deed = match named.as_slice() {
        ["fault"] => Deed::Fault(inner(&mut fields, "fault", fault)?),
        ["break"] => Deed::Break(inner(&mut fields, "break", broken)?),
        ["operator"] => Deed::Operator(inner(&mut fields, "operator", hired)?),
        ["settings"] => Deed::Settings(inner(&mut fields, "settings", settings::check)?),
        ["clear"] => Deed::Clear(clear(&mut fields)?),
        [] => {
            let what = format!("does nothing: write one of {}", DEEDS.join(", "));
            return Err(Wrong::new(place, what));
        }
        several => {
            let what = format!("does {}: make a step of each", several.join(" and "));
            return Err(Wrong::new(place, what));
        }
    };
    fields.end()?;
    Ok(Step {
        at,
        every,
        until,
        deed,
    })
}

/// What a step is about, read once to see that it can be.
fn inner(
    fields: &mut Fields,
    name: &'static str,
    check: impl Fn(Fields) -> Result<(), Wrong>,
) -> Result<Value, Wrong> {
    let value = fields.value(name).unwrap_or_default();
    check(Fields::of(&fields.at(name), value.clone())?)?;
    Ok(value)
}

fn fault(fields: Fields) -> Result<(), Wrong> {
    faults::fault(fields, Timestamp::UNIX_EPOCH).map(|_| ())
}

fn broken(mut fields: Fields) -> Result<(), Wrong> {
    breakage::breakage(&mut fields)?;
    fields.text("user")?;
    fields.end()
}

fn hired(fields: Fields) -> Result<(), Wrong> {
    operator(fields, Timestamp::UNIX_EPOCH).map(|_| ())
}

fn clear(fields: &mut Fields) -> Result<Clear, Wrong> {
    match fields.needed("clear", "faults")?.as_str() {
        "faults" => Ok(Clear::Faults),
        "operators" => Ok(Clear::Operators),
        "everything" => Ok(Clear::Everything),
        other => {
            let known = ["faults", "operators", "everything"];
            Err(fields.wrong("clear", unknown(other, "thing to clear", &known)))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_scenario_is_read_step_by_step() {
        let text = "
name: short
about: Something of each.
steps:
  - fault: {kind: lost-reply, probability: 0.1, until: 10m}
  - {at: 30s, every: 1m, until: 5m, break: {what: stop-vm, vm: any}}
  - {at: 1h30m, operator: {user: stranger, rate: 30}}
  - {at: 2h, settings: {expunge.delay: 60}}
  - {at: 3h, clear: everything}
";
        let scenario = scenario(text).unwrap();
        let at: Vec<u64> = scenario
            .steps
            .iter()
            .map(|step| step.at.as_secs())
            .collect();
        assert_eq!(at, [0, 30, 5_400, 7_200, 10_800]);
        assert_eq!(scenario.steps[1].every, Some(Duration::from_secs(60)));
        assert_eq!(scenario.steps[4].deed, Deed::Clear(Clear::Everything));
        assert_eq!(scenario.length(), Duration::from_secs(10_800));
    }

    #[test]
    fn all_mistakes_are_told_at_once_with_their_places() {
        let text = "
nane: x
steps:
  - {at: soon, clear: faults}
  - {at: 5s, until: 1m, clear: faults}
  - {every: 10ms, clear: faults}
  - {at: 5s}
  - {fault: {kind: html}, clear: faults}
  - {fault: {kind: lost-replay}}
  - {break: {what: stop-vm}}
  - {operator: {user: kim, rate: fast}}
  - {settings: {expunge.delai: 5}}
  - {clear: all}
  - {clear: faults, at: 2s, untill: 3s}
";
        let told: Vec<String> = scenario(text)
            .unwrap_err()
            .iter()
            .map(ToString::to_string)
            .collect();
        let wanted = [
            "name: is missing: write name: bad-night",
            "steps[0].at: `soon` is not a length of time up to a year, like 500ms, 90s or 1h30m",
            "steps[1].until: needs `every` beside it; what a fault or operator does until when is \
             written inside of it",
            "steps[2].every: is shorter than a second, the least there is",
            "steps[3]: does nothing: write one of fault, break, operator, settings, clear",
            "steps[4]: does fault and clear: make a step of each",
            "steps[5].fault.kind: `lost-replay` is no kind of fault; did you mean `lost-reply`?",
            "steps[6].break.vm: is missing: write vm: ims-sprout-0",
            "steps[7].operator.rate: `fast` is not a number from 0.001 to 3600",
            "steps[8].settings.expunge.delai: there is no such setting; did you mean \
             `expunge.delay`?",
            "steps[9].clear: `all` is no thing to clear; there are faults, operators, everything",
            "steps[10].untill: there is no such field; did you mean `until`?",
            "nane: there is no such field; did you mean `name`?",
        ];
        assert_eq!(told, wanted);
    }

    #[test]
    fn what_is_no_scenario_at_all_is_told() {
        let told = |text: &str| scenario(text).unwrap_err()[0].to_string();
        assert!(told("steps: [").starts_with("the scenario: is no YAML: "));
        assert_eq!(
            told("- 1"),
            "the whole: `[1]` is no object: write NAME: VALUE pairs"
        );
        assert!(told("name: x\nsteps: []").starts_with("steps: write a list of 1 to 5000 steps"));
        let long = format!("name: {}", "x".repeat(TEXT_MAX));
        assert!(told(&long).ends_with("262144 is the limit"));
    }
}
