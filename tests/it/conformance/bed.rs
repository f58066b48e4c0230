//! An API server of our own on a loopback port, over TLS, with a store in memory: and two ways to
//! speak to it, plain HTTP and the real kubectl.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::BoxFuture;
use reqwest::{RequestBuilder, Response, header::HeaderMap};
use serde_json::{Value, json};
use tokio::{net::TcpListener, runtime::Runtime, task::JoinSet, time::timeout};
use tokio_util::sync::CancellationToken;
use weir::{
    api::{
        self, Audit, AuditOptions, AuthOptions, Authenticators, Hooks, Limits, Status, token_line,
    },
    clock::Clock,
    store::{Backend, Memory, Store},
    types::stack::ClearwaterStack,
};

use crate::{cli::lab::PATIENCE, parts::present};

/// Media types of patches.
pub(super) const MERGE: &str = "application/merge-patch+json";
pub(super) const JSON_PATCH: &str = "application/json-patch+json";
pub(super) const STRATEGIC: &str = "application/strategic-merge-patch+json";
pub(super) const APPLY: &str = "application/apply-patch+yaml";

/// Where the group's kinds are, and stacks and secrets of the namespace `default`.
pub(super) const GROUP: &str = "/apis/weir.dev/v1alpha1";
pub(super) const STACKS: &str = "/apis/weir.dev/v1alpha1/namespaces/default/clearwaterstacks";
pub(super) const SECRETS: &str = "/api/v1/namespaces/default/secrets";
pub(super) const NAMESPACES: &str = "/api/v1/namespaces";

/// What a bed is made with.
pub(super) struct Made {
    pub(super) limits: Limits,
    /// What is served, so that it can be served again after a restart.
    pub(super) backend: Arc<dyn Backend>,
    pub(super) clock: Clock,
}

impl Made {
    /// With a history of so many changes.
    pub(super) fn remembering(changes: usize) -> Self {
        Self {
            backend: Arc::new(Memory::new(changes)),
            ..Self::default()
        }
    }

    pub(super) fn limited(limits: Limits) -> Self {
        Self {
            limits,
            ..Self::default()
        }
    }
}

impl Default for Made {
    fn default() -> Self {
        Self {
            limits: Limits::default(),
            backend: Arc::new(Memory::default()),
            clock: Clock::system(),
        }
    }
}

/// See the module.
pub(super) struct Bed {
    pub(super) store: Store,
    /// Who else wants to serve the same.
    pub(super) backend: Arc<dyn Backend>,
    url: String,
    token: String,
    client: reqwest::Client,
    dir: tempfile::TempDir,
    runtime: Runtime,
    ready: Arc<Mutex<Result<(), String>>>,
    limits: Limits,
    clock: Clock,
    serving: Option<Serving>,
}

/// A server that runs.
struct Serving {
    stop: CancellationToken,
    tasks: JoinSet<()>,
}

/// The rest of Weir, of which these tests need no more than why it is not ready.
struct Rest(Arc<Mutex<Result<(), String>>>);

impl Hooks for Rest {
    fn preview(&self, _: ClearwaterStack) -> BoxFuture<'_, Result<Value, Status>> {
        Box::pin(async { Err(Status::unavailable("there is no controller")) })
    }

    fn metrics(&self) -> BoxFuture<'_, String> {
        Box::pin(async { String::new() })
    }

    fn audit_lost(&self) {}

    fn ready(&self) -> BoxFuture<'_, Result<(), String>> {
        let ready = self.0.lock().unwrap().clone();
        Box::pin(async { ready })
    }
}

impl Bed {
    pub(super) fn new() -> Self {
        Self::with(Made::default())
    }

    /// A bed where kubectl is installed.
    pub(super) fn kubectl() -> Option<Self> {
        present("kubectl").then(Self::new)
    }

