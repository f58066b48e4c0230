//! Breakers: a kind of command that keeps failing in an account, whichever stack sends it, is
//! stopped for all of them, and tried again with a single command.
//!
//! Each subject rests between its own tries; a breaker is for what no subject can know alone: that
//! deploys fail for everybody. It is kept in memory. A controller that is started anew begins with
//! closed breakers, and what it sends is still bounded by the rests in the ledgers.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use crate::types::{
    id::JobId,
    ledger::{Failure, Ledger},
    meta::ObjectKey,
};

/// Failures in a row that open a breaker.
const FAILURES: u32 = 5;

/// Subjects among them: what fails for fewer is their own trouble.
const SUBJECTS: usize = 3;

/// How long a breaker stays open for the first time; twice as long each time that its trial fails.
const FIRST_PAUSE: Duration = Duration::from_secs(30);

/// How long it stays open at most.
const LONGEST_PAUSE: Duration = Duration::from_secs(600);

/// How long the end of a trial is waited for before somebody else may try.
const TRIAL: Duration = Duration::from_secs(300);

/// Reasons of failures that say something about the account and not about one subject.
const COUNTED: [&str; 4] = [
    "InsufficientCapacity",
    "JobFailed",
    "OutcomeUnknown",
    "Unauthorized",
];

/// The breakers of one account, by command. A command without one has not failed lately.
#[derive(Debug, Default)]
pub(super) struct Breakers(BTreeMap<String, Breaker>);

#[derive(Debug, Default)]
struct Breaker {
    /// Failures with no success between.
    failures: u32,
    /// Whose they were.
    subjects: BTreeSet<(ObjectKey, String)>,
    /// What the last one said.
    last: String,
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    since: Timestamp,
    /// Until when nothing is sent.
    until: Timestamp,
    pause: Duration,
    trial: Option<Trial>,
    /// Whose commands were held back.
    waiting: BTreeSet<ObjectKey>,
}

/// Somebody tries whether it works again.
#[derive(Debug)]
struct Trial {
    key: ObjectKey,
    since: Timestamp,
    /// Whether the command is on its way: a round that comes to nothing sends none.
    sent: bool,
}

/// What became of a command that was recorded.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Outcome {
    command: String,
    subject: String,
    /// The reason and CloudStack's words, where it failed.
    failed: Option<(String, String)>,
}

impl Outcome {
    /// The commands that a ledger waited for and a later one does not.
    pub(super) fn between(before: &Ledger, after: &Ledger) -> Vec<Self> {
        let open = |job: &JobId| after.pending.iter().any(|pending| pending.job == *job);
        let ended = before.pending.iter().filter(|pending| !open(&pending.job));
        ended
            .map(|pending| {
                let (subject, command) = (&pending.subject, pending.action.command());
                let new = |failure: &&Failure| {
                    failure.command == command && before.failures.get(subject) != Some(failure)
                };
                let failure = after.failures.get(subject).filter(new);
                Self {
                    command: command.to_owned(),
                    subject: subject.clone(),
                    failed: failure.map(|one| (one.reason.clone(), one.message.clone())),
                }
            })
            .collect()
    }
}

/// A breaker that opened or closed.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Turned {
    /// The command.
    pub(super) command: String,
    /// Why it is open now, for people; nothing where it is closed.
    pub(super) why: Option<String>,
    /// Whose commands were held back until now.
    pub(super) waiting: BTreeSet<ObjectKey>,
}

/// Why a command is not sent now, and when to ask again at the latest.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Held {
    /// A sentence for people.
    pub(super) why: String,
    /// When to ask again at the latest.
    pub(super) again: Timestamp,
}

impl Breakers {
    /// Takes in what became of an object's commands; gives the breakers that opened or closed.
    pub(super) fn learn(
        &mut self,
        key: &ObjectKey,
        outcomes: &[Outcome],
        now: Timestamp,
    ) -> Vec<Turned> {
        let turned = outcomes.iter().filter_map(|outcome| match &outcome.failed {
            None => self.succeeded(&outcome.command),
            Some((reason, message)) if COUNTED.contains(&reason.as_str()) => {
                self.failed(key, outcome, message, now)
            }
            Some(_) => None,
        });
        turned.collect()
    }

    fn succeeded(&mut self, command: &str) -> Option<Turned> {
        let open = self.0.remove(command)?.open?;
        Some(Turned {
            command: command.to_owned(),
            why: None,
            waiting: open.waiting,
        })
    }

