//! One HTTP exchange: URL, headers, body, and what the answer means.

use std::{error::Error, sync::Arc, time::Duration};

use bytes::Bytes;
use reqwest::{Method, Response, StatusCode, header};
use serde_json::Value;
use tokio_rustls::rustls::{
    self, ClientConfig, ConfigBuilder, RootCertStore,
    client::WantsClientCert,
    client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    crypto::{CryptoProvider, ring},
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime, pem::PemObject},
};
use url::Url;

use super::ClientError;
use crate::{
    api::{Status, kubeconfig::Access},
    types::core::Confidential,
};

/// Time for a connection, handshake included.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// Time for everything but a watch. A plan over a slow CloudStack is the slowest request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(120);

/// How often the same request is sent again because the server asked for it, as in Kubernetes'
/// own client.
const PUT_OFF_MAX: usize = 10;
/// The longest that a server is obeyed.
const PUT_OFF_LONGEST: Duration = Duration::from_secs(30);

/// What is sent.
pub(super) struct Call {
    pub(super) method: Method,
    pub(super) path: String,
    pub(super) query: Vec<(&'static str, String)>,
    /// A query as it was written, instead of `query`.
    pub(super) raw_query: Option<String>,
    pub(super) accept: &'static str,
    pub(super) body: Option<(&'static str, Vec<u8>)>,
    pub(super) timeout: Option<Duration>,
}

impl Call {
    pub(super) fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            raw_query: None,
            accept: "application/json",
            body: None,
            timeout: Some(REQUEST_TIMEOUT),
        }
    }

    pub(super) fn query(mut self, name: &'static str, value: Option<impl Into<String>>) -> Self {
        if let Some(value) = value {
            self.query.push((name, value.into()));
        }
        self
    }

    pub(super) fn json(self, value: &Value) -> Self {
        self.body("application/json", value)
    }

    pub(super) fn body(mut self, media: &'static str, value: &Value) -> Self {
        self.body = Some((media, value.to_string().into_bytes()));
        self
    }
}

/// A connection pool with the server's address and the credential.
#[derive(Clone, Debug)]
pub(super) struct Transport {
    http: reqwest::Client,
    server: Url,
    token: Option<Confidential>,
}

impl Transport {
    pub(super) fn new(access: &Access) -> Result<Self, ClientError> {
        let server = Url::parse(&access.server).map_err(|error| {
            ClientError::Request(format!(
                "the kubeconfig's server {:?} is no URL: {error}",
                access.server
            ))
        })?;
        let mut builder = reqwest::Client::builder()
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .connect_timeout(CONNECT_TIMEOUT)
            .tls_backend_preconfigured(tls(access)?);
        if is_loopback(&server) {
            builder = builder.no_proxy();
        }
        let http = builder
            .build()
            .map_err(|error| ClientError::Request(format!("no HTTP client: {}", chain(&error))))?;
        Ok(Self {
            http,
            server,
            token: access.token.clone(),
        })
    }

    pub(super) fn server(&self) -> &str {
        self.server.as_str().trim_end_matches('/')
    }

    /// Sends, and returns an answer that is a success; its body is still to come.
    pub(super) async fn send(&self, call: Call) -> Result<Response, ClientError> {
        let mut url = self.server.clone();
        let prefix = self.server.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}{}", call.path));
        if !call.query.is_empty() {
            url.query_pairs_mut().extend_pairs(&call.query);
        }
        if let Some(query) = &call.raw_query {
            url.set_query(Some(query));
        }
        tracing::debug!(method = %call.method, path = %call.path, "request");
        let mut request = self
            .http
            .request(call.method, url)
            .header(header::ACCEPT, call.accept);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token.expose());
        }
        if let Some((media, body)) = call.body {
            request = request.header(header::CONTENT_TYPE, media).body(body);
        }
        if let Some(timeout) = call.timeout {
            request = request.timeout(timeout);
        }
        for _ in 0..PUT_OFF_MAX {
            let Some(again) = request.try_clone() else {
                break;
            };
            let response = again.send().await.map_err(|e| self.unreachable(e))?;
            match put_off(&response) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return self.judged(response).await,
            }
        }
        let response = request.send().await.map_err(|e| self.unreachable(e))?;
        self.judged(response).await
    }

    async fn judged(&self, response: Response) -> Result<Response, ClientError> {
        if response.status().is_success() {
            Ok(response)
        } else {
            Err(self.refusal(response).await)
        }
    }

    /// Sends, and reads the answer as JSON, with the status it came with.
    pub(super) async fn json(&self, call: Call) -> Result<(StatusCode, Value), ClientError> {
        let response = self.send(call).await?;
        let status = response.status();
        let body = self.bytes(response).await?;
        let value = serde_json::from_slice(&body).map_err(|error| self.nonsense(&error))?;
        Ok((status, value))
    }

    pub(super) async fn bytes(&self, response: Response) -> Result<Bytes, ClientError> {
        response.bytes().await.map_err(|e| self.unreachable(e))
    }

    async fn refusal(&self, response: Response) -> ClientError {
        let code = response.status().as_u16();
        let body = response.bytes().await.unwrap_or_default();
        let status = serde_json::from_slice::<Status>(&body).unwrap_or_else(|_| {
            let text = String::from_utf8_lossy(&body);
            let message = format!("{} answered {code}: {}", self.server(), text.trim());
            Status::failure(code, "", message)
        });
        if code == 401 {
            let server = self.server().to_owned();
            ClientError::Unauthorized {
                server,
                status: Box::new(status),
            }
        } else {
            ClientError::Refused(Box::new(status))
        }
    }

    pub(super) fn nonsense(&self, why: &dyn std::fmt::Display) -> ClientError {
        ClientError::Answer {
            server: self.server().to_owned(),
            why: why.to_string(),
        }
    }

    pub(super) fn unreachable(&self, error: reqwest::Error) -> ClientError {
        let server = self.server().to_owned();
        match certificate_error(&error) {
            Some(why) => ClientError::Untrusted { server, why },
            None => ClientError::Unreachable {
                server,
                source: Box::new(error.without_url()),
            },
        }
    }
}

