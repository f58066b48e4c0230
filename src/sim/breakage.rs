//! What people do to a stack behind its controller's back.
//!
//! Each breakage is done at once and as the tenant account's second user, with the commands that
//! such a person would use, so that the event feed names somebody else. Only what no command
//! does (a guest that shuts itself down, a machine whose first start failed) is written straight
//! into the world.

use std::net::Ipv4Addr;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::commands::{self, Caller, Method, Request};
use super::effects;
use super::events::{self, Report, Subject};
use super::jobs::{Job, JobStatus, Work};
use super::protocol::Params;
use super::world::catalogue::Catalogue;
use super::world::{AclItem, STRANGER, Uuid, Vm, VmState, World};

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
        Breakage::StopVm { vm } => stop(world, &vm),
        Breakage::DestroyVm { vm, expunge } => destroy(world, &vm, expunge),
        Breakage::ErrorVm { vm } => error(world, &vm),
        Breakage::RenameVm { vm, name } => rename(world, &vm, name),
        Breakage::ChangeOffering { vm, offering } => resize(world, &vm, offering),
        Breakage::MoveNic { vm, ip } => move_nic(world, &vm, ip),
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
            let rule = find_rule(world, &rule)?;
            run(world, "deleteNetworkACL", &[("id", &rule.id)])?;
            Ok(format!("{} is deleted", described(&rule)))
        }
        Breakage::AddRule { rule } => add_rule(world, &rule),
        Breakage::EditRule { rule, to } => edit_rule(world, &rule, to),
        Breakage::RenumberRule { rule, to } => renumber(world, &rule, to),
        Breakage::ReplaceAcl { tier } => replace_acl(world, tier.as_deref()),
        Breakage::DisableNat { address } => {
            let (id, ip) = find_address(world, &address)?;
            run(world, "disableStaticNat", &[("ipaddressid", &id)])?;
            Ok(format!("the static NAT of {ip} is off"))
        }
        Breakage::MoveAddress { address, to } => move_address(world, &address, &to),
        Breakage::ReleaseAddress { address } => {
            let (id, ip) = find_address(world, &address)?;
            run(world, "disassociateIpAddress", &[("id", &id)])?;
            Ok(format!("{ip} is released"))
        }
        Breakage::DeleteTier { tier } => delete_tier(world, &tier),
        Breakage::DeleteVpc { vpc } => delete_vpc(world, &vpc),
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

fn described(rule: &AclItem) -> String {
    let ports = match (rule.start_port, rule.end_port) {
        (Some(first), Some(last)) if first != last => format!(" {first}-{last}"),
        (Some(port), _) => format!(" {port}"),
        (None, _) => String::new(),
    };
    format!("rule {} ({}{ports})", rule.number, rule.protocol)
}

/// The lists that a breakage is about: those that are not default lists, in a steady order.
fn lists(world: &World, wanted: &Rule) -> Vec<Uuid> {
    let mut lists: Vec<_> = world
        .acl_lists
        .values()
        .filter(|list| list.vpc.is_some())
        .filter(|list| {
            wanted
                .list
                .as_ref()
                .is_none_or(|name| *name == list.id || *name == list.name)
        })
        .collect();
    lists.sort_by_key(|list| list.number);
    lists.into_iter().map(|list| list.id.clone()).collect()
}

fn find_rule(world: &World, wanted: &Rule) -> Result<AclItem, String> {
    let fits = |item: &&AclItem| {
        let range = item.start_port..=item.end_port;
        wanted.rule.as_ref().is_none_or(|id| *id == item.id)
            && wanted.port.is_none_or(|port| range.contains(&Some(port)))
            && wanted
                .protocol
                .as_ref()
                .is_none_or(|name| name.eq_ignore_ascii_case(&item.protocol))
            && wanted.number.is_none_or(|number| number == item.number)
    };
    let lists = lists(world, wanted);
    let mut rules = lists
        .iter()
        .flat_map(|list| world.rules_of(list))
        .filter(fits);
    rules
        .next()
        .cloned()
        .ok_or_else(|| "there is no such rule".to_owned())
}