    fn failed(
        &mut self,
        key: &ObjectKey,
        outcome: &Outcome,
        message: &str,
        now: Timestamp,
    ) -> Option<Turned> {
        let breaker = self.0.entry(outcome.command.clone()).or_default();
        message.clone_into(&mut breaker.last);
        breaker.failures = breaker.failures.saturating_add(1);
        if breaker.subjects.len() < SUBJECTS {
            breaker
                .subjects
                .insert((key.clone(), outcome.subject.clone()));
        }
        let pause = match &breaker.open {
            None if breaker.failures < FAILURES || breaker.subjects.len() < SUBJECTS => {
                return None;
            }
            None => FIRST_PAUSE,
            // What was sent before it opened ends meanwhile.
            Some(open) if open.trial.as_ref().is_none_or(|trial| trial.key != *key) => return None,
            Some(open) => (open.pause * 2).min(LONGEST_PAUSE),
        };
        let former = breaker.open.take();
        breaker.open = Some(Open {
            since: former.as_ref().map_or(now, |open| open.since),
            until: now + pause,
            pause,
            trial: None,
            waiting: former.map(|open| open.waiting).unwrap_or_default(),
        });
        Some(Turned {
            command: outcome.command.clone(),
            why: breaker.why(&outcome.command),
            waiting: BTreeSet::new(),
        })
    }

    /// For each command that an object is about to record, why it is not to be sent, if it is not.
    /// Where a breaker's pause is over, the first command that comes is let through to try.
    pub(super) fn admit(
        &mut self,
        key: &ObjectKey,
        commands: &[&str],
        now: Timestamp,
    ) -> Vec<Option<Held>> {
        for open in self
            .0
            .values_mut()
            .filter_map(|breaker| breaker.open.as_mut())
        {
            let idle = |trial: &mut Trial| trial.key == *key && !trial.sent;
            open.trial.take_if(idle);
        }
        let held = |command: &&str| self.0.get_mut(*command)?.admit(key, command, now);
        commands.iter().map(held).collect()
    }

    /// An object's command that was let through is on its way.
    pub(super) fn sent(&mut self, key: &ObjectKey, command: &str) {
        let open = self
            .0
            .get_mut(command)
            .and_then(|breaker| breaker.open.as_mut());
        let trial = open.and_then(|open| open.trial.as_mut());
        if let Some(trial) = trial.filter(|trial| trial.key == *key) {
            trial.sent = true;
        }
    }

    /// Open breakers, with the command and why.
    pub(super) fn open(&self) -> Vec<(String, String)> {
        let open = |(command, breaker): (&String, &Breaker)| {
            Some((command.clone(), breaker.why(command)?))
        };
        self.0.iter().filter_map(open).collect()
    }
}

impl Breaker {
    fn admit(&mut self, key: &ObjectKey, command: &str, now: Timestamp) -> Option<Held> {
        let why = self.why(command)?;
        let open = self.open.as_mut()?;
        let tried = open.trial.as_ref().map(|trial| trial.since + TRIAL);
        let again = tried.unwrap_or(open.until);
        if again > now {
            open.waiting.insert(key.clone());
            return Some(Held { why, again });
        }
        open.trial = Some(Trial {
            key: key.clone(),
            since: now,
            sent: false,
        });
        None
    }

