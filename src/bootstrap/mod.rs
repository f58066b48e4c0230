//! From a stack and one of its machines to the user data that makes a VM that machine.
//!
//! A pure function: [`render`] says the same of the same stack, whenever it is asked. Its result
//! is a `#cloud-config` that any cloud-init since Ubuntu 14.04's takes: it writes files, and a
//! script that runs at every boot and leaves alone what is as it should be.
//!
//! - `layout`: which packages make a role.
//! - `config`: Clearwater's own files. `system`: those of the system around it.
//! - `files`: the scripts, which are the same on every machine; what differs is in
//!   `/etc/weir/machine`.
//! - `fit`: how all of it gets below what CloudStack takes as user data.
//! - `memo`: its digests, for whoever asks often whether they changed.
//!
//! **What may change without a new image.** Which machines there are, and whether this one may
//! found the site's etcd, changes during a machine's life. That is kept in comments at the top
//! ([`UserData::text`] has them, [`UserData::image`] leaves them out); a machine reads them again
//! every minute and lets its firewall follow.
//!
//! **Secrets** go to the machines that need them and to no others: the site's configuration to
//! [the one](uploader) that writes it into etcd, the key for DNS updates to name servers, and a
//! host key to its machine.

mod config;
mod fit;
mod layout;
mod memo;
mod secrets;
mod system;

#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, net::Ipv4Addr};

use crate::types::{
    core::Confidential,
    role::Role,
    stack::{BootstrapSpec, Layout, StackSpec},
};

pub use fit::digest;
pub use layout::packages;
pub use memo::{Digests, Memo, SitePrint};
pub use secrets::Secrets;

/// Where the machines of each role are: their addresses in the tier, in order.
pub type Peers = BTreeMap<Role, Vec<Ipv4Addr>>;

/// A machine, and what surrounds it.
#[derive(Clone, Debug)]
pub struct Input<'a> {
    /// What its stack is to be.
    pub spec: &'a StackSpec,
    /// Its name.
    pub name: &'a str,
    /// Its role.
    pub role: Role,
    /// Its number within the role, from 0.
    pub index: u32,
    /// Its address in the tier.
    pub private: Ipv4Addr,
    /// Its public address; without one, the world knows it by its private one.
    pub public: Option<Ipv4Addr>,
    /// All machines of the stack, itself included.
    pub peers: &'a Peers,
    /// How it comes into the site's etcd.
    pub membership: Membership,
    /// What the stack's Secret holds.
    pub secrets: &'a Secrets,
}

/// How a machine comes into the site's etcd. A machine that finds a cluster joins that, whatever
/// it is told.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Membership {
    /// It is among those that found the cluster, which all must be told the same.
    Founds(Vec<Ipv4Addr>),
    /// It joins the cluster that one of these belongs to; itself is not among them. The cluster
    /// is asked for its members, so that only those that exist are named to etcd.
    Joins(Vec<Ipv4Addr>),
    /// It is no member and talks to these.
    Proxies(Vec<Ipv4Addr>),
    /// It has no part in etcd.
    Apart,
}

impl Membership {
    /// How a machine comes into the etcd of a stack.
    ///
    /// In the classic layout every machine but the name servers is a member, in the split layout
    /// each vellum. The [founder] founds alone and all others join it: a list of several that
    /// start at once would need most of them, and one that is made anew from such a list founds a
    /// second cluster. `founded` says whether that has happened.
    #[must_use]
    pub fn of(
        spec: &StackSpec,
        machine: (Role, u32, Ipv4Addr),
        peers: &Peers,
        founded: bool,
    ) -> Self {
        let (role, index, own) = machine;
        let layout = spec.packages.layout();
        let member = |role: Role| is_member(role, layout);
        if role == Role::Dns {
            return Self::Apart;
        }
        if member(role) && !founded && (role, index) == founder(spec) {
            return Self::Founds(vec![own]);
        }
        let members = peers.iter().filter(|(role, _)| member(**role));
        let others = members.flat_map(|(_, addresses)| addresses.iter().copied());
        let others = others.filter(|address| *address != own).take(CONTACTS_MAX);
        let others: Vec<_> = others.collect();
        match member(role) {
            // Without its disk the cluster of one is gone.
            true if others.is_empty() => Self::Founds(vec![own]),
            true => Self::Joins(others),
            false => Self::Proxies(others),
        }
    }
}

/// Whether machines of a role are members of the site's etcd.
#[must_use]
pub fn is_member(role: Role, layout: Layout) -> bool {
    role != Role::Dns && (layout == Layout::Classic || role == Role::Vellum)
}

/// Members that a machine is told to ask for the others, or to talk to: one that lives is enough.
const CONTACTS_MAX: usize = 9;

/// The machine that founds the site's etcd, by role and index.
#[must_use]
pub fn founder(spec: &StackSpec) -> (Role, u32) {
    match spec.packages.layout() {
        Layout::Split if spec.replicas(Role::Vellum) > 0 => (Role::Vellum, 0),
        _ => uploader(spec),
    }
}

