//! What a user types, through the built binary: `weir sim` and `weir controller` as processes,
//! and commands against them.
//!
//! Nothing here calls the library but for its HTTP client. A test starts a [`lab`], which is cheap,
//! and makes many assertions in it; texts are held by snapshots in which ids, times and addresses
//! of this run are redacted (see [`told`]). Waits are for levels, with a limit that prints what was
//! seen.

pub(crate) mod lab;
pub(crate) mod leader;
pub(crate) mod told;

pub(crate) mod access;
mod account;
mod atrest;
mod describe;
mod diff;
pub(crate) mod etcd;
mod input;
mod manifests;
mod rehearsal;
mod servers;
mod state;
mod transcripts;
