//! What a stack says of its packages and of how machines become Clearwater's.

use std::net::Ipv4Addr;

use serde_json::Value;

use super::{
    error::ErrorKind,
    findings::Findings,
    metadata::is_dns_name,
    value::{count, has_credentials, part, reference, url},
};
use crate::types::{
    openpgp,
    role::Protocol,
    stack::{
        BootstrapSpec, KEYS_OF_SECRETS, KEYS_OF_WEIR, LOCAL_KEYS, Numbers, PackagesSpec,
        is_plain_value,
    },
};

/// Releases that Weir knows how to bring up: those whose machines restart by themselves after a
/// change of the shared configuration, up to the last one.
const RELEASES: (u32, u32) = (90, 130);

/// Bounds of CloudStack's `vm.userdata.max.length`: with less no machine fits, and it takes no more by
/// POST.
const USER_DATA: (u32, u32) = (8192, 1_048_576);

/// Most numbers that ellis is given: as many as its documentation speaks of.
const NUMBERS_MAX: u32 = 100_000;

/// Judges `spec.packages` and `spec.bootstrap`.
pub(super) fn check(spec: &Value, findings: &mut Findings) {
    let packages = &spec["packages"];
    urls(packages, findings);
    if let Some(packages) = part::<PackagesSpec>(spec, "packages") {
        self::packages(&packages, findings);
    }
    if let Some(bootstrap) = part::<BootstrapSpec>(spec, "bootstrap") {
        self::bootstrap(&bootstrap, findings);
        let unsigned = ["key", "keyUrl"]
            .iter()
            .all(|key| packages.get(key).is_none());
        if unsigned {
            let sentence = "unsigned: whoever can change what the repository serves owns the \
                            machines; give `key` and `keyFingerprint`";
            findings.warn("spec.packages.repository", sentence);
        }
    }
}

fn urls(packages: &Value, findings: &mut Findings) {
    for name in ["repository", "keyUrl"] {
        let Some(text) = part::<String>(packages, name) else {
            continue;
        };
        let field = format!("spec.packages.{name}");
        let Some(url) = url(&field, &text, findings) else {
            continue;
        };
        if has_credentials(&url) {
            let sentence = "it carries a password that everyone who may read the stack will see";
            findings.warn(&field, sentence);
        }
        if text.contains(['\'', '"', '\\', '$', '`']) {
            let why = ("a character that a shell reads", "write it in %XX");
            findings.invalid(&field, &(), why);
        }
        if name == "keyUrl" && packages.get("keyFingerprint").is_none() {
            unpinned(&field, url.scheme(), &text, findings);
        }
    }
}

fn unpinned(field: &str, scheme: &str, text: &str, findings: &mut Findings) {
    if scheme == "http" {
        let why = (
            "anybody on the way can put another key in its place",
            "give `keyFingerprint` as well, or the key itself as `key`",
        );
        findings.invalid(field, text, why);
    } else {
        let sentence = "whatever key is there is trusted: give `keyFingerprint` as well";
        findings.warn(field, sentence);
    }
}

fn packages(packages: &PackagesSpec, findings: &mut Findings) {
    if packages.key.is_some() && packages.key_url.is_some() {
        let why = (
            "does not go together with `keyUrl`",
            "remove one of the two",
        );
        findings.add(
            ErrorKind::FieldValueForbidden,
            "spec.packages.key",
            &(),
            why,
        );
    }
    let wanted = packages.key_fingerprint.as_deref();
    let normal = wanted.and_then(openpgp::normal);
    if let (Some(wanted), None) = (wanted, &normal) {
        let why = ("not a fingerprint", "write its 40 hex digits");
        findings.invalid("spec.packages.keyFingerprint", wanted, why);
    }
    match packages.key.as_deref().map(openpgp::read) {
        Some(Err(error)) => {
            let remedy = "write what `gpg --armor --export` prints of one key";
            findings.invalid("spec.packages.key", &(), (error.to_string(), remedy));
        }
        Some(Ok(key))
            if normal
                .as_ref()
                .is_some_and(|wanted| *wanted != key.fingerprint) =>
        {
            let reason = format!("the key has {}", key.fingerprint);
            let why = (reason, "find out which of the two is right");
            findings.invalid("spec.packages.keyFingerprint", &wanted, why);
        }
        _ => {}
    }
    suite(packages, findings);
    let version = packages.version.as_deref();
    if let Some(version) = version.filter(|version| !made_of(version, ".+:~*-")) {
        let why = ("not a version", "write it like 1.0-160518*");
        findings.invalid("spec.packages.version", version, why);
    }
    count(
        "spec.packages.release",
        packages.release,
        RELEASES,
        findings,
    );
}

fn suite(packages: &PackagesSpec, findings: &mut Findings) {
    let (suite, components) = (&packages.suite, &packages.components);
    if !made_of(suite, "._/-") {
        let why = ("not a suite", "write it like binary/ or trusty");
        findings.invalid("spec.packages.suite", suite, why);
    } else if suite.ends_with('/') != components.is_empty() {
        let why = if components.is_empty() {
            (
                "a suite without components",
                "end it with / if it is a folder",
            )
        } else {
            (
                "a folder, which has no components",
                "remove the / or the components",
            )
        };
        findings.invalid("spec.packages.suite", suite, why);
    }
    for (index, component) in components.iter().enumerate() {
        if !made_of(component, "._/-") {
            let field = format!("spec.packages.components[{index}]");
            findings.invalid(field, component, ("not a component", "write it like main"));
        }
    }
}

