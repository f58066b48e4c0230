//! What machines answer, and on which ports: `tcp:22,http:80,udp:5060`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use serde::{Serialize, Serializer};

use super::responder::{Echo, Http, Responder};

/// How many ports one machine may answer on: more than any node of an IMS core.
const SERVICES_MAX: usize = 32;

/// The transports that the plane carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Protocol {
    /// Streams.
    Tcp,
    /// Datagrams.
    Udp,
}

impl Protocol {
    /// The one with this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        [Self::Tcp, Self::Udp]
            .into_iter()
            .find(|protocol| protocol.to_string() == name)
    }

    /// Whether a rule that says `word` is about it: its name, its number in an IP header, or all.
    pub(super) fn is_meant_by(self, word: &str) -> bool {
        let number = match self {
            Self::Tcp => "6",
            Self::Udp => "17",
        };
        word == "all" || word == number || word.eq_ignore_ascii_case(&self.to_string())
    }
}

impl fmt::Display for Protocol {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Tcp => "tcp",
            Self::Udp => "udp",
        })
    }
}

impl Serialize for Protocol {
    fn serialize<S: Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(self)
    }
}

/// A port that a machine answers on.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Service {
    /// What carries it.
    pub protocol: Protocol,
    /// The port.
    pub port: u16,
    /// Which of the [`Kinds`] answers.
    pub kind: String,
}

/// The kinds of answers, by name. Whatever is to answer on the machines' addresses is put in here.
#[derive(Clone)]
pub struct Kinds {
    known: BTreeMap<String, (Protocol, Arc<dyn Responder>)>,
}

impl Default for Kinds {
    /// `tcp` greets and echoes, `http` says who it is, `udp` echoes.
    fn default() -> Self {
        let known = BTreeMap::new();
        Self { known }
            .with("tcp", Protocol::Tcp, Arc::new(Echo))
            .with("http", Protocol::Tcp, Arc::new(Http))
            .with("udp", Protocol::Udp, Arc::new(Echo))
    }
}

impl Kinds {
    /// The same kinds and one more; of one name the last counts.
    #[must_use]
    pub fn with(mut self, kind: &str, protocol: Protocol, answers: Arc<dyn Responder>) -> Self {
        self.known.insert(kind.to_owned(), (protocol, answers));
        self
    }

    pub(super) fn responder(&self, kind: &str) -> Option<Arc<dyn Responder>> {
        self.known.get(kind).map(|(_, answers)| Arc::clone(answers))
    }

    /// Reads `tcp:22,http:80`; `none` and nothing at all are no service.
    ///
    /// # Errors
    /// A kind that is not known, a port that is none, one that is said twice, or too many.
    pub fn read(&self, text: &str) -> Result<Vec<Service>, String> {
        let words = text.split(',').map(str::trim);
        let words = words.filter(|word| !word.is_empty() && *word != "none");
        let services: Vec<Service> = words
            .map(|word| self.read_one(word))
            .collect::<Result<_, _>>()?;
        if services.len() > SERVICES_MAX {
            return Err(format!("a machine answers on {SERVICES_MAX} ports at most"));
        }
        for (place, service) in services.iter().enumerate() {
            let (protocol, port) = (service.protocol, service.port);
            let mut before = services[..place].iter();
            if before.any(|other| (other.protocol, other.port) == (protocol, port)) {
                return Err(format!("{protocol} port {port} is said twice"));
            }
        }
        Ok(services)
    }

    fn read_one(&self, word: &str) -> Result<Service, String> {
        let (kind, port) = word
            .split_once(':')
            .ok_or_else(|| format!("`{word}` is not KIND:PORT, like http:80"))?;
        let Some((protocol, _)) = self.known.get(kind) else {
            let known: Vec<&str> = self.known.keys().map(String::as_str).collect();
            return Err(format!("`{kind}` is none of {}", known.join(", ")));
        };
        let port = port.parse().ok().filter(|port| *port > 0);
        Ok(Service {
            protocol: *protocol,
            port: port.ok_or_else(|| format!("`{word}` has no port between 1 and 65535"))?,
            kind: kind.to_owned(),
        })
    }
}

impl fmt::Debug for Kinds {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.debug_set().entries(self.known.keys()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_are_read_from_words() {
        let kinds = Kinds::default();
        let services = kinds.read("tcp:22, http:80,udp:5060").expect("services");
        let shown: Vec<String> = services
            .iter()
            .map(|service| format!("{} {} {}", service.protocol, service.port, service.kind))
            .collect();
        assert_eq!(shown, ["tcp 22 tcp", "tcp 80 http", "udp 5060 udp"]);
        assert_eq!(kinds.read("none"), Ok(Vec::new()));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        let refused = |text: &str| Kinds::default().read(text).expect_err("no services");
        assert_eq!(refused("sip:5060"), "`sip` is none of http, tcp, udp");
        assert_eq!(refused("http"), "`http` is not KIND:PORT, like http:80");
        assert_eq!(refused("tcp:0"), "`tcp:0` has no port between 1 and 65535");
        assert_eq!(refused("tcp:80,http:80"), "tcp port 80 is said twice");
    }
}
