//! What happens in some worlds when all is as it should be: lists that lie, a cloud that keeps what is
//! destroyed, and a stranger who copies Weir's marks. Whoever believes the wrong one of them harms
//! nothing that another check would see; so here nothing may be sent at all.

use std::time::Duration;

use weir::{
    sim::{Fault, FaultKind, Who},
    types::{action::mark, meta::Kind},
};

use crate::kill::script::MACHINES;

use super::{
    fate::FIRST,
    world::{PATIENCE, World},
};

/// How long a list lies that does so more than once.
const LIES_FOR: Duration = Duration::from_secs(60);

/// How often every machine is replaced while nothing can be destroyed.
const REPLACED: usize = 8;

/// Lists lack a row, are short of their count, or cannot be read, and so are answers by id.
pub(super) async fn lied_to(world: &World) -> Result<(), String> {
    for (command, kind, once) in [
        ("listVirtualMachines", FaultKind::GappyList, true),
        ("listPublicIpAddresses", FaultKind::GappyList, true),
        ("listNetworkACLs", FaultKind::ShortList, true),
        ("listVirtualMachines", FaultKind::Html, false),
    ] {
        let what = format!("{} of {command}", kind.name());
        let until = world.sim.world(|world| world.now()) + LIES_FOR;
        world.sim.add_fault(match once {
            true => Fault::once(command, kind),
            false => Fault {
                until: Some(until),
                ..Fault::always(Some(command), kind)
            },
        });
        world.unmoved(&what).await?;
        world.sim.clear_faults();
        world.settles(FIRST, PATIENCE).await?;
    }
    Ok(())
}

/// Machines are replaced again and again, and nothing that is destroyed goes away.
pub(super) async fn hoard(world: &World) -> Result<(), String> {
    let kind = FaultKind::FailJob {
        code: 530,
        text: "Failed to do it".to_owned(),
    };
    let fault = Fault::always(Some("destroyVirtualMachine"), kind);
    world.sim.add_fault(fault);
    for _ in 0..REPLACED {
        for machine in MACHINES {
            // One that is gone for now is deleted the next time.
            world.delete(Kind::Machine, machine).await.ok();
        }
        tokio::time::sleep(Duration::from_secs(30)).await;
    }
    world.sim.clear_faults();
    world.settles(FIRST, PATIENCE).await
}

/// A stranger makes a VM with the marks of one that Weir made: the VM, and the tier that it is in.
/// None where Weir knows of no VM that it made.
pub(super) async fn copied(world: &World, who: Who) -> Option<[String; 2]> {
    let stack = world.stack().await?;
    let uid = stack.metadata.stored_uid().to_string();
    let machines = &stack.status.as_ref()?.ledger.machines;
    let (name, job, vm) = machines.iter().find_map(|(name, record)| {
        let mut made = record.made.iter();
        let (job, vm) = made.find(|(_, vm)| record.vm.as_ref() == Some(*vm))?;
        Some((name, job, vm))
    })?;
    let (zone, offering, template, tier) = world.sim.world(|world| {
        let model = world.vms.get(vm.as_str())?;
        let mut tiers = world.networks.values();
        let tier = tiers.find(|row| row.name == "theirs")?;
        Some((
            world.catalogue.zone_id().to_owned(),
            model.offering.clone(),
            model.template.clone(),
            tier.id.clone(),
        ))
    })?;
    let marks = [mark::STACK, mark::MACHINE, mark::INTENT].map(|key| format!("details[0].{key}"));
    let deploy = [
        ("command", "deployVirtualMachine"),
        ("zoneid", &zone),
        ("serviceofferingid", &offering),
        ("templateid", &template),
        ("networkids", &tier),
        ("name", "copycat"),
        ("startvm", "false"),
        (&marks[0], &uid),
        (&marks[1], name),
        (&marks[2], job.as_str()),
    ];
    let reply = world.sim.call(who, &deploy).await;
    let copy = reply.inner()["id"].as_str()?.to_owned();
    Some([copy, tier])
}
