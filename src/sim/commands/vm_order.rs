//! What a new machine is made of: its size, and its disks.

use std::collections::BTreeMap;

use super::call::Call;
use super::volume::{Ordered, ordered};
use crate::sim::jobs::Twist;
use crate::sim::reply::ApiError;
use crate::sim::view::volume::in_gib;
use crate::sim::world::catalogue::{Catalogue, Row};
use crate::sim::world::disks::NewDisk;
use crate::sim::world::{GIB, Kind, Size, VolumeKind};

/// The details that choose the size of a machine, where its offering leaves it open.
const SIZES: [&str; 3] = ["cpuNumber", "cpuSpeed", "memory"];

/// The size of a machine: that of its offering, or what `details` ask for if that is customised.
///
/// # Errors
/// A size is missing, unreadable or not to be chosen.
pub(super) fn size(offered: &Row, details: &BTreeMap<String, String>) -> Result<Size, ApiError> {
    let custom = offered.get("iscustomized") == Some(&true.into());
    let fixed = Catalogue::size(offered);
    if !custom {
        if SIZES.iter().any(|name| details.contains_key(*name)) {
            let text = "cpuNumber or cpuSpeed or memory should not be specified for static service offering";
            return Err(ApiError::value(text));
        }
        return Ok(fixed);
    }
    let asked = |name: &str, fixed: i64| {
        let text = details.get(name);
        let asked = text.map_or((fixed > 0).then_some(fixed), |text| text.parse().ok());
        asked
            .filter(|asked| (1..=1 << 30).contains(asked))
            .ok_or_else(|| {
                let what = match name {
                    "cpuNumber" => "cpu cores",
                    "cpuSpeed" => "cpu speed",
                    _ => "memory",
                };
                ApiError::value(format!(
                    "Invalid {what} value, specify a value between 1 and {}",
                    i32::MAX
                ))
            })
    };
    Ok(Size {
        cpus: asked("cpuNumber", fixed.cpus)?,
        mhz: asked("cpuSpeed", fixed.mhz)?,
        memory_mib: asked("memory", fixed.memory_mib)?,
    })
}

/// The offering of a machine, unless it was deleted.
///
/// # Errors
/// It was.
pub(super) fn offered(call: &Call<'_>, id: &str) -> Result<Row, ApiError> {
    let row = Catalogue::find(&call.world.catalogue.service_offerings, id);
    let row = row.filter(|row| Catalogue::text(row, "state") != "Inactive");
    row.cloned()
        .ok_or_else(|| ApiError::value(format!("Unable to find service offering: {id}")))
}

/// Lets the job of a start fail if a user chose where it is to run: that is looked at only then.
pub(super) fn refuse_places(call: &mut Call<'_>) {
    let places = ["podid", "clusterid", "hostid"];
    let chosen = places.into_iter().find(|name| call.text(name).is_some());
    let starts = call.flag("startvm") != Some(false);
    if let (false, true, Some(name)) = (call.caller.admin, starts, chosen) {
        let text =
            format!("Parameter {name} can only be specified by a Root Admin, permission denied");
        call.twist = Some(Twist::Fail { code: 530, text });
    }
}

/// The size of a root disk: the template's, or a larger one that was asked for.
///
/// # Errors
/// The size is smaller than the template's.
pub(super) fn root_bytes(call: &Call<'_>, template: &str, offered: &Row) -> Result<i64, ApiError> {
    let least = call.world.template_bytes(template);
    if let Some(gib) = root_gib(call)? {
        let bytes = gib.saturating_mul(GIB);
        if bytes < least {
            return Err(ApiError::value(format!(
                "Unsupported: rootdisksize override ({gib} GB) is smaller than template size {:.2} GB",
                in_gib(least)
            )));
        }
        return Ok(bytes);
    }
    let fixed = Catalogue::number(offered, "rootdisksize").saturating_mul(GIB);
    Ok(fixed.max(least))
}

/// The size in GiB that was asked for a root disk.
///
/// # Errors
/// It is not positive.
pub(super) fn root_gib(call: &Call<'_>) -> Result<Option<i64>, ApiError> {
    match call.parsed("rootdisksize")? {
        Some(gib) if gib <= 0 => Err(ApiError::value(
            "Root disk size should be a positive number.",
        )),
        gib => Ok(gib),
    }
}

/// The disks of a new machine, the root disk first; they get their names with its number.
///
/// # Errors
/// A size or an offering is refused.
pub(super) fn disks(call: &Call<'_>, root: i64) -> Result<Vec<NewDisk>, ApiError> {
    let root_offering = call.id("overridediskofferingid", Kind::DiskOffering)?;
    let mut disks = vec![NewDisk {
        kind: VolumeKind::Root,
        name: String::new(),
        bytes: root,
        offering: root_offering,
        device: 0,
    }];
    let mut wanted = Vec::new();
    if let Some(offering) = call.disk_offering("diskofferingid")? {
        wanted.push(ordered(&offering, call.parsed("size")?)?);
    }
    let details = call.params.entries("datadisksdetails");
    if !details.is_empty() && !wanted.is_empty() {
        let text = "Data disk details and disk offering can't be specified together";
        return Err(ApiError::value(text));
    }
    for entry in &details {
        wanted.push(detailed(call, entry)?);
    }
    if wanted.len() > crate::sim::world::disks::DATA_DISKS_MAX {
        return Err(ApiError::value("Too many data disks for one machine"));
    }
    for (device, Ordered { offering, bytes }) in [1, 2, 4, 5, 6, 7].into_iter().zip(wanted) {
        disks.push(NewDisk {
            kind: VolumeKind::Data,
            name: String::new(),
            bytes,
            offering: Some(offering),
            device,
        });
    }
    Ok(disks)
}

/// Names the disks of a machine after its number.
pub(super) fn name(disks: &mut [NewDisk], number: u64) {
    for disk in disks {
        disk.name = match (disk.kind, disk.device) {
            (VolumeKind::Root, _) => format!("ROOT-{number}"),
            (VolumeKind::Data, 1) => format!("DATA-{number}"),
            (VolumeKind::Data, device) => format!("DATA-{number}-{device}"),
        };
    }
}

fn detailed(call: &Call<'_>, entry: &BTreeMap<String, String>) -> Result<Ordered, ApiError> {
    let id = entry.get("diskofferingid").map(String::as_str);
    let id = id.unwrap_or_default();
    let row = Catalogue::find(&call.world.catalogue.disk_offerings, id);
    let row = row.ok_or_else(|| {
        ApiError::value(format!(
            "Unable to find disk offering with id {id} for data disk"
        ))
    })?;
    let size = entry.get("size").map(|size| size.parse::<i64>());
    match size {
        None => ordered(row, None),
        Some(Ok(size)) => ordered(row, Some(size)),
        Some(Err(_)) => Err(ApiError::value("Invalid size for data disk")),
    }
}
