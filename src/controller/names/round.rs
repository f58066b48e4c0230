//! What a stack's round decides about its names, and tells of them.

use std::{collections::BTreeMap, time::Duration};

use jiff::Timestamp;

use super::{
    Known,
    place::{self, Target},
};
use crate::{
    cloud::Connect,
    controller::{
        Context,
        journal::{About, Entry},
    },
    names::{
        Records,
        diff::{Change, Difference, Owner, Seen, difference},
        told,
        update::{BYTES_MAX, Update, updates},
    },
    plan::{Drift, Health, Plan, fingerprint},
    store::StoreError,
    types::{
        ledger::{Ledger, NameServer},
        meta::{Condition, ConditionStatus, Resource, condition, set_condition},
        stack::{ClearwaterStack, DnsMode, DriftField, DriftMode, StackStatus},
    },
};

/// The condition that tells of a stack's names; shown where Weir keeps them, or has to take them back.
pub(crate) const DNS_READY: &str = "DNSReady";

/// Differences of one server that a status lists at most.
const DRIFT_MAX: usize = 20;

/// Reasons that pass by themselves within seconds.
const PASSING: [&str; 4] = ["Updating", "Looking", "Waiting", "RecordsChanged"];

/// What came of deciding: what to tell, and what to send once that is stored.
#[derive(Default)]
pub(crate) struct Decision {
    told: Option<Told>,
    send: Vec<(NameServer, String, Vec<Update>)>,
}

