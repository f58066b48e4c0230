//! A simulator and a controller, as processes on free loopback ports, with state in a folder that
//! goes with them.

#![expect(
    clippy::disallowed_methods,
    reason = "processes live in real time, and a test of them has a thread of its own"
)]

use std::{
    fs::{self, File},
    io::{Read, Write as _},
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    thread::JoinHandle,
    time::{Duration, Instant},
};

use base64::{Engine, engine::general_purpose::STANDARD};
use hmac::{Hmac, KeyInit, Mac};
use serde_json::Value;
use sha1::Sha1;

use super::told::Told;

/// The built binary.
const WEIR: &str = env!("CARGO_BIN_EXE_weir");

/// Longest wait for a level. Far more than a machine of two cores needs, under any load.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

/// What a command may take beyond that, since it may wait as long itself.
const GRACE: Duration = Duration::from_secs(20);

/// How often a level is looked at.
const GLANCE: Duration = Duration::from_millis(10);

/// A process that runs until it is told to stop, and is killed when it is dropped.
pub(crate) struct Server {
    child: Child,
    log: PathBuf,
}

impl Server {
    /// Starts `weir` with these words in `dir`; what it says goes to `NAME.log` there.
    pub(crate) fn start(dir: &Path, name: &str, words: &[&str]) -> Self {
        Self::start_in(dir, name, words, &[])
    }

    /// The same, with more in its environment.
    pub(crate) fn start_in(dir: &Path, name: &str, words: &[&str], env: &[(&str, &str)]) -> Self {
        let log = dir.join(format!("{name}.log"));
        let file = File::create(&log).unwrap();
        let child = command(dir, words)
            .envs(env.iter().copied())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        Self { child, log }
    }

    /// What it said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Whether it still runs.
    pub(crate) fn runs(&mut self) -> bool {
        self.child.try_wait().unwrap().is_none()
    }

    /// Sends a signal, like `TERM`, by the process's own id.
    pub(crate) fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .args([format!("-{name}"), self.child.id().to_string()])
            .status();
        assert!(sent.unwrap().success(), "kill -{name}");
    }

    /// Waits for its end, and says how long that took.
    pub(crate) fn ended(&mut self) -> (ExitStatus, Duration) {
        let since = Instant::now();
        let status = until("the process ends", || {
            let status = self.child.try_wait().unwrap();
            status.ok_or_else(|| self.log())
        });
        (status, since.elapsed())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `weir` with these words, in a clean environment.
fn command(dir: &Path, words: &[&str]) -> Command {
    let mut command = Command::new(WEIR);
    command
        .args(words)
        .current_dir(dir)
        .env_clear()
        .env("HOME", dir)
        .env("RUST_LOG", "info");
    command
}

/// Runs `weir` to its end in `dir`, with `input` on its standard input.
pub(crate) fn run(dir: &Path, words: &[&str], input: &str) -> Told {
    run_in(dir, words, input, &[])
}

/// The same, with more in its environment.
pub(crate) fn run_in(dir: &Path, words: &[&str], input: &str, env: &[(&str, &str)]) -> Told {
    let mut child = command(dir, words)
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that wants no input may be gone before it could read any.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    let (out, err) = (drain(child.stdout.take()), drain(child.stderr.take()));
    let since = Instant::now();
    let status = loop {
        match child.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if since.elapsed() > PATIENCE + GRACE => break None,
            None => std::thread::sleep(GLANCE),
        }
    };
    if status.is_none() {
        child.kill().unwrap();
        child.wait().unwrap();
    }
    let told = Told::new(words, status, [out.join().unwrap(), err.join().unwrap()]);
    assert!(status.is_some(), "it did not end: {told}");
    told
}

/// Reads to the end beside the test, so that a command never waits for a full pipe.
fn drain(pipe: Option<impl Read + Send + 'static>) -> JoinHandle<String> {
    let mut pipe = pipe.unwrap();
    std::thread::spawn(move || {
        let mut text = String::new();
        pipe.read_to_string(&mut text).expect("output is text");
        text
    })
}

