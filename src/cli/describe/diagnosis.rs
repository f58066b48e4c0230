//! What is wrong with a machine, what Weir does about it, since when, and what comes next: in
//! sentences for somebody who has never seen Weir or CloudStack and was woken by it.
//!
//! A pure function of what the controller wrote down. Everything is said in the order in which it
//! explains the rest: a pause before a limit, a limit before a failure, a failure before a wait.

use std::time::Duration;

use jiff::Timestamp;

use super::{super::age::between, budget::Budget, machine::MachineView, parts, stack::paused};
use crate::types::{
    ledger::Failure,
    machine::{MachineStatus, Phase},
    meta::{Condition, ConditionStatus, condition},
    stack::{
        DriftField, DriftMode, DriftReport, ProbeKind, RemediationSpec, StackSpec, StepReport,
        StepState,
    },
};

/// Times further away than this are told with their date.
const NEAR: Duration = Duration::from_secs(20 * 3600);

/// The answers to the four questions, and what the reader may do.
#[derive(Debug)]
pub(super) struct Diagnosis {
    /// What is wrong; `None` where nothing is.
    pub(super) wrong: Option<String>,
    /// How the machine is where nothing is wrong with it.
    pub(super) well: String,
    /// What Weir does.
    pub(super) doing: String,
    /// What comes next.
    pub(super) next: String,
    /// What the reader can do, where there is anything.
    pub(super) help: Option<String>,
}

