//! A page of text for people: labelled lines and titled tables, as `describe` prints them.

use super::paint::{Cell, Layout, Paint, Tone, clean, grid};

/// Columns that a sentence may take before it goes on in the next line: a usual terminal has them
/// left beside the label.
const SENTENCE: usize = 88;

/// Lines that grow from top to bottom.
#[derive(Debug)]
pub(super) struct Page {
    lines: Vec<String>,
    fields: Vec<Vec<Cell>>,
    paint: Paint,
}

impl Page {
    /// An empty page.
    pub(super) const fn new(paint: Paint) -> Self {
        Self {
            lines: Vec::new(),
            fields: Vec::new(),
            paint,
        }
    }

    /// A label and its value; labels in a row are aligned.
    pub(super) fn field(&mut self, label: &str, value: impl Into<Cell>) {
        let label = Cell::new(format!("{label}:"), Tone::Strong);
        self.fields.push(vec![label, value.into()]);
    }

    /// As [`Page::field`], where there is a value.
    pub(super) fn field_if(&mut self, label: &str, value: Option<impl Into<Cell>>) {
        if let Some(value) = value {
            self.field(label, value);
        }
    }

    /// A label and sentences, broken into lines.
    pub(super) fn sentences(&mut self, label: &str, text: &str, tone: Tone) {
        for (place, line) in broken(&clean(text)).into_iter().enumerate() {
            let label = if place == 0 {
                format!("{label}:")
            } else {
                String::new()
            };
            let label = Cell::new(label, Tone::Strong);
            self.fields.push(vec![label, Cell::new(line, tone)]);
        }
    }

    /// An empty line between labels.
    pub(super) fn gap(&mut self) {
        self.settle_fields();
        self.lines.push(String::new());
    }

    /// A table under a title; nothing at all where there are no rows.
    pub(super) fn table(&mut self, title: &str, header: &[&str], rows: Vec<Vec<Cell>>) {
        if rows.is_empty() {
            return;
        }
        self.title(title);
        let mut all = vec![
            header
                .iter()
                .map(|name| Cell::new(name, Tone::Dim))
                .collect(),
        ];
        all.extend(rows);
        self.lines.extend(grid(&all, Layout::new(2, self.paint)));
    }

    /// Lines under a title, as they are.
    pub(super) fn block(&mut self, title: &str, lines: &[String]) {
        self.title(title);
        let indented = lines
            .iter()
            .map(|line| format!("  {}", clean_keeping_indent(line)));
        self.lines.extend(indented);
    }

    fn title(&mut self, title: &str) {
        self.settle_fields();
        self.lines.push(String::new());
        self.lines.push(self.paint.tone(Tone::Strong, title));
    }

    fn settle_fields(&mut self) {
        let fields = std::mem::take(&mut self.fields);
        let layout = Layout::new(0, self.paint);
        self.lines.extend(grid(&fields, layout));
    }

    /// The text, with a line end.
    pub(super) fn finish(mut self) -> String {
        self.settle_fields();
        self.lines.join("\n") + "\n"
    }
}

/// A text as lines of at most [`SENTENCE`] characters, broken between words.
fn broken(text: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always a last line");
        let width = line.chars().count() + 1 + word.chars().count();
        match line.is_empty() {
            true => line.push_str(word),
            false if width <= SENTENCE => *line = format!("{line} {word}"),
            false => lines.push(word.to_owned()),
        }
    }
    lines
}

fn clean_keeping_indent(line: &str) -> String {
    let indent = line.len() - line.trim_start_matches(' ').len();
    " ".repeat(indent) + &clean(line)
}
