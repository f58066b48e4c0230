//! What people do to a stack behind its controller's back.
//!
//! Each breakage is done at once and as another user than the controller's (the tenant account's
//! second one, unless another is named), with the commands that such a person would use, so that
//! the event feed names somebody else. Only what no command does (a guest that shuts itself down, a
//! machine whose first start failed) is written straight into the world.

mod draw;
mod host;
mod net;
mod read;
mod vm;

use std::net::Ipv4Addr;

use serde::Serialize;

use super::jobs::Work;
use super::world::{Guest, HostFailure, Uuid, Vm, World};
use super::{fields, hands};
pub(crate) use draw::drawn;
pub(crate) use read::{Described, KINDS, breakage};

/// A rule of an ACL list: by its id, or by a port that it opens.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Rule {
    /// The id of the rule.
    pub rule: Option<String>,
    /// A port in its range.
    pub port: Option<u16>,
    /// Its protocol.
    pub protocol: Option<String>,
    /// Its number.
    pub number: Option<u32>,
    /// The id or name of its list.
    pub list: Option<String>,
}

/// Something to break. Machines are named by id or host name, addresses by id or dotted form,
/// everything else by id or name; `any` stands for a machine or address of the account, drawn.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
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
        name: Option<String>,
    },
    /// Resizes a machine, stopping and starting it for that.
    ChangeOffering {
        /// The machine.
        vm: String,
        /// The service offering; any other than its own if absent.
        offering: Option<String>,
    },
    /// Gives a machine another address in its tier, stopping and starting it for that.
    MoveNic {
        /// The machine.
        vm: String,
        /// The address; a free one if absent.
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
        to: Option<u16>,
    },
    /// Gives a rule another number.
    RenumberRule {
        /// The rule.
        #[serde(flatten)]
        rule: Rule,
        /// Its new number; the next free one if absent.
        to: Option<u32>,
    },
    /// Swaps the ACL list of a tier for `default_allow`.
    ReplaceAcl {
        /// The tier; the tenant's first if absent.
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
    /// Lets a host fail with all that runs on it.
    FailHost {
        /// The host, or `busiest` for the one with the most machines.
        host: String,
        /// Whether the management server finds out.
        how: HostFailure,
    },
    /// Lets a host that failed come back.
    RecoverHost {
        /// The host; every one that failed if absent.
        host: Option<String>,
    },
}

/// How many names an error tells.
const NAMES_MAX: usize = 12;

type Done = Result<String, String>;

/// A user who does things to a world.
struct By<'a> {
    world: &'a mut World,
    user: &'a str,
}

impl By<'_> {
    /// Runs a command, and its job to the end.
    fn run(&mut self, name: &str, params: &[(&str, &str)]) -> Result<(), String> {
        hands::run(self.world, self.user, name, params).map(|_| ())
    }

    /// Runs work that only an admin may ask for, under this user's name.
    fn force(&mut self, command: &str, work: Work) -> Result<(), String> {
        hands::force(self.world, self.user, command, work)
    }
}

