//! How much is let in, how fast and for how long, so that nobody takes from the others what the
//! server has.
//!
//! `pace` counts requests by the second, `share` what somebody has at once, both by [`Asker`];
//! `socket` gives up on a client that does not read. Sizes and times of bodies are kept by `body`.

mod pace;
mod share;
mod socket;

use std::{
    net::{IpAddr, Ipv6Addr},
    time::Duration,
};

use sha2::{Digest, Sha256};

pub(super) use self::{
    pace::Pace,
    share::{Held, Holds, Shares, held_back},
    socket::Patient,
};
use super::auth::User;

/// How much is let in. The defaults suit a controller with a few thousand objects.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at once; more are closed at once. Default 4096.
    pub connections: usize,
    /// The same for each address, or each /64 of IPv6. Default 2048.
    pub connections_each: usize,
    /// Watches at once; more get 429. Default 2048.
    pub watches: usize,
    /// The same for each user. Default 1024.
    pub watches_each: usize,
    /// Other requests at once, from when it is known who asks until the answer is sent; more get
    /// 429. A watch is one until it has told the state from which it begins. Each may hold a whole
    /// list. Default 400, as in Kubernetes.
    pub requests: usize,
    /// The same for each user. Default 200.
    pub requests_each: usize,
    /// Requests a second for each user, at least 1; more get 429 and when to come again. Who has no
    /// credential, or a wrong one, is told from others by address. Health is told to everybody.
    /// Default 200: some times what client libraries allow themselves.
    pub pace: u32,
    /// Requests that a user who has asked for nothing lately may send at once, at least 1. Default
    /// 1000.
    pub burst: u32,
    /// Time for a TLS handshake. Default 10 s.
    pub handshake: Duration,
    /// Bytes in the head of a request, at least 8 KiB; more get 431. A token with many groups is the
    /// longest part of it. Default 64 KiB.
    pub head_bytes: usize,
    /// Header lines in it; more get 431. Default 100.
    pub header_lines: usize,
    /// Time for the head of a request, from when the connection is free for it. It is also how long
    /// a client may keep an idle connection: longer than clients wait between requests. Default
    /// 180 s.
    pub head: Duration,
    /// Bytes in the body of a request. Default 3 MiB, as in Kubernetes.
    pub body_bytes: usize,
    /// Time for the body of a request; more gets 408. Default 60 s, in which 3 MiB come over any line
    /// of use.
    pub body: Duration,
    /// Time for one request that is not a watch; a plan over a slow CloudStack takes longest.
    /// Default 115 s, a little less than the client waits.
    pub request: Duration,
    /// Time without a byte taken by a client that something is to be sent to; then its connection is
    /// closed, whatever it asked for. Default 30 s.
    pub stalled: Duration,
    /// Time between two bookmarks of a watch. Default 60 s.
    pub bookmark_every: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections: 4096,
            connections_each: 2048,
            watches: 2048,
            watches_each: 1024,
            requests: 400,
            requests_each: 200,
            pace: 200,
            burst: 1000,
            handshake: Duration::from_secs(10),
            head_bytes: 64 << 10,
            header_lines: 100,
            head: Duration::from_secs(180),
            body_bytes: 3 << 20,
            body: Duration::from_secs(60),
            request: Duration::from_secs(115),
            stalled: Duration::from_secs(30),
            bookmark_every: Duration::from_secs(60),
        }
    }
}

/// Whom a limit holds for: a digest, so that a long name takes no more room than a short one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Asker([u8; 32]);

impl Asker {
    /// A user, or an address where nobody is known by a name.
    pub(super) fn of(user: Option<&User>, from: IpAddr) -> Self {
        match user.filter(|user| !user.is_anonymous()) {
            Some(user) => Self::named("user", user.name.as_bytes()),
            None => Self::at(from),
        }
    }

    /// An address. Whoever has one of IPv6 has a /64 of them.
    pub(super) fn at(from: IpAddr) -> Self {
        match from.to_canonical() {
            IpAddr::V4(address) => Self::named("address", &address.octets()),
            IpAddr::V6(address) => {
                let network = u128::from(address) >> 64 << 64;
                Self::named("address", &Ipv6Addr::from(network).octets())
            }
        }
    }

    fn named(what: &str, name: &[u8]) -> Self {
        let digest = Sha256::new().chain_update(what).chain_update([0]);
        Self(digest.chain_update(name).finalize().into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_no_name_is_told_by_address() {
        let at = |text: &str| Asker::at(text.parse().unwrap());
        let from = IpAddr::from([192, 0, 2, 1]);
        let (ann, nobody) = (User::new("ann", []), User::anonymous());
        assert_ne!(Asker::of(Some(&ann), from), Asker::of(Some(&nobody), from));
        assert_eq!(Asker::of(Some(&nobody), from), Asker::of(None, from));
        assert_eq!(at("::ffff:192.0.2.1"), at("192.0.2.1"));
        assert_eq!(at("2001:db8::1"), at("2001:db8::ffff:2"));
        assert_ne!(at("2001:db8::1"), at("2001:db8:0:1::1"));
    }
}
