//! Network cards: which address one gets, and what a network keeps free for it.

use std::net::Ipv4Addr;

use super::{GuestType, Kind, Network, Nic, Subnet, World};

impl World {
    /// A new card in a network, with the address that was asked for or one drawn at random; none
    /// if that address is taken or outside, or nothing is left.
    pub(crate) fn new_card(&mut self, network: &Network, wanted: Option<&str>) -> Option<Nic> {
        let ip = match (network.guest_type, wanted) {
            (GuestType::L2, _) => Ipv4Addr::UNSPECIFIED,
            (GuestType::Isolated | GuestType::Shared, None) => self.free_guest_ip(network)?,
            (GuestType::Isolated | GuestType::Shared, Some(ip)) => {
                let ip = ip.parse().ok()?;
                self.can_have(network, ip).then_some(ip)?
            }
        };
        let mac = self.next_mac(network);
        Some(Nic {
            id: self.fresh_id(),
            number: self.next_number(Kind::Nic),
            network: network.id.clone(),
            ip,
            mac,
            vlan: network.vlan,
            device: 0,
            secondary: Vec::new(),
        })
    }

    /// Whether a machine could be given this address of a network now.
    pub(crate) fn can_have(&self, network: &Network, ip: Ipv4Addr) -> bool {
        let inside = Subnet::parse(&network.cidr).is_some_and(|range| range.has_host(ip));
        inside && !self.guest_ip_taken(network, ip)
    }

    /// Whether a card in a network has this MAC address.
    pub(crate) fn has_mac(&self, network: &Network, mac: &str) -> bool {
        let cards = self.vms.values().flat_map(|vm| &vm.nics);
        let mut cards = cards.filter(|nic| nic.network == network.id);
        cards.any(|nic| nic.mac == mac)
    }

    /// A MAC address that no other card of the network ever had.
    fn next_mac(&mut self, network: &Network) -> String {
        let count = self.networks.get_mut(&network.id).map_or(0, |network| {
            network.nics += 1;
            network.nics
        });
        let [_, _, high, low] = u32::try_from(network.number)
            .unwrap_or_default()
            .to_be_bytes();
        let [_, _, card_high, card_low] = count.to_be_bytes();
        format!("02:02:{high:02x}:{low:02x}:{card_high:02x}:{card_low:02x}")
    }
}
