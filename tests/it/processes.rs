//! The built binaries as processes, and what befalls processes: SIGKILL by the hundred, SIGSTOP,
//! clocks that jump, disks that are full, read-only or damaged, lines that break, copies made
//! while it writes. Whatever happens, nothing is lost, doubled or left over.
//!
//! `WEIR_SEED=17` runs one seed of those tests that draw, `WEIR_SEED=100..300` a range of them.

mod bed;
mod calls;
mod clocks;
mod copies;
mod disk;
mod frozen;
mod line;
mod mount;
mod records;
mod storm;
