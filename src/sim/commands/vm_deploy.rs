//! Deploying machines: the command that can leave a wreck.
//!
//! A deploy whose address is refused answers 530 and leaves a machine in state `Error` without a
//! card, whose id the caller is not told; one whose custom job id is refused leaves a stopped one
//! (`cloudstack-observed.md`, 1.3 and 1.4).

use std::collections::BTreeMap;
use std::net::Ipv4Addr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::Method;
use super::call::{Answered, Call};
use super::declare::{Command, job, vm};
use super::network::{create_default, isolated_networks};
use super::vm_order;
use crate::sim::events::Subject;
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::world::disks::NewDisk;
use crate::sim::world::index::VmKey;
use crate::sim::world::{
    Disk, Guest, GuestType, KeyPair, Kind, Network, Nic, Size, Uuid, Vm, VmState, quoted_network,
};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[job(
    "deployVirtualMachine",
    "serviceofferingid!:uuid zoneid!:uuid templateid:uuid name displayname \
         networkids:list iptonetworklist:map ipaddress macaddress userdata \
         userdataid:uuid userdatadetails:map keypair keypairs:list \
         affinitygroupids:list affinitygroupnames:list securitygroupids:list \
         securitygroupnames:list rootdisksize:long diskofferingid:uuid size:long \
         overridediskofferingid:uuid datadisksdetails:map details:map startvm:boolean hostid:uuid podid:uuid \
         clusterid:uuid group hypervisor password deleteprotection:boolean \
         dynamicscalingenabled:boolean account domainid:uuid projectid:uuid \
         displayvm:boolean",
    deploy,
    vm("DeployVMCmd"),
)];

/// `vm.userdata.max.length`, in base64 characters.
const USER_DATA_MAX: usize = 32_768;
/// What a GET request may carry of it.
const USER_DATA_MAX_GET: usize = 4_096;

/// A network that a machine is to be in, and the address it asks for.
struct Wish {
    network: Network,
    ip: Option<String>,
}

/// `deployVirtualMachine`.
pub(crate) fn deploy(call: &mut Call<'_>) -> Answered {
    call.required_id("zoneid", Kind::Zone)?;
    let offering = call.required_id("serviceofferingid", Kind::ServiceOffering)?;
    let template = template(call)?;
    let affinity_groups = affinity_groups(call)?;
    refuse_security_groups(call)?;
    if let Some(name) = call.text("name") {
        check_name(call, name)?;
    }
    let user_data = super::user_data::given(call)?;
    let user_data = super::user_data::with_template(call, &template, user_data)?;
    let wishes = wishes(call)?;
    let id = call.world.fresh_id();
    let name = call
        .owned_text("name")
        .unwrap_or_else(|| format!("VM-{id}"));
    let networks: Vec<&Network> = wishes.iter().map(|wish| &wish.network).collect();
    refuse_taken_name(call, &name, &networks, "")?;
    let details = details(call);
    let offered = &vm_order::offered(call, &offering)?;
    let size = vm_order::size(offered, &details)?;
    let root = vm_order::root_bytes(call, &template, offered)?;
    let mut disks = vm_order::disks(call, root)?;
    check_limits(call, size, &disks)?;
    let group = call.owned_text("group");
    let group = group.map(|name| super::instance_group::found_or_made(call, None, &name));
    let number = call.world.next_number(Kind::Vm);
    vm_order::name(&mut disks, number);
    let vm = Vm {
        number,
        id: id.clone(),
        name,
        display_name: call.owned_text("displayname"),
        account: call.caller.account.clone(),
        user: call.caller.user.clone(),
        state: VmState::Stopped,
        guest: Guest::Alive,
        template,
        size,
        ha: offered.get("offerha") == Some(&true.into()),
        offering,
        nics: Vec::new(),
        disk: Disk::Fresh,
        images: 1,
        host: None,
        details,
        capacity_freed: false,
        user_data: user_data.data,
        user_data_id: user_data.id,
        group,
        key_pairs: key_pairs(call)?,
        affinity_groups,
        delete_protection: call.flag("deleteprotection") == Some(true),
        created: call.world.wall(),
        updated: None,
        running_since: None,
    };
    call.world.totals.vms += 1;
    create(call, vm, wishes, disks)?;
    vm_order::refuse_places(call);
    let start = call.flag("startvm") != Some(false);
    call.submit(
        Work::Deploy {
            vm: id.clone(),
            start,
        },
        Some(id.clone()),
        Some(id),
    )
}

