//! Brakes: what Weir does not do, or not without a word, in virtual time.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use weir::{
    sim::{Breakage, Fault, FaultKind, Profile, Who, world::VmState},
    store::{Deleted, Preconditions, StoreError},
    types::{
        account::CloudAccount,
        meta::{Kind, Object, ObjectKey, condition},
        stack::{ALLOWED_NAMESAKE, APPROVED_PLAN, ClearwaterStack},
    },
};

use crate::{
    world::small_stack,
    worlds::world::{PATIENCE, World, run},
};

/// A world with a stack that has come up.
async fn settled(who: Who, spec: &Value) -> World {
    let mut world = World::new(7, Profile::Instant);
    world.start(who).await;
    world.create(small_stack(spec)).await;
    world.settled().await.unwrap();
    world
}

impl World {
    /// Writes a change of the stack as its user would.
    async fn change(&self, change: &Value) {
        let key = ObjectKey::new(Kind::ClearwaterStack, "default", "ims");
        loop {
            let stored = self.store.get(&key).await.unwrap().unwrap();
            let mut value = serde_json::to_value(&stored).unwrap();
            json_patch::merge(&mut value, change);
            let changed: Object = serde_json::from_value(value).unwrap();
            match self.store.update(changed).await {
                Ok(_) => return,
                Err(StoreError::Conflict { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    }

    async fn replicas(&self, sprouts: u32) {
        self.change(&json!({"spec": {"components": {"sprout": {"replicas": sprouts}}}}))
            .await;
    }

    /// Waits until something waits for this reason; gives what it says.
    async fn told(&self, reason: &str) -> String {
        let told = |stack: &ClearwaterStack| {
            let steps = &stack.status.as_ref()?.steps;
            let mut of_it = steps.iter().filter(|step| step.action == reason);
            of_it.next().map(|step| step.reason.clone())
        };
        let says = async |stack: Option<ClearwaterStack>| stack.is_some_and(|s| told(&s).is_some());
        self.within(("ims", PATIENCE), reason, says).await.unwrap();
        told(&self.stack().await.unwrap()).unwrap()
    }

    /// Requests so far, by command.
    fn requested(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for request in self.sim.requests() {
            *counts.entry(request.command).or_default() += 1;
        }
        counts
    }

    fn commands(&self, command: &str) -> usize {
        self.requested().get(command).copied().unwrap_or_default()
    }

    /// VMs that are not destroyed.
    fn vms(&self) -> usize {
        self.sim.world(|world| {
            let vms = world.vms.values();
            vms.filter(|vm| !vm.state.is_gone()).count()
        })
    }

    async fn account(&self) -> CloudAccount {
        self.store
            .get_as("default", "cloud")
            .await
            .unwrap()
            .unwrap()
    }
}

#[test]
fn a_command_that_fails_for_everybody_is_held_back_and_tried_with_one() {
    run(async {
        let world = settled(Who::Admin, &json!({})).await;
        let starts = "startVirtualMachine";
        world
            .sim
            .add_fault(Fault::always(Some(starts), FaultKind::StartFails));
        let before = world.commands(starts);
        world.replicas(8).await;
        let why = world.told("BreakerOpen").await;
        assert!(why.contains("startVirtualMachine failed"), "{why}");
        let burst = world.commands(starts);
        assert!(
            burst - before < 12,
            "six machines made {} tries",
            burst - before
        );
        tokio::time::sleep(std::time::Duration::from_secs(3_600)).await;
        let status = world.account().await.status.unwrap();
        let open = condition(&status.conditions, "BreakerOpen").unwrap();
        assert!(open.message.contains("errorcode 530"), "{open:?}");
        let degraded = world.stack().await.unwrap().status.unwrap().conditions;
        let degraded = condition(&degraded, "Degraded").unwrap().clone();
        assert_eq!(degraded.reason, "BreakerOpen", "{degraded:?}");
        // Pauses of 30, 60, 120, 240, 480 s and then 600 s: ten trials an hour, with some to spare.
        let trials = world.commands(starts) - burst;
        assert!((5..=12).contains(&trials), "{burst} and then {trials}");

        world.sim.clear_faults();
        world.settled().await.unwrap();
        world.looked().await;
        let status = world.account().await.status.unwrap();
        assert_eq!(condition(&status.conditions, "BreakerOpen"), None);
    });
}

#[test]
fn a_slip_of_the_hand_destroys_nothing_before_it_is_approved() {
    run(async {
        let world = settled(
            Who::Admin,
            &json!({"components": {"sprout": {"replicas": 8}}}),
        )
        .await;
        let all = world.vms();
        world.replicas(1).await;
        let why = world.told("ApprovalRequired").await;
        assert!(why.contains("no longer wants 7 machines"), "{why}");
        world.looked().await;
        assert_eq!(world.vms(), all, "none is gone");
        let approve = async |plan: &str| {
            world
                .change(&json!({"metadata": {"annotations": {APPROVED_PLAN: plan}}}))
                .await;
        };
        approve("00000000").await;
        world.looked().await;
        assert_eq!(world.vms(), all, "another plan was approved");
        let plan = why.split_once("`weir approve ims ").unwrap().1;
        let (plan, _) = plan.split_once('`').unwrap();
        approve(plan).await;
        world.settled().await.unwrap();
        assert_eq!(world.vms(), all - 7);

        // The same change again is another plan, and few machines need no word.
        world.replicas(8).await;
        world.settled().await.unwrap();
        world.replicas(1).await;
        world.told("ApprovalRequired").await;
        world.replicas(4).await;
        world.settled().await.unwrap();
        assert_eq!(world.vms(), all - 4);
    });
}

#[test]
fn a_stack_is_not_built_beside_a_living_one_of_its_name() {
    run(async {
        let world = settled(Who::Admin, &json!({"deletionPolicy": "Orphan"})).await;
        let first = world.stack().await.unwrap().metadata.uid.unwrap();
        let all = world.vms();
        world.delete(Kind::ClearwaterStack, "ims").await.unwrap();
        world.gone("ims").await.unwrap();
        let before = world.commands("createVPC");
        world.create(small_stack(&json!({}))).await;
        let why = world.told("NamesakeFound").await;
        assert!(why.contains(first.as_str()), "{why}");
        world.looked().await;
        assert_eq!((world.vms(), world.commands("createVPC")), (all, before));
        world
            .change(&json!({"metadata": {"annotations": {ALLOWED_NAMESAKE: first}}}))
            .await;
        world.settled().await.unwrap();
        assert_eq!(world.vms(), 2 * all);
    });
}

#[test]
fn a_protected_stack_is_not_deleted_and_one_that_is_protected_late_stops_being_deleted() {
    run(async {
        let world = settled(Who::Admin, &json!({"deletionProtection": true})).await;
        let all = world.vms();
        let key = ObjectKey::new(Kind::ClearwaterStack, "default", "ims");
        let any = Preconditions::default();
        let refused = world.store.delete(&key, &any).await.unwrap_err();
        assert!(matches!(refused, StoreError::Protected(_)), "{refused}");
        let protect = async |on: bool| {
            world
                .change(&json!({"spec": {"deletionProtection": on}}))
                .await;
        };
        protect(false).await;
        let deleted = world.store.delete(&key, &any).await.unwrap();
        assert!(matches!(deleted, Deleted::Marked(_)), "{deleted:?}");
        protect(true).await;
        let why = world.told("DeletionProtected").await;
        assert!(why.contains("spec.deletionProtection"), "{why}");
        world.looked().await;
        let left = world.vms();
        assert!(left > 0 && left <= all, "{left} of {all}");
        world.looked().await;
        assert_eq!(world.vms(), left);
        protect(false).await;
        world.gone("ims").await.unwrap();
    });
}

#[test]
fn a_machine_that_somebody_keeps_destroying_gets_six_vms_an_hour() {
    run(async {
        let world = settled(Who::Tenant, &json!({})).await;
        let destroy = async || {
            let ledger = world.stack().await.unwrap().status.unwrap().ledger;
            let vm = ledger.machines["ims-sprout-0"].host_name.clone();
            let expunge = false;
            world.sim.break_it(Breakage::DestroyVm { vm, expunge })
        };
        // A refused deploy makes none; what was destroyed is not purged before a day.
        let made = || {
            world.sim.world(|sim| {
                sim.vms
                    .values()
                    .filter(|vm| vm.state != VmState::Error)
                    .count()
            })
        };
        let before = made();
        for _ in 0..6 {
            destroy().await.unwrap();
            world.looked().await;
            world.settled().await.unwrap();
        }
        destroy().await.unwrap();
        world.told("RemediationExhausted").await;
        assert_eq!(made(), before + 6);
        world.settled().await.unwrap();
        assert_eq!(made(), before + 7);
    });
}