/// Waits until `look` sees what is wanted; else it says what it saw instead.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Result<T, String>) -> T {
    let since = Instant::now();
    loop {
        match look() {
            Ok(seen) => return seen,
            Err(seen) if since.elapsed() > PATIENCE => {
                panic!("{what}: not after {PATIENCE:?}; last seen: {seen}")
            }
            Err(_) => std::thread::sleep(GLANCE),
        }
    }
}

/// See the module.
pub(crate) struct Lab {
    pub(crate) controller: Server,
    sim: Server,
    /// The simulator's API.
    pub(crate) endpoint: String,
    /// More words for the controller.
    words: Vec<String>,
    dir: tempfile::TempDir,
}

impl Lab {
    /// A simulator without delays and a controller that has its account, `cloud`.
    pub(crate) fn start() -> Self {
        let lab = Self::empty("instant");
        lab.account("default");
        lab
    }

    /// A simulator of some pace and a controller that knows nobody.
    pub(crate) fn empty(profile: &str) -> Self {
        Self::on(tempfile::tempdir().unwrap(), &["--profile", profile])
    }

    /// The same in a folder that has something in it, with more words for the simulator.
    pub(crate) fn on(dir: tempfile::TempDir, more: &[&str]) -> Self {
        Self::with(dir, more, &[])
    }

    /// The same with more words for the controller, too.
    pub(crate) fn with(dir: tempfile::TempDir, more: &[&str], controller: &[&str]) -> Self {
        let words = ["sim", "--listen", "127.0.0.1:0", "--env-file", "sim.env"];
        // Tiers may lie in 127.0.0.0/8, and nothing answers there.
        let words = [&words[..], &["--answer", "none"]].concat();
        let words = [&words[..], more].concat();
        let sim = Server::start(dir.path(), "sim", &words);
        let endpoint = until("the simulator's env file is whole", || {
            let text = fs::read_to_string(dir.path().join("sim.env")).unwrap_or_default();
            let whole = variable(&text, "CLOUDSTACK_SECRET_TENANT").is_some();
            let endpoint = variable(&text, "CLOUDSTACK_ENDPOINT").filter(|_| whole);
            endpoint.ok_or_else(|| format!("{text}\n{}", sim.log()))
        });
        let words: Vec<_> = controller.iter().map(|word| (*word).to_owned()).collect();
        Self {
            controller: Self::controller(dir.path(), &words, &[]),
            sim,
            endpoint,
            words,
            dir,
        }
    }

    fn controller(dir: &Path, more: &[String], env: &[(&str, &str)]) -> Server {
        let words = ["controller", "--state", "state", "--listen", "127.0.0.1:0"];
        let more = more.iter().map(String::as_str);
        let words: Vec<_> = words.into_iter().chain(more).collect();
        let mut server = Server::start_in(dir, "controller", &words, env);
        until("the controller answers", || {
            assert!(server.runs(), "{}", server.log());
            let told = run(dir, &["version"], "");
            (told.code == 0).then_some(()).ok_or_else(|| server.log())
        });
        server
    }

    /// Starts the controller again, on the same state.
    pub(crate) fn restart(&mut self) {
        self.restart_in(&[]);
    }

    /// The same, with more in its environment.
    pub(crate) fn restart_in(&mut self, env: &[(&str, &str)]) {
        self.controller = Self::controller(self.dir.path(), &self.words, env);
    }

    /// Stops the controller, in order.
    pub(crate) fn stop(&mut self) {
        self.controller.signal("TERM");
        self.controller.ended();
    }

    /// Starts the controller again with other words.
    pub(crate) fn restart_with(&mut self, words: &[&str]) {
        self.words = words.iter().map(|word| (*word).to_owned()).collect();
        self.restart();
    }

