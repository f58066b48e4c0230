//! Seeded worlds in which everything goes wrong: the cloud loses, lies and fails, hosts die,
//! strangers and colleagues stop, destroy and edit, the account is locked and kept short, the store
//! fails, and the controller dies in the middle of requests and writes; or two controllers are there,
//! of which one leads, and that one sleeps, dies, stops or loses its lease. While it happens nothing may
//! happen that must never be; when it is over the world must come to be exactly what the manifest
//! says, and stay so without a write.
//!
//! `WEIR_SEED=N` or `N..M` lives others than the seeds of every run.

use std::{
    collections::{BTreeSet, VecDeque},
    sync::{Arc, Mutex, OnceLock},
    thread,
    time::Duration,
};

use serde_json::{Value, json};
use tokio::time::Instant;
use weir::{
    sim::{
        Breakage, Who,
        world::{Limits, Standing},
    },
    types::meta::{API_VERSION, FINALIZER, Kind, Object, condition},
};

use crate::kill::{
    asked_seeds,
    audit::{Audit, Strangers, verdict},
    script::{Rights, Wound},
};

use super::{
    aims::{self, Aim},
    calm,
    coverage::{self, Struck},
    ear,
    errand::Errand,
    fate::{Fate, Incident, Length},
    kept::KEPT,
    lived_twice,
    rivals::{self, Quarrels},
    safety::Watch,
    world::{PATIENCE, World, run},
};

/// Seeds of every run.
const SEEDS: u64 = 40;

/// Worlds at once.
const THREADS: usize = 2;

/// How often a status is held against the world while nothing happens.
const GLANCE: Duration = Duration::from_secs(15);

/// How long after a delete what was on its way may arrive and its job may take.
const LATEST: Duration = Duration::from_secs(30);

/// How long a stack may be held back by `maxUnhealthy` before somebody raises it.
const HELD_BACK_FOR: Duration = Duration::from_secs(900);

/// What one world came to.
pub(super) struct Ended {
    pub(super) seed: u64,
    pub(super) struck: Struck,
    verdict: Result<(), String>,
}

struct Chaos {
    world: World,
    fate: Fate,
    /// What befalls the controllers, where there are two.
    quarrels: Option<Quarrels>,
    strangers: Arc<Strangers>,
    watch: Arc<Watch>,
    /// Stacks that are to be made again.
    unborn: BTreeSet<&'static str>,
    told: Vec<String>,
}

impl Chaos {
    async fn begin(seed: u64) -> Self {
        let fate = Fate::of(seed);
        let quarrels = Quarrels::of(seed);
        let mut world = World::new(seed, fate.script.profile);
        if quarrels.is_some() {
            world = world.with_a_rival();
        }
        let strangers = Arc::new(Strangers::move_in(&world.sim, fate.script.rights).await);
        let who = fate.script.rights.who();
        let secret = world.sim.credentials(who).secret_key;
        let watch = Arc::new(Watch::new(
            world.store.clone(),
            secret,
            Arc::clone(&strangers),
        ));
        world.fates.watch(Arc::clone(&watch));
        world.start(who).await;
        Self {
            world,
            fate,
            quarrels,
            strangers,
            watch,
            unborn: BTreeSet::new(),
            told: Vec::new(),
        }
    }

    fn tell(&mut self, what: impl Into<String>) {
        let now = self.world.sim.world(|world| world.now());
        self.told.push(format!("{now} {}", what.into()));
    }

    async fn live(&mut self) -> Result<(), String> {
        for aim in std::mem::take(&mut self.fate.aims) {
            self.aim(&aim);
            self.fate.aims.push(aim);
        }
        for name in self.fate.stacks.clone() {
            self.create(name).await;
        }
        self.call_for_the_aims().await;
        for _ in 0..self.fate.incidents() {
            let pause = self.fate.pause();
            self.pass(pause).await;
            self.befall().await;
            self.quarrel();
            self.bear().await;
        }
        self.peace().await?;
        self.settled().await?;
        self.audited().await?;
        if Length::has_a_calm(self.fate.script.seed) {
            self.calm().await?;
        }
        self.delete().await
    }

    /// What must not move a controller whose stack is as it should be.
    async fn calm(&mut self) -> Result<(), String> {
        self.tell("calm");
        calm::lied_to(&self.world).await?;
        if self.fate.script.rights == Rights::Plain {
            calm::hoard(&self.world).await?;
        }
        if let Some(made) = calm::copied(&self.world, self.colleague()).await {
            let theirs = self
                .world
                .sim
                .world(|world| self.strangers.and(world, &made));
            self.strangers = Arc::new(theirs);
            self.watch.strangers(&self.strangers);
            self.world.unmoved("a copy of our marks").await?;
        }
        Ok(())
    }