/// The one machine that writes the site's configuration into etcd, by role and index. The first
/// sprout, since the tools that check its parts come with that.
#[must_use]
pub fn uploader(spec: &StackSpec) -> (Role, u32) {
    let order = [Role::Sprout].into_iter().chain(Role::ALL);
    let mut present = order.filter(|role| *role != Role::Dns && spec.replicas(*role) > 0);
    (present.next().unwrap_or(Role::Sprout), 0)
}

/// What a VM is given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct UserData {
    /// A `#cloud-config` of at most [`USER_DATA_MAX`](crate::types::stack::USER_DATA_MAX)
    /// characters in base64, or what the stack says instead. Carries secrets.
    pub text: Confidential,
    /// SHA-256 of the text, in hex.
    pub hash: String,
    /// SHA-256, in hex, of what takes effect with a new image only.
    pub image: String,
}

/// Why there is no user data for a machine.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The stack says nothing of how its machines become Clearwater's.
    #[error("spec.bootstrap: missing; add it with `secretRef`")]
    Unsaid,
    /// The layout lacks the role.
    #[error("spec.packages.release: {release} has the {layout} layout, which has no {role}")]
    Role {
        /// As written.
        release: u32,
        /// The layout that follows.
        layout: &'static str,
        /// What the machine was to be.
        role: Role,
    },
    /// The Secret lacks a key.
    #[error("Secret {secret}: lacks the key `{key}`; add it, with a value that nothing else uses")]
    Missing {
        /// The Secret's name.
        secret: String,
        /// The key.
        key: String,
    },
    /// A value of the Secret cannot be used. It is not repeated.
    #[error("Secret {secret}: the value of `{key}` {reason}; {remedy}")]
    Secret {
        /// The Secret's name.
        secret: String,
        /// The key.
        key: String,
        /// What is wrong.
        reason: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// The signing key of the packages cannot be used.
    #[error("spec.packages.{field}: {reason}; write the key as `gpg --armor --export` prints it")]
    Key {
        /// The field.
        field: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// Too long, even compressed.
    #[error(
        "spec.bootstrap.userDataMax: {length} characters are needed, and {most} allowed; raise \
         CloudStack's `vm.userdata.max.length` and this, or say less in `spec.bootstrap`"
    )]
    TooLong {
        /// Characters of base64.
        length: usize,
        /// The limit.
        most: u32,
    },
}

/// The user data of a machine.
///
/// # Errors
/// The stack does not say enough, or its Secret does not hold what the machine needs. Nothing is
/// left out in silence.
pub fn render(input: &Input<'_>) -> Result<UserData, Error> {
    let spec = input.spec;
    let bootstrap = spec.bootstrap.as_ref().ok_or(Error::Unsaid)?;
    let layout = spec.packages.layout();
    if !layout.has(input.role) {
        return Err(Error::Role {
            release: spec.packages.release,
            layout: layout.name(),
            role: input.role,
        });
    }
    let machine = Machine {
        input,
        bootstrap,
        layout,
    };
    let live = machine.live();
    let whole = machine.cloud_config(&live)?;
    let image = machine.cloud_config("")?;
    let text = fit::within(&whole, &live, bootstrap.user_data_max)?;
    Ok(UserData {
        hash: digest(&text),
        image: digest(&fit::plain(&image, "")),
        text: Confidential::new(text),
    })
}

/// A machine with what was found out about it.
struct Machine<'a> {
    input: &'a Input<'a>,
    bootstrap: &'a BootstrapSpec,
    layout: Layout,
}

impl Machine<'_> {
    /// What the machine keeps reading: a line each.
    fn live(&self) -> String {
        let list = |addresses: &[Ipv4Addr]| {
            let words: Vec<String> = addresses.iter().map(ToString::to_string).collect();
            words.join(" ")
        };
        let mut lines = vec![format!("machine {}", self.input.name)];
        match &self.input.membership {
            Membership::Founds(all) => lines.push(format!("etcd founds {}", list(all))),
            Membership::Joins(others) => lines.push(format!("etcd joins {}", list(others))),
            Membership::Proxies(members) => lines.push(format!("etcd proxies {}", list(members))),
            Membership::Apart => {}
        }
        let peers = self.input.peers.iter();
        lines.extend(peers.map(|(role, addresses)| format!("peers {role} {}", list(addresses))));
        lines.join("\n") + "\n"
    }

    /// Whether this machine writes the site's configuration into etcd.
    fn uploads(&self) -> bool {
        (self.input.role, self.input.index) == uploader(self.input.spec)
    }

    fn domain(&self) -> &str {
        &self.input.spec.domain
    }

    /// The name by which the world knows this machine and no other.
    fn host(&self) -> String {
        format!("{}.{}", self.input.name, self.domain())
    }
}
