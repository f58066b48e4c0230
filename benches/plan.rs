//! What planning costs, from ten stacks to a thousand, against one account's inventory: time, and
//! the memory that a fleet and a plan take.
//!
//! Each figure is the best of several runs, since whatever else the machine does can only make it
//! worse. What must hold is the time of a thousand stacks, and that cost grows no faster than the
//! number of stacks.

#![allow(clippy::print_stdout, reason = "the table is what a bench is for")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench measures the machine's time"
)]

mod support;

use std::{alloc::System, collections::BTreeMap, process::ExitCode, time::Instant};

use jiff::Timestamp;
use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Stats, StatsAlloc};
use support::figures::{Figures, count};
use weir::{
    plan::{Input, plan, preview::rehearse},
    types::{
        account::Limits,
        action::Answers,
        id::ZoneId,
        inventory::{Catalogue, Entry, Inventory},
        ledger::Ledger,
        stack::ClearwaterStack,
    },
};

/// A stack of the size of the one that started it all: a VPC, a tier, 27 rules, 7 machines with 7
/// public addresses.
fn stack(number: usize) -> ClearwaterStack {
    let public = json!({"publicAddress": true});
    let stack = json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "ClearwaterStack",
        "metadata": {
            "name": format!("s{number}"), "namespace": "default",
            "uid": format!("{number:08x}-0000-4000-8000-000000000000"), "generation": 1,
        },
        "spec": {
            "accountRef": {"name": "a"}, "domain": "ims.example.com",
            "template": {"name": "Ubuntu"}, "serviceOffering": {"name": "small"},
            "packages": {"repository": "http://mirror.example.net/clearwater"},
            "dns": {"mode": "Managed"},
            "network": {
                "rules": (0..16).map(|n| json!({"protocol": "tcp", "startPort": 7000 + n}))
                    .collect::<Vec<_>>(),
            },
            "components": {
                "sprout": public, "homestead": public, "homer": public, "ralf": public,
            },
        },
    });
    serde_json::from_value(stack).expect("the stack is valid")
}

fn catalogue() -> Catalogue {
    let entry = |id: &str, name: &str| Entry {
        id: id.to_owned(),
        name: name.to_owned(),
    };
    Catalogue {
        zone: Some(ZoneId::new("zone")),
        templates: vec![entry("t", "Ubuntu")],
        service_offerings: vec![entry("s", "small")],
        network_offerings: vec![entry("n", "DefaultIsolatedNetworkOfferingForVpcNetworks")],
        vpc_offerings: vec![entry("v", "Default VPC offering")],
        ..Catalogue::default()
    }
}

/// Stacks that are as their manifests ask, in one account.
struct Fleet {
    stacks: Vec<(ClearwaterStack, Ledger)>,
    inventory: Inventory,
    catalogue: Catalogue,
    limits: Limits,
}

impl Fleet {
    fn of(size: usize) -> Self {
        let mut fleet = Self {
            stacks: Vec::new(),
            inventory: Inventory::default(),
            catalogue: catalogue(),
            limits: Limits::default(),
        };
        for number in 0..size {
            let stack = stack(number);
            let end = rehearse(fleet.input(&stack, &Ledger::default(), &Inventory::default()));
            fleet.inventory.vpcs.extend(end.inventory.vpcs);
            fleet.inventory.networks.extend(end.inventory.networks);
            fleet.inventory.rules.extend(end.inventory.rules);
            fleet.inventory.vms.extend(end.inventory.vms);
            fleet.inventory.addresses.extend(end.inventory.addresses);
            fleet.stacks.push((stack, end.ledger));
        }
        fleet.inventory.index();
        fleet
    }

    fn input<'a>(
        &'a self,
        stack: &'a ClearwaterStack,
        ledger: &'a Ledger,
        inventory: &'a Inventory,
    ) -> Input<'a> {
        static NO_VMS: BTreeMap<String, weir::types::id::VmId> = BTreeMap::new();
        static NO_HEALTH: BTreeMap<String, weir::plan::Health> = BTreeMap::new();
        static NO_ANSWERS: Answers = BTreeMap::new();
        Input {
            stack,
            ledger,
            replace: &NO_VMS,
            catalogue: &self.catalogue,
            inventory,
            answers: &NO_ANSWERS,
            health: &NO_HEALTH,
            limits: &self.limits,
            began: Timestamp::UNIX_EPOCH,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    /// Plans every stack once; gives milliseconds.
    fn plan_all(&self) -> f64 {
        let started = Instant::now();
        for (stack, ledger) in &self.stacks {
            let plan = plan(self.input(stack, ledger, &self.inventory));
            assert!(
                plan.steps.is_empty() && plan.drift.is_empty(),
                "{:?}",
                plan.steps
            );
        }
        started.elapsed().as_secs_f64() * 1000.0
    }
}

/// Everything that is allocated is counted.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// Runs of which the best counts.
const RUNS: usize = 20;

/// Longest time to plan a thousand stacks.
const MILLIS_MAX: f64 = 100.0;

/// How much more a stack may cost among a thousand than among ten. What is left is the price of
/// memory that no longer fits into the processor's caches; a quadratic cost would be 100.
const GROWTH_MAX: f64 = 3.0;

/// What a fleet costs.
struct Cost {
    millis: f64,
    /// Bytes that it holds: stacks, ledgers and inventory.
    held: usize,
    /// Bytes that planning all of it allocates, and frees again.
    passing: usize,
}

fn cost(size: usize) -> Cost {
    let before = ALLOCATOR.stats();
    let fleet = Fleet::of(size);
    let built = ALLOCATOR.stats();
    let millis = (0..RUNS).map(|_| fleet.plan_all());
    let millis = millis.fold(f64::INFINITY, f64::min);
    let planned = ALLOCATOR.stats();
    let held = |stats: &Stats| stats.bytes_allocated - stats.bytes_deallocated;
    let held = held(&built) - held(&before);
    let passing = (planned.bytes_allocated - built.bytes_allocated) / RUNS;
    println!(
        "  {size:>6} {:>6} {:>6} {millis:>10.2} {:>10.1} {:>10.1} {:>12.1}",
        fleet.inventory.vms.len(),
        fleet.inventory.rules.len(),
        millis * 1000.0 / count(size),
        count(held) / 1024.0 / count(size),
        count(passing) / 1024.0 / count(size),
    );
    Cost {
        millis,
        held,
        passing,
    }
}

fn main() -> ExitCode {
    println!(
        "  {:>6} {:>6} {:>6} {:>10} {:>10} {:>10} {:>12}",
        "stacks", "VMs", "rules", "all, ms", "each, µs", "held, KiB", "passing, KiB"
    );
    let [ten, _, thousand] = [10, 100, 1000].map(cost);
    let mut figures = Figures::default();
    figures.at_most("a thousand stacks planned, ms", thousand.millis, MILLIS_MAX);
    let growth = |of: fn(&Cost) -> f64| of(&thousand) / of(&ten) / 100.0;
    let time = growth(|cost| cost.millis);
    let held = growth(|cost| count(cost.held));
    let passing = growth(|cost| count(cost.passing));
    figures.at_most("time of a stack among 1000 ÷ among 10", time, GROWTH_MAX);
    figures.at_most("memory held by a stack, the same", held, 1.1);
    figures.at_most("memory to plan a stack, the same", passing, 1.1);
    figures.judge("planning")
}
