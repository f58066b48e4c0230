//! The port to name servers: looks at a domain and sends updates, signed, over TCP.
//!
//! It decides nothing: what is to be there is `names`' business, and when to look the controller's.
//! RFC 2136 (updates), RFC 5936 (transfers), RFC 8945 (TSIG); the protocol itself is hickory's.
//!
//! Every message is signed and every answer has to be, queries too: a server with views may choose
//! one by the key, and an answer that somebody made up could have records taken away.

mod error;
mod line;
mod wire;

use std::{collections::BTreeSet, net::SocketAddr, time::Duration};

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{RData, RecordType},
};

use self::line::{Line, told};
use crate::{
    clock::Clock,
    names::{
        Key, Kind,
        diff::{Claim, Seen},
        update::Update,
    },
    types::core::Confidential,
};

pub use error::DnsError;

/// Longest time for a look or an update, whatever the number of messages.
const WHOLE: Duration = Duration::from_secs(30);

/// Questions on their way at once, over one connection: servers answer some tens side by side.
const WINDOW: usize = 32;

/// Records of a zone that are transferred at most. A larger one is asked name by name: it is not for
/// the stack alone.
const TRANSFER_MAX: usize = 20_000;

/// A primary name server, and the key that it knows us by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Server {
    /// Where it listens.
    pub address: SocketAddr,
    /// The name of the key.
    pub key_name: String,
    /// The key for HMAC-SHA256, in base64.
    pub key: Confidential,
}

/// Asks name servers; keeps nothing between two calls.
#[derive(Clone, Debug)]
pub struct Client {
    clock: Clock,
}

impl Client {
    /// Signatures carry the clock's time.
    #[must_use]
    pub const fn new(clock: Clock) -> Self {
        Self { clock }
    }

    /// What a server has of a domain: of the record sets that are named, of those that its list calls
    /// Weir's, and of Weir's marks. A zone of the domain's own is transferred where the server lets
    /// us; else each record set is asked for.
    ///
    /// # Errors
    /// Nothing is known then.
    pub async fn look(
        &self,
        server: &Server,
        domain: &str,
        keys: &BTreeSet<Key>,
    ) -> Result<Seen, DnsError> {
        let look = self.look_for_long(server, domain, keys);
        let looked = tokio::time::timeout(WHOLE, look).await;
        looked.unwrap_or_else(|_| Err(late(server)))
    }

    /// Sends one update, and waits for its outcome.
    ///
    /// # Errors
    /// [`DnsError::Uncertain`]: it may have taken effect. Any other: it has not.
    pub async fn update(
        &self,
        server: &Server,
        zone: &str,
        update: &Update,
    ) -> Result<(), DnsError> {
        let mut line = Line::open(server, &self.clock).await?;
        let message = wire::update(1, zone, update);
        let message = message.map_err(|error| line.unbelievable(error.to_string()))?;
        let uncertain = |error: DnsError| match error {
            DnsError::Unreachable { server, text } => DnsError::Uncertain { server, text },
            other => other,
        };
        let mut proof = line.send(message).await.map_err(uncertain)?;
        let answer = line.next().await.map_err(uncertain)?;
        let answer = line.believe(&answer, &mut proof)?;
        match answer.metadata.response_code {
            ResponseCode::NoError => Ok(()),
            code => Err(not_updated(server, zone, code)),
        }
    }

    async fn look_for_long(
        &self,
        server: &Server,
        domain: &str,
        keys: &BTreeSet<Key>,
    ) -> Result<Seen, DnsError> {
        let mut line = Line::open(server, &self.clock).await?;
        let zone = zone(&mut line, server, domain).await?;
        let mut seen = match zone == domain {
            true => self.transfer(server, domain).await,
            false => None,
        };
        if seen.is_none() {
            seen = Some(asked(&mut line, server, (domain, &zone), keys).await?);
        }
        let mut seen = seen.unwrap_or_default();
        let wanted = keys | &seen.owned(domain);
        let (claim, index) = (Claim::key(domain), Claim::index(domain));
        seen.records
            .retain(|key, _| wanted.contains(key) || *key == claim || *key == index);
        seen.aliases
            .retain(|name, _| wanted.iter().any(|key| key.name == *name));
        Ok(seen)
    }

    /// The whole zone; none where the server does not let us, or it is too large.
    async fn transfer(&self, server: &Server, zone: &str) -> Option<Seen> {
        let mut line = Line::open(server, &self.clock).await.ok()?;
        let question = wire::question(1, zone, RecordType::AXFR).ok()?;
        let mut proof = line.send(question).await.ok()?;
        let mut seen = Seen {
            zone: zone.to_owned(),
            ..Seen::default()
        };
        let (mut ends, mut count) = (0, 0);
        // It begins and ends with the zone's SOA record.
        while ends < 2 {
            let bytes = line.next().await.ok()?;
            let part = line.believe(&bytes, &mut proof).ok()?;
            count += part.answers.len();
            let refused = part.metadata.response_code != ResponseCode::NoError;
            if refused || part.answers.is_empty() || count > TRANSFER_MAX {
                return None;
            }
            for record in &part.answers {
                ends += u8::from(matches!(record.data, RData::SOA(_)));
                wire::note(record, &mut seen);
            }
        }
        Some(seen)
    }
}

