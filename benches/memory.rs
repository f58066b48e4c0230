//! The memory that stacks and their plans take, from ten stacks to a thousand, and that ten thousand
//! objects in a store take.
//!
//! Counted by the allocator, which makes it exact, and slow: time is measured in `plan`.

#![allow(clippy::print_stdout, reason = "the table is what a bench is for")]

mod support;

use std::{alloc::System, process::ExitCode};

use serde_json::json;
use stats_alloc::{INSTRUMENTED_SYSTEM, Stats, StatsAlloc};
use support::{
    figures::{Figures, count},
    fleet::Fleet,
};
use weir::{
    clock::Clock,
    store::Store,
    types::meta::{Kind, Object},
};

/// Everything that is allocated is counted.
#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How much more memory a stack may take among a thousand than among ten.
const GROWTH_MAX: f64 = 1.10;

/// Objects in a store, with as many changes in its history.
const OBJECTS: usize = 10_000;

/// MiB that they may take together, sled's cache and its bookkeeping included.
const OBJECTS_MIB_MAX: f64 = 80.0;

/// Bytes that are allocated now.
fn held(stats: Stats) -> usize {
    stats.bytes_allocated - stats.bytes_deallocated
}

/// Bytes that ten thousand machines take in a store on the disk.
async fn stored() -> f64 {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(dir.path(), Clock::system()).expect("a fresh state folder");
    let before = held(ALLOCATOR.stats());
    for callers in 0..OBJECTS / 100 {
        let made = (0..100).map(|n| {
            let machine = json!({
                "apiVersion": "weir.dev/v1alpha1", "kind": "Machine",
                "metadata": {"name": format!("ims-sprout-{}", callers * 100 + n),
                             "namespace": "default", "labels": {"weir.dev/stack": "ims"}},
                "spec": {"stackRef": {"name": "ims"}, "role": "sprout", "index": n},
                "status": {"phase": "Ready", "vmState": "Running", "privateAddress": "10.0.0.9",
                           "publicAddress": "198.51.100.9", "next": "nothing to do",
                           "vmId": "3f0c2f0e-6f2e-4e0e-9c53-1c2a6ad5a7f1"},
            });
            let machine: Object = serde_json::from_value(machine).expect("a machine");
            store.create(machine)
        });
        for made in futures_util::future::join_all(made).await {
            made.expect("it is new");
        }
    }
    let kept = held(ALLOCATOR.stats()) - before;
    let listed = store.list(Kind::Machine, None).await.expect("a list");
    assert_eq!(listed.items.len(), OBJECTS);
    count(kept)
}

/// Bytes that a fleet holds (stacks, ledgers, inventory), and that planning it once allocates and
/// frees again.
fn bytes(size: usize) -> (f64, f64) {
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
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    let mib = runtime.block_on(stored()) / 1024.0 / 1024.0;
    figures.at_most("10,000 machines in a store, MiB", mib, OBJECTS_MIB_MAX);
    figures.judge("memory")
}
