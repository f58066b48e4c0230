//! User data of a machine: what cloud-init does at its first boot.
//!
//! A plain `#cloud-config` that names the machine, adds the package repository, writes
//! Clearwater's `local_config` and installs the role's packages.

use std::fmt::Write;

use sha2::{Digest, Sha256};

use super::wish::MachineWish;
use crate::types::{ledger::MachineRecord, role::Role, stack::StackSpec};

/// The text, and its SHA-256 in hex.
pub(super) fn user_data(
    spec: &StackSpec,
    wish: &MachineWish,
    record: &MachineRecord,
) -> (String, String) {
    let text = cloud_config(spec, wish, record);
    let digits = Sha256::digest(&text)
        .into_iter()
        .flat_map(|byte| [byte >> 4, byte & 15].map(|nibble| char::from_digit(nibble.into(), 16)));
    let hash = digits.flatten().collect();
    (text, hash)
}

fn cloud_config(spec: &StackSpec, wish: &MachineWish, record: &MachineRecord) -> String {
    let (name, domain) = (&wish.name, &spec.domain);
    let local = record.private_address;
    // An address that was lost is asked for again, so it is not unsaid at once.
    let held = record.public_address.as_ref().map(|address| address.ip);
    let public = held.or(record.lost_address).unwrap_or(local);
    let packages = &spec.packages;
    let repository = [&packages.repository, &packages.suite].into_iter();
    let repository: Vec<&str> = repository
        .chain(&packages.components)
        .map(String::as_str)
        .collect();
    let repository = repository.join(" ");
    let trusted = if spec.packages.key_url.is_some() {
        ""
    } else {
        "[trusted=yes] "
    };
    let mut text = format!(
        "#cloud-config\n\
         hostname: {name}\n\
         fqdn: {name}.{domain}\n\
         manage_etc_hosts: true\n\
         write_files:\n\
         - path: /etc/clearwater/local_config\n  \
           permissions: '0644'\n  \
           content: |\n    \
             local_ip={local}\n    \
             public_ip={public}\n    \
             public_hostname={name}.{domain}\n\
         - path: /etc/apt/sources.list.d/clearwater.list\n  \
           permissions: '0644'\n  \
           content: |\n    \
             deb {trusted}{repository}\n"
    );
    text.push_str("runcmd:\n");
    if let Some(key) = &spec.packages.key_url {
        writeln!(
            text,
            "- [sh, -c, 'curl -fsSL \"$1\" | apt-key add -', key, '{key}']"
        )
        .expect("a String takes every write");
    }
    text.push_str("- [apt-get, update]\n");
    for package in self::packages(wish.role) {
        writeln!(text, "- [apt-get, install, -y, {package}]").expect("a String takes every write");
    }
    text
}

/// Debian packages of a role. Source: Clearwater's manual installation guide, release 98.
const fn packages(role: Role) -> &'static [&'static str] {
    match role {
        Role::Bono => &["bono", "restund"],
        Role::Sprout => &["sprout"],
        Role::Vellum => &["vellum"],
        Role::Homestead => &["homestead", "homestead-prov"],
        Role::Dime => &["dime", "clearwater-prov-tools"],
        Role::Ralf => &["ralf"],
        Role::Homer => &["homer"],
        Role::Ellis => &["ellis"],
        Role::Dns => &["bind9"],
    }
}
