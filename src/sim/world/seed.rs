//! A new world: accounts, keys, the default ACL lists and the public addresses, drawn from a seed.

use std::collections::{BTreeMap, VecDeque};
use std::net::Ipv4Addr;

use jiff::{SignedDuration, Timestamp};

use super::table::Table;
use super::{
    Account, AccountKind, AclItem, AclList, AddressState, Catalogue, Chance, Ids, Kind, Labels,
    Limits, Settings, Standing, SystemMachine, Totals, User, Uuid, World, first_password,
};
use crate::sim::profile::Profile;

/// The name of the account that tenants act for.
pub(crate) const TENANT: &str = "operator";
/// The name of the tenant account's second user: somebody who interferes.
pub(crate) const STRANGER: &str = "stranger";
/// The name of an account whose things the tenant must not see.
pub(crate) const OTHER: &str = "other";

impl World {
    /// A world in which nobody has created anything yet.
    #[must_use]
    pub fn new(profile: Profile, seed: u64, now: Timestamp) -> Self {
        let mut chance = Chance::new(seed);
        let ids = Ids {
            physical_network: chance.uuid(),
            public_network: chance.uuid(),
            vlan: chance.uuid(),
            default_allow: chance.uuid(),
            default_deny: chance.uuid(),
            serials: first_serials(),
        };
        let settings = Settings::default();
        let next_purge = now + SignedDuration::from_secs(settings.expunge_interval);
        let mut world = Self {
            settings,
            profile,
            catalogue: Catalogue::full(),
            accounts: BTreeMap::new(),
            users: BTreeMap::new(),
            domains: BTreeMap::new(),
            projects: BTreeMap::new(),
            limits: BTreeMap::new(),
            vpcs: Table::default(),
            networks: Table::default(),
            acl_lists: Table::default(),
            acl_items: Table::default(),
            addresses: Table::default(),
            vms: Table::default(),
            volumes: Table::default(),
            user_data: BTreeMap::new(),
            template_user_data: BTreeMap::new(),
            instance_groups: BTreeMap::new(),
            refuses_jobs: false,
            hosts: BTreeMap::new(),
            affinity_groups: Table::default(),
            hooks: super::Hooks::default(),
            key_pairs: BTreeMap::new(),
            firewall_rules: Table::default(),
            port_forwardings: Table::default(),
            load_balancers: Table::default(),
            security_groups: BTreeMap::new(),
            static_routes: BTreeMap::new(),
            tags: Labels::default(),
            details: Labels::default(),
            events: VecDeque::new(),
            jobs: Table::default(),
            totals: Totals::default(),
            down_until: None,
            gone: BTreeMap::new(),
            address_locks: BTreeMap::new(),
            server_id: chance.uuid(),
            chance,
            ids,
            next_purge,
            now,
        };
        world.add_root_domain();
        world.add_people();
        world.add_default_lists();
        world.add_public_addresses();
        world.add_default_security_groups();
        world
    }

    fn add_people(&mut self) {
        self.add_account(1, "system", true, &[]);
        self.add_account(2, "admin", true, &["admin"]);
        self.add_account(4, TENANT, false, &[TENANT, STRANGER]);
        self.add_account(5, OTHER, false, &[OTHER]);
    }

    fn add_account(&mut self, number: u64, name: &str, admin: bool, users: &[&str]) {
        let id = self.fresh_id();
        let limits = if admin {
            Limits::none()
        } else {
            Limits::of_a_new_account()
        };
        self.limits.insert(id.clone(), limits);
        for user in users {
            let user = User {
                id: self.fresh_id(),
                name: (*user).to_owned(),
                account: id.clone(),
                api_key: self.chance.text(86),
                secret_key: self.chance.text(86),
                password: first_password(),
                first_name: None,
                last_name: None,
                email: None,
                timezone: None,
                standing: Standing::Enabled,
                created: None,
            };
            self.users.insert(user.id.clone(), user);
        }
        self.accounts.insert(
            id.clone(),
            Account {
                id,
                number,
                name: name.to_owned(),
                admin,
                kind: AccountKind::Ordinary,
                domain: self.catalogue.domain_id().to_owned(),
                standing: Standing::Enabled,
                network_domain: None,
                created: None,
            },
        );
    }

    /// Each account has one, in the order of their numbers.
    fn add_default_security_groups(&mut self) {
        let mut accounts: Vec<(u64, Uuid)> = self
            .accounts
            .values()
            .map(|account| (account.number, account.id.clone()))
            .collect();
        accounts.sort();
        for (_, account) in accounts {
            self.add_default_security_group(&account);
        }
    }

    fn add_default_lists(&mut self) {
        let deny = self.ids.default_deny.clone();
        let allow = self.ids.default_allow.clone();
        self.add_default_list(
            &deny,
            "default_deny",
            "Default Network ACL Deny All",
            "Deny",
        );
        self.add_default_list(
            &allow,
            "default_allow",
            "Default Network ACL Allow All",
            "Allow",
        );
    }

    fn add_default_list(&mut self, id: &Uuid, name: &str, description: &str, action: &str) {
        let list = AclList {
            id: id.clone(),
            number: self.next_number(Kind::AclList),
            name: name.to_owned(),
            description: description.to_owned(),
            vpc: None,
        };
        self.acl_lists.insert(id.clone(), list);
        for (number, traffic) in [(1, "Ingress"), (2, "Egress")] {
            let item = AclItem {
                id: self.fresh_id(),
                serial: self.next_number(Kind::AclItem),
                list: id.clone(),
                number,
                protocol: "all".to_owned(),
                start_port: None,
                end_port: None,
                icmp_type: None,
                icmp_code: None,
                cidr_list: "0.0.0.0/0".to_owned(),
                traffic: traffic.to_owned(),
                action: action.to_owned(),
                reason: None,
                active: true,
            };
            self.acl_items.insert(item.id.clone(), item);
        }
    }

    /// Two of the networks that RFC 5737 sets aside for documentation.
    fn add_public_addresses(&mut self) {
        self.set_public_range(&[
            (
                Ipv4Addr::new(198, 51, 100, 2),
                Ipv4Addr::new(198, 51, 100, 254),
            ),
            (
                Ipv4Addr::new(203, 0, 113, 1),
                Ipv4Addr::new(203, 0, 113, 254),
            ),
        ]);
    }

    /// Gives the first free addresses to the system machines, as an installation does.
    pub(super) fn add_system_machines(&mut self) {
        let now = self.now();
        let system = self
            .account_named("system")
            .map(|account| account.id.clone());
        for (kind, name) in [("ConsoleProxy", "v-1-VM"), ("SecondaryStorageVm", "s-2-VM")] {
            let Some(address) = self.free_address() else {
                return;
            };
            let id = self.fresh_id();
            if let Some(address) = self.addresses.get_mut(&address) {
                address.state = AddressState::Allocated;
                address.account.clone_from(&system);
                address.allocated = Some(now);
                let (kind, name) = (kind.to_owned(), name.to_owned());
                address.system = Some(SystemMachine { id, kind, name });
            }
        }
    }
}

/// Where the database ids begin: after what a fresh installation has used up.
fn first_serials() -> BTreeMap<Kind, u64> {
    BTreeMap::from([
        (Kind::Account, 5),
        (Kind::Vm, 4),
        (Kind::Network, 207),
        (Kind::Nic, 20),
    ])
}
