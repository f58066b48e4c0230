//! A simulated CloudStack as a process, with strangers in it, and a controller beside it.

use std::{
    fs::{self, File},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{Arc, Mutex},
    time::Duration,
};

use serde_json::{Value, json};
use weir::{
    clock::Clock,
    sim::{Profile, Sim, SimConfig, World, world::Vm},
    types::{
        action::mark,
        meta::{API_VERSION, Kind, ObjectKey},
        stack::ClearwaterStack,
    },
};

use crate::{
    kill::{
        audit::{Audit, Strangers, is_settled, verdict},
        process::Process,
        script::Rights,
        user::{User, stack_key},
    },
    support::{manifest, stage::reads},
};

/// Longest wait for a level. Far more than a machine of two cores needs, under any load.
pub(super) const PATIENCE: Duration = Duration::from_secs(120);

/// How often a level is looked at.
const GLANCE: Duration = Duration::from_millis(25);

/// `weir sim`, and what is somebody else's in it.
pub(super) struct Cloud {
    pub(super) strangers: Strangers,
    pub(super) endpoint: String,
    keys: Value,
    folder: PathBuf,
    http: reqwest::Client,
    child: Mutex<Child>,
}

impl Cloud {
    /// Starts one whose jobs take no time; its world is kept in `folder`.
    pub(super) async fn begin(folder: &Path, seed: u64, rights: Rights) -> Self {
        let furnished = Sim::new(SimConfig {
            profile: Profile::Instant,
            seed,
            clock: Clock::system(),
            state_file: Some(folder.join("world.json")),
        });
        let strangers = Strangers::move_in(&furnished, rights).await;
        let keys = manifest::keys(&furnished, rights.who());
        drop(furnished);
        let log = File::create(folder.join("sim.log")).unwrap();
        let words =
            "sim --listen 127.0.0.1:0 --profile instant --env-file sim.env --state world.json";
        let child = Command::new(env!("CARGO_BIN_EXE_weir"))
            .args(words.split(' '))
            .current_dir(folder)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn()
            .expect("the binary starts");
        let mut cloud = Self {
            strangers,
            endpoint: String::new(),
            keys,
            folder: folder.to_owned(),
            http: weir::http::client().build().unwrap(),
            child: Mutex::new(child),
        };
        cloud.endpoint = until("the simulator's env file is whole", async || {
            let text = fs::read_to_string(folder.join("sim.env")).unwrap_or_default();
            let whole = text.contains("CLOUDSTACK_SECRET_TENANT=") && text.ends_with('\n');
            let line = text.lines().next().filter(|_| whole);
            let endpoint = line.and_then(|line| line.strip_prefix("CLOUDSTACK_ENDPOINT="));
            endpoint.map(str::to_owned).ok_or(text.clone())
        })
        .await
        .unwrap();
        cloud
    }

    /// Asks the admin API.
    pub(super) async fn ask(&self, method: &str, path: &str, body: &Value) -> Value {
        let server = self.endpoint.strip_suffix("/client/api").unwrap();
        let request = self
            .http
            .request(method.parse().unwrap(), format!("{server}/sim/{path}"));
        let request = match body {
            Value::Null => request,
            body => request.body(body.to_string()),
        };
        let answer = request.send().await.expect("the simulator answers");
        serde_json::from_slice(&answer.bytes().await.unwrap()).unwrap()
    }

    /// The commands received since they were last forgotten, in their order.
    pub(super) async fn commands(&self) -> Vec<String> {
        let requests = self.ask("GET", "requests", &Value::Null).await;
        let requests = requests.as_array().unwrap().iter();
        requests
            .map(|request| request["command"].as_str().unwrap().to_owned())
            .collect()
    }

    /// The world as it was last written down; a large one is written a little later.
    pub(super) fn world(&self) -> World {
        let text = fs::read(self.folder.join("world.json")).unwrap();
        serde_json::from_slice(&text).expect("a world is replaced as a whole")
    }

    /// The world as it is now: a setting that nothing heeds is changed, and then waited for.
    pub(super) async fn world_now(&self) -> Result<World, String> {
        let mark = !self.world().settings.webhooks_to_loopback;
        let setting = json!({"webhooks.to.loopback": mark});
        let told = self.ask("PATCH", "settings", &setting).await;
        until("the world is written down", async || {
            let world = self.world();
            let written = world.settings.webhooks_to_loopback == mark;
            written.then_some(world).ok_or_else(|| told.to_string())
        })
        .await
    }

