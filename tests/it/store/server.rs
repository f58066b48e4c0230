//! etcd as a process on free loopback ports, with its data in a folder that goes with it.

use std::{
    fs::{self, File},
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::Mutex,
    time::Duration,
};

use tokio::time::{Instant, sleep};
use weir::store::{Etcd, EtcdConfig, EtcdFiles};

use crate::parts::present;

/// Longest wait for a level. Far more than three members need on two cores, under any load.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);

/// How often a level is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// One member of a cluster, running or not. Dropping it kills it.
pub(crate) struct Server {
    words: Vec<String>,
    scheme: &'static str,
    port: u16,
    folder: PathBuf,
    child: Mutex<Option<Child>>,
    _dir: Option<tempfile::TempDir>,
}

/// A cluster of one, once it serves; nothing where etcd is not installed.
pub(crate) async fn single() -> Option<Server> {
    single_with(&[]).await
}

/// The same with more words on its command line.
pub(super) async fn single_with(more: &[String]) -> Option<Server> {
    if !present("etcd") {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let [port, peer] = free_ports();
    let tls = more.iter().any(|word| word.starts_with("--cert-file"));
    let mut server = Server::new(dir.path(), "one", if tls { "https" } else { "http" }, port);
    server.peers(peer, &format!("one=http://127.0.0.1:{peer}"));
    server.words.extend(more.iter().cloned());
    server._dir = Some(dir);
    server.start();
    if !tls {
        server.serves().await;
    }
    Some(server)
}

/// Three members of a cluster, once each serves; nothing where etcd is not installed.
pub(super) async fn three() -> Option<(Vec<Server>, tempfile::TempDir)> {
    if !present("etcd") {
        return None;
    }
    let dir = tempfile::tempdir().unwrap();
    let names = ["one", "two", "three"];
    let [a, b, c, d, e, f] = free_ports();
    let peers = [d, e, f];
    let all = names.iter().zip(peers);
    let all: Vec<_> = all
        .map(|(name, port)| format!("{name}=http://127.0.0.1:{port}"))
        .collect();
    let mut members = Vec::new();
    for ((name, port), peer) in names.into_iter().zip([a, b, c]).zip(peers) {
        let mut server = Server::new(dir.path(), name, "http", port);
        server.peers(peer, &all.join(","));
        server.start();
        members.push(server);
    }
    for member in &members {
        member.serves().await;
    }
    Some((members, dir))
}

/// `etcd://` with all members of a cluster.
pub(super) fn address(members: &[Server]) -> String {
    let hosts = members.iter().map(Server::host);
    format!("etcd://{}", hosts.collect::<Vec<_>>().join(","))
}

/// Connects to an etcd that must be there.
pub(crate) async fn connect(address: &str, history: usize) -> Etcd {
    let config = EtcdConfig::read(address, &EtcdFiles::default()).unwrap();
    until(address, async || {
        let etcd = Etcd::connect(&config, history).await;
        etcd.map_err(|error| error.to_string())
    })
    .await
}

impl Server {
    fn new(dir: &Path, name: &str, scheme: &'static str, port: u16) -> Self {
        let client = format!("{scheme}://127.0.0.1:{port}");
        let data = dir.join(name);
        let words = [
            "--name",
            name,
            "--data-dir",
            data.to_str().unwrap(),
            "--listen-client-urls",
            &client,
            "--advertise-client-urls",
            &client,
            "--heartbeat-interval",
            "50",
            "--election-timeout",
            "500",
        ];
        Self {
            words: words.map(str::to_owned).to_vec(),
            scheme,
            port,
            folder: data,
            child: Mutex::default(),
            _dir: None,
        }
    }

    fn peers(&mut self, port: u16, all: &str) {
        let own = format!("http://127.0.0.1:{port}");
        let words = [
            "--listen-peer-urls",
            &own,
            "--initial-advertise-peer-urls",
            &own,
            "--initial-cluster",
            all,
        ];
        self.words.extend(words.map(str::to_owned));
    }

    /// Starts it, on the data that it has.
    pub(crate) fn start(&self) {
        let log = self.folder.with_extension("log");
        let log = File::options().create(true).append(true).open(log).unwrap();
        let child = Command::new("etcd")
            .args(&self.words)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .unwrap();
        *self.child.lock().unwrap() = Some(child);
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&self) {
        if let Some(mut child) = self.child.lock().unwrap().take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(super) fn host(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// As `--store` takes it.
    pub(crate) fn address(&self) -> String {
        let scheme = if self.scheme == "https" {
            "etcds"
        } else {
            "etcd"
        };
        format!("{scheme}://{}", self.host())
    }

    /// Waits until it is a member of a cluster that has a leader.
    pub(crate) async fn serves(&self) {
        until("the member serves", async || {
            match self.metric("etcd_server_has_leader").await {
                Some(1) => Ok(()),
                seen => Err(format!("{seen:?}\n{}", self.log())),
            }
        })
        .await;
    }

    /// Whether it leads.
    pub(super) async fn leads(&self) -> bool {
        self.metric("etcd_server_is_leader").await == Some(1)
    }

    async fn metric(&self, name: &str) -> Option<u64> {
        let client = weir::http::client().timeout(Duration::from_secs(2));
        let url = format!("http://{}/metrics", self.host());
        let text = client.build().unwrap().get(url).send().await.ok()?;
        let text = text.text().await.ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(name));
        line?.trim().parse().ok()
    }

    /// Asks its JSON gateway.
    pub(super) async fn post(&self, path: &str, body: &serde_json::Value) -> String {
        let client = weir::http::client().timeout(PATIENCE).build().unwrap();
        let url = format!("http://{}/v3/{path}", self.host());
        let answer = client.post(url).body(body.to_string()).send().await;
        let answer = answer.unwrap();
        let status = answer.status();
        let text = answer.text().await.unwrap();
        assert!(status.is_success(), "{path}: {status}: {text}");
        text
    }

    fn log(&self) -> String {
        let log = fs::read_to_string(self.folder.with_extension("log")).unwrap_or_default();
        let lines: Vec<_> = log.lines().rev().take(10).collect();
        lines.into_iter().rev().collect::<Vec<_>>().join("\n")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Ports that nobody listened on a moment ago.
fn free_ports<const N: usize>() -> [u16; N] {
    let listeners = [(); N].map(|()| TcpListener::bind("127.0.0.1:0").unwrap());
    listeners.map(|listener| listener.local_addr().unwrap().port())
}

/// Waits until `look` sees what is wanted; else it says what it saw instead.
pub(super) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
    let since = Instant::now();
    loop {
        match look().await {
            Ok(seen) => return seen,
            Err(seen) => assert!(
                since.elapsed() < PATIENCE,
                "{what}: not after {PATIENCE:?}; last seen: {seen}"
            ),
        }
        sleep(GLANCE).await;
    }
}
