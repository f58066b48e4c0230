//! The queue of jobs: what begins when, what ends when, and what a killed server leaves.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use super::{Job, JobFailure, JobResult, JobStatus, Phase, Twist, Work, signed};
use crate::sim::effects;
use crate::sim::events::{self, Words};
use crate::sim::world::index::NetworkKey;
use crate::sim::world::{Kind, Uuid, VmState, Volume, World};

/// How many jobs are kept: a day of a busy stack, and a state file that stays small.
const JOBS_MAX: usize = 10_000;

/// What falls due next.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Due {
    End(u64, Uuid),
    Begin(u64, Uuid),
    Idle(Uuid),
    Host(Uuid),
    Purge,
}

impl World {
    /// Brings the world to `now`: settles every job, purge and clean-up that fell due, in order.
    pub fn advance(&mut self, now: Timestamp) {
        while let Some((at, due)) = self.next_due().filter(|(at, _)| *at <= now) {
            self.set_now(at);
            match due {
                Due::Begin(_, job) => self.begin(&job),
                Due::End(_, job) => self.end(&job),
                Due::Idle(network) => effects::network::shut_down(self, &network),
                Due::Host(host) => self.judge_host(&host),
                Due::Purge => self.purge(),
            }
        }
        self.set_now(now);
    }

    /// When something happens next by itself; none if nothing is under way.
    #[must_use]
    pub fn next_change(&self) -> Option<Timestamp> {
        self.next_job().map(|(at, _)| at)
    }

    fn next_due(&self) -> Option<(Timestamp, Due)> {
        let wait = SignedDuration::from_secs(self.settings.network_gc_wait);
        let idle = match self.networks.first_from(NetworkKey::Idle(Timestamp::MIN)) {
            Some((NetworkKey::Idle(since), network)) => {
                Some((since + wait, Due::Idle(network.id.clone())))
            }
            _ => None,
        };
        let hosts = self.hosts.iter();
        let hosts = hosts.filter_map(|(id, host)| Some((host.next?, Due::Host(id.clone()))));
        let purge = (self.next_purge, Due::Purge);
        let others = hosts.chain(idle).chain([purge]);
        self.next_job().into_iter().chain(others).min()
    }

    fn next_job(&self) -> Option<(Timestamp, Due)> {
        let schedule = self.jobs.index();
        let end = schedule.next_end();
        let end = end.map(|(at, number, id)| (at, Due::End(number, id.clone())));
        let begin = schedule.next_begin(self.now());
        let begin = begin.map(|(at, number, id)| (at, Due::Begin(number, id.clone())));
        end.into_iter().chain(begin).min()
    }

    /// The pending jobs, in the order of their submission.
    pub(crate) fn pending(&self) -> Vec<&Job> {
        let schedule = self.jobs.index();
        let jobs = schedule.pending().filter_map(|id| self.jobs.get(id));
        jobs.collect()
    }

    /// The pending jobs that take the lock of a machine, in the order of their submission.
    pub(crate) fn pending_on(&self, vm: &str) -> Vec<&Job> {
        let schedule = self.jobs.index();
        let jobs = schedule.on_machine(vm);
        jobs.filter_map(|id| self.jobs.get(id)).collect()
    }

    /// Whether another job on the same machine comes first: one that runs, or one queued earlier.
    fn is_blocked(&self, job: &Job) -> bool {
        let machine = job.work.locks();
        machine.is_some_and(|vm| self.jobs.index().is_blocked(vm, job.number))
    }

    /// Queues a job; it begins at once if nothing is in its way.
    pub(crate) fn submit(&mut self, job: Job) {
        let lead = signed(job.work.lead(self.profile));
        self.submit_at(job, self.now() + lead);
    }

    /// Queues a job that begins at a time of its own.
    pub(crate) fn submit_at(&mut self, mut job: Job, at: Timestamp) {
        job.phase = Phase::Queued(at);
        if let Some(words) = events::words(self, &job) {
            events::scheduled(self, &job, words);
        }
        self.totals.jobs += 1;
        self.forget_oldest_jobs();
        self.jobs.insert(job.id.clone(), job);
    }

