//! Each fault and each death at each command: what a range of seeds goes through one by one, so
//! that no cell of the table of faults and steps stays empty by bad luck.

use std::time::Duration;

use serde_json::json;
use weir::sim::{Breakage, Fault, FaultKind, Rule, World};

use crate::kill::script::{Rights, vm_of};

use super::doom::{Doom, Place};

/// Aims of one world.
const AIMS: usize = 12;

/// The commands that change something, as far as a world has occasion for them.
pub(super) const COMMANDS: [&str; 29] = [
    "createVPC",
    "createNetworkACLList",
    "createNetworkACL",
    "createNetwork",
    "createAffinityGroup",
    "associateIpAddress",
    "deployVirtualMachine",
    "createTags",
    "enableStaticNat",
    "startVirtualMachine",
    "stopVirtualMachine",
    "destroyVirtualMachine",
    "expungeVirtualMachine",
    "disassociateIpAddress",
    "deleteAffinityGroup",
    "deleteNetwork",
    "deleteNetworkACLList",
    "deleteVPC",
    "restoreVirtualMachine",
    "changeServiceForVirtualMachine",
    "updateVirtualMachine",
    "updateVmNicIp",
    "updateVMAffinityGroup",
    "disableStaticNat",
    "deleteTags",
    "updateNetworkACLItem",
    "deleteNetworkACL",
    "replaceNetworkACLList",
    "rebootVirtualMachine",
];

/// Something that waits for one command.
#[derive(Clone, Debug)]
pub(super) enum Aim {
    Doom(Doom),
    Fault(Fault),
}

/// How something strikes.
#[derive(Clone, Debug, PartialEq)]
enum Strike {
    Doom(Place),
    Fault(FaultKind),
}

/// Every way in which a change can go wrong.
fn strikes() -> Vec<Strike> {
    let dooms = [
        Place::BeforeRequest,
        Place::AfterRequest,
        Place::LateRequest,
    ];
    let text = || "Failed to do it".to_owned();
    let faults = [
        FaultKind::LostRequest,
        FaultKind::LostReply,
        FaultKind::Slow { millis: 20_000 },
        FaultKind::Status { code: 503 },
        FaultKind::Html,
        FaultKind::Maintenance,
        FaultKind::Truncated,
        FaultKind::FailJob {
            code: 530,
            text: text(),
        },
        FaultKind::HangJob,
        FaultKind::LoseJob,
        FaultKind::NoCapacity,
        FaultKind::StartFails,
        FaultKind::HypervisorStopFails,
    ];
    let dooms = dooms.into_iter().map(Strike::Doom);
    dooms.chain(faults.into_iter().map(Strike::Fault)).collect()
}

impl Strike {
    /// Whether it can happen to a command at all.
    fn fits(&self, command: &str) -> bool {
        match self {
            Self::Doom(_) => true,
            Self::Fault(kind) => kind.fits(command),
        }
    }

    fn name(&self) -> String {
        match self {
            Self::Doom(place) => format!("{place:?}"),
            Self::Fault(kind) => kind.name().to_owned(),
        }
    }

    fn at(&self, command: &'static str) -> Aim {
        match self {
            Self::Doom(place) => Aim::Doom(Doom {
                place: *place,
                after: 0,
                at: Some(command),
                time: Duration::ZERO,
            }),
            Self::Fault(kind) => Aim::Fault(Fault::once(command, kind.clone())),
        }
    }
}

/// Every command with every way in which it can go wrong.
fn cells() -> Vec<(&'static str, Strike)> {
    let cell = |command: &'static str| {
        let fitting = strikes().into_iter().filter(|strike| strike.fits(command));
        fitting
            .map(move |strike| (command, strike))
            .collect::<Vec<_>>()
    };
    COMMANDS.into_iter().flat_map(cell).collect()
}

