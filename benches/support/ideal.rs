//! The ideal client: it sends each command the moment that what it depends on is there, and is
//! told at once when a job ends. It never lists or polls.
//!
//! In virtual time, straight into the simulator, its time for a stack is the longest chain of
//! dependent commands that the profile allows. Told to be careless, it shows what the locks of a
//! CloudStack cost.

use std::{cell::RefCell, sync::Arc, time::Duration};

use futures_util::future::{join, join_all};
use jiff::Timestamp;
use serde_json::Value;
use tokio::sync::{Semaphore, watch};
use weir::{
    clock::Clock,
    sim::{JobStatus, Profile, Sim, SimConfig, Who},
};

use super::manifest::{MACHINES, RULES};

/// In which order the commands go that hinder each other.
#[derive(Clone, Copy)]
pub(crate) struct Order {
    /// `associateIpAddress` commands in flight.
    pub(crate) addresses_at_once: usize,
    /// Whether one machine brings the tier up before the others start.
    pub(crate) one_starts_first: bool,
}

/// What `cloudstack-observed` found best.
pub(crate) const BEST: Order = Order {
    addresses_at_once: 1,
    one_starts_first: true,
};

/// A milestone of the way, and when it was reached.
pub(crate) type Milestone = (&'static str, Duration);

/// Builds the stack on a fresh cloud; gives the milestones, the last of which is the end.
pub(crate) fn build(profile: Profile, order: Order) -> Vec<Milestone> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime for virtual time");
    runtime.block_on(async { Ideal::new(profile).build(order).await })
}

struct Ideal {
    sim: Sim,
    catalogue: Catalogue,
    clock: Clock,
    begun: Timestamp,
    reached: RefCell<Vec<Milestone>>,
}

impl Ideal {
    fn new(profile: Profile) -> Self {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
        let sim = Sim::new(SimConfig {
            profile,
            seed: 1,
            clock: clock.clone(),
            state_file: None,
        });
        let catalogue = sim.world(|world| Catalogue {
            zone: text(&world.catalogue.zone["id"]),
            template: text(&world.catalogue.templates[0]["id"]),
            offering: text(&world.catalogue.service_offerings[0]["id"]),
            vpc_offering: text(&world.catalogue.vpc_offerings[0]["id"]),
            tier_offering: text(&world.catalogue.network_offerings[0]["id"]),
        });
        Self {
            sim,
            catalogue,
            begun: clock.now(),
            clock,
            reached: RefCell::default(),
        }
    }

    async fn build(self, order: Order) -> Vec<Milestone> {
        let catalogue = &self.catalogue;
        let params = [
            ("name", "ims"),
            ("cidr", "10.0.0.0/16"),
            ("zoneid", &catalogue.zone),
            ("vpcofferingid", &catalogue.vpc_offering),
        ];
        let vpc = self.done("createVPC", &params).await;
        self.reach("the VPC is there");
        let lane = Arc::new(Semaphore::new(order.addresses_at_once));
        let (tier, said) = watch::channel(None);
        let up = watch::Sender::new(!order.one_starts_first);
        let machines = (0..MACHINES).map(|number| {
            let place = Place {
                number,
                vpc: &vpc,
                tier: said.clone(),
                up: &up,
            };
            self.machine(place, &lane)
        });
        join(self.network(&vpc, tier), join_all(machines)).await;
        self.reach("all machines run");
        self.reached.into_inner()
    }

    async fn network(&self, vpc: &str, tier: watch::Sender<Option<String>>) {
        let params = [("name", "ims"), ("vpcid", vpc)];
        let list = self.call("createNetworkACLList", &params).await;
        let list = text(&list["id"]);
        let rules = join_all((1..=RULES).map(|number| {
            let list = &list;
            async move {
                let (number, port) = ((number * 10).to_string(), (7000 + number).to_string());
                let params = [
                    ("aclid", list.as_str()),
                    ("number", &number),
                    ("protocol", "tcp"),
                    ("startport", &port),
                    ("endport", &port),
                    ("cidrlist", "0.0.0.0/0"),
                    ("traffictype", "Ingress"),
                    ("action", "Allow"),
                ];
                self.done("createNetworkACL", &params).await;
            }
        }));
        let made = async {
            let params = [
                ("name", "ims"),
                ("zoneid", &self.catalogue.zone),
                ("networkofferingid", &self.catalogue.tier_offering),
                ("vpcid", vpc),
                ("aclid", &list),
                ("gateway", "10.0.0.1"),
                ("netmask", "255.255.255.0"),
            ];
            let made = self.call("createNetwork", &params).await;
            tier.send_replace(Some(text(&made["network"]["id"])));
            self.reach("the tier is there");
        };
        join(rules, made).await;
    }

