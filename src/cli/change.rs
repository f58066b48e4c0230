//! `scale`, `pause`, `resume` and `approve`: small changes of one stack.

use std::collections::BTreeMap;

use anyhow::{Result, bail};
use jiff::Timestamp;
use serde_json::{Map, Value, json};

use super::{
    Exit,
    args::{ApproveArgs, PauseArgs, Report, ResumeArgs, RoleCount, ScaleArgs},
    console::Console,
    format::{json_text, named},
    server::Server,
};
use crate::types::{
    meta::{Kind, Object},
    role::Role,
    stack::{APPROVED_PLAN, ClearwaterStack, DnsMode, PAUSED_UNTIL, PAUSED_WHY, StackSpec},
};

/// Sets the replicas of some roles.
pub(super) async fn scale(console: &Console, args: &ScaleArgs) -> Result<Exit> {
    let wanted = distinct(&args.counts)?;
    let server = Server::connect(&args.connection)?;
    let object = server.need(Kind::ClearwaterStack, &args.stack).await?;
    let stack: ClearwaterStack = object.decode()?;
    if wanted.contains_key(&Role::Dns) && stack.spec.dns.mode != DnsMode::Managed {
        bail!(
            "spec.dns.mode: {} has no name servers of its own; set it to Managed first",
            args.stack
        );
    }
    let changed = server
        .patch(Kind::ClearwaterStack, &args.stack, &scale_patch(&wanted))
        .await?;
    let text = scale_text(&stack.spec, &wanted);
    report(console, args.output, &changed, &text)
}

/// One count a role.
fn distinct(counts: &[RoleCount]) -> Result<BTreeMap<Role, u32>> {
    let mut wanted = BTreeMap::new();
    for count in counts {
        if wanted.insert(count.role, count.replicas).is_some() {
            bail!("{} is given twice: say it once", count.role);
        }
    }
    Ok(wanted)
}

fn scale_patch(wanted: &BTreeMap<Role, u32>) -> Value {
    let component =
        |(role, replicas): (&Role, &u32)| (role.name().to_owned(), json!({"replicas": replicas}));
    let components: Map<_, _> = wanted.iter().map(component).collect();
    json!({"spec": {"components": components}})
}

/// `scaled: bono 2 → 3`, or that nothing changed.
fn scale_text(before: &StackSpec, wanted: &BTreeMap<Role, u32>) -> String {
    let changes: Vec<_> = wanted
        .iter()
        .map(|(role, after)| (role, before.components.get(*role).replicas, after))
        .filter(|(_, before, after)| before != *after)
        .map(|(role, before, after)| format!("{role} {before} → {after}"))
        .collect();
    match changes.is_empty() {
        true => "unchanged".to_owned(),
        false => format!("scaled: {}", changes.join(", ")),
    }
}

/// Makes Weir look but not act for a while.
pub(super) async fn pause(console: &Console, args: &PauseArgs) -> Result<Exit> {
    let why = args.why.trim();
    if why.is_empty() {
        bail!("--why: say why, so that whoever finds the stack paused knows");
    }
    let until = end_of_pause(console.now(), args)?;
    let server = Server::connect(&args.connection)?;
    let patch = pause_patch(Some((until, why)));
    let changed = server
        .patch(Kind::ClearwaterStack, &args.stack, &patch)
        .await?;
    let text = format!("paused until {until} (for {}): {why}", args.duration);
    report(console, args.output, &changed, &text)
}

/// In whole seconds: nobody pauses to the nanosecond.
fn end_of_pause(now: Timestamp, args: &PauseArgs) -> Result<Timestamp> {
    let seconds = i64::try_from(args.duration.get().as_secs())?;
    if seconds == 0 {
        bail!("--for: a pause of no time does nothing; `weir resume` ends one");
    }
    Ok(Timestamp::from_second(
        now.as_second().saturating_add(seconds),
    )?)
}

