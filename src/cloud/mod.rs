//! The cloud port: what the loop asks of a CloudStack account, in Weir's own words.
//!
//! CloudStack's words (parameters, envelopes, error codes) stop at `cloud::cloudstack`. Nothing
//! here waits for a job: [`Cloud::start`] submits, and a later look tells what came of it.

pub mod cloudstack;

use std::{collections::BTreeSet, error::Error, future::Future, sync::Arc, time::Duration};

use futures_util::future::BoxFuture;
use jiff::Timestamp;

use crate::types::{
    account::CloudAccountSpec,
    action::{Action, Answer, Question},
    core::Confidential,
    id::JobId,
    inventory::{Catalogue, List, Rows},
};

/// One CloudStack account. Cheap to share; every method may be called at any time.
///
/// All methods are cancel-safe in this sense: dropping the future may or may not have had its
/// effect in CloudStack, and the next look tells.
pub trait Cloud: Send + Sync + 'static {
    /// Reads one of the lists of a look, to its last page. A page that fails fails the list:
    /// half an inventory would plan destroys or doubles.
    ///
    /// # Errors
    /// Nothing is known then; the caller keeps what it knew and decides nothing on it.
    fn list(
        &self,
        list: List,
        depth: Depth,
    ) -> impl Future<Output = Result<Rows, CloudError>> + Send;

    /// The jobs of the account that have not ended.
    ///
    /// # Errors
    /// Nothing is known then.
    fn jobs_in_flight(&self) -> impl Future<Output = Result<BTreeSet<JobId>, CloudError>> + Send;

    /// Answers a question about a single resource or job.
    ///
    /// # Errors
    /// Nothing is known then; `Absent` is an answer, not an error.
    fn ask(&self, question: &Question) -> impl Future<Output = Result<Answer, CloudError>> + Send;

    /// Submits one action under a job id that the caller has stored. A [`Started::Job`] is a
    /// promise, not a result.
    ///
    /// # Errors
    /// [`CloudError::Uncertain`] means that it may have taken effect. Of the others only
    /// [`CloudError::Rejected`] and [`CloudError::Capacity`] on a deploy can leave something
    /// behind (a wreck), which the next look shows.
    fn start(
        &self,
        action: &Action,
        job: &JobId,
    ) -> impl Future<Output = Result<Started, CloudError>> + Send;

    /// What the account may choose from and what its role allows.
    ///
    /// # Errors
    /// Nothing is known then.
    fn catalogue(&self) -> impl Future<Output = Result<Catalogue, CloudError>> + Send;

    /// What happened in the account since a time, oldest first: a hint that tells where to look
    /// and who did it, never the truth. At most one page.
    ///
    /// # Errors
    /// Nothing is known then; the caller goes without.
    fn events_since(
        &self,
        since: Timestamp,
    ) -> impl Future<Output = Result<Vec<CloudEvent>, CloudError>> + Send;
}

/// Says whether this controller may change anything: of several, one may. Asked right before each
/// command that changes something is sent, since a controller can be stopped for a minute at any
/// line, and another one acts when it goes on.
pub trait Guard: Send + Sync + 'static {
    /// Whether a command may be sent now.
    ///
    /// # Errors
    /// Why not, in words for people.
    fn may_change(&self) -> BoxFuture<'_, Result<(), String>>;
}

/// Makes ports to CloudStack accounts.
pub trait Connect: Send + Sync + 'static {
    /// The port.
    type Cloud: Cloud;

    /// Prepares a port; sends nothing yet.
    ///
    /// # Errors
    /// What is wrong with the account's spec, in words for people.
    fn connect(
        &self,
        spec: &CloudAccountSpec,
        api_key: &Confidential,
        secret_key: &Confidential,
    ) -> Result<Self::Cloud, String>;

    /// Whom to ask before something outside is changed; nobody where there is one controller.
    fn guard(&self) -> Option<Arc<dyn Guard>> {
        None
    }
}

/// How much a list of VMs tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// What is cheap: all but user data.
    Look,
    /// User data too, which can be 32 KiB a VM.
    Audit,
}

