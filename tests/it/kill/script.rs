//! What one seed draws: the cloud, the account, the moments of the kills, the wounds between.

use fastrand::Rng;
use serde_json::{Value, json};
use weir::sim::{Breakage, Profile, Rule, Who, World};

use super::gate::{How, Moment};

/// Kills in the create, and in the repairs of one life.
pub(super) const KILLS: usize = 3;

/// Kills that are drawn for its delete: not all of them find something left to do.
const KILLS_OF_DELETE: usize = 4;

/// The machines of the stack with two sprouts, by name.
pub(crate) const MACHINES: [&str; 6] = [
    "ims-bono-0",
    "ims-sprout-0",
    "ims-sprout-1",
    "ims-homestead-0",
    "ims-homestead-1",
    "ims-ellis-0",
];

/// Writes that a create takes at least: VPC, ACL list, nine rules, tier, two groups; two
/// addresses with tags and static NAT; six machines deployed, tagged and started.
const CREATE_WRITES: usize = 28;

/// Whose account it is, and what a delete of the stack is to take down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rights {
    /// A plain tenant, whose network stays since his dead VMs hold it.
    Plain,
    /// A tenant who may expunge: everything goes.
    Expunger,
    /// A root admin: everything goes.
    Admin,
}

impl Rights {
    pub(crate) fn who(self) -> Who {
        match self {
            Self::Plain | Self::Expunger => Who::Tenant,
            Self::Admin => Who::Admin,
        }
    }

    /// The manifest's `spec`, with as much to be deleted as such an account can delete.
    pub(crate) fn spec(self) -> Value {
        let policy = match self {
            Self::Plain => json!({"network": "Retain"}),
            Self::Expunger | Self::Admin => json!("Delete"),
        };
        json!({
            "accountRef": {"name": "cloud"}, "domain": "ims.example.com",
            "template": {"name": "Ubuntu 14.04"}, "serviceOffering": {"name": "2vCPU-4GB"},
            "packages": {"repository": "http://mirror.example.net/clearwater"},
            "components": {
                "sprout": {"replicas": 2}, "homestead": {"replicas": 2},
                "homer": {"replicas": 0}, "ralf": {"replicas": 0},
            },
            "deletionPolicy": policy,
        })
    }
}

/// Everything that is drawn before the start, and the luck for the rest.
pub(crate) struct Script {
    pub(crate) seed: u64,
    pub(crate) profile: Profile,
    pub(crate) rights: Rights,
    /// Requests a second. A slow pace leaves recorded steps unsent for seconds.
    pub(crate) pace: u32,
    rng: Rng,
    /// Wounds that were dealt already, so that no machine is remediated more often than its
    /// hourly budget allows.
    dealt: Vec<String>,
}

/// Something that calls for a repair, or for a change that ends the same way.
#[derive(Clone, Debug)]
pub(crate) enum Wound {
    /// Done behind the controller's back.
    Broken(Breakage),
    /// A `Machine` is deleted.
    Replaced(String),
    /// The manifest changes; with the writes that it takes at least.
    Changed(Value, usize),
}

