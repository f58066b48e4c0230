//! Hosts: where machines are put, and what becomes of them when a host fails.

use std::time::Duration;

use super::Cloud;
use crate::sim::world::{Guest, HostFailure, VmState};
use crate::sim::{Profile, Who};

fn host_of(cloud: &Cloud, vm: &str) -> Option<String> {
    cloud.sim.world(|world| world.vms[vm].host.clone())
}

fn state_of(cloud: &Cloud, vm: &str) -> VmState {
    cloud.sim.world(|world| world.vms[vm].state)
}

/// Two machines on one host, the first with high availability.
async fn two_on_a_host(profile: Profile) -> (Cloud, [String; 2], String) {
    let cloud = Cloud::new(profile);
    let stack = cloud.stack().await;
    let (first, second) = (
        cloud.stopped_vm(&stack.tier, "first").await,
        cloud.stopped_vm(&stack.tier, "second").await,
    );
    cloud.sim.world(|world| {
        world.catalogue.hosts.truncate(1);
        if let Some(vm) = world.vms.get_mut(&first) {
            vm.ha = true;
        }
    });
    let full = crate::sim::world::catalogue::Catalogue::full();
    // Both start while there is one host only.
    for vm in [&first, &second] {
        cloud.done("startVirtualMachine", &[("id", vm)]).await;
    }
    cloud.sim.world(|world| world.catalogue.hosts = full.hosts);
    let host = host_of(&cloud, &first).expect("it runs");
    assert_eq!(host_of(&cloud, &second).as_ref(), Some(&host));
    (cloud, [first, second], host)
}

#[tokio::test(start_paused = true)]
async fn a_dead_host_stops_its_machines_and_the_available_one_runs_elsewhere() {
    let (cloud, [first, second], host) = two_on_a_host(Profile::Lab).await;
    let before = cloud.row("first").await;
    cloud
        .sim
        .world(|world| world.fail_host(&host, HostFailure::Down))
        .expect("a host");
    cloud.clock.sleep(Duration::from_secs(149)).await;
    assert_eq!(state_of(&cloud, &second), VmState::Running);
    assert_eq!(
        cloud.sim.world(|world| world.vms[&second].guest),
        Guest::Dead
    );

    cloud.clock.sleep(Duration::from_secs(2)).await;
    assert_eq!(state_of(&cloud, &second), VmState::Stopped);
    cloud.clock.sleep(Duration::from_secs(20)).await;
    let after = cloud.row("first").await;
    assert_eq!(after["state"], "Running");
    for member in ["id", "ipaddress", "name"] {
        assert_eq!(after[member], before[member], "{member}");
    }
    let now_on = host_of(&cloud, &first).expect("it runs");
    assert_ne!(now_on, host);
    assert_eq!(
        cloud.sim.world(|world| world.vms[&first].guest),
        Guest::Alive
    );
    let jobs = cloud
        .ask(Who::Admin, "listAsyncJobs", &[("listall", "true")])
        .await;
    assert_eq!(jobs, serde_json::json!({}));
}

#[tokio::test(start_paused = true)]
async fn a_host_of_which_nothing_is_known_keeps_its_machines_running_in_name() {
    let (cloud, [first, _], host) = two_on_a_host(Profile::Lab).await;
    cloud
        .sim
        .world(|world| world.fail_host(&host, HostFailure::Undetermined))
        .expect("a host");
    cloud.clock.sleep(Duration::from_secs(200)).await;
    let row = cloud.row("first").await;
    assert_eq!(
        (&row["state"], &row["hostcontrolstate"]),
        (&"Running".into(), &"Offline".into())
    );
    assert_eq!(
        cloud.sim.world(|world| world.vms[&first].guest),
        Guest::Dead
    );

    cloud
        .sim
        .world(|world| world.recover_host(&host))
        .expect("it had failed");
    assert_eq!(cloud.row("second").await["state"], "Stopped");
    cloud.clock.sleep(Duration::from_secs(20)).await;
    assert_eq!(cloud.row("first").await["hostcontrolstate"], "Enabled");
}

#[tokio::test(start_paused = true)]
async fn a_machine_that_no_host_takes_is_tried_a_few_times_and_then_left_alone() {
    let (cloud, [first, _], host) = two_on_a_host(Profile::Instant).await;
    cloud.sim.world(|world| {
        world.settings.host_memory_mib = 0;
        world.fail_host(&host, HostFailure::Down).expect("a host");
        assert!(world.fail_host(&host, HostFailure::Down).is_err());
        assert!(world.recover_host("nobody").is_err());
    });
    cloud.clock.sleep(Duration::from_secs(90)).await;
    cloud
        .sim
        .world(|world| world.settings.host_memory_mib = 10_000);
    cloud.clock.sleep(Duration::from_secs(60)).await;
    assert_eq!(state_of(&cloud, &first), VmState::Running);

    let on = host_of(&cloud, &first).expect("it runs");
    cloud.sim.world(|world| {
        world.settings.host_memory_mib = 0;
        world.fail_host(&on, HostFailure::Down).expect("a host");
    });
    cloud.clock.sleep(Duration::from_secs(600)).await;
    cloud
        .sim
        .world(|world| world.settings.host_memory_mib = 10_000);
    cloud.clock.sleep(Duration::from_secs(600)).await;
    assert_eq!(state_of(&cloud, &first), VmState::Stopped);
}

#[tokio::test(start_paused = true)]
async fn a_start_whose_host_fails_meanwhile_goes_to_another() {
    let cloud = Cloud::new(Profile::Lab);
    let stack = cloud.stack().await;
    let vm = cloud.stopped_vm(&stack.tier, "first").await;
    let job = cloud.tenant("startVirtualMachine", &[("id", &vm)]).await;
    cloud.clock.sleep(Duration::from_millis(500)).await;
    let host = host_of(&cloud, &vm).expect("it is on its way to one");
    cloud
        .sim
        .world(|world| world.fail_host(&host, HostFailure::Down))
        .expect("a host");
    let job = cloud.ended(job["jobid"].as_str().unwrap()).await;
    assert_eq!(job["jobstatus"], 1, "{job}");
    assert_ne!(host_of(&cloud, &vm), Some(host));
}

#[tokio::test(start_paused = true)]
async fn a_restarted_server_still_brings_machines_up_again() {
    let (cloud, [first, _], host) = two_on_a_host(Profile::Lab).await;
    cloud.sim.world(|world| {
        world.fail_host(&host, HostFailure::Down).expect("a host");
    });
    cloud.clock.sleep(Duration::from_secs(155)).await;
    assert_eq!(state_of(&cloud, &first), VmState::Stopped);
    cloud.sim.world(|world| world.restart_server());
    cloud.clock.sleep(Duration::from_secs(60)).await;
    assert_eq!(state_of(&cloud, &first), VmState::Running);
}

#[tokio::test(start_paused = true)]
async fn machines_are_spread_by_room_in_memory_and_in_processors() {
    let cloud = Cloud::new(Profile::Instant);
    let stack = cloud.stack().await;
    cloud.sim.world(|world| world.settings.host_cpu_mhz = 500);
    for name in ["a", "b", "c", "d"] {
        cloud.vm(&stack.tier, name).await;
    }
    let fifth = cloud.stopped_vm(&stack.tier, "e").await;
    let (code, text) = cloud
        .failure("startVirtualMachine", &[("id", &fifth)])
        .await;
    assert_eq!(code, 533, "{text}");
}
