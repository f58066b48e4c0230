//! The operations that several commands share: drawing ids, counting, finding free addresses,
//! and taking a resource out of the world with everything that hangs on it.

use std::net::Ipv4Addr;

use serde_json::Value;

use super::index::{AddressKey, VmKey};
use super::{
    Address, AddressState, AffinityGroup, Gone, Kind, Network, NetworkState, Uuid, Vm, Vpc, World,
};

/// How many addresses of a tier are looked at for a free one: those of a `/16`.
const HOSTS_MAX: u32 = 65_536;

/// How many removed resources are remembered.
pub(crate) const GONE_MAX: usize = 50_000;

/// An IPv4 range with a prefix length.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Subnet {
    first: u32,
    prefix: u8,
}

impl Subnet {
    /// Reads `10.0.0.0/16`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (address, prefix) = text.split_once('/')?;
        let prefix: u8 = prefix.parse().ok().filter(|prefix| *prefix <= 32)?;
        let address: Ipv4Addr = address.parse().ok()?;
        Some(Self::around(address, prefix))
    }

    /// The range of this prefix length that holds `address`.
    pub(crate) fn around(address: Ipv4Addr, prefix: u8) -> Self {
        let mask = Self::mask_of(prefix);
        Self {
            first: u32::from(address) & mask,
            prefix,
        }
    }

    /// The prefix length of a netmask, if it is one.
    pub(crate) fn prefix_of(netmask: Ipv4Addr) -> Option<u8> {
        let bits = u32::from(netmask);
        let prefix = u8::try_from(bits.leading_ones()).ok()?;
        (Self::mask_of(prefix) == bits).then_some(prefix)
    }

    fn mask_of(prefix: u8) -> u32 {
        if prefix == 0 {
            0
        } else {
            u32::MAX << (32 - u32::from(prefix))
        }
    }

    pub(crate) fn last(self) -> u32 {
        self.first | !Self::mask_of(self.prefix)
    }

    pub(crate) fn holds(self, other: Self) -> bool {
        self.first <= other.first && other.last() <= self.last()
    }

    pub(crate) fn crosses(self, other: Self) -> bool {
        self.first <= other.last() && other.first <= self.last()
    }

    /// Whether a machine could have this address: inside, and neither end of the range.
    pub(crate) fn has_host(self, address: Ipv4Addr) -> bool {
        let address = u32::from(address);
        self.first < address && address < self.last()
    }

    /// Whether it lies within the private ranges of RFC 1918, in which machines may live.
    pub(crate) fn is_private(self) -> bool {
        ["10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16"]
            .iter()
            .filter_map(|range| Self::parse(range))
            .any(|range| range.holds(self))
    }

    /// Whether it lies on this computer, where something real can answer on machines' addresses.
    pub(crate) fn is_loopback(self) -> bool {
        Self::around(Ipv4Addr::LOCALHOST, 8).holds(self)
    }

    /// One of the addresses that are not `taken`, which is sorted; `pick` chooses among so many.
    pub(crate) fn free_host(
        self,
        taken: &[Ipv4Addr],
        pick: impl FnOnce(usize) -> usize,
    ) -> Option<Ipv4Addr> {
        let first = self.first.saturating_add(1);
        let hosts = self.last().saturating_sub(first).min(HOSTS_MAX);
        let places = taken
            .iter()
            .filter_map(|ip| u32::from(*ip).checked_sub(first));
        let places: Vec<u32> = places.filter(|place| *place < hosts).collect();
        let free = usize::try_from(hosts).ok()?.checked_sub(places.len())?;
        if free == 0 {
            return None;
        }
        // The free address with this rank lies as much further as addresses before it are taken.
        let rank = u32::try_from(pick(free)).ok()?;
        let (mut low, mut high) = (0, places.len());
        while low < high {
            let middle = low.midpoint(high);
            let free_before = places[middle] - u32::try_from(middle).ok()?;
            if free_before <= rank {
                low = middle + 1;
            } else {
                high = middle;
            }
        }
        let place = rank + u32::try_from(low).ok()?;
        (place < hosts).then(|| Ipv4Addr::from(first + place))
    }
}

impl std::fmt::Display for Subnet {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "{}/{}", Ipv4Addr::from(self.first), self.prefix)
    }
}

impl World {
    /// A fresh UUID.
    pub(crate) fn fresh_id(&mut self) -> Uuid {
        self.chance.uuid()
    }

