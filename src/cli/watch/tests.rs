//! What `watch` shows, frame by frame, and when it ends.

use jiff::{SignedDuration, Timestamp};

use super::{
    super::{follow::Change, paint::Paint, samples},
    frame::{Screen, frame},
    lines::Lines,
    model::{Link, Model, concerns, is_ready},
};
use crate::types::{
    meta::{ConditionStatus, Kind, Object, Resource},
    stack::ClearwaterStack,
};

fn objects<T: Resource>(typed: &[T]) -> Vec<Object> {
    typed.iter().map(Object::encode).collect()
}

fn snapshots() -> [Change; 3] {
    [
        Change::Snapshot(Kind::ClearwaterStack, objects(&[samples::stack()])),
        Change::Snapshot(Kind::Machine, objects(&samples::machines())),
        Change::Snapshot(Kind::Event, objects(&samples::events())),
    ]
}

fn model(only: Option<&str>) -> Model {
    let mut model = Model::new("default".to_owned(), only.map(str::to_owned));
    for change in snapshots() {
        model.note(&change, samples::now());
    }
    model
}

fn drawn(model: &Model, now: Timestamp, width: usize, height: usize) -> String {
    let screen = Screen {
        width,
        height,
        paint: Paint::Mono,
    };
    let lines = frame(model, now, screen);
    assert!(lines.len() <= height, "{} lines on {height}", lines.len());
    for line in &lines {
        assert!(line.chars().count() <= width, "{line}");
    }
    lines.join("\n")
}

#[test]
fn one_stack_on_a_usual_screen() {
    insta::assert_snapshot!(drawn(&model(Some("ims")), samples::now(), 110, 40));
}

#[test]
fn a_small_screen_keeps_what_matters() {
    insta::assert_snapshot!(drawn(&model(Some("ims")), samples::now(), 60, 18));
    for (width, height) in [(0, 0), (1, 1), (10, 3), (200, 5), (20, 100)] {
        drawn(&model(None), samples::now(), width, height);
    }
}

#[test]
fn several_stacks_share_the_screen_and_a_lost_connection_shows() {
    let mut model = model(None);
    let mut other = samples::stack();
    other.metadata.name = "lab".to_owned();
    model.note(&Change::Put(Object::encode(&other)), samples::now());
    let lost = Change::Lost(Kind::Event, "connection refused".to_owned());
    model.note(&lost, samples::now());
    let later = samples::now() + SignedDuration::from_secs(7);
    insta::assert_snapshot!(drawn(&model, later, 110, 30));
}

#[test]
fn an_empty_namespace_says_what_to_do() {
    let mut model = Model::new("default".to_owned(), None);
    insta::assert_snapshot!(drawn(&model, samples::now(), 80, 10));
    model.note(
        &Change::Snapshot(Kind::ClearwaterStack, Vec::new()),
        samples::now(),
    );
    insta::assert_snapshot!(drawn(&model, samples::now(), 80, 10));
}

#[test]
fn without_a_terminal_each_change_is_a_line() {
    let mut model = Model::new("default".to_owned(), Some("ims".to_owned()));
    let start = samples::now() - SignedDuration::from_secs(60);
    let mut lines = Lines::new(start, Paint::Mono);
    let mut text = Vec::new();
    let mut tell = |change: Change, now: Timestamp| {
        model.note(&change, now);
        text.extend(lines.after(&model, &change, now));
    };
    snapshots()
        .into_iter()
        .for_each(|change| tell(change, samples::now()));
    let later = samples::now() + SignedDuration::from_secs(9);
    tell(
        Change::Lost(Kind::Machine, "connection refused".to_owned()),
        later,
    );
    tell(
        Change::Lost(Kind::Event, "connection refused".to_owned()),
        later,
    );
    // Everything comes again and is no news; one step has ended since.
    let mut stack = samples::stack();
    stack.status.as_mut().unwrap().steps.remove(1);
    let again = [
        Change::Snapshot(Kind::Machine, objects(&samples::machines())),
        Change::Put(Object::encode(&stack)),
        Change::Gone(Object::encode(&samples::machines()[1])),
    ];
    again.into_iter().for_each(|change| tell(change, later));
    insta::assert_snapshot!(text.join("\n"));
}

#[test]
fn other_stacks_are_left_out() {
    let mut model = model(Some("ims"));
    let mut other = samples::stack();
    other.metadata.name = "ims-2".to_owned();
    model.note(&Change::Put(Object::encode(&other)), samples::now());
    let mut machine = samples::machines().remove(0);
    machine.metadata.name = "ims-2-bono-0".to_owned();
    machine.spec.stack_ref.name = "ims-2".to_owned();
    model.note(&Change::Put(Object::encode(&machine)), samples::now());
    assert_eq!(model.stacks.len(), 1);
    assert_eq!(model.machines.len(), 3);
}

#[test]
fn events_belong_to_the_stack_whose_machine_they_name() {
    let mut event = samples::events().remove(1);
    let mut of = |name: &str, stack: &str| {
        event.involved_object.name = name.to_owned();
        concerns(&event, stack)
    };
    assert!(of("ims-bono-0", "ims"));
    assert!(of("ims-2-bono-0", "ims-2"));
    assert!(!of("ims-2-bono-0", "ims"));
    assert!(!of("imsy-bono-0", "ims"));
}

#[test]
fn ready_means_with_the_latest_manifest() {
    let with = |status: ConditionStatus, observed: i64| -> ClearwaterStack {
        let mut stack = samples::stack();
        let inner = stack.status.as_mut().unwrap();
        inner.observed_generation = observed;
        inner.conditions[0].status = status;
        stack
    };
    assert!(is_ready(&with(ConditionStatus::True, 4)));
    assert!(!is_ready(&with(ConditionStatus::True, 3)));
    assert!(!is_ready(&with(ConditionStatus::False, 4)));
    let mut model = Model::new(String::new(), None);
    assert!(!model.ready());
    let ready = Object::encode(&with(ConditionStatus::True, 4));
    model.note(
        &Change::Snapshot(Kind::ClearwaterStack, vec![ready]),
        samples::now(),
    );
    assert!(model.ready());
    assert_eq!(model.link, Link::Live);
}