    fn begin(&mut self, id: &Uuid) {
        let Some(mut job) = self.jobs.get(id).cloned() else {
            return;
        };
        if matches!(job.work, Work::Destroy { .. }) && self.is_blocked(&job) {
            let step = self.profile.lock_step().max(Duration::from_secs(1));
            job.phase = Phase::Queued(self.now() + signed(step));
            self.jobs.insert(id.clone(), job);
            return;
        }
        self.announce_start(&job);
        let takes = effects::begin(self, &mut job);
        let until = (job.twist != Some(Twist::Hang)).then(|| self.now() + signed(takes));
        job.phase = Phase::Running(until);
        self.jobs.insert(id.clone(), job);
    }

    fn announce_start(&mut self, job: &Job) {
        if let Some(words) = events::words(self, job) {
            events::started(self, job, words);
        }
    }

    fn end(&mut self, id: &Uuid) {
        let Some(job) = self.jobs.get(id).cloned() else {
            return;
        };
        let words = events::words(self, &job);
        let outcome = match &job.twist {
            Some(Twist::Fail { code, text }) => {
                effects::undo(self, &job.work);
                Err(JobFailure::new(*code, text.as_str()))
            }
            Some(
                Twist::Hang
                | Twist::Lose
                | Twist::NoCapacity
                | Twist::StartFails
                | Twist::StopFails,
            )
            | None => effects::finish(self, &job),
        };
        for twin in self.twins_of(&job) {
            self.announce_start(&twin);
            self.close(twin, words.clone(), outcome.clone());
        }
        self.close(job, words, outcome);
    }

    /// The jobs that asked for the same while this one was under way: they join it.
    fn twins_of(&self, job: &Job) -> Vec<Job> {
        let joins = matches!(job.work, Work::Start { .. } | Work::Stop { .. });
        let Some(vm) = job.work.locks().filter(|_| joins) else {
            return Vec::new();
        };
        let others = self.pending_on(vm).into_iter();
        others
            .filter(|other| other.id != job.id && other.work == job.work)
            .filter(|other| other.twist.is_none())
            .cloned()
            .collect()
    }

    fn close(&mut self, mut job: Job, words: Option<Words>, outcome: Result<Value, JobFailure>) {
        if let Some(words) = words {
            events::completed(self, &job, words, outcome.is_ok());
        }
        let result = match outcome {
            Ok(result) => {
                job.status = JobStatus::Succeeded;
                result
            }
            Err(JobFailure { code, text }) => {
                job.status = JobStatus::Failed;
                job.code = code;
                json!({"errorcode": code, "errortext": text})
            }
        };
        job.result = Some(JobResult::of(&result));
        job.completed = Some(self.wall());
        job.phase = Phase::Ended;
        if job.twist == Some(Twist::Lose) {
            self.jobs.remove(&job.id);
        } else {
            self.jobs.insert(job.id.clone(), job);
        }
    }

    /// Begins and ends a job on the spot, whatever is in its way: for people who break things.
    pub(crate) fn rush(&mut self, id: &Uuid) {
        if let Some(Phase::Queued(_)) = self.jobs.get(id).map(|job| job.phase) {
            if let Some(job) = self.jobs.get_mut(id) {
                job.phase = Phase::Running(None);
            }
            let Some(mut job) = self.jobs.get(id).cloned() else {
                return;
            };
            self.announce_start(&job);
            effects::begin(self, &mut job);
            self.jobs.insert(id.clone(), job);
        }
        if self
            .jobs
            .get(id)
            .is_some_and(|job| job.status == JobStatus::Pending)
        {
            self.end(id);
        }
    }