    /// The next database id of a kind.
    pub(crate) fn next_number(&mut self, kind: Kind) -> u64 {
        let serial = self.ids.serials.entry(kind).or_insert(0);
        *serial += 1;
        *serial
    }

    pub(crate) fn add_address(&mut self, ip: Ipv4Addr) -> Uuid {
        let id = self.fresh_id();
        let number = self.next_number(Kind::Address);
        let address = Address {
            id: id.clone(),
            number,
            ip,
            state: AddressState::Free,
            account: None,
            vpc: None,
            network: None,
            source_nat: false,
            static_nat: None,
            allocated: None,
            system: None,
        };
        self.addresses.insert(id.clone(), address);
        id
    }

    /// Whether an id of this kind is or was in use.
    pub(crate) fn knows(&self, kind: Kind, id: &str) -> bool {
        let rows = |rows: &[super::catalogue::Row]| super::Catalogue::find(rows, id).is_some();
        let lives = match kind {
            Kind::Zone => id == self.catalogue.zone_id(),
            Kind::Template => {
                rows(&self.catalogue.templates) || rows(&self.catalogue.system_templates)
            }
            Kind::ServiceOffering => rows(&self.catalogue.service_offerings),
            Kind::VpcOffering => rows(&self.catalogue.vpc_offerings),
            Kind::NetworkOffering => rows(&self.catalogue.network_offerings),
            Kind::Account => self.accounts.contains_key(id),
            Kind::Domain => self.domains.contains_key(id),
            Kind::User => self.users.contains_key(id),
            Kind::Project => self.projects.contains_key(id),
            Kind::Vpc => self.vpcs.contains_key(id),
            Kind::Network => self.networks.contains_key(id),
            Kind::AclList => self.acl_lists.contains_key(id),
            Kind::AclItem => self.acl_items.contains_key(id),
            Kind::Address => self.addresses.contains_key(id),
            Kind::Vm => self.vms.contains_key(id),
            Kind::Nic => self.vm_of_nic(id).is_some(),
            Kind::AffinityGroup => self.affinity_groups.contains_key(id),
            Kind::KeyPair => self.key_pairs.contains_key(id),
            Kind::Job => self.jobs.contains_key(id),
            Kind::FirewallRule => self.firewall_rules.contains_key(id),
            Kind::PortForwarding => self.port_forwardings.contains_key(id),
            Kind::LoadBalancer => self.load_balancers.contains_key(id),
            Kind::SecurityGroup => self.security_groups.contains_key(id),
            Kind::SecurityRule => self.group_of_rule(id).is_some(),
            Kind::SecondaryIp => self.nic_of_secondary(id).is_some(),
            Kind::StaticRoute => self.static_routes.contains_key(id),
            Kind::Volume => self.volumes.contains_key(id),
            Kind::UserData => self.user_data.contains_key(id),
            Kind::InstanceGroup => self.instance_groups.contains_key(id),
            Kind::Host => rows(&self.catalogue.hosts),
            Kind::Webhook => self.hooks.webhooks.contains_key(id),
            Kind::DiskOffering => rows(&self.catalogue.disk_offerings),
        };
        lives || self.gone.get(id).is_some_and(|gone| gone.kind == kind)
    }