    /// Asks the controller's health endpoint: status and text.
    pub(crate) fn health(&self, path: &str) -> (u16, String) {
        let ca = self.dir().join("state/tls/ca.crt");
        let config = fs::read_to_string(self.dir().join("state/kubeconfig")).unwrap();
        let server = config
            .lines()
            .find_map(|line| line.trim().strip_prefix("server: "));
        http("GET", &format!("{}{path}", server.unwrap()), "", Some(&ca))
    }

    /// The folder that everything happens in; the state is in `state` there.
    pub(crate) fn dir(&self) -> &Path {
        self.dir.path()
    }

    /// A variable of the simulator's env file.
    pub(crate) fn variable(&self, name: &str) -> String {
        let text = fs::read_to_string(self.dir().join("sim.env")).unwrap();
        variable(&text, name).expect("the env file has it")
    }

    /// Makes a namespace.
    pub(crate) fn namespace(&self, name: &str) {
        let text = format!("{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}}}}}");
        run(self.dir(), &["apply", "-f", "-"], &text).done();
    }

    /// Applies the tenant's account, `cloud`, and its keys to a namespace.
    pub(crate) fn account(&self, namespace: &str) {
        let (key, secret) = (
            self.variable("CLOUDSTACK_KEY_TENANT"),
            self.variable("CLOUDSTACK_SECRET_TENANT"),
        );
        let text = account("cloud", &self.endpoint, &key, &secret);
        self.apply(namespace, &text).done();
    }

    /// Calls a command of the simulated CloudStack as its admin, and gives the answer's content.
    pub(crate) fn cloud(&self, command: &str, parameters: &[(&str, &str)]) -> Value {
        let key = self.variable("CLOUDSTACK_KEY");
        let mut all: Vec<(&str, &str)> = parameters.to_vec();
        all.extend([("apikey", key.as_str()), ("command", command)]);
        all.push(("response", "json"));
        all.sort_unstable();
        let encoded = |text: &str| url::form_urlencoded::byte_serialize(text.as_bytes()).collect();
        let pairs = all.iter().map(|(name, value)| {
            let value: String = encoded(value);
            format!("{name}={}", value.replace('+', "%20"))
        });
        let query = pairs.collect::<Vec<_>>().join("&");
        let secret = self.variable("CLOUDSTACK_SECRET");
        let mut mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).unwrap();
        mac.update(query.to_lowercase().as_bytes());
        let signature: String = encoded(&STANDARD.encode(mac.finalize().into_bytes()));
        let url = format!("{}?{query}&signature={signature}", self.endpoint);
        let (status, text) = http("GET", &url, "", None);
        assert_eq!(status, 200, "{command}: {text}");
        let answer: Value = serde_json::from_str(&text).unwrap();
        let envelope = answer.as_object().unwrap().values().next();
        envelope.unwrap().clone()
    }

    /// Runs `weir` with these words, which have no blanks in them.
    pub(crate) fn weir(&self, words: &str) -> Told {
        let words: Vec<&str> = words.split_whitespace().collect();
        run(self.dir(), &words, "")
    }

    /// Applies a text to a namespace.
    pub(crate) fn apply(&self, namespace: &str, text: &str) -> Told {
        run(self.dir(), &["apply", "-n", namespace, "-f", "-"], text)
    }

    /// Breaks something in the simulated cloud.
    pub(crate) fn broken(&self, words: &str) {
        let at = self.endpoint.trim_end_matches("/client/api");
        self.weir(&format!("sim break {words} --at {at}")).done();
    }

    /// Adds a fault to the simulator, as its admin endpoint reads it.
    pub(crate) fn fault(&self, fault: &Value) {
        let answer = self.http("POST", "/sim/faults", &fault.to_string());
        assert!(answer.contains("waiting"), "{answer}");
    }

    /// Takes all faults away.
    pub(crate) fn no_faults(&self) {
        self.http("DELETE", "/sim/faults", "");
    }

    /// Asks the simulator.
    pub(crate) fn http(&self, method: &str, path: &str, body: &str) -> String {
        let at = self.endpoint.trim_end_matches("/client/api");
        http(method, &format!("{at}{path}"), body, None).1
    }

    /// A member of an object, by JSON pointer; null where there is none.
    pub(crate) fn member(&self, what: &str, pointer: &str) -> Value {
        let told = self.weir(&format!("get {what} -o json"));
        let object: Value = serde_json::from_str(&told.out).unwrap_or_default();
        object.pointer(pointer).cloned().unwrap_or_default()
    }

    /// Waits until a stack is ready with its latest manifest.
    pub(crate) fn ready(&self, namespace: &str, stack: &str) {
        let words = format!("watch {stack} -n {namespace} --plain --until ready --timeout 60s");
        let told = self.weir(&words);
        assert_eq!(told.code, 0, "{told}\n{}", self.everything());
    }

    /// What there is to see when something went wrong.
    pub(crate) fn everything(&self) -> String {
        format!(
            "{}\n--- controller\n{}\n--- sim\n{}",
            self.weir("get stacks,machines -A -o wide"),
            self.controller.log(),
            self.sim.log()
        )
    }
}

