//! What happens to hosts.

use super::{By, Done, missing};
use crate::sim::world::HostFailure;
use crate::sim::world::catalogue::Catalogue;

/// The names of all hosts, or only of those that failed.
fn names(by: &By<'_>, failed: bool) -> Vec<String> {
    let hosts = by.world.catalogue.hosts.iter();
    let known = hosts.filter(|row| {
        let id = Catalogue::text(row, "id");
        !failed || by.world.host(id).failure.is_some()
    });
    known
        .map(|row| Catalogue::text(row, "name").to_owned())
        .collect()
}

/// A host by its word: `busiest`, `any`, its name or its id.
fn find(by: &mut By<'_>, word: &str) -> Result<String, String> {
    let mut all = names(by, false);
    match word {
        "busiest" => {
            let busiest = by.world.busiest_host().map(ToOwned::to_owned);
            busiest.ok_or_else(|| "there is no host".to_owned())
        }
        "any" if !all.is_empty() => {
            let place = by.world.chance.below(all.len());
            Ok(all.swap_remove(place))
        }
        name if by.world.host_named(name).is_some() => Ok(name.to_owned()),
        name => {
            let missing = missing("host", name);
            Err(format!("{missing}; there are {}", all.join(", ")))
        }
    }
}

pub(super) fn fail(by: &mut By<'_>, word: &str, how: HostFailure) -> Done {
    let host = find(by, word)?;
    let machines = by
        .world
        .host_named(&host)
        .map(|id| by.world.machines_on(id).len());
    by.world.fail_host(&host, how)?;
    let machines = machines.unwrap_or_default();
    Ok(format!(
        "the host {host} is down with {machines} machines on it"
    ))
}

pub(super) fn recover(by: &mut By<'_>, word: Option<String>) -> Done {
    let hosts = match word {
        Some(word) => vec![find(by, &word)?],
        None => names(by, true),
    };
    for host in &hosts {
        by.world.recover_host(host)?;
    }
    match hosts.as_slice() {
        [] => Err("no host has failed".to_owned()),
        hosts => Ok(format!("{} is up again", hosts.join(", "))),
    }
}
