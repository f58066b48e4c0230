//! Random walks: what people, operators, faults and failures do in any order never breaks what
//! holds of every world ([`invariants`](super::invariants)).
//!
//! Most requests of a walk mean something: whoever sends one names what is there. A walk that
//! breaks a rule is made shorter as long as it still does, and told step by step.
//!
//! `WEIR_WALK_SEED` (0 without it) draws other walks, `WEIR_WALKS` takes more or fewer of them:
//!
//! ```sh
//! WEIR_WALKS=1000 WEIR_WALK_SEED=7 cargo test --lib -- whatever_happens     # three minutes
//! ```

pub(super) mod requests;

use std::time::Duration;

use jiff::Timestamp;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::test_runner::{Config, RngAlgorithm, TestError, TestRng, TestRunner};
use serde_json::{Value, json};

use super::{Cloud, answers, invariants};
use crate::clock::Clock;
use crate::sim::breakage;
use crate::sim::commands;
use crate::sim::fields::Fields;
use crate::sim::jobs::Twist;
use crate::sim::script::{DEEDS, operator};
use crate::sim::world::{HostFailure, World};
use crate::sim::{Breakage, Fault, FaultKind, Operator, Profile, Who};
use requests::Luck;

/// How many walks there are, which takes ten seconds; `WEIR_WALKS` says otherwise.
const WALKS: u32 = 64;
/// How many steps a walk has.
const STEPS: std::ops::Range<usize> = 1..160;
/// After how many steps everything is looked at.
const GLANCE: usize = 4;
/// How long the last jobs get: every one of them ends within it if nothing hangs.
const PATIENCE: Duration = Duration::from_secs(4 * 3_600);
/// How many shorter walks are tried for one that failed.
const SHORTER_MAX: u32 = 2_000;

/// A step of a walk. What it is about is drawn from its luck when it is taken.
#[derive(Clone, Debug)]
enum Step {
    /// Somebody sends a request.
    Ask {
        who: usize,
        command: &'static str,
        luck: u64,
    },
    /// Time passes.
    Wait { millis: u64 },
    /// The state file is written and read back.
    Reload,
    /// Something will go wrong with the requests or jobs to come.
    Fault { luck: u64 },
    /// Nothing waits to go wrong any more.
    Clear,
    /// Something happens that no client asked for.
    Break { luck: u64 },
    /// A colleague goes to work.
    Hire { luck: u64 },
}

const CALLERS: [Who; 6] = [
    Who::Tenant,
    Who::Tenant,
    Who::Tenant,
    Who::Operator,
    Who::Other,
    Who::Admin,
];

fn ask() -> impl Strategy<Value = Step> {
    let commands = requests::weighted(commands::names());
    let command = proptest::sample::select(commands);
    (0..CALLERS.len(), command, any::<u64>()).prop_map(|(who, command, luck)| Step::Ask {
        who,
        command,
        luck,
    })
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        60 => ask(),
        8 => (0..3_000_u64).prop_map(|millis| Step::Wait { millis }),
        8 => (3_000..900_000_u64).prop_map(|millis| Step::Wait { millis }),
        4 => Just(Step::Reload),
        2 => any::<u64>().prop_map(|luck| Step::Fault { luck }),
        1 => Just(Step::Clear),
        3 => any::<u64>().prop_map(|luck| Step::Break { luck }),
        1 => any::<u64>().prop_map(|luck| Step::Hire { luck }),
    ]
}

/// A walk through a world: what was done, and what came of it.
struct Walk {
    cloud: Cloud,
    /// Whether the state is written and read back where a step says so.
    reloads: bool,
    told: Vec<String>,
}

impl Walk {
    fn new(seed: u64, reloads: bool) -> Self {
        let profile = if seed.is_multiple_of(3) {
            Profile::Instant
        } else {
            Profile::Lab
        };
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
        let cloud = Cloud::seeded(profile, clock, seed);
        // Little of everything, so that walks come to its end.
        cloud.sim.world(|world| {
            let settings = &mut world.settings;
            (settings.expunge_delay, settings.expunge_interval) = (120, 60);
            (settings.host_memory_mib, settings.network_gc_wait) = (6_144, 60);
            settings.job_expire_minutes = 30;
            let ip = |last| std::net::Ipv4Addr::new(198, 51, 100, last);
            world.set_public_range(&[(ip(1), ip(16))]);
        });
        Self {
            cloud,
            reloads,
            told: Vec::new(),
        }
    }

