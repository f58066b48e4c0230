//! Twenty thousand wild requests; `benches/fuzz.rs` sends a million of the same.

use jiff::Timestamp;
use weir::clock::Clock;

use crate::support::wild::{WORLD_MAX, Wilderness};

/// How many requests are sent.
const REQUESTS: usize = 20_000;

#[tokio::test(start_paused = true)]
async fn wild_requests_neither_break_nor_fill_the_world() {
    let mut wilderness = Wilderness::new(Clock::starting_at(Timestamp::UNIX_EPOCH)).await;
    for _ in 0..REQUESTS {
        wilderness.next().await;
    }
    let answered = &wilderness.answered;
    let meant = answered.get(&200).copied().unwrap_or_default();
    assert!(
        meant > REQUESTS / 100,
        "hardly any meant a thing: {answered:?}"
    );
    let size = wilderness.size();
    assert!(size < WORLD_MAX, "the world has grown to {size} bytes");
}
