//! The real client with a bug that can be switched on: looks that panic.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use jiff::Timestamp;
use weir::{
    cloud::{Cloud, CloudError, CloudEvent, Depth, Started, cloudstack::CloudStack},
    types::{
        action::{Action, Answer, Question},
        id::JobId,
        inventory::{Catalogue, List, Rows},
    },
};

/// See the module.
pub(crate) struct Touchy {
    pub(super) client: CloudStack,
    /// Looks that are still to panic.
    pub(super) panics: Arc<AtomicU32>,
}

impl Cloud for Touchy {
    async fn list(&self, list: List, depth: Depth) -> Result<Rows, CloudError> {
        let left = |panics: u32| panics.checked_sub(1);
        let (set, fetch) = (Ordering::SeqCst, Ordering::SeqCst);
        if self.panics.fetch_update(set, fetch, left).is_ok() {
            panic!("a bug on request");
        }
        self.client.list(list, depth).await
    }

    async fn jobs_in_flight(&self) -> Result<BTreeSet<JobId>, CloudError> {
        self.client.jobs_in_flight().await
    }

    async fn ask(&self, question: &Question) -> Result<Answer, CloudError> {
        self.client.ask(question).await
    }

    async fn start(&self, action: &Action, job: &JobId) -> Result<Started, CloudError> {
        self.client.start(action, job).await
    }

    async fn catalogue(&self) -> Result<Catalogue, CloudError> {
        self.client.catalogue().await
    }

    async fn events_since(&self, since: Timestamp) -> Result<Vec<CloudEvent>, CloudError> {
        self.client.events_since(since).await
    }
}