    /// The account that owns a resource; none if it is nobody's or does not exist.
    pub(crate) fn owner(&self, kind: Kind, id: &str) -> Option<&str> {
        let list_owner = |list: &str| {
            let vpc = self.acl_lists.get(list)?.vpc.as_ref()?;
            self.vpcs.get(vpc).map(|vpc| vpc.account.as_str())
        };
        match kind {
            Kind::Vpc => self.vpcs.get(id).map(|vpc| vpc.account.as_str()),
            Kind::Network => self.networks.get(id).map(|row| row.account.as_str()),
            Kind::AclList => list_owner(id),
            Kind::AclItem => self
                .acl_items
                .get(id)
                .and_then(|item| list_owner(&item.list)),
            Kind::Address => self.addresses.get(id).and_then(|ip| ip.account.as_deref()),
            Kind::Vm => self.vms.get(id).map(|vm| vm.account.as_str()),
            Kind::Nic => self.vm_of_nic(id).map(|vm| vm.account.as_str()),
            Kind::AffinityGroup => self.affinity_groups.get(id).map(|row| row.account.as_str()),
            Kind::KeyPair => self.key_pairs.get(id).map(|pair| pair.account.as_str()),
            Kind::Job => self.jobs.get(id).map(|job| job.account.as_str()),
            Kind::FirewallRule => {
                let rule = self.firewall_rules.get(id)?;
                self.owner(Kind::Network, &rule.network)
            }
            Kind::PortForwarding => {
                let rule = self.port_forwardings.get(id)?;
                self.owner(Kind::Address, &rule.address)
            }
            Kind::LoadBalancer => {
                let rule = self.load_balancers.get(id)?;
                self.owner(Kind::Address, &rule.address)
            }
            Kind::SecurityGroup => self.security_groups.get(id).map(|row| row.account.as_str()),
            Kind::SecurityRule => self.group_of_rule(id).map(|group| group.account.as_str()),
            Kind::SecondaryIp => self.nic_of_secondary(id).map(|(vm, _)| vm.account.as_str()),
            Kind::StaticRoute => {
                let route = self.static_routes.get(id)?;
                self.owner(Kind::Vpc, &route.vpc)
            }
            Kind::Volume => self.volumes.get(id).map(|row| row.account.as_str()),
            Kind::UserData => self.user_data.get(id).map(|row| row.account.as_str()),
            Kind::InstanceGroup => self.instance_groups.get(id).map(|row| row.account.as_str()),
            Kind::Webhook => self.hooks.webhooks.get(id).map(|row| row.account.as_str()),
            Kind::User => self.users.get(id).map(|user| user.account.as_str()),
            Kind::Account => self.accounts.get(id).map(|account| account.id.as_str()),
            Kind::Project => self.projects.get(id).map(|row| row.account.as_str()),
            Kind::Zone
            | Kind::DiskOffering
            | Kind::Host
            | Kind::Template
            | Kind::ServiceOffering
            | Kind::VpcOffering
            | Kind::NetworkOffering
            | Kind::Domain => None,
        }
    }

    pub(crate) fn vm_of_nic(&self, nic: &str) -> Option<&Vm> {
        self.vms.one(&VmKey::Nic(nic.to_owned()))
    }

    /// The machines with a card in a network, whatever state they are in.
    pub(crate) fn vms_in(&self, network: &str) -> Vec<&Vm> {
        let first = VmKey::Card(network.to_owned(), Ipv4Addr::UNSPECIFIED);
        let cards = self.vms.span(first, |key| is_card_in(key, network));
        let mut vms: Vec<&Vm> = cards.into_iter().map(|(_, vm)| vm).collect();
        vms.sort_by_key(|vm| vm.number);
        vms.dedup_by_key(|vm| vm.number);
        vms
    }

    /// Whether a guest address of a network is held, by whatever is left of a machine.
    pub(crate) fn guest_ip_taken(&self, network: &Network, ip: Ipv4Addr) -> bool {
        let card = VmKey::Card(network.id.clone(), ip);
        ip == network.gateway || self.vms.one(&card).is_some()
    }

    /// A free guest address, drawn at random as CloudStack does.
    pub(crate) fn free_guest_ip(&mut self, network: &Network) -> Option<Ipv4Addr> {
        let subnet = Subnet::parse(&network.cidr)?;
        let first = VmKey::Card(network.id.clone(), Ipv4Addr::UNSPECIFIED);
        let cards = self.vms.span(first, |key| is_card_in(key, &network.id));
        let cards = cards.into_iter().filter_map(|(key, _)| match key {
            VmKey::Card(_, ip) => Some(ip),
            _ => None,
        });
        let mut taken: Vec<Ipv4Addr> = cards.chain([network.gateway]).collect();
        taken.sort_unstable();
        taken.dedup();
        let Some((first, last)) = network.ip_range else {
            return subnet.free_host(&taken, |free| self.chance.below(free));
        };
        let given_out = (u32::from(first)..=u32::from(last)).map(Ipv4Addr::from);
        let free = given_out.filter(|ip| taken.binary_search(ip).is_err());
        let free: Vec<Ipv4Addr> = free.take(HOSTS_MAX as usize).collect();
        let place = self.chance.below(free.len());
        free.get(place).copied()
    }

    /// The free public address with the lowest number.
    pub(crate) fn free_address(&self) -> Option<Uuid> {
        let first = AddressKey::Free(Ipv4Addr::UNSPECIFIED);
        match self.addresses.first_from(first)? {
            (AddressKey::Free(_), address) => Some(address.id.clone()),
            _ => None,
        }
    }

