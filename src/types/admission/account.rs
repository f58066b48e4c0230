//! What the fields of a `CloudAccount` mean, and those of the small kinds around it.

use std::time::Duration as Std;

use serde_json::Value;

use super::{
    MACHINES_PER_ROLE_MAX,
    findings::Findings,
    value::{
        DAY, count, filled, has_credentials, identifier, is_local, part, part_or_default,
        reference, url, within,
    },
};
use crate::types::{
    account::{Limits, NameRef},
    duration::Duration,
    machine::MachineSpec,
};

const MINUTE: u64 = 60;
const HOUR: Std = Std::from_secs(60 * MINUTE);

/// Judges the spec of a `CloudAccount`.
pub(super) fn account(spec: &Value, findings: &mut Findings) {
    if let Some(endpoint) = part::<String>(spec, "endpoint") {
        self::endpoint(&endpoint, findings);
    }
    if let Some(zone) = part::<String>(spec, "zone") {
        filled("spec.zone", &zone, findings);
    }
    if let Some(project) = part::<String>(spec, "project") {
        identifier("spec.project", &project, findings);
    }
    if let Some(secret) = part::<NameRef>(spec, "secretRef") {
        reference("spec.secretRef.name", &secret.name, findings);
    }
    if let Some(bundle) = part::<String>(spec, "caBundle") {
        let ends = ["-----BEGIN CERTIFICATE-----", "-----END CERTIFICATE-----"];
        if !ends.iter().all(|end| bundle.contains(end)) {
            let remedy = "paste the whole PEM text, from BEGIN CERTIFICATE to END CERTIFICATE";
            findings.invalid("spec.caBundle", &bundle, ("no certificate in it", remedy));
        }
    }
    if let Some(limits) = part_or_default::<Limits>(spec, "limits") {
        self::limits(&limits, findings);
    }
    let second = Std::from_secs(1);
    let resync = part::<Duration>(spec, "resyncInterval");
    let audit = part::<Duration>(spec, "auditInterval");
    if let Some(resync) = resync {
        within("spec.resyncInterval", resync, (second, HOUR), findings);
    }
    if let Some(audit) = audit {
        let least = resync.map_or(second, Duration::get).max(second);
        within("spec.auditInterval", audit, (least, DAY), findings);
    }
}

fn endpoint(text: &str, findings: &mut Findings) {
    const FIELD: &str = "spec.endpoint";
    let Some(url) = url(FIELD, text, findings) else {
        return;
    };
    let mut invalid = |reason: &str, remedy: &str| {
        let shown = if has_credentials(&url) {
            Value::Null
        } else {
            text.into()
        };
        findings.invalid(FIELD, &shown, (reason, remedy));
    };
    if has_credentials(&url) {
        invalid(
            "it carries a user name or password",
            "keys go into the Secret of `secretRef`",
        );
    }
    if url.path() == "/" {
        invalid(
            "it has no path",
            "append the path of the API, mostly /client/api",
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        invalid(
            "it has a query or fragment",
            "end it with the path, like /client/api",
        );
    }
    if url.scheme() == "http" && !is_local(&url) {
        findings.warn(
            FIELD,
            "requests travel unencrypted, the machines' user data and its secrets among them: \
             use https",
        );
    }
}

fn limits(limits: &Limits, findings: &mut Findings) {
    // Far above what a management server stands: they only catch a slip of the finger.
    for (name, number, most) in [
        ("requestsPerSecond", limits.requests_per_second, 1000),
        ("requestsInFlight", limits.requests_in_flight, 256),
        (
            "deploysPerTier",
            limits.deploys_per_tier,
            MACHINES_PER_ROLE_MAX,
        ),
    ] {
        count(&format!("spec.limits.{name}"), number, (1, most), findings);
    }
    let request = limits.request_timeout;
    let moment = Std::from_millis(100);
    let ceiling = request.get().clamp(moment, HOUR);
    within(
        "spec.limits.connectTimeout",
        limits.connect_timeout,
        (moment, ceiling),
        findings,
    );
    within(
        "spec.limits.requestTimeout",
        request,
        (Std::from_secs(1), HOUR),
        findings,
    );
    within(
        "spec.limits.jobTimeout",
        limits.job_timeout,
        (Std::from_secs(MINUTE), DAY),
        findings,
    );
}

/// Judges the spec of a `Machine`. The controller writes them; a person may, and gains nothing.
pub(super) fn machine(spec: &Value, findings: &mut Findings) {
    if let Ok(machine) = serde_json::from_value::<MachineSpec>(spec.clone()) {
        reference("spec.stackRef.name", &machine.stack_ref.name, findings);
    }
}
