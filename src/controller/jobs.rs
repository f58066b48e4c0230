//! The commands of an account that are on their way, and when to ask what became of them.
//!
//! A command is *in hand* until CloudStack has answered it, then it *runs* until it is seen to
//! have ended, and is *told* to its object after that. Commands of one kind for one object, like
//! the rules of a list, are told together: their effects are read off the same list, once. One
//! that others wait for ([`Command::leads`]) is told by itself.
//!
//! Pure and synchronous: the account feeds it answers, polls and the time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use jiff::Timestamp;

use super::pace::Pace;
use crate::types::{id::JobId, inventory::List, meta::ObjectKey};

/// Time after an answer before which no job is asked for: enough for a simulator that is told to
/// be instant, little beside a real job.
const FIRST_LOOK: Duration = Duration::from_millis(40);

/// How long after its expected end a job is asked for: right after it, and not right before.
const SLACK: Duration = Duration::from_millis(20);

/// Shortest time between two polls for one job.
const SHORTEST_STEP: Duration = Duration::from_millis(60);

/// Longest time between two polls for one job.
const LONGEST_STEP: Duration = Duration::from_secs(10);

/// How long an end may be kept back so that others of its kind are told with it. Seven public
/// addresses, asked for one by one, take half a second.
const TOGETHER: Duration = Duration::from_millis(600);

/// What is to be known of a command to follow it.
#[derive(Clone, Debug)]
pub(super) struct Command {
    /// Whose it is; woken when it has ended.
    pub(super) key: ObjectKey,
    /// What its time is learned by: its name, or a special case of it.
    pub(super) kind: &'static str,
    /// The lists that show what it does.
    pub(super) touches: &'static [List],
    /// Whether those lists alone tell that it has ended.
    pub(super) shown: bool,
    /// Whether other steps wait for this one, so that it is told without those of its kind.
    pub(super) leads: bool,
}

impl Command {
    /// Those that are told together. In a quick cloud everything of an object is one group: it has
    /// ended before the last of it is answered.
    fn group(&self, pace: &Pace) -> Group<'_> {
        match pace.quick() {
            true => (&self.key, "", false),
            false => (&self.key, self.kind, self.leads),
        }
    }

    /// Whether the lists are asked instead of the job, at first. Where one waits for nothing else,
    /// that is a request less on the way of all others; where jobs end at once, it always is.
    fn looks(&self, pace: &Pace) -> bool {
        self.shown && (self.leads || pace.quick())
    }
}

#[derive(Debug)]
enum Stage {
    InHand,
    Running {
        since: Timestamp,
        /// When to ask for it next.
        next: Timestamp,
        /// Whether it was seen running when it was expected to have ended.
        overdue: bool,
        looked: bool,
    },
    /// It did all it does when it was answered.
    Done(Timestamp),
    /// CloudStack no longer listed its job.
    Ended(Timestamp),
    /// That it ended was told, and its object has not settled it yet. One that CloudStack does not
    /// know may still be on its way to it: it is looked for at each round, and not followed anew,
    /// which would make it look as if it ran.
    Told,
}

impl Stage {
    /// When it was over, if that is still to be told.
    fn over(&self) -> Option<Timestamp> {
        match self {
            Self::Done(at) | Self::Ended(at) => Some(*at),
            Self::InHand | Self::Running { .. } | Self::Told => None,
        }
    }
}

/// Commands of one object that are told together.
type Group<'a> = (&'a ObjectKey, &'a str, bool);

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Jobs {
    commands: BTreeMap<JobId, (Command, Stage)>,
    pace: Pace,
}

/// What there is to do at a certain time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ask {
    /// Tell what has ended.
    Tell,
    /// Look whether the lists show it, without asking for the jobs.
    Look,
    /// Ask which jobs are in flight.
    Poll,
}

/// Who is to be woken, and what has to be read again before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) keys: BTreeSet<ObjectKey>,
    pub(super) lists: BTreeSet<List>,
}

impl Told {
    fn add(&mut self, command: &Command) {
        self.keys.insert(command.key.clone());
        self.lists.extend(command.touches);
    }
}

impl Jobs {
    /// Takes a command that is about to be sent.
    pub(super) fn hand_over(&mut self, job: JobId, command: Command) {
        self.commands.insert(job, (command, Stage::InHand));
    }

    /// Follows a job that is not known yet: one of an earlier life of the controller.
    pub(super) fn follow(&mut self, job: JobId, command: Command, now: Timestamp) {
        if !self.commands.contains_key(&job) {
            let stage = self.running(&command, now);
            self.commands.insert(job, (command, stage));
        }
    }

