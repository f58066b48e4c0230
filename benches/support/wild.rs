//! Requests that nobody would send: any command with values that do not belong there, and forms
//! that are none. They must neither break the simulator nor fill it.

use std::collections::BTreeMap;

use proptest::{
    collection::vec,
    prelude::{BoxedStrategy, Just, Strategy, any, prop_oneof},
    strategy::ValueTree,
    test_runner::TestRunner,
};
use serde_json::Value;
use weir::{
    clock::Clock,
    sim::{Credentials, Profile, Sim, SimConfig, Who},
};

use super::signed::signed;

/// How large the world may become, written down, in bytes: its bounds, not its requests, decide.
/// A new one has a tenth of it.
pub(crate) const WORLD_MAX: usize = 64 << 20;

/// After how many requests the ids are looked up anew that values can name.
const FRESH: usize = 100;

/// How many ids of a kind values can name.
const NAMED: usize = 5;

/// A request, by numbers that stand for what there is: how it is sent, which command, values by
/// the place of the parameter that they are for, and a text that belongs nowhere.
type Wild = (usize, usize, Vec<(usize, String)>, String);

/// A command, as the simulator itself tells.
struct Command {
    name: String,
    /// Its parameters, and whether they are required.
    params: Vec<(String, bool)>,
}

/// The ids that values can name, by what parameters call them.
type Ids = BTreeMap<&'static str, Vec<String>>;

/// Sends wild requests to a simulator of its own.
pub(crate) struct Wilderness {
    /// Who is to bear it.
    pub(crate) sim: Sim,
    /// How many requests got each status.
    pub(crate) answered: BTreeMap<u16, usize>,
    keys: Credentials,
    commands: Vec<Command>,
    ids: Ids,
    sent: usize,
    strategy: BoxedStrategy<Wild>,
    runner: TestRunner,
}

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

fn wild() -> BoxedStrategy<Wild> {
    let values = vec((any::<usize>(), value()), 0..8);
    (any::<usize>(), any::<usize>(), values, any::<String>()).boxed()
}

impl Wilderness {
    /// A world with a VPC, a tier and a machine in it. The same requests come each time.
    pub(crate) async fn new(clock: Clock) -> Self {
        let sim = Sim::new(SimConfig {
            profile: Profile::Instant,
            seed: 1,
            clock,
            state_file: None,
        });
        Self {
            keys: sim.credentials(Who::Tenant),
            commands: commands(&sim).await,
            ids: Ids::new(),
            sent: 0,
            answered: BTreeMap::new(),
            strategy: wild(),
            runner: TestRunner::deterministic(),
            sim,
        }
    }

    /// Draws and sends the next request.
    ///
    /// # Panics
    /// Its status is none that CloudStack has.
    pub(crate) async fn next(&mut self) {
        if self.sent.is_multiple_of(FRESH) {
            self.refresh().await;
        }
        self.sent += 1;
        let drawn = self.strategy.new_tree(&mut self.runner);
        let request = drawn.expect("every request can be drawn").current();
        let status = self.send(&request).await;
        let told = matches!(status, 200 | 400 | 401 | 405 | 430..=437 | 503 | 530..=537);
        assert!(told, "{status} for number {}: {request:?}", self.sent);
        *self.answered.entry(status).or_default() += 1;
    }

    /// Makes good what requests have undone: there is a machine, and the server takes jobs.
    async fn refresh(&mut self) {
        let cancel = [("command", "cancelShutdown")];
        self.sim.call(Who::Admin, &cancel).await;
        if self.sim.world(|world| world.vms.is_empty()) {
            furnish(&self.sim).await;
        }
        self.ids = ids(&self.sim);
    }

    async fn send(&self, request: &Wild) -> u16 {
        let (how, command, values, garbage) = request;
        let command = &self.commands[command % self.commands.len()];
        let (how, dutiful) = (how / 2, how % 2 == 0);
        let mut params = vec![("command", command.name.as_str())];
        for (place, text) in values {
            let named = command.params.get(place % command.params.len().max(1));
            let name = named.map_or(garbage.as_str(), |(name, _)| name);
            params.push((name, self.meant(name, text)));
        }
        let required = command.params.iter().filter(|(_, required)| *required);
        for (name, _) in required.filter(|_| dutiful) {
            if params.iter().all(|(given, _)| given != name) {
                params.push((name, self.plausible(name)));
            }
        }
        let reply = match how % 8 {
            0 => {
                let name = &command.name;
                let query = format!("command={name}&{garbage}=%zz&response=json&{garbage}");
                self.sim.post(&query, garbage).await
            }
            1 => self.sim.post("", &signed(&self.keys, &params)).await,
            how => {
                let who = [Who::Admin, Who::Tenant, Who::Operator][how % 3];
                self.sim.call(who, &params).await
            }
        };
        reply.status
    }

    /// A value, where `#` and a number stand for an id: one that fits the parameter, or any.
    fn meant<'text>(&'text self, name: &str, text: &'text str) -> &'text str {
        let place = text.strip_prefix('#').map(str::parse::<usize>);
        let Some(Ok(place)) = place else { return text };
        let fitting = self.ids.get(name).filter(|ids| !ids.is_empty());
        match fitting.filter(|_| place % 4 != 0) {
            Some(ids) => &ids[place % ids.len()],
            None => self.any_id(place),
        }
    }

