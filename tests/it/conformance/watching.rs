//! Watches, lists over time and waits: checks 84 to 97.

use std::{sync::Arc, time::Duration};

use serde_json::{Value, json};
use weir::api::Limits;

use super::bed::{Bed, MERGE, Made, SECRETS, STACKS, number, scaled, secret, stack};
use crate::cli::lab::until;

/// A bed whose watches tell how far they are that often.
fn marking() -> Bed {
    Bed::with(Made::limited(Limits {
        bookmark_every: Duration::from_millis(50),
        ..Limits::default()
    }))
}

/// Removes what keeps a stack in the store.
fn let_go(bed: &Bed, name: &str) {
    let nothing = json!({"metadata": {"finalizers": null}});
    bed.patch(MERGE, &format!("{STACKS}/{name}"), &nothing)
        .is(200);
}

fn page(bed: &Bed, query: &str) -> (Vec<String>, Value) {
    let list = bed.get(&format!("{STACKS}?{query}")).is(200);
    let items = list["items"].as_array().unwrap().iter();
    let names = items.map(|item| item["metadata"]["name"].as_str().unwrap().to_owned());
    (names.collect(), list["metadata"].clone())
}

/// Check 84: a watch prints what happens, in order, for as long as nobody ends it.
#[test]
fn k084_a_watch_prints_what_happens() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.post(SECRETS, &secret("old")).is(201);
    let mut watch = bed.started("get secrets -w --output-watch-events");
    let says = |words: &[&str]| {
        until(&words.join(", "), || {
            let said = watch.said();
            let rows: Vec<_> = said
                .lines()
                .skip(1)
                .map(|line| {
                    line.split_whitespace()
                        .take(2)
                        .collect::<Vec<_>>()
                        .join(" ")
                })
                .collect();
            (rows == words).then_some(()).ok_or(said)
        });
    };
    says(&["ADDED old"]);
    bed.post(SECRETS, &secret("new")).is(201);
    let path = format!("{SECRETS}/new");
    bed.patch(MERGE, &path, &json!({"stringData": {"more": "1"}}))
        .is(200);
    bed.delete(&path, &json!({})).is(200);
    says(&["ADDED old", "ADDED new", "MODIFIED new", "DELETED new"]);
    assert_eq!(watch.ended(), None);
}

/// Check 85: a document a line, at once, until the time that the client gave is over.
#[test]
fn k085_a_watch_is_lines_and_ends_in_time() {
    let bed = Bed::new();
    let path = format!(
        "{STACKS}?watch=true&timeoutSeconds=1&resourceVersion={}",
        bed.version()
    );
    let mut watch = bed.follow(&path);
    bed.stack("a");
    assert_eq!(watch.events(1), ["ADDED a"]);
    assert_eq!(watch.next_or_end(), None);
}

/// Check 86: a watch from nowhere begins with what there is.
#[test]
fn k086_a_watch_from_nowhere_begins_with_the_state() {
    let bed = Bed::new();
    for name in ["b", "a"] {
        bed.stack(name);
    }
    for query in ["watch=true", "watch=1&resourceVersion=0"] {
        let mut watch = bed.follow(&format!("{STACKS}?{query}"));
        assert_eq!(watch.events(2), ["ADDED a", "ADDED b"]);
        bed.patch(
            MERGE,
            &format!("{STACKS}/a"),
            &json!({"metadata": {"labels": {"q": query.len().to_string()}}}),
        )
        .is(200);
        assert_eq!(watch.events(1), ["MODIFIED a"]);
    }
}

/// Check 87: a bookmark tells how far an idle watch has come, to whoever asked for it, and when
/// there is something to tell.
#[test]
fn k087_bookmarks_tell_how_far_a_watch_has_come() {
    let bed = marking();
    let from = bed.version();
    let path = format!("{STACKS}?watch=true&resourceVersion={from}&timeoutSeconds=1");
    let mut quiet = bed.follow(&path);
    let mut told = bed.follow(&format!("{path}&allowWatchBookmarks=true"));
    bed.post(SECRETS, &secret("elsewhere")).is(201);
    let (kind, mark) = loop {
        let event = told.event();
        if number(&event.1["metadata"]["resourceVersion"]) > from {
            break event;
        }
    };
    assert_eq!(kind, "BOOKMARK");
    let metadata = json!({"resourceVersion": bed.version().to_string()});
    assert_eq!(
        mark,
        json!({"kind": "ClearwaterStack", "apiVersion": "weir.dev/v1alpha1", "metadata": metadata})
    );
    assert_eq!(quiet.next_or_end(), None);
}