    pub(super) fn with(made: Made) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .enable_all()
            .build()
            .unwrap();
        let (dir, clock) = (tempfile::tempdir().unwrap(), made.clock);
        let line = token_line("ann-token", "ann", "", &["people".to_owned()]);
        fs::write(dir.path().join("tokens"), line).unwrap();
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let address = listener.local_addr().unwrap();
        let tls = api::tls::Tls::prepare(dir.path(), address.ip(), None, &clock).unwrap();
        let token = api::tls::token(dir.path()).unwrap();
        let url = format!("https://{address}");
        let kubeconfig = dir.path().join("kubeconfig");
        api::kubeconfig::write(&kubeconfig, &url, tls.ca_pem(), &token).unwrap();
        let client = client(tls.ca_pem());
        let mut bed = Self {
            store: Store::with_backend(Arc::clone(&made.backend), clock.clone()),
            backend: made.backend,
            url,
            token: token.expose().to_owned(),
            client,
            dir,
            runtime,
            ready: Arc::new(Mutex::new(Ok(()))),
            limits: made.limits,
            clock,
            serving: None,
        };
        bed.serve(listener);
        bed
    }

    /// Begins to serve what the store holds.
    fn serve(&mut self, listener: TcpListener) {
        let dir = self.dir.path();
        let ip = listener.local_addr().unwrap().ip();
        let token = api::tls::token(dir).unwrap();
        let options = AuthOptions {
            token_file: Some(dir.join("tokens")),
            ..AuthOptions::default()
        };
        let audit = AuditOptions {
            path: dir.join("audit.log"),
            bytes_max: 1 << 30,
            files_kept: 1,
        };
        let config = api::Config {
            store: self.store.clone(),
            tls: api::tls::Tls::prepare(dir, ip, None, &self.clock).unwrap(),
            auth: Authenticators::prepare(&token, &options, &self.clock).unwrap(),
            audit: Some(Audit::open(audit).unwrap()),
            clock: self.clock.clone(),
            hooks: Arc::new(Rest(Arc::clone(&self.ready))),
            limits: self.limits,
        };
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let served = api::serve(listener, config, stop.clone());
        let handle = self.runtime.handle();
        tasks.spawn_on(async move { served.await.unwrap() }, handle);
        self.serving = Some(Serving { stop, tasks });
    }

    /// Stops the server in order, if it runs, and lets go of what it served.
    pub(super) fn stop(&mut self) {
        let Some(mut serving) = self.serving.take() else {
            return;
        };
        serving.stop.cancel();
        let ended = async { while serving.tasks.join_next().await.is_some() {} };
        let ended = self
            .runtime
            .block_on(async { timeout(PATIENCE, ended).await });
        ended.expect("the server stops");
    }

    /// Serves again, at the same address, what `backend` will hold: it begins once nothing holds
    /// the former one any more.
    pub(super) fn start(&mut self, backend: impl Future<Output = Arc<dyn Backend>>) {
        assert!(self.serving.is_none(), "it was not stopped");
        let mut serve = |backend| {
            self.store = Store::with_backend(Arc::clone(&backend), self.clock.clone());
            self.backend = backend;
        };
        serve(Arc::new(Memory::new(1)));
        serve(self.runtime.block_on(backend));
        // The connections of the former one lead nowhere.
        let ca = fs::read_to_string(self.dir().join("tls/ca.crt")).unwrap();
        self.client = client(&ca);
        let listener = self.block_on(TcpListener::bind(self.address()));
        self.serve(listener.unwrap());
    }

    /// Stops it, and serves the same again at the same address.
    pub(super) fn restart(&mut self) {
        self.stop();
        let backend = Arc::clone(&self.backend);
        self.start(std::future::ready(backend));
    }

    pub(super) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// Where it listens.
    pub(super) fn address(&self) -> &str {
        self.url.trim_start_matches("https://")
    }

    /// From now on the rest of Weir is not ready.
    pub(super) fn unready(&self, why: &str) {
        *self.ready.lock().unwrap() = Err(why.to_owned());
    }

    /// Something of the store, done.
    pub(super) fn block_on<T>(&self, future: impl Future<Output = T>) -> T {
        self.runtime.block_on(future)
    }

    /// Writes a manifest that kubectl finds by its name.
    pub(super) fn file(&self, name: &str, object: &Value) {
        fs::write(self.dir().join(name), object.to_string()).unwrap();
    }

    /// A request of the administrator.
    pub(super) fn ask(&self, method: &str, path: &str) -> RequestBuilder {
        self.ask_as(Some(&self.token), method, path)
    }

    /// A request of whoever holds a token, or of nobody in particular.
    pub(super) fn ask_as(&self, token: Option<&str>, method: &str, path: &str) -> RequestBuilder {
        let url = format!("{}{path}", self.url);
        let request = self.client.request(method.parse().unwrap(), url);
        match token {
            Some(token) => request.bearer_auth(token),
            None => request,
        }
    }

    /// Sends a request and reads the answer to its end.
    pub(super) fn answer(&self, request: RequestBuilder) -> Answer {
        self.block_on(async {
            let response = request.timeout(PATIENCE).send().await.unwrap();
            Answer {
                code: response.status().as_u16(),
                headers: response.headers().clone(),
                text: response.text().await.unwrap(),
            }
        })
    }

    pub(super) fn get(&self, path: &str) -> Answer {
        self.answer(self.ask("GET", path))
    }

    pub(super) fn get_as(&self, accept: &str, path: &str) -> Answer {
        self.answer(self.ask("GET", path).header("Accept", accept))
    }

    pub(super) fn post(&self, path: &str, body: &Value) -> Answer {
        self.answer(self.ask("POST", path).body(body.to_string()))
    }

    pub(super) fn put(&self, path: &str, body: &Value) -> Answer {
        self.answer(self.ask("PUT", path).body(body.to_string()))
    }

    pub(super) fn delete(&self, path: &str, body: &Value) -> Answer {
        self.answer(self.ask("DELETE", path).body(body.to_string()))
    }

    pub(super) fn patch(&self, media: &str, path: &str, body: &Value) -> Answer {
        let request = self.ask("PATCH", path).header("Content-Type", media);
        self.answer(request.body(body.to_string()))
    }

    /// Creates a stack.
    #[track_caller]
    pub(super) fn stack(&self, name: &str) -> Value {
        self.post(STACKS, &stack(name)).is(201)
    }

    /// Begins to read an answer that goes on.
    pub(super) fn follow(&self, path: &str) -> Followed<'_> {
        self.follow_as("application/json", path)
    }

    pub(super) fn follow_as(&self, accept: &str, path: &str) -> Followed<'_> {
        let request = self.ask("GET", path).header("Accept", accept);
        let begun = self.block_on(async { timeout(PATIENCE, request.send()).await });
        let response = begun.expect("a watch answers at once").unwrap();
        assert_eq!(response.status(), 200, "{path}");
        Followed {
            bed: self,
            response,
            rest: String::new(),
        }
    }

    fn command(&self, program: &str, line: &str) -> Command {
        let mut kubectl = Command::new(program);
        kubectl
            .current_dir(self.dir())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.dir())
            .env("KUBECONFIG", self.dir().join("kubeconfig"))
            .args(words(line));
        kubectl
    }

    /// Runs kubectl with words as a shell would read them, as far as single quotes go.
    pub(super) fn k(&self, line: &str) -> Said {
        self.k_with(line, &[], "")
    }

    /// The same with more in its environment, and something to read.
    pub(super) fn k_with(&self, line: &str, env: &[(&str, &str)], input: &str) -> Said {
        self.k_by("kubectl", line, env, input)
    }

    /// The same with another program.
    pub(super) fn k_by(
        &self,
        program: &str,
        line: &str,
        env: &[(&str, &str)],
        input: &str,
    ) -> Said {
        let stdin = self.dir().join("stdin");
        fs::write(&stdin, input).unwrap();
        let output = self
            .command(program, line)
            .envs(env.iter().copied())
            .stdin(File::open(stdin).unwrap())
            .output()
            .unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Said {
            line: line.to_owned(),
            code: output.status.code(),
            out: text(output.stdout),
            err: text(output.stderr),
        }
    }

    /// Starts kubectl in the background.
    pub(super) fn started(&self, line: &str) -> Started {
        let name: String = line.chars().filter(char::is_ascii_alphanumeric).collect();
        let log = self.dir().join(format!("{name}.log"));
        let file = File::create(&log).unwrap();
        let child = self
            .command("kubectl", line)
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Started { child, log }
    }

    /// A kubeconfig for the holder of a token, found by the user's name.
    pub(super) fn restrict(&self, user: &str, token: &str) {
        let text = fs::read_to_string(self.dir().join("kubeconfig")).unwrap();
        let mut file: Value = serde_yaml::from_str(&text).unwrap();
        file["users"][0]["user"]["token"] = json!(token);
        self.file(user, &file);
    }

    /// The lines of the audit log.
    pub(super) fn audit(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.dir().join("audit.log")).unwrap();
        let lines = text.lines();
        lines
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }

    /// The version that the store has reached, as a list tells it.
    pub(super) fn version(&self) -> u64 {
        number(&self.get(STACKS).is(200)["metadata"]["resourceVersion"])
    }
}

