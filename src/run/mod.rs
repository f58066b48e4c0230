//! Placeholder.

use std::io;

use crate::cli::args::{ControllerArgs, DemoArgs, SimArgs};

/// Runs the controller and its API until it is told to stop.
///
/// # Errors
/// It could not start.
pub async fn controller(_args: ControllerArgs) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Runs everything in one process on a simulated CloudStack.
///
/// # Errors
/// It could not start.
pub async fn demo(_args: DemoArgs) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}

/// Runs the CloudStack simulator, or breaks one that runs.
///
/// # Errors
/// It could not start, or does not answer.
pub async fn sim(_args: SimArgs) -> io::Result<()> {
    Err(io::ErrorKind::Unsupported.into())
}