impl Script {
    pub(crate) fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let lab = rng.u32(..8) == 0;
        let rights = match rng.u32(..5) {
            0..3 => Rights::Plain,
            3 => Rights::Expunger,
            _ => Rights::Admin,
        };
        let slow = rng.u32(..4) == 0;
        Self {
            seed,
            profile: if lab { Profile::Lab } else { Profile::Instant },
            rights,
            pace: if slow { [8, 8, 4][rng.usize(..3)] } else { 500 },
            rng,
            dealt: Vec::new(),
        }
    }

    /// Moments spread over a whole create.
    pub(super) fn moments_of_create(&mut self) -> Vec<Moment> {
        let mut places: Vec<usize> = (0..KILLS)
            .map(|_| self.rng.usize(1..=CREATE_WRITES))
            .collect();
        places.sort_unstable();
        let mut before = 0;
        let gap = |place: usize| place - std::mem::replace(&mut before, place);
        let gaps: Vec<usize> = places.into_iter().map(gap).collect();
        gaps.into_iter()
            .map(|gap| self.moment(gap.max(1)))
            .collect()
    }

    /// Moments spread over a whole delete. Most of its writes are sent side by side, so that few
    /// are left after a kill.
    pub(super) fn moments_of_delete(&mut self) -> Vec<Moment> {
        let gaps: Vec<usize> = (0..KILLS_OF_DELETE)
            .map(|_| self.rng.usize(1..=2))
            .collect();
        gaps.into_iter().map(|gap| self.moment(gap)).collect()
    }

    /// A moment at or after a write.
    fn moment(&mut self, write: usize) -> Moment {
        let rng = &mut self.rng;
        let how = match rng.u32(..10) {
            0..2 => How::Lost,
            2..5 => How::Unanswered,
            5..7 => How::Late(rng.u64(20..1_500)),
            7..9 => How::Answered(rng.u64(..40)),
            _ => How::Hung,
        };
        let (further, often) = (rng.usize(1..6), rng.u32(..4));
        Moment {
            write,
            further: if often == 0 { further } else { 0 },
            how,
            pause: rng.u64(..300),
            stumble: (rng.u32(..6) == 0).then(|| rng.u64(..250)),
            restart: matches!(how, How::Hung) || rng.u32(..10) == 0,
        }
    }

    /// A moment within the repair of a wound.
    pub(super) fn moment_of_repair(&mut self, wound: &Wound) -> Moment {
        let write = self.rng.usize(1..=wound.writes());
        self.moment(write)
    }

    /// A wound that was not dealt yet.
    pub(crate) fn wound(&mut self, world: &World) -> Wound {
        loop {
            let (what, wound) = self.any_wound(world);
            if !self.dealt.contains(&what) {
                self.dealt.push(what);
                return wound;
            }
        }
    }

    fn any_wound(&mut self, world: &World) -> (String, Wound) {
        // Strangers may not touch what is the admin's; for them it is what befalls it by itself.
        let drawn = match self.rights {
            Rights::Admin => [0, 3, 4, 5, 19, 20, 22, 23][self.rng.usize(..8)],
            Rights::Plain | Rights::Expunger => self.rng.u32(..24),
        };
        let (what, breakage) = match drawn {
            0..11 => self.wound_of_a_machine(world, drawn),
            11..15 => self.wound_of_a_rule(drawn),
            15..22 => self.wound_of_the_network(world, drawn),
            22 => return self.change(),
            _ => {
                let machine = self.machine();
                let what = format!("replace {machine}");
                return (what, Wound::Replaced(machine.to_owned()));
            }
        };
        (what, Wound::Broken(breakage))
    }

    fn machine(&mut self) -> &'static str {
        MACHINES[self.rng.usize(..MACHINES.len())]
    }

    fn wound_of_a_machine(&mut self, world: &World, drawn: u32) -> (String, Breakage) {
        let machine = self.machine();
        let vm = vm_of(world, machine);
        let (name, offering, ip) = (None, None, None);
        let (what, breakage) = match drawn {
            0 => ("stop", Breakage::StopVm { vm }),
            1 | 2 => {
                let expunge = false;
                ("destroy", Breakage::DestroyVm { vm, expunge })
            }
            3 | 4 => {
                let expunge = true;
                ("expunge", Breakage::DestroyVm { vm, expunge })
            }
            5 => ("error", Breakage::ErrorVm { vm }),
            6 => ("rename", Breakage::RenameVm { vm, name }),
            7 => ("resize", Breakage::ChangeOffering { vm, offering }),
            8 => ("move", Breakage::MoveNic { vm, ip }),
            9 => ("wipe", Breakage::WipeDetails { vm }),
            _ => ("untag", Breakage::DeleteTags { resource: vm }),
        };
        (format!("{what} {machine}"), breakage)
    }

    fn wound_of_a_rule(&mut self, drawn: u32) -> (String, Breakage) {
        let port = [3478, 5060, 5062, 80, 443][self.rng.usize(..5)];
        let rule = |port| Rule {
            port: Some(port),
            list: Some("ims".to_owned()),
            ..Rule::default()
        };
        let (what, breakage) = match drawn {
            11 => ("close", Breakage::ClosePort { rule: rule(port) }),
            12 => ("open", Breakage::AddRule { rule: rule(2222) }),
            13 => {
                let (rule, to) = (rule(port), None);
                ("edit", Breakage::EditRule { rule, to })
            }
            _ => {
                let (rule, to) = (rule(port), None);
                ("renumber", Breakage::RenumberRule { rule, to })
            }
        };
        (what.to_owned(), breakage)
    }

    fn wound_of_the_network(&mut self, world: &World, drawn: u32) -> (String, Breakage) {
        let public = ["ims-bono-0", "ims-ellis-0"][self.rng.usize(..2)];
        let role = ["sprout", "homestead"][self.rng.usize(..2)];
        let address = vm_of(world, public);
        let to = vm_of(world, "ims-sprout-0");
        let (tier, vpc) = ("ims".to_owned(), "ims".to_owned());
        let (what, breakage) = match drawn {
            15 => ("acl", Breakage::ReplaceAcl { tier: Some(tier) }),
            16 => (public, Breakage::DisableNat { address }),
            17 => (public, Breakage::MoveAddress { address, to }),
            18 => (public, Breakage::ReleaseAddress { address }),
            19 => ("", Breakage::DeleteTier { tier }),
            20 => ("", Breakage::DeleteVpc { vpc }),
            _ => {
                let ours = format!("weir-ims-{role}");
                let mut groups = world.affinity_groups.values();
                let group = groups.find(|group| group.name.starts_with(&ours));
                let group = group.map(|group| group.id.clone()).unwrap_or_default();
                (role, Breakage::DeleteAffinityGroup { group })
            }
        };
        (format!("{drawn} {what}"), breakage)
    }

    fn change(&mut self) -> (String, Wound) {
        let (what, spec, writes) = match self.rng.u32(..3) {
            0 => ("template", json!({"template": {"name": "Ubuntu 22.04"}}), 6),
            1 => (
                "offering",
                json!({"components": {"sprout": {"serviceOffering": {"name": "Small Instance"}}}}),
                6,
            ),
            _ => (
                "scale",
                json!({"components": {"sprout": {"replicas": 3}}}),
                3,
            ),
        };
        (what.to_owned(), Wound::Changed(spec, writes))
    }
}

