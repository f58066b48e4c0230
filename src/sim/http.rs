//! The HTTP server: `/client/api` as CloudStack serves it, and `/sim/…` for those who break it.
//!
//! Statuses have the recorded reason phrases, non-standard ones included. A fault that loses the
//! connection is a connection that ends without an answer.

use axum::body::{Body, to_bytes};
use hyper::body::Incoming as HyperBody;
use hyper::ext::ReasonPhrase;
use hyper::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method as HttpMethod, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use jiff::SignedDuration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::commands::Method;
use super::pipeline::{Incoming, unauthorized};
use super::protocol::Params;
use super::reply::{Reply, reason};
use super::{Sim, admin, webhooks};

/// What a request body may be: Jetty's limit for forms in the recorded server.
const BODY_MAX: usize = 1_048_576;

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
                connections.spawn(converse(sim.clone(), stream, admin));
            }
            // The peer is gone before it was accepted, or file handles ran out: the next one
            // may do better.
            Err(error) => tracing::debug!(%error, "a connection could not be accepted"),
        }
    }
    connections.shutdown().await;
    Ok(())
}

async fn converse(sim: Sim, stream: TcpStream, admin: bool) {
    // Small answers must not wait for each other.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%error, "TCP_NODELAY could not be set");
    }
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
    let Ok(body) = to_bytes(Body::new(body), BODY_MAX).await else {
        return Ok(plain(
            StatusCode::PAYLOAD_TOO_LARGE,
            "the form is too large",
        ));
    };
    let body = String::from_utf8_lossy(&body).into_owned();
    match (path.as_str(), &head.method) {
        ("/client/api" | "/client/api/", &HttpMethod::GET | &HttpMethod::POST) => {
            let post = head.method == HttpMethod::POST;
            let method = if post { Method::Post } else { Method::Get };
            let form = if post { body.as_str() } else { "" };
            let reply = sim.receive(Params::parse(&query, form), method).await;
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
            headers.insert(name, value);
        }
    }
    response
}

impl Sim {
    /// Takes a request from the network: who signed it, and whether that still counts.
    async fn receive(&self, params: Params, method: Method) -> Reply {
        match self.signer(&params) {
            Some(user) => {
                self.handle(Incoming {
                    user,
                    params,
                    method,
                })
                .await
            }
            None => unauthorized(&params),
        }
    }

    fn signer(&self, params: &Params) -> Option<String> {
        let key = params.get("apikey")?;
        let state = self.lock();
        let skew = SignedDuration::from_secs(state.world.settings.clock_skew);
        let now = self.shared.clock.now() + skew;
        let user = state
            .world
            .users
            .values()
            .find(|user| !key.is_empty() && user.api_key == key)
            .filter(|user| state.world.is_admitted(user))?;
        let signed = params.is_signed_with(&user.secret_key) && params.is_fresh(now);
        signed.then(|| user.name.clone())
    }
}
