//! Kubernetes' wire contract over the store: the HTTPS server that kubectl and the CLI speak to,
//! and a typed client of it.
//!
//! - `server` accepts connections, `dispatch` finds out who asks and what for (`auth`, `route`,
//!   `query`, `negotiate`) and whether they may (`access`), and `read`, `write`, `delete`, `watch`,
//!   `discovery`, `openapi` and `review` answer. `apply` is server-side apply, by what `ownership`
//!   says of who wrote which field. `audit` writes down who asked what. `table` draws what
//!   `kubectl get` prints, `events` is the second group in which events are seen. `collect` takes
//!   away what belonged to something deleted. `limits` says how much is let in.
//! - [`tls`] and [`kubeconfig`] make the certificate authority, the token and the file with which
//!   clients find both.
//! - [`client`] is the other end.
//!
//! The API stores what users write and shows what the controller found; it never talks to
//! CloudStack. A plan asked for over HTTP is made by the [`Hooks`] that the caller wires in.

#![allow(
    clippy::result_large_err,
    reason = "a Status is made at most once a request, and each request ends with it"
)]

pub mod client;
pub mod kubeconfig;
pub mod tls;

mod access;
mod age;
mod apply;
mod audit;
mod auth;
mod body;
mod collect;
mod delete;
mod discovery;
mod dispatch;
mod events;
pub(crate) mod files;
mod limits;
mod negotiate;
mod openapi;
mod ownership;
mod patch;
mod protobuf;
mod query;
mod read;
mod reply;
mod review;
mod route;
mod selector;
mod server;
mod status;
mod table;
mod watch;
mod write;

pub use audit::{Audit, AuditOptions};
pub use auth::{AuthError, AuthOptions, Authenticators, Oidc, token_line};
pub use dispatch::Hooks;
pub use limits::Limits;
pub use server::{Config, serve};
pub use status::{Cause, Details, Status};
