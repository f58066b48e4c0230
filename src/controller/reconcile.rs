//! One round for one object: look, decide, act, tell, and say when to come back.
//!
//! Level-triggered: a round reads everything that it decides on, and why it was woken is not
//! among its arguments. Dropping it at any `.await` is safe: what matters is in the stack's
//! ledger, which is stored before anything is sent.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use futures_util::future::try_join_all;
use jiff::Timestamp;

use super::{
    Context,
    account::{Account, Answer},
    accounts::AccountError,
    audit,
    journal::{About, Entry},
    machines, names, sending, status,
};
use crate::{
    bootstrap::Secrets,
    cloud::{Cloud, CloudError, Connect},
    plan::{self, Health, Input, Plan, check, settle},
    store::StoreError,
    types::{
        action::{Action, Answers},
        core::Secret,
        id::VmId,
        inventory::{Catalogue, Inventory, VmState},
        ledger::Ledger,
        machine::Machine,
        meta::{FINALIZER, Kind, Object, ObjectKey, Resource},
        stack::{ClearwaterStack, StackStatus},
    },
};

/// When an object is to be looked at again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Never, unless it changes: it is gone.
    Forget,
    /// After this long.
    After(Duration),
}

/// Why a round came to nothing. Retrying is the runner's business.
#[derive(Debug, thiserror::Error)]
pub enum RoundError {
    /// The store could not be read or written, or somebody wrote first.
    #[error("the store failed")]
    Store(#[from] StoreError),
    /// CloudStack could not be looked at.
    #[error("CloudStack could not be looked at")]
    Cloud(#[from] CloudError),
}

impl RoundError {
    /// Whether somebody else wrote first, so that a new read is all that is needed.
    #[must_use]
    pub fn conflict(&self) -> bool {
        matches!(self, Self::Store(StoreError::Conflict { .. }))
    }
}

/// Passes that one round may take to have its questions answered. Three suffice for what the
/// planner asks; more would mean that it asks in circles.
const MAX_PASSES: usize = 8;

/// How old a look may be on which a machine is taken away. Between the look and the stop somebody
/// may still stop another machine of the role; this keeps the time for it short.
const FRESH: Duration = Duration::from_secs(2);

/// Time before a round that follows at once: long enough for requests of one burst to be seen
/// together.
const AT_ONCE: Duration = Duration::from_millis(10);

/// How long a round waits for jobs that nothing else tells of.
const LATE: Duration = Duration::from_secs(5);

/// One round for a stack.
///
/// # Errors
/// The store or the cloud could not be read. Steps that were refused are no error: they are told
/// in the status and planned again.
pub async fn reconcile<K: Connect>(cx: &Context<K>, key: &ObjectKey) -> Result<Next, RoundError> {
    let stack = cx
        .store
        .get_as::<ClearwaterStack>(&key.namespace, &key.name)
        .await?;
    let Some(stack) = stack else {
        cx.probes.forget(key);
        cx.names.forget(key);
        return Ok(Next::Forget);
    };
    let name = &stack.spec.account_ref.name;
    let account = match cx.accounts.get(&cx.store, &key.namespace, name).await {
        Ok(account) => account,
        Err(AccountError::Store(error)) => return Err(error.into()),
        Err(AccountError::NotUsable { reason, message }) => {
            return Box::pin(without_account(cx, stack, reason, &message)).await;
        }
    };
    let machines = machines::of(cx, &stack).await?;
    let secrets = secrets(cx, &stack).await?;
    let decided = match decide(cx, &stack, &account, (machines, secrets)).await {
        Ok(decided) => decided,
        Err(error) => {
            let told = status::look_failed(&stack, &error, cx.clock.now());
            write_status(cx, stack, told).await?;
            return Err(error.into());
        }
    };
    act_and_tell(cx, stack, &account, decided).await
}

/// Records answers without deciding anything: at a stop, when no further round comes.
///
/// # Errors
/// The store could not be read or written; the next life of the controller looks instead.
pub async fn record<K: Connect>(
    cx: &Context<K>,
    account: &Account<K::Cloud>,
    key: &ObjectKey,
) -> Result<(), RoundError> {
    let stack = cx
        .store
        .get_as::<ClearwaterStack>(&key.namespace, &key.name)
        .await?;
    if let Some(stack) = stack {
        let answers = account.answers(key);
        let mut told = stack.status.clone().unwrap_or_default();
        told.ledger = recalled(&stack, &answers);
        write_status(cx, stack, told).await?;
        account.recorded(key, &answers);
    }
    Ok(())
}

/// The stack's ledger with the answers that came since it was stored.
fn recalled(stack: &ClearwaterStack, answers: &[Answer]) -> Ledger {
    let status = stack.status.as_ref();
    let mut ledger = status
        .map(|status| status.ledger.clone())
        .unwrap_or_default();
    for answer in answers {
        settle::submitted(&mut ledger, &answer.job, &answer.submitted, answer.at);
    }
    ledger
}

/// What the Secret of a stack's `spec.bootstrap` holds; none where it names none or there is none.
async fn secrets<K: Connect>(
    cx: &Context<K>,
    stack: &ClearwaterStack,
) -> Result<Option<Secrets>, StoreError> {
    let Some(bootstrap) = &stack.spec.bootstrap else {
        return Ok(None);
    };
    let (namespace, name) = (&stack.metadata.namespace, &bootstrap.secret_ref.name);
    let secret = cx.store.get_as::<Secret>(namespace, name).await?;
    Ok(secret.as_ref().map(Secrets::of))
}

/// A stack whose account is not usable waits; one that made nothing can still be let go.
async fn without_account<K: Connect>(
    cx: &Context<K>,
    stack: ClearwaterStack,
    reason: &'static str,
    message: &str,
) -> Result<Next, RoundError> {
    let made_nothing = stack
        .status
        .as_ref()
        .is_none_or(|status| status.ledger.is_empty() && status.ledger.name_servers.is_empty());
    if stack.metadata.deleting() && made_nothing {
        return let_go(cx, stack).await;
    }
    let told = status::not_planned(&stack, reason, message, cx.clock.now());
    write_status(cx, stack, told).await?;
    Ok(Next::After(Duration::from_secs(60)))
}

/// A decision, with what it was made on.
struct Decided {
    plan: Plan,
    catalogue: Arc<Catalogue>,
    inventory: Arc<Inventory>,
    answers: Answers,
    replace: BTreeMap<String, VmId>,
    health: BTreeMap<String, Health>,
    secrets: Option<Secrets>,
    ledger: Ledger,
    /// Answers that came since the last round; they are in `ledger`.
    heard: Vec<Answer>,
    machines: Vec<Machine>,
    now: Timestamp,
}

impl Decided {
    fn input<'a, K: Connect>(
        &'a self,
        cx: &'a Context<K>,
        stack: &'a ClearwaterStack,
        account: &'a Account<K::Cloud>,
    ) -> Input<'a> {
        Input {
            stack,
            ledger: &self.ledger,
            replace: &self.replace,
            catalogue: &self.catalogue,
            inventory: &self.inventory,
            answers: &self.answers,
            health: &self.health,
            secrets: self.secrets.as_ref(),
            memo: &cx.memo,
            limits: &account.spec().limits,
            began: account.began(),
            now: self.now,
        }
    }
}

