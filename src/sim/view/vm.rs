//! The rows of machines, in the many shapes that CloudStack gives them.
//!
//! `details=` chooses groups of members; admins see more; a few commands answer with fewer. All
//! of it is read off the recordings (`admin/03-vm`, `admin/05-life`, `tenant/30-…`).

use std::collections::BTreeSet;
use std::net::Ipv4Addr;

use serde_json::{Map, Value, json};

use super::{RowOf, Viewer, account_name, date, tag};
use crate::sim::jobs::Job;
use crate::sim::world::catalogue::{Catalogue, Row};
use crate::sim::world::{Disk, GuestType, Nic, Vm, VmState, World};

/// The words that `details=` knows.
pub(crate) const GROUPS: [&str; 14] = [
    "all", "group", "nics", "stats", "secgrp", "tmpl", "servoff", "diskoff", "backoff", "iso",
    "volume", "min", "affgrp", "vnfnics",
];

/// How a row is to look.
#[derive(Clone, Debug)]
pub(crate) struct Shape {
    groups: BTreeSet<String>,
    /// Whether admins see the members that only they may see.
    full: bool,
    /// Whether the user data is part of the row.
    user_data: bool,
}

impl Shape {
    /// Everything.
    pub(crate) fn all() -> Self {
        Self {
            groups: BTreeSet::from(["all".to_owned()]),
            full: true,
            user_data: false,
        }
    }

    /// The groups that a comma-separated list names; none if it names one that does not exist.
    pub(crate) fn parse(words: &str) -> Option<Self> {
        let groups: BTreeSet<String> = words
            .split(',')
            .map(|word| word.trim().to_lowercase())
            .collect();
        let known = groups.iter().all(|word| GROUPS.contains(&word.as_str()));
        known.then_some(Self {
            groups,
            full: true,
            user_data: false,
        })
    }

    pub(crate) fn with_user_data(mut self, shown: bool) -> Self {
        self.user_data = shown;
        self
    }

    /// The shape that users see, for an admin too.
    pub(crate) fn restricted(mut self) -> Self {
        self.full = false;
        self
    }

    pub(crate) fn is_all(&self) -> bool {
        self.groups.contains("all")
    }

    fn has(&self, group: &str) -> bool {
        self.is_all() || self.groups.contains(group)
    }
}

/// The `jobresult` of a job on a machine.
pub(crate) fn result(world: &World, job: &Job, id: &str) -> Value {
    let viewer = Viewer { admin: job.admin };
    let row = world
        .vms
        .get(id)
        .map(|vm| row(world, &viewer, vm, &Shape::all()));
    json!({"virtualmachine": row})
}

/// The row that a few commands answer with: one group of members and nothing for admins alone.
pub(crate) fn narrow(world: &World, viewer: &Viewer, id: &str, group: &str) -> Value {
    let shape = Shape::parse(group).unwrap_or_else(Shape::all).restricted();
    world
        .vms
        .get(id)
        .map_or(Value::Null, |vm| row(world, viewer, vm, &shape).into())
}

/// What is left to say of a machine that has just been purged.
pub(crate) fn empty() -> Value {
    json!({"securitygroup": [], "nic": [], "affinitygroup": [], "deleteprotection": false, "tags": []})
}

