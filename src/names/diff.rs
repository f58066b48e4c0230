//! What a name server has, held against what it is to have, and whose it is.
//!
//! Weir owns whole record sets, and those alone that it made: a list of them is kept in the zone and
//! changes in the same update as they do. A record that somebody adds to such a set is drift; a set
//! that was there before is somebody else's and stays as it is.

use std::collections::{BTreeMap, BTreeSet};

use super::{Data, Key, Kind, Records, relative};

/// Records of one name and type, as a server has them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecordSet {
    /// Seconds that it may be cached.
    pub ttl: u32,
    /// What it holds.
    pub data: BTreeSet<Data>,
}

/// What a server said of a domain.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Seen {
    /// The zone that the domain is in.
    pub zone: String,
    /// The record sets that were asked for, Weir's marks among them.
    pub records: BTreeMap<Key, RecordSet>,
    /// Names among them that stand for others, and for which.
    pub aliases: BTreeMap<String, String>,
}

/// Whose records they are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Owner {
    /// The stack's uid, which is what counts.
    pub uid: String,
    /// Its namespace and name, for people.
    pub stack: String,
}

/// The first word of the mark on a domain, with the version of what follows.
const MARK: &str = "weir1";

/// The mark on a domain: one stack alone has its names there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Whose it is.
    pub owner: Owner,
    /// How many updates were made under it: each one requires the number that it was decided on.
    pub serial: u64,
}

impl Claim {
    /// Where the mark is.
    #[must_use]
    pub fn key(domain: &str) -> Key {
        Key::new(format!("_weir.{domain}"), Kind::Txt)
    }

    /// Where the list of record sets is that Weir made.
    #[must_use]
    pub fn index(domain: &str) -> Key {
        Key::new(format!("_owned._weir.{domain}"), Kind::Txt)
    }

    pub(super) fn data(&self) -> Data {
        let Owner { uid, stack } = &self.owner;
        let serial = self.serial.to_string();
        Data::Txt(vec![MARK.to_owned(), uid.clone(), stack.clone(), serial])
    }

    fn read(data: &Data) -> Option<Self> {
        let Data::Txt(texts) = data else { return None };
        let [mark, uid, stack, serial] = texts.as_slice() else {
            return None;
        };
        let owner = Owner {
            uid: uid.clone(),
            stack: stack.clone(),
        };
        let serial = serial.parse().ok()?;
        (mark == MARK).then_some(Self { owner, serial })
    }
}

/// The list of owned record sets: one record, since BIND takes no more than a hundred of one name and
/// type (`max-records-per-type`), with a string for each.
pub(super) fn listed(owned: &BTreeSet<Key>, domain: &str) -> Data {
    let entry = |key: &Key| format!("{} {}", key.kind.name(), relative(&key.name, domain));
    Data::Txt(owned.iter().map(entry).collect())
}

fn read_entry(text: &str, domain: &str) -> Option<Key> {
    let (kind, name) = text.split_once(' ')?;
    let kind = Kind::of(kind).filter(|kind| *kind != Kind::Txt)?;
    let name = match name {
        "@" => domain.to_owned(),
        name => format!("{name}.{domain}"),
    };
    Some(Key::new(name, kind))
}

impl Seen {
    /// The record sets that the list in the zone calls Weir's.
    #[must_use]
    pub fn owned(&self, domain: &str) -> BTreeSet<Key> {
        let index = self.records.get(&Claim::index(domain));
        let lists = index.into_iter().flat_map(|set| &set.data);
        let entries = lists.flat_map(|data| match data {
            Data::Txt(texts) => texts.as_slice(),
            _ => &[],
        });
        entries
            .filter_map(|text| read_entry(text, domain))
            .collect()
    }

    /// The mark on the domain.
    ///
    /// # Errors
    /// There is something else in its place.
    pub(super) fn claim(&self, domain: &str) -> Result<Option<Claim>, Conflict> {
        let key = Claim::key(domain);
        let Some(set) = self.records.get(&key) else {
            return Ok(None);
        };
        let claims: Vec<_> = set.data.iter().map(Claim::read).collect();
        match claims.as_slice() {
            [Some(claim)] => Ok(Some(claim.clone())),
            _ => Err(Conflict::Foreign {
                have: super::told(&set.data),
                key,
            }),
        }
    }
}

/// One record set that is not as it should be. Never both empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Which.
    pub key: Key,
    /// As it was seen; none where it is not there.
    pub have: Option<RecordSet>,
    /// As it is to be; none where it is to go.
    pub want: Option<BTreeSet<Data>>,
}

