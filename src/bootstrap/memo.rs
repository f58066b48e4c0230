//! What is remembered of user data once it was made: its digests, and never its text.

use std::{
    collections::BTreeMap,
    hash::{DefaultHasher, Hash, Hasher},
    net::Ipv4Addr,
    sync::{Mutex, PoisonError},
};

use super::{Error, Input, Secrets, render};
use crate::types::{role::Role, stack::StackSpec};

/// Entries at most: the machines of many stacks. Beyond that all are forgotten and made again.
const MOST: usize = 4096;

/// Digests of a machine's user data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Digests {
    /// SHA-256 of the text, in hex.
    pub hash: String,
    /// SHA-256, in hex, of what takes effect with a new image only; none where that is all of it.
    pub image: Option<String>,
}

impl Digests {
    /// The digest of what takes effect with a new image only.
    #[must_use]
    pub fn in_image(&self) -> &str {
        self.image.as_ref().unwrap_or(&self.hash)
    }
}

/// Digests of user data that was made lately, by a print of all that it was made from. It makes
/// asking again cheap and changes no answer.
#[derive(Debug, Default)]
pub struct Memo(Mutex<BTreeMap<u64, Digests>>);

/// A print of what the user data of all machines of a stack is made from.
#[derive(Clone, Copy, Debug, Default)]
pub struct SitePrint(u64);

impl SitePrint {
    /// The print of a stack, its Secret and its machines.
    #[must_use]
    pub fn of(spec: &StackSpec, secrets: &Secrets, peers: &BTreeMap<Role, Vec<Ipv4Addr>>) -> Self {
        let mut hasher = DefaultHasher::new();
        let spec = serde_json::to_vec(spec).expect("a spec has text keys");
        (spec, peers).hash(&mut hasher);
        secrets.hash(&mut hasher);
        Self(hasher.finish())
    }
}

impl Memo {
    /// The digests of what [`render`] makes of a machine of the site.
    ///
    /// # Errors
    /// As [`render`]; an error is not remembered.
    pub fn digests(&self, site: SitePrint, input: &Input<'_>) -> Result<Digests, Error> {
        let mut hasher = DefaultHasher::new();
        let machine = (input.name, input.role, input.index);
        let addresses = (input.private, input.public);
        (site.0, machine, addresses, &input.membership).hash(&mut hasher);
        let print = hasher.finish();
        if let Some(known) = self.lock().get(&print) {
            return Ok(known.clone());
        }
        let made = render(input)?;
        let digests = Digests {
            hash: made.hash,
            image: Some(made.image),
        };
        let mut known = self.lock();
        if known.len() >= MOST {
            known.clear();
        }
        known.insert(print, digests.clone());
        Ok(digests)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Digests>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
