//! Looking at volumes, and at what hangs on them in other clouds: snapshots, of which there are
//! none here.

use super::call::{Answered, Call};
use super::catalogue::nothing;
use super::declare::{Command, sync};
use crate::sim::view::RowOf;
use crate::sim::view::volume::{in_gib, row};
use crate::sim::world::{Kind, Volume, VolumeState};

/// The commands of this file.
pub(super) const COMMANDS: &[Command] = &[
    sync(
        "listVolumes",
        "id:uuid ids:list name type state virtualmachineid:uuid diskofferingid:uuid \
         serviceofferingid:uuid zoneid:uuid podid:uuid clusterid:uuid hostid:uuid \
         storageid:uuid displayvolume:boolean retrieveonlyresourcecount:boolean tags:map @owned",
        list,
    ),
    sync(
        "listVolumesMetrics",
        "id:uuid ids:list name type state virtualmachineid:uuid diskofferingid:uuid \
         zoneid:uuid tags:map @owned",
        metrics,
    ),
    sync(
        "listSnapshots",
        "id:uuid ids:list name volumeid:uuid snapshottype intervaltype zoneid:uuid tags:map \
         @owned",
        nothing,
    ),
    sync(
        "listSnapshotPolicies",
        "id:uuid volumeid:uuid fordisplay:boolean",
        nothing,
    ),
    sync(
        "listVMSnapshot",
        "vmsnapshotid:uuid vmsnapshotids:list virtualmachineid:uuid name state tags:map @owned",
        nothing,
    ),
];

/// The volumes that a list shows, oldest first. Users do not see those that are deleted.
fn chosen<'call>(call: &'call Call<'_>) -> Result<Vec<&'call Volume>, crate::sim::reply::ApiError> {
    call.id("id", Kind::Volume)?;
    let vm = call.id("virtualmachineid", Kind::Vm)?;
    let ids: Option<Vec<&str>> = call.text("ids").map(|ids| ids.split(',').collect());
    let all: Vec<&Volume> = match &vm {
        Some(vm) => call.world.volumes_of(vm),
        None => call.world.volumes.values().collect(),
    };
    let zone = call.wants("zoneid", Some(call.world.catalogue.zone_id()));
    let deleted = |volume: &Volume| call.world.state_of_volume(volume) == VolumeState::Destroy;
    let mut volumes: Vec<&Volume> = all
        .into_iter()
        .filter(|volume| zone && call.sees(Some(&volume.account)))
        .filter(|volume| call.caller.admin || !deleted(volume))
        .filter(|volume| {
            ids.as_ref()
                .is_none_or(|ids| ids.contains(&volume.id.as_str()))
        })
        .filter(|volume| call.wants("id", Some(&volume.id)))
        .filter(|volume| call.wants("name", Some(&volume.name)))
        .filter(|volume| call.holds("keyword", &volume.name))
        .filter(|volume| call.wants("diskofferingid", volume.offering.as_deref()))
        .filter(|volume| {
            let kind = call.text("type");
            kind.is_none_or(|kind| kind.eq_ignore_ascii_case(volume.kind.word()))
        })
        .filter(|volume| {
            let state = format!("{:?}", call.world.state_of_volume(volume));
            call.text("state")
                .is_none_or(|wanted| wanted.eq_ignore_ascii_case(&state))
        })
        .filter(|volume| call.tagged(&volume.id))
        .collect();
    volumes.sort_by_key(|volume| volume.number);
    Ok(volumes)
}

/// `listVolumes`.
pub(crate) fn list(call: &mut Call<'_>) -> Answered {
    let viewer = call.viewer();
    let volumes = chosen(call)?;
    call.page("volume", &volumes, |volume| {
        row(call.world, &viewer, volume)
    })
}

/// `listVolumesMetrics`.
pub(crate) fn metrics(call: &mut Call<'_>) -> Answered {
    let viewer = call.viewer();
    let volumes = chosen(call)?;
    call.page("volume", &volumes, |volume| {
        RowOf::new()
            .set("sizegb", format!("{:.2} GB", in_gib(volume.bytes)))
            .with(row(call.world, &viewer, volume))
            .done()
    })
}
