//! User data of machines: what `bootstrap` makes of a stack that says how its machines become
//! Clearwater's, and a few lines for one that does not.
//!
//! Texts carry secrets. They are made where a step needs one; everything else decides on digests.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write,
    sync::Arc,
};

use super::{Planner, machine_name, remedy::elapsed, wish::MachineWish};
use crate::{
    bootstrap::{
        Digests, Error, Input, Membership, Peers, Secrets, SitePrint, digest, founder, is_member,
        render,
    },
    types::{
        core::Confidential,
        ledger::{Ledger, MachineRecord},
        role::Role,
        stack::{ClearwaterStack, StackSpec},
    },
};

/// What the user data of all machines is made from, beside the stack and its Secret.
#[derive(Default)]
pub(super) struct Site {
    peers: Peers,
    print: SitePrint,
}

/// What is missing where a stack names a Secret that is not there.
#[must_use]
pub fn secret_not_found(stack: &ClearwaterStack) -> String {
    let namespace = &stack.metadata.namespace;
    let bootstrap = stack.spec.bootstrap.as_ref();
    let name = bootstrap.map_or("", |bootstrap| &bootstrap.secret_ref.name);
    format!(
        "Secret {namespace}/{name} does not exist, and without it no machine is made; apply it with \
         the keys signupKey, turnWorkaround, ellisApiKey and ellisCookieKey, and whatever else \
         `secretRef` asks for"
    )
}

