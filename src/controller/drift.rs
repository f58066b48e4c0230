//! What is told of drift: that it was seen, who did it, and that it is gone.

use std::time::Duration;

use super::{
    Context,
    account::Account,
    journal::{About, Entry},
};
use crate::{
    cloud::{Cloud, CloudEvent, Connect},
    plan::{Drift, Plan},
    types::stack::{ClearwaterStack, DriftField, DriftReport, StackStatus},
};

/// Two looks apart, at the default resync: how far back events are searched for who did it.
const CULPRIT_WINDOW: Duration = Duration::from_secs(300);

/// Tells of drift that is new, and of drift that is gone. Adds to new drift in the status who did
/// it, where CloudStack tells.
pub(super) async fn announce<K: Connect>(
    cx: &Context<K>,
    stack: &ClearwaterStack,
    plan: &Plan,
    before: &[DriftReport],
    account: &Account<K::Cloud>,
    told: &mut StackStatus,
) {
    let fresh: Vec<&mut DriftReport> = told
        .drift
        .iter_mut()
        .filter(|new| !before.iter().any(|old| same_drift(old, new)))
        .collect();
    let culprits = if fresh.is_empty() {
        Vec::new()
    } else {
        recent_events(cx, account).await
    };
    for report in fresh {
        cx.metrics.drift_seen(kind_of(report), report.field.name());
        report.by = deed(plan, report, &culprits);
        let by = report.by.as_ref();
        let by = by.map_or_else(String::new, |by| format!("; CloudStack says that {by}"));
        let message = format!(
            "drift: {} of {}: want {}, have {}{by}",
            report.field.name(),
            report.subject,
            report.want,
            report.have,
        );
        cx.journal.tell(
            About::object(stack),
            Entry::warning("DriftDetected", message),
        );
    }
    for gone in before
        .iter()
        .filter(|old| !told.drift.iter().any(|new| same_drift(old, new)))
    {
        let now = cx.clock.now();
        let after = gone
            .since
            .map(|since| now.duration_since(since).unsigned_abs());
        let after = after.unwrap_or_default();
        cx.metrics
            .drift_repaired(kind_of(gone), gone.field.name(), after);
        let message = format!(
            "{} of {} is as it should be again, {:.1} s after it was seen",
            gone.field.name(),
            gone.subject,
            after.as_secs_f64()
        );
        cx.journal.tell(
            About::object(stack),
            Entry::normal("DriftRepaired", message),
        );
    }
}

/// Who did what, where CloudStack tells. That a machine does not serve is nobody's command.
fn deed(plan: &Plan, report: &DriftReport, events: &[CloudEvent]) -> Option<String> {
    let same = |drift: &&Drift| drift.subject == report.subject && drift.field == report.field;
    let drift = plan.drift.iter().find(same)?;
    if drift.field == DriftField::Health {
        return None;
    }
    let event = culprit(events, drift.resource.as_deref()?)?;
    let at = event.at.strftime("%H:%M:%S");
    Some(format!("user {} did {} at {at}", event.user, event.kind))
}

/// What kind of thing drifted, as metric label: the first word of the subject.
fn kind_of(report: &DriftReport) -> &str {
    report.subject.split(' ').next().unwrap_or_default()
}

/// A hint at most; a cloud that does not tell costs nothing but the hint.
async fn recent_events<K: Connect>(
    cx: &Context<K>,
    account: &Account<K::Cloud>,
) -> Vec<CloudEvent> {
    account
        .cloud()
        .events_since(cx.clock.now() - CULPRIT_WINDOW)
        .await
        .unwrap_or_default()
}

/// Who did last something to a resource that could have made it drift. Starts and creations are no
/// such thing; Weir's own are among them.
fn culprit<'a>(events: &'a [CloudEvent], resource: &str) -> Option<&'a CloudEvent> {
    let about = |event: &&CloudEvent| event.resource.as_deref() == Some(resource);
    let harmless = |event: &&CloudEvent| {
        let deed = event.kind.rsplit('.').next();
        matches!(deed, Some("START" | "CREATE"))
    };
    events
        .iter()
        .rev()
        .find(|event| about(event) && !harmless(event))
}

/// Whether two reports speak of the same field of the same subject.
pub(super) fn same_drift(a: &DriftReport, b: &DriftReport) -> bool {
    a.subject == b.subject && a.field == b.field
}
