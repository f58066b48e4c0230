//! CloudStack's request protocol: parameters, their signature, and when a signature expires.
//!
//! Written from the server's side and from its documentation, and sharing nothing with the client
//! in this crate, so that one misreading cannot hide in both.

use std::collections::BTreeMap;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use jiff::Timestamp;
use sha1::Sha1;

/// The parameters of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Params {
    /// As they were sent: what the signature is about.
    sent: BTreeMap<String, String>,
    /// With lower-case names, which is how commands ask for them; sub-keys keep their case.
    known: BTreeMap<String, String>,
}

/// A query string or form body, decoded.
fn decode(text: &str) -> impl Iterator<Item = (String, String)> {
    url::form_urlencoded::parse(text.as_bytes()).into_owned()
}

impl Params {
    /// Parameters from a query string and a form body; the query wins.
    pub(crate) fn parse(query: &str, body: &str) -> Self {
        Self::collect(decode(body).chain(decode(query)))
    }

    /// Parameters from pairs.
    pub(crate) fn collect(pairs: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut params = Self::default();
        for (name, value) in pairs {
            params.known.insert(known_name(&name), value.clone());
            params.sent.insert(name, value);
        }
        params
    }

    /// The value of a parameter, by its name in lower case.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.known.get(name).map(String::as_str)
    }

    /// A boolean parameter: `true` in any case, anything else is false.
    pub(crate) fn flag(&self, name: &str) -> Option<bool> {
        self.get(name)
            .map(|value| value.eq_ignore_ascii_case("true"))
    }

    /// The pairs of a map parameter of keys and values, as `tags` is.
    pub(crate) fn pairs(&self, name: &str) -> Vec<(String, Option<String>)> {
        let pair = |mut entry: BTreeMap<String, String>| {
            Some((entry.remove("key")?, entry.remove("value")))
        };
        self.entries(name).into_iter().filter_map(pair).collect()
    }

    /// The value of a parameter that must be spelt exactly so.
    pub(crate) fn exact(&self, name: &str) -> Option<&str> {
        self.sent.get(name).map(String::as_str)
    }

    /// Whether there are no parameters at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.sent.is_empty()
    }

    /// All parameters, by their names in lower case.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.known
            .iter()
            .map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The entries of a map parameter, in the order of their indexes: `tags[0].key=a`.
    pub(crate) fn entries(&self, name: &str) -> Vec<BTreeMap<String, String>> {
        let mut entries: BTreeMap<u32, BTreeMap<String, String>> = BTreeMap::new();
        for (full, value) in &self.known {
            let inner = full
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('['));
            let Some((index, key)) = inner.and_then(|rest| rest.split_once("].")) else {
                continue;
            };
            let Ok(index) = index.parse() else { continue };
            entries
                .entry(index)
                .or_default()
                .insert(key.to_owned(), value.clone());
        }
        entries.into_values().collect()
    }

    /// The name of a map parameter with broken syntax, if there is one.
    pub(crate) fn broken_map(&self) -> Option<&str> {
        let broken = |name: &&String| {
            let Some((_, rest)) = name.split_once('[') else {
                return false;
            };
            let index = rest
                .split_once("].")
                .map(|(index, _)| index.parse::<u32>().is_ok());
            !rest.ends_with(']') && index != Some(true)
        };
        self.known.keys().find(broken).map(String::as_str)
    }

    /// The first parameter with a control character, apart from line ends.
    pub(crate) fn unprintable(&self) -> Option<&str> {
        let bad = |c: char| c.is_ascii_control() && c != '\n' && c != '\r';
        self.sent
            .iter()
            .find(|(_, value)| value.contains(bad))
            .map(|(name, _)| name.as_str())
    }

    /// The text that is signed: sorted by the names as sent, values encoded, all in lower case.
    fn signed_text(&self) -> String {
        let signed = self
            .sent
            .iter()
            .filter(|(name, _)| !name.eq_ignore_ascii_case("signature"));
        let pairs: Vec<String> = signed
            .map(|(name, value)| format!("{name}={}", encode(value)))
            .collect();
        pairs.join("&").to_lowercase()
    }

    /// The signature that the holder of `secret` would have sent.
    #[cfg(test)]
    pub(crate) fn signature(&self, secret: &str) -> String {
        STANDARD.encode(mac(secret, &self.signed_text()).finalize().into_bytes())
    }

    /// Whether the request was signed with `secret`.
    pub(crate) fn is_signed_with(&self, secret: &str) -> bool {
        let Some(signature) = self.get("signature") else {
            return false;
        };
        let Ok(signature) = STANDARD.decode(signature) else {
            return false;
        };
        mac(secret, &self.signed_text())
            .verify_slice(&signature)
            .is_ok()
    }

    /// Whether the signature still counts: version 3 needs an expiry that has not passed.
    pub(crate) fn is_fresh(&self, now: Timestamp) -> bool {
        if self.get("signatureversion") != Some("3") {
            return true;
        }
        self.get("expires")
            .and_then(instant)
            .is_some_and(|expires| expires >= now)
    }
}

