//! How much an account has of what it may only have so much of.

use crate::sim::world::index::{AddressKey, NetworkKey, VmKey};
use crate::sim::world::{GIB, Size, World};

/// How much of something an account has. Destroyed machines no longer count.
pub(crate) fn used(world: &World, account: &str, resource: &str) -> i64 {
    let owner = || account.to_owned();
    let count = match resource {
        "user_vm" => return machines(world, account, |_| 1),
        "cpu" => return machines(world, account, |size| size.cpus),
        "memory" => return machines(world, account, |size| size.memory_mib),
        "volume" => return world.storage_used(account).1,
        "primary_storage" => return world.storage_used(account).0 / GIB,
        "public_ip" => world.addresses.count(&AddressKey::Held(owner())),
        "network" => world.networks.count(&NetworkKey::Owned(owner())),
        "vpc" => world.vpcs.count(&owner()),
        _ => 0,
    };
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// The sum of something over all machines that count.
fn machines(world: &World, account: &str, of: impl Fn(Size) -> i64) -> i64 {
    let first = VmKey::Used(account.to_owned(), Size::default());
    let mine = |key: &VmKey| matches!(key, VmKey::Used(of, _) if of == account);
    let counts = world.vms.counts(first, mine).into_iter();
    let sums = counts.filter_map(|(key, count)| {
        let VmKey::Used(_, size) = key else {
            return None;
        };
        Some(of(size) * i64::try_from(count).ok()?)
    });
    sums.sum()
}
