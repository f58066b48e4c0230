//! Stacks that are as their manifests ask, all in one account's inventory.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde_json::json;
use weir::{
    bootstrap::Memo,
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
                "rules": (0..15).map(|n| json!({"protocol": "tcp", "startPort": 7000 + n}))
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
pub(crate) struct Fleet {
    stacks: Vec<(ClearwaterStack, Ledger)>,
    pub(crate) inventory: Inventory,
    catalogue: Catalogue,
    limits: Limits,
    memo: Memo,
}

impl Fleet {
    /// So many stacks.
    pub(crate) fn of(size: usize) -> Self {
        let mut fleet = Self {
            stacks: Vec::new(),
            inventory: Inventory::default(),
            catalogue: catalogue(),
            limits: Limits::default(),
            memo: Memo::default(),
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
            secrets: None,
            memo: &self.memo,
            limits: &self.limits,
            began: Timestamp::UNIX_EPOCH,
            now: Timestamp::UNIX_EPOCH,
        }
    }

    /// Plans every stack once; there is nothing to do.
    pub(crate) fn plan_all(&self) {
        for (stack, ledger) in &self.stacks {
            let plan = plan(self.input(stack, ledger, &self.inventory));
            assert!(
                plan.steps.is_empty() && plan.drift.is_empty(),
                "{:?}",
                plan.steps
            );
        }
    }
}
