//! Something between Weir and its CloudStack: a proxy that answers for it, ends TLS, or is away.

use std::{
    collections::VecDeque,
    net::SocketAddr,
    sync::{Arc, Mutex},
};

use axum::body::{Body, to_bytes};
use hyper::{Request, Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpListener,
    task::JoinSet,
};
use tokio_rustls::{TlsAcceptor, rustls::ServerConfig};
use weir::clock::Clock;

use super::World;

/// An answer that the proxy gives itself.
#[derive(Clone)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<&'static str>,
    pub(crate) body: &'static str,
}

/// See the module.
pub(crate) struct Front {
    pub(crate) address: SocketAddr,
    inside: Arc<Inside>,
    tls: Option<Arc<ServerConfig>>,
    task: JoinSet<()>,
}

struct Inside {
    clock: Clock,
    target: String,
    client: reqwest::Client,
    answers: Mutex<VecDeque<Answer>>,
    /// When each request came, and whether the proxy answered it itself.
    arrivals: Mutex<Vec<(Timestamp, bool)>>,
}

impl Front {
    /// A proxy before a world's simulator, with TLS if it is given a certificate.
    pub(crate) async fn new(world: &World, tls: Option<Arc<ServerConfig>>) -> Self {
        let inside = Arc::new(Inside {
            clock: world.clock.clone(),
            target: world.endpoint.clone(),
            client: weir::http::client().build().unwrap(),
            answers: Mutex::default(),
            arrivals: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut task = JoinSet::new();
        task.spawn(serve(listener, Arc::clone(&inside), tls.clone()));
        Self {
            address,
            inside,
            tls,
            task,
        }
    }

    /// The API's URL behind it.
    pub(crate) fn endpoint(&self) -> String {
        let scheme = if self.tls.is_some() { "https" } else { "http" };
        format!("{scheme}://{}/client/api", self.address)
    }

    /// Answers as many of the next requests itself.
    pub(crate) fn answer(&self, times: usize, answer: &Answer) {
        let mut answers = self.inside.answers.lock().unwrap();
        answers.extend(std::iter::repeat_n(answer.clone(), times));
    }

    /// Lets all requests through again.
    pub(crate) fn clear(&self) {
        self.inside.answers.lock().unwrap().clear();
    }

    /// Answers that it still has to give.
    pub(crate) fn waiting(&self) -> usize {
        self.inside.answers.lock().unwrap().len()
    }

    /// When each request came, and whether the proxy answered it itself.
    pub(crate) fn arrivals(&self) -> Vec<(Timestamp, bool)> {
        self.inside.arrivals.lock().unwrap().clone()
    }

    /// Goes away: nobody listens, all connections break.
    pub(crate) async fn leave(&mut self) {
        self.task.shutdown().await;
    }

    /// Is there again, at the same address.
    pub(crate) async fn come_back(&mut self) {
        let listener = TcpListener::bind(self.address).await.unwrap();
        let inside = Arc::clone(&self.inside);
        self.task.spawn(serve(listener, inside, self.tls.clone()));
    }
}

async fn serve(listener: TcpListener, inside: Arc<Inside>, tls: Option<Arc<ServerConfig>>) {
    let mut connections = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        let (inside, tls) = (Arc::clone(&inside), tls.clone());
        connections.spawn(async move {
            match tls {
                None => converse(stream, inside).await,
                Some(tls) => {
                    if let Ok(stream) = TlsAcceptor::from(tls).accept(stream).await {
                        converse(stream, inside).await;
                    }
                }
            }
        });
    }
}

async fn converse(stream: impl AsyncRead + AsyncWrite + Unpin, inside: Arc<Inside>) {
    let service = service_fn(move |request| respond(Arc::clone(&inside), request));
    // A client that goes away is its own business.
    http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await
        .ok();
}

async fn respond(
    inside: Arc<Inside>,
    request: Request<Incoming>,
) -> Result<Response<Body>, reqwest::Error> {
    let own = inside.answers.lock().unwrap().pop_front();
    let arrival = (inside.clock.now(), own.is_some());
    inside.arrivals.lock().unwrap().push(arrival);
    if let Some(own) = own {
        let mut response = Response::builder().status(own.status);
        if let Some(seconds) = own.retry_after {
            response = response.header("Retry-After", seconds);
        }
        return Ok(response.body(Body::from(own.body)).unwrap());
    }
    let form = request.headers()["content-type"].clone();
    let body = to_bytes(Body::new(request.into_body()), usize::MAX)
        .await
        .unwrap();
    let sent = inside
        .client
        .post(&inside.target)
        .header("content-type", form)
        .body(body);
    let reply = sent.send().await?;
    let mut response = Response::builder().status(reply.status());
    if let Some(form) = reply.headers().get("content-type") {
        response = response.header("content-type", form);
    }
    Ok(response.body(Body::from(reply.bytes().await?)).unwrap())
}
