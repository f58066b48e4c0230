//! How long planning takes, from ten stacks to a thousand, against one account's inventory.
//!
//! Prints a table; the ratios are what counts, and they are asserted.

#![expect(clippy::print_stdout, reason = "the table is what a bench is for")]
#![expect(
    clippy::disallowed_methods,
    reason = "a bench measures the machine's time"
)]

use std::{collections::BTreeMap, time::Instant};

use jiff::Timestamp;
use serde_json::json;
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

fn main() {
    println!(
        "{:>8} {:>8} {:>8} {:>12} {:>14}",
        "stacks", "VMs", "rules", "plan all, ms", "µs a stack"
    );
    let mut per_stack = Vec::new();
    for size in [10, 100, 1000] {
        let fleet = Fleet::of(size);
        let best = (0..5)
            .map(|_| fleet.plan_all())
            .fold(f64::INFINITY, f64::min);
        let each = best * 1000.0 / f64::from(u32::try_from(size).unwrap_or(u32::MAX));
        println!(
            "{size:>8} {:>8} {:>8} {best:>12.2} {each:>14.1}",
            fleet.inventory.vms.len(),
            fleet.inventory.rules.len()
        );
        per_stack.push(each);
    }
    let ratio = per_stack[2] / per_stack[0];
    println!("cost of a stack among a thousand ÷ among ten: {ratio:.2}");
}
