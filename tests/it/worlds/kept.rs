//! Seeds that failed once, each with a word on what it was. They are lived first in each test run.
//!
//! A seed is a world only as long as what is drawn from it stays the same: whoever changes a drawing
//! gives up what these seeds meant, and looks for others that meet the same by planting the bug again.

/// The seeds.
pub(super) const KEPT: &[(u64, &str)] = &[
    (
        7,
        "a deploy whose job CloudStack forgot left its VM, which nobody ever destroyed",
    ),
    (
        37,
        "a VM destroyed before its deploy was known held the tier of an account that may expunge",
    ),
];
