//! Faults on request: what can go wrong between a client and its cloud.
//!
//! A fault waits for a command, perhaps of one user and within a window of the simulated clock; it
//! lets some pass, strikes a number of times, and is then used up. Whether one strikes is drawn
//! from the world's seed. What can strike one request together is in [`waiting`], how a fault is
//! read from JSON in [`read`].

mod read;
mod waiting;

use jiff::Timestamp;
use serde::Serialize;

use super::commands;
use super::jobs::Twist;
pub(crate) use read::{KINDS, fault};
pub use waiting::WaitingFault;
pub(crate) use waiting::{Faults, Struck};

/// A fault.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Fault {
    /// The command that it waits for, or how such commands begin (`list*`); any if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub command: Option<String>,
    /// The user whose requests it waits for; anybody's if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// What goes wrong.
    #[serde(flatten)]
    pub kind: FaultKind,
    /// How often it strikes; for ever if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub count: Option<u32>,
    /// How many matching requests it lets pass first.
    pub skip: u32,
    /// How likely it is to strike a matching request.
    pub probability: f64,
    /// When it begins to wait; at once if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// When it is over; never by itself if absent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What goes wrong.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum FaultKind {
    /// The connection is lost before the request had any effect.
    LostRequest,
    /// The request has its effect and the connection is lost before the answer.
    LostReply,
    /// The effect is there at once, the answer comes this much later.
    Slow {
        /// How much later, in milliseconds.
        millis: u64,
    },
    /// Another HTTP status, before any effect: 401 and 429 with CloudStack's body, others with
    /// the page of a proxy.
    Status {
        /// The status.
        code: u16,
    },
    /// A proxy answers with a page of its own and status 200, before any effect.
    Html,
    /// The management server prepares for maintenance: it takes no new jobs, and still lists.
    Maintenance,
    /// The effect is there and half of the answer's body.
    Truncated,
    /// A list answers that there is nothing.
    EmptyList,
    /// A list tells the right count and leaves the last rows out.
    ShortList,
    /// A list of several leaves out its last row, and counts without it.
    GappyList,
    /// A list shows the world as it was when the fault began to wait.
    StaleList,
    /// The job fails when it ends, without effect.
    FailJob {
        /// The error code.
        code: u16,
        /// The error text.
        text: String,
    },
    /// The job never ends.
    HangJob,
    /// The job does its work and is forgotten when it ends: its id is unknown from then on.
    LoseJob,
    /// No host has room: a start ends in 533.
    NoCapacity,
    /// Every host fails to start the machine: a start ends in 530.
    StartFails,
    /// The hypervisor does not stop the machine.
    HypervisorStopFails,
}

/// Where on the way of a request a fault strikes. One of each can strike the same request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    /// Before any effect, instead of an answer; nothing else can strike then.
    Before,
    /// In the job.
    Job,
    /// In the rows of a list.
    List,
    /// In the answer.
    After,
    /// While the answer is on its way.
    Delay,
}

impl FaultKind {
    /// The word that scripts have for it.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self {
            Self::LostRequest => "lost-request",
            Self::LostReply => "lost-reply",
            Self::Slow { .. } => "slow",
            Self::Status { .. } => "status",
            Self::Html => "html",
            Self::Maintenance => "maintenance",
            Self::Truncated => "truncated",
            Self::EmptyList => "empty-list",
            Self::ShortList => "short-list",
            Self::GappyList => "gappy-list",
            Self::StaleList => "stale-list",
            Self::FailJob { .. } => "fail-job",
            Self::HangJob => "hang-job",
            Self::LoseJob => "lose-job",
            Self::NoCapacity => "no-capacity",
            Self::StartFails => "start-fails",
            Self::HypervisorStopFails => "hypervisor-stop-fails",
        }
    }

    pub(crate) fn stage(&self) -> Stage {
        match self {
            Self::LostRequest | Self::Status { .. } | Self::Html | Self::Maintenance => {
                Stage::Before
            }
            Self::FailJob { .. }
            | Self::HangJob
            | Self::LoseJob
            | Self::NoCapacity
            | Self::StartFails
            | Self::HypervisorStopFails => Stage::Job,
            Self::EmptyList | Self::ShortList | Self::GappyList | Self::StaleList => Stage::List,
            Self::LostReply | Self::Truncated => Stage::After,
            Self::Slow { .. } => Stage::Delay,
        }
    }

    /// What the fault does to the job that the request submits, if that is what it does.
    pub(crate) fn twist(&self) -> Option<Twist> {
        match self {
            Self::FailJob { code, text } => Some(Twist::Fail {
                code: *code,
                text: text.clone(),
            }),
            Self::HangJob => Some(Twist::Hang),
            Self::LoseJob => Some(Twist::Lose),
            Self::NoCapacity => Some(Twist::NoCapacity),
            Self::StartFails => Some(Twist::StartFails),
            Self::HypervisorStopFails => Some(Twist::StopFails),
            Self::LostRequest
            | Self::LostReply
            | Self::Slow { .. }
            | Self::Status { .. }
            | Self::Html
            | Self::Maintenance
            | Self::Truncated
            | Self::EmptyList
            | Self::ShortList
            | Self::GappyList
            | Self::StaleList => None,
        }
    }

    /// Whether it can happen to this command at all.
    #[must_use]
    pub fn fits(&self, command: &str) -> bool {
        match self {
            Self::EmptyList | Self::ShortList | Self::GappyList | Self::StaleList => {
                command.starts_with("list")
            }
            Self::FailJob { .. } | Self::HangJob | Self::LoseJob | Self::Maintenance => {
                commands::find(command).is_some_and(|known| known.job.is_some())
            }
            Self::NoCapacity | Self::StartFails => {
                matches!(command, "deployVirtualMachine" | "startVirtualMachine")
            }
            Self::HypervisorStopFails => {
                matches!(command, "stopVirtualMachine" | "destroyVirtualMachine")
            }
            Self::LostRequest
            | Self::LostReply
            | Self::Slow { .. }
            | Self::Status { .. }
            | Self::Html
            | Self::Truncated => true,
        }
    }
}

impl Fault {
    /// A fault that strikes every time, until it is cleared.
    #[must_use]
    pub fn always(command: Option<&str>, kind: FaultKind) -> Self {
        let command = command.map(ToOwned::to_owned);
        Self {
            command,
            user: None,
            kind,
            count: None,
            skip: 0,
            probability: 1.0,
            from: None,
            until: None,
        }
    }

    /// A fault that strikes once.
    #[must_use]
    pub fn once(command: &str, kind: FaultKind) -> Self {
        Self {
            count: Some(1),
            ..Self::always(Some(command), kind)
        }
    }

    fn waits_for(&self, user: &str, command: &str) -> bool {
        let named = self.command.as_deref().is_none_or(|name| {
            name.strip_suffix('*')
                .map_or(name == command, |start| command.starts_with(start))
        });
        let theirs = self.user.as_deref().is_none_or(|name| name == user);
        named && theirs && self.kind.fits(command)
    }
}
