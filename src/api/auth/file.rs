//! A file with credentials that is read again when somebody changes it.

use std::{
    fs, io,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::SystemTime,
};

/// Bytes of such a file: thousands of users, and little enough to be read at once.
const BYTES_MAX: u64 = 4 << 20;

/// Why a file with credentials cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("{}: {why}", path.display())]
pub struct AuthError {
    path: PathBuf,
    why: String,
}

impl AuthError {
    pub(super) fn new(path: &Path, why: impl Into<String>) -> Self {
        Self {
            path: path.to_owned(),
            why: why.into(),
        }
    }
}

/// Reads a text.
type Parse<T> = fn(&str) -> Result<T, String>;

/// What a file says, as of the last look.
#[derive(Debug)]
pub(super) struct Reread<T> {
    path: PathBuf,
    parse: Parse<T>,
    held: Mutex<Held<T>>,
}

#[derive(Debug)]
struct Held<T> {
    stamp: Option<Stamp>,
    value: Arc<T>,
}

/// By what one sees that a file was changed or put in the place of another.
type Stamp = (u64, u64, Option<SystemTime>);

impl<T> Reread<T> {
    /// Reads the file.
    ///
    /// # Errors
    /// It cannot be read, or says nothing that can be understood.
    pub(super) fn new(path: PathBuf, parse: Parse<T>) -> Result<Self, AuthError> {
        let stamp = stamp(&path).ok();
        let value = read(&path, parse)?;
        let held = Held {
            stamp,
            value: Arc::new(value),
        };
        Ok(Self {
            path,
            parse,
            held: Mutex::new(held),
        })
    }

    /// What the file says.
    pub(super) fn get(&self) -> Arc<T> {
        Arc::clone(&self.held().value)
    }

    /// Reads the file again if it was changed since the last look, and says whether it was.
    pub(super) fn look(&self) -> bool {
        let now = stamp(&self.path).ok();
        if self.held().stamp == now {
            return false;
        }
        let read = read(&self.path, self.parse);
        let mut held = self.held();
        held.stamp = now;
        match read {
            Ok(value) => {
                held.value = Arc::new(value);
                tracing::info!(file = %self.path.display(), "read again");
                true
            }
            Err(error) => {
                tracing::error!(%error, "not read again: what it said before holds on");
                false
            }
        }
    }

    fn held(&self) -> std::sync::MutexGuard<'_, Held<T>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn stamp(path: &Path) -> io::Result<Stamp> {
    let metadata = fs::metadata(path)?;
    Ok((metadata.ino(), metadata.len(), metadata.modified().ok()))
}

fn read<T>(path: &Path, parse: Parse<T>) -> Result<T, AuthError> {
    let size = fs::metadata(path).map(|metadata| metadata.len());
    if size.is_ok_and(|size| size > BYTES_MAX) {
        let why = format!("it is larger than {BYTES_MAX} bytes; is it the right file?");
        return Err(AuthError::new(path, why));
    }
    let text = fs::read_to_string(path)
        .map_err(|error| AuthError::new(path, format!("cannot be read: {error}")))?;
    parse(&text).map_err(|why| AuthError::new(path, why))
}