/// Looks and plans, asking until no question is open.
async fn decide<K: Connect>(
    cx: &Context<K>,
    stack: &ClearwaterStack,
    account: &Account<K::Cloud>,
    (machines, secrets): (Vec<Machine>, Option<Secrets>),
) -> Result<Decided, CloudError> {
    let heard = account.answers(&stack.key());
    let catalogue = catalogue(stack, account).await?;
    let mut decided = Decided {
        plan: Plan::default(),
        catalogue,
        inventory: account.observe().await?,
        answers: Answers::new(),
        replace: machines::replacements(&machines),
        health: cx.probes.health(&stack.key()),
        secrets,
        ledger: recalled(stack, &heard),
        heard,
        machines,
        now: cx.clock.now(),
    };
    let mut looked_again = false;
    for _ in 0..MAX_PASSES {
        decided.plan = plan::plan(decided.input(cx, stack, account));
        // Whoever takes a machine away first looks whether the others of its role are still there.
        let mut steps = decided.plan.steps.iter();
        let age = account.looked_at().map(|at| elapsed(at, cx.clock.now()));
        if !looked_again
            && steps.any(|step| takes_a_service(step, stack, &decided.inventory))
            && age.is_none_or(|age| age > FRESH)
        {
            looked_again = true;
            decided.inventory = account.observe_within(FRESH).await?;
            continue;
        }
        if decided.plan.needs_jobs && decided.inventory.jobs.is_none() {
            decided.inventory = know_the_jobs(account, &decided.plan).await?;
            continue;
        }
        let open = decided
            .plan
            .questions
            .iter()
            .filter(|q| !decided.answers.contains_key(q));
        let open: Vec<_> = open.cloned().collect();
        if open.is_empty() {
            break;
        }
        let asked = open.into_iter().map(|question| async move {
            account
                .ask(&question)
                .await
                .map(|answer| (question, answer))
        });
        decided.answers.extend(try_join_all(asked).await?);
    }
    Ok(decided)
}

/// Whether a step takes away a machine that may be serving: for a change, or since it is to go. Where
/// the whole stack goes, nothing is counted.
fn takes_a_service(step: &plan::Step, stack: &ClearwaterStack, inventory: &Inventory) -> bool {
    let runs = |vm: &VmId| {
        let row = inventory.vms.get(vm);
        row.is_some_and(|row| row.state == VmState::Running)
    };
    let farewell = match &step.action {
        Action::StopVm { vm } | Action::DestroyVm { vm, .. } => runs(vm),
        _ => false,
    };
    step.disrupts.is_some() || farewell && !stack.metadata.deleting()
}