fn variable(text: &str, name: &str) -> Option<String> {
    let whole_lines = text
        .split_inclusive('\n')
        .filter(|line| line.ends_with('\n'));
    let mut values =
        whole_lines.filter_map(|line| line.trim_end().strip_prefix(name)?.strip_prefix('='));
    values.next().map(str::to_owned)
}

/// The manifests of an account and its keys.
pub(crate) fn account(name: &str, endpoint: &str, key: &str, secret: &str) -> String {
    format!(
        "apiVersion: v1\n\
         kind: Secret\n\
         metadata: {{name: {name}-keys}}\n\
         stringData: {{apiKey: {key}, secretKey: {secret}}}\n\
         ---\n\
         apiVersion: weir.dev/v1alpha1\n\
         kind: CloudAccount\n\
         metadata: {{name: {name}}}\n\
         spec:\n  \
           endpoint: {endpoint}\n  \
           secretRef: {{name: {name}-keys}}\n  \
           resyncInterval: 1s\n  \
           auditInterval: 1s\n  \
           limits: {{requestsPerSecond: 500}}\n"
    )
}

/// A small stack: a bono with a public address, two sprouts and a homestead.
pub(crate) fn stack(name: &str, more: &str) -> String {
    format!(
        "apiVersion: weir.dev/v1alpha1\n\
         kind: ClearwaterStack\n\
         metadata: {{name: {name}}}\n\
         spec:\n  \
           accountRef: {{name: cloud}}\n  \
           domain: {name}.example.com\n  \
           template: {{name: Ubuntu 14.04}}\n  \
           serviceOffering: {{name: 2vCPU-4GB}}\n  \
           packages: {{repository: \"http://mirror.example.net/clearwater\"}}\n  \
           components:\n    \
             sprout: {{replicas: 2}}\n    \
             homer: {{replicas: 0}}\n    \
             ralf: {{replicas: 0}}\n    \
             ellis: {{replicas: 0}}\n\
         {more}"
    )
}

/// A request, from a test that has no runtime of its own; `ca` is a PEM certificate to trust.
pub(crate) fn http(method: &str, url: &str, body: &str, ca: Option<&Path>) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let mut client = weir::http::client().timeout(PATIENCE);
    if let Some(ca) = ca {
        let ca = reqwest::Certificate::from_pem(&fs::read(ca).unwrap()).unwrap();
        client = client.tls_certs_only([ca]);
    }
    let request = client
        .build()
        .unwrap()
        .request(method.parse().unwrap(), url)
        .header("content-type", "application/json")
        .body(body.to_owned());
    runtime.block_on(async {
        let answer = request.send().await.unwrap();
        (answer.status().as_u16(), answer.text().await.unwrap())
    })
}
