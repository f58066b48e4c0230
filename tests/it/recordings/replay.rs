//! Plays one role's recordings against one simulator, request by request.

use std::{fmt::Write, net::Ipv4Addr, time::Duration};

use jiff::Timestamp;
use serde_json::Value;
use tokio::time::Instant;
use weir::{
    clock::Clock,
    sim::{Profile, Sim, SimConfig, Who},
};

use super::{
    compare::{Comparison, Difference},
    door::{self, Answer},
    exchange::{Exchange, Place, read},
    excuses::{self, Depth, EARLY, Used},
    ids::Names,
    tables, xml,
};

/// No recorded job took longer than eleven seconds; a simulated one that runs for this long hangs.
const LONGEST_JOB: Duration = Duration::from_secs(120);
/// The addresses that the recorded cloud had to give out.
const PUBLIC_RANGE: (Ipv4Addr, Ipv4Addr) = (
    Ipv4Addr::new(192, 168, 2, 2),
    Ipv4Addr::new(192, 168, 2, 200),
);
/// Jobs end on their own schedule; looking this often does not change what is seen.
const POLL: Duration = Duration::from_millis(100);

/// What came of one role's recordings.
#[derive(Default)]
pub(super) struct Outcome {
    pub replayed: usize,
    pub left_out: Vec<(Place, &'static str)>,
    /// Polls that the recorder saw pending and the replay saw ended: timing, not behaviour.
    pub early: usize,
    pub mismatches: Vec<Mismatch>,
    /// What was excused.
    pub used: Used,
}

/// One difference, with where and in answer to what.
pub(super) struct Mismatch {
    pub place: Place,
    pub command: String,
    pub difference: Difference,
}

/// A role's world while it is being replayed.
struct Replay {
    sim: Sim,
    who: Who,
    names: Names,
    /// The instant that stands for [`Self::origin`].
    started: Instant,
    origin: Timestamp,
    outcome: Outcome,
}

/// Replays the files in order on one simulator.
pub(super) async fn replay(who: Who, files: &[(&'static str, Option<&str>)]) -> Outcome {
    let origin: Timestamp = files[0]
        .1
        .expect("the first file starts a clock")
        .parse()
        .unwrap();
    let config = SimConfig {
        profile: Profile::Lab,
        seed: 1,
        clock: Clock::starting_at(origin),
        state_file: None,
    };
    let (names, outcome) = (Names::default(), Outcome::default());
    let started = Instant::now();
    let sim = Sim::new(config);
    sim.world(|world| world.set_public_range(&[PUBLIC_RANGE]));
    let mut replay = Replay {
        sim,
        who,
        names,
        started,
        origin,
        outcome,
    };
    let mut recorder = origin;
    for (file, start) in files {
        if let Some(start) = start {
            recorder = start.parse().unwrap();
        }
        for (place, exchange) in read(file) {
            replay.line(recorder, place, &exchange).await;
        }
    }
    replay.outcome
}

impl Replay {
    async fn line(&mut self, recorder: Timestamp, place: Place, exchange: &Exchange) {
        tables::switch_before(&self.sim, place).await;
        if let Some(sent) = exchange.sent() {
            self.sleep_until(recorder, sent).await;
        }
        if let Some(reason) = excuses::not_sent(place) {
            self.outcome.used.note(place.to_string());
            self.outcome.left_out.push((place, reason));
            return;
        }
        self.outcome.replayed += 1;
        if let Some(command) = exchange.command() {
            self.exchange(place, command, exchange).await;
        } else {
            tables::switch(
                &self.sim,
                place,
                exchange.note.as_deref().unwrap_or_default(),
            )
            .await;
        }
    }

    /// Requests go out at the recorded times, or at once where the simulator has been slower.
    async fn sleep_until(&self, recorder: Timestamp, sent: f64) {
        let since_origin = recorder.duration_since(self.origin).unsigned_abs();
        tokio::time::sleep_until(self.started + since_origin + Duration::from_secs_f64(sent)).await;
    }

    async fn exchange(&mut self, place: Place, command: &str, exchange: &Exchange) {
        self.prepare(command, exchange);
        if let Some(vm) = tables::looked_up(place) {
            self.look_up_nic(vm, exchange).await;
        }
        let params = match self.translate(exchange) {
            Ok(params) => params,
            Err(id) => {
                let difference = Difference {
                    path: "request".into(),
                    recorded: id,
                    simulated: "no earlier answer brought this id".into(),
                };
                self.outcome.mismatches.push(Mismatch {
                    place,
                    command: command.into(),
                    difference,
                });
                return;
            }
        };
        let reply = self.send(exchange, &params).await;
        let differences = self.compare(command, exchange, &reply);
        let command = described(command, exchange);
        self.outcome
            .mismatches
            .extend(differences.into_iter().map(|difference| Mismatch {
                place,
                command: command.clone(),
                difference,
            }));
    }

    /// Learns what can be known before the request is sent.
    fn prepare(&mut self, command: &str, exchange: &Exchange) {
        if let Some(id) = exchange.param("customjobid") {
            self.names.ids.bind(&id, &id);
        }
        if command == "deployVirtualMachine"
            && let Some(name) = exchange.param("name")
        {
            self.names.anywhere.retain(|vm| *vm != name);
            if exchange.param("ipaddress").is_none() {
                self.names.anywhere.push(name);
            }
        }
    }

    /// Asks for the id of a VM's only NIC, which this request will need.
    async fn look_up_nic(&mut self, vm: &str, exchange: &Exchange) {
        let vm = self.names.ids.simulated(vm).unwrap_or_default();
        let params = [
            ("command", "listVirtualMachines"),
            ("response", "json"),
            ("id", vm),
        ];
        let answer = parse(&self.sim.call(self.who, &params).await.body);
        let nic = answer.pointer("/listvirtualmachinesresponse/virtualmachine/0/nic/0/id");
        if let (Some(recorded), Some(simulated)) =
            (exchange.param("nicid"), nic.and_then(Value::as_str))
        {
            self.names.ids.bind(&recorded, simulated);
        }
    }

    fn translate(&self, exchange: &Exchange) -> Result<Vec<(String, String)>, String> {
        let params = exchange.params().into_iter();
        params
            .map(|(name, value)| Ok((name.clone(), self.names.translate(&name, &value)?)))
            .collect()
    }

    /// Sends the request; where the recorder saw a job ended, as often as it takes.
    async fn send(&self, exchange: &Exchange, params: &[(String, String)]) -> Answer {
        let proof = tables::proof(exchange.note.as_deref().unwrap_or_default());
        let request = door::signed(&self.sim.credentials(self.who), proof, params);
        let give_up = Instant::now() + LONGEST_JOB;
        loop {
            let reply = door::ask(&self.sim, &exchange.method, &request).await;
            let wait = exchange.polled().is_some_and(|status| status != 0);
            if !wait || job_status(&parse(&reply.body)) != Some(0) || Instant::now() > give_up {
                return reply;
            }
            tokio::time::sleep(POLL).await;
        }
    }

    fn compare(&mut self, command: &str, exchange: &Exchange, reply: &Answer) -> Vec<Difference> {
        let (mut recorded, mut simulated) = (recorded(&exchange.body), parse(&reply.body));
        if exchange.polled() == Some(0) && job_status(&simulated).is_some_and(|s| s != 0) {
            self.outcome.early += 1;
            self.outcome.used.note(EARLY);
            keep_what_pending_and_ended_share(&mut recorded);
            keep_what_pending_and_ended_share(&mut simulated);
        }
        if command == "associateIpAddress" {
            self.rebind_created(&recorded, &simulated);
        }
        let depth = if reply.status == exchange.status {
            excuses::depth(command)
        } else {
            Depth::Full
        };
        let shapes = depth == Depth::Shape && recorded != simulated;
        let used = &mut self.outcome.used;
        let mut comparison = Comparison::new(&mut self.names, used, depth);
        comparison.value("status", &exchange.status.into(), &reply.status.into());
        let (ours, theirs) = (reply.content_type.as_str(), exchange.content_type.as_str());
        comparison.value("content type", &theirs.into(), &ours.into());
        comparison.value("", &recorded, &simulated);
        let (differences, others) = (comparison.differences, comparison.other_rows);
        if shapes || others {
            used.note(command);
        }
        differences
    }

    /// An address that was just handed out may have been another one's before.
    fn rebind_created(&mut self, recorded: &Value, simulated: &Value) {
        let id = |answer: &Value| {
            answer
                .pointer("/associateipaddressresponse/id")?
                .as_str()
                .map(str::to_owned)
        };
        if let (Some(r), Some(s)) = (id(recorded), id(simulated)) {
            self.names.ids.bind(&r, &s);
        }
    }
}

/// The command, and for a poll whose job it is.
fn described(command: &str, exchange: &Exchange) -> String {
    let job = exchange
        .body
        .pointer("/queryasyncjobresultresponse/cmd")
        .and_then(Value::as_str);
    let class = job.and_then(|class| class.rsplit('.').next());
    class.map_or_else(|| command.to_owned(), |class| format!("job of {class}"))
}

/// A recorded body; one that is no JSON was recorded as text.
fn recorded(body: &Value) -> Value {
    body.as_str().map_or_else(|| body.clone(), xml::parse)
}

fn parse(body: &str) -> Value {
    serde_json::from_str(body).unwrap_or_else(|_| xml::parse(body))
}

fn job_status(answer: &Value) -> Option<u64> {
    answer
        .pointer("/queryasyncjobresultresponse/jobstatus")?
        .as_u64()
}

fn keep_what_pending_and_ended_share(answer: &mut Value) {
    let Some(job) = answer.pointer_mut("/queryasyncjobresultresponse") else {
        return;
    };
    for member in [
        "jobstatus",
        "jobresultcode",
        "jobresult",
        "jobresulttype",
        "completed",
        "managementserverid",
        "managementservername",
    ] {
        job.as_object_mut().map(|job| job.remove(member));
    }
}

impl Outcome {
    /// The mismatches, alike ones once: how often, where first, what.
    pub(super) fn report(&self) -> String {
        let mut groups: Vec<(&Mismatch, usize)> = Vec::new();
        for mismatch in &self.mismatches {
            match groups
                .iter_mut()
                .find(|(first, _)| first.resembles(mismatch))
            {
                Some((_, times)) => *times += 1,
                None => groups.push((mismatch, 1)),
            }
        }
        let mut report = String::new();
        for (
            Mismatch {
                place,
                command,
                difference,
            },
            times,
        ) in groups
        {
            let Difference {
                path,
                recorded,
                simulated,
            } = difference;
            let more = if times > 1 {
                format!(" (×{times})")
            } else {
                String::new()
            };
            writeln!(
                report,
                "{place} {command} {path}: {recorded} ≠ {simulated}{more}"
            )
            .unwrap();
        }
        report
    }
}

impl Mismatch {
    fn resembles(&self, other: &Self) -> bool {
        let absent = |side: &str| side == "absent" || side == "no such row";
        let (a, b) = (&self.difference, &other.difference);
        self.command == other.command
            && a.path == b.path
            && absent(&a.recorded) == absent(&b.recorded)
            && absent(&a.simulated) == absent(&b.simulated)
    }
}

#[test]
fn a_job_seen_too_late_is_compared_in_what_it_shares() {
    let answer = |text: &str| serde_json::from_str::<Value>(text).unwrap();
    let mut ended = answer(
        r#"{"queryasyncjobresultresponse": {"jobid": "j", "jobstatus": 1, "completed": "x"}}"#,
    );
    assert_eq!(job_status(&ended), Some(1));
    keep_what_pending_and_ended_share(&mut ended);
    assert_eq!(
        ended,
        answer(r#"{"queryasyncjobresultresponse": {"jobid": "j"}}"#)
    );
}