/// Names that are not found are looked up in a fresh catalogue: somebody may have added them.
async fn catalogue<C: Cloud>(
    stack: &ClearwaterStack,
    account: &Account<C>,
) -> Result<Arc<Catalogue>, CloudError> {
    let unresolved = stack.status.as_ref().is_some_and(|status| {
        status
            .steps
            .iter()
            .any(|step| step.action == "NotResolvable")
    });
    let age = if unresolved { 20 } else { 600 };
    account.catalogue(Duration::from_secs(age)).await
}

/// Asks for the jobs in flight. What an ended job changed may have been read before its end, so
/// it is read again.
async fn know_the_jobs<C: Cloud>(
    account: &Account<C>,
    plan: &Plan,
) -> Result<Arc<Inventory>, CloudError> {
    account.jobs().await?;
    for pending in &plan.ledger.pending {
        account.read_again(pending.action.touches());
    }
    account.observe().await
}

async fn act_and_tell<K: Connect>(
    cx: &Context<K>,
    mut stack: ClearwaterStack,
    account: &Account<K::Cloud>,
    mut decided: Decided,
) -> Result<Next, RoundError> {
    let (mut steps, refused) = check::check(&decided.plan, decided.input(cx, &stack, account));
    for refusal in refused {
        tracing::error!(step = ?refusal.step.action.command(), why = refusal.why, "step refused");
        cx.metrics.refused(refusal.step.action.command());
        let message = format!("{}: {}", refusal.step.action.command(), refusal.why);
        cx.journal.tell(
            About::object(&stack),
            Entry::warning("StepRefused", message),
        );
    }
    let paused = stack.paused(decided.now);
    if paused {
        steps.clear();
    }
    let again =
        sending::hold_what_keeps_failing(account, &stack.key(), &mut steps, &mut decided.plan);
    let mut ledger = decided.plan.ledger.clone();
    let plain: Vec<_> = steps.iter().map(|step| step.step().clone()).collect();
    let jobs = settle::commit(&mut ledger, &plain, || cx.ids.next(), decided.now);
    let every = account.spec().resync_interval.get();
    let named = (&decided.health, paused, every);
    let names = names::round::decide(cx, &stack, &mut decided.plan, &mut ledger, named).await?;
    let mut told = status::told(
        &stack,
        &decided.plan,
        &ledger,
        account.looked_at(),
        paused,
        decided.now,
    );
    names.tell(cx, &stack, &mut told);
    status::announce(cx, &stack, &decided.plan, &plain, account, &mut told).await;
    let ended = sending::ended(&stack, &decided.plan.ledger);
    stack = write_status(cx, stack, told).await?;
    let key = stack.key();
    account.recorded(&key, &decided.heard);
    tell_failures(cx, &stack, &decided.heard);
    names.send(cx, &stack);
    sending::learn(cx, &stack, account, &ended);
    let quiet = steps.is_empty() && ledger != decided.ledger;
    let seen = (&decided.ledger, &*decided.inventory);
    sending::hand_over(account, &key, steps.into_iter().zip(jobs), seen);
    let ledgers = (&decided.ledger, &ledger);
    sending::follow(account, &key, ledgers, &decided.answers);
    machines::settle(cx, &stack, (decided.machines, &decided.plan), &ledger).await?;
    cx.probes.watch(&stack, &ledger, &decided.inventory);
    if ledger.name_servers.is_empty() && finished(&stack, &decided.plan, &ledger) {
        return audit_and_let_go(cx, stack, account).await;
    }
    if quiet {
        return Ok(Next::After(AT_ONCE));
    }
    let next = pause(account.spec().resync_interval.get(), &ledger, cx);
    let again = again.map(|at| elapsed(cx.clock.now(), at) + AT_ONCE);
    let next = again.map_or(next, |again| next.min(again));
    let over = stack.paused_until().filter(|_| paused);
    let over = over.map(|until| elapsed(cx.clock.now(), until) + AT_ONCE);
    Ok(Next::After(over.map_or(next, |over| next.min(over))))
}

fn tell_failures<K: Connect>(cx: &Context<K>, stack: &ClearwaterStack, heard: &[Answer]) {
    for answer in heard {
        if let Some((reason, message)) = &answer.error {
            let message = format!("{}: {message}", answer.subject);
            cx.journal
                .tell(About::object(stack), Entry::warning(*reason, message));
        }
    }
}

/// Time from one instant to a later one; zero if it is not later.
fn elapsed(since: Timestamp, now: Timestamp) -> Duration {
    now.duration_since(since).try_into().unwrap_or_default()
}

