//! Which fault or death struck which command, and how often: what a sweep has really tried.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
};

use super::{aims, chaos::Ended, rivals, world::World};

/// How often something struck a command, by its name and the command's.
pub(super) type Struck = BTreeMap<(String, String), u64>;

/// What struck in one world.
pub(super) fn of(world: &World) -> Struck {
    let faults = world.sim.struck().into_iter();
    let faults = faults.map(|((kind, command), count)| ((kind.to_owned(), command), count));
    let dooms = world.fates.struck().into_iter();
    let dooms = dooms.map(|(cell, count)| (cell, u64::from(count)));
    faults.chain(dooms).collect()
}

fn sums(ended: &[Ended]) -> Struck {
    let mut sums = Struck::new();
    for (cell, count) in ended.iter().flat_map(|world| &world.struck) {
        *sums.entry(cell.clone()).or_default() += count;
    }
    sums
}

/// Steps down, faults and deaths across.
pub(super) fn table(ended: &[Ended]) -> String {
    let sums = sums(ended);
    let strikes: BTreeSet<&String> = sums.keys().map(|(strike, _)| strike).collect();
    let commands: BTreeSet<&String> = sums.keys().map(|(_, command)| command).collect();
    let mut text = String::new();
    let mut line = |first: &str, cells: &mut dyn Iterator<Item = String>| {
        write!(text, "{first:30}").unwrap();
        for cell in cells {
            write!(text, "{cell:>7}").unwrap();
        }
        text.push('\n');
    };
    for (number, strike) in strikes.iter().enumerate() {
        line(&format!("{number:2} {strike}"), &mut std::iter::empty());
    }
    line("", &mut (0..strikes.len()).map(|number| number.to_string()));
    for command in commands {
        let mut cells = strikes.iter().map(|strike| {
            let count = sums.get(&((*strike).clone(), command.clone()));
            count.map_or_else(|| ".".to_owned(), ToString::to_string)
        });
        line(command, &mut cells);
    }
    text
}

/// Commands for which the seeds of every run have no sure occasion, with the reason. Longer sweeps
/// have some.
const UNSURE: &[(&str, &str)] = &[
    (
        "rebootVirtualMachine",
        "only a failing probe asks for it, and nothing can be probed here",
    ),
    (
        "expungeVirtualMachine",
        "a tenant who may expunge does so when he destroys; it is sent for what others destroyed",
    ),
    (
        "updateVMAffinityGroup",
        "it waits for a stop after a role's group was made again",
    ),
    (
        "deleteVPC",
        "one request of a life, and only of accounts that delete their network",
    ),
    (
        "deleteNetworkACLList",
        "one request of a life, and only of accounts that delete their network",
    ),
    (
        "deleteNetwork",
        "one request of a life, and only of accounts that delete their network",
    ),
    ("updateNetworkACLItem", "a stranger must have edited a rule"),
    (
        "replaceNetworkACLList",
        "a stranger must have swapped a list",
    ),
    (
        "updateVmNicIp",
        "a stranger must have moved a card, or a running VM be replaced by a tenant",
    ),
    (
        "stopVirtualMachine",
        "a machine must be changed or replaced while it runs",
    ),
    (
        "disableStaticNat",
        "a stranger must have moved an address, or a machine with one be replaced",
    ),
];

/// Cells that the seeds of every run leave empty, with the reason.
const EMPTY: &[(&str, &str, &str)] = &[
    (
        "truncated",
        "createNetworkACLList",
        "one request of a life: of those that are aimed at it, others strike first",
    ),
    (
        "lose-job",
        "createNetworkACLList",
        "one request of a life: of those that are aimed at it, others strike first",
    ),
    (
        "start-fails",
        "startVirtualMachine",
        "of those that are aimed at a start, others strike first",
    ),
];

/// What befalls rivals and never did in any world.
fn never(sums: &Struck) -> Vec<(String, &'static str)> {
    let mut names = rivals::names();
    names.retain(|name| !sums.keys().any(|(strike, _)| strike == name));
    names.into_iter().map(|name| (name, "anything")).collect()
}

/// The cells that must be filled and that no world filled.
pub(super) fn missing(ended: &[Ended]) -> Vec<(String, &'static str)> {
    let sums = sums(ended);
    let never = never(&sums);
    let mut cells = aims::names();
    cells.retain(|(strike, command)| {
        let filled = sums.contains_key(&(strike.clone(), (*command).to_owned()));
        let unsure = UNSURE.iter().any(|(unsure, _)| unsure == command);
        let empty = EMPTY.iter();
        let mut empty = empty.map(|(strike, command, _)| (*strike, *command));
        !filled && !unsure && !empty.any(|cell| cell == (strike.as_str(), *command))
    });
    cells.extend(never);
    cells
}