impl Drop for Bed {
    fn drop(&mut self) {
        if let Some(serving) = &self.serving {
            serving.stop.cancel();
        }
    }
}

/// What the server answered.
pub(super) struct Answer {
    pub(super) code: u16,
    pub(super) headers: HeaderMap,
    pub(super) text: String,
}

impl Answer {
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.text).unwrap_or_else(|error| panic!("{error}: {}", self.text))
    }

    /// The document of an answer with this code.
    #[track_caller]
    pub(super) fn is(&self, code: u16) -> Value {
        assert_eq!(self.code, code, "{}", self.text);
        self.json()
    }

    /// The `Status` of a failure with this code and reason.
    #[track_caller]
    pub(super) fn refused(&self, code: u16, reason: &str) -> Value {
        let status = self.is(code);
        assert_eq!(
            (&status["kind"], &status["status"], &status["reason"]),
            (&json!("Status"), &json!("Failure"), &json!(reason)),
            "{status}"
        );
        assert_eq!(status["code"], code, "{status}");
        status
    }

    pub(super) fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or_default()
    }

    /// All values of a header together.
    pub(super) fn warnings(&self) -> String {
        let all = self.headers.get_all("warning").iter();
        all.map(|value| value.to_str().unwrap())
            .collect::<Vec<_>>()
            .join("\n")
    }
}

