//! Volumes: making, attaching, resizing and deleting them.

use serde_json::json;

use super::Answer;
use super::call::{Answered, Call};
use super::declare::{Command, by_admin, class, job, sync};
use crate::sim::events::Subject;
use crate::sim::jobs::{VolumeChange, Work};
use crate::sim::reply::ApiError;
use crate::sim::view::volume::row;
use crate::sim::world::catalogue::{Catalogue, Row};
use crate::sim::world::disks::NewDisk;
use crate::sim::world::{GIB, Kind, Uuid, Volume, VolumeKind, VolumeState};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    job(
        "createVolume",
        "diskofferingid:uuid name zoneid:uuid size:long snapshotid:uuid virtualmachineid:uuid \
         miniops:long maxiops:long displayvolume:boolean customid account domainid:uuid \
         projectid:uuid",
        create,
        by_admin("volume", "CreateVolumeCmd", "Volume"),
    ),
    job(
        "attachVolume",
        "id!:uuid virtualmachineid!:uuid deviceid:long",
        attach,
        by_admin("volume", "AttachVolumeCmd", "Volume"),
    ),
    job(
        "detachVolume",
        "id:uuid deviceid:long virtualmachineid:uuid",
        detach,
        by_admin("volume", "DetachVolumeCmd", "Volume"),
    ),
    sync("deleteVolume", "id!:uuid", delete),
    job(
        "destroyVolume",
        "id!:uuid expunge:boolean",
        destroy,
        by_admin("volume", "DestroyVolumeCmd", "Volume"),
    ),
    sync("recoverVolume", "id!:uuid", recover),
    job(
        "resizeVolume",
        "id!:uuid size:long diskofferingid:uuid shrinkok:boolean miniops:long maxiops:long",
        resize,
        by_admin("volume", "ResizeVolumeCmd", "Volume"),
    ),
    job(
        "changeOfferingForVolume",
        "id!:uuid diskofferingid!:uuid size:long shrinkok:boolean automigrate:boolean \
         miniops:long maxiops:long",
        resize,
        class("volume", "ChangeOfferingForVolumeCmd", "Volume"),
    ),
    job(
        "updateVolume",
        "id:uuid name path state storageid:uuid displayvolume:boolean chaininfo \
         deleteprotection:boolean customid",
        update,
        by_admin("volume", "UpdateVolumeCmd", "Volume"),
    ),
];

/// What a user may ask for with a customisable disk offering, in GiB:
/// `custom.diskoffering.size.max`.
const CUSTOM_MAX: i64 = 1_024;

/// A disk offering that is to be used, and the size that goes with it.
#[derive(Clone, Debug)]
pub(super) struct Ordered {
    pub(super) offering: Uuid,
    pub(super) bytes: i64,
}

/// The size of a disk: the offering's own, or what was asked for if the offering leaves it open.
///
/// # Errors
/// The size is missing, not allowed or out of range.
pub(super) fn ordered(offering: &Row, size: Option<i64>) -> Result<Ordered, ApiError> {
    if size.is_some_and(|size| size <= 0) {
        return Err(ApiError::value("Disk size must be larger than 0"));
    }
    let custom = offering.get("iscustomized") == Some(&true.into());
    let gib = match (custom, size) {
        (true, None) => {
            let text = "This disk offering requires a custom size specified";
            return Err(ApiError::value(text));
        }
        (true, Some(size)) if size > CUSTOM_MAX => {
            return Err(ApiError::value(format!(
                "Volume size: {size} GB is out of allowed range. Min: 1. Max: {CUSTOM_MAX}"
            )));
        }
        (true, Some(size)) => size,
        (false, Some(_)) => {
            let text = "This disk offering does not allow custom size";
            return Err(ApiError::value(text));
        }
        (false, None) => Catalogue::number(offering, "disksize"),
    };
    Ok(Ordered {
        offering: Catalogue::text(offering, "id").to_owned(),
        bytes: gib.saturating_mul(GIB),
    })
}

