//! What jobs do to the network cards of machines.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::json;

use super::vm_power::{plugged, viewer};
use super::{Outcome, success};
use crate::sim::jobs::{Job, JobFailure};
use crate::sim::view::{RowOf, vm as view};
use crate::sim::world::index::VmKey;
use crate::sim::world::{GuestType, Kind, Network, Nic, Uuid, Vm, VmState, World, quoted_network};

/// What a job does to a card.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum NicWork {
    Add {
        vm: Uuid,
        network: Uuid,
        ip: Option<String>,
        mac: Option<String>,
    },
    Remove {
        vm: Uuid,
        nic: Uuid,
    },
    MakeDefault {
        vm: Uuid,
        nic: Uuid,
    },
    /// Shows a further address that the card already has.
    ShowIp {
        ip: Uuid,
    },
    RemoveIp {
        ip: Uuid,
    },
}

impl NicWork {
    /// The machine whose lock this work takes.
    pub(crate) fn locks(&self) -> Option<&Uuid> {
        match self {
            Self::Add { vm, .. } | Self::Remove { vm, .. } => Some(vm),
            Self::MakeDefault { .. } | Self::ShowIp { .. } | Self::RemoveIp { .. } => None,
        }
    }
}

/// Applies a job on a card.
pub(crate) fn finish(world: &mut World, job: &Job, work: &NicWork) -> Outcome {
    let vm = match work {
        NicWork::Add {
            vm,
            network,
            ip,
            mac,
        } => {
            let wish = (ip.as_deref(), mac.as_deref());
            added(world, vm, network, wish)?;
            vm
        }
        NicWork::Remove { vm, nic } => {
            removed(world, vm, nic)?;
            vm
        }
        NicWork::MakeDefault { vm, nic } => {
            made_default(world, vm, nic)?;
            vm
        }
        NicWork::ShowIp { ip } => return shown(world, ip),
        NicWork::RemoveIp { ip } => return ip_removed(world, ip),
    };
    Ok(json!({"virtualmachine": view::narrow(world, &viewer(job), vm, "nics")}))
}

fn refused(text: impl Into<String>) -> JobFailure {
    JobFailure::new(431, text)
}

fn failed(text: impl Into<String>) -> JobFailure {
    JobFailure::new(530, text)
}

fn machine(world: &World, id: &str) -> Result<Vm, JobFailure> {
    let found = world.vms.get(id).filter(|vm| !vm.state.is_gone());
    let missing = || refused(format!("unable to find a virtual machine with id {id}"));
    found.cloned().ok_or_else(missing)
}

/// A machine that can be plugged into something.
fn in_right_state(world: &World, vm: &Vm, doing: &str) -> Result<(), JobFailure> {
    if matches!(vm.state, VmState::Running | VmState::Stopped) {
        return Ok(());
    }
    let quoted = world.quoted(vm);
    Err(failed(format!(
        "{doing}: com.cloud.exception.ResourceUnavailableException: Resource [DataCenter:1] is unreachable: {quoted} is not in the right state"
    )))
}

fn added(
    world: &mut World,
    vm: &str,
    network: &str,
    (ip, mac): (Option<&str>, Option<&str>),
) -> Result<(), JobFailure> {
    let vm = machine(world, vm)?;
    let network = world.networks.get(network).cloned();
    let network = network.ok_or_else(|| refused("unable to find a network with id"))?;
    may_use(&vm, &network)?;
    not_there_yet(world, &vm, &network)?;
    let mac = mac.map(str::to_lowercase).filter(|mac| is_unicast(mac));
    if mac.as_ref().is_some_and(|mac| world.has_mac(&network, mac)) {
        let text = format!(
            "A NIC with this MAC address exists for network: {}",
            network.id
        );
        return Err(failed(text));
    }
    if let Some(ip) = ip.filter(|ip| ip.parse::<Ipv4Addr>().is_err()) {
        let text = format!("Invalid format for IP address parameter: {ip}");
        return Err(refused(text));
    }
    let quoted = world.quoted(&vm);
    in_right_state(world, &vm, &format!("Unable to add NIC to {quoted}"))?;
    let Some(nic) = world.new_card(&network, ip) else {
        let network = quoted_network(&network);
        return Err(failed(format!(
            "Insufficient capacity when adding NIC to {quoted}: Unable to acquire Guest IP address for network {network}"
        )));
    };
    let places = vm.nics.iter().map(|nic| nic.device + 1);
    let nic = Nic {
        device: places.max().unwrap_or(0),
        mac: mac.unwrap_or(nic.mac),
        ..nic
    };
    if let Some(vm) = world.vms.get_mut(&vm.id) {
        vm.nics.push(nic);
    }
    plugged(world, &vm.id);
    Ok(())
}

/// Whether a text is the MAC address of one card; others are replaced by a fresh one.
fn is_unicast(mac: &str) -> bool {
    let bytes: Vec<Option<u8>> = mac
        .split(':')
        .map(|byte| {
            u8::from_str_radix(byte, 16)
                .ok()
                .filter(|_| byte.len() == 2)
        })
        .collect();
    let [Some(first), ..] = bytes.as_slice() else {
        return false;
    };
    bytes.len() == 6 && bytes.iter().all(Option::is_some) && first & 1 == 0
}

