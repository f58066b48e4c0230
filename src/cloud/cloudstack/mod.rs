//! The cloud port over CloudStack's HTTP API (4.22 and what answers like it).
//!
//! - `signing`: a command and its signature; `transport`: sends it; `governor`: when.
//! - `errors`: the one place that reads error codes and texts.
//! - `wire`, `rows`: CloudStack's answers, and what they mean in Weir's words.
//! - `commands`: each action as a command; `lists`, `questions`, `catalogue`: what is read.
//!
//! It repeats nothing and waits for no job: a command that was sent may have taken effect, and
//! whoever sent it looks before sending it again. Metrics are counted elsewhere, see [`Observer`].

mod catalogue;
mod commands;
mod errors;
mod governor;
mod lists;
mod questions;
mod rows;
mod signing;
mod transport;
mod wire;

use std::{
    collections::BTreeSet,
    sync::{Arc, OnceLock},
};

use jiff::Timestamp;
use tokio::time::Instant;

use self::{
    governor::{Governor, Health, Priority},
    signing::{Keys, Request},
    transport::Transport,
    wire::Content,
};
use super::{Cloud, CloudError, CloudEvent, Depth, Guard, Started};
use crate::{
    clock::Clock,
    types::{
        account::{CloudAccountSpec, Limits},
        action::{Action, Answer, Question},
        core::Confidential,
        id::JobId,
        inventory::{Catalogue, List, Rows},
    },
};
pub use transport::{Carrier, Reply, Silence};

/// Told about every request, so that metrics need not live here. Called from async code: it must
/// not block.
pub trait Observer: Send + Sync + 'static {
    /// A request ended. `code` is CloudStack's error code or the HTTP status, `200` for a success,
    /// or a word (`unreachable`, `timeout`, `lost`, `too-long`) where no answer came.
    fn request(&self, command: &str, code: &str, seconds: f64);

    /// A request waited so long for its turn.
    fn governor_wait(&self, seconds: f64);
}

/// Observes nothing.
#[derive(Clone, Copy, Debug, Default)]
pub struct Unobserved;

impl Observer for Unobserved {
    fn request(&self, _command: &str, _code: &str, _seconds: f64) {}

    fn governor_wait(&self, _seconds: f64) {}
}

/// Which CloudStack, with whose keys, and how gently.
#[derive(Clone)]
pub struct CloudStackConfig {
    /// The API's URL, like `https://cloud.example.net/client/api`.
    pub endpoint: String,
    /// The account's API key.
    pub api_key: Confidential,
    /// The account's secret key; signs, and is never sent.
    pub secret_key: Confidential,
    /// The zone in which everything is made, by name or id.
    pub zone: Option<String>,
    /// The project that owns everything, by id.
    pub project: Option<String>,
    /// PEM certificates to trust besides the system's.
    pub ca_bundle: Option<String>,
    /// How hard to press.
    pub limits: Limits,
    /// Dates the signatures.
    pub clock: Clock,
    /// Told about every request.
    pub observer: Arc<dyn Observer>,
    /// Asked before every command that changes something; nothing where there is one controller.
    pub guard: Option<Arc<dyn Guard>>,
}

impl CloudStackConfig {
    /// What an account's object says, with its keys. Nobody is told about requests yet.
    #[must_use]
    pub fn of(
        spec: &CloudAccountSpec,
        api_key: &Confidential,
        secret_key: &Confidential,
        clock: &Clock,
    ) -> Self {
        Self {
            endpoint: spec.endpoint.clone(),
            api_key: api_key.clone(),
            secret_key: secret_key.clone(),
            zone: spec.zone.clone(),
            project: spec.project.clone(),
            ca_bundle: spec.ca_bundle.clone(),
            limits: spec.limits.clone(),
            clock: clock.clone(),
            observer: Arc::new(Unobserved),
            guard: None,
        }
    }
}

/// Why no client can be made of a configuration.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The endpoint is no URL of HTTP.
    #[error(
        "`{0}` is no http or https URL; CloudStack's API is at a URL like https://cloud.example.net/client/api"
    )]
    Endpoint(String),
    /// The certificates cannot be used.
    #[error("caBundle holds no usable PEM certificates: {0}")]
    CaBundle(String),
    /// The HTTP client cannot be made.
    #[error("cannot make an HTTP client")]
    Client(#[source] reqwest::Error),
}

/// One account of one CloudStack. Share it in an `Arc`.
pub struct CloudStack {
    carrier: Box<dyn Carrier>,
    keys: Keys,
    zone: Option<String>,
    project: Option<String>,
    governor: Governor,
    clock: Clock,
    observer: Arc<dyn Observer>,
    guard: Option<Arc<dyn Guard>>,
    /// The name of the account that the keys belong to, learned from the first own row that is
    /// read: no command that every role may call tells it.
    owner: OnceLock<String>,
}

impl CloudStack {
    /// Makes a client. Nothing is sent yet: an endpoint that does not answer and keys that are
    /// wrong show with the first call.
    ///
    /// # Errors
    /// The endpoint or the certificates are not usable; a new spec may help.
    pub fn connect(config: CloudStackConfig) -> Result<Self, ConnectError> {
        let ca_bundle = config.ca_bundle.as_deref();
        let http = Transport::new(&config.endpoint, ca_bundle, &config.limits)?;
        Ok(Self::over(Box::new(http), config))
    }

