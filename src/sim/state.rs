//! The state file: a world that outlives its process.
//!
//! It is written whole and put in place by a rename, so that a crash leaves the old one or the
//! new one. A file that cannot be read is set aside, not overwritten.
//!
//! A small world is written before the request that changed it is answered. A large one takes
//! longer to write than a request may take: it then rests before it is written again, and what
//! changed meanwhile is written when the rest is over, or when the simulator ends.

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use tokio::time::Instant;

use super::world::World;

/// What a request may take longer for the file: less than anybody notices.
const QUICK: Duration = Duration::from_millis(10);
/// How much longer than its writing a world rests, so that it costs a twentieth of a core.
const REST: u32 = 20;

/// Keeps a world in a file, if there is one.
#[derive(Default)]
pub(super) struct Keeper {
    file: Option<PathBuf>,
    rest: Mutex<Rest>,
}

#[derive(Default)]
struct Rest {
    until: Option<Instant>,
    unwritten: bool,
}

/// Whether a world has to be written now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Urgency {
    /// It changed.
    Changed,
    /// It may have been left unwritten, and the rest may be over.
    Rested,
    /// It ends.
    Last,
}

impl Keeper {
    pub(super) fn new(file: Option<PathBuf>) -> Self {
        Self {
            file,
            rest: Mutex::default(),
        }
    }

    /// Writes a world, unless it rests or nothing changed.
    pub(super) fn keep(&self, world: &World, urgency: Urgency) {
        let (Some(file), Ok(mut rest)) = (&self.file, self.rest.lock()) else {
            return;
        };
        let rests = rest.until.is_some_and(|until| Instant::now() < until);
        let write = match urgency {
            Urgency::Changed => !rests,
            Urgency::Rested => rest.unwritten && !rests,
            Urgency::Last => rest.unwritten,
        };
        rest.unwritten |= urgency == Urgency::Changed;
        if !write {
            return;
        }
        let began = Instant::now();
        save(file, world);
        let took = began.elapsed();
        rest.until = (took > QUICK).then(|| Instant::now() + took * REST);
        rest.unwritten = false;
    }
}

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
fn save(file: &Path, world: &World) {
    let fresh = file.with_extension("new");
    let written = serde_json::to_vec(world)
        .map_err(std::io::Error::from)
        .and_then(|text| std::fs::write(&fresh, text))
        .and_then(|()| std::fs::rename(&fresh, file));
    if let Err(error) = written {
        tracing::warn!(file = %file.display(), %error, "state file could not be written");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::Profile;

    #[test]
    fn a_world_that_rests_is_written_when_the_rest_or_the_simulator_ends() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("world.json");
        let keeper = Keeper::new(Some(file.clone()));
        let mut world = World::new(Profile::Instant, 1, jiff::Timestamp::UNIX_EPOCH);
        let kept = || load(&file).map(|world| world.totals.vms);
        keeper.keep(&world, Urgency::Rested);
        assert_eq!(kept(), None, "nothing changed");
        keeper.keep(&world, Urgency::Changed);
        assert_eq!(kept(), Some(0));
        keeper.rest.lock().expect("a lock").until = Some(Instant::now() + Duration::from_secs(999));
        world.totals.vms = 1;
        keeper.keep(&world, Urgency::Changed);
        keeper.keep(&world, Urgency::Rested);
        assert_eq!(kept(), Some(0), "it rests");
        keeper.keep(&world, Urgency::Last);
        assert_eq!(kept(), Some(1));
        world.totals.vms = 2;
        keeper.keep(&world, Urgency::Changed);
        keeper.rest.lock().expect("a lock").until = None;
        keeper.keep(&world, Urgency::Rested);
        assert_eq!(kept(), Some(2), "the rest is over");
    }
}
