//! OpenPGP public keys, as far as a package repository needs them: out of their armour, and by
//! their fingerprints. Nothing is verified here but which key it is.
//!
//! Source: RFC 4880, sections 4.2 (packet headers), 6.2 (armour) and 12.2 (fingerprints).

use std::fmt::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use sha1::{Digest, Sha1};

const BEGIN: &str = "-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END: &str = "-----END PGP PUBLIC KEY BLOCK-----";

/// The tag of a packet that holds a primary public key.
const PUBLIC_KEY: u8 = 6;

/// A public key without its armour.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublicKey {
    /// Its packets, which is the form that every apt takes.
    pub bytes: Vec<u8>,
    /// The fingerprint of its primary key: 40 hex digits, upper case.
    pub fingerprint: String,
}

/// Why a text is not one public key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    /// No armour around it.
    #[error("no PGP public key block")]
    Armour,
    /// What is in the armour cannot be read.
    #[error("a PGP public key block that cannot be read")]
    Packets,
    /// Several keys, of which one fingerprint can speak for just one.
    #[error("several keys in one block")]
    Several,
}

/// Takes a key out of its armour.
///
/// # Errors
/// The text is not one public key of version 4.
pub fn read(text: &str) -> Result<PublicKey, KeyError> {
    let (_, rest) = text.split_once(BEGIN).ok_or(KeyError::Armour)?;
    let (body, _) = rest.split_once(END).ok_or(KeyError::Armour)?;
    // Headers like `Version:` end with an empty line; the checksum stands behind a `=` of its own.
    let lines = body.trim_start_matches([' ', '\r']).lines().skip(1);
    let mut lines: Vec<&str> = lines.map(str::trim).collect();
    if let Some(empty) = lines.iter().position(|line| line.is_empty())
        && lines[..empty].iter().all(|line| line.contains(": "))
    {
        lines.drain(..=empty);
    }
    lines.retain(|line| !line.starts_with('='));
    let bytes = STANDARD
        .decode(lines.concat())
        .map_err(|_| KeyError::Packets)?;
    let mut primary = None;
    let mut rest = bytes.as_slice();
    while !rest.is_empty() {
        let (tag, body, after) = packet(rest).ok_or(KeyError::Packets)?;
        if tag == PUBLIC_KEY && primary.replace(body).is_some() {
            return Err(KeyError::Several);
        }
        rest = after;
    }
    let fingerprint = fingerprint(primary.ok_or(KeyError::Packets)?).ok_or(KeyError::Packets)?;
    Ok(PublicKey { bytes, fingerprint })
}

/// A fingerprint in the one form in which it is compared; none where it is not one.
#[must_use]
pub fn normal(fingerprint: &str) -> Option<String> {
    let digits = fingerprint.chars().filter(|c| !c.is_whitespace());
    let digits: String = digits.map(|c| c.to_ascii_uppercase()).collect();
    let hex = digits.chars().all(|c| c.is_ascii_hexdigit());
    (hex && digits.len() == 40).then_some(digits)
}

/// The first packet: its tag, its body, and what follows it.
fn packet(bytes: &[u8]) -> Option<(u8, &[u8], &[u8])> {
    let (&first, rest) = bytes.split_first()?;
    let number = |count: usize| {
        let digits = rest.get(..count)?.iter();
        Some(digits.fold(0, |sum, byte| sum << 8 | usize::from(*byte)))
    };
    let (tag, header, length) = match first {
        0xc0.. => {
            let (header, length) = match *rest.first()? {
                short @ ..192 => (1, usize::from(short)),
                // Two bytes: what the first is beyond 192 counts 256s.
                192..224 => (2, number(2)? - (192 << 8) + 192),
                255 => (5, number(5)? & 0xffff_ffff),
                // Parts of unknown length, which no key has.
                224..255 => return None,
            };
            (first & 0x3f, header, length)
        }
        0x80.. => {
            let header = 1 << (first & 3);
            (
                first >> 2 & 0x0f,
                header,
                number(header).filter(|_| header < 8)?,
            )
        }
        _ => return None,
    };
    let body = rest.get(header..header.checked_add(length)?)?;
    Some((tag, body, &rest[header + length..]))
}

fn fingerprint(body: &[u8]) -> Option<String> {
    let version_4 = body.first() == Some(&4);
    let length = u16::try_from(body.len()).ok().filter(|_| version_4)?;
    let hash = Sha1::new().chain_update([0x99]);
    let hash = hash.chain_update(length.to_be_bytes()).chain_update(body);
    let mut text = String::with_capacity(40);
    for byte in hash.finalize() {
        write!(text, "{byte:02X}").expect("a String takes every write");
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Made with GnuPG for these tests; nobody has its secret half.
    const KEY: &str = include_str!("openpgp/key.asc");
    const FINGERPRINT: &str = include_str!("openpgp/fingerprint.txt");

    #[test]
    fn a_fingerprint_is_what_gnupg_says_it_is() {
        assert_eq!(read(KEY).unwrap().fingerprint, FINGERPRINT.trim());
        let with_headers = KEY.replacen("\n\n", "\nVersion: GnuPG v1\nComment: by hand\n\n", 1);
        assert_eq!(read(&with_headers), read(KEY));
        assert_eq!(read(&KEY.replace('\n', "\r\n")), read(KEY));
    }

    #[test]
    fn what_is_not_one_key_is_refused() {
        let cut = KEY.replacen(&KEY[80..160], "", 1);
        let letters = KEY.replacen(&KEY[80..84], "%%%%", 1);
        for (text, error) in [
            ("", KeyError::Armour),
            ("-----BEGIN PGP PRIVATE KEY BLOCK-----", KeyError::Armour),
            (&KEY[..KEY.len() - 20], KeyError::Armour),
            (&cut, KeyError::Packets),
            (&letters, KeyError::Packets),
        ] {
            assert_eq!(read(text).unwrap_err(), error, "{text}");
        }
        let twice = [read(KEY).unwrap().bytes, read(KEY).unwrap().bytes].concat();
        let twice = format!("{BEGIN}\n\n{}\n{END}\n", STANDARD.encode(twice));
        assert_eq!(read(&twice).unwrap_err(), KeyError::Several);
    }

    #[test]
    fn a_fingerprint_may_have_spaces() {
        let spaced = "9213 4604 DE32 7DF7 FEB7 2026 111D BE47 22B9 7904";
        let plain = "92134604de327df7feb72026111dbe4722b97904";
        assert_eq!(normal(spaced), normal(plain));
        assert_eq!(normal("22B97904"), None);
        assert_eq!(normal(&plain.replace('9', "x")), None);
    }
}