    /// Somebody else with the same account.
    fn colleague(&self) -> Who {
        match self.fate.script.rights {
            Rights::Admin => Who::Admin,
            Rights::Plain | Rights::Expunger => Who::Operator,
        }
    }

    async fn create(&self, name: &str) {
        let stack = json!({
            "apiVersion": API_VERSION, "kind": "ClearwaterStack",
            "metadata": {"name": name, "namespace": "default", "finalizers": [FINALIZER]},
            "spec": self.fate.spec(name),
        });
        self.world.create(stack).await;
    }

    fn aim(&mut self, aim: &Aim) {
        self.tell(format!("{aim:?}"));
        match aim {
            Aim::Doom(doom) => self.world.fates.await_doom(*doom),
            Aim::Fault(fault) => self.world.sim.add_fault(fault.clone()),
        }
    }

    /// Gives the controller occasion for the commands that something waits for.
    async fn call_for_the_aims(&mut self) {
        let aims = self.fate.aims.iter();
        let commands: BTreeSet<String> = aims.map(|aim| aim.command().to_owned()).collect();
        for command in commands {
            if aims::needs_a_call(&command) {
                // Some of it needs a stack that stands; one that does not by then has to bear it.
                self.pass(Duration::from_secs(60)).await;
            }
            if let Some(edit) = aims::edit_for(&command) {
                self.tell(format!("for {command}: {edit}"));
                self.change(self.fate.stacks[0], &edit).await;
            }
            let sim = &self.world.sim;
            if let Some(what) = sim.world(|world| aims::breakage_for(&command, world)) {
                let done = sim.break_it(what);
                self.tell(format!("for {command}: {done:?}"));
            }
        }
    }

