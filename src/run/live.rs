//! Lines at the end of the terminal that are drawn over as things change.
//!
//! Where there is no terminal, or nobody wants it, nothing is drawn; whoever uses it then prints
//! lines of its own.

use std::{
    io::{self, IsTerminal, Write},
    time::Duration,
};

use crossterm::{
    cursor::MoveUp,
    queue,
    style::Print,
    terminal::{self, Clear, ClearType},
};

use crate::types::stack::StackStatus;

/// Blocks in a bar.
const BAR: u32 = 20;

/// See the module.
pub(super) struct Live {
    on: bool,
    drawn: u16,
}

impl Live {
    /// Draws on a terminal, unless `plain` lines are wanted.
    pub(super) fn new(plain: Plain) -> Self {
        Self {
            on: plain == Plain::Unasked && io::stdout().is_terminal(),
            drawn: 0,
        }
    }

    /// Whether anything is drawn.
    pub(super) const fn is_on(&self) -> bool {
        self.on
    }

    /// Draws lines over those that were drawn last, cut to the terminal's width.
    ///
    /// # Errors
    /// The terminal is closed.
    pub(super) fn draw(&mut self, lines: &[String]) -> io::Result<()> {
        if !self.on {
            return Ok(());
        }
        let width = usize::from(terminal::size()?.0).saturating_sub(1);
        let mut out = io::stdout().lock();
        if self.drawn > 0 {
            queue!(out, MoveUp(self.drawn))?;
        }
        queue!(out, Clear(ClearType::FromCursorDown))?;
        for line in lines {
            let line: String = line.chars().take(width).collect();
            queue!(out, Print(line), Print("\n"))?;
        }
        self.drawn = u16::try_from(lines.len()).unwrap_or(u16::MAX);
        out.flush()
    }

    /// Leaves what was drawn last where it is.
    pub(super) const fn leave(&mut self) {
        self.drawn = 0;
    }
}

/// Whether somebody asked for plain lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Plain {
    /// Yes.
    Asked,
    /// No.
    Unasked,
}

/// A bar that is as full as `ready` is of `all`.
pub(super) fn bar(ready: u32, all: u32) -> String {
    let full = BAR * ready.min(all) / all.max(1);
    (0..BAR)
        .map(|place| if place < full { '█' } else { '░' })
        .collect()
}

/// Each role with a bar, then what runs.
pub(super) fn roles(status: &StackStatus, elapsed: Duration) -> Vec<String> {
    let bars = status.roles.iter().map(|(role, count)| {
        let (ready, desired) = (count.ready, count.desired);
        format!(
            "  {:<10} {}  {ready}/{desired}",
            role.name(),
            bar(ready, desired)
        )
    });
    bars.chain([now(status, elapsed)]).collect()
}

/// The time, and what runs.
pub(super) fn now(status: &StackStatus, elapsed: Duration) -> String {
    format!("{:>5.1} s  {}", elapsed.as_secs_f64(), running(status))
}

/// The commands that run, each once with its number.
pub(super) fn running(status: &StackStatus) -> String {
    let mut commands: Vec<(&str, usize)> = Vec::new();
    for pending in &status.ledger.pending {
        let command = pending.action.command();
        match commands.iter_mut().find(|(known, _)| *known == command) {
            Some((_, count)) => *count += 1,
            None => commands.push((command, 1)),
        }
    }
    commands.sort_unstable();
    let texts = commands.iter().map(|(command, count)| match count {
        1 => (*command).to_owned(),
        count => format!("{command} ×{count}"),
    });
    texts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_is_as_full_as_things_are_ready() {
        assert_eq!(bar(0, 9), "░".repeat(20));
        assert_eq!(bar(9, 9), "█".repeat(20));
        assert_eq!(bar(1, 2), "█".repeat(10) + &"░".repeat(10));
        assert_eq!(bar(0, 0), "░".repeat(20));
    }
}
