//! A page of text for people: labelled lines and titled tables, as `describe` prints them.

use super::paint::{Cell, Layout, Paint, Tone, clean, grid};

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

fn clean_keeping_indent(line: &str) -> String {
    let indent = line.len() - line.trim_start_matches(' ').len();
    " ".repeat(indent) + &clean(line)
}
