//! Requests by the second: a token bucket for each who asks.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

use tokio::time::Instant;

use super::{Asker, Limits};
use crate::api::status::Status;

/// Buckets that are kept at once. One that is full again is forgotten for another's sake.
const BUCKETS_MAX: usize = 4096;

/// Whose bucket they share who come while all buckets are somebody's.
const REST: Asker = Asker([0; 32]);

/// Who may ask when.
///
/// A bucket is the moment at which it is full again: it lies ahead by what was taken out.
#[derive(Debug)]
pub(in crate::api) struct Pace {
    /// From one token to the next.
    every: Duration,
    /// How far ahead of the present a bucket may be that still has a token.
    most: Duration,
    full: Mutex<HashMap<Asker, Instant>>,
}

impl Pace {
    pub(in crate::api) fn new(limits: &Limits) -> Self {
        let every = Duration::from_secs(1) / limits.pace.max(1);
        Self {
            every,
            most: every * (limits.burst.max(1) - 1),
            full: Mutex::default(),
        }
    }

    /// Takes a token out of the bucket of whoever asks.
    ///
    /// # Errors
    /// 429: there is none, and there is one again after so many seconds.
    pub(in crate::api) fn admit(&self, asker: Asker, now: Instant) -> Result<(), Status> {
        let mut full = self.full.lock().unwrap_or_else(PoisonError::into_inner);
        let mut room = full.contains_key(&asker) || full.len() < BUCKETS_MAX;
        if !room {
            full.retain(|_, at| *at > now);
            room = full.len() < BUCKETS_MAX;
        }
        let at = full.entry(if room { asker } else { REST }).or_insert(now);
        let ahead = at.saturating_duration_since(now);
        match ahead.checked_sub(self.most) {
            Some(wait) if !wait.is_zero() => Err(Status::too_fast(wait)),
            _ => {
                *at = now + ahead + self.every;
                Ok(())
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pace(a_second: u32, burst: u32) -> Pace {
        Pace::new(&Limits {
            pace: a_second,
            burst,
            ..Limits::default()
        })
    }

    fn asker(number: u16) -> Asker {
        Asker::named("user", &number.to_be_bytes())
    }

    #[tokio::test(start_paused = true)]
    async fn a_bucket_gives_its_burst_and_then_keeps_the_pace() {
        let (pace, start) = (pace(10, 5), Instant::now());
        let admitted = |number, after| {
            let now = start + Duration::from_millis(after);
            (0..100)
                .take_while(|_| pace.admit(asker(number), now).is_ok())
                .count()
        };
        assert_eq!(admitted(1, 0), 5);
        assert_eq!(admitted(2, 0), 5, "nobody takes from others");
        assert_eq!(admitted(1, 99), 0);
        assert_eq!(admitted(1, 100), 1);
        assert_eq!(admitted(1, 399), 2);
        assert_eq!(admitted(1, 60_000), 5, "no more is saved up");
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_put_off_is_told_for_how_long() {
        let (pace, now) = (pace(1, 1), Instant::now());
        pace.admit(asker(1), now).unwrap();
        let status = pace.admit(asker(1), now).unwrap_err();
        assert_eq!((status.code, &*status.reason), (429, "TooManyRequests"));
        assert_eq!(status.details.unwrap().retry_after_seconds, Some(1));
        pace.admit(asker(1), now + Duration::from_secs(1)).unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn buckets_are_bounded_and_who_has_none_shares_one() {
        let (pace, start) = (pace(1, 2), Instant::now());
        let known = u16::try_from(BUCKETS_MAX).unwrap();
        for number in 0..known {
            pace.admit(asker(number), start).unwrap();
        }
        let strangers = (known..known + 10).filter(|n| pace.admit(asker(*n), start).is_ok());
        assert_eq!(strangers.count(), 2);
        pace.admit(asker(0), start).unwrap();
        assert_eq!(pace.full.lock().unwrap().len(), BUCKETS_MAX + 1);
        let later = start + Duration::from_secs(60);
        pace.admit(asker(known), later).unwrap();
        pace.admit(asker(known + 1), later).unwrap();
        assert_eq!(pace.full.lock().unwrap().len(), 2);
    }
}