/// In a zone like this one, no machine is in a security group.
fn refuse_security_groups(call: &Call<'_>) -> Result<(), ApiError> {
    let names = ["securitygroupids", "securitygroupnames"];
    if names.iter().any(|name| call.text(name).is_some()) {
        let text =
            "Can't create vm with security groups; security group feature is not enabled per zone";
        return Err(ApiError::value(text));
    }
    Ok(())
}

/// The details of a new machine.
fn details(call: &Call<'_>) -> BTreeMap<String, String> {
    let mut details = call.details("details").unwrap_or_default();
    // The server's own mark, which goes with the first start.
    details.insert("deployvm".to_owned(), "true".to_owned());
    if let Some(gib) = call.owned_text("rootdisksize") {
        details.insert("rootdisksize".to_owned(), gib);
    }
    details
}

/// Puts the machine and its cards into the world, or what is left of it.
fn create(
    call: &mut Call<'_>,
    mut vm: Vm,
    wishes: Vec<Wish>,
    disks: Vec<NewDisk>,
) -> Result<(), ApiError> {
    for (device, wish) in (0..).zip(wishes) {
        match plug(call, &wish) {
            Ok(nic) => vm.nics.push(Nic { device, ..nic }),
            Err(refusal) => {
                vm.nics.clear();
                vm.state = VmState::Error;
                vm.disk = Disk::None;
                vm.updated = Some(call.world.wall());
                call.world.totals.wrecks += 1;
                call.world.vms.insert(vm.id.clone(), vm);
                return Err(refusal);
            }
        }
    }
    for disk in disks {
        let kind = disk.kind.word();
        let volume = call.world.add_disk(&vm.account, Some(&vm.id), disk);
        let text = format!(
            "Successfully created entity for creating {kind} volume. Volume Type: {kind}Volume Id: {volume} Vm Id: {}",
            vm.id
        );
        let subject = Subject::volume(call.world, &volume);
        call.report("VOLUME.CREATE", "Created", false, text, subject);
    }
    call.world.vms.insert(vm.id.clone(), vm);
    Ok(())
}

/// A card in a network, with the address that was asked for or a random one.
fn plug(call: &mut Call<'_>, wish: &Wish) -> Result<Nic, ApiError> {
    let network = &wish.network;
    call.world
        .new_card(network, wish.ip.as_deref())
        .ok_or_else(|| {
            ApiError::internal(
                0,
                format!(
                    "Unable to acquire Guest IP address for network {}",
                    quoted_network(network)
                ),
            )
        })
}

fn template(call: &Call<'_>) -> Result<Uuid, ApiError> {
    let one = "Please provide only one of the following parameters - template ID, volume ID or snapshot ID";
    call.id("templateid", Kind::Template)?
        .ok_or_else(|| ApiError::internal(9999, one))
}

/// The affinity groups of a new machine, which are those of its own account.
fn affinity_groups(call: &Call<'_>) -> Result<Vec<Uuid>, ApiError> {
    let named = named_groups(call)?;
    let known = &call.world.affinity_groups;
    let groups: Option<Vec<_>> = named.iter().map(|id| known.get(id)).collect();
    // The row of a group that was deleted is not found, and the text quotes what was found.
    let groups = groups.ok_or_else(|| ApiError::value("Unable to find affinity group null"))?;
    let (owner, admin) = (&call.caller.account, call.caller.admin);
    let barred = groups
        .into_iter()
        .find_map(|group| call.world.bars_from_group(group, owner, admin));
    barred.map_or(Ok(named), |text| Err(ApiError::denied(text)))
}

