//! A simulated CloudStack of operator size: 7,000 machines of one account, in a process of its
//! own, asked over HTTP. How long it takes to deploy them, what a full look costs, and how much
//! memory it all takes.

#![allow(clippy::print_stdout, reason = "the table is what a bench is for")]

mod support;

use std::{
    process::ExitCode,
    time::{Duration, Instant},
};

use futures_util::stream::{self, StreamExt};
use serde_json::Value;
use support::{figures::Figures, served::Served, stage::LISTS};

/// Stacks, each with a VPC and a tier.
const STACKS: usize = 1_000;

/// Machines of a stack, each with a public address, a static NAT and a tag.
const MACHINES: usize = 7;

/// Rows of a page.
const PAGE: usize = 500;

/// Requests in flight while things are made.
const AT_ONCE: usize = 8;

/// How often a full look is taken; the best counts.
const LOOKS: usize = 3;

/// How long all machines may take to be deployed, in seconds.
const DEPLOY_MAX: f64 = 30.0;

/// How much of a processor a full look may take, in seconds.
const LOOK_MAX: f64 = 1.0;

/// How much memory the simulator may take, in MiB.
const MEMORY_MAX: f64 = 200.0;

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async { run().await })
}

#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
async fn run() -> ExitCode {
    let mut figures = Figures::default();
    let cloud = Served::start(&[
        "--profile",
        "instant",
        "--public-range",
        "10.64.0.1-10.64.31.255",
    ])
    .await;
    unbounded(&cloud).await;
    println!("  empty: {:.0} MiB", cloud.memory().now);
    let offered = Offered::read(&cloud).await;

    let tiers = each(STACKS, |number| offered.stack(&cloud, number)).await;
    let (begun, spent) = (Instant::now(), cloud.processor());
    let deploy = |number| offered.machine(&cloud, &tiers[number / MACHINES], number);
    let machines = each(STACKS * MACHINES, deploy).await;
    let (took, spent) = (begun.elapsed(), cloud.processor() - spent);
    println!("  deployed: {:.0} MiB", cloud.memory().now);
    figures.at_most("7,000 machines deployed, s", took.as_secs_f64(), DEPLOY_MAX);
    figures.tell("  of which the simulator's processor, s", seconds(spent));

    let begun = Instant::now();
    let reached = |number: usize| {
        let tier = &tiers[number / MACHINES];
        offered.reached(&cloud, tier, &machines[number])
    };
    each(machines.len(), reached).await;
    let made = begun.elapsed();
    figures.tell("addresses, static NAT and tags for them, s", seconds(made));

    look(&cloud, &mut figures).await;
    let memory = cloud.memory();
    figures.at_most("memory at the end, MiB", memory.now, MEMORY_MAX);
    figures.at_most("the most it ever was, MiB", memory.most, MEMORY_MAX);
    figures.judge("a simulator with 7,000 machines")
}

/// Looks at everything, page by page.
#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
async fn look(cloud: &Served, figures: &mut Figures) {
    let (mut best, mut took, mut rows) = (Duration::MAX, Duration::MAX, 0);
    for _ in 0..LOOKS {
        let (begun, before) = (Instant::now(), cloud.processor());
        rows = 0;
        for list in LISTS {
            rows += all(cloud, list).await;
        }
        best = best.min(cloud.processor() - before);
        took = took.min(begun.elapsed());
    }
    let least = STACKS * (MACHINES * 2 + 2);
    assert!(rows >= least, "{rows} rows seen, of {least}");
    figures.tell("rows of a full look", rows.to_string());
    figures.tell("  time of it, s", seconds(took));
    figures.at_most("  processor of it, s", best.as_secs_f64(), LOOK_MAX);
}

/// Reads a list to its end; gives the number of rows.
async fn all(cloud: &Served, list: &str) -> usize {
    let size = PAGE.to_string();
    let (mut seen, mut page) = (0, 1);
    loop {
        let number = page.to_string();
        let params = [("command", list), ("page", &number), ("pagesize", &size)];
        let answer = cloud.tenant(&params).await;
        let rows = answer.as_object().into_iter().flatten();
        let rows = rows
            .filter_map(|(_, member)| member.as_array())
            .map(Vec::len);
        let rows: usize = rows.sum();
        seen += rows;
        if rows < PAGE {
            return seen;
        }
        page += 1;
    }
}