/// The row of a machine.
pub(crate) fn row(world: &World, viewer: &Viewer, vm: &Vm, shape: &Shape) -> Row {
    let admin = viewer.admin && shape.full;
    let os = template(world, vm).map(|row| Catalogue::text(row, "ostypeid").to_owned());
    let os_name = template(world, vm).map(|row| Catalogue::text(row, "ostypename").to_owned());
    let has_disk = vm.disk != Disk::None && shape.has("volume");
    let nics = if shape.has("nics") {
        nics(world, vm)
    } else {
        Vec::new()
    };
    let nat = world.address_of(&vm.id);
    let head = head(world, viewer, vm, shape)
        .set("guestosid", os.clone())
        .set_if(has_disk, "rootdeviceid", 0)
        .set_if(has_disk, "rootdevicetype", "ROOT")
        .set("securitygroup", json!([]))
        .set("nic", nics)
        .set("hypervisor", "Simulator")
        .set_if(
            shape.has("nics"),
            "ipaddress",
            first_ip(vm).map(|ip| ip.to_string()),
        )
        .set("publicipid", nat.map(|address| address.id.clone()))
        .set("publicip", nat.map(|address| address.ip.to_string()));
    let pool = vm.disk == Disk::Ready || vm.disk == Disk::Lost;
    let bios = vm.state == VmState::Running && vm.details.is_empty() && !vm.capacity_freed;
    let tags: Vec<Value> = world
        .tags_of(&vm.id)
        .map(|known| tag(world, known, false).into())
        .collect();
    let row = head
        .set_if(admin, "instancename", instance_name(world, vm))
        .set("details", details(viewer, vm))
        .set_if(
            !viewer.admin,
            "readonlydetails",
            "dataDiskController, rootDiskController",
        )
        .set("affinitygroup", groups(world, vm, shape))
        .set_if(viewer.admin, "displayvm", true)
        .set("isdynamicallyscalable", false)
        .set("deleteprotection", vm.delete_protection)
        .set("ostypeid", os)
        .set("osdisplayname", os_name)
        .set_if(bios, "bootmode", "legacy")
        .set_if(bios, "boottype", "Bios")
        .set_if(pool, "pooltype", "NetworkFilesystem")
        .set("receivedbytes", 0)
        .set("sentbytes", 0)
        .set_if(admin, "arch", "x86_64")
        .set_if(shape.user_data, "userdata", vm.user_data.clone())
        .set("tags", tags)
        .set("hasannotations", false);
    with_job(world, vm, row).done()
}

fn head(world: &World, viewer: &Viewer, vm: &Vm, shape: &Shape) -> RowOf {
    let user = world.users.get(&vm.user).map(|user| user.name.clone());
    let keys = (!vm.key_pairs.is_empty()).then(|| vm.key_pairs.join(","));
    let host = vm.host.as_ref().filter(|_| vm.state == VmState::Running);
    let host_name = host.and_then(|id| Catalogue::find(&world.catalogue.hosts, id));
    RowOf::new()
        .set("id", vm.id.as_str())
        .set("name", vm.name.as_str())
        .set("displayname", vm.shown_name())
        .owner(world, &vm.account)
        .set("userid", vm.user.as_str())
        .set("username", user)
        .set("created", date(vm.created))
        .set("lastupdated", vm.updated.map(date))
        .set("state", vm.state.to_string())
        .set("haenable", vm.ha)
        .zone(world)
        .set_if(viewer.admin, "hostid", host.cloned())
        .set_if(
            viewer.admin,
            "hostname",
            host_name.map(|row| Catalogue::text(row, "name")),
        )
        .set(
            "hostcontrolstate",
            host.map(|id| world.host(id).control_state()),
        )
        .with(if shape.has("tmpl") {
            template_members(world, vm)
        } else {
            Map::new()
        })
        .with(offering_members(world, vm, shape))
        .with(if shape.has("stats") {
            stats(world, vm)
        } else {
            Map::new()
        })
        .with(names(world, vm))
        .set("keypairs", keys)
}

/// The group and the registered user data, where there are any.
fn names(world: &World, vm: &Vm) -> Row {
    let group = vm.group.as_ref();
    let group = group.and_then(|id| world.instance_groups.get(id));
    let data = vm.user_data_id.as_ref();
    let data = data.and_then(|id| world.user_data.get(id));
    RowOf::new()
        .set("groupid", group.map(|group| group.id.clone()))
        .set("group", group.map(|group| group.name.clone()))
        .set("userdataid", data.map(|data| data.id.clone()))
        .set("userdataname", data.map(|data| data.name.clone()))
        .done()
}

