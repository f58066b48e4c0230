//! Whoever lists and watches has what the store has, whatever happened: random histories of several
//! kinds and namespaces, read from random versions, by selections that objects enter and leave,
//! over restarts and beyond what is remembered. Nobody is told a wrong state; who is told that a
//! version is too old asked for one that is.
//!
//! What is true is put together from the answers to writes alone. `WEIR_SEED=N` or `N..M` lives
//! others than the histories of every run.

use std::{collections::BTreeMap, path::Path, sync::Arc, time::Duration};

use futures_util::future::{LocalBoxFuture, join_all};
use serde_json::{Value, json};
use weir::{
    api::Limits,
    clock::Clock,
    store::{Backend, Memory, Store},
};

use super::bed::{Bed, Followed, MERGE, Made, NAMESPACES, number, stack};
use crate::{kill::asked_seeds, store::server};

/// Changes that are remembered: fewer than a history has, so that some versions are too old.
const REMEMBERED: u64 = 48;
/// Steps from one restart to the next, and how often there is one.
const STEPS: usize = 32;
const RESTARTS: usize = 2;
/// Listeners at once.
const LISTENERS: usize = 5;

const KINDS: [(&str, &str); 3] = [
    ("/api/v1", "secrets"),
    ("/apis/coordination.k8s.io/v1", "leases"),
    ("/apis/weir.dev/v1alpha1", "clearwaterstacks"),
];
const PLACES: [&str; 3] = ["default", "lab", "other"];
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// Selections: as they are asked for, and what they mean.
type Selects = fn(&Value) -> bool;
const SELECTIONS: [(&str, Selects); 7] = [
    ("", |_| true),
    ("labelSelector=app%3Dx", |m| m["labels"]["app"] == "x"),
    ("labelSelector=app%20in%20(x,y)", |m| {
        m["labels"]["app"] == "x" || m["labels"]["app"] == "y"
    }),
    ("labelSelector=!app", |m| m["labels"]["app"].is_null()),
    ("labelSelector=app%21%3Dx", |m| m["labels"]["app"] != "x"),
    ("fieldSelector=metadata.name%3Da", |m| m["name"] == "a"),
    (
        "fieldSelector=metadata.name%21%3Da&labelSelector=app",
        |m| m["name"] != "a" && !m["labels"]["app"].is_null(),
    ),
];

/// Kind, namespace and name.
type Key = (usize, &'static str, &'static str);
type State = BTreeMap<Key, Value>;

fn path((kind, place, name): Key) -> String {
    let (root, plural) = KINDS[kind];
    format!("{root}/namespaces/{place}/{plural}/{name}")
}

fn version(object: &Value) -> u64 {
    number(&object["metadata"]["resourceVersion"])
}

/// An object as it is shown when it goes at a version.
fn going(object: &Value, version: u64) -> Value {
    let mut last = object.clone();
    last["metadata"]["resourceVersion"] = json!(version.to_string());
    last
}

/// What somebody looks at.
#[derive(Clone, Copy, Debug)]
struct View {
    kind: usize,
    place: Option<&'static str>,
    selection: usize,
}

impl View {
    fn drawn(rng: &mut fastrand::Rng) -> Self {
        Self {
            kind: rng.usize(..KINDS.len()),
            place: rng.bool().then(|| PLACES[rng.usize(..PLACES.len())]),
            selection: rng.usize(..SELECTIONS.len()),
        }
    }

    /// Where it is asked for, with more to ask.
    fn path(self, query: &str) -> String {
        let (root, plural) = KINDS[self.kind];
        let place = self.place.map(|place| format!("/namespaces/{place}"));
        let selection = SELECTIONS[self.selection].0;
        format!(
            "{root}{}/{plural}?{selection}&{query}",
            place.unwrap_or_default()
        )
    }

    fn shows(self, key: &Key, object: &Value) -> bool {
        self.kind == key.0
            && self.place.is_none_or(|place| place == key.1)
            && SELECTIONS[self.selection].1(&object["metadata"])
    }

    /// The key of an object of the view.
    fn key(self, object: &Value) -> Key {
        let known = |all: &[&'static str], field: &str| {
            let mut all = all.iter();
            *all.find(|one| object["metadata"][field] == **one).unwrap()
        };
        (
            self.kind,
            known(&PLACES, "namespace"),
            known(&NAMES, "name"),
        )
    }
}

/// Everything that was written, in the order of the versions.
#[derive(Default)]
struct Truth(BTreeMap<u64, (Key, Option<Value>)>);