    /// CloudStack works on the command.
    pub(super) fn started(&mut self, job: &JobId, now: Timestamp) {
        let Some((command, _)) = self.commands.get(job) else {
            return;
        };
        let stage = self.running(&command.clone(), now);
        if let Some((_, old)) = self.commands.get_mut(job) {
            *old = stage;
        }
    }

    fn running(&self, command: &Command, now: Timestamp) -> Stage {
        let expected = (self.pace.expected(command.kind) + SLACK).max(FIRST_LOOK);
        let early = self.pace.would_tell(command.kind) || self.pace.quick();
        Stage::Running {
            since: now,
            next: now + if early { FIRST_LOOK } else { expected },
            overdue: false,
            looked: false,
        }
    }

    /// The command did all it does when it was answered.
    pub(super) fn done(&mut self, job: &JobId, now: Timestamp) {
        if let Some((_, stage)) = self.commands.get_mut(job) {
            *stage = Stage::Done(now);
        }
    }

    /// Nobody needs to know any more.
    pub(super) fn forget(&mut self, job: &JobId) {
        self.commands.remove(job);
    }

    /// A look showed the command's effect.
    pub(super) fn settled(&mut self, job: &JobId, now: Timestamp) {
        if let Some((command, Stage::Running { since, .. })) = self.commands.remove(job) {
            let took = between(since, now);
            if took < self.pace.expected(command.kind) {
                self.pace.took(command.kind, took);
            }
        }
    }

    /// Commands that have not been told yet: to their objects they are on their way.
    pub(super) fn untold(&self) -> impl Iterator<Item = &JobId> {
        let untold = |(_, (_, stage)): &(&JobId, &(Command, Stage))| !matches!(stage, Stage::Told);
        self.commands.iter().filter(untold).map(|(job, _)| job)
    }

    /// Whether the end of the command has been told, or was never anybody's business.
    pub(super) fn told(&self, job: &JobId) -> bool {
        let command = self.commands.get(job);
        command.is_none_or(|(_, stage)| stage.over().is_none())
    }

    /// Commands without an answer.
    pub(super) fn in_hand(&self) -> usize {
        let in_hand = |(_, stage): &&(Command, Stage)| matches!(stage, Stage::InHand);
        self.commands.values().filter(in_hand).count()
    }

    /// Jobs that run, as far as is known.
    pub(super) fn len(&self) -> usize {
        let runs = |(_, stage): &&(Command, Stage)| matches!(stage, Stage::Running { .. });
        self.commands.values().filter(runs).count()
    }

    /// What to do next, and when.
    pub(super) fn next(&self) -> Option<(Timestamp, Ask)> {
        let groups = self.groups().into_values();
        groups
            .filter_map(|group| self.next_of(&group))
            .min_by_key(|(at, _)| *at)
    }