impl Call<'_> {
    /// The disk offering in a parameter.
    pub(super) fn disk_offering(&self, name: &str) -> Result<Option<Row>, ApiError> {
        let id = self.id(name, Kind::DiskOffering)?;
        let rows = &self.world.catalogue.disk_offerings;
        Ok(id.and_then(|id| Catalogue::find(rows, &id).cloned()))
    }

    /// Refuses if the caller's account would then have more volumes or storage than it may.
    pub(super) fn within_storage(&self, volumes: i64, bytes: i64) -> Result<(), ApiError> {
        if volumes > 0 {
            self.within_limit("volume", volumes)?;
        }
        let (used, _) = self.world.storage_used(&self.caller.account);
        let then = used.saturating_add(bytes.max(0)).saturating_add(GIB - 1);
        let more = then / GIB - used / GIB;
        self.within_limit("primary_storage", more)
    }

    fn volume(&self, name: &str) -> Result<Volume, ApiError> {
        let id = self.own(name, Kind::Volume)?;
        let found = self.world.volumes.get(&id).cloned();
        let number = self.world.gone.get(&id).map_or(0, |gone| gone.number);
        found.ok_or_else(|| ApiError::removed(number, "Volume"))
    }

    fn change_volume(&mut self, volume: Uuid, change: VolumeChange) -> Answered {
        let created = (change == VolumeChange::Create).then(|| volume.clone());
        let instance = Some(volume.clone());
        self.submit(Work::Volume { volume, change }, instance, created)
    }
}

/// `createVolume`.
pub(crate) fn create(call: &mut Call<'_>) -> Answered {
    let Some(offering) = call.disk_offering("diskofferingid")? else {
        let text =
            "At least one of disk Offering ID or snapshot ID must be passed whilst creating volume";
        return Err(ApiError::value(text));
    };
    let Ordered { offering, bytes } = ordered(&offering, call.parsed("size")?)?;
    if call.id("zoneid", Kind::Zone)?.is_none() {
        return Err(ApiError::missing(call.command.name, "zoneid"));
    }
    call.within_storage(1, bytes)?;
    let name = call.owned_text("name");
    let name = name.unwrap_or_else(|| call.world.fresh_id());
    let disk = NewDisk {
        kind: VolumeKind::Data,
        name,
        bytes,
        offering: Some(offering),
        device: 0,
    };
    let account = call.caller.account.clone();
    let id = call.world.add_disk(&account, None, disk);
    let text = format!("Successfully created entity for creating volume. Volume Id: {id}");
    let subject = Subject::volume(call.world, &id);
    call.report("VOLUME.CREATE", "Created", false, text, subject);
    call.change_volume(id, VolumeChange::Create)
}

/// `attachVolume`. Whether it can be attached is found out by the job.
pub(crate) fn attach(call: &mut Call<'_>) -> Answered {
    let volume = call.volume("id")?;
    let vm = call.own_vm("virtualmachineid")?;
    let device = call.parsed("deviceid")?;
    call.change_volume(volume.id, VolumeChange::Attach { vm, device })
}

/// `detachVolume`, by id or by machine and place.
pub(crate) fn detach(call: &mut Call<'_>) -> Answered {
    let place: Option<u32> = call.parsed("deviceid")?;
    let vm = call.own_if_given("virtualmachineid", Kind::Vm)?;
    let volume = match (call.text("id"), place, vm) {
        (Some(_), None, None) => call.volume("id")?,
        (None, Some(device), Some(vm)) => {
            let mut disks = call.world.volumes_of(&vm).into_iter();
            let found = disks.find(|disk| disk.device == device).cloned();
            found.ok_or_else(|| ApiError::value("Unable to find volume with ID: null"))?
        }
        _ => {
            let text = "Please provide either a volume id, or a tuple(device id, instance id)";
            return Err(ApiError::value(text));
        }
    };
    let vm = volume.vm.clone();
    call.change_volume(volume.id, VolumeChange::Detach { vm })
}

