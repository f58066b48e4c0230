//! The one integration-test binary.

#![allow(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test fails by panicking, and says on standard output what it left out"
)]

/// A world is made of small objects by the thousand: this spares a seed a quarter of its time.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

mod bootstrap;
mod brakes;
mod checklist;
mod cli;
mod clients;
mod conformance;
mod dns;
mod drift;
mod economy;
mod fuzz;
mod health;
mod house;
mod kill;
mod limits;
mod parts;
mod plane;
mod processes;
mod recordings;
mod rehearsal;
mod rollout;
mod store;
mod teardown;
mod world;
mod worlds;

#[path = "../../benches/support/mod.rs"]
mod support;
