//! The form of a signed request, written by nobody whom it is to test.

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use sha1::Sha1;
use weir::sim::Credentials;

/// Everything but letters, digits and `-._*` as `%XX`, as Java's encoder does, with a space as
/// `%20`.
pub(crate) fn encoded(text: &str) -> String {
    let bytes = text.bytes().map(|byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'*' => {
            char::from(byte).to_string()
        }
        _ => format!("%{byte:02X}"),
    });
    bytes.collect()
}

/// A request for JSON with its signature, to be sent as a query or as a form.
pub(crate) fn signed(keys: &Credentials, params: &[(&str, &str)]) -> String {
    let own = [("apikey", keys.api_key.as_str()), ("response", "json")];
    let mut pairs: Vec<_> = params.iter().chain(&own).collect();
    pairs.sort_by_key(|(name, _)| name.to_lowercase());
    // Names are signed as they are, and encoded on the wire; values are encoded in both.
    let joined = |name: fn(&str) -> String| {
        let pairs = pairs
            .iter()
            .map(|(key, value)| format!("{}={}", name(key), encoded(value)));
        pairs.collect::<Vec<_>>().join("&")
    };
    let signature = signature(&keys.secret_key, &joined(str::to_owned));
    format!("{}&signature={}", joined(encoded), encoded(&signature))
}

/// The signature of a text of sorted pairs, whose values are encoded and whose names are not.
pub(crate) fn signature(secret_key: &str, text: &str) -> String {
    let mut mac = Hmac::<Sha1>::new_from_slice(secret_key.as_bytes())
        .expect("a MAC takes keys of any length");
    mac.update(text.to_lowercase().as_bytes());
    STANDARD.encode(mac.finalize().into_bytes())
}
