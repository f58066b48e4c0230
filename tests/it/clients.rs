//! The simulator against CloudStack clients that nobody here wrote, each as its own process and
//! the simulator as another: `cs`, Apache Libcloud and Ansible's collection live a whole life in
//! it. What they do stands in `tests/clients`; `scripts/clients` installs them.

use std::{
    fs::File,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};

use crate::parts::present;

/// Longest wait for a simulator to listen.
const START: Duration = Duration::from_secs(30);

/// Longest life: six times what it takes on a machine of two busy cores.
const LIFE: Duration = Duration::from_secs(600);

/// How often a level is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// `weir sim` in a process of its own, on a loopback port. Dropping it kills it.
struct Simulator {
    folder: tempfile::TempDir,
    child: Child,
}

impl Simulator {
    /// A simulator with nothing in it, once it listens.
    async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let log = File::create(folder.path().join("log")).unwrap();
        let child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(["sim", "--listen", "127.0.0.1:0", "--profile", "instant"])
            .arg("--env-file")
            .arg(folder.path().join("env"))
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let simulator = Self { folder, child };
        let listens = async {
            while simulator.env().len() < 6 {
                tokio::time::sleep(GLANCE).await;
            }
        };
        if tokio::time::timeout(START, listens).await.is_err() {
            panic!("no simulator after {START:?}: {}", simulator.log());
        }
        simulator
    }

    /// The endpoint and the keys, as shell variables name them.
    fn env(&self) -> Vec<(String, String)> {
        let text = std::fs::read_to_string(self.folder.path().join("env")).unwrap_or_default();
        let pairs = text.lines().filter_map(|line| line.split_once('='));
        pairs.map(|(k, v)| (k.to_owned(), v.to_owned())).collect()
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Simulator {
    fn drop(&mut self) {
        self.child.kill().expect("our own child can be killed");
        self.child.wait().expect("our own child can be waited for");
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program that `scripts/clients` installed, if it is there.
fn installed(program: &str) -> Option<PathBuf> {
    let path = root().join("target/clients/bin").join(program);
    present(path.to_str().unwrap()).then_some(path)
}

/// Runs a client to its end against a simulator of its own; gives what it said.
async fn live(program: &Path, words: &[&str], more: &[(&str, &str)]) -> String {
    let simulator = Simulator::start().await;
    let home = tempfile::tempdir().unwrap();
    let run = tokio::process::Command::new(program)
        .args(words)
        .current_dir(root().join("tests/clients"))
        .envs(simulator.env())
        .envs(more.iter().copied())
        .env("HOME", home.path())
        .env("PYTHONUNBUFFERED", "1")
        .stdin(Stdio::null())
        .kill_on_drop(true)
        .output();
    let Ok(ended) = tokio::time::timeout(LIFE, run).await else {
        panic!(
            "{words:?} has not ended after {LIFE:?}: {}",
            simulator.log()
        );
    };
    let ended = ended.unwrap();
    let (out, err) = (
        String::from_utf8_lossy(&ended.stdout),
        String::from_utf8_lossy(&ended.stderr),
    );
    let log = simulator.log();
    assert!(ended.status.success(), "{words:?}\n{out}\n{err}\n{log}");
    out.into_owned()
}

/// Asserts that a client says that it came so far.
#[track_caller]
fn check(told: &str, what: &[&str]) {
    for line in what {
        assert!(told.contains(line), "lacks `{line}`:\n{told}");
    }
}

#[tokio::test]
async fn cs_lives_a_whole_life() {
    let Some(python) = installed("python") else {
        return;
    };
    let told = live(&python, &["cs_life.py"], &[]).await;
    check(&told, &["VPC deleted", "nothing left behind"]);
}