/// What a submitted action came to so far.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Started {
    /// CloudStack works on it under the job id that the caller chose.
    Job {
        /// The id of what is being made, where the answer gave one.
        resource: Option<String>,
    },
    /// It is done: the command was synchronous.
    Done {
        /// The id of what was made, where the answer gave one.
        resource: Option<String>,
    },
}

/// Something that CloudStack says happened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CloudEvent {
    /// The event's id.
    pub id: String,
    /// CloudStack's type, like `VM.STOP`.
    pub kind: String,
    /// Who did it.
    pub user: String,
    /// When, in whole seconds.
    pub at: Timestamp,
    /// The resource that it happened to.
    pub resource: Option<String>,
    /// `Scheduled`, `Started` or `Completed`.
    pub state: String,
}

/// What went wrong, sorted by what the caller can do about it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CloudError {
    /// The parameters are wrong, or the command is not supported (430–432). A repeat will not
    /// help; a new spec may.
    #[error("CloudStack refused {command}: {text} (errorcode {code})")]
    Rejected {
        /// The command.
        command: &'static str,
        /// CloudStack's error code.
        code: u16,
        /// CloudStack's words.
        text: String,
    },
    /// What the command speaks of does not exist (any more).
    #[error("{command}: CloudStack knows no such resource: {text}")]
    Gone {
        /// The command.
        command: &'static str,
        /// CloudStack's words.
        text: String,
    },
    /// The host name is taken in the network, perhaps by a VM that we cannot see.
    #[error("{command}: the host name is taken: {text}")]
    NameHeld {
        /// The command.
        command: &'static str,
        /// CloudStack's words.
        text: String,
    },
    /// Nobody is reached, or nobody that may be trusted: the command was not sent.
    #[error("{command} was not sent: {text}")]
    Unreachable {
        /// The command.
        command: &'static str,
        /// What stood in the way.
        text: String,
        /// The transport's error.
        #[source]
        source: Box<dyn Error + Send + Sync>,
    },
    /// Another controller acts in this one's place, as far as is known: the command was not sent.
    #[error("{command} was not sent: {text}")]
    NotLeading {
        /// The command.
        command: &'static str,
        /// Why not.
        text: String,
    },
    /// No answer, or one that proves nothing (5xx, 530, a broken body).
    #[error("outcome of {command} unknown, it may have taken effect: {text}")]
    Uncertain {
        /// The command.
        command: &'static str,
        /// What was seen instead of an answer.
        text: String,
        /// The transport's error, if there was one.
        #[source]
        source: Option<Box<dyn Error + Send + Sync>>,
    },
    /// No room: capacity or a quota (532, 533, 535).
    #[error("no room for {command}: {text} (errorcode {code})")]
    Capacity {
        /// The command.
        command: &'static str,
        /// CloudStack's error code.
        code: u16,
        /// CloudStack's words.
        text: String,
    },
    /// Something it needs is in use or not ready (534, 536, 537).
    #[error("{command} must wait: {text} (errorcode {code})")]
    InUse {
        /// The command.
        command: &'static str,
        /// CloudStack's error code.
        code: u16,
        /// CloudStack's words.
        text: String,
    },
    /// Too many requests (429).
    #[error("CloudStack throttles us: {command} refused")]
    Throttled {
        /// The command.
        command: &'static str,
        /// How long CloudStack asks us to wait.
        retry_after: Option<Duration>,
    },
    /// Keys or rights are wrong (401, 531).
    #[error("CloudStack denied {command}: {text} (errorcode {code})")]
    Denied {
        /// The command.
        command: &'static str,
        /// CloudStack's error code.
        code: u16,
        /// CloudStack's words.
        text: String,
    },
}

impl CloudError {
    /// One CamelCase word, used for condition, event and metric label alike.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Rejected { .. } => "Rejected",
            Self::Gone { .. } => "Gone",
            Self::NameHeld { .. } => "NameHeld",
            Self::Unreachable { .. } => "Unreachable",
            Self::NotLeading { .. } => "NotLeading",
            Self::Uncertain { .. } => "OutcomeUnknown",
            Self::Capacity { .. } => "InsufficientCapacity",
            Self::InUse { .. } => "InUse",
            Self::Throttled { .. } => "Throttled",
            Self::Denied { .. } => "Unauthorized",
        }
    }
}
