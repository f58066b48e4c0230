//! The disks of machines: which there are, what becomes of them with their machine, and how much
//! of an account's storage they take.

use super::catalogue::Catalogue;
use super::index::VolumeKey;
use super::{GIB, Kind, Uuid, Vm, VmState, Volume, VolumeKind, VolumeState, World};

/// The most data disks of a machine, as the hypervisor takes them.
pub(crate) const DATA_DISKS_MAX: usize = 6;
/// The place of the CD drive, which no disk gets.
const CD_DRIVE: u32 = 3;
/// Places are below this.
const DEVICES: u32 = 16;

/// A disk that a machine is to have.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NewDisk {
    pub(crate) kind: VolumeKind,
    pub(crate) name: String,
    pub(crate) bytes: i64,
    pub(crate) offering: Option<Uuid>,
    pub(crate) device: u32,
}

impl World {
    /// The volumes of a machine, the root disk first.
    #[must_use]
    pub fn volumes_of(&self, vm: &str) -> Vec<&Volume> {
        let mut volumes = self.volumes.under(&VolumeKey::Vm(vm.to_owned()));
        volumes.sort_by_key(|volume| volume.device);
        volumes
    }

    /// The root disk of a machine; a wreck has none.
    #[must_use]
    pub fn root_of(&self, vm: &str) -> Option<&Volume> {
        let mut volumes = self.volumes_of(vm).into_iter();
        volumes.find(|volume| volume.kind == VolumeKind::Root)
    }

    /// The ids of the data disks of a machine.
    pub(crate) fn data_disks_of(&self, vm: &str) -> Vec<Uuid> {
        let data = self.volumes_of(vm).into_iter();
        data.filter(|volume| volume.kind == VolumeKind::Data)
            .map(|volume| volume.id.clone())
            .collect()
    }

    /// Adds a disk that belongs to an account, and to a machine if one is given.
    pub(crate) fn add_disk(&mut self, account: &str, vm: Option<&str>, disk: NewDisk) -> Uuid {
        let NewDisk {
            kind,
            name,
            bytes,
            offering,
            device,
        } = disk;
        let id = self.fresh_id();
        let volume = Volume {
            id: id.clone(),
            number: self.next_number(Kind::Volume),
            name,
            account: account.to_owned(),
            kind,
            state: VolumeState::Allocated,
            bytes,
            offering,
            vm: vm.map(ToOwned::to_owned),
            device,
            counted: true,
            created: self.wall(),
            attached: vm.map(|_| self.wall()),
            destroyed: None,
        };
        self.volumes.insert(id.clone(), volume);
        id
    }

    /// The first free place of a machine for a disk.
    pub(crate) fn free_device(&self, vm: &str) -> Option<u32> {
        let taken: Vec<u32> = self.volumes_of(vm).iter().map(|disk| disk.device).collect();
        (1..DEVICES).find(|place| *place != CD_DRIVE && !taken.contains(place))
    }

    /// What a volume looks like to somebody: a root disk is as its machine left it.
    #[must_use]
    pub fn state_of_volume(&self, volume: &Volume) -> VolumeState {
        let vm = volume.vm.as_ref().and_then(|vm| self.vms.get(vm));
        match (volume.kind, vm) {
            (VolumeKind::Root, Some(vm)) if vm.state == VmState::Error => VolumeState::Destroy,
            (VolumeKind::Root, Some(vm)) => match vm.disk {
                super::Disk::Fresh => VolumeState::Allocated,
                super::Disk::Ready => VolumeState::Ready,
                super::Disk::None | super::Disk::Lost => VolumeState::Destroy,
            },
            (VolumeKind::Root | VolumeKind::Data, _) => volume.state,
        }
    }

    /// Puts the disks of a machine that starts onto their pool.
    pub(crate) fn ready_disks(&mut self, vm: &str) {
        let fresh = |volume: &&Volume| volume.state == VolumeState::Allocated;
        let volumes = self.volumes_of(vm).into_iter().filter(fresh);
        for id in volumes.map(|row| row.id.clone()).collect::<Vec<_>>() {
            if let Some(volume) = self.volumes.get_mut(&id) {
                volume.state = VolumeState::Ready;
            }
        }
    }

    /// Counts the root disk of a machine as the machine itself is counted.
    pub(crate) fn recount_root(&mut self, vm: &str) {
        let counted = self.vms.get(vm).is_some_and(Vm::is_counted);
        let root = self.root_of(vm).filter(|root| root.counted != counted);
        if let Some(id) = root.map(|root| root.id.clone())
            && let Some(root) = self.volumes.get_mut(&id)
        {
            root.counted = counted;
        }
    }

    /// Makes the root disk of a machine anew; the old one is gone.
    pub(crate) fn renew_root(&mut self, vm: &str, bytes: Option<i64>) {
        let Some(old) = self.root_of(vm).cloned() else {
            return;
        };
        self.drop_volume(&old.id);
        let disk = NewDisk {
            kind: VolumeKind::Root,
            name: old.name,
            bytes: bytes.unwrap_or(old.bytes),
            offering: old.offering,
            device: old.device,
        };
        let fresh = self.add_disk(&old.account, old.vm.as_deref(), disk);
        if let Some(fresh) = self.volumes.get_mut(&fresh) {
            fresh.state = old.state;
        }
        self.recount_root(vm);
    }

    /// Lets a data disk go from its machine.
    pub(crate) fn detach(&mut self, volume: &str) {
        if let Some(volume) = self.volumes.get_mut(volume) {
            volume.vm = None;
            volume.device = 0;
            volume.attached = None;
        }
    }

    /// Takes a volume out for good.
    pub(crate) fn drop_volume(&mut self, id: &str) {
        if let Some(volume) = self.volumes.remove(id) {
            self.bury(Kind::Volume, id, volume.number);
        }
    }

    /// Takes the root disk of a machine out that is purged; data disks stay, detached.
    pub(crate) fn drop_disks(&mut self, vm: &str) {
        let volumes = self.volumes_of(vm).into_iter();
        for volume in volumes.cloned().collect::<Vec<_>>() {
            match volume.kind {
                VolumeKind::Root => self.drop_volume(&volume.id),
                VolumeKind::Data => self.detach(&volume.id),
            }
        }
    }

    /// The bytes of the volumes of an account that count, and how many volumes those are.
    pub(crate) fn storage_used(&self, account: &str) -> (i64, i64) {
        let first = VolumeKey::Used(account.to_owned(), i64::MIN);
        let mine = |key: &VolumeKey| matches!(key, VolumeKey::Used(of, _) if of == account);
        let counts = self.volumes.counts(first, mine).into_iter();
        counts.fold((0, 0), |(bytes, volumes), (key, count)| {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            match key {
                VolumeKey::Used(_, size) => {
                    let all = bytes.saturating_add(size.saturating_mul(count));
                    (all, volumes + count)
                }
                VolumeKey::Vm(_) => (bytes, volumes),
            }
        })
    }

    /// The size of a template's disk, in bytes.
    pub(crate) fn template_bytes(&self, template: &str) -> i64 {
        let row = Catalogue::find(&self.catalogue.templates, template);
        row.map_or(GIB, |row| Catalogue::number(row, "size"))
    }
}