/// `deleteVolume`: gone at once, and not to be recovered.
pub(crate) fn delete(call: &mut Call<'_>) -> Answered {
    let volume = call.volume("id")?;
    if volume.vm.is_some() {
        let text = "Please specify a volume that is not attached to any VM.";
        return Err(ApiError::value(text));
    }
    let subject = Subject::volume(call.world, &volume.id);
    let text = "Successfully completed deleting volume";
    call.report("VOLUME.DELETE", "Completed", false, text, subject);
    call.world.drop_volume(&volume.id);
    Ok(Answer::success())
}

/// `destroyVolume`.
pub(crate) fn destroy(call: &mut Call<'_>) -> Answered {
    let volume = call.volume("id")?;
    let expunge = call.flag("expunge") == Some(true);
    call.change_volume(volume.id, VolumeChange::Destroy { expunge })
}

/// `recoverVolume`: synchronous, and for admins.
pub(crate) fn recover(call: &mut Call<'_>) -> Answered {
    let volume = call.volume("id")?;
    if !call.caller.admin {
        let text = "Recovering a volume can only be done by an Admin. Or when the allow.user.expunge.recover.volume key is set.";
        return Err(ApiError::denied(text));
    }
    if volume.state != VolumeState::Destroy {
        return Err(ApiError::value("Please specify a volume in Destroy state."));
    }
    if let Some(volume) = call.world.volumes.get_mut(&volume.id) {
        volume.state = VolumeState::Ready;
        volume.counted = true;
        volume.destroyed = None;
    }
    let subject = Subject::volume(call.world, &volume.id);
    let text = "Successfully completed recovering a volume in Destroy state";
    call.report("VOLUME.RECOVER", "Completed", false, text, subject);
    let volume = call.world.volumes.get(&volume.id);
    let shown = volume.map(|volume| row(call.world, &call.viewer(), volume));
    Ok(Answer::Object(json!({"volume": shown})))
}

/// `resizeVolume` and `changeOfferingForVolume`.
pub(crate) fn resize(call: &mut Call<'_>) -> Answered {
    let volume = call.volume("id")?;
    let size: Option<i64> = call.parsed("size")?;
    let offered = call.disk_offering("diskofferingid")?;
    let (offering, bytes) = match (offered, size) {
        (Some(offered), size) => {
            let ordered = ordered(&offered, size)?;
            (Some(ordered.offering), ordered.bytes)
        }
        (None, Some(size)) if size <= 0 => {
            let text = "Requested size out of range";
            return Err(ApiError::value(text));
        }
        (None, Some(size)) => (None, size.saturating_mul(GIB)),
        (None, None) => (None, volume.bytes),
    };
    if bytes < volume.bytes && call.flag("shrinkok") != Some(true) {
        return Err(ApiError::value(format!(
            "Going from existing size of {} to size of {bytes} would shrink the volume.Need to sign off by supplying the shrinkok parameter with value of true.",
            volume.bytes
        )));
    }
    if bytes > volume.bytes {
        call.within_storage(0, bytes - volume.bytes)?;
    }
    call.change_volume(volume.id, VolumeChange::Resize { bytes, offering })
}

/// `updateVolume`: its name, for everybody.
pub(crate) fn update(call: &mut Call<'_>) -> Answered {
    let volume = call.volume("id")?;
    let reserved = ["path", "state", "storageid", "displayvolume", "chaininfo"];
    if !call.caller.admin && reserved.iter().any(|name| call.text(name).is_some()) {
        let text =
            "The domain admin and normal user are not allowed to update volume except volume name";
        return Err(ApiError::value(text));
    }
    let name = call.owned_text("name").unwrap_or(volume.name);
    call.change_volume(volume.id, VolumeChange::Rename { name })
}
