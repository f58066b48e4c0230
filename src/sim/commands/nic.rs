//! Network cards of machines, and their further addresses. Most of what may be wrong with a request
//! is found out by its job, as in the server's `UserVmManagerImpl`.

use std::net::Ipv4Addr;

use super::call::{Answered, Call};
use super::declare::{Command, class, job, sync, vm};
use crate::sim::effects::nic::NicWork;
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::view::vm as view;
use crate::sim::world::{Kind, Nic, SecondaryIp, Uuid, Vm};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    sync(
        "listNics",
        "virtualmachineid!:uuid nicid:uuid networkid:uuid fordisplay:boolean",
        list,
    ),
    job(
        "addNicToVirtualMachine",
        "virtualmachineid!:uuid networkid!:uuid ipaddress macaddress \
         dhcpoptions:map",
        add,
        vm("AddNicToVMCmd"),
    ),
    job(
        "removeNicFromVirtualMachine",
        "virtualmachineid!:uuid nicid!:uuid",
        remove,
        vm("RemoveNicFromVMCmd"),
    ),
    job(
        "updateDefaultNicForVirtualMachine",
        "virtualmachineid!:uuid nicid!:uuid",
        make_default,
        vm("UpdateDefaultNicForVMCmd"),
    ),
    job(
        "addIpToNic",
        "nicid!:uuid ipaddress",
        add_ip,
        class("vm", "AddIpToVmNicCmd", "IpAddress"),
    ),
    job(
        "removeIpFromNic",
        "id!:uuid",
        remove_ip,
        class("vm", "RemoveIpFromVmNicCmd", "IpAddress"),
    ),
];

/// How many further addresses a card can have (`vm.network.nic.max.secondary.ipaddresses`).
const SECONDARY_MAX: usize = 10;

/// `listNics` of a machine.
fn list(call: &mut Call<'_>) -> Answered {
    let id = call.own_vm("virtualmachineid")?;
    call.id("nicid", Kind::Nic)?;
    call.id("networkid", Kind::Network)?;
    let vm = call.world.vms.get(&id);
    let mut nics: Vec<(&Vm, &Nic)> = vm
        .into_iter()
        .flat_map(|vm| vm.nics.iter().map(move |nic| (vm, nic)))
        .filter(|(_, nic)| call.wants("nicid", Some(&nic.id)))
        .filter(|(_, nic)| call.wants("networkid", Some(&nic.network)))
        .collect();
    nics.sort_by_key(|(_, nic)| nic.device);
    call.page("nic", &nics, |(vm, nic)| {
        let row = view::nic_row(call.world, vm, nic);
        row.set("virtualmachineid", vm.id.as_str()).done()
    })
}

fn submit(call: &mut Call<'_>, vm: Uuid, work: NicWork) -> Answered {
    call.submit(Work::Nic(work), Some(vm), None)
}

/// `addNicToVirtualMachine`.
fn add(call: &mut Call<'_>) -> Answered {
    let vm = call.own_vm("virtualmachineid")?;
    let network = call.required_id("networkid", Kind::Network)?;
    let work = NicWork::Add {
        vm: vm.clone(),
        network,
        ip: call.owned_text("ipaddress"),
        mac: call.owned_text("macaddress"),
    };
    submit(call, vm, work)
}

/// `removeNicFromVirtualMachine`.
fn remove(call: &mut Call<'_>) -> Answered {
    let vm = call.own_vm("virtualmachineid")?;
    let nic = call.own("nicid", Kind::Nic)?;
    let work = NicWork::Remove {
        vm: vm.clone(),
        nic,
    };
    submit(call, vm, work)
}

/// `updateDefaultNicForVirtualMachine`.
fn make_default(call: &mut Call<'_>) -> Answered {
    let vm = call.own_vm("virtualmachineid")?;
    let nic = call.own("nicid", Kind::Nic)?;
    let work = NicWork::MakeDefault {
        vm: vm.clone(),
        nic,
    };
    submit(call, vm, work)
}

/// `addIpToNic`: the address is taken at once, and shown by the job.
fn add_ip(call: &mut Call<'_>) -> Answered {
    let nic = call.own("nicid", Kind::Nic)?;
    let wanted = match call.text("ipaddress") {
        Some(ip) => Some(
            ip.parse::<Ipv4Addr>()
                .map_err(|_| ApiError::value(format!("Invalid ip address {ip}")))?,
        ),
        None => None,
    };
    let found = call.world.vm_of_nic(&nic).and_then(|vm| {
        let card = vm.nics.iter().find(|card| card.id == nic)?;
        let network = call.world.networks.get(&card.network)?;
        Some((vm.id.clone(), card.secondary.len(), network.clone()))
    });
    let Some((vm, have, network)) = found else {
        return Err(ApiError::value(format!("There is no nic for the {nic}")));
    };
    if have >= SECONDARY_MAX {
        let text = "Maximum Number of Ips per Nic has been crossed.";
        return Err(ApiError::value(text));
    }
    let ip = match wanted {
        Some(ip) => Some(ip).filter(|ip| call.world.can_have(&network, *ip)),
        None if network.cidr.is_empty() => None,
        None => call.world.free_guest_ip(&network),
    };
    let ip = ip.ok_or_else(|| {
        ApiError::value(format!(
            "Allocating ip to guest nic {nic} failed, please choose another ip"
        ))
    })?;
    let id = call.world.fresh_id();
    let card = call.world.vms.get_mut(&vm);
    let card = card.and_then(|vm| vm.nics.iter_mut().find(|card| card.id == nic));
    if let Some(card) = card {
        card.secondary.push(SecondaryIp { id: id.clone(), ip });
    }
    let work = NicWork::ShowIp { ip: id.clone() };
    call.submit(Work::Nic(work), None, Some(id))
}

/// `removeIpFromNic`.
fn remove_ip(call: &mut Call<'_>) -> Answered {
    let ip = call.own("id", Kind::SecondaryIp)?;
    call.submit(Work::Nic(NicWork::RemoveIp { ip }), None, None)
}
