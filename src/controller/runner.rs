//! Keeps the rounds going: workers, watches of the store that wake them, back-off, graceful stop.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hasher},
    io,
    panic::AssertUnwindSafe,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::FutureExt;
use jiff::Timestamp;
use tokio::{sync::mpsc, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;
use tracing::Instrument;

use super::{
    Context,
    account::Account,
    accounts::AccountError,
    journal::{self, About, Entry},
    queue::Urgency,
    reconcile::{Next, RoundError, reconcile, record},
    status::BREAKER_OPEN,
};
use crate::{
    cloud::{Cloud, CloudError, Connect},
    store::StoreError,
    types::{
        account::{CloudAccount, CloudAccountStatus},
        inventory::Catalogue,
        machine::{Machine, Phase},
        meta::{
            Condition, ConditionStatus, Kind, Object, ObjectKey, ObjectMeta, ResourceVersion,
            set_condition,
        },
        role::Role,
        stack::ClearwaterStack,
    },
};

/// Rounds at once. Rounds wait for HTTP most of their time; two cores keep up with four.
const WORKERS: usize = 4;

/// Time that rounds under way are given to end at a stop, and that commands under way are given
/// to be answered.
const GRACE: Duration = Duration::from_secs(2);

/// Events that are kept, and for how long.
const EVENTS_KEPT: usize = 5_000;
const EVENTS_AGE: Duration = Duration::from_secs(3 * 86_400);

/// Longest wait between two tries of a round that fails.
const BACK_OFF_MAX: Duration = Duration::from_secs(120);

/// Time between two looks at an account that could not be looked at.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// How long a look at our own health may take: whoever asks waits a few seconds at most.
const READY: Duration = Duration::from_secs(3);

/// Time between two tries with keys that were denied: somebody has to change them, which wakes
/// whoever waits, and knocking on in the meantime looks like an attack.
const DENIED_PAUSE: Duration = Duration::from_secs(60);

/// Runs the loop until `stop`, then lets rounds under way end.
///
/// # Errors
/// The store could not be read at the start.
pub async fn run<K: Connect>(
    cx: Arc<Context<K>>,
    entries: mpsc::Receiver<(About, Entry)>,
    stop: CancellationToken,
) -> Result<(), StoreError> {
    let mut tasks = JoinSet::new();
    for kind in [
        Kind::ClearwaterStack,
        Kind::CloudAccount,
        Kind::Secret,
        Kind::Machine,
    ] {
        let from = wake_all(&cx, kind).await?;
        let (cx, stop) = (Arc::clone(&cx), stop.clone());
        tasks.spawn(async move {
            stop.run_until_cancelled(watch(&cx, kind, from))
                .await
                .unwrap_or(());
        });
    }
    tasks.spawn(journal::write(cx.store.clone(), cx.clock.clone(), entries));
    let probing = (Arc::clone(&cx), stop.clone());
    tasks.spawn(async move {
        probing
            .1
            .run_until_cancelled(probing.0.probes.run())
            .await
            .unwrap_or(());
    });
    let naming = (Arc::clone(&cx), stop.clone());
    tasks.spawn(async move {
        naming
            .1
            .run_until_cancelled(naming.0.names.run())
            .await
            .unwrap_or(());
    });
    let sweeping = (Arc::clone(&cx), stop.clone());
    tasks.spawn(async move {
        sweeping
            .1
            .run_until_cancelled(sweep(&sweeping.0))
            .await
            .unwrap_or(());
    });
    let backs = Arc::new(Mutex::new(BTreeMap::new()));
    let mut workers = JoinSet::new();
    for _ in 0..WORKERS {
        workers.spawn(work(Arc::clone(&cx), Arc::clone(&backs)));
    }
    stop.cancelled().await;
    cx.queue.close();
    let drained = tokio::time::timeout(GRACE, async {
        while workers.join_next().await.is_some() {}
    });
    if drained.await.is_err() {
        tracing::warn!("rounds under way were cut short; the ledger has what they sent");
    }
    let answered = tokio::time::timeout(GRACE, record_answers(&cx));
    if answered.await.is_err() {
        tracing::warn!("commands under way were not answered in time; the next start looks");
    }
    Ok(())
}

/// Waits until what was sent is answered, and records it: a resource whose id is known need not
/// be looked for at the next start.
async fn record_answers<K: Connect>(cx: &Context<K>) {
    for (_, account) in cx.accounts.all() {
        while account.in_hand() > 0 {
            cx.clock.sleep(Duration::from_millis(10)).await;
        }
        for key in account.unrecorded() {
            if let Err(error) = Box::pin(record(cx, &account, &key)).await {
                tracing::warn!(object = %key, error = &error as &dyn std::error::Error, "answers not recorded");
            }
        }
    }
}

/// Wakes every object of a kind; gives the version to watch from.
async fn wake_all<K: Connect>(cx: &Context<K>, kind: Kind) -> Result<ResourceVersion, StoreError> {
    let listing = cx.store.list(kind, None).await?;
    for object in &listing.items {
        wake(cx, object).await;
    }
    Ok(listing.version)
}

/// Wakes whoever depends on an object.
async fn wake<K: Connect>(cx: &Context<K>, object: &Object) {
    let Ok(key) = object.key() else { return };
    match key.kind {
        Kind::ClearwaterStack => cx.queue.add(key, Urgency::Change),
        Kind::CloudAccount => {
            wake_stacks(cx, &key.namespace, |stack| {
                stack.spec.account_ref.name == key.name
            })
            .await;
            cx.queue.add(key, Urgency::Change);
        }
        Kind::Secret => {
            wake_stacks(cx, &key.namespace, |stack| names_secret(stack, &key.name)).await;
            let accounts: Vec<CloudAccount> = cx
                .store
                .list_as(Some(&key.namespace))
                .await
                .unwrap_or_default();
            for account in accounts
                .iter()
                .filter(|a| a.spec.secret_ref.name == key.name)
            {
                let name = account.metadata.name.clone();
                wake_stacks(cx, &key.namespace, |stack| {
                    stack.spec.account_ref.name == name
                })
                .await;
                let account = ObjectKey::new(Kind::CloudAccount, &key.namespace, name);
                cx.queue.add(account, Urgency::Change);
            }
        }
        // Weir writes Machines itself; only a deletion asks for anything.
        Kind::Machine if object.metadata.deleting() => {
            if let Ok(machine) = object.decode::<Machine>() {
                let stack = machine.spec.stack_ref.name;
                let key = ObjectKey::new(Kind::ClearwaterStack, &key.namespace, stack);
                cx.queue.add(key, Urgency::Change);
            }
        }
        _ => {}
    }
}

/// Whether a stack is made with what a Secret holds, or its name servers know it by that.
fn names_secret(stack: &ClearwaterStack, secret: &str) -> bool {
    let bootstrap = stack.spec.bootstrap.iter();
    let mut bootstrap = bootstrap.map(|bootstrap| &bootstrap.secret_ref.name);
    let servers = stack.spec.dns.servers.iter();
    let mut servers = servers.map(|server| &server.secret_ref.name);
    let former = stack.status.iter();
    let mut former = former.flat_map(|status| &status.ledger.name_servers);
    bootstrap.any(|name| name == secret)
        || servers.any(|name| name == secret)
        || former.any(|server| server.secret == secret)
}

async fn wake_stacks<K: Connect>(
    cx: &Context<K>,
    namespace: &str,
    concerned: impl Fn(&ClearwaterStack) -> bool,
) {
    let stacks: Vec<ClearwaterStack> = cx.store.list_as(Some(namespace)).await.unwrap_or_default();
    for stack in stacks.iter().filter(|stack| concerned(stack)) {
        let key = ObjectKey::new(Kind::ClearwaterStack, namespace, &stack.metadata.name);
        cx.queue.add(key, Urgency::Change);
    }
}

/// Watches a kind for ever. A watch that fell behind is begun anew from a list.
async fn watch<K: Connect>(cx: &Context<K>, kind: Kind, mut from: ResourceVersion) {
    let mut seen: BTreeMap<ObjectKey, u64> = BTreeMap::new();
    loop {
        if let Ok(mut watch) = cx.store.watch(kind, None, from) {
            while let Some(event) = watch.next().await {
                from = event.version;
                if asks_for_a_round(&event.object, &mut seen) {
                    wake(cx, &event.object).await;
                }
            }
        }
        match wake_all(cx, kind).await {
            Ok(version) => from = version,
            Err(error) => {
                tracing::warn!(%error, %kind, "store cannot be listed");
                cx.clock.sleep(Duration::from_secs(1)).await;
            }
        }
    }
}

/// Whether a change is more than the status that a round wrote itself.
fn asks_for_a_round(object: &Object, seen: &mut BTreeMap<ObjectKey, u64>) -> bool {
    let Ok(key) = object.key() else { return false };
    if !key.kind.has_status() {
        return true;
    }
    let print = print(object);
    seen.insert(key, print) != Some(print)
}

/// A print of what is asked of an object: everything but its status and what goes with each write.
fn print(object: &Object) -> u64 {
    let metadata = ObjectMeta {
        resource_version: String::new(),
        managed_fields: Vec::new(),
        ..object.metadata.clone()
    };
    let members = object.body.iter().filter(|(name, _)| *name != "status");
    let asked = (metadata, members.collect::<Vec<_>>());
    let mut print = Print(DefaultHasher::new());
    serde_json::to_writer(&mut print, &asked).expect("members have text keys");
    print.0.finish()
}

/// Takes a text in without keeping it.
struct Print(DefaultHasher);

impl io::Write for Print {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

type BackOffs = Arc<Mutex<BTreeMap<ObjectKey, u32>>>;

async fn work<K: Connect>(cx: Arc<Context<K>>, backs: BackOffs) {
    while let Some((key, waited)) = cx.queue.next().await {
        let started = Instant::now();
        let span = tracing::info_span!("round", object = %key);
        let round = AssertUnwindSafe(one_round(&cx, &key))
            .catch_unwind()
            .instrument(span);
        let mut least = Duration::ZERO;
        let (result, next) = match round.await {
            Ok(Ok(next)) => ("success", Some(next)),
            Ok(Err(error)) if error.conflict() => ("success", Some(Next::After(Duration::ZERO))),
            Ok(Err(error)) => {
                tracing::warn!(object = %key, error = &error as &dyn std::error::Error, "round failed");
                if matches!(error, RoundError::Cloud(CloudError::Denied { .. })) {
                    least = DENIED_PAUSE;
                }
                ("error", None)
            }
            Err(panic) => {
                let what = panic_text(panic.as_ref());
                tracing::error!(object = %key, what, "round panicked");
                tell_panic(&cx, &key, what).await;
                ("panic", None)
            }
        };
        cx.metrics
            .reconciled(key.kind.singular(), result, started.elapsed(), waited);
        cx.queue.done(&key);
        let mut failures = backs
            .lock()
            .expect("nothing panics while it holds the back-offs");
        match next {
            Some(next) => {
                failures.remove(&key);
                if let Next::After(delay) = next {
                    cx.queue.add_after(key, delay);
                }
            }
            None => {
                let times = failures.entry(key.clone()).or_default();
                *times += 1;
                let delay = Duration::from_secs(1 << (*times - 1).min(7));
                let delay = delay.clamp(least, BACK_OFF_MAX);
                cx.queue.add_after(key, delay + cx.ids.jitter(delay / 4));
            }
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied())
        .unwrap_or("no message")
}

/// Shows a bug in the object's own status, where its owner looks.
async fn tell_panic<K: Connect>(cx: &Context<K>, key: &ObjectKey, what: &str) {
    if key.kind != Kind::ClearwaterStack {
        return;
    }
    let stack = cx
        .store
        .get_as::<ClearwaterStack>(&key.namespace, &key.name)
        .await;
    let Ok(Some(stack)) = stack else { return };
    let message = format!("a round failed with a bug of Weir's: {what}");
    let status = super::status::not_planned(&stack, "InternalError", &message, cx.clock.now());
    cx.journal.tell(
        About::object(&stack),
        Entry::warning("InternalError", message),
    );
    let told = ClearwaterStack {
        status: Some(status),
        ..stack
    };
    if let Err(error) = cx.store.update_status(Object::encode(&told)).await {
        tracing::warn!(%error, "the bug could not be told in the status");
    }
}

async fn one_round<K: Connect>(cx: &Context<K>, key: &ObjectKey) -> Result<Next, RoundError> {
    match key.kind {
        Kind::CloudAccount => account_round(cx, key).await,
        _ => reconcile(cx, key).await,
    }
}

/// One round for an account: look at it, tell whether it can be used.
async fn account_round<K: Connect>(cx: &Context<K>, key: &ObjectKey) -> Result<Next, RoundError> {
    let object = cx
        .store
        .get_as::<CloudAccount>(&key.namespace, &key.name)
        .await?;
    let Some(object) = object else {
        cx.accounts.forget(&key.namespace, &key.name);
        return Ok(Next::Forget);
    };
    let mut status = object.status.clone().unwrap_or_default();
    let now = cx.clock.now();
    let next = match cx.accounts.get(&cx.store, &key.namespace, &key.name).await {
        Err(AccountError::Store(error)) => return Err(error.into()),
        Err(AccountError::NotUsable { reason, message }) => {
            tell_account(&mut status, &object, reason, message, now);
            Next::After(Duration::from_secs(60))
        }
        Ok(account) => match look(&account).await {
            Ok(catalogue) => {
                status.version = Some(catalogue.version.clone());
                status.rights = Some(catalogue.rights);
                status.virtual_machines = u64::try_from(account.virtual_machines()).ok();
                tell_breakers(&mut status, &object, &account.open_breakers(), now);
                match &catalogue.zone {
                    Some(_) => tell_account(&mut status, &object, "", String::new(), now),
                    None => {
                        let zones: Vec<&str> = catalogue
                            .zones
                            .iter()
                            .map(|zone| zone.name.as_str())
                            .collect();
                        let message = format!(
                            "spec.zone: {} names no zone, or not just one; there are: {}",
                            object.spec.zone.as_deref().unwrap_or("nothing"),
                            zones.join(", ")
                        );
                        tell_account(&mut status, &object, "ZoneNotFound", message, now);
                    }
                }
                let resync = account.spec().resync_interval.get();
                Next::After(resync + cx.ids.jitter(resync / 10))
            }
            Err(error) => {
                let message = super::status::chain(&error);
                tell_account(&mut status, &object, error.reason(), message, now);
                let denied = matches!(error, CloudError::Denied { .. });
                Next::After(if denied { DENIED_PAUSE } else { LOOK_AGAIN })
            }
        },
    };
    status.last_look = match cx.accounts.get(&cx.store, &key.namespace, &key.name).await {
        Ok(account) => account.looked_at().map(|at| minute(at, status.last_look)),
        Err(_) => status.last_look,
    };
    if object.status.as_ref() != Some(&status) {
        let told = CloudAccount {
            status: Some(status),
            ..object
        };
        cx.store.put_status(&told).await?;
    }
    Ok(next)
}

/// Looks at an account; gives what it offers.
async fn look<C: Cloud>(account: &Account<C>) -> Result<Arc<Catalogue>, CloudError> {
    let catalogue = account.catalogue(Duration::from_secs(600)).await?;
    if !account.knows_jobs() {
        account.jobs().await?;
    }
    account.observe().await?;
    Ok(catalogue)
}

/// A time that is told anew only when a minute has passed, so that a healthy account is not
/// written at every look.
fn minute(at: Timestamp, told: Option<Timestamp>) -> Timestamp {
    match told {
        Some(told) if at.duration_since(told).unsigned_abs() < Duration::from_secs(60) => told,
        _ => at,
    }
}

/// `Ready`, with an empty reason for yes.
fn tell_account(
    status: &mut CloudAccountStatus,
    account: &CloudAccount,
    reason: &str,
    message: String,
    now: Timestamp,
) {
    let ready = reason.is_empty();
    status.observed_generation = account.metadata.generation.unwrap_or_default();
    let condition = Condition {
        kind: "Ready".to_owned(),
        status: if ready {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        },
        reason: if ready {
            "Looked".to_owned()
        } else {
            reason.to_owned()
        },
        message,
        last_transition_time: now,
        observed_generation: account.metadata.generation,
    };
    set_condition(&mut status.conditions, condition);
}

/// `BreakerOpen`, shown only while commands are held back because they keep failing.
fn tell_breakers(
    status: &mut CloudAccountStatus,
    account: &CloudAccount,
    open: &[(String, String)],
    now: Timestamp,
) {
    if open.is_empty() {
        status
            .conditions
            .retain(|condition| condition.kind != BREAKER_OPEN);
        return;
    }
    let whys: Vec<&str> = open.iter().map(|(_, why)| why.as_str()).collect();
    let condition = Condition {
        kind: BREAKER_OPEN.to_owned(),
        status: ConditionStatus::True,
        reason: "CommandsKeepFailing".to_owned(),
        message: whys.join("; "),
        last_transition_time: now,
        observed_generation: account.metadata.generation,
    };
    set_condition(&mut status.conditions, condition);
}

/// Forgets old events now and then.
async fn sweep<K: Connect>(cx: &Context<K>) {
    loop {
        cx.clock.sleep(Duration::from_secs(600)).await;
        let older = cx.clock.now() - EVENTS_AGE;
        if let Err(error) = cx.store.compact_events(EVENTS_KEPT, older).await {
            tracing::warn!(%error, "old events not forgotten");
        }
    }
}

/// Why the controller cannot do its work, if it cannot: the store, or an account that denies us.
///
/// # Errors
/// The reason, in words for people.
pub async fn ready<K: Connect>(cx: &Context<K>) -> Result<(), String> {
    let known = tokio::time::timeout(READY, unready(cx)).await;
    known.unwrap_or_else(|_| Err(format!("the store did not answer within {READY:?}")))
}

async fn unready<K: Connect>(cx: &Context<K>) -> Result<(), String> {
    cx.store
        .check()
        .await
        .map_err(|error| error.with_causes())?;
    let accounts: Vec<CloudAccount> = cx
        .store
        .list_as(None)
        .await
        .map_err(|error| error.to_string())?;
    for account in accounts {
        let denied = account
            .status
            .iter()
            .flat_map(|status| &status.conditions)
            .find(|condition| condition.kind == "Ready" && condition.reason == "Unauthorized");
        if let Some(condition) = denied {
            let name = &account.metadata.name;
            return Err(format!("CloudAccount {name}: {}", condition.message));
        }
    }
    Ok(())
}

/// Sets the gauges that describe the state, then writes all metrics.
pub async fn metrics<K: Connect>(cx: &Context<K>) -> String {
    cx.metrics.set_queue_depth(cx.queue.depth());
    let mut open = Vec::new();
    for (key, account) in cx.accounts.all() {
        let name = format!("{}/{}", key.namespace, key.name);
        cx.metrics.set_jobs(&name, account.jobs_followed());
        let breakers = account.open_breakers().into_iter();
        open.extend(breakers.map(|(command, _)| (name.clone(), command)));
    }
    let open = open
        .iter()
        .map(|(account, command)| (account.as_str(), command.as_str()));
    cx.metrics.set_breakers(open);
    let machines: Vec<Machine> = cx.store.list_as(None).await.unwrap_or_default();
    for role in Role::ALL {
        for phase in Phase::ALL {
            let here = machines.iter().filter(|machine| {
                let told = machine
                    .status
                    .as_ref()
                    .map(|status| status.phase)
                    .unwrap_or_default();
                machine.spec.role == role && told == phase
            });
            cx.metrics
                .set_machines(role.name(), phase.name(), here.count());
        }
    }
    let stacks: Vec<ClearwaterStack> = cx.store.list_as(None).await.unwrap_or_default();
    let ready = stacks.iter().filter(|stack| {
        stack
            .status
            .as_ref()
            .is_some_and(|status| status.phase == "Ready")
    });
    let ready = ready.count();
    cx.metrics.set_stacks("true", ready);
    cx.metrics.set_stacks("false", stacks.len() - ready);
    cx.metrics.text()
}
