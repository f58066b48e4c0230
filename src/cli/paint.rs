//! Colours, columns and lines: how text looks, whatever it says.
//!
//! Everything that comes from a server passes [`clean`] on its way to the terminal: CloudStack's
//! error texts are other people's, and an escape sequence in one must not command a terminal.

use std::{env, io::IsTerminal};

/// What a piece of text wants to say by its colour.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Tone {
    /// Nothing.
    #[default]
    Plain,
    /// All is well.
    Good,
    /// Something is going on.
    Busy,
    /// Something is wrong.
    Bad,
    /// Less important.
    Dim,
    /// A heading.
    Strong,
}

impl Tone {
    /// The tone of a phase, status or level, as objects write it.
    pub(super) fn of_word(word: &str) -> Self {
        match word {
            "Ready" | "Running" | "True" | "Active" => Self::Good,
            "Degraded" | "Blocked" | "Unhealthy" | "Error" | "Warning" | "Failed" => Self::Bad,
            "Pending" | "Progressing" | "Provisioning" | "Starting" | "Repairing" | "Updating"
            | "Deleting" | "Paused" | "Stopped" | "Next" => Self::Busy,
            _ => Self::Plain,
        }
    }

    const fn code(self) -> &'static str {
        match self {
            Self::Plain => "",
            Self::Good => "\x1b[32m",
            Self::Busy => "\x1b[33m",
            Self::Bad => "\x1b[31m",
            Self::Dim => "\x1b[2m",
            Self::Strong => "\x1b[1m",
        }
    }
}

/// Whether text is coloured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Paint {
    /// It is.
    Colour,
    /// It is not.
    Mono,
}

impl Paint {
    /// Colours on a terminal that has them, unless `NO_COLOR` (no-color.org) is set.
    pub(super) fn for_terminal(terminal: &impl IsTerminal) -> Self {
        let unset = |name: &str| env::var_os(name).is_none_or(|value| value.is_empty());
        let dumb = env::var_os("TERM").is_some_and(|term| term == "dumb");
        match terminal.is_terminal() && unset("NO_COLOR") && !dumb {
            true => Self::Colour,
            false => Self::Mono,
        }
    }

    /// `text` in `tone`.
    pub(super) fn tone(self, tone: Tone, text: &str) -> String {
        match self {
            Self::Colour if tone != Tone::Plain => format!("{}{text}\x1b[0m", tone.code()),
            _ => text.to_owned(),
        }
    }
}

/// A text whose control characters are harmless: line ends and tabs become blanks, others
/// disappear.
pub(super) fn clean(text: &str) -> String {
    let blank = |c: char| {
        if matches!(c, '\n' | '\r' | '\t') {
            ' '
        } else {
            c
        }
    };
    text.trim()
        .chars()
        .map(blank)
        .filter(|c| !c.is_control())
        .collect()
}

/// `text` cut to `width` characters, with an ellipsis where something is missing.
pub(super) fn cut(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    let kept: String = text.chars().take(width.saturating_sub(1)).collect();
    if width == 0 { kept } else { kept + "…" }
}

/// One cell of a [`grid`].
#[derive(Clone, Debug, Default)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    /// A text in a tone.
    pub(super) fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self {
            text: clean(text.as_ref()),
            tone,
        }
    }

    /// A phase, status or level in its own tone.
    pub(super) fn word(word: &str) -> Self {
        Self::new(word, Tone::of_word(word))
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl<T: AsRef<str>> From<T> for Cell {
    fn from(text: T) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// A row of cells from texts, numbers or cells.
macro_rules! row {
    ($($cell:expr),* $(,)?) => { vec![$($crate::cli::paint::Cell::from($cell)),*] };
}
pub(super) use row;

/// How a [`grid`] is laid out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Layout {
    /// Blanks before each line.
    pub(super) indent: usize,
    /// Blanks between two columns.
    pub(super) gap: usize,
    /// Lines are cut here; `usize::MAX` for never.
    pub(super) width: usize,
    /// Whether there are colours.
    pub(super) paint: Paint,
}

impl Layout {
    /// Three blanks between columns, as kubectl has it, and no end to a line.
    pub(super) const fn new(indent: usize, paint: Paint) -> Self {
        Self {
            indent,
            gap: 3,
            width: usize::MAX,
            paint,
        }
    }
}

/// Rows with their columns aligned, one line a row.
pub(super) fn grid(rows: &[Vec<Cell>], layout: Layout) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let widest = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(Cell::width).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(widest).collect();
    rows.iter()
        .map(|row| aligned(row, &widths, layout))
        .collect()
}

fn aligned(row: &[Cell], widths: &[usize], layout: Layout) -> String {
    let last = row.iter().rposition(|cell| cell.width() > 0).unwrap_or(0);
    let mut line = " ".repeat(layout.indent);
    let mut used = layout.indent;
    for (column, cell) in row.iter().enumerate().take(last + 1) {
        let text = cut(&cell.text, layout.width.saturating_sub(used));
        let room = layout.width.saturating_sub(used + text.chars().count());
        let padding = match column == last {
            true => 0,
            false => room.min(widths[column] + layout.gap - cell.width()),
        };
        line += &layout.paint.tone(cell.tone, &text);
        line += &" ".repeat(padding);
        used += text.chars().count() + padding;
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_aligned_whatever_their_colour() {
        let rows = [
            row!["NAME", "PHASE", ""],
            row!["a", Cell::word("Running"), "x"],
            row!["long-name", Cell::word("Unhealthy"), ""],
        ];
        let plain = grid(&rows, Layout::new(2, Paint::Mono));
        assert_eq!(
            plain,
            [
                "  NAME        PHASE",
                "  a           Running     x",
                "  long-name   Unhealthy"
            ]
        );
        let coloured = grid(&rows, Layout::new(0, Paint::Colour));
        assert_eq!(coloured[1], "a           \x1b[32mRunning\x1b[0m     x");
    }

    #[test]
    fn other_peoples_text_cannot_command_the_terminal() {
        assert_eq!(clean("no\x1b[2J room\nhere\u{7}"), "no[2J room here");
    }

    #[test]
    fn long_lines_are_cut() {
        assert_eq!(cut("abcdef", 4), "abc…");
        let layout = Layout {
            width: 8,
            ..Layout::new(0, Paint::Mono)
        };
        assert_eq!(grid(&[row!["ab", "cdefgh"]], layout), ["ab   cd…"]);
    }
}
