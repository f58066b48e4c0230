//! The ladder of remediation: start, reboot, re-image, replace, each with its patience.

use std::time::Duration;

use jiff::Timestamp;

use super::{Health, Planner};
use crate::types::ledger::{MachineRecord, Rung};

/// The window over which remediations are budgeted.
const WINDOW: Duration = Duration::from_secs(3600);

/// Starts of a VM that keeps stopping before its disk is suspected.
const STARTS_PER_IMAGE: usize = 3;

/// What the ladder says.
pub(super) enum Remedy {
    /// Not yet; the sentence says until when.
    Patience(String),
    /// Take this rung.
    Take(Rung, String),
    /// The budget is used up.
    Exhausted(String),
}

impl Planner<'_> {
    /// What to do about a VM that runs and does not serve.
    pub(super) fn remedy_unhealthy(
        &self,
        record: &MachineRecord,
        health: &Health,
    ) -> Option<Remedy> {
        let Health::Failing { since, why } = health else {
            return None;
        };
        let (from, patience) = self.patience(record, *since);
        if elapsed(from, self.input.now) <= patience {
            let until = (from + patience).strftime("%H:%M:%S UTC");
            return Some(Remedy::Patience(format!(
                "does not serve ({why}); patience until {until}"
            )));
        }
        let recent = self.recent(record);
        if recent.len() >= self.spec().remediation.max_per_hour as usize {
            return Some(self.exhausted(&recent));
        }
        let last = recent.iter().rev().find(|rung| **rung != Rung::Start);
        let rung = match last {
            None | Some(Rung::Start) => Rung::Reboot,
            Some(Rung::Reboot) => Rung::Reimage,
            Some(Rung::Reimage | Rung::Replace) => Rung::Replace,
        };
        Some(Remedy::Take(
            rung,
            format!(
                "does not serve since {}: {why}",
                from.strftime("%H:%M:%S UTC")
            ),
        ))
    }

    /// How long a machine that does not serve is left alone, and from when: one that has not
    /// served since its start is given the time that a start may take.
    pub(super) fn patience(
        &self,
        record: &MachineRecord,
        failing_since: Timestamp,
    ) -> (Timestamp, Duration) {
        let spec = &self.spec().remediation;
        match (record.served_at, record.started_at) {
            (None, Some(started)) => (started, spec.startup_timeout.get()),
            _ => (failing_since, spec.unhealthy_after.get()),
        }
    }

    /// What to do about a VM that is stopped and should run.
    pub(super) fn remedy_stopped(&self, record: &MachineRecord) -> Remedy {
        let recent = self.recent(record);
        let count = |wanted| recent.iter().filter(|rung| **rung == wanted).count();
        let images = 1 + count(Rung::Reimage) + count(Rung::Replace);
        if recent.len() >= self.spec().remediation.max_per_hour as usize {
            return self.exhausted(&recent);
        }
        let starts = count(Rung::Start);
        if starts < STARTS_PER_IMAGE * images {
            return Remedy::Take(Rung::Start, "VM is Stopped and should run".to_owned());
        }
        let rung = if count(Rung::Reimage) == 0 {
            Rung::Reimage
        } else {
            Rung::Replace
        };
        Remedy::Take(
            rung,
            format!("VM stopped again after {starts} starts within the hour"),
        )
    }

    /// Rungs taken within the window, oldest first.
    fn recent(&self, record: &MachineRecord) -> Vec<Rung> {
        let recent = |at: Timestamp| elapsed(at, self.input.now) < WINDOW;
        record
            .remediations
            .iter()
            .filter(|one| recent(one.at))
            .map(|one| one.rung)
            .collect()
    }

    fn exhausted(&self, recent: &[Rung]) -> Remedy {
        if recent.is_empty() {
            let message = "spec.remediation.maxPerHour is 0: Weir only tells";
            return Remedy::Exhausted(message.to_owned());
        }
        let rungs: Vec<&str> = recent.iter().map(|rung| rung.name()).collect();
        Remedy::Exhausted(format!(
            "remediated {} times within the hour ({}), which is all that \
             spec.remediation.maxPerHour allows; look at the machine itself",
            recent.len(),
            rungs.join(", ")
        ))
    }
}

/// Time since an instant; zero where it lies ahead.
pub(super) fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(since).try_into().unwrap_or_default()
}