impl Wound {
    /// Writes that its repair takes at least, roughly: some of the moments drawn from it come too
    /// late, and another wound is dealt then.
    fn writes(&self) -> usize {
        match self {
            Self::Broken(Breakage::DeleteVpc { .. }) => CREATE_WRITES,
            Self::Broken(Breakage::DeleteTier { .. }) => 18,
            Self::Broken(Breakage::DestroyVm { .. } | Breakage::ErrorVm { .. }) => 4,
            Self::Broken(
                Breakage::ChangeOffering { .. }
                | Breakage::MoveNic { .. }
                | Breakage::ReleaseAddress { .. },
            ) => 3,
            Self::Broken(Breakage::MoveAddress { .. }) => 2,
            Self::Broken(_) => 1,
            Self::Replaced(_) => 7,
            Self::Changed(_, writes) => *writes,
        }
    }

    /// How many VMs the stack needs anew after it, at most.
    pub(super) fn costs(&self) -> u64 {
        match self {
            Self::Broken(Breakage::DeleteVpc { .. } | Breakage::DeleteTier { .. }) => 7,
            Self::Broken(Breakage::DestroyVm { .. } | Breakage::ErrorVm { .. })
            | Self::Replaced(_) => 1,
            Self::Changed(spec, _) => u64::from(spec["components"]["sprout"]["replicas"].is_u64()),
            Self::Broken(_) => 0,
        }
    }
}

/// The id of the VM that stands for a machine; empty, which is no VM's, if there is none.
pub(crate) fn vm_of(world: &World, machine: &str) -> String {
    let marked = |vm: &&weir::sim::world::Vm| {
        vm.display_name.as_deref() == Some(machine) && !vm.state.is_gone()
    };
    let vm = world.vms.values().find(marked);
    vm.map(|vm| vm.id.clone()).unwrap_or_default()
}