/// What keeps Weir from writing records, with what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, thiserror::Error)]
pub enum Conflict {
    /// Another stack has its names there.
    #[error(
        "{domain} is the domain of stack {} (uid {}); give one of the two another `spec.domain`. If \
         that stack is gone for good, delete the TXT records of _weir.{domain} and \
         _owned._weir.{domain}, and its other records",
        owner.stack, owner.uid
    )]
    Claimed {
        /// The domain.
        domain: String,
        /// Whose.
        owner: Owner,
    },
    /// Somebody else made a record set that Weir wants.
    #[error(
        "{key} was there before ({have}), and Weir leaves it alone; delete it, or choose another `spec.domain`"
    )]
    Foreign {
        /// Which.
        key: Key,
        /// What it holds.
        have: String,
    },
    /// A name that Weir wants stands for another one, beside which it can have no records.
    #[error("{name} is an alias (CNAME) of {target}; delete it, or choose another `spec.domain`")]
    Alias {
        /// The name.
        name: String,
        /// What it stands for.
        target: String,
    },
}

impl Conflict {
    /// One word.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Claimed { .. } => "DomainClaimed",
            Self::Foreign { .. } | Self::Alias { .. } => "ForeignRecords",
        }
    }
}

/// What a server has to be told.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Difference {
    /// The mark as it was seen; none where there is none yet.
    pub claim: Option<Claim>,
    /// The record sets that are Weir's now.
    pub owned: BTreeSet<Key>,
    /// Record sets that are to change, by name and type.
    pub changes: Vec<Change>,
    /// What is left alone though it is in the way.
    pub conflicts: Vec<Conflict>,
    /// Whether Weir's marks are to go as well, since nothing is wanted any more.
    pub farewell: bool,
}

impl Difference {
    /// Whether there is nothing to send.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.changes.is_empty() && !self.farewell
    }
}

/// Compares what is wanted with what a server has.
///
/// Where the domain is another stack's, or where a first update would meet somebody else's records,
/// nothing is to be sent at all. Later on a conflict holds up its own record set alone: what does not
/// serve any more has to go.
#[must_use]
pub fn difference(domain: &str, wanted: (&Records, u32), owner: &Owner, seen: &Seen) -> Difference {
    let claim = match seen.claim(domain) {
        Ok(claim) => claim,
        Err(conflict) => return only(conflict),
    };
    let (records, ttl) = wanted;
    if records.is_empty() && claim.is_none() {
        return Difference::default();
    }
    if let Some(claim) = claim.as_ref().filter(|claim| claim.owner.uid != owner.uid) {
        // Whoever wants nothing there has nothing to complain of.
        let owner = claim.owner.clone();
        let domain = domain.to_owned();
        let conflict = (!records.is_empty()).then_some(Conflict::Claimed { domain, owner });
        return conflict.map(only).unwrap_or_default();
    }
    // A list without a mark is nobody's.
    let owned = match &claim {
        Some(_) => seen.owned(domain),
        None => BTreeSet::new(),
    };
    let mut found = Difference {
        farewell: records.is_empty() && claim.is_some(),
        claim,
        owned: owned.clone(),
        ..Difference::default()
    };
    found
        .conflicts
        .extend(in_the_way(domain, seen, found.claim.is_some()));
    let keys: BTreeSet<&Key> = records.keys().chain(&owned).collect();
    for key in keys {
        let (want, have) = (records.get(key), seen.records.get(key));
        let alias = seen.aliases.get(&key.name).filter(|_| want.is_some());
        match (have, alias) {
            (_, Some(target)) => found.conflicts.push(Conflict::Alias {
                name: key.name.clone(),
                target: target.clone(),
            }),
            (Some(have), None) if !owned.contains(key) => found.conflicts.push(Conflict::Foreign {
                key: key.clone(),
                have: super::told(&have.data),
            }),
            (Some(have), None) if Some(&have.data) == want && have.ttl == ttl => {}
            (have, None) => found.changes.push(Change {
                key: key.clone(),
                have: have.cloned(),
                want: want.cloned(),
            }),
        }
    }
    found.conflicts.sort();
    found.conflicts.dedup();
    if found.claim.is_none() && !found.conflicts.is_empty() {
        found.changes.clear();
    }
    found
}

/// A list of owned record sets beside which there is no mark.
fn in_the_way(domain: &str, seen: &Seen, claimed: bool) -> Option<Conflict> {
    let key = Claim::index(domain);
    let set = seen.records.get(&key).filter(|_| !claimed)?;
    let have = super::told(&set.data);
    Some(Conflict::Foreign { key, have })
}

fn only(conflict: Conflict) -> Difference {
    Difference {
        conflicts: vec![conflict],
        ..Difference::default()
    }
}
