//! What a stack says of the name servers that Weir keeps its names on.

use std::{collections::BTreeSet, net::SocketAddr, time::Duration as Std};

use serde_json::Value;

use super::{
    error::ErrorKind,
    findings::Findings,
    metadata::is_dns_name,
    value::{DAY, part, part_or_default, reference, within},
};
use crate::types::stack::{DnsMode, DnsServer, DnsSpec};

/// Most name servers of a stack: each is asked at every look.
const SERVERS_MAX: usize = 8;

/// Judges `spec.dns`.
pub(super) fn check(spec: &Value, findings: &mut Findings) {
    let Some(dns) = part_or_default::<DnsSpec>(spec, "dns") else {
        return;
    };
    let field = "spec.dns.servers";
    within("spec.dns.ttl", dns.ttl, (Std::from_secs(1), DAY), findings);
    if dns.ttl.get().subsec_nanos() > 0 {
        let why = ("not a whole number of seconds", "write it like 30s");
        findings.invalid("spec.dns.ttl", &dns.ttl, why);
    }
    match dns.mode {
        DnsMode::External if dns.servers.is_empty() => {
            let why = (
                "no name server, with `dns.mode` External",
                "name one with `address` and `secretRef`, or set `dns.mode` to None",
            );
            findings.missing(field, why);
        }
        DnsMode::External => {}
        DnsMode::None | DnsMode::Managed => {
            if !dns.servers.is_empty() {
                findings.warn(field, "has no effect: set `dns.mode` to External to use it");
            }
        }
    }
    if dns.mode == DnsMode::Managed && spec.get("bootstrap").is_none() {
        let sentence = "without `bootstrap` the machines of the role get no BIND configuration: set \
                        it up yourself, or no name is served";
        findings.warn("spec.dns.mode", sentence);
    }
    if dns.servers.len() > SERVERS_MAX {
        let why = (
            format!("more than {SERVERS_MAX}"),
            "keep the primary of each view; secondaries get the records from them",
        );
        findings.add(ErrorKind::FieldValueTooMany, field, &dns.servers.len(), why);
    }
    let domain = part::<String>(spec, "domain").unwrap_or_default();
    let mut places = BTreeSet::new();
    for (index, server) in dns.servers.iter().enumerate() {
        let path = format!("{field}[{index}]");
        self::server(&path, server, findings);
        let place = (server.socket(), server.key_name(&domain));
        if place.0.is_some() && !places.insert(place) {
            let why = (
                "there before, with the same key",
                "remove one, or give its view a key of its own",
            );
            findings.add(
                ErrorKind::FieldValueDuplicate,
                format!("{path}.address"),
                &server.address,
                why,
            );
        }
    }
}

fn server(path: &str, server: &DnsServer, findings: &mut Findings) {
    let usable = |place: SocketAddr| place.port() != 0 && !place.ip().is_unspecified();
    if !server.socket().is_some_and(usable) {
        let why = (
            "not an address of a name server",
            "write it like 198.51.100.53, or 198.51.100.53:5353 if its port is not 53",
        );
        findings.invalid(format!("{path}.address"), &server.address, why);
    }
    if let Some(name) = &server.key_name {
        let bare = name.strip_suffix('.').unwrap_or(name);
        if !is_dns_name(&bare.to_ascii_lowercase().replace('_', "-")) {
            let why = (
                "not the name of a key",
                "write it as it is in the server's configuration, like weir-key",
            );
            findings.invalid(format!("{path}.keyName"), name, why);
        }
    }
    reference(
        &format!("{path}.secretRef.name"),
        &server.secret_ref.name,
        findings,
    );
}
