//! People who do something clumsy now and then, in no hurry and at no fixed time.

use jiff::{SignedDuration, Timestamp};
use serde::Serialize;

use crate::sim::breakage::{self, Breakage};
use crate::sim::fields::{Fields, Wrong, unknown};
use crate::sim::world::{STRANGER, World};

/// Somebody who is at work on a cloud beside its controller.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Operator {
    /// The name of the user, whom the events name.
    pub user: String,
    /// How many deeds an hour of the simulated clock, on average.
    pub rate: f64,
    /// The kinds of deeds, by the names of breakages; one is drawn each time.
    pub does: Vec<&'static str>,
    /// How many deeds are left; no end if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// When the work is over; never by itself if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What operators can do.
pub(crate) const DEEDS: &[&str] = &[
    "stop-vm",
    "hang-guest",
    "kill-guest",
    "destroy-vm",
    "rename-vm",
    "change-offering",
    "move-nic",
    "wipe-details",
    "delete-tags",
    "close-port",
    "add-rule",
    "edit-rule",
    "renumber-rule",
    "disable-nat",
    "release-address",
];

/// What an operator does of whom nothing else is said: he stops, destroys and edits.
const USUAL: &[&str] = &[
    "stop-vm",
    "destroy-vm",
    "delete-tags",
    "edit-rule",
    "disable-nat",
];

/// Reads an operator; times are counted from `now`.
pub(crate) fn operator(mut fields: Fields, now: Timestamp) -> Result<Operator, Wrong> {
    let user = fields.text("user")?.unwrap_or_else(|| STRANGER.to_owned());
    let rate = fields.number("rate", 0.001..=3_600.0)?;
    let rate =
        rate.ok_or_else(|| fields.wrong("rate", "is missing: write rate: 6 for six an hour"))?;
    let does = match fields.texts("does")? {
        None => USUAL.to_vec(),
        Some(names) => names
            .iter()
            .map(|name| {
                deed(name).ok_or_else(|| {
                    fields.wrong("does", unknown(name, "deed of an operator", DEEDS))
                })
            })
            .collect::<Result<_, _>>()?,
    };
    if does.is_empty() {
        return Err(fields.wrong(
            "does",
            format!("is empty: choose from {}", DEEDS.join(", ")),
        ));
    }
    let operator = Operator {
        user,
        rate,
        does,
        count: fields.whole("count", 1..=u32::MAX)?,
        until: fields.moment("until", now)?,
    };
    if operator.until.is_some_and(|until| until <= now) {
        return Err(fields.wrong("until", "is over already: choose a later time"));
    }
    fields.end()?;
    Ok(operator)
}

fn deed(name: &str) -> Option<&'static str> {
    DEEDS.iter().find(|known| **known == name).copied()
}

impl Operator {
    /// When the next deed is due after `now`: somewhere within twice the average, and at least a
    /// second.
    pub(super) fn next(&self, world: &mut World, now: Timestamp) -> Timestamp {
        let average = 3_600_000.0 / self.rate;
        let millis = (average * 2.0 * world.chance.fraction()).max(1_000.0);
        // Bounded by the least rate there is.
        now + SignedDuration::from_millis(millis as i64)
    }

    /// Does something, and says what.
    pub(super) fn work(&self, world: &mut World) -> Result<String, String> {
        let kind = self.does[world.chance.below(self.does.len())];
        let what: Breakage = breakage::drawn(world, &self.user, kind)?;
        breakage::apply(world, &self.user, what)
    }
}
