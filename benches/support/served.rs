//! `weir sim` in a process of its own, so that what it takes can be measured from outside, and
//! clients that nobody here wrote can live in it.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    process::{Child, Command, Stdio},
    time::Duration,
};

use serde_json::Value;
use weir::sim::Credentials;

use super::signed::signed;

/// Longest wait for it to listen.
const START: Duration = Duration::from_secs(30);

/// How often it is looked at until then.
const GLANCE: Duration = Duration::from_millis(20);

/// How often Linux counts a process's time in a second (`USER_HZ`, the same on all platforms that
/// Rust's tier 1 names).
const TICKS: u64 = 100;

/// The last thing that it writes down.
const LAST: &str = "CLOUDSTACK_SECRET_TENANT";

/// A simulator. Dropping it kills it.
pub(crate) struct Served {
    folder: tempfile::TempDir,
    child: Child,
    http: reqwest::Client,
    /// What it wrote down for its users.
    env: BTreeMap<String, String>,
}

/// Memory of a process, in MiB.
pub(crate) struct Memory {
    /// What it takes.
    pub(crate) now: f64,
    /// The most it ever took.
    pub(crate) most: f64,
}

impl Served {
    /// A simulator with these arguments, once it listens.
    pub(crate) async fn start(args: &[&str]) -> Self {
        let folder = tempfile::tempdir().expect("a folder for it");
        let log = File::create(folder.path().join("log")).expect("a log for it");
        // Whatever may panic comes before the child: only what is built in the end kills it.
        let http = weir::http::client().build().expect("a client");
        let child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["sim", "--listen", "127.0.0.1:0"])
            .args(args)
            .arg("--env-file")
            .arg(folder.path().join("env"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("the log twice"))
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let mut served = Self {
            folder,
            child,
            http,
            env: BTreeMap::new(),
        };
        let listens = async {
            while !served.env.contains_key(LAST) {
                tokio::time::sleep(GLANCE).await;
                served.env = served.written();
            }
        };
        if tokio::time::timeout(START, listens).await.is_err() {
            panic!("no simulator after {START:?}: {}", served.log());
        }
        served
    }

    /// The endpoint and the keys, as shell variables name them.
    pub(crate) fn env(&self) -> &BTreeMap<String, String> {
        &self.env
    }

    fn written(&self) -> BTreeMap<String, String> {
        let text = fs::read_to_string(self.folder.path().join("env")).unwrap_or_default();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    /// Asks as the root admin. The answer is the inside of the envelope, or what the job that was
    /// begun has come to.
    pub(crate) async fn admin(&self, params: &[(&str, &str)]) -> Value {
        self.ask("", params).await
    }

    /// The same as an ordinary user.
    pub(crate) async fn tenant(&self, params: &[(&str, &str)]) -> Value {
        self.ask("_TENANT", params).await
    }

    async fn ask(&self, whose: &str, params: &[(&str, &str)]) -> Value {
        let key = |name: &str| self.env[&format!("{name}{whose}")].clone();
        let keys = Credentials {
            api_key: key("CLOUDSTACK_KEY"),
            secret_key: key("CLOUDSTACK_SECRET"),
        };
        let url = &self.env["CLOUDSTACK_ENDPOINT"];
        let request = self.http.post(url).body(signed(&keys, params));
        let request = request.header("Content-Type", "application/x-www-form-urlencoded");
        let answer = request.send().await.expect("the simulator answers");
        let status = answer.status();
        let body = answer.bytes().await.expect("the answer has an end");
        assert!(status.is_success(), "{params:?}: {status}: {body:?}");
        let answer: Value = serde_json::from_slice(&body).expect("the answer is JSON");
        let inside = answer
            .as_object()
            .and_then(|envelope| envelope.values().next());
        inside.cloned().unwrap_or_default()
    }

    /// Changes its settings.
    pub(crate) async fn set(&self, settings: &Value) {
        let url = self.env["CLOUDSTACK_ENDPOINT"].replace("/client/api", "/sim/settings");
        let request = self.http.patch(url).body(settings.to_string());
        let answer = request.send().await.expect("the simulator answers");
        let status = answer.status();
        let told = answer.text().await.unwrap_or_default();
        assert!(status.is_success(), "{settings}: {status}: {told}");
    }

    /// The processor time that it has taken so far.
    pub(crate) fn processor(&self) -> Duration {
        let stat = self.told("stat");
        // The name, in brackets, may hold spaces; times are the 14th and 15th word of the line.
        let after = stat.rsplit_once(')').map(|(_, after)| after);
        let words = after.into_iter().flat_map(str::split_whitespace);
        let ticks = words
            .skip(11)
            .take(2)
            .filter_map(|word| word.parse::<u64>().ok());
        Duration::from_millis(ticks.sum::<u64>() * 1_000 / TICKS)
    }

    /// The memory that it takes.
    pub(crate) fn memory(&self) -> Memory {
        let status = self.told("status");
        let mib = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            let kib = line.and_then(|line| line.split_whitespace().next());
            kib.and_then(|kib| kib.parse::<f64>().ok())
                .expect("Linux tells a process's memory")
                / 1024.0
        };
        Memory {
            now: mib("VmRSS:"),
            most: mib("VmHWM:"),
        }
    }

    fn told(&self, file: &str) -> String {
        let path = format!("/proc/{}/{file}", self.child.id());
        fs::read_to_string(path).expect("Linux tells of each process")
    }

    /// What it said so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("our own child can be waited for");
    }
}