    /// What most walks would come to anyhow: something of everybody's to act on.
    async fn furnish(&mut self) {
        self.cloud.sim.add_neighbour().unwrap();
        let stack = self.cloud.stack().await;
        for name in ["a", "b"] {
            self.cloud.vm(&stack.tier, name).await;
        }
        self.cloud.tenant("createProject", &[("name", "p")]).await;
        let offering = self.cloud.sim.world(|world| {
            let offerings = &world.catalogue.network_offerings;
            let usual = "DefaultIsolatedNetworkOfferingWithSourceNatService";
            let row = offerings.iter().find(|row| row["name"] == usual).unwrap();
            row["id"].as_str().unwrap().to_owned()
        });
        let network = [
            ("name", "i"),
            ("zoneid", &self.cloud.zone),
            ("networkofferingid", &offering),
        ];
        let network = self.cloud.tenant("createNetwork", &network).await;
        let network = network["network"]["id"].as_str().unwrap();
        self.cloud.vm(network, "c").await;
        self.cloud
            .done("associateIpAddress", &[("networkid", network)])
            .await;
    }

    async fn take(&mut self, step: &Step) {
        let told = match *step {
            Step::Ask { who, command, luck } => self.ask(CALLERS[who], command, luck).await,
            Step::Wait { millis } => {
                self.cloud.clock.sleep(Duration::from_millis(millis)).await;
                format!("{millis} ms pass")
            }
            Step::Reload => {
                if self.reloads {
                    self.cloud.sim.world(reload);
                }
                "reload".to_owned()
            }
            Step::Fault { luck } => self.fault(luck),
            Step::Clear => {
                self.cloud.sim.clear_faults();
                "no more faults".to_owned()
            }
            Step::Break { luck } => self.break_something(luck),
            Step::Hire { luck } => self.hire(luck),
        };
        self.told.push(told);
    }

    async fn ask(&self, who: Who, command: &'static str, luck: u64) -> String {
        let mut luck = Luck::of(luck);
        let (who, asked) = self.cloud.sim.world(|world| {
            let may = requests::may_send(world, who.user_name(), command);
            let who = if may || luck.once_in(8) {
                who
            } else {
                Who::Admin
            };
            (
                who,
                requests::draw(world, who.user_name(), command, &mut luck),
            )
        });
        let Some(asked) = asked else {
            return format!("nothing for {command}");
        };
        let params: Vec<(&str, &str)> = asked
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
            .collect();
        let reply = self.cloud.send(who, command, &params).await;
        let params: Vec<String> = asked
            .iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        let params = params.join(" ");
        format!(
            "{who:?} {command} {params}: {} {}",
            reply.status, reply.body
        )
    }

    fn fault(&self, luck: u64) -> String {
        let mut luck = Luck::of(luck);
        let kind = match luck.below(12) {
            0 => FaultKind::LostRequest,
            1 => FaultKind::LostReply,
            2 => FaultKind::HangJob,
            3 => FaultKind::LoseJob,
            4 => FaultKind::NoCapacity,
            5 => FaultKind::StartFails,
            6 => FaultKind::HypervisorStopFails,
            7 => FaultKind::Maintenance,
            8 => FaultKind::StaleList,
            9 => FaultKind::Slow { millis: 2_000 },
            _ => FaultKind::FailJob {
                code: 530,
                text: "it failed".to_owned(),
            },
        };
        let told = format!("fault {kind:?}");
        if self.cloud.sim.faults().len() < 10 {
            self.cloud.sim.add_fault(Fault {
                count: Some(1 + u32::try_from(luck.below(3)).unwrap_or(0)),
                probability: 0.5,
                ..Fault::always(None, kind)
            });
        }
        told
    }

    fn break_something(&self, luck: u64) -> String {
        let mut luck = Luck::of(luck);
        let hosts = self.cloud.sim.world(|world| {
            let hosts = world.catalogue.hosts.iter();
            hosts
                .map(|row| row["id"].as_str().unwrap().to_owned())
                .collect::<Vec<_>>()
        });
        let user = ["stranger", "stranger", "other"][luck.below(3)];
        let done = match luck.below(10) {
            0 => self.cloud.sim.break_it(Breakage::RestartManagementServer),
            1 => self.cloud.sim.break_it(Breakage::FailHost {
                host: hosts[luck.below(hosts.len())].clone(),
                how: [HostFailure::Down, HostFailure::Undetermined][luck.below(2)],
            }),
            2 | 3 => self
                .cloud
                .sim
                .break_it(Breakage::RecoverHost { host: None }),
            _ => {
                let kinds: Vec<&str> = breakage::KINDS.iter().map(|(kind, ..)| *kind).collect();
                let kind = kinds[luck.below(kinds.len())];
                self.cloud.sim.world(|world| {
                    let what = requests::breakage(world, user, kind, &mut luck)?;
                    breakage::apply(world, user, what)
                })
            }
        };
        format!("breakage by {user}: {done:?}")
    }

    fn hire(&self, luck: u64) -> String {
        let mut luck = Luck::of(luck);
        let does: Vec<&str> = (0..4).map(|_| DEEDS[luck.below(DEEDS.len())]).collect();
        let written = json!({"rate": 600, "does": does, "count": 5, "until": "10m"});
        self.cloud.sim.present(|state| {
            let now = state.world.now();
            let operator: Operator = operator(Fields::of("", written).unwrap(), now).unwrap();
            match state.agenda.hire(operator, &mut state.world) {
                Ok(_) => format!("an operator comes who does {does:?}"),
                Err(error) => error,
            }
        })
    }