    /// Kills the management server: pending jobs fail without a result, machines on their way
    /// somewhere fall back, and what the jobs had already written stays
    /// (`cloudstack-observed.md`, 1.14 and 1.15).
    pub fn restart_server(&mut self) {
        let (now, wall) = (self.now(), self.wall());
        let pending = self.pending().into_iter().map(|job| job.id.clone());
        let mut restarts = Vec::new();
        for id in pending.collect::<Vec<_>>() {
            if let Some(job) = self.jobs.get_mut(&id) {
                if let Work::Revive { vm, tries } = &job.work {
                    restarts.push((vm.clone(), *tries));
                }
                job.status = JobStatus::Failed;
                job.code = 530;
                job.completed = Some(wall);
                job.phase = Phase::Ended;
            }
        }
        for vm in self.vms.values_mut() {
            match vm.state {
                VmState::Starting => {
                    vm.state = VmState::Stopped;
                    vm.host = None;
                }
                VmState::Stopping | VmState::Migrating => vm.state = VmState::Running,
                VmState::Stopped
                | VmState::Running
                | VmState::Destroyed
                | VmState::Expunging
                | VmState::Error => {}
            }
        }
        for network in self.networks.values_mut() {
            network.busy_until = None;
        }
        self.address_locks.clear();
        self.down_until = Some(now + signed(self.profile.restart()));
        for (vm, tries) in restarts {
            self.restart_later(&vm, tries);
        }
    }

    /// Purges machines that were destroyed long enough ago, and forgets jobs that ended a day ago.
    fn purge(&mut self) {
        // The server shifts the delay by ten bits where it means to multiply by a thousand.
        let delay = SignedDuration::from_millis(self.settings.expunge_delay << 10);
        let before = self.wall() - delay;
        let due: Vec<Uuid> = self
            .vms
            .values()
            .filter(|vm| vm.state.is_gone() || vm.state == VmState::Error)
            .filter(|vm| vm.updated.unwrap_or(vm.created) < before)
            .map(|vm| vm.id.clone())
            .collect();
        for vm in due {
            self.expunge(&vm);
        }
        self.next_purge += SignedDuration::from_secs(self.settings.expunge_interval.max(1));
    }

    /// Keeps the number of jobs in bounds: those that ended first go.
    fn forget_oldest_jobs(&mut self) {
        while self.jobs.len() >= JOBS_MAX && self.forget_job_ended_by(Timestamp::MAX) {}
    }

    /// Forgets jobs that ended longer ago than `job.expire.minutes`.
    pub(crate) fn expire_jobs(&mut self) {
        let before = self.wall() - SignedDuration::from_mins(self.settings.job_expire_minutes);
        while self.forget_job_ended_by(before) {}
    }

    /// Forgets the job that ended first, if that was not after `limit`.
    fn forget_job_ended_by(&mut self, limit: Timestamp) -> bool {
        let oldest = match self.jobs.index().oldest_ended() {
            Some((ended, id)) if ended <= limit => id.clone(),
            _ => return false,
        };
        self.jobs.remove(&oldest).is_some()
    }

    /// The job that holds a machine: the first of those pending.
    pub(crate) fn job_of_vm(&self, vm: &str) -> Option<&Job> {
        let mut jobs = self.pending_on(vm).into_iter();
        jobs.find(|job| job.instance.as_deref() == Some(vm))
    }

    /// The job that works on an attached volume: the first of those pending on its machine.
    pub(crate) fn job_of_volume(&self, volume: &Volume) -> Option<&Job> {
        let mut jobs = self.pending_on(volume.vm.as_ref()?).into_iter();
        jobs.find(|job| job.instance.as_ref() == Some(&volume.id))
    }

    /// A job that has just been asked for.
    pub(crate) fn new_job(&mut self, id: Option<Uuid>, work: Work) -> Job {
        let id = id.unwrap_or_else(|| self.fresh_id());
        Job {
            id,
            number: self.next_number(Kind::Job),
            command: String::new(),
            class: String::new(),
            account: Uuid::new(),
            user: Uuid::new(),
            instance_type: None,
            instance: None,
            created: self.wall(),
            completed: None,
            status: JobStatus::Pending,
            code: 0,
            result: None,
            admin: false,
            work,
            phase: Phase::Ended,
            twist: None,
            event: self.fresh_id(),
        }
    }
}