/// Check 88: a watch that begins with the state says where the state ends; half a request for it
/// is refused.
#[test]
fn k088_a_watch_says_where_the_state_ends() {
    let bed = Bed::new();
    bed.stack("a");
    let path = format!("{STACKS}?watch=true&sendInitialEvents=true&allowWatchBookmarks=true");
    let mut watch = bed.follow(&format!("{path}&resourceVersionMatch=NotOlderThan"));
    assert_eq!(watch.events(1), ["ADDED a"]);
    let (kind, mark) = watch.event();
    assert_eq!(kind, "BOOKMARK");
    let end = json!({"k8s.io/initial-events-end": "true"});
    assert_eq!(mark["metadata"]["annotations"], end);
    bed.stack("b");
    assert_eq!(watch.events(1), ["ADDED b"]);
    bed.get(&path).refused(422, "Invalid");
    bed.get(&format!("{STACKS}?sendInitialEvents=false"))
        .refused(422, "Invalid");
    let table = "application/json;as=Table;v=v1;g=meta.k8s.io";
    let mut watch = bed.follow_as(table, &format!("{path}&resourceVersionMatch=NotOlderThan"));
    let (_, first) = watch.event();
    assert!(first["columnDefinitions"].is_array(), "{first}");
    watch.event();
    let (_, mark) = watch.event();
    assert_eq!(mark["columnDefinitions"], Value::Null);
    assert_eq!(mark["rows"][0]["object"]["metadata"]["annotations"], end);
}

/// Check 89: a watch from before the history is told to list again, which helps.
#[test]
fn k089_a_watch_from_too_long_ago_is_told_so() {
    let bed = Bed::with(Made::remembering(8));
    for name in ["a", "b", "c", "d", "e", "f", "g", "h", "i"] {
        bed.stack(name);
    }
    let mut old = bed.follow(&format!("{STACKS}?watch=true&resourceVersion=1"));
    let (kind, status) = old.event();
    let told = (&status["code"], &status["reason"]);
    assert_eq!(
        (&*kind, told),
        ("ERROR", (&json!(410), &json!("Expired"))),
        "{status}"
    );
    assert_eq!(old.next_or_end(), None);
    bed.get(&format!("{STACKS}?watch=true&resourceVersion=x"))
        .refused(400, "BadRequest");
    let mut watch = bed.follow(&format!(
        "{STACKS}?watch=true&resourceVersion={}",
        bed.version()
    ));
    bed.stack("j");
    assert_eq!(watch.events(1), ["ADDED j"]);
    // One from the future waits for it.
    let future = bed.version() + 1_000;
    let mut watch = bed.follow(&format!("{STACKS}?watch=true&resourceVersion={future}"));
    assert!(watch.silent_for(Duration::from_millis(100)));
}

/// Check 90: whoever watches a selection sees an object come and go with its labels. What goes is
/// shown as it was, at the version at which it went.
#[test]
fn k090_an_object_comes_and_goes_with_its_labels() {
    let bed = Bed::new();
    bed.stack("a");
    let label = |value: Value| {
        bed.patch(
            MERGE,
            &format!("{STACKS}/a"),
            &json!({"metadata": {"labels": {"app": value}}}),
        )
        .is(200)
    };
    let path = format!("{STACKS}?watch=true&labelSelector=app%3Dx");
    let mut watch = bed.follow(&path);
    assert_eq!(watch.events(1), ["ADDED a"]);
    let now = label(Value::Null);
    let (kind, gone) = watch.event();
    assert_eq!(
        (kind.as_str(), &gone["metadata"]["labels"]["app"]),
        ("DELETED", &json!("x"))
    );
    assert_eq!(
        gone["metadata"]["resourceVersion"],
        now["metadata"]["resourceVersion"]
    );
    label(json!("x"));
    assert_eq!(watch.events(1), ["ADDED a"]);
}

/// Check 91: a watch goes on after a restart where it was, and misses nothing.
#[test]
fn k091_a_watch_goes_on_after_a_restart() {
    let mut bed = Bed::new();
    let mut watch = bed.follow(&format!(
        "{STACKS}?watch=true&resourceVersion={}",
        bed.version()
    ));
    bed.stack("a");
    let (_, seen) = watch.event();
    let from = number(&seen["metadata"]["resourceVersion"]);
    bed.stack("b");
    drop(watch);
    bed.stop();
    let again = Bed::with(Made {
        backend: Arc::clone(&bed.backend),
        ..Made::default()
    });
    let mut watch = again.follow(&format!("{STACKS}?watch=true&resourceVersion={from}"));
    assert_eq!(watch.events(1), ["ADDED b"]);
    let made = again.stack("c");
    assert!(number(&made["metadata"]["resourceVersion"]) > from);
    assert_eq!(watch.events(1), ["ADDED c"]);
}