/// Why Weir does what it does, in the order of what outweighs what.
enum Course<'a> {
    /// The stack is paused; the text says for how long and why.
    Paused(String),
    /// Too many machines look dead at once.
    HeldBack(&'a Condition),
    /// Commands are on their way.
    Working(Vec<&'a StepReport>),
    /// A budget of attempts is used up.
    Exhausted(Budget, &'a StepReport),
    /// The last command failed; the next try comes by itself.
    Resting(&'a Failure),
    /// The VM runs, and is given time to serve.
    Patient,
    /// Drift that the manifest wants to be told only.
    OnlyTold(&'a DriftReport),
    /// It waits for something else.
    Waiting(&'a StepReport),
    /// It sees something to do and has not begun.
    AboutTo,
    /// Nothing is to be done.
    Idle,
}

/// Looks at a machine as of `now`.
pub(super) fn diagnose(view: &MachineView<'_>, now: Timestamp) -> Diagnosis {
    let empty = MachineStatus::default();
    let status = view.machine.status.as_ref().unwrap_or(&empty);
    let case = Case { view, status, now };
    let wrong = case.wrong();
    let course = case.course(wrong.is_some());
    Diagnosis {
        well: case.well(),
        doing: case.doing(&course),
        next: case.next(&course),
        help: case.help(&course),
        wrong,
    }
}

pub(super) struct Case<'a> {
    pub(super) view: &'a MachineView<'a>,
    status: &'a MachineStatus,
    pub(super) now: Timestamp,
}

impl<'a> Case<'a> {
    fn spec(&self) -> Option<&'a StackSpec> {
        self.view.stack.map(|stack| &stack.spec)
    }

    pub(super) fn remediation(&self) -> RemediationSpec {
        self.spec()
            .map(|spec| spec.remediation.clone())
            .unwrap_or_default()
    }

    /// `for 40s (since 11:59:20 UTC)`.
    fn since(&self, at: Timestamp) -> String {
        format!("for {} (since {})", between(at, self.now), self.clock(at))
    }

    /// `11:59:20 UTC`, with the date where it is not about today.
    pub(super) fn clock(&self, at: Timestamp) -> String {
        let near = self.now.duration_since(at).unsigned_abs() < NEAR;
        let form = if near {
            "%H:%M:%S UTC"
        } else {
            "%Y-%m-%d %H:%M UTC"
        };
        at.strftime(form).to_string()
    }

    /// `in 4s, at 12:00:04 UTC`.
    pub(super) fn when(&self, at: Timestamp) -> String {
        match at > self.now {
            true => format!("in {}, at {}", between(self.now, at), self.clock(at)),
            false => format!("now ({})", self.clock(at)),
        }
    }

    /// Whether CloudStack says that the VM runs.
    fn runs(&self) -> bool {
        self.status.vm_state.as_deref() == Some("Running")
    }

    fn wrong(&self) -> Option<String> {
        let drift: Vec<_> = self
            .view
            .drift()
            .map(|report| self.difference(report))
            .collect();
        if !drift.is_empty() {
            return Some(drift.join(" "));
        }
        let ready = condition(&self.status.conditions, "Ready");
        let unready = ready.filter(|ready| ready.status != ConditionStatus::True);
        if unready.is_none() && self.status.phase == Phase::Running {
            return None;
        }
        let what = match self.status.phase {
            Phase::Pending => "It has no VM yet",
            Phase::Provisioning => "Its VM is being made",
            Phase::Starting if self.runs() => "Its VM runs, but it does not serve yet",
            Phase::Starting => "Its VM is starting",
            Phase::Running => "Its VM runs and is not ready",
            Phase::Unhealthy => "It does not serve",
            Phase::Repairing => "It does not serve and is being repaired",
            Phase::Updating => "It is being changed to what the manifest asks for",
            Phase::Deleting => "It is no longer wanted and is being taken away",
        };
        let since = self.status.since.map(|at| self.since(at));
        Some(format!(
            "{what}, {}.",
            since.as_deref().unwrap_or("for an unknown time")
        ))
    }

    /// One difference as a sentence, with the time and, where CloudStack tells, the culprit.
    fn difference(&self, report: &DriftReport) -> String {
        let (want, have) = (&report.want, brief(&report.have));
        let what = match report.field {
            DriftField::PowerState => format!("Its VM is {have} and should be {want}"),
            DriftField::Existence => format!("Its VM is gone ({have})"),
            DriftField::Health => format!("Its VM runs, but the machine {have}"),
            DriftField::StaticNat => format!("Its public address leads to {have}, not to {want}"),
            field => format!(
                "Its {} is {} and should be {}",
                words(field.name()),
                or_none(&have),
                or_none(want)
            ),
        };
        let since = report.since.map(|at| self.since(at));
        let by = report
            .by
            .as_ref()
            .map(|by| format!(" CloudStack says that {by}."));
        let by = by.unwrap_or_default();
        format!(
            "{what}, {}.{by}",
            since.as_deref().unwrap_or("since an unknown time")
        )
    }

    fn well(&self) -> String {
        let probe = self.spec().and_then(|spec| {
            spec.components
                .get(self.view.machine.spec.role)
                .probe
                .as_ref()
        });
        let since = self.status.since.map(|at| format!(" {}", self.since(at)));
        let since = since.unwrap_or_default();
        match probe {
            Some(probe) => {
                let kind = match probe.kind {
                    ProbeKind::Tcp => "TCP",
                    ProbeKind::Http => "HTTP",
                };
                format!(
                    "Nothing: its VM runs, and port {} answers ({kind} probe){since}.",
                    probe.port
                )
            }
            None => {
                let unasked = match self.spec() {
                    Some(_) => " It has no probe, so nobody asked whether it serves.",
                    None => "",
                };
                format!("Nothing that Weir can see: its VM runs{since}.{unasked}")
            }
        }
    }

    fn course(&self, wrong: bool) -> Course<'a> {
        let running: Vec<_> = self
            .view
            .steps()
            .filter(in_state(StepState::Running))
            .collect();
        if !running.is_empty() {
            return Course::Working(running);
        }
        let stack = self.view.stack;
        if let Some(paused) = stack.and_then(|stack| paused(&stack.metadata, self.now)) {
            return Course::Paused(paused);
        }
        if !wrong {
            return Course::Idle;
        }
        let stack_status = stack.and_then(|stack| stack.status.as_ref());
        let degraded = stack_status.and_then(|status| condition(&status.conditions, "Degraded"));
        let waiting = || self.view.steps().filter(in_state(StepState::Waiting));
        if let Some(held) = degraded.filter(|condition| {
            condition.status == ConditionStatus::True && condition.reason == "TooManyUnhealthy"
        }) && self.status.next.as_deref() == Some(held.message.as_str())
        {
            return Course::HeldBack(held);
        }
        let used_up = |step| Some(Course::Exhausted(Budget::used_up(step)?, step));
        if let Some(exhausted) = waiting().find_map(used_up) {
            return exhausted;
        }
        if let Some(failure) = self.view.failure().filter(|f| f.retry_after > self.now) {
            return Course::Resting(failure);
        }
        if let Some(step) = waiting().next() {
            return Course::Waiting(step);
        }
        if self.status.phase == Phase::Starting && self.runs() {
            return Course::Patient;
        }
        match self
            .view
            .drift()
            .find(|report| report.mode == DriftMode::Report)
        {
            Some(report) => Course::OnlyTold(report),
            None => Course::AboutTo,
        }
    }

    fn doing(&self, course: &Course<'_>) -> String {
        match course {
            Course::Paused(pause) => {
                format!("Nothing: the stack is paused {pause}. Weir looks and does not act.")
            }
            Course::HeldBack(held) => format!(
                "Nothing, on purpose, {}: {}.",
                self.since(held.last_transition_time),
                held.message
            ),
            Course::Working(steps) => {
                let sentences: Vec<_> = steps.iter().map(|step| self.working(step)).collect();
                sentences.join(" ")
            }
            Course::Exhausted(_, step) => format!("Nothing more for now: {}.", step.reason),
            Course::Resting(failure) => format!(
                "It waits before it tries again. {} failed {}, last {} ago. CloudStack said: {}",
                doing(&failure.command),
                times(failure.times),
                between(failure.at, self.now),
                brief(&failure.message)
            ),
            Course::Patient => {
                let told = self
                    .status
                    .next
                    .as_deref()
                    .unwrap_or("it has not served yet");
                format!("It gives the machine time: {}.", brief(told))
            }
            Course::OnlyTold(report) => format!(
                "Nothing: spec.drift of the manifest says that {} is only to be reported.",
                report.field.name()
            ),
            Course::Waiting(step) => {
                let cause = self
                    .stuck()
                    .map(|why| format!(" The stack is stuck: {why}."));
                format!(
                    "It waits: {}.{}",
                    brief(&step.reason),
                    cause.unwrap_or_default()
                )
            }
            Course::AboutTo | Course::Idle => "Nothing at the moment.".to_owned(),
        }
    }

    /// What keeps the whole stack from going on, where something does.
    fn stuck(&self) -> Option<String> {
        let status = self.view.stack?.status.as_ref()?;
        let degraded = condition(&status.conditions, "Degraded")?;
        let stuck = degraded.status == ConditionStatus::True && degraded.reason == "StepFailed";
        stuck.then(|| brief(&degraded.message))
    }

    fn working(&self, step: &StepReport) -> String {
        let since = step.since.map(|at| format!(", {}", self.since(at)));
        format!(
            "{} ({} of CloudStack){}, because: {}.",
            doing(&step.action),
            step.action,
            since.unwrap_or_default(),
            brief(&step.reason)
        )
    }

    fn next(&self, course: &Course<'_>) -> String {
        match course {
            Course::Paused(_) => self.after_pause(),
            Course::HeldBack(_) => {
                "As soon as few enough look dead, Weir repairs those that still do, by itself."
                    .to_owned()
            }
            Course::Working(steps) => self.after(steps),
            Course::Exhausted(budget, _) => self.budget_again(*budget),
            Course::Resting(failure) if self.spent() => format!(
                "Another look {}. No attempt of this hour is left then (spec.remediation.maxPerHour \
                 is {}). {}",
                self.when(failure.retry_after),
                self.remediation().max_per_hour,
                self.budget_again(Budget::Machine)
            ),
            Course::Resting(failure) => format!(
                "{} again {}. {}",
                doing(&failure.command),
                self.when(failure.retry_after),
                self.ladder()
            ),
            Course::Patient => self.ladder(),
            Course::OnlyTold(_) => "Nothing, unless the manifest is changed.".to_owned(),
            Course::Waiting(step) => match &self.status.next {
                Some(next) if *next != step.reason => format!("{}.", brief(next)),
                _ => "It goes on by itself when that is over.".to_owned(),
            },
            Course::AboutTo => match &self.status.next {
                Some(next) => format!("With the next look: {}.", brief(next)),
                None => "With the next look it is decided what to do.".to_owned(),
            },
            Course::Idle => match &self.status.next {
                Some(next) => format!("{}.", brief(next)),
                None => "Nothing, until something changes.".to_owned(),
            },
        }
    }

    /// What would be done if the stack were not paused.
    fn after_pause(&self) -> String {
        let coming: Vec<_> = self
            .view
            .steps()
            .filter(in_state(StepState::Next))
            .map(|step| doing(&step.action))
            .collect();
        let then =
            "When the pause ends, by itself or by `weir resume`, Weir acts on what it sees then";
        match coming.is_empty() {
            true => format!("{then}."),
            false => format!("{then}; as it is now: {}.", coming.join("; ")),
        }
    }

    /// What follows the commands that are on their way.
    fn after(&self, steps: &[&StepReport]) -> String {
        let sent = |command: &str| steps.iter().any(|step| step.action == command);
        let served = match self.well_when() {
            Some(probe) => format!("it counts as ready once {probe}"),
            None => "it counts as ready".to_owned(),
        };
        let then = if sent("deployVirtualMachine") {
            "When the VM is there, it is tagged, given its public address if it is to have one, \
             and started."
                .to_owned()
        } else if sent("startVirtualMachine") || sent("rebootVirtualMachine") {
            format!("When the VM runs, {served}.")
        } else if sent("restoreVirtualMachine") {
            format!("When the VM has its new disk, it is started; {served}.")
        } else if sent("stopVirtualMachine") {
            "When the VM is stopped, it is changed and started again.".to_owned()
        } else {
            "When that is done, Weir looks again and goes on.".to_owned()
        };
        match self
            .view
            .record()
            .is_some_and(|record| !record.remediations.is_empty())
        {
            true => format!("{then} {}", self.ladder()),
            false => then,
        }
    }

    fn well_when(&self) -> Option<String> {
        let spec = self.spec()?;
        let probe = spec
            .components
            .get(self.view.machine.spec.role)
            .probe
            .as_ref()?;
        Some(format!(
            "port {} answers, for which it has {}",
            probe.port, spec.remediation.startup_timeout
        ))
    }

    fn help(&self, course: &Course<'_>) -> Option<String> {
        let name = &self.view.machine.metadata.name;
        let stack = &self.view.machine.spec.stack_ref.name;
        let vm = self.status.vm_id.as_ref().map_or("it", |id| id.as_str());
        match course {
            Course::Paused(_) => Some(format!(
                "`weir resume {stack}` ends the pause; ask whoever set it first."
            )),
            Course::HeldBack(_) => Some(
                "First look whether CloudStack, its network or its hosts are in trouble: Weir \
                 suspects them. If the machines themselves are dead, raise \
                 spec.remediation.maxUnhealthy in the manifest and apply it."
                    .to_owned(),
            ),
            Course::Exhausted(Budget::Machine, _) => Some(format!(
                "Look at VM {vm} itself. `weir delete machine {name}` has Weir make a new VM in its \
                 place at once; a higher spec.remediation.maxPerHour allows more attempts."
            )),
            Course::Exhausted(budget, _) => Some(format!(
                "Look for what the machines have in common: their template, packages, network or \
                 hosts. `weir delete machine {name}` has Weir make a new VM in this one's place at \
                 once; a higher {} allows more attempts.",
                budget.field()
            )),
            Course::Resting(failure) if failure.reason == "InsufficientCapacity" => Some(
                "Have the cloud's operator make room, or free some of the account's own; Weir \
                 goes on by itself then."
                    .to_owned(),
            ),
            Course::Resting(_) => Some(format!(
                "Leave it to Weir while there are attempts left. If it stays like this, give the \
                 cloud's operator the id {vm} and CloudStack's words: they see more than an \
                 ordinary account is told."
            )),
            Course::Working(_) | Course::Patient => Some(format!(
                "Leave it to Weir; `weir watch {stack}` shows it as it happens."
            )),
            Course::OnlyTold(_) => Some(
                "Put it right in CloudStack, or set spec.drift to Repair in the manifest."
                    .to_owned(),
            ),
            Course::Waiting(_) | Course::AboutTo | Course::Idle => None,
        }
    }
}

fn in_state(state: StepState) -> impl Fn(&&StepReport) -> bool {
    move |step| step.state == state
}

fn times(count: u32) -> String {
    match count {
        1 => "once".to_owned(),
        count => format!("{count} times in a row"),
    }
}

fn or_none(text: &str) -> &str {
    if text.is_empty() { "nothing" } else { text }
}

/// `powerState` as two words.
fn words(field: &str) -> String {
    let mut words = String::new();
    for letter in field.chars() {
        if letter.is_uppercase() {
            words.push(' ');
        }
        words.extend(letter.to_lowercase());
    }
    words
}

/// A command of CloudStack's in plain words.
fn doing(command: &str) -> &'static str {
    match command {
        "deployVirtualMachine" => "Making its VM",
        "startVirtualMachine" => "Starting its VM",
        "stopVirtualMachine" => "Stopping its VM",
        "rebootVirtualMachine" => "Rebooting its VM",
        "restoreVirtualMachine" => "Giving its VM a new disk",
        "destroyVirtualMachine" | "expungeVirtualMachine" => "Destroying its VM",
        "updateVirtualMachine" => "Correcting its VM's name, mark or user data",
        "changeServiceForVirtualMachine" => "Changing its VM's size",
        "updateVmNicIp" => "Changing its VM's address",
        "updateVMAffinityGroup" => "Putting its VM into its affinity group",
        "associateIpAddress" => "Taking a public address",
        "disassociateIpAddress" => "Giving a public address back",
        "enableStaticNat" => "Pointing its public address at its VM",
        "disableStaticNat" => "Freeing its public address from another VM",
        "createTags" | "deleteTags" => "Correcting its tags",
        _ => "A command for it",
    }
}

/// CloudStack's words without the JSON of its internal objects and without a last full stop.
pub(super) fn brief(text: &str) -> String {
    let mut depth = 0_usize;
    let mut brief = String::new();
    for letter in text.chars() {
        match letter {
            '{' => {
                if depth == 0 {
                    brief.push_str("{…}");
                }
                depth += 1;
            }
            '}' => depth = depth.saturating_sub(1),
            _ if depth == 0 => brief.push(letter),
            _ => {}
        }
    }
    brief.trim_end().trim_end_matches('.').to_owned()
}

/// Everything about the machine that its conditions say beyond being ready.
pub(super) fn remark(status: &MachineStatus) -> Option<String> {
    let held = condition(&status.conditions, "AddressHeld")?;
    let (host, address) = (status.host_name.as_ref()?, status.private_address?);
    let since = parts::status_word(held.status) == "True";
    since.then(|| {
        format!(
            "{}, when CloudStack purges it. An ordinary account cannot hurry that. Until then the \
             machine is {host} at {address}; its public address is the same as before.",
            held.message
        )
    })
}
