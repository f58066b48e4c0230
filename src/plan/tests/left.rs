//! What a create that failed left behind.

use std::collections::BTreeSet;

use jiff::SignedDuration;

use super::{None, World, settled};
use crate::{
    plan::{Plan, Step, plan},
    types::{
        action::{Action, Answer, JobOutcome, Question, mark},
        id::{AclId, AddressId, AffinityGroupId, JobId, OfferingId, ZoneId},
        inventory::{AclList, AffinityGroup},
        ledger::{Failure, Pending},
        role::Role,
    },
};

fn failure(world: &World, command: &str) -> Failure {
    Failure {
        command: command.to_owned(),
        reason: "JobFailed".to_owned(),
        message: "it failed".to_owned(),
        times: 1,
        at: world.now,
        retry_after: world.now,
    }
}

fn ours(world: &World) -> String {
    let stack = &world.stack.metadata;
    mark::text(&stack.namespace, &stack.name, stack.stored_uid())
}

#[test]
fn an_acl_list_that_a_failed_create_left_is_taken_over() {
    let mut world = settled();
    let vpc = world.ledger.vpc.clone();
    let left = AclList {
        id: AclId::new("left"),
        name: "ims".to_owned(),
        description: ours(&world),
        vpc: vpc.clone(),
    };
    let theirs = AclList {
        id: AclId::new("theirs"),
        description: "somebody's".to_owned(),
        ..left.clone()
    };
    world.ledger.acl = None;
    let failed = failure(&world, "createNetworkACLList");
    world.ledger.failures.insert("acl".to_owned(), failed);
    let asked = plan(world.input(&None::default()));
    assert!(
        asked.questions.contains(&Question::AclLists),
        "it looks first"
    );
    let lists = Answer::AclLists(vec![theirs, left]);
    world.answers.insert(Question::AclLists, lists);
    let plan = plan(world.input(&None::default()));
    assert_eq!(plan.ledger.acl, Some(AclId::new("left")));
    assert!(!plan.ledger.failures.contains_key("acl"));
    let creates = |step: &Step| matches!(step.action, Action::CreateAclList { .. });
    assert!(!plan.steps.iter().any(creates), "{:?}", plan.steps);
}

#[test]
fn an_affinity_group_whose_name_is_taken_by_our_own_is_taken_over() {
    let mut world = settled();
    world.ledger.affinity_groups.remove(&Role::Sprout);
    let subject = "affinity sprout".to_owned();
    let failed = failure(&world, "createAffinityGroup");
    world.ledger.failures.insert(subject.clone(), failed);
    let left = AffinityGroup {
        id: AffinityGroupId::new("left"),
        name: "weir-ims-sprout-0a1b2c3d".to_owned(),
        kind: "non-strict host anti-affinity".to_owned(),
        description: ours(&world),
    };
    let theirs = AffinityGroup {
        description: "somebody's".to_owned(),
        ..left.clone()
    };
    let mut answered = |group: AffinityGroup| {
        let groups = Answer::AffinityGroups(vec![group]);
        world.answers.insert(Question::AffinityGroups, groups);
        plan(world.input(&None::default())).ledger
    };
    assert_eq!(answered(theirs).affinity_groups.get(&Role::Sprout), None);
    let ledger = answered(left);
    let taken = ledger.affinity_groups.get(&Role::Sprout);
    assert_eq!(taken, Some(&AffinityGroupId::new("left")));
    assert!(!ledger.failures.contains_key(&subject));
}

#[test]
fn a_tier_that_a_lost_create_left_is_taken_over() {
    let mut world = settled();
    let tier = world.ledger.tier.take();
    let failed = failure(&world, "createNetwork");
    world.ledger.failures.insert("tier".to_owned(), failed);
    world.inventory.index();
    let plan = plan(world.input(&None::default()));
    assert_eq!(plan.ledger.tier, tier);
    let creates = |step: &Step| matches!(step.action, Action::CreateTier { .. });
    assert!(!plan.steps.iter().any(creates), "{:?}", plan.steps);
}

/// A stack whose VPC was asked for a minute ago, and CloudStack knows nothing of the job.
fn vpc_forgotten() -> World {
    let mut world = settled();
    world.ledger.vpc = Option::None;
    let job = JobId::new("forgotten");
    world.ledger.pending.push(Pending {
        subject: "vpc".to_owned(),
        action: Action::CreateVpc {
            name: "ims".to_owned(),
            display_text: ours(&world),
            cidr: "10.0.0.0/16".parse().unwrap(),
            offering: OfferingId::new("offering"),
            zone: ZoneId::new("zone"),
        },
        reason: String::new(),
        job: job.clone(),
        since: world.now,
        resource: Option::None,
    });
    world.now += SignedDuration::from_secs(60);
    world.inventory.jobs = Some(BTreeSet::new());
    world.inventory.index();
    let unknown = Answer::Job(JobOutcome::Unknown);
    world.answers.insert(Question::Job(job), unknown);
    world
}

