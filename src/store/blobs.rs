//! sled's blobs: values too large for its log, each a file of its own that sled does not flush.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
};

/// The blobs of a database, with those that are known to be on the drive. sled never changes one.
pub(super) struct Blobs {
    folder: PathBuf,
    synced: BTreeSet<OsString>,
}

impl Blobs {
    /// Those of the database at `path`; of none is anything known.
    pub(super) fn of(path: &Path) -> Self {
        Self {
            folder: path.join("blobs"),
            synced: BTreeSet::new(),
        }
    }

    /// Brings those that are new to the drive, with their names. Costs one look into a folder that
    /// is mostly empty.
    ///
    /// # Errors
    /// Nothing is known of any that is new.
    pub(super) fn sync(&mut self) -> io::Result<()> {
        let mut found = BTreeSet::new();
        for entry in fs::read_dir(&self.folder)? {
            let name = entry?.file_name();
            if !self.synced.contains(&name) {
                match File::open(self.folder.join(&name)) {
                    Ok(file) => file.sync_all()?,
                    // sled throws away those that nothing points to any more.
                    Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                    Err(error) => return Err(error),
                }
            }
            found.insert(name);
        }
        if !found.is_subset(&self.synced) {
            File::open(&self.folder)?.sync_all()?;
        }
        self.synced = found;
        Ok(())
    }
}
