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
        let written = stdout.write_all(text.as_bytes());
        written.and_then(|()| stdout.flush()).map_err(marked)
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

/// The reader of standard output is gone: `weir get … | head`. Told apart from a connection to
/// the controller that breaks, which the system calls by the same name.
#[derive(Debug, thiserror::Error)]
#[error("nobody reads standard output any more")]
struct ReaderLeft;

fn marked(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::BrokenPipe => io::Error::new(io::ErrorKind::BrokenPipe, ReaderLeft),
        _ => error,
    }
}

/// Whether an error is only that the reader left.
pub(super) fn is_reader_gone(error: &anyhow::Error) -> bool {
    let left = |cause: &(dyn std::error::Error + 'static)| {
        let inner = cause
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        inner.is_some_and(|inner| inner.is::<ReaderLeft>())
    };
    error.chain().any(left)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reader_who_left_is_told_apart_from_a_broken_connection() {
        let broken = || io::Error::from(io::ErrorKind::BrokenPipe);
        assert!(is_reader_gone(&marked(broken()).into()));
        assert!(!is_reader_gone(&broken().into()));
        let wrapped = anyhow::Error::from(marked(broken())).context("while printing");
        assert!(is_reader_gone(&wrapped));
    }
}
