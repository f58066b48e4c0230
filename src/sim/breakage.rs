//! What people do to a stack behind its controller's back.
//!
//! Each breakage is done at once and as the tenant account's second user, with the commands that
//! such a person would use, so that the event feed names somebody else. Only what no command
//! does (a guest that shuts itself down, a machine whose first start failed) is written straight
//! into the world.

mod net;
mod vm;

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};

use super::hands;
use super::jobs::Work;
use super::world::{Guest, STRANGER, Uuid, Vm, World};

/// A rule of an ACL list: by its id, or by a port that it opens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Rule {
    /// The id of the rule.
    #[serde(default)]
    pub rule: Option<String>,
    /// A port in its range.
    #[serde(default)]
    pub port: Option<u16>,
    /// Its protocol.
    #[serde(default)]
    pub protocol: Option<String>,
    /// Its number.
    #[serde(default)]
    pub number: Option<u32>,
    /// The id or name of its list.
    #[serde(default)]
    pub list: Option<String>,
}

/// Something to break. Machines are named by id or host name, addresses by id or dotted form,
/// everything else by id or name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum Breakage {
    /// The guest shuts itself down: no job, no event of a user.
    StopVm {
        /// The machine.
        vm: String,
    },
    /// The guest hangs: CloudStack says `Running`, and whoever connects is never answered.
    HangGuest {
        /// The machine.
        vm: String,
    },
    /// The guest dies unseen: CloudStack says `Running`, and nothing listens in it any more.
    KillGuest {
        /// The machine.
        vm: String,
    },
    /// Destroys a machine.
    DestroyVm {
        /// The machine.
        vm: String,
        /// Whether it is purged at once, as only an admin can.
        #[serde(default)]
        expunge: bool,
    },
    /// Puts a machine where a failed first start leaves it.
    ErrorVm {
        /// The machine.
        vm: String,
    },
    /// Changes the host name.
    RenameVm {
        /// The machine.
        vm: String,
        /// The new name; the old one with `-x` if absent.
        #[serde(default)]
        name: Option<String>,
    },
    /// Resizes a machine, stopping and starting it for that.
    ChangeOffering {
        /// The machine.
        vm: String,
        /// The service offering; any other than its own if absent.
        #[serde(default)]
        offering: Option<String>,
    },
    /// Gives a machine another address in its tier, stopping and starting it for that.
    MoveNic {
        /// The machine.
        vm: String,
        /// The address; a free one if absent.
        #[serde(default)]
        ip: Option<Ipv4Addr>,
    },
    /// Replaces all details of a machine by one of a stranger's.
    WipeDetails {
        /// The machine.
        vm: String,
    },
    /// Deletes all tags of a machine, address, tier, VPC or rule.
    DeleteTags {
        /// The resource.
        resource: String,
    },
    /// Deletes a rule.
    ClosePort {
        /// The rule.
        #[serde(flatten)]
        rule: Rule,
    },
    /// Adds a rule that opens a port to everybody.
    AddRule {
        /// Where, and for which port and protocol.
        #[serde(flatten)]
        rule: Rule,
    },
    /// Changes the ports of a rule.
    EditRule {
        /// The rule.
        #[serde(flatten)]
        rule: Rule,
        /// Its new port; its old one plus one if absent.
        #[serde(default)]
        to: Option<u16>,
    },
    /// Gives a rule another number.
    RenumberRule {
        /// The rule.
        #[serde(flatten)]
        rule: Rule,
        /// Its new number; the next free one if absent.
        #[serde(default)]
        to: Option<u32>,
    },
    /// Swaps the ACL list of a tier for `default_allow`.
    ReplaceAcl {
        /// The tier; the tenant's first if absent.
        #[serde(default)]
        tier: Option<String>,
    },
    /// Disables a static NAT.
    DisableNat {
        /// The address, or the machine behind it.
        address: String,
    },
    /// Points an address at another machine.
    MoveAddress {
        /// The address, or the machine behind it.
        address: String,
        /// The machine that it goes to.
        to: String,
    },
    /// Gives an address back.
    ReleaseAddress {
        /// The address, or the machine behind it.
        address: String,
    },
    /// Deletes a tier with all that is in it.
    DeleteTier {
        /// The tier.
        tier: String,
    },
    /// Deletes a VPC with all that is in it.
    DeleteVpc {
        /// The VPC.
        vpc: String,
    },
    /// Deletes an affinity group.
    DeleteAffinityGroup {
        /// The group.
        group: String,
    },
    /// Kills the management server.
    RestartManagementServer,
}

type Done = Result<String, String>;