impl Planner<'_> {
    /// Whether user data can be made for every machine that is wanted, before anything is made for
    /// them; tells what is missing.
    pub(super) fn can_tell_all(&mut self) -> bool {
        let gateway = self.spec().network.gateway();
        let anywhere = |wish: &MachineWish| {
            let name = wish.name.clone();
            Some(MachineRecord::new(wish.role, wish.index, name, gateway))
        };
        self.digests(|_, wish| anywhere(wish));
        self.untold.is_none()
    }

    /// The digests of each machine's user data, by the machine's name; none where one of them cannot
    /// be made, and what is missing is told.
    pub(super) fn user_data(&mut self) -> BTreeMap<String, Digests> {
        self.digests(|ledger, wish| ledger.machines.get(&wish.name).cloned())
    }

    fn digests(
        &mut self,
        record: impl Fn(&Ledger, &MachineWish) -> Option<MachineRecord>,
    ) -> BTreeMap<String, Digests> {
        let mut problems: BTreeSet<(&'static str, String)> = BTreeSet::new();
        let mut all = BTreeMap::new();
        self.site = self.site();
        for wish in Arc::clone(&self.wish.machines).iter() {
            let Some(record) = record(&self.plan.ledger, wish) else {
                continue;
            };
            match self.digests_of(wish, &record) {
                Ok(digests) => {
                    all.insert(wish.name.clone(), digests);
                }
                Err(problem) => {
                    problems.insert(problem);
                }
            }
        }
        for (reason, message) in problems {
            self.untold.get_or_insert_with(|| message.clone());
            self.blocked("spec.bootstrap", reason, message);
        }
        // All or none: a stack of which one part is told something new works worse than before.
        if self.untold.is_some() {
            all.clear();
        }
        all
    }

    fn site(&self) -> Site {
        let (Some(_), Some(secrets)) = (&self.spec().bootstrap, self.input.secrets) else {
            return Site::default();
        };
        let machines = self.plan.ledger.machines.values();
        let mut machines: Vec<_> = machines
            .map(|record| (record.role, record.index, record.private_address))
            .collect();
        machines.sort_unstable();
        let mut peers = Peers::new();
        for (role, _, address) in machines {
            peers.entry(role).or_default().push(address);
        }
        let print = SitePrint::of(self.spec(), secrets, &peers);
        Site { peers, print }
    }

    fn digests_of(
        &self,
        wish: &MachineWish,
        record: &MachineRecord,
    ) -> Result<Digests, (&'static str, String)> {
        if self.spec().bootstrap.is_none() {
            let text = cloud_config(self.spec(), wish, record);
            let (hash, image) = (digest(&text), None);
            return Ok(Digests { hash, image });
        }
        let Some(secrets) = self.input.secrets else {
            return Err(("SecretNotFound", secret_not_found(self.input.stack)));
        };
        let input = self.rendering(wish, record, secrets);
        let memo = self.input.memo;
        memo.digests(self.site.print, &input).map_err(|error| {
            let reason = match error {
                Error::Missing { .. } | Error::Secret { .. } => "SecretUnusable",
                Error::TooLong { .. } => "UserDataTooLong",
                Error::Unsaid | Error::Role { .. } | Error::Key { .. } => "NotRenderable",
            };
            (reason, error.to_string())
        })
    }

    fn rendering<'b>(
        &'b self,
        wish: &'b MachineWish,
        record: &MachineRecord,
        secrets: &'b Secrets,
    ) -> Input<'b> {
        let (role, index, private) = (wish.role, wish.index, record.private_address);
        let (spec, peers) = (self.spec(), &self.site.peers);
        let founded = self.plan.ledger.etcd_founded;
        // An address that was lost is asked for again, so it is not unsaid at once.
        let held = record.public_address.as_ref().map(|address| address.ip);
        Input {
            spec,
            name: &wish.name,
            role,
            index,
            private,
            public: held.or(record.lost_address),
            peers,
            membership: Membership::of(spec, (role, index, private), peers, founded),
            secrets,
        }
    }

    /// The text of a machine's user data, of which the digests are known.
    pub(super) fn user_data_text(
        &self,
        wish: &MachineWish,
        record: &MachineRecord,
    ) -> Option<Confidential> {
        if self.spec().bootstrap.is_none() {
            let text = cloud_config(self.spec(), wish, record);
            return Some(Confidential::new(text));
        }
        let input = self.rendering(wish, record, self.input.secrets?);
        render(&input).ok().map(|made| made.text)
    }

    /// Notes whether the site's etcd exists. It does once its founder has been up, as an image that
    /// founds, and for as long as one of its members keeps its disk. Until then the founder is told
    /// to found, however often it is made anew; afterwards every machine is told to join.
    pub(super) fn founded(&mut self) {
        let spec = self.spec();
        let (role, index) = founder(spec);
        let layout = spec.packages.layout();
        let name = machine_name(&self.input.stack.metadata.name, role, index);
        let ledger = &self.plan.ledger;
        let up = ledger
            .machines
            .get(&name)
            .is_some_and(|record| runs_clearwater(record) && self.has_been_up(record));
        let mut records = ledger.machines.values();
        let lives = records.any(|record| is_member(record.role, layout) && runs_clearwater(record));
        self.plan.ledger.etcd_founded = lives && (ledger.etcd_founded || up);
    }

    /// Whether a machine has done what it does first after its start. Where nothing asks it, it is
    /// given the time that a start may take: a machine reads its user data some time after its VM is
    /// said to run, and must still find in it that it founds.
    fn has_been_up(&self, record: &MachineRecord) -> bool {
        if self.probed(record.role) {
            return record.served_at.is_some();
        }
        let patience = self.spec().remediation.startup_timeout.get();
        let since = record.started_at;
        since.is_some_and(|since| elapsed(since, self.input.now) > patience)
    }
}

/// Whether a machine has a disk that was made to be Clearwater's and has been started.
fn runs_clearwater(record: &MachineRecord) -> bool {
    let image = record.image.as_ref();
    record.vm.is_some()
        && record.started_at.is_some()
        && image.is_some_and(|image| image.bootstrapped)
}

/// What machines of a stack without `spec.bootstrap` are told: their names, Clearwater's
/// `local_config`, the package repository, and to install the packages of their role.
fn cloud_config(spec: &StackSpec, wish: &MachineWish, record: &MachineRecord) -> String {
    let (name, domain) = (&wish.name, &spec.domain);
    let local = record.private_address;
    // An address that was lost is asked for again, so it is not unsaid at once.
    let held = record.public_address.as_ref().map(|address| address.ip);
    let public = held.or(record.lost_address).unwrap_or(local);
    let repository = spec.packages.source();
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
