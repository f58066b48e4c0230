//! Requests to etcd: one member at a time, another one when that fails.
//!
//! A request is sent again only where the first one surely had no effect, or where it reads. What
//! became of any other one nobody can tell from here, and the caller is told just that.

use std::{
    fmt,
    sync::{Mutex, MutexGuard, OnceLock, PoisonError},
    time::Duration,
};

use futures_util::{StreamExt, stream};
use hyper::http::uri::PathAndQuery;
use prost::Message;
use tokio::{
    sync::watch,
    time::{Instant, sleep, timeout},
};
use tonic::{
    Request, Status, Streaming,
    client::Grpc,
    metadata::AsciiMetadataValue,
    transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity},
};
use tonic_prost::ProstCodec;

use super::{
    address::{EtcdConfig, Tls, User},
    error::{EtcdError, Verdict, told, unconnected, verdict},
    wire::{
        AUTHENTICATE, AuthenticateRequest, AuthenticateResponse, ResponseHeader, STATUS,
        StatusRequest, StatusResponse,
    },
};

/// How long a member may take to let itself be connected to and to say how it is.
const CONNECT: Duration = Duration::from_secs(3);

/// How long one request that reads may take: a member that hangs costs no more than this.
const READ: Duration = Duration::from_secs(4);

/// How long one write may take: a little more than the seven seconds after which etcd itself gives
/// up, since its word is better than our silence.
const WRITE: Duration = Duration::from_secs(8);

/// How long one request is tried again, members and elections included. An election takes a second
/// or two.
pub(super) const LIMIT: Duration = Duration::from_secs(15);

/// Between one attempt and the next.
const PAUSE: Duration = Duration::from_millis(100);

/// Pings that find a connection dead whose other end is gone. etcd refuses more than one in five
/// seconds.
const PING: Duration = Duration::from_secs(10);
const PONG: Duration = Duration::from_secs(5);

/// The largest answer that is taken. etcd's default limit of a request is 1.5 MiB, so that every
/// single object fits.
const ANSWER_BYTES: usize = 32 << 20;

/// What sending a request twice would do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Effect {
    /// Nothing.
    Read,
    /// Perhaps something.
    Write,
}

/// See the module.
pub(super) struct Client {
    endpoints: Vec<(String, Endpoint)>,
    prefix: String,
    user: Option<User>,
    current: Mutex<Current>,
    /// The serial number of the present connection, for whoever has a stream on it; 0 for none.
    live: watch::Sender<u64>,
    /// Held by whoever connects.
    connecting: tokio::sync::Mutex<()>,
    /// The cluster of the first member that was connected to.
    cluster: OnceLock<u64>,
}

#[derive(Default)]
struct Current {
    link: Option<Link>,
    /// The member to try first.
    next: usize,
    made: u64,
    /// When nobody could be connected to last, and why.
    failed: Option<(Instant, Vec<(String, String)>)>,
}

/// A connection to a member that has a leader.
#[derive(Clone)]
pub(super) struct Link {
    channel: Channel,
    member: usize,
    serial: u64,
    token: Option<AsciiMetadataValue>,
}

impl Client {
    /// A client that is not connected yet.
    ///
    /// # Errors
    /// A certificate or key cannot be used.
    pub(super) fn new(config: &EtcdConfig) -> Result<Self, EtcdError> {
        let tls = config.tls.as_ref().map(tls);
        let endpoint = |url: &String| {
            let endpoint = endpoint(url, tls.clone());
            let endpoint = endpoint.map_err(|error| EtcdError::Unreachable {
                tried: vec![(url.clone(), unconnected(&error, url))],
            });
            Ok((url.clone(), endpoint?))
        };
        Ok(Self {
            endpoints: config
                .endpoints
                .iter()
                .map(endpoint)
                .collect::<Result<_, EtcdError>>()?,
            prefix: config.prefix.clone(),
            user: config.user.clone(),
            current: Mutex::default(),
            live: watch::Sender::new(0),
            connecting: tokio::sync::Mutex::default(),
            cluster: OnceLock::new(),
        })
    }

    /// Sends a request until it is answered, or until another time would make no sense.
    ///
    /// # Errors
    /// Any [`EtcdError`]; a write had an effect only where it says [`EtcdError::Uncertain`].
    pub(super) async fn call<Q, A>(
        &self,
        path: &'static str,
        request: &Q,
        effect: Effect,
    ) -> Result<A, EtcdError>
    where
        Q: Message + Clone + 'static,
        A: Message + Default + 'static,
    {
        let attempt = match effect {
            Effect::Read => READ,
            Effect::Write => WRITE,
        };
        let deadline = Instant::now() + LIMIT;
        loop {
            let link = self.link(deadline).await?;
            let answer = timeout(attempt, link.unary(path, request.clone())).await;
            let status = match answer {
                Ok(Ok(answer)) => return Ok(answer),
                Ok(Err(status)) => status,
                Err(_) => Status::deadline_exceeded(format!("no answer within {attempt:?}")),
            };
            let failure = self.failure(&link, &status);
            match verdict(&status) {
                Verdict::NotDone | Verdict::TokenOver => {}
                Verdict::Unknown if effect == Effect::Read => {}
                _ => return Err(failure),
            }
            if Instant::now() >= deadline {
                return Err(failure);
            }
            sleep(PAUSE).await;
        }
    }