    /// Ends it and gives its world, which can be asked further.
    pub(super) async fn end(&self) -> Sim {
        signal(self.child.lock().unwrap().id(), "TERM");
        until("the simulator ends", async || {
            let ended = self.child.lock().unwrap().try_wait().unwrap();
            ended.ok_or("it runs".to_owned())
        })
        .await
        .unwrap();
        Sim::new(SimConfig {
            profile: Profile::Instant,
            seed: 0,
            clock: Clock::system(),
            state_file: Some(self.folder.join("world.json")),
        })
    }
}

impl Drop for Cloud {
    fn drop(&mut self) {
        let mut child = self.child.lock().unwrap();
        // It may have ended.
        let _ = child.kill();
        let _ = child.wait();
    }
}

/// A cloud and a controller in a folder of their own.
pub(super) struct Bed {
    pub(super) cloud: Cloud,
    pub(super) process: Arc<Process>,
    pub(super) user: User,
    pub(super) rights: Rights,
    dir: tempfile::TempDir,
}

impl Bed {
    /// A cloud, and a controller that is not started yet.
    pub(super) async fn make(seed: u64, rights: Rights) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let state = dir.path().join("state");
        Self::over(dir, state, seed, rights).await
    }

    /// The same, with the state of the controller elsewhere.
    pub(super) async fn make_in(state: PathBuf, seed: u64, rights: Rights) -> Self {
        Self::over(tempfile::tempdir().unwrap(), state, seed, rights).await
    }

    async fn over(dir: tempfile::TempDir, state: PathBuf, seed: u64, rights: Rights) -> Self {
        let cloud = Cloud::begin(dir.path(), seed, rights).await;
        let process = Arc::new(Process::keeping(dir.path(), state));
        Self {
            user: User::of(&process),
            cloud,
            process,
            rights,
            dir,
        }
    }

    /// What `/readyz` says: the status, and the words.
    pub(super) async fn readyz(&self) -> String {
        let kubeconfig = fs::read_to_string(self.process.kubeconfig()).unwrap();
        let server = kubeconfig.split("https://").nth(1).unwrap();
        let url = format!("https://{}/readyz", server.lines().next().unwrap());
        let client = weir::http::client().tls_danger_accept_invalid_certs(true);
        let answer = client.build().unwrap().get(url).send().await.unwrap();
        format!("{} {}", answer.status(), answer.text().await.unwrap())
    }

    /// Gives the controller its account, which it reaches at `endpoint`.
    pub(super) async fn account(&self, endpoint: &str) {
        let limits = json!({"requestsPerSecond": 500});
        self.account_with(endpoint, &limits).await;
    }

    /// The same with limits of the account.
    pub(super) async fn account_with(&self, endpoint: &str, limits: &Value) {
        let account = json!({
            "apiVersion": API_VERSION, "kind": "CloudAccount",
            "metadata": {"name": "cloud", "namespace": "default"},
            "spec": {
                "endpoint": endpoint, "secretRef": {"name": "keys"},
                "resyncInterval": "1s", "auditInterval": "1s",
                "limits": limits,
            },
        });
        for object in [self.cloud.keys.clone(), account] {
            within("apply", self.user.apply(object))
                .await
                .unwrap()
                .unwrap();
        }
    }

    /// The spec of a stack that is repaired as often as the tests break it.
    pub(super) fn spec(&self) -> Value {
        let mut spec = self.rights.spec();
        spec["remediation"] = json!({"maxPerHour": 16, "maxUnhealthy": "100%"});
        spec
    }

    /// The stack with this spec.
    pub(super) fn stack(spec: &Value) -> Value {
        json!({
            "apiVersion": API_VERSION, "kind": "ClearwaterStack",
            "metadata": {"name": "ims", "namespace": "default"}, "spec": spec,
        })
    }

    /// Makes the stack be so.
    pub(super) async fn apply(&self, spec: &Value) -> Result<(), String> {
        within("apply", self.user.apply(Self::stack(spec))).await?
    }

    /// Changes the stack.
    pub(super) async fn change(&self, spec: &Value) -> Result<(), String> {
        let key = stack_key();
        within("patch", self.user.patch(&key, &json!({"spec": spec}))).await?
    }

    /// Deletes an object of the namespace `default`.
    pub(super) async fn delete(&self, kind: Kind, name: &str) -> Result<(), String> {
        let key = ObjectKey::new(kind, "default", name);
        within("delete", self.user.delete(&key)).await?
    }

    /// Waits for a stack that says that it is ready, in sync and idle.
    pub(super) async fn ready(&self) -> Result<(), String> {
        until("the stack is ready", async || {
            let stack = self.user.stack().await?.ok_or("there is no stack")?;
            let told = || serde_json::to_string_pretty(&stack.status).unwrap();
            is_settled(&stack).then_some(()).ok_or_else(told)
        })
        .await
    }

    /// Waits for a stack that is ready, in sync and idle, and stays so for three looks in which
    /// nothing is written.
    ///
    /// # Errors
    /// What it is instead, when patience is at its end.
    pub(super) async fn settled(&self) -> Result<ClearwaterStack, String> {
        until("the stack is settled", async || {
            self.cloud.ask("DELETE", "requests", &Value::Null).await;
            let (looks, writes) = loop {
                let commands = self.cloud.commands().await;
                let looks = commands.iter().filter(|one| *one == "listVPCs").count();
                let writes: Vec<String> = commands.into_iter().filter(|one| !reads(one)).collect();
                if looks >= 4 || !writes.is_empty() || !self.process.runs() {
                    break (looks, writes);
                }
                tokio::time::sleep(GLANCE).await;
            };
            let stack = self.user.stack().await?.ok_or("there is no stack")?;
            let told = || {
                let status = serde_json::to_string_pretty(&stack.status).unwrap();
                format!("{looks} looks, then {writes:?}; {status}")
            };
            if looks < 4 || !is_settled(&stack) || !self.user.machines_stay().await {
                return Err(told());
            }
            Ok(stack)
        })
        .await
    }

    /// The VM of a machine, as the world was last written down.
    pub(super) fn vm_of(&self, machine: &str) -> Option<String> {
        let world = self.cloud.world();
        let stands = |vm: &&Vm| {
            vm.details
                .get(mark::MACHINE)
                .is_some_and(|mark| mark == machine)
                && !vm.state.is_gone()
        };
        world.vms.values().find(stands).map(|vm| vm.id.clone())
    }

    /// A folder that goes with it.
    pub(super) fn folder(&self) -> PathBuf {
        self.dir.path().to_owned()
    }

    /// What is wrong with a stack that is settled, and with what the controller said.
    ///
    /// # Errors
    /// Something is, or it does not settle.
    pub(super) async fn audited(&self) -> Result<(), String> {
        let mut wrong = self.wrong().await?;
        wrong.extend(self.bad_words());
        verdict("at the end", &wrong)
    }

    /// What is wrong with a stack that is settled.
    ///
    /// # Errors
    /// It does not settle.
    pub(super) async fn wrong(&self) -> Result<Vec<String>, String> {
        let stack = self.settled().await?;
        let world = self.cloud.world_now().await?;
        let audit = Audit::in_world(world, &self.cloud.strangers);
        Ok(audit.against(&stack))
    }

    /// What is left of a stack that was deleted.
    pub(super) async fn audited_gone(&self) -> Result<(), String> {
        until("the stack is gone", async || {
            match self.user.stack().await? {
                None => Ok(()),
                Some(stack) => Err(serde_json::to_string_pretty(&stack.status).unwrap()),
            }
        })
        .await?;
        self.process.kill();
        let sim = self.cloud.end().await;
        let audit = Audit::of(&sim, &self.cloud.strangers);
        let mut wrong = audit.gone(usize::from(self.rights == Rights::Plain));
        wrong.extend(self.bad_words());
        verdict("after the delete", &wrong)
    }

    /// What a healthy controller never says.
    pub(super) fn bad_words(&self) -> Vec<String> {
        let log = self.process.log();
        let bad = log.lines().filter(|line| {
            let mut words = ["panicked", "step refused", " ERROR "].iter();
            words.any(|word| line.contains(word))
        });
        bad.map(|line| format!("it said: {line}")).collect()
    }

    /// The last that the controller said.
    pub(super) fn last_words(&self) -> String {
        let log = self.process.log();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(60)..].join("\n")
    }
}

/// Sends a signal, like `TERM`, to a process that a test started.
pub(super) fn signal(process: u32, name: &str) {
    let sent = Command::new("kill")
        .args([format!("-{name}"), process.to_string()])
        .status();
    assert!(sent.unwrap().success(), "kill -{name}");
}

/// Waits as long as patience lasts.
pub(super) async fn within<T>(what: &str, level: impl Future<Output = T>) -> Result<T, String> {
    let waited = tokio::time::timeout(PATIENCE, level).await;
    waited.map_err(|_| format!("not within {PATIENCE:?}: {what}"))
}

/// Waits until `look` sees what is wanted.
///
/// # Errors
/// What it saw last instead, when patience is at its end.
pub(super) async fn until<T>(
    what: &str,
    look: impl AsyncFn() -> Result<T, String>,
) -> Result<T, String> {
    let last = Mutex::new(String::new());
    let seen = async {
        loop {
            match look().await {
                Ok(seen) => return seen,
                Err(other) => *last.lock().unwrap() = other,
            }
            tokio::time::sleep(GLANCE).await;
        }
    };
    let seen = within(what, seen).await;
    seen.map_err(|late| format!("{late}; last seen: {}", last.lock().unwrap()))
}
