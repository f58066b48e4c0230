//! Doing things to a world as one of its users, without a request: with commands where there are
//! any, and with jobs that are run to their end on the spot.

use serde_json::Value;

use super::commands::{self, Caller, Method, Request};
use super::jobs::{Job, JobResult, JobStatus, Work};
use super::protocol::Params;
use super::world::World;

fn caller(world: &World, user: &str) -> Result<Caller, String> {
    let found = world.user_named(user);
    let found = found.ok_or_else(|| format!("there is no user {user}"))?;
    Ok(Caller {
        admin: false,
        ..Caller::of(world, found)
    })
}

/// Runs a command as a user, and its job to the end. The answer is the inside of the envelope.
pub(super) fn run(
    world: &mut World,
    user: &str,
    name: &str,
    params: &[(&str, &str)],
) -> Result<Value, String> {
    let given = params
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let params = Params::collect(given);
    let caller = caller(world, user)?;
    let request = Request {
        name,
        params: &params,
        caller,
        method: Method::Post,
        twist: None,
    };
    let answer = commands::run(world, request)
        .answer
        .map_err(|error| error.text)?;
    if let Some(job) = answer.get("jobid").and_then(Value::as_str) {
        finish(world, job)?;
    }
    Ok(answer)
}

fn finish(world: &mut World, job: &str) -> Result<(), String> {
    world.rush(&job.to_owned());
    match world.jobs.get(job) {
        Some(job) if job.status == JobStatus::Failed => {
            let result = job.result.as_ref().map(JobResult::value);
            let text = result
                .as_ref()
                .and_then(|result| result["errortext"].as_str());
            Err(text.unwrap_or("the job failed").to_owned())
        }
        _ => Ok(()),
    }
}

/// Runs work that only an admin may ask for, under a user's name.
pub(super) fn force(
    world: &mut World,
    user: &str,
    command: &str,
    work: Work,
) -> Result<(), String> {
    let Caller { user, home, .. } = caller(world, user)?;
    let job = world.new_job(None, work);
    let id = job.id.clone();
    let command = command.to_owned();
    world.submit(Job {
        command,
        user,
        account: home,
        admin: true,
        ..job
    });
    finish(world, &id)
}