    fn any_id(&self, place: usize) -> &str {
        let ids: Vec<&String> = self.ids.values().flatten().collect();
        ids[place % ids.len()]
    }

    /// Something that a required parameter may well have.
    fn plausible(&self, name: &str) -> &str {
        let fitting = self.ids.get(name).and_then(|ids| ids.first());
        match (fitting, name) {
            (Some(id), _) => id,
            (None, "cidr" | "cidrlist") => "10.1.0.0/16",
            (None, "resourcetype") => "UserVm",
            (None, "resourceids") => self.plausible("virtualmachineid"),
            (None, name) if name.ends_with("port") => "80",
            (None, name) if name.ends_with("id") => self.any_id(self.sent),
            (None, _) => "a",
        }
    }

    /// How large the world is, written down, in bytes.
    pub(crate) fn size(&self) -> usize {
        let written = self.sim.world(|world| serde_json::to_vec(world));
        written.expect("a world can be written").len()
    }
}

/// Lets the tenant have a VPC with a tier and a machine, as far as limits allow.
async fn furnish(sim: &Sim) {
    let offered = sim.world(|world| world.catalogue.clone());
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let zone = text(&offered.zone["id"]);
    let vpc = [
        ("command", "createVPC"),
        ("name", "v"),
        ("cidr", "10.1.0.0/16"),
        ("zoneid", &zone),
        ("vpcofferingid", &text(&offered.vpc_offerings[0]["id"])),
    ];
    let vpc = text(&sim.call(Who::Tenant, &vpc).await.inner()["id"]);
    let tier = [
        ("command", "createNetwork"),
        ("name", "t"),
        ("zoneid", &zone),
        ("vpcid", &vpc),
        (
            "networkofferingid",
            &text(&offered.network_offerings[0]["id"]),
        ),
        ("gateway", "10.1.0.1"),
        ("netmask", "255.255.255.0"),
    ];
    let tier = text(&sim.call(Who::Tenant, &tier).await.inner()["network"]["id"]);
    let vm = [
        ("command", "deployVirtualMachine"),
        ("name", "a"),
        ("zoneid", &zone),
        ("networkids", &tier),
        (
            "serviceofferingid",
            &text(&offered.service_offerings[0]["id"]),
        ),
        ("templateid", &text(&offered.templates[0]["id"])),
    ];
    sim.call(Who::Tenant, &vm).await;
}

/// Every command that there is.
async fn commands(sim: &Sim) -> Vec<Command> {
    let list = [("command", "listApis")];
    let apis = sim.call(Who::Admin, &list).await.inner()["api"].take();
    let rows = apis.as_array().into_iter().flatten();
    let named = |row: &Value| row["name"].as_str().unwrap_or_default().to_owned();
    let commands: Vec<_> = rows
        .map(|row| {
            let params = row["params"].as_array().into_iter().flatten();
            let params = params.map(|param| (named(param), param["required"] == true));
            let (name, params) = (named(row), params.collect());
            Command { name, params }
        })
        .collect();
    assert!(commands.len() > 100, "only {} commands", commands.len());
    commands
}

/// The ids that a wild value can name.
fn ids(sim: &Sim) -> Ids {
    sim.world(|world| {
        let offered = &world.catalogue;
        let row = |row: &serde_json::Map<String, Value>| {
            let id = row["id"].as_str().map(str::to_owned);
            id.into_iter().collect::<Vec<_>>()
        };
        let vms: Vec<String> = world.vms.keys().take(NAMED).cloned().collect();
        let networks: Vec<String> = world.networks.keys().take(NAMED).cloned().collect();
        let addresses: Vec<String> = world.addresses.keys().take(NAMED).cloned().collect();
        let everything = vms.iter().chain(&networks).chain(&addresses);
        let mut ids = Ids::from([
            ("zoneid", row(&offered.zone)),
            ("templateid", row(&offered.templates[0])),
            ("serviceofferingid", row(&offered.service_offerings[0])),
            ("vpcofferingid", row(&offered.vpc_offerings[0])),
            ("networkofferingid", row(&offered.network_offerings[0])),
            ("vpcid", world.vpcs.keys().take(NAMED).cloned().collect()),
            (
                "aclid",
                world.acl_lists.keys().take(NAMED).cloned().collect(),
            ),
            (
                "projectid",
                world.projects.keys().take(NAMED).cloned().collect(),
            ),
            (
                "domainid",
                world.domains.keys().take(NAMED).cloned().collect(),
            ),
            (
                "volumeid",
                world.volumes.keys().take(NAMED).cloned().collect(),
            ),
            ("id", everything.cloned().collect()),
        ]);
        ids.extend([
            ("virtualmachineid", vms.clone()),
            ("virtualmachineids", vms),
            ("networkid", networks.clone()),
            ("networkids", networks),
            ("ipaddressid", addresses.clone()),
            ("publicipid", addresses),
        ]);
        ids
    })
}
