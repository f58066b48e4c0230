//! Which of a round's steps are sent, which of them others wait for, and what is learnt from what
//! became of earlier ones.

use std::collections::BTreeSet;

use jiff::Timestamp;

use super::{
    Context,
    account::{Account, Follow},
    breaker::Outcome,
    journal::{About, Entry},
    queue::Urgency,
    status::BREAKER_OPEN,
};
use crate::{
    cloud::{Cloud, Connect},
    plan::{Plan, Wait, check::CheckedStep},
    types::{
        action::{Action, Answers, Question, TagKind},
        id::JobId,
        inventory::Inventory,
        ledger::Ledger,
        meta::{Kind, ObjectKey, Resource},
        stack::ClearwaterStack,
    },
};

/// Takes out the steps that a breaker of the account holds back; says when to come back for them.
pub(super) fn hold_what_keeps_failing<C: Cloud>(
    account: &Account<C>,
    key: &ObjectKey,
    steps: &mut Vec<CheckedStep>,
    plan: &mut Plan,
) -> Option<Timestamp> {
    let commands: Vec<_> = steps
        .iter()
        .map(|step| step.step().action.command())
        .collect();
    let mut held = account.admit(key, &commands).into_iter();
    let mut again: Option<Timestamp> = None;
    steps.retain(|step| {
        let step = step.step();
        let Some(held) = held.next().flatten() else {
            return true;
        };
        again = Some(again.map_or(held.again, |at| at.min(held.again)));
        plan.steps.retain(|planned| planned.subject != step.subject);
        plan.waits.push(Wait {
            subject: step.subject.clone(),
            reason: BREAKER_OPEN,
            message: held.why,
            running: None,
            since: None,
        });
        false
    });
    again
}

/// What became of the stack's commands since its status was stored.
pub(super) fn ended(stack: &ClearwaterStack, after: &Ledger) -> Vec<Outcome> {
    let before = stack.status.as_ref().map(|status| &status.ledger);
    before.map_or_else(Vec::new, |before| Outcome::between(before, after))
}

/// Has the account's breakers learn what became of commands, and tells which of them opened or
/// closed.
pub(super) fn learn<K: Connect>(
    cx: &Context<K>,
    stack: &ClearwaterStack,
    account: &Account<K::Cloud>,
    ended: &[Outcome],
) {
    for turned in account.learn(&stack.key(), ended) {
        let entry = match turned.why {
            Some(why) => Entry::warning(BREAKER_OPEN, why),
            None => {
                let message = format!("{} works again", turned.command);
                Entry::normal("BreakerClosed", message)
            }
        };
        cx.journal.tell(About::object(stack), entry);
        for key in turned.waiting {
            cx.queue.add(key, Urgency::Change);
        }
        let name = &stack.spec.account_ref.name;
        let account = ObjectKey::new(Kind::CloudAccount, &stack.metadata.namespace, name);
        cx.queue.add(account, Urgency::Change);
    }
}

/// Has steps sent that are recorded: first what is nearest to a machine that runs.
pub(super) fn hand_over<C: Cloud>(
    account: &Account<C>,
    key: &ObjectKey,
    steps: impl Iterator<Item = (CheckedStep, JobId)>,
    (ledger, inventory): (&Ledger, &Inventory),
) {
    let mut steps: Vec<_> = steps.collect();
    steps.sort_by_key(|(step, _)| way_to_go(&step.step().action));
    let mut first = BTreeSet::new();
    let follow = |(step, job): (CheckedStep, JobId)| {
        let action = &step.step().action;
        let leads = others_wait(action, ledger, inventory) && first.insert(action.command());
        let follow = match (leads, action) {
            (true, Action::StartVm { .. }) => Follow::FirstStart,
            (true, _) => Follow::Leading,
            (false, _) => Follow::Together,
        };
        (step, job, follow)
    };
    let steps: Vec<_> = steps.into_iter().map(follow).collect();
    if !steps.is_empty() {
        account.hand_over(key, steps);
    }
}

/// How many kinds of command still lie between this one and a machine that runs. What serves no
/// machine has the longest way.
const fn way_to_go(action: &Action) -> u8 {
    match action {
        Action::StartVm { .. } => 0,
        Action::Tag {
            kind: TagKind::UserVm,
            ..
        }
        | Action::EnableStaticNat { .. } => 1,
        Action::DeployVm(_) => 2,
        Action::CreateTier { .. } | Action::AssociateAddress { .. } => 3,
        _ => 4,
    }
}

/// Whether a command is on the way to the one machine that brings the tier up, for which all
/// others wait; if so, the first of its kind is.
fn others_wait(action: &Action, ledger: &Ledger, inventory: &Inventory) -> bool {
    let mut records = ledger.machines.values();
    match action {
        Action::AssociateAddress { .. } => records.all(|record| record.public_address.is_none()),
        Action::DeployVm(_) => records.all(|record| record.vm.is_none()),
        Action::EnableStaticNat { .. }
        | Action::StartVm { .. }
        | Action::Tag {
            kind: TagKind::UserVm,
            ..
        } => {
            let tier = ledger.tier.as_ref();
            let tier = tier.and_then(|tier| inventory.networks.get(tier));
            let down = tier.is_some_and(|tier| tier.state == "Allocated");
            down && records.all(|record| record.started_at.is_none())
        }
        _ => false,
    }
}

/// Has jobs of an earlier life followed, and those that were seen to end no longer. What one changed
/// that was asked for its end may have been read before that, so it is read again before anything is
/// decided about it.
pub(super) fn follow<C: Cloud>(
    account: &Account<C>,
    key: &ObjectKey,
    (before, after): (&Ledger, &Ledger),
    answers: &Answers,
) {
    let open: BTreeSet<&JobId> = after.pending.iter().map(|pending| &pending.job).collect();
    for pending in &before.pending {
        if !open.contains(&pending.job) {
            account.settled(&pending.job);
            if answers.contains_key(&Question::Job(pending.job.clone())) {
                account.read_again(pending.action.touches());
            }
        } else if !pending.action.synchronous() {
            account.follow(&pending.job, key, &pending.action, Follow::Together);
        }
    }
}
