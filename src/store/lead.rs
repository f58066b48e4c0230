//! Leadership: of several controllers on one backend, one acts, and the others stand by.
//!
//! Whoever makes the key of the leader holds it while it renews its lease. The lease is counted by
//! the backend and, more strictly, here: from the moment at which a renewal was asked for. So the
//! leader stops before anybody else can begin. One that was stopped for a minute at any line finds
//! its time over when it goes on, and asks the backend besides before it changes anything.

use std::{
    sync::{Arc, Mutex, OnceLock, PoisonError},
    time::Duration,
};

use bytes::Bytes;
use tokio::time::{Instant, sleep, timeout};

use super::{
    backend::BackendError,
    error::StoreError,
    lease::{Fence, Fenced, LeaseId, Leases},
};

/// The key that the leader makes.
const KEY: &str = "leader";

/// How often one that stands by tries to lead.
const TRY: Duration = Duration::from_secs(1);

/// The claim of one controller to be the one that acts, from the first try to the loss. It is made
/// once: whoever lost it starts anew, with nothing in memory.
#[derive(Debug)]
pub struct Leadership {
    leases: Arc<dyn Leases>,
    /// For how long a renewal holds.
    time: Duration,
    fence: Arc<OnceLock<Fence>>,
    /// Until when the lease holds for sure; nothing before it was taken.
    until: Mutex<Option<Instant>>,
}

impl Leadership {
    /// A claim that is not made yet, with a lease of `time`, in whole seconds of at least one.
    #[must_use]
    pub fn new(leases: Arc<dyn Leases>, time: Duration) -> Self {
        Self {
            leases,
            time,
            fence: Arc::default(),
            until: Mutex::default(),
        }
    }

    /// The keys and values, which can be written only while this controller leads.
    #[must_use]
    pub fn backend(&self) -> Fenced {
        Fenced::new(Arc::clone(&self.leases), Arc::clone(&self.fence))
    }

    /// Waits until this controller leads, however long that takes. `holder` is who it is, for
    /// people. Cancel-safe: what was taken ends by itself.
    pub async fn take(&self, holder: &str) -> LeaseId {
        loop {
            match self.try_to_lead(holder).await {
                Ok(Some(lease)) => return lease,
                Ok(None) => {}
                Err(error) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "cannot ask the store who leads");
                }
            }
            sleep(TRY).await;
        }
    }

    async fn try_to_lead(&self, holder: &str) -> Result<Option<LeaseId>, BackendError> {
        if self.leases.holder(KEY).await?.is_some() {
            return Ok(None);
        }
        let asked = Instant::now();
        let lease = self.leases.grant(self.time).await?;
        let name = Bytes::copy_from_slice(holder.as_bytes());
        let Some(fence) = self.leases.hold(KEY, name, lease).await? else {
            self.leases.revoke(lease).await?;
            return Ok(None);
        };
        self.holds_until(asked + self.time);
        // Set once: a claim is taken once.
        let _ = self.fence.set(fence);
        Ok(Some(lease))
    }

    /// Renews the lease until the backend says that it is over. While it cannot be asked, this goes
    /// on, and nothing is changed.
    pub async fn keep(&self, lease: LeaseId) {
        loop {
            let asked = Instant::now();
            match timeout(self.time, self.leases.renew(lease)).await {
                Ok(Ok(Some(time))) => self.holds_until(asked + time.min(self.time)),
                Ok(Ok(None)) => {
                    self.ends();
                    return;
                }
                Ok(Err(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "the lease of the leader was not renewed");
                }
                Err(_) => tracing::warn!("the lease of the leader was not renewed in time"),
            }
            sleep(self.time / 3).await;
        }
    }

    /// Gives the lead up, so that another one need not wait for the end of the lease.
    ///
    /// # Errors
    /// [`BackendError::Failed`]: the lease ends by itself.
    pub async fn resign(&self, lease: LeaseId) -> Result<(), BackendError> {
        self.ends();
        self.leases.revoke(lease).await
    }

    /// Whether this controller leads for sure.
    ///
    /// # Errors
    /// Why it is not sure, in words for people.
    pub async fn sure(&self) -> Result<(), String> {
        self.in_time()?;
        let fence = self.fence.get().ok_or("this controller does not lead")?;
        match self.leases.stands(fence).await {
            Ok(true) => self.in_time(),
            Ok(false) => {
                self.ends();
                Err("another controller leads now".to_owned())
            }
            Err(error) => {
                Err(StoreError::io("the store does not say who leads", error).with_causes())
            }
        }
    }

    fn in_time(&self) -> Result<(), String> {
        match self.until() {
            Some(until) if until > Instant::now() => Ok(()),
            Some(_) => Err("this controller's lease ended, so another one may lead".to_owned()),
            None => Err("this controller does not lead".to_owned()),
        }
    }

    fn until(&self) -> Option<Instant> {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn holds_until(&self, until: Instant) {
        *self.until.lock().unwrap_or_else(PoisonError::into_inner) = Some(until);
    }

    fn ends(&self) {
        self.holds_until(Instant::now());
    }
}

/// Who leads, in words for people, if anybody does.
///
/// # Errors
/// [`BackendError::Failed`]: nobody knows.
pub async fn leader(leases: &dyn Leases) -> Result<Option<String>, BackendError> {
    let value = leases.holder(KEY).await?;
    Ok(value.map(|value| String::from_utf8_lossy(&value).into_owned()))
}
