//! A controller that is stopped in the middle of what it does, and goes on later as if nothing
//! had happened: a laptop that sleeps, a machine that is migrated.

use std::time::Duration;

use fastrand::Rng;
use serde_json::json;

use super::bed::{Bed, signal};
use crate::kill::{asked_seeds, script::Rights};

/// Longest time that a request may take here. Some of the stops are longer.
const REQUEST: Duration = Duration::from_secs(1);

/// Stops of one run.
const STOPS: usize = 16;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stopped_and_continued_it_repeats_nothing() {
    let seed = asked_seeds().map_or(401, |seeds| seeds[0]);
    let bed = Bed::make(seed, Rights::Plain).await;
    bed.process.start();
    let limits = json!({
        "requestsPerSecond": 500, "connectTimeout": "500ms",
        "requestTimeout": format!("{}s", REQUEST.as_secs()),
    });
    bed.account_with(&bed.cloud.endpoint, &limits).await;
    bed.apply(&bed.spec()).await.unwrap();
    let mut rng = Rng::with_seed(seed);
    for stop in 0..STOPS {
        tokio::time::sleep(Duration::from_millis(rng.u64(..250))).await;
        signal(bed.process.id(), "STOP");
        let long = rng.u32(..4) == 0;
        let pause = match long {
            true => REQUEST.mul_f64(1.5),
            false => Duration::from_millis(rng.u64(10..400)),
        };
        // The world goes on meanwhile.
        if stop % 4 == 3
            && let Some(vm) = bed.vm_of("ims-sprout-0")
        {
            let broken = json!({"what": "destroy-vm", "vm": vm});
            bed.cloud.ask("POST", "break", &broken).await;
        }
        tokio::time::sleep(pause).await;
        signal(bed.process.id(), "CONT");
        let replicas = rng.u32(1..4);
        bed.change(&json!({"components": {"sprout": {"replicas": replicas}}}))
            .await
            .unwrap();
    }
    let ended = bed.audited().await;
    assert!(
        ended.is_ok(),
        "SEED={seed}: {}\n── log\n{}",
        ended.unwrap_err(),
        bed.last_words()
    );
}
