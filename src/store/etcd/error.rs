//! What can be wrong with an etcd, in sentences that say where and what to do.

use std::{error::Error, io, path::PathBuf};

use tokio_rustls::rustls;
use tonic::{Code, Status};

/// Why an etcd cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum EtcdError {
    /// The address makes no sense.
    #[error(
        "--store {address}: {why}; it is written etcd://HOST:PORT,HOST:PORT/PREFIX, or etcds:// \
         for TLS"
    )]
    Address {
        /// As it was given.
        address: String,
        /// What is wrong.
        why: String,
    },
    /// Options contradict each other.
    #[error("{option}: {why}")]
    Option {
        /// Its name.
        option: &'static str,
        /// What is wrong, and what helps.
        why: String,
    },
    /// A file that an option names cannot be used.
    #[error("{option} {}: {why}", path.display())]
    File {
        /// The option's name.
        option: &'static str,
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// No member can be spoken to; each with its reason.
    #[error("no member of etcd can be used:{}", listed(.tried))]
    Unreachable {
        /// The members and what was wrong with each.
        tried: Vec<(String, String)>,
    },
    /// etcd refused a request, and nothing was done.
    #[error("etcd at {endpoint} refused: {why}")]
    Refused {
        /// The member.
        endpoint: String,
        /// What it said, and what helps.
        why: String,
    },
    /// A revision that was asked for is no longer kept.
    #[error("etcd at {endpoint} has compacted that revision")]
    Compacted {
        /// The member.
        endpoint: String,
    },
    /// The answer is larger than is taken at a time.
    #[error("the answer of etcd at {endpoint} is too large: {why}")]
    TooLarge {
        /// The member.
        endpoint: String,
        /// The size and the limit.
        why: String,
    },
    /// A request was sent and not answered: a write may have taken effect.
    #[error("etcd at {endpoint} did not answer: {why}")]
    Uncertain {
        /// The member.
        endpoint: String,
        /// What was seen.
        why: String,
    },
    /// It answered something that cannot be.
    #[error("{0}")]
    Strange(String),
    /// Nothing of Weir's is below the prefix.
    #[error(
        "there is no state of Weir's below {place} in etcd: --store etcd://HOST:PORT/PREFIX names it"
    )]
    Absent {
        /// The prefix.
        place: String,
    },
    /// A later Weir wrote what is there.
    #[error(
        "the state at {place} was written by a newer Weir ({found}; this one reads up to {known}): \
         run that version or a later one"
    )]
    Newer {
        /// The key that says so.
        place: String,
        /// Its format.
        found: String,
        /// The latest format that this program reads.
        known: String,
    },
}

fn listed(tried: &[(String, String)]) -> String {
    let lines = tried.iter().map(|(endpoint, why)| {
        let why = why.as_str();
        format!("\n  {endpoint}: {why}")
    });
    lines.collect()
}

/// What a failed request means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It never came to be decided on: it may be sent again, also a write.
    NotDone,
    /// As before, and the token is to be blamed.
    TokenOver,
    /// Nobody knows.
    Unknown,
    /// It was refused, and will be again.
    Refused,
    /// A revision that was asked for is gone.
    Compacted,
    /// The answer was larger than is taken.
    TooLarge,
}

/// Texts of etcd's (`api/v3rpc/rpctypes/error.go`) that tell apart what has one code. The only
/// place where Weir looks at them.
const TEXTS: &[(Code, &str, Verdict)] = &[
    (Code::OutOfRange, "has been compacted", Verdict::Compacted),
    (
        Code::OutOfRange,
        "message length too large",
        Verdict::TooLarge,
    ),
    (Code::Unavailable, "etcdserver: no leader", Verdict::NotDone),
    (
        Code::Unavailable,
        "etcdserver: not capable",
        Verdict::NotDone,
    ),
    (Code::Unavailable, "learner", Verdict::NotDone),
    (
        Code::ResourceExhausted,
        "too many requests",
        Verdict::NotDone,
    ),
    (
        Code::InvalidArgument,
        "revision of auth store is old",
        Verdict::TokenOver,
    ),
    (
        Code::InvalidArgument,
        "revision in auth store is old",
        Verdict::TokenOver,
    ),
    (
        Code::Unauthenticated,
        "invalid auth token",
        Verdict::TokenOver,
    ),
];

/// What the failure of a request means.
pub(super) fn verdict(status: &Status) -> Verdict {
    if find::<tonic::ConnectError>(status).is_some() {
        return Verdict::NotDone;
    }
    let known = |(code, text, _): &&(Code, &str, Verdict)| {
        *code == status.code() && status.message().contains(text)
    };
    if let Some((_, _, verdict)) = TEXTS.iter().find(known) {
        return *verdict;
    }
    match status.code() {
        Code::InvalidArgument
        | Code::NotFound
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::ResourceExhausted
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unimplemented
        | Code::Unauthenticated => Verdict::Refused,
        _ => Verdict::Unknown,
    }
}