impl Truth {
    fn add(&mut self, key: Key, answer: Value) {
        let gone = answer["metadata"]["deletionTimestamp"].is_string()
            && answer["metadata"]["finalizers"]
                .as_array()
                .is_none_or(Vec::is_empty);
        let at = version(&answer);
        let state = (!gone).then_some(answer);
        // A write that changes nothing is none.
        if let Some(before) = self.0.insert(at, (key, state.clone())) {
            assert_eq!(before, (key, state), "two writes at {at}");
        }
    }

    fn at(&self, version: u64) -> BTreeMap<Key, &Value> {
        let mut state = BTreeMap::new();
        for (key, object) in self.0.range(..=version).map(|(_, change)| change) {
            match object {
                Some(object) => state.insert(*key, object),
                None => state.remove(key),
            };
        }
        state
    }

    fn seen(&self, view: View, version: u64) -> State {
        let all = self.at(version).into_iter();
        let shown = all.filter(|(key, object)| view.shows(key, object));
        shown.map(|(key, object)| (key, object.clone())).collect()
    }
}

/// Somebody who lists, and watches from there.
struct Listener {
    view: View,
    state: State,
    reached: u64,
}

impl Listener {
    /// Takes an event, and sees what is true at its version. Nothing where it is to list again.
    fn take(&mut self, truth: &Truth, (event, object): (String, Value)) -> Option<()> {
        if event == "ERROR" {
            assert_eq!(object["code"], 410, "{object}");
            return None;
        }
        let at = version(&object);
        if event == "BOOKMARK" {
            assert!(at >= self.reached, "it goes back: {at}");
        } else {
            assert!(at > self.reached, "{event} at {at} after {}", self.reached);
            let key = self.view.key(&object);
            let before = self.state.remove(&key);
            match (&*event, before) {
                ("ADDED", None) | ("MODIFIED", Some(_)) => drop(self.state.insert(key, object)),
                ("DELETED", Some(before)) => assert_eq!(going(&before, at), object),
                (_, before) => panic!("{event} at {at} of {key:?}, which was {before:?}"),
            }
        }
        self.reached = at;
        assert_eq!(
            self.state,
            truth.seen(self.view, at),
            "{:?} at {at}",
            self.view
        );
        Some(())
    }
}

/// What a history is lived with.
struct Life<'a> {
    bed: &'a Bed,
    rng: &'a mut fastrand::Rng,
    truth: &'a mut Truth,
    /// Whether each version is a change: then what is too old is known exactly.
    dense: bool,
}

