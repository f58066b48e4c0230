//! What the fields of a `ClearwaterStack` mean, each alone and all together.

use std::{net::Ipv4Addr, time::Duration as Std};

use serde_json::Value;

use super::{
    MACHINES_PER_ROLE_MAX, bootstrap, dns,
    error::ErrorKind,
    findings::Findings,
    metadata::{DNS_NAME_MAX, LABEL_MAX, is_dns_name},
    network,
    value::{DAY, count, filled, part, part_or_default, reference, selector, within},
};
use crate::types::{
    account::NameRef,
    ledger::MAX_REMEDIATIONS,
    role::Role,
    stack::{
        Component, DnsMode, DnsSpec, Layout, PackagesSpec, Probe, ProbeKind, ProbeVia,
        RemediationSpec, Selector, Share, UpdateSpec,
    },
};

/// Longest name of a stack. Its machines are called `<stack>-<role>-<index>`, which becomes a host
/// name of at most 63 characters: `-homestead-49` takes 13, and 10 are kept for what tells a
/// parked VM or a successor apart.
pub const STACK_NAME_MAX: usize = 40;

const ROLE_NAMES_END: &str = "so that its machines have valid host names";

/// Judges the name and the spec of a stack.
pub(super) fn check(name: &str, spec: &Value, findings: &mut Findings) {
    self::name(name, findings);
    if let Some(account) = part::<NameRef>(spec, "accountRef") {
        reference("spec.accountRef.name", &account.name, findings);
    }
    if let Some(domain) = part::<String>(spec, "domain") {
        self::domain(&domain, findings);
    }
    for field in ["template", "serviceOffering"] {
        if let Some(selected) = part::<Selector>(spec, field) {
            selector(&format!("spec.{field}"), &selected, findings);
        }
    }
    if let Some(key_pair) = part::<String>(spec, "sshKeyPair") {
        filled("spec.sshKeyPair", &key_pair, findings);
    }
    bootstrap::check(spec, findings);
    dns::check(spec, findings);
    if let Some(remediation) = part::<RemediationSpec>(spec, "remediation") {
        self::remediation(&remediation, findings);
    }
    let update = part_or_default::<UpdateSpec>(spec, "update");
    if let Some(update) = &update {
        self::update(update, findings);
    }
    let components = components(spec, findings);
    let Some(network) = network::check(&network::written(spec), findings) else {
        return;
    };
    let surge = update
        .unwrap_or_default()
        .max_surge
        .min(MACHINES_PER_ROLE_MAX);
    let machines = components
        .iter()
        .map(|(_, component)| u64::from(component.replicas))
        .sum();
    network::addresses(&components, &network, findings);
    network::room(&network, (machines, u64::from(surge)), findings);
}

fn name(name: &str, findings: &mut Findings) {
    const FIELD: &str = "metadata.name";
    if name.len() > STACK_NAME_MAX && name.len() <= LABEL_MAX {
        let reason = format!("more than {STACK_NAME_MAX} characters");
        let why = (reason, format!("shorten it, {ROLE_NAMES_END}"));
        findings.add(ErrorKind::FieldValueTooLong, FIELD, name, why);
    }
    if name.starts_with(|c: char| c.is_ascii_digit()) {
        let why = (
            "begins with a digit",
            format!("begin it with a letter, {ROLE_NAMES_END}"),
        );
        findings.invalid(FIELD, name, why);
    }
}

fn domain(domain: &str, findings: &mut Findings) {
    // A machine's full name is its host name, a dot, and the domain.
    let longest = DNS_NAME_MAX - LABEL_MAX - 1;
    let lower = domain.trim_end_matches('.').to_ascii_lowercase();
    if domain.parse::<Ipv4Addr>().is_ok() || !is_dns_name(&lower) {
        let why = ("not a DNS name", "write it like ims.example.com");
        findings.invalid("spec.domain", domain, why);
    } else if lower != domain {
        let why = (
            "not in the form in which it is compared",
            format!("write {lower}"),
        );
        findings.invalid("spec.domain", domain, why);
    } else if domain.len() > longest {
        let why = (
            format!("more than {longest} characters"),
            "choose a shorter one",
        );
        findings.add(ErrorKind::FieldValueTooLong, "spec.domain", domain, why);
    }
}

fn remediation(remediation: &RemediationSpec, findings: &mut Findings) {
    let second = Std::from_secs(1);
    for (name, duration) in [
        ("unhealthyAfter", remediation.unhealthy_after),
        ("startupTimeout", remediation.startup_timeout),
    ] {
        within(
            &format!("spec.remediation.{name}"),
            duration,
            (second, DAY),
            findings,
        );
    }
    // The budget is counted in what the ledger remembers.
    let most = u32::try_from(MAX_REMEDIATIONS).unwrap_or(u32::MAX);
    count(
        "spec.remediation.maxPerHour",
        remediation.max_per_hour,
        (0, most),
        findings,
    );
    if matches!(
        remediation.max_unhealthy,
        Share::Count(0) | Share::Percent(0)
    ) {
        let sentence = "with 0, the first machine that looks dead stops all remediation";
        findings.warn("spec.remediation.maxUnhealthy", sentence);
    }
}

