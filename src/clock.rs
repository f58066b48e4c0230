//! The one place where the time of day comes from.
//!
//! A running controller follows the machine's clock; a test holds a [`Clock::starting_at`] one that
//! moves only with tokio's (pausable) time, so a day passes in a millisecond and every run is the
//! same. Nothing else in the crate may ask the system for the time: `clippy.toml` sees to it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use jiff::Timestamp;
use tokio::time::Instant;

/// A source of timestamps; cheap to clone.
#[derive(Clone, Debug)]
pub struct Clock {
    source: Source,
}

#[derive(Clone, Debug)]
enum Source {
    System,
    Runtime { origin: Timestamp, started: Instant },
    Ahead(Arc<AtomicU64>),
}

impl Clock {
    /// The machine's own clock, jumps and all.
    #[must_use]
    pub fn system() -> Self {
        Self {
            source: Source::System,
        }
    }

    /// A clock that starts at `origin` and advances with tokio's time, paused time included.
    #[must_use]
    pub fn starting_at(origin: Timestamp) -> Self {
        Self {
            source: Source::Runtime {
                origin,
                started: Instant::now(),
            },
        }
    }

    /// The machine's clock, which [`Clock::advance`] puts ahead: beside real sockets, whose time
    /// limits stay as they are, a test lets hours pass at once.
    #[must_use]
    pub fn adjustable() -> Self {
        Self {
            source: Source::Ahead(Arc::default()),
        }
    }

    /// Puts an [adjustable](Clock::adjustable) clock and all its clones ahead; sleepers sleep on.
    ///
    /// # Panics
    /// On any other clock.
    pub fn advance(&self, by: Duration) {
        let Source::Ahead(seconds) = &self.source else {
            panic!("only an adjustable clock can be put ahead");
        };
        seconds.fetch_add(by.as_secs(), Ordering::SeqCst);
    }

    /// The time of day.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        match &self.source {
            Source::System => system_time(),
            Source::Runtime { origin, started } => *origin + started.elapsed(),
            Source::Ahead(seconds) => {
                system_time() + Duration::from_secs(seconds.load(Ordering::SeqCst))
            }
        }
    }

    /// Waits for `duration` of tokio's time.
    pub async fn sleep(&self, duration: Duration) {
        tokio::time::sleep(duration).await;
    }
}

#[expect(clippy::disallowed_methods, reason = "this is the one place")]
fn system_time() -> Timestamp {
    Timestamp::now()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_runtime_clock_moves_with_paused_time() {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
        clock.sleep(Duration::from_secs(86_400)).await;
        assert_eq!(clock.now().as_second(), 86_400);
    }

    #[test]
    fn an_adjustable_clock_goes_on_from_where_it_was_put() {
        let clock = Clock::adjustable();
        let (clone, before) = (clock.clone(), clock.now());
        clock.advance(Duration::from_secs(3600));
        assert!(clone.now() >= before + Duration::from_secs(3600));
    }
}
