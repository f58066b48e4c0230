//! Whom it hits: something of a user's account, drawn from the world's luck.

use super::{Breakage, Rule};
use crate::sim::world::{Uuid, Vm, VmState, World};

/// The word for something that is to be drawn.
const ANY: &str = "any";

fn account(world: &World, user: &str) -> Result<Uuid, String> {
    let user = world.user_named(user);
    user.map(|user| user.account.clone())
        .ok_or_else(|| "there is no such user".to_owned())
}

/// One of some ids, which are in a steady order.
fn pick(world: &mut World, mut of: Vec<Uuid>, none: &str) -> Result<Uuid, String> {
    match of.len() {
        0 => Err(none.to_owned()),
        count => Ok(of.swap_remove(world.chance.below(count))),
    }
}

/// A machine of the account that is there.
fn vm(world: &mut World, user: &str, wanted: fn(&Vm) -> bool) -> Result<Uuid, String> {
    let account = account(world, user)?;
    let own = world.vms.values().filter(|vm| vm.account == account);
    let fit = own.filter(|vm| !vm.state.is_gone() && !vm.is_wreck() && wanted(vm));
    let mut fit: Vec<&Vm> = fit.collect();
    fit.sort_by_key(|vm| vm.number);
    let ids = fit.into_iter().map(|vm| vm.id.clone()).collect();
    pick(world, ids, "there is no machine for that")
}

fn running(world: &mut World, user: &str) -> Result<Uuid, String> {
    vm(world, user, |vm| vm.state == VmState::Running)
}

/// A public address of the account with static NAT.
fn address(world: &mut World, user: &str) -> Result<Uuid, String> {
    let account = account(world, user)?;
    let own = world.addresses.values().filter(|address| {
        address.account.as_deref() == Some(&*account) && address.static_nat.is_some()
    });
    let mut own: Vec<_> = own
        .map(|address| (address.ip, address.id.clone()))
        .collect();
    own.sort_unstable();
    let ids = own.into_iter().map(|(_, id)| id).collect();
    pick(world, ids, "there is no address with static NAT")
}

/// A rule of the account's own lists, with ports.
fn rule(world: &mut World, user: &str) -> Result<Rule, String> {
    let account = account(world, user)?;
    let own = |vpc: &Option<Uuid>| {
        let vpc = vpc.as_ref().and_then(|id| world.vpcs.get(id));
        vpc.is_some_and(|vpc| vpc.account == account)
    };
    let lists = world.acl_lists.values().filter(|list| own(&list.vpc));
    let rules = lists.flat_map(|list| world.rules_of(&list.id));
    let mut rules: Vec<_> = rules.filter(|rule| rule.start_port.is_some()).collect();
    rules.sort_by_key(|rule| rule.serial);
    let ids = rules.into_iter().map(|rule| rule.id.clone()).collect();
    Ok(Rule {
        rule: Some(pick(world, ids, "there is no rule with ports")?),
        ..Rule::default()
    })
}

/// Something that carries tags: a machine or an address.
fn tagged(world: &mut World, user: &str) -> Result<Uuid, String> {
    let account = account(world, user)?;
    let vms = world.vms.values().filter(|vm| vm.account == account);
    let vms = vms.map(|vm| (vm.number, vm.id.clone()));
    let own = |owner: &Option<Uuid>| owner.as_deref() == Some(&*account);
    let addresses = world.addresses.values().filter(|ip| own(&ip.account));
    let addresses = addresses.map(|ip| (ip.number, ip.id.clone()));
    let mut all: Vec<(u64, Uuid)> = vms.chain(addresses).collect();
    all.retain(|(_, id)| world.tags_of(id).next().is_some());
    all.sort_unstable();
    let ids = all.into_iter().map(|(_, id)| id).collect();
    pick(world, ids, "nothing has tags")
}

/// A breakage of this kind to something of the user's account.
pub(crate) fn drawn(world: &mut World, user: &str, kind: &str) -> Result<Breakage, String> {
    let any = |world: &mut World| vm(world, user, |_| true);
    Ok(match kind {
        "stop-vm" => Breakage::StopVm {
            vm: running(world, user)?,
        },
        "hang-guest" => Breakage::HangGuest {
            vm: running(world, user)?,
        },
        "kill-guest" => Breakage::KillGuest {
            vm: running(world, user)?,
        },
        "destroy-vm" => Breakage::DestroyVm {
            vm: any(world)?,
            expunge: false,
        },
        "error-vm" => Breakage::ErrorVm { vm: any(world)? },
        "rename-vm" => Breakage::RenameVm {
            vm: any(world)?,
            name: None,
        },
        "change-offering" => Breakage::ChangeOffering {
            vm: any(world)?,
            offering: None,
        },
        "move-nic" => Breakage::MoveNic {
            vm: any(world)?,
            ip: None,
        },
        "wipe-details" => Breakage::WipeDetails { vm: any(world)? },
        "delete-tags" => Breakage::DeleteTags {
            resource: tagged(world, user)?,
        },
        "close-port" => Breakage::ClosePort {
            rule: rule(world, user)?,
        },
        "add-rule" => Breakage::AddRule {
            rule: Rule::default(),
        },
        "edit-rule" => Breakage::EditRule {
            rule: rule(world, user)?,
            to: None,
        },
        "renumber-rule" => Breakage::RenumberRule {
            rule: rule(world, user)?,
            to: None,
        },
        "disable-nat" => Breakage::DisableNat {
            address: address(world, user)?,
        },
        "release-address" => Breakage::ReleaseAddress {
            address: address(world, user)?,
        },
        other => return Err(format!("nobody can draw whom {other} hits")),
    })
}

/// Puts something of the user's account where a breakage says `any`.
pub(super) fn choose(world: &mut World, user: &str, what: Breakage) -> Result<Breakage, String> {
    let kind = serde_json::to_value(&what).unwrap_or_default();
    let any = ["vm", "address", "resource"]
        .iter()
        .any(|field| kind[field] == ANY);
    if !any {
        return Ok(what);
    }
    let drawn = drawn(world, user, kind["what"].as_str().unwrap_or_default())?;
    Ok(match (what, drawn) {
        (Breakage::DestroyVm { expunge, .. }, Breakage::DestroyVm { vm, .. }) => {
            Breakage::DestroyVm { vm, expunge }
        }
        (Breakage::RenameVm { name, .. }, Breakage::RenameVm { vm, .. }) => {
            Breakage::RenameVm { vm, name }
        }
        (Breakage::ChangeOffering { offering, .. }, Breakage::ChangeOffering { vm, .. }) => {
            Breakage::ChangeOffering { vm, offering }
        }
        (Breakage::MoveNic { ip, .. }, Breakage::MoveNic { vm, .. }) => {
            Breakage::MoveNic { vm, ip }
        }
        (_, drawn) => drawn,
    })
}
