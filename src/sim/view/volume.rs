//! The rows of volumes.

use serde_json::{Value, json};

use super::{RowOf, Viewer, date, short_tags};
use crate::sim::world::catalogue::{Catalogue, Row};
use crate::sim::world::{GIB, Volume, VolumeKind, VolumeState, World};

/// The row of a volume.
pub(crate) fn row(world: &World, viewer: &Viewer, volume: &Volume) -> Row {
    let state = world.state_of_volume(volume);
    let row = RowOf::new()
        .set("id", volume.id.as_str())
        .set("name", volume.name.as_str())
        .zone(world)
        .set("type", volume.kind.word())
        .with(machine(world, volume))
        .set("provisioningtype", "thin")
        .set("size", volume.bytes)
        .set("created", date(volume.created))
        .set("state", format!("{state:?}"))
        .owner(world, &volume.account)
        .with(offering(world, volume))
        .with(template(world, volume))
        .set("attached", volume.attached.map(date))
        .set("destroyed", state == VolumeState::Destroy)
        .set("isextractable", true)
        .set_if(viewer.admin, "displayvolume", true)
        .set("quiescevm", false)
        .set("supportsstoragesnapshot", false)
        .set("deleteprotection", false)
        .set("tags", short_tags(world, &volume.id))
        .set("hasannotations", false);
    with_job(world, volume, for_admins(viewer, row, volume, state)).done()
}

fn for_admins(viewer: &Viewer, row: RowOf, volume: &Volume, state: VolumeState) -> RowOf {
    let admin = viewer.admin;
    let placed = state == VolumeState::Ready;
    row.set_if(admin, "storagetype", "shared")
        .set_if(admin, "hypervisor", "Simulator")
        .set_if(admin, "storage", if placed { POOL.1 } else { "none" })
        .set_if(admin && placed, "storageid", POOL.0)
        .set_if(admin && placed, "path", volume.id.as_str())
}

/// The id and name of the one storage pool.
pub(crate) const POOL: (&str, &str) = ("a490b7ba-ad00-3768-bd1b-bdda445b88c5", "PS0");

fn machine(world: &World, volume: &Volume) -> Row {
    let Some(vm) = volume.vm.as_ref().and_then(|vm| world.vms.get(vm)) else {
        return Row::new();
    };
    RowOf::new()
        .set("deviceid", volume.device)
        .set("virtualmachineid", vm.id.as_str())
        .set("vmname", vm.name.as_str())
        .set("vmdisplayname", vm.shown_name())
        .set("vmstate", vm.state.to_string())
        .set("vmtype", "User")
        .done()
}

/// The offering that it was made by: a machine's own for its root disk, unless another disk
/// offering was asked for.
fn offering(world: &World, volume: &Volume) -> Row {
    if let Some(id) = &volume.offering {
        let row = Catalogue::find(&world.catalogue.disk_offerings, id);
        let of = |member: &str| row.map(|row| Catalogue::text(row, member));
        return RowOf::new()
            .set("diskofferingid", id.as_str())
            .set("diskofferingname", of("name"))
            .set("diskofferingdisplaytext", of("displaytext"))
            .done();
    }
    let vm = volume.vm.as_ref().and_then(|vm| world.vms.get(vm));
    let row = vm.and_then(|vm| Catalogue::find(&world.catalogue.service_offerings, &vm.offering));
    let of = |member: &str| row.map(|row| Catalogue::text(row, member));
    RowOf::new()
        .set("serviceofferingid", of("id"))
        .set("serviceofferingname", of("name"))
        .set("serviceofferingdisplaytext", of("displaytext"))
        .done()
}

fn template(world: &World, volume: &Volume) -> Row {
    let root = volume.kind == VolumeKind::Root;
    let vm = volume.vm.as_ref().filter(|_| root);
    let vm = vm.and_then(|vm| world.vms.get(vm));
    let row = vm.and_then(|vm| Catalogue::find(&world.catalogue.templates, &vm.template));
    let of = |member: &str| row.map(|row| Catalogue::text(row, member));
    RowOf::new()
        .set("templateid", of("id"))
        .set("templatename", of("name"))
        .set("templatedisplaytext", of("displaytext"))
        .done()
}

/// While a job works on a volume its row says which.
fn with_job(world: &World, volume: &Volume, row: RowOf) -> RowOf {
    match world.job_of_volume(volume) {
        Some(job) => row
            .set("jobid", job.id.as_str())
            .set("jobstatus", job.status.number()),
        None => row,
    }
}

/// A size in GiB, for texts that tell it with two decimals.
#[expect(
    clippy::cast_precision_loss,
    reason = "a size is told with two decimals"
)]
pub(crate) fn in_gib(bytes: i64) -> f64 {
    bytes as f64 / GIB as f64
}

/// The `jobresult` of a job on a volume.
pub(crate) fn result(world: &World, viewer: &Viewer, id: &str) -> Value {
    let row = world
        .volumes
        .get(id)
        .map(|volume| row(world, viewer, volume));
    json!({"volume": row})
}