fn makes_a_vpc(plan: &Plan) -> bool {
    let makes = |step: &Step| matches!(step.action, Action::CreateVpc { .. });
    plan.steps.iter().any(makes)
}

#[test]
fn a_vpc_whose_create_is_forgotten_by_cloudstack_is_not_made_twice() {
    let world = vpc_forgotten();
    let vpc = world.inventory.vpcs.keys().next().cloned();
    let plan = plan(world.input(&None::default()));
    assert_eq!(plan.ledger.vpc, vpc);
    assert!(!makes_a_vpc(&plan), "{:?}", plan.steps);
}

#[test]
fn a_list_that_lacks_it_once_has_no_vpc_made_again() {
    let mut world = vpc_forgotten();
    world.inventory.vpcs.clear();
    world.inventory.index();
    let mut later = |seconds: i64| {
        world.now += SignedDuration::from_secs(seconds);
        let plan = plan(world.input(&None::default()));
        world.ledger = plan.ledger.clone();
        plan
    };
    assert!(!makes_a_vpc(&later(0)), "a list may lie once");
    assert!(!makes_a_vpc(&later(20)));
    assert!(makes_a_vpc(&later(11)), "it never arrived");
}

/// A world in which bono's address was taken by a command of which CloudStack forgot the job, and the
/// controller never heard the answer; its row, leased so many seconds after the command was sent.
fn address_forgotten(after: i64) -> (World, AddressId) {
    let mut world = settled();
    let record = world.ledger.machines.get_mut("ims-bono-0").unwrap();
    let id = record.public_address.take().unwrap().id;
    let job = JobId::new("forgotten");
    let since = world.now;
    world.ledger.pending.push(Pending {
        subject: "address ims-bono-0".to_owned(),
        action: Action::AssociateAddress {
            vpc: world.ledger.vpc.clone().unwrap(),
            ip: Option::None,
        },
        reason: "bono has a public address".to_owned(),
        job: job.clone(),
        since,
        resource: Option::None,
    });
    let row = world.inventory.addresses.get_mut(&id).unwrap();
    (row.vm, row.tier) = (Option::None, Option::None);
    row.tags.clear();
    row.leased = Some(since + SignedDuration::from_secs(after));
    world.now += SignedDuration::from_secs(60);
    world.inventory.jobs = Some(BTreeSet::new());
    let unknown = Answer::Job(JobOutcome::Unknown);
    world.answers.insert(Question::Job(job), unknown);
    (world, id)
}

/// The address that bono has after a look, and another one later.
fn address_found(world: &mut World) -> Option<AddressId> {
    for _ in 0..2 {
        let plan = plan(world.input(&None::default()));
        world.ledger = plan.ledger;
        world.now += SignedDuration::from_secs(31);
    }
    let record = &world.ledger.machines["ims-bono-0"];
    record.public_address.as_ref().map(|own| own.id.clone())
}

#[test]
fn an_address_whose_lease_is_forgotten_by_cloudstack_is_known_by_its_time() {
    let (mut world, id) = address_forgotten(2);
    assert_eq!(address_found(&mut world), Some(id));
}

#[test]
fn an_address_that_was_leased_before_the_command_is_somebody_elses() {
    let (mut world, _) = address_forgotten(-600);
    assert_eq!(address_found(&mut world), Option::None);
    assert_eq!(world.ledger.pending, []);
}

#[test]
fn an_address_in_a_vpc_that_others_use_too_is_left_alone() {
    let (mut world, _) = address_forgotten(2);
    world.ledger.vpc = Option::None;
    assert_eq!(address_found(&mut world), Option::None);
}

#[test]
fn an_address_that_another_command_may_have_taken_is_waited_for() {
    let (mut world, _) = address_forgotten(2);
    let mut other = world.ledger.pending[0].clone();
    other.subject = "address ims-ellis-0".to_owned();
    other.job = JobId::new("runs");
    world.inventory.jobs = Some(BTreeSet::from([other.job.clone()]));
    world.ledger.pending.push(other);
    assert_eq!(address_found(&mut world), Option::None);
    assert_eq!(world.ledger.pending.len(), 2);
}
