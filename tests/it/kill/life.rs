//! One stack from its create to its delete, with a controller that is killed again and again.

use std::{
    fmt,
    sync::{Arc, Mutex},
    time::Duration,
};

use futures_util::future::BoxFuture;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use weir::{
    clock::Clock,
    sim::{Breakage, Profile, Sim, SimConfig},
    types::{
        meta::{API_VERSION, Kind, ObjectKey},
        stack::StackStatus,
    },
};

use crate::support::manifest;

use super::{
    audit::{Audit, Strangers, is_settled, verdict},
    gate::{Gate, Moment},
    process::Process,
    script::{KILLS, Rights, Script, Wound},
    user::{User, stack_key},
};

/// How often a level is looked at.
const GLANCE: Duration = Duration::from_millis(25);

/// How often one job is asked for at most.
const ASKED_MAX: usize = 40;

/// Wounds that are dealt at most while waiting for the kills of a repair: many repairs are over
/// before their moment comes.
const WOUNDS_MAX: usize = 24;

/// See the module.
pub(super) struct Life {
    pub(super) sim: Sim,
    pub(super) gate: Gate,
    pub(super) process: Arc<Process>,
    script: Mutex<Script>,
    rights: Rights,
    patience: Duration,
    user: User,
    /// What the manifest says, with the changes so far.
    spec: Mutex<Value>,
    strangers: Strangers,
    /// VM records that the stack may have made by now.
    may_have_made: Mutex<u64>,
    vms_before: u64,
    stop: CancellationToken,
    _tasks: TaskTracker,
    _dir: tempfile::TempDir,
}

/// How many kills hit each act.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Kills {
    pub(super) create: usize,
    pub(super) repair: usize,
    pub(super) delete: usize,
}

impl fmt::Display for Kills {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { create, repair, .. } = self;
        write!(
            f,
            "{create} in the create, {repair} in repairs, {} in the delete",
            self.delete
        )
    }
}

impl Life {
    /// A cloud with strangers in it, and a controller that is not started yet.
    pub(super) async fn begin(script: Script) -> Self {
        let clock = Clock::system();
        let sim = Sim::new(SimConfig {
            profile: script.profile,
            seed: script.seed,
            clock,
            state_file: None,
        });
        let stop = CancellationToken::new();
        let tasks = TaskTracker::new();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let cloud = format!("http://{}/client/api", listener.local_addr().unwrap());
        let (serving, token) = (sim.clone(), stop.clone());
        tasks.spawn(async move { serving.serve(listener, token).await.unwrap() });
        let dir = tempfile::tempdir().unwrap();
        let process = Arc::new(Process::new(dir.path()));
        let (gate, url) = Gate::open(sim.clone(), cloud, Arc::clone(&process), stop.clone()).await;
        let strangers = Strangers::move_in(&sim, script.rights).await;
        let slow = script.profile != Profile::Instant || script.pace < 100;
        let life = Self {
            rights: script.rights,
            patience: Duration::from_secs(if slow { 240 } else { 120 }),
            user: User::of(&process),
            spec: Mutex::new(script.rights.spec()),
            vms_before: sim.world(|world| world.totals.vms),
            strangers,
            may_have_made: Mutex::new(6),
            script: Mutex::new(script),
            sim,
            gate,
            process,
            stop,
            _tasks: tasks,
            _dir: dir,
        };
        life.process.start();
        life.apply_account(&url).await;
        life
    }

    /// The three acts; whatever is wrong at the end of one ends it.
    pub(super) async fn lived(&self) -> Result<Kills, String> {
        let create = self.create().await?;
        self.audited("the create").await?;
        let repair = self.repair().await?;
        self.audited("the repairs").await?;
        let delete = self.delete().await?;
        self.audited_gone().await?;
        Ok(Kills {
            create,
            repair,
            delete,
        })
    }

    async fn create(&self) -> Result<usize, String> {
        let moments = self.script(Script::moments_of_create);
        self.gate.note("apply");
        let stack = json!({
            "apiVersion": API_VERSION, "kind": "ClearwaterStack",
            "metadata": {"name": "ims", "namespace": "default"},
            "spec": *self.spec.lock().unwrap(),
        });
        let mut kills = 0;
        let mut first = true;
        for moment in moments {
            self.gate.arm(moment);
            if std::mem::take(&mut first) {
                self.apply(stack.clone()).await?;
            }
            kills += usize::from(self.struck_before(&moment, self.settled()).await?);
        }
        self.within("ready", self.settled()).await?;
        Ok(kills)
    }

