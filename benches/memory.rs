//! The memory that stacks and their plans take, from ten stacks to a thousand.
//!
//! Counted by the allocator, which makes it exact, and slow: time is measured in `plan`.

#![allow(clippy::print_stdout, reason = "the table is what a bench is for")]

mod support;

use std::{alloc::System, process::ExitCode};

use stats_alloc::{INSTRUMENTED_SYSTEM, Stats, StatsAlloc};
use support::{
    figures::{Figures, count},
    fleet::Fleet,
};

/// Everything that is allocated is counted.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How much more memory a stack may take among a thousand than among ten.
const GROWTH_MAX: f64 = 1.10;

/// Bytes that a fleet holds (stacks, ledgers, inventory), and that planning it once allocates and
/// frees again.
fn bytes(size: usize) -> (f64, f64) {
    let held = |stats: Stats| stats.bytes_allocated - stats.bytes_deallocated;
    let before = held(ALLOCATOR.stats());
    let fleet = Fleet::of(size);
    let built = ALLOCATOR.stats();
    let kept = count(held(built) - before);
    fleet.plan_all();
    let passing = count(ALLOCATOR.stats().bytes_allocated - built.bytes_allocated);
    println!(
        "  {size:>6} {:>10.1} {:>10.1} {:>12.1} {:>12.1}",
        kept / 1024.0 / 1024.0,
        kept / 1024.0 / count(size),
        passing / 1024.0 / 1024.0,
        passing / 1024.0 / count(size),
    );
    (kept / count(size), passing / count(size))
}

fn main() -> ExitCode {
    println!(
        "  {:>6} {:>10} {:>10} {:>12} {:>12}",
        "stacks", "held, MiB", "each, KiB", "passing, MiB", "each, KiB"
    );
    let [ten, _, thousand] = [10, 100, 1000].map(bytes);
    let mut figures = Figures::default();
    let (held, passing) = (thousand.0 / ten.0, thousand.1 / ten.1);
    figures.at_most("held by a stack among 1000 ÷ among 10", held, GROWTH_MAX);
    figures.at_most("to plan a stack, the same", passing, GROWTH_MAX);
    figures.judge("planning: memory")
}