/// The zone that a domain is in: the domain itself, or one above it.
async fn zone(line: &mut Line<'_>, server: &Server, domain: &str) -> Result<String, DnsError> {
    let question = wire::question(1, domain, RecordType::SOA);
    let question = question.map_err(|error| line.unbelievable(error.to_string()))?;
    let mut proof = line.send(question).await?;
    let bytes = line.next().await?;
    let answer = line.believe(&bytes, &mut proof)?;
    authoritative(server, domain, &answer)?;
    let records = answer.answers.iter().chain(&answer.authorities);
    let mut soas = records.filter(|record| matches!(record.data, RData::SOA(_)));
    let zone = soas.next().map(|record| wire::name(&record.name));
    let within = |zone: &String| domain == zone || domain.ends_with(&format!(".{zone}"));
    zone.filter(within)
        .ok_or_else(|| DnsError::NotAuthoritative {
            server: server.address,
            domain: domain.to_owned(),
            text: "it names no zone".to_owned(),
        })
}

/// Asks for each record set: the marks first, since they tell which others are ours.
async fn asked(
    line: &mut Line<'_>,
    server: &Server,
    (domain, zone): (&str, &str),
    keys: &BTreeSet<Key>,
) -> Result<Seen, DnsError> {
    let mut seen = Seen {
        zone: zone.to_owned(),
        ..Seen::default()
    };
    let wildcard = format!("*.{domain}");
    let mut first = vec![Claim::key(domain), Claim::index(domain)];
    let kinds = Kind::SERVED.into_iter().chain([Kind::Txt]);
    first.extend(kinds.map(|kind| Key::new(&wildcard, kind)));
    ask(line, server, &first, &mut seen).await?;
    let rest = keys | &seen.owned(domain);
    let rest: Vec<Key> = rest.into_iter().collect();
    ask(line, server, &rest, &mut seen).await?;
    wire::without_wildcards(&wildcard, &mut seen);
    Ok(seen)
}

/// Asks many questions over one connection; answers come in any order.
async fn ask(
    line: &mut Line<'_>,
    server: &Server,
    keys: &[Key],
    seen: &mut Seen,
) -> Result<(), DnsError> {
    for window in keys.chunks(WINDOW) {
        let mut open = std::collections::BTreeMap::new();
        for (id, key) in (1_u16..).zip(window) {
            let question = wire::question(id, &key.name, wire::record_type(key.kind));
            let question = question.map_err(|error| line.unbelievable(error.to_string()))?;
            open.insert(id, (key, line.send(question).await?));
        }
        while !open.is_empty() {
            let bytes = line.next().await?;
            let id = bytes.first_chunk().map(|id| u16::from_be_bytes(*id));
            let Some((key, mut proof)) = id.and_then(|id| open.remove(&id)) else {
                return Err(line.unbelievable("it answers what was not asked".to_owned()));
            };
            let answer = line.believe(&bytes, &mut proof)?;
            authoritative(server, &key.name, &answer)?;
            wire::note_answer(key, &answer, seen);
        }
    }
    Ok(())
}

/// Takes an answer only from who has the zone.
fn authoritative(server: &Server, name: &str, answer: &Message) -> Result<(), DnsError> {
    let lame = |text: String| {
        Err(DnsError::NotAuthoritative {
            server: server.address,
            domain: name.to_owned(),
            text,
        })
    };
    match answer.metadata.response_code {
        ResponseCode::NoError | ResponseCode::NXDomain if answer.metadata.authoritative => Ok(()),
        ResponseCode::NoError | ResponseCode::NXDomain => {
            lame("it answers without authority".to_owned())
        }
        // What BIND says of a zone that it does not have, or could not load.
        code @ (ResponseCode::Refused | ResponseCode::NotAuth | ResponseCode::ServFail) => {
            lame(told(code))
        }
        code => Err(DnsError::Failed {
            server: server.address,
            text: told(code),
        }),
    }
}

fn not_updated(server: &Server, zone: &str, code: ResponseCode) -> DnsError {
    let (address, zone) = (server.address, zone.to_owned());
    match code {
        ResponseCode::YXDomain
        | ResponseCode::YXRRSet
        | ResponseCode::NXDomain
        | ResponseCode::NXRRSet => DnsError::Changed {
            server: address,
            text: told(code),
        },
        ResponseCode::Refused => DnsError::Refused {
            server: address,
            key_name: server.key_name.clone(),
            zone,
            what: "an update",
        },
        ResponseCode::NotAuth | ResponseCode::NotZone => DnsError::NotAuthoritative {
            server: address,
            domain: zone,
            text: told(code),
        },
        code => DnsError::Failed {
            server: address,
            text: told(code),
        },
    }
}

fn late(server: &Server) -> DnsError {
    DnsError::Unreachable {
        server: server.address,
        text: format!("a look took more than {} s", WHOLE.as_secs()),
    }
}
