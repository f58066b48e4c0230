//! One command with its parameters, and its signature.
//!
//! A [`Request`] can be built freely; only [`Request::sign`] makes a [`SignedRequest`], and only
//! that can be sent. How CloudStack checks a signature is in its source (4.22,
//! `server/src/main/java/com/cloud/api/ApiServer.java`); the vectors in the tests are its own
//! algorithm run by hand.

use std::fmt;

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use jiff::{SignedDuration, Timestamp};
use sha1::Sha1;

use crate::types::core::Confidential;

/// How long a signed request stays valid. Long enough for clocks that differ by minutes and a
/// request that queues in the server; below the 15 minutes that CloudStack allows at most where
/// `enforce.post.requests.and.timestamps` is on.
const VALIDITY: SignedDuration = SignedDuration::from_mins(10);

/// The keys of an account. Neither is ever printed.
#[derive(Clone)]
pub(super) struct Keys {
    pub(super) api: Confidential,
    pub(super) secret: Confidential,
}

/// A command that is not signed yet.
#[derive(Clone, PartialEq)]
pub(super) struct Request {
    command: &'static str,
    parameters: Vec<(String, String)>,
}

impl Request {
    /// A command without parameters.
    pub(super) fn new(command: &'static str) -> Self {
        Self {
            command,
            parameters: Vec::new(),
        }
    }

    /// The command's name.
    pub(super) const fn command(&self) -> &'static str {
        self.command
    }

    /// The command with one more parameter. Names are written in lower case, except for the key
    /// behind the bracket of a map parameter, whose case CloudStack keeps.
    #[must_use]
    #[expect(
        clippy::needless_pass_by_value,
        reason = "ids, numbers and texts read best unborrowed"
    )]
    pub(super) fn with(mut self, name: impl Into<String>, value: impl ToString) -> Self {
        self.parameters.push((name.into(), value.to_string()));
        self
    }

    /// The command with one more parameter, if there is a value for it.
    #[must_use]
    pub(super) fn with_some(self, name: &str, value: Option<impl ToString>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// The command with a map parameter in one entry: `name[0].key=value`.
    #[must_use]
    pub(super) fn with_map<'a>(
        self,
        name: &str,
        map: impl IntoIterator<Item = (&'a String, &'a String)>,
    ) -> Self {
        map.into_iter().fold(self, |request, (key, value)| {
            request.with(format!("{name}[0].{key}"), value)
        })
    }

    /// The parameters as they were given, for tests.
    #[cfg(test)]
    pub(super) fn parameters(&self) -> &[(String, String)] {
        &self.parameters
    }

    /// Signs the command. From now on it can be sent, until [`VALIDITY`] is over.
    pub(super) fn sign(self, keys: &Keys, now: Timestamp) -> SignedRequest {
        let expires = now.checked_add(VALIDITY).unwrap_or(Timestamp::MAX);
        let mut parameters = self.parameters;
        parameters.extend([
            ("command".to_owned(), self.command.to_owned()),
            ("response".to_owned(), "json".to_owned()),
            ("apikey".to_owned(), keys.api.expose().to_owned()),
            ("signatureversion".to_owned(), "3".to_owned()),
            (
                "expires".to_owned(),
                expires.strftime("%Y-%m-%dT%H:%M:%S+0000").to_string(),
            ),
        ]);
        let signature = signature(&mut parameters, keys.secret.expose());
        parameters.push(("signature".to_owned(), signature));
        SignedRequest {
            command: self.command,
            body: form(&parameters),
        }
    }
}

/// A command that can be sent. Its body holds the API key, so it is never printed.
pub(super) struct SignedRequest {
    command: &'static str,
    body: String,
}

impl SignedRequest {
    /// The body of the POST, as `application/x-www-form-urlencoded`.
    pub(super) fn into_body(self) -> String {
        self.body
    }
}

impl fmt::Debug for SignedRequest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SignedRequest({})", self.command)
    }
}

