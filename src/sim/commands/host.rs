//! What an admin sees below the zone: pods, clusters, hosts, storage, and machines of the cloud
//! itself.

use serde_json::json;

use super::call::{Answered, Call};
use super::declare::{Command, admin, admin_class, admin_job};
use crate::sim::jobs::Work;
use crate::sim::reply::ApiError;
use crate::sim::view::RowOf;
use crate::sim::view::host::row;
use crate::sim::view::volume::POOL;
use crate::sim::world::catalogue::{Catalogue, Row};
use crate::sim::world::{Kind, ResourceState};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    admin(
        "listHosts",
        "id:uuid name type state zoneid:uuid podid:uuid clusterid:uuid hypervisor \
         details:list resourcestate virtualmachineid:uuid hahost:boolean",
        hosts,
    ),
    admin(
        "listPods",
        "id:uuid name zoneid:uuid allocationstate showcapacities:boolean",
        pods,
    ),
    admin(
        "listClusters",
        "id:uuid name zoneid:uuid podid:uuid hypervisor clustertype allocationstate \
         managedstate showcapacities:boolean",
        clusters,
    ),
    admin(
        "listStoragePools",
        "id:uuid name zoneid:uuid podid:uuid clusterid:uuid ipaddress path scope status",
        pools,
    ),
    admin(
        "listSystemVms",
        "id:uuid name zoneid:uuid podid:uuid hostid:uuid state systemvmtype storageid:uuid",
        system_vms,
    ),
    admin_job(
        "prepareHostForMaintenance",
        "id!:uuid",
        prepare,
        admin_class("host", "PrepareForMaintenanceCmd", "Host"),
    ),
    admin_job(
        "cancelHostMaintenance",
        "id!:uuid",
        cancel,
        admin_class("host", "CancelMaintenanceCmd", "Host"),
    ),
];

/// `listHosts`.
pub(crate) fn hosts(call: &mut Call<'_>) -> Answered {
    let of_vm = call.id("virtualmachineid", Kind::Vm)?;
    let members = [
        "id",
        "name",
        "type",
        "state",
        "podid",
        "clusterid",
        "zoneid",
        "resourcestate",
    ];
    let rows = call.world.catalogue.hosts.iter();
    let mut rows: Vec<Row> = rows.map(|host| row(call.world, host)).collect();
    rows.retain(|row| call.matches(row, &members));
    rows.retain(|row| call.holds("keyword", Catalogue::text(row, "name")));
    if let Some(vm) = of_vm.and_then(|vm| call.world.vms.get(&vm)) {
        // Where a machine could be moved: anywhere but where it is.
        rows.retain(|row| vm.host.as_deref() != Some(Catalogue::text(row, "id")));
    }
    call.page("host", &rows, Clone::clone)
}

