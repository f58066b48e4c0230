//! What fsck finds, on states with one planted damage each.
