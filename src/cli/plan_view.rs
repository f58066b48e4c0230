//! A plan, as the controller computed it, drawn for people.
//!
//! The plan arrives as JSON, so that a controller of another version can be asked as well:
//! members that are missing are empty, members that are new are ignored.

use serde::{Deserialize, Serialize};

use super::paint::{Cell, Layout, Paint, Tone, clean, grid, row};

/// What an apply of one stack would start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct PlanView {
    pub(super) stack: String,
    pub(super) namespace: String,
    pub(super) steps: Vec<PlanStep>,
    pub(super) drift: Vec<PlanDrift>,
    pub(super) blocked: Vec<PlanBlocked>,
    pub(super) summary: String,
}

/// One step of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PlanStep {
    pub(super) subject: String,
    pub(super) command: String,
    pub(super) kind: StepKind,
    pub(super) reason: String,
}

/// What a step does to its subject.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum StepKind {
    /// Makes it.
    Create,
    /// Changes it.
    Change,
    /// Takes it away.
    Destroy,
    /// Waits, or does what fits nowhere else.
    #[default]
    #[serde(other)]
    Other,
}

impl StepKind {
    const ALL: [Self; 4] = [Self::Create, Self::Change, Self::Destroy, Self::Other];

    const fn sign(self) -> (&'static str, Tone) {
        match self {
            Self::Create => ("+", Tone::Good),
            Self::Change => ("~", Tone::Busy),
            Self::Destroy => ("-", Tone::Bad),
            Self::Other => (">", Tone::Dim),
        }
    }

    const fn title(self) -> &'static str {
        match self {
            Self::Create => "create",
            Self::Change => "change",
            Self::Destroy => "destroy",
            Self::Other => "other",
        }
    }
}

/// One field that differs from the manifest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PlanDrift {
    pub(super) subject: String,
    pub(super) field: String,
    pub(super) want: String,
    pub(super) have: String,
    pub(super) mode: String,
}

/// Something that the plan wants and cannot do.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct PlanBlocked {
    pub(super) subject: String,
    pub(super) reason: String,
}

impl PlanView {
    /// Whether an apply would start, report or fail at anything.
    pub(super) const fn is_empty(&self) -> bool {
        self.steps.is_empty() && self.drift.is_empty() && self.blocked.is_empty()
    }

    /// The plan as text, with a line end.
    pub(super) fn render(&self, paint: Paint) -> String {
        let title = format!("stack {} in {}", clean(&self.stack), clean(&self.namespace));
        let summary = match (self.is_empty(), self.summary.is_empty()) {
            (true, true) => "nothing to do".to_owned(),
            (false, true) => format!("{} steps", self.steps.len()),
            _ => clean(&self.summary),
        };
        let mut lines = vec![format!("{}: {summary}", paint.tone(Tone::Strong, &title))];
        for kind in StepKind::ALL {
            lines.extend(self.group(kind, paint));
        }
        lines.extend(self.drift_lines(paint));
        lines.extend(self.blocked_lines(paint));
        lines.join("\n") + "\n"
    }

    fn group(&self, kind: StepKind, paint: Paint) -> Vec<String> {
        let (sign, tone) = kind.sign();
        let steps = self.steps.iter().filter(|step| step.kind == kind);
        let rows: Vec<_> = steps
            .map(|step| {
                row![
                    Cell::new(format!("{sign} {}", step.subject), tone),
                    &step.command,
                    &step.reason,
                ]
            })
            .collect();
        titled(kind.title(), &rows, paint)
    }

    fn drift_lines(&self, paint: Paint) -> Vec<String> {
        let rows: Vec<_> = self
            .drift
            .iter()
            .map(|drift| {
                let change = format!(
                    "{}: {} → {}",
                    drift.field,
                    shown(&drift.have),
                    shown(&drift.want)
                );
                let note = match drift.mode.as_str() {
                    "Report" => "only reported",
                    _ => "",
                };
                row![&drift.subject, change, note]
            })
            .collect();
        titled("drift", &rows, paint)
    }

    fn blocked_lines(&self, paint: Paint) -> Vec<String> {
        let rows: Vec<_> = self
            .blocked
            .iter()
            .map(|blocked| {
                row![
                    Cell::new(format!("! {}", blocked.subject), Tone::Bad),
                    &blocked.reason
                ]
            })
            .collect();
        titled("cannot be done", &rows, paint)
    }
}

fn shown(value: &str) -> &str {
    if value.is_empty() { "nothing" } else { value }
}

fn titled(title: &str, rows: &[Vec<Cell>], paint: Paint) -> Vec<String> {
    if rows.is_empty() {
        return Vec::new();
    }
    let mut lines = vec![
        String::new(),
        format!("  {}", paint.tone(Tone::Strong, title)),
    ];
    lines.extend(grid(rows, Layout::new(4, paint)));
    lines
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn plan() -> PlanView {
        serde_json::from_value(json!({
            "stack": "ims", "namespace": "default",
            "steps": [
                {"subject": "machine ims-bono-1", "command": "deployVirtualMachine", "kind": "create",
                 "reason": "the manifest asks for 2 bono, there is 1"},
                {"subject": "machine ims-sprout-0", "command": "startVirtualMachine", "kind": "change",
                 "reason": "its VM is Stopped"},
                {"subject": "machine ims-ralf-1", "command": "destroyVirtualMachine", "kind": "destroy",
                 "reason": "the manifest asks for 1 ralf"},
                {"subject": "machine ims-homer-0", "command": "wait", "kind": "something new",
                 "reason": "its probe has 40s left"},
            ],
            "drift": [
                {"subject": "machine ims-sprout-0", "field": "powerState", "want": "Running",
                 "have": "Stopped", "mode": "Repair"},
                {"subject": "rule 30", "field": "aclRule", "want": "tcp 5060", "have": "",
                 "mode": "Report"},
            ],
            "blocked": [{"subject": "tier", "reason": "the VPC's range has no room"}],
            "summary": "4 steps: 1 create, 1 change, 1 destroy, 1 other",
        }))
        .unwrap()
    }

    #[test]
    fn a_plan_is_grouped_and_gives_reasons() {
        insta::assert_snapshot!(plan().render(Paint::Mono));
    }

    #[test]
    fn a_plan_with_nothing_to_do_says_so() {
        let empty = PlanView {
            stack: "ims".to_owned(),
            namespace: "default".to_owned(),
            ..PlanView::default()
        };
        assert!(empty.is_empty());
        assert_eq!(
            empty.render(Paint::Mono),
            "stack ims in default: nothing to do\n"
        );
    }
}
