//! What the store takes in and gives out: durable writes a second, and watchers.
//!
//! A write counts once it is flushed to the disk, so the writes of one caller after the other are
//! the disk's own pace; callers that write side by side share a flush.

#![allow(clippy::print_stdout, reason = "the table is what a bench is for")]
#![allow(
    clippy::disallowed_methods,
    reason = "a bench measures the machine's time"
)]

mod support;

use std::{process::ExitCode, time::Instant};

use futures_util::future::join_all;
use serde_json::json;
use support::figures::{Figures, count};
use tokio::task::JoinSet;
use weir::{
    clock::Clock,
    store::{Store, Watch},
    types::meta::{Kind, Object, ResourceVersion},
};

/// Writes of each measurement.
const WRITES: usize = 2_000;

/// Callers that write at once.
const CALLERS: usize = 64;

/// Watchers of everything.
const WATCHERS: usize = 1_000;

/// Events that each of them gets.
const EVENTS: usize = 1_000;

fn machine(name: &str) -> Object {
    let machine = json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "Machine",
        "metadata": {"name": name, "namespace": "default"},
        "spec": {"stackRef": {"name": "ims"}, "role": "sprout", "index": 0},
    });
    serde_json::from_value(machine).expect("a machine")
}

async fn write(store: &Store, names: impl Iterator<Item = String>) {
    for name in names {
        store.create(machine(&name)).await.expect("it is new");
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let dir = tempfile::tempdir().expect("a temporary folder");
    let store = Store::open(dir.path(), Clock::system()).expect("a fresh state folder");
    let mut figures = Figures::default();

    let started = Instant::now();
    write(&store, (0..WRITES / 10).map(|n| format!("one-{n}"))).await;
    let one = count(WRITES / 10) / started.elapsed().as_secs_f64();
    figures.tell("durable writes a second, one caller", format!("{one:.0}"));

    let started = Instant::now();
    let callers = (0..CALLERS).map(|caller| {
        let store = &store;
        let names = (0..WRITES / CALLERS).map(move |n| format!("many-{caller}-{n}"));
        write(store, names)
    });
    join_all(callers).await;
    let many = count(WRITES / CALLERS * CALLERS) / started.elapsed().as_secs_f64();
    let what = format!("durable writes a second, {CALLERS} callers");
    figures.tell(&what, format!("{many:.0}"));
    figures.at_least("writes side by side ÷ one by one", many / one, 2.0);

    fan_out(&store, &mut figures).await;
    figures.judge("store")
}

/// A thousand watchers see a thousand events, each in order.
async fn fan_out(store: &Store, figures: &mut Figures) {
    let from = store.version().await.expect("the store can be read");
    let mut watchers = JoinSet::new();
    for _ in 0..WATCHERS {
        let watch = store.watch(Kind::Machine, Some("default".to_owned()), from);
        let watch = watch.expect("the history reaches back");
        watchers.spawn(follow(watch, from));
    }
    let started = Instant::now();
    let writers = (0..CALLERS).map(|writer| {
        let share = EVENTS / CALLERS + usize::from(writer < EVENTS % CALLERS);
        let names = (0..share).map(move |n| format!("seen-{writer}-{n}"));
        write(store, names)
    });
    join_all(writers).await;
    let written = started.elapsed();
    let mut in_order = 0;
    while let Some(watcher) = watchers.join_next().await {
        in_order += usize::from(watcher.expect("no watcher panics"));
    }
    let seen = started.elapsed();
    let events = count(WATCHERS) * count(EVENTS);
    figures.at_least(
        "watchers that saw every event in order",
        count(in_order),
        count(WATCHERS),
    );
    let rate = events / seen.as_secs_f64();
    figures.tell("events delivered a second", format!("{rate:.0}"));
    let lag = seen.saturating_sub(written);
    figures.tell(
        "the last event is seen after the last write",
        format!("{lag:.0?}"),
    );
}

/// Whether the watcher sees every version after `from`, one after the other.
async fn follow(mut watch: Watch, from: ResourceVersion) -> bool {
    for next in from.0 + 1..=from.0 + EVENTS as u64 {
        match watch.next().await {
            Some(event) if event.version.0 == next => {}
            _ => return false,
        }
    }
    true
}
