//! The HTTPS server: connections in, answers out, and an orderly end.

use std::{convert::Infallible, io, net::SocketAddr, pin::pin, sync::Arc, time::Duration};

use axum::{body::Body, http::Request};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::json;
use tokio::{
    net::{TcpListener, TcpStream},
    time::{interval, timeout},
};
use tokio_rustls::TlsAcceptor;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use super::{
    access::{Authority, reconcile},
    audit::Audit,
    auth::{self, Authenticators},
    collect,
    dispatch::{self, Api, DEFAULT_NAMESPACE, Hooks, Peer},
    limits::{Asker, Limits, Pace, Patient, Shares},
    openapi::Documents,
    tls::{RENEW_EVERY, Tls},
};
use crate::{
    clock::Clock,
    store::{Store, StoreError},
    types::meta::{Kind, Object},
};

/// Time for requests in flight to finish when the server stops.
const GRACE: Duration = Duration::from_secs(2);
/// Pause after a connection could not be accepted, for example for want of file descriptors.
const REST: Duration = Duration::from_millis(100);

/// What a server is made of.
pub struct Config {
    /// The objects that it serves.
    pub store: Store,
    /// Its certificate.
    pub tls: Tls,
    /// Who is let in.
    pub auth: Authenticators,
    /// Where it is written down who did what, if anywhere.
    pub audit: Option<Audit>,
    /// The time, for ages in tables.
    pub clock: Clock,
    /// What it asks of the rest of Weir.
    pub hooks: Arc<dyn Hooks>,
    /// How much is let in.
    pub limits: Limits,
}

/// Serves the API on `listener` until `stop`. Then it accepts nothing more, ends all watches and
/// lets other requests finish, for at most two seconds.
///
/// The namespace `default` is made if it is missing, and so are the roles that are always there.
/// Nobody is let in before it is known who may do what.
///
/// # Errors
/// The store takes no writes.
pub async fn serve(
    listener: TcpListener,
    config: Config,
    stop: CancellationToken,
) -> io::Result<()> {
    make_default_namespace(&config.store).await?;
    reconcile(&config.store).await.map_err(io::Error::other)?;
    let loaded = Authority::load(config.store.clone(), config.clock.clone()).await;
    let (authority, follower) = loaded.map_err(io::Error::other)?;
    let acceptor = TlsAcceptor::from(config.tls.config());
    let tls = config.tls.clone();
    let limits = config.limits;
    let free = Shares::new(limits.connections, limits.connections_each);
    let api = Arc::new(Api {
        store: config.store,
        auth: config.auth,
        authority,
        audit: config.audit,
        clock: config.clock,
        hooks: config.hooks,
        documents: Documents::new(),
        pace: Pace::new(&limits),
        requests: Shares::new(limits.requests, limits.requests_each),
        watches: Shares::new(limits.watches, limits.watches_each),
        limits,
        stop: stop.clone(),
    });
    let connections = TaskTracker::new();
    connections.spawn(follower.run(stop.clone()));
    let (store, clock) = (api.store.clone(), api.clock.clone());
    let store = store.passing_over_undecrypted();
    connections.spawn(collect::run(store, clock, stop.clone()));
    let watched = api.clone();
    connections.spawn(async move { watched.auth.follow_files(&watched.stop).await });
    let mut renewal = interval(RENEW_EVERY);
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            _ = renewal.tick() => None,
            accepted = listener.accept() => Some(accepted),
        };
        match accepted {
            None => tls.renew(),
            Some(Ok((stream, peer))) => match free.take(Asker::at(peer.ip())) {
                Some(held) => {
                    let served = connection(api.clone(), stream, peer, acceptor.clone());
                    connections.spawn(async move {
                        served.await;
                        drop(held);
                    });
                }
                None => tracing::warn!(%peer, "too many connections"),
            },
            Some(Err(error)) => {
                tracing::warn!(%error, "connection not accepted");
                api.clock.sleep(REST).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
    Ok(())
}

async fn make_default_namespace(store: &Store) -> io::Result<()> {
    let namespace = json!({
        "apiVersion": "v1", "kind": Kind::Namespace.name(),
        "metadata": { "name": DEFAULT_NAMESPACE },
    });
    let namespace: Object = serde_json::from_value(namespace)?;
    match store.create(namespace).await {
        Ok(_) | Err(StoreError::AlreadyExists(_)) => Ok(()),
        Err(error) => Err(io::Error::other(error)),
    }
}

/// Serves one connection to its end; after `stop`, to the end of its present request.
async fn connection(api: Arc<Api>, stream: TcpStream, peer: SocketAddr, acceptor: TlsAcceptor) {
    let stop = api.stop.clone();
    let limits = api.limits;
    // An event of a watch is small, and nothing follows it: the system would hold it back until the
    // client has acknowledged what came before, which a client takes 40 ms for.
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(%peer, %error, "small parts may be held back");
    }
    let stream = Patient::new(stream, limits.stalled);
    let handshake = timeout(limits.handshake, acceptor.accept(stream));
    let stream = match stop.run_until_cancelled(handshake).await {
        Some(Ok(Ok(stream))) => stream,
        Some(Ok(Err(error))) => return tracing::debug!(%peer, %error, "no TLS handshake"),
        Some(Err(_)) | None => return,
    };
    let shown = stream.get_ref().1.peer_certificates();
    let certified = shown.and_then(|chain| auth::certified(chain.first()?));
    let from = Peer {
        address: peer,
        certified,
    };
    let stream = TokioIo::new(stream);
    let service = service_fn(move |request: Request<Incoming>| {
        let (api, from) = (api.clone(), from.clone());
        async move {
            let reply = dispatch::answer(api, from, request.map(Body::new)).await;
            Ok::<_, Infallible>(reply)
        }
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.head)
        .max_buf_size(limits.head_bytes)
        .max_header_size(limits.head_bytes)
        .max_headers(limits.header_lines)
        .serve_connection(stream, service);
    let mut served = pin!(served);
    let ended = match stop.run_until_cancelled(served.as_mut()).await {
        Some(ended) => ended,
        None => {
            served.as_mut().graceful_shutdown();
            match timeout(GRACE, served).await {
                Ok(ended) => ended,
                Err(_) => return tracing::debug!(%peer, "connection cut off"),
            }
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%peer, %error, "connection broke off");
    }
}
