//! What one seed draws for a world: whose it is, what befalls it, and when.

use std::time::Duration;

use fastrand::Rng;
use weir::sim::{Fault, FaultKind, World};

use crate::kill::script::{Script, Wound};

use super::doom::{Doom, Place};

/// Most incidents of one world, those of its delete not counted.
const INCIDENTS_MAX: usize = 12;

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Incident {
    Wound(Wound),
    Doom(Doom),
    Fault(Fault),
    /// The management server is restarted.
    Restart,
}

/// See the module.
pub(super) struct Fate {
    pub(super) script: Script,
    rng: Rng,
}

impl Fate {
    pub(super) fn of(seed: u64) -> Self {
        Self {
            script: Script::of(seed),
            rng: Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)),
        }
    }

    pub(super) fn incidents(&mut self) -> usize {
        self.rng.usize(3..=INCIDENTS_MAX)
    }

    /// Time to the next incident: mostly within a step, now and then a few looks later.
    pub(super) fn pause(&mut self) -> Duration {
        let rng = &mut self.rng;
        Duration::from_millis(match rng.u32(..4) {
            0 => rng.u64(..200),
            1 => rng.u64(..3_000),
            2 => rng.u64(..20_000),
            _ => rng.u64(..180_000),
        })
    }

    pub(super) fn incident(&mut self, world: &World) -> Incident {
        match self.rng.u32(..20) {
            0..6 => Incident::Wound(self.script.wound(world)),
            6..12 => Incident::Doom(self.doom()),
            12..19 => Incident::Fault(self.fault()),
            _ => Incident::Restart,
        }
    }

    pub(super) fn doom(&mut self) -> Doom {
        Doom {
            place: Place::ALL[self.rng.usize(..Place::ALL.len())],
            after: self.rng.u32(..8),
        }
    }

    pub(super) fn fault(&mut self) -> Fault {
        let kind = self.kind();
        let rng = &mut self.rng;
        Fault {
            count: Some(rng.u32(1..4)),
            skip: rng.u32(..4),
            probability: [1.0, 0.3][rng.usize(..2)],
            ..Fault::always(None, kind)
        }
    }

    fn kind(&mut self) -> FaultKind {
        let rng = &mut self.rng;
        match rng.u32(..16) {
            0 => FaultKind::LostRequest,
            1 | 2 => FaultKind::LostReply,
            3 => FaultKind::Slow {
                millis: rng.u64(..40_000),
            },
            4 => FaultKind::Status {
                code: [401, 429, 500, 502, 503][rng.usize(..5)],
            },
            5 => FaultKind::Html,
            6 => FaultKind::Maintenance,
            7 => FaultKind::Truncated,
            8 => FaultKind::EmptyList,
            9 => FaultKind::ShortList,
            10 => FaultKind::StaleList,
            11 => FaultKind::FailJob {
                code: 530,
                text: "Failed to do it".to_owned(),
            },
            12 => FaultKind::LoseJob,
            13 => FaultKind::NoCapacity,
            14 => FaultKind::StartFails,
            _ => FaultKind::HypervisorStopFails,
        }
    }
}
