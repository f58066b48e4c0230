//! The rules of `cloudstack-observed.md`, one test each, in its words.

mod accounts;
mod addresses;
mod answers;
mod breakages;
mod described;
mod faults;
mod hosts;
mod invariants;
mod isolated;
mod jobs;
mod machines;
mod nics;
mod orders;
mod people;
mod projects;
mod protocol;
mod rules;
mod scale;
mod scripts;
mod security_groups;
mod strangers;
mod times;
mod town;
mod volumes;
mod vpcs;
mod walks;

use jiff::Timestamp;
use serde_json::Value;

use super::{Profile, Reply, Sim, SimConfig, Who};
use crate::clock::Clock;

/// A simulator with paused time, and short ways to talk to it.
pub(super) struct Cloud {
    pub(super) sim: Sim,
    pub(super) clock: Clock,
    pub(super) zone: String,
    template: String,
    offering: String,
    vpc_offering: String,
    tier_offering: String,
}

/// A VPC with a tier.
pub(super) struct Stack {
    pub(super) vpc: String,
    pub(super) tier: String,
    pub(super) list: String,
}

impl Cloud {
    pub(super) fn new(profile: Profile) -> Self {
        let clock = Clock::starting_at(Timestamp::UNIX_EPOCH);
        Self::with_clock(profile, clock)
    }

    pub(super) fn with_clock(profile: Profile, clock: Clock) -> Self {
        Self::seeded(profile, clock, 1)
    }

    pub(super) fn seeded(profile: Profile, clock: Clock, seed: u64) -> Self {
        let config = SimConfig {
            profile,
            seed,
            clock: clock.clone(),
            state_file: None,
        };
        let sim = Sim::new(config);
        let catalogue = sim.world(|world| world.catalogue.clone());
        let id = |row: &super::world::catalogue::Row| row["id"].as_str().unwrap().to_owned();
        Self {
            zone: id(&catalogue.zone),
            template: id(&catalogue.templates[0]),
            offering: id(&catalogue.service_offerings[0]),
            vpc_offering: id(&catalogue.vpc_offerings[0]),
            tier_offering: id(&catalogue.network_offerings[0]),
            sim,
            clock,
        }
    }

    pub(super) async fn send(&self, who: Who, command: &str, params: &[(&str, &str)]) -> Reply {
        let mut all = vec![("command", command)];
        all.extend_from_slice(params);
        self.sim.call(who, &all).await
    }

