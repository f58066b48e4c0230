//! Accounts, projects and domains that go, with all that they own.

use serde::{Deserialize, Serialize};

use super::{Outcome, success};
use crate::sim::jobs::JobFailure;
use crate::sim::world::{Uuid, World};

/// Who is to go.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Leaving {
    Account {
        account: Uuid,
    },
    Project {
        project: Uuid,
    },
    Domain {
        domain: Uuid,
        /// Whether what is in it goes first, or keeps it there.
        cleanup: bool,
    },
}

/// Lets them go, unless machines of others are in their networks.
pub(crate) fn finish(world: &mut World, leaving: &Leaving) -> Outcome {
    match leaving {
        Leaving::Account { account } => {
            if world.serves_others(account) {
                let text = "Failed to delete user account and all corresponding users";
                return Err(JobFailure::new(530, text));
            }
            world.drop_account(account);
        }
        Leaving::Project { project } => {
            let account = world.projects.get(project).map(|row| row.account.clone());
            if account.is_some_and(|account| world.serves_others(&account)) {
                return Err(JobFailure::new(530, "Failed to delete project"));
            }
            world.drop_project(project);
        }
        Leaving::Domain { domain, cleanup } => return domain_left(world, domain, *cleanup),
    }
    success()
}

fn domain_left(world: &mut World, id: &Uuid, cleanup: bool) -> Outcome {
    let Some(domain) = world.domains.get(id) else {
        return success();
    };
    let (name, number) = (domain.name.clone(), domain.number);
    let within = world.domains_within(id);
    let mut accounts = world
        .accounts
        .values()
        .filter(|row| within.contains(&row.domain));
    if !cleanup && (within.len() > 1 || accounts.next().is_some()) {
        return Err(JobFailure::new(
            530,
            format!(
                "Delete failed on domain {name} (id: {number}); Please make sure all users and sub domains have been removed from the domain before deleting"
            ),
        ));
    }
    if accounts.any(|account| world.serves_others(&account.id)) {
        return Err(JobFailure::new(
            530,
            format!(
                "Failed to clean up domain resources and sub domains, delete failed on domain {name} (id: {number})."
            ),
        ));
    }
    world.drop_domain(id);
    success()
}
