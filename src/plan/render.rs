//! A preview as text for people.

use std::fmt::Write;

use super::preview::{Preview, StepKind};
use crate::types::stack::DriftMode;

/// The plan, a line a step, with drift before and a summary after.
#[must_use]
pub fn text(preview: &Preview) -> String {
    let mut text = String::new();
    let mut line = |line: std::fmt::Arguments<'_>| {
        text.write_fmt(line).expect("a String takes every write");
        text.push('\n');
    };
    line(format_args!(
        "clearwaterstack {}/{}",
        preview.namespace, preview.stack
    ));
    for drift in &preview.drift {
        let (subject, field) = (&drift.subject, drift.field.name());
        let only = if drift.mode == DriftMode::Report {
            " (only reported)"
        } else {
            ""
        };
        line(format_args!(
            "  drift  {subject}: {field}: {} → {}{only}",
            drift.have, drift.want
        ));
    }
    for step in &preview.steps {
        let sign = match step.kind {
            StepKind::Create => '+',
            StepKind::Change => '~',
            StepKind::Destroy => '-',
            StepKind::Other => '>',
        };
        line(format_args!(
            "  {sign} {:<30} {:<28} {}",
            step.subject, step.command, step.reason
        ));
    }
    for blocked in &preview.blocked {
        line(format_args!(
            "  ! {:<30} {}",
            blocked.subject, blocked.reason
        ));
    }
    line(format_args!("{}", preview.summary));
    text
}
