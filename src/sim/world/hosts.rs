//! Hosts that fail and come back, and what becomes of the machines on them.
//!
//! A host falls silent at once and with it its machines; the management server notices when it has
//! missed its pings, and acts on what it then believes.

use jiff::SignedDuration;

use super::catalogue::Catalogue;
use super::index::VmKey;
use super::{Guest, Host, HostFailure, HostState, Size, Uuid, Vm, VmState, World};
use crate::sim::effects;
use crate::sim::events::{self, Report, Subject};
use crate::sim::jobs::{Work, signed};

/// `alert.wait`, in seconds: how long a host may be disconnected before somebody is alerted.
const ALERT_WAIT: i64 = 1_800;
/// How often a machine is tried to be brought up again that no other host takes.
pub(crate) const RESTARTS_MAX: u32 = 5;

/// What is on a host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Load {
    /// How many machines.
    pub(crate) guests: usize,
    /// Their processors together, in MHz.
    pub(crate) mhz: i64,
    /// Their memory together, in MiB.
    pub(crate) memory_mib: i64,
}

impl Load {
    pub(crate) fn of(world: &World, host: &str) -> Self {
        let first = VmKey::Placed(host.to_owned(), Size::default());
        let here = |key: &VmKey| matches!(key, VmKey::Placed(of, _) if of == host);
        let mut load = Self::default();
        for (key, count) in world.vms.counts(first, here) {
            if let (VmKey::Placed(_, size), Ok(times)) = (key, i64::try_from(count)) {
                load.guests += count;
                load.mhz += size.all_mhz() * times;
                load.memory_mib += size.memory_mib * times;
            }
        }
        load
    }

    /// Whether a machine of this size fits beside it.
    pub(crate) fn has_room(&self, world: &World, size: Size) -> bool {
        self.memory_mib + size.memory_mib <= world.settings.host_memory_mib
            && self.mhz + size.all_mhz() <= world.settings.host_cpu_mhz
    }
}

impl World {
    /// What a host is now; one that never was in trouble is up.
    #[must_use]
    pub fn host(&self, id: &str) -> Host {
        self.hosts.get(id).copied().unwrap_or_default()
    }

    /// The id of the host that has this id or name.
    #[must_use]
    pub fn host_named(&self, name: &str) -> Option<&str> {
        let mut hosts = self.catalogue.hosts.iter();
        let found = hosts.find(|row| {
            ["id", "name"]
                .iter()
                .any(|m| Catalogue::text(row, m) == name)
        });
        found.map(|row| Catalogue::text(row, "id"))
    }

    /// The host with the most machines on it, for those who want a failure to hurt.
    #[must_use]
    pub fn busiest_host(&self) -> Option<&str> {
        let hosts = self.catalogue.hosts.iter();
        let ids = hosts.map(|row| Catalogue::text(row, "id"));
        ids.max_by_key(|id| self.machines_on(id).len())
    }

    /// The machines on a host, in the order of their ids.
    pub(crate) fn machines_on(&self, host: &str) -> Vec<Uuid> {
        self.vms.ids_under(&VmKey::Host(host.to_owned()))
    }

    /// Lets a host fail, by its id or name. Its machines fall silent at once, although they are
    /// `Running` until the management server has found out.
    ///
    /// # Errors
    /// There is no such host, or it has failed already.
    pub fn fail_host(&mut self, name: &str, how: HostFailure) -> Result<(), String> {
        let id = self.known_host(name)?;
        let host = self.host(&id);
        if host.failure.is_some() {
            return Err(format!("the host {name} has failed already"));
        }
        let noticed = self.now() + signed(self.profile.host_timeout());
        let host = Host {
            failure: Some(how),
            next: Some(noticed),
            ..host
        };
        self.hosts.insert(id.clone(), host);
        for vm in self.machines_on(&id) {
            if let Some(vm) = self.vms.get_mut(&vm) {
                vm.guest = Guest::Dead;
            }
        }
        Ok(())
    }

