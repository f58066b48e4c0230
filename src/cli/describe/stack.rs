//! The description of a stack, for somebody who was woken by it.

use jiff::Timestamp;

use super::{
    super::{
        age::between,
        page::Page,
        paint::{Cell, Paint, Tone, row},
    },
    diagnosis::brief,
    parts,
};
use crate::types::{
    account::CloudAccount,
    core::Event,
    machine::Machine,
    meta::{Condition, ConditionStatus, ObjectMeta, condition},
    role::Role,
    stack::{AclSpec, ClearwaterStack, PAUSED_UNTIL, PAUSED_WHY, StackSpec, StackStatus, VpcSpec},
};

/// Everything that the description of a stack is made of.
#[derive(Debug)]
pub(super) struct StackView<'a> {
    /// The stack.
    pub(super) stack: &'a ClearwaterStack,
    /// Its account, where it could be read.
    pub(super) account: Option<&'a CloudAccount>,
    /// Its machines.
    pub(super) machines: &'a [Machine],
    /// Its events and those of its machines, oldest first.
    pub(super) events: &'a [Event],
}

/// The description of a stack as of `now`.
pub(super) fn describe(view: &StackView<'_>, now: Timestamp, paint: Paint) -> String {
    let mut page = Page::new(paint);
    let stack = view.stack;
    let empty = StackStatus::default();
    let status = stack.status.as_ref().unwrap_or(&empty);
    parts::metadata(&mut page, &stack.metadata, now);
    summary(&mut page, view, now);
    parts::conditions(&mut page, &status.conditions, now);
    roles(&mut page, &stack.spec, status);
    machines(&mut page, view.machines, now);
    network(&mut page, &stack.spec, status);
    parts::drift(&mut page, status.drift.iter(), now);
    parts::steps(&mut page, status.steps.iter(), now);
    failures(&mut page, status, now);
    parts::events(&mut page, view.events, now);
    page.finish()
}

fn summary(page: &mut Page, view: &StackView<'_>, now: Timestamp) {
    let stack = view.stack;
    let empty = StackStatus::default();
    let status = stack.status.as_ref().unwrap_or(&empty);
    page.field("Domain", &stack.spec.domain);
    page.field("Account", &stack.spec.account_ref.name);
    let phase = match status.phase.as_str() {
        "" => "Unknown: no controller has looked at it yet",
        phase => phase,
    };
    page.field("Phase", Cell::word(phase));
    let ready = format!("{} of {} machines", status.ready_replicas, status.replicas);
    page.field("Ready", ready);
    if let Some(problem) = parts::unmet(&status.conditions, "Ready") {
        page.sentences("Problem", &brief(&problem), Tone::Bad);
    }
    if let Some(cause) = cause(status) {
        page.sentences("Cause", &cause, Tone::Bad);
    }
    page.field_if(
        "Paused",
        paused(&stack.metadata, now).map(|text| Cell::new(text, Tone::Busy)),
    );
    page.field_if(
        "Manifest",
        behind(stack).map(|text| Cell::new(text, Tone::Busy)),
    );
    parts::last_look(page, stack, view.account, now);
}

/// What stands behind a stack that is not ready, where that says more than its machines do.
fn cause(status: &StackStatus) -> Option<String> {
    let degraded = condition(&status.conditions, "Degraded")?;
    let ready = condition(&status.conditions, "Ready")?;
    let holds = |condition: &Condition| condition.status == ConditionStatus::True;
    let more = holds(degraded) && !holds(ready) && !ready.message.contains(&degraded.message);
    let told = ready
        .message
        .ends_with(degraded.message.split_once(": ")?.1);
    (more && !told).then(|| format!("{}: {}", degraded.reason, brief(&degraded.message)))
}

/// Until when and why the stack is paused, if it is.
pub(in super::super) fn paused(meta: &ObjectMeta, now: Timestamp) -> Option<String> {
    let until: Timestamp = meta.annotations.get(PAUSED_UNTIL)?.parse().ok()?;
    let why = meta.annotations.get(PAUSED_WHY).map_or("", String::as_str);
    (until > now).then(|| format!("for another {}: {why}", between(now, until)))
}