/// CloudStack's signature over the parameters, which are left in the order in which it signs
/// them: by name, in the order of Java strings.
fn signature(parameters: &mut [(String, String)], secret: &str) -> String {
    parameters.sort_by(|(one, _), (other, _)| one.encode_utf16().cmp(other.encode_utf16()));
    let text = parameters
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect::<Vec<_>>()
        .join("&")
        .to_lowercase();
    let mut mac =
        Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
    mac.update(text.as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}

fn form(parameters: &[(String, String)]) -> String {
    let pairs = parameters
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)));
    pairs.collect::<Vec<_>>().join("&")
}

/// Percent-encodes as Java's `URLEncoder` does, with `%20` for a space: unlike RFC 3986, `*` stays
/// and `~` does not.
fn encoded(text: &str) -> String {
    let mut encoded = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'*' => {
                encoded.push(char::from(byte));
            }
            _ => {
                encoded.push('%');
                for nibble in [byte >> 4, byte & 15] {
                    encoded.push(char::from(b"0123456789ABCDEF"[usize::from(nibble)]));
                }
            }
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
    use url::form_urlencoded;

    use super::*;

    fn keys() -> Keys {
        Keys {
            api: Confidential::new("K"),
            secret: Confidential::new("S"),
        }
    }

    fn owned(parameters: &[(&str, &str)]) -> Vec<(String, String)> {
        let pairs = parameters.iter();
        pairs
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect()
    }

    #[test]
    fn a_known_request_has_its_known_signature() {
        let mut parameters = owned(&[
            ("response", "json"),
            ("name", "a b*~"),
            ("command", "listZones"),
            ("apikey", "K"),
        ]);
        let signature = signature(&mut parameters, "S");
        assert_eq!(signature, "C2UtMe306XLxK0hSedjkqzdkhVQ=");
        assert_eq!(parameters[0].0, "apikey");
    }

    #[test]
    fn only_javas_unreserved_characters_stay_as_they_are() {
        assert_eq!(encoded("aZ09-_.*"), "aZ09-_.*");
        assert_eq!(
            encoded(" ~+/=[]%&ü€"),
            "%20%7E%2B%2F%3D%5B%5D%25%26%C3%BC%E2%82%AC"
        );
    }

    #[test]
    fn a_signed_request_names_its_end_ten_minutes_ahead() {
        let signed = Request::new("listZones").sign(&keys(), Timestamp::UNIX_EPOCH);
        let body = signed.into_body();
        assert!(
            body.contains("expires=1970-01-01T00%3A10%3A00%2B0000"),
            "{body}"
        );
        assert!(body.contains("signatureversion=3"), "{body}");
    }

    #[test]
    fn nothing_of_a_signed_request_is_printed_but_its_command() {
        let request = Request::new("deployVirtualMachine").with("userdata", "c2VjcmV0");
        let signed = request.sign(&keys(), Timestamp::UNIX_EPOCH);
        assert_eq!(format!("{signed:?}"), "SignedRequest(deployVirtualMachine)");
    }

    #[test]
    fn a_map_keeps_the_case_of_its_keys_and_has_one_entry() {
        let map = std::collections::BTreeMap::from([
            ("weirStack".to_owned(), "u".to_owned()),
            ("B".to_owned(), "2".to_owned()),
        ]);
        let request = Request::new("c").with_map("details", &map);
        let expected = owned(&[("details[0].B", "2"), ("details[0].weirStack", "u")]);
        assert_eq!(request.parameters(), expected);
    }

    proptest! {
        #[test]
        fn whatever_is_sent_is_what_was_signed(values in proptest::collection::vec(any::<String>(), 0..6)) {
            let request = values.iter().enumerate().fold(Request::new("x"), |request, (n, value)| {
                request.with(format!("p{n}"), value)
            });
            let body = request.sign(&keys(), Timestamp::UNIX_EPOCH).into_body();
            let mut received: Vec<(String, String)> =
                form_urlencoded::parse(body.as_bytes()).into_owned().collect();
            let (name, sent) = received.pop().expect("a signature");
            prop_assert_eq!(name, "signature");
            for (n, value) in values.iter().enumerate() {
                let parameter = (format!("p{n}"), value.clone());
                prop_assert!(received.contains(&parameter));
            }
            received.reverse();
            prop_assert_eq!(signature(&mut received, "S"), sent);
        }
    }
}