fn stranger(world: &World) -> Result<Caller, String> {
    let user = world
        .user_named(STRANGER)
        .ok_or_else(|| missing("user", STRANGER))?;
    Ok(Caller {
        user: user.id.clone(),
        account: user.account.clone(),
        admin: false,
    })
}

/// Runs a command as the stranger, and its job to the end.
fn run(world: &mut World, name: &str, params: &[(&str, &str)]) -> Result<Value, String> {
    let given = params
        .iter()
        .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    let params = Params::collect(given);
    let caller = stranger(world)?;
    let request = Request {
        name,
        params: &params,
        caller,
        method: Method::Post,
        twist: None,
    };
    let answer = commands::run(world, request)
        .answer
        .map_err(|error| error.text)?;
    if let Some(job) = answer.get("jobid").and_then(Value::as_str) {
        finish(world, job)?;
    }
    Ok(answer)
}

fn finish(world: &mut World, job: &str) -> Result<(), String> {
    world.rush(&job.to_owned());
    match world.jobs.get(job) {
        Some(job) if job.status == JobStatus::Failed => {
            let text = job
                .result
                .as_ref()
                .and_then(|result| result["errortext"].as_str());
            Err(text.unwrap_or("the job failed").to_owned())
        }
        _ => Ok(()),
    }
}

/// Runs work that only an admin may ask for, under the stranger's name.
fn force(world: &mut World, command: &str, work: Work) -> Result<(), String> {
    let caller = stranger(world)?;
    let job = world.new_job(None, work);
    let id = job.id.clone();
    let command = command.to_owned();
    let Caller { user, account, .. } = caller;
    world.submit(Job {
        command,
        user,
        account,
        admin: true,
        ..job
    });
    finish(world, &id)
}

fn stop(world: &mut World, name: &str) -> Done {
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

fn destroy(world: &mut World, name: &str, expunge: bool) -> Done {
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

fn error(world: &mut World, name: &str) -> Done {
    let vm = find_vm(world, name)?;
    effects::turn_off(world, &vm.id, VmState::Error);
    Ok(format!("{} is in state Error", vm.name))
}

fn rename(world: &mut World, name: &str, to: Option<String>) -> Done {
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

#[expect(
    clippy::needless_pass_by_value,
    reason = "it comes out of the breakage"
)]
fn resize(world: &mut World, name: &str, offering: Option<String>) -> Done {
    let vm = find_vm(world, name)?;
    let mut offered = world.catalogue.service_offerings.iter();
    let other = offered.find(|row| {
        let (id, name) = (Catalogue::text(row, "id"), Catalogue::text(row, "name"));
        offering
            .as_ref()
            .map_or(id != vm.offering, |wanted| wanted == id || wanted == name)
    });
    let other = other.ok_or_else(|| "there is no such service offering".to_owned())?;
    let (id, to) = (
        Catalogue::text(other, "id").to_owned(),
        Catalogue::text(other, "name").to_owned(),
    );
    while_stopped(world, &vm, |world| {
        let params = [("id", vm.id.as_str()), ("serviceofferingid", id.as_str())];
        run(world, "changeServiceForVirtualMachine", &params).map(|_| ())
    })?;
    Ok(format!("{} has the offering {to} now", vm.name))
}

fn move_nic(world: &mut World, name: &str, ip: Option<Ipv4Addr>) -> Done {
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
        run(world, "updateVmNicIp", &params).map(|_| ())
    })?;
    Ok(format!("{} has the address {ip} now", vm.name))
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

fn add_rule(world: &mut World, rule: &Rule) -> Done {
    let list = lists(world, rule).into_iter().next();
    let list = list.ok_or_else(|| "there is no ACL list".to_owned())?;
    let port = rule.port.unwrap_or(31_337).to_string();
    let protocol = rule.protocol.clone().unwrap_or_else(|| "tcp".to_owned());
    let number = rule.number.map(|number| number.to_string());
    let mut params = vec![
        ("aclid", list.as_str()),
        ("protocol", protocol.as_str()),
        ("startport", port.as_str()),
        ("endport", port.as_str()),
        ("cidrlist", "0.0.0.0/0"),
    ];
    params.extend(number.as_deref().map(|number| ("number", number)));
    run(world, "createNetworkACL", &params)?;
    Ok(format!("a rule opens {protocol} {port} to everybody"))
}

