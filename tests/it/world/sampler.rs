//! Looks at the simulator's own world every few milliseconds, whatever Weir believes, and keeps the
//! worst that it saw.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex},
    time::Duration,
};

use tokio::task::JoinSet;
use weir::{
    sim::{JobStatus, Sim, World as CloudWorld, world::VmState},
    types::action::mark,
};

/// Time between two samples: well below what the quickest job of the `lab` profile takes.
const PERIOD: Duration = Duration::from_millis(3);

/// Samples that make a test worth its name.
const FEWEST: u64 = 100;

/// See the module.
pub(crate) struct Sampler {
    seen: Arc<Mutex<Seen>>,
    _task: JoinSet<()>,
}

#[derive(Default)]
struct Seen {
    /// Machines of each role that are wanted now.
    wanted: BTreeMap<String, u32>,
    /// Machines that are wanted and have run.
    ran: BTreeSet<String>,
    /// The most of each role that were away at once, with their names.
    away: BTreeMap<String, BTreeSet<String>>,
    /// The most VM records of each role, and of the stack (under the empty name).
    records: BTreeMap<String, usize>,
    samples: u64,
}

impl Sampler {
    /// Samples from now on, with so many machines of each role wanted.
    pub(crate) fn start(sim: &Sim, wanted: &[(&str, u32)]) -> Self {
        let seen = Arc::new(Mutex::new(Seen::default()));
        let (sim, samples) = (sim.clone(), Arc::clone(&seen));
        let mut task = JoinSet::new();
        task.spawn(async move {
            loop {
                sim.world(|world| samples.lock().unwrap().sample(world));
                tokio::time::sleep(PERIOD).await;
            }
        });
        let sampler = Self { seen, _task: task };
        for (role, replicas) in wanted {
            sampler.wants(role, *replicas);
        }
        sampler
    }

    /// From now on so many machines of a role are wanted. To be said before fewer are asked for.
    pub(crate) fn wants(&self, role: &str, replicas: u32) {
        let mut seen = self.seen.lock().unwrap();
        seen.wanted.insert(role.to_owned(), replicas);
    }

    /// The most machines of a role that were away at once: that had run, were wanted, and were not
    /// running or were being rebooted.
    pub(crate) fn most_away(&self, role: &str) -> BTreeSet<String> {
        let seen = self.seen.lock().unwrap();
        seen.away.get(role).cloned().unwrap_or_default()
    }

    /// The most VM records of a role at once; of the stack for an empty name. Dead ones that no
    /// tenant sees do not count.
    pub(crate) fn most_records(&self, role: &str) -> usize {
        let seen = self.seen.lock().unwrap();
        seen.records.get(role).copied().unwrap_or_default()
    }

    /// Asserts that never more than so many of any role were away, and that somebody looked.
    #[track_caller]
    pub(crate) fn assert_away_at_most(&self, most: usize) {
        let seen = self.seen.lock().unwrap();
        assert!(seen.samples > FEWEST, "only {} samples", seen.samples);
        for (role, away) in &seen.away {
            assert!(away.len() <= most, "{role}: away at once: {away:?}");
        }
    }
}

impl Seen {
    fn sample(&mut self, world: &CloudWorld) {
        self.samples += 1;
        let mut serving = BTreeSet::new();
        let mut records: BTreeMap<String, usize> = BTreeMap::new();
        let living = world.vms.values().filter(|vm| !vm.state.is_gone());
        for vm in living {
            let Some(machine) = vm.details.get(mark::MACHINE) else {
                continue;
            };
            *records.entry(String::new()).or_default() += 1;
            *records.entry(role(machine).to_owned()).or_default() += 1;
            let rebooting = world.jobs.values().any(|job| {
                job.status == JobStatus::Pending
                    && job.command == "rebootVirtualMachine"
                    && job.instance.as_ref() == Some(&vm.id)
            });
            if vm.state == VmState::Running && !rebooting {
                serving.insert(machine.clone());
            }
        }
        for (role, count) in records {
            let most = self.records.entry(role).or_default();
            *most = count.max(*most);
        }
        let wanted = &self.wanted;
        let is_wanted = |machine: &String| {
            let number = machine
                .rsplit('-')
                .next()
                .and_then(|n| n.parse::<u32>().ok());
            let replicas = wanted.get(role(machine)).copied();
            number.is_some_and(|number| replicas.is_none_or(|replicas| number < replicas))
        };
        self.ran.extend(serving.iter().cloned());
        self.ran.retain(is_wanted);
        let mut away: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for machine in self.ran.difference(&serving) {
            let role = away.entry(role(machine).to_owned()).or_default();
            role.insert(machine.clone());
        }
        for (role, machines) in away {
            let most = self.away.entry(role).or_default();
            if machines.len() > most.len() {
                *most = machines;
            }
        }
    }
}

/// The role in a name like `ims-sprout-0`.
fn role(machine: &str) -> &str {
    machine.split('-').nth(1).unwrap_or_default()
}