    /// Why it is open, if it is.
    fn why(&self, command: &str) -> Option<String> {
        let open = self.open.as_ref()?;
        let next = match &open.trial {
            None => format!(
                "the next is tried at {}",
                open.until.strftime("%H:%M:%S UTC")
            ),
            Some(Trial { key, .. }) => {
                format!(
                    "{}/{} tries whether it works again",
                    key.namespace, key.name
                )
            }
        };
        Some(format!(
            "{command} failed {} times in a row, for several machines, since {}: {}; none is sent, \
             and {next}",
            self.failures,
            open.since.strftime("%H:%M:%S UTC"),
            self.last
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::meta::Kind;

    const DEPLOY: &str = "deployVirtualMachine";

    fn key(name: &str) -> ObjectKey {
        ObjectKey::new(Kind::ClearwaterStack, "default", name)
    }

    fn outcome(subject: &str, failed: Option<&str>) -> Outcome {
        Outcome {
            command: DEPLOY.to_owned(),
            subject: subject.to_owned(),
            failed: failed.map(|reason| (reason.to_owned(), "no room".to_owned())),
        }
    }

    fn at(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    /// Whether a command is let through, which is then sent.
    fn sends(breakers: &mut Breakers, name: &str, now: i64) -> bool {
        let free = breakers.admit(&key(name), &[DEPLOY], at(now))[0].is_none();
        if free {
            breakers.sent(&key(name), DEPLOY);
        }
        free
    }

    /// Breakers of which the one of deploys has just opened, at the epoch.
    fn opened() -> Breakers {
        let mut breakers = Breakers::default();
        let subjects = ["a", "b", "c", "a", "b"];
        let mut turned = Vec::new();
        for subject in subjects {
            let failed = outcome(subject, Some("InsufficientCapacity"));
            assert_eq!(turned, [], "before {subject}");
            assert!(sends(&mut breakers, "ims", 0));
            turned = breakers.learn(&key("ims"), &[failed], at(0));
        }
        let why = turned[0].why.as_deref().unwrap();
        assert!(
            why.contains("failed 5 times in a row") && why.contains("no room"),
            "{why}"
        );
        breakers
    }

    #[test]
    fn it_opens_after_failures_in_a_row_of_several_subjects() {
        let breakers = opened();
        assert_eq!(breakers.open().len(), 1);
        let mut one = Breakers::default();
        for _ in 0..50 {
            let failed = outcome("a", Some("JobFailed"));
            assert_eq!(one.learn(&key("ims"), &[failed], at(0)), []);
        }
        let mut mixed = Breakers::default();
        for subject in ["a", "b", "c", "d", "e", "f", "g"] {
            let failed = outcome(subject, Some("JobFailed"));
            let worked = outcome(subject, None);
            assert_eq!(mixed.learn(&key("ims"), &[failed, worked], at(0)), []);
        }
        let mut refused = Breakers::default();
        for subject in ["a", "b", "c", "d", "e", "f", "g"] {
            let failed = outcome(subject, Some("Rejected"));
            assert_eq!(refused.learn(&key("ims"), &[failed], at(0)), []);
        }
    }

    #[test]
    fn one_command_tries_and_closes_it_or_opens_it_for_longer() {
        let mut breakers = opened();
        let other = key("other");
        let held = breakers.admit(&other, &[DEPLOY, "startVirtualMachine"], at(29));
        assert_eq!(held[0].as_ref().unwrap().again, at(30));
        assert_eq!(held[1], None);
        let held = breakers.admit(&other, &[DEPLOY, DEPLOY], at(30));
        assert!(
            held[0].is_none() && held[1].is_some(),
            "one is enough: {held:?}"
        );
        let held = breakers.admit(&other, &[DEPLOY], at(30));
        assert_eq!(held, [None], "a round that came to nothing is no trial");
        breakers.sent(&other, DEPLOY);
        assert!(!sends(&mut breakers, "other", 31) && !sends(&mut breakers, "ims", 31));
        // What ims sent before says nothing about now.
        let late = outcome("c", Some("JobFailed"));
        assert_eq!(breakers.learn(&key("ims"), &[late], at(32)), []);
        let failed = outcome("z", Some("InsufficientCapacity"));
        assert_eq!(breakers.learn(&other, &[failed], at(40)).len(), 1);
        assert!(!sends(&mut breakers, "ims", 99) && sends(&mut breakers, "ims", 100));
        let turned = breakers.learn(&key("ims"), &[outcome("a", None)], at(101));
        let all = [key("ims"), other].into();
        assert_eq!((turned[0].why.as_ref(), &turned[0].waiting), (None, &all));
        assert_eq!(breakers.open(), []);
        assert!(sends(&mut breakers, "other", 101));
    }

    #[test]
    fn a_trial_that_nobody_hears_of_ends_by_itself() {
        let mut breakers = opened();
        assert!(sends(&mut breakers, "gone", 30));
        assert!(!sends(&mut breakers, "ims", 329) && sends(&mut breakers, "ims", 330));
    }

    #[test]
    fn the_pause_has_a_limit() {
        let mut breakers = opened();
        for number in 1..20 {
            assert!(sends(&mut breakers, "ims", 600 * number), "{number}");
            let failed = outcome("a", Some("JobFailed"));
            breakers.learn(&key("ims"), &[failed], at(600 * number));
        }
        let held = breakers.admit(&key("ims"), &[DEPLOY], at(600 * 19));
        assert_eq!(held[0].as_ref().unwrap().again, at(600 * 20));
    }
}
