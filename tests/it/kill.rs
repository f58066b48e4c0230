//! The built controller, killed with SIGKILL at drawn moments of creates, repairs and deletes.
//!
//! The simulator runs here and survives the controller. A moment is not a time but a request:
//! the n-th write of what is under way, killed before it arrives, after it took effect, while it
//! is on its way or just after its answer, so that every kill hits work in progress. Afterwards
//! the simulator's world must hold exactly the manifest's resources.
//!
//! `WEIR_SEED=17` runs one seed, `WEIR_SEED=100..300` a range of them.

pub(crate) mod audit;
pub(crate) mod gate;
mod life;
pub(crate) mod process;
pub(crate) mod script;
pub(crate) mod user;

use std::collections::VecDeque;

use futures_util::{StreamExt, stream};

use self::{
    life::{Kills, Life},
    script::Script,
};

/// Seeds that failed once; run first.
const FAILED: &str = include_str!("../seeds.txt");

/// Of the seeds that failed, so many are run: the newest.
const FAILED_MAX: usize = 4;

/// The seeds of every run: tenants who may expunge (1, 5, 12), a root admin (3), plain tenants. Seeds
/// with a slow cloud or a slow pace take minutes and are for soaks.
const SEEDS: [u64; 8] = [1, 2, 3, 5, 7, 9, 10, 12];

/// Kills that each act must have seen over all seeds.
const WANTED: usize = 20;

/// Lives at once. They mostly wait.
const AT_ONCE: usize = 16;

/// The seeds that the environment asks for: `WEIR_SEED=N` or `N..M`.
pub(crate) fn asked_seeds() -> Option<Vec<u64>> {
    let text = std::env::var("WEIR_SEED").ok()?;
    let number = |word: &str| word.parse::<u64>().expect("WEIR_SEED is N or N..M");
    Some(match text.split_once("..") {
        Some((first, end)) => (number(first)..number(end)).collect(),
        None => vec![number(&text)],
    })
}

fn seeds() -> Vec<u64> {
    if let Some(asked) = asked_seeds() {
        return asked;
    }
    let lines = FAILED.lines().filter(|line| !line.starts_with('#'));
    let failed: VecDeque<u64> = lines
        .filter_map(|line| line.split_whitespace().next())
        .map(|word| word.parse().expect("a seed is a number"))
        .collect();
    let newest = failed.len().saturating_sub(FAILED_MAX);
    failed.into_iter().skip(newest).chain(SEEDS).collect()
}

/// One life; a failure tells everything.
async fn live(seed: u64) -> Result<Kills, String> {
    let script = Script::of(seed);
    let about = format!(
        "{:?}, {:?}, {}/s",
        script.profile, script.rights, script.pace
    );
    let life = Life::begin(script).await;
    match life.lived().await {
        Ok(kills) => {
            let took = life.gate.age().as_secs();
            let asked = life.gate.asked_most();
            let log = life.gate.log();
            println!("seed {seed} ({about}, {took} s, asked {asked}): {kills}\n{log}");
            Ok(kills)
        }
        Err(why) => {
            println!("SEED={seed} ({about}): {why}\n{}", life.testimony());
            Err(format!("SEED={seed}: {why}"))
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_at_any_moment_it_ends_with_exactly_the_manifest() {
    let seeds = seeds();
    let lives = seeds.iter().map(|seed| live(*seed));
    let ended: Vec<_> = stream::iter(lives)
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    let failed: Vec<&String> = ended
        .iter()
        .filter_map(|life| life.as_ref().err())
        .collect();
    assert!(
        failed.is_empty(),
        "{} of {}: {failed:#?}",
        failed.len(),
        ended.len()
    );
    let of = |act: fn(&Kills) -> usize| ended.iter().flatten().map(act).sum::<usize>();
    let kills = [of(|k| k.create), of(|k| k.repair), of(|k| k.delete)];
    println!("killed {kills:?} times in creates, repairs and deletes");
    if std::env::var_os("WEIR_SEED").is_none() {
        assert!(kills.iter().all(|kills| *kills >= WANTED), "{kills:?}");
    }
}