fn template<'world>(world: &'world World, vm: &Vm) -> Option<&'world Row> {
    Catalogue::find(&world.catalogue.templates, &vm.template)
}

fn template_members(world: &World, vm: &Vm) -> Row {
    let Some(template) = template(world, vm) else {
        return Map::new();
    };
    let of = |member: &str| template.get(member).cloned();
    RowOf::new()
        .set("templateid", vm.template.as_str())
        .set("templatename", of("name"))
        .set("templatetype", of("templatetype"))
        .set("templateformat", of("format"))
        .set("templatedisplaytext", of("displaytext"))
        .set("passwordenabled", of("passwordenabled"))
        .done()
}

fn offering_members(world: &World, vm: &Vm, shape: &Shape) -> Row {
    let Some(offering) = Catalogue::find(&world.catalogue.service_offerings, &vm.offering) else {
        return Map::new();
    };
    let sizes = shape.has("servoff") || shape.has("stats");
    RowOf::new()
        .set_if(
            shape.has("servoff"),
            "serviceofferingid",
            vm.offering.as_str(),
        )
        .set_if(
            shape.has("servoff"),
            "serviceofferingname",
            Catalogue::text(offering, "name"),
        )
        .set_if(sizes, "cpunumber", vm.size.cpus)
        .set_if(sizes, "cpuspeed", vm.size.mhz)
        .set_if(sizes, "memory", vm.size.memory_mib)
        .done()
}

/// The load of a machine, which is first sampled a minute after its start.
fn stats(world: &World, vm: &Vm) -> Row {
    let sampled = vm
        .running_since
        .is_some_and(|since| (world.wall() - since).as_secs() >= 60);
    if !sampled {
        return Map::new();
    }
    let quiet = [
        "diskkbsread",
        "diskkbswrite",
        "memorykbs",
        "memoryintfreekbs",
        "memorytargetkbs",
    ];
    let idle = ["diskioread", "diskiowrite"];
    let row = RowOf::new()
        .set("cpuused", "10%")
        .set("networkkbsread", 32_768)
        .set("networkkbswrite", 16_384);
    quiet
        .iter()
        .chain(&idle)
        .fold(row, |row, name| row.set(name, 0))
        .done()
}

/// The address of the card in the first place, which need not be the default one.
fn first_ip(vm: &Vm) -> Option<Ipv4Addr> {
    let first = vm.nics.iter().min_by_key(|nic| nic.device);
    first.map(|nic| nic.ip).filter(|ip| !ip.is_unspecified())
}

fn nics(world: &World, vm: &Vm) -> Vec<Value> {
    let mut nics: Vec<&Nic> = vm.nics.iter().collect();
    nics.sort_by_key(|nic| nic.device);
    let rows = nics.into_iter().map(|nic| nic_row(world, vm, nic).done());
    rows.map(Value::from).collect()
}

