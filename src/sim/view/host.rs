//! The rows of hosts.

use serde_json::{Value, json};

use super::{RowOf, date};
use crate::sim::world::World;
use crate::sim::world::catalogue::{Catalogue, Row};
use crate::sim::world::hosts::Load;

/// A host as it is now: the catalogue's row with its state and its load.
pub(crate) fn row(world: &World, host: &Row) -> Row {
    let id = Catalogue::text(host, "id");
    let now = world.host(id);
    let load = Load::of(world, id);
    let (mhz, mib) = (world.settings.host_cpu_mhz, world.settings.host_memory_mib);
    let memory = load.memory_mib.saturating_mul(1 << 20);
    let total = mib.saturating_mul(1 << 20);
    let cpu = share(load.mhz, mhz);
    RowOf::new()
        .with(host.clone())
        .set("state", format!("{:?}", now.state))
        .set("resourcestate", format!("{:?}", now.resource))
        .set("cpuwithoverprovisioning", mhz.to_string())
        .set("cpuallocated", cpu.as_str())
        .set("cpuallocatedpercentage", cpu.as_str())
        .set("cpuallocatedwithoverprovisioning", cpu.as_str())
        .set("cpuallocatedvalue", load.mhz)
        .set("memorytotal", total)
        .set("memorywithoverprovisioning", total.to_string())
        .set("memoryallocated", memory)
        .set("memoryallocatedbytes", memory)
        .set("memoryallocatedpercentage", share(load.memory_mib, mib))
        .set("lastpinged", date(world.wall()))
        .done()
}

#[expect(
    clippy::cast_precision_loss,
    reason = "a share is told with two decimals"
)]
fn share(part: i64, whole: i64) -> String {
    format!("{:.2}%", 100.0 * part as f64 / whole.max(1) as f64)
}

/// The `jobresult` of a job on a host.
pub(crate) fn result(world: &World, id: &str) -> Value {
    let host = Catalogue::find(&world.catalogue.hosts, id);
    json!({"host": host.map(|host| row(world, host))})
}