fn edit_rule(world: &mut World, rule: &Rule, to: Option<u16>) -> Done {
    let rule = find_rule(world, rule)?;
    let old = rule
        .start_port
        .ok_or_else(|| format!("{} has no ports", described(&rule)))?;
    let port = to.unwrap_or_else(|| old.saturating_add(1)).to_string();
    let params = [
        ("id", rule.id.as_str()),
        ("startport", port.as_str()),
        ("endport", port.as_str()),
    ];
    run(world, "updateNetworkACLItem", &params)?;
    Ok(format!("{} is about port {port} now", described(&rule)))
}

fn renumber(world: &mut World, rule: &Rule, to: Option<u32>) -> Done {
    let rule = find_rule(world, rule)?;
    let last = world
        .rules_of(&rule.list)
        .last()
        .map_or(0, |last| last.number);
    let number = to.unwrap_or(last + 1).to_string();
    run(
        world,
        "updateNetworkACLItem",
        &[("id", &rule.id), ("number", &number)],
    )?;
    Ok(format!("{} has number {number} now", described(&rule)))
}

fn find_tier(world: &World, name: Option<&str>) -> Result<Uuid, String> {
    let named = |id: &str, own: &str| name.is_none_or(|name| name == id || name == own);
    let tiers = world
        .networks
        .values()
        .filter(|tier| named(&tier.id, &tier.name));
    let first = tiers.min_by_key(|tier| tier.number);
    first
        .map(|tier| tier.id.clone())
        .ok_or_else(|| missing("tier", name.unwrap_or("at all")))
}

fn replace_acl(world: &mut World, tier: Option<&str>) -> Done {
    let tier = find_tier(world, tier)?;
    let allow = world.ids.default_allow.clone();
    run(
        world,
        "replaceNetworkACLList",
        &[("aclid", &allow), ("networkid", &tier)],
    )?;
    Ok("the tier lets everything through".to_owned())
}

fn move_address(world: &mut World, address: &str, to: &str) -> Done {
    let (id, ip) = find_address(world, address)?;
    let to = find_vm(world, to)?;
    let network = to.nics.first().map(|nic| nic.network.clone());
    let network = network.ok_or_else(|| format!("{} has no card", to.name))?;
    if let Some(own) = world.address_of(&to.id).map(|own| own.id.clone()) {
        run(world, "disableStaticNat", &[("ipaddressid", &own)])?;
    }
    if world
        .addresses
        .get(&id)
        .is_some_and(|address| address.static_nat.is_some())
    {
        run(world, "disableStaticNat", &[("ipaddressid", &id)])?;
    }
    let params = [
        ("ipaddressid", id.as_str()),
        ("virtualmachineid", to.id.as_str()),
        ("networkid", network.as_str()),
    ];
    run(world, "enableStaticNat", &params)?;
    Ok(format!("{ip} leads to {} now", to.name))
}

fn delete_tier(world: &mut World, tier: &str) -> Done {
    let network = find_tier(world, Some(tier))?;
    force(
        world,
        "deleteNetwork",
        Work::DeleteNetwork {
            network,
            forced: true,
        },
    )?;
    Ok(format!(
        "the tier {tier} is deleted with all that was in it"
    ))
}

fn delete_vpc(world: &mut World, name: &str) -> Done {
    let mut vpcs = world.vpcs.values();
    let vpc = vpcs.find(|vpc| vpc.id == name || vpc.name == name);
    let vpc = vpc.ok_or_else(|| missing("VPC", name))?.id.clone();
    force(world, "deleteVPC", Work::DeleteVpc { vpc, forced: true })?;
    Ok(format!("the VPC {name} is deleted with all that was in it"))
}
