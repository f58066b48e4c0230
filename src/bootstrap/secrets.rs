//! What a stack's Secret holds, and which of it may be used.

use std::collections::BTreeMap;

use base64::{Engine, engine::general_purpose::STANDARD};

use super::Error;
use crate::types::{
    core::{Confidential, Secret},
    stack::is_plain_value,
};

/// Least characters of a secret: what nobody guesses.
const LENGTH_MIN: usize = 8;

/// Bytes of a key for HMAC-SHA256: as many as the hash has, at least.
const TSIG_MIN: usize = 32;

/// What every stack's Secret must have: the settings of Clearwater's that hold it, and its keys.
pub(super) const NEEDED: [(&str, &str); 4] = [
    ("signup_key", "signupKey"),
    ("turn_workaround", "turnWorkaround"),
    ("ellis_api_key", "ellisApiKey"),
    ("ellis_cookie_key", "ellisCookieKey"),
];

/// Values by key, out of base64, and where they are from.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Secrets {
    name: String,
    values: BTreeMap<String, Confidential>,
}

/// An SSH host key: cloud-init's word for its kind, and the key.
pub(super) type HostKey<'a> = (&'static str, &'a str);

impl Secrets {
    /// Reads a Secret. A value that is no text is left out, and missed when it is needed.
    #[must_use]
    pub fn of(secret: &Secret) -> Self {
        let plain = |value: &Confidential| {
            let bytes = STANDARD.decode(value.expose()).ok()?;
            Some(Confidential::new(String::from_utf8(bytes).ok()?))
        };
        let coded = secret.data.iter().map(|(key, value)| (key, plain(value)));
        let written = secret.string_data.iter();
        let written = written.map(|(key, value)| (key, Some(value.clone())));
        let all = coded.chain(written);
        Self {
            name: match (&*secret.metadata.namespace, &*secret.metadata.name) {
                ("", name) => name.to_owned(),
                (namespace, name) => format!("{namespace}/{name}"),
            },
            values: all
                .filter_map(|(key, value)| Some((key.clone(), value?)))
                .collect(),
        }
    }

    /// Values for a rehearsal of a stack whose Secret is not there: whatever is needed, and nobody's.
    /// They are never sent.
    #[must_use]
    pub fn rehearsed() -> Self {
        let tsig = STANDARD.encode([0; TSIG_MIN]);
        let value = |key| Confidential::new(format!("rehearsed-{key}"));
        let values = NEEDED.map(|(_, key)| (key.to_owned(), value(key)));
        let tsig = [("tsigKey".to_owned(), Confidential::new(tsig))];
        Self {
            name: String::new(),
            values: values.into_iter().chain(tsig).collect(),
        }
    }

    /// A secret that stands in Clearwater's configuration: needed, plain, and nothing else's.
    pub(super) fn needed(&self, key: &str) -> Result<&str, Error> {
        let value = self.get(key).ok_or_else(|| self.missing(key))?;
        if value.len() < LENGTH_MIN {
            let reason = "has fewer than 8 characters";
            return Err(self.unusable(key, reason, "take a longer one, drawn at random"));
        }
        let mut others = self.values.iter().filter(|(other, _)| *other != key);
        if others.any(|(_, other)| other.expose() == value) {
            let reason = "is another key's too";
            return Err(self.unusable(key, reason, "draw one for each"));
        }
        self.plain(key, value)
    }

    /// As [`Self::needed`], without demands on its length: somebody else chose it.
    pub(super) fn given(&self, key: &str) -> Result<Option<&str>, Error> {
        let value = self.get(key);
        value.map(|value| self.plain(key, value)).transpose()
    }

    /// The key for DNS updates, in base64.
    ///
    /// # Errors
    /// It is missing, or no key. It is not repeated.
    pub fn tsig(&self) -> Result<&str, Error> {
        let value = self.get("tsigKey").ok_or_else(|| self.missing("tsigKey"))?;
        let value = value.trim();
        if STANDARD
            .decode(value)
            .is_ok_and(|key| key.len() >= TSIG_MIN)
        {
            return Ok(value);
        }
        let reason = "is not the base64 of 32 bytes or more";
        Err(self.unusable(
            "tsigKey",
            reason,
            "write what `openssl rand -base64 32` prints",
        ))
    }

    /// The SSH host key of a machine: its own, or the one of all.
    pub(super) fn host_key(&self, machine: &str) -> Result<Option<HostKey<'_>>, Error> {
        let own = format!("sshHostKey.{machine}");
        let key = [own.as_str(), "sshHostKey"]
            .into_iter()
            .find(|key| self.get(key).is_some());
        let Some((key, text)) = key.and_then(|key| Some((key, self.get(key)?))) else {
            return Ok(None);
        };
        let kind = kind(text).ok_or_else(|| {
            let reason = "is not the secret half of an RSA, ECDSA or Ed25519 key";
            self.unusable(
                key,
                reason,
                "write what `ssh-keygen -N ''` puts into its file",
            )
        })?;
        Ok(Some((kind, text)))
    }

    fn get(&self, key: &str) -> Option<&str> {
        self.values.get(key).map(Confidential::expose)
    }

    fn plain<'a>(&self, key: &str, value: &'a str) -> Result<&'a str, Error> {
        if is_plain_value(value) {
            return Ok(value);
        }
        let reason = "has characters that a shell reads";
        Err(self.unusable(key, reason, "use letters, digits and . _ : , / @ + = % ^ -"))
    }

    fn missing(&self, key: &str) -> Error {
        Error::Missing {
            secret: self.name.clone(),
            key: key.to_owned(),
        }
    }

    fn unusable(&self, key: &str, reason: &'static str, remedy: &'static str) -> Error {
        Error::Secret {
            secret: self.name.clone(),
            key: key.to_owned(),
            reason,
            remedy,
        }
    }
}

/// cloud-init's word for a host key of its kind.
fn kind(text: &str) -> Option<&'static str> {
    let body = text.trim().strip_prefix("-----BEGIN ")?;
    let (kind, body) = body.split_once(" PRIVATE KEY-----")?;
    let (body, _) = body.split_once("-----END ")?;
    match kind {
        "RSA" => Some("rsa_private"),
        "EC" => Some("ecdsa_private"),
        "OPENSSH" => {
            let bytes = STANDARD
                .decode(body.split_whitespace().collect::<String>())
                .ok()?;
            let kinds = [
                (b"ssh-rsa".as_slice(), "rsa_private"),
                (b"ecdsa-sha2-".as_slice(), "ecdsa_private"),
                (b"ssh-ed25519".as_slice(), "ed25519_private"),
            ];
            let within = |name: &[u8]| bytes.windows(name.len()).any(|part| part == name);
            kinds
                .into_iter()
                .find(|(name, _)| within(name))
                .map(|(_, word)| word)
        }
        _ => None,
    }
}