    fn groups(&self) -> BTreeMap<Group<'_>, Vec<&(Command, Stage)>> {
        let mut groups: BTreeMap<Group<'_>, Vec<_>> = BTreeMap::new();
        let untold = |entry: &&(Command, Stage)| !matches!(entry.1, Stage::Told);
        for entry in self.commands.values().filter(untold) {
            let group = entry.0.group(&self.pace);
            groups.entry(group).or_default().push(entry);
        }
        groups
    }

    fn next_of(&self, group: &[&(Command, Stage)]) -> Option<(Timestamp, Ask)> {
        let ended = group.iter().filter_map(|(_, stage)| stage.over());
        let tell = ended.min().map(|at| match complete(group) {
            true => (at, Ask::Tell),
            false => (at + TOGETHER, Ask::Tell),
        });
        let due = || {
            group.iter().filter_map(|(_, stage)| match stage {
                Stage::Running { next, .. } => Some(*next),
                _ => None,
            })
        };
        let latest = due().min().map(|first| first + TOGETHER);
        let all = due().max().filter(|_| !in_hand(group));
        let at = [latest, all].into_iter().flatten().min();
        let look = group.iter().all(|(command, stage)| match stage {
            Stage::Running { looked, .. } => !looked && command.looks(&self.pace),
            _ => true,
        });
        let ask = at.map(|at| (at, if look { Ask::Look } else { Ask::Poll }));
        [tell, ask].into_iter().flatten().min_by_key(|(at, _)| *at)
    }

    /// Tells of the groups that have ended, or of what has ended in those that take too long.
    pub(super) fn tell(&mut self, now: Timestamp) -> Told {
        let mut due: BTreeSet<(ObjectKey, String, bool)> = BTreeSet::new();
        for ((key, kind, leads), group) in self.groups() {
            let late = |at: Timestamp| between(at, now) >= TOGETHER;
            let late = group
                .iter()
                .any(|(_, stage)| stage.over().is_some_and(late));
            if complete(&group) || late {
                due.insert((key.clone(), kind.to_owned(), leads));
            }
        }
        let mut told = Told::default();
        let Self { commands, pace } = self;
        commands.retain(|_, (command, stage)| {
            let (key, kind, leads) = command.group(pace);
            let ends =
                stage.over().is_some() && due.contains(&(key.clone(), kind.to_owned(), leads));
            if !ends {
                return true;
            }
            told.add(command);
            let job = matches!(stage, Stage::Ended(_));
            *stage = Stage::Told;
            job
        });
        told
    }

    /// Has those looked at that are due; whether they have ended is for the lists to tell.
    pub(super) fn look(&mut self, now: Timestamp) -> Told {
        let mut told = Told::default();
        let Self { commands, pace } = self;
        for (command, stage) in commands.values_mut() {
            if let Stage::Running { next, looked, .. } = stage
                && *next <= now
                && command.looks(pace)
            {
                *looked = true;
                *next = now + SHORTEST_STEP;
                told.add(command);
            }
        }
        let rest = self.tell(now);
        told.keys.extend(rest.keys);
        told.lists.extend(rest.lists);
        told
    }

    /// Takes in which jobs were in flight when CloudStack was asked, at `asked`.
    pub(super) fn polled(&mut self, in_flight: &BTreeSet<JobId>, asked: Timestamp, now: Timestamp) {
        let Self { commands, pace } = self;
        for (job, (command, stage)) in commands {
            // A list that left it out lied: nobody else would ever ask for it again.
            if matches!(stage, Stage::Ended(_) | Stage::Told) && in_flight.contains(job) {
                *stage = Stage::Running {
                    since: now,
                    next: now + LONGEST_STEP,
                    overdue: true,
                    looked: true,
                };
                continue;
            }
            let Stage::Running {
                since,
                next,
                overdue,
                ..
            } = stage
            else {
                continue;
            };
            let (age, expected) = (between(*since, now), pace.expected(command.kind));
            if in_flight.contains(job) {
                let over = age.checked_sub(expected);
                *overdue |= over.is_some();
                if *next <= now {
                    let step = (over.unwrap_or_default() / 4).clamp(SHORTEST_STEP, LONGEST_STEP);
                    *next = (*since + expected + SLACK).max(now + step);
                }
            } else if *since < asked {
                match *overdue || age < expected {
                    true => pace.took(command.kind, age),
                    false => pace.on_time(command.kind),
                }
                *stage = Stage::Ended(now);
            }
        }
    }

    /// Puts off all polls that are due: CloudStack could not be asked.
    pub(super) fn put_off(&mut self, now: Timestamp) {
        for (_, stage) in self.commands.values_mut() {
            if let Stage::Running { next, .. } = stage {
                *next = (*next).max(now + Duration::from_secs(1));
            }
        }
    }
}

fn complete(group: &[&(Command, Stage)]) -> bool {
    group.iter().all(|(_, stage)| stage.over().is_some())
}

fn in_hand(group: &[&(Command, Stage)]) -> bool {
    group
        .iter()
        .any(|(_, stage)| matches!(stage, Stage::InHand))
}

