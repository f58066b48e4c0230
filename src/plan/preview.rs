//! All steps from here to the manifest: the planner run against its own predictions.

use std::{collections::BTreeMap, net::Ipv4Addr};

use serde::{Deserialize, Serialize};

use super::{Health, Input, Plan, Step, check, plan, predict, settle};
use crate::types::{
    action::{Action, Answers},
    id::JobId,
    inventory::Inventory,
    ledger::Ledger,
    stack::{DriftReport, PAUSED_UNTIL},
};

/// Rounds that a journey may take. The longest there is, a replacement as a plain tenant after a
/// change of the network, takes about twenty.
const MAX_ROUNDS: usize = 200;

/// What Weir would do to a stack, in order, if every step worked.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Preview {
    /// The stack's name.
    pub stack: String,
    /// Its namespace.
    pub namespace: String,
    /// The steps.
    pub steps: Vec<PreviewStep>,
    /// What differs now with no change of the manifest.
    pub drift: Vec<DriftReport>,
    /// What cannot be done, and why.
    pub blocked: Vec<Blocked>,
    /// All of it in one line.
    pub summary: String,
}

/// One step of a preview.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct PreviewStep {
    /// What it is done to.
    pub subject: String,
    /// The CloudStack command.
    pub command: String,
    /// `create`, `change`, `destroy` or `other`.
    pub kind: StepKind,
    /// Why.
    pub reason: String,
    /// In which round it is taken; steps of one round go side by side.
    pub round: usize,
}

/// What a step does to the number of things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum StepKind {
    /// It makes something.
    Create,
    /// It changes something.
    Change,
    /// It takes something away for good.
    Destroy,
    /// It starts, stops or tags something.
    Other,
}

/// Something that cannot be done.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// What.
    pub subject: String,
    /// Why.
    pub reason: String,
}

/// The world at the end of a preview.
#[derive(Clone, Debug)]
pub struct Rehearsal {
    /// The steps to it.
    pub preview: Preview,
    /// The ledger as it would be.
    pub ledger: Ledger,
    /// The account as it would be.
    pub inventory: Inventory,
}

/// Everything that is left to do, as far as it can be foreseen.
#[must_use]
pub fn preview(input: Input<'_>) -> Preview {
    rehearse(input).preview
}

/// Plays all steps in the planner's own model of CloudStack.
#[must_use]
pub fn rehearse(input: Input<'_>) -> Rehearsal {
    // What a paused stack would do is what it will do when the pause is over.
    let mut awake = input.stack.clone();
    awake.metadata.annotations.remove(PAUSED_UNTIL);
    let input = Input {
        stack: &awake,
        ..input
    };
    let mut journey = Journey {
        ledger: input.ledger.clone(),
        inventory: input.inventory.clone(),
        answers: input.answers.clone(),
        health: input.health.clone(),
        jobs: 0,
    };
    journey.ledger.failures.clear();
    let mut preview = Preview {
        stack: input.stack.metadata.name.clone(),
        namespace: input.stack.metadata.namespace.clone(),
        ..Preview::default()
    };
    for round in 0..MAX_ROUNDS {
        let (plan, steps) = journey.round(input);
        if round == 0 {
            preview.drift = plan.drift.iter().map(super::Drift::report).collect();
        }
        let settled = steps.is_empty() && plan.ledger == journey.ledger;
        if steps.is_empty() {
            let blocked = |wait: &super::Wait| Blocked {
                subject: wait.subject.clone(),
                reason: wait.message.clone(),
            };
            preview.blocked = plan.blocked.iter().map(blocked).collect();
        }
        if settled {
            break;
        }
        let told = steps.iter().map(|step| PreviewStep {
            reason: journey.without_guesses(&step.reason, input),
            ..PreviewStep::of(step, round)
        });
        preview.steps.extend(told);
        journey.take(plan, &steps, input);
    }
    preview.summary = summary(&preview);
    Rehearsal {
        preview,
        ledger: journey.ledger,
        inventory: journey.inventory,
    }
}

struct Journey {
    ledger: Ledger,
    inventory: Inventory,
    answers: Answers,
    health: BTreeMap<String, Health>,
    jobs: usize,
}

impl Journey {
    /// Plans with every question answered.
    fn round(&mut self, input: Input<'_>) -> (Plan, Vec<Step>) {
        loop {
            let here = Input {
                ledger: &self.ledger,
                inventory: &self.inventory,
                answers: &self.answers,
                health: &self.health,
                ..input
            };
            let plan = plan(here);
            if plan.needs_jobs && self.inventory.jobs.is_none() {
                self.inventory.jobs = Some([].into());
                continue;
            }
            let open: Vec<_> = plan
                .questions
                .iter()
                .filter(|q| !self.answers.contains_key(q))
                .cloned()
                .collect();
            if !open.is_empty() {
                for question in open {
                    let answer = predict::answer(&question, &self.inventory, &plan.ledger);
                    self.answers.insert(question, answer);
                }
                continue;
            }
            let (steps, _) = check::check(&plan, here);
            let steps = steps.iter().map(|step| step.step().clone()).collect();
            return (plan, steps);
        }
    }

