//! The scenarios that the simulator ships, played against a controller: it survives them, and when
//! they are over the cloud holds exactly the manifest's resources.

use std::time::Duration;

use serde_json::json;
use weir::sim::{Profile, Scenario, Who, world::Limits};

use crate::{
    kill::audit::{Audit, Strangers},
    world::small_stack,
    worlds::world::{World, run},
};

/// What every scenario is played with: its luck, and the ids of everything.
const SEED: u64 = 1;

/// Plays a scenario to its end; gives what was done.
async fn survived(name: &str, neighbour: bool) -> Vec<String> {
    let mut world = World::new(SEED, Profile::Instant);
    if neighbour {
        world.sim.add_neighbour().unwrap();
    }
    // Many repairs make many records; what an account may have is another test's subject.
    world.sim.world(|sim| {
        let limits = sim.limits.values_mut();
        limits.for_each(|limits| *limits = Limits::none());
    });
    let strangers = Strangers::so_far(&world.sim);
    world.start(Who::Tenant).await;
    // Four machines that look dead at once are a bad night here, and not a reason to hold back.
    let remediation = json!({"maxUnhealthy": "100%", "maxPerHour": 1000});
    let stack = small_stack(&json!({"remediation": remediation}));
    world.create(stack).await;
    world.settled().await.unwrap();

    world.sim.play(Scenario::shipped(name).unwrap()).unwrap();
    while world.sim.is_scripted() {
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(world.sim.faults(), [], "{name} takes its faults away again");
    world.settled().await.unwrap();
    world.looked().await;
    world.settled().await.unwrap();

    let done: Vec<String> = world
        .sim
        .journal()
        .into_iter()
        .map(|(_, what)| what)
        .collect();
    let stack = world.stack().await.unwrap();
    let wrong = Audit::of(&world.sim, &strangers).against(&stack);
    assert!(wrong.is_empty(), "{name}: {wrong:#?}\nafter {done:#?}");
    done.into_iter()
        .filter(|what| !what.starts_with("not done"))
        .collect()
}

#[test]
fn a_bad_night_is_survived() {
    // Without a neighbour: the host that fails might be his as well.
    let done = run(survived("bad-night", false));
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

#[test]
fn a_clumsy_operator_is_survived() {
    let done = run(survived("clumsy-operator", true));
    assert!(done.len() > 40, "{done:#?}");
}

#[test]
fn a_flaky_api_is_survived() {
    let done = run(survived("flaky-api", true));
    assert!(done.len() > 15, "{done:#?}");
}