fn may_use(vm: &Vm, network: &Network) -> Result<(), JobFailure> {
    let shared = network.guest_type == GuestType::Shared;
    if shared || network.account == vm.account {
        return Ok(());
    }
    let text = format!(
        "Unable to use network with id= {}, permission denied",
        network.id
    );
    Err(JobFailure::new(531, text))
}

fn not_there_yet(world: &World, vm: &Vm, network: &Network) -> Result<(), JobFailure> {
    if vm.nics.iter().any(|nic| nic.network == network.id) {
        return Err(failed(format!(
            "A NIC already exists for VM:{} in network: {}",
            view::instance_name(world, vm),
            network.id
        )));
    }
    let namesakes = world.vms.under(&VmKey::Name(vm.name.to_lowercase()));
    let mut others = namesakes.into_iter().filter(|other| other.id != vm.id);
    if others.any(|other| other.nics.iter().any(|nic| nic.network == network.id)) {
        return Err(failed(format!(
            "{} already has a vm with host name: {}",
            quoted_network(network),
            vm.name
        )));
    }
    Ok(())
}

/// The card of a machine, with how errors name card and network.
fn card(world: &World, vm: &Vm, id: &str) -> Result<(Nic, String), JobFailure> {
    let found = vm.nics.iter().find(|nic| nic.id == id);
    let quoted = world.quoted(vm);
    let nic = found.ok_or_else(|| refused(format!("{id} is not a nic on {quoted}")))?;
    let network = world.networks.get(&nic.network);
    Ok((nic.clone(), network.map(quoted_network).unwrap_or_default()))
}

fn removed(world: &mut World, vm: &str, nic: &str) -> Result<(), JobFailure> {
    let vm = machine(world, vm)?;
    let (nic, network) = card(world, &vm, nic)?;
    let quoted = world.quoted(&vm);
    if vm.nics.first().is_some_and(|first| first.id == nic.id) {
        return Err(refused(format!(
            "Unable to remove nic from {quoted} in {network}, nic is default."
        )));
    }
    if nic
        .ips()
        .any(|ip| world.leads_to(&vm.id, &nic.network, ip).is_some())
    {
        return Err(refused(format!(
            "Unable to remove nic from {quoted} in {network}, nic has associated Port forwarding or Load balancer or Static NAT rules."
        )));
    }
    in_right_state(
        world,
        &vm,
        &format!("Unable to remove {network} from {quoted}"),
    )?;
    if let Some(vm) = world.vms.get_mut(&vm.id) {
        vm.nics.retain(|other| other.id != nic.id);
    }
    for further in &nic.secondary {
        world.bury(Kind::SecondaryIp, &further.id, 0);
    }
    world.bury(Kind::Nic, &nic.id, nic.number);
    world.note_idleness(&nic.network);
    Ok(())
}

fn made_default(world: &mut World, vm: &str, nic: &str) -> Result<(), JobFailure> {
    let vm = machine(world, vm)?;
    let (nic, _) = card(world, &vm, nic)?;
    if vm.nics.first().is_some_and(|first| first.id == nic.id) {
        let text = "refusing to set default nic because chosen nic is already the default";
        return Err(failed(text));
    }
    if !matches!(vm.state, VmState::Running | VmState::Stopped) {
        let quoted = world.quoted(&vm);
        let text = format!("refusing to set default {quoted} is not Running or Stopped");
        return Err(failed(text));
    }
    if let Some(vm) = world.vms.get_mut(&vm.id) {
        // The default card is the first one; each keeps its place in the machine.
        vm.nics.sort_by_key(|other| other.id != nic.id);
    }
    Ok(())
}

fn shown(world: &World, ip: &str) -> Outcome {
    let found = world.nic_of_secondary(ip);
    let (vm, nic) = found.ok_or_else(|| failed("Failed to assign secondary ip to nic"))?;
    let further = nic.secondary.iter().find(|further| further.id == ip);
    let row = RowOf::new()
        .set("id", ip)
        .set("ipaddress", further.map(|further| further.ip.to_string()))
        .set("nicid", nic.id.as_str())
        .set("networkid", nic.network.as_str())
        .set("virtualmachineid", vm.id.as_str());
    Ok(json!({"nicsecondaryip": row.done()}))
}

fn ip_removed(world: &mut World, id: &str) -> Outcome {
    let found = world.nic_of_secondary(id);
    let found = found.map(|(vm, nic)| (vm.id.clone(), nic.clone()));
    let missing = || refused("Unable to find secondary ip address by id");
    let (vm, nic) = found.ok_or_else(missing)?;
    let ip = nic.secondary.iter().find(|further| further.id == id);
    let ip = ip.map(|further| further.ip).ok_or_else(missing)?;
    let rule = match world.leads_to(&vm, &nic.network, ip) {
        Some(rule) => rule,
        None => {
            let nic = world
                .vms
                .get_mut(&vm)
                .and_then(|vm| vm.nics.iter_mut().find(|other| other.id == nic.id));
            if let Some(nic) = nic {
                nic.secondary.retain(|further| further.id != id);
            }
            world.bury(Kind::SecondaryIp, id, 0);
            return success();
        }
    };
    Err(refused(format!(
        "Can't remove the secondary IP {ip} is associate with {rule}"
    )))
}
