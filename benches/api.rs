//! What the API server answers, tells and takes: requests a second over HTTPS, a thousand watchers,
//! and how soon what is applied is seen. Clients and server share the machine, in one process.
//!
//! The pace of each user is no limit here. The store is on the disk, and each write is flushed
//! before it is answered, so writes are held against the store's own in the same run.

#![allow(clippy::print_stdout, reason = "the table is what a bench is for")]
#![allow(
    clippy::disallowed_methods,
    reason = "a bench measures the machine's time"
)]

mod support;

use std::{process::ExitCode, sync::Arc, time::Duration, time::Instant};

use futures_util::future::{BoxFuture, join_all};
use reqwest::{RequestBuilder, Response};
use serde_json::{Value, json};
use support::figures::{Figures, count};
use tokio::{net::TcpListener, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use weir::{
    api::{self, AuthOptions, Authenticators, Hooks, Limits, Status},
    clock::Clock,
    store::Store,
    types::{
        meta::{Kind, Object, ObjectKey},
        stack::ClearwaterStack,
    },
};

/// Objects that are listed.
const OBJECTS: usize = 1_000;

/// Requests of each measurement, and who send them side by side.
const GETS: usize = 8_000;
const LISTS: usize = 100;
const WRITES: usize = 2_000;
const CALLERS: usize = 32;

/// Watchers of everything, each on a connection of its own, and events that each of them gets.
const WATCHERS: usize = 1_000;
const EVENTS: usize = 100;

/// Applies whose way to a watch is measured.
const APPLIES: usize = 300;

/// Longest wait for an answer or an event.
const PATIENCE: Duration = Duration::from_secs(60);

const MAPS: &str = "/api/v1/namespaces/default/configmaps";

/// The rest of Weir, which is not asked.
struct Nobody;

impl Hooks for Nobody {
    fn preview(&self, _: ClearwaterStack) -> BoxFuture<'_, Result<Value, Status>> {
        Box::pin(async { Err(Status::unavailable("there is no controller")) })
    }

    fn metrics(&self) -> BoxFuture<'_, String> {
        Box::pin(async { String::new() })
    }

    fn audit_lost(&self) {}

    fn ready(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(async { Ok(()) })
    }
}

/// A server on a fresh state folder.
struct Server {
    store: Store,
    url: String,
    token: String,
    ca: reqwest::Certificate,
    http: reqwest::Client,
    _dir: tempfile::TempDir,
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

impl Server {
    async fn start() -> Self {
        let dir = tempfile::tempdir().expect("a temporary folder");
        let clock = Clock::system();
        let store = Store::open(dir.path(), clock.clone()).expect("a fresh state folder");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let tls = api::tls::Tls::prepare(dir.path(), address.ip(), None, &clock);
        let tls = tls.expect("certificates are made");
        let token = api::tls::token(dir.path()).expect("a token is made");
        let ca = reqwest::Certificate::from_pem(tls.ca_pem().as_bytes()).expect("an authority");
        let auth = Authenticators::prepare(&token, &AuthOptions::default(), &clock);
        let config = api::Config {
            store: store.clone(),
            tls,
            auth: auth.expect("there are no files"),
            audit: None,
            clock,
            hooks: Arc::new(Nobody),
            limits: Limits {
                pace: 1_000_000,
                burst: 1_000_000,
                ..Limits::default()
            },
        };
        let (stop, mut tasks) = (CancellationToken::new(), JoinSet::new());
        let served = api::serve(listener, config, stop.clone());
        tasks.spawn(async move { served.await.expect("the store takes writes") });
        Self {
            store,
            url: format!("https://{address}"),
            token: token.expose().to_owned(),
            http: client(&ca),
            ca,
            _dir: dir,
            stop,
            tasks,
        }
    }

    fn ask(&self, http: &reqwest::Client, method: &str, path: &str) -> RequestBuilder {
        let method = method.parse().expect("a method");
        let request = http.request(method, format!("{}{path}", self.url));
        request.bearer_auth(&self.token)
    }

