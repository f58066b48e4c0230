//! The kinds, ids and values that everything else speaks of. Pure data: no I/O, no clock.
//!
//! - [`meta`]: Kubernetes' object metadata, conditions and keys, and the untyped [`meta::Object`].
//! - [`stack`], [`account`], [`machine`], [`core`]: the kinds, `spec` and `status`.
//! - [`ledger`]: what Weir has recorded of the resources it made; part of a stack's status.
//! - [`inventory`]: what the last look at a CloudStack account saw.
//! - [`action`]: one CloudStack command, decided but not yet sent.
//! - [`rbac`]: who may do what, and what a rule allows.
//! - [`role`], [`port`]: Clearwater's roles, and which port of which role serves whom.
//! - [`openpgp`]: the public key of a package repository.
//! - [`export`]: the file that all objects are written to.
//! - [`admission`]: defaulting and validation of what users write.

pub mod account;
pub mod action;
pub mod admission;
pub mod core;
pub mod duration;
pub mod export;
pub mod id;
pub mod inventory;
pub mod ledger;
pub mod machine;
pub mod meta;
pub mod openpgp;
pub mod port;
pub mod rbac;
pub mod role;
pub mod schema;
pub mod stack;
