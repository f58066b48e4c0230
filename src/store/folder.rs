//! The state folder: `format`, which says what is in it, and `db`, which is sled's.
//!
//! A folder that is locked, newer than this program, or not understood is refused as it is. The
//! format is read before sled sees the folder, and a database that sled fails to open is put back as
//! it was, because sled changes even what it cannot make sense of. For that it is read into memory
//! first; a store that fits into memory has a database that does. What sled has begun to write, but
//! not to use, when it is killed is removed, because it would not know it again.

use std::{
    collections::BTreeMap,
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Write as _},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
};

use super::{
    disk::{Disk, OpenFailure},
    memory::Memory,
};

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
    /// There is no database in it.
    #[error(
        "there is no database in {}: name the state folder of a controller with --state, or its \
         etcd with --store if it keeps its objects in one",
        path.display()
    )]
    Absent {
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

/// Opens the state folder `dir`, creating it if it is absent or has nothing of ours in it; the
/// versions of one that is created begin after `version`.
pub(super) fn open(dir: &Path, history: usize, version: u64) -> Result<Disk, OpenError> {
    let folder = Folder(dir);
    match fs::read_to_string(folder.format()) {
        Ok(text) => folder.check_format(&text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return folder.create(history, version);
        }
        Err(error) => return Err(folder.inaccessible(&error)),
    }
    if !folder.db().exists() {
        return Err(folder.damaged("the folder `db` is missing"));
    }
    folder.tidy()?;
    let before = Before::read(&folder.db()).map_err(|error| folder.inaccessible(&error))?;
    let opened = folder.open_db(|db| Disk::open(db, history));
    if matches!(opened, Err(OpenError::Unreadable { .. })) {
        before.restore(&folder.db());
    }
    opened
}

/// As [`open`], where there is a database.
pub(super) fn open_existing(dir: &Path, history: usize) -> Result<Disk, OpenError> {
    let folder = Folder(dir);
    if folder.format().exists() {
        return open(dir, history, 0);
    }
    Err(folder.absent())
}

/// Reads what is in the state folder `dir`, and changes nothing there: sled gets a copy, made
/// while nobody else may open the folder.
pub(super) fn look(dir: &Path) -> Result<Memory, OpenError> {
    let folder = Folder(dir);
    match fs::read_to_string(folder.format()) {
        Ok(text) => folder.check_format(&text)?,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(folder.absent());
        }
        Err(error) => return Err(folder.inaccessible(&error)),
    }
    if !folder.db().exists() {
        return Err(folder.damaged("the folder `db` is missing"));
    }
    let inaccessible = |error: io::Error| folder.inaccessible(&error);
    let data = File::open(folder.db().join("db")).map_err(inaccessible)?;
    let taken = data.try_lock_shared();
    taken.map_err(|error| folder.unlockable(error))?;
    let copy = tempfile::tempdir().map_err(inaccessible)?;
    let private = copy.path().join("db");
    let before = Before::read(&folder.db()).map_err(inaccessible)?;
    before.write(&folder.db(), &private).map_err(inaccessible)?;
    let table = folder.open_db(|_| Disk::contents(&private))?;
    Ok(Memory::over(table))
}

struct Folder<'a>(&'a Path);

