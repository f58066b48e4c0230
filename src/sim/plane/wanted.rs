//! What should be bound, read off the world: the ports of every machine that runs, and those of the
//! public addresses that lead to one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, SocketAddrV4};
use std::sync::Arc;

use super::gate::{self, From, Place};
use super::responder::Machine;
use super::service::Service;
use super::{PlaneConfig, Problem};
use crate::sim::world::{Address, AddressState, Guest, Nic, Vm, World};

/// The detail, or the tag, by which a machine says itself what it answers.
const ANSWER: &str = "answer";
/// The detail, or the tag, that says what a machine is.
const ROLE: &str = "role";

/// What a bound place is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// A machine's own port, answered by a responder of this kind.
    Guest { machine: Arc<Machine>, kind: String },
    /// A port of a public address. Where it leads is asked anew each time.
    Public,
}

impl Use {
    /// The name of the machine; nothing for a public address.
    pub(super) fn machine_name(&self) -> &str {
        match self {
            Self::Guest { machine, .. } => &machine.name,
            Self::Public => "",
        }
    }
}

/// Whether a machine says anything.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Mood {
    Answering,
    Silent,
}

/// What should be bound.
#[derive(Debug, Default)]
pub(super) struct Wanted {
    pub(super) places: BTreeMap<Place, (Use, Mood)>,
    pub(super) problems: Vec<Problem>,
}

/// Reads it off the world.
pub(super) fn wanted(world: &World, config: &PlaneConfig) -> Wanted {
    let mut wanted = Wanted::default();
    let mut vms: Vec<&Vm> = world.vms.values().filter(|vm| gate::listens(vm)).collect();
    // Where two machines have one address, in networks that know nothing of each other, the older
    // one answers.
    vms.sort_by_key(|vm| vm.number);
    for vm in vms {
        wanted.add_machine(world, config, vm);
    }
    for address in world.addresses.values() {
        if address.state == AddressState::Allocated && is_ours(address.ip) {
            wanted.add_address(world, config, address);
        }
    }
    wanted
}

/// Whether the plane may bind an address: on this computer, and not the one that everything else
/// on it listens on.
fn is_ours(ip: Ipv4Addr) -> bool {
    ip.is_loopback() && ip != Ipv4Addr::LOCALHOST
}

impl Wanted {
    fn add_machine(&mut self, world: &World, config: &PlaneConfig, vm: &Vm) {
        let addresses = vm.nics.iter().flat_map(Nic::ips);
        let addresses: Vec<Ipv4Addr> = addresses.filter(|ip| is_ours(*ip)).collect();
        if addresses.is_empty() {
            return;
        }
        let services = match services(world, config, vm) {
            Ok(services) => services,
            Err(error) => {
                self.problems.push(Problem::new(&vm.name, "answer", error));
                return;
            }
        };
        let mood = if vm.guest == Guest::Hung {
            Mood::Silent
        } else {
            Mood::Answering
        };
        let role = said(world, vm, ROLE);
        for ip in addresses {
            for service in &services {
                let at = SocketAddrV4::new(ip, service.port);
                let machine = Arc::new(Machine {
                    vm: vm.id.clone(),
                    name: vm.name.clone(),
                    role: role.clone(),
                    address: at,
                });
                let kind = service.kind.clone();
                let place = Place {
                    protocol: service.protocol,
                    at,
                };
                self.add(config, place, (Use::Guest { machine, kind }, mood));
            }
        }
    }

    /// The ports of an address at which the rules let anybody in.
    fn add_address(&mut self, world: &World, config: &PlaneConfig, address: &Address) {
        for place in reachable(world, config, address) {
            if !gate::ways(world, place, From::Anybody).is_empty() {
                self.add(config, place, (Use::Public, Mood::Answering));
            }
        }
    }

    fn add(&mut self, config: &PlaneConfig, place: Place, what: (Use, Mood)) {
        let full = self.places.len() >= config.limits.sockets;
        let why = match self.places.get(&place) {
            Some((Use::Guest { machine, .. }, _)) => {
                format!("{} has this address already", machine.name)
            }
            Some((Use::Public, _)) => "it is a public address already".to_owned(),
            None if full => format!("{} sockets are bound already", config.limits.sockets),
            None => {
                self.places.insert(place, what);
                return;
            }
        };
        let problem = Problem::at(what.0.machine_name(), place, why);
        self.problems.push(problem);
    }
}

/// What a machine says of itself: a detail, or else a tag.
fn said(world: &World, vm: &Vm, key: &str) -> Option<String> {
    let tag = || world.tags_of(&vm.id).find(|tag| tag.key == key);
    let detail = vm.details.get(key).cloned();
    detail.or_else(|| tag().map(|tag| tag.value.clone()))
}

/// What a machine answers: what it says itself, or what all others answer.
fn services(world: &World, config: &PlaneConfig, vm: &Vm) -> Result<Vec<Service>, String> {
    match said(world, vm, ANSWER) {
        Some(own) => config.kinds.read(&own),
        None => Ok(config.services.clone()),
    }
}

/// The ports of a public address that lead to a port which its machine answers.
fn reachable(world: &World, config: &PlaneConfig, address: &Address) -> BTreeSet<Place> {
    let mut places = BTreeSet::new();
    for lead in gate::leads(world, address) {
        let services = world
            .vms
            .get(&lead.vm)
            .map(|vm| services(world, config, vm));
        let services = services.and_then(Result::ok).unwrap_or_default();
        for service in services
            .iter()
            .filter(|known| known.protocol == lead.protocol)
        {
            let (first, last) = lead.public;
            let further = service.port.checked_sub(lead.private);
            let port = further.and_then(|further| first.checked_add(further));
            if let Some(port) = port.filter(|port| *port <= last) {
                places.insert(Place {
                    protocol: lead.protocol,
                    at: SocketAddrV4::new(address.ip, port),
                });
            }
        }
    }
    places
}
