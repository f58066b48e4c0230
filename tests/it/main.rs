//! The one integration-test binary.

mod drift;
mod recordings;
mod world;