    async fn repair(&self) -> Result<usize, String> {
        let mut kills = 0;
        for _ in 0..WOUNDS_MAX {
            let wound = self
                .sim
                .world(|world| self.script(|script| script.wound(world)));
            let moment = self.script(|script| script.moment_of_repair(&wound));
            self.gate.arm(moment);
            if !self.deal(&wound).await? {
                self.gate.disarm();
                continue;
            }
            let mut struck = self.struck_before(&moment, self.settled()).await?;
            kills += usize::from(struck);
            // Several kills in one repair are worse than one in each of several.
            while struck && kills < KILLS {
                let moment = self.script(|script| script.moment_of_repair(&wound));
                self.gate.arm(moment);
                struck = self.struck_before(&moment, self.settled()).await?;
                kills += usize::from(struck);
            }
            self.within("repaired", self.settled()).await?;
            if kills >= KILLS {
                break;
            }
        }
        Ok(kills)
    }

    async fn delete(&self) -> Result<usize, String> {
        let moments = self.script(Script::moments_of_delete);
        self.gate.note("delete");
        let mut kills = 0;
        let mut first = true;
        for moment in moments {
            self.gate.arm(moment);
            if std::mem::take(&mut first) {
                self.delete_object(&stack_key()).await?;
            }
            kills += usize::from(self.struck_before(&moment, self.gone()).await?);
        }
        self.within("gone", self.gone()).await?;
        Ok(kills)
    }

    fn script<R>(&self, draw: impl FnOnce(&mut Script) -> R) -> R {
        draw(&mut self.script.lock().unwrap())
    }

    /// Deals a wound, if that can be done.
    async fn deal(&self, wound: &Wound) -> Result<bool, String> {
        *self.may_have_made.lock().unwrap() += wound.costs();
        match wound {
            Wound::Broken(breakage) => match self.sim.break_it(breakage.clone()) {
                Ok(done) => self.gate.note(format_args!("wound: {done}")),
                // What is not there cannot be broken, and what is broken not twice.
                Err(refused) => {
                    self.gate.note(format_args!("no wound: {refused}"));
                    return Ok(false);
                }
            },
            Wound::Replaced(machine) => {
                self.gate
                    .note(format_args!("wound: Machine {machine} is deleted"));
                let key = ObjectKey::new(Kind::Machine, "default", machine.as_str());
                self.delete_object(&key).await?;
            }
            Wound::Changed(change, _) => {
                self.gate
                    .note(format_args!("wound: the manifest is changed by {change}"));
                json_patch::merge(&mut self.spec.lock().unwrap(), change);
                let patch = json!({"spec": change});
                let key = stack_key();
                self.within("patch", self.user.patch(&key, &patch))
                    .await??;
            }
        }
        Ok(true)
    }

    /// Waits for the armed moment, or for the end of what is under way; says whether the moment
    /// came first. After it the controller runs again.
    async fn struck_before(
        &self,
        moment: &Moment,
        over: BoxFuture<'_, ()>,
    ) -> Result<bool, String> {
        let first = async {
            tokio::select! {
                biased;
                () = self.gate.struck() => true,
                () = over => false,
            }
        };
        let struck = self.within(&format!("{moment}, or the end"), first).await?;
        if !struck && self.gate.disarm() {
            return Ok(false);
        }
        if !struck {
            self.within("dead", self.gate.struck()).await?;
        }
        if moment.restart {
            let done = self.sim.break_it(Breakage::RestartManagementServer)?;
            self.gate.note(done);
        }
        tokio::time::sleep(Duration::from_millis(moment.pause)).await;
        self.process.start();
        if let Some(millis) = moment.stumble {
            tokio::time::sleep(Duration::from_millis(millis)).await;
            self.process.kill();
            self.gate.note("killed once more");
            self.process.start();
        }
        Ok(struck)
    }

    /// Waits for a level, as long as patience lasts.
    async fn within<T>(&self, what: &str, level: impl Future<Output = T>) -> Result<T, String> {
        let waited = tokio::time::timeout(self.patience, level).await;
        match waited {
            Ok(reached) => Ok(reached),
            Err(_) => {
                let status = self.status().await;
                let text = serde_json::to_string_pretty(&status).unwrap();
                Err(format!("not within {:?}: {what}; {text}", self.patience))
            }
        }
    }

