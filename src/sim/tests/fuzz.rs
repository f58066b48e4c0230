//! Requests that nobody would send: they must neither break the simulator nor fill it.

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;

use super::Cloud;
use crate::sim::commands::{Method, all};
use crate::sim::protocol::Params;
use crate::sim::{Profile, Who};

/// How many requests are sent.
const REQUESTS: usize = 20_000;
/// How large the world may have become, written down, in bytes: its bounds, not its requests,
/// decide. A new one has a tenth of it.
const WORLD_MAX: usize = 64 << 20;

/// A request: whose, which command, and values by the place of the parameter that they are for.
type Wild = (usize, usize, Vec<(usize, String)>, String);

fn value() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0..64_usize).prop_map(|place| format!("#{place}")),
        1 => any::<i64>().prop_map(|number| number.to_string()),
        1 => Just("99999999999999999999999999".to_owned()),
        1 => Just(String::new()),
        1 => Just("true".to_owned()),
        1 => Just("10.1.0.0/16".to_owned()),
        1 => any::<String>(),
        1 => "[a-z]{1,3}",
        1 => (1..3_000_usize).prop_map(|length| "x".repeat(length)),
    ]
}

fn wild() -> impl Strategy<Value = Wild> {
    (
        any::<usize>(),
        any::<usize>(),
        vec((any::<usize>(), value()), 0..8),
        any::<String>(),
    )
}

/// The ids that a wild value can name.
fn ids(cloud: &Cloud) -> Vec<String> {
    cloud.sim.world(|world| {
        let mut ids = vec![
            cloud.zone.clone(),
            cloud.template.clone(),
            cloud.offering.clone(),
            cloud.vpc_offering.clone(),
            cloud.tier_offering.clone(),
        ];
        ids.extend(world.vpcs.keys().take(5).cloned());
        ids.extend(world.networks.keys().take(5).cloned());
        ids.extend(world.vms.keys().take(5).cloned());
        ids.extend(world.addresses.keys().take(5).cloned());
        ids.extend(world.projects.keys().take(5).cloned());
        ids.extend(world.volumes.keys().take(5).cloned());
        ids
    })
}

async fn send(cloud: &Cloud, request: &Wild, ids: &[String]) -> u16 {
    let (who, command, values, garbage) = request;
    let commands: Vec<_> = all().collect();
    let command = commands[command % commands.len()];
    let declared: Vec<_> = command.params().map(|param| param.name).collect();
    let value = |text: &String| match text.strip_prefix('#').map(str::parse::<usize>) {
        Some(Ok(place)) => ids[place % ids.len()].clone(),
        _ => text.clone(),
    };
    let mut params = vec![("command".to_owned(), command.name.to_owned())];
    params.extend(values.iter().map(|(place, text)| {
        let name = declared.get(place % declared.len().max(1));
        (
            name.map_or(garbage.clone(), |name| (*name).to_owned()),
            value(text),
        )
    }));
    if who % 4 == 3 {
        let query = format!(
            "command={}&{garbage}=%zz&response=json&{garbage}",
            command.name
        );
        let params = Params::parse(&query, garbage);
        return cloud
            .sim
            .receive(params, Method::Post, garbage)
            .await
            .status;
    }
    let who = [Who::Admin, Who::Tenant, Who::Operator][who % 4];
    let borrowed: Vec<(&str, &str)> = params
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_str()))
        .collect();
    cloud.sim.call(who, &borrowed).await.status
}

#[tokio::test(start_paused = true)]
async fn wild_requests_neither_break_nor_fill_the_world() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    cloud.vm(&stack.tier, "a").await;
    let mut runner = TestRunner::deterministic();
    let strategy = wild();
    let mut known = ids(&cloud);
    let mut answered = 0;
    for sent in 0..REQUESTS {
        if sent % 100 == 0 {
            known = ids(&cloud);
        }
        let request = strategy.new_tree(&mut runner).unwrap().current();
        let status = send(&cloud, &request, &known).await;
        let told = matches!(status, 200 | 400 | 401 | 405 | 430..=437 | 503 | 530..=537);
        assert!(told, "{status}: {request:?}");
        answered += usize::from(status == 200);
    }
    assert!(
        answered > REQUESTS / 100,
        "only {answered} requests meant anything"
    );
    let size = cloud
        .sim
        .world(|world| serde_json::to_vec(world).unwrap().len());
    assert!(size < WORLD_MAX, "the world has grown to {size} bytes");
}
