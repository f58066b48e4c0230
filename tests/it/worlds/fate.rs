//! What one seed draws for a world: whose it is, what befalls it, and when.

use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};
use weir::sim::{Fault, FaultKind, HostFailure, World};

use crate::kill::{
    audit::Strangers,
    script::{Rights, Script, Wound},
};

use super::{
    aims::{self, Aim},
    doom::{Doom, Place},
    errand::{self, Errand},
};

/// Most incidents of one world, those of its delete not counted.
const INCIDENTS_MAX: usize = 14;

/// How much a world has of everything. What shows only after a long history, or with many machines, is
/// sought in some, and what two coincidences do in many.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    /// Up to [`INCIDENTS_MAX`] incidents.
    Long,
    /// A few.
    Short,
    /// Fewer, in one stack of four machines instead of six, and one blow to its delete.
    Brief,
}

impl Length {
    /// That of a seed's world.
    pub(super) const fn of(seed: u64) -> Self {
        match seed {
            ..1_000 => Self::Long,
            1_000..10_000 if seed.is_multiple_of(4) => Self::Long,
            1_000..10_000 => Self::Short,
            _ if seed.is_multiple_of(20) => Self::Long,
            _ => Self::Brief,
        }
    }

    /// Whether the world of a seed has a calm.
    pub(super) const fn has_a_calm(seed: u64) -> bool {
        seed.is_multiple_of(if seed < 1_000 { 4 } else { 20 })
    }
}

/// The stack that every world has.
pub(super) const FIRST: &str = "ims";

/// The stack that some worlds have beside it, in the same account.
pub(super) const SECOND: &str = "lab";

