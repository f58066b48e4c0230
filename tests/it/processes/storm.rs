//! Hundreds of SIGKILLs at drawn moments, while users edit and scale and strangers destroy.
//!
//! Each life is a simulator and a controller that is killed again and again, most often within
//! its first second and sometimes before it has opened its state; several lives go on side by
//! side. Then it is left alone, and the cloud must hold exactly the manifest; then it is deleted,
//! under more kills, and nothing may be left.

use std::{
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use fastrand::Rng;
use futures_util::{StreamExt, stream};
use serde_json::{Value, json};
use tokio::time::Instant;
use weir::{
    sim::world::{Vm, World},
    types::meta::Kind,
};

use super::bed::{Bed, until};
use crate::{
    kill::{
        asked_seeds,
        audit::Strangers,
        script::{MACHINES, Script, Wound},
    },
    worlds::safety,
};

/// The seeds of every run: a plain tenant, one who may expunge, a root admin, and plain ones.
const SEEDS: [u64; 4] = [101, 102, 103, 104];

/// Kills of one life while its stack is made and changed.
const KILLS: usize = 50;

/// Kills of one life while its stack is deleted.
const KILLS_OF_DELETE: usize = 5;

/// Kills that all lives of a run must have seen.
const WANTED: usize = 200;

/// VM records that may be there at once: seven machines after a scale-up, one of surge, three.
const RECORDS_MAX: usize = 7 + 1 + 3;

/// Time between two deeds of a user or a stranger, at most, in milliseconds.
const LULL: u64 = 1_500;

/// Deeds of one life: few enough for every machine's hourly budget of remediations.
const DEEDS: usize = 25;

/// One life.
struct Storm {
    bed: Bed,
    seed: u64,
    over: AtomicBool,
}

impl Storm {
    async fn lived(&self) -> Result<usize, String> {
        let begun = Instant::now();
        self.bed.process.start();
        self.bed.account(&self.bed.cloud.endpoint).await;
        self.bed.apply(&self.bed.spec()).await?;
        let storm = futures_util::join!(
            self.killed(KILLS),
            self.edited(),
            self.disturbed(),
            self.guarded()
        );
        let (kills, edits, wounds) = (storm.0?, storm.1?, storm.2?);
        storm.3?;
        let stormed = begun.elapsed();
        self.bed.audited().await?;
        let settled = begun.elapsed();
        self.bed.delete(Kind::ClearwaterStack, "ims").await?;
        let more = self.killed(KILLS_OF_DELETE).await?;
        self.bed.audited_gone().await?;
        println!(
            "seed {}: {kills} kills in {stormed:.1?}, settled after {settled:.1?}, deleted under \
             {more} more after {:.1?}\n  edits {edits:?}\n  wounds {wounds:?}",
            self.seed,
            begun.elapsed(),
        );
        Ok(kills + more)
    }

    /// Kills and starts the controller; gives how often it was killed.
    async fn killed(&self, times: usize) -> Result<usize, String> {
        let ended = self.killed_and_started(times).await;
        self.over.store(true, Ordering::SeqCst);
        ended
    }

    async fn killed_and_started(&self, times: usize) -> Result<usize, String> {
        let mut rng = Rng::with_seed(self.seed ^ 0xdead);
        for _ in 0..times {
            // Starting takes a quarter of a second; a round, a few tens of milliseconds more.
            let alive = match rng.u32(..10) {
                0..3 => rng.u64(..250),
                3..9 => rng.u64(250..800),
                _ => rng.u64(800..2_000),
            };
            tokio::time::sleep(Duration::from_millis(alive)).await;
            if !self.bed.process.kill() {
                return Err("it ended before it could be killed".to_owned());
            }
            if rng.u32(..4) == 0 {
                tokio::time::sleep(Duration::from_millis(rng.u64(..200))).await;
            }
            self.bed.process.start();
        }
        Ok(times)
    }

    /// Edits and scales until the kills are over; tells what was done.
    async fn edited(&self) -> Result<Vec<String>, String> {
        let mut rng = Rng::with_seed(self.seed ^ 0xbeef);
        let mut done = Vec::new();
        while self.lull(&mut rng).await && done.len() < DEEDS {
            let (change, machine) = edit(&mut rng);
            match machine {
                Some(machine) => self.bed.delete(Kind::Machine, machine).await?,
                None => self.bed.change(&change).await?,
            }
            done.push(machine.map_or(change.to_string(), |machine| format!("-{machine}")));
        }
        Ok(done)
    }

    /// Breaks and destroys behind the controller's back until the kills are over; tells what.
    async fn disturbed(&self) -> Result<Vec<String>, String> {
        let mut rng = Rng::with_seed(self.seed ^ 0xfeed);
        let mut script = Script::of(self.seed);
        let mut done = Vec::new();
        while self.lull(&mut rng).await && done.len() < DEEDS {
            let Wound::Broken(breakage) = script.wound(&self.bed.cloud.world()) else {
                continue;
            };
            let answer = self.bed.cloud.ask("POST", "break", &json!(breakage)).await;
            // What is not there cannot be broken, and what is broken not twice.
            done.extend(answer["done"].as_str().map(str::to_owned));
        }
        Ok(done)
    }

    /// Waits between two deeds; says whether there is time for another.
    async fn lull(&self, rng: &mut Rng) -> bool {
        tokio::time::sleep(Duration::from_millis(rng.u64(..LULL))).await;
        !self.over.load(Ordering::SeqCst)
    }

    /// Holds what may never be against the world, again and again, until the kills are over.
    async fn guarded(&self) -> Result<(), String> {
        until("the kills are over", async || {
            let wrong = wrong(&self.bed.cloud.world(), &self.bed.cloud.strangers);
            if !wrong.is_empty() {
                return Ok(Err(format!("meanwhile: {wrong:#?}")));
            }
            match self.over.load(Ordering::SeqCst) {
                true => Ok(Ok(())),
                false => Err("they go on".to_owned()),
            }
        })
        .await?
    }
}

/// What is wrong in a world.
fn wrong(world: &World, strangers: &Strangers) -> Vec<String> {
    let mut wrong = strangers.changed_in(world);
    wrong.extend(safety::twice(world, strangers));
    let spare = |vm: &&Vm| strangers.spare(&vm.id, &vm.account) && !vm.state.is_gone();
    let records = world.vms.values().filter(spare).count();
    if records > RECORDS_MAX {
        wrong.push(format!("{records} VM records, {RECORDS_MAX} may be"));
    }
    wrong
}

/// A change of the manifest; or a machine that is to be replaced.
fn edit(rng: &mut Rng) -> (Value, Option<&'static str>) {
    let component = |role: &str, spec: Value| json!({"components": {role: spec}});
    let offering = ["2vCPU-4GB", "Small Instance"][rng.usize(..2)];
    let template = ["Ubuntu 14.04", "Ubuntu 22.04"][rng.usize(..2)];
    let change = match rng.u32(..8) {
        0..3 => component("sprout", json!({"replicas": rng.u32(1..4)})),
        3..5 => component("homestead", json!({"replicas": rng.u32(1..3)})),
        5 => component("sprout", json!({"serviceOffering": {"name": offering}})),
        6 => json!({"template": {"name": template}}),
        _ => return (Value::Null, Some(MACHINES[rng.usize(..MACHINES.len())])),
    };
    (change, None)
}

async fn live(seed: u64) -> Result<usize, String> {
    let script = Script::of(seed);
    let storm = Storm {
        bed: Bed::make(seed, script.rights).await,
        seed,
        over: AtomicBool::default(),
    };
    let lived = storm.lived().await;
    lived.map_err(|why| {
        let told = format!("SEED={seed} ({:?}): {why}", script.rights);
        println!("{told}\n── log\n{}", storm.bed.last_words());
        told
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hundreds_of_kills_leave_exactly_the_manifest() {
    let seeds = asked_seeds().unwrap_or(SEEDS.to_vec());
    let lives = seeds.iter().map(|seed| live(*seed));
    let ended: Vec<_> = stream::iter(lives)
        .buffer_unordered(SEEDS.len())
        .collect()
        .await;
    let failed: Vec<_> = ended
        .iter()
        .filter_map(|life| life.as_ref().err())
        .collect();
    assert!(failed.is_empty(), "{} failed: {failed:#?}", failed.len());
    let kills: usize = ended.iter().flatten().sum();
    println!("killed {kills} times");
    assert!(kills >= WANTED || asked_seeds().is_some(), "{kills} kills");
}
