//! Answers about single resources and jobs.

use serde::de::{DeserializeOwned, IgnoredAny};

use super::{CloudStack, errors, governor::Priority, rows, signing::Request, wire};
use crate::{
    cloud::CloudError,
    types::action::{Answer, JobOutcome, Question},
};

impl CloudStack {
    /// Answers a question. What CloudStack does not know, or does not show us, is absent.
    pub(super) async fn answer(&self, question: &Question) -> Result<Answer, CloudError> {
        match question {
            Question::Vm(id) => {
                let request = self.reading("listVirtualMachines").with("details", "min");
                self.presence(request.with("id", id), "virtualmachine")
                    .await
            }
            Question::Vpc(id) => {
                self.presence(self.reading("listVPCs").with("id", id), "vpc")
                    .await
            }
            Question::Tier(id) => {
                self.presence(self.reading("listNetworks").with("id", id), "network")
                    .await
            }
            Question::Address(id) => {
                self.address(self.reading("listPublicIpAddresses").with("id", id))
                    .await
            }
            Question::AclLists => {
                let lists: Vec<wire::NetworkACLResponse> = self
                    .whole(self.reading("listNetworkACLLists"), "networkacllist")
                    .await?;
                Ok(Answer::AclLists(
                    lists.into_iter().map(Into::into).collect(),
                ))
            }
            Question::AffinityGroups => {
                let groups: Vec<wire::AffinityGroupResponse> = self
                    .whole(self.reading("listAffinityGroups"), "affinitygroup")
                    .await?;
                Ok(Answer::AffinityGroups(
                    groups.into_iter().map(Into::into).collect(),
                ))
            }
            Question::StuckAddresses => {
                let request = self
                    .reading("listPublicIpAddresses")
                    .with("state", "Allocating");
                let rows: Vec<rows::IPAddressResponse> =
                    self.whole(request, "publicipaddress").await?;
                let rows = rows
                    .into_iter()
                    .map(TryInto::try_into)
                    .collect::<Result<_, _>>();
                rows.map(Answer::Addresses).map_err(|error| {
                    errors::uncertain(
                        "listPublicIpAddresses",
                        format!("cannot read a row: {error}"),
                    )
                })
            }
            Question::Job(id) => {
                let request = Request::new("queryAsyncJobResult").with("jobid", id);
                self.job(request).await.map(Answer::Job)
            }
        }
    }

    /// Rows that a list by id gives; none where CloudStack says that there is no such id.
    async fn by_id<T: DeserializeOwned>(
        &self,
        request: Request,
        key: &str,
    ) -> Result<Vec<T>, CloudError> {
        let command = request.command();
        match self.page(request, key, Priority::Change).await {
            Ok(page) if page.rows.is_empty() && page.count > 0 => Err(errors::uncertain(
                command,
                format!("the answer counts {} rows and has none", page.count),
            )),
            Ok(page) => Ok(page.rows),
            Err(CloudError::Gone { .. }) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    async fn presence(&self, request: Request, key: &str) -> Result<Answer, CloudError> {
        let rows: Vec<IgnoredAny> = self.by_id(request, key).await?;
        Ok(if rows.is_empty() {
            Answer::Absent
        } else {
            Answer::Present
        })
    }

    /// An address's id outlives its lease; one that is free or another's is absent.
    async fn address(&self, request: Request) -> Result<Answer, CloudError> {
        let owner = self.owner.get().map(String::as_str);
        let rows: Vec<rows::IPAddressResponse> = self.by_id(request, "publicipaddress").await?;
        Ok(if rows.iter().any(|row| row.is_ours(owner)) {
            Answer::Present
        } else {
            Answer::Absent
        })
    }

    /// How a job ended. An unknown job is 431 (recorded, `admin/01`).
    async fn job(&self, request: Request) -> Result<JobOutcome, CloudError> {
        let command = request.command();
        let content = match self.call(request, Priority::Change).await {
            Ok(content) => content,
            Err(CloudError::Gone { .. } | CloudError::Rejected { code: 431, .. }) => {
                return Ok(JobOutcome::Unknown);
            }
            Err(error) => return Err(error),
        };
        let job: wire::QueryAsyncJobResultResponse = content
            .read()
            .map_err(|error| errors::unreadable(command, "of a job", error))?;
        let status = job.jobstatus;
        errors::job_outcome(job)
            .ok_or_else(|| errors::uncertain(command, format!("a job has the status {status}")))
    }
}
