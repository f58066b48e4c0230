//! Writes that are decided and not done, for dry runs.

use std::sync::Arc;

use bytes::Bytes;

use super::backend::{Backend, BackendError, Changes, Entry, Expect, Range, Reply};
use crate::types::meta::ResourceVersion;

/// A backend that answers reads from another one and refuses what that would refuse, but writes
/// nothing. A write's version is that of what is there already, or 0.
#[derive(Debug)]
pub(super) struct Rehearsal(pub(super) Arc<dyn Backend>);

impl Rehearsal {
    async fn expect(&self, key: &str, expect: Expect) -> Result<Option<Entry>, BackendError> {
        let present = self.0.get(key).await?;
        let found = present.as_ref().map(|entry| entry.version);
        let met = match expect {
            Expect::Absent => found.is_none(),
            Expect::At(version) => found == Some(version),
            Expect::Any => true,
        };
        if met {
            Ok(present)
        } else {
            Err(BackendError::Unexpected { found })
        }
    }
}

impl Backend for Rehearsal {
    fn get<'a>(&'a self, key: &'a str) -> Reply<'a, Option<Entry>> {
        self.0.get(key)
    }

    fn range<'a>(&'a self, prefix: &'a str) -> Reply<'a, Range> {
        self.0.range(prefix)
    }

    fn put<'a>(&'a self, key: &'a str, _: Bytes, expect: Expect) -> Reply<'a, ResourceVersion> {
        Box::pin(async move {
            let present = self.expect(key, expect).await?;
            Ok(present.map_or(ResourceVersion(0), |entry| entry.version))
        })
    }

    fn remove<'a>(&'a self, key: &'a str, expect: Expect) -> Reply<'a, ResourceVersion> {
        Box::pin(async move {
            match self.expect(key, expect).await? {
                Some(entry) => Ok(entry.version),
                None => Err(BackendError::Unexpected { found: None }),
            }
        })
    }

    fn watch(&self, prefix: &str, from: ResourceVersion) -> Result<Changes, BackendError> {
        self.0.watch(prefix, from)
    }

    fn version(&self) -> Reply<'_, ResourceVersion> {
        self.0.version()
    }
}
