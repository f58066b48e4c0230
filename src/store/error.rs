//! Why the store said no, sorted by what the caller can do about it.

use std::error::Error;

use crate::types::meta::{ObjectKey, ResourceVersion};

/// Why a request to the store was not fulfilled.
///
/// `Display` is a sentence for people and leaves the source out: whoever logs prints the chain.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StoreError {
    /// The object is not there.
    #[error("{0} does not exist")]
    NotFound(ObjectKey),
    /// An object of that name is there, perhaps still being deleted.
    #[error("{0} exists already")]
    AlreadyExists(ObjectKey),
    /// Somebody else wrote first, or the object is not the one that was meant: read it again and
    /// decide anew.
    #[error("{key} is not what the request assumes: {why}")]
    Conflict {
        /// The object.
        key: ObjectKey,
        /// What differs.
        why: String,
    },
    /// The object says that it is not to be deleted.
    #[error("{0} is protected from deletion")]
    Protected(ObjectKey),
    /// The history does not reach back that far: list, and watch from the version of the list.
    #[error("version {from} is too old to watch from: the history begins at {oldest}")]
    Expired {
        /// The version that the watch had reached or was to start from.
        from: ResourceVersion,
        /// The oldest version from which a watch can start now.
        oldest: ResourceVersion,
    },
    /// The request can never be fulfilled as it is; the text names the field.
    #[error("{0}")]
    Invalid(String),
    /// What is stored there is encrypted with a key that is missing or another, or it was changed.
    #[error("{path} cannot be decrypted: {why}; {remedy}")]
    Undecrypted {
        /// Where it is stored.
        path: String,
        /// Which key it is.
        why: String,
        /// What to do.
        remedy: &'static str,
    },
    /// The store could not be read or written. A write may have taken effect.
    #[error(transparent)]
    Io(Failure),
}

/// What could not be done with the database, and why.
#[derive(Debug, thiserror::Error)]
#[error("{doing}")]
pub struct Failure {
    doing: String,
    source: Box<dyn Error + Send + Sync>,
}

impl StoreError {
    /// One word for conditions, metrics and the HTTP answer; Kubernetes' own where it has one.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::NotFound(_) => "NotFound",
            Self::AlreadyExists(_) => "AlreadyExists",
            Self::Conflict { .. } => "Conflict",
            Self::Protected(_) => "Forbidden",
            Self::Expired { .. } => "Expired",
            Self::Invalid(_) => "Invalid",
            Self::Undecrypted { .. } | Self::Io(_) => "InternalError",
        }
    }

    /// The sentence with everything that led to it, for those who see no log.
    #[must_use]
    pub fn with_causes(&self) -> String {
        let mut text = self.to_string();
        let mut cause = self.source();
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }

    pub(super) fn io(
        doing: impl Into<String>,
        source: impl Into<Box<dyn Error + Send + Sync>>,
    ) -> Self {
        Self::Io(Failure {
            doing: doing.into(),
            source: source.into(),
        })
    }

    pub(super) fn conflict(key: &ObjectKey, why: impl Into<String>) -> Self {
        Self::Conflict {
            key: key.clone(),
            why: why.into(),
        }
    }
}
