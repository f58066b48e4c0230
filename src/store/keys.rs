//! Encryption of Secrets at rest: XChaCha20-Poly1305 under keys that have names.
//!
//! The first key encrypts, every key decrypts. A Secret is encrypted whole, with its annotations,
//! in which kubectl keeps a copy of what was applied. Where it is stored is authenticated with it,
//! so that what is moved to another name does not decrypt. Nonces are random, 24 bytes, which is
//! enough for any number of writes under one key.

use std::{collections::HashSet, fmt, iter};

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    KeyInit, XChaCha20Poly1305, XNonce,
    aead::{Aead, Generate, Key as Bytes32, Payload},
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, json};
use zeroize::Zeroizing;

use super::{error::StoreError, path, rules};
use crate::types::meta::{Object, ObjectMeta};

/// Bytes of a key.
const KEY_BYTES: usize = 32;

/// Longest name of a key.
const NAME_BYTES: usize = 63;

/// What is authenticated before the path, so that nothing else encrypted under a key passes for a
/// Secret.
const CONTEXT: &str = "weir secret 1\n";

/// What the paths of that begin with which is encrypted.
pub(super) const PREFIX: &str = "secrets/";

/// The member of an object that stands for all others while they are encrypted.
const SEALED: &str = "sealed";

/// Keys by name, at least one. `Debug` shows the names alone.
pub struct Keys {
    keys: Vec<Key>,
}

struct Key {
    name: String,
    cipher: XChaCha20Poly1305,
}

/// Why a text holds no keys. The text itself, which may be a key, is never shown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub struct KeysError {
    /// The line, from 1; none where the whole text is meant.
    pub line: Option<usize>,
    /// What is wrong, and what to do.
    pub reason: String,
}

impl fmt::Display for KeysError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            Some(line) => write!(f, "line {line}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

/// An object that is encrypted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Sealed {
    /// The name of the key.
    pub(super) key: String,
    /// In base64.
    nonce: String,
    /// In base64, with its tag.
    ciphertext: String,
}

impl Keys {
    /// Reads keys, a line each: `NAME:KEY`, the key being 32 bytes in base64. Empty lines and those
    /// that begin with `#` are passed over.
    ///
    /// # Errors
    /// The first line that is no key, a name that is there twice, or no key at all.
    pub fn read(text: &str) -> Result<Self, KeysError> {
        let mut keys = Vec::new();
        let mut names = HashSet::new();
        for (index, line) in text.lines().map(str::trim).enumerate() {
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let at = |reason: String| KeysError {
                line: Some(index + 1),
                reason,
            };
            let key = Key::read(line).map_err(at)?;
            if !names.insert(key.name.clone()) {
                let reason = format!("the name {} is there already: choose another", key.name);
                return Err(at(reason));
            }
            keys.push(key);
        }
        if keys.is_empty() {
            return Err(KeysError {
                line: None,
                reason: format!("there is no key in it; {REMEDY}"),
            });
        }
        Ok(Self { keys })
    }

    /// The line of a new key, whose name is random.
    ///
    /// # Errors
    /// The system gives no random bytes.
    pub fn generate() -> Result<Zeroizing<String>, StoreError> {
        let drawn = || Bytes32::<XChaCha20Poly1305>::try_generate().map_err(undrawn);
        let name: String = drawn()?[..4].iter().map(|b| format!("{b:02x}")).collect();
        let key = Zeroizing::new(<[u8; KEY_BYTES]>::from(drawn()?));
        let encoded = Zeroizing::new(STANDARD.encode(*key));
        Ok(Zeroizing::new(format!("weir-{name}:{}\n", *encoded)))
    }

    /// The name of the key that encrypts.
    #[must_use]
    pub fn first(&self) -> &str {
        &self.keys[0].name
    }

    /// The names of all keys.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|key| &*key.name)
    }

    /// The object as it may be shown to everybody: its kind, namespace, name and uid, and everything
    /// once more, encrypted.
    ///
    /// # Errors
    /// The kind is none of ours, or the system gives no random bytes.
    pub fn sealed(&self, object: &Object) -> Result<Object, StoreError> {
        let sealed = self.seal(&place(object)?, object)?;
        Ok(Object {
            api_version: object.api_version.clone(),
            kind: object.kind.clone(),
            metadata: ObjectMeta {
                namespace: object.metadata.namespace.clone(),
                name: object.metadata.name.clone(),
                uid: object.metadata.uid.clone(),
                ..ObjectMeta::default()
            },
            body: Map::from_iter([(SEALED.to_owned(), json!(sealed))]),
        })
    }

    /// The object that [`Self::sealed`] was given; any other one as it is.
    ///
    /// # Errors
    /// The key is missing or another, or the object was changed or moved.
    pub fn unsealed(keys: Option<&Self>, object: Object) -> Result<Object, StoreError> {
        let Some(sealed) = object.body.get(SEALED) else {
            return Ok(object);
        };
        let path = place(&object)?;
        let sealed = Sealed::deserialize(sealed)
            .map_err(|error| unopened(&path, format!("sealed: {error}"), RESTORE))?;
        open(keys, &path, &sealed)
    }

    /// Encrypts an object that is stored at `path`.
    pub(super) fn seal(&self, path: &str, object: &Object) -> Result<Sealed, StoreError> {
        let text = serde_json::to_vec(object).expect("the members of an object have text keys");
        let text = Zeroizing::new(text);
        let nonce = XNonce::try_generate().map_err(undrawn)?;
        let bound = bound(path);
        let payload = Payload {
            msg: &text,
            aad: bound.as_bytes(),
        };
        let Key { name, cipher } = &self.keys[0];
        let ciphertext = cipher.encrypt(&nonce, payload).map_err(|_| {
            StoreError::Invalid(format!(
                "{path} is too large to be encrypted: make it smaller"
            ))
        })?;
        Ok(Sealed {
            key: name.clone(),
            nonce: STANDARD.encode(nonce),
            ciphertext: STANDARD.encode(ciphertext),
        })
    }
}