/// What the hosts say of the pod or cluster that they are in, once each.
fn of_hosts(call: &Call<'_>, id: &str, name: &str) -> Vec<(String, String)> {
    let hosts = call.world.catalogue.hosts.iter();
    let mut found: Vec<(String, String)> = hosts
        .map(|row| {
            (
                Catalogue::text(row, id).to_owned(),
                Catalogue::text(row, name).to_owned(),
            )
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

/// `listPods`.
pub(crate) fn pods(call: &mut Call<'_>) -> Answered {
    let pods = of_hosts(call, "podid", "podname").into_iter();
    let mut rows: Vec<Row> = pods
        .map(|(id, name)| {
            RowOf::new()
                .set("id", id)
                .set("name", name)
                .zone(call.world)
                .set("gateway", "172.16.15.1")
                .set("netmask", "255.255.255.0")
                .set("startip", json!(["172.16.15.2"]))
                .set("endip", json!(["172.16.15.200"]))
                .set("allocationstate", "Enabled")
                .set("hasannotations", false)
                .done()
        })
        .collect();
    rows.retain(|row| call.matches(row, &["id", "name", "zoneid", "allocationstate"]));
    call.page("pod", &rows, Clone::clone)
}

/// `listClusters`.
pub(crate) fn clusters(call: &mut Call<'_>) -> Answered {
    let pod = of_hosts(call, "podid", "podname")
        .into_iter()
        .next()
        .unwrap_or_default();
    let clusters = of_hosts(call, "clusterid", "clustername").into_iter();
    let mut rows: Vec<Row> = clusters
        .map(|(id, name)| {
            RowOf::new()
                .set("id", id)
                .set("name", name)
                .set("podid", pod.0.as_str())
                .set("podname", pod.1.as_str())
                .zone(call.world)
                .set("hypervisortype", "Simulator")
                .set("clustertype", "CloudManaged")
                .set("allocationstate", "Enabled")
                .set("managedstate", "Managed")
                .set("cpuovercommitratio", "1.0")
                .set("memoryovercommitratio", "1.0")
                .set("arch", "x86_64")
                .set("hasannotations", false)
                .done()
        })
        .collect();
    rows.retain(|row| call.matches(row, &["id", "name", "zoneid", "podid", "allocationstate"]));
    call.page("cluster", &rows, Clone::clone)
}

/// `listStoragePools`.
pub(crate) fn pools(call: &mut Call<'_>) -> Answered {
    let cluster = of_hosts(call, "clusterid", "clustername")
        .into_iter()
        .next();
    let (cluster, cluster_name) = cluster.unwrap_or_default();
    let row = RowOf::new()
        .set("id", POOL.0)
        .set("name", POOL.1)
        .zone(call.world)
        .set("clusterid", cluster)
        .set("clustername", cluster_name)
        .set("ipaddress", "172.16.15.200")
        .set("path", "/export/primary")
        .set("type", "NetworkFilesystem")
        .set("disksizetotal", 1_i64 << 42)
        .set("disksizeallocated", 0)
        .set("disksizeused", 0)
        .set("state", "Up")
        .set("scope", "CLUSTER")
        .set("hypervisor", "Simulator")
        .set("hasannotations", false)
        .done();
    let shown = call.matches(&row, &["id", "name", "zoneid", "clusterid", "scope"]);
    let rows: Vec<Row> = shown.then_some(row).into_iter().collect();
    call.page("storagepool", &rows, Clone::clone)
}

/// `listSystemVms`: the two that hold a public address.
pub(crate) fn system_vms(call: &mut Call<'_>) -> Answered {
    let addresses = call.world.addresses.values();
    let system = addresses.filter_map(|row| Some((row, row.system.as_ref()?)));
    let mut rows: Vec<Row> = system
        .map(|(address, machine)| {
            RowOf::new()
                .set("id", machine.id.as_str())
                .set("name", machine.name.as_str())
                .set("systemvmtype", machine.kind.to_lowercase())
                .zone(call.world)
                .set("publicip", address.ip.to_string())
                .set("state", "Running")
                .set("agentstate", "Up")
                .set("hypervisor", "Simulator")
                .set("hasannotations", false)
                .done()
        })
        .collect();
    rows.sort_by(|a, b| Catalogue::text(a, "name").cmp(Catalogue::text(b, "name")));
    rows.retain(|row| call.matches(row, &["id", "name", "systemvmtype", "state"]));
    call.page("systemvm", &rows, Clone::clone)
}

/// `prepareHostForMaintenance`.
pub(crate) fn prepare(call: &mut Call<'_>) -> Answered {
    let host = call.required_id("id", Kind::Host)?;
    if call.world.host(&host).resource != ResourceState::Enabled {
        let text = "Host is already in state PrepareForMaintenance or Maintenance";
        return Err(ApiError::value(text));
    }
    let work = Work::Maintain { host: host.clone() };
    call.submit(work, Some(host), None)
}

/// `cancelHostMaintenance`.
pub(crate) fn cancel(call: &mut Call<'_>) -> Answered {
    let host = call.required_id("id", Kind::Host)?;
    if call.world.host(&host).resource == ResourceState::Enabled {
        let text = "Cannot perform cancelMaintenance when resource state is Enabled";
        return Err(ApiError::value(text));
    }
    let work = Work::EndMaintenance { host: host.clone() };
    call.submit(work, Some(host), None)
}
