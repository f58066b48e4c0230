//! What strangers do to machines.

use std::net::Ipv4Addr;

use super::{Done, find_vm, force, run};
use crate::sim::effects;
use crate::sim::events::{self, Report, Subject};
use crate::sim::jobs::Work;
use crate::sim::world::catalogue::Catalogue;
use crate::sim::world::{Guest, Vm, VmState, World};

pub(super) fn stop(world: &mut World, name: &str) -> Done {
    let vm = find_vm(world, name)?;
    if vm.state != VmState::Running {
        return Err(format!("{} is {}", vm.name, vm.state));
    }
    effects::turn_off(world, &vm.id, VmState::Stopped);
    let account = vm.account.clone();
    let subject = Subject::vm(world, &vm.id);
    let description = format!("Out of band stop of Vm. Vm Id: {}", vm.id);
    let (kind, state, user) = ("VM.STOP", "Completed", "system");
    let report = Report {
        kind,
        state,
        failed: false,
        description,
        subject,
        user,
        account: &account,
        parent: None,
    };
    events::report(world, report);
    Ok(format!("{} shut itself down", vm.name))
}

/// Leaves a machine `Running` whose guest does not do what that promises.
pub(super) fn lie(world: &mut World, name: &str, guest: Guest) -> Done {
    let vm = find_vm(world, name)?;
    if vm.state != VmState::Running {
        return Err(format!("{} is {}, not Running", vm.name, vm.state));
    }
    if let Some(vm) = world.vms.get_mut(&vm.id) {
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

pub(super) fn destroy(world: &mut World, name: &str, expunge: bool) -> Done {
    let vm = find_vm(world, name)?;
    if expunge {
        let work = Work::Destroy {
            vm: vm.id.clone(),
            expunge,
        };
        force(world, "destroyVirtualMachine", work)?;
        return Ok(format!("{} is destroyed and expunged", vm.name));
    }
    run(world, "destroyVirtualMachine", &[("id", &vm.id)])?;
    Ok(format!("{} is destroyed", vm.name))
}

pub(super) fn error(world: &mut World, name: &str) -> Done {
    let vm = find_vm(world, name)?;
    effects::turn_off(world, &vm.id, VmState::Error);
    Ok(format!("{} is in state Error", vm.name))
}

pub(super) fn rename(world: &mut World, name: &str, to: Option<String>) -> Done {
    let vm = find_vm(world, name)?;
    let to = to.unwrap_or_else(|| format!("{}-x", vm.name));
    run(
        world,
        "updateVirtualMachine",
        &[("id", &vm.id), ("name", &to)],
    )?;
    Ok(format!("{} is called {to} now", vm.name))
}

/// Does something to a stopped machine; one that was running runs again afterwards.
fn while_stopped(
    world: &mut World,
    vm: &Vm,
    change: impl FnOnce(&mut World) -> Result<(), String>,
) -> Result<(), String> {
    let running = vm.state == VmState::Running;
    if running {
        run(
            world,
            "stopVirtualMachine",
            &[("id", &vm.id), ("forced", "true")],
        )?;
    }
    let changed = change(world);
    if running {
        run(world, "startVirtualMachine", &[("id", &vm.id)])?;
    }
    changed
}

pub(super) fn resize(world: &mut World, name: &str, offering: Option<&str>) -> Done {
    let vm = find_vm(world, name)?;
    let mut offered = world.catalogue.service_offerings.iter();
    let other = offered.find(|row| {
        let (id, name) = (Catalogue::text(row, "id"), Catalogue::text(row, "name"));
        offering.map_or(id != vm.offering, |wanted| wanted == id || wanted == name)
    });
    let other = other.ok_or_else(|| "there is no such service offering".to_owned())?;
    let (id, to) = (
        Catalogue::text(other, "id").to_owned(),
        Catalogue::text(other, "name").to_owned(),
    );
    while_stopped(world, &vm, |world| {
        let params = [("id", vm.id.as_str()), ("serviceofferingid", id.as_str())];
        run(world, "changeServiceForVirtualMachine", &params)
    })?;
    Ok(format!("{} has the offering {to} now", vm.name))
}

pub(super) fn move_nic(world: &mut World, name: &str, ip: Option<Ipv4Addr>) -> Done {
    let vm = find_vm(world, name)?;
    let nic = vm
        .nics
        .first()
        .cloned()
        .ok_or_else(|| format!("{} has no card", vm.name))?;
    let tier = world.networks.get(&nic.network).cloned();
    let ip = match ip {
        Some(ip) => Some(ip),
        None => tier.and_then(|tier| world.free_guest_ip(&tier)),
    };
    let ip = ip.ok_or_else(|| "the tier is full".to_owned())?.to_string();
    while_stopped(world, &vm, |world| {
        let params = [("nicid", nic.id.as_str()), ("ipaddress", ip.as_str())];
        run(world, "updateVmNicIp", &params)
    })?;
    Ok(format!("{} has the address {ip} now", vm.name))
}
