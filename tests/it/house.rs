//! The rules of the house, held by tests: who may import whom, how long things may be, that prose
//! names only what exists, and that what `deploy/` holds can be deployed.
//!
//! Each rule is a function from text to complaints. A test applies it to the tree, and another
//! one to a text that breaks it, so that a rule which finds nothing any more is noticed.

mod deploy;
mod length;
mod prose;
mod source;
mod walls;

use std::path::Path;

/// The root of the repository.
fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

#[track_caller]
fn assert_none(complaints: &[String]) {
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}
