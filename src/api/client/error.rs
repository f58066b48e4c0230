//! Why a request did not do what it was to do, and what its sender can do about it.

use std::error::Error;

use crate::api::{Status, kubeconfig::KubeconfigError};

/// Why the client has no answer to give.
///
/// `Display` says what failed and what to do, and leaves its source out.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ClientError {
    /// The kubeconfig cannot be used.
    #[error(
        "no way to a controller: `weir controller` writes a kubeconfig into its state folder, name \
         that folder with --state, or the file with --kubeconfig"
    )]
    Kubeconfig(#[source] KubeconfigError),
    /// Nobody answered, or the answer broke off. A write may have taken effect.
    #[error("no controller answers at {server}: is `weir controller` running?")]
    Unreachable {
        /// The server's URL.
        server: String,
        /// What went wrong underneath.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The server does not show a certificate of the authority that the kubeconfig trusts.
    #[error(
        "{server} is not the server that the kubeconfig is for: its certificate is not trusted \
         ({why}); take the kubeconfig from that server's state folder"
    )]
    Untrusted {
        /// The server's URL.
        server: String,
        /// What is wrong with the certificate.
        why: String,
    },
    /// The server does not know the token.
    #[error(
        "{server} does not accept the kubeconfig's token; take the kubeconfig from that server's \
         state folder"
    )]
    Unauthorized {
        /// The server's URL.
        server: String,
        /// The answer.
        status: Box<Status>,
    },
    /// The server refused; the message is its own.
    #[error("{0}")]
    Refused(Box<Status>),
    /// The answer is not one that a server of this kind gives.
    #[error("{server} gave an answer that makes no sense to this version of weir: {why}")]
    Answer {
        /// The server's URL.
        server: String,
        /// What was expected.
        why: String,
    },
    /// The request cannot even be sent.
    #[error("{0}")]
    Request(String),
}

impl ClientError {
    /// The server's own words, where it spoke.
    #[must_use]
    pub const fn status(&self) -> Option<&Status> {
        match self {
            Self::Refused(status) | Self::Unauthorized { status, .. } => Some(status),
            _ => None,
        }
    }

    /// The HTTP status of a refusal.
    #[must_use]
    pub fn code(&self) -> Option<u16> {
        self.status().map(|status| status.code)
    }

    /// Whether the object asked for is not there.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        self.code() == Some(404)
    }

    /// The namespace that was asked for and does not exist, if that is what the refusal is about.
    #[must_use]
    pub fn missing_namespace(&self) -> Option<&str> {
        let details = self.status().filter(|status| status.code == 404)?;
        let details = details.details.as_ref()?;
        (details.kind == "namespaces").then_some(details.name.as_str())
    }

    /// Whether a watch must start again from a new list.
    #[must_use]
    pub fn is_expired(&self) -> bool {
        self.code() == Some(410)
    }

    /// Whether the same request may succeed a little later.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable { .. })
            || matches!(self.code(), Some(429 | 500 | 503 | 504))
    }
}
