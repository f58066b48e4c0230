//! The terminal: where text goes, and what it looks like there.

use std::io::{self, IsTerminal, Write};

use jiff::Timestamp;

use super::paint::Paint;
use crate::clock::Clock;

/// Standard output and error, and the time of day.
#[derive(Clone, Debug)]
pub(super) struct Console {
    /// Whether standard output has colours.
    pub(super) paint: Paint,
    clock: Clock,
}

impl Console {
    /// The process's own.
    pub(super) fn new() -> Self {
        Self {
            paint: Paint::for_terminal(&io::stdout()),
            clock: Clock::system(),
        }
    }

    /// The time of day.
    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Whether somebody reads standard output as it comes.
    pub(super) fn is_terminal(&self) -> bool {
        io::stdout().is_terminal()
    }

    /// Writes to standard output at once.
    ///
    /// # Errors
    /// The reader is gone; [`super::finish`] then ends quietly.
    pub(super) fn print(&self, text: &str) -> io::Result<()> {
        let mut stdout = io::stdout().lock();
        stdout.write_all(text.as_bytes())?;
        stdout.flush()
    }

    /// Writes lines to standard output at once.
    ///
    /// # Errors
    /// As [`Console::print`].
    pub(super) fn lines(&self, lines: &[String]) -> io::Result<()> {
        match lines {
            [] => Ok(()),
            lines => self.print(&(lines.join("\n") + "\n")),
        }
    }

    /// Writes a line to standard error, where it does not get into anybody's pipe.
    pub(super) fn note(&self, text: &str) {
        // Nobody is left to be told that standard error is closed.
        let _ = writeln!(io::stderr(), "{text}");
    }
}
