//! The simulator against CloudStack clients that nobody here wrote, each as its own process and
//! the simulator as another: `cs`, Apache Libcloud and Ansible's collection live a whole life in
//! it. What they do stands in `tests/clients`; `scripts/clients` installs them.

use std::{
    path::{Path, PathBuf},
    process::Stdio,
    time::Duration,
};

use crate::{parts::present, support::served::Served};

/// Longest life: six times what it takes on a machine of two busy cores.
const LIFE: Duration = Duration::from_secs(600);

pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// A program that `scripts/clients` installed, if it is there.
pub(crate) fn installed(program: &str) -> Option<PathBuf> {
    let path = root().join("target/clients/bin").join(program);
    present(path.to_str().unwrap()).then_some(path)
}

/// Runs a client to its end against a simulator of its own; gives what it said.
async fn live(program: &Path, words: &[&str]) -> String {
    let simulator = Served::start(&["--profile", "instant"]).await;
    let home = tempfile::tempdir().unwrap();
    let run = tokio::process::Command::new(program)
        .args(words)
        .current_dir(root().join("tests/clients"))
        .envs(simulator.env())
        .env("HOME", home.path())
        .envs([
            ("PYTHONUNBUFFERED", "1"),
            ("PYTHONDONTWRITEBYTECODE", "1"),
            ("LC_ALL", "C.UTF-8"),
        ])
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

/// Runs a life written in Python and asserts that it came so far.
async fn python_lives(life: &str, what: &[&str]) {
    let Some(python) = installed("python") else {
        return;
    };
    check(&live(&python, &[life]).await, what);
}

#[tokio::test]
async fn cs_lives_a_whole_life() {
    python_lives("cs_life.py", &["VPC deleted", "nothing left behind"]).await;
}

#[tokio::test]
async fn libcloud_lives_a_whole_life() {
    let lived = [
        "VPC deleted",
        "isolated network deleted",
        "nothing left behind",
    ];
    python_lives("libcloud_life.py", &lived).await;
}

/// Runs a playbook and asserts what its recap says of each pass: how many tasks were done, and how
/// many of them changed something. The playbooks themselves count what is there before and after.
async fn play(book: &str, passes: &[(&str, usize, usize)]) {
    let Some(ansible) = installed("ansible-playbook") else {
        return;
    };
    let told = live(&ansible, &[book]).await;
    let (_, recap) = told.split_once("PLAY RECAP").unwrap();
    for (pass, done, changed) in passes {
        let line = recap.lines().find(|line| line.starts_with(pass));
        let words: Vec<&str> = line.unwrap_or_default().split_whitespace().collect();
        let wanted = [format!("ok={done}"), format!("changed={changed}")];
        assert!(
            words.len() > 3 && words[2..4] == wanted,
            "{wanted:?}:\n{told}"
        );
    }
}

#[tokio::test]
async fn ansible_builds_a_vpc_and_finds_it_built() {
    play("vpc.yml", &[("first", 21, 20), ("again", 21, 0)]).await;
}

#[tokio::test]
async fn ansible_builds_an_isolated_network_in_a_project_and_finds_it_built() {
    play("isolated.yml", &[("first", 21, 21), ("again", 21, 0)]).await;
}

#[tokio::test]
async fn ansible_makes_people_and_finds_them_made() {
    play("people.yml", &[("first", 12, 12), ("again", 12, 0)]).await;
}
