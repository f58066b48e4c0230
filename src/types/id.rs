//! A newtype for each kind of id, so that no two can be swapped.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
        #[serde(transparent)]
        pub struct $name(String);

        impl $name {
            /// Wraps an id as CloudStack or the store wrote it.
            #[must_use]
            pub fn new(id: impl Into<String>) -> Self {
                Self(id.into())
            }

            /// The id as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    )+};
}

ids! {
    /// A CloudStack virtual machine.
    VmId,
    /// A NIC of a virtual machine.
    NicId,
    /// A VPC.
    VpcId,
    /// A network; in a VPC, a tier.
    NetworkId,
    /// A network ACL list.
    AclId,
    /// One rule (CloudStack: item) of a network ACL list.
    AclRuleId,
    /// A public IP address. It belongs to the address, not to the lease: after a release the
    /// same id may appear under another owner.
    AddressId,
    /// An affinity group.
    AffinityGroupId,
    /// A zone.
    ZoneId,
    /// A template.
    TemplateId,
    /// A service, network or VPC offering.
    OfferingId,
    /// An asynchronous job. Weir chooses it before the call (`customjobid`).
    JobId,
    /// The uid of an object in the store.
    Uid,
}