    /// Sends a request, and reads the answer to its end.
    async fn done(&self, method: &str, path: &str, body: String) {
        let request = self.ask(&self.http, method, path).body(body);
        let request = request.header("Content-Type", "application/apply-patch+yaml");
        let answer = request.send().await.expect("the server answers");
        assert!(answer.status().is_success(), "{method} {path}: {answer:?}");
        answer.bytes().await.expect("the answer has an end");
    }

    async fn stopped(mut self) {
        self.stop.cancel();
        while self.tasks.join_next().await.is_some() {}
    }
}

fn client(ca: &reqwest::Certificate) -> reqwest::Client {
    let client = weir::http::client()
        .tls_certs_only([ca.clone()])
        .timeout(PATIENCE);
    client.build().expect("a client")
}

fn map(name: &str, value: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "ConfigMap",
        "metadata": {"name": name, "namespace": "default"}, "data": {"k": value},
    })
}

fn object(name: &str, value: &str) -> Object {
    serde_json::from_value(map(name, value)).expect("a ConfigMap")
}

/// How often a second something is done by so many side by side.
async fn a_second<F: Future<Output = ()>>(
    (all, callers): (usize, usize),
    one: impl Fn(usize) -> F,
) -> f64 {
    let started = Instant::now();
    join_all((0..callers).map(|caller| {
        let share = (caller..all).step_by(callers);
        let one = &one;
        async move {
            for number in share {
                one(number).await;
            }
        }
    }))
    .await;
    count(all) / started.elapsed().as_secs_f64()
}

async fn requests(server: &Server, figures: &mut Figures) {
    let made = (0..OBJECTS).map(|n| server.store.create(object(&format!("m-{n}"), "0")));
    for made in join_all(made).await {
        made.expect("it is new");
    }
    let get = |n: usize| {
        server.done(
            "GET",
            format!("{MAPS}/m-{}", n % OBJECTS).leak(),
            String::new(),
        )
    };
    let alone = a_second((GETS / 10, 1), get).await;
    let many = a_second((GETS, CALLERS), get).await;
    figures.tell("get: requests a second, one caller", format!("{alone:.0}"));
    let what = format!("get: requests a second, {CALLERS} callers");
    figures.tell(&what, format!("{many:.0}"));
    let list = |_| server.done("GET", MAPS, String::new());
    let lists = a_second((LISTS, 4), list).await;
    let what = format!("list of {OBJECTS}: requests a second, 4 callers");
    figures.tell(&what, format!("{lists:.0}"));
    let objects = lists * count(OBJECTS) / many;
    figures.at_least("objects a second by list ÷ by get", objects, 2.0);

    let write = |n: usize| async move {
        let key = ObjectKey::new(Kind::ConfigMap, "default", format!("m-{}", n % OBJECTS));
        let mut stored = server
            .store
            .get(&key)
            .await
            .expect("a read")
            .expect("it is there");
        stored.body["data"]["k"] = json!(format!("w{n}"));
        server
            .store
            .update(stored)
            .await
            .expect("nobody else writes");
    };
    let written = a_second((WRITES / 2, CALLERS), write).await;
    let apply = |n: usize| async move {
        let name = format!("m-{}", n % OBJECTS);
        let path = format!("{MAPS}/{name}?fieldManager=bench&force=true");
        server
            .done("PATCH", &path, map(&name, &format!("p{n}")).to_string())
            .await;
    };
    let applied = a_second((WRITES, CALLERS), apply).await;
    let what = format!("apply: requests a second, {CALLERS} callers");
    figures.tell(&what, format!("{applied:.0}"));
    figures.at_least("apply ÷ the store's own writes", applied / written, 0.1);
}

/// A watch on a connection of its own, from the present.
async fn watch(server: &Server) -> Response {
    let version = server.store.version().await.expect("the store can be read");
    let path = format!("{MAPS}?watch=true&resourceVersion={version}");
    let http = client(&server.ca);
    let opened = server.ask(&http, "GET", &path).send().await;
    let opened = opened.expect("the server answers");
    assert!(opened.status().is_success(), "{opened:?}");
    opened
}

