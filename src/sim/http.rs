//! The HTTP server: `/client/api` as CloudStack serves it, and `/sim/…` for those who break it.
//!
//! Statuses have the recorded reason phrases, non-standard ones included. A fault that loses the
//! connection is a connection that ends without an answer.

use axum::body::{Body, to_bytes};
use hyper::body::Incoming as HyperBody;
use hyper::ext::ReasonPhrase;
use hyper::header::{CONTENT_TYPE, COOKIE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method as HttpMethod, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::SignedDuration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::commands::Method;
use super::pipeline::{Incoming, envelope, is_xml, unauthorized};
use super::protocol::Params;
use super::reply::{ApiError, Reply, reason};
use super::world::World;
use super::{Sim, admin, webhooks};

/// What a request body may be: Jetty's limit for forms in the recorded server.
const BODY_MAX: usize = 1_048_576;

/// How many parameters a form may have (`request.max.form.keys`).
const KEYS_MAX: usize = 5_000;

/// What the head of a request may be, in bytes: Jetty's limit.
const HEAD_MAX: usize = 8_192;

/// A connection that is to end without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is lost on purpose")]
struct Lost;

pub(super) async fn serve(
    sim: Sim,
    listener: TcpListener,
    stop: CancellationToken,
) -> std::io::Result<()> {
    let admin = listener.local_addr()?.ip().is_loopback();
    let mut connections = JoinSet::new();
    connections.spawn(webhooks::run(sim.clone(), stop.clone()));
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            Some(_) = connections.join_next() => continue,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                connections.spawn(accept(sim.clone(), stream, admin));
            }
            // The peer is gone before it was accepted, or file handles ran out: the next one
            // may do better.
            Err(error) => tracing::debug!(%error, "a connection could not be accepted"),
        }
    }
    connections.shutdown().await;
    Ok(())
}

async fn accept(sim: Sim, stream: TcpStream, admin: bool) {
    // Small answers must not wait for each other.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
    converse(sim, stream, admin).await;
}

/// Answers the requests that come by a connection.
pub(super) async fn converse<S>(sim: Sim, stream: S, admin: bool)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let service = service_fn(move |request| answer(sim.clone(), request, admin));
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .serve_connection(TokioIo::new(stream), service)
        .await;
    if let Err(error) = served {
        tracing::debug!(%error, "a connection ended early");
    }
}

async fn answer(
    sim: Sim,
    request: Request<HyperBody>,
    admin: bool,
) -> Result<Response<Body>, Lost> {
    let (head, body) = request.into_parts();
    let path = head.uri.path().to_owned();
    let query = head.uri.query().unwrap_or_default().to_owned();
    if let Some(refused) = too_long(&head) {
        return Ok(refused);
    }
    let Ok(body) = to_bytes(Body::new(body), BODY_MAX).await else {
        return Ok(bad_message(400, "Unable to parse form content"));
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    match (path.as_str(), &head.method) {
        ("/client/api" | "/client/api/", &HttpMethod::GET | &HttpMethod::POST) => {
            let post = head.method == HttpMethod::POST;
            let method = if post { Method::Post } else { Method::Get };
            let form = if post { body.as_str() } else { "" };
            let pairs = form.split('&').filter(|pair| !pair.is_empty());
            if pairs.count() > KEYS_MAX {
                return Ok(bad_message(400, "Unable to parse form content"));
            }
            let cookies = head.headers.get(COOKIE);
            let cookies = cookies.and_then(|value| value.to_str().ok());
            let cookies = cookies.unwrap_or_default();
            let params = Params::parse(&query, form);
            let reply = sim.receive(params, method, cookies).await;
            if reply.is_lost() {
                Err(Lost)
            } else {
                Ok(response(reply))
            }
        }
        ("/client/api" | "/client/api/", _) => {
            Ok(plain(StatusCode::METHOD_NOT_ALLOWED, "GET or POST"))
        }
        (path, method) if admin && (path == "/sim" || path.starts_with("/sim/")) => {
            Ok(admin::answer(&sim, (method, path), &body))
        }
        _ => Ok(plain(StatusCode::NOT_FOUND, "nothing here")),
    }
}

/// Refuses a request whose head is larger than Jetty takes.
fn too_long(head: &hyper::http::request::Parts) -> Option<Response<Body>> {
    let line = head.uri.to_string().len() + head.method.as_str().len();
    let fields = head.headers.iter();
    let fields: usize = fields
        .map(|(name, value)| name.as_str().len() + value.len() + ": \r\n".len())
        .sum();
    if line > HEAD_MAX {
        Some(bad_message(414, "URI Too Long"))
    } else if line + fields > HEAD_MAX {
        Some(bad_message(431, "Request Header Fields Too Large"))
    } else {
        None
    }
}

/// What the servlet container says of a request that never reaches CloudStack.
fn bad_message(status: u16, why: &str) -> Response<Body> {
    let text = format!("<h1>Bad Message {status}</h1><pre>reason: {why}</pre>");
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_REQUEST);
    let html = HeaderValue::from_static("text/html;charset=iso-8859-1");
    response.headers_mut().insert(CONTENT_TYPE, html);
    response
}

