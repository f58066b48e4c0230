//! From our words to DNS messages and back.

use std::collections::{BTreeMap, BTreeSet};

use hickory_proto::{
    ProtoError,
    op::{Message, MessageType, OpCode, Query},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{A, NAPTR, SRV, TXT},
    },
};

use crate::names::{
    Data, Key, Kind,
    diff::Seen,
    update::{Edit, Require, Update},
};

/// A question, of which the server alone is asked, and nobody further.
pub(super) fn question(id: u16, name: &str, kind: RecordType) -> Result<Message, ProtoError> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Query);
    message.metadata.recursion_desired = false;
    message.add_query(Query::query(named(name)?, kind));
    Ok(message)
}

/// RFC 2136, section 2: prerequisites go where answers are, and updates where authorities are.
pub(super) fn update(id: u16, zone: &str, update: &Update) -> Result<Message, ProtoError> {
    let mut message = Message::new(id, MessageType::Query, OpCode::Update);
    message.metadata.recursion_desired = false;
    message.add_query(Query::query(named(zone)?, RecordType::SOA));
    for require in &update.requires {
        match require {
            Require::Absent(key) => {
                message.add_answer(empty(key, DNSClass::NONE)?);
            }
            Require::Exactly(key, data) => {
                for data in data {
                    message.add_answer(Record::from_rdata(named(&key.name)?, 0, rdata(data)?));
                }
            }
        }
    }
    for edit in &update.edits {
        let record = match edit {
            Edit::Clear(key) => empty(key, DNSClass::ANY)?,
            Edit::Add(name, ttl, data) => Record::from_rdata(named(name)?, *ttl, rdata(data)?),
        };
        message.add_authority(record);
    }
    Ok(message)
}

/// A record set without what it holds.
fn empty(key: &Key, class: DNSClass) -> Result<Record, ProtoError> {
    let mut record = Record::update0(named(&key.name)?, 0, record_type(key.kind));
    record.dns_class = class;
    Ok(record)
}

pub(super) const fn record_type(kind: Kind) -> RecordType {
    match kind {
        Kind::A => RecordType::A,
        Kind::Srv => RecordType::SRV,
        Kind::Naptr => RecordType::NAPTR,
        Kind::Txt => RecordType::TXT,
    }
}

fn named(name: &str) -> Result<Name, ProtoError> {
    Name::from_ascii(format!("{name}."))
}

/// A name as we write it.
pub(super) fn name(name: &Name) -> String {
    let text = name.to_lowercase().to_ascii();
    text.strip_suffix('.').unwrap_or(&text).to_owned()
}

fn rdata(data: &Data) -> Result<RData, ProtoError> {
    Ok(match data {
        Data::A(address) => RData::A(A(*address)),
        Data::Srv {
            priority,
            weight,
            port,
            target,
        } => RData::SRV(SRV::new(*priority, *weight, *port, named(target)?)),
        Data::Naptr {
            order,
            preference,
            flags,
            services,
            regexp,
            replacement,
        } => RData::NAPTR(NAPTR::new(
            *order,
            *preference,
            bytes(flags),
            bytes(services),
            bytes(regexp),
            named(replacement)?,
        )),
        Data::Txt(texts) => {
            let texts: Vec<_> = texts.iter().map(|text| bytes(text)).collect();
            RData::TXT(TXT::from_bytes(texts.iter().map(|text| &**text).collect()))
        }
    })
}

fn data(rdata: &RData) -> Option<Data> {
    match rdata {
        RData::A(address) => Some(Data::A(address.0)),
        RData::SRV(srv) => Some(Data::Srv {
            priority: srv.priority,
            weight: srv.weight,
            port: srv.port,
            target: name(&srv.target),
        }),
        RData::NAPTR(naptr) => Some(Data::Naptr {
            order: naptr.order,
            preference: naptr.preference,
            flags: text(&naptr.flags),
            services: text(&naptr.services),
            regexp: text(&naptr.regexp),
            replacement: name(&naptr.replacement),
        }),
        RData::TXT(texts) => Some(Data::Txt(
            texts.txt_data.iter().map(|one| text(one)).collect(),
        )),
        _ => None,
    }
}

/// A character for each byte.
fn text(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

fn bytes(text: &str) -> Box<[u8]> {
    let byte = |c: char| u8::try_from(u32::from(c)).unwrap_or(b'?');
    text.chars().map(byte).collect()
}

/// Puts a record into what was seen; those of other types are nothing to us.
pub(super) fn note(record: &Record, seen: &mut Seen) {
    let owner = name(&record.name);
    if let RData::CNAME(target) = &record.data {
        seen.aliases.insert(owner, name(target));
    } else if let Some(data) = data(&record.data) {
        let set = seen.records.entry(Key::new(owner, data.kind()));
        let set = set.or_default();
        set.ttl = record.ttl;
        set.data.insert(data);
    }
}

/// What an answer says of one record set, or of the alias in its place.
pub(super) fn note_answer(key: &Key, answer: &Message, seen: &mut Seen) {
    let own = |record: &&Record| name(&record.name) == key.name;
    for record in answer.answers.iter().filter(own) {
        note(record, seen);
    }
}

/// Takes out what a server made up from a wildcard: there is no such record set to be changed.
pub(super) fn without_wildcards(wildcard: &str, seen: &mut Seen) {
    let made_up: BTreeMap<Kind, BTreeSet<Data>> = seen
        .records
        .iter()
        .filter(|(key, _)| key.name == wildcard)
        .map(|(key, set)| (key.kind, set.data.clone()))
        .collect();
    seen.records
        .retain(|key, set| made_up.get(&key.kind) != Some(&set.data));
    if let Some(target) = seen.aliases.remove(wildcard) {
        seen.aliases.retain(|_, alias| *alias != target);
    }
}
