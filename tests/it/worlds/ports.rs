//! What a controller reaches the rest of its world through: requests to the cloud, its store with the
//! leases, and the question whether it leads. Here it dies, fails and sleeps.
//!
//! One that sleeps is a process that is stopped: nothing of it goes out, and nothing comes in, at
//! any of these doors, until it wakes. What it does between two doors nobody sees.

use std::{future, sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, future::BoxFuture};
use weir::{
    cloud::{
        Guard,
        cloudstack::{Carrier, Reply as Response, Silence},
    },
    run::leader::Leading,
    store::{
        Backend, BackendError, Changes, Entry, Expect, Fence, LeaseId, Leases, Memory, Range, Reply,
    },
    types::meta::ResourceVersion,
};

use crate::{kill::gate::parameter, support::stage::reads};

use super::doom::{Doom, Door, Fates, Place};

/// Commands that CloudStack carries out twice if they come twice, since nothing in them need be
/// unique; it refuses a second machine, tier, group, rule or static NAT.
const REPEATABLE: [&str; 3] = ["createVPC", "createNetworkACLList", "associateIpAddress"];

/// Longest sleep with one of those in hand: a lease, less what of it was over, and the 5 s for which
/// the next leader takes a request to be on its way. One that comes later leaves a second VPC, list
/// or address, as `docs/safety.md` says.
const IN_HAND_MAX: Duration = Duration::from_secs(8);

/// Never returns: whoever waits here is dead, or waits for an answer that never comes.
async fn dead<T>() -> T {
    future::pending().await
}

/// Carries requests to the simulator by a call.
pub(super) struct InProcess(pub(super) Fates);

impl InProcess {
    async fn post(&self, form: &str) -> Result<Response, Silence> {
        let reply = self.0.sim.post("", form).await;
        self.0.awake().await;
        if reply.is_lost() {
            return Err(Silence::Lost("the simulator lost the connection".into()));
        }
        Ok(Response {
            status: reply.status,
            retry_after: None,
            body: reply.body.into(),
        })
    }

    async fn doomed(&self, doom: Doom, command: &str, form: String) -> Result<Response, Silence> {
        let fates = &self.0;
        match doom.place {
            Place::BeforeRequest => dead().await,
            Place::LateRequest => {
                fates.is_late(form);
                dead().await
            }
            Place::LeaseLost => {
                fates.is_late(form);
                fates.lose_lease();
                dead().await
            }
            Place::AsleepBeforeRequest => {
                fates.in_hand();
                fates.sleep(match REPEATABLE.contains(&command) {
                    true => doom.time.min(IN_HAND_MAX),
                    false => doom.time,
                });
                fates.awake().await;
                fates.arrives(command);
                self.post(&form).await
            }
            Place::AsleepAfterRequest => {
                // The cloud works on while nobody listens.
                fates.sleep(doom.time);
                self.post(&form).await
            }
            _ => {
                self.post(&form).await.ok();
                dead().await
            }
        }
    }
}

impl Carrier for InProcess {
    fn carry(&self, form: String) -> BoxFuture<'_, Result<Response, Silence>> {
        Box::pin(async move {
            let fates = &self.0;
            if fates.is_dead() {
                return dead().await;
            }
            let command = parameter(form.as_bytes(), "command");
            let watch = fates.watched();
            if reads(&command) {
                fates.awake().await;
                let answer = self.post(&form).await;
                if let (Some(watch), Ok(answer)) = (&watch, &answer) {
                    watch.answered(&fates.sim, &command, form.as_bytes(), &answer.body);
                }
                return answer;
            }
            fates.hands_over(&command);
            if let Some(doom) = fates.due(Door::Request, &command) {
                return self.doomed(doom, &command, form).await;
            }
            if let Some(watch) = &watch {
                watch.before(&fates.sim, &command, form.as_bytes());
            }
            let reply = self.post(&form).await;
            if let Some(watch) = &watch {
                watch.after(&fates.sim, &command);
            }
            reply
        })
    }
}

/// Asks one of several controllers whether it leads.
pub(super) struct Asked {
    pub(super) leading: Arc<Leading>,
    pub(super) fates: Fates,
}

impl Guard for Asked {
    fn may_change(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async move {
            self.fates.awake().await;
            let may = self.leading.may_change().await;
            if may.is_err() {
                self.fates.strike("NotLeading", "leader");
            }
            may
        })
    }
}

/// A store that keeps what was written whoever dies, and fails when it is to fail.
#[derive(Debug)]
pub(super) struct Disk {
    kept: Arc<Memory>,
    fates: Fates,
}

impl Disk {
    pub(super) fn new(kept: Arc<Memory>, fates: Fates) -> Self {
        Self { kept, fates }
    }

