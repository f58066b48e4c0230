//! A gate between the controller and its cloud, which sees every request and can have the
//! controller killed at any of them: before the request arrives, after it took effect, while it
//! is still on its way, or after the answer.

use std::{
    collections::BTreeMap,
    fmt,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use axum::{
    Router,
    body::Bytes,
    extract::State as Shared,
    http::{StatusCode, header::CONTENT_TYPE},
    response::{IntoResponse, Response},
};
use tokio::{net::TcpListener, sync::Notify, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use weir::sim::{Fault, FaultKind, Sim};

use crate::support::stage::reads;

use super::process::Process;

/// A moment at which the controller is killed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Moment {
    /// At which of the coming writes, from 1.
    pub(super) write: usize,
    /// How many requests of any kind are let pass after it first.
    pub(super) further: usize,
    /// Where the request is when it happens.
    pub(super) how: How,
    /// How long the controller then stays dead, in milliseconds.
    pub(super) pause: u64,
    /// Whether it is killed once more just after its start, and when, in milliseconds.
    pub(super) stumble: Option<u64>,
    /// Whether the management server is restarted meanwhile.
    pub(super) restart: bool,
}

/// Where a request is at the moment of the kill.
#[derive(Clone, Copy, Debug)]
pub(super) enum How {
    /// It was stored and never arrived.
    Lost,
    /// It took effect, and nobody got the answer.
    Unanswered,
    /// It arrives so many milliseconds after the kill.
    Late(u64),
    /// It was answered so many milliseconds ago.
    Answered(u64),
    /// Its job never ends, unless the management server is restarted; the answer was lost.
    Hung,
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { write, further, .. } = self;
        write!(f, "write {write}+{further} {:?}", self.how)?;
        if let Some(stumble) = self.stumble {
            write!(f, ", again {stumble} ms after its start")?;
        }
        f.write_str(if self.restart {
            ", server restarted"
        } else {
            ""
        })
    }
}

/// See the module. Clones are handles to the same gate.
#[derive(Clone)]
pub(super) struct Gate {
    inner: Arc<Inner>,
}

struct Inner {
    sim: Sim,
    beyond: String,
    http: reqwest::Client,
    process: Arc<Process>,
    under_way: TaskTracker,
    struck: Notify,
    begun: Instant,
    /// Whether reads are logged too.
    verbose: bool,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    armed: Option<Moment>,
    /// Whether the write of the armed moment has been seen.
    passed: bool,
    writes: usize,
    looks: usize,
    /// How often each job was asked for.
    asked: BTreeMap<String, usize>,
    log: Vec<String>,
}

impl Gate {
    /// Opens a gate to the cloud at `beyond`; gives it with its own URL.
    pub(super) async fn open(
        sim: Sim,
        beyond: String,
        process: Arc<Process>,
        stop: CancellationToken,
    ) -> (Self, String) {
        let inner = Inner {
            sim,
            beyond,
            http: weir::http::client().build().unwrap(),
            process,
            under_way: TaskTracker::new(),
            struck: Notify::new(),
            begun: Instant::now(),
            verbose: std::env::var_os("WEIR_TELL").is_some(),
            state: Mutex::default(),
        };
        let gate = Self {
            inner: Arc::new(inner),
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}/client/api", listener.local_addr().unwrap());
        let app = Router::new().fallback(pass).with_state(gate.clone());
        let served = async move { axum::serve(listener, app).await.unwrap() };
        gate.inner.under_way.spawn(async move {
            stop.run_until_cancelled(served).await;
        });
        (gate, url)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.inner.state.lock().unwrap()
    }

    /// Has the controller killed at a moment from now on.
    pub(super) fn arm(&self, moment: Moment) {
        let mut state = self.state();
        state.armed = Some(moment);
        state.passed = false;
    }

    /// Takes a moment back; says whether it had not come yet.
    pub(super) fn disarm(&self) -> bool {
        self.state().armed.take().is_some()
    }

    /// Waits until the armed moment has come and the controller is dead.
    pub(super) async fn struck(&self) {
        self.inner.struck.notified().await;
    }

    /// Writes seen so far.
    pub(super) fn writes(&self) -> usize {
        self.state().writes
    }

    /// Looks at everything that began so far.
    pub(super) fn looks(&self) -> usize {
        self.state().looks
    }

    /// Notes something between the requests.
    pub(super) fn note(&self, text: impl fmt::Display) {
        let at = self.inner.begun.elapsed().as_secs_f64();
        self.state().log.push(format!("{at:8.3}  {text}"));
    }

    /// Every write and everything that was noted.
    pub(super) fn log(&self) -> String {
        self.state().log.join("\n")
    }

    /// How often the job was asked for that was asked for most.
    pub(super) fn asked_most(&self) -> usize {
        self.state().asked.values().copied().max().unwrap_or(0)
    }

    /// Time since it was opened.
    pub(super) fn age(&self) -> Duration {
        self.inner.begun.elapsed()
    }