    /// Lets time pass, and holds statuses against the world meanwhile.
    async fn pass(&self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            tokio::time::sleep(left.min(GLANCE)).await;
            if left <= GLANCE {
                return;
            }
            self.watch.glance(&self.world.sim);
        }
    }

    async fn befall(&mut self) {
        let sim = self.world.sim.clone();
        let incident = sim.world(|world| self.fate.incident(world, &self.strangers));
        self.tell(format!("{incident:?}"));
        match incident {
            Incident::Doom(doom) => self.world.fates.await_doom(doom),
            Incident::Fault(fault) => sim.add_fault(fault),
            Incident::Restart => self.broken(Breakage::RestartManagementServer),
            // What is not there cannot be broken, and what is broken not twice.
            Incident::Wound(Wound::Broken(what)) => self.broken(what),
            Incident::Wound(Wound::Replaced(machine)) => {
                self.world.delete(Kind::Machine, &machine).await.ok();
            }
            Incident::Wound(Wound::Changed(change, _)) => {
                self.change(self.fate.stacks[0], &change).await;
            }
            Incident::Edit(stack, change) => self.change(stack, &change).await,
            Incident::Errand(errand) => self.run(errand).await,
            Incident::Host(how) => {
                let host = "busiest".to_owned();
                self.broken(Breakage::FailHost { host, how });
            }
            Incident::HostsBack => self.broken(Breakage::RecoverHost { host: None }),
            Incident::Limit(what, spare) => self.limit(what, spare),
            Incident::NoLimit => self.no_limit(),
            Incident::Locked(time) => {
                self.standing(Standing::Locked);
                self.pass(time).await;
                self.standing(Standing::Enabled);
            }
            // An expunger who loses the right leaves what holds the tier for two days.
            Incident::Expunge if !self.fate.retains() => {}
            Incident::Expunge => sim.world(|world| {
                let may = &mut world.settings.allow_user_expunge_recover_vm;
                *may = !*may;
            }),
            Incident::DiskFull(time) => {
                self.world.fates.fill_disk(true);
                self.pass(time).await;
                self.world.fates.fill_disk(false);
                self.world.kill();
            }
            Incident::Reborn(stack) => {
                if self
                    .world
                    .delete(Kind::ClearwaterStack, stack)
                    .await
                    .is_ok()
                {
                    self.unborn.insert(stack);
                }
            }
        }
    }

    /// Where there are two controllers something befalls them, too.
    fn quarrel(&mut self) {
        if let Some(quarrels) = &mut self.quarrels {
            let quarrel = quarrels.next();
            self.tell(format!("{quarrel:?}"));
            rivals::befall(&self.world, quarrel);
        }
    }

    fn broken(&mut self, what: Breakage) {
        let done = self.world.sim.break_it(what);
        self.tell(format!("  {done:?}"));
    }

    async fn run(&mut self, errand: Errand) {
        let colleague = self.colleague();
        for call in errand.0 {
            let params: Vec<(&str, &str)> = call.iter().map(|(k, v)| (*k, v.as_str())).collect();
            let reply = self.world.sim.call(colleague, &params).await;
            self.tell(format!("  {}", reply.status));
        }
    }

    /// Lets the account have no more of something than it has, and a few.
    fn limit(&self, what: &str, spare: i64) {
        let who = self.fate.script.rights.who();
        self.world.sim.world(|world| {
            let account = match who {
                Who::Admin => "admin",
                _ => "operator",
            };
            let id = world.account_named(account).unwrap().id.clone();
            let has = world.used(&id, what);
            let limits = world.limits_of(account).unwrap();
            limits.set(what, has + spare);
        });
    }

    fn no_limit(&self) {
        self.world.sim.world(|world| {
            for limits in world.limits.values_mut() {
                *limits = Limits::none();
            }
        });
    }

    fn standing(&self, standing: Standing) {
        if self.fate.script.rights == Rights::Admin {
            return;
        }
        self.world.sim.world(|world| {
            let id = world.account_named("operator").unwrap().id.clone();
            world.accounts.get_mut(&id).unwrap().standing = standing;
        });
    }

    async fn change(&self, name: &str, change: &Value) {
        // One that is gone for now is made from its first manifest.
        let Some(stack) = self.world.stack_named(name).await else {
            return;
        };
        let mut object = json!(stack);
        json_patch::merge(&mut object["spec"], change);
        let object: Object = serde_json::from_value(object).unwrap();
        self.world.store.update(object).await.unwrap();
    }

    /// Makes stacks again that are gone by now. What one left that keeps its network is nobody's
    /// from then on, and is to be left alone.
    async fn bear(&mut self) {
        for name in self.unborn.clone() {
            if self.world.stack_named(name).await.is_some() {
                continue;
            }
            self.unborn.remove(name);
            self.tell(format!("{name} is born again"));
            if self.fate.retains() {
                self.leave_behind().await;
            }
            self.create(name).await;
        }
    }

    async fn leave_behind(&mut self) {
        let mut stays = Vec::new();
        for name in &self.fate.stacks {
            stays.extend(self.world.stack_named(name).await);
        }
        let left = self.world.sim.world(|world| {
            let left = self.strangers.and_what_is_left(world, &stays);
            let new = |id: &str| left.have(id) && !self.strangers.have(id);
            // So that what is done to the next of that name is not done to it.
            for row in world.vpcs.values_mut().filter(|row| new(&row.id)) {
                row.name = format!("former {}", row.name);
            }
            for row in world.networks.values_mut().filter(|row| new(&row.id)) {
                row.name = format!("former {}", row.name);
            }
            for row in world.acl_lists.values_mut().filter(|row| new(&row.id)) {
                row.name = format!("former {}", row.name);
            }
            self.strangers.and_what_is_left(world, &stays)
        });
        self.strangers = Arc::new(left);
        self.watch.strangers(&self.strangers);
    }

    /// Nothing goes wrong any more, and whoever runs the cloud has put it in order.
    async fn peace(&mut self) -> Result<(), String> {
        self.tell("peace");
        self.world.fates.relent();
        self.world.sim.clear_faults();
        self.no_limit();
        let expunger = self.fate.script.rights == Rights::Expunger;
        self.world.sim.world(|world| {
            world.settings.allow_user_expunge_recover_vm = expunger;
        });
        self.broken(Breakage::RecoverHost { host: None });
        // Jobs that hang end with the server that runs them.
        self.broken(Breakage::RestartManagementServer);
        for name in self.unborn.clone() {
            self.world.gone(name).await?;
        }
        self.bear().await;
        Ok(())
    }

    /// Waits until every stack is as it should be. Where too much looks dead at once Weir waits for
    /// somebody to say that it may act, and somebody does.
    async fn settled(&mut self) -> Result<(), String> {
        self.world.looked().await;
        for name in self.fate.stacks.clone() {
            if self.world.settles(name, HELD_BACK_FOR).await.is_err() && self.held_back(name).await
            {
                self.tell(format!("{name} is held back: somebody raises maxUnhealthy"));
                let all = json!({"remediation": {"maxUnhealthy": "100%"}});
                self.change(name, &all).await;
            }
            self.world.settles(name, PATIENCE).await?;
        }
        Ok(())
    }

    async fn held_back(&self, name: &str) -> bool {
        let stack = self.world.stack_named(name).await;
        let status = stack.and_then(|stack| stack.status).unwrap_or_default();
        let degraded = condition(&status.conditions, "Degraded");
        degraded.is_some_and(|told| told.reason == "TooManyUnhealthy")
    }

    async fn audited(&self) -> Result<(), String> {
        let mut stacks = Vec::new();
        for name in &self.fate.stacks {
            stacks.push(
                self.world
                    .stack_named(name)
                    .await
                    .ok_or("the stack is gone")?,
            );
        }
        let mut wrong = Vec::new();
        for stack in &stacks {
            let others = stacks
                .iter()
                .filter(|other| other.metadata != stack.metadata);
            let audit = Audit::of(&self.world.sim, &self.strangers);
            let audit = others.fold(audit, Audit::beside);
            wrong.extend(audit.against(stack));
        }
        wrong.extend(self.world.unmoved("a further look").await.err());
        wrong.extend(self.watch.wrong());
        verdict("the repairs", &wrong)
    }

    async fn delete(&mut self) -> Result<(), String> {
        self.tell("delete");
        for _ in 0..self.fate.blows_to_the_delete() {
            let (doom, fault) = (self.fate.doom(), self.fate.fault());
            self.tell(format!("{doom:?} {fault:?}"));
            self.world.fates.await_doom(doom);
            self.world.sim.add_fault(fault);
            self.quarrel();
        }
        for aim in self.fate.aims.clone() {
            if aims::is_of_a_delete(aim.command()) {
                self.aim(&aim);
            }
        }
        for name in &self.fate.stacks {
            let deleted = self.world.delete(Kind::ClearwaterStack, name).await;
            deleted.unwrap();
        }
        let stuck_for = self.fate.stuck_for();
        for name in self.fate.stacks.clone() {
            if self.world.goes(name, stuck_for).await.is_err() {
                self.tell("somebody restarts the server, where a job hangs");
                self.world.sim.clear_faults();
                self.broken(Breakage::RestartManagementServer);
            }
            self.world.gone(name).await?;
        }
        self.world.fates.relent();
        self.world.sim.clear_faults();
        // What was late, or in the hand of a sleeper, has arrived and is done with.
        tokio::time::sleep(LATEST).await;
        let kept = match self.fate.retains() {
            true => self.fate.stacks.len(),
            false => 0,
        };
        let mut wrong = Audit::of(&self.world.sim, &self.strangers).gone(kept);
        wrong.extend(self.watch.wrong());
        verdict("the delete", &wrong)
    }
}