impl Life<'_> {
    /// Something that may be written now: where, how, and what.
    fn drawn(&mut self) -> (Key, &'static str, Value) {
        let rng = &mut *self.rng;
        let key = (
            rng.usize(..KINDS.len()),
            PLACES[rng.usize(..PLACES.len())],
            NAMES[rng.usize(..NAMES.len())],
        );
        let label = [json!("x"), json!("y"), Value::Null][rng.usize(..3)].clone();
        let before = self.truth.at(u64::MAX).get(&key).copied().cloned();
        let Some(before) = before else {
            return (key, "POST", self.made(key, &label));
        };
        let going = before["metadata"]["deletionTimestamp"].is_string();
        match rng.usize(..8) {
            0..3 => (
                key,
                "PATCH",
                json!({"metadata": {"labels": {"app": label}}}),
            ),
            3 | 4 => (key, "PATCH", changed(key.0, rng.u32(1..5))),
            5 => (key, "PUT", before),
            _ if going => (key, "PATCH", json!({"metadata": {"finalizers": null}})),
            _ => (key, "DELETE", json!({})),
        }
    }

    fn made(&mut self, (kind, place, name): Key, label: &Value) -> Value {
        let mut object = match kind {
            0 => json!({"apiVersion": "v1", "kind": "Secret"}),
            1 => json!({"apiVersion": "coordination.k8s.io/v1", "kind": "Lease"}),
            _ => stack(name),
        };
        object["metadata"] = json!({"name": name, "namespace": place});
        if label.is_string() {
            object["metadata"]["labels"] = json!({"app": label});
        }
        json_patch::merge(&mut object, &changed(kind, self.rng.u32(1..5)));
        object
    }

    /// Writes things at the same time.
    fn write(&mut self, count: usize) {
        let mut writes = BTreeMap::new();
        for _ in 0..count {
            let (key, how, what) = self.drawn();
            writes.insert(key, (how, what));
        }
        let requests = writes.into_iter().map(|(key, (how, what))| {
            let (collection, name) = (path(key), key.2);
            let collection = collection.strip_suffix(&format!("/{name}")).unwrap();
            let path = match how {
                "POST" => collection.to_owned(),
                // As a collection of one it says at which version it went.
                "DELETE" => format!("{collection}?fieldSelector=metadata.name%3D{name}"),
                _ => path(key),
            };
            let request = self.bed.ask(how, &path).header(
                "Content-Type",
                if how == "PATCH" {
                    MERGE
                } else {
                    "application/json"
                },
            );
            async move {
                let answer = request.body(what.to_string()).send().await.unwrap();
                let (code, text) = (answer.status(), answer.text().await.unwrap());
                assert!(code.is_success(), "{how} {path} {what}: {code} {text}");
                let mut answer: Value = serde_json::from_str(&text).unwrap();
                if how == "DELETE" {
                    answer = answer["items"][0].take();
                    // Of what is gone the last state is shown, with nothing to say that it is.
                    if answer["metadata"]["deletionTimestamp"].is_null() {
                        answer["metadata"]["deletionTimestamp"] = json!("now");
                    }
                }
                (key, answer)
            }
        });
        for (key, answer) in self.bed.block_on(join_all(requests)) {
            self.truth.add(key, answer);
        }
    }

    /// A version that the store has or had.
    fn some_version(&mut self) -> u64 {
        let now = self.bed.version();
        match self.rng.usize(..3) {
            0 => self.rng.u64(1..=now),
            _ => self.rng.u64(now.saturating_sub(REMEMBERED).max(1)..=now),
        }
    }

    /// Holds that what was read from a version is too old exactly where it is.
    fn too_old(&self, from: u64, told: bool) {
        let now = self.bed.version();
        let old = from + REMEMBERED < now;
        let right = if self.dense {
            told == old
        } else {
            old || !told
        };
        assert!(right, "{from} of {now} is told as too old: {told}");
    }

    /// Lists, a page at a time, and holds that all pages show one moment.
    fn list(&mut self, view: View) -> Listener {
        let limit = self.rng.usize(1..5);
        let (mut state, mut query, mut reached) = (State::new(), format!("limit={limit}"), None);
        loop {
            let page = self.bed.get(&view.path(&query)).is(200);
            let at = *reached.get_or_insert(version(&page));
            assert_eq!(version(&page), at);
            for item in page["items"].as_array().unwrap() {
                assert_eq!(state.insert(view.key(item), item.clone()), None);
            }
            match page["metadata"]["continue"].as_str() {
                None | Some("") => {
                    assert_eq!(state, self.truth.seen(view, at), "{view:?} at {at}");
                    let reached = at;
                    return Listener {
                        view,
                        state,
                        reached,
                    };
                }
                Some(next) => query = format!("limit={limit}&continue={next}"),
            }
            self.write(1);
        }
    }

    /// Lists what was there at some version.
    fn list_then(&mut self) {
        let (view, at) = (View::drawn(self.rng), self.some_version());
        let query = format!("resourceVersion={at}&resourceVersionMatch=Exact");
        let answer = self.bed.get(&view.path(&query));
        self.too_old(at, answer.code == 410);
        if answer.code == 410 {
            return;
        }
        let list = answer.is(200);
        let items = list["items"].as_array().unwrap().iter();
        let state: State = items.map(|item| (view.key(item), item.clone())).collect();
        assert_eq!(state, self.truth.seen(view, at), "{view:?} at {at}");
    }

    /// Watches from some version, or from nothing, to the present.
    fn watch_then(&mut self) {
        let (view, from) = (View::drawn(self.rng), self.some_version());
        let state = self.truth.seen(view, from);
        let mut listener = Listener {
            view,
            state,
            reached: from,
        };
        let mut stream = follow(self.bed, &listener);
        let told = self.read(&mut listener, &mut stream);
        self.too_old(from, told.is_none());
    }

    /// Watches from the state, which is told first.
    fn stream_state(&mut self) {
        let view = View::drawn(self.rng);
        let query = "watch=true&allowWatchBookmarks=true&sendInitialEvents=true\
                     &resourceVersionMatch=NotOlderThan";
        let mut stream = self.bed.follow(&view.path(query));
        let mut state = State::new();
        let reached = loop {
            match stream.event() {
                (kind, object) if kind == "ADDED" => {
                    assert_eq!(state.insert(view.key(&object), object), None);
                }
                (kind, mark) => {
                    assert_eq!(kind, "BOOKMARK");
                    let annotations = &mark["metadata"]["annotations"];
                    assert_eq!(annotations["k8s.io/initial-events-end"], "true");
                    break version(&mark);
                }
            }
        };
        assert_eq!(state, self.truth.seen(view, reached));
        self.write(2);
        let mut listener = Listener {
            view,
            state,
            reached,
        };
        self.read(&mut listener, &mut stream).expect("it is new");
    }

    /// Reads a stream up to the present. Nothing where the listener has to list again.
    fn read(&self, listener: &mut Listener, stream: &mut Followed<'_>) -> Option<()> {
        let now = self.bed.version();
        while listener.reached < now {
            listener.take(self.truth, stream.event())?;
        }
        Some(())
    }
}

