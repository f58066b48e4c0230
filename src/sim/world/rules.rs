//! What hangs on a public address: its static NAT and its rules, where they lead, and how they go
//! when the address, the machine or the network goes.

use std::net::Ipv4Addr;

use super::index::{AddressKey, RuleKey};
use super::{
    Address, Catalogue, DEFAULT_SECURITY_GROUP, FirewallRule, Kind, LoadBalancer, Network, Nic,
    PortForwarding, SecurityGroup, Uuid, Vm, World, quoted_address,
};

fn at(address: &str) -> RuleKey {
    RuleKey::Address(address.to_owned())
}

impl World {
    /// The firewall rules at a public address, oldest first.
    #[must_use]
    pub fn firewall_rules_at(&self, address: &str) -> Vec<&FirewallRule> {
        let mut rules = self.firewall_rules.under(&at(address));
        rules.sort_by_key(|rule| rule.number);
        rules
    }

    /// The egress rules of a network, oldest first.
    #[must_use]
    pub fn egress_rules_of(&self, network: &str) -> Vec<&FirewallRule> {
        let key = RuleKey::Network(network.to_owned());
        let mut rules = self.firewall_rules.under(&key);
        rules.retain(|rule| rule.is_egress());
        rules.sort_by_key(|rule| rule.number);
        rules
    }

    /// The port-forwarding rules of a public address, oldest first.
    #[must_use]
    pub fn port_forwardings_at(&self, address: &str) -> Vec<&PortForwarding> {
        let mut rules = self.port_forwardings.under(&at(address));
        rules.sort_by_key(|rule| rule.number);
        rules
    }

    /// The load-balancer rules of a public address, oldest first.
    #[must_use]
    pub fn load_balancers_at(&self, address: &str) -> Vec<&LoadBalancer> {
        let mut rules = self.load_balancers.under(&at(address));
        rules.sort_by_key(|rule| rule.number);
        rules
    }

    /// Whether any rule hangs on a public address.
    #[must_use]
    pub fn has_rules(&self, address: &str) -> bool {
        let key = at(address);
        self.port_forwardings.one(&key).is_some()
            || self.load_balancers.one(&key).is_some()
            || self.firewall_rules.one(&key).is_some()
    }

    /// The public address whose static NAT leads to this guest address of a machine.
    #[must_use]
    pub fn address_to(&self, vm: &str, ip: Ipv4Addr) -> Option<&Address> {
        let mut natted = self
            .addresses
            .under(&AddressKey::Vm(vm.to_owned()))
            .into_iter();
        natted.find(|address| address.static_nat.as_ref().is_some_and(|nat| nat.ip == ip))
    }

    /// The source-NAT address of an isolated network.
    #[must_use]
    pub fn source_nat_of(&self, network: &str) -> Option<&Address> {
        let bound = self
            .addresses
            .under(&AddressKey::Network(network.to_owned()));
        bound.into_iter().find(|address| address.source_nat)
    }

    /// What leads to a guest address of a machine in a network, as error texts name it.
    pub(crate) fn leads_to(&self, vm: &str, network: &str, ip: Ipv4Addr) -> Option<String> {
        let key = RuleKey::Vm(vm.to_owned());
        let mut forwarded = self.port_forwardings.under(&key).into_iter();
        if forwarded.any(|rule| rule.network == network && rule.guest_ip == ip) {
            return Some("the port forwarding rule".to_owned());
        }
        let natted = self.addresses.under(&AddressKey::Vm(vm.to_owned()));
        let mut natted = natted.into_iter().filter(|row| {
            let leads = row.static_nat.as_ref().is_some_and(|nat| nat.ip == ip);
            leads && row.network.as_deref() == Some(network)
        });
        if let Some(address) = natted.next() {
            let address = quoted_address(address);
            return Some(format!("static NAT rule public IP address ID: {address}"));
        }
        let balanced = self.load_balancers.under(&key).into_iter();
        let mut members = balanced
            .filter(|rule| rule.network == network)
            .flat_map(|rule| &rule.members);
        let balanced = members.any(|member| member.vm == vm && member.ip == ip);
        balanced.then(|| "the load balancing rule".to_owned())
    }

    /// Whether the offering of a network has a service, such as `SourceNat`.
    #[must_use]
    pub fn offers(&self, network: &Network, service: &str) -> bool {
        self.offering_has(&network.offering, service)
    }

    /// Whether a network offering has a service.
    #[must_use]
    pub fn offering_has(&self, offering: &str, service: &str) -> bool {
        let row = Catalogue::find(&self.catalogue.network_offerings, offering);
        row.is_some_and(|row| Catalogue::offers(row, service))
    }

    /// Lets everything follow a machine's card in a network that led to its old address: static NAT
    /// (`cloudstack-observed.md`, section 2), port forwarding and load balancing.
    pub(crate) fn redirect(&mut self, vm: &str, network: &str, (old, new): (Ipv4Addr, Ipv4Addr)) {
        for id in self.addresses.ids_under(&AddressKey::Vm(vm.to_owned())) {
            let address = self.addresses.get_mut(&id);
            let address = address.filter(|row| row.network.as_deref() == Some(network));
            let nat = address.and_then(|address| address.static_nat.as_mut());
            if let Some(nat) = nat.filter(|nat| nat.ip == old) {
                nat.ip = new;
            }
        }
        let key = RuleKey::Vm(vm.to_owned());
        for id in self.port_forwardings.ids_under(&key) {
            let rule = self.port_forwardings.get_mut(&id);
            if let Some(rule) = rule.filter(|rule| rule.network == network && rule.guest_ip == old)
            {
                rule.guest_ip = new;
            }
        }
        for id in self.load_balancers.ids_under(&key) {
            let rule = self.load_balancers.get_mut(&id);
            let members = rule.filter(|rule| rule.network == network);
            let members = members.into_iter().flat_map(|rule| &mut rule.members);
            for member in members.filter(|member| member.vm == vm && member.ip == old) {
                member.ip = new;
            }
        }
    }

