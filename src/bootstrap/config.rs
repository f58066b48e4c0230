//! Clearwater's own files. Source: its configuration options reference, release 98, and for the
//! split layout the last one.

use std::fmt::Write;

use serde_json::json;

use super::{Error, Machine, fit::File, layout, secrets::NEEDED};
use crate::types::{
    role::Role,
    stack::{HssSpec, Layout},
};

/// Clearwater's parts of a site's configuration, each a file here and a key in etcd.
const SHARED_CONFIG: &str = "shared_config";
const SCSCF_JSON: &str = "scscf_json";
const DNS_JSON: &str = "dns_json";

impl Machine<'_> {
    /// The files that a machine of Clearwater's has.
    pub(super) fn clearwater(&self) -> Result<Vec<File>, Error> {
        if self.input.role == Role::Dns {
            return Ok(Vec::new());
        }
        let mut files = vec![File::open("/etc/weir/local_config", self.local_config())];
        if !self.bootstrap.user_settings.is_empty() {
            let settings = lines(&self.bootstrap.user_settings);
            files.push(File::open("/etc/clearwater/user_settings", settings));
        }
        if layout::keeps_timers(self.input.role, self.layout) {
            files.push(File::open("/etc/chronos/chronos.conf", self.chronos()));
        }
        if self.uploads() {
            let staged = |part: &str| format!("/etc/weir/{part}");
            files.push(File::private(staged(SHARED_CONFIG), self.shared_config()?));
            files.push(File::open(staged(SCSCF_JSON), self.scscf()));
            if !self.bootstrap.dns_overrides.is_empty() {
                files.push(File::open(staged(DNS_JSON), self.dns_json()));
            }
        }
        Ok(files)
    }

    /// What of the site's configuration this machine writes into etcd, by name.
    pub(super) fn parts(&self) -> Vec<&'static str> {
        match (self.uploads(), self.bootstrap.dns_overrides.is_empty()) {
            (false, _) => Vec::new(),
            (true, true) => vec![SHARED_CONFIG, SCSCF_JSON],
            (true, false) => vec![SHARED_CONFIG, SCSCF_JSON, DNS_JSON],
        }
    }

    /// All but the line for etcd, which the machine adds when it has seen who is there.
    fn local_config(&self) -> String {
        let private = self.input.private;
        format!(
            "local_ip={private}\npublic_ip={}\npublic_hostname={}\nlocal_site_name={}\n",
            self.input.public.unwrap_or(private),
            self.host(),
            self.bootstrap.site,
        )
    }

    fn shared_config(&self) -> Result<String, Error> {
        let (spec, zone) = (self.input.spec, self.domain());
        let mut text = format!(
            "home_domain={zone}\n\
             sprout_hostname=sprout.{zone}\n\
             hs_hostname=hs.{zone}:8888\n\
             xdms_hostname=homer.{zone}:7888\n\
             icscf=5052\n\
             upstream_hostname=icscf.sprout.{zone}\n\
             upstream_port=5052\n"
        );
        let billing = match self.layout {
            Layout::Classic => Role::Ralf,
            Layout::Split => Role::Dime,
        };
        if spec.replicas(billing) > 0 {
            push(
                &mut text,
                "ralf_hostname",
                format_args!("ralf.{zone}:10888"),
            );
        }
        match &self.bootstrap.hss {
            Some(HssSpec {
                hostname,
                realm,
                port,
            }) => {
                push(&mut text, "hss_hostname", hostname);
                push(&mut text, "hss_realm", realm);
                push(&mut text, "hss_port", port);
            }
            None => push(
                &mut text,
                "hs_provisioning_hostname",
                format_args!("hs.{zone}:8889"),
            ),
        }
        if self.layout == Layout::Split {
            for store in [
                "sprout_registration_store",
                "sprout_impi_store",
                "homestead_impu_store",
                "ralf_session_store",
                "chronos_hostname",
                "cassandra_hostname",
            ] {
                push(&mut text, store, format_args!("vellum.{zone}"));
            }
            push(
                &mut text,
                "sprout_hostname_mgmt",
                format_args!("sprout.{zone}:9886"),
            );
            push(
                &mut text,
                "hs_hostname_mgmt",
                format_args!("hs.{zone}:8886"),
            );
        }
        self.secret_settings(&mut text)?;
        text.push_str(&lines(&self.bootstrap.shared_config));
        Ok(text)
    }

    fn secret_settings(&self, text: &mut String) -> Result<(), Error> {
        let secrets = self.input.secrets;
        for (setting, key) in NEEDED {
            push(text, setting, secrets.needed(key)?);
        }
        let Some(smtp) = &self.bootstrap.smtp else {
            return Ok(());
        };
        let sender = smtp.sender.clone();
        let sender = sender.unwrap_or_else(|| format!("clearwater@{}", self.domain()));
        push(text, "smtp_smarthost", &smtp.host);
        push(text, "email_recovery_sender", sender);
        for (setting, key) in [
            ("smtp_username", "smtpUsername"),
            ("smtp_password", "smtpPassword"),
        ] {
            if let Some(value) = secrets.given(key)? {
                push(text, setting, value);
            }
        }
        Ok(())
    }

    /// The S-CSCFs that the I-CSCF chooses among. Without it, releases up to 98 have none.
    fn scscf(&self) -> String {
        let server = format!("sip:scscf.sprout.{}:5054;transport=TCP", self.domain());
        let one = json!({ "server": server, "priority": 0, "weight": 100, "capabilities": [] });
        pretty(&json!({ "s-cscfs": [one] }))
    }

    fn dns_json(&self) -> String {
        let overrides = self.bootstrap.dns_overrides.iter();
        let names = overrides.map(|(name, target)| {
            json!({ "name": name, "records": [{ "rrtype": "CNAME", "target": target }] })
        });
        pretty(&json!({ "hostnames": names.collect::<Vec<_>>() }))
    }

    fn chronos(&self) -> String {
        format!(
            "[http]\nbind-address = {}\nbind-port = 7253\nthreads = 50\n\n\
             [logging]\nfolder = /var/log/chronos\nlevel = 2\n\n\
             [alarms]\nenabled = true\n\n\
             [exceptions]\nmax_ttl = 600\n",
            self.input.private
        )
    }
}

/// Settings as lines of shell.
fn lines(settings: &std::collections::BTreeMap<String, String>) -> String {
    let mut text = String::new();
    for (key, value) in settings {
        push(&mut text, key, value);
    }
    text
}

fn push(text: &mut String, key: &str, value: impl std::fmt::Display) {
    writeln!(text, "{key}={value}").expect("a String takes every write");
}

fn pretty(value: &serde_json::Value) -> String {
    format!("{value:#}\n")
}
