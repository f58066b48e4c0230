//! Probes and the ladder of remediation: each rung with its patience, its words and its budget.
//! The machines live on loopback addresses, so that the probes are real.

use std::time::Duration;

use serde_json::{Value, json};
use weir::{
    sim::{Sim, world::VmState},
    types::{
        ledger::Rung,
        machine::Phase,
        meta::{ConditionStatus, condition},
        stack::StackStatus,
    },
};

use crate::world::{Guests, World};

/// The defaults of `spec.remediation`.
const UNHEALTHY_AFTER: Duration = Duration::from_secs(90);
const STARTUP_TIMEOUT: Duration = Duration::from_secs(1200);

const MACHINES: [&str; 4] = ["bono-0", "homestead-0", "sprout-0", "sprout-1"];

/// The small stack on loopback, each machine with a probe of a kind.
fn probed(guests: &Guests, kind: &str, more: &Value) -> Value {
    let probe = Guests::probe(kind);
    let mut spec = json!({
        "network": guests.network(),
        "components": {
            "bono": {"probe": probe}, "homestead": {"probe": probe}, "sprout": {"probe": probe},
        },
    });
    json_patch::merge(&mut spec, more);
    spec
}

/// The same, with every guest serving, ready.
async fn serving(net: u8, kind: &str, more: &Value) -> (World, Guests) {
    let (world, guests) = (
        World::start(weir::sim::Profile::Instant).await,
        Guests::new(net),
    );
    world.apply(probed(&guests, kind, more)).await;
    for machine in MACHINES {
        guests.serve(&world, machine).await;
    }
    world.settled().await;
    world.sim.clear_requests();
    (world, guests)
}