/// Reads until so many events have come; gives the versions that they told.
async fn read(mut watch: Response, events: usize) -> Vec<u64> {
    let (mut versions, mut text) = (Vec::new(), Vec::new());
    while versions.len() < events {
        let Ok(Ok(Some(chunk))) = timeout(PATIENCE, watch.chunk()).await else {
            break;
        };
        text.extend_from_slice(&chunk);
        while let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = text.drain(..=end).collect();
            let event: Value = serde_json::from_slice(&line).expect("an event is JSON");
            let version = event["object"]["metadata"]["resourceVersion"].as_str();
            versions.extend(version.and_then(|version| version.parse::<u64>().ok()));
        }
    }
    versions
}

async fn fan_out(server: &Server, figures: &mut Figures) {
    let mut watchers = JoinSet::new();
    for _ in 0..WATCHERS / CALLERS {
        for opened in join_all((0..CALLERS).map(|_| watch(server))).await {
            watchers.spawn(read(opened, EVENTS));
        }
    }
    for _ in watchers.len()..WATCHERS {
        watchers.spawn(read(watch(server).await, EVENTS));
    }
    let started = Instant::now();
    let mut written = Vec::new();
    for n in 0..EVENTS {
        let made = server.store.create(object(&format!("seen-{n}"), "0")).await;
        let made = made.expect("it is new").metadata.resource_version;
        written.push(made.parse::<u64>().expect("a version"));
    }
    let wrote = started.elapsed();
    let mut in_order = 0;
    while let Some(versions) = watchers.join_next().await {
        in_order += usize::from(versions.expect("no watcher panics") == written);
    }
    let seen = started.elapsed();
    let what = "watchers over HTTPS that saw every event in order";
    figures.at_least(what, count(in_order), count(WATCHERS));
    let rate = count(WATCHERS * EVENTS) / seen.as_secs_f64();
    figures.tell("events told a second", format!("{rate:.0}"));
    let lag = seen.saturating_sub(wrote);
    figures.tell(
        "the last is told after the last write",
        format!("{lag:.0?}"),
    );
}

/// From sending an apply to its answer, and to its event on a watch.
async fn visible(server: &Server, figures: &mut Figures) {
    let (mut answered, mut seen) = (Vec::new(), Vec::new());
    for n in 0..APPLIES {
        let watch = watch(server).await;
        let path = format!("{MAPS}/late?fieldManager=bench&force=true");
        let started = Instant::now();
        let applying = async {
            let body = map("late", &format!("{n}")).to_string();
            server.done("PATCH", &path, body).await;
            started.elapsed()
        };
        let reading = async {
            assert_eq!(read(watch, 1).await.len(), 1, "it is seen");
            started.elapsed()
        };
        let (answer, event) = tokio::join!(applying, reading);
        answered.push(answer);
        seen.push(event);
    }
    answered.sort_unstable();
    seen.sort_unstable();
    let told = |times: &[Duration]| {
        let at = |percent: usize| times[(times.len() - 1) * percent / 100];
        format!("{:.1?}, {:.1?}", at(50), at(99))
    };
    figures.tell("apply to its answer: median, 99 of 100", told(&answered));
    figures.tell("apply to its event on a watch: the same", told(&seen));
    let middle = |times: &[Duration]| times[times.len() / 2].as_secs_f64();
    let ratio = middle(&seen) / middle(&answered);
    figures.at_most("event ÷ answer, medians", ratio, 1.5);
}

#[tokio::main]
async fn main() -> ExitCode {
    let server = Server::start().await;
    let mut figures = Figures::default();
    requests(&server, &mut figures).await;
    visible(&server, &mut figures).await;
    fan_out(&server, &mut figures).await;
    server.stopped().await;
    figures.judge("the API server")
}