/// Something that happens.
#[derive(Clone, Debug)]
pub(super) enum Incident {
    Wound(Wound),
    Doom(Doom),
    Fault(Fault),
    /// The management server is restarted.
    Restart,
    /// A colleague does something with the account's own API, and its job runs beside ours.
    Errand(Errand),
    /// The host with the most machines fails.
    Host(HostFailure),
    /// All hosts are well again.
    HostsBack,
    /// The account may have no more of something than it has, and so many more.
    Limit(&'static str, i64),
    /// It may have what it likes again.
    NoLimit,
    /// The account is locked for a while.
    Locked(Duration),
    /// Whether the account may expunge is changed.
    Expunge,
    /// The store's disk is full for a while; then the controller is started again.
    DiskFull(Duration),
    /// A stack is deleted, and made again under its name once it is gone.
    Reborn(&'static str),
    /// A stack's manifest is edited.
    Edit(&'static str, Value),
}

/// See the module.
pub(super) struct Fate {
    pub(super) script: Script,
    /// The stacks of the world.
    pub(super) stacks: Vec<&'static str>,
    /// Faults and deaths that wait for one command each.
    pub(super) aims: Vec<Aim>,
    rng: Rng,
}

impl Fate {
    pub(super) fn of(seed: u64) -> Self {
        let script = Script::of(seed);
        let mut rng = Rng::with_seed(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let two = rng.u32(..6) == 0 && Length::of(seed) != Length::Brief;
        Self {
            stacks: if two {
                vec![FIRST, SECOND]
            } else {
                vec![FIRST]
            },
            aims: aims::of(seed, script.rights),
            script,
            rng,
        }
    }

    /// The manifest of a stack.
    pub(super) fn spec(&self, stack: &str) -> Value {
        let mut spec = self.script.rights.spec();
        if self.length() == Length::Brief {
            // Two of one role are enough for a role that loses one.
            spec["components"]["homestead"] = json!({"replicas": 1});
            spec["components"]["ellis"] = json!({"replicas": 0});
        }
        if stack == SECOND {
            spec["domain"] = "lab.example.com".into();
            spec["components"] = json!({
                "sprout": {"replicas": 1}, "homestead": {"replicas": 1},
                "homer": {"replicas": 0}, "ralf": {"replicas": 0}, "ellis": {"replicas": 0},
            });
        }
        spec
    }

    fn length(&self) -> Length {
        Length::of(self.script.seed)
    }

    pub(super) fn incidents(&mut self) -> usize {
        let drawn = self.rng.usize(3..=INCIDENTS_MAX);
        match self.length() {
            Length::Long => drawn,
            Length::Short => drawn.min(5),
            Length::Brief => drawn.min(3),
        }
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

    /// How many deaths, and how many faults, befall a delete.
    pub(super) fn blows_to_the_delete(&self) -> usize {
        match self.length() {
            Length::Long | Length::Short => 2,
            Length::Brief => 1,
        }
    }

    /// How long a delete may take before somebody looks for a job that hangs: mostly soon, now and
    /// then so late that whatever ends by itself has ended.
    pub(super) fn stuck_for(&mut self) -> Duration {
        Duration::from_secs(match self.rng.u32(..8) {
            0 => 1_800,
            _ => 240,
        })
    }

    pub(super) fn incident(&mut self, world: &World, strangers: &Strangers) -> Incident {
        match self.rng.u32(..40) {
            0..8 => Incident::Wound(self.script.wound(world)),
            8..16 => Incident::Doom(self.doom()),
            16..25 => Incident::Fault(self.fault()),
            25 => Incident::Restart,
            26..31 => Incident::Errand(errand::drawn(&mut self.rng, world, strangers)),
            31..35 => Incident::Edit(self.stack(), self.edit()),
            _ => self.calamity(),
        }
    }

    /// What befalls all at once.
    fn calamity(&mut self) -> Incident {
        let rng = &mut self.rng;
        match rng.u32(..10) {
            0 => Incident::Host([HostFailure::Down, HostFailure::Undetermined][rng.usize(..2)]),
            1 => Incident::HostsBack,
            2 | 3 => {
                let what = ["user_vm", "public_ip", "cpu", "memory", "vpc"][rng.usize(..5)];
                Incident::Limit(what, rng.i64(0..2))
            }
            4 => Incident::NoLimit,
            5 => Incident::Locked(Duration::from_secs(rng.u64(5..1_200))),
            6 => Incident::Expunge,
            7 | 8 => Incident::DiskFull(Duration::from_millis(rng.u64(..120_000))),
            _ => Incident::Reborn(self.stack()),
        }
    }

    fn stack(&mut self) -> &'static str {
        self.stacks[self.rng.usize(..self.stacks.len())]
    }

    /// A change of the manifest that ends in a stack which the audit knows to judge.
    fn edit(&mut self) -> Value {
        let rng = &mut self.rng;
        let replicas =
            |role: &str, replicas: u32| json!({"components": {role: {"replicas": replicas}}});
        match rng.u32(..9) {
            0 | 1 => replicas("sprout", rng.u32(1..=3)),
            2 => replicas("homestead", rng.u32(1..=3)),
            3 => replicas("bono", rng.u32(1..=2)),
            4 => replicas("ellis", rng.u32(..2)),
            5 => {
                let template = ["Ubuntu 14.04", "Ubuntu 22.04"][rng.usize(..2)];
                json!({"template": {"name": template}})
            }
            6 => {
                let offering = ["2vCPU-4GB", "Small Instance"][rng.usize(..2)];
                json!({"serviceOffering": {"name": offering}})
            }
            7 => json!({"update": {
                "maxSurge": rng.u32(..=2), "maxUnavailable": rng.u32(1..=2),
            }}),
            _ => {
                let where_from = format!("http://mirror-{}.example.net/clearwater", rng.u32(..9));
                json!({"packages": {"repository": where_from}})
            }
        }
    }

    pub(super) fn doom(&mut self) -> Doom {
        Doom {
            place: Place::ALL[self.rng.usize(..Place::ALL.len())],
            after: self.rng.u32(..8),
            at: None,
            time: Duration::ZERO,
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
        match rng.u32(..17) {
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
            15 => FaultKind::HangJob,
            _ => FaultKind::HypervisorStopFails,
        }
    }

    /// Whether this world's controller is listened to, for what it must not say.
    pub(super) fn listened(&self) -> bool {
        self.script.seed.is_multiple_of(8) && self.length() != Length::Brief
    }

    /// Whether a delete leaves the network.
    pub(super) fn retains(&self) -> bool {
        self.script.rights == Rights::Plain
    }
}
