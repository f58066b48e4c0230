//! A seal over everything that is stored, which tells a whole database from a torn one.
//!
//! sled checks each of its pages, but not that they belong together: of a file that was copied
//! while it was written, it takes old pages and new ones for one state. The seal is a sum over the
//! keys and versions of all objects, is written with each group of changes, and has to fit what is
//! found when the database is opened. It is no protection against anybody who means harm.

use sha2::{Digest, Sha256};

use crate::types::meta::ResourceVersion;

/// Bytes of a seal as it is written.
pub(super) const LENGTH: usize = size_of::<u128>();

/// See the module.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Seal(u128);

impl Seal {
    /// The seal with one object more.
    pub(super) fn with(self, key: &str, version: ResourceVersion) -> Self {
        Self(self.0.wrapping_add(print(key, version)))
    }

    /// The seal with one object less, which must be in it.
    pub(super) fn without(self, key: &str, version: ResourceVersion) -> Self {
        Self(self.0.wrapping_sub(print(key, version)))
    }

    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        Some(Self(u128::from_be_bytes(bytes.try_into().ok()?)))
    }

    pub(super) fn written(self) -> [u8; LENGTH] {
        self.0.to_be_bytes()
    }
}

fn print(key: &str, version: ResourceVersion) -> u128 {
    let mut hash = Sha256::new();
    hash.update(version.0.to_be_bytes());
    hash.update(key);
    let hash = hash.finalize();
    let half = hash.first_chunk().expect("a SHA-256 has 32 bytes");
    u128::from_be_bytes(*half)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seal_depends_on_what_is_there_and_not_on_how_it_came() {
        let [one, two] = [ResourceVersion(1), ResourceVersion(2)];
        let both = Seal::default().with("a", one).with("b", two);
        assert_eq!(both, Seal::default().with("b", two).with("a", one));
        let changed = both.without("a", one).with("a", two);
        for other in [both.without("a", one), Seal::default(), changed] {
            assert_ne!(both, other);
        }
        assert_eq!(changed.without("a", two).with("a", one), both);
        assert_eq!(Seal::read(&both.written()), Some(both));
        assert_eq!(Seal::read(&[]), None);
    }
}