/// Whether the controller has not caught up with the manifest.
fn behind(stack: &ClearwaterStack) -> Option<String> {
    let written = stack.metadata.generation?;
    let observed = stack.status.as_ref()?.observed_generation;
    (observed < written)
        .then(|| format!("generation {written} was written, the status speaks of {observed}"))
}

fn roles(page: &mut Page, spec: &StackSpec, status: &StackStatus) {
    let rows = Role::ALL.into_iter().filter_map(|role| {
        let counts = status.roles.get(&role).copied().unwrap_or_default();
        let wanted = wanted(spec, role);
        let shown = wanted > 0 || counts != Default::default();
        let tone = if counts.ready >= wanted {
            Tone::Good
        } else {
            Tone::Bad
        };
        shown.then(|| {
            row![
                role.name(),
                wanted.to_string(),
                Cell::new(counts.ready.to_string(), tone),
                counts.updated.to_string(),
            ]
        })
    });
    page.table(
        "Roles",
        &["ROLE", "WANT", "READY", "UPDATED"],
        rows.collect(),
    );
}

/// Machines of a role that the manifest asks for.
fn wanted(spec: &StackSpec, role: Role) -> u32 {
    spec.replicas(role)
}

fn machines(page: &mut Page, machines: &[Machine], now: Timestamp) {
    let rows = machines.iter().map(|machine| {
        let status = machine.status.clone().unwrap_or_default();
        let address = |address: Option<std::net::Ipv4Addr>| {
            address.map_or_else(|| "-".to_owned(), |ip| ip.to_string())
        };
        row![
            &machine.metadata.name,
            Cell::word(status.phase.name()),
            status
                .since
                .map_or_else(|| "-".to_owned(), |since| between(since, now)),
            status.vm_state.as_deref().unwrap_or("-"),
            address(status.private_address),
            address(status.public_address),
            brief(status.next.as_deref().unwrap_or("")),
        ]
    });
    let header = ["NAME", "PHASE", "FOR", "VM", "PRIVATE", "PUBLIC", "NEXT"];
    page.table("Machines", &header, rows.collect());
}

fn network(page: &mut Page, spec: &StackSpec, status: &StackStatus) {
    let network = &spec.network;
    let ledger = &status.ledger;
    let not_yet = "not made yet";
    let vpc = match &network.vpc {
        VpcSpec::Existing { id } => row!["VPC", "-", id.as_str(), "existing, left alone"],
        VpcSpec::Owned { cidr, .. } => {
            let id = ledger.vpc.as_ref().map_or(not_yet, |id| id.as_str());
            row!["VPC", cidr.to_string(), id, "made by Weir"]
        }
    };
    let tier = ledger.tier.as_ref().map_or(not_yet, |id| id.as_str());
    let acl = match &network.acl {
        AclSpec::Existing { id } => row!["ACL list", "-", id.as_str(), "existing, left alone"],
        AclSpec::Managed => {
            let id = ledger.acl.as_ref().map_or(not_yet, |id| id.as_str());
            row!["ACL list", "-", id, "made by Weir"]
        }
    };
    let tier = row![
        "tier",
        network.cidr.to_string(),
        tier,
        format!("gateway {}", network.gateway())
    ];
    page.table(
        "Network",
        &["WHAT", "RANGE", "ID", "NOTE"],
        vec![vpc, tier, acl],
    );
}

fn failures(page: &mut Page, status: &StackStatus, now: Timestamp) {
    let rows = status.ledger.failures.iter().map(|(subject, failure)| {
        let retry = match failure.retry_after > now {
            true => format!("in {}", between(now, failure.retry_after)),
            false => "now".to_owned(),
        };
        row![
            subject,
            &failure.command,
            failure.times.to_string(),
            between(failure.at, now),
            retry,
            Cell::new(
                brief(&format!("{}: {}", failure.reason, failure.message)),
                Tone::Bad
            ),
        ]
    });
    let header = ["SUBJECT", "COMMAND", "TIMES", "LAST", "RETRY", "WHY"];
    page.table("Failures", &header, rows.collect());
}
