//! A store with keys, and rewriting what is not encrypted with the first of them: Secrets of the time
//! before there were keys, and those of former keys.
//!
//! Each Secret is rewritten by itself, where nobody else has written it meanwhile. A crash leaves
//! some done and some not; all of them stay readable with the keys that they were readable with.

use std::sync::Arc;

use super::{
    ATTEMPTS, Keys, Store, StoreError,
    backend::{BackendError, Entry, Expect},
    keys, record, unread,
    whole::unwritten,
};

/// How the Secrets of a store are kept.
#[derive(Debug, Default)]
pub struct Rekeyed {
    /// Those that are kept, or have just been rewritten, with the first key.
    pub current: usize,
    /// How many of those were rewritten.
    pub rewritten: usize,
    /// Those in clear; none are left after a rewriting.
    pub clear: usize,
    /// Those of other keys that are given; none are left after a rewriting.
    pub former: usize,
    /// Those that cannot be read, and why.
    pub unreadable: Vec<StoreError>,
}

impl Store {
    /// Encrypts the Secrets that are written from now on, and decrypts those that are read.
    #[must_use]
    pub fn encrypted(mut self, keys: Arc<Keys>) -> Self {
        self.keys = Some(keys);
        self
    }

    /// The same store, whose lists leave out what cannot be decrypted: for a loop that is to go on
    /// with all else, and to which a missing Secret means nothing.
    #[must_use]
    pub fn passing_over_undecrypted(mut self) -> Self {
        self.passes_over = true;
        self
    }

    /// How the Secrets are kept; changes nothing.
    ///
    /// # Errors
    /// [`StoreError::Io`]: nothing is known.
    pub async fn at_rest(&self) -> Result<Rekeyed, StoreError> {
        let range = self.backend.range(keys::PREFIX).await.map_err(unread)?;
        let mut found = Rekeyed::default();
        for (path, entry) in &range.entries {
            match self.read(path, entry) {
                Err(error) => found.unreadable.push(error),
                Ok(_) if self.current(path, entry) => found.current += 1,
                Ok(_) if record::key(&entry.value).is_none() => found.clear += 1,
                Ok(_) => found.former += 1,
            }
        }
        Ok(found)
    }

    /// Rewrites every Secret that is not encrypted with the first key. Those that cannot be read
    /// stay as they are. It may be repeated, and others may write meanwhile.
    ///
    /// # Errors
    /// [`StoreError::Io`]: a part may have been rewritten.
    pub async fn rekey(&self) -> Result<Rekeyed, StoreError> {
        let range = self.backend.range(keys::PREFIX).await.map_err(unread)?;
        let mut done = Rekeyed::default();
        for (path, entry) in range.entries {
            match self.rewrite(&path, entry).await {
                Ok(Some(rewritten)) => {
                    done.current += 1;
                    done.rewritten += usize::from(rewritten);
                }
                Ok(None) => {}
                Err(Broken::Unreadable(error)) => done.unreadable.push(error),
                Err(Broken::Store(error)) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Removes every Secret that no key decrypts, for good, and tells where they were.
    ///
    /// # Errors
    /// [`StoreError::Io`]: a part may have been removed.
    pub async fn remove_lost(&self) -> Result<Vec<String>, StoreError> {
        let range = self.backend.range(keys::PREFIX).await.map_err(unread)?;
        let mut removed = Vec::new();
        for (path, entry) in range.entries {
            let Err(StoreError::Undecrypted { .. }) = self.read(&path, &entry) else {
                continue;
            };
            let expect = Expect::At(entry.version);
            match self.backend.remove(&path, expect).await {
                Ok(_) => removed.push(path),
                // Somebody wrote or removed it, who could.
                Err(BackendError::Unexpected { .. }) => {}
                Err(error) => return Err(unwritten(error)),
            }
        }
        Ok(removed)
    }

    /// Whether it had to be rewritten; none where it was removed meanwhile.
    async fn rewrite(&self, path: &str, mut entry: Entry) -> Result<Option<bool>, Broken> {
        for _ in 0..ATTEMPTS {
            let mut object = self.read(path, &entry).map_err(Broken::Unreadable)?;
            if self.current(path, &entry) {
                return Ok(Some(false));
            }
            let value = record::write(path, &mut object, self.keys.as_deref());
            let value = value.map_err(Broken::Store)?;
            let expect = Expect::At(entry.version);
            match self.backend.put(path, value, expect).await {
                Ok(_) => return Ok(Some(true)),
                Err(BackendError::Unexpected { .. }) => {}
                Err(error) => return Err(Broken::Store(unwritten(error))),
            }
            let again = self.backend.get(path).await.map_err(unread);
            match again.map_err(Broken::Store)? {
                Some(later) => entry = later,
                None => return Ok(None),
            }
        }
        let why = format!("{path} was written {ATTEMPTS} times meanwhile; try again");
        Err(Broken::Store(StoreError::io("it was not rewritten", why)))
    }

    /// Whether what is stored at `path` is as it would be written now.
    pub(super) fn current(&self, path: &str, entry: &Entry) -> bool {
        let Some(keys) = self.keys.as_deref().filter(|_| keys::concerns(path)) else {
            return true;
        };
        record::key(&entry.value).is_some_and(|name| name == keys.first())
    }
}

enum Broken {
    Unreadable(StoreError),
    Store(StoreError),
}