    /// Opens a stream with one request; it stays open until the answers are dropped.
    ///
    /// # Errors
    /// It was not opened.
    pub(super) async fn open<Q, A>(
        &self,
        path: &'static str,
        request: Q,
    ) -> Result<(Link, Streaming<A>), EtcdError>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let link = self.link(Instant::now() + LIMIT).await?;
        let requests = stream::once(async { request }).chain(stream::pending());
        let opened = async {
            let mut grpc = link.grpc();
            grpc.ready()
                .await
                .map_err(|e| Status::from_error(e.into()))?;
            let request = link.request(requests);
            let path = PathAndQuery::from_static(path);
            grpc.streaming(request, path, ProstCodec::default()).await
        };
        match timeout(READ, opened).await {
            Ok(Ok(answers)) => Ok((link, answers.into_inner())),
            Ok(Err(status)) => Err(self.failure(&link, &status)),
            Err(_) => {
                let why = format!("no answer within {READ:?}");
                Err(self.failure(&link, &Status::deadline_exceeded(why)))
            }
        }
    }

    /// What a failed request means to the caller. Where the member is to be blamed the next request
    /// goes to another one.
    pub(super) fn failure(&self, link: &Link, status: &Status) -> EtcdError {
        let endpoint = self.endpoints[link.member].0.clone();
        let why = told(status, &self.prefix);
        match verdict(status) {
            Verdict::Refused => EtcdError::Refused { endpoint, why },
            Verdict::Compacted => EtcdError::Compacted { endpoint },
            Verdict::TooLarge => EtcdError::TooLarge { endpoint, why },
            Verdict::TokenOver => {
                self.drop_link(link, link.member);
                EtcdError::Uncertain { endpoint, why }
            }
            Verdict::NotDone | Verdict::Unknown => {
                self.drop_link(link, link.member + 1);
                EtcdError::Uncertain { endpoint, why }
            }
        }
    }

    fn drop_link(&self, link: &Link, next: usize) {
        let mut current = self.current();
        if current.link.as_ref().map(|link| link.serial) == Some(link.serial) {
            current.link = None;
            current.next = next % self.endpoints.len();
            self.live.send_replace(0);
        }
    }

    /// Waits until a connection is given up, which is known before its streams have noticed.
    pub(super) async fn given_up(&self, link: &Link) {
        let mut live = self.live.subscribe();
        // The sender lives as long as this client.
        let _ = live.wait_for(|serial| *serial != link.serial).await;
    }

    /// The present connection, or a new one to the first member that can be used.
    ///
    /// # Errors
    /// None could until `deadline`; each was tried once at least, by us or while we waited.
    pub(super) async fn link(&self, deadline: Instant) -> Result<Link, EtcdError> {
        if let Some(link) = self.current().link.clone() {
            return Ok(link);
        }
        let since = Instant::now();
        let _turn = self.connecting.lock().await;
        loop {
            let first = {
                let current = self.current();
                if let Some(link) = current.link.clone() {
                    return Ok(link);
                }
                // Whoever had the turn before tried them all for us.
                if let Some((at, tried)) = &current.failed
                    && *at >= since
                    && Instant::now() >= deadline
                {
                    let tried = tried.clone();
                    return Err(EtcdError::Unreachable { tried });
                }
                current.next
            };
            match self.connect_any(first).await {
                Ok(link) => return Ok(link),
                Err(tried) => self.current().failed = Some((Instant::now(), tried)),
            }
            if Instant::now() < deadline {
                sleep(PAUSE).await;
            }
        }
    }

    /// Connects to the first member that can be used, from `first` on.
    async fn connect_any(&self, first: usize) -> Result<Link, Vec<(String, String)>> {
        let mut tried = Vec::new();
        for member in (0..self.endpoints.len()).map(|n| (first + n) % self.endpoints.len()) {
            match self.connect(member).await {
                Ok(link) => {
                    self.live.send_replace(link.serial);
                    self.current().link = Some(link.clone());
                    return Ok(link);
                }
                Err(why) => tried.push((self.endpoints[member].0.clone(), why)),
            }
        }
        Err(tried)
    }

    async fn connect(&self, member: usize) -> Result<Link, String> {
        let (url, endpoint) = &self.endpoints[member];
        let connected = async {
            let channel = endpoint.connect().await;
            let channel = channel.map_err(|error| unconnected(&error, url))?;
            let mut link = Link {
                channel,
                member,
                serial: self.serial(),
                token: None,
            };
            let status = link.unary(STATUS, StatusRequest {}).await;
            self.check(&status.map_err(|status| self.unusable(&status, url))?)?;
            if let Some(user) = &self.user {
                let token = link.authenticate(user).await;
                link.token = Some(token.map_err(|status| told(&status, &self.prefix))?);
            }
            Ok(link)
        };
        let connected = timeout(CONNECT, connected).await;
        connected.unwrap_or_else(|_| Err(format!("it did not answer within {CONNECT:?}")))
    }

    fn unusable(&self, status: &Status, url: &str) -> String {
        match verdict(status) {
            Verdict::Refused => told(status, &self.prefix),
            _ => unconnected(status, url),
        }
    }

    /// Whether a member may be used.
    fn check(&self, status: &StatusResponse) -> Result<(), String> {
        let mut numbers = status.version.split('.').map(str::parse::<u32>);
        match (numbers.next(), numbers.next()) {
            (Some(Ok(3)), Some(Ok(4..))) | (Some(Ok(4..)), _) => {}
            _ => return Err(format!("it is etcd {}; 3.4 is needed", status.version)),
        }
        if status.is_learner {
            return Err("it is a learner, which serves nobody yet".to_owned());
        }
        if status.leader == 0 {
            return Err("it knows of no leader: are most of its members running?".to_owned());
        }
        let cluster = status.header.unwrap_or_default().cluster_id;
        let ours = self.cluster.get_or_init(|| cluster);
        if *ours != cluster {
            return Err(format!(
                "it belongs to another cluster ({cluster:x}, not {ours:x}): name members of one"
            ));
        }
        Ok(())
    }

    fn serial(&self) -> u64 {
        let mut current = self.current();
        current.made += 1;
        current.made
    }

    fn current(&self) -> MutexGuard<'_, Current> {
        self.current.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let urls: Vec<_> = self.endpoints.iter().map(|(url, _)| url).collect();
        f.debug_struct("Client")
            .field("endpoints", &urls)
            .finish_non_exhaustive()
    }
}

