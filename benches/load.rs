//! A hundred stacks at once, in real time and through real HTTP: made together, broken together,
//! changed together and deleted together. What counts is what each of them costs beside what it must
//! cost, and that nothing is left.

#![allow(clippy::print_stdout, reason = "the tables are what a bench is for")]

mod support;

use std::process::ExitCode;

use serde_json::{Value, json};
use support::{
    figures::{Figures, count},
    manifest::{self, MACHINES, WRITES_MAX},
    stage::{Setting, Stage},
};
use weir::{
    sim::{
        Breakage, Profile,
        world::{AddressState, VmState},
    },
    types::meta::{Kind, Object, ObjectKey},
};

/// Stacks in the account.
const STACKS: usize = 100;

/// Requests that a stack may cost beyond its writes and the polls of its jobs, looks included.
const REQUESTS_MAX: f64 = 100.0;

/// Writes that may be sent more than needed, as a share: an answer that comes after the look which
/// it makes stale can have a command sent that finds its work done.
const WASTE_MAX: f64 = 1.01;

fn name(number: usize) -> String {
    format!("s{number:03}")
}

/// The stack that is measured elsewhere; its network stays, since a tenant's dead machines hold it.
fn stack(number: usize) -> Value {
    let mut stack = manifest::stack(&name(number));
    stack["spec"]["deletionPolicy"] = json!({"network": "Retain"});
    stack
}

fn main() -> ExitCode {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mut figures = Figures::default();
    runtime.block_on(async {
        let setting = Setting {
            resync: "5s",
            limits: json!({"requestsPerSecond": 1000}),
            ..Setting::defaults(Profile::Instant)
        };
        let stage = Stage::warm(setting).await;
        stage.make_room();
        made(&stage, &mut figures).await;
        broken(&stage, &mut figures).await;
        changed(&stage, &mut figures).await;
        deleted(&stage, &mut figures).await;
    });
    figures.judge("a hundred stacks at once")
}

async fn made(stage: &Stage, figures: &mut Figures) {
    stage.sim.clear_requests();
    for number in 0..STACKS {
        stage.create(stack(number)).await;
    }
    all_ready(stage).await;
    let tally = stage.tally();
    println!("\nmade: {tally}");
    let most = count(STACKS * WRITES_MAX) * WASTE_MAX;
    figures.at_most("made: writes", count(tally.writes()), most);
    let each = count(tally.all()) / count(STACKS);
    figures.at_most("made: requests each", each, REQUESTS_MAX);
}

/// A machine of every stack is stopped by somebody.
async fn broken(stage: &Stage, figures: &mut Figures) {
    stage.sim.clear_requests();
    for number in 0..STACKS {
        let vm = format!("{}-sprout-0", name(number));
        stage
            .sim
            .break_it(Breakage::StopVm { vm })
            .expect("it runs");
    }
    let whole = || async { running(stage) == STACKS * MACHINES };
    stage.until("every machine runs again", whole).await;
    all_ready(stage).await;
    let tally = stage.tally();
    println!("\nbroken and repaired: {tally}");
    let waste = count(tally.writes()) / count(STACKS);
    figures.at_most("repaired: writes for each broken machine", waste, WASTE_MAX);
}

/// Every stack gets a second sprout.
async fn changed(stage: &Stage, figures: &mut Figures) {
    stage.sim.clear_requests();
    for number in 0..STACKS {
        let key = ObjectKey::new(Kind::ClearwaterStack, "default", name(number));
        let stored = stage.store.get(&key).await.expect("the store can be read");
        let mut object = json!(stored.expect("it is there"));
        object["spec"]["components"]["sprout"]["replicas"] = 2.into();
        object["metadata"]["resourceVersion"] = "".into();
        let object: Object = serde_json::from_value(object).expect("an object");
        stage.store.update(object).await.expect("it is stored");
    }
    let grown = || async { running(stage) == STACKS * (MACHINES + 1) };
    stage.until("every stack has grown", grown).await;
    all_ready(stage).await;
    let tally = stage.tally();
    println!("\ngrown: {tally}");
    // An address, a deploy, its static NAT, a start, and two calls that tag.
    let waste = count(tally.writes()) / count(STACKS * 6);
    figures.at_most("grown: writes ÷ needed", waste, WASTE_MAX);
}

async fn deleted(stage: &Stage, figures: &mut Figures) {
    stage.sim.clear_requests();
    for number in 0..STACKS {
        let key = ObjectKey::new(Kind::ClearwaterStack, "default", name(number));
        let deleted = stage.store.delete(&key, &Default::default()).await;
        deleted.expect("it is there");
    }
    let gone = || async {
        let left = stage.store.list(Kind::ClearwaterStack, None).await;
        left.expect("the store can be read").items.is_empty()
    };
    stage.until("every stack is gone", gone).await;
    println!("\ndeleted: {}", stage.tally());
    let left = stage.sim.world(|world| {
        let alive = world.vms.values().filter(|vm| !vm.state.is_gone());
        let leased = world
            .addresses
            .values()
            .filter(|row| row.state == AddressState::Allocated);
        alive.count() + leased.filter(|row| !row.source_nat).count()
    });
    figures.at_most(
        "left after the delete: machines and addresses",
        count(left),
        0.0,
    );
    let machines = stage.store.list(Kind::Machine, None).await;
    let machines = machines.expect("the store can be read").items.len();
    figures.at_most(
        "left after the delete: Machine objects",
        count(machines),
        0.0,
    );
}

fn running(stage: &Stage) -> usize {
    stage.sim.world(|world| {
        let vms = world.vms.values();
        vms.filter(|vm| vm.state == VmState::Running).count()
    })
}

async fn all_ready(stage: &Stage) {
    for number in 0..STACKS {
        stage.ready(&name(number)).await;
    }
}