    /// A client whose requests are carried by something else than HTTP to the endpoint.
    #[must_use]
    pub fn over(carrier: Box<dyn Carrier>, config: CloudStackConfig) -> Self {
        Self {
            carrier,
            keys: Keys {
                api: config.api_key,
                secret: config.secret_key,
            },
            zone: config.zone,
            project: config.project,
            governor: Governor::new(&config.limits),
            clock: config.clock,
            observer: config.observer,
            guard: config.guard,
            owner: OnceLock::new(),
        }
    }

    /// A command that reads, in the scope of the account or its project. `listall` is never sent:
    /// an administrator's lists shall hold his own account's resources only.
    fn reading(&self, command: &'static str) -> Request {
        Request::new(command).with_some("projectid", self.project.as_ref())
    }

    /// Sends a command when its turn comes and opens the answer.
    async fn call(&self, request: Request, priority: Priority) -> Result<Content, CloudError> {
        let command = request.command();
        let queued = Instant::now();
        let permit = self.governor.admit(priority).await;
        self.observer.governor_wait(queued.elapsed().as_secs_f64());
        if let (Some(guard), Priority::Change | Priority::Bulk) = (&self.guard, priority) {
            let refused = |text| CloudError::NotLeading { command, text };
            guard.may_change().await.map_err(refused)?;
        }
        let sent = Instant::now();
        // Signed only now, so that waiting does not eat up its validity.
        let signed = request.sign(&self.keys, self.clock.now());
        let answer = self.carrier.carry(signed.into_body()).await;
        let (code, opened) = match answer {
            Ok(reply) => {
                let opened = errors::open(command, &reply);
                permit.heard(health(&reply, opened.as_ref().err()));
                (reply.status.to_string(), opened)
            }
            Err(silence) => {
                if matches!(silence, Silence::Unreachable(_) | Silence::Untrusted(_)) {
                    permit.heard(Health::Trouble(None));
                }
                let code = silence.word().to_owned();
                (code, Err(errors::silence(command, silence)))
            }
        };
        let took = sent.elapsed();
        self.observer.request(command, &code, took.as_secs_f64());
        tracing::debug!(
            command,
            status = code,
            ms = took.as_millis(),
            "CloudStack answered"
        );
        opened
    }
}

/// Whether an answer means that the whole client should slow down. 530 and above speak of one
/// command, not of the server.
fn health(reply: &Reply, error: Option<&CloudError>) -> Health {
    match (reply.status, error) {
        (_, Some(CloudError::Throttled { retry_after, .. })) => Health::Trouble(*retry_after),
        (500..530, _) => Health::Trouble(reply.retry_after),
        _ => Health::Fine,
    }
}

impl Cloud for CloudStack {
    async fn list(&self, list: List, depth: Depth) -> Result<Rows, CloudError> {
        self.rows_of(list, depth).await
    }

    async fn jobs_in_flight(&self) -> Result<BTreeSet<JobId>, CloudError> {
        self.pending_jobs().await
    }

    async fn ask(&self, question: &Question) -> Result<Answer, CloudError> {
        self.answer(question).await
    }

    async fn start(&self, action: &Action, job: &JobId) -> Result<Started, CloudError> {
        let _lane = match action {
            Action::AssociateAddress { .. } => Some(self.governor.address_lane().await),
            Action::DeployVm(deploy) => Some(self.governor.deploy_lane(&deploy.tier).await),
            _ => None,
        };
        let request = commands::request(action, job, self.project.as_deref());
        let priority = match action {
            Action::CreateAclRule { .. } => Priority::Bulk,
            _ => Priority::Change,
        };
        match self.call(request, priority).await {
            Ok(answer) => started(action, job, &answer),
            // What should go is gone. A re-image takes away too, but only a disk.
            Err(CloudError::Gone { .. })
                if action.destroys() && !matches!(action, Action::ReimageVm { .. }) =>
            {
                Ok(Started::Done { resource: None })
            }
            Err(error) => Err(error),
        }
    }

    async fn catalogue(&self) -> Result<Catalogue, CloudError> {
        self.read_catalogue().await
    }

    async fn events_since(&self, since: Timestamp) -> Result<Vec<CloudEvent>, CloudError> {
        self.recent_events(since).await
    }
}

/// What the answer to a command promises: `{"jobid", "id"}` of a job, or the object (or just
/// `success`) of a synchronous command.
fn started(action: &Action, job: &JobId, answer: &Content) -> Result<Started, CloudError> {
    let resource = answer.id();
    match answer.member::<Option<String>>("jobid").unwrap_or_default() {
        Some(id) if id == job.as_str() => Ok(Started::Job { resource }),
        // The caller would wait for a job that nobody knows.
        Some(id) => Err(errors::uncertain(
            action.command(),
            format!("CloudStack works on it as job {id}, not as {job}"),
        )),
        None if action.synchronous() => Ok(Started::Done { resource }),
        None => Err(errors::uncertain(
            action.command(),
            "an answer without a job id",
        )),
    }
}