/// Time until the next round where nothing wakes the stack: the resync, or the next retry.
fn pause<K: Connect>(resync: Duration, ledger: &Ledger, cx: &Context<K>) -> Duration {
    let now = cx.clock.now();
    let until = |at: Timestamp| (at > now).then(|| elapsed(now, at) + AT_ONCE);
    let failures = ledger.failures.values();
    let retry = failures.filter_map(|failure| until(failure.retry_after));
    let missed = ledger.absent.values();
    let look = missed.filter_map(|since| until(*since + plan::GONE_AFTER));
    let resync = resync + cx.ids.jitter(resync / 10);
    let late = (!ledger.pending.is_empty()).then_some(LATE);
    retry.chain(look).chain(late).fold(resync, Duration::min)
}

fn finished(stack: &ClearwaterStack, plan: &Plan, ledger: &Ledger) -> bool {
    let idle = plan.steps.is_empty() && plan.blocked.is_empty();
    stack.metadata.deleting() && idle && ledger.is_empty()
}

/// Looks once more, at everything, for what is left; then lets the stack go.
async fn audit_and_let_go<K: Connect>(
    cx: &Context<K>,
    stack: ClearwaterStack,
    account: &Account<K::Cloud>,
) -> Result<Next, RoundError> {
    let left = audit::leftovers(account, stack.meta().stored_uid()).await?;
    let entry = match left.as_slice() {
        [] => Entry::normal(
            "Deleted",
            "an audit of the account finds nothing of the stack",
        ),
        left => Entry::warning(
            "LeftAlone",
            format!(
                "these carry the stack's mark and are kept by its deletionPolicy, or Weir did \
                 not make them: {}",
                left.join(", ")
            ),
        ),
    };
    cx.journal.tell(About::object(&stack), entry);
    let_go(cx, stack).await
}

/// Takes the finalizer off, so that the object goes.
async fn let_go<K: Connect>(
    cx: &Context<K>,
    mut stack: ClearwaterStack,
) -> Result<Next, RoundError> {
    machines::forget_all(cx, &stack).await?;
    cx.probes.forget(&stack.key());
    cx.names.forget(&stack.key());
    stack
        .metadata
        .finalizers
        .retain(|finalizer| finalizer != FINALIZER);
    cx.store.update(Object::encode(&stack)).await?;
    Ok(Next::Forget)
}

/// Stores a status where it differs from the stored one; gives the stack as stored.
async fn write_status<K: Connect>(
    cx: &Context<K>,
    mut stack: ClearwaterStack,
    told: StackStatus,
) -> Result<ClearwaterStack, RoundError> {
    let same = |old| status::same(old, &told);
    if stack.status.as_ref().is_some_and(same) {
        return Ok(stack);
    }
    stack.status = Some(told);
    // It is written over what was read, or not at all.
    stack.metadata = cx.store.put_status(&stack).await?;
    Ok(stack)
}

/// Everything left to do for a manifest that is not applied yet, or is.
///
/// # Errors
/// Words for people: the account is not usable, or could not be looked at.
pub async fn preview<K: Connect>(
    cx: &Context<K>,
    mut stack: ClearwaterStack,
) -> Result<plan::preview::Preview, String> {
    let key = ObjectKey::new(
        Kind::ClearwaterStack,
        &stack.metadata.namespace,
        &stack.metadata.name,
    );
    let stored = cx
        .store
        .get_as::<ClearwaterStack>(&key.namespace, &key.name)
        .await;
    if let Some(stored) = stored.map_err(|error| error.to_string())? {
        let annotations = stack.metadata.annotations;
        stack.metadata = stored.metadata;
        stack.metadata.annotations = annotations;
        stack.status = stored.status;
    }
    stack
        .metadata
        .uid
        .get_or_insert_with(|| crate::types::id::Uid::new("not-yet-made"));
    let account = cx
        .accounts
        .get(&cx.store, &key.namespace, &stack.spec.account_ref.name)
        .await
        .map_err(|error| error.to_string())?;
    let machines = machines::of(cx, &stack)
        .await
        .map_err(|error| error.to_string())?;
    let found = secrets(cx, &stack)
        .await
        .map_err(|error| error.to_string())?;
    // A Secret that is applied together with the stack is not there yet.
    let missing = stack.spec.bootstrap.is_some() && found.is_none();
    let secrets = found.or_else(|| missing.then(Secrets::rehearsed));
    let decided = decide(cx, &stack, &account, (machines, secrets))
        .await
        .map_err(|error| format!("CloudStack could not be looked at: {error}"))?;
    let mut preview = plan::preview::preview(decided.input(cx, &stack, &account));
    if missing {
        preview.block("spec.bootstrap", plan::secret_not_found(&stack));
    }
    Ok(preview)
}