/// What was said, with what helps against it.
pub(super) fn told(status: &Status, prefix: &str) -> String {
    let text = match (status.message(), status.source()) {
        ("", Some(source)) => chain(source),
        (message, Some(source)) if status.code() == Code::Unknown => {
            format!("{message}: {}", chain(source))
        }
        (message, _) => message.to_owned(),
    };
    let has = |word: &str| text.contains(word);
    let helps = match status.code() {
        Code::PermissionDenied => format!(
            "the user needs to read and write below {prefix}: etcdctl role grant-permission ROLE \
             --prefix=true readwrite {prefix}"
        ),
        Code::InvalidArgument if has("user name is empty") => {
            "it wants a user: --etcd-user and --etcd-password-file".to_owned()
        }
        Code::InvalidArgument if has("authentication failed") => {
            "check --etcd-user and the file of --etcd-password-file".to_owned()
        }
        Code::FailedPrecondition if has("authentication is not enabled") => {
            "it has no users: leave --etcd-user out, or run etcdctl auth enable".to_owned()
        }
        Code::ResourceExhausted if has("database space exceeded") => {
            "run etcdctl defrag and etcdctl alarm disarm, or raise its --quota-backend-bytes"
                .to_owned()
        }
        Code::InvalidArgument | Code::ResourceExhausted
            if has("request is too large") || has("larger than max") =>
        {
            "raise its --max-request-bytes, or make the object smaller".to_owned()
        }
        Code::Unimplemented => "it is no etcd of version 3.4 or later".to_owned(),
        _ => return text,
    };
    format!("{text}; {helps}")
}

/// Why a member cannot be connected to, with what helps.
pub(super) fn unconnected(error: &(dyn Error + 'static), endpoint: &str) -> String {
    let text = chain(error);
    let io = find::<io::Error>(error).map(io::Error::kind);
    let tls = endpoint.starts_with("https:");
    let helps = match find::<rustls::Error>(error) {
        Some(rustls::Error::InvalidCertificate(_)) => {
            "is --etcd-ca the authority that signed its certificate, for this name?"
        }
        Some(rustls::Error::InvalidMessage(_)) => "it speaks no TLS there: is it etcd://?",
        Some(rustls::Error::AlertReceived(_)) => {
            "it wants another client certificate: check --etcd-cert and --etcd-key"
        }
        _ if io == Some(io::ErrorKind::ConnectionRefused) => "is etcd running there?",
        _ if tls
            && matches!(
                io,
                Some(io::ErrorKind::UnexpectedEof | io::ErrorKind::ConnectionReset)
            ) =>
        {
            "perhaps it speaks no TLS there: is it etcd://?"
        }
        // In TLS 1.3 a client is refused only after it has said all that it had to say.
        None if tls && find::<Status>(error).is_some() => {
            "perhaps it wants a client certificate, or another one: --etcd-cert and --etcd-key"
        }
        None if !tls => "if it serves TLS there, write etcds://",
        _ => return text,
    };
    format!("{text}; {helps}")
}

/// An error and its sources, each text once.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut texts: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let text = match error.downcast_ref::<Status>() {
            Some(status) => status.message().to_owned(),
            None => error.to_string(),
        };
        if !text.is_empty() && !texts.iter().any(|told| told.contains(&text)) {
            texts.push(text);
        }
        next = error.source();
    }
    texts.join(": ")
}

/// The first error of a type among an error and its sources. An I/O error may wrap another error
/// without calling it its source.
fn find<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        let wrapped = error.downcast_ref::<io::Error>();
        let wrapped = wrapped.and_then(io::Error::get_ref);
        if let Some(found) = wrapped.and_then(|wrapped| find(wrapped)) {
            return Some(found);
        }
        next = error.source();
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_surely_not_done_may_be_sent_again() {
        for (code, text, expected) in [
            (Code::Unavailable, "etcdserver: no leader", Verdict::NotDone),
            (
                Code::Unavailable,
                "etcdserver: leader changed",
                Verdict::Unknown,
            ),
            (
                Code::Unavailable,
                "etcdserver: request timed out",
                Verdict::Unknown,
            ),
            (
                Code::Unavailable,
                "etcdserver: request timed out, possibly due to previous leader failure",
                Verdict::Unknown,
            ),
            (
                Code::Unavailable,
                "etcdserver: server stopped",
                Verdict::Unknown,
            ),
            (Code::Cancelled, "", Verdict::Unknown),
            (Code::Unknown, "transport error", Verdict::Unknown),
            (Code::Internal, "h2 protocol error", Verdict::Unknown),
            (
                Code::ResourceExhausted,
                "etcdserver: too many requests",
                Verdict::NotDone,
            ),
            (
                Code::ResourceExhausted,
                "etcdserver: mvcc: database space exceeded",
                Verdict::Refused,
            ),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision has been compacted",
                Verdict::Compacted,
            ),
            (
                Code::OutOfRange,
                "etcdserver: mvcc: required revision is a future revision",
                Verdict::Refused,
            ),
            (
                Code::Unauthenticated,
                "etcdserver: invalid auth token",
                Verdict::TokenOver,
            ),
            (
                Code::PermissionDenied,
                "etcdserver: permission denied",
                Verdict::Refused,
            ),
        ] {
            assert_eq!(
                verdict(&Status::new(code, text)),
                expected,
                "{code}: {text}"
            );
        }
    }

    #[test]
    fn a_refusal_says_what_helps() {
        let denied = Status::permission_denied("etcdserver: permission denied");
        assert!(told(&denied, "/weir/").contains("readwrite /weir/"));
    }
}