    /// Counts a request; gives what is to happen at it.
    fn count(&self, command: &str) -> Option<How> {
        let mut state = self.state();
        let write = !reads(command);
        state.writes += usize::from(write);
        state.looks += usize::from(command == "listVPCs");
        let passed = state.passed;
        let moment = state.armed.as_mut()?;
        if passed {
            moment.further = moment.further.saturating_sub(1);
        } else if write {
            moment.write = moment.write.saturating_sub(1);
        }
        let now = moment.write == 0;
        let strikes = now && moment.further == 0;
        let how = moment.how;
        state.passed = now;
        if strikes {
            state.armed = None;
            return Some(how);
        }
        None
    }

    fn kill(&self, why: &str) {
        assert!(
            self.inner.process.kill(),
            "it ended before it could be killed"
        );
        self.note(format_args!("killed: {why}"));
        self.inner.struck.notify_one();
    }

    /// Passes a request on and gives the answer, if there is one.
    async fn forward(&self, command: String, body: Bytes) -> Option<(StatusCode, Bytes)> {
        let request = self.inner.http.post(&self.inner.beyond);
        let request = request.header(CONTENT_TYPE, "application/x-www-form-urlencoded");
        let told = (!reads(&command) || self.inner.verbose).then(|| parameters(&body));
        if self.inner.verbose && told.is_some() {
            self.note(format_args!("> {command}"));
        }
        let response = request.body(body).send().await.ok()?;
        let status = response.status();
        let body = response.bytes().await.ok()?;
        if let Some(told) = told {
            let text = String::from_utf8_lossy(&body);
            let outcome = match status.is_success() {
                true => String::new(),
                false => format!(" refused: {status} {text:.200}"),
            };
            self.note(format_args!("{command} {told}{outcome}"));
        }
        Some((status, body))
    }
}

/// A parameter of a form, empty if it is not there.
pub(crate) fn parameter(body: &[u8], wanted: &str) -> String {
    let mut pairs = url::form_urlencoded::parse(body);
    let found = pairs.find(|(name, _)| name == wanted);
    found.map_or_else(String::new, |(_, value)| value.into_owned())
}

/// What a write is about, in short.
fn parameters(body: &[u8]) -> String {
    let telling = [
        "id",
        "name",
        "ipaddress",
        "number",
        "customjobid",
        "jobid",
        "resourceids",
        "virtualmachineid",
        "ipaddressid",
        "iptonetworklist[0].ip",
    ];
    let pairs = url::form_urlencoded::parse(body);
    let told = pairs.filter(|(name, _)| telling.contains(&name.as_ref()));
    let told: Vec<String> = told
        .map(|(name, value)| {
            format!(
                "{name}={}",
                value.get(..8).unwrap_or(&value).to_owned()
                    + value
                        .get(8..)
                        .filter(|_| name == "name")
                        .unwrap_or_default()
            )
        })
        .collect();
    told.join(" ")
}

async fn pass(Shared(gate): Shared<Gate>, body: Bytes) -> Response {
    let command = parameter(&body, "command");
    if command == "queryAsyncJobResult" {
        let job = parameter(&body, "jobid");
        *gate.state().asked.entry(job).or_default() += 1;
    }
    match gate.count(&command) {
        None => answer(gate.forwarded(command, body).await),
        Some(How::Lost) => {
            gate.kill(&format!("{command} was lost"));
            nobody_listens().await
        }
        Some(How::Late(millis)) => {
            gate.kill(&format!("{command} is late by {millis} ms"));
            let late = gate.clone();
            gate.inner.under_way.spawn(async move {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                late.forward(command, body).await;
            });
            nobody_listens().await
        }
        Some(How::Unanswered) => {
            gate.forwarded(command.clone(), body).await;
            gate.kill(&format!("the answer to {command} was lost"));
            nobody_listens().await
        }
        Some(How::Hung) => {
            let fault = Fault::once(&command, FaultKind::HangJob);
            gate.inner.sim.add_fault(fault);
            gate.forwarded(command.clone(), body).await;
            gate.inner.sim.clear_faults();
            gate.kill(&format!("the job of {command} hangs"));
            nobody_listens().await
        }
        Some(How::Answered(millis)) => {
            let given = gate.forwarded(command.clone(), body).await;
            let later = gate.clone();
            gate.inner.under_way.spawn(async move {
                tokio::time::sleep(Duration::from_millis(millis)).await;
                later.kill(&format!("{command} was answered {millis} ms ago"));
            });
            answer(given)
        }
    }
}

impl Gate {
    /// Passes a request on, to its end even if the controller dies meanwhile.
    async fn forwarded(&self, command: String, body: Bytes) -> Option<(StatusCode, Bytes)> {
        let gate = self.clone();
        let task = self
            .inner
            .under_way
            .spawn(async move { gate.forward(command, body).await });
        task.await.unwrap()
    }
}

fn answer(given: Option<(StatusCode, Bytes)>) -> Response {
    match given {
        Some((status, body)) => (
            status,
            [(CONTENT_TYPE, "application/json;charset=utf-8")],
            body,
        )
            .into_response(),
        // The management server is away: what a proxy before it says.
        None => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

/// The one who asked is dead: no answer could be given.
async fn nobody_listens() -> Response {
    std::future::pending().await
}
