//! The simulated cloud as a value: everything that exists in it, and the few operations that keep
//! its records consistent with each other.
//!
//! A world has no clock and no lock of its own. [`World::advance`] brings it to a time, settling
//! whatever fell due on the way, in order; between two such calls nothing happens by itself. What
//! users may do is decided in `commands`, what jobs do in `effects`.

mod cards;
pub mod catalogue;
pub mod chance;
pub(crate) mod disks;
mod entities;
mod helpers;
pub(crate) mod hosts;
pub mod index;
mod labels;
mod leaving;
mod people;
mod rules;
mod seed;
pub mod table;

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};

use super::jobs::Job;
use super::profile::Profile;
use catalogue::Catalogue;
use chance::Chance;
pub use entities::*;
#[cfg(test)]
pub(crate) use helpers::GONE_MAX;
pub(crate) use helpers::{Subnet, quoted_address, quoted_network, quoted_vpc};
use index::{AddressKey, VmKey};
pub use labels::Labels;
pub(crate) use people::DOMAIN_DEPTH_MAX;
pub(crate) use seed::{OTHER, STRANGER, TENANT};
use table::Table;

/// The settings of the management server that matter here, with CloudStack's names for them.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// `expunge.delay`, in seconds: how long a destroyed machine lingers.
    pub expunge_delay: i64,
    /// `expunge.interval`, in seconds: how often the purge looks.
    pub expunge_interval: i64,
    /// `allow.user.expunge.recover.vm`.
    pub allow_user_expunge_recover_vm: bool,
    /// `allow.user.view.destroyed.vm`.
    pub allow_user_view_destroyed_vm: bool,
    /// `vpc.max.networks`: how many tiers a VPC may have.
    pub vpc_max_networks: usize,
    /// `network.gc.wait`, in seconds: how long a tier without a running machine keeps its router.
    pub network_gc_wait: i64,
    /// `job.expire.minutes`: how long an ended job can be asked for.
    pub job_expire_minutes: i64,
    /// `api.throttling.max`, the requests of an account a second, while `api.throttling.enabled`.
    #[serde(default)]
    pub api_throttling_max: Option<u32>,
    /// `default.page.size`: the rows of a page, and the most that may be asked for.
    pub default_page_size: usize,
    /// How far the management server's clock is ahead, in seconds: what it writes down and whether a
    /// request has expired goes by it, how long things take does not.
    #[serde(default)]
    pub clock_skew: i64,
    /// Whether webhooks may lead to this machine itself, which CloudStack refuses.
    #[serde(default)]
    pub webhooks_to_loopback: bool,
    /// `simulator.guest.cidr.loopback`: whether a VPC may lie in 127.0.0.0/8, where its machines
    /// can answer on this computer. A real CloudStack has no such setting and refuses.
    pub guest_cidr_loopback: bool,
    /// The memory of a host, in MiB, that machines are placed by.
    pub host_memory_mib: i64,
    /// The processors of a host together, in MHz, that machines are placed by.
    pub host_cpu_mhz: i64,
}

impl Default for Settings {
    /// CloudStack's own defaults; the hosts are larger than the recorded ones, so that a stack
    /// of real size fits on four of them.
    fn default() -> Self {
        Self {
            expunge_delay: 86_400,
            expunge_interval: 86_400,
            allow_user_expunge_recover_vm: false,
            allow_user_view_destroyed_vm: false,
            vpc_max_networks: 3,
            network_gc_wait: 600,
            job_expire_minutes: 1_440,
            api_throttling_max: None,
            default_page_size: 500,
            clock_skew: 0,
            guest_cidr_loopback: false,
            webhooks_to_loopback: false,
            host_memory_mib: 262_144,
            host_cpu_mhz: 262_144,
        }
    }
}

/// How much ever happened: for tests that count what a controller did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Totals {
    /// Machines ever deployed, wrecks included.
    pub vms: u64,
    /// Deploys that were refused and left a wreck.
    pub wrecks: u64,
    /// Machines ever destroyed.
    pub destroyed: u64,
    /// Machines ever purged.
    pub expunged: u64,
    /// VPCs ever created.
    pub vpcs: u64,
    /// Public addresses ever taken.
    pub addresses: u64,
    /// Jobs ever submitted.
    pub jobs: u64,
}

