//! What an account may choose from, and what its role allows.

use futures_util::future::try_join;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::{CloudStack, errors, governor::Priority, signing::Request, wire};
use crate::{
    cloud::CloudError,
    types::{
        account::Rights,
        id::ZoneId,
        inventory::{Catalogue, Entry},
    },
};

impl CloudStack {
    pub(super) async fn read_catalogue(&self) -> Result<Catalogue, CloudError> {
        let capabilities = self.capabilities().await?;
        let window = capabilities.apilimitinterval.unwrap_or(1);
        let throttle = capabilities.apilimitmax.map(|most| (most, window));
        self.governor.obey(throttle);
        let zones = self.entries(Request::new("listZones"), "zone").await?;
        let zone = self.zone_among(&zones);
        let templates = Request::new("listTemplates")
            .with("templatefilter", "executable")
            .with_some("zoneid", zone.as_ref())
            .with_some("projectid", self.project.as_ref());
        let tiers = Request::new("listNetworkOfferings").with("forvpc", true);
        let (mut templates, service_offerings) = try_join(
            self.entries(templates, "template"),
            self.entries(Request::new("listServiceOfferings"), "serviceoffering"),
        )
        .await?;
        // A template has a row for each zone that it is in.
        templates.sort_by(|a, b| a.id.cmp(&b.id));
        templates.dedup_by(|a, b| a.id == b.id);
        let (network_offerings, vpc_offerings) = try_join(
            self.entries(tiers, "networkoffering"),
            self.entries(Request::new("listVPCOfferings"), "vpcoffering"),
        )
        .await?;
        let key_pairs = self
            .entries(self.reading("listSSHKeyPairs"), "sshkeypair")
            .await?;
        Ok(Catalogue {
            version: capabilities.cloudstackversion,
            rights: Rights {
                expunge: capabilities.allowuserexpungerecovervm && self.may_expunge().await?,
                see_destroyed: capabilities.allowuserviewdestroyedvm,
            },
            zone,
            zones,
            templates,
            service_offerings,
            network_offerings,
            vpc_offerings,
            key_pairs: key_pairs.into_iter().map(|entry| entry.name).collect(),
        })
    }

    async fn capabilities(&self) -> Result<wire::CapabilitiesResponse, CloudError> {
        self.member(Request::new("listCapabilities"), "capability")
            .await
    }

    /// What an answer has under `key`. Without it the answer is unreadable: it says nothing.
    async fn member<T: DeserializeOwned>(
        &self,
        request: Request,
        key: &str,
    ) -> Result<T, CloudError> {
        let command = request.command();
        let content = self.call(request, Priority::Read).await?;
        content
            .member(key)
            .map_err(|error| errors::unreadable(command, key, error))
    }

    /// Whether the role may call the command at all; the capability alone does not tell.
    ///
    /// CloudStack 4.22 refuses to list a command that the role lacks. An account that seems to have
    /// lost the right leaves behind what it could have expunged, so an answer without a command in it
    /// is believed only if it comes three times from a server that meanwhile lists what it must.
    async fn may_expunge(&self) -> Result<bool, CloudError> {
        for _ in 0..3 {
            if let Some(listed) = self.lists("expungeVirtualMachine").await? {
                return Ok(listed);
            }
            if self.lists("listApis").await? != Some(true) {
                return Err(errors::uncertain(
                    "listApis",
                    "the list of commands lacks the command that gave it",
                ));
            }
        }
        Ok(false)
    }

    /// Whether a command is one that the role may call; none if the answer does not say.
    async fn lists(&self, command: &str) -> Result<Option<bool>, CloudError> {
        let request = Request::new("listApis").with("name", command);
        match self.member::<Vec<IgnoredAny>>(request, "api").await {
            Ok(listed) => Ok((!listed.is_empty()).then_some(true)),
            // A command that the role lacks is an error of the parameter `name`.
            Err(CloudError::Rejected { .. } | CloudError::Gone { .. }) => Ok(Some(false)),
            Err(error) => Err(error),
        }
    }

    async fn entries(&self, request: Request, key: &str) -> Result<Vec<Entry>, CloudError> {
        let rows: Vec<wire::NamedResponse> = self.whole(request, key).await?;
        Ok(rows.into_iter().map(Into::into).collect())
    }

    /// The zone that the account's spec names, by name or id; without one, the only zone there is.
    fn zone_among(&self, zones: &[Entry]) -> Option<ZoneId> {
        let named = |zone: &&Entry| match &self.zone {
            Some(wanted) => zone.name == *wanted || zone.id == *wanted,
            None => true,
        };
        let mut matching = zones.iter().filter(named);
        let first = matching.next()?;
        matching
            .next()
            .is_none()
            .then(|| ZoneId::new(first.id.as_str()))
    }
}
