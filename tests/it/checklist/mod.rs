//! The checklist of what a simulated CloudStack must do, a test for each numbered item, in the
//! item's words. Where a recorded server did otherwise, the test holds what that server did.

mod jobs;
mod lists;
mod machines;
mod networks;
mod rest;
mod transport;
mod webhooks;

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use weir::clock::Clock;
use weir::sim::{Profile, Reply, Sim, SimConfig, Who};

/// A simulator with paused time, a VPC and a tier, and short ways to talk to it.
pub(crate) struct Cloud {
    pub(crate) sim: Sim,
    pub(crate) clock: Clock,
    pub(crate) zone: String,
    pub(crate) template: String,
    pub(crate) offering: String,
    pub(crate) tier_offering: String,
    pub(crate) vpc: String,
    pub(crate) tier: String,
}

/// The parameters of a request.
pub(crate) type Params<'a> = [(&'a str, &'a str)];

impl Cloud {
    pub(crate) async fn new(profile: Profile) -> Self {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
        let config = SimConfig {
            profile,
            seed: 1,
            clock: clock.clone(),
            state_file: None,
        };
        let sim = Sim::new(config);
        let offered = sim.world(|world| world.catalogue.clone());
        let id = |row: &serde_json::Map<String, Value>| row["id"].as_str().unwrap().to_owned();
        let mut cloud = Self {
            clock,
            zone: id(&offered.zone),
            template: id(&offered.templates[0]),
            offering: id(&offered.service_offerings[0]),
            tier_offering: id(&offered.network_offerings[0]),
            vpc: String::new(),
            tier: String::new(),
            sim,
        };
        cloud.vpc = cloud.new_vpc("v", &id(&offered.vpc_offerings[0])).await;
        cloud.tier = cloud.new_tier(&cloud.vpc, "t", "10.1.0.1").await;
        cloud
    }

    pub(crate) async fn new_vpc(&self, name: &str, offering: &str) -> String {
        let vpc = [
            ("name", name),
            ("cidr", "10.1.0.0/16"),
            ("zoneid", &self.zone),
            ("vpcofferingid", offering),
        ];
        text(&self.done("createVPC", &vpc).await["vpc"]["id"])
    }

    pub(crate) async fn new_tier(&self, vpc: &str, name: &str, gateway: &str) -> String {
        let tier = [
            ("name", name),
            ("zoneid", &self.zone),
            ("networkofferingid", &self.tier_offering),
            ("vpcid", vpc),
            ("gateway", gateway),
            ("netmask", "255.255.255.0"),
        ];
        text(&self.tenant("createNetwork", &tier).await["network"]["id"])
    }

    pub(crate) async fn send(&self, who: Who, command: &str, params: &Params<'_>) -> Reply {
        let mut all = vec![("command", command)];
        all.extend_from_slice(params);
        self.sim.call(who, &all).await
    }

    /// A request that is answered with 200; the answer is the inside of the envelope.
    pub(crate) async fn ask(&self, who: Who, command: &str, params: &Params<'_>) -> Value {
        let reply = self.send(who, command, params).await;
        assert_eq!(reply.status, 200, "{command}: {}", reply.body);
        reply.inner()
    }

    pub(crate) async fn tenant(&self, command: &str, params: &Params<'_>) -> Value {
        self.ask(Who::Tenant, command, params).await
    }

    /// A refused request of the tenant: its status and text.
    pub(crate) async fn refusal(&self, command: &str, params: &Params<'_>) -> (u16, String) {
        let reply = self.send(Who::Tenant, command, params).await;
        assert_ne!(reply.status, 200, "{command}: {}", reply.body);
        (reply.status, text(&reply.inner()["errortext"]))
    }

    /// Asks for a job until it has ended.
    pub(crate) async fn ended(&self, job: &str) -> Value {
        for _ in 0..10_000 {
            let row = self
                .ask(Who::Admin, "queryAsyncJobResult", &[("jobid", job)])
                .await;
            if row["jobstatus"] != 0 {
                return row;
            }
            self.clock.sleep(Duration::from_millis(100)).await;
        }
        panic!("job {job} does not end");
    }

    pub(crate) async fn job_as(&self, who: Who, command: &str, params: &Params<'_>) -> Value {
        let answer = self.ask(who, command, params).await;
        self.ended(&text(&answer["jobid"])).await
    }

    /// A job of the tenant that succeeds; the answer is its result.
    pub(crate) async fn done(&self, command: &str, params: &Params<'_>) -> Value {
        let job = self.job_as(Who::Tenant, command, params).await;
        assert_eq!(job["jobstatus"], 1, "{command}: {job}");
        job["jobresult"].clone()
    }

    /// A job of the tenant that fails; the answer is code and text.
    pub(crate) async fn failure(&self, command: &str, params: &Params<'_>) -> (u64, String) {
        let job = self.job_as(Who::Tenant, command, params).await;
        assert_eq!(job["jobstatus"], 2, "{command}: {job}");
        let result = &job["jobresult"];
        (
            result["errorcode"].as_u64().unwrap_or_default(),
            text(&result["errortext"]),
        )
    }

    /// The parameters of a deploy into the tier.
    pub(crate) fn deploy<'a>(
        &'a self,
        name: &'a str,
        more: &Params<'a>,
    ) -> Vec<(&'a str, &'a str)> {
        let mut params = vec![
            ("name", name),
            ("networkids", self.tier.as_str()),
            ("zoneid", &self.zone),
            ("serviceofferingid", &self.offering),
            ("templateid", &self.template),
        ];
        params.extend_from_slice(more);
        params
    }

    /// A stopped machine; the answer is its id.
    pub(crate) async fn stopped(&self, name: &str) -> String {
        let params = self.deploy(name, &[("startvm", "false")]);
        let vm = self.done("deployVirtualMachine", &params).await;
        text(&vm["virtualmachine"]["id"])
    }

    /// A running machine; the answer is its id.
    pub(crate) async fn vm(&self, name: &str) -> String {
        let id = self.stopped(name).await;
        self.done("startVirtualMachine", &[("id", &id)]).await;
        id
    }

    /// A machine's row as somebody sees it; null if it is not seen.
    pub(crate) async fn seen(&self, who: Who, id: &str) -> Value {
        let list = self.ask(who, "listVirtualMachines", &[("id", id)]).await;
        list["virtualmachine"][0].clone()
    }

    pub(crate) async fn state(&self, id: &str) -> String {
        text(&self.seen(Who::Admin, id).await["state"])
    }

    pub(crate) async fn wait(&self, seconds: u64) {
        self.clock.sleep(Duration::from_secs(seconds)).await;
    }
}

/// A member's text; empty if it has none.
pub(crate) fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// How many items there are.
const ITEMS: usize = 106;

#[test]
fn every_item_has_a_test_that_is_named_by_its_number() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/checklist");
    let mut tests = vec![0; ITEMS + 1];
    for file in std::fs::read_dir(folder).unwrap() {
        let text = std::fs::read_to_string(file.unwrap().path()).unwrap();
        let named = text
            .lines()
            .filter_map(|line| line.strip_prefix("async fn c"));
        for number in named.filter_map(|name| name.get(..3)) {
            let number: usize = number.parse().unwrap();
            assert!((1..=ITEMS).contains(&number), "there is no item {number}");
            tests[number] += 1;
        }
    }
    let wrong = (1..=ITEMS).filter(|number| tests[*number] != 1);
    assert_eq!(
        wrong.collect::<Vec<_>>(),
        [0; 0],
        "have no test, or several"
    );
}