    async fn machine(&self, place: Place<'_>, lane: &Semaphore) {
        let first = place.number == 0;
        let (address, job) = {
            let _turn = lane.acquire().await.expect("the lane stays open");
            self.submit("associateIpAddress", &[("vpcid", place.vpc)])
                .await
        };
        self.ended(&job).await;
        let (vm, tier) = self.deployed(&place).await;
        if first {
            self.reach("the first machine is deployed, with an address of its own");
        }
        let nat = [
            ("ipaddressid", address.as_str()),
            ("virtualmachineid", &vm),
            ("networkid", &tier),
        ];
        let tag = [
            ("resourcetype", "UserVm"),
            ("resourceids", vm.as_str()),
            ("tags[0].key", "weir.dev/stack"),
            ("tags[0].value", "ims"),
        ];
        join(
            self.call("enableStaticNat", &nat),
            self.done("createTags", &tag),
        )
        .await;
        if first {
            self.reach("it is tagged and its address leads to it");
        } else {
            let mut up = place.up.subscribe();
            up.wait_for(|up| *up).await.expect("somebody starts first");
        }
        self.done("startVirtualMachine", &[("id", &vm)]).await;
        if first {
            self.reach("it runs, and the tier is up");
            place.up.send_replace(true);
        }
    }

    /// The ids of the VM and of the tier it is in.
    async fn deployed(&self, place: &Place<'_>) -> (String, String) {
        let mut said = place.tier.clone();
        let tier = said.wait_for(Option::is_some).await.expect("a tier comes");
        let tier = tier.clone().unwrap_or_default();
        let name = format!("ims-{}", place.number);
        let vm = self
            .done(
                "deployVirtualMachine",
                &[
                    ("name", &name),
                    ("networkids", &tier),
                    ("zoneid", &self.catalogue.zone),
                    ("serviceofferingid", &self.catalogue.offering),
                    ("templateid", &self.catalogue.template),
                    ("startvm", "false"),
                ],
            )
            .await;
        (vm, tier)
    }

    /// Runs a command to the end of its job; gives the id of what it made or changed.
    async fn done(&self, command: &str, params: &[(&str, &str)]) -> String {
        let (id, job) = self.submit(command, params).await;
        self.ended(&job).await;
        id
    }

    async fn submit(&self, command: &str, params: &[(&str, &str)]) -> (String, String) {
        let answer = self.call(command, params).await;
        (text(&answer["id"]), text(&answer["jobid"]))
    }

    async fn call(&self, command: &str, params: &[(&str, &str)]) -> Value {
        let mut all = vec![("command", command)];
        all.extend_from_slice(params);
        let reply = self.sim.call(Who::Tenant, &all).await;
        assert_eq!(reply.status, 200, "{command}: {}", reply.body);
        reply.inner()
    }

    /// Waits for the end of a job, which it sees in the simulator itself.
    async fn ended(&self, job: &str) {
        loop {
            let (status, next) = self.sim.world(|world| {
                let job = world.jobs.get(job).expect("the job was submitted");
                (job.status, world.next_change())
            });
            match status {
                JobStatus::Succeeded => return,
                JobStatus::Failed => panic!("job {job} failed"),
                JobStatus::Pending => {}
            }
            let left = next.map(|at| at.duration_since(self.clock.now()));
            let left = left.and_then(|left| Duration::try_from(left).ok());
            let tick = Duration::from_millis(1);
            self.clock.sleep(left.unwrap_or(tick).max(tick)).await;
        }
    }

    fn reach(&self, what: &'static str) {
        let since = self.clock.now().duration_since(self.begun);
        let since = Duration::try_from(since).unwrap_or_default();
        self.reached.borrow_mut().push((what, since));
    }
}

/// The ids of what the stack is made from; known before, as they are to Weir.
struct Catalogue {
    zone: String,
    template: String,
    offering: String,
    vpc_offering: String,
    tier_offering: String,
}

/// What a machine is built in.
struct Place<'a> {
    number: usize,
    vpc: &'a str,
    tier: watch::Receiver<Option<String>>,
    up: &'a watch::Sender<bool>,
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}
