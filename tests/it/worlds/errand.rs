//! What a clumsy colleague does to an account with its own API: stops, destroys, renames, detaches
//! and edits whatever is at hand. His commands are jobs of their own, beside the controller's.

use fastrand::Rng;
use weir::{
    sim::world::{Address, AddressState, Vm, World, catalogue::Catalogue},
    types::action::mark,
};

use crate::kill::audit::Strangers;

/// A command with its parameters.
pub(super) type Call = Vec<(&'static str, String)>;

/// Commands, one right after the other.
#[derive(Clone, Debug)]
pub(super) struct Errand(pub(super) Vec<Call>);

/// Something to do to a machine, an address or a rule of the account; a look at the zones where
/// there is none.
pub(super) fn drawn(rng: &mut Rng, world: &World, strangers: &Strangers) -> Errand {
    let drawn = match rng.u32(..16) {
        0..11 => to_a_machine(rng, world, strangers),
        11..14 => to_an_address(rng, world, strangers),
        _ => to_a_rule(rng, world, strangers),
    };
    drawn.unwrap_or_else(|| command("listZones", &[]))
}

fn command(name: &str, params: &[(&'static str, &str)]) -> Errand {
    Errand(vec![call(name, params)])
}

fn call(name: &str, params: &[(&'static str, &str)]) -> Call {
    let name = [("command", name.to_owned())];
    let params = params
        .iter()
        .map(|(key, value)| (*key, (*value).to_owned()));
    name.into_iter().chain(params).collect()
}

fn one_of<T>(rng: &mut Rng, mut all: Vec<T>) -> Option<T> {
    (!all.is_empty()).then(|| all.swap_remove(rng.usize(..all.len())))
}

fn to_a_machine(rng: &mut Rng, world: &World, strangers: &Strangers) -> Option<Errand> {
    let ours = |vm: &&Vm| strangers.spare(&vm.id, &vm.account) && !vm.state.is_gone();
    let vm = one_of(rng, world.vms.values().filter(ours).collect())?;
    let id = ("id", vm.id.as_str());
    let renamed = format!("{}-x", vm.name);
    let text = |row: &serde_json::Map<_, _>| Catalogue::text(row, "id").to_owned();
    Some(match rng.u32(..12) {
        0 | 1 => command("stopVirtualMachine", &[id, ("forced", "true")]),
        2 => command("destroyVirtualMachine", &[id]),
        3 => command("rebootVirtualMachine", &[id]),
        4 => command("updateVirtualMachine", &[id, ("name", &renamed)]),
        5 => command(
            "updateVirtualMachine",
            &[id, ("displayname", "do not touch")],
        ),
        6 => command("updateVirtualMachine", &[id, ("details[0].stranger", "1")]),
        7 => {
            let card = vm.nics.first()?.id.as_str();
            let params = [("virtualmachineid", vm.id.as_str()), ("nicid", card)];
            command("removeNicFromVirtualMachine", &params)
        }
        8 => tag(&vm.id, "UserVm"),
        9 => untag(&vm.id, "UserVm"),
        10 => {
            let offering = one_of(
                rng,
                world.catalogue.service_offerings.iter().map(text).collect(),
            )?;
            let params = [id, ("serviceofferingid", offering.as_str())];
            command("changeServiceForVirtualMachine", &params)
        }
        _ => {
            let template = one_of(rng, world.catalogue.templates.iter().map(text).collect())?;
            let params = [
                ("virtualmachineid", vm.id.as_str()),
                ("templateid", template.as_str()),
            ];
            command("restoreVirtualMachine", &params)
        }
    })
}

/// Puts a mark of his own over ours.
fn tag(id: &str, kind: &str) -> Errand {
    let whose = [("resourceids", id), ("resourcetype", kind)];
    let key = ("tags[0].key", mark::TAG_STACK);
    let value = ("tags[0].value", "somebody");
    Errand(vec![
        call("deleteTags", &[whose[0], whose[1], key]),
        call("createTags", &[whose[0], whose[1], key, value]),
    ])
}

fn untag(id: &str, kind: &str) -> Errand {
    let params = [("resourceids", id), ("resourcetype", kind)];
    command("deleteTags", &params)
}

fn to_an_address(rng: &mut Rng, world: &World, strangers: &Strangers) -> Option<Errand> {
    let ours = |row: &&Address| {
        let account = row.account.as_deref().unwrap_or_default();
        row.state != AddressState::Free && strangers.spare(&row.id, account)
    };
    let row = one_of(rng, world.addresses.values().filter(ours).collect())?;
    Some(match rng.u32(..4) {
        0 => command("disassociateIpAddress", &[("id", &row.id)]),
        1 | 2 => command("disableStaticNat", &[("ipaddressid", &row.id)]),
        _ => untag(&row.id, "PublicIpAddress"),
    })
}

fn to_a_rule(rng: &mut Rng, world: &World, strangers: &Strangers) -> Option<Errand> {
    let ours = world
        .acl_lists
        .values()
        .filter(|list| !strangers.have(&list.id));
    let list = one_of(rng, ours.map(|list| list.id.clone()).collect())?;
    let rule = one_of(rng, world.rules_of(&list))?;
    Some(match rng.u32(..2) {
        0 => command("deleteNetworkACL", &[("id", &rule.id)]),
        _ => command(
            "updateNetworkACLItem",
            &[("id", &rule.id), ("cidrlist", "10.1.0.0/16")],
        ),
    })
}
