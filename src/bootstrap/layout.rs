//! Which packages make a role. Source: Clearwater's manual installation guide, release 98 for the
//! classic layout and the last one for the split layout.

use crate::types::{
    role::Role,
    stack::Layout::{self, Classic, Split},
};

/// The Debian packages of a role in a layout; none of a role that the layout lacks.
///
/// Every machine takes part in etcd with all three managers of `clearwater-management`, bono and
/// ellis too: without the queue manager a change of the shared configuration would never reach
/// them. The guide of the split layout does not name it, and no role is known to bring it along.
#[must_use]
pub const fn packages(role: Role, layout: Layout) -> &'static [&'static str] {
    if !layout.has(role) {
        return &[];
    }
    match role {
        Role::Dns => &["bind9"],
        Role::Bono => &["dnsmasq", "bono", "restund", "clearwater-management"],
        Role::Sprout => &["dnsmasq", "sprout", "clearwater-management"],
        Role::Homestead => &[
            "dnsmasq",
            "homestead",
            "homestead-prov",
            "clearwater-prov-tools",
            "clearwater-management",
        ],
        Role::Dime => &[
            "dnsmasq",
            "dime",
            "clearwater-prov-tools",
            "clearwater-management",
        ],
        Role::Vellum => &["dnsmasq", "vellum", "clearwater-management"],
        Role::Homer => &["dnsmasq", "homer", "clearwater-management"],
        Role::Ralf => &["dnsmasq", "ralf", "clearwater-management"],
        Role::Ellis => &["dnsmasq", "ellis", "clearwater-management"],
    }
}

/// Whether a role keeps timers in a Chronos of its own.
pub(super) const fn keeps_timers(role: Role, layout: Layout) -> bool {
    matches!(
        (layout, role),
        (Classic, Role::Sprout | Role::Ralf) | (Split, Role::Vellum)
    )
}
