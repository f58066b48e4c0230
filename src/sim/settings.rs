//! Settings of a simulator that runs: the management server's by CloudStack's names, and a few of
//! its own.

use serde_json::{Map, Value};

use super::Profile;
use super::fields::{Fields, Wrong, no_such};
use super::world::{Settings, World};

/// The largest number that a setting may have: a year in milliseconds.
const NUMBER_MAX: i64 = 31_536_000_000;

/// The setting that is no field of [`Settings`].
const PROFILE: &str = "profile";

/// Settings that may be less than nothing.
const SIGNED: &[&str] = &["clock.skew"];

/// All settings, by name.
pub(super) fn all(world: &World) -> Map<String, Value> {
    let mut all: Map<String, Value> = members(&world.settings)
        .into_iter()
        .map(|(name, value)| (name.replace('_', "."), value))
        .collect();
    all.insert(PROFILE.to_owned(), world.profile.to_string().into());
    all
}

/// Settings of this simulator, which no management server has.
const OWN: &[&str] = &[
    "clock.skew",
    "guest.cidr.loopback",
    "host.cpu.mhz",
    "host.memory.mib",
    PROFILE,
    "webhooks.to.loopback",
];

/// The settings that a management server has, by name.
pub(super) fn of_the_server(world: &World) -> Map<String, Value> {
    let mut all = all(world);
    all.retain(|name, _| !OWN.contains(&name.as_str()));
    all
}

fn members(settings: &Settings) -> Map<String, Value> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(members)) => members,
        Ok(_) | Err(_) => Map::new(),
    }
}

/// Whether these settings can be made.
pub(super) fn check(fields: Fields) -> Result<(), Wrong> {
    changed(&Settings::default(), fields).map(|_| ())
}

/// Changes some; the answer says which.
pub(super) fn change(world: &mut World, fields: Fields) -> Result<String, Wrong> {
    let (settings, profile, told) = changed(&world.settings, fields)?;
    world.settings = settings;
    if let Some(profile) = profile {
        world.profile = profile;
    }
    Ok(told.join(", "))
}

type Changed = (Settings, Option<Profile>, Vec<String>);

fn changed(settings: &Settings, mut fields: Fields) -> Result<Changed, Wrong> {
    let mut members = members(settings);
    let mut profile = None;
    let mut told = Vec::new();
    for (name, value) in fields.rest() {
        if name == PROFILE {
            let word = value.as_str().unwrap_or_default();
            profile = Some(
                word.parse()
                    .map_err(|error: String| fields.wrong(&name, error))?,
            );
            told.push(format!("{name} is {word}"));
            continue;
        }
        let Some(old) = members.get_mut(&name.replace('.', "_")) else {
            return Err(unknown(settings, &fields, &name));
        };
        let new = read(old, &value, SIGNED.contains(&name.as_str()));
        *old = new.map_err(|right| fields.wrong(&name, format!("{value} is not {right}")))?;
        told.push(format!("{name} is {old}"));
    }
    let settings = serde_json::from_value(members.into())
        .map_err(|error| fields.wrong("settings", error.to_string()))?;
    Ok((settings, profile, told))
}

fn unknown(settings: &Settings, fields: &Fields, name: &str) -> Wrong {
    let mut known: Vec<String> = members(settings)
        .keys()
        .map(|name| name.replace('_', "."))
        .collect();
    known.push(PROFILE.to_owned());
    let known: Vec<&str> = known.iter().map(String::as_str).collect();
    fields.wrong(name, no_such("setting", name, &known))
}

/// A new value of the same type as the old one, or what would be right.
fn read(old: &Value, new: &Value, signed: bool) -> Result<Value, String> {
    let text = new
        .as_str()
        .map_or_else(|| new.to_string(), ToOwned::to_owned);
    match old {
        Value::Bool(_) => text
            .parse::<bool>()
            .map(Value::from)
            .map_err(|_| "true or false".to_owned()),
        Value::Number(_) => {
            let least = if signed { -NUMBER_MAX } else { 0 };
            let number = text.parse::<i64>().ok();
            let number = number.filter(|number| (least..=NUMBER_MAX).contains(number));
            number
                .map(Value::from)
                .ok_or_else(|| format!("a whole number from {least} to {NUMBER_MAX}"))
        }
        _ => Ok(text.into()),
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
    use serde_json::json;

    use super::*;

    fn set(world: &mut World, value: Value) -> Result<String, String> {
        let fields = Fields::of("", value).unwrap();
        change(world, fields).map_err(|wrong| wrong.to_string())
    }

    #[test]
    fn settings_are_changed_by_cloudstacks_names() {
        let mut world = World::new(Profile::Lab, 1, Timestamp::UNIX_EPOCH);
        let told = set(
            &mut world,
            json!({"expunge.delay": "60", "allow.user.view.destroyed.vm": true, "profile": "instant", "clock.skew": -90}),
        );
        assert_eq!(
            told.unwrap(),
            "allow.user.view.destroyed.vm is true, clock.skew is -90, expunge.delay is 60, profile is instant"
        );
        assert_eq!(world.settings.expunge_delay, 60);
        assert!(world.settings.allow_user_view_destroyed_vm);
        assert_eq!(world.profile, Profile::Instant);
        assert_eq!(all(&world)["expunge.delay"], 60);
    }

    #[test]
    fn a_setting_that_is_wrong_changes_nothing() {
        let mut world = World::new(Profile::Lab, 1, Timestamp::UNIX_EPOCH);
        let before = all(&world);
        for (value, told) in [
            (
                json!({"expunge.delay": 5, "expunge.interval": -1}),
                "expunge.interval: -1 is not a whole number from 0 to 31536000000",
            ),
            (
                json!({"profile": "fast"}),
                "profile: fast is none of instant, lab and slow",
            ),
            (
                json!({"allow.user.view.destroyed.vm": "maybe"}),
                "allow.user.view.destroyed.vm: \"maybe\" is not true or false",
            ),
            (
                json!({"expunge.dela": 5}),
                "expunge.dela: there is no such setting; did you mean `expunge.delay`?",
            ),
        ] {
            assert_eq!(set(&mut world, value).unwrap_err(), told);
        }
        assert_eq!(all(&world), before);
    }
}
