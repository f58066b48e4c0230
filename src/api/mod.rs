//! Kubernetes' wire contract over the store: the HTTPS server that kubectl and the CLI speak to,
//! and a typed client of it.
//!
//! - `server` accepts connections, `route` and `request` read what is asked, `read`, `write`,
//!   `watch` and `discovery` answer it; `table` draws what `kubectl get` prints.
//! - [`tls`] and [`kubeconfig`] make the certificate authority, the token and the file with which
//!   clients find both.
//! - [`client`] is the other end.
//!
//! The API stores what users write and shows what the controller found; it never talks to
//! CloudStack. A plan asked for over HTTP is made by the [`Hooks`] that the caller wires in.

pub mod client;
pub mod kubeconfig;
pub mod tls;

mod age;
mod files;
mod negotiate;
mod selector;
mod status;

pub use status::{Cause, Details, Status};