/// Breaks something.
pub(super) fn apply(world: &mut World, what: Breakage) -> Done {
    match what {
        Breakage::StopVm { vm } => vm::stop(world, &vm),
        Breakage::HangGuest { vm } => vm::lie(world, &vm, Guest::Hung),
        Breakage::KillGuest { vm } => vm::lie(world, &vm, Guest::Dead),
        Breakage::DestroyVm { vm, expunge } => vm::destroy(world, &vm, expunge),
        Breakage::ErrorVm { vm } => vm::error(world, &vm),
        Breakage::RenameVm { vm, name } => vm::rename(world, &vm, name),
        Breakage::ChangeOffering { vm, offering } => vm::resize(world, &vm, offering.as_deref()),
        Breakage::MoveNic { vm, ip } => vm::move_nic(world, &vm, ip),
        Breakage::WipeDetails { vm } => {
            let vm = find_vm(world, &vm)?;
            run(
                world,
                "updateVirtualMachine",
                &[("id", &vm.id), ("details[0].stranger", "1")],
            )?;
            Ok(format!("the details of {} are a stranger's now", vm.name))
        }
        Breakage::DeleteTags { resource } => delete_tags(world, &resource),
        Breakage::ClosePort { rule } => {
            let rule = net::find_rule(world, &rule)?;
            run(world, "deleteNetworkACL", &[("id", &rule.id)])?;
            Ok(format!("{} is deleted", net::described(&rule)))
        }
        Breakage::AddRule { rule } => net::add_rule(world, &rule),
        Breakage::EditRule { rule, to } => net::edit_rule(world, &rule, to),
        Breakage::RenumberRule { rule, to } => net::renumber(world, &rule, to),
        Breakage::ReplaceAcl { tier } => net::replace_acl(world, tier.as_deref()),
        Breakage::DisableNat { address } => {
            let (id, ip) = find_address(world, &address)?;
            run(world, "disableStaticNat", &[("ipaddressid", &id)])?;
            Ok(format!("the static NAT of {ip} is off"))
        }
        Breakage::MoveAddress { address, to } => net::move_address(world, &address, &to),
        Breakage::ReleaseAddress { address } => {
            let (id, ip) = find_address(world, &address)?;
            run(world, "disassociateIpAddress", &[("id", &id)])?;
            Ok(format!("{ip} is released"))
        }
        Breakage::DeleteTier { tier } => net::delete_tier(world, &tier),
        Breakage::DeleteVpc { vpc } => net::delete_vpc(world, &vpc),
        Breakage::DeleteAffinityGroup { group } => {
            let mut groups = world.affinity_groups.values();
            let found = groups.find(|row| row.id == group || row.name == group);
            let id = found
                .ok_or_else(|| missing("affinity group", &group))?
                .id
                .clone();
            run(world, "deleteAffinityGroup", &[("id", &id)])?;
            Ok(format!("the affinity group {group} is deleted"))
        }
        Breakage::RestartManagementServer => {
            let jobs = world.pending.len();
            world.restart_server();
            Ok(format!(
                "the management server was killed with {jobs} jobs in flight"
            ))
        }
    }
}

fn missing(kind: &str, name: &str) -> String {
    format!("there is no {kind} {name}")
}

fn find_vm(world: &World, name: &str) -> Result<Vm, String> {
    world
        .find_vm(name)
        .cloned()
        .ok_or_else(|| missing("machine", name))
}

/// An address by itself, or the one of a machine.
fn find_address(world: &World, name: &str) -> Result<(Uuid, Ipv4Addr), String> {
    let of_vm = || world.address_of(&world.find_vm(name)?.id);
    let found = world.find_address(name).or_else(of_vm);
    found
        .map(|row| (row.id.clone(), row.ip))
        .ok_or_else(|| missing("address of", name))
}

fn delete_tags(world: &mut World, name: &str) -> Done {
    let vm = world.find_vm(name).map(|vm| vm.id.clone());
    let address = || world.find_address(name).map(|address| address.id.clone());
    let by_name = || {
        let vpc = world
            .vpcs
            .values()
            .find(|row| row.name == name)
            .map(|row| row.id.clone());
        vpc.or_else(|| {
            world
                .networks
                .values()
                .find(|row| row.name == name)
                .map(|row| row.id.clone())
        })
    };
    let id = vm
        .or_else(address)
        .or_else(by_name)
        .unwrap_or_else(|| name.to_owned());
    let kind = world
        .tags_of(&id)
        .next()
        .map(|tag| tag.resource_type.clone());
    let kind = kind.ok_or_else(|| format!("{name} has no tags"))?;
    run(
        world,
        "deleteTags",
        &[("resourceids", &id), ("resourcetype", &kind)],
    )?;
    Ok(format!("the tags of {name} are deleted"))
}

/// Runs a command as the stranger, and its job to the end.
fn run(world: &mut World, name: &str, params: &[(&str, &str)]) -> Result<(), String> {
    hands::run(world, STRANGER, name, params).map(|_| ())
}

/// Runs work that only an admin may ask for, under the stranger's name.
fn force(world: &mut World, command: &str, work: Work) -> Result<(), String> {
    hands::force(world, STRANGER, command, work)
}