    /// Gives a public address back; its tags go or stay as told.
    pub(crate) fn free(&mut self, address: &str, with_tags: bool) {
        self.drop_rules_at(address);
        if let Some(address) = self.addresses.get_mut(address) {
            address.state = AddressState::Free;
            address.account = None;
            address.vpc = None;
            address.network = None;
            address.source_nat = false;
            address.static_nat = None;
            address.allocated = None;
        }
        if with_tags {
            self.unlabel(address);
        }
    }

    /// Takes the tags and details of a resource away.
    pub(crate) fn unlabel(&mut self, id: &str) {
        self.tags.drop_of(id);
        self.details.drop_of(id);
    }

    /// Remembers what was removed, so that its id is answered for; of too many, the older half
    /// is forgotten.
    pub(crate) fn bury(&mut self, kind: Kind, id: &str, number: u64) {
        self.unlabel(id);
        if self.gone.len() >= GONE_MAX {
            let mut numbers: Vec<u64> = self.gone.values().map(|gone| gone.number).collect();
            numbers.sort_unstable();
            let median = numbers.get(GONE_MAX / 2).copied().unwrap_or(u64::MAX);
            self.gone.retain(|_, gone| gone.number > median);
        }
        self.gone.insert(id.to_owned(), Gone { kind, number });
    }

    /// Takes a machine out for good: card, static NAT and tags go with it.
    pub(crate) fn expunge(&mut self, id: &str) {
        let Some(vm) = self.vms.remove(id) else {
            return;
        };
        self.drop_rules_to(id);
        self.drop_disks(id);
        self.totals.expunged += 1;
        self.bury(Kind::Vm, id, vm.number);
    }

    /// Takes a network out; its addresses stay with a VPC, and are freed without one.
    pub(crate) fn drop_network(&mut self, id: &str) {
        let Some(network) = self.networks.remove(id) else {
            return;
        };
        let bound = AddressKey::Network(id.to_owned());
        for address in self.addresses.ids_under(&bound) {
            self.drop_rules_at(&address);
            match self.addresses.get_mut(&address) {
                Some(address) if address.vpc.is_some() => {
                    address.network = None;
                    address.static_nat = None;
                }
                Some(_) => self.free(&address, true),
                None => {}
            }
        }
        self.drop_rules_in(id);
        self.bury(Kind::Network, id, network.number);
    }

    /// Takes an ACL list out with its rules.
    pub(crate) fn drop_acl_list(&mut self, id: &str) {
        let rules = self.rules_of(id).into_iter().map(|rule| rule.id.clone());
        for rule in rules.collect::<Vec<_>>() {
            self.acl_items.remove(&rule);
            self.unlabel(&rule);
        }
        if let Some(list) = self.acl_lists.remove(id) {
            self.bury(Kind::AclList, id, list.number);
        }
    }

    /// Takes a VPC out. Its addresses are freed *with their tags still on them*: the next owner
    /// inherits those (`cloudstack-observed.md`, section 2).
    pub(crate) fn drop_vpc(&mut self, id: &str) {
        let Some(vpc) = self.vpcs.remove(id) else {
            return;
        };
        for address in self.addresses.ids_under(&AddressKey::Vpc(id.to_owned())) {
            self.free(&address, false);
        }
        for list in self.acl_lists.ids_under(&id.to_owned()) {
            self.drop_acl_list(&list);
        }
        self.static_routes.retain(|_, route| route.vpc != id);
        self.bury(Kind::Vpc, id, vpc.number);
    }

    /// Notes when a network was left by its last running machine, or is used again.
    pub(crate) fn note_idleness(&mut self, network: &str) {
        let busy = self.vms.count(&VmKey::Busy(network.to_owned())) > 0;
        let now = self.now();
        if let Some(network) = self.networks.get_mut(network) {
            let idle = !busy && network.state == NetworkState::Implemented;
            network.idle_since = idle.then(|| network.idle_since.unwrap_or(now));
        }
    }
}

/// The small JSON records that error texts quote.
pub(crate) fn quoted_vm(vm: &Vm, account: u64, state: &str) -> String {
    let Vm { number, id, .. } = vm;
    format!(
        "VM instance {{\"id\":{number},\"instanceName\":\"i-{account}-{number}-VM\",\"state\":\"{state}\",\"type\":\"User\",\"uuid\":\"{id}\"}}"
    )
}

