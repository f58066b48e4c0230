//! Tables as the server draws them (`meta.k8s.io/v1`, `Table`), and their text.

use serde::Deserialize;
use serde_json::Value;

use super::{
    format::named,
    paint::{Cell, Layout, Paint, Tone, grid},
};
use crate::types::meta::Kind;

/// A table from the server.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Table {
    column_definitions: Vec<Column>,
    rows: Vec<Row>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Column {
    name: String,
    /// 0: always shown; above: only in wide tables.
    priority: i32,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(default)]
struct Row {
    cells: Vec<Value>,
    object: Value,
}

/// Which columns are shown.
#[derive(Clone, Copy, Debug)]
pub(super) struct Columns {
    /// Those of lesser priority too.
    pub(super) wide: bool,
    /// The namespace, first.
    pub(super) namespace: bool,
}

impl Table {
    /// Whether it has no rows.
    pub(super) const fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Adds the rows of a table of the same kind.
    pub(super) fn append(&mut self, other: Self) {
        self.rows.extend(other.rows);
    }

    /// Puts the kind before each name.
    pub(super) fn qualify(&mut self, kind: Kind) {
        let first_cells = self.rows.iter_mut().filter_map(|row| row.cells.first_mut());
        for cell in first_cells {
            if let Value::String(name) = cell {
                *name = named(kind, name);
            }
        }
    }

    /// The header and the rows.
    pub(super) fn cells(&self, columns: Columns) -> (Vec<Cell>, Vec<Vec<Cell>>) {
        let shown = |at: usize| {
            let column = self.column_definitions.get(at);
            columns.wide || column.is_none_or(|column| column.priority == 0)
        };
        let definitions = self.column_definitions.iter().enumerate();
        let names = definitions
            .filter(|(at, _)| shown(*at))
            .map(|(_, column)| &column.name);
        let names: Vec<_> = names.map(|name| Cell::from(name.to_uppercase())).collect();
        let header = prefixed(columns, || Cell::from("NAMESPACE"), names);
        let row = |row: &Row| {
            let cells = row.cells.iter().enumerate().filter(|(at, _)| shown(*at));
            let cells = cells.map(|(_, cell)| plain(cell)).collect();
            let namespace = &row.object["metadata"]["namespace"];
            prefixed(columns, || plain(namespace), cells)
        };
        (header, self.rows.iter().map(row).collect())
    }

    /// The text, with a line end.
    pub(super) fn render(&self, columns: Columns, paint: Paint) -> String {
        let (header, rows) = self.cells(columns);
        let mut all = vec![header];
        all.extend(rows);
        grid(&all, Layout::new(0, paint)).join("\n") + "\n"
    }
}

fn prefixed(columns: Columns, first: impl Fn() -> Cell, mut rest: Vec<Cell>) -> Vec<Cell> {
    if columns.namespace {
        rest.insert(0, first());
    }
    rest
}

fn plain(value: &Value) -> Cell {
    match value {
        Value::String(text) => Cell::new(text, Tone::of_word(text)),
        Value::Null => Cell::from(""),
        other => Cell::from(other.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn table() -> Table {
        serde_json::from_value(json!({
            "kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": "7"},
            "columnDefinitions": [
                {"name": "Name", "type": "string", "format": "name", "priority": 0},
                {"name": "Phase", "type": "string", "priority": 0},
                {"name": "Ready", "type": "integer", "priority": 0},
                {"name": "Domain", "type": "string", "priority": 1}],
            "rows": [
                {"cells": ["ims", "Ready", 9, "ims.example.com"],
                 "object": {"metadata": {"namespace": "default"}}},
                {"cells": ["a-longer-name", "Progressing", null, "b.example.com"],
                 "object": {"metadata": {"namespace": "lab"}}}],
        }))
        .unwrap()
    }

    #[test]
    fn tables_show_the_columns_asked_for() {
        let text = |wide, namespace| table().render(Columns { wide, namespace }, Paint::Mono);
        insta::assert_snapshot!(text(false, false));
        insta::assert_snapshot!(text(true, true));
    }

    #[test]
    fn several_kinds_are_told_apart_by_their_names() {
        let mut table = table();
        table.qualify(Kind::ClearwaterStack);
        let (_, rows) = table.cells(Columns {
            wide: false,
            namespace: false,
        });
        let lines = grid(&rows, Layout::new(0, Paint::Mono));
        assert!(
            lines[0].starts_with("clearwaterstack.weir.dev/ims "),
            "{lines:?}"
        );
    }
}