fn named_groups(call: &Call<'_>) -> Result<Vec<Uuid>, ApiError> {
    let names = call.text("affinitygroupnames");
    if names.is_some() && call.text("affinitygroupids").is_some() {
        let text = "Both affinityGroupIds and affinityGroupNames are not allowed";
        return Err(ApiError::value(text));
    }
    let Some(names) = names else {
        return call.ids("affinitygroupids", Kind::AffinityGroup);
    };
    let find = |name: &str| {
        let found = call.world.group_named(&call.caller.account, name);
        found
            .map(|group| group.id.clone())
            .ok_or_else(|| ApiError::value(format!("Unable to find affinity group by name {name}")))
    };
    names.split(',').map(str::trim).map(find).collect()
}

pub(super) fn key_pairs(call: &Call<'_>) -> Result<Vec<String>, ApiError> {
    let names = call
        .text("keypairs")
        .or_else(|| call.text("keypair"))
        .unwrap_or_default();
    let names = names
        .split(',')
        .map(str::trim)
        .filter(|name| !name.is_empty());
    let names: Vec<String> = names.map(ToOwned::to_owned).collect();
    let mine = |pair: &&KeyPair| pair.account == call.caller.account;
    let known = |name: &String| {
        call.world
            .key_pairs
            .values()
            .filter(mine)
            .any(|pair| pair.name == *name)
    };
    if names.iter().all(known) {
        Ok(names)
    } else {
        Err(ApiError::value("Not all specified keypairs exist"))
    }
}

/// A host name: letters, digits and hyphens, neither end a hyphen, and no digit first.
pub(crate) fn check_name(call: &Call<'_>, name: &str) -> Result<(), ApiError> {
    let letters = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '-');
    let starts = name.starts_with(|c: char| c.is_ascii_alphabetic());
    if letters && starts && !name.ends_with('-') && name.len() <= 63 {
        return Ok(());
    }
    let command = call.command.name.to_lowercase();
    Err(ApiError::parameter(format!(
        "Unable to execute API command {command} due to invalid value. Invalid value provided for API arg: name - it can contain ASCII letters 'a' through 'z', the digits '0' through '9', and the hyphen ('-'), must be between 1 and 63 characters long, and can't start or end with \"-\" and can't start with digit"
    )))
}

/// A name is taken while anything with a card in the network, or in a tier of the same VPC, has
/// it: a destroyed machine too, but not a wreck.
pub(crate) fn refuse_taken_name(
    call: &Call<'_>,
    name: &str,
    networks: &[&Network],
    except: &str,
) -> Result<(), ApiError> {
    let same_scope = |nic: &Nic, network: &Network| {
        let other = call.world.networks.get(&nic.network);
        nic.network == network.id
            || (network.vpc.is_some() && other.is_some_and(|other| other.vpc == network.vpc))
    };
    let namesakes = || {
        let vms = call.world.vms.under(&VmKey::Name(name.to_lowercase()));
        vms.into_iter().filter(|vm| vm.id != except)
    };
    for network in networks {
        if namesakes().any(|vm| vm.nics.iter().any(|nic| same_scope(nic, network))) {
            return Err(ApiError::value(format!(
                "The vm with hostName {name} already exists in the network domain: {}; network={}",
                network.domain, network.name
            )));
        }
    }
    Ok(())
}

/// The networks of a new machine.
fn wishes(call: &mut Call<'_>) -> Result<Vec<Wish>, ApiError> {
    let listed = call.params.entries("iptonetworklist");
    if !listed.is_empty() && call.text("networkids").is_some() {
        let text = "ipToNetworkMap can't be specified along with networkIds or ipAddress";
        return Err(ApiError::value(text));
    }
    if let Some(ip) = call
        .text("ipaddress")
        .filter(|ip| ip.parse::<Ipv4Addr>().is_err())
    {
        return Err(ApiError::value(format!(
            "Invalid specified IPv4 address {ip}"
        )));
    }
    if !listed.is_empty() {
        let wish = |entry: &BTreeMap<String, String>| {
            let id = entry
                .get("networkid")
                .map(String::as_str)
                .unwrap_or_default();
            Ok(Wish {
                network: own_network(call, "iptonetworklist", id)?,
                ip: entry.get("ip").cloned(),
            })
        };
        return listed.iter().map(wish).collect();
    }
    let ids = call.ids("networkids", Kind::Network)?;
    let ids = if ids.is_empty() {
        vec![only_network(call)?]
    } else {
        ids
    };
    let mut wishes = Vec::new();
    for (place, id) in ids.iter().enumerate() {
        let ip = call.owned_text("ipaddress").filter(|_| place == 0);
        wishes.push(Wish {
            network: own_network(call, "networkids", id)?,
            ip,
        });
    }
    Ok(wishes)
}

