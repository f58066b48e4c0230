//! Wiring: the commands that run servers or open stores, each put together from the other modules once.
//!
//! Nothing is decided here. [`controller`] joins store, loop and API; [`sim`] serves a simulated
//! CloudStack; [`demo`] is both in one process, with a short play. [`state()`] works on what a
//! controller keeps, whether one runs on it or not. [`leader`] has one of several controllers act.

mod controller;
mod demo;
mod keys;
pub mod leader;
mod live;
mod sim;
mod state;
mod token;

use std::{io, time::Duration};

use tokio_util::sync::CancellationToken;

pub use controller::{Controller, ControllerConfig, controller};
pub use demo::demo;
pub use sim::sim;
pub use state::state;
pub use token::token;

/// Time that a stopping server gives its parts.
const STOP: Duration = Duration::from_secs(5);

/// A token that is cancelled by SIGTERM or SIGINT.
fn stop_on_signal(tasks: &mut tokio::task::JoinSet<()>) -> io::Result<CancellationToken> {
    use tokio::signal::unix::{SignalKind, signal};
    let stop = CancellationToken::new();
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let token = stop.clone();
    tasks.spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        token.cancel();
    });
    Ok(stop)
}