    fn check(&self) -> Result<(), String> {
        let broken = self.cloud.sim.world(|world| invariants::check(world));
        self.sound(&broken)
    }

    fn sound(&self, broken: &[String]) -> Result<(), String> {
        if broken.is_empty() {
            return Ok(());
        }
        Err(format!(
            "{}\nafter\n{}",
            broken.join("\n"),
            short(&self.told)
        ))
    }

    /// Whatever is under way ends, once nothing goes wrong any more.
    async fn end(&mut self) -> Result<(), String> {
        self.cloud.sim.clear_faults();
        self.cloud.sim.present(|state| state.agenda.dismiss());
        self.cloud.clock.sleep(PATIENCE).await;
        self.told.push("the end".to_owned());
        self.check()?;
        let endless = self.cloud.sim.world(|world| endless(world));
        self.sound(&endless)?;
        let broken = answers::check(&self.cloud).await;
        self.sound(&broken)
    }
}

/// The jobs that have not ended although they do not hang, nor wait for one that does.
fn endless(world: &World) -> Vec<String> {
    let pending = world.pending();
    let hung: Vec<_> = pending
        .iter()
        .filter(|job| job.twist == Some(Twist::Hang))
        .map(|job| job.work.locks())
        .collect();
    let excused = |machine: Option<_>| {
        hung.iter()
            .any(|other| machine.is_some() && *other == machine)
    };
    pending
        .iter()
        .filter(|job| job.twist != Some(Twist::Hang) && !excused(job.work.locks()))
        .map(|job| format!("{} has not ended: {:?}", job.command, job.phase))
        .collect()
}

fn reload(world: &mut World) {
    let written = serde_json::to_vec(world).unwrap();
    let read: World = serde_json::from_slice(&written).unwrap();
    let again = serde_json::to_vec(&read).unwrap();
    assert!(
        written == again,
        "the state file is written as something else"
    );
    // What is not written at all is missed only here.
    let (before, after) = (format!("{world:?}"), format!("{read:?}"));
    let differs = before
        .char_indices()
        .zip(after.chars())
        .find(|((_, one), two)| one != two);
    let near = |text: &str| {
        let start = differs.map_or(0, |((at, _), _)| at.saturating_sub(60));
        text.chars().skip(start).take(160).collect::<String>()
    };
    assert!(
        before == after,
        "the state file is read as something else: {} became {}",
        near(&before),
        near(&after)
    );
    *world = read;
}

/// The steps, without the rows of answers.
fn short(told: &[String]) -> String {
    let cut = |line: &String| line.chars().take(320).collect::<String>();
    told.iter().map(cut).collect::<Vec<_>>().join("\n")
}

/// Takes a walk; gives all that was told and the world at the end.
async fn walk(seed: u64, steps: &[Step], reloads: bool) -> Result<(Vec<String>, Value), String> {
    let mut walk = Walk::new(seed, reloads);
    walk.furnish().await;
    for (count, step) in steps.iter().enumerate() {
        walk.take(step).await;
        if count % GLANCE == 0 {
            walk.check()?;
        }
    }
    walk.check()?;
    walk.end().await?;
    let world = walk
        .cloud
        .sim
        .world(|world| serde_json::to_value(world).unwrap());
    Ok((walk.told, world))
}

/// Takes a walk on a clock of its own.
fn walked(seed: u64, steps: &[Step], reloads: bool) -> Result<(Vec<String>, Value), String> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(walk(seed, steps, reloads))
}

/// A number from the environment.
fn given(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    Some(
        text.parse()
            .unwrap_or_else(|_| panic!("{name} is no number: {text}")),
    )
}

fn runner(seed: u64) -> TestRunner {
    let cases = given("WEIR_WALKS").and_then(|walks| u32::try_from(walks).ok());
    let config = Config {
        cases: cases.unwrap_or(WALKS),
        max_shrink_iters: SHORTER_MAX,
        failure_persistence: None,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes))
}

#[test]
fn whatever_happens_the_world_stays_sound_and_the_same_seed_gives_the_same() {
    let seed = given("WEIR_WALK_SEED").unwrap_or(0);
    let walks = (any::<u64>().no_shrink(), vec(step().no_shrink(), STEPS));
    let outcome = runner(seed).run(&walks, |(world, steps)| {
        let fail = proptest::test_runner::TestCaseError::fail;
        let (told, end) = walked(world, &steps, true).map_err(fail)?;
        if world.is_multiple_of(4) {
            let (again, other) = walked(world, &steps, false).map_err(fail)?;
            let differs = told.iter().zip(&again).find(|(one, two)| one != two);
            if differs.is_some() || end != other {
                return Err(fail(format!(
                    "the same seed gave something else: {differs:?}"
                )));
            }
        }
        Ok(())
    });
    if let Err(TestError::Fail(why, (world, _))) = outcome {
        panic!("WEIR_WALK_SEED={seed}, world {world}:\n{why}");
    }
}
