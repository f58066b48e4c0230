//! A difference as updates (RFC 2136). Each is atomic, and each requires that what it was decided on
//! is still so: the number of the last update, and every record set that it changes, as it was seen.
//!
//! What does not fit into one message goes in several, in an order in which no name ever points to
//! one that is not there: addresses come first and go last.

use std::collections::BTreeSet;

use super::{
    Data, Key, Kind,
    diff::{self, Change, Claim, Difference, Owner},
};

/// Most bytes of record sets that change in an update: a message has at most 65,535, and the list of
/// all that the largest stack owns takes half of them.
pub const BYTES_MAX: usize = 24 * 1024;

/// What must hold for an update to be made.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Require {
    /// There is no such record set.
    Absent(Key),
    /// The record set holds this, and nothing else.
    Exactly(Key, BTreeSet<Data>),
}

/// One line of an update.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Edit {
    /// The record set goes.
    Clear(Key),
    /// A record is added, which sets the time to live of its set, in seconds.
    Add(String, u32, Data),
}

/// One atomic update of a zone.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Update {
    /// Its prerequisites.
    pub requires: Vec<Require>,
    /// What is done, in order.
    pub edits: Vec<Edit>,
}

/// The updates that a difference needs, in the order in which they are to be sent; none where there
/// is nothing to send. Each one requires those before it.
#[must_use]
pub fn updates(
    domain: &str,
    difference: &Difference,
    (owner, ttl): (&Owner, u32),
    bytes_max: usize,
) -> Vec<Update> {
    if difference.is_empty() {
        return Vec::new();
    }
    let mut changes: Vec<&Change> = difference.changes.iter().collect();
    changes.sort_by_key(|change| rank(change));
    let mut updates = Vec::new();
    let (mut body, mut size, mut owned) = (Update::default(), 0, difference.owned.clone());
    for change in changes {
        let part = part(change, ttl);
        let bytes = bytes(&part);
        if size > 0 && size + bytes > bytes_max {
            updates.push((std::mem::take(&mut body), owned.clone()));
            size = 0;
        }
        size += bytes;
        body.requires.extend(part.requires);
        body.edits.extend(part.edits);
        match change.want {
            Some(_) => owned.insert(change.key.clone()),
            None => owned.remove(&change.key),
        };
    }
    updates.push((body, owned));
    marked(domain, difference, (owner, ttl), updates)
}

/// Puts Weir's marks into updates: each requires the number of the one before, and lists what is owned
/// after it.
fn marked(
    domain: &str,
    difference: &Difference,
    (owner, ttl): (&Owner, u32),
    updates: Vec<(Update, BTreeSet<Key>)>,
) -> Vec<Update> {
    let (key, index) = (Claim::key(domain), Claim::index(domain));
    let last = updates.len() - 1;
    let mut before = difference.claim.clone();
    let mut all = Vec::new();
    for (place, (mut update, owned)) in updates.into_iter().enumerate() {
        let requires = match &before {
            None => Require::Absent(key.clone()),
            Some(claim) => Require::Exactly(key.clone(), BTreeSet::from([claim.data()])),
        };
        update.requires.insert(0, requires);
        let marks = [&key, &index].map(|key| Edit::Clear(key.clone()));
        update.edits.extend(marks);
        if !(difference.farewell && place == last) {
            let claim = Claim {
                owner: owner.clone(),
                serial: before.map_or(1, |claim| claim.serial + 1),
            };
            let add = |key: &Key, data| Edit::Add(key.name.clone(), ttl, data);
            update.edits.push(add(&key, claim.data()));
            if !owned.is_empty() {
                update.edits.push(add(&index, diff::listed(&owned, domain)));
            }
            before = Some(claim);
        }
        all.push(update);
    }
    all
}

/// In which order record sets change: machines' addresses, shared addresses, services, transports;
/// what goes, goes the other way round.
fn rank(change: &Change) -> (bool, i8, Key) {
    let goes = change.want.is_none();
    let step = match change.key.kind {
        kind if kind.is_address() => 0,
        Kind::Srv => 1,
        _ => 2,
    };
    (goes, if goes { -step } else { step }, change.key.clone())
}

/// The part of an update that changes one record set.
fn part(change: &Change, ttl: u32) -> Update {
    let key = &change.key;
    let mut part = Update::default();
    part.requires.push(match &change.have {
        None => Require::Absent(key.clone()),
        Some(have) => Require::Exactly(key.clone(), have.data.clone()),
    });
    if change.have.is_some() {
        part.edits.push(Edit::Clear(key.clone()));
    }
    let add = |data: &Data| Edit::Add(key.name.clone(), ttl, data.clone());
    part.edits.extend(change.want.iter().flatten().map(add));
    part
}

/// At most how many bytes a part takes in a message: no name is shortened.
fn bytes(part: &Update) -> usize {
    /// Type, class, time to live and length.
    const HEAD: usize = 10;
    let record = |name: &str, data: usize| name.len() + 2 + HEAD + data;
    let requires = part.requires.iter().map(|require| match require {
        Require::Absent(key) => record(&key.name, 0),
        Require::Exactly(key, all) => all.iter().map(|data| record(&key.name, length(data))).sum(),
    });
    let edits = part.edits.iter().map(|edit| match edit {
        Edit::Clear(key) => record(&key.name, 0),
        Edit::Add(name, _, data) => record(name, length(data)),
    });
    requires.chain(edits).sum()
}

/// At most how many bytes what a record says takes.
fn length(data: &Data) -> usize {
    match data {
        Data::A(_) => 4,
        Data::Srv { target, .. } => 6 + target.len() + 2,
        Data::Naptr {
            flags,
            services,
            regexp,
            replacement,
            ..
        } => 4 + 3 + flags.len() + services.len() + regexp.len() + replacement.len() + 2,
        Data::Txt(texts) => texts.iter().map(|text| text.chars().count() + 1).sum(),
    }
}
