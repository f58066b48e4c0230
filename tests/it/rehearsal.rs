//! The scenarios that the simulator ships, played against a controller: it survives them, and when
//! they are over the cloud holds exactly the manifest's resources.

use std::time::Duration;

use serde_json::json;
use weir::sim::{Profile, Scenario, world::Limits};

use crate::{
    kill::audit::{Audit, Strangers},
    world::World,
};

/// A second of the simulated clock takes this long: a quarter of an hour passes in eighteen seconds,
/// while the controller looks as often as ever.
const SECOND: Duration = Duration::from_millis(20);

/// Lets time pass.
async fn a_second(world: &World) {
    world.clock.advance(Duration::from_secs(1));
    tokio::time::sleep(SECOND).await;
}

/// Lets time pass until the stack is settled; [`World::settled`] has the limit.
async fn calm(world: &World) {
    let passing = async {
        loop {
            a_second(world).await;
        }
    };
    let calm = async {
        world.settled().await;
        world.seen_again().await;
        world.settled().await;
    };
    tokio::select! {
        () = calm => {}
        () = passing => {}
    }
}

/// Plays a scenario to its end; gives what was done.
async fn survived(world: World, name: &str) -> Vec<String> {
    // Many repairs make many records; what an account may have is another test's subject.
    world.sim.world(|sim| {
        let limits = sim.limits.values_mut();
        limits.for_each(|limits| *limits = Limits::none());
    });
    let strangers = Strangers::so_far(&world.sim);
    // Four machines that look dead at once are a bad night here, and not a reason to hold back.
    let remediation = json!({"maxUnhealthy": "100%", "maxPerHour": 1000});
    world.apply(json!({"remediation": remediation})).await;
    world.settled().await;

    world.sim.play(Scenario::shipped(name).unwrap()).unwrap();
    while world.sim.is_scripted() {
        a_second(&world).await;
    }
    assert_eq!(world.sim.faults(), [], "{name} takes its faults away again");
    calm(&world).await;

    let done: Vec<String> = world
        .sim
        .journal()
        .into_iter()
        .map(|(_, what)| what)
        .collect();
    let stack = world.stack().await;
    let wrong = Audit::of(&world.sim, &strangers).against(&stack);
    assert!(wrong.is_empty(), "{name}: {wrong:#?}\nafter {done:#?}");
    done.into_iter()
        .filter(|what| !what.starts_with("not done"))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bad_night_is_survived() {
    // Without a neighbour: the host that fails might be his as well.
    let world = World::start(Profile::Instant).await;
    let done = survived(world, "bad-night").await;
    let restarts = done
        .iter()
        .filter(|what| what.contains("server was killed"));
    assert_eq!(restarts.count(), 2, "{done:#?}");
    for deed in [
        "is down with",
        "is up again",
        "shut itself down",
        "is destroyed",
        "is dead",
    ] {
        assert!(
            done.iter().any(|what| what.contains(deed)),
            "{deed}: {done:#?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_clumsy_operator_is_survived() {
    let world = World::start(Profile::Instant).await;
    world.sim.add_neighbour().unwrap();
    let done = survived(world, "clumsy-operator").await;
    assert!(done.len() > 40, "{done:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flaky_api_is_survived() {
    let world = World::start(Profile::Instant).await;
    world.sim.add_neighbour().unwrap();
    let done = survived(world, "flaky-api").await;
    assert!(done.len() > 15, "{done:#?}");
}