/// What is left of a removed resource: enough to answer for its id.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Gone {
    /// What it was.
    pub kind: Kind,
    /// Its database id, which the texts quote.
    pub number: u64,
}

/// A detail of a resource that is not a machine's own `details`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Detail {
    /// The type of the resource, as the API spells it.
    pub resource_type: String,
    /// The resource.
    pub resource: Uuid,
    /// The key.
    pub key: String,
    /// The value.
    pub value: String,
}

/// Everything that exists. Collections are keyed by UUID.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct World {
    /// The settings of the management server.
    pub settings: Settings,
    /// The pace of it all.
    pub profile: Profile,
    /// What it offers.
    pub catalogue: Catalogue,
    /// The accounts.
    pub accounts: BTreeMap<Uuid, Account>,
    /// The users.
    pub users: BTreeMap<Uuid, User>,
    /// The domains, `ROOT` included.
    #[serde(default)]
    pub domains: BTreeMap<Uuid, Domain>,
    /// The projects.
    #[serde(default)]
    pub projects: BTreeMap<Uuid, Project>,
    /// What each account may have, by the account's id.
    pub limits: BTreeMap<Uuid, Limits>,
    /// The VPCs.
    pub vpcs: Table<Vpc>,
    /// The networks.
    pub networks: Table<Network>,
    /// The ACL lists, the two default ones included.
    pub acl_lists: Table<AclList>,
    /// The rules of all ACL lists.
    pub acl_items: Table<AclItem>,
    /// Every public address, free ones included.
    pub addresses: Table<Address>,
    /// The machines, wrecks and destroyed ones included.
    pub vms: Table<Vm>,
    /// The volumes, root disks and data disks.
    #[serde(default)]
    pub volumes: Table<Volume>,
    /// Registered user data.
    #[serde(default)]
    pub user_data: BTreeMap<Uuid, UserData>,
    /// The user data that comes with templates, by their ids.
    #[serde(default)]
    pub template_user_data: BTreeMap<Uuid, TemplateUserData>,
    /// The groups of machines.
    #[serde(default)]
    pub instance_groups: BTreeMap<Uuid, InstanceGroup>,
    /// Whether the management server is about to leave and takes no new jobs.
    #[serde(default)]
    pub refuses_jobs: bool,
    /// The hosts that ever were in trouble or in maintenance.
    #[serde(default)]
    pub hosts: BTreeMap<Uuid, Host>,
    /// The affinity groups.
    pub affinity_groups: Table<AffinityGroup>,
    /// The webhooks, and what is on its way to them.
    #[serde(default)]
    pub hooks: Hooks,
    /// The SSH key pairs.
    pub key_pairs: BTreeMap<Uuid, KeyPair>,
    /// The firewall and egress rules of isolated networks.
    #[serde(default)]
    pub firewall_rules: Table<FirewallRule>,
    /// The port-forwarding rules.
    #[serde(default)]
    pub port_forwardings: Table<PortForwarding>,
    /// The load-balancer rules.
    #[serde(default)]
    pub load_balancers: Table<LoadBalancer>,
    /// The security groups.
    #[serde(default)]
    pub security_groups: BTreeMap<Uuid, SecurityGroup>,
    /// The static routes of VPCs.
    #[serde(default)]
    pub static_routes: BTreeMap<Uuid, StaticRoute>,
    /// The tags of everything, oldest first.
    pub tags: Labels<Tag>,
    /// The details of everything but machines.
    pub details: Labels<Detail>,
    /// What happened, oldest first; the last 10 000.
    pub events: VecDeque<Event>,
    /// The jobs, ended ones included until they expire.
    pub jobs: Table<Job>,
    /// How much ever happened.
    pub totals: Totals,
    /// Until when the management server is away after a restart.
    pub down_until: Option<Timestamp>,
    pub(crate) gone: BTreeMap<Uuid, Gone>,
    pub(crate) address_locks: BTreeMap<Uuid, Timestamp>,
    pub(crate) chance: Chance,
    pub(crate) ids: Ids,
    pub(crate) next_purge: Timestamp,
    pub(crate) server_id: Uuid,
    now: Timestamp,
}

