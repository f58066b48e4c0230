//! Lists and answers that say there is nothing where there is something.

use jiff::SignedDuration;

use super::{None, World, settled};
use crate::{
    plan::{GONE_AFTER, plan},
    types::{
        action::{Action, Answer, Question},
        inventory::{AclList, Address},
        ledger::{Failure, PublicAddress},
    },
};

fn deleted() -> World {
    let mut world = settled();
    world.stack.metadata.deletion_timestamp = Some(world.now);
    world
}

pub(super) fn later(world: &mut World) {
    world.now += SignedDuration::try_from(GONE_AFTER).unwrap();
}

#[test]
fn a_vm_that_is_missed_once_while_its_stack_is_deleted_is_destroyed_all_the_same() {
    let mut world = deleted();
    let id = world.vm_id("ims-sprout-0");
    let lied = world.inventory.vms.remove(&id).unwrap();
    world.settle();
    assert!(world.ledger.machines["ims-sprout-0"].knows_vm(&id));
    world.inventory.vms.insert(id, lied);
    let taken = world.settle();
    assert!(world.ledger.is_empty(), "{:?}", world.ledger);
    assert!(world.inventory.vms.is_empty(), "{taken:#?}");
    assert!(world.ledger.absent.is_empty());
}

#[test]
fn an_address_that_is_missed_once_while_its_stack_is_deleted_is_given_back_all_the_same() {
    let mut world = deleted();
    let own = world.ledger.machines["ims-bono-0"].public_address.clone();
    let id = own.unwrap().id;
    let lied = world.inventory.addresses.remove(&id).unwrap();
    world.settle();
    assert!(world.ledger.machines.contains_key("ims-bono-0"));
    world.inventory.addresses.insert(id.clone(), lied);
    world.settle();
    assert!(world.ledger.is_empty(), "{:?}", world.ledger);
    assert!(!world.inventory.addresses.contains_key(&id));
}

#[test]
fn a_tier_that_is_missed_once_is_deleted_all_the_same() {
    let mut world = deleted();
    world.ledger.machines.clear();
    world.inventory.vms.clear();
    let tier = world.ledger.tier.clone().unwrap();
    let lied = world.inventory.networks.remove(&tier).unwrap();
    world.settle();
    assert_eq!(world.ledger.tier.as_ref(), Some(&tier));
    world.inventory.networks.insert(tier, lied);
    world.settle();
    assert!(world.inventory.networks.is_empty());
    assert!(world.ledger.is_empty(), "{:?}", world.ledger);
}

/// A world whose ACL list shows no rule, one rule was refused, and the list of lists is empty.
fn with_a_doubted_acl_list() -> World {
    let mut world = settled();
    world.inventory.rules.clear();
    let refused = Failure {
        command: "createNetworkACL".to_owned(),
        reason: "Refused".to_owned(),
        message: "no such list".to_owned(),
        times: 1,
        at: world.now,
        retry_after: world.now,
    };
    world.ledger.failures.insert("rule 1".to_owned(), refused);
    world.acl_lists(Vec::new());
    world
}

impl World {
    fn acl_lists(&mut self, lists: Vec<AclList>) {
        let answer = Answer::AclLists(lists);
        self.answers.insert(Question::AclLists, answer);
    }

    /// Plans once, remembers what was noticed, and says whether an ACL list is to be made.
    fn makes_an_acl_list(&mut self) -> bool {
        let plan = plan(self.input(&None::default()));
        self.ledger = plan.ledger;
        let mut steps = plan.steps.iter();
        steps.any(|step| matches!(step.action, Action::CreateAclList { .. }))
    }
}

#[test]
fn an_acl_list_that_is_missed_twice_is_made_anew() {
    let mut world = with_a_doubted_acl_list();
    assert!(!world.makes_an_acl_list(), "one look is not two");
    later(&mut world);
    assert!(world.makes_an_acl_list());
}

#[test]
fn an_acl_list_that_is_missed_once_is_kept() {
    let mut world = with_a_doubted_acl_list();
    let acl = world.ledger.acl.clone();
    assert!(!world.makes_an_acl_list());
    later(&mut world);
    world.acl_lists(vec![AclList {
        id: acl.clone().unwrap(),
        name: "ims".to_owned(),
        description: String::new(),
        vpc: world.ledger.vpc.clone(),
    }]);
    assert!(!world.makes_an_acl_list());
    assert_eq!(world.ledger.acl, acl);
    assert!(world.ledger.absent.is_empty());
}

