//! The commands: one table, and what a command has at hand while it runs.
//!
//! A command runs in the submit phase of a request, with the world locked: it reads parameters,
//! refuses, changes rows, and hands long work to a job. Anything that a user could be refused for
//! later than that belongs in [`super::effects`].

mod account;
mod acl;
mod address;
mod affinity;
mod balance;
mod call;
mod catalogue;
mod configuration;
mod declare;
mod domain;
mod event;
mod firewall;
mod forward;
mod host;
mod instance_group;
mod job;
mod key_pair;
mod network;
mod network_range;
mod nic;
mod offering;
mod os;
mod people;
mod plumbing;
mod project;
mod role;
mod rule;
mod scope;
mod security_group;
mod server;
mod shape;
mod table;
mod tag;
mod usage;
mod user;
mod user_data;
mod validate;
mod vm_admin;
mod vm_deploy;
mod vm_life;
mod vm_list;
mod vm_order;
mod vm_update;
mod volume;
mod volume_list;
mod vpc;
mod webhook;

use std::time::Duration;

use serde_json::{Map, Value, json};

pub(crate) use call::{Call, Caller};
pub(crate) use table::{find, names};
pub(crate) use usage::used;

use super::jobs::Twist;
use super::protocol::Params;
use super::reply::ApiError;
use super::world::{Uuid, World};
use call::Answered;
use declare::Command;
use scope::Asked;

/// How a request came in, which decides how long user data may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Method {
    Get,
    Post,
}

/// What a command answers.
#[derive(Debug)]
pub(crate) enum Answer {
    /// A page of rows, and how many there are in all.
    List {
        key: &'static str,
        count: usize,
        rows: Vec<Value>,
    },
    /// The inside of the envelope.
    Object(Value),
    /// A job, and the resource that it is about to finish creating.
    Job { created: Option<Uuid>, job: Uuid },
}

impl Answer {
    /// What a command answers that has nothing to show.
    pub(crate) fn success() -> Self {
        Self::Object(json!({"success": true}))
    }
}

/// What running a command came to.
#[derive(Debug)]
pub(crate) struct Ran {
    /// The inside of the envelope, or the refusal.
    pub(crate) answer: Result<Value, ApiError>,
    /// How long the server takes over it.
    pub(crate) takes: Duration,
}

/// One request to run.
pub(crate) struct Request<'a> {
    pub(crate) name: &'a str,
    pub(crate) params: &'a Params,
    pub(crate) caller: Caller,
    pub(crate) method: Method,
    pub(crate) twist: Option<Twist>,
}

/// The name of the envelope that a command's answers come in. A few commands answer under
/// another's name.
pub(crate) fn envelope(command: &str) -> String {
    match command {
        "restoreVirtualMachine" => "restorevmresponse".to_owned(),
        "updateNetworkACLItem" => "createnetworkaclresponse".to_owned(),
        "updateVMAffinityGroup" => "updatevirtualmachineresponse".to_owned(),
        "resetSSHKeyForVirtualMachine" => "resetSSHKeyforvirtualmachineresponse".to_owned(),
        "addIpToNic" => "addiptovmnicresponse".to_owned(),
        "moveNetworkAclItem" => "moveNetworkAclItemResponse".to_owned(),
        other => format!("{}response", other.to_lowercase()),
    }
}

/// Runs a command against the world.
pub(crate) fn run(world: &mut World, request: Request<'_>) -> Ran {
    let (profile, admin, name, params) = (
        world.profile,
        request.caller.admin,
        request.name,
        request.params,
    );
    let answer = match find(name) {
        None => Err(ApiError::unauthorized()),
        Some(command) if !command.access.is_granted_to(&request.caller) => {
            let id = world.fresh_id();
            Err(ApiError::not_granted(name, &id))
        }
        Some(command) => answer(world, command, request),
    };
    let full = params
        .get("details")
        .is_none_or(|words| words.contains("all"));
    let rows = match &answer {
        Ok(Answer::List { rows, .. }) => u32::try_from(rows.len()).unwrap_or(u32::MAX),
        Ok(Answer::Object(_) | Answer::Job { .. }) | Err(_) => 0,
    };
    let takes = profile.request(name) + profile.row(full) * rows;
    Ran {
        answer: answer.map(inside).map_err(|error| error.masked(admin)),
        takes,
    }
}

fn answer(world: &mut World, command: &'static Command, request: Request<'_>) -> Answered {
    let Request {
        params,
        mut caller,
        method,
        twist,
        ..
    } = request;
    validate::validate(world, command, params)?;
    let asked = Asked {
        world,
        command,
        params,
        caller: &caller,
    };
    let (owner, scope) = (asked.owner()?, asked.scope()?);
    caller.account = owner;
    (command.run)(&mut Call {
        world,
        command,
        params,
        caller,
        scope,
        tags: params.pairs("tags"),
        method,
        twist,
    })
}

/// What goes inside the envelope. An empty list is an empty object; a page past the end has a
/// count and no rows.
fn inside(answer: Answer) -> Value {
    match answer {
        Answer::List { count: 0, .. } => json!({}),
        Answer::List { key, count, rows } => {
            let mut inside = Map::new();
            inside.insert("count".to_owned(), count.into());
            if !rows.is_empty() {
                inside.insert(key.to_owned(), rows.into());
            }
            inside.into()
        }
        Answer::Object(value) => value,
        Answer::Job {
            created: Some(id),
            job,
        } => json!({"id": id, "jobid": job}),
        Answer::Job { created: None, job } => json!({"jobid": job}),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_few_commands_answer_under_another_name() {
        assert_eq!(envelope("listVPCs"), "listvpcsresponse");
        assert_eq!(envelope("updateNetworkACLItem"), "createnetworkaclresponse");
        assert_eq!(envelope("moveNetworkAclItem"), "moveNetworkAclItemResponse");
    }

    #[test]
    fn a_page_past_the_end_counts_and_an_empty_list_does_not() {
        let past = Answer::List {
            key: "vpc",
            count: 2,
            rows: Vec::new(),
        };
        assert_eq!(inside(past), json!({"count": 2}));
        let empty = Answer::List {
            key: "vpc",
            count: 0,
            rows: Vec::new(),
        };
        assert_eq!(inside(empty), json!({}));
    }
}
