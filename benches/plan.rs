//! How long planning takes, from ten stacks to a thousand, against one account's inventory.
//!
//! The best of several runs counts, since whatever else the machine does can only make it worse.
//! What must hold is the time of a thousand stacks, and that it grows no faster than their number.

#![allow(clippy::print_stdout, reason = "the table is what a bench is for")]
#![allow(
    clippy::disallowed_methods,
    reason = "a bench measures the machine's time"
)]

mod support;

use std::{process::ExitCode, time::Instant};

use support::{
    figures::{Figures, count},
    fleet::Fleet,
};

/// Runs of which the best counts.
const RUNS: usize = 20;

/// Longest time to plan a thousand stacks, in milliseconds.
const MILLIS_MAX: f64 = 100.0;

/// How much more a stack may cost among a thousand than among ten. What is left is the price of
/// memory that no longer fits into the processor's caches; a quadratic cost would be 100.
const GROWTH_MAX: f64 = 3.0;

/// Milliseconds that it takes to plan so many stacks.
fn millis(size: usize) -> f64 {
    let fleet = Fleet::of(size);
    let run = |_| {
        let started = Instant::now();
        fleet.plan_all();
        started.elapsed().as_secs_f64() * 1000.0
    };
    let best = (0..RUNS).map(run).fold(f64::INFINITY, f64::min);
    println!(
        "  {size:>6} {:>6} {:>6} {best:>10.2} {:>10.1}",
        fleet.inventory.vms.len(),
        fleet.inventory.rules.len(),
        best * 1000.0 / count(size),
    );
    best
}

fn main() -> ExitCode {
    println!(
        "  {:>6} {:>6} {:>6} {:>10} {:>10}",
        "stacks", "VMs", "rules", "all, ms", "each, µs"
    );
    let [ten, _, thousand] = [10, 100, 1000].map(millis);
    let mut figures = Figures::default();
    figures.at_most("a thousand stacks planned, ms", thousand, MILLIS_MAX);
    let growth = thousand / ten / 100.0;
    figures.at_most("a stack among 1000 ÷ among 10", growth, GROWTH_MAX);
    figures.judge("planning: time")
}
