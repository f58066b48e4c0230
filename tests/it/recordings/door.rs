//! Sends requests to a simulator over HTTP, by a pipe in memory: so the clock can stand still.

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, duplex},
    task::JoinSet,
};
use weir::sim::{Credentials, Sim};

use super::tables::Proof;
use crate::support::signed::{encoded, signature};

/// How much a pipe holds: more than any recorded request.
const PIPE: usize = 1 << 20;

/// An answer as it came.
pub(super) struct Answer {
    pub status: u16,
    pub content_type: String,
    pub body: String,
}

/// The form of a request with the key and the signature of these credentials, where the recorder
/// had sent any.
pub(super) fn signed(keys: &Credentials, proof: Proof, params: &[(String, String)]) -> String {
    let key = match proof {
        Proof::UnknownKey => "nobody has this key",
        Proof::Good | Proof::BadSignature => &keys.api_key,
    };
    let mut pairs: Vec<(&str, &str)> = params
        .iter()
        .map(|(name, value)| match name.as_str() {
            "apiKey" => ("apiKey", key),
            name => (name, value.as_str()),
        })
        .collect();
    // The server sorts the names as they are.
    pairs.sort_unstable();
    let joined = |name: fn(&str) -> String| {
        let pairs = pairs
            .iter()
            .map(|(key, value)| format!("{}={}", name(key), encoded(value)));
        pairs.collect::<Vec<_>>().join("&")
    };
    if !pairs.iter().any(|(name, _)| *name == "apiKey") {
        return joined(encoded);
    }
    let text = match proof {
        Proof::BadSignature => String::new(),
        Proof::Good | Proof::UnknownKey => joined(str::to_owned),
    };
    let signature = encoded(&signature(&keys.secret_key, &text));
    format!("{}&signature={signature}", joined(encoded))
}

/// Sends a request on a connection of its own.
pub(super) async fn ask(sim: &Sim, method: &str, form: &str) -> Answer {
    let (mut near, far) = duplex(PIPE);
    let mut server = JoinSet::new();
    let sim = sim.clone();
    server.spawn(async move { sim.converse(far).await });
    let (query, body) = match method {
        "GET" => (format!("?{form}"), ""),
        "POST" => (String::new(), form),
        other => panic!("nobody knows how to send a {other}"),
    };
    let length = body.len();
    let request = format!(
        "{method} /client/api{query} HTTP/1.1\r\nHost: cloud\r\nConnection: close\r\nContent-Type: application/x-www-form-urlencoded\r\nContent-Length: {length}\r\n\r\n{body}"
    );
    near.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    near.read_to_string(&mut answer).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").expect("a head and a body");
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok());
    let header = |line: &str| {
        let (name, value) = line.split_once(": ")?;
        name.eq_ignore_ascii_case("content-type")
            .then(|| value.to_owned())
    };
    Answer {
        status: status.expect("a status"),
        content_type: head.lines().find_map(header).unwrap_or_default(),
        body: body.to_owned(),
    }
}