/// How long to wait before the same request is sent again, where the server has done nothing of it
/// and says when to come again.
fn put_off(response: &Response) -> Option<Duration> {
    if response.status() != StatusCode::TOO_MANY_REQUESTS {
        return None;
    }
    let seconds = response.headers().get(header::RETRY_AFTER)?.to_str().ok()?;
    Some(Duration::from_secs(seconds.parse().ok()?).min(PUT_OFF_LONGEST))
}

/// The texts of an answer's `Warning` headers, which look like `299 - "text"`.
pub(super) fn warnings(response: &Response) -> Vec<String> {
    let headers = response.headers().get_all(header::WARNING).into_iter();
    headers
        .filter_map(|value| value.to_str().ok()?.split_once('"'))
        .map(|(_, text)| text.trim_end_matches('"').replace("\\\"", "\""))
        .collect()
}

fn is_loopback(server: &Url) -> bool {
    match server.host() {
        Some(url::Host::Domain(name)) => name == "localhost",
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        None => false,
    }
}

/// What is wrong with the server's certificate, if that is what the error is about.
fn certificate_error(error: &reqwest::Error) -> Option<String> {
    let mut next = error.source();
    while let Some(cause) = next {
        let io = cause.downcast_ref::<std::io::Error>();
        let inner = io.and_then(std::io::Error::get_ref);
        let tls = cause
            .downcast_ref::<rustls::Error>()
            .or_else(|| inner.and_then(|inner| inner.downcast_ref::<rustls::Error>()));
        if let Some(rustls::Error::InvalidCertificate(why)) = tls {
            return Some(why.to_string());
        }
        next = cause.source();
    }
    None
}

fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        next = cause.source();
    }
    text
}

fn tls(access: &Access) -> Result<ClientConfig, ClientError> {
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider.clone())
        .with_safe_default_protocol_versions()
        .expect("ring offers the default versions of TLS");
    if access.insecure {
        let verifier = Arc::new(AnyCertificate(provider));
        let builder = builder
            .dangerous()
            .with_custom_certificate_verifier(verifier);
        return with_certificate(builder, access);
    }
    let mut roots = RootCertStore::empty();
    let pem = access.ca_pem.as_deref().unwrap_or_default();
    for certificate in CertificateDer::pem_slice_iter(pem.as_bytes()) {
        let added = certificate
            .map_err(|error| error.to_string())
            .and_then(|der| roots.add(der).map_err(|error| error.to_string()));
        added.map_err(|why| {
            ClientError::Request(format!("the kubeconfig's authority is unusable: {why}"))
        })?;
    }
    if roots.is_empty() && access.server.starts_with("https:") {
        return Err(ClientError::Request(
            "the kubeconfig names no certificate authority: add certificate-authority-data".into(),
        ));
    }
    with_certificate(builder.with_root_certificates(roots), access)
}

/// Shows the certificate of the kubeconfig to whoever asks for one.
fn with_certificate(
    builder: ConfigBuilder<ClientConfig, WantsClientCert>,
    access: &Access,
) -> Result<ClientConfig, ClientError> {
    let Some((certificate, key)) = &access.certificate else {
        return Ok(builder.with_no_client_auth());
    };
    let unusable = |why: String| {
        ClientError::Request(format!(
            "the kubeconfig's client certificate is unusable: {why}"
        ))
    };
    let chain = CertificateDer::pem_slice_iter(certificate.as_bytes());
    let chain: Result<Vec<_>, _> = chain.collect();
    let chain = chain.map_err(|error| unusable(error.to_string()))?;
    let key = PrivateKeyDer::from_pem_slice(key.expose().as_bytes());
    let key = key.map_err(|error| unusable(error.to_string()))?;
    let config = builder.with_client_auth_cert(chain, key);
    config.map_err(|error| unusable(error.to_string()))
}

/// Takes any certificate, as `insecure-skip-tls-verify: true` asks for.
#[derive(Debug)]
struct AnyCertificate(Arc<CryptoProvider>);

impl ServerCertVerifier for AnyCertificate {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let supported = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, certificate, signature, supported)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &rustls::DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let supported = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, certificate, signature, supported)
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
