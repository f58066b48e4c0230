//! The state folder: `format`, which says what is in it, and `db`, which is sled's.
//!
//! A folder that is locked, newer than this program, or not understood is refused as it is. The
//! format is read before sled sees the folder, because opening a database already changes it.

use std::{
    fs, io,
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use super::disk::{Disk, OpenFailure};

/// The format of state folders that this program writes. A newer program reads older ones.
const FORMAT: u32 = 1;
const FORMAT_WORDS: &str = "weir state format ";

/// Why a state folder was not opened. It was left as it is.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// Somebody has it open.
    #[error(
        "{} is in use by another Weir process: stop that one, or give this one a folder of its own",
        path.display()
    )]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// A later Weir wrote it.
    #[error(
        "{} was written by a newer Weir (state format {found}; this one reads up to {known}): \
         run that version or a later one, or restore a backup from before the upgrade",
        path.display()
    )]
    Newer {
        /// The folder.
        path: PathBuf,
        /// Its format.
        found: u32,
        /// The latest format that this program reads.
        known: u32,
    },
    /// It cannot be read, or what is in it makes no sense.
    #[error("the state in {} cannot be read: {why}; {remedy}", path.display())]
    Unreadable {
        /// The folder.
        path: PathBuf,
        /// What was found.
        why: String,
        /// What to do about it.
        remedy: &'static str,
    },
}

/// Opens the state folder `dir`, creating it if it is absent or empty.
pub(super) fn open(dir: &Path, history: usize) -> Result<Disk, OpenError> {
    let folder = Folder(dir);
    match fs::read_to_string(folder.format()) {
        Ok(text) => folder.check_format(&text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => folder.create()?,
        Err(error) => return Err(folder.inaccessible(&error)),
    }
    // sled panics on some kinds of damage.
    let opened = catch_unwind(AssertUnwindSafe(|| Disk::open(&folder.db(), history)));
    match opened {
        Ok(Ok(disk)) => Ok(disk),
        Ok(Err(failure)) => Err(folder.refused(failure)),
        Err(_) => Err(folder.damaged("the database is damaged")),
    }
}

struct Folder<'a>(&'a Path);

impl Folder<'_> {
    fn format(&self) -> PathBuf {
        self.0.join("format")
    }

    fn db(&self) -> PathBuf {
        self.0.join("db")
    }

    fn check_format(&self, text: &str) -> Result<(), OpenError> {
        let number = text.trim_end().strip_prefix(FORMAT_WORDS);
        match number.and_then(|number| number.parse().ok()) {
            Some(FORMAT) => Ok(()),
            Some(found) if found > FORMAT => Err(OpenError::Newer {
                path: self.0.to_owned(),
                found,
                known: FORMAT,
            }),
            _ => Err(self.damaged("the file `format` does not say which format it has")),
        }
    }

    /// Makes the folder ours. The format comes first, so that a database never is without.
    fn create(&self) -> Result<(), OpenError> {
        if self.db().exists() {
            return Err(self.damaged("there is a database, but no file `format` to go with it"));
        }
        create_private(self.0)
            .and_then(|()| fs::write(self.format(), format!("{FORMAT_WORDS}{FORMAT}\n")))
            .map_err(|error| self.inaccessible(&error))
    }

    fn refused(&self, failure: OpenFailure) -> OpenError {
        match failure {
            OpenFailure::Sled(sled::Error::Io(error)) if says_locked(&error) => OpenError::Locked {
                path: self.0.to_owned(),
            },
            OpenFailure::Sled(sled::Error::Io(error)) => self.inaccessible(&error),
            failure => self.damaged(&failure.to_string()),
        }
    }

    fn inaccessible(&self, error: &io::Error) -> OpenError {
        OpenError::Unreadable {
            path: self.0.to_owned(),
            why: error.to_string(),
            remedy: "make it a folder that this user may read and write",
        }
    }

    fn damaged(&self, why: &str) -> OpenError {
        OpenError::Unreadable {
            path: self.0.to_owned(),
            why: why.to_owned(),
            remedy: "restore a backup, or move the folder away to start with an empty one",
        }
    }
}

/// sled reports a lock that somebody else holds as an error like any other; only its text tells.
fn says_locked(error: &io::Error) -> bool {
    error.to_string().contains("could not acquire lock")
}

/// Creates a folder that only its owner may enter: it will hold passwords and private keys.
fn create_private(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}
