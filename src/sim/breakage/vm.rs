//! What strangers do to machines.

use std::net::Ipv4Addr;

use super::{By, Done, find_vm};
use crate::sim::effects;
use crate::sim::jobs::Work;
use crate::sim::world::catalogue::Catalogue;
use crate::sim::world::{Guest, Vm, VmState};

pub(super) fn stop(by: &mut By<'_>, name: &str) -> Done {
    let vm = find_vm(by.world, name)?;
    if vm.state != VmState::Running {
        return Err(format!("{} is {}", vm.name, vm.state));
    }
    by.world.power_off(&vm, &vm.account);
    Ok(format!("{} shut itself down", vm.name))
}

/// Leaves a machine `Running` whose guest does not do what that promises.
pub(super) fn lie(by: &mut By<'_>, name: &str, guest: Guest) -> Done {
    let vm = find_vm(by.world, name)?;
    if vm.state != VmState::Running {
        return Err(format!("{} is {}, not Running", vm.name, vm.state));
    }
    if let Some(vm) = by.world.vms.get_mut(&vm.id) {
        vm.guest = guest;
    }
    let how = match guest {
        Guest::Alive => "is alive",
        Guest::Hung => "hangs",
        Guest::Dead => "is dead",
    };
    Ok(format!(
        "the guest of {} {how} and the machine is Running",
        vm.name
    ))
}

pub(super) fn destroy(by: &mut By<'_>, name: &str, expunge: bool) -> Done {
    let vm = find_vm(by.world, name)?;
    if expunge {
        let work = Work::Destroy {
            vm: vm.id.clone(),
            expunge,
            volumes: Vec::new(),
        };
        by.force("destroyVirtualMachine", work)?;
        return Ok(format!("{} is destroyed and expunged", vm.name));
    }
    by.run("destroyVirtualMachine", &[("id", &vm.id)])?;
    Ok(format!("{} is destroyed", vm.name))
}

pub(super) fn error(by: &mut By<'_>, name: &str) -> Done {
    let vm = find_vm(by.world, name)?;
    effects::turn_off(by.world, &vm.id, VmState::Error);
    Ok(format!("{} is in state Error", vm.name))
}

pub(super) fn rename(by: &mut By<'_>, name: &str, to: Option<String>) -> Done {
    let vm = find_vm(by.world, name)?;
    let to = to.unwrap_or_else(|| format!("{}-x", vm.name));
    by.run("updateVirtualMachine", &[("id", &vm.id), ("name", &to)])?;
    Ok(format!("{} is called {to} now", vm.name))
}

/// Does something to a stopped machine; one that was running runs again afterwards.
fn while_stopped(
    by: &mut By<'_>,
    vm: &Vm,
    change: impl FnOnce(&mut By<'_>) -> Result<(), String>,
) -> Result<(), String> {
    let running = vm.state == VmState::Running;
    if running {
        by.run("stopVirtualMachine", &[("id", &vm.id), ("forced", "true")])?;
    }
    let changed = change(by);
    if running {
        by.run("startVirtualMachine", &[("id", &vm.id)])?;
    }
    changed
}

pub(super) fn resize(by: &mut By<'_>, name: &str, offering: Option<&str>) -> Done {
    let vm = find_vm(by.world, name)?;
    let mut offered = by.world.catalogue.service_offerings.iter();
    let other = offered.find(|row| {
        let (id, name) = (Catalogue::text(row, "id"), Catalogue::text(row, "name"));
        offering.map_or(id != vm.offering, |wanted| wanted == id || wanted == name)
    });
    let other = other.ok_or_else(|| "there is no such service offering".to_owned())?;
    let (id, to) = (
        Catalogue::text(other, "id").to_owned(),
        Catalogue::text(other, "name").to_owned(),
    );
    while_stopped(by, &vm, |by| {
        let params = [("id", vm.id.as_str()), ("serviceofferingid", id.as_str())];
        by.run("changeServiceForVirtualMachine", &params)
    })?;
    Ok(format!("{} has the offering {to} now", vm.name))
}

pub(super) fn move_nic(by: &mut By<'_>, name: &str, ip: Option<Ipv4Addr>) -> Done {
    let vm = find_vm(by.world, name)?;
    let nic = vm
        .nics
        .first()
        .cloned()
        .ok_or_else(|| format!("{} has no card", vm.name))?;
    let tier = by.world.networks.get(&nic.network).cloned();
    let ip = match ip {
        Some(ip) => Some(ip),
        None => tier.and_then(|tier| by.world.free_guest_ip(&tier)),
    };
    let ip = ip.ok_or_else(|| "the tier is full".to_owned())?.to_string();
    while_stopped(by, &vm, |by| {
        let params = [("nicid", nic.id.as_str()), ("ipaddress", ip.as_str())];
        by.run("updateVmNicIp", &params)
    })?;
    Ok(format!("{} has the address {ip} now", vm.name))
}
