//! One frame of the live view: a pure function of what is known, the time and the screen.

use jiff::Timestamp;

use super::{
    super::{
        age::between,
        describe::{parts, paused},
        paint::{Cell, Layout, Paint, Tone, clean, cut, grid, row},
    },
    model::{Link, Model},
};
use crate::types::{
    core::Event,
    machine::{Machine, Phase},
    role::Role,
    stack::{ClearwaterStack, StackStatus, StepReport, StepState},
};

/// Blocks in a bar.
const BAR: usize = 20;

/// Lines of a screen on which each role may have its own.
const ROOMY: usize = 24;

/// Lines that steps and events get even where machines would fill the screen.
const LEAST: usize = 5;

/// The screen that a frame is for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Screen {
    /// Characters in a line.
    pub(super) width: usize,
    /// Lines.
    pub(super) height: usize,
    /// Whether it has colours.
    pub(super) paint: Paint,
}

impl Screen {
    fn layout(self) -> Layout {
        Layout {
            gap: 2,
            width: self.width,
            ..Layout::new(2, self.paint)
        }
    }
}

/// The lines of a frame, from top to bottom; never more than the screen has.
pub(super) fn frame(model: &Model, now: Timestamp, screen: Screen) -> Vec<String> {
    let mut lines = vec![header(model, now, screen)];
    lines.extend(stacks(model, now, screen));
    let left = screen.height.saturating_sub(lines.len() + 2);
    let sections = [
        ("MACHINES", machines(model, now, screen)),
        ("STEPS", steps(model, now, screen)),
        ("EVENTS", events(model, now, screen)),
    ];
    lines.extend(share_out(sections, left, screen.paint));
    lines.truncate(screen.height.saturating_sub(2));
    lines.push(String::new());
    lines.push(screen.paint.tone(Tone::Dim, &cut("q quits", screen.width)));
    lines.truncate(screen.height);
    lines
}

fn header(model: &Model, now: Timestamp, screen: Screen) -> String {
    let what = model.only.as_deref().unwrap_or("all stacks");
    let (link, tone) = match &model.link {
        Link::Connecting => ("connecting".to_owned(), Tone::Busy),
        Link::Live => ("live".to_owned(), Tone::Good),
        Link::Lost { since, why } => {
            let since = between(*since, now);
            (
                format!("no answer for {since}, trying again: {}", clean(why)),
                Tone::Bad,
            )
        }
    };
    let title = format!(
        "weir watch {what} in {}  {}",
        model.namespace,
        now.strftime("%H:%M:%S UTC")
    );
    let room = screen.width.saturating_sub(title.chars().count() + 2);
    let title = screen.paint.tone(Tone::Strong, &cut(&title, screen.width));
    match room {
        0 => title,
        room => format!("{title}  {}", screen.paint.tone(tone, &cut(&link, room))),
    }
}

fn stacks(model: &Model, now: Timestamp, screen: Screen) -> Vec<String> {
    if model.stacks.is_empty() && model.link == Link::Live {
        let none = "no stacks here: `weir apply -f FILE` makes one".to_owned();
        return vec![String::new(), cut(&none, screen.width)];
    }
    let mut lines = Vec::new();
    for stack in model.stacks.values() {
        lines.push(String::new());
        lines.extend(stack_lines(stack, now, screen));
        let roomy = model.stacks.len() == 1 && screen.height >= ROOMY;
        lines.extend(match roomy {
            true => bars(stack, screen),
            false => vec![counts(stack, screen)],
        });
    }
    lines
}

fn stack_lines(stack: &ClearwaterStack, now: Timestamp, screen: Screen) -> Vec<String> {
    let empty = StackStatus::default();
    let status = stack.status.as_ref().unwrap_or(&empty);
    let phase = if status.phase.is_empty() {
        "Unknown"
    } else {
        &status.phase
    };
    let ready = format!("{} of {} ready", status.ready_replicas, status.replicas);
    let cells = row![
        Cell::new(&stack.metadata.name, Tone::Strong),
        Cell::word(phase),
        ready,
        &stack.spec.domain,
    ];
    let layout = Layout {
        indent: 0,
        ..screen.layout()
    };
    let mut lines = grid(&[cells], layout);
    let paused = paused(&stack.metadata, now).map(|text| format!("paused {text}"));
    let problem = parts::unmet(&status.conditions, "Ready");
    for text in [paused, problem].into_iter().flatten() {
        lines.extend(grid(&[row![Cell::new(text, Tone::Dim)]], screen.layout()));
    }
    lines
}

