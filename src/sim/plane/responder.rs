//! What answers on a machine's ports. Real programs' protocols come in by [`Responder`].

use std::convert::Infallible;
use std::net::SocketAddrV4;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use futures_util::future::BoxFuture;
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::sim::world::Uuid;

/// How long a peer may say nothing.
const IDLE: Duration = Duration::from_secs(60);

/// The machine that a responder speaks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Machine {
    /// Its id.
    pub vm: Uuid,
    /// Its host name.
    pub name: String,
    /// Its detail or tag `role`, if it has one.
    pub role: Option<String>,
    /// Where it is asked.
    pub address: SocketAddrV4,
}

/// What a machine says on a port. A machine that hangs is one whose responder is not run.
pub trait Responder: Send + Sync + 'static {
    /// Talks on a connection until one of the two ends it. Dropping it at any `.await` is a machine
    /// that is gone.
    fn connected(&self, machine: Arc<Machine>, stream: TcpStream) -> BoxFuture<'static, ()>;

    /// The answer to a datagram, if there is one.
    fn received(&self, machine: &Machine, datagram: &[u8]) -> Option<Vec<u8>>;
}

/// Greets with a line that names the machine and sends back what it gets.
pub struct Echo;

impl Responder for Echo {
    fn connected(&self, machine: Arc<Machine>, mut stream: TcpStream) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let banner = format!("{} {}\r\n", machine.name, machine.address);
            let mut bytes = banner.into_bytes();
            let mut buffer = vec![0; 4096];
            // A peer that reads nothing is idle as well.
            while let Ok(Ok(())) = tokio::time::timeout(IDLE, stream.write_all(&bytes)).await {
                let Ok(Ok(read @ 1..)) = tokio::time::timeout(IDLE, stream.read(&mut buffer)).await
                else {
                    return;
                };
                bytes = buffer[..read].to_vec();
            }
        })
    }

    fn received(&self, _: &Machine, datagram: &[u8]) -> Option<Vec<u8>> {
        Some(datagram.to_vec())
    }
}

/// Answers every HTTP request with 200 and who it is, as JSON.
pub struct Http;

impl Responder for Http {
    fn connected(&self, machine: Arc<Machine>, stream: TcpStream) -> BoxFuture<'static, ()> {
        Box::pin(async move {
            let service = service_fn(move |request: Request<Incoming>| {
                let body = json!({
                    "vm": machine.name,
                    "id": machine.vm,
                    "role": machine.role,
                    "address": machine.address.ip(),
                    "port": machine.address.port(),
                    "path": request.uri().path(),
                });
                let mut response = Response::new(Body::from(format!("{body}\n")));
                let json = HeaderValue::from_static("application/json");
                response.headers_mut().insert(CONTENT_TYPE, json);
                async { Ok::<_, Infallible>(response) }
            });
            let served = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(IDLE)
                .serve_connection(TokioIo::new(stream), service)
                .await;
            if let Err(error) = served {
                tracing::debug!(%error, "a machine's connection ended early");
            }
        })
    }

    fn received(&self, _: &Machine, _: &[u8]) -> Option<Vec<u8>> {
        None
    }
}