/// Does a thing for every number, several at once; gives what came of each, in order.
async fn each<T, F: Future<Output = T>>(many: usize, deed: impl Fn(usize) -> F) -> Vec<T> {
    let deeds = stream::iter((0..many).map(deed));
    deeds.buffered(AT_ONCE).collect().await
}

/// Takes the limits away: of the tenant's account, of its VPCs and of the hosts.
async fn unbounded(cloud: &Served) {
    let own = cloud.tenant(&[("command", "listAccounts")]).await;
    let tenant = &own["account"][0];
    for kind in 0..=11 {
        let kind = kind.to_string();
        cloud
            .admin(&[
                ("command", "updateResourceLimit"),
                ("account", &text(&tenant["name"])),
                ("domainid", &text(&tenant["domainid"])),
                ("resourcetype", &kind),
                ("max", "-1"),
            ])
            .await;
    }
    let larger = serde_json::json!({
        "host.memory.mib": 1 << 30,
        "host.cpu.mhz": 1 << 30,
    });
    cloud.set(&larger).await;
}

/// What is offered to everybody.
struct Offered {
    zone: String,
    template: String,
    offering: String,
    vpc_offering: String,
    tier_offering: String,
}

/// A tier and the VPC it is in.
struct Tier {
    vpc: String,
    id: String,
}

impl Offered {
    async fn read(cloud: &Served) -> Self {
        let first = |command: &'static str,
                     row: &'static str,
                     filter: (&'static str, &'static str)| async move {
            let answer = cloud.tenant(&[("command", command), filter]).await;
            text(&answer[row][0]["id"])
        };
        Self {
            zone: first("listZones", "zone", ("available", "true")).await,
            template: first(
                "listTemplates",
                "template",
                ("templatefilter", "executable"),
            )
            .await,
            offering: first(
                "listServiceOfferings",
                "serviceoffering",
                ("issystem", "false"),
            )
            .await,
            vpc_offering: first("listVPCOfferings", "vpcoffering", ("isdefault", "true")).await,
            tier_offering: first(
                "listNetworkOfferings",
                "networkoffering",
                ("forvpc", "true"),
            )
            .await,
        }
    }

    async fn stack(&self, cloud: &Served, number: usize) -> Tier {
        let name = format!("s{number}");
        let vpc = [
            ("command", "createVPC"),
            ("name", &name),
            ("cidr", "10.1.0.0/16"),
            ("zoneid", &self.zone),
            ("vpcofferingid", &self.vpc_offering),
        ];
        let vpc = text(&cloud.tenant(&vpc).await["id"]);
        let tier = [
            ("command", "createNetwork"),
            ("name", &name),
            ("zoneid", &self.zone),
            ("networkofferingid", &self.tier_offering),
            ("vpcid", &vpc),
            ("gateway", "10.1.0.1"),
            ("netmask", "255.255.255.0"),
        ];
        let id = text(&cloud.tenant(&tier).await["network"]["id"]);
        Tier { vpc, id }
    }

    /// Deploys a machine and lets it run.
    async fn machine(&self, cloud: &Served, tier: &Tier, number: usize) -> String {
        let name = format!("vm-{number}");
        let vm = [
            ("command", "deployVirtualMachine"),
            ("name", &name),
            ("networkids", &tier.id),
            ("zoneid", &self.zone),
            ("serviceofferingid", &self.offering),
            ("templateid", &self.template),
        ];
        text(&cloud.tenant(&vm).await["id"])
    }

    /// Gives a machine a public address and a tag.
    async fn reached(&self, cloud: &Served, tier: &Tier, vm: &str) {
        let address = [("command", "associateIpAddress"), ("vpcid", &tier.vpc)];
        let address = text(&cloud.tenant(&address).await["id"]);
        let nat = [
            ("command", "enableStaticNat"),
            ("ipaddressid", &address),
            ("virtualmachineid", vm),
            ("networkid", &tier.id),
        ];
        cloud.tenant(&nat).await;
        let tag = [
            ("command", "createTags"),
            ("resourceids", vm),
            ("resourcetype", "UserVm"),
            ("tags[0].key", "weir.dev/stack"),
            ("tags[0].value", "ims"),
        ];
        cloud.tenant(&tag).await;
    }
}

fn text(value: &Value) -> String {
    let text = value.as_str();
    text.unwrap_or_else(|| panic!("{value} is no text"))
        .to_owned()
}

fn seconds(time: Duration) -> String {
    format!("{:.2}", time.as_secs_f64())
}
