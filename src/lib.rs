//! Weir keeps Project Clearwater, an open-source IMS core, running on Apache CloudStack.
//!
//! Start reading at `ARCHITECTURE.md`; the map of modules is there. In short: `types` and `plan`
//! are pure and synchronous, `cloud` and `store` are the two ports, `controller` is the loop that
//! joins them, `api` is the HTTP server that kubectl and the CLI speak to, and `sim` is a
//! CloudStack that misbehaves on request.

pub mod api;
pub mod bootstrap;
pub mod cli;
pub mod clock;
pub mod cloud;
pub mod controller;
pub mod dns;
pub mod execute;
pub mod http;
pub mod names;
pub mod plan;
pub mod run;
pub mod sim;
pub mod store;
pub mod telemetry;
pub mod types;
