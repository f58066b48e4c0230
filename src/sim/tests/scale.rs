//! What one request costs does not depend on how much there is already. Rows are counted, not
//! time.

use super::{Cloud, Profile, Stack};
use crate::sim::world::{GONE_MAX, Kind};

impl Cloud {
    fn no_limits(&self) {
        self.sim.world(|world| {
            for limits in world.limits.values_mut() {
                limits.max.fill(-1);
            }
            world.settings.vpc_max_networks = usize::MAX;
        });
    }

    /// What Weir does for a machine: its address in the tier is asked for and leads to a public
    /// one, and it carries a tag.
    async fn machine(&self, stack: &Stack, number: usize) {
        let name = format!("vm-{number}");
        let ip = format!("10.1.0.{}", number + 2);
        let params = self.deploy(
            &stack.tier,
            &name,
            &[("startvm", "false"), ("ipaddress", &ip)],
        );
        let vm = self.done("deployVirtualMachine", &params).await;
        let vm = vm["virtualmachine"]["id"].as_str().unwrap().to_owned();
        let tag = [
            ("resourceids", vm.as_str()),
            ("resourcetype", "UserVm"),
            ("tags[0].key", "role"),
            ("tags[0].value", "sprout"),
        ];
        self.done("createTags", &tag).await;
        self.nat(stack, &vm).await;
        self.done("startVirtualMachine", &[("id", &vm)]).await;
        self.tenant("listVirtualMachines", &[("id", &vm), ("details", "all")])
            .await;
        self.done("stopVirtualMachine", &[("id", &vm)]).await;
        self.done("startVirtualMachine", &[("id", &vm)]).await;
    }

    /// How many rows are looked at for a number of machines.
    async fn visits(&self, stack: &Stack, numbers: std::ops::Range<usize>) -> u64 {
        let before = self.sim.world(|world| world.visits());
        for number in numbers {
            self.machine(stack, number).await;
        }
        self.sim.world(|world| world.visits()) - before
    }
}

#[tokio::test(start_paused = true)]
async fn a_machine_costs_the_same_among_ten_and_among_a_hundred() {
    for profile in [Profile::Instant, Profile::Lab] {
        let cloud = Cloud::new(profile);
        cloud.no_limits();
        let stack = cloud.stack().await;
        cloud.visits(&stack, 0..10).await;
        let among_ten = cloud.visits(&stack, 10..20).await;
        cloud.visits(&stack, 20..100).await;
        let among_hundred = cloud.visits(&stack, 100..110).await;
        assert_eq!(among_ten, among_hundred, "{profile}: rows for ten machines");
    }
}

#[tokio::test(start_paused = true)]
async fn an_index_is_what_it_would_be_if_made_anew() {
    let cloud = Cloud::new(Profile::Lab);
    let stack = cloud.stack().await;
    let filed = |what: &str| {
        let filed = cloud.sim.world(|world| world.is_well_filed());
        assert!(filed, "{what}");
    };
    for number in 0..5 {
        cloud.machine(&stack, number).await;
    }
    filed("five machines");
    let rule = [
        ("aclid", stack.list.as_str()),
        ("protocol", "tcp"),
        ("startport", "80"),
    ];
    let rule = cloud.done("createNetworkACL", &rule).await;
    let rule = rule["networkacl"]["id"].as_str().unwrap().to_owned();
    cloud.done("deleteNetworkACL", &[("id", &rule)]).await;
    let vm = cloud.row("vm-0").await["id"].as_str().unwrap().to_owned();
    cloud.done("destroyVirtualMachine", &[("id", &vm)]).await;
    filed("one destroyed");
    cloud.sim.world(|world| world.restart_server());
    filed("the server restarted");
    cloud
        .clock
        .sleep(std::time::Duration::from_secs(3 * 86_400))
        .await;
    filed("purged and expired");
    let text = cloud
        .sim
        .world(|world| serde_json::to_string(world).unwrap());
    let again: crate::sim::World = serde_json::from_str(&text).unwrap();
    assert!(again.is_well_filed(), "written and read");
}

#[test]
fn what_was_removed_is_remembered_up_to_a_number() {
    let cloud = Cloud::new(Profile::Instant);
    cloud.sim.world(|world| {
        let ids: Vec<String> = (0..=GONE_MAX)
            .map(|number| format!("vm-{number}"))
            .collect();
        for (number, id) in (1..).zip(&ids) {
            world.bury(Kind::Vm, id, number);
            assert!(world.gone.len() <= GONE_MAX);
        }
        assert!(!world.knows(Kind::Vm, &ids[0]));
        assert!(world.knows(Kind::Vm, &ids[GONE_MAX - 1]));
        assert!(world.knows(Kind::Vm, &ids[GONE_MAX]));
        assert!(world.gone.len() > GONE_MAX / 3);
    });
}
