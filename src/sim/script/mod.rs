//! Scripts of failures: what is done to a cloud by itself as the simulated clock goes on.
//!
//! A [`Scenario`] is a list of steps against time, written in YAML: faults, breakages, operators and
//! settings. An [`Operator`] is a person who does something clumsy now and then. Both are in the
//! [`Agenda`], which fires what falls due before the world moves past it; all luck is the world's.

mod agenda;
mod operator;
mod read;

use std::time::Duration;

use serde_json::Value;

pub(crate) use agenda::Agenda;
#[cfg(test)]
pub(crate) use operator::DEEDS;
pub use operator::Operator;
pub(crate) use operator::operator;

use super::fields::{Wrong, unknown};

/// A script of failures.
#[derive(Clone, Debug, PartialEq)]
pub struct Scenario {
    /// Its name.
    pub name: String,
    /// What it is a rehearsal of.
    pub about: String,
    steps: Vec<Step>,
}

/// Something that is done at a time, or again and again.
#[derive(Clone, Debug, PartialEq)]
struct Step {
    /// How long after the beginning.
    at: Duration,
    /// How long after each time the next one comes.
    every: Option<Duration>,
    /// How long after the beginning it is no longer done.
    until: Option<Duration>,
    deed: Deed,
}

/// What a step does. What it is about was read once, to be sure that it can be; it is read again
/// when it is done, because its times count from then.
#[derive(Clone, Debug, PartialEq)]
enum Deed {
    Fault(Value),
    Break(Value),
    Operator(Value),
    Settings(Value),
    Clear(Clear),
}

/// What is taken away.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Clear {
    Faults,
    Operators,
    Everything,
}

/// The scenarios that come with the simulator: name and text.
const SHIPPED: &[(&str, &str)] = &[
    ("bad-night", include_str!("shipped/bad-night.yaml")),
    (
        "clumsy-operator",
        include_str!("shipped/clumsy-operator.yaml"),
    ),
    ("flaky-api", include_str!("shipped/flaky-api.yaml")),
];

impl Scenario {
    /// Reads a scenario.
    ///
    /// # Errors
    /// Everything that is wrong with it, each with its place.
    pub fn parse(text: &str) -> Result<Self, Vec<Wrong>> {
        read::scenario(text)
    }

    /// The scenario of this name that comes with the simulator.
    ///
    /// # Errors
    /// There is none; the error names those there are.
    pub fn shipped(name: &str) -> Result<Self, Wrong> {
        Self::parse(Self::text_of(name)?).map_err(|wrong| wrong[0].clone())
    }

    /// The text of a scenario that comes with the simulator, to be read and copied.
    ///
    /// # Errors
    /// As [`Scenario::shipped`].
    pub fn text_of(name: &str) -> Result<&'static str, Wrong> {
        let found = SHIPPED.iter().find(|(known, _)| *known == name);
        found.map(|(_, text)| *text).ok_or_else(|| {
            let known: Vec<&str> = Self::names().collect();
            Wrong::new("name", unknown(name, "scenario", &known))
        })
    }

    /// The names of the scenarios that come with the simulator.
    pub fn names() -> impl Iterator<Item = &'static str> {
        SHIPPED.iter().map(|(name, _)| *name)
    }

    /// How long after its beginning the last of its steps is done for the first time.
    #[must_use]
    pub fn length(&self) -> Duration {
        let end = |step: &Step| step.until.unwrap_or(step.at);
        self.steps.iter().map(end).max().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_scenario_that_is_shipped_can_be_played() {
        for name in Scenario::names() {
            let scenario = Scenario::shipped(name).unwrap();
            assert_eq!(scenario.name, name);
            assert!(scenario.about.len() > 40, "{name} says what it rehearses");
        }
        let told = Scenario::shipped("badnight").unwrap_err().to_string();
        assert_eq!(
            told,
            "name: `badnight` is no scenario; did you mean `bad-night`?"
        );
    }
}
