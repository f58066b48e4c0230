//! What the replay needs to know about single lines and commands of the recordings.

use serde_json::Value;
use weir::sim::{Fault, FaultKind, Sim, Who, World};

use super::exchange::Place;

/// The files of the root admin in the order in which they were recorded, all against one server.
/// A time stands where the recorder was started anew, so that `at` begins again at zero; it is
/// the `created` of the first job less its `at`.
pub(super) const ADMIN: &[(&str, Option<&str>)] = &[
    ("admin/00", Some("2026-11-23T05:31:03Z")),
    ("admin/01", None),
    ("admin/02", None),
    ("admin/03", None),
    ("admin/04", None),
    ("admin/05", None),
    ("admin/06", None),
    ("admin/07", None),
    ("admin/10", Some("2026-11-23T05:34:09Z")),
    ("admin/11", None),
    ("admin/12", None),
    ("admin/13", None),
    ("admin/14", None),
    ("admin/15", None),
];

/// The files of the ordinary user, recorded after those of the admin on the same server. They use
/// nothing that the admin left.
pub(super) const TENANT: &[(&str, Option<&str>)] = &[
    ("tenant/10", Some("2026-11-23T05:35:52Z")),
    ("tenant/11", None),
    ("tenant/12", None),
    ("tenant/13", None),
    ("tenant/15", None),
    ("tenant/20", Some("2026-11-23T05:37:26Z")),
    ("tenant/21", None),
    ("tenant/22", None),
    ("tenant/23", None),
    ("tenant/24", None),
    ("tenant/25", Some("2026-11-23T05:39:15Z")),
    ("tenant/26", Some("2026-11-23T06:03:56Z")),
    ("tenant/27", Some("2026-11-23T07:14:22Z")),
    ("tenant/28", Some("2026-11-23T07:16:16Z")),
    ("tenant/29", Some("2026-11-23T07:18:42Z")),
    ("tenant/30", Some("2026-11-23T07:20:39Z")),
];

/// Requests for which the recorder looked up a NIC without writing it down, and the VM it is in.
const LOOKED_UP: &[(&str, usize, &str)] =
    &[("tenant/23", 7, "ac80e1da-61ec-436d-a291-476dbd6a29d5")];

/// The VM (its recorded id) whose NIC has to be looked up before this line.
pub(super) fn looked_up(place: Place) -> Option<&'static str> {
    let entry = LOOKED_UP
        .iter()
        .find(|(file, line, _)| (*file, *line) == (place.file, place.line));
    entry.map(|(.., vm)| *vm)
}

/// How a request proves who sent it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Proof {
    Good,
    /// The signature of another text.
    BadSignature,
    /// A key that nobody has.
    UnknownKey,
}

/// How the recorder proved who it was; it wrote that down as a note.
pub(super) fn proof(note: &str) -> Proof {
    match note {
        "bad signature" => Proof::BadSignature,
        "unknown api key" => Proof::UnknownKey,
        _ => Proof::Good,
    }
}

/// A change to the cloud behind the recorder's back.
#[derive(Clone, Copy)]
enum Switch {
    /// The hypervisor refuses to start anything.
    StartsFail,
    /// The hypervisor refuses to stop anything.
    StopsFail,
    /// The hypervisor works again.
    AllWell,
    /// The next address is being associated when the server dies; without this, by the time of
    /// the kill the job might have ended.
    AssociateIsCaught,
    /// The server purges what was destroyed or is broken. It is not in the recordings, but within
    /// the 24 minutes between two files all wrecks and the static NAT of a destroyed VM had gone,
    /// so the recorded server purged far sooner than after the default day.
    Purge,
}

/// Switches that the recordings do not show as lines of their own; each happened before this line.
const UNRECORDED: &[(&str, usize, Switch)] = &[
    ("admin/14", 16, Switch::StopsFail),
    ("admin/14", 19, Switch::AllWell),
    ("tenant/23", 1, Switch::StartsFail),
    ("tenant/23", 4, Switch::AllWell),
    ("tenant/25", 5, Switch::StartsFail),
    ("tenant/25", 9, Switch::AllWell),
    ("tenant/26", 1, Switch::Purge),
    ("tenant/27", 6, Switch::AssociateIsCaught),
];

/// Turns what was turned before this line.
pub(super) async fn switch_before(sim: &Sim, place: Place) {
    for (file, line, switch) in UNRECORDED {
        if (*file, *line) == (place.file, place.line) {
            turn(sim, *switch).await;
        }
    }
}

/// Does what a line without a request tells of.
pub(super) async fn switch(sim: &Sim, place: Place, note: &str) {
    match note {
        "admin: configureSimulator StartCommand fails" => turn(sim, Switch::StartsFail).await,
        "admin: cleanupSimulatorMock" => turn(sim, Switch::AllWell).await,
        "the management server is killed and started again" => sim.world(World::restart_server),
        _ if note.starts_with("server down") => {}
        _ => panic!("{place}: nobody knows how to do {note:?}"),
    }
}

async fn turn(sim: &Sim, switch: Switch) {
    match switch {
        Switch::StartsFail => sim.add_fault(Fault::always(None, FaultKind::StartFails)),
        Switch::StopsFail => sim.add_fault(Fault::always(None, FaultKind::HypervisorStopFails)),
        Switch::AllWell => sim.clear_faults(),
        Switch::AssociateIsCaught => {
            sim.add_fault(Fault::once("associateIpAddress", FaultKind::HangJob));
        }
        Switch::Purge => purge(sim).await,
    }
}

async fn purge(sim: &Sim) {
    let list = [("command", "listVirtualMachines"), ("listall", "true")];
    let answer = sim.call(Who::Admin, &list).await.json();
    let vms = answer.pointer("/listvirtualmachinesresponse/virtualmachine");
    for vm in vms.and_then(Value::as_array).into_iter().flatten() {
        if let (Some("Destroyed" | "Error" | "Expunging"), Some(id)) =
            (vm["state"].as_str(), vm["id"].as_str())
        {
            let expunge = [
                ("command", "destroyVirtualMachine"),
                ("id", id),
                ("expunge", "true"),
            ];
            sim.call(Who::Admin, &expunge).await;
        }
    }
}