/// Waits until a machine's own status is as wanted.
async fn until(world: &World, machine: &str, phase: Phase, says: &str) {
    let wanted = async {
        loop {
            let status = world.machine(machine).await;
            if status.phase == phase && status.next.as_deref().unwrap_or_default().contains(says) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    if tokio::time::timeout(Duration::from_secs(60), wanted)
        .await
        .is_err()
    {
        panic!("not {phase:?} {says}: {:#?}", world.machine(machine).await);
    }
}

/// Waits until a machine was remediated so many times; gives the rungs.
async fn rungs(world: &World, machine: &str, times: usize) -> Vec<Rung> {
    let name = format!("ims-{machine}");
    let taken = |status: &StackStatus| {
        let record = &status.ledger.machines[&name];
        record
            .remediations
            .iter()
            .map(|one| one.rung)
            .collect::<Vec<_>>()
    };
    world
        .until("remediated", |status| {
            let record = &status.ledger.machines[&name];
            taken(status).len() >= times && status.ledger.pending.is_empty() && record.vm.is_some()
        })
        .await;
    taken(&world.status().await)
}

async fn remediations(world: &World, rung: &str) -> f64 {
    let name = format!("weir_remediations_total{{role=\"sprout\",rung=\"{rung}\"}}");
    world.metric(&name).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_stops_serving_climbs_the_ladder_to_the_end_of_its_budget() {
    let more = json!({"remediation": {"maxPerHour": 3, "startupTimeout": "5m"}});
    let (world, guests) = serving(11, "TCP", &more).await;
    let first = world.vm_id("ims-sprout-0");
    guests.close(&world, "sprout-0").await;
    until(&world, "sprout-0", Phase::Unhealthy, "patience until").await;
    let machine = world.machine("sprout-0").await;
    assert!(machine.next.unwrap().contains("Connection refused"));
    let ready = condition(&machine.conditions, "Ready").unwrap();
    assert_eq!(ready.status, ConditionStatus::False);
    world.clock.advance(UNHEALTHY_AFTER / 2);
    world.seen_again().await;
    assert_eq!(world.writes(), [""; 0], "it has patience");

    world.clock.advance(UNHEALTHY_AFTER);
    assert_eq!(rungs(&world, "sprout-0", 1).await, [Rung::Reboot]);
    assert_eq!(world.writes(), ["rebootVirtualMachine"]);
    the_reboot_is_told(&world).await;
    until(&world, "sprout-0", Phase::Starting, "patience until").await;
    world.clock.advance(Duration::from_secs(200));
    world.seen_again().await;
    assert_eq!(world.writes().len(), 1, "a start is given its time");

    world.clock.advance(Duration::from_secs(120));
    let two = [Rung::Reboot, Rung::Reimage];
    assert_eq!(rungs(&world, "sprout-0", 2).await, two);
    assert_eq!(world.writes()[1..], ["restoreVirtualMachine"]);
    let same = world.vm_id("ims-sprout-0");
    assert_eq!(same, first, "a new image, the same VM");

    until(&world, "sprout-0", Phase::Starting, "patience until").await;
    world.clock.advance(Duration::from_secs(320));
    let all = [Rung::Reboot, Rung::Reimage, Rung::Replace];
    assert_eq!(rungs(&world, "sprout-0", 3).await, all);
    until(&world, "sprout-0", Phase::Starting, "patience until").await;
    assert_ne!(world.vm_id("ims-sprout-0"), first);

    world.sim.clear_requests();
    world.clock.advance(Duration::from_secs(320));
    let says = "remediated 3 times within the hour";
    until(&world, "sprout-0", Phase::Unhealthy, says).await;
    world.seen_again().await;
    assert_eq!(world.writes(), [""; 0], "told, and nothing more");
    the_end_is_told(&world).await;

    world.clock.advance(Duration::from_secs(3600));
    let next = rungs(&world, "sprout-0", 4).await;
    assert_eq!(next.len(), 4, "the next hour has its own budget");
}

async fn the_reboot_is_told(world: &World) {
    let last = world.machine("sprout-0").await.last_remediation.unwrap();
    assert_eq!(last.rung, Rung::Reboot);
    let why = "does not serve since";
    assert!(last.reason.contains(why), "{}", last.reason);
    world.tells(&format!("rebootVirtualMachine: {why}")).await;
    world
        .tells("drift: health of machine ims-sprout-0: want serving")
        .await;
}

async fn the_end_is_told(world: &World) {
    world
        .tells("Replaced: machine ims-sprout-0: another VM takes the place")
        .await;
    for rung in ["reboot", "reimage", "replace"] {
        let counted = remediations(world, rung).await;
        assert!((counted - 1.0).abs() < 0.1, "{rung}: {counted}");
    }
    let status = world.status().await;
    let degraded = condition(&status.conditions, "Degraded").unwrap();
    assert_eq!(degraded.reason, "RemediationExhausted");
    world.tells("RemediationExhausted: ").await;
    let events = world.told().await;
    let exhausted = events
        .iter()
        .filter(|event| event.starts_with("RemediationExhausted:"));
    assert_eq!(exhausted.count(), 1, "{events:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_recovers_leaves_the_ladder() {
    let (world, guests) = serving(12, "TCP", &json!({})).await;
    guests.close(&world, "sprout-0").await;
    until(&world, "sprout-0", Phase::Unhealthy, "patience until").await;
    world.clock.advance(UNHEALTHY_AFTER + UNHEALTHY_AFTER);
    rungs(&world, "sprout-0", 1).await;
    guests.serve(&world, "sprout-0").await;
    world.settled().await;
    world.clock.advance(STARTUP_TIMEOUT + STARTUP_TIMEOUT);
    world.seen_again().await;
    world.settled().await;
    assert_eq!(world.writes(), ["rebootVirtualMachine"]);
    let status = world.status().await;
    assert_eq!(
        condition(&status.conditions, "Degraded").unwrap().status,
        ConditionStatus::False
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_machine_that_never_served_is_given_the_time_of_a_start() {
    let (world, guests) = (
        World::start(weir::sim::Profile::Instant).await,
        Guests::new(13),
    );
    world.apply(probed(&guests, "TCP", &json!({}))).await;
    for machine in &MACHINES[..3] {
        guests.serve(&world, machine).await;
    }
    until(&world, "sprout-1", Phase::Starting, "patience until").await;
    let rebooted = |world: &World| world.writes().contains(&"rebootVirtualMachine".to_owned());
    world.clock.advance(STARTUP_TIMEOUT / 2);
    world.seen_again().await;
    assert!(!rebooted(&world), "{:?}", world.writes());
    let status = world.status().await;
    assert_eq!(status.ready_replicas, 3);
    world.clock.advance(STARTUP_TIMEOUT);
    assert_eq!(rungs(&world, "sprout-1", 1).await, [Rung::Reboot]);
    assert!(rebooted(&world));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http_probe_takes_a_redirect_for_an_answer_and_an_error_for_none() {
    let (world, guests) = serving(14, "HTTP", &json!({})).await;
    guests.answer(&world, "sprout-0", |_| Some(302)).await;
    guests.answer(&world, "sprout-1", |_| Some(500)).await;
    until(&world, "sprout-1", Phase::Unhealthy, "/ping: HTTP 500").await;
    world.seen_again().await;
    let status = world.machine("sprout-0").await;
    assert_eq!((status.phase, status.next), (Phase::Running, None));
    assert_eq!(world.status().await.ready_replicas, 3);
    guests.close(&world, "sprout-1").await;
    until(&world, "sprout-1", Phase::Unhealthy, "Connection refused").await;
    guests.serve(&world, "sprout-1").await;
    world.settled().await;
    assert_eq!(world.writes(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_guest_that_takes_connections_and_says_nothing_does_not_serve_http() {
    let (world, guests) = serving(15, "HTTP", &json!({})).await;
    guests.answer(&world, "bono-0", |_| None).await;
    until(
        &world,
        "bono-0",
        Phase::Unhealthy,
        "no answer within 1000 ms",
    )
    .await;
    // The others are asked on time all the while.
    guests.close(&world, "sprout-0").await;
    until(&world, "sprout-0", Phase::Unhealthy, "Connection refused").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_probe_a_running_machine_counts_as_serving() {
    let guests = Guests::new(16);
    let world = World::with(json!({"network": guests.network()})).await;
    world.clock.advance(STARTUP_TIMEOUT + STARTUP_TIMEOUT);
    world.seen_again().await;
    world.settled().await;
    assert_eq!(world.writes(), [""; 0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_too_many_stop_serving_at_once_weir_holds_back_and_resumes_by_itself() {
    let (world, guests) = serving(17, "TCP", &json!({})).await;
    for machine in &MACHINES[1..] {
        guests.close(&world, machine).await;
        until(&world, machine, Phase::Unhealthy, "patience until").await;
    }
    world.clock.advance(UNHEALTHY_AFTER + UNHEALTHY_AFTER);
    world
        .until("held back", |status| {
            let degraded = condition(&status.conditions, "Degraded");
            degraded.is_some_and(|degraded| degraded.reason == "TooManyUnhealthy")
        })
        .await;
    world.seen_again().await;
    assert_eq!(world.writes(), [""; 0]);
    world
        .tells("TooManyUnhealthy: 3 of 4 machines look dead at once")
        .await;
    guests.serve(&world, "homestead-0").await;
    rungs(&world, "sprout-0", 1).await;
    rungs(&world, "sprout-1", 1).await;
    assert_eq!(world.writes(), ["rebootVirtualMachine"; 2]);
}

/// What a guest answers depends on what its disk was made from, as in life.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_does_not_serve_stops_the_rollout_and_a_good_one_frees_it() {
    let (world, guests) = serving(18, "HTTP", &json!({})).await;
    for machine in MACHINES {
        let name = format!("ims-{machine}");
        let good = move |sim: &Sim| {
            sim.world(|sim| {
                let vm = sim.find_vm(&name);
                let templates = &sim.catalogue.templates;
                let template =
                    vm.and_then(|vm| templates.iter().find(|row| row["id"] == vm.template));
                let running = vm.is_some_and(|vm| vm.state == VmState::Running);
                let bad = template.is_none_or(|row| row["name"] == "Ubuntu 22.04");
                Some(if running && !bad { 200 } else { 503 })
            })
        };
        guests.answer(&world, machine, good).await;
    }
    world
        .change(json!({"template": {"name": "Ubuntu 22.04"}}))
        .await;
    until(&world, "sprout-0", Phase::Starting, "HTTP 503").await;
    world.seen_again().await;
    let restored = |vm: &str| {
        let requests = world.write_requests();
        let mut ids = requests.iter().flat_map(|request| request.params.values());
        ids.any(|value| value == vm)
    };
    let first = world.vm_id("ims-sprout-0");
    let second = world.vm_id("ims-sprout-1");
    assert!(restored(&first));
    assert!(
        !restored(&second),
        "the other sprout serves on the old image"
    );
    until(
        &world,
        "sprout-1",
        Phase::Running,
        "waits for others of sprout to be ready",
    )
    .await;

    // The good image is not made to wait for the patience or the budget that the bad one uses up.
    world
        .change(json!({"template": {"name": "Ubuntu 14.04"}}))
        .await;
    world
        .until("back", |status| {
            let mut roles = status.roles.values();
            roles.all(|role| (role.ready, role.updated) == (role.desired, role.desired))
        })
        .await;
    world.settled().await;
    assert!(!restored(&second));
    assert_eq!(world.status().await.ready_replicas, 4);
}
