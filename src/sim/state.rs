//! The state file: a world that outlives its process.
//!
//! It is written whole and put in place by a rename, so that a crash leaves the old one or the
//! new one. A file that cannot be read is set aside, not overwritten.

use std::path::Path;

use super::world::World;

/// Reads a world; none if there is no file, or none that can be read.
pub(super) fn load(file: &Path) -> Option<World> {
    let text = std::fs::read(file).ok()?;
    match serde_json::from_slice(&text) {
        Ok(world) => Some(world),
        Err(error) => {
            let aside = file.with_extension("unreadable");
            tracing::warn!(file = %file.display(), %error, "state file set aside");
            if let Err(error) = std::fs::rename(file, &aside) {
                tracing::warn!(file = %file.display(), %error, "state file could not be moved");
            }
            None
        }
    }
}

/// Writes a world. A failure is logged: the simulator goes on in memory.
pub(super) fn save(file: &Path, world: &World) {
    let fresh = file.with_extension("new");
    let written = serde_json::to_vec(world)
        .map_err(std::io::Error::from)
        .and_then(|text| std::fs::write(&fresh, text))
        .and_then(|()| std::fs::rename(&fresh, file));
    if let Err(error) = written {
        tracing::warn!(file = %file.display(), %error, "state file could not be written");
    }
}