/// The cells by name: how it strikes, and at which command.
pub(super) fn names() -> Vec<(String, &'static str)> {
    let cells = cells().into_iter();
    cells
        .map(|(command, strike)| (strike.name(), command))
        .collect()
}

/// The aims of a seed. Seeds that follow each other go through all of them.
pub(super) fn of(seed: u64, rights: Rights) -> Vec<Aim> {
    let cells = cells();
    let first = usize::try_from(seed).unwrap().wrapping_mul(AIMS);
    let places = (first..first + AIMS).map(|place| place % cells.len());
    let aims = places.map(|place| &cells[place]);
    let fitting = aims.filter(|(command, _)| is_sent(command, rights));
    fitting
        .map(|(command, strike)| strike.at(command))
        .collect()
}

/// Whether the controller of such an account has occasion for a command.
fn is_sent(command: &str, rights: Rights) -> bool {
    match command {
        "rebootVirtualMachine" => false,
        "deleteVPC" | "deleteNetwork" | "deleteNetworkACLList" | "expungeVirtualMachine" => {
            rights != Rights::Plain
        }
        "disableStaticNat" | "updateVmNicIp" | "replaceNetworkACLList" => rights != Rights::Admin,
        _ => true,
    }
}

impl Aim {
    pub(super) fn command(&self) -> &str {
        match self {
            Self::Doom(doom) => doom.at.unwrap_or_default(),
            Self::Fault(fault) => fault.command.as_deref().unwrap_or_default(),
        }
    }
}

/// Whether a delete sends a command, so that what waits for it may wait until then.
pub(super) fn is_of_a_delete(command: &str) -> bool {
    let takes = ["delete", "destroy", "expunge", "disassociate"];
    takes.iter().any(|take| command.starts_with(take))
}

/// Whether the controller has no occasion of its own for a command.
pub(super) fn needs_a_call(command: &str) -> bool {
    let own = COMMANDS
        .iter()
        .take_while(|own| **own != "stopVirtualMachine");
    !own.into_iter().any(|own| *own == command)
}

/// A change of the manifest that calls for a command.
pub(super) fn edit_for(command: &str) -> Option<serde_json::Value> {
    Some(match command {
        "restoreVirtualMachine" => json!({"template": {"name": "Ubuntu 22.04"}}),
        "changeServiceForVirtualMachine" | "stopVirtualMachine" => json!({
            "components": {"homestead": {"serviceOffering": {"name": "Small Instance"}}},
        }),
        "destroyVirtualMachine" | "disassociateIpAddress" => {
            json!({"components": {"ellis": {"replicas": 0}}})
        }
        "updateVMAffinityGroup" => json!({
            "components": {"bono": {"replicas": 2}},
            "serviceOffering": {"name": "Small Instance"},
        }),
        _ => return None,
    })
}

/// A breakage that calls for a command.
pub(super) fn breakage_for(command: &str, world: &World) -> Option<Breakage> {
    let vm = || vm_of(world, "ims-sprout-0");
    let rule = |port| Rule {
        port: Some(port),
        list: Some("ims".to_owned()),
        ..Rule::default()
    };
    let (name, ip, to) = (None, None, None);
    Some(match command {
        "updateVirtualMachine" => Breakage::RenameVm { vm: vm(), name },
        "updateVmNicIp" => Breakage::MoveNic { vm: vm(), ip },
        "disableStaticNat" => Breakage::MoveAddress {
            address: vm_of(world, "ims-bono-0"),
            to: vm(),
        },
        "updateNetworkACLItem" => Breakage::EditRule {
            rule: rule(5060),
            to,
        },
        "deleteNetworkACL" => Breakage::AddRule { rule: rule(2222) },
        "replaceNetworkACLList" => Breakage::ReplaceAcl {
            tier: Some("ims".to_owned()),
        },
        "expungeVirtualMachine" => Breakage::DestroyVm {
            vm: vm(),
            expunge: false,
        },
        _ => return None,
    })
}
