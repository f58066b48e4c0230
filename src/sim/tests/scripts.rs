//! Scenarios, operators and settings against the simulated clock.

use std::time::Duration;

use serde_json::json;

use super::{Cloud, Stack};
use crate::sim::script::operator;
use crate::sim::{Fault, FaultKind, Operator, Profile, Scenario, Who, fields::Fields};

async fn cloud() -> (Cloud, Stack) {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    for name in ["a", "b", "c"] {
        let vm = cloud.vm(&stack.tier, name).await;
        cloud.nat(&stack, &vm).await;
        let tag = [
            ("resourceids", vm.as_str()),
            ("resourcetype", "UserVm"),
            ("tags[0].key", "k"),
            ("tags[0].value", "v"),
        ];
        cloud.done("createTags", &tag).await;
    }
    let rule = [
        ("aclid", stack.list.as_str()),
        ("protocol", "udp"),
        ("startport", "5060"),
        ("number", "4"),
    ];
    cloud.done("createNetworkACL", &rule).await;
    (cloud, stack)
}

fn play(cloud: &Cloud, text: &str) {
    let scenario = Scenario::parse(text).unwrap();
    cloud.sim.play(scenario).unwrap();
}

fn hire(cloud: &Cloud, written: serde_json::Value) {
    cloud.sim.present(|state| {
        let now = state.world.now();
        let operator: Operator = operator(Fields::of("", written).unwrap(), now).unwrap();
        state.agenda.hire(operator, &mut state.world).unwrap();
    });
}

#[tokio::test(start_paused = true)]
async fn steps_are_done_at_their_times_and_again() {
    let (cloud, _) = cloud().await;
    play(
        &cloud,
        "
name: steps
steps:
  - {at: 10s, break: {what: rename-vm, vm: a, name: a1}}
  - {at: 20s, every: 10s, until: 45s, break: {what: rename-vm, vm: b, name: b}}
  - {at: 30s, fault: {kind: lost-reply, command: listVPCs, until: 10s}}
  - {at: 50s, settings: {expunge.delay: 7}}
",
    );
    let journal = || cloud.sim.journal().len();
    let mut seen = Vec::new();
    for _ in 0..7 {
        let lost = cloud.send(Who::Tenant, "listVPCs", &[]).await.is_lost();
        seen.push((journal(), lost));
        cloud.clock.sleep(Duration::from_secs(10)).await;
    }
    assert_eq!(
        seen,
        [
            (0, false),
            (1, false),
            (2, false),
            (4, true),
            (5, false),
            (6, false),
            (6, false)
        ]
    );
    assert_eq!(cloud.sim.world(|world| world.settings.expunge_delay), 7);
    assert!(!cloud.sim.is_scripted());
}

#[tokio::test(start_paused = true)]
async fn a_step_happens_at_its_time_although_nobody_looked() {
    let (cloud, _) = cloud().await;
    play(
        &cloud,
        "
name: unseen
steps:
  - {at: 10s, break: {what: rename-vm, vm: a, name: z}}
  - {at: 20s, break: {what: rename-vm, vm: z, name: y}}
",
    );
    cloud.clock.sleep(Duration::from_secs(3_600)).await;
    let start = cloud.sim.world(|world| world.now().as_second()) - 3_600;
    let stamps = cloud.sim.world(|world| {
        let renames = world
            .events
            .iter()
            .filter(|event| event.kind == "VM.UPDATE");
        let stamps = renames.map(|event| event.created.as_second() - start);
        stamps.collect::<Vec<_>>()
    });
    assert_eq!(stamps[stamps.len() - 2..], [10, 20]);
}

#[tokio::test(start_paused = true)]
async fn an_operator_works_at_his_rate_under_his_name_and_goes_home() {
    let (cloud, _) = cloud().await;
    hire(
        &cloud,
        json!({"user": "stranger", "rate": 60, "does": "rename-vm", "until": "2h"}),
    );
    cloud.clock.sleep(Duration::from_secs(3_600)).await;
    let deeds = cloud.sim.journal();
    assert!((40..=80).contains(&deeds.len()), "{} deeds", deeds.len());
    assert!(
        deeds
            .iter()
            .all(|(by, what)| by == "stranger" && what.contains(" is called "))
    );
    let user = cloud
        .sim
        .world(|world| world.events.back().unwrap().user.clone());
    assert_eq!(user, "stranger");
    cloud.clock.sleep(Duration::from_secs(7_200)).await;
    let all = cloud.sim.journal().len();
    assert!((80..=160).contains(&all), "{all} deeds");
    assert!(!cloud.sim.is_scripted());
}