fn bootstrap(bootstrap: &BootstrapSpec, findings: &mut Findings) {
    reference(
        "spec.bootstrap.secretRef.name",
        &bootstrap.secret_ref.name,
        findings,
    );
    if !made_of(&bootstrap.site, "_-") {
        let why = ("not the name of a site", "use A-Z, a-z, 0-9, - and _");
        findings.invalid("spec.bootstrap.site", &bootstrap.site, why);
    }
    for (name, settings) in [
        ("sharedConfig", &bootstrap.shared_config),
        ("userSettings", &bootstrap.user_settings),
    ] {
        for (key, value) in settings {
            setting(&format!("spec.bootstrap.{name}"), (key, value), findings);
        }
    }
    for (name, stands_for) in &bootstrap.dns_overrides {
        let field = format!("spec.bootstrap.dnsOverrides[{name}]");
        host(&field, name, findings);
        host(&field, stands_for, findings);
    }
    if let Some(hss) = &bootstrap.hss {
        host("spec.bootstrap.hss.hostname", &hss.hostname, findings);
        host("spec.bootstrap.hss.realm", &hss.realm, findings);
        port("spec.bootstrap.hss.port", hss.port, findings);
    }
    if let Some(smtp) = &bootstrap.smtp {
        host("spec.bootstrap.smtp.host", &smtp.host, findings);
        let sender = smtp.sender.as_deref();
        if let Some(sender) = sender.filter(|text| !text.contains('@') || !is_plain_value(text)) {
            let why = ("not a mail address", "write it like clearwater@example.com");
            findings.invalid("spec.bootstrap.smtp.sender", sender, why);
        }
    }
    for (index, key) in bootstrap.ssh_authorized_keys.iter().enumerate() {
        authorized_key(
            &format!("spec.bootstrap.sshAuthorizedKeys[{index}]"),
            key,
            findings,
        );
    }
    for (index, server) in bootstrap.ntp_servers.iter().enumerate() {
        host(
            &format!("spec.bootstrap.ntpServers[{index}]"),
            server,
            findings,
        );
    }
    if let Some(logs) = &bootstrap.logs {
        host("spec.bootstrap.logs.host", &logs.host, findings);
        port("spec.bootstrap.logs.port", logs.port, findings);
        if !matches!(logs.protocol, Protocol::Tcp | Protocol::Udp) {
            let why = ("syslog does not use it", "write tcp or udp");
            findings.invalid("spec.bootstrap.logs.protocol", &logs.protocol, why);
        }
    }
    count(
        "spec.bootstrap.userDataMax",
        bootstrap.user_data_max,
        USER_DATA,
        findings,
    );
}

/// A setting of Clearwater's: a line of shell, which must stay one.
fn setting(field: &str, (key, value): (&str, &str), findings: &mut Findings) {
    let field = format!("{field}[{key}]");
    let name = key.starts_with(|c: char| c.is_ascii_lowercase())
        && key
            .chars()
            .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_');
    if !name {
        let why = ("not the name of a setting", "use a-z, 0-9 and _");
        findings.invalid(&field, key, why);
    } else if KEYS_OF_SECRETS.contains(&key) {
        let remedy = "put it into the Secret of `secretRef`";
        findings.invalid(&field, &(), ("a secret", remedy));
        return;
    } else if LOCAL_KEYS.contains(&key) || KEYS_OF_WEIR.contains(&key) {
        let why = ("Weir sets it from other fields of the stack", "remove it");
        findings.add(ErrorKind::FieldValueForbidden, &field, value, why);
    }
    if !is_plain_value(value) {
        let remedy = "use letters, digits and . _ : , / @ + = % ^ -, without spaces";
        findings.invalid(&field, value, ("a shell would read it otherwise", remedy));
    }
}

fn authorized_key(field: &str, key: &str, findings: &mut Findings) {
    let kinds = ["ssh-", "ecdsa-sha2-", "sk-"];
    let mut words = key.split(' ');
    let kind = words
        .next()
        .is_some_and(|word| kinds.iter().any(|kind| word.starts_with(kind)));
    let blob = words.next().is_some_and(|word| word.starts_with("AAAA"));
    if !kind || !blob || key.contains(char::is_control) {
        let remedy = "write the line of a .pub file, like `ssh-ed25519 AAAA… name`";
        // Somebody may have pasted the secret half.
        findings.invalid(field, &(), ("not a public key", remedy));
    }
}

/// Numbers that ellis gives out.
pub(super) fn numbers(field: &str, numbers: &Numbers, findings: &mut Findings) {
    let digits = numbers.start.chars().all(|c| c.is_ascii_digit());
    if !digits || !(3..=15).contains(&numbers.start.len()) {
        let why = ("not a number", "write 3 to 15 digits in quotes");
        findings.invalid(format!("{field}.start"), &numbers.start, why);
    }
    count(
        &format!("{field}.count"),
        numbers.count,
        (1, NUMBERS_MAX),
        findings,
    );
}

fn host(field: &str, host: &str, findings: &mut Findings) {
    if host.parse::<Ipv4Addr>().is_err() && !is_dns_name(host) {
        let why = ("not a name of a host", "write it like host.example.net");
        findings.invalid(field, host, why);
    }
}

fn port(field: &str, port: u16, findings: &mut Findings) {
    if port == 0 {
        findings.invalid(
            field,
            &port,
            ("not a port", "write a number from 1 to 65535"),
        );
    }
}

/// Whether a text is letters, digits and some other characters, and not empty.
fn made_of(text: &str, others: &str) -> bool {
    let fits = |c: char| c.is_ascii_alphanumeric() || others.contains(c);
    !text.is_empty() && text.chars().all(fits)
}
