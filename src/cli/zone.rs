//! `zone`: the records that make a stack found, for whoever keeps them by hand.

use anyhow::{Result, bail};

use super::{Exit, args::ZoneArgs, console::Console, server::Server};
use crate::{
    names::{Node, records, zone_file},
    types::{
        meta::Kind,
        role::Role,
        stack::{ClearwaterStack, DnsView},
    },
};

/// Prints the part of a zone file with a stack's records.
pub(super) async fn zone(console: &Console, args: &ZoneArgs) -> Result<Exit> {
    let server = Server::connect(&args.connection)?;
    let object = server.need(Kind::ClearwaterStack, &args.stack).await?;
    let stack: ClearwaterStack = object.decode()?;
    console.print(&text(&stack, args.view.into())?)?;
    Ok(Exit::Done)
}

/// The zone of a stack, with every machine that has its addresses, whether it serves or not: nobody
/// follows that by hand.
fn text(stack: &ClearwaterStack, view: DnsView) -> Result<String> {
    let machines = stack.status.iter();
    let machines = machines.flat_map(|status| &status.ledger.machines);
    let machines = machines.filter(|(_, record)| !record.retiring);
    let nodes = machines.filter_map(|(name, record)| Node::of(&stack.spec, name, record));
    let nodes: Vec<Node> = nodes.collect();
    if nodes.is_empty() {
        bail!(
            "{} has no machine with an address yet; `weir watch {0}` shows how far it is",
            stack.metadata.name
        );
    }
    let absent = |role: &Role| {
        let found = nodes.iter().any(|node| node.role == *role);
        stack.spec.replicas(*role) > 0 && !found
    };
    let absent: Vec<Role> = Role::ALL.into_iter().filter(absent).collect();
    let domain = &stack.spec.domain;
    let records = records(domain, &nodes, view);
    let ttl = stack.spec.dns.ttl_seconds();
    Ok(zone_file(domain, &records, ttl, &absent))
}