/// An answer that goes on: a document a line.
pub(super) struct Followed<'a> {
    bed: &'a Bed,
    response: Response,
    rest: String,
}

impl Followed<'_> {
    /// The next document; nothing at the end.
    pub(super) fn next_or_end(&mut self) -> Option<Value> {
        loop {
            if let Some((line, rest)) = self.rest.split_once('\n') {
                let line = serde_json::from_str(line).unwrap();
                self.rest = rest.to_owned();
                return Some(line);
            }
            let chunk = self.response.chunk();
            let chunk = self.bed.block_on(async { timeout(PATIENCE, chunk).await });
            let chunk = chunk.unwrap_or_else(|_| panic!("no line after {PATIENCE:?}"));
            match chunk.expect("a watch ends in order") {
                Some(chunk) => self.rest.push_str(std::str::from_utf8(&chunk).unwrap()),
                None => return None,
            }
        }
    }

    /// The next event: its type and its object.
    #[track_caller]
    pub(super) fn event(&mut self) -> (String, Value) {
        let mut event = self.next_or_end().expect("the watch goes on");
        let kind = event["type"].as_str().unwrap().to_owned();
        (kind, event["object"].take())
    }

    /// The types and names of the next events.
    #[track_caller]
    pub(super) fn events(&mut self, count: usize) -> Vec<String> {
        let told = |(kind, object): (String, Value)| {
            format!(
                "{kind} {}",
                object["metadata"]["name"].as_str().unwrap_or_default()
            )
        };
        (0..count).map(|_| told(self.event())).collect()
    }

    /// Whether nothing comes for so long.
    pub(super) fn silent_for(&mut self, time: Duration) -> bool {
        let chunk = self.response.chunk();
        self.rest.is_empty()
            && self
                .bed
                .block_on(async { timeout(time, chunk).await })
                .is_err()
    }
}

