//! Leading: of several controllers on one store, one runs the loop and the others stand by, each with
//! its API.
//!
//! Whoever loses the lead ends with an error and is started again by its service manager: nothing
//! that it remembers is worth more than a fresh look.

use std::{sync::Arc, time::Duration};

use anyhow::{Result, anyhow};
use futures_util::future::BoxFuture;
use tokio_util::sync::CancellationToken;

use crate::{
    clock::Clock,
    cloud::{Connect, Guard},
    controller::Context,
    store::{Leadership, Store, StoreError},
    types::{
        core::{Lease, LeaseSpec},
        meta::{Object, ObjectKey, ObjectMeta, Resource},
    },
};

/// How long a leader that is silent is waited for: long enough for etcd to choose a leader of its
/// own, short enough for a person who watches.
pub const LEASE: Duration = Duration::from_secs(6);

/// The `Lease` that tells who leads.
const NAME: &str = "weir-controller";

/// A claim to lead, as whoever sends commands asks it.
pub struct Leading(pub Leadership);

impl Guard for Leading {
    fn may_change(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(self.0.sure())
    }
}

/// Stands by until this controller leads, then runs the loop until it ends, `stop`, or the lead is
/// lost. `holder` is who it is, for people, and nobody else is called so.
///
/// # Errors
/// The loop failed, or the lead was lost.
pub async fn lead<K: Connect>(
    leading: Arc<Leading>,
    holder: &str,
    cx: &Context<K>,
    running: impl Future<Output = Result<()>>,
    stop: CancellationToken,
) -> Result<()> {
    tracing::info!(holder, "stands by until it leads");
    let taken = stop.run_until_cancelled(leading.0.take(holder)).await;
    let Some(lease) = taken else {
        return Ok(());
    };
    tracing::info!(holder, "leads");
    cx.metrics.set_leading(true);
    if let Err(error) = tell(&cx.store, &cx.clock, holder).await {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "who leads is not told"
        );
    }
    let ended = tokio::select! {
        biased;
        ended = running => ended,
        () = leading.0.keep(lease) => Err(anyhow!(
            "this controller no longer leads: its lease ended before it was renewed; started \
             again, it stands by"
        )),
    };
    cx.metrics.set_leading(false);
    if ended.is_ok()
        && let Err(error) = leading.0.resign(lease).await
    {
        tracing::debug!(
            error = &error as &dyn std::error::Error,
            "the lease ends by itself"
        );
    }
    ended
}

/// Writes down for people who leads.
async fn tell(store: &Store, clock: &Clock, holder: &str) -> Result<(), StoreError> {
    let now = clock.now();
    let spec = |transitions| LeaseSpec {
        holder_identity: Some(holder.to_owned()),
        lease_duration_seconds: i32::try_from(LEASE.as_secs()).ok(),
        acquire_time: Some(now),
        renew_time: Some(now),
        lease_transitions: Some(transitions),
    };
    let key = ObjectKey::new(Lease::KIND, "default", NAME);
    let Some(former) = store.get(&key).await? else {
        let lease = Lease {
            api_version: Lease::KIND.api_version().to_owned(),
            kind: Lease::KIND.name().to_owned(),
            metadata: ObjectMeta {
                name: NAME.to_owned(),
                namespace: key.namespace,
                ..ObjectMeta::default()
            },
            spec: spec(0),
        };
        store.create(Object::encode(&lease)).await?;
        return Ok(());
    };
    let lease: Option<Lease> = former.decode().ok();
    let transitions = lease.and_then(|lease| lease.spec.lease_transitions);
    let lease = Lease {
        api_version: former.api_version,
        kind: former.kind,
        metadata: former.metadata,
        spec: spec(transitions.unwrap_or_default().saturating_add(1)),
    };
    store.update(Object::encode(&lease)).await?;
    Ok(())
}
