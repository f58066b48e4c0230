//! Seeded worlds in which everything goes wrong: the cloud loses, lies and fails, strangers stop,
//! destroy and edit, the store fails, and the controller dies in the middle of requests and writes.
//! While it happens nothing may happen that must never be; when it is over the world must come to
//! be exactly what the manifest says, and stay so without a write.
//!
//! `WEIR_SEED=N` or `N..M` lives others than the seeds of every run.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
    sync::{Arc, Mutex},
    thread,
};

use serde_json::json;
use weir::{
    sim::Breakage,
    types::meta::{API_VERSION, FINALIZER, Kind, Object},
};

use crate::{
    kill::{
        asked_seeds,
        audit::{Audit, Strangers, verdict},
        script::{Rights, Wound},
    },
    support::stage::reads,
};

use super::{
    doom::Place,
    fate::{Fate, Incident},
    lived_twice, safety,
    world::{World, run},
};

/// Seeds of every run.
const SEEDS: u64 = 40;

/// Worlds at once.
const THREADS: usize = 2;

/// What one world came to.
struct Ended {
    seed: u64,
    struck: BTreeMap<(Place, String), u32>,
    verdict: Result<(), String>,
}

struct Chaos {
    world: World,
    fate: Fate,
    strangers: Arc<Strangers>,
    told: Vec<String>,
}

impl Chaos {
    async fn begin(seed: u64) -> Self {
        let fate = Fate::of(seed);
        let mut world = World::new(seed, fate.script.profile);
        let strangers = Arc::new(Strangers::move_in(&world.sim, fate.script.rights).await);
        let who = fate.script.rights.who();
        world.fates.watch(safety::watchman(&strangers));
        world.start(who).await;
        Self {
            world,
            fate,
            strangers,
            told: Vec::new(),
        }
    }

    fn tell(&mut self, what: impl Into<String>) {
        let now = self.world.sim.world(|world| world.now());
        self.told.push(format!("{now} {}", what.into()));
    }

    async fn live(&mut self) -> Result<(), String> {
        let spec = self.fate.script.rights.spec();
        let stack = json!({
            "apiVersion": API_VERSION, "kind": "ClearwaterStack",
            "metadata": {"name": "ims", "namespace": "default", "finalizers": [FINALIZER]},
            "spec": spec,
        });
        self.world.create(stack).await;
        for _ in 0..self.fate.incidents() {
            tokio::time::sleep(self.fate.pause()).await;
            self.befall().await;
        }
        self.peace();
        self.world.looked().await;
        self.world.settled().await?;
        self.audited().await?;
        self.delete().await
    }

    async fn befall(&mut self) {
        let sim = self.world.sim.clone();
        let incident = sim.world(|world| self.fate.incident(world));
        self.tell(format!("{incident:?}"));
        match incident {
            Incident::Doom(doom) => self.world.fates.await_doom(doom),
            Incident::Fault(fault) => sim.add_fault(fault),
            Incident::Restart => {
                sim.break_it(Breakage::RestartManagementServer).ok();
            }
            Incident::Wound(Wound::Broken(what)) => {
                // What is not there cannot be broken, and what is broken not twice.
                let done = sim.break_it(what);
                self.tell(format!("  {done:?}"));
            }
            Incident::Wound(Wound::Replaced(machine)) => {
                self.world.delete(Kind::Machine, &machine).await.ok();
            }
            Incident::Wound(Wound::Changed(change, _)) => self.change(&change).await,
        }
    }

    async fn change(&self, change: &serde_json::Value) {
        let stack = self.world.stack().await.expect("it is not deleted yet");
        let mut object = json!(stack);
        json_patch::merge(&mut object["spec"], change);
        let object: Object = serde_json::from_value(object).unwrap();
        self.world.store.update(object).await.unwrap();
    }

