//! What leads from a public address to machines: firewall, port-forwarding and load-balancer rules.
//!
//! A rule never outlives its address, its network or, if it names one, its machine: `world::rules`
//! takes it away with them.

use std::net::Ipv4Addr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::Uuid;

/// Whether a rule has reached the router.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RuleState {
    /// On its way there.
    Add,
    /// There.
    Active,
    /// On its way out.
    Deleting,
}

/// A rule of the firewall of an isolated network: at a public address for what comes in, of the
/// network for what goes out.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FirewallRule {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// The network that it belongs to.
    pub network: Uuid,
    /// The public address of an ingress rule; egress rules have none.
    pub address: Option<Uuid>,
    /// `tcp`, `udp`, `icmp` or `all`.
    pub protocol: String,
    /// The first and the last port, where it names any.
    pub ports: Option<(u16, u16)>,
    /// The ICMP type; −1 is any.
    pub icmp_type: Option<i32>,
    /// The ICMP code; −1 is any.
    pub icmp_code: Option<i32>,
    /// Where the traffic comes from.
    pub sources: Vec<String>,
    /// Where egress traffic goes to; empty is anywhere.
    pub destinations: Vec<String>,
    /// The port-forwarding or load-balancer rule that opened it, and takes it along.
    pub opened_by: Option<Uuid>,
    /// Whether it has reached the router.
    pub state: RuleState,
}

impl FirewallRule {
    /// Whether it is about what leaves the network.
    #[must_use]
    pub fn is_egress(&self) -> bool {
        self.address.is_none()
    }
}

/// A port-forwarding rule: ports of a public address that lead to ports of a machine.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PortForwarding {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// The public address.
    pub address: Uuid,
    /// The network that the machine is reached in.
    pub network: Uuid,
    /// The machine.
    pub vm: Uuid,
    /// The machine's address in the network: that of its card, or a secondary one.
    pub guest_ip: Ipv4Addr,
    /// `tcp` or `udp`.
    pub protocol: String,
    /// The first and the last port of the public address.
    pub public: (u16, u16),
    /// The first and the last port of the machine; ranges are equal on both sides.
    pub private: (u16, u16),
    /// Where traffic may come from; empty is anywhere.
    pub sources: Vec<String>,
    /// Whether it has reached the router.
    pub state: RuleState,
}

/// A machine that a load balancer spreads to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// The machine.
    pub vm: Uuid,
    /// Its address in the network of the rule.
    pub ip: Ipv4Addr,
}

/// A load-balancer rule: a port of a public address that is spread over machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoadBalancer {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// Its name.
    pub name: String,
    /// Its description.
    pub description: Option<String>,
    /// The public address.
    pub address: Uuid,
    /// The network that its members are in.
    pub network: Uuid,
    /// `roundrobin`, `leastconn` or `source`.
    pub algorithm: String,
    /// `tcp`, `udp`, `tcp-proxy` or `ssl`.
    pub protocol: String,
    /// The port of the public address.
    pub public_port: u16,
    /// The port of the members.
    pub private_port: u16,
    /// Where traffic may come from; none is anywhere.
    pub sources: Option<String>,
    /// The machines, in the order in which they were assigned.
    pub members: Vec<Member>,
    /// Whether it has reached the router; one without members has not.
    pub state: RuleState,
}

/// A way of a VPC's router to networks behind one of its machines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct StaticRoute {
    /// Its UUID.
    pub id: Uuid,
    /// Its database id.
    pub number: u64,
    /// The VPC.
    pub vpc: Uuid,
    /// Where it leads.
    pub cidr: String,
    /// The machine that it leads by.
    pub next_hop: Ipv4Addr,
    /// When it was created.
    pub created: Timestamp,
}