    /// A request that is answered with 200; the answer is the inside of the envelope.
    #[track_caller]
    pub(super) fn ask<'a>(
        &'a self,
        who: Who,
        command: &'a str,
        params: &'a [(&'a str, &'a str)],
    ) -> impl Future<Output = Value> + 'a {
        let caller = std::panic::Location::caller();
        async move {
            let reply = self.send(who, command, params).await;
            assert_eq!(reply.status, 200, "{caller}: {command}: {}", reply.body);
            reply.inner()
        }
    }

    pub(super) async fn tenant(&self, command: &str, params: &[(&str, &str)]) -> Value {
        self.ask(Who::Tenant, command, params).await
    }

    /// A refused request: its status and text.
    pub(super) async fn refusal(&self, command: &str, params: &[(&str, &str)]) -> (u16, String) {
        let reply = self.send(Who::Tenant, command, params).await;
        assert_ne!(reply.status, 200, "{command}: {}", reply.body);
        (
            reply.status,
            reply.inner()["errortext"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    }

    /// Asks for a job until it has ended.
    pub(super) async fn ended(&self, job: &str) -> Value {
        for _ in 0..10_000 {
            let row = self
                .ask(Who::Admin, "queryAsyncJobResult", &[("jobid", job)])
                .await;
            if row["jobstatus"] != 0 {
                return row;
            }
            self.clock
                .sleep(std::time::Duration::from_millis(100))
                .await;
        }
        panic!("job {job} does not end");
    }

    /// Runs an asynchronous command of the tenant to the end of its job.
    pub(super) async fn job(&self, command: &str, params: &[(&str, &str)]) -> Value {
        self.job_as(Who::Tenant, command, params).await
    }

    pub(super) async fn job_as(&self, who: Who, command: &str, params: &[(&str, &str)]) -> Value {
        let answer = self.ask(who, command, params).await;
        self.ended(answer["jobid"].as_str().unwrap()).await
    }

    /// The same, for jobs that succeed; the answer is their result.
    pub(super) async fn done(&self, command: &str, params: &[(&str, &str)]) -> Value {
        let job = self.job(command, params).await;
        assert_eq!(job["jobstatus"], 1, "{command}: {job}");
        job["jobresult"].clone()
    }

    /// The same, for jobs that fail; the answer is code and text.
    pub(super) async fn failure(&self, command: &str, params: &[(&str, &str)]) -> (u64, String) {
        let job = self.job(command, params).await;
        assert_eq!(job["jobstatus"], 2, "{command}: {job}");
        let result = &job["jobresult"];
        let text = result["errortext"].as_str().unwrap_or_default();
        (
            result["errorcode"].as_u64().unwrap_or_default(),
            text.to_owned(),
        )
    }

    /// A VPC `v` with a tier `t` and an ACL list `l`.
    pub(super) async fn stack(&self) -> Stack {
        let vpc = self
            .done(
                "createVPC",
                &[
                    ("name", "v"),
                    ("cidr", "10.1.0.0/16"),
                    ("zoneid", &self.zone),
                    ("vpcofferingid", &self.vpc_offering),
                ],
            )
            .await;
        let vpc = vpc["vpc"]["id"].as_str().unwrap().to_owned();
        let list = self
            .done("createNetworkACLList", &[("name", "l"), ("vpcid", &vpc)])
            .await;
        let list = list["networkacllist"]["id"].as_str().unwrap().to_owned();
        let tier = self.tier(&vpc, &list, "t", "10.1.0.1").await;
        let tier = tier["network"]["id"].as_str().unwrap().to_owned();
        Stack { vpc, tier, list }
    }

    pub(super) fn tier_params<'a>(
        &'a self,
        vpc: &'a str,
        list: &'a str,
        name: &'a str,
        gateway: &'a str,
    ) -> Vec<(&'a str, &'a str)> {
        vec![
            ("name", name),
            ("zoneid", &self.zone),
            ("networkofferingid", &self.tier_offering),
            ("vpcid", vpc),
            ("aclid", list),
            ("gateway", gateway),
            ("netmask", "255.255.255.0"),
        ]
    }

    pub(super) async fn tier(&self, vpc: &str, list: &str, name: &str, gateway: &str) -> Value {
        self.tenant("createNetwork", &self.tier_params(vpc, list, name, gateway))
            .await
    }

    /// The parameters of a deploy into a tier.
    pub(super) fn deploy<'a>(
        &'a self,
        tier: &'a str,
        name: &'a str,
        more: &[(&'a str, &'a str)],
    ) -> Vec<(&'a str, &'a str)> {
        let mut params = vec![
            ("name", name),
            ("networkids", tier),
            ("zoneid", &self.zone),
            ("serviceofferingid", &self.offering),
            ("templateid", &self.template),
        ];
        params.extend_from_slice(more);
        params
    }

    /// A machine that was deployed stopped; the answer is its id.
    pub(super) async fn stopped_vm(&self, tier: &str, name: &str) -> String {
        let params = self.deploy(tier, name, &[("startvm", "false")]);
        let vm = self.done("deployVirtualMachine", &params).await;
        vm["virtualmachine"]["id"].as_str().unwrap().to_owned()
    }

    /// A running machine; the answer is its id.
    pub(super) async fn vm(&self, tier: &str, name: &str) -> String {
        let id = self.stopped_vm(tier, name).await;
        self.done("startVirtualMachine", &[("id", &id)]).await;
        id
    }

    /// The one row of the tenant's list of machines that has this name; null if there is none.
    pub(super) async fn row(&self, name: &str) -> Value {
        let list = self.tenant("listVirtualMachines", &[("name", name)]).await;
        list["virtualmachine"][0].clone()
    }

    /// A public address of a VPC; the answer is its id.
    pub(super) async fn address(&self, vpc: &str) -> String {
        let address = self.done("associateIpAddress", &[("vpcid", vpc)]).await;
        address["ipaddress"]["id"].as_str().unwrap().to_owned()
    }

    /// The row of a public address.
    pub(super) async fn address_row(&self, id: &str) -> Value {
        let list = self.tenant("listPublicIpAddresses", &[("id", id)]).await;
        list["publicipaddress"][0].clone()
    }

    /// An address of the stack that leads to a machine.
    pub(super) async fn nat(&self, stack: &Stack, vm: &str) -> String {
        let address = self.address(&stack.vpc).await;
        self.tenant(
            "enableStaticNat",
            &[
                ("ipaddressid", &address),
                ("virtualmachineid", vm),
                ("networkid", &stack.tier),
            ],
        )
        .await;
        address
    }
}