fn plain(status: StatusCode, text: &'static str) -> Response<Body> {
    let mut response = Response::new(Body::from(text));
    *response.status_mut() = status;
    response
}

fn response(reply: Reply) -> Response<Body> {
    let mut response = Response::new(Body::from(reply.body));
    *response.status_mut() =
        StatusCode::from_u16(reply.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    if let Some(phrase) = reason(reply.status) {
        response
            .extensions_mut()
            .insert(ReasonPhrase::from_static(phrase.as_bytes()));
    }
    let headers = response.headers_mut();
    let content_type = reply.content_type;
    for (name, value) in reply
        .headers
        .into_iter()
        .chain([(CONTENT_TYPE.to_string(), content_type)])
    {
        // A text that no header can carry is left out of it; the body has it.
        if let (Ok(name), Ok(value)) = (
            HeaderName::try_from(name),
            HeaderValue::from_bytes(value.as_bytes()),
        ) {
            headers.append(name, value);
        }
    }
    response
}

impl Sim {
    /// Takes a request from the network: who signed it, and whether that still counts.
    pub(super) async fn receive(&self, params: Params, method: Method, cookies: &str) -> Reply {
        match self.visitor(&params, method, cookies) {
            Ok(user) => {
                self.handle(Incoming {
                    user,
                    params,
                    method,
                })
                .await
            }
            Err(reply) => reply,
        }
    }

    /// The user who sent a request, by session or by signature; an answer if there is none, or no
    /// more to be done.
    fn visitor(&self, params: &Params, method: Method, cookies: &str) -> Result<String, Reply> {
        let xml = is_xml(params);
        let mut state = self.lock();
        state.advance(self.shared.clock.now());
        match params.exact("command") {
            Some("login") => return Err(state.login(params, method, xml)),
            Some("logout") => return Err(state.logout(cookies, xml)),
            _ => {}
        }
        let told = |error: ApiError| Reply::error(&envelope(params), &error, xml);
        let user = match state.session_user(cookies, params) {
            Some(user) => user.map_err(told)?,
            None => self
                .signer(&state.world, params)
                .ok_or_else(|| unauthorized(params))?,
        };
        state.throttle(&user).map_err(told)?;
        Ok(user)
    }

    fn signer(&self, world: &World, params: &Params) -> Option<String> {
        let key = params.get("apikey")?;
        let skew = SignedDuration::from_secs(world.settings.clock_skew);
        let now = self.shared.clock.now() + skew;
        let user = world
            .users
            .values()
            .find(|user| !key.is_empty() && user.api_key == key)
            .filter(|user| world.is_admitted(user))?;
        let signed = params.is_signed_with(&user.secret_key) && params.is_fresh(now);
        signed.then(|| user.name.clone())
    }
}
