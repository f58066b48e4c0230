//! BIND as a process on a free loopback port, with its files in a folder that goes with it.

use std::{
    fs::{self, File},
    io::Write,
    net::{SocketAddr, TcpListener},
    process::{Child, Command, Stdio},
    time::Duration,
};

use tokio::time::{Instant, sleep};
use weir::{dns::Server, types::core::Confidential};

use crate::parts::present;

/// The stack's domain in all tests.
pub(crate) const DOMAIN: &str = "ims.example.com";

/// Longest wait for a level. Far more than BIND needs on two cores, under any load.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often a level is looked at.
const GLANCE: Duration = Duration::from_millis(20);

/// The key that is let in, in base64, and one that is not.
pub(crate) const KEY: &str = "c2VjcmV0IG9mIHRlc3RzLCB0aGlydHktdHdvIGJ5dGU=";
pub(crate) const OTHER_KEY: &str = "YW5vdGhlciBzZWNyZXQgb2YgdGVzdHMsIDMyIGJ5dGU=";

/// A name server, running or not. Dropping it kills it.
pub(crate) struct Bind {
    place: SocketAddr,
    dir: tempfile::TempDir,
    child: Option<Child>,
}

/// What a zone may be used for, in BIND's words.
pub(crate) struct Zone {
    pub(crate) name: &'static str,
    pub(crate) more: &'static str,
    pub(crate) records: &'static str,
}

/// A zone that takes updates with the key, and lets it transfer.
pub(crate) const OPEN: &str = "allow-update { key \"weir\"; }; allow-transfer { key \"weir\"; };";

/// The same, without transfers.
pub(crate) const CLOSED: &str = "allow-update { key \"weir\"; }; allow-transfer { none; };";

impl Bind {
    /// A server with the domain's zone, once it serves; nothing where BIND is not installed.
    pub(crate) async fn with(more: &'static str) -> Option<Self> {
        let records = "";
        let name = DOMAIN;
        Self::with_zones(&[Zone {
            name,
            more,
            records,
        }])
        .await
    }

    /// A server with zones.
    pub(crate) async fn with_zones(zones: &[Zone]) -> Option<Self> {
        let mut server = Self::stopped()?;
        let mut text = String::new();
        for zone in zones {
            text.push_str(&server.zone(zone.name, zone.name, zone));
        }
        server.configure(&text);
        server.start().await;
        Some(server)
    }

    /// A server whose configuration is still to be written.
    pub(crate) fn stopped() -> Option<Self> {
        if !(present("named") && present("dig") && present("nsupdate")) {
            return None;
        }
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        Some(Self {
            place: free.local_addr().unwrap(),
            dir: tempfile::tempdir().unwrap(),
            child: None,
        })
    }

    /// Writes a zone's file; gives its clause for the configuration.
    pub(crate) fn zone(&self, name: &str, file: &str, zone: &Zone) -> String {
        let text = format!(
            "$TTL 3600\n@ IN SOA ns hostmaster 1 86400 7200 604800 30\n@ IN NS ns\n\
             ns IN A 127.0.0.1\n{}\n",
            zone.records
        );
        self.put(file, &text);
        let more = zone.more;
        format!("zone \"{name}\" {{ type primary; file \"{file}\"; {more} }};\n")
    }

    /// Writes its configuration: two keys, and what is given.
    pub(crate) fn configure(&self, text: &str) {
        let key = |name: &str, secret: &str| {
            format!("key \"{name}\" {{ algorithm hmac-sha256; secret \"{secret}\"; }};\n")
        };
        let whole = format!(
            "{}{}options {{ {} recursion no; notify no; }};\n{text}",
            key("weir", KEY),
            key("public", OTHER_KEY),
            self.confined(),
        );
        self.put("named.conf", &whole);
    }

    /// The options that keep a server to its folder and its address.
    pub(crate) fn confined(&self) -> String {
        let (dir, place) = (self.dir.path().display(), self.place);
        format!(
            "directory \"{dir}\"; pid-file none; session-keyfile \"{dir}/session\"; lock-file none; \
             listen-on port {} {{ {}; }}; listen-on-v6 {{ none; }}; dnssec-validation no;",
            place.port(),
            place.ip(),
        )
    }

    /// Writes a file into its folder.
    pub(crate) fn put(&self, name: &str, text: &str) {
        fs::write(self.dir.path().join(name), text).unwrap();
    }

    /// Its disk is made anew: all that it was told is lost.
    pub(crate) fn wiped(&self) {
        for file in fs::read_dir(self.dir.path()).unwrap() {
            fs::remove_file(file.unwrap().path()).unwrap();
        }
    }

    /// Starts it on the files that it has, and waits until it serves.
    pub(crate) async fn start(&mut self) {
        let log = self.dir.path().join("log");
        let file = File::create(&log).unwrap();
        let child = Command::new("named")
            .args(["-g", "-n", "1", "-c"])
            .arg(self.dir.path().join("named.conf"))
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file)
            .spawn()
            .unwrap();
        self.child = Some(child);
        until("named runs", async || {
            let text = fs::read_to_string(&log).unwrap();
            let runs = text.lines().any(|line| line.ends_with(" running"));
            if runs { Ok(()) } else { Err(text) }
        })
        .await;
    }

    /// Kills it with SIGKILL.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().unwrap();
            child.wait().unwrap();
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.place
    }

    /// As the client knows it.
    pub(crate) fn server(&self) -> Server {
        self.server_with("weir", KEY)
    }

    pub(crate) fn server_with(&self, key_name: &str, key: &str) -> Server {
        Server {
            address: self.address(),
            key_name: key_name.to_owned(),
            key: Confidential::new(key),
        }
    }

    /// What another resolver sees: one line for each record, sorted.
    pub(crate) fn dig(&self, name: &str, kind: &str) -> Vec<String> {
        self.dig_with(("weir", KEY), name, kind)
    }

    pub(crate) fn dig_with(
        &self,
        (key, secret): (&str, &str),
        name: &str,
        kind: &str,
    ) -> Vec<String> {
        let output = Command::new("dig")
            .arg(format!("@{}", self.place.ip()))
            .args(["-p", &self.place.port().to_string(), "+tcp", "+short"])
            .args(["-y", &format!("hmac-sha256:{key}:{secret}"), name, kind])
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let mut lines: Vec<String> = text.lines().map(str::to_owned).collect();
        lines.sort();
        lines
    }

    /// Changes the zone as somebody else would.
    pub(crate) fn nsupdate(&self, lines: &str) {
        let mut child = Command::new("nsupdate")
            .args(["-v", "-y", &format!("hmac-sha256:weir:{KEY}")])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let (ip, port) = (self.place.ip(), self.place.port());
        let text = format!("server {ip} {port}\n{lines}\nsend\n");
        let mut input = child.stdin.take().unwrap();
        input.write_all(text.as_bytes()).unwrap();
        drop(input);
        let output = child.wait_with_output().unwrap();
        assert!(output.status.success(), "{lines}: {output:?}");
    }
}

impl Drop for Bind {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Waits until `look` sees what is wanted; else it says what it saw instead.
pub(crate) async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<T, String>) -> T {
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
