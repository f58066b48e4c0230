//! Files and folders for their owner alone, which are there whole or not at all.

use std::{
    fs::{self, DirBuilder, File, Permissions},
    io,
    os::unix::fs::{DirBuilderExt, PermissionsExt},
    path::Path,
};

use anyhow::{Result, anyhow};

use crate::api::files::write_private;

/// The export within a backup.
pub(super) const OBJECTS: &str = "objects.jsonl";

/// The rest of the state folder within a backup.
pub(super) const STATE: &str = "state";

/// What of a state folder is the database, which an export stands for.
const DATABASE: [&str; 3] = ["db", "format", "unfinished"];

/// Refuses a path that cannot become a regular file, before anything is read.
///
/// # Errors
/// What is there, and what to do.
pub(super) fn refuse(file: &Path) -> Result<()> {
    let name = file.display();
    if fs::metadata(file).is_ok_and(|there| !there.is_file()) {
        return Err(anyhow!(
            "{name} is no file: name one, or write `-o -` for standard output"
        ));
    }
    let folder = folder_of(file);
    if !folder.is_dir() {
        let folder = folder.display();
        return Err(anyhow!(
            "cannot write {name}: there is no directory {folder}; make it first"
        ));
    }
    Ok(())
}

fn folder_of(file: &Path) -> &Path {
    let parent = file.parent().unwrap_or(Path::new(""));
    if parent.as_os_str().is_empty() {
        Path::new(".")
    } else {
        parent
    }
}

/// Makes the folder `backup`, with mode 0700, from an export and what else is in the state folder.
pub(super) fn backup(backup: &Path, state: &Path, export: &str) -> io::Result<()> {
    let folder = folder_of(backup);
    let beside = tempfile::Builder::new()
        .prefix(".weir-backup-")
        .permissions(Permissions::from_mode(0o700))
        .tempdir_in(folder)?;
    write_private(&beside.path().join(OBJECTS), export.as_bytes())?;
    let kept = beside.path().join(STATE);
    make_private(&kept)?;
    if state.is_dir() {
        copy(state, &kept, &DATABASE)?;
    }
    File::open(beside.path())?.sync_all()?;
    fs::rename(beside.path(), backup)?;
    // It is no longer there to be removed.
    let _ = beside.keep();
    File::open(folder)?.sync_all()
}

/// Copies regular files and folders, but for some names.
fn copy(from: &Path, to: &Path, except: &[&str]) -> io::Result<()> {
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let name = entry.file_name();
        if except.iter().any(|except| name == *except) {
            continue;
        }
        let kind = entry.file_type()?;
        let place = to.join(&name);
        if kind.is_dir() {
            make_private(&place)?;
            copy(&entry.path(), &place, &[])?;
        } else if kind.is_file() {
            write_private(&place, &fs::read(entry.path())?)?;
        }
    }
    File::open(to)?.sync_all()
}

fn make_private(folder: &Path) -> io::Result<()> {
    DirBuilder::new().mode(0o700).create(folder)
}
