//! Sends a signed command and hands back what came: a status and a body, or nothing.
//!
//! It does not judge what came (see `errors`) and does not wait its turn (see `governor`). It
//! follows no redirect and repeats nothing: a command that was sent may have taken effect.

use std::{error::Error, io, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures_util::future::BoxFuture;
use reqwest::{Client, header, redirect, retry};
use tokio_rustls::rustls::{
    self, ClientConfig, RootCertStore,
    crypto::ring,
    pki_types::{CertificateDer, pem::PemObject},
};
use url::Url;

use super::ConnectError;
use crate::types::account::Limits;

/// The largest body that is read. A page of 500 VMs with 32 KiB of user data each is 22 MiB; more
/// than twice that is not CloudStack any more.
const BODY_MAX: usize = 64 * 1024 * 1024;

/// How long an idle connection is kept. CloudStack's Jetty closes one after 30 s, and a command
/// sent at that very moment would have an unknown outcome.
const IDLE: Duration = Duration::from_secs(20);

/// Carries signed requests to a CloudStack and its answers back. HTTP does, unless whoever connects
/// brings something else: a world of a test has the simulator in its own process.
pub trait Carrier: Send + Sync + 'static {
    /// Carries the form of a POST there and what is answered back, if anything is.
    ///
    /// # Errors
    /// [`Silence`]: only `Unreachable` and `Untrusted` say that the request did not arrive.
    fn carry(&self, form: String) -> BoxFuture<'_, Result<Reply, Silence>>;
}

/// An HTTP client for one endpoint.
pub(super) struct Transport {
    endpoint: Url,
    client: Client,
}

/// What came back.
#[derive(Clone, Debug)]
pub struct Reply {
    /// The HTTP status; CloudStack's own run from 430 to 537.
    pub status: u16,
    /// The `Retry-After` header in seconds, as proxies send it. CloudStack sends none.
    pub retry_after: Option<Duration>,
    /// The body, up to 64 MiB.
    pub body: Bytes,
}

/// Why nothing came back.
#[derive(Debug, thiserror::Error)]
pub enum Silence {
    /// Nobody answered at the endpoint; the command was not sent.
    #[error("cannot connect")]
    Unreachable(#[source] Box<dyn Error + Send + Sync>),
    /// Whoever answers at the endpoint shows a certificate that is not trusted; the command was
    /// not sent.
    #[error(
        "the server's certificate is not trusted; if it is the right server, put the certificate \
         of its CA into spec.caBundle of the CloudAccount"
    )]
    Untrusted(#[source] Box<dyn Error + Send + Sync>),
    /// The answer did not come in time.
    #[error("no answer in time")]
    Timeout(#[source] Box<dyn Error + Send + Sync>),
    /// The connection broke, before or in the middle of the answer.
    #[error("the connection was lost")]
    Lost(#[source] Box<dyn Error + Send + Sync>),
    /// The answer is longer than anything CloudStack has to say.
    #[error("the answer is longer than {BODY_MAX} bytes")]
    TooLong,
}

impl Silence {
    /// A word for metrics.
    pub(super) const fn word(&self) -> &'static str {
        match self {
            Self::Unreachable(_) => "unreachable",
            Self::Untrusted(_) => "untrusted",
            Self::Timeout(_) => "timeout",
            Self::Lost(_) => "lost",
            Self::TooLong => "too-long",
        }
    }
}

impl From<reqwest::Error> for Silence {
    fn from(error: reqwest::Error) -> Self {
        // The URL could carry a password.
        let error = error.without_url();
        if error.is_connect() && untrusted(&error) {
            Self::Untrusted(error.into())
        } else if error.is_connect() {
            Self::Unreachable(error.into())
        } else if error.is_timeout() {
            Self::Timeout(error.into())
        } else {
            Self::Lost(error.into())
        }
    }
}

/// Whether a connection failed for the other end's certificate. That is hidden in one or two
/// `io::Error`s, whose `source` leaves their own content out.
fn untrusted(error: &(dyn Error + 'static)) -> bool {
    if let Some(rustls::Error::InvalidCertificate(_)) = error.downcast_ref() {
        return true;
    }
    let inner = error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref);
    let inner = inner.map(|inner| inner as &(dyn Error + 'static));
    inner.or_else(|| error.source()).is_some_and(untrusted)
}

impl Transport {
    /// A client for the API at `endpoint` that trusts the system's certificates and those in
    /// `ca_bundle`.
    pub(super) fn new(
        endpoint: &str,
        ca_bundle: Option<&str>,
        limits: &Limits,
    ) -> Result<Self, ConnectError> {
        let endpoint = Url::parse(endpoint)
            .ok()
            .filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host())
            .ok_or_else(|| ConnectError::Endpoint(endpoint.to_owned()))?;
        let client = Client::builder()
            .tls_backend_preconfigured(tls(ca_bundle)?)
            .http1_only()
            .redirect(redirect::Policy::none())
            .retry(retry::never())
            .referer(false)
            .connect_timeout(limits.connect_timeout.get())
            .timeout(limits.request_timeout.get())
            .pool_idle_timeout(IDLE)
            .build()
            .map_err(ConnectError::Client)?;
        Ok(Self { endpoint, client })
    }

    /// Sends a command and reads the answer to its end.
    ///
    /// Always by POST: a GET has room for 8 KB, shows its parameters in access logs, and may be
    /// refused for changes (`enforce.post.requests.and.timestamps`).
    async fn send(&self, form: String) -> Result<Reply, Silence> {
        let sent = self
            .client
            .post(self.endpoint.clone())
            .header(header::CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(header::ACCEPT, "application/json")
            .body(form)
            .send();
        let mut response = sent.await?;
        let mut body = BytesMut::new();
        while let Some(chunk) = response.chunk().await? {
            if body.len() + chunk.len() > BODY_MAX {
                return Err(Silence::TooLong);
            }
            body.extend_from_slice(&chunk);
        }
        Ok(Reply {
            status: response.status().as_u16(),
            retry_after: retry_after(response.headers()),
            body: body.freeze(),
        })
    }
}

impl Carrier for Transport {
    fn carry(&self, form: String) -> BoxFuture<'_, Result<Reply, Silence>> {
        Box::pin(self.send(form))
    }
}

fn retry_after(headers: &header::HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// TLS with ring, the system's certificates and the account's own. A system without any is no
/// error: the endpoint may be plain HTTP, or vouched for by the bundle.
fn tls(ca_bundle: Option<&str>) -> Result<ClientConfig, ConnectError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    let bundle = ca_bundle.unwrap_or_default();
    for certificate in CertificateDer::pem_slice_iter(bundle.as_bytes()) {
        let certificate = certificate.map_err(|error| ConnectError::CaBundle(error.to_string()))?;
        let added = roots.add(certificate);
        added.map_err(|error| ConnectError::CaBundle(error.to_string()))?;
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("ring speaks TLS 1.2 and 1.3")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(config)
}