    /// A text without addresses that were only guessed.
    fn without_guesses(&self, text: &str, input: Input<'_>) -> String {
        let network = |ip: Ipv4Addr| u32::from(ip) >> 8;
        let guessed = self.inventory.addresses.values().filter(|address| {
            let made_up = network(address.ip) == network(predict::UNKNOWN);
            made_up && !input.inventory.addresses.contains_key(&address.id)
        });
        let mut guessed: Vec<String> = guessed.map(|address| address.ip.to_string()).collect();
        // The longest first, since it may begin with a shorter one.
        guessed.sort_by_key(|ip| std::cmp::Reverse(ip.len()));
        guessed.iter().fold(text.to_owned(), |text, ip| {
            text.replace(ip, "its new public address")
        })
    }

    /// Takes the steps in the predicted world.
    fn take(&mut self, plan: Plan, steps: &[Step], input: Input<'_>) {
        self.ledger = plan.ledger;
        self.answers.clear();
        self.inventory.jobs = Some([].into());
        let jobs = &mut self.jobs;
        let next = || {
            *jobs += 1;
            JobId::new(format!("{}-{jobs}", input.stack.metadata.name))
        };
        let ids = settle::commit(&mut self.ledger, steps, next, input.now);
        for (step, id) in steps.iter().zip(&ids) {
            let resource = predict::predict(&mut self.inventory, &step.action, id);
            let answer = match step.action.synchronous() {
                true => settle::Submitted::Done { resource },
                false => settle::Submitted::Job { resource },
            };
            settle::submitted(&mut self.ledger, id, &answer, input.now);
        }
        let names = self.ledger.machines.keys();
        self.health = names.map(|name| (name.clone(), Health::Serving)).collect();
    }
}

impl Preview {
    /// Adds something that cannot be done as things are.
    pub fn block(&mut self, subject: &str, reason: String) {
        let subject = subject.to_owned();
        self.blocked.push(Blocked { subject, reason });
        self.summary = summary(self);
    }
}

impl PreviewStep {
    fn of(step: &Step, round: usize) -> Self {
        Self {
            subject: step.subject.clone(),
            command: step.action.command().to_owned(),
            kind: kind(&step.action),
            reason: step.reason.clone(),
            round,
        }
    }
}

/// What an action does to the number of things.
#[must_use]
pub fn kind(action: &Action) -> StepKind {
    match action {
        Action::CreateVpc { .. }
        | Action::CreateAclList { .. }
        | Action::CreateAclRule { .. }
        | Action::CreateTier { .. }
        | Action::CreateAffinityGroup { .. }
        | Action::AssociateAddress { .. }
        | Action::DeployVm(_) => StepKind::Create,
        Action::UpdateAclRule { .. }
        | Action::ReplaceAcl { .. }
        | Action::EnableStaticNat { .. }
        | Action::DisableStaticNat { .. }
        | Action::ReimageVm { .. }
        | Action::UpdateVm { .. }
        | Action::ChangeOffering { .. }
        | Action::MoveNic { .. }
        | Action::SetAffinityGroups { .. } => StepKind::Change,
        Action::DeleteVpc { .. }
        | Action::DeleteAclList { .. }
        | Action::DeleteAclRule { .. }
        | Action::DeleteTier { .. }
        | Action::DeleteAffinityGroup { .. }
        | Action::ReleaseAddress { .. }
        | Action::DestroyVm { .. }
        | Action::ExpungeVm { .. } => StepKind::Destroy,
        Action::StartVm { .. }
        | Action::StopVm { .. }
        | Action::RebootVm { .. }
        | Action::Tag { .. }
        | Action::Untag { .. } => StepKind::Other,
    }
}

fn summary(preview: &Preview) -> String {
    if preview.steps.is_empty() && preview.blocked.is_empty() {
        return "nothing to do".to_owned();
    }
    let count = |kind| {
        preview
            .steps
            .iter()
            .filter(|step| step.kind == kind)
            .count()
    };
    format!(
        "{} steps: {} to create, {} to change, {} to destroy, {} to start, stop or tag; {} blocked",
        preview.steps.len(),
        count(StepKind::Create),
        count(StepKind::Change),
        count(StepKind::Destroy),
        count(StepKind::Other),
        preview.blocked.len()
    )
}

impl super::Drift {
    /// As told to people.
    #[must_use]
    pub fn report(&self) -> DriftReport {
        DriftReport {
            subject: self.subject.clone(),
            field: self.field,
            want: self.want.clone(),
            have: self.have.clone(),
            mode: self.mode,
            since: None,
            by: None,
        }
    }
}
