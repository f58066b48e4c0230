//! The one integration-test binary.

mod recordings;