fn own_network(call: &Call<'_>, name: &str, id: &str) -> Result<Network, ApiError> {
    if !call.world.knows(Kind::Network, id) {
        return Err(ApiError::unknown_id(call.command.name, name, id));
    }
    let Some(network) = call.world.networks.get(id) else {
        return Err(ApiError::value(format!(
            "Unable to find network by id {id}"
        )));
    };
    let shared = network.guest_type == GuestType::Shared;
    if network.account != call.caller.account && !shared && !call.caller.admin {
        let text = format!("Unable to use network {id}, permission denied");
        return Err(ApiError::denied(text));
    }
    Ok(network.clone())
}

/// The network of a deploy that names none: the account's only isolated one, made for it if it
/// has none.
fn only_network(call: &mut Call<'_>) -> Result<Uuid, ApiError> {
    match isolated_networks(call).as_slice() {
        [network] => Ok(network.clone()),
        [] => create_default(call),
        _ => {
            let account = crate::sim::view::account_name(call.world, &call.caller.account);
            Err(ApiError::value(format!(
                "More than 1 default Isolated networks are found for account {account}; please specify networkIds"
            )))
        }
    }
}

fn check_limits(call: &Call<'_>, size: Size, disks: &[NewDisk]) -> Result<(), ApiError> {
    call.within_limit("user_vm", 1)?;
    call.within_limit("cpu", size.cpus)?;
    call.within_limit("memory", size.memory_mib)?;
    let volumes = i64::try_from(disks.len()).unwrap_or(i64::MAX);
    let bytes = disks.iter().map(|disk| disk.bytes);
    call.within_storage(volumes, bytes.fold(0, i64::saturating_add))
}

/// User data as it was sent, if it is base64 and not too long for the way it came.
pub(crate) fn user_data(call: &Call<'_>) -> Result<Option<String>, ApiError> {
    let Some(data) = call.text("userdata") else {
        return Ok(None);
    };
    let data = unescape(data)?;
    if call.method == Method::Get && data.len() > USER_DATA_MAX_GET {
        return Err(ApiError::value(
            "User data is too long for http GET request",
        ));
    }
    if data.len() > USER_DATA_MAX {
        let text = format!("User data has exceeded configurable max length: {USER_DATA_MAX}");
        return Err(ApiError::value(text));
    }
    match STANDARD.decode(data.trim()) {
        Ok(bytes) if bytes.is_empty() => Err(ApiError::value("User data is too short.")),
        Ok(_) => Ok(Some(data)),
        Err(_) => Err(ApiError::value("User data is not base64 encoded.")),
    }
}

/// The server decodes data with a percent sign in it once more, in Java's way.
fn unescape(data: &str) -> Result<String, ApiError> {
    let Some((_, rest)) = data.split_once('%') else {
        return Ok(data.to_owned());
    };
    let escape: String = rest.chars().take(2).collect();
    if escape.chars().count() < 2 {
        return Err(ApiError::parameter(
            "URLDecoder: Incomplete trailing escape (%) pattern",
        ));
    }
    if u8::from_str_radix(&escape, 16).is_err() {
        return Err(ApiError::parameter(format!(
            "URLDecoder: Illegal hex characters in escape (%) pattern - Error at index 0 in: \"{escape}\""
        )));
    }
    let pair = format!("d={data}");
    let decoded = url::form_urlencoded::parse(pair.as_bytes()).next();
    Ok(decoded
        .map(|(_, value)| value.into_owned())
        .unwrap_or_default())
}
