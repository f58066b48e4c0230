//! What a world is made of: one plain record for each kind of CloudStack resource.
//!
//! Records hold what is true, not what is shown: [`super::super::view`] turns them into the rows
//! of a reply, and the rules live in the commands. Ids are the UUIDs of the wire, `number` is the
//! database id that error texts quote and that lists are ordered by.

mod account;
mod acl;
mod address;
mod belonging;
mod forwarding;
mod host;
mod network;
mod security_group;
mod user_data;
mod vm;
mod volume;
mod webhook;

use serde::{Deserialize, Serialize};

pub use account::*;
pub use acl::*;
pub use address::*;
pub use belonging::*;
pub use forwarding::*;
pub use host::*;
pub use network::*;
pub use security_group::*;
pub use user_data::*;
pub use vm::*;
pub use volume::*;
pub use webhook::*;

/// The UUID of a resource, as text, because text is all that CloudStack's clients ever see of it.
pub type Uuid = String;

/// The kinds of things that a parameter can name by id.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Kind {
    /// A zone.
    Zone,
    /// A template.
    Template,
    /// A service offering.
    ServiceOffering,
    /// A VPC offering.
    VpcOffering,
    /// A network offering.
    NetworkOffering,
    /// An account.
    Account,
    /// A domain.
    Domain,
    /// A user.
    User,
    /// A project.
    Project,
    /// A VPC.
    Vpc,
    /// A network, which here is mostly a tier of a VPC.
    Network,
    /// A network ACL list.
    AclList,
    /// A rule of a network ACL list.
    AclItem,
    /// A public IP address.
    Address,
    /// A virtual machine.
    Vm,
    /// A network card of a virtual machine.
    Nic,
    /// An affinity group.
    AffinityGroup,
    /// An SSH key pair.
    KeyPair,
    /// An asynchronous job.
    Job,
    /// A firewall or egress rule.
    FirewallRule,
    /// A port-forwarding rule.
    PortForwarding,
    /// A load-balancer rule.
    LoadBalancer,
    /// A security group.
    SecurityGroup,
    /// A rule of a security group.
    SecurityRule,
    /// A further address of a network card.
    SecondaryIp,
    /// A static route of a VPC.
    StaticRoute,
    /// A volume.
    Volume,
    /// A disk offering.
    DiskOffering,
    /// Registered user data.
    UserData,
    /// A group of machines.
    InstanceGroup,
    /// A host.
    Host,
    /// A webhook.
    Webhook,
}
