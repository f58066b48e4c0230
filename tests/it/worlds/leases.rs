//! Two controllers on one store, in virtual time: one acts, and the other one takes over when that one
//! sleeps, dies, stops or cannot reach the store. `rivals` has the same happen in seeded worlds.

use std::{collections::BTreeMap, sync::Arc, time::Duration};

use serde_json::json;
use tokio::time::Instant;
use weir::{
    run::leader::LEASE,
    sim::{Profile, Who},
};

use crate::{
    kill::{
        audit::{Audit, Strangers, verdict},
        script::Rights,
    },
    world::small_stack,
};

use super::{
    doom::{Doom, Fates, Place},
    rivals::{self, Turn},
    safety::Watch,
    world::{World, run},
};

/// How often one that stands by asks for the lead, and one for the answer.
const TRY: Duration = Duration::from_secs(2);

/// Longer than any lease.
const LONG: Duration = Duration::from_secs(30);

/// How often a level is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// Longest wait for a level.
const PATIENCE: Duration = Duration::from_secs(120);

/// Machines of the stack.
const MACHINES: usize = 4;

struct Rivals {
    world: World,
    strangers: Arc<Strangers>,
    watch: Arc<Watch>,
}

impl Rivals {
    /// Two controllers, of which one leads and has begun to build the stack.
    async fn begin(seed: u64) -> Self {
        let rivals = Self::start(seed).await;
        rivals.build().await;
        rivals.sends("createNetworkACL").await;
        rivals
    }

    /// Two controllers, of which one leads and has nothing to do.
    async fn start(seed: u64) -> Self {
        let mut world = World::new(seed, Profile::Lab).with_a_rival();
        let strangers = Arc::new(Strangers::move_in(&world.sim, Rights::Plain).await);
        let secret = world.sim.credentials(Who::Tenant).secret_key;
        let watch = Watch::new(world.store.clone(), secret, Arc::clone(&strangers));
        let watch = Arc::new(watch);
        world.fates.watch(Arc::clone(&watch));
        world.start(Who::Tenant).await;
        let rivals = Self {
            world,
            strangers,
            watch,
        };
        let led = || rivals.world.fates.leader().is_some();
        rivals.until("one leads", led).await;
        rivals
    }

    async fn build(&self) {
        let retain = json!({"deletionPolicy": {"network": "Retain"}});
        self.world.create(small_stack(&retain)).await;
    }

    async fn until(&self, what: &str, level: impl Fn() -> bool) -> Duration {
        let begun = Instant::now();
        while !level() {
            let (leader, writes) = (self.world.fates.leader(), self.world.writes());
            assert!(
                begun.elapsed() < PATIENCE,
                "{what}: not within {PATIENCE:?}; {leader:?} leads, {writes:#?}"
            );
            tokio::time::sleep(GLANCE).await;
        }
        begun.elapsed()
    }

    /// Waits until a command was sent.
    async fn sends(&self, command: &str) {
        let line = format!(" {command} ");
        let sent = || self.world.writes().iter().any(|sent| sent.contains(&line));
        self.until(command, sent).await;
    }

    fn leader(&self) -> (Fates, String) {
        let leader = self.world.who(true).expect("one leads").clone();
        let name = leader.leader().expect("it still does");
        (leader, name)
    }

    /// Waits until somebody else than `former` leads.
    async fn handed_over(&self, former: &str) -> Duration {
        let other = || {
            let leader = self.world.fates.leader();
            leader.is_some_and(|leader| leader != former)
        };
        self.until("another one leads", other).await
    }

    /// How often each machine was made.
    fn made(&self) -> Vec<usize> {
        let mut made = BTreeMap::<String, usize>::new();
        for line in self.world.writes() {
            let machine = line.split_once(".weirMachine=").map(|(_, rest)| rest);
            if let (true, Some(machine)) = (line.contains(" deployVirtualMachine "), machine) {
                let name = machine.split(' ').next().unwrap_or_default();
                *made.entry(name.to_owned()).or_default() += 1;
            }
        }
        made.into_values().collect()
    }

    /// Waits until the controller of a life is started anew.
    async fn ended(&self, fates: &Fates, life: &str) {
        let other = || fates.present().as_deref() != Some(life);
        self.until("it ends", other).await;
    }