fn mac(secret: &str, text: &str) -> Hmac<Sha1> {
    let mut mac =
        Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes a key of any length");
    mac.update(text.as_bytes());
    mac
}

/// The part of a name before a bracket in lower case, the rest as it is.
fn known_name(name: &str) -> String {
    match name.split_once('[') {
        Some((before, rest)) => format!("{}[{rest}", before.to_lowercase()),
        None => name.to_lowercase(),
    }
}

/// Encodes as Java does: letters, digits and `-_.*` stay, a space is `%20`, the rest is percent.
fn encode(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || b"-_.*".contains(&byte) {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Reads the time formats of `expires`: with `Z` or an offset, with a fraction or without.
pub(crate) fn instant(text: &str) -> Option<Timestamp> {
    let text = text.replace('Z', "+0000").replace("+0000+0000", "+0000");
    let (time, offset) = text.split_at_checked(19)?;
    let offset = offset.trim_start_matches(|c: char| c == '.' || c.is_ascii_digit());
    let offset = offset.replace(':', "");
    Timestamp::strptime("%Y-%m-%dT%H:%M:%S%z", format!("{time}{offset}")).ok()
}

/// Reads a date parameter: an instant, a day with a time, or a day.
pub(crate) fn date(text: &str) -> Option<Timestamp> {
    let with_time = || Timestamp::strptime("%Y-%m-%d %H:%M:%S%z", format!("{text}+0000")).ok();
    let day = || Timestamp::strptime("%Y-%m-%d %H:%M:%S%z", format!("{text} 00:00:00+0000")).ok();
    instant(text).or_else(with_time).or_else(day)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn params(pairs: &[(&str, &str)]) -> Params {
        Params::collect(
            pairs
                .iter()
                .map(|(name, value)| ((*name).into(), (*value).into())),
        )
    }

    #[test]
    fn a_known_vector_is_signed_as_published() {
        let params = params(&[
            ("apikey", "K"),
            ("command", "listZones"),
            ("name", "a b*~"),
            ("response", "json"),
        ]);
        let text = "apikey=k&command=listzones&name=a%20b*%7e&response=json";
        assert_eq!(params.signed_text(), text);
        assert_eq!(params.signature("S"), "C2UtMe306XLxK0hSedjkqzdkhVQ=");
    }

    #[test]
    fn a_changed_value_no_longer_verifies() {
        let mut request = params(&[("command", "listZones"), ("apiKey", "K")]);
        let signature = request.signature("S");
        request.sent.insert("signature".into(), signature.clone());
        request.known.insert("signature".into(), signature);
        assert!(request.is_signed_with("S") && !request.is_signed_with("T"));
        request.sent.insert("command".into(), "listVPCs".into());
        assert!(!request.is_signed_with("S"));
    }

    #[test]
    fn the_query_wins_over_the_body_and_names_lose_their_case() {
        let params = Params::parse("zoneId=1&tags%5B0%5D.Key=a+b", "zoneId=2&name=x");
        assert_eq!(params.get("zoneid"), Some("1"));
        assert_eq!(params.get("name"), Some("x"));
        assert_eq!(params.entries("tags")[0]["Key"], "a b");
    }

    #[test]
    fn an_expiry_counts_with_version_three_only() {
        let now = "2026-01-01T00:00:00Z".parse().expect("a time");
        let with = |version, expires| {
            params(&[("signatureversion", version), ("expires", expires)]).is_fresh(now)
        };
        assert!(with("3", "2026-01-01T00:00:01+0000") && with("3", "2026-01-01T01:30:00+01:00"));
        assert!(with("3", "2026-01-01T00:00:00.5Z") && with("2", "2020-01-01T00:00:00Z"));
        assert!(!with("3", "2025-12-31T23:59:59Z") && !with("3", "soon"));
    }

    #[test]
    fn a_map_with_a_broken_bracket_is_noticed() {
        assert!(params(&[("tags[0].key", "a")]).broken_map().is_none());
        assert!(params(&[("tags[x].key", "a")]).broken_map().is_some());
    }
}