    /// Lets a host that failed come back. What still counts as `Running` on it is found powered
    /// off; of that, machines with high availability are started again.
    ///
    /// # Errors
    /// There is no such host, or it has not failed.
    pub fn recover_host(&mut self, name: &str) -> Result<(), String> {
        let id = self.known_host(name)?;
        let host = self.host(&id);
        if host.failure.is_none() {
            return Err(format!("the host {name} has not failed"));
        }
        let host = Host {
            state: HostState::Up,
            failure: None,
            next: None,
            ..host
        };
        self.hosts.insert(id.clone(), host);
        self.lose_machines(&id);
        Ok(())
    }

    /// What a service offering gives a machine.
    pub(crate) fn size_offered(&self, offering: &str) -> Size {
        let row = Catalogue::find(&self.catalogue.service_offerings, offering);
        row.map(Catalogue::size).unwrap_or_default()
    }

    /// Gives machines the sizes that a world which was written down earlier does not know.
    pub(crate) fn add_missing_sizes(&mut self) {
        let sizeless = self.vms.values().filter(|vm| vm.size == Size::default());
        let sizeless: Vec<_> = sizeless
            .map(|vm| (vm.id.clone(), self.size_offered(&vm.offering)))
            .collect();
        for (id, size) in sizeless {
            if let Some(vm) = self.vms.get_mut(&id) {
                vm.size = size;
            }
        }
    }

    fn known_host(&self, name: &str) -> Result<Uuid, String> {
        let found = self.host_named(name).map(ToOwned::to_owned);
        found.ok_or_else(|| format!("there is no host {name}"))
    }

    /// Lets the management server make up its mind about a silent host.
    pub(crate) fn judge_host(&mut self, id: &Uuid) {
        let host = self.host(id);
        let (state, next) = match (host.state, host.failure) {
            (HostState::Up, Some(HostFailure::Undetermined)) => {
                let alert = self.now() + SignedDuration::from_secs(ALERT_WAIT);
                (HostState::Disconnected, Some(alert))
            }
            (HostState::Disconnected, Some(HostFailure::Undetermined)) => (HostState::Alert, None),
            (_, Some(HostFailure::Down)) => (HostState::Down, None),
            (state, _) => (state, None),
        };
        let judged = Host {
            state,
            next,
            ..host
        };
        self.hosts.insert(id.clone(), judged);
        if state == HostState::Down {
            self.lose_machines(id);
        }
    }

    /// Notes that the machines on a host are off, and has those started again that are to be
    /// available. Machines that a job is sending somewhere are left to that job.
    fn lose_machines(&mut self, host: &str) {
        for id in self.machines_on(host) {
            let running = self.vms.get(&id).filter(|vm| vm.state == VmState::Running);
            let Some(vm) = running.cloned() else {
                continue;
            };
            // Of the system's account, so that no tenant's feed or webhook sees the event.
            let system = self.account_named("system");
            let system = system.map_or_else(String::new, |account| account.id.clone());
            self.power_off(&vm, &system);
            if vm.ha {
                self.restart_later(&id, 0);
            }
        }
    }

    /// Turns a machine off that nobody asked to stop. The event is the system's own, in the
    /// machine's name and of this account.
    pub(crate) fn power_off(&mut self, vm: &Vm, account: &str) {
        effects::turn_off(self, &vm.id, VmState::Stopped);
        let subject = Subject {
            account: Some(account.to_owned()),
            ..Subject::vm(self, &vm.id)
        };
        let report = Report {
            kind: "VM.STOP",
            state: "Completed",
            failed: false,
            description: format!("Out of band stop of Vm. Vm Id: {}", vm.id),
            subject,
            user: "system",
            account,
            parent: None,
        };
        events::report(self, report);
    }

    /// Has a machine started by the server itself, on whatever host takes it.
    pub(crate) fn restart_later(&mut self, vm: &str, tries: u32) {
        if tries >= RESTARTS_MAX {
            return;
        }
        let vm = vm.to_owned();
        let at = self.now() + signed(self.profile.restart_delay(tries));
        let job = self.new_job(None, Work::Revive { vm, tries });
        self.submit_at(job, at);
    }
}