    /// Asks something that nobody dies of.
    async fn ask<'a, T>(&'a self, ask: impl FnOnce() -> Reply<'a, T>) -> Result<T, BackendError> {
        self.reached().await?;
        let answer = ask().await;
        self.fates.awake().await;
        answer
    }

    /// Asks for something of a lease, which the dead do not.
    async fn lease<'a, T>(&'a self, ask: impl FnOnce() -> Reply<'a, T>) -> Result<T, BackendError> {
        if self.fates.is_dead() {
            return dead().await;
        }
        self.ask(ask).await
    }

    async fn reached(&self) -> Result<(), BackendError> {
        self.fates.awake().await;
        match self.fates.is_cut_off() {
            true => Err(BackendError::Failed("the store cannot be reached".into())),
            false => Ok(()),
        }
    }

    async fn write<'a>(
        &'a self,
        key: &'a str,
        value: Option<&[u8]>,
        write: impl FnOnce() -> Reply<'a, ResourceVersion>,
    ) -> Result<ResourceVersion, BackendError> {
        let fates = &self.fates;
        if fates.is_dead() {
            return dead().await;
        }
        self.reached().await?;
        let broken = || BackendError::Failed("the disk is broken".into());
        if fates.disk_is_full() {
            return Err(BackendError::Failed("no space left on the disk".into()));
        }
        // What the store refuses to one that does not lead is told to nobody.
        if let (Some(watch), Some(value), true) = (fates.watched(), value, fates.leads()) {
            watch.told(&fates.sim, key, value);
        }
        let kind = key.trim_start_matches('/').split('/').next();
        let kind = kind.unwrap_or_default();
        let write = async || {
            let written = write().await;
            fates.written(kind, &written);
            written
        };
        let doom = fates.due(Door::Write, kind);
        let written = match doom.map(|doom| doom.place) {
            None => write().await,
            Some(Place::BeforeWrite) => dead().await,
            Some(Place::FailedWrite) => Err(broken()),
            Some(Place::FailedYetWritten) => write().await.and_then(|_| Err(broken())),
            Some(Place::AsleepBeforeWrite) => {
                fates.sleep(doom.map_or(Duration::ZERO, |doom| doom.time));
                fates.awake().await;
                write().await
            }
            Some(Place::AsleepAfterWrite) => {
                let written = write().await;
                fates.sleep(doom.map_or(Duration::ZERO, |doom| doom.time));
                written
            }
            Some(_) => {
                write().await.ok();
                dead().await
            }
        };
        fates.awake().await;
        written
    }
}

impl Backend for Disk {
    fn get<'a>(&'a self, key: &'a str) -> Reply<'a, Option<Entry>> {
        Box::pin(self.ask(move || self.kept.get(key)))
    }

    fn range<'a>(&'a self, prefix: &'a str) -> Reply<'a, Range> {
        Box::pin(self.ask(move || self.kept.range(prefix)))
    }

    fn put<'a>(&'a self, key: &'a str, value: Bytes, expect: Expect) -> Reply<'a, ResourceVersion> {
        Box::pin(async move {
            let told = value.clone();
            let write = move || self.kept.put(key, value, expect);
            self.write(key, Some(&told), write).await
        })
    }

    fn remove<'a>(&'a self, key: &'a str, expect: Expect) -> Reply<'a, ResourceVersion> {
        Box::pin(self.write(key, None, move || self.kept.remove(key, expect)))
    }

    fn watch(&self, prefix: &str, from: ResourceVersion) -> Result<Changes, BackendError> {
        let changes = self.kept.watch(prefix, from)?;
        let fates = self.fates.clone();
        Ok(Box::pin(changes.then(move |change| {
            let fates = fates.clone();
            async move {
                fates.hears().await;
                change
            }
        })))
    }

    fn version(&self) -> Reply<'_, ResourceVersion> {
        Box::pin(self.ask(move || self.kept.version()))
    }
}

impl Leases for Disk {
    fn grant(&self, time: Duration) -> Reply<'_, LeaseId> {
        Box::pin(async move {
            let lease = self.lease(move || self.kept.grant(time)).await?;
            self.fates.has_lease(lease);
            Ok(lease)
        })
    }

    fn renew(&self, lease: LeaseId) -> Reply<'_, Option<Duration>> {
        Box::pin(self.lease(move || self.kept.renew(lease)))
    }

    fn revoke(&self, lease: LeaseId) -> Reply<'_, ()> {
        Box::pin(self.lease(move || self.kept.revoke(lease)))
    }

    fn hold<'a>(&'a self, name: &'a str, value: Bytes, lease: LeaseId) -> Reply<'a, Option<Fence>> {
        Box::pin(async move {
            let held = self
                .lease(move || self.kept.hold(name, value, lease))
                .await?;
            if held.is_some() {
                self.fates.strike("TakesOver", "leader");
            }
            Ok(held)
        })
    }

    fn holder<'a>(&'a self, name: &'a str) -> Reply<'a, Option<Bytes>> {
        Box::pin(self.lease(move || self.kept.holder(name)))
    }

    fn stands<'a>(&'a self, fence: &'a Fence) -> Reply<'a, bool> {
        Box::pin(async move {
            let stands = self.lease(move || self.kept.stands(fence)).await;
            if let Some(doom) = self.fates.due(Door::Lead, "leader") {
                self.fates.sleep(doom.time);
            }
            self.fates.awake().await;
            stands
        })
    }

    fn write_behind<'a>(
        &'a self,
        fence: &'a Fence,
        key: &'a str,
        value: Option<Bytes>,
        expect: Expect,
    ) -> Reply<'a, ResourceVersion> {
        Box::pin(async move {
            let told = value.clone();
            let write = move || self.kept.write_behind(fence, key, value, expect);
            self.write(key, told.as_deref(), write).await
        })
    }
}