    /// Nothing goes wrong any more.
    fn peace(&mut self) {
        self.tell("peace");
        self.world.fates.relent();
        self.world.sim.clear_faults();
    }

    async fn audited(&self) -> Result<(), String> {
        let stack = self.world.stack().await.ok_or("the stack is gone")?;
        let mut wrong = Audit::of(&self.world.sim, &self.strangers).against(&stack);
        let before = self.writes();
        self.world.looked().await;
        if self.writes() > before {
            wrong.push("two further looks wrote".to_owned());
        }
        wrong.extend(self.world.fates.wrong());
        verdict("the repairs", &wrong)
    }

    async fn delete(&mut self) -> Result<(), String> {
        self.tell("delete");
        for _ in 0..2 {
            let (doom, fault) = (self.fate.doom(), self.fate.fault());
            self.tell(format!("{doom:?} {fault:?}"));
            self.world.fates.await_doom(doom);
            self.world.sim.add_fault(fault);
        }
        self.world
            .delete(Kind::ClearwaterStack, "ims")
            .await
            .unwrap();
        self.world.gone().await?;
        self.peace();
        let retained = self.fate.script.rights == Rights::Plain;
        let mut wrong = Audit::of(&self.world.sim, &self.strangers).gone(retained);
        wrong.extend(self.world.fates.wrong());
        verdict("the delete", &wrong)
    }

    fn writes(&self) -> usize {
        let requests = self.world.sim.requests();
        let writes = requests.iter().filter(|request| !reads(&request.command));
        writes.count()
    }
}

fn lived(seed: u64) -> Ended {
    run(async {
        let mut chaos = Chaos::begin(seed).await;
        let verdict = chaos.live().await.map_err(|why| {
            let script = &chaos.fate.script;
            let about = format!("{:?}, {:?}", script.profile, script.rights);
            format!("SEED={seed} ({about}): {why}\n{}", chaos.told.join("\n"))
        });
        Ended {
            seed,
            struck: chaos.world.fates.struck(),
            verdict,
        }
    })
}

/// Lives all seeds, in a few threads; in the order of the seeds.
fn all(seeds: &[u64]) -> Vec<Ended> {
    let left: Mutex<VecDeque<u64>> = Mutex::new(seeds.iter().copied().collect());
    let ended = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..THREADS {
            scope.spawn(|| {
                while let Some(seed) = { left.lock().unwrap().pop_front() } {
                    let world = lived(seed);
                    ended.lock().unwrap().push(world);
                }
            });
        }
    });
    let mut ended = ended.into_inner().unwrap();
    ended.sort_by_key(|world| world.seed);
    ended
}

/// Which death struck where, and how often.
fn table(ended: &[Ended]) -> String {
    let mut sums: BTreeMap<(&str, Place), u32> = BTreeMap::new();
    for ((place, at), count) in ended.iter().flat_map(|world| &world.struck) {
        *sums.entry((at, *place)).or_default() += count;
    }
    let mut text = String::new();
    for ((at, place), count) in sums {
        writeln!(
            text,
            "{at:32} {place:20} {count:6}",
            place = format!("{place:?}")
        )
        .unwrap();
    }
    text
}

#[test]
fn whatever_goes_wrong_it_ends_with_exactly_the_manifest() {
    let seeds = asked_seeds().unwrap_or_else(|| (1..=SEEDS).collect());
    let ended = all(&seeds);
    println!("{}", table(&ended));
    let failed: Vec<&String> = ended
        .iter()
        .filter_map(|world| world.verdict.as_ref().err())
        .collect();
    for why in &failed {
        println!("{why}");
    }
    assert!(
        failed.is_empty(),
        "{} of {} worlds",
        failed.len(),
        ended.len()
    );
}

#[test]
fn a_bad_day_is_the_same_bad_day_again() {
    lived_twice(async || {
        let mut chaos = Chaos::begin(11).await;
        chaos.live().await.ok();
        chaos.world.log()
    });
}
