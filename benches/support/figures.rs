//! Figures with their bounds: printed as a table, and judged at the end.

#![allow(clippy::print_stdout, reason = "the table is what a bench is for")]

use std::process::ExitCode;

/// The figures of one bench.
#[derive(Default)]
pub(crate) struct Figures {
    rows: Vec<Row>,
}

struct Row {
    what: String,
    measured: String,
    bound: String,
    holds: bool,
}

impl Figures {
    /// Notes a figure that must not exceed its bound.
    pub(crate) fn at_most(&mut self, what: &str, measured: f64, bound: f64) {
        self.note(
            what,
            plain(measured),
            format!("≤ {}", plain(bound)),
            measured <= bound,
        );
    }

    /// Notes a figure that must reach its bound.
    pub(crate) fn at_least(&mut self, what: &str, measured: f64, bound: f64) {
        self.note(
            what,
            plain(measured),
            format!("≥ {}", plain(bound)),
            measured >= bound,
        );
    }

    /// Notes a figure that has no bound.
    pub(crate) fn tell(&mut self, what: &str, measured: impl Into<String>) {
        self.note(what, measured.into(), String::new(), true);
    }

    fn note(&mut self, what: &str, measured: String, bound: String, holds: bool) {
        let what = what.to_owned();
        self.rows.push(Row {
            what,
            measured,
            bound,
            holds,
        });
    }

    /// Prints the table; a bench that misses a figure fails.
    pub(crate) fn judge(self, title: &str) -> ExitCode {
        let width = |cell: fn(&Row) -> &str| {
            let widths = self.rows.iter().map(|row| cell(row).chars().count());
            widths.max().unwrap_or_default()
        };
        let (what, measured) = (width(|row| &row.what), width(|row| &row.measured));
        println!("\n{title}");
        for row in &self.rows {
            let verdict = match (row.bound.is_empty(), row.holds) {
                (true, _) => "",
                (false, true) => "holds",
                (false, false) => "MISSED",
            };
            let line = format!(
                "  {:<what$}  {:>measured$}  {:<8} {verdict}",
                row.what, row.measured, row.bound
            );
            println!("{}", line.trim_end());
        }
        let missed = self.rows.iter().filter(|row| !row.holds).count();
        if missed == 0 {
            return ExitCode::SUCCESS;
        }
        println!("{missed} of {} figures missed", self.rows.len());
        ExitCode::FAILURE
    }
}

/// A number with as many digits as it deserves.
fn plain(number: f64) -> String {
    if number.fract() == 0.0 {
        format!("{number:.0}")
    } else {
        format!("{number:.2}")
    }
}

/// A count as a number that can be divided.
pub(crate) fn count(number: usize) -> f64 {
    f64::from(u32::try_from(number).unwrap_or(u32::MAX))
}