    /// Takes a firewall rule out.
    pub(crate) fn drop_firewall_rule(&mut self, id: &str) {
        if self.firewall_rules.remove(id).is_some() {
            self.unlabel(id);
        }
    }

    /// Takes a port-forwarding rule out with the firewall rule that it opened.
    pub(crate) fn drop_port_forwarding(&mut self, id: &str) {
        if let Some(rule) = self.port_forwardings.remove(id) {
            self.dropped(id, &rule.address);
        }
    }

    /// Takes a load-balancer rule out with the firewall rule that it opened.
    pub(crate) fn drop_load_balancer(&mut self, id: &str) {
        if let Some(rule) = self.load_balancers.remove(id) {
            self.dropped(id, &rule.address);
        }
    }

    fn dropped(&mut self, rule: &str, address: &str) {
        let opened = RuleKey::OpenedBy(rule.to_owned());
        for id in self.firewall_rules.ids_under(&opened) {
            self.drop_firewall_rule(&id);
        }
        self.unlabel(rule);
        self.loosen(address);
    }

    /// An address of a VPC is bound to a tier only as long as something leads there.
    pub(crate) fn loosen(&mut self, address: &str) {
        let used = self.has_rules(address);
        let loose = self.addresses.get(address).is_some_and(|row| {
            row.vpc.is_some() && row.network.is_some() && row.static_nat.is_none() && !used
        });
        if let Some(address) = self.addresses.get_mut(address).filter(|_| loose) {
            address.network = None;
        }
    }

    /// Takes all rules of a public address out.
    pub(crate) fn drop_rules_at(&mut self, address: &str) {
        let key = at(address);
        for id in self.port_forwardings.ids_under(&key) {
            self.drop_port_forwarding(&id);
        }
        for id in self.load_balancers.ids_under(&key) {
            self.drop_load_balancer(&id);
        }
        for id in self.firewall_rules.ids_under(&key) {
            self.drop_firewall_rule(&id);
        }
    }

    /// Takes everything out that leads to a machine: rules, memberships and static NAT.
    pub(crate) fn drop_rules_to(&mut self, vm: &str) {
        for address in self.addresses.ids_under(&AddressKey::Vm(vm.to_owned())) {
            self.end_static_nat(&address);
        }
        let key = RuleKey::Vm(vm.to_owned());
        for id in self.port_forwardings.ids_under(&key) {
            self.drop_port_forwarding(&id);
        }
        for id in self.load_balancers.ids_under(&key) {
            if let Some(rule) = self.load_balancers.get_mut(&id) {
                rule.members.retain(|member| member.vm != vm);
            }
        }
    }

    /// Ends a static NAT: the firewall rules of the address go with it, and a VPC's address is
    /// bound to no tier any more.
    pub(crate) fn end_static_nat(&mut self, address: &str) {
        for id in self.firewall_rules.ids_under(&at(address)) {
            self.drop_firewall_rule(&id);
        }
        if let Some(address) = self.addresses.get_mut(address) {
            address.static_nat = None;
        }
        self.loosen(address);
    }

    /// Takes the rules of a network out that are at none of its addresses.
    pub(crate) fn drop_rules_in(&mut self, network: &str) {
        let key = RuleKey::Network(network.to_owned());
        for id in self.firewall_rules.ids_under(&key) {
            self.drop_firewall_rule(&id);
        }
    }

    /// The machine and the card that have a secondary address.
    pub(crate) fn nic_of_secondary(&self, id: &str) -> Option<(&Vm, &Nic)> {
        let mut cards = self
            .vms
            .values()
            .flat_map(|vm| vm.nics.iter().map(move |nic| (vm, nic)));
        cards.find(|(_, nic)| nic.secondary.iter().any(|more| more.id == id))
    }

    /// Adds a security group; the answer is its id.
    pub(crate) fn add_security_group(
        &mut self,
        account: &str,
        name: &str,
        description: Option<&str>,
    ) -> Uuid {
        let group = SecurityGroup {
            id: self.fresh_id(),
            number: self.next_number(Kind::SecurityGroup),
            name: name.to_owned(),
            description: description.map(ToOwned::to_owned),
            account: account.to_owned(),
            rules: Vec::new(),
        };
        let id = group.id.clone();
        self.security_groups.insert(id.clone(), group);
        id
    }

    /// Adds the security group that every account has.
    pub(crate) fn add_default_security_group(&mut self, account: &str) {
        let description = Some("Default Security Group");
        self.add_security_group(account, DEFAULT_SECURITY_GROUP, description);
    }

    /// The security group of this name in an account.
    pub(crate) fn security_group_named(&self, account: &str, name: &str) -> Option<&SecurityGroup> {
        let mut groups = self.security_groups.values();
        groups.find(|group| group.account == account && group.name == name)
    }

    /// The security group that a rule belongs to.
    pub(crate) fn group_of_rule(&self, id: &str) -> Option<&SecurityGroup> {
        self.security_groups
            .values()
            .find(|group| group.rules.iter().any(|rule| rule.id == id))
    }
}