/// The condition: whether it holds, the reason, the message.
type Told = (bool, &'static str, String);

/// A server with what is wanted there and what was found.
struct Case {
    target: Target,
    wanted: Records,
    found: Found,
}

enum Found {
    /// It cannot be looked at, and why.
    Trouble(&'static str, String),
    /// It has not been looked at for what is wanted now.
    Nothing,
    /// What it has, and how that differs.
    Difference(Box<(Seen, Difference, Known)>),
}

/// Decides what the stack's name servers are to be told. `plan` gets the drift, `ledger` what is to
/// be remembered; both are stored before anything is sent.
///
/// # Errors
/// The store could not be read.
pub(crate) async fn decide<K: Connect>(
    cx: &Context<K>,
    stack: &ClearwaterStack,
    plan: &mut Plan,
    ledger: &mut Ledger,
    (health, paused, every): (&BTreeMap<String, Health>, bool, Duration),
) -> Result<Decision, StoreError> {
    if place::orphans(stack) {
        ledger.name_servers.clear();
    }
    let targets = place::targets(stack, ledger, plan);
    let managed = stack.spec.dns.mode == DnsMode::Managed && !stack.metadata.deleting();
    if targets.is_empty() {
        cx.names.forget(&stack.key());
        let message = "no machine of the role dns is ready, or `spec.bootstrap` is missing";
        let told = (false, "NameServerNotReady", message.to_owned());
        return Ok(Decision {
            told: managed.then_some(told),
            send: Vec::new(),
        });
    }
    let cases = look(cx, stack, (targets, plan, ledger), (health, every)).await?;
    let now = cx.clock.now();
    // A server that the names are to go from does not matter to the others.
    let mut kept = cases.iter().filter(|case| case.target.view.is_some());
    let troubled = kept.any(|case| !case.found.peaceful());
    let mut decision = Decision::default();
    let mut all = Vec::new();
    for case in cases {
        let told = one(
            cx,
            stack,
            (plan, ledger),
            &case,
            &mut decision,
            (paused, troubled, now),
        );
        all.push(told);
    }
    decision.told = summary(all);
    Ok(decision)
}

/// Has the servers watched; gives what is known of each.
async fn look<K: Connect>(
    cx: &Context<K>,
    stack: &ClearwaterStack,
    (targets, plan, ledger): (Vec<Target>, &Plan, &Ledger),
    (health, every): (&BTreeMap<String, Health>, Duration),
) -> Result<Vec<Case>, StoreError> {
    let (key, ttl) = (stack.key(), stack.spec.dns.ttl_seconds());
    let unknown = place::unknown(ledger, plan);
    let mut cases = Vec::new();
    let mut watched = Vec::new();
    for target in targets {
        let wanted = match target.view {
            None => Some(Records::new()),
            Some(_) if unknown.is_some() => cx.names.wanted(&key, &target.place),
            Some(view) => Some(place::wanted(stack, (ledger, plan), health, view)),
        };
        let server = place::server(cx, stack, &target.place).await?;
        let (wanted, found) = match (wanted, server) {
            (_, Err((reason, message))) => (Records::new(), Found::Trouble(reason, message)),
            (None, _) => {
                let (reason, message) = unknown.unwrap_or_default();
                (Records::new(), Found::Trouble(reason, message.to_owned()))
            }
            (Some(wanted), Ok(server)) => {
                watched.push((target.place.clone(), server, wanted.clone()));
                (wanted, Found::Nothing)
            }
        };
        cases.push(Case {
            target,
            wanted,
            found,
        });
    }
    let mut known = cx.names.watch(&key, watched, every);
    let owner = owner(stack);
    for case in &mut cases {
        let Some(known) = known.remove(&case.target.place) else {
            continue;
        };
        case.found = match known.seen.clone() {
            None => Found::Nothing,
            Some(Err(error)) => Found::Trouble(error.reason(), error.to_string()),
            Some(Ok(seen)) => {
                let domain = &case.target.place.domain;
                let found = difference(domain, (&case.wanted, ttl), &owner, &seen);
                Found::Difference(Box::new((seen, found, known)))
            }
        };
    }
    Ok(cases)
}

fn owner(stack: &ClearwaterStack) -> Owner {
    Owner {
        uid: stack.meta().stored_uid().to_string(),
        stack: format!("{}/{}", stack.metadata.namespace, stack.metadata.name),
    }
}

impl Found {
    /// Whether nothing speaks against a first update.
    fn peaceful(&self) -> bool {
        matches!(self, Self::Difference(found) if found.1.conflicts.is_empty())
    }
}

/// Decides for one server; gives what is to be told of it.
fn one<K: Connect>(
    cx: &Context<K>,
    stack: &ClearwaterStack,
    (plan, ledger): (&mut Plan, &mut Ledger),
    case: &Case,
    decision: &mut Decision,
    (paused, troubled, now): (bool, bool, Timestamp),
) -> Told {
    let place = &case.target.place;
    let (seen, found, known) = match &case.found {
        Found::Trouble(reason, message) => {
            return (false, reason, format!("{message}{}", hint(stack, case)));
        }
        Found::Nothing => return unseen(stack, ledger, case),
        Found::Difference(found) => &**found,
    };
    let (subject, print) = (subject(place), print(case, stack));
    if found.is_empty() {
        return settled((ledger, subject, print), case, found);
    }
    let drifted = ledger.applied.get(&subject) == Some(&print);
    let mode = stack.spec.drift.mode(DriftField::DnsRecord);
    if drifted {
        let changes = found.changes.iter().take(DRIFT_MAX);
        plan.drift
            .extend(changes.map(|change| drift(place, change, mode)));
    }
    let fresh = found.claim.is_none();
    let count = found.changes.len();
    let differ = format!("{count} record sets differ on {}", place.address);
    if paused {
        return (false, "Paused", differ);
    }
    if drifted && mode == DriftMode::Report {
        return (false, "Reported", differ);
    }
    if fresh && troubled {
        let message = "gets no names before all servers can be kept";
        return (false, "Waiting", format!("{} {message}", place.address));
    }
    if !(known.busy || known.retry_after.is_some_and(|at| at > now)) {
        if !case.target.own {
            ledger.remember_name_server(place.clone());
        }
        let ttl = stack.spec.dns.ttl_seconds();
        let all = updates(&place.domain, found, (&owner(stack), ttl), BYTES_MAX);
        if known.not_updated.is_none() {
            tell_update(cx, stack, place, found);
        }
        decision.send.push((place.clone(), seen.zone.clone(), all));
    }
    match &known.not_updated {
        Some(error) => (false, error.reason(), error.to_string()),
        None => {
            let message = format!("{count} record sets change on {}", place.address);
            (false, "Updating", message)
        }
    }
}

/// What else to know where a server cannot be looked at from which names are to be taken back.
fn hint(stack: &ClearwaterStack, case: &Case) -> &'static str {
    match (&case.target.view, stack.metadata.deleting()) {
        (Some(_), _) => "",
        (None, true) => {
            "; the stack's records are to be taken back first: `deletionPolicy: Orphan` leaves them \
             where they are"
        }
        (None, false) => "; the stack's records are still to be taken back there",
    }
}

/// A server that was not looked at yet for what is wanted now. Where that is what it had last, as for a
/// controller that has just begun, what was told of it holds.
fn unseen(stack: &ClearwaterStack, ledger: &Ledger, case: &Case) -> Told {
    let place = &case.target.place;
    let same = ledger.applied.get(&subject(place)) == Some(&print(case, stack));
    let told = stack.status.as_ref().filter(|_| same);
    let told = told.and_then(|status| condition(&status.conditions, DNS_READY));
    match told.filter(|told| told.status == ConditionStatus::True) {
        Some(told) => (true, "InSync", told.message.clone()),
        None => {
            let message = format!("{} is being looked at", place.address);
            (false, "Looking", message)
        }
    }
}

/// A server that has what it is to have, but for what is in the way.
fn settled(
    (ledger, subject, print): (&mut Ledger, String, u32),
    case: &Case,
    found: &Difference,
) -> Told {
    let place = &case.target.place;
    if let Some(conflict) = found.conflicts.first() {
        let more = match found.conflicts.len() {
            1 => String::new(),
            all => format!(" (and {} more)", all - 1),
        };
        return (
            false,
            conflict.reason(),
            format!("{}: {conflict}{more}", place.address),
        );
    }
    if case.target.view.is_none() {
        ledger.name_servers.remove(place);
        ledger.applied.remove(&subject);
        return (true, "InSync", String::new());
    }
    ledger.applied.insert(subject, print);
    let sets = case.wanted.len();
    (
        true,
        "InSync",
        format!("{sets} record sets on {}", place.address),
    )
}

/// What the ledger remembers the last wish of a server by.
fn subject(place: &NameServer) -> String {
    format!(
        "dns {} at {} by {}",
        place.domain, place.address, place.key_name
    )
}

fn print(case: &Case, stack: &ClearwaterStack) -> u32 {
    let ttl = stack.spec.dns.ttl_seconds();
    let mut text = format!("{ttl}");
    for (key, data) in &case.wanted {
        text.push_str(&format!("\n{key}"));
        for data in data {
            text.push_str(&format!(" {data}"));
        }
    }
    fingerprint(text)
}

fn drift(place: &NameServer, change: &Change, mode: DriftMode) -> Drift {
    let have = change.have.as_ref();
    let have = have.map_or_else(
        || "none".to_owned(),
        |set| format!("{} for {} s", told(&set.data), set.ttl),
    );
    Drift {
        subject: format!("dns {} on {}", change.key, place.address),
        field: DriftField::DnsRecord,
        want: change.want.as_ref().map_or_else(|| "none".to_owned(), told),
        have,
        mode,
        resource: None,
    }
}

fn tell_update<K: Connect>(
    cx: &Context<K>,
    stack: &ClearwaterStack,
    place: &NameServer,
    found: &Difference,
) {
    let change = |change: &Change| {
        let want = change.want.as_ref();
        let want = want.map_or_else(|| "none".to_owned(), told);
        format!("{} to {want}", change.key)
    };
    let what = match found.changes.as_slice() {
        [] => "Weir's marks go".to_owned(),
        [one] => change(one),
        [first, rest @ ..] => format!("{} and {} more", change(first), rest.len()),
    };
    let message = format!("{}: {what}", place.address);
    cx.journal
        .tell(About::object(stack), Entry::normal("DNSUpdate", message));
}

/// One condition for all servers: the first that is not as it should be has the word.
fn summary(all: Vec<Told>) -> Option<Told> {
    let rank = |told: &Told| match told {
        (true, _, _) => 2,
        (false, reason, _) if PASSING.contains(reason) => 1,
        (false, _, _) => 0,
    };
    let worst = all.iter().map(rank).min()?;
    if worst < 2 {
        return all.into_iter().find(|told| rank(told) == worst);
    }
    let messages: Vec<String> = all.into_iter().map(|(_, _, message)| message).collect();
    let messages: Vec<String> = messages.into_iter().filter(|one| !one.is_empty()).collect();
    (!messages.is_empty()).then(|| (true, "InSync", messages.join(", ")))
}

impl Decision {
    /// Tells the condition, and an event where it turned.
    pub(crate) fn tell<K: Connect>(
        &self,
        cx: &Context<K>,
        stack: &ClearwaterStack,
        status: &mut StackStatus,
    ) {
        let Some((ready, reason, message)) = &self.told else {
            status
                .conditions
                .retain(|condition| condition.kind != DNS_READY);
            return;
        };
        let before = condition(&status.conditions, DNS_READY).cloned();
        let now = if *ready {
            ConditionStatus::True
        } else {
            ConditionStatus::False
        };
        let turned = before.is_none_or(|before| (before.status, &*before.reason) != (now, *reason));
        let passing = PASSING.contains(reason) || matches!(*reason, "Paused" | "Reported");
        if turned && !passing {
            let entry = if *ready {
                Entry::normal("DNSReady", message.clone())
            } else {
                Entry::warning(*reason, message.clone())
            };
            cx.journal.tell(About::object(stack), entry);
        }
        let told = Condition {
            kind: DNS_READY.to_owned(),
            status: now,
            reason: (*reason).to_owned(),
            message: message.clone(),
            last_transition_time: cx.clock.now(),
            observed_generation: stack.metadata.generation,
        };
        set_condition(&mut status.conditions, told);
    }

    /// Has sent what was decided, now that it is stored.
    pub(crate) fn send<K: Connect>(self, cx: &Context<K>, stack: &ClearwaterStack) {
        for (place, zone, updates) in self.send {
            cx.names.send(&stack.key(), &place, zone, updates);
        }
    }
}
