//! What the feed says of volumes.

use super::{Subject, Words, all};
use crate::sim::jobs::{VolumeChange, Work};
use crate::sim::world::World;

impl Subject {
    /// A volume.
    pub(crate) fn volume(world: &World, id: &str) -> Self {
        let volume = world.volumes.get(id);
        Self {
            kind: "Volume",
            id: Some(id.to_owned()),
            name: volume.map(|volume| volume.name.clone()),
            account: volume.map(|volume| volume.account.clone()),
        }
    }
}

/// The words for a job on a volume.
pub(super) fn words(world: &World, work: &Work) -> Option<Words> {
    let Work::Volume { volume: id, change } = work else {
        return None;
    };
    let machine = |vm: &Option<String>| vm.clone().unwrap_or_else(|| "null".to_owned());
    let (kind, scheduled, doing) = match change {
        VolumeChange::Create => {
            let name = world.volumes.get(id).map(|volume| volume.name.clone());
            let text = format!("creating volume: {}", name.unwrap_or_default());
            ("VOLUME.CREATE", text, "creating volume")
        }
        VolumeChange::Attach { vm, .. } => {
            let text = format!("attaching volume: {id} to vm: {vm}");
            ("VOLUME.ATTACH", text, "attaching volume")
        }
        VolumeChange::Detach { vm } => {
            let text = format!("detaching volume: {id} from vm: {}", machine(vm));
            ("VOLUME.DETACH", text, "detaching volume")
        }
        VolumeChange::Destroy { .. } => {
            let text = format!("destroying volume: {id}");
            ("VOLUME.DESTROY", text, "destroying a volume")
        }
        VolumeChange::Resize { bytes, .. } => {
            let size = bytes / crate::sim::world::GIB;
            let text = format!("Volume Id: {id} to size {size}G");
            ("VOLUME.RESIZE", text, "resizing volume")
        }
        VolumeChange::Rename { .. } => {
            let text = format!("Updating volume: {id}");
            ("VOLUME.UPDATE", text, "updating volume")
        }
    };
    let doing = format!("{doing}. Volume Id: {id}");
    Some(all(kind, scheduled, doing, Subject::volume(world, id)))
}