fn between(from: Timestamp, to: Timestamp) -> Duration {
    to.duration_since(from).try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::meta::Kind;

    const START: Timestamp = Timestamp::UNIX_EPOCH;

    fn ms(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    fn key() -> ObjectKey {
        ObjectKey::new(Kind::ClearwaterStack, "default", "ims")
    }

    fn command(kind: &'static str) -> Command {
        Command {
            key: key(),
            kind,
            touches: &[List::Vms],
            shown: true,
            leads: false,
        }
    }

    fn job(name: &str) -> JobId {
        JobId::new(name)
    }

    /// Jobs of a cloud that takes the usual times.
    fn usual() -> Jobs {
        let mut jobs = Jobs::default();
        let expected = jobs.pace.expected("createVPC");
        jobs.pace.took("createVPC", expected);
        jobs
    }

    #[test]
    fn a_job_is_asked_for_when_it_should_have_ended_and_then_ever_more_seldom() {
        let mut jobs = usual();
        jobs.follow(job("a"), command("destroyVirtualMachine"), START);
        let mut at = START;
        let mut steps = Vec::new();
        for _ in 0..60 {
            let (next, ask) = jobs.next().unwrap();
            assert_eq!(ask, Ask::Poll);
            steps.push(between(at, next));
            at = next;
            jobs.polled(&[job("a")].into(), at, at);
        }
        assert_eq!(steps[0], ms(5_400) + SLACK);
        assert_eq!(steps[1], SHORTEST_STEP);
        assert_eq!(*steps.last().unwrap(), LONGEST_STEP);
        jobs.polled(&[].into(), at, at);
        assert_eq!(jobs.tell(at).keys, [key()].into());
        assert!(jobs.next().is_none());
    }

    #[test]
    fn jobs_of_a_kind_are_told_together_and_a_leading_one_by_itself() {
        let mut jobs = usual();
        let leading = Command {
            leads: true,
            ..command("associateIpAddress")
        };
        jobs.hand_over(job("first"), leading);
        for name in ["b", "c"] {
            jobs.hand_over(job(name), command("associateIpAddress"));
        }
        jobs.started(&job("first"), START);
        jobs.started(&job("b"), START);
        let at = START + ms(80);
        jobs.polled(&[].into(), at, at);
        assert!(!jobs.tell(at).keys.is_empty(), "the first is told");
        assert!(
            !jobs.told(&job("b")) && jobs.tell(at).keys.is_empty(),
            "c is in hand"
        );
        jobs.started(&job("c"), at);
        let at = at + ms(80);
        jobs.polled(&[].into(), at, at);
        assert!(!jobs.tell(at).keys.is_empty());
        assert_eq!(jobs.untold().count(), 0);
    }

    #[test]
    fn an_end_is_not_kept_back_for_ever() {
        let mut jobs = usual();
        jobs.hand_over(job("done"), command("enableStaticNat"));
        jobs.hand_over(job("slow"), command("enableStaticNat"));
        jobs.done(&job("done"), START);
        assert!(jobs.tell(START).keys.is_empty());
        assert_eq!(jobs.next(), Some((START + TOGETHER, Ask::Tell)));
        assert!(!jobs.tell(START + TOGETHER).keys.is_empty());
    }

    #[test]
    fn the_first_long_job_tells_what_cloud_this_is() {
        let mut jobs = Jobs::default();
        jobs.follow(job("vpc"), command("createVPC"), START);
        let at = START + FIRST_LOOK;
        assert_eq!(jobs.next(), Some((at, Ask::Poll)));
        jobs.polled(&[].into(), at, at);
        jobs.tell(at);
        jobs.hand_over(job("a"), command("startVirtualMachine"));
        jobs.hand_over(job("b"), command("startVirtualMachine"));
        jobs.started(&job("a"), at);
        jobs.started(&job("b"), at + ms(20));
        let last = at + ms(20) + FIRST_LOOK;
        assert_eq!(jobs.next(), Some((last, Ask::Look)), "a quick one");
        assert!(!jobs.look(last).keys.is_empty());
        assert_eq!(jobs.next().unwrap().1, Ask::Poll, "a look is tried once");
    }

    #[test]
    fn a_job_that_cloudstack_does_not_know_is_told_once() {
        let mut jobs = usual();
        let follow = |jobs: &mut Jobs, at| jobs.follow(job("lost"), command("createTags"), at);
        follow(&mut jobs, START);
        let at = START + ms(600);
        jobs.polled(&[].into(), at, at);
        assert_eq!(jobs.tell(at).keys, [key()].into());
        // Its object asked for it, was told that it is unknown, and waits: it may be late.
        follow(&mut jobs, at);
        assert_eq!((jobs.untold().count(), jobs.next()), (0, None));
        jobs.settled(&job("lost"), at);
        follow(&mut jobs, at);
        assert_eq!(jobs.untold().count(), 1);
    }

    #[test]
    fn a_job_that_a_list_left_out_once_is_followed_to_its_end() {
        let mut jobs = usual();
        jobs.follow(job("hung"), command("startVirtualMachine"), START);
        let at = START + ms(600);
        jobs.polled(&[].into(), at, at);
        jobs.tell(at);
        assert_eq!(jobs.next(), None, "it is taken for ended");
        jobs.polled(&[job("hung")].into(), at, at);
        let next = at + LONGEST_STEP;
        assert_eq!(jobs.next(), Some((next, Ask::Poll)));
        jobs.polled(&[].into(), next, next);
        assert_eq!(jobs.tell(next).keys, [key()].into());
        assert_eq!(jobs.untold().count(), 0);
    }

    #[test]
    fn a_job_that_was_submitted_after_the_question_has_not_ended() {
        let mut jobs = usual();
        jobs.follow(job("a"), command("createTags"), START + ms(10));
        jobs.polled(&[].into(), START, START + ms(500));
        assert_eq!(jobs.len(), 1);
    }
}
