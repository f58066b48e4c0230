//! `weir demo`: simulator, controller and API in one process, and a short play.
//!
//! The stack is built on the simulator's `lab` profile, which takes the time that a small real
//! CloudStack took. Every line of the narration is read off the controller's API or the
//! simulator's world; at the end of each act the world must be what it was before.

use std::{
    io::{self, Write as _},
    path::Path,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio::{net::TcpListener, task::JoinSet, time::Instant};
use tokio_util::sync::CancellationToken;

use super::{
    Controller, ControllerConfig,
    live::{self, Live, Plain},
    sim::endpoint,
};
use crate::{
    api::{
        AuthOptions,
        client::{Client, ListOptions},
    },
    cli::args::DemoArgs,
    clock::Clock,
    controller::Ids,
    sim::{Breakage, Profile, Rule, Sim, SimConfig, Who},
    telemetry,
    types::{
        admission::{self, FieldValidation},
        core::Event,
        meta::{Kind, Object, ObjectKey},
        stack::{ClearwaterStack, StackStatus},
    },
};

/// The manifest that the demo applies.
const MANIFEST: &str = include_str!("../../manifests/demo.yaml");

/// Longest time that anything in the play may take before the demo gives up.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often the events of an act are looked for, 50 ms apart, before it goes on without them.
const TELLING: usize = 60;

/// `weir demo`.
///
/// # Errors
/// Something did not start, or did not converge; then what was seen last is told.
pub async fn demo(args: DemoArgs) -> Result<()> {
    if std::env::var_os("RUST_LOG").is_some() {
        telemetry::start_logging(telemetry::LogFormat::Text);
    }
    let mut signals = JoinSet::new();
    let signal = super::stop_on_signal(&mut signals)?;
    let kept = args.keep.clone();
    let temporary = tempfile::tempdir().context("cannot make a temporary folder")?;
    let state = kept.unwrap_or_else(|| temporary.path().to_owned());
    let stage = Stage::set(&state).await?;
    let mut live = Live::new(if args.plain {
        Plain::Asked
    } else {
        Plain::Unasked
    });
    let play = async {
        stage.build(&mut live).await?;
        stage.play(&mut live).await
    };
    tokio::select! {
        played = play => played?,
        () = signal.cancelled() => return stage.end().await,
    }
    if !args.exit {
        stage.say_what_next(&args)?;
        signal.cancelled().await;
    }
    stage.end().await
}

/// Everything that runs during the demo.
struct Stage {
    sim: Sim,
    sim_url: String,
    controller: Controller,
    client: Client,
    stack: ObjectKey,
    stop: CancellationToken,
    servers: JoinSet<io::Result<()>>,
}

impl Stage {
    async fn set(state: &Path) -> Result<Self> {
        let clock = Clock::system();
        let sim = Sim::new(SimConfig {
            profile: Profile::Lab,
            seed: 1,
            clock: clock.clone(),
            state_file: None,
        });
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let sim_url = endpoint(listener.local_addr()?);
        let stop = CancellationToken::new();
        let mut servers = JoinSet::new();
        let (serving, token) = (sim.clone(), stop.clone());
        servers.spawn(async move { serving.serve(listener, token).await });
        let controller = Controller::start(ControllerConfig {
            state: state.to_owned(),
            etcd: None,
            keys: None,
            listen: ([127, 0, 0, 1], 0).into(),
            auth: AuthOptions::default(),
            audit: None,
            clock,
            ids: Ids::random(),
        })
        .await?;
        let client = Client::from_kubeconfig(&controller.kubeconfig, None)?;
        say(&format!("simulated CloudStack   {sim_url}"))?;
        say(&format!(
            "controller and API     https://{}",
            controller.address
        ))?;
        say(&format!("state                  {}", state.display()))?;
        let stack = ObjectKey::new(Kind::ClearwaterStack, "default", "ims");
        Ok(Self {
            sim,
            sim_url,
            controller,
            client,
            stack,
            stop,
            servers,
        })
    }

    /// Applies account and stack, and follows the stack until it is ready.
    async fn build(&self, live: &mut Live) -> Result<()> {
        let keys = self.sim.credentials(Who::Tenant);
        self.apply(json!({
            "apiVersion": "v1", "kind": "Secret",
            "metadata": {"name": "demo-keys", "namespace": "default"},
            "data": {
                "apiKey": STANDARD.encode(keys.api_key),
                "secretKey": STANDARD.encode(keys.secret_key),
            },
        }))
        .await?;
        self.apply(json!({
            "apiVersion": "weir.dev/v1alpha1", "kind": "CloudAccount",
            "metadata": {"name": "demo", "namespace": "default"},
            "spec": {
                "endpoint": self.sim_url, "secretRef": {"name": "demo-keys"},
                "resyncInterval": "1s",
            },
        }))
        .await?;
        say("")?;
        say("weir apply -f manifests/demo.yaml")?;
        for object in admission::parse(MANIFEST, "manifests/demo.yaml")? {
            self.apply(serde_json::to_value(object)?).await?;
        }
        let started = Instant::now();
        let mut shown = String::new();
        self.until(|status| {
            if live.is_on() {
                live.draw(&live::roles(status, started.elapsed()))?;
                return Ok(ready(status));
            }
            let line = progress(status, started.elapsed());
            if line.0 != shown {
                shown.clone_from(&line.0);
                say(&line.1)?;
            }
            Ok(ready(status))
        })
        .await
        .context("the stack did not come up")?;
        live.leave();
        say(&format!(
            "Ready after {:.1} s.",
            started.elapsed().as_secs_f64()
        ))
    }

    async fn apply(&self, object: Value) -> Result<()> {
        let object: Object = serde_json::from_value(object)?;
        self.client
            .apply(&object, false, FieldValidation::Strict)
            .await?;
        Ok(())
    }

    /// Three acts; each ends with the world as it was.
    async fn play(&self, live: &mut Live) -> Result<()> {
        let vm = |role: &str| format!("ims-{role}-0");
        self.act(
            live,
            "Act 1: a sprout's VM dies",
            Breakage::StopVm { vm: vm("sprout") },
        )
        .await?;
        let rule = Rule {
            port: Some(5060),
            protocol: Some("udp".to_owned()),
            ..Rule::default()
        };
        self.act(
            live,
            "Act 2: somebody closes the SIP port",
            Breakage::ClosePort { rule },
        )
        .await?;
        self.act(
            live,
            "Act 3: somebody moves bono's public address to homer",
            Breakage::MoveAddress {
                address: vm("bono"),
                to: "ims-homer-0".to_owned(),
            },
        )
        .await
    }

    async fn act(&self, live: &mut Live, title: &str, breakage: Breakage) -> Result<()> {
        let before = self.shape();
        say("")?;
        say(title)?;
        let last = self.last_event().await?;
        let done = self.sim.break_it(breakage).map_err(anyhow::Error::msg)?;
        let started = Instant::now();
        say(&format!("  0.0 s  {done}"))?;
        let mut seen = false;
        self.until(|status| {
            seen |= !status.drift.is_empty() || !ready(status);
            live.draw(&[live::now(status, started.elapsed())])?;
            Ok(seen && ready(status))
        })
        .await
        .with_context(|| format!("{title}: not repaired"))?;
        let after = started.elapsed();
        live.draw(&[])?;
        for event in self.told_since(last).await? {
            say(&format!("         {}", narrated(&event)))?;
        }
        if self.shape() != before {
            bail!("{title}: the world is not what it was: {}", self.shape());
        }
        say(&format!(
            "  {:.1} s  repaired; the cloud is as it was",
            after.as_secs_f64()
        ))
    }

    /// What the play is about, read off the simulator itself: who runs, which rules there are,
    /// where each address leads.
    fn shape(&self) -> Value {
        let overview = self.sim.overview();
        let pick = |list: &str, fields: &[&str]| {
            let rows = overview[list].as_array().cloned().unwrap_or_default();
            let mut rows: Vec<Value> = rows
                .iter()
                .map(|row| fields.iter().map(|field| row[*field].clone()).collect())
                .collect();
            rows.sort_by_key(ToString::to_string);
            Value::Array(rows)
        };
        let rules = overview["rules"]
            .as_array()
            .into_iter()
            .flatten()
            .map(|list| {
                let rules = list["rules"].as_array().cloned().unwrap_or_default();
                let texts = rules.iter().map(|rule| {
                    format!("{} {} {}", rule["number"], rule["protocol"], rule["ports"])
                });
                texts.collect::<Vec<_>>()
            });
        json!({
            "vms": pick("vms", &["name", "state", "ip"]),
            "addresses": pick("addresses", &["ip", "vm"]),
            "rules": rules.collect::<Vec<_>>(),
        })
    }

    async fn events(&self) -> Result<Vec<Event>> {
        let list = self
            .client
            .list(Kind::Event, Some("default"), &ListOptions::default())
            .await?;
        let mut events: Vec<Event> = list
            .items
            .iter()
            .filter_map(|object| object.decode().ok())
            .collect();
        events.sort_by_key(|event| event.last_timestamp);
        Ok(events)
    }

    async fn last_event(&self) -> Result<Option<jiff::Timestamp>> {
        Ok(self
            .events()
            .await?
            .last()
            .and_then(|event| event.last_timestamp))
    }

    /// What was told since, with the repair at its end: events are written a moment after the
    /// status that they speak of.
    async fn told_since(&self, last: Option<jiff::Timestamp>) -> Result<Vec<Event>> {
        let mut events = Vec::new();
        for _ in 0..TELLING {
            events = self.events_after(last).await?;
            if events.iter().any(|event| event.reason == "DriftRepaired") {
                break;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        Ok(events)
    }

    /// Drift, steps and repairs that were told since.
    async fn events_after(&self, last: Option<jiff::Timestamp>) -> Result<Vec<Event>> {
        let told = ["DriftDetected", "Step", "DriftRepaired"];
        let fresh =
            |event: &Event| event.last_timestamp > last && told.contains(&event.reason.as_str());
        Ok(self
            .events()
            .await?
            .into_iter()
            .filter(|event| fresh(event))
            .collect())
    }

    /// Follows the stack's status until `done` says so.
    async fn until(&self, mut done: impl FnMut(&StackStatus) -> Result<bool>) -> Result<()> {
        let mut last = String::new();
        let follow = async {
            loop {
                let object = self
                    .client
                    .get(&self.stack)
                    .await?
                    .context("the stack is gone")?;
                let mut version = object.metadata.resource_version.clone();
                if let Some(status) = status_of(&object) {
                    last = describe(&status);
                    if done(&status)? {
                        return Ok(());
                    }
                }
                let field = format!("metadata.name={}", self.stack.name);
                let mut watch = self
                    .client
                    .watch(
                        Kind::ClearwaterStack,
                        Some("default"),
                        Some(&field),
                        Some(&version),
                    )
                    .await?;
                while let Some(Ok(item)) = watch.next().await {
                    version.clone_from(&item.object.metadata.resource_version);
                    if let Some(status) = status_of(&item.object) {
                        last = describe(&status);
                        if done(&status)? {
                            return Ok(());
                        }
                    }
                }
            }
        };
        match tokio::time::timeout(PATIENCE, follow).await {
            Ok(result) => result,
            Err(_) => bail!("nothing for {} s; last seen: {last}", PATIENCE.as_secs()),
        }
    }

    fn say_what_next(&self, args: &DemoArgs) -> Result<()> {
        let config = self.controller.kubeconfig.display();
        let folder = self
            .controller
            .kubeconfig
            .parent()
            .unwrap_or(Path::new("."));
        let authority = folder.join("tls/ca.crt");
        let sim = self.sim_url.trim_end_matches("/client/api");
        let stay = if args.keep.is_some() {
            ""
        } else {
            " (the state goes when the demo ends)"
        };
        say(&format!(
            "\nIt stays up{stay}. In another terminal:\n\
             {}\x20 export KUBECONFIG={config}\n\
             \x20 weir get machines -o wide\n\
             \x20 weir watch ims\n\
             \x20 weir sim break stop-vm ims-bono-1 --at {sim}\n\
             \x20 weir describe machine ims-bono-1\n\
             \x20 weir scale ims sprout=3\n\
             \x20 kubectl get cws -w\n\
             \x20 curl --cacert {} https://{}/metrics\n\
             Ctrl-C ends it.",
            path_hint(),
            authority.display(),
            self.controller.address
        ))
    }

    async fn end(mut self) -> Result<()> {
        self.controller.stop().await;
        self.stop.cancel();
        while self.servers.join_next().await.is_some() {}
        Ok(())
    }
}

/// An event of the controller's as the play tells it.
fn narrated(event: &Event) -> String {
    match event.reason.as_str() {
        "Step" => format!("repair: {}", event.message),
        "DriftRepaired" => format!("done: {}", event.message),
        _ => event.message.clone(),
    }
}

/// How to make `weir` a command, where it is none.
fn path_hint() -> String {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let known = std::env::split_paths(&path).any(|folder| folder.join("weir").is_file());
    let here = std::env::current_exe().ok();
    let folder = here.as_deref().and_then(Path::parent).filter(|_| !known);
    folder.map_or_else(String::new, |folder| {
        format!("  export PATH={}:$PATH\n", folder.display())
    })
}

fn status_of(object: &Object) -> Option<StackStatus> {
    object.decode::<ClearwaterStack>().ok()?.status
}

/// Ready, in sync, and with nothing on its way.
fn ready(status: &StackStatus) -> bool {
    status.phase == "Ready"
        && status.drift.is_empty()
        && status.ready_replicas == status.replicas
        && status.ledger.pending.is_empty()
}

/// A line of progress: what must differ for it to be worth a line, and the line.
fn progress(status: &StackStatus, elapsed: Duration) -> (String, String) {
    let doing = live::running(status);
    let key = format!("{}/{} {doing}", status.ready_replicas, status.replicas);
    let bar = live::bar(status.ready_replicas, status.replicas);
    let line = format!(
        "{:>5.1} s  {bar} {}/{} ready  {doing}",
        elapsed.as_secs_f64(),
        status.ready_replicas,
        status.replicas
    );
    (key, line)
}

fn describe(status: &StackStatus) -> String {
    let conditions: Vec<String> = status
        .conditions
        .iter()
        .map(|condition| {
            format!(
                "{}={:?} ({})",
                condition.kind, condition.status, condition.message
            )
        })
        .collect();
    format!("{}: {}", status.phase, conditions.join("; "))
}

fn say(line: &str) -> Result<()> {
    writeln!(io::stdout(), "{line}").context("cannot write to the terminal")
}