/// Check 92: a page that nobody remembers cannot be read on from, and neither can nonsense.
#[test]
fn k092_a_token_ends_with_the_history() {
    let bed = Bed::with(Made::remembering(8));
    for name in ["a", "b"] {
        bed.stack(name);
    }
    let (_, metadata) = page(&bed, "limit=1");
    let token = metadata["continue"].as_str().unwrap();
    let (names, _) = page(&bed, &format!("limit=1&continue={token}"));
    assert_eq!(names, ["b"]);
    for number in 0..9 {
        bed.post(SECRETS, &secret(&format!("s{number}"))).is(201);
    }
    let old = bed.get(&format!("{STACKS}?limit=1&continue={token}"));
    let status = old.refused(410, "Expired");
    // Who would rather have the rest than all of it at one moment, may.
    let on = status["metadata"]["continue"].as_str().unwrap();
    let (names, metadata) = page(&bed, &format!("limit=1&continue={on}"));
    assert_eq!(names, ["b"]);
    assert_eq!(metadata["resourceVersion"], bed.version().to_string());
    bed.get(&format!("{STACKS}?limit=1&continue=garbage"))
        .refused(400, "BadRequest");
}

/// Check 93: a version that is still to come is waited for, not forever; options that make no
/// sense together are refused.
#[test]
fn k093_a_version_from_the_future_is_waited_for() {
    let bed = Bed::new();
    let future = bed.version() + 1_000;
    let status = bed.get(&format!("{STACKS}?resourceVersion={future}"));
    assert_eq!(status.header("retry-after"), "1");
    let status = status.refused(504, "Timeout");
    assert_eq!(status["details"]["retryAfterSeconds"], 1);
    assert_eq!(
        status["details"]["causes"][0]["reason"],
        "ResourceVersionTooLarge"
    );
    for query in [
        "resourceVersionMatch=Exact",
        "resourceVersionMatch=Exact&resourceVersion=0",
    ] {
        bed.get(&format!("{STACKS}?{query}"))
            .refused(422, "Invalid");
    }
    bed.get(&format!("{STACKS}?resourceVersion=x"))
        .refused(400, "BadRequest");
    bed.get(&format!("{STACKS}?limit="))
        .refused(400, "BadRequest");
}

/// Check 94: all pages show one moment, that of the first, whatever happens meanwhile.
#[test]
fn k094_all_pages_show_one_moment() {
    let bed = Bed::new();
    for name in ["a", "b", "c"] {
        bed.stack(name);
    }
    let (first, metadata) = page(&bed, "limit=1");
    assert_eq!(
        (first, &metadata["remainingItemCount"]),
        (vec!["a".to_owned()], &json!(2))
    );
    let was = bed.get(&format!("{STACKS}/b")).is(200);
    bed.patch(
        MERGE,
        &format!("{STACKS}/b"),
        &json!({"spec": {"domain": "new.example"}}),
    )
    .is(200);
    bed.stack("bb");
    bed.delete(&format!("{STACKS}/c"), &json!({})).is(200);
    let_go(&bed, "c");
    let token = metadata["continue"].as_str().unwrap();
    let rest = bed.get(&format!("{STACKS}?continue={token}")).is(200);
    assert_eq!(rest["items"][0], was);
    assert_eq!(rest["items"][1]["metadata"]["name"], "c");
    assert_eq!(rest["items"].as_array().map(Vec::len), Some(2));
    assert_eq!(
        rest["metadata"]["resourceVersion"],
        metadata["resourceVersion"]
    );
    let version = &metadata["resourceVersion"];
    let then = format!(
        "resourceVersionMatch=Exact&resourceVersion={}",
        version.as_str().unwrap()
    );
    assert_eq!(page(&bed, &then).0, ["a", "b", "c"]);
    let paged = format!("limit=9&resourceVersion={}", version.as_str().unwrap());
    assert_eq!(page(&bed, &paged).0, ["a", "b", "c"]);
    let newer = format!("{paged}&resourceVersionMatch=NotOlderThan");
    assert_eq!(page(&bed, &newer).0, ["a", "b", "bb"]);
    assert_eq!(page(&bed, "").0, ["a", "b", "bb"]);
}

