//! Lists, read to their last page.
//!
//! Half an inventory would plan destroys or doubles, so a list of a look is whole or an error.
//! CloudStack numbers pages by row: if a row goes between two pages, the next one moves up and is
//! on neither. The total that every page names gives that away, and the list is read again.

use std::collections::{BTreeSet, HashMap, hash_map::Entry};

use jiff::Timestamp;
use serde::de::DeserializeOwned;

use super::{
    CloudStack, errors,
    governor::Priority,
    rows::{self, RowError},
    signing::Request,
    wire::{self, Listed, Page},
};
use crate::{
    cloud::{CloudError, CloudEvent, Depth},
    types::{
        id::JobId,
        inventory::{List, Rows},
    },
};

/// Rows of a page: the most that CloudStack allows by default (`default.page.size`).
const PAGE: usize = 500;

/// How often a list that changes while it is read is read anew before that is an error. Each
/// attempt takes seconds in a large account, and the next look comes soon anyway.
const ATTEMPTS: usize = 3;

/// Pages that a list may have: far beyond any account, and an end for a server that counts wrongly.
const PAGES_MAX: usize = 1000;

/// The details of a VM that a look needs; statistics cost most and are left out.
const DETAILS: &str = "min,nics,servoff,tmpl,affgrp";

impl CloudStack {
    /// One of the five lists of a look.
    pub(super) async fn rows_of(&self, list: List, depth: Depth) -> Result<Rows, CloudError> {
        match list {
            List::Vpcs => {
                let rows: Vec<rows::VpcResponse> =
                    self.whole(self.reading("listVPCs"), "vpc").await?;
                if let Some(owner) = rows.iter().find_map(|row| row.account.clone()) {
                    self.owner.get_or_init(|| owner);
                }
                converted("listVPCs", rows).map(Rows::Vpcs)
            }
            List::Networks => {
                let rows: Vec<rows::NetworkResponse> =
                    self.whole(self.reading("listNetworks"), "network").await?;
                converted("listNetworks", rows).map(Rows::Networks)
            }
            List::Rules => {
                let rows: Vec<rows::NetworkACLItemResponse> = self
                    .whole(self.reading("listNetworkACLs"), "networkacl")
                    .await?;
                converted("listNetworkACLs", rows).map(Rows::Rules)
            }
            List::Vms => self.vms(depth).await.map(Rows::Vms),
            List::Addresses => {
                let request = self.reading("listPublicIpAddresses");
                let mut rows: Vec<rows::IPAddressResponse> =
                    self.whole(request, "publicipaddress").await?;
                rows.retain(|row| row.is_ours(self.owner.get().map(String::as_str)));
                converted("listPublicIpAddresses", rows).map(Rows::Addresses)
            }
        }
    }

    /// All VMs of the account, without a network filter: a wreck has no NIC and would stay unseen.
    async fn vms(&self, depth: Depth) -> Result<Vec<crate::types::inventory::Vm>, CloudError> {
        let request = self.reading("listVirtualMachines").with("details", DETAILS);
        let request = match depth {
            Depth::Look => request,
            Depth::Audit => request.with("userdata", true),
        };
        let rows: Vec<rows::UserVmResponse> = self.whole(request, "virtualmachine").await?;
        let vms = converted("listVirtualMachines", rows)?;
        Ok(match depth {
            Depth::Look => vms,
            Depth::Audit => rows::audited(vms),
        })
    }

    /// The jobs that have not ended.
    pub(super) async fn pending_jobs(&self) -> Result<BTreeSet<JobId>, CloudError> {
        let jobs: Vec<wire::AsyncJobResponse> = self
            .paged(Request::new("listAsyncJobs"), "asyncjobs", Whole::AsItComes)
            .await?;
        Ok(jobs
            .into_iter()
            .filter_map(wire::AsyncJobResponse::pending)
            .collect())
    }

    /// What happened since, oldest first; the newest page of it.
    pub(super) async fn recent_events(
        &self,
        since: Timestamp,
    ) -> Result<Vec<CloudEvent>, CloudError> {
        let request = self
            .reading("listEvents")
            .with("startdate", since.strftime("%Y-%m-%d %H:%M:%S"))
            .with("page", 1)
            .with("pagesize", PAGE);
        let page: Page<wire::EventResponse> = self.page(request, "event", Priority::Read).await?;
        let mut events: Vec<CloudEvent> = converted("listEvents", page.rows)?;
        events.sort_by_key(|event| event.at);
        Ok(events)
    }

    /// A whole list, or an error.
    pub(super) async fn whole<T: Listed>(
        &self,
        request: Request,
        key: &str,
    ) -> Result<Vec<T>, CloudError> {
        self.paged(request, key, Whole::OrError).await
    }

    async fn paged<T: Listed>(
        &self,
        request: Request,
        key: &str,
        whole: Whole,
    ) -> Result<Vec<T>, CloudError> {
        let command = request.command();
        for _ in 0..ATTEMPTS {
            let (rows, count) = self.pages(&request, key).await?;
            if whole == Whole::AsItComes || rows.len() >= count {
                return Ok(rows);
            }
            tracing::debug!(
                command,
                rows = rows.len(),
                count,
                "list changed while it was read"
            );
        }
        Err(errors::uncertain(
            command,
            format!("the list stays short of its count after {ATTEMPTS} readings"),
        ))
    }

    /// Rows of all pages, each id once and as it was told last, and the count that the last page
    /// named.
    async fn pages<T: Listed>(
        &self,
        request: &Request,
        key: &str,
    ) -> Result<(Vec<T>, usize), CloudError> {
        let mut rows: Vec<T> = Vec::new();
        let mut places = HashMap::new();
        let mut count = 0;
        for page in 1..=PAGES_MAX {
            let request = request.clone().with("page", page).with("pagesize", PAGE);
            let page: Page<T> = self.page(request, key, Priority::Read).await?;
            let last = page.rows.len() < PAGE;
            count = page.count;
            for row in page.rows {
                match places.entry(row.id().to_owned()) {
                    Entry::Occupied(place) => rows[*place.get()] = row,
                    Entry::Vacant(place) => {
                        place.insert(rows.len());
                        rows.push(row);
                    }
                }
            }
            if last || rows.len() >= count {
                break;
            }
        }
        Ok((rows, count))
    }

    /// One answer to a request for a list.
    pub(super) async fn page<T: DeserializeOwned>(
        &self,
        request: Request,
        key: &str,
        priority: Priority,
    ) -> Result<Page<T>, CloudError> {
        let command = request.command();
        let content = self.call(request, priority).await?;
        Page::of(&content, key)
            .map_err(|unreadable| errors::unreadable(command, &unreadable.what, unreadable.error))
    }
}

/// What is wanted of a list that changes while it is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Whole {
    /// All of it, or an error.
    OrError,
    /// Whatever came: the list is of things that come and go by themselves.
    AsItComes,
}

/// Rows in Weir's words; one that does not fit fails the list.
fn converted<R, T>(command: &'static str, rows: Vec<R>) -> Result<Vec<T>, CloudError>
where
    T: TryFrom<R>,
    RowError: From<T::Error>,
{
    rows.into_iter()
        .enumerate()
        .map(|(place, row)| {
            T::try_from(row).map_err(|error| {
                let error = RowError::from(error);
                errors::uncertain(command, format!("cannot read row {place}: {error}"))
            })
        })
        .collect()
}
