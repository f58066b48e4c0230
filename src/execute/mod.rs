//! Sends a checked step to the cloud. Decides nothing: what to send was decided, written down and
//! checked before.

use crate::{
    cloud::{Cloud, CloudError, Started},
    plan::{check::CheckedStep, settle::Submitted},
    types::id::JobId,
};

/// Submits a step as soon as the cloud's governor lets it; gives the immediate answer, and the
/// error behind it if there was one.
///
/// Cancel-safe: the step's intent is stored, so whatever was sent is found again.
pub async fn execute<C: Cloud>(
    cloud: &C,
    step: &CheckedStep,
    job: &JobId,
) -> (Submitted, Option<CloudError>) {
    match cloud.start(&step.step().action, job).await {
        Ok(Started::Job { resource }) => (Submitted::Job { resource }, None),
        Ok(Started::Done { resource }) => (Submitted::Done { resource }, None),
        Err(error) => (refused(&error), Some(error)),
    }
}

/// What an error says about the command's effect.
fn refused(error: &CloudError) -> Submitted {
    let message = error.to_string();
    match error {
        CloudError::Uncertain { .. } => Submitted::Uncertain { message },
        CloudError::Unreachable { .. }
        | CloudError::NotLeading { .. }
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
