//! What the benches share: a controller on a simulated CloudStack, the stack that is measured,
//! and figures that are judged. The integration tests use the same stage for the same counts.

#![allow(dead_code, reason = "each bench uses a part of it")]

pub(crate) mod figures;
pub(crate) mod fleet;
pub(crate) mod ideal;
pub(crate) mod manifest;
pub(crate) mod served;
pub(crate) mod signed;
pub(crate) mod stage;
pub(crate) mod wild;
