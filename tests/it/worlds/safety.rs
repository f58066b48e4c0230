//! What must never be, held against each command of the controller before it has its effect and
//! after it, and against each status that it writes.
//!
//! What only strangers did is not held against the controller, nor what it could not know: each
//! rule says how old a look may be.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};

use base64::{Engine, engine::general_purpose::STANDARD};
use futures_util::FutureExt;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::Value;
use weir::{
    plan::machine_names,
    sim::{
        Sim,
        world::{Vm, VmState, World},
    },
    store::Store,
    types::{
        action::{Action, mark},
        ledger::{Former, Ledger, MachineRecord},
        meta::{ConditionStatus, condition},
        role::Role,
        stack::ClearwaterStack,
    },
};

use crate::kill::{audit::Strangers, gate::parameter};

/// How much of what is wrong is kept.
const WRONG_MAX: usize = 20;

/// VM records beyond machines and surge: see `plan::budget`.
const SPARE_RECORDS: usize = 3;

/// How old a look may be on which a machine is taken away, and a second for its requests.
const FRESH: Duration = Duration::from_secs(3);

/// For how long a list that lied, or was slow, excuses what is decided.
const LIED: Duration = Duration::from_secs(90);

/// How long a status may say `Ready` of a machine that does not run: a resync, and the few looks
/// that may fail and are tried again ever more slowly before `Ready` is `Unknown`.
const TOLD_WITHIN: Duration = Duration::from_secs(8 * 60);

/// Faults after which a look shows less than there is.
const LIES: [&str; 5] = [
    "slow",
    "empty-list",
    "short-list",
    "gappy-list",
    "stale-list",
];

/// A stack as the store writes it down.
#[derive(Deserialize)]
struct Record {
    object: ClearwaterStack,
}

/// See the module.
pub(super) struct Watch {
    store: Store,
    /// What no status, event or log line may have in it.
    secret: String,
    state: Mutex<State>,
}

struct State {
    strangers: Arc<Strangers>,
    /// Machines that the controller took away and that have not served since.
    taken: BTreeSet<String>,
    /// Since when a VM is known to be gone.
    missing: BTreeMap<String, Timestamp>,
    /// How many lists have lied, and when the last was noticed.
    lies: u64,
    lied_at: Option<Timestamp>,
    /// When the controller last asked for a VM by its id and was told that there is none.
    denied: BTreeMap<String, Timestamp>,
    /// How many requests were in hand or on their way when a controller slept, died or lost its
    /// lease, and how many of those arrived when it did not lead any more.
    in_hand: usize,
    strayed: usize,
    wrong: Vec<String>,
}

impl State {
    fn wrong(&mut self, told: impl IntoIterator<Item = String>) {
        // Enough to understand; what is wrong once often stays so.
        let room = WRONG_MAX.saturating_sub(self.wrong.len());
        self.wrong.extend(told.into_iter().take(room));
    }

    fn notice_lies(&mut self, sim: &Sim) {
        let now = sim.world(|world| world.now());
        let lies = sim.struck().into_iter();
        let lies = lies.filter(|((kind, _), _)| LIES.contains(kind));
        let lies = lies.map(|(_, count)| count).sum();
        if lies > self.lies {
            (self.lies, self.lied_at) = (lies, Some(now));
        }
    }

    fn lied_lately(&self, now: Timestamp) -> bool {
        self.lied_at.is_some_and(|at| now < at + LIED)
    }

    /// Since when a machine does not serve; none if it does.
    fn away_since(
        &mut self,
        world: &World,
        name: &str,
        record: &MachineRecord,
    ) -> Option<Timestamp> {
        if serving(world, record).next().is_some() {
            self.missing.remove(name);
            return None;
        }
        let vm = record.vm.as_ref().and_then(|vm| world.vms.get(vm.as_str()));
        // One that stops tells since when it ran.
        let rests = |vm: &&Vm| vm.state != VmState::Stopping;
        let changed = vm.filter(rests).and_then(|vm| vm.updated);
        let noticed = || *self.missing.entry(name.to_owned()).or_insert(world.now());
        Some(changed.unwrap_or_else(noticed))
    }
}

