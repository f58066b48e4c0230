//! What jobs do to the rules of security groups.

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::{Outcome, success};
use crate::sim::jobs::JobFailure;
use crate::sim::view::security_group as view;
use crate::sim::world::{SecurityRule, Uuid, World};

/// What a job does to a security group.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum SecurityWork {
    Authorize {
        group: Uuid,
        egress: bool,
        /// The new rules, or what was wrong with the request: the server looks at it in the job.
        rules: Result<Vec<SecurityRule>, String>,
    },
    Revoke {
        rule: Uuid,
        egress: bool,
    },
}

/// The direction of a rule, as texts and events name it.
pub(crate) fn direction(egress: bool) -> &'static str {
    if egress { "egress" } else { "ingress" }
}

/// Applies a job on a security group.
pub(crate) fn finish(world: &mut World, work: &SecurityWork) -> Outcome {
    match work {
        SecurityWork::Authorize {
            rules: Err(why), ..
        } => Err(JobFailure::new(431, why.clone())),
        SecurityWork::Authorize {
            group,
            egress,
            rules: Ok(rules),
        } => authorized(world, group, direction(*egress), rules),
        SecurityWork::Revoke { rule, egress } => revoked(world, rule, *egress),
    }
}

/// Adds the rules that are not there yet, and shows those.
fn authorized(world: &mut World, id: &str, way: &str, rules: &[SecurityRule]) -> Outcome {
    let nothing = || {
        let text = format!("Failed to authorize security group {way} rule(s)");
        JobFailure::new(530, text)
    };
    let group = world.security_groups.get_mut(id).ok_or_else(nothing)?;
    let mut added = Vec::new();
    for rule in rules {
        if !group.rules.iter().any(|old| old.says_the_same_as(rule)) {
            group.rules.push(rule.clone());
            added.push(rule);
        }
    }
    if added.is_empty() {
        return Err(nothing());
    }
    let group = world.security_groups.get(id).ok_or_else(nothing)?;
    let row = view::with_rules(world, group, added);
    Ok(json!({"securitygroup": row}))
}

/// Takes a rule out.
fn revoked(world: &mut World, id: &str, egress: bool) -> Outcome {
    let refused = |why: &str| JobFailure::new(431, format!("{why} with id {id}"));
    let group = world.group_of_rule(id).map(|group| group.id.clone());
    let group = group.and_then(|group| world.security_groups.get_mut(&group));
    let Some(group) = group else {
        return Err(refused("Unable to find security rule"));
    };
    let matches = |rule: &SecurityRule| rule.id == id && rule.egress == egress;
    if !group.rules.iter().any(matches) {
        return Err(refused("Mismatch in rule type for security rule"));
    }
    group.rules.retain(|rule| rule.id != id);
    world.unlabel(id);
    success()
}