#[test]
fn what_is_missed_twice_some_time_apart_is_gone() {
    let mut world = deleted();
    let id = world.vm_id("ims-sprout-0");
    world.inventory.vms.remove(&id).unwrap();
    world.settle();
    assert!(world.ledger.machines.contains_key("ims-sprout-0"));
    later(&mut world);
    world.settle();
    assert!(world.ledger.is_empty(), "{:?}", world.ledger);
}

#[test]
fn what_was_seen_again_is_missed_anew() {
    let mut world = settled();
    let id = world.vm_id("ims-sprout-1");
    world.stack.spec.components.sprout.replicas = 1;
    let row = world.inventory.vms.remove(&id).unwrap();
    world.round();
    assert!(world.ledger.absent.contains_key(id.as_str()));
    world.inventory.vms.insert(id.clone(), row.clone());
    world.round();
    assert!(world.ledger.absent.is_empty());
    later(&mut world);
    world.inventory.vms.remove(&id).unwrap();
    world.round();
    assert!(world.ledger.knows_vm(&id), "one look is not two");
}

/// A world in which bono's address was taken for gone before it had a tag, and another was taken for
/// it; with the address and its row.
fn with_another_address() -> (World, PublicAddress, Address) {
    let mut world = settled();
    let leased = Some(world.now);
    for row in world.inventory.addresses.values_mut() {
        row.leased = leased;
    }
    world.settle();
    let had = world.ledger.machines["ims-bono-0"].public_address.clone();
    let had = had.unwrap();
    assert_eq!(had.leased, leased);
    let mut row = world.inventory.addresses.remove(&had.id).unwrap();
    row.tags.clear();
    world.round();
    assert!(world.ledger.missed.contains_key(&had.id));
    // CloudStack still leases it and cannot lease it again.
    let machines = &mut world.ledger.machines;
    machines.get_mut("ims-bono-0").unwrap().lost_address_taken = true;
    world.ledger.pending.clear();
    world
        .inventory
        .addresses
        .retain(|_, row| row.leased.is_some());
    for _ in 0..2 {
        world.round();
    }
    let another = world.ledger.machines["ims-bono-0"].public_address.as_ref();
    assert_ne!(another.expect("another was taken").id, had.id);
    (world, had, row)
}

fn addresses_of(world: &World) -> Vec<&str> {
    let rows = world.inventory.addresses.values();
    rows.filter(|row| !row.source_nat)
        .map(|row| row.id.as_str())
        .collect()
}

#[test]
fn an_untagged_address_that_was_missed_and_still_serves_is_taken_back_by_its_lease() {
    let (mut world, had, row) = with_another_address();
    for other in world.inventory.addresses.values_mut() {
        if other.vm == row.vm {
            other.vm = None;
        }
    }
    world.inventory.addresses.insert(had.id.clone(), row);
    world.settle();
    let own = world.ledger.machines["ims-bono-0"].public_address.as_ref();
    assert_eq!(own.map(|own| &own.id), Some(&had.id));
    assert_eq!(addresses_of(&world).len(), 2, "{:?}", addresses_of(&world));
    assert!(world.ledger.missed.is_empty());
}

#[test]
fn an_address_that_was_missed_and_replaced_is_given_back() {
    let (mut world, had, mut row) = with_another_address();
    row.vm = None;
    world.inventory.addresses.insert(had.id.clone(), row);
    world.settle();
    assert!(!world.inventory.addresses.contains_key(&had.id));
    assert_eq!(addresses_of(&world).len(), 2, "{:?}", addresses_of(&world));
}

#[test]
fn an_address_that_was_missed_and_is_on_another_lease_is_somebody_elses() {
    let (mut world, had, mut row) = with_another_address();
    row.leased = row.leased.map(|at| at + SignedDuration::from_secs(5));
    row.vm = None;
    world.inventory.addresses.insert(had.id.clone(), row);
    world.settle();
    assert!(world.inventory.addresses.contains_key(&had.id));
    assert!(world.ledger.missed.is_empty());
}

#[test]
fn an_address_that_was_missed_before_its_stack_is_deleted_is_given_back() {
    let (mut world, had, mut row) = with_another_address();
    row.vm = None;
    world.inventory.addresses.insert(had.id.clone(), row);
    world.stack.metadata.deletion_timestamp = Some(world.now);
    let taken = world.settle();
    assert!(world.ledger.is_empty(), "{:?}", world.ledger);
    // Not only with its VPC, which may be kept.
    let given_back = format!("disassociateIpAddress stray {}", had.id);
    assert!(taken.contains(&given_back), "{taken:#?}");
}
