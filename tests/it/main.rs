//! The one integration-test binary.

mod drift;
mod parts;
mod recordings;
mod world;