async fn life(seed: u64) -> (Ended, Arc<Watch>) {
    let mut chaos = Chaos::begin(seed).await;
    let lived = chaos.live().await;
    let verdict = lived.map_err(|why| {
        let script = &chaos.fate.script;
        let about = format!("{:?}, {:?}", script.profile, script.rights);
        let (told, sent) = (chaos.told.join("\n"), chaos.world.writes().join("\n"));
        format!("SEED={seed} ({about}): {why}\n{told}\n{sent}")
    });
    let ended = Ended {
        seed,
        struck: coverage::of(&chaos.world),
        verdict,
    };
    (ended, chaos.watch)
}

fn lived(seed: u64) -> Ended {
    if !Fate::of(seed).listened() {
        return run(life(seed)).0;
    }
    let ((mut ended, watch), heard) = ear::listened(|| run(life(seed)));
    assert!(
        heard.contains("weir::"),
        "nothing was heard of seed {seed}: {heard:.400}"
    );
    if watch.betrays(&heard) {
        ended.verdict = Err(format!("SEED={seed}: the secret key is in the log"));
    }
    ended
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

/// The worlds of this run: those that failed once, then the others; lived once for all tests.
fn worlds() -> &'static [Ended] {
    static LIVED: OnceLock<Vec<Ended>> = OnceLock::new();
    LIVED.get_or_init(|| {
        let seeds = asked_seeds().unwrap_or_else(|| {
            let failed: Vec<u64> = KEPT.iter().map(|(seed, _)| *seed).collect();
            let others = (1..=SEEDS).filter(|seed| !failed.contains(seed));
            failed.iter().copied().chain(others).collect()
        });
        all(&seeds)
    })
}

#[test]
fn whatever_goes_wrong_it_ends_with_exactly_the_manifest() {
    let ended = worlds();
    println!("{}", coverage::table(ended));
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
fn every_fault_strikes_every_step() {
    if asked_seeds().is_some() {
        return;
    }
    let missing = coverage::missing(worlds());
    assert!(missing.is_empty(), "never struck: {missing:#?}");
}

#[test]
fn a_bad_day_is_the_same_bad_day_again() {
    // One of a single controller, and one of two.
    for seed in [11, 12] {
        assert_eq!(rivals::are_there(seed), seed == 12);
        lived_twice(async || {
            let mut chaos = Chaos::begin(seed).await;
            chaos.live().await.ok();
            format!("{}\n{}", chaos.told.join("\n"), chaos.world.log())
        });
    }
}
