//! The pending jobs in the order in which they fall due.
//!
//! Jobs on one machine wait for each other, so a job that is filed or taken out may free others of
//! the same machine; only those are looked at.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;

use super::{Job, Phase, Work};
use crate::sim::world::Uuid;
use crate::sim::world::table::{Filed, Index};

/// What the schedule knows of a job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JobCard {
    /// It has not ended.
    Pending(PendingJob),
    /// It ended then.
    Ended(Timestamp),
}

/// What the schedule knows of a pending job.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PendingJob {
    number: u64,
    machine: Option<Uuid>,
    /// A destroy waits for nobody, as it only looks again every five seconds, and holds nobody up
    /// before it runs.
    destroys: bool,
    phase: Phase,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Schedule {
    pending: BTreeMap<u64, Uuid>,
    by_machine: BTreeMap<Uuid, BTreeMap<u64, PendingJob>>,
    ends: BTreeSet<(Timestamp, u64)>,
    begins: BTreeSet<(Timestamp, u64)>,
    ended: BTreeSet<(Timestamp, Uuid)>,
}

impl Filed for Job {
    type Id = Uuid;
    type Card = JobCard;
    type Index = Schedule;

    fn card(&self) -> JobCard {
        if self.phase == Phase::Ended {
            return JobCard::Ended(self.completed.unwrap_or(self.created));
        }
        JobCard::Pending(PendingJob {
            number: self.number,
            machine: self.work.locks().cloned(),
            destroys: matches!(self.work, Work::Destroy { .. }),
            phase: self.phase,
        })
    }
}

impl Index<Uuid, JobCard> for Schedule {
    fn file(&mut self, id: &Uuid, card: &JobCard) {
        let card = match card {
            JobCard::Pending(card) => card,
            JobCard::Ended(at) => {
                self.ended.insert((*at, id.clone()));
                return;
            }
        };
        self.pending.insert(card.number, id.clone());
        if let Phase::Running(Some(until)) = card.phase {
            self.ends.insert((until, card.number));
        }
        match (&card.machine, card.phase) {
            (Some(machine), _) => self.reschedule(machine, |jobs| {
                jobs.insert(card.number, card.clone());
            }),
            (None, Phase::Queued(at)) => {
                self.begins.insert((at, card.number));
            }
            (None, Phase::Running(_) | Phase::Ended) => {}
        }
    }

    fn unfile(&mut self, id: &Uuid, card: &JobCard) {
        let card = match card {
            JobCard::Pending(card) => card,
            JobCard::Ended(at) => {
                self.ended.remove(&(*at, id.clone()));
                return;
            }
        };
        self.pending.remove(&card.number);
        match card.phase {
            Phase::Running(Some(until)) => {
                self.ends.remove(&(until, card.number));
            }
            Phase::Queued(at) => {
                self.begins.remove(&(at, card.number));
            }
            Phase::Running(None) | Phase::Ended => {}
        }
        if let Some(machine) = &card.machine {
            self.reschedule(machine, |jobs| {
                jobs.remove(&card.number);
            });
        }
    }
}

impl Schedule {
    /// Changes the jobs of a machine, and lists those of them that may begin.
    fn reschedule(&mut self, machine: &Uuid, change: impl FnOnce(&mut BTreeMap<u64, PendingJob>)) {
        let jobs = self.by_machine.entry(machine.clone()).or_default();
        for (at, number) in queued(jobs) {
            self.begins.remove(&(at, number));
        }
        change(jobs);
        for (at, number) in queued(jobs) {
            let waits = !jobs[&number].destroys && is_blocked(jobs, number);
            if !waits {
                self.begins.insert((at, number));
            }
        }
        if jobs.is_empty() {
            self.by_machine.remove(machine);
        }
    }

    /// The pending jobs, in the order of their submission.
    pub(crate) fn pending(&self) -> impl DoubleEndedIterator<Item = &Uuid> + ExactSizeIterator {
        self.pending.values()
    }

    /// The pending jobs that take the lock of a machine, in the order of their submission.
    pub(crate) fn on_machine<'all>(
        &'all self,
        machine: &str,
    ) -> impl Iterator<Item = &'all Uuid> + use<'all> {
        let jobs = self.by_machine.get(machine);
        let numbers = jobs.into_iter().flat_map(BTreeMap::keys);
        numbers.filter_map(|number| self.pending.get(number))
    }

    /// Whether another job on the same machine comes first: one that runs, or one queued earlier.
    pub(crate) fn is_blocked(&self, machine: &str, number: u64) -> bool {
        let jobs = self.by_machine.get(machine);
        jobs.is_some_and(|jobs| is_blocked(jobs, number))
    }

    /// The job that ended first of all that are still known, and when.
    pub(crate) fn oldest_ended(&self) -> Option<(Timestamp, &Uuid)> {
        self.ended.first().map(|(at, id)| (*at, id))
    }

    /// The job that ends first.
    pub(crate) fn next_end(&self) -> Option<(Timestamp, u64, &Uuid)> {
        let (at, number) = self.ends.first()?;
        Some((*at, *number, self.pending.get(number)?))
    }

    /// The job that begins first. Of those that could have begun already, which held each other
    /// up, that is the one submitted first.
    pub(crate) fn next_begin(&self, now: Timestamp) -> Option<(Timestamp, u64, &Uuid)> {
        let late = self.begins.range(..(now, 0)).map(|(_, number)| number);
        let due = self.begins.range((now, 0)..(now, u64::MAX)).next();
        let now_due = late.chain(due.map(|(_, number)| number)).min();
        let (at, number) = match now_due {
            Some(number) => (now, *number),
            None => *self.begins.first()?,
        };
        Some((at, number, self.pending.get(&number)?))
    }
}

fn queued(jobs: &BTreeMap<u64, PendingJob>) -> Vec<(Timestamp, u64)> {
    let at = |job: &PendingJob| match job.phase {
        Phase::Queued(at) => Some((at, job.number)),
        Phase::Running(_) | Phase::Ended => None,
    };
    jobs.values().filter_map(at).collect()
}

fn is_blocked(jobs: &BTreeMap<u64, PendingJob>, number: u64) -> bool {
    jobs.values().any(|other| {
        let runs = matches!(other.phase, Phase::Running(_));
        other.number != number && (runs || (other.number < number && !other.destroys))
    })
}