impl Link {
    async fn unary<Q, A>(&self, path: &'static str, request: Q) -> Result<A, Status>
    where
        Q: Message + 'static,
        A: Message + Default + 'static,
    {
        let mut grpc = self.grpc();
        grpc.ready()
            .await
            .map_err(|error| Status::from_error(error.into()))?;
        let path = PathAndQuery::from_static(path);
        let request = self.request(request);
        let answer = grpc.unary(request, path, ProstCodec::default()).await?;
        Ok(answer.into_inner())
    }

    async fn authenticate(&self, user: &User) -> Result<AsciiMetadataValue, Status> {
        let request = AuthenticateRequest {
            name: user.name.clone(),
            password: user.password.clone(),
        };
        let answer: AuthenticateResponse = self.unary(AUTHENTICATE, request).await?;
        let token = AsciiMetadataValue::try_from(answer.token);
        let mut token = token.map_err(|_| Status::internal("its token is no text"))?;
        token.set_sensitive(true);
        Ok(token)
    }

    fn grpc(&self) -> Grpc<Channel> {
        Grpc::new(self.channel.clone()).max_decoding_message_size(ANSWER_BYTES)
    }

    /// A member without a leader is to refuse at once instead of waiting for one.
    fn request<Q>(&self, request: Q) -> Request<Q> {
        let mut request = Request::new(request);
        let metadata = request.metadata_mut();
        metadata.insert("hasleader", AsciiMetadataValue::from_static("true"));
        if let Some(token) = &self.token {
            metadata.insert("token", token.clone());
        }
        request
    }
}

/// The revision at which etcd answered.
///
/// # Errors
/// It did not say.
pub(super) fn revision(header: Option<ResponseHeader>) -> Result<u64, EtcdError> {
    let revision = header.and_then(|header| u64::try_from(header.revision).ok());
    revision.ok_or_else(|| EtcdError::Strange("etcd answered without a revision".to_owned()))
}

fn tls(tls: &Tls) -> ClientTlsConfig {
    let config = ClientTlsConfig::new();
    let config = match &tls.ca {
        Some(ca) => config.ca_certificate(Certificate::from_pem(ca)),
        None => config.with_native_roots(),
    };
    match &tls.identity {
        Some((certificate, key)) => config.identity(Identity::from_pem(certificate, key)),
        None => config,
    }
}

fn endpoint(url: &str, tls: Option<ClientTlsConfig>) -> Result<Endpoint, tonic::transport::Error> {
    let endpoint = Endpoint::from_shared(url.to_owned())?
        .connect_timeout(CONNECT)
        .tcp_nodelay(true)
        .http2_keep_alive_interval(PING)
        .keep_alive_timeout(PONG)
        .keep_alive_while_idle(true);
    match tls {
        Some(tls) => endpoint.tls_config(tls),
        None => Ok(endpoint),
    }
}