fn bars(stack: &ClearwaterStack, screen: Screen) -> Vec<String> {
    let rows: Vec<_> = roles(stack)
        .map(|(role, ready, desired)| {
            let full = (ready as usize * BAR)
                .checked_div(desired as usize)
                .unwrap_or(BAR)
                .min(BAR);
            let bar = "█".repeat(full) + &"░".repeat(BAR - full);
            let tone = if ready >= desired {
                Tone::Good
            } else {
                Tone::Busy
            };
            row![role, Cell::new(bar, tone), format!("{ready}/{desired}")]
        })
        .collect();
    grid(&rows, screen.layout())
}

fn counts(stack: &ClearwaterStack, screen: Screen) -> String {
    let all: Vec<_> = roles(stack)
        .map(|(role, ready, desired)| format!("{role} {ready}/{desired}"))
        .collect();
    cut(&format!("  {}", all.join("  ")), screen.width)
}

fn roles(stack: &ClearwaterStack) -> impl Iterator<Item = (&'static str, u32, u32)> {
    let counts = stack.status.as_ref().map(|status| &status.roles);
    Role::ALL.into_iter().filter_map(move |role| {
        let count = counts?.get(&role)?;
        Some((role.name(), count.ready, count.desired))
    })
}

/// The machines, those that do not run first, so that they are what remains on a small screen.
fn machines(model: &Model, now: Timestamp, screen: Screen) -> Vec<String> {
    let mut machines: Vec<_> = model.machines.values().collect();
    machines.sort_by_key(|machine| (phase(machine) == Phase::Running, &machine.metadata.name));
    let rows: Vec<_> = machines
        .into_iter()
        .map(|machine| {
            let status = machine.status.clone().unwrap_or_default();
            let address = status.public_address.or(status.private_address);
            row![
                &machine.metadata.name,
                Cell::word(status.phase.name()),
                status
                    .since
                    .map_or_else(|| "-".to_owned(), |since| between(since, now)),
                address.map_or_else(|| "-".to_owned(), |ip| ip.to_string()),
                status.next.unwrap_or_default(),
            ]
        })
        .collect();
    grid(&rows, screen.layout())
}

fn phase(machine: &Machine) -> Phase {
    machine
        .status
        .as_ref()
        .map_or(Phase::Pending, |status| status.phase)
}

/// The steps of all watched stacks: what runs, what comes next, what waits.
fn steps(model: &Model, now: Timestamp, screen: Screen) -> Vec<String> {
    let statuses = model
        .stacks
        .values()
        .filter_map(|stack| stack.status.as_ref());
    let mut steps: Vec<&StepReport> = statuses.flat_map(|status| &status.steps).collect();
    steps.sort_by_key(|step| (step.state, step.since));
    let rows: Vec<_> = steps
        .into_iter()
        .map(|step| {
            let (sign, tone) = match step.state {
                StepState::Running => ("▶", Tone::Good),
                StepState::Next => ("·", Tone::Plain),
                StepState::Waiting => ("‖", Tone::Dim),
            };
            row![
                Cell::new(format!("{sign} {}", step.subject), tone),
                &step.action,
                step.since
                    .map_or_else(String::new, |since| between(since, now)),
                &step.reason,
            ]
        })
        .collect();
    grid(&rows, screen.layout())
}

/// The events, newest first, so that they are what remains on a small screen.
fn events(model: &Model, now: Timestamp, screen: Screen) -> Vec<String> {
    let line = |event: &Event| {
        row![
            parts::seen(event, now),
            Cell::new(&event.reason, Tone::of_word(&event.level)),
            parts::object_of(event),
            &event.message,
        ]
    };
    let rows: Vec<_> = model
        .last_events()
        .into_iter()
        .rev()
        .take(50)
        .map(line)
        .collect();
    grid(&rows, screen.layout())
}

/// Shares `room` lines out among titled sections: each gets a few, the rest goes to the first
/// that can use it.
fn share_out(sections: [(&str, Vec<String>); 3], room: usize, paint: Paint) -> Vec<String> {
    let filled = sections
        .iter()
        .filter(|(_, lines)| !lines.is_empty())
        .count();
    let mut left = room.saturating_sub(2 * filled);
    let least = LEAST.min(left.checked_div(filled).unwrap_or(0)).max(1);
    let mut given = sections.each_ref().map(|(_, lines)| {
        let first = lines.len().min(least).min(left);
        left -= first;
        first
    });
    for (given, (_, lines)) in given.iter_mut().zip(&sections) {
        let more = left.min(lines.len() - *given);
        *given += more;
        left -= more;
    }
    let mut all = Vec::new();
    for ((title, lines), given) in sections.into_iter().zip(given) {
        if given == 0 {
            continue;
        }
        let hidden = lines.len() - given;
        let title = match hidden {
            0 => title.to_owned(),
            _ => format!("{title} ({hidden} more)"),
        };
        all.push(String::new());
        all.push(paint.tone(Tone::Strong, &title));
        all.extend(lines.into_iter().take(given));
    }
    all
}