/// A VPC as error texts quote it.
pub(crate) fn quoted_vpc(vpc: &Vpc) -> String {
    let name = Value::from(vpc.name.as_str());
    format!(
        "VPC {{\"id\":{},\"name\":{name},\"uuid\":\"{}\"}}",
        vpc.number, vpc.id
    )
}

/// A public address as error texts quote it.
pub(crate) fn quoted_address(address: &Address) -> String {
    format!(
        "IPAddress {{\"address\":\"{}\",\"dataCenterId\":2,\"id\":{},\"uuid\":\"{}\"}}",
        address.ip, address.number, address.id
    )
}

/// A network as error texts quote it.
pub(crate) fn quoted_network(network: &Network) -> String {
    let name = Value::from(network.name.as_str());
    format!(
        "Network {{\"id\": {}, \"name\": {name}, \"uuid\": \"{}\", \"networkofferingid\": 13}}",
        network.number, network.id
    )
}

impl World {
    /// A machine as error texts quote it.
    pub(crate) fn quoted(&self, vm: &Vm) -> String {
        self.quoted_as(vm, &vm.state.to_string())
    }

    /// A machine as error texts quote it, in a state that it had a moment ago.
    pub(crate) fn quoted_as(&self, vm: &Vm, state: &str) -> String {
        quoted_vm(
            vm,
            self.accounts
                .get(&vm.account)
                .map_or(0, |account| account.number),
            state,
        )
    }

    /// The affinity group of an account with this name.
    pub(crate) fn group_named(&self, account: &str, name: &str) -> Option<&AffinityGroup> {
        self.affinity_groups
            .one(&(account.to_owned(), name.to_owned()))
    }

    /// Why a machine of an account cannot be in an affinity group, if it is another account's: the
    /// server's `AffinityGroupServiceImpl` tells a root admin otherwise than those who need
    /// permission.
    pub(crate) fn bars_from_group(
        &self,
        group: &AffinityGroup,
        owner: &str,
        admin: bool,
    ) -> Option<String> {
        let AffinityGroup { number, id, .. } = group;
        let name = Value::from(group.name.as_str());
        let quoted = format!("AffinityGroup {{\"id\":{number},\"name\":{name},\"uuid\":\"{id}\"}}");
        match group.account == owner {
            true => None,
            false if admin => Some(format!(
                "Affinity Group {quoted} does not belong to the VM's account"
            )),
            false => Some(format!(
                "Entity {quoted} and entity {owner} belong to different accounts"
            )),
        }
    }

    /// Takes an affinity group out; its members simply lose it (`cloudstack-observed.md`, section 2).
    pub(crate) fn drop_affinity_group(&mut self, id: &str) {
        for vm in self.vms.ids_under(&VmKey::Group(id.to_owned())) {
            if let Some(vm) = self.vms.get_mut(&vm) {
                vm.affinity_groups.retain(|group| group != id);
            }
        }
        if let Some(group) = self.affinity_groups.remove(id) {
            self.bury(Kind::AffinityGroup, id, group.number);
        }
    }

    /// Whether another rule of the list has this number.
    pub(crate) fn number_taken(&self, list: &str, number: u32, except: &str) -> bool {
        let place = (list.to_owned(), number);
        let mut rules = self.acl_items.under(&place).into_iter();
        rules.any(|item| item.id != except)
    }
}

fn is_card_in(key: &VmKey, network: &str) -> bool {
    matches!(key, VmKey::Card(of, _) if of == network)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn subnets_hold_cross_and_print() {
        let all = Subnet::parse("10.0.0.0/16").expect("a subnet");
        let tier = Subnet::around(Ipv4Addr::new(10, 0, 3, 1), 24);
        assert!(all.holds(tier) && !tier.holds(all) && tier.crosses(all));
        assert_eq!(tier.to_string(), "10.0.3.0/24");
        assert!(!tier.has_host(Ipv4Addr::new(10, 0, 3, 255)));
        assert_eq!(Subnet::parse("10.0.0.0/99"), None);
        assert_eq!(Subnet::prefix_of(Ipv4Addr::new(255, 255, 254, 0)), Some(23));
        assert_eq!(Subnet::prefix_of(Ipv4Addr::new(255, 0, 254, 0)), None);
    }
}