/// What kubectl said.
pub(super) struct Said {
    pub(super) line: String,
    pub(super) code: Option<i32>,
    pub(super) out: String,
    pub(super) err: String,
}

impl Said {
    /// What it printed, if it did what was asked.
    #[track_caller]
    pub(super) fn ok(self) -> String {
        assert_eq!(self.code, Some(0), "{self}");
        self.out
    }

    /// It did what was asked, and printed that among the rest.
    #[track_caller]
    pub(super) fn says(self, words: &str) {
        assert!(
            self.code == Some(0) && self.out.contains(words),
            "wanted {words:?}: {self}"
        );
    }

    /// It ended with 1, and said that.
    #[track_caller]
    pub(super) fn fails(self, words: &str) {
        assert!(
            self.code == Some(1) && self.err.contains(words),
            "wanted {words:?}: {self}"
        );
    }
}

impl std::fmt::Display for Said {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (line, code) = (&self.line, self.code);
        write!(f, "kubectl {line} [{code:?}]\n{}{}", self.out, self.err)
    }
}

/// kubectl in the background; it ends with the test.
pub(super) struct Started {
    child: Child,
    log: PathBuf,
}

impl Started {
    pub(super) fn said(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }

    /// Its exit code, once it has ended.
    pub(super) fn ended(&mut self) -> Option<Option<i32>> {
        let status = self.child.try_wait().unwrap();
        status.map(|status| status.code())
    }
}

impl Drop for Started {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn client(ca: &str) -> reqwest::Client {
    weir::http::client()
        .tls_certs_only([reqwest::Certificate::from_pem(ca.as_bytes()).unwrap()])
        .redirect(reqwest::redirect::Policy::none())
        .build()
        .unwrap()
}

/// The words of a line; blanks between single quotes belong to the word.
fn words(line: &str) -> Vec<String> {
    let mut words = vec![String::new()];
    let mut quoted = false;
    for c in line.chars() {
        match c {
            '\'' => quoted = !quoted,
            ' ' if !quoted => words.push(String::new()),
            c => words.last_mut().unwrap().push(c),
        }
    }
    words
}

/// A stack as its user writes it, labelled `app=x`. What the checks call `replicas` is the number
/// of its sprouts.
pub(super) fn stack(name: &str) -> Value {
    json!({
        "apiVersion": "weir.dev/v1alpha1", "kind": "ClearwaterStack",
        "metadata": {"name": name, "namespace": "default", "labels": {"app": "x"}},
        "spec": {
            "accountRef": {"name": "zurich"}, "domain": "ims.example.com",
            "template": {"name": "t"}, "serviceOffering": {"name": "o"},
            "packages": {"repository": "http://mirror.example.net/clearwater"},
            "components": {"sprout": {"replicas": 2}},
        },
    })
}

/// The same with another number of sprouts.
pub(super) fn scaled(name: &str, replicas: u32) -> Value {
    let mut stack = stack(name);
    stack["spec"]["components"]["sprout"]["replicas"] = json!(replicas);
    stack
}

/// A Secret as its user writes it.
pub(super) fn secret(name: &str) -> Value {
    json!({
        "apiVersion": "v1", "kind": "Secret", "metadata": {"name": name, "namespace": "default"},
        "stringData": {"k": "v"},
    })
}

/// A number that is written as a text.
#[track_caller]
pub(super) fn number(value: &Value) -> u64 {
    value
        .as_str()
        .and_then(|text| text.parse().ok())
        .unwrap_or_else(|| panic!("{value}"))
}
