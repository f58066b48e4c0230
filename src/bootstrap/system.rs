//! The files of the system around Clearwater: packages, names, clock, firewall, logs, scripts.

use std::fmt::Write;

use serde_json::json;

use super::{
    Error, Machine,
    fit::{CloudConfig, File},
    layout,
};
use crate::types::{
    openpgp,
    port::{self, Source},
    role::{Protocol, Role},
    stack::ProbeVia,
};

const BOOTSTRAP: &str = include_str!("files/bootstrap.sh");
const FIREWALL: &str = include_str!("files/firewall.sh");
const LIVE: &str = include_str!("files/live.sh");

impl Machine<'_> {
    /// Everything that cloud-init is told.
    pub(super) fn cloud_config(&self, live: &str) -> Result<CloudConfig, Error> {
        let host_key = self.input.secrets.host_key(self.input.name)?;
        let mut files = vec![
            File::open("/etc/hosts", self.hosts()),
            File::open("/etc/weir/machine", self.machine()),
            File::open("/etc/weir/live", live),
            File::open("/etc/weir/ports", self.ports()),
        ];
        files.extend(self.packages()?);
        files.extend(self.clearwater()?);
        files.extend(self.clock_and_names());
        files.extend(self.name_server()?);
        files.extend(self.logs());
        files.extend([
            File::program("/usr/local/sbin/weir-firewall", FIREWALL),
            File::program("/usr/local/sbin/weir-live", LIVE),
            File::program("/usr/local/sbin/weir-bootstrap", BOOTSTRAP),
            // Before the network is up, from the second boot on.
            File::program(
                "/etc/network/if-pre-up.d/weir",
                "#!/bin/sh\nexec /usr/local/sbin/weir-firewall\n",
            ),
            File::open(
                "/etc/cron.d/weir",
                "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin\n\
                 * * * * * root weir-live\n\
                 */5 * * * * root weir-bootstrap again\n",
            ),
            File::program(
                "/var/lib/cloud/scripts/per-boot/weir",
                "#!/bin/sh\nexec /usr/local/sbin/weir-bootstrap\n",
            ),
        ]);
        Ok(CloudConfig {
            hostname: self.input.name.to_owned(),
            fqdn: self.host(),
            manage_etc_hosts: false,
            ssh_authorized_keys: self.bootstrap.ssh_authorized_keys.clone(),
            ssh_keys: host_key.map(|(kind, key)| json!({ kind: key })),
            write_files: files,
        })
    }

    /// What the scripts need to know: lines of shell. No secret is among them.
    fn machine(&self) -> String {
        let spec = self.input.spec;
        let packages = &spec.packages;
        let mut wanted = layout::packages(self.input.role, self.layout).to_vec();
        if !self.bootstrap.ntp_servers.is_empty() {
            wanted.insert(0, "ntp");
        }
        let numbers = spec.components.ellis.numbers.as_ref();
        let numbers = numbers.filter(|_| self.input.role == Role::Ellis);
        let metadata = self.bootstrap.metadata_server;
        let fingerprint = packages
            .key_fingerprint
            .as_deref()
            .and_then(openpgp::normal);
        let mut text = String::new();
        for (key, value) in [
            ("MACHINE", self.input.name.to_owned()),
            ("ROLE", self.input.role.name().to_owned()),
            ("DOMAIN", self.domain().to_owned()),
            ("SITE", self.bootstrap.site.clone()),
            ("LOCAL_IP", self.input.private.to_string()),
            (
                "METADATA",
                metadata
                    .unwrap_or_else(|| spec.network.gateway())
                    .to_string(),
            ),
            ("REPOSITORY", packages.source()),
            ("KEY_URL", packages.key_url.clone().unwrap_or_default()),
            ("KEY_FINGERPRINT", fingerprint.unwrap_or_default()),
            ("PACKAGES", wanted.join(" ")),
            ("UPLOADS", self.parts().join(" ")),
            (
                "NUMBERS_START",
                numbers.map(|n| n.start.clone()).unwrap_or_default(),
            ),
            (
                "NUMBERS_COUNT",
                numbers.map(|n| n.count.to_string()).unwrap_or_default(),
            ),
        ] {
            // Admission keeps quotes out of all of these.
            writeln!(text, "{key}='{value}'").expect("a String takes every write");
        }
        text
    }

    /// Names that must not depend on a name server: the machine's own.
    fn hosts(&self) -> String {
        format!(
            "127.0.0.1 localhost\n::1 localhost ip6-localhost ip6-loopback\n{} {} {}\n",
            self.input.private,
            self.host(),
            self.input.name
        )
    }

    /// Which port serves whom, for the firewall: protocol, first and last port, and a range, a
    /// role, `stack` or `clearwater`.
    fn ports(&self) -> String {
        let spec = self.input.spec;
        let managers = &spec.network.management_cidrs;
        let mut text = String::new();
        let mut line = |protocol: Protocol, start: u16, end: u16, from: &dyn std::fmt::Display| {
            let protocol = protocol.name();
            writeln!(text, "{protocol} {start} {end} {from}").expect("a String takes every write");
        };
        for port in port::of(self.input.role, self.layout) {
            let mut open = |from| line(port.protocol, port.start, port.end, from);
            match port.from {
                Source::World => open(&"0.0.0.0/0"),
                Source::Managers => managers.iter().for_each(|range| open(range)),
                Source::Stack => open(&"stack"),
                Source::Clearwater => open(&"clearwater"),
                Source::Roles(roles) => roles
                    .iter()
                    .filter(|role| self.layout.has(**role))
                    .for_each(|role| open(role)),
            }
        }
        // The controller probes from among the managers.
        let probe = spec.components.get(self.input.role).probe.as_ref();
        if let Some(probe) = probe.filter(|probe| probe.via == ProbeVia::Private) {
            for range in managers {
                line(Protocol::Tcp, probe.port, probe.port, range);
            }
        }
        text
    }

    /// The key of the package repository, and what apt holds on to. The repository itself is
    /// written by the script, which knows what this apt can do.
    fn packages(&self) -> Result<Vec<File>, Error> {
        let packages = &self.input.spec.packages;
        let mut files = Vec::new();
        if let Some(text) = &packages.key {
            let key = openpgp::read(text).map_err(|error| Error::Key {
                field: "key",
                reason: error.to_string(),
            })?;
            let wanted = packages.key_fingerprint.as_deref().map(openpgp::normal);
            if wanted.is_some_and(|wanted| wanted.as_ref() != Some(&key.fingerprint)) {
                return Err(Error::Key {
                    field: "keyFingerprint",
                    reason: format!("`packages.key` has {}", key.fingerprint),
                });
            }
            files.push(File::binary("/etc/weir/clearwater.gpg", &key.bytes));
        }
        if let Some(version) = packages
            .version
            .as_ref()
            .filter(|_| self.input.role != Role::Dns)
        {
            let ours = layout::packages(self.input.role, self.layout).iter();
            let ours: Vec<&str> = ours.copied().filter(|name| *name != "dnsmasq").collect();
            // More than 1000: apt takes this version even where a newer one is installed.
            let pin = format!(
                "Package: {}\nPin: version {version}\nPin-Priority: 1001\n",
                ours.join(" ")
            );
            files.push(File::open("/etc/apt/preferences.d/clearwater", pin));
        }
        Ok(files)
    }

    /// Time servers, and whom names are asked of.
    fn clock_and_names(&self) -> Vec<File> {
        let mut files = Vec::new();
        if !self.bootstrap.ntp_servers.is_empty() {
            let mut text = "driftfile /var/lib/ntp/ntp.drift\n\
                            restrict default kod notrap nomodify nopeer noquery\n\
                            restrict 127.0.0.1\n"
                .to_owned();
            for server in &self.bootstrap.ntp_servers {
                writeln!(text, "server {server} iburst").expect("a String takes every write");
            }
            files.push(File::open("/etc/ntp.conf", text));
        }
        let own = self
            .input
            .peers
            .get(&Role::Dns)
            .filter(|own| !own.is_empty());
        let asked = match (self.input.role, own) {
            (Role::Dns, _) | (_, None) => &self.bootstrap.resolvers,
            (_, Some(own)) => own,
        };
        if asked.is_empty() {
            return files;
        }
        let words: Vec<String> = asked.iter().map(ToString::to_string).collect();
        // At each lease, so that a renewal does not bring others back.
        files.push(File::open(
            "/etc/dhcp/dhclient-enter-hooks.d/weir",
            format!("new_domain_name_servers='{}'\n", words.join(" ")),
        ));
        if self.input.role != Role::Dns {
            let lines = words.iter().map(|word| format!("nameserver {word}\n"));
            files.push(File::open(
                "/etc/dnsmasq.resolv.conf",
                lines.collect::<String>(),
            ));
        }
        files
    }

    /// BIND's files: a zone that takes signed updates, and recursion for the tier alone.
    fn name_server(&self) -> Result<Vec<File>, Error> {
        if self.input.role != Role::Dns {
            return Ok(Vec::new());
        }
        let (zone, tier) = (self.domain(), self.input.spec.network.cidr);
        let key = self.input.secrets.tsig()?;
        let mut options = format!(
            "options {{\n\tdirectory \"/var/cache/bind\";\n\tallow-query {{ any; }};\n\
             \tallow-recursion {{ localhost; {tier}; }};\n\
             \tallow-query-cache {{ localhost; {tier}; }};\n\tallow-transfer {{ none; }};\n"
        );
        if !self.bootstrap.resolvers.is_empty() {
            let all = self.bootstrap.resolvers.iter();
            let all: String = all.map(|server| format!(" {server};")).collect();
            writeln!(options, "\tforward only;\n\tforwarders {{{all} }};")
                .expect("a String takes every write");
        }
        options.push_str("};\n");
        let local = format!(
            "key \"{zone}.\" {{\n\talgorithm hmac-sha256;\n\tsecret \"{key}\";\n}};\n\
             zone \"{zone}\" {{\n\ttype master;\n\tfile \"/var/lib/bind/db.{zone}\";\n\
             \tallow-update {{ key \"{zone}.\"; }};\n}};\n"
        );
        let address = self.input.public.unwrap_or(self.input.private);
        // Records are the controller's business, which takes back what it has given.
        let skeleton = format!(
            "$TTL 3600\n@ IN SOA ns hostmaster 1 86400 7200 604800 30\n@ IN NS ns\n\
             ns IN A {address}\n"
        );
        Ok(vec![
            File::open("/etc/weir/named.conf.options", options),
            File::private("/etc/weir/named.conf.local", local),
            File::open("/etc/weir/zone", skeleton),
        ])
    }

    /// Where the system log goes. While the collector is away it waits on disk, up to a limit.
    fn logs(&self) -> Option<File> {
        let logs = self.bootstrap.logs.as_ref()?;
        let at = if logs.protocol == Protocol::Udp {
            "@"
        } else {
            "@@"
        };
        let text = format!(
            "$ActionQueueType LinkedList\n$ActionQueueFileName weir\n\
             $ActionQueueMaxDiskSpace 100m\n$ActionQueueSaveOnShutdown on\n\
             $ActionResumeRetryCount -1\n*.* {at}{}:{}\n",
            logs.host, logs.port
        );
        Some(File::open("/etc/rsyslog.d/60-weir.conf", text))
    }
}