fn update(update: &UpdateSpec, findings: &mut Findings) {
    if update.max_unavailable == 0 {
        let reason = "a machine keeps its name and address, so a change takes it away for a while; \
                      with 0 nothing could ever be changed";
        let remedy = "set it to 1 or more; `weir pause` holds changes back for a time";
        findings.invalid("spec.update.maxUnavailable", &0, (reason, remedy));
    }
    for (name, number) in [
        ("maxUnavailable", update.max_unavailable),
        ("maxSurge", update.max_surge),
        ("maxDestroys", update.max_destroys),
    ] {
        let field = format!("spec.update.{name}");
        count(&field, number, (0, MACHINES_PER_ROLE_MAX), findings);
    }
}

/// The components that will have machines, each judged alone. One whose shape is wrong is left
/// out: that is told elsewhere.
fn components(spec: &Value, findings: &mut Findings) -> Vec<(Role, Component)> {
    let dns = part_or_default::<DnsSpec>(spec, "dns").map(|dns| dns.mode);
    let layout = part::<PackagesSpec>(spec, "packages").map(|packages| packages.layout());
    let components = &spec["components"];
    let mut with_machines = Vec::new();
    for role in Role::ALL {
        let (known, absent, remedy) = if role == Role::Dns {
            let absent = dns != Some(DnsMode::Managed);
            (
                dns.is_some(),
                absent,
                "set `dns.mode` to Managed to have name servers",
            )
        } else {
            let absent = !layout.unwrap_or(Layout::Classic).has(role);
            (
                layout.is_some(),
                absent,
                "the layout of `packages.release` lacks the role",
            )
        };
        if absent {
            if known && components.get(role.name()).is_some() {
                let field = format!("spec.components.{role}");
                findings.warn(&field, &format!("has no effect: {remedy}"));
            }
            continue;
        }
        if let Some(component) = part_or_default::<Component>(components, role.name()) {
            self::component(role, &component, findings);
            with_machines.push((role, component));
        }
    }
    with_machines
}

fn component(role: Role, component: &Component, findings: &mut Findings) {
    let path = format!("spec.components.{role}");
    replicas(
        role,
        component.replicas,
        &format!("{path}.replicas"),
        findings,
    );
    for (name, selected) in [
        ("template", &component.template),
        ("serviceOffering", &component.service_offering),
    ] {
        if let Some(selected) = selected {
            selector(&format!("{path}.{name}"), selected, findings);
        }
    }
    let (given, wanted) = (component.addresses.len(), component.replicas as usize);
    let field = format!("{path}.addresses");
    if given > wanted {
        let reason = format!("{given} addresses for {wanted} machines");
        let remedy = "remove those at the end, or raise `replicas`";
        findings.add(
            ErrorKind::FieldValueTooMany,
            field,
            &given,
            (reason, remedy),
        );
    } else if given > 0 && given < wanted {
        let sentence = format!("{given} for {wanted} machines: Weir chooses the others");
        findings.warn(&field, &sentence);
    }
    if let Some(numbers) = &component.numbers {
        let field = format!("{path}.numbers");
        if role == Role::Ellis {
            bootstrap::numbers(&field, numbers, findings);
        } else {
            let why = (format!("{role} gives out no numbers"), "move it to ellis");
            findings.add(ErrorKind::FieldValueForbidden, field, &(), why);
        }
    }
    if let Some(probe) = &component.probe {
        let public = component.public_address.unwrap_or(role.public());
        self::probe(&format!("{path}.probe"), probe, public, findings);
    }
}

fn replicas(role: Role, replicas: u32, field: &str, findings: &mut Findings) {
    if role == Role::Dns && replicas == 0 {
        let why = (
            "no name server, with `dns.mode` Managed",
            "set it to 1, or `dns.mode` to None",
        );
        return findings.invalid(field, &replicas, why);
    }
    count(field, replicas, (0, MACHINES_PER_ROLE_MAX), findings);
    if role == Role::Ellis && replicas > 1 {
        // Clearwater's documentation, release 98: ellis does not scale.
        findings.warn(
            field,
            "each ellis keeps accounts in a database of its own, not shared",
        );
    }
}

fn probe(path: &str, probe: &Probe, public: bool, findings: &mut Findings) {
    if probe.port == 0 {
        let why = ("not a port", "write a number from 1 to 65535");
        findings.invalid(format!("{path}.port"), &probe.port, why);
    }
    if !probe.path.starts_with('/') || probe.path.contains(char::is_whitespace) {
        let why = ("not a path", "begin it with / and leave no space in it");
        findings.invalid(format!("{path}.path"), &probe.path, why);
    } else if probe.kind == ProbeKind::Tcp && probe.path != "/" {
        findings.warn(&format!("{path}.path"), "has no effect on a TCP probe");
    }
    if probe.via == ProbeVia::Public && !public {
        let why = (
            "the machines have no public address",
            "set `publicAddress: true`, or Private",
        );
        findings.invalid(format!("{path}.via"), &probe.via, why);
    }
    let moment = Std::from_millis(100);
    let hour = Std::from_secs(3600);
    within(
        &format!("{path}.period"),
        probe.period,
        (moment, hour),
        findings,
    );
    let period = probe.period.get().clamp(moment, hour);
    within(
        &format!("{path}.timeout"),
        probe.timeout,
        (moment, period),
        findings,
    );
    count(
        &format!("{path}.failureThreshold"),
        probe.failure_threshold,
        (1, 100),
        findings,
    );
}