impl Folder<'_> {
    fn format(&self) -> PathBuf {
        self.0.join("format")
    }

    fn db(&self) -> PathBuf {
        self.0.join("db")
    }

    /// Why there is nothing to be read.
    fn absent(&self) -> OpenError {
        self.without_format().unwrap_or_else(|| OpenError::Absent {
            path: self.0.to_owned(),
        })
    }

    /// Makes the folder ours. The format comes last; until then a marker says that a database
    /// without a format is one that a crash left half-made, and not one that lost its format.
    fn create(&self, history: usize, version: u64) -> Result<Disk, OpenError> {
        if let Some(damage) = self.without_format() {
            return Err(damage);
        }
        self.tidy()?;
        let marker = self.unfinished();
        create_private(self.0)
            .and_then(|()| File::create(&marker)?.sync_all())
            .and_then(|()| File::open(self.0)?.sync_all())
            .map_err(|error| self.inaccessible(&error))?;
        let disk = self.open_db(|db| Disk::create(db, history, version))?;
        self.write_format()
            .and_then(|()| fs::remove_file(marker))
            .map_err(|error| self.inaccessible(&error))?;
        Ok(disk)
    }

    /// Writes the format as a whole or not at all, and for good: without it the folder could not
    /// be opened again.
    fn write_format(&self) -> io::Result<()> {
        let beside = self.0.join("format.new");
        let mut file = File::create(&beside)?;
        file.write_all(format!("{FORMAT_WORDS}{FORMAT}\n").as_bytes())?;
        file.sync_all()?;
        fs::rename(beside, self.format())?;
        File::open(self.db())?.sync_all()?;
        File::open(self.0)?.sync_all()
    }

    /// Removes what sled leaves half-written where it is killed while it starts, and then takes
    /// for damage: the next snapshot of its page table, which until it has its name is not needed,
    /// and its configuration where the database was only begun.
    fn tidy(&self) -> Result<(), OpenError> {
        let inaccessible = |error: io::Error| self.inaccessible(&error);
        let data = match File::open(self.db().join("db")) {
            Ok(data) => Some(data),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => return Err(self.inaccessible(&error)),
        };
        // Held until all is removed: it is sled's own, and its owner needs those files.
        if let Some(data) = &data {
            let taken = data.try_lock();
            taken.map_err(|error| self.unlockable(error))?;
        }
        let only_begun = !self.format().exists();
        for file in files(&self.db()).map_err(inaccessible)? {
            let conf = file == self.db().join("conf");
            if only_begun && conf || is_half_written(&file) {
                fs::remove_file(file).map_err(inaccessible)?;
            }
        }
        Ok(())
    }

    fn open_db<T>(
        &self,
        open: impl FnOnce(&Path) -> Result<T, OpenFailure>,
    ) -> Result<T, OpenError> {
        // sled panics on some kinds of damage.
        match catch_unwind(AssertUnwindSafe(|| open(&self.db()))) {
            Ok(opened) => opened.map_err(|failure| self.refused(failure)),
            Err(_) => Err(self.damaged("the database is damaged")),
        }
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

    fn refused(&self, failure: OpenFailure) -> OpenError {
        match failure {
            OpenFailure::Sled(sled::Error::Io(error)) if says_locked(&error) => self.locked(),
            OpenFailure::Sled(sled::Error::Io(error)) => self.inaccessible(&error),
            failure => self.damaged(&failure.to_string()),
        }
    }

    fn unlockable(&self, error: TryLockError) -> OpenError {
        match error {
            TryLockError::WouldBlock => self.locked(),
            TryLockError::Error(error) => self.inaccessible(&error),
        }
    }

    fn locked(&self) -> OpenError {
        OpenError::Locked {
            path: self.0.to_owned(),
        }
    }

    /// What is wrong with a folder without a format, unless it was only begun or there is nothing.
    fn without_format(&self) -> Option<OpenError> {
        let lost = self.db().exists() && !self.unfinished().exists();
        lost.then(|| self.damaged("there is a database, but no file `format` to go with it"))
    }

    fn unfinished(&self) -> PathBuf {
        self.0.join("unfinished")
    }

    fn inaccessible(&self, error: &io::Error) -> OpenError {
        OpenError::Unreadable {
            path: self.0.to_owned(),
            why: error.to_string(),
            remedy: match error.kind() {
                io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
                    "make room on its disk, then start again"
                }
                io::ErrorKind::ReadOnlyFilesystem => {
                    "its disk can only be read: mount it for writing, or choose another folder \
                     with --state"
                }
                _ => "make it a folder that this user may read and write",
            },
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

/// Whether a file of sled's is one that it gives its real name only when all of it is written
/// (sled 0.34.7, `write_snapshot`). sled itself reads such a file as if it were whole.
fn is_half_written(file: &Path) -> bool {
    file.extension()
        .is_some_and(|extension| extension == "generating")
}

/// Creates a folder that only its owner may enter: it will hold passwords and private keys.
fn create_private(dir: &Path) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(dir)
}

/// The files of a database before it was opened.
struct Before(BTreeMap<PathBuf, Vec<u8>>);

impl Before {
    fn read(db: &Path) -> io::Result<Self> {
        let files = files(db)?;
        let contents = |file: PathBuf| fs::read(&file).map(|contents| (file, contents));
        files
            .into_iter()
            .filter(|file| !is_half_written(file))
            .map(contents)
            .collect::<Result<_, _>>()
            .map(Self)
    }

    /// Writes the files to another folder, where they are beside each other as they were.
    fn write(&self, db: &Path, folder: &Path) -> io::Result<()> {
        for (file, contents) in &self.0 {
            let place = folder.join(file.strip_prefix(db).map_err(io::Error::other)?);
            if let Some(parent) = place.parent() {
                create_private(parent)?;
            }
            fs::write(place, contents)?;
        }
        Ok(())
    }

    /// Puts things back as far as that is possible. What goes wrong here went wrong with a
    /// database that is refused anyway.
    fn restore(&self, db: &Path) {
        for file in files(db).unwrap_or_default() {
            if !self.0.contains_key(&file) {
                let _ = fs::remove_file(file);
            }
        }
        for (file, contents) in &self.0 {
            if fs::read(file).ok().as_ref() != Some(contents) {
                let _ = write_over(file, contents);
            }
        }
    }
}

/// Writes where the file is already, so that a full disk has room for it.
fn write_over(path: &Path, contents: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path)?;
    file.write_all(contents)?;
    file.set_len(contents.len() as u64)
}

/// All files below `folder`; the folder itself where it is a file.
fn files(folder: &Path) -> io::Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut pending = vec![folder.to_owned()];
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(path)? {
                pending.push(entry?.path());
            }
        } else {
            found.push(path);
        }
    }
    Ok(found)
}