impl Key {
    fn read(line: &str) -> Result<Self, String> {
        let (name, encoded) = line
            .split_once(':')
            .ok_or_else(|| format!("no colon in it; {REMEDY}"))?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_.".contains(c);
        if name.is_empty() || name.len() > NAME_BYTES || !name.chars().all(plain) {
            return Err(format!(
                "the name before the colon has other letters than a-z, A-Z, 0-9, `-`, `_` and `.`, \
                 or not 1 to {NAME_BYTES} of them; {REMEDY}"
            ));
        }
        let bytes = STANDARD
            .decode(encoded.trim())
            .map(Zeroizing::new)
            .map_err(|_| format!("the key {name} is no base64; {REMEDY}"))?;
        let cipher = XChaCha20Poly1305::new_from_slice(&bytes).map_err(|_| {
            format!(
                "the key {name} has {} bytes and not {KEY_BYTES}; {REMEDY}",
                bytes.len()
            )
        })?;
        let name = name.to_owned();
        Ok(Self { name, cipher })
    }

    /// The text that was encrypted; none where it was not by this key, for this place.
    fn decrypt(&self, path: &str, sealed: &Sealed) -> Option<Zeroizing<Vec<u8>>> {
        let nonce = STANDARD.decode(&sealed.nonce).ok()?;
        let nonce = XNonce::try_from(&*nonce).ok()?;
        let ciphertext = STANDARD.decode(&sealed.ciphertext).ok()?;
        let bound = bound(path);
        let payload = Payload {
            msg: &ciphertext,
            aad: bound.as_bytes(),
        };
        self.cipher
            .decrypt(&nonce, payload)
            .ok()
            .map(Zeroizing::new)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.names()).finish()
    }
}

/// How keys are written.
const REMEDY: &str = "write a line NAME:KEY, with a KEY from `head -c 32 /dev/urandom | base64`";

const RESTORE: &str = "restore a backup";

/// Decrypts what is stored at `path`.
pub(super) fn open(keys: Option<&Keys>, path: &str, sealed: &Sealed) -> Result<Object, StoreError> {
    let all = keys.map_or(&[][..], |keys| &keys.keys);
    let name = &sealed.key;
    let Some(key) = all.iter().find(|key| key.name == *name) else {
        let given: Vec<_> = all.iter().map(|key| &*key.name).collect();
        let given = match &*given.join(", ") {
            "" => "none is given".to_owned(),
            given => format!("only these are given: {given}"),
        };
        return Err(unopened(
            path,
            format!("it is encrypted with the key {name}, and {given}"),
            "give that key as well, in --encryption-key-file or WEIR_ENCRYPTION_KEYS; if it is lost, \
             `weir state rekey --remove-lost` removes the Secret",
        ));
    };
    let text = key.decrypt(path, sealed).ok_or_else(|| {
        unopened(
            path,
            format!(
                "the key {name} does not decrypt it: either that name stood for another key when it \
                 was written, or it was changed or moved"
            ),
            "put the former key back, or restore a backup",
        )
    })?;
    // The error would quote what it could not read.
    let object: Object = serde_json::from_slice(&text)
        .map_err(|_| unopened(path, "what was encrypted is no object".to_owned(), RESTORE))?;
    Ok(object)
}

/// Whether something is encrypted when it is stored at `path`.
pub(super) fn concerns(path: &str) -> bool {
    path.starts_with(PREFIX)
}

fn bound(path: &str) -> String {
    iter::once(CONTEXT).chain([path]).collect()
}

fn place(object: &Object) -> Result<String, StoreError> {
    rules::known(object).map(|key| path(&key))
}

fn unopened(path: &str, why: String, remedy: &'static str) -> StoreError {
    StoreError::Undecrypted {
        path: path.to_owned(),
        why,
        remedy,
    }
}

fn undrawn(error: impl fmt::Display) -> StoreError {
    let why = format!("the system gives no random bytes ({error})");
    StoreError::io("nothing can be encrypted", why)
}