    /// Waits until the stack is as it should be, and nothing may ever have been wrong.
    async fn ends_well(&self) {
        self.world.settled().await.unwrap();
        let stack = self.world.stack().await.unwrap();
        let mut wrong = Audit::of(&self.world.sim, &self.strangers).against(&stack);
        wrong.extend(self.watch.wrong());
        let writes = self.world.writes();
        let told = verdict("the hand-over", &wrong);
        told.unwrap_or_else(|told| panic!("{told}\n{writes:#?}"));
    }
}

#[test]
fn a_leader_that_sleeps_in_the_middle_of_a_plan_sends_nothing_when_it_wakes() {
    run(async {
        let rivals = Rivals::begin(1).await;
        let (fates, former) = rivals.leader();
        rivals::strike(&fates, Turn::Sleeps(LONG));
        let sent = fates.sent(&former);
        assert!(sent > 0, "it had begun");
        let took = rivals.handed_over(&former).await;
        assert!(took <= LEASE + TRY, "{took:?}");
        rivals.ended(&fates, &former).await;
        rivals.ends_well().await;
        assert_eq!(fates.sent(&former), sent);
        assert_eq!(rivals.made(), [1; MACHINES]);
        let (_, present) = rivals.leader();
        assert!(fates.sent(&present) > 0, "the other one did the rest");
        assert_ne!(fates.present().as_deref(), Some(&*present));
    });
}

#[test]
fn one_that_cannot_reach_the_store_sends_nothing_while_another_one_leads() {
    run(async {
        let rivals = Rivals::begin(2).await;
        let (fates, former) = rivals.leader();
        rivals::strike(&fates, Turn::CutOff(LONG));
        let sent = fates.sent(&former);
        let took = rivals.handed_over(&former).await;
        assert!(took <= LEASE + TRY, "{took:?}");
        rivals.ended(&fates, &former).await;
        rivals.ends_well().await;
        assert_eq!(fates.sent(&former), sent);
        assert_eq!(rivals.made(), [1; MACHINES]);
    });
}

#[test]
fn a_leader_that_is_killed_is_replaced_within_its_lease_and_one_that_stops_at_once() {
    for (turn, within) in [
        (Turn::Killed, LEASE + TRY),
        (Turn::Resigns, 2 * TRY),
        (Turn::Deposed, TRY),
    ] {
        run(async {
            let rivals = Rivals::begin(3).await;
            let (fates, former) = rivals.leader();
            rivals::strike(&fates, turn);
            let took = rivals.handed_over(&former).await;
            assert!(took <= within, "{turn:?}: {took:?}");
            rivals.ended(&fates, &former).await;
            rivals.ends_well().await;
            assert_eq!(rivals.made(), [1; MACHINES]);
        });
    }
}

#[test]
fn what_a_sleeper_had_in_hand_is_all_that_it_sends() {
    let commands = [
        "createVPC",
        "createNetworkACLList",
        "createNetwork",
        "createAffinityGroup",
        "createNetworkACL",
        "associateIpAddress",
        "deployVirtualMachine",
        "createTags",
        "enableStaticNat",
        "startVirtualMachine",
    ];
    for place in [Place::AsleepBeforeRequest, Place::LeaseLost] {
        for command in commands {
            run(in_hand(place, command));
        }
    }
}

async fn in_hand(place: Place, command: &'static str) {
    println!("{place:?} {command}");
    let rivals = Rivals::start(4).await;
    let (fates, former) = rivals.leader();
    fates.await_doom(Doom {
        place,
        after: 0,
        at: Some(command),
        time: LONG,
    });
    rivals.build().await;
    rivals.handed_over(&former).await;
    let sent = fates.sent(&former);
    rivals.ended(&fates, &former).await;
    rivals.ends_well().await;
    assert_eq!(fates.sent(&former), sent);
    let strayed = fates.struck().into_iter();
    let strayed: Vec<_> = strayed
        .filter(|((what, _), _)| what == "OnItsWay")
        .collect();
    let cell = ("OnItsWay".to_owned(), command.to_owned());
    assert_eq!(strayed, [(cell, 1)], "{place:?}");
}

#[test]
fn a_leader_that_sleeps_over_the_answer_that_it_leads_does_not_believe_it() {
    run(async {
        let rivals = Rivals::begin(5).await;
        let (fates, former) = rivals.leader();
        let sent = fates.sent(&former);
        fates.await_doom(Doom {
            place: Place::AsleepAfterAsking,
            after: 0,
            at: None,
            time: LONG,
        });
        rivals.handed_over(&former).await;
        rivals.ended(&fates, &former).await;
        rivals.ends_well().await;
        assert_eq!(fates.sent(&former), sent);
        assert_eq!(rivals.made(), [1; MACHINES]);
    });
}