impl Watch {
    pub(super) fn new(store: Store, secret: String, strangers: Arc<Strangers>) -> Self {
        let state = State {
            strangers,
            taken: BTreeSet::new(),
            missing: BTreeMap::new(),
            lies: 0,
            lied_at: None,
            denied: BTreeMap::new(),
            in_hand: 0,
            strayed: 0,
            wrong: Vec::new(),
        };
        Self {
            store,
            secret,
            state: Mutex::new(state),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    /// From now on these are the strangers.
    pub(super) fn strangers(&self, strangers: &Arc<Strangers>) {
        self.state().strangers = Arc::clone(strangers);
    }

    /// What was ever wrong.
    pub(super) fn wrong(&self) -> Vec<String> {
        self.state().wrong.clone()
    }

    /// Whether the secret is in a text, as it is or as it is stored.
    pub(super) fn betrays(&self, text: &str) -> bool {
        text.contains(&self.secret) || text.contains(&STANDARD.encode(&self.secret))
    }

    /// One that does not lead did what only the leader may.
    pub(super) fn usurped(&self, what: String) {
        self.state().wrong([what]);
    }

    /// One request may arrive from now on though its sender does not lead.
    pub(super) fn may_stray(&self) {
        self.state().in_hand += 1;
    }

    /// Such a request arrives.
    pub(super) fn strayed(&self, command: &str) {
        let mut state = self.state();
        state.strayed += 1;
        if state.strayed > state.in_hand {
            let (strayed, may) = (state.strayed, state.in_hand);
            let told = format!("{command} strayed: {strayed} did, and {may} were in hand");
            state.wrong([told]);
        }
    }

    fn stacks(&self) -> Vec<ClearwaterStack> {
        let listed = self.store.list_as(None).now_or_never();
        listed.expect("memory answers at once").unwrap()
    }

    /// Looks at the answer to a question.
    pub(super) fn answered(&self, sim: &Sim, command: &str, form: &[u8], body: &[u8]) {
        let id = match command {
            "listVirtualMachines" => parameter(form, "id"),
            _ => return,
        };
        if id.is_empty() {
            return;
        }
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let inside = body.as_object().and_then(|body| body.values().next());
        let none = inside.and_then(Value::as_object).is_some_and(|inside| {
            let refused = inside.get("errorcode").is_some_and(|code| *code == 431);
            refused || inside.is_empty()
        });
        if none {
            let now = sim.world(|world| world.now());
            self.state().denied.insert(id, now);
        }
    }

    /// Looks at a command that is about to have its effect.
    pub(super) fn before(&self, sim: &Sim, command: &str, form: &[u8]) {
        let id = |name: &str| parameter(form, name);
        let told: Vec<String> = match command {
            "stopVirtualMachine"
            | "rebootVirtualMachine"
            | "destroyVirtualMachine"
            | "expungeVirtualMachine" => self.taking_away(sim, &id("id")),
            "restoreVirtualMachine" => self.taking_away(sim, &id("virtualmachineid")),
            "enableStaticNat" => self.leading(&id("ipaddressid"), &id("virtualmachineid")),
            "disassociateIpAddress" => self.releasing(sim, &id("id")),
            _ => return,
        };
        let told = told.into_iter().map(|what| format!("{command}: {what}"));
        self.state().wrong(told);
    }

    /// Looks at what a command did.
    pub(super) fn after(&self, sim: &Sim, command: &str) {
        let mut state = self.state();
        state.notice_lies(sim);
        let mut told = sim.world(|world| {
            let mut told = state.strangers.changed_in(world);
            told.extend(twice(world, &state.strangers));
            told
        });
        drop(state);
        if command == "deployVirtualMachine" {
            told.extend(self.crowds(sim));
        }
        let told = told.into_iter();
        let told = told.map(|what| format!("after {command}: {what}"));
        self.state().wrong(told);
    }

    /// No more of a role is away than may be, unless strangers saw to that just now.
    fn taking_away(&self, sim: &Sim, vm: &str) -> Vec<String> {
        let stacks = self.stacks();
        let mut state = self.state();
        state.notice_lies(sim);
        sim.world(|world| {
            let told = stacks.iter().filter_map(|stack| {
                let ledger = &stack.status.as_ref()?.ledger;
                let known = |(_, record): &(&String, &MachineRecord)| knows(record, vm);
                let (name, record) = ledger.machines.iter().find(known)?;
                taken_away(&mut state, world, stack, (name, record), vm)
            });
            told.collect()
        })
    }

    /// An address leads only to the VM of the machine that is recorded with it, or was when that was
    /// decided: a command waits for its turn.
    fn leading(&self, address: &str, vm: &str) -> Vec<String> {
        let stacks = self.stacks();
        let ledgers = stacks
            .iter()
            .filter_map(|stack| Some(&stack.status.as_ref()?.ledger));
        let right = |ledger: &Ledger, record: &MachineRecord| {
            let sent = ledger.pending.iter().find(|pending| {
                matches!(&pending.action, Action::EnableStaticNat { vm: led, .. } if led.as_str() == vm)
            });
            let mut former = record.former.iter();
            let own = record.public_address.as_ref();
            own.is_some_and(|own| own.id.as_str() == address)
                && (record.vm.as_ref().is_some_and(|id| id.as_str() == vm)
                    || former.any(|former| {
                        let decided = sent.is_some_and(|sent| sent.since <= former.since);
                        former.vm.as_str() == vm && decided
                    }))
        };
        let wrong = !ledgers
            .into_iter()
            .any(|ledger| ledger.machines.values().any(|record| right(ledger, record)));
        wrong
            .then(|| format!("{address} is not recorded of the machine that {vm} is"))
            .into_iter()
            .collect()
    }

    /// No address is given back through which a wanted machine serves.
    fn releasing(&self, sim: &Sim, address: &str) -> Vec<String> {
        let stacks = self.stacks();
        let stay = stacks.iter().filter(|stack| !stack.metadata.deleting());
        let serves = |stack: &ClearwaterStack| {
            let machines = &stack.status.as_ref()?.ledger.machines;
            let public = machine_names(stack).into_iter();
            let mut public = public.filter(|(_, role, _)| matches!(role, Role::Bono | Role::Ellis));
            public.find_map(|(name, _, _)| {
                let record = machines.get(&name)?;
                let own = record.public_address.as_ref()?;
                let vm = record.vm.as_ref()?.as_str();
                let leads = sim.world(|world| {
                    let runs = world
                        .vms
                        .get(vm)
                        .is_some_and(|vm| vm.state == VmState::Running);
                    runs && world.address_of(vm).is_some_and(|row| row.id == address)
                });
                (own.id.as_str() == address && leads).then(|| format!("{name} serves through it"))
            })
        };
        stay.filter_map(serves).collect()
    }

    /// VM records of each stack: its machines, its surge and three.
    fn crowds(&self, sim: &Sim) -> Vec<String> {
        let stacks = self.stacks();
        let told = stacks.iter().filter_map(|stack| {
            let ledger = &stack.status.as_ref()?.ledger;
            let uid = stack.metadata.stored_uid().as_str();
            let names = machine_names(stack).into_iter().map(|(name, _, _)| name);
            let machines: BTreeSet<String> = names.chain(ledger.machines.keys().cloned()).collect();
            let surge = stack.spec.update.max_surge as usize;
            let may = machines.len() + surge + SPARE_RECORDS;
            let have = sim.world(|world| {
                let ours = |vm: &&Vm| {
                    let marked = vm.details.get(mark::STACK).is_some_and(|mark| mark == uid);
                    let mut records = ledger.machines.values();
                    marked || records.any(|record| knows(record, &vm.id))
                };
                let alive = world.vms.values().filter(|vm| !vm.state.is_gone());
                alive.filter(ours).count()
            });
            (have > may).then(|| format!("{have} VM records, {may} may be"))
        });
        told.collect()
    }

    /// Looks at what the controller is about to write into its store.
    pub(super) fn told(&self, sim: &Sim, key: &str, value: &[u8]) {
        let text = String::from_utf8_lossy(value);
        if !key.contains("secrets") && self.betrays(&text) {
            self.state().wrong([format!("{key} has the secret key")]);
        }
        let says_ready = text.contains("\"AllMachinesReady\"");
        let concerns = says_ready || text.contains(Former::TAKEN_FOR_GONE);
        if !key.contains("clearwaterstacks") || !concerns {
            return;
        }
        let record: Record = serde_json::from_slice(value).unwrap();
        let stack = record.object;
        self.taken_for_gone(sim, &stack);
        if !says_ready {
            return;
        }
        let Some(look) = stack.status.as_ref().and_then(|status| status.last_look) else {
            return;
        };
        let mut state = self.state();
        state.notice_lies(sim);
        let told = sim.world(|world| {
            if state.lied_lately(world.now()) {
                return Vec::new();
            }
            let away = not_running(&mut state, world, &stack);
            let known = away.into_iter().filter(|(_, since)| *since < look);
            let told = known.map(|(name, since)| {
                format!("told Ready on a look of {look}, and {name} is away since {since}")
            });
            told.collect()
        });
        state.wrong(told);
    }

    /// A VM that lives is taken for gone only where an answer by its id said so.
    fn taken_for_gone(&self, sim: &Sim, stack: &ClearwaterStack) {
        let records = stack.status.iter();
        let records = records.flat_map(|status| status.ledger.machines.values());
        let gone = records.flat_map(|record| &record.former);
        let gone = gone.filter(|former| former.reason == Former::TAKEN_FOR_GONE);
        let mut state = self.state();
        let denied = |former: &Former| {
            let at = state.denied.get(former.vm.as_str());
            at.is_some_and(|at| *at >= former.since)
        };
        let told: Vec<String> = sim.world(|world| {
            let lives = |former: &&Former| {
                let vm = world.vms.get(former.vm.as_str());
                vm.is_some_and(|vm| !vm.state.is_gone())
            };
            let told = gone.filter(|former| !former.destroyed).filter(lives);
            let told = told.filter(|former| !denied(former));
            told.map(|former| {
                format!(
                    "{} is taken for gone, and no answer by id said so",
                    former.vm
                )
            })
            .collect()
        });
        state.wrong(told);
    }

    /// Looks whether a status says `Ready` of what has long not been so.
    pub(super) fn glance(&self, sim: &Sim) {
        let all_run = sim.world(|world| {
            let mut vms = world.vms.values();
            vms.all(|vm| vm.state == VmState::Running)
        });
        if all_run {
            return;
        }
        let stacks = self.stacks();
        let mut state = self.state();
        let told: Vec<String> = sim.world(|world| {
            let told = stacks.iter().flat_map(|stack| {
                let now = world.now();
                let away = not_running(&mut state, world, stack);
                let long = away.into_iter().filter(|(_, at)| *at + TOLD_WITHIN < now);
                long.map(move |(name, at)| format!("still Ready at {now}: {name} away since {at}"))
                    .collect::<Vec<_>>()
            });
            told.collect()
        });
        state.wrong(told);
    }
}

fn knows(record: &MachineRecord, vm: &str) -> bool {
    let mut all = record.former.iter().map(|former| &former.vm);
    record.vm.as_ref().is_some_and(|own| own.as_str() == vm) || all.any(|id| id.as_str() == vm)
}

/// The VMs of a machine that run.
fn serving<'a>(world: &'a World, record: &'a MachineRecord) -> impl Iterator<Item = &'a Vm> {
    let former = record.former.iter().map(|former| &former.vm);
    let all = former.chain(&record.vm);
    all.filter_map(|vm| world.vms.get(vm.as_str()))
        .filter(|vm| vm.state == VmState::Running)
}

/// Whether CloudStack is at work on a VM.
fn at_work(world: &World, vm: &Vm) -> bool {
    let mut open = world.jobs.values().filter(|job| job.completed.is_none());
    open.any(|job| job.instance.as_ref() == Some(&vm.id))
}

/// What is wrong with taking a VM away now.
fn taken_away(
    state: &mut State,
    world: &World,
    stack: &ClearwaterStack,
    (name, record): (&String, &MachineRecord),
    vm: &str,
) -> Option<String> {
    let status = stack.status.as_ref()?;
    let running: Vec<&str> = serving(world, record).map(|vm| vm.id.as_str()).collect();
    if running != [vm] {
        return None;
    }
    let old = stack.metadata.generation != Some(status.observed_generation);
    let mut excused = old || stack.metadata.deleting() || state.lied_lately(world.now());
    // A hung or late job may do what nobody remembers.
    excused |= world.down_until.is_some();
    let ledger = &status.ledger;
    let about = |subject: &str| subject.contains(name.as_str()) || subject.contains(vm);
    let sent = ledger
        .pending
        .iter()
        .find(|pending| about(&pending.subject));
    let mut former = record.former.iter();
    let former = former.find(|former| former.vm.as_str() == vm);
    let decided = match (former, sent) {
        // That it goes was decided once, and not again at each step of its way.
        (Some(former), _) => former.since,
        (None, Some(pending)) => pending.since,
        (None, None) => world.now(),
    };
    let wanted: BTreeSet<String> = machine_names(stack)
        .into_iter()
        .map(|(name, _, _)| name)
        .collect();
    let mut away = Vec::new();
    for (other, theirs) in &ledger.machines {
        if theirs.role != record.role || other == name || !wanted.contains(other) {
            continue;
        }
        let idle = serving(world, theirs).any(|vm| !at_work(world, vm));
        let pending = ledger
            .pending_on(&format!("machine {other}"))
            .is_some_and(|pending| weir::plan::check::takes_away(&pending.action));
        if idle && !pending {
            state.taken.remove(other);
        }
        let since = state.away_since(world, other, theirs);
        let known = since.is_some_and(|since| since + FRESH < decided);
        if known || state.taken.contains(other) {
            away.push(format!("{other} (since {since:?})"));
        }
    }
    if wanted.contains(name) {
        state.taken.insert(name.clone());
    }
    let may = stack.spec.update.max_unavailable as usize;
    let with_it = away.len() + usize::from(wanted.contains(name));
    (with_it > may && !excused && !away.is_empty())
        .then(|| format!("{name} is taken away, decided at {decided}, while {away:?} are"))
}

/// The wanted machines of a stack that says it is ready which do not run, and since when.
fn not_running(
    state: &mut State,
    world: &World,
    stack: &ClearwaterStack,
) -> Vec<(String, Timestamp)> {
    let Some(status) = &stack.status else {
        return Vec::new();
    };
    let ready = condition(&status.conditions, "Ready");
    let ready = ready.is_some_and(|ready| ready.status == ConditionStatus::True);
    let new = stack.metadata.generation == Some(status.observed_generation);
    if !ready || !new || stack.metadata.deleting() {
        return Vec::new();
    }
    let names = machine_names(stack).into_iter();
    let away = names.filter_map(|(name, _, _)| {
        let record = status.ledger.machines.get(&name)?;
        let since = state.away_since(world, &name, record)?;
        Some((name, since))
    });
    away.collect()
}

/// What is there twice: machines that live in two VMs, VMs that two addresses lead to.
pub(crate) fn twice(world: &World, strangers: &Strangers) -> Vec<String> {
    let mut living: BTreeMap<(&str, &str), Vec<&str>> = BTreeMap::new();
    for vm in world.vms.values() {
        let lives = matches!(vm.state, VmState::Running | VmState::Starting);
        let marks = (vm.details.get(mark::STACK), vm.details.get(mark::MACHINE));
        if let (true, (Some(stack), Some(machine))) = (lives, marks)
            && strangers.spare(&vm.id, &vm.account)
        {
            living.entry((stack, machine)).or_default().push(&vm.id);
        }
    }
    let mut nat: BTreeMap<&str, u32> = BTreeMap::new();
    for led in world
        .addresses
        .values()
        .filter_map(|row| row.static_nat.as_ref())
    {
        *nat.entry(&led.vm).or_default() += 1;
    }
    let living = living.into_iter().filter(|(_, vms)| vms.len() > 1);
    let living = living.map(|((_, machine), vms)| format!("{machine} lives in {vms:?}"));
    let nat = nat.into_iter().filter(|(_, addresses)| *addresses > 1);
    let nat = nat.map(|(vm, addresses)| format!("{addresses} addresses lead to {vm}"));
    living.chain(nat).collect()
}