/// Breaks something as the user of this name.
pub(super) fn apply(world: &mut World, user: &str, what: Breakage) -> Done {
    let what = draw::choose(world, user, what)?;
    let by = &mut By { world, user };
    match what {
        Breakage::StopVm { vm } => vm::stop(by, &vm),
        Breakage::HangGuest { vm } => vm::lie(by, &vm, Guest::Hung),
        Breakage::KillGuest { vm } => vm::lie(by, &vm, Guest::Dead),
        Breakage::DestroyVm { vm, expunge } => vm::destroy(by, &vm, expunge),
        Breakage::ErrorVm { vm } => vm::error(by, &vm),
        Breakage::RenameVm { vm, name } => vm::rename(by, &vm, name),
        Breakage::ChangeOffering { vm, offering } => vm::resize(by, &vm, offering.as_deref()),
        Breakage::MoveNic { vm, ip } => vm::move_nic(by, &vm, ip),
        Breakage::WipeDetails { vm } => {
            let vm = find_vm(by.world, &vm)?;
            by.run(
                "updateVirtualMachine",
                &[("id", &vm.id), ("details[0].stranger", "1")],
            )?;
            Ok(format!("the details of {} are a stranger's now", vm.name))
        }
        Breakage::DeleteTags { resource } => delete_tags(by, &resource),
        Breakage::ClosePort { rule } => {
            let rule = net::find_rule(by.world, &rule)?;
            by.run("deleteNetworkACL", &[("id", &rule.id)])?;
            Ok(format!("{} is deleted", net::described(&rule)))
        }
        Breakage::AddRule { rule } => net::add_rule(by, &rule),
        Breakage::EditRule { rule, to } => net::edit_rule(by, &rule, to),
        Breakage::RenumberRule { rule, to } => net::renumber(by, &rule, to),
        Breakage::ReplaceAcl { tier } => net::replace_acl(by, tier.as_deref()),
        Breakage::DisableNat { address } => {
            let (id, ip) = find_address(by.world, &address)?;
            by.run("disableStaticNat", &[("ipaddressid", &id)])?;
            Ok(format!("the static NAT of {ip} is off"))
        }
        Breakage::MoveAddress { address, to } => net::move_address(by, &address, &to),
        Breakage::ReleaseAddress { address } => {
            let (id, ip) = find_address(by.world, &address)?;
            by.run("disassociateIpAddress", &[("id", &id)])?;
            Ok(format!("{ip} is released"))
        }
        Breakage::DeleteTier { tier } => net::delete_tier(by, &tier),
        Breakage::DeleteVpc { vpc } => net::delete_vpc(by, &vpc),
        Breakage::DeleteAffinityGroup { group } => {
            let mut groups = by.world.affinity_groups.values();
            let found = groups.find(|row| row.id == group || row.name == group);
            let id = found
                .ok_or_else(|| missing("affinity group", &group))?
                .id
                .clone();
            by.run("deleteAffinityGroup", &[("id", &id)])?;
            Ok(format!("the affinity group {group} is deleted"))
        }
        Breakage::RestartManagementServer => {
            let jobs = by.world.pending().len();
            by.world.restart_server();
            Ok(format!(
                "the management server was killed with {jobs} jobs in flight"
            ))
        }
        Breakage::FailHost { host, how } => host::fail(by, &host, how),
        Breakage::RecoverHost { host } => host::recover(by, host),
    }
}

fn missing(kind: &str, name: &str) -> String {
    format!("there is no {kind} {name}")
}

fn find_vm(world: &World, name: &str) -> Result<Vm, String> {
    world.find_vm(name).cloned().ok_or_else(|| {
        let alive = world.vms.values().filter(|vm| !vm.state.is_gone());
        let mut names: Vec<&str> = alive.map(|vm| vm.name.as_str()).collect();
        names.sort_unstable();
        let missing = missing("machine", name);
        match fields::nearest(name, names.iter().copied()) {
            Some(near) => format!("{missing}; did you mean {near}?"),
            None if names.is_empty() => format!("{missing}, nor any other"),
            None => {
                names.truncate(NAMES_MAX);
                format!("{missing}; there are {}", names.join(", "))
            }
        }
    })
}

/// An address by itself, or the one of a machine.
fn find_address(world: &World, name: &str) -> Result<(Uuid, Ipv4Addr), String> {
    let of_vm = || world.address_of(&world.find_vm(name)?.id);
    let found = world.find_address(name).or_else(of_vm);
    found
        .map(|row| (row.id.clone(), row.ip))
        .ok_or_else(|| missing("address of", name))
}

fn delete_tags(by: &mut By<'_>, name: &str) -> Done {
    let world = &*by.world;
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
    by.run(
        "deleteTags",
        &[("resourceids", &id), ("resourcetype", &kind)],
    )?;
    Ok(format!("the tags of {name} are deleted"))
}
