//! The one place that reads CloudStack's error codes and texts.
//!
//! CloudStack tells some cases apart only in words: a vanished id, a malformed one and a taken
//! host name are all 431. [`classify`] looks at those words; nobody else does. Texts carry ids and
//! JSON of internal objects and differ between versions, so only stable fragments are looked for.
//! The tables in the tests replay recorded answers of CloudStack 4.22.

use std::{error::Error, time::Duration};

use serde_json::Value;

use super::{
    transport::{Reply, Silence},
    wire::{self, Content},
};
use crate::{cloud::CloudError, types::action::JobOutcome};

/// Fragments that say that what a command speaks of does not exist.
const GONE: [&str; 6] = [
    // A removed VM, at submit (recorded).
    "Unable to find UUID for id",
    // An id that never was or is no more (recorded).
    "entity does not exist",
    // A removed network (4.22, NetworkServiceImpl.java).
    "Network ID=",
    // A removed VPC (4.22, DeleteVPCCmd.java, VpcManagerImpl.java).
    "Invalid id is specified",
    "unable to find VPC id=",
    // A removed affinity group (4.22, AffinityGroupServiceImpl.java).
    "Unable to find affinity group",
];

/// Parameters by which a command names what the account's or the stack's spec chose. That one of
/// them does not exist says nothing about the resource that was asked for.
const CHOICES: [&str; 6] = [
    "projectid",
    "zoneid",
    "templateid",
    "serviceofferingid",
    "networkofferingid",
    "vpcofferingid",
];

/// The part of a text that is kept: CloudStack's are short, a proxy's page is not.
const TEXT_MAX: usize = 500;

/// Opens an answer: the object inside its envelope, if it is a success.
pub(super) fn open(command: &'static str, reply: &Reply) -> Result<Content, CloudError> {
    match Content::of(&reply.body) {
        Some(content) if reply.status == 200 && !content.is_a_fault() => Ok(content),
        content => Err(classify(command, reply, content.as_ref())),
    }
}

/// Sorts an answer that is no success by what the caller can do about it. `content` is what its
/// envelope holds, if it has one.
pub(super) fn classify(
    command: &'static str,
    reply: &Reply,
    content: Option<&Content>,
) -> CloudError {
    let fault = content.and_then(|content| content.read::<wire::Fault>().ok());
    let Some(fault) = fault else {
        return without_envelope(command, reply);
    };
    let (code, text) = (fault.errorcode, shortened(&fault.errortext));
    match code {
        431 if text.contains("already exists in the network domain") => {
            CloudError::NameHeld { command, text }
        }
        431 if is_gone(&text) => CloudError::Gone { command, text },
        400 | 430..=432 => CloudError::Rejected {
            command,
            code,
            text,
        },
        401 | 531 => CloudError::Denied {
            command,
            code,
            text,
        },
        429 => throttled(command, reply, &text),
        532 | 533 | 535 => CloudError::Capacity {
            command,
            code,
            text,
        },
        534 | 536 | 537 => CloudError::InUse {
            command,
            code,
            text,
        },
        code => uncertain(command, format!("errorcode {code}: {text}")),
    }
}

/// A request that nothing came back of.
pub(super) fn silence(command: &'static str, silence: Silence) -> CloudError {
    let text = silence.to_string();
    match silence {
        Silence::Unreachable(source) | Silence::Untrusted(source) => CloudError::Unreachable {
            command,
            text,
            source,
        },
        Silence::Timeout(source) | Silence::Lost(source) => CloudError::Uncertain {
            command,
            text,
            source: Some(source),
        },
        Silence::TooLong => CloudError::Uncertain {
            command,
            text,
            source: Some(silence.into()),
        },
    }
}

/// An answer that proves nothing.
pub(super) fn uncertain(command: &'static str, text: impl Into<String>) -> CloudError {
    CloudError::Uncertain {
        command,
        text: text.into(),
        source: None,
    }
}

/// A row of a list that cannot be read.
pub(super) fn unreadable(
    command: &'static str,
    row: &str,
    source: impl Error + Send + Sync + 'static,
) -> CloudError {
    CloudError::Uncertain {
        command,
        text: format!("cannot read row {row}: {source}"),
        source: Some(Box::new(source)),
    }
}

/// How a job ended, as `queryAsyncJobResult` tells it.
pub(super) fn job_outcome(job: wire::QueryAsyncJobResultResponse) -> Option<JobOutcome> {
    let resource = job.resource();
    match (job.jobstatus, job.jobresult) {
        (0, _) => Some(JobOutcome::Running),
        (1, _) => Some(JobOutcome::Succeeded { resource }),
        (2, None) => Some(JobOutcome::Lost { resource }),
        (2, Some(result)) => {
            let text = match &result {
                Value::String(text) => text,
                result => result["errortext"].as_str().unwrap_or_default(),
            };
            let code = result["errorcode"].as_u64();
            Some(JobOutcome::Failed {
                code: code.and_then(|code| code.try_into().ok()).unwrap_or(530),
                text: shortened(text),
                resource,
            })
        }
        _ => None,
    }
}

/// A page of HTML, half a JSON text, nothing at all: some proxy, or a server that is going down.
fn without_envelope(command: &'static str, reply: &Reply) -> CloudError {
    let body = shortened(&String::from_utf8_lossy(&reply.body));
    match reply.status {
        429 => throttled(command, reply, &body),
        status => uncertain(command, format!("HTTP {status} without an answer: {body}")),
    }
}

fn throttled(command: &'static str, reply: &Reply, text: &str) -> CloudError {
    CloudError::Throttled {
        command,
        retry_after: reply.retry_after.or_else(|| milliseconds_in(text)),
    }
}

/// The N of `please retry after [N] ms` (4.22, plugins/api/rate-limit).
fn milliseconds_in(text: &str) -> Option<Duration> {
    let (_, rest) = text.split_once("retry after [")?;
    let (number, _) = rest.split_once("] ms")?;
    number.parse().ok().map(Duration::from_millis)
}

fn is_gone(text: &str) -> bool {
    let choice = text
        .split_once("Invalid parameter ")
        .and_then(|(_, rest)| rest.split_once(" value="))
        .is_some_and(|(parameter, _)| CHOICES.contains(&parameter));
    !choice && GONE.iter().any(|fragment| text.contains(fragment))
}

fn shortened(text: &str) -> String {
    text.trim().chars().take(TEXT_MAX).collect()
}

#[cfg(test)]
mod tests;
