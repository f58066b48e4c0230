//! The management server itself: whether it takes new jobs.

use serde_json::json;

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, admin};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    admin("prepareForShutdown", "managementserverid:uuid", refuse_jobs),
    admin("cancelShutdown", "managementserverid:uuid", accept_jobs),
    admin("readyForShutdown", "managementserverid:uuid", told),
    admin(
        "prepareForMaintenance",
        "managementserverid!:uuid algorithm rebalance:boolean forced:boolean",
        refuse_jobs,
    ),
    admin("cancelMaintenance", "managementserverid!:uuid", accept_jobs),
];

/// `prepareForShutdown` and `prepareForMaintenance`: jobs that run may end, new ones are refused.
pub(crate) fn refuse_jobs(call: &mut Call<'_>) -> Answered {
    call.world.refuses_jobs = true;
    told(call)
}

/// `cancelShutdown` and `cancelMaintenance`.
pub(crate) fn accept_jobs(call: &mut Call<'_>) -> Answered {
    call.world.refuses_jobs = false;
    told(call)
}

/// `readyForShutdown`: whether the last job has ended.
pub(crate) fn told(call: &mut Call<'_>) -> Answered {
    let refuses = call.world.refuses_jobs;
    let pending = call.world.pending().len();
    let inside = json!({
        "readyforshutdown": refuses && pending == 0,
        "shutdowntriggered": refuses,
        "maintenanceinitiated": refuses,
        "pendingjobscount": pending,
        "managementserverid": call.world.server_id,
    });
    Ok(Answer::Object(json!({"readyforshutdown": inside})))
}