/// A watch that nobody reads costs a writer nothing. It is told to list again, once it is read and
/// what it has not seen is forgotten.
fn a_stalled_watch_is_cut_off() {
    let bed = Bed::with(Made::remembering(4));
    let mut watch = bed.follow(&format!(
        "{SECRETS}?watch=true&resourceVersion={}",
        bed.version()
    ));
    // More than the sockets between them hold.
    for number in 0..24 {
        let mut large = secret(&format!("s{number}"));
        large["stringData"]["k"] = json!("x".repeat(700 << 10));
        bed.post(SECRETS, &large).is(201);
    }
    let last = std::iter::from_fn(|| watch.next_or_end()).last().unwrap();
    assert_eq!(
        (&last["type"], &last["object"]["reason"]),
        (&json!("ERROR"), &json!("Expired"))
    );
}

/// Check 95: writers do not wait for watches, of which there are many; each is told everything once
/// it is read. Fewer than a large server has, so that the test is quick. Which share of the processor
/// they take is no business of this test.
#[test]
fn k095_watches_do_not_hold_up_writers() {
    const WATCHES: usize = 100;
    const WRITES: usize = 50;
    let bed = Bed::new();
    bed.stack("a");
    let path = format!("{STACKS}?watch=true&resourceVersion={}", bed.version());
    let mut watches: Vec<_> = (0..WATCHES).map(|_| bed.follow(&path)).collect();
    for number in 0..WRITES {
        let patch = json!({"metadata": {"labels": {"n": number.to_string()}}});
        bed.patch(MERGE, &format!("{STACKS}/a"), &patch).is(200);
    }
    for watch in &mut watches {
        for number in 0..WRITES {
            let (_, object) = watch.event();
            assert_eq!(object["metadata"]["labels"]["n"], number.to_string());
        }
    }
    a_stalled_watch_is_cut_off();
}

/// Writes a status by which the stack is ready at a generation.
fn ready(bed: &Bed, generation: u32) {
    let condition = json!({
        "type": "Ready", "status": "True", "reason": "InSync", "message": "",
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": generation,
    });
    let status = json!({"status": {"conditions": [condition], "observedGeneration": generation,
                                   "replicas": 2}});
    bed.patch(MERGE, &format!("{STACKS}/a/status"), &status)
        .is(200);
}

/// Check 96: a condition is waited for, and one that speaks of an older spec does not count.
#[test]
fn k096_a_condition_is_waited_for() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.stack("a");
    let mut waits = bed.started("wait --for=condition=Ready cws/a --timeout=60s");
    until("kubectl watches", || {
        let verbs: Vec<_> = bed
            .audit()
            .iter()
            .map(|event| event["verb"].clone())
            .collect();
        verbs
            .contains(&json!("watch"))
            .then_some(())
            .ok_or(format!("{verbs:?}"))
    });
    ready(&bed, 1);
    let code = until("the wait ends", || {
        waits.ended().ok_or_else(|| waits.said())
    });
    assert_eq!(code, Some(0), "{}", waits.said());
    bed.patch(
        MERGE,
        &format!("{STACKS}/a"),
        &json!({"spec": scaled("a", 3)["spec"]}),
    )
    .is(200);
    bed.k("wait --for=condition=Ready cws/a --timeout=1s")
        .fails("timed out waiting");
}

/// Check 97: a value, a creation and a deletion are waited for.
#[test]
fn k097_other_things_are_waited_for() {
    let Some(bed) = Bed::kubectl() else { return };
    bed.stack("a");
    ready(&bed, 1);
    bed.k("wait --for=jsonpath={.status.replicas}=2 cws/a --timeout=20s")
        .says("condition met");
    let mut waits = bed.started("wait --for=create cws/b --timeout=20s");
    bed.post(STACKS, &stack("b")).is(201);
    let code = until("the wait ends", || {
        waits.ended().ok_or_else(|| waits.said())
    });
    assert_eq!(code, Some(0), "{}", waits.said());
    bed.delete(&format!("{STACKS}/b"), &json!({})).is(200);
    let mut waits = bed.started("wait --for=delete cws/b --timeout=20s");
    until("kubectl watches", || {
        let watches =
            |event: &Value| event["verb"] == "watch" && event["stage"] == "ResponseStarted";
        bed.audit()
            .iter()
            .filter(|event| watches(event))
            .nth(1)
            .map(drop)
            .ok_or(waits.said())
    });
    let_go(&bed, "b");
    let code = until("the wait ends", || {
        waits.ended().ok_or_else(|| waits.said())
    });
    assert_eq!(code, Some(0), "{}", waits.said());
}