/// The ids of things that a world refers to but does not keep.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Ids {
    pub(crate) physical_network: Uuid,
    pub(crate) public_network: Uuid,
    pub(crate) vlan: Uuid,
    pub(crate) default_allow: Uuid,
    pub(crate) default_deny: Uuid,
    pub(crate) serials: BTreeMap<Kind, u64>,
}

/// How many events are kept: a day of a busy stack, and a state file that stays small.
const EVENTS_MAX: usize = 10_000;

impl World {
    /// The time that the world has been brought to.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// The time that the management server's clock shows and that it writes down.
    #[must_use]
    pub fn wall(&self) -> Timestamp {
        self.now + SignedDuration::from_secs(self.settings.clock_skew)
    }

    pub(crate) fn set_now(&mut self, now: Timestamp) {
        self.now = self.now.max(now);
    }

    /// Forgets the templates and offerings that the recorded server did not have.
    pub fn keep_recorded_catalogue_only(&mut self) {
        self.catalogue = Catalogue::recorded();
    }

    /// Replaces the public addresses that no user holds by these ranges, both ends included.
    /// System machines hold the first two.
    pub fn set_public_range(&mut self, ranges: &[(Ipv4Addr, Ipv4Addr)]) {
        self.addresses
            .retain(|_, ip| ip.state != AddressState::Free && ip.system.is_none());
        for &(first, last) in ranges {
            for ip in u32::from(first)..=u32::from(last) {
                self.add_address(Ipv4Addr::from(ip));
            }
        }
        self.add_system_machines();
    }

    /// The machine with this id, host name or instance name; wrecks come last.
    #[must_use]
    pub fn find_vm(&self, name: &str) -> Option<&Vm> {
        if let Some(vm) = self.vms.get(name) {
            return Some(vm);
        }
        let namesakes = self.vms.under(&VmKey::Name(name.to_lowercase()));
        let named = |vm: &&Vm| vm.name == name && !vm.state.is_gone();
        namesakes
            .into_iter()
            .filter(named)
            .min_by_key(|vm| (vm.is_wreck(), vm.number))
    }

    /// The public address with this id or this dotted form.
    #[must_use]
    pub fn find_address(&self, name: &str) -> Option<&Address> {
        let dotted = || self.addresses.one(&AddressKey::Ip(name.parse().ok()?));
        self.addresses.get(name).or_else(dotted)
    }

    /// The public address whose static NAT points at this machine.
    #[must_use]
    pub fn address_of(&self, vm: &str) -> Option<&Address> {
        self.addresses.one(&AddressKey::Vm(vm.to_owned()))
    }

    /// The rules of a list, in the order in which they are tried.
    #[must_use]
    pub fn rules_of(&self, list: &str) -> Vec<&AclItem> {
        let first = (list.to_owned(), 0);
        let rules = self.acl_items.span(first, |(of, _)| of == list);
        rules.into_iter().map(|(_, rule)| rule).collect()
    }

    /// The tags of a resource, oldest first.
    pub fn tags_of<'world>(
        &'world self,
        resource: &str,
    ) -> impl Iterator<Item = &'world Tag> + use<'world> {
        self.tags.of(resource).into_iter()
    }

    /// The account with this name.
    #[must_use]
    pub fn account_named(&self, name: &str) -> Option<&Account> {
        self.accounts.values().find(|account| account.name == name)
    }

    /// The limits of the account with this name, to be changed.
    pub fn limits_of(&mut self, account: &str) -> Option<&mut Limits> {
        let id = self.account_named(account)?.id.clone();
        self.limits.get_mut(&id)
    }

    /// How much of a resource type an account has, by the name it has in [`RESOURCE_TYPES`].
    #[must_use]
    pub fn used(&self, account: &str, resource: &str) -> i64 {
        super::commands::used(self, account, resource)
    }

    /// The user with this name.
    #[must_use]
    pub fn user_named(&self, name: &str) -> Option<&User> {
        self.users.values().find(|user| user.name == name)
    }

    pub(crate) fn record(&mut self, event: Event) {
        if self.events.len() >= EVENTS_MAX {
            self.events.pop_front();
        }
        self.events.push_back(event);
    }
}