/// The row of a network card.
pub(crate) fn nic_row(world: &World, vm: &Vm, nic: &Nic) -> RowOf {
    let uri = nic.vlan.map(|vlan| format!("vlan://{vlan}"));
    let network = world.networks.get(&nic.network);
    let vpc = network.and_then(|network| world.vpcs.get(network.vpc.as_ref()?));
    let routed = network.filter(|network| network.guest_type != GuestType::L2);
    let nat = world.address_to(&vm.id, nic.ip);
    let default = vm.nics.first().is_some_and(|first| first.id == nic.id);
    let more = nic.secondary.iter();
    let more: Vec<Value> = more
        .map(|more| json!({"id": more.id, "ipaddress": more.ip.to_string()}))
        .collect();
    RowOf::new()
        .set("id", nic.id.as_str())
        .set("networkid", nic.network.as_str())
        .set("networkname", network.map(|network| network.name.clone()))
        .set("netmask", routed.map(|network| network.netmask.to_string()))
        .set("gateway", routed.map(|network| network.gateway.to_string()))
        .set("ipaddress", routed.map(|_| nic.ip.to_string()))
        .set("isolationuri", uri.clone())
        .set("broadcasturi", uri)
        .set("traffictype", "Guest")
        .set(
            "type",
            network.map(|network| format!("{:?}", network.guest_type)),
        )
        .set("isdefault", default)
        .set("macaddress", nic.mac.as_str())
        .set("secondaryip", more)
        .set("extradhcpoption", json!([]))
        .set("deviceid", nic.device.to_string())
        .set("vpcid", vpc.map(|vpc| vpc.id.clone()))
        .set("vpcname", vpc.map(|vpc| vpc.name.clone()))
        .set("publicipid", nat.map(|address| address.id.clone()))
        .set("publicip", nat.map(|address| address.ip.to_string()))
}

/// The name of a machine on its hypervisor.
pub(crate) fn instance_name(world: &World, vm: &Vm) -> String {
    let account = world
        .accounts
        .get(&vm.account)
        .map_or(0, |account| account.number);
    format!("i-{account}-{}-VM", vm.number)
}

/// `user.vm.denied.details`, as far as it is ever set here.
pub(crate) const DENIED: [&str; 3] = [
    "rootdisksize",
    "cpuOvercommitRatio",
    "memoryOvercommitRatio",
];

/// The details: users do not see those that the server keeps for itself.
fn details(viewer: &Viewer, vm: &Vm) -> Value {
    let mut details = json!(vm.details);
    if let (true, true, Value::Object(map)) = (viewer.admin, vm.capacity_freed, &mut details) {
        map.insert(
            "Message.ReservedCapacityFreed.Flag".to_owned(),
            "false".into(),
        );
    }
    if let (false, Value::Object(map)) = (viewer.admin, &mut details) {
        map.retain(|name, _| !DENIED.contains(&name.as_str()));
    }
    details
}

fn groups(world: &World, vm: &Vm, shape: &Shape) -> Vec<Value> {
    // The affinity groups come with every shape that was recorded but `min` and `nics`.
    if !shape.has("affgrp") {
        return Vec::new();
    }
    let groups = vm
        .affinity_groups
        .iter()
        .filter_map(|id| world.affinity_groups.get(id));
    let row = |account: &str| account_name(world, account).to_owned();
    groups
        .map(|group| json!({"id": group.id, "name": group.name, "account": row(&group.account)}))
        .collect()
}

/// While a job works on a machine its row says which.
fn with_job(world: &World, vm: &Vm, row: RowOf) -> RowOf {
    match world.job_of_vm(&vm.id) {
        Some(job) => row
            .set("jobid", job.id.as_str())
            .set("jobstatus", job.status.number()),
        None => row,
    }
}

/// The row of `listVirtualMachinesMetrics`.
pub(crate) fn metrics(world: &World, viewer: &Viewer, vm: &Vm) -> Row {
    let mut row = row(world, viewer, vm, &Shape::all());
    row.remove("domainpath");
    let number = |member: &str| row.get(member).and_then(Value::as_f64).unwrap_or_default();
    let ghz = number("cpunumber") * number("cpuspeed") / 1000.0;
    let gib = number("memory") / 1024.0;
    let sampled = row.contains_key("cpuused");
    RowOf::new()
        .set("cputotal", format!("{ghz:.1} Ghz"))
        .set("memorytotal", format!("{gib:.2} GiB"))
        .set_if(sampled, "networkread", "32.00 MB")
        .set_if(sampled, "networkwrite", "16.00 MB")
        .set_if(sampled, "diskread", "0.00 MB")
        .set_if(sampled, "diskwrite", "0.00 MB")
        .set_if(sampled, "diskiopstotal", 0)
        .with(row)
        .done()
}