#[tokio::test(start_paused = true)]
async fn every_deed_of_an_operator_can_be_done() {
    let (cloud, _) = cloud().await;
    let deeds = [
        "hang-guest",
        "kill-guest",
        "stop-vm",
        "rename-vm",
        "change-offering",
        "move-nic",
        "wipe-details",
        "delete-tags",
        "edit-rule",
        "renumber-rule",
        "close-port",
        "add-rule",
        "disable-nat",
        "release-address",
        "destroy-vm",
    ];
    for deed in deeds {
        hire(&cloud, json!({"rate": 3600, "does": [deed], "count": 1}));
        cloud.clock.sleep(Duration::from_secs(3)).await;
        let (_, what) = cloud.sim.journal().pop().unwrap();
        assert!(!what.starts_with("not done"), "{deed}: {what}");
    }
    assert_eq!(cloud.sim.journal().len(), deeds.len());
    assert_eq!(deeds.len(), crate::sim::script::DEEDS.len());
}

#[tokio::test(start_paused = true)]
async fn the_same_seed_plays_the_same_scenario() {
    let mut journals = Vec::new();
    for _ in 0..2 {
        let (cloud, _) = cloud().await;
        for name in Scenario::names() {
            let scenario = Scenario::shipped(name).unwrap();
            let length = scenario.length();
            cloud.sim.play(scenario).unwrap();
            for _ in 0..length.as_secs() / 10 + 2 {
                cloud.send(Who::Tenant, "listVirtualMachines", &[]).await;
                cloud.clock.sleep(Duration::from_secs(10)).await;
            }
            assert!(!cloud.sim.is_scripted(), "{name} comes to its end");
            assert_eq!(cloud.sim.faults(), [], "{name} leaves no fault behind");
        }
        journals.push((
            cloud.sim.journal(),
            cloud.sim.world(|world| format!("{world:?}")),
        ));
    }
    assert!(journals[0].0.len() > 50);
    assert_eq!(journals[0], journals[1]);
}

#[tokio::test(start_paused = true)]
async fn a_clock_that_is_ahead_is_written_down_and_nothing_takes_longer() {
    let cloud = Cloud::new(Profile::Lab);
    let stack = cloud.stack().await;
    cloud.sim.world(|world| world.settings.clock_skew = 300);
    let before = cloud.clock.now();
    cloud.stopped_vm(&stack.tier, "a").await;
    let took = (cloud.clock.now() - before).as_secs();
    assert!(took < 5, "{took} s");
    let created = cloud.sim.world(|world| world.find_vm("a").unwrap().created);
    let ahead = (created - before).as_secs();
    assert!((300..305).contains(&ahead), "{ahead} s ahead");
    let event = cloud
        .sim
        .world(|world| world.events.back().unwrap().created);
    assert!((event - before).as_secs() >= 300);
    let running = cloud.vm(&stack.tier, "b").await;
    cloud.sim.world(|world| world.settings.clock_skew = -300);
    cloud.done("stopVirtualMachine", &[("id", &running)]).await;
    let updated = cloud
        .sim
        .world(|world| world.vms[&running].updated.unwrap());
    assert!(updated < before);
}

#[tokio::test(start_paused = true)]
async fn an_operator_waits_while_the_server_is_away() {
    let cloud = Cloud::new(Profile::Lab);
    cloud.stack().await;
    hire(&cloud, json!({"rate": 3600, "does": "stop-vm"}));
    cloud.sim.world(crate::sim::World::restart_server);
    cloud.clock.sleep(Duration::from_secs(15)).await;
    let told = cloud.sim.journal();
    assert!(told.len() > 3);
    for (_, what) in told {
        assert_eq!(what, "not done: the management server is away");
    }
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_a_step_counts_its_times_from_the_step() {
    let (cloud, _) = cloud().await;
    play(
        &cloud,
        "
name: late
steps:
  - {at: 1m, fault: {kind: html, from: 5s, until: 10s}}
",
    );
    cloud.clock.sleep(Duration::from_secs(60)).await;
    let now = cloud.sim.world(|world| world.now());
    let after = |seconds| Some(now + Duration::from_secs(seconds));
    let wanted = Fault {
        from: after(5),
        until: after(10),
        ..Fault::always(None, FaultKind::Html)
    };
    assert_eq!(cloud.sim.faults(), [wanted]);
}

#[tokio::test(start_paused = true)]
async fn a_request_from_the_network_finds_each_step_done_at_its_time() {
    let (cloud, _) = cloud().await;
    let begun = cloud.clock.now();
    play(
        &cloud,
        "name: late\nsteps:\n  - {at: 5s, break: {what: stop-vm, vm: a}}\n",
    );
    cloud.clock.sleep(Duration::from_secs(60)).await;
    // Whoever sends it, and whether it is let in.
    assert_eq!(cloud.sim.post("", "command=listZones").await.status, 401);
    let stopped = cloud.sim.world(|world| world.find_vm("a").unwrap().updated);
    assert_eq!(stopped, Some(begun + Duration::from_secs(5)));
}