    /// Three further looks, and then a stack that is ready, in sync and idle.
    fn settled(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            self.looked().await;
            while !self.is_settled().await {
                tokio::time::sleep(GLANCE).await;
            }
        })
    }

    async fn is_settled(&self) -> bool {
        let Ok(Some(stack)) = self.user.stack().await else {
            return false;
        };
        is_settled(&stack) && self.user.machines_stay().await
    }

    async fn looked(&self) {
        let enough = self.gate.looks() + 3;
        while self.gate.looks() < enough {
            tokio::time::sleep(GLANCE).await;
        }
    }

    fn gone(&self) -> BoxFuture<'_, ()> {
        Box::pin(async {
            while !matches!(self.user.stack().await, Ok(None)) {
                tokio::time::sleep(GLANCE).await;
            }
        })
    }

    async fn audited(&self, act: &str) -> Result<(), String> {
        let stack = self.user.stack().await?.ok_or("the stack is gone")?;
        let audit = Audit::of(&self.sim, &self.strangers);
        let mut wrong = audit.against(&stack);
        wrong.extend(self.too_many_vms());
        wrong.extend(self.too_many_questions());
        wrong.extend(self.bad_words());
        let writes = self.gate.writes();
        self.within("three more looks", self.looked()).await?;
        if self.gate.writes() > writes {
            wrong.push("a further resync writes".to_owned());
        }
        verdict(act, &wrong)
    }

    async fn audited_gone(&self) -> Result<(), String> {
        let audit = Audit::of(&self.sim, &self.strangers);
        let mut wrong = audit.gone(usize::from(self.rights == Rights::Plain));
        wrong.extend(self.too_many_vms());
        wrong.extend(self.too_many_questions());
        wrong.extend(self.bad_words());
        let machines = self.within("list", self.user.list(Kind::Machine)).await??;
        for machine in machines {
            wrong.push(format!("the Machine {} is left", machine.metadata.name));
        }
        verdict("the delete", &wrong)
    }

    /// Replicas, those that were lost, the surge, and three.
    fn too_many_vms(&self) -> Option<String> {
        let made = self.sim.world(|world| world.totals.vms) - self.vms_before;
        let bound = *self.may_have_made.lock().unwrap() + 1 + 3;
        (made > bound).then(|| format!("{made} VM records were made, at most {bound} may be"))
    }

    /// A job that CloudStack does not know is asked for at each look, for as long as its request
    /// may be on its way, and not as fast as rounds can be.
    fn too_many_questions(&self) -> Option<String> {
        let asked = self.gate.asked_most();
        (asked > ASKED_MAX).then(|| format!("a job was asked for {asked} times"))
    }

    /// What a healthy controller never says.
    fn bad_words(&self) -> Vec<String> {
        let log = self.process.log();
        let bad = log.lines().filter(|line| {
            ["panicked", "step refused", " ERROR "]
                .iter()
                .any(|word| line.contains(word))
        });
        let mut bad: Vec<String> = bad.map(|line| format!("it said: {line}")).collect();
        if !self.process.runs() {
            bad.push("it ended by itself".to_owned());
        }
        bad
    }

    /// Everything that helps to understand a failure.
    pub(super) fn testimony(&self) -> String {
        let log = self.process.log();
        let lines: Vec<&str> = log.lines().collect();
        let tail = lines[lines.len().saturating_sub(60)..].join("\n");
        format!(
            "── requests\n{}\n── log\n{tail}\n── world\n{:#}",
            self.gate.log(),
            self.sim.overview()
        )
    }

    async fn apply_account(&self, url: &str) {
        let pace = self.script(|script| script.pace);
        let secret = manifest::keys(&self.sim, self.rights.who());
        let account = json!({
            "apiVersion": API_VERSION, "kind": "CloudAccount",
            "metadata": {"name": "cloud", "namespace": "default"},
            "spec": {
                "endpoint": url, "secretRef": {"name": "keys"},
                "resyncInterval": "1s", "auditInterval": "1s",
                "limits": {"requestsPerSecond": pace},
            },
        });
        for object in [secret, account] {
            self.apply(object).await.unwrap();
        }
    }

    async fn apply(&self, object: Value) -> Result<(), String> {
        self.within("apply", self.user.apply(object)).await?
    }

    async fn delete_object(&self, key: &ObjectKey) -> Result<(), String> {
        self.within("delete", self.user.delete(key)).await?
    }

    async fn status(&self) -> Option<StackStatus> {
        self.user
            .stack()
            .await
            .ok()
            .flatten()
            .and_then(|stack| stack.status)
    }
}

impl Drop for Life {
    fn drop(&mut self) {
        self.process.kill();
        self.stop.cancel();
    }
}
