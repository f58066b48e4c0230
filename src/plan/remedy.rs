//! The ladder of remediation: start, reboot, re-image, replace, each with its patience; and the
//! budgets that end it: of a machine, of its role, of the stack.

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
    /// A budget is used up.
    Exhausted(Exhausted),
}

/// A budget of remediations that is used up for the hour.
pub(super) struct Exhausted {
    /// One CamelCase word that says whose.
    pub(super) reason: &'static str,
    /// A sentence for people.
    pub(super) message: String,
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
        if let Some(exhausted) = self.exhausted(record) {
            return Some(Remedy::Exhausted(exhausted));
        }
        let recent = self.recent(record);
        let mut climbed = recent.iter().rev();
        let rung = match climbed.find(|rung| !matches!(rung, Rung::Start | Rung::Redeploy)) {
            Some(Rung::Reboot) => Rung::Reimage,
            Some(Rung::Reimage | Rung::Replace) => Rung::Replace,
            None | Some(Rung::Start | Rung::Redeploy) => Rung::Reboot,
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
        if let Some(exhausted) = self.exhausted(record) {
            return Remedy::Exhausted(exhausted);
        }
        let recent = self.recent(record);
        let count = |wanted| recent.iter().filter(|rung| **rung == wanted).count();
        let images = 1 + count(Rung::Reimage) + count(Rung::Replace) + count(Rung::Redeploy);
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

    /// Which budget of remediations a machine has used up, if any: its own, its role's or the
    /// stack's.
    pub(super) fn exhausted(&self, record: &MachineRecord) -> Option<Exhausted> {
        let spec = &self.spec().remediation;
        let recent = self.recent(record);
        if recent.len() >= spec.max_per_hour as usize {
            return Some(Exhausted {
                reason: "RemediationExhausted",
                message: all_of_a_machine(&recent),
            });
        }
        let (taken, machines) = self.remediated(|other| other.role == record.role);
        if taken >= spec.budget_of_role(machines) {
            return Some(Exhausted {
                reason: "RoleRemediationExhausted",
                message: format!(
                    "machines of {} were remediated {taken} times within the hour, which is all \
                     that spec.remediation.maxPerHourPerRole allows; look for what they have in \
                     common",
                    record.role
                ),
            });
        }
        let (taken, machines) = self.remediated(|_| true);
        (taken >= spec.budget_of_stack(machines)).then(|| Exhausted {
            reason: "StackRemediationExhausted",
            message: format!(
                "machines of the stack were remediated {taken} times within the hour, which is all \
                 that spec.remediation.maxPerHourPerStack allows; look for what they have in common"
            ),
        })
    }

    /// Remediations of some machines within the window, those of this plan included, and how many
    /// machines these are.
    fn remediated(&self, of: impl Fn(&MachineRecord) -> bool) -> (usize, usize) {
        let machines = self.plan.ledger.machines.iter();
        let machines: Vec<_> = machines.filter(|(_, record)| of(record)).collect();
        let past = machines.iter().map(|(_, record)| self.recent(record).len());
        let now = self
            .plan
            .steps
            .iter()
            .filter_map(|step| step.remedy.as_ref());
        let now = now.filter(|(healed, _)| machines.iter().any(|(name, _)| *name == healed));
        (past.sum::<usize>() + now.count(), machines.len())
    }
}

fn all_of_a_machine(recent: &[Rung]) -> String {
    if recent.is_empty() {
        return "spec.remediation.maxPerHour is 0: Weir only tells".to_owned();
    }
    let rungs: Vec<&str> = recent.iter().map(|rung| rung.name()).collect();
    format!(
        "remediated {} times within the hour ({}), which is all that spec.remediation.maxPerHour \
         allows; look at the machine itself",
        recent.len(),
        rungs.join(", ")
    )
}

/// Time since an instant; zero where it lies ahead.
pub(super) fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(since).try_into().unwrap_or_default()
}
