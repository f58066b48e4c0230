//! Asking for jobs.

use serde_json::Value;

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, sync};
use crate::sim::jobs::Job;
use crate::sim::reply::ApiError;
use crate::sim::view;
use crate::sim::world::Kind;

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    sync(
        "listAsyncJobs",
        "startdate:date managementserverid:uuid account domainid:uuid listall:boolean \
         isrecursive:boolean",
        list,
    ),
    sync("queryAsyncJobResult", "jobid!:uuid", query),
];

/// `queryAsyncJobResult`.
pub(crate) fn query(call: &mut Call<'_>) -> Answered {
    call.world.expire_jobs();
    let id = call.required_id("jobid", Kind::Job)?;
    let Some(job) = call.world.jobs.get(&id) else {
        return Err(ApiError::unknown_id(call.command.name, "jobid", &id));
    };
    if !call.world.may_act(&call.caller.home, &job.account) {
        let text = format!("Permission denied to see the job {id}");
        return Err(ApiError::denied(text));
    }
    Ok(Answer::Object(Value::Object(view::job(call.world, job))))
}

/// `listAsyncJobs`: those in flight, and nothing else.
pub(crate) fn list(call: &mut Call<'_>) -> Answered {
    let jobs: Vec<&Job> = call
        .world
        .pending()
        .into_iter()
        .filter(|job| !job.work.is_internal())
        .filter(|job| call.sees(Some(&job.account)))
        .filter(|job| call.holds("keyword", &job.class))
        .collect();
    call.page("asyncjobs", &jobs, |job| view::job(call.world, job))
}
