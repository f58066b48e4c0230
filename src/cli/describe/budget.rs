//! How many attempts to heal a machine are left of its budget, its role's and its stack's, in
//! sentences.

use jiff::ToSpan;

use super::diagnosis::Case;
use crate::types::{
    ledger::{MachineRecord, Remediation},
    stack::StepReport,
};

/// Remediations are counted over this many hours.
const WINDOW_HOURS: i64 = 1;

/// Whose attempts to heal are counted.
#[derive(Clone, Copy)]
pub(super) enum Budget {
    Machine,
    Role,
    Stack,
}

impl Budget {
    /// Whose budget a step says is used up, if it says so.
    pub(super) fn used_up(step: &StepReport) -> Option<Self> {
        match step.action.as_str() {
            "RemediationExhausted" => Some(Self::Machine),
            "RoleRemediationExhausted" => Some(Self::Role),
            "StackRemediationExhausted" => Some(Self::Stack),
            _ => None,
        }
    }

    /// The field of the manifest that sets it.
    pub(super) const fn field(self) -> &'static str {
        match self {
            Self::Machine => "spec.remediation.maxPerHour",
            Self::Role => "spec.remediation.maxPerHourPerRole",
            Self::Stack => "spec.remediation.maxPerHourPerStack",
        }
    }
}

impl<'a> Case<'a> {
    /// The rest of the ladder of remediation, and what is left of its budget.
    pub(super) fn ladder(&self) -> String {
        let taken = self.recent(Budget::Machine).len();
        let most = self.remediation().max_per_hour;
        format!(
            "If that does not help, harder means follow (reboot, new disk, new VM); {taken} of the \
             {most} attempts an hour that spec.remediation.maxPerHour allows are used."
        )
    }

    /// Whether no attempt of this hour is left.
    pub(super) fn spent(&self) -> bool {
        self.recent(Budget::Machine).len() >= self.remediation().max_per_hour as usize
    }

    /// Records of the machines that share a budget with this one.
    fn sharing(&self, budget: Budget) -> Vec<&'a MachineRecord> {
        let (own, role) = (self.view.record(), self.view.machine.spec.role);
        let all = self.view.stack.and_then(|stack| stack.status.as_ref());
        let all = all.map(|status| status.ledger.machines.values());
        let all = all.into_iter().flatten();
        match budget {
            Budget::Machine => own.into_iter().collect(),
            Budget::Role => all.filter(|record| record.role == role).collect(),
            Budget::Stack => all.collect(),
        }
    }

    /// Attempts of the last hour that count against a budget, oldest first.
    fn recent(&self, budget: Budget) -> Vec<&'a Remediation> {
        let all = self.sharing(budget);
        let all = all.into_iter().flat_map(|record| &record.remediations);
        let mut recent: Vec<_> = all
            .filter(|done| done.at + WINDOW_HOURS.hours() > self.now)
            .collect();
        recent.sort_by_key(|done| done.at);
        recent
    }

    /// When the oldest attempts have left the window, so that there is budget again.
    pub(super) fn budget_again(&self, budget: Budget) -> String {
        let recent = self.recent(budget);
        let (spec, machines) = (self.remediation(), self.sharing(budget).len());
        let most = match budget {
            Budget::Machine => spec.max_per_hour as usize,
            Budget::Role => spec.budget_of_role(machines),
            Budget::Stack => spec.budget_of_stack(machines),
        };
        let frees = recent
            .len()
            .checked_sub(most.max(1))
            .and_then(|at| recent.get(at));
        match frees {
            Some(frees) => format!(
                "Weir tries again {}, when an hour has passed since the attempt at {}.",
                self.when(frees.at + WINDOW_HOURS.hours()),
                self.clock(frees.at)
            ),
            None => "Weir tries again with the next look.".to_owned(),
        }
    }
}
