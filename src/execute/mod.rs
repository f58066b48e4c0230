//! Sends checked steps to the cloud. Decides nothing: what to send was decided, written down and
//! checked before.

use futures_util::{StreamExt, stream::FuturesUnordered};

use crate::{
    cloud::{Cloud, CloudError, Started},
    plan::{check::CheckedStep, settle::Submitted},
    types::id::JobId,
};

/// Submits all steps side by side, as far as the cloud's governor lets them, and gives each
/// immediate answer as it comes to `answered`.
///
/// Cancel-safe: each step's intent is stored, so whatever was sent is found again.
pub async fn execute<C: Cloud>(
    cloud: &C,
    steps: &[(CheckedStep, JobId)],
    mut answered: impl FnMut(&CheckedStep, &JobId, Submitted, Option<CloudError>),
) {
    let send = |(step, job): &'_ (CheckedStep, JobId)| {
        let (step, job) = (step.clone(), job.clone());
        async move {
            let result = cloud.start(&step.step().action, &job).await;
            (step, job, result)
        }
    };
    let mut sent: FuturesUnordered<_> = steps.iter().map(send).collect();
    while let Some((step, job, result)) = sent.next().await {
        let (answer, error) = match result {
            Ok(Started::Job { resource }) => (Submitted::Job { resource }, None),
            Ok(Started::Done { resource }) => (Submitted::Done { resource }, None),
            Err(error) => (refused(&error), Some(error)),
        };
        answered(&step, &job, answer, error);
    }
}

/// What an error says about the command's effect.
fn refused(error: &CloudError) -> Submitted {
    let message = error.to_string();
    match error {
        CloudError::Uncertain { .. } => Submitted::Uncertain { message },
        CloudError::Unreachable { .. }
        | CloudError::Rejected { .. }
        | CloudError::Gone { .. }
        | CloudError::NameHeld { .. }
        | CloudError::Capacity { .. }
        | CloudError::InUse { .. }
        | CloudError::Throttled { .. }
        | CloudError::Denied { .. } => Submitted::Refused {
            reason: error.reason(),
            message,
        },
    }
}