/// What a write changes in an object of a kind, besides labels.
fn changed(kind: usize, to: u32) -> Value {
    match kind {
        0 => json!({"stringData": {"k": to.to_string()}}),
        1 => json!({"spec": {"leaseDurationSeconds": to}}),
        _ => json!({"spec": {"components": {"sprout": {"replicas": to}}}}),
    }
}

/// From one restart to the next.
fn era(mut life: Life<'_>, listeners: &mut Vec<Listener>) {
    let bed = life.bed;
    let mut streams: Vec<_> = listeners.iter().map(|one| follow(bed, one)).collect();
    for _ in 0..STEPS {
        match life.rng.usize(..12) {
            0..5 => life.write(1),
            5 => life.write(8),
            // So much that some who listen may fall behind.
            6 if life.rng.u8(..4) == 0 => (0..8).for_each(|_| life.write(12)),
            6 => life.list_then(),
            7 => life.watch_then(),
            8 => life.stream_state(),
            9 if listeners.len() < LISTENERS => {
                let view = View::drawn(life.rng);
                let listener = life.list(view);
                streams.push(follow(bed, &listener));
                listeners.push(listener);
            }
            _ if listeners.is_empty() => life.write(3),
            _ => {
                let which = life.rng.usize(..listeners.len());
                caught_up(&mut life, &mut listeners[which], &mut streams[which]);
            }
        }
    }
    for (listener, stream) in listeners.iter_mut().zip(&mut streams) {
        caught_up(&mut life, listener, stream);
    }
}

fn follow<'a>(bed: &'a Bed, listener: &Listener) -> Followed<'a> {
    let from = listener.reached;
    let query = format!("watch=true&allowWatchBookmarks=true&resourceVersion={from}");
    bed.follow(&listener.view.path(&query))
}

/// Brings a listener to the present, which lists again where it fell behind.
fn caught_up<'a>(life: &mut Life<'a>, listener: &mut Listener, stream: &mut Followed<'a>) {
    let from = listener.reached;
    if life.read(listener, stream).is_none() {
        // How far the server had read on before it was so far is its business.
        assert!(from + REMEMBERED < life.bed.version(), "{from} is too old");
        *listener = life.list(listener.view);
        *stream = follow(life.bed, listener);
        life.read(listener, stream).expect("it is new");
    }
}

/// Opens the store again.
type Open<'a> = dyn Fn() -> LocalBoxFuture<'a, Arc<dyn Backend>> + 'a;

/// Lives the histories of some seeds, each in a store of its own.
fn live<'a>(seeds: std::ops::Range<u64>, dense: bool, open: impl Fn(u64) -> Box<Open<'a>>) {
    for seed in asked_seeds().unwrap_or_else(|| seeds.collect()) {
        println!("seed {seed}");
        let open = open(seed);
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut bed = Bed::with(Made::limited(Limits {
            bookmark_every: Duration::from_millis(20),
            ..Limits::default()
        }));
        bed.stop();
        bed.start(open());
        for place in &PLACES[1..] {
            let place = json!({"metadata": {"name": place}});
            bed.post(NAMESPACES, &place).is(201);
        }
        let (mut truth, mut listeners) = (Truth::default(), Vec::new());
        for _ in 0..RESTARTS {
            let life = Life {
                bed: &bed,
                rng: &mut rng,
                truth: &mut truth,
                dense,
            };
            era(life, &mut listeners);
            bed.stop();
            bed.start(open());
        }
        let last = Life {
            bed: &bed,
            rng: &mut rng,
            truth: &mut truth,
            dense,
        };
        era(last, &mut listeners);
    }
}

fn remembered() -> usize {
    usize::try_from(REMEMBERED).unwrap()
}

#[test]
fn listening_to_memory_tells_what_is_there() {
    live(0..6, true, |_| {
        let memory: Arc<dyn Backend> = Arc::new(Memory::new(remembered()));
        Box::new(move || Box::pin(std::future::ready(Arc::clone(&memory))))
    });
}

#[test]
fn listening_to_sled_tells_what_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let opened = |path: &Path| {
        let store = Store::open_with_history(path, Clock::system(), remembered());
        store.unwrap().backend()
    };
    live(8..11, true, |seed| {
        let path = dir.path().join(seed.to_string());
        Box::new(move || {
            let path = path.clone();
            Box::pin(async move { opened(&path) })
        })
    });
}

#[test]
fn listening_to_etcd_tells_what_is_there() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let Some(server) = runtime.block_on(server::single()) else {
        return;
    };
    live(11..13, false, |seed| {
        let address = format!("{}/{seed}", server.address());
        Box::new(move || {
            let address = address.clone();
            Box::pin(async move {
                let etcd: Arc<dyn Backend> =
                    Arc::new(server::connect(&address, remembered()).await);
                etcd
            })
        })
    });
}