/// Ends a pause.
pub(super) async fn resume(console: &Console, args: &ResumeArgs) -> Result<Exit> {
    let server = Server::connect(&args.connection)?;
    let object = server.need(Kind::ClearwaterStack, &args.stack).await?;
    let paused = object.metadata.annotations.contains_key(PAUSED_UNTIL);
    if !paused {
        return report(console, args.output, &object, "was not paused");
    }
    let changed = server
        .patch(Kind::ClearwaterStack, &args.stack, &pause_patch(None))
        .await?;
    report(console, args.output, &changed, "resumed")
}

/// Lets the plan that waits for an approval go on; or says what waits.
pub(super) async fn approve(console: &Console, args: &ApproveArgs) -> Result<Exit> {
    let server = Server::connect(&args.connection)?;
    let object = server.need(Kind::ClearwaterStack, &args.stack).await?;
    let stack: ClearwaterStack = object.decode()?;
    let Some((waiting, why)) = plan_that_waits(&stack) else {
        bail!("no plan of {} waits for an approval", args.stack);
    };
    match args.plan.as_deref() {
        None => {
            console.print(&format!("{why}\n"))?;
            Ok(Exit::Done)
        }
        Some(plan) if plan == waiting => {
            let patch = json!({"metadata": {"annotations": {APPROVED_PLAN: plan}}});
            let changed = server
                .patch(Kind::ClearwaterStack, &args.stack, &patch)
                .await?;
            report(
                console,
                args.output,
                &changed,
                &format!("plan {plan} approved"),
            )
        }
        Some(plan) => bail!("plan {plan} is not the one that waits now: {why}"),
    }
}

/// The hash of the plan that waits for an approval, and what the controller says of it.
fn plan_that_waits(stack: &ClearwaterStack) -> Option<(&str, &str)> {
    let mut steps = stack.status.as_ref()?.steps.iter();
    let step = steps.find(|step| step.action == "ApprovalRequired")?;
    let command = format!("`weir approve {} ", stack.metadata.name);
    let (_, rest) = step.reason.split_once(&command)?;
    let (plan, _) = rest.split_once('`')?;
    Some((plan, &step.reason))
}

fn pause_patch(pause: Option<(Timestamp, &str)>) -> Value {
    let until = pause.map(|(until, _)| until.to_string());
    let why = pause.map(|(_, why)| why);
    json!({"metadata": {"annotations": {PAUSED_UNTIL: until, PAUSED_WHY: why}}})
}

fn report(console: &Console, output: Report, object: &Object, text: &str) -> Result<Exit> {
    match output {
        Report::Text => {
            let name = named(Kind::ClearwaterStack, &object.metadata.name);
            console.print(&format!("{name} {text}\n"))?;
        }
        Report::Json => {
            let mut object = object.clone();
            object.metadata.managed_fields.clear();
            console.print(&json_text(&serde_json::to_value(&object)?)?)?;
        }
    }
    Ok(Exit::Done)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn scaling_touches_only_the_roles_named() {
        let counts = ["sprout=3".parse().unwrap(), "bono=1".parse().unwrap()];
        let wanted = distinct(&counts).unwrap();
        assert_eq!(
            scale_patch(&wanted),
            json!({"spec": {"components": {"bono": {"replicas": 1}, "sprout": {"replicas": 3}}}})
        );
        assert!(distinct(&[counts[0], counts[0]]).is_err());
    }

    #[test]
    fn resuming_takes_both_annotations_off() {
        assert_eq!(
            pause_patch(None),
            json!({"metadata": {"annotations": {PAUSED_UNTIL: null, PAUSED_WHY: null}}})
        );
        let until = Timestamp::from_second(7_200).unwrap();
        assert_eq!(
            pause_patch(Some((until, "storage")))["metadata"]["annotations"][PAUSED_UNTIL],
            json!("1970-01-01T02:00:00Z")
        );
    }
}
