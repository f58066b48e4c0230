//! Clocks that jump: an hour forward and an hour back, between two lives of a controller and
//! within one.

use std::{
    fs,
    path::{Path, PathBuf},
};

use serde_json::{Value, json};

use super::bed::{Bed, until};
use crate::{kill::script::Rights, parts::present, support::stage::reads};

/// A clock that the controller is shown, by libfaketime.
struct Shown {
    library: PathBuf,
    file: PathBuf,
}

impl Shown {
    /// None, told loudly, where the library is not there.
    fn in_folder(folder: &Path) -> Option<Self> {
        if !present("faketime") {
            return None;
        }
        // Debian has it in the folder of its architecture.
        let libraries = fs::read_dir("/usr/lib").unwrap();
        let library = libraries
            .map(|entry| entry.unwrap().path().join("faketime/libfaketime.so.1"))
            .find(|path| path.exists())
            .expect("faketime brings its library");
        let shown = Self {
            library,
            file: folder.join("clock"),
        };
        shown.set("+0");
        Some(shown)
    }

    /// Puts the clock ahead or back, like `+1h`, also for those who run.
    fn set(&self, offset: &str) {
        let beside = self.file.with_extension("new");
        fs::write(&beside, offset).unwrap();
        fs::rename(beside, &self.file).unwrap();
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        vec![
            ("LD_PRELOAD", self.library.display().to_string()),
            ("FAKETIME_TIMESTAMP_FILE", self.file.display().to_string()),
            ("FAKETIME_NO_CACHE", "1".to_owned()),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1".to_owned()),
        ]
    }
}

/// Nothing is written in three looks, from now on.
async fn rests(bed: &Bed, after: &str) {
    bed.cloud.ask("DELETE", "requests", &Value::Null).await;
    let commands = until("three looks", async || {
        let commands = bed.cloud.commands().await;
        let looks = commands.iter().filter(|one| *one == "listVPCs").count();
        (looks >= 3).then_some(commands).ok_or(format!("{looks}"))
    })
    .await
    .unwrap();
    let writes: Vec<_> = commands.iter().filter(|one| !reads(one)).collect();
    assert!(
        writes.is_empty(),
        "{after}: {writes:?}\n{}",
        bed.last_words()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_starts_no_repairs_and_stops_none() {
    let bed = Bed::make(501, Rights::Plain).await;
    let Some(clock) = Shown::in_folder(&bed.folder()) else {
        return;
    };
    bed.process.start_in(&clock.environment());
    bed.account(&bed.cloud.endpoint).await;
    bed.apply(&bed.spec()).await.unwrap();
    bed.settled().await.unwrap();

    for (offset, within_a_life) in [("+1h", false), ("+0", false), ("+1h", true), ("+0", true)] {
        if within_a_life {
            clock.set(offset);
        } else {
            bed.process.kill();
            clock.set(offset);
            bed.process.start_in(&clock.environment());
        }
        let what = format!("the clock went to {offset}, in a life: {within_a_life}");
        println!("{what}");
        rests(&bed, &what).await;
        // What is broken now is repaired as ever.
        let vm = bed.vm_of("ims-sprout-0").unwrap();
        let broken = json!({"what": "destroy-vm", "vm": vm});
        bed.cloud.ask("POST", "break", &broken).await;
        let repaired = until("it is repaired", async || {
            let now = bed.vm_of("ims-sprout-0");
            now.filter(|now| *now != vm)
                .ok_or("it is not there".to_owned())
        });
        repaired.await.unwrap();
        bed.ready().await.unwrap();
    }
    bed.audited().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_set_back_in_the_middle_loses_no_timer() {
    let bed = Bed::make(502, Rights::Plain).await;
    let Some(clock) = Shown::in_folder(&bed.folder()) else {
        return;
    };
    clock.set("+1h");
    // Made by a clock an hour ahead: certificate, pending commands, failures with a time to rest.
    for fault in [
        json!({"kind": "lost-request", "command": "associateIpAddress", "count": 2}),
        json!({"kind": "fail-job", "command": "startVirtualMachine", "code": 533, "text": "no room", "count": 20}),
    ] {
        let told = bed.cloud.ask("POST", "faults", &fault).await;
        assert!(told["done"].is_string(), "{told}");
    }
    bed.process.start_in(&clock.environment());
    bed.account(&bed.cloud.endpoint).await;
    bed.apply(&bed.spec()).await.unwrap();
    until("starts failed", async || {
        let stack = bed.user.stack().await?.ok_or("no stack")?;
        let failures = stack.status.unwrap_or_default().ledger.failures;
        let failed = failures
            .values()
            .any(|one| one.command == "startVirtualMachine");
        failed.then_some(()).ok_or(format!("{failures:?}"))
    })
    .await
    .unwrap();
    bed.process.kill();
    bed.cloud.ask("DELETE", "faults", &Value::Null).await;
    clock.set("+0");
    bed.process.start_in(&clock.environment());
    let ended = bed.audited().await;
    assert!(
        ended.is_ok(),
        "{}\n{}",
        ended.unwrap_err(),
        bed.last_words()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_of_a_wrong_clock_are_made_anew() {
    let bed = Bed::make(503, Rights::Plain).await;
    let Some(clock) = Shown::in_folder(&bed.folder()) else {
        return;
    };
    for wrong in ["+2000d", "-2000d", "+5000d"] {
        clock.set(wrong);
        bed.process.start_in(&clock.environment());
        until("it runs", async || {
            let lives = bed.process.log().matches("weir controller runs").count();
            (lives % 2 == 1).then_some(()).ok_or(bed.last_words())
        })
        .await
        .unwrap();
        bed.process.kill();
        clock.set("+0");
        bed.process.start_in(&clock.environment());
        // A client whose clock is right trusts it.
        bed.account(&bed.cloud.endpoint).await;
        bed.process.kill();
    }
}
