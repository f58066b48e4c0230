//! The way of a request through the simulator: fault before, command, fault after, log.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;

use super::LoggedRequest;
use super::commands::{self, Caller, Method, Ran, Request};
use super::door::Door;
use super::faults::{Fault, FaultKind, Faults, Struck};
use super::protocol::Params;
use super::reply::{ApiError, Reply};
use super::requests::Requests;
use super::script::Agenda;
use super::world::World;

/// Everything that requests change. Held only between two awaits, never across one.
pub(super) struct State {
    pub(super) world: World,
    pub(super) faults: Faults,
    pub(super) agenda: Agenda,
    pub(super) requests: Requests,
    pub(super) door: Door,
}

/// A request on its way through.
pub(super) struct Incoming {
    pub(super) user: String,
    pub(super) params: Params,
    pub(super) method: Method,
}

/// What a request came to, and how long the server takes to say so.
pub(super) struct Outgoing {
    pub(super) reply: Reply,
    pub(super) takes: Duration,
}

impl Outgoing {
    fn at_once(reply: Reply) -> Self {
        Self {
            reply,
            takes: Duration::ZERO,
        }
    }
}

/// Whether a request gets XML: it has to ask for JSON.
pub(super) fn is_xml(params: &Params) -> bool {
    !params
        .exact("response")
        .is_some_and(|form| form.eq_ignore_ascii_case("json"))
}

/// The envelope of a refusal: that of the command where there is one.
pub(super) fn envelope(params: &Params) -> String {
    match params.exact("command") {
        Some(name) if commands::find(name).is_some() => commands::envelope(name),
        Some(_) => "errorresponse".to_owned(),
        None if params.is_empty() => "errorresponse".to_owned(),
        None => "null".to_owned(),
    }
}

/// The answer to a request that nobody known has signed.
pub(super) fn unauthorized(params: &Params) -> Reply {
    Reply::error(&envelope(params), &ApiError::unauthorized(), is_xml(params))
}

impl State {
    pub(super) fn new(world: World) -> Self {
        Self {
            world,
            faults: Faults::default(),
            agenda: Agenda::default(),
            requests: Requests::default(),
            door: Door::default(),
        }
    }

    /// Brings the world to `now`.
    pub(super) fn advance(&mut self, now: Timestamp) {
        while let Some(edge) = self.next_edge().filter(|edge| *edge <= now) {
            self.world.advance(edge);
            self.faults.advance(&self.world);
            self.agenda.fire(&mut self.world, &mut self.faults);
        }
        self.world.advance(now);
    }

    /// When something begins or ends, or is to be done, that is not in the world.
    fn next_edge(&self) -> Option<Timestamp> {
        let faults = self.faults.next_change(self.world.now());
        faults.into_iter().chain(self.agenda.next_change()).min()
    }

    /// When something happens next by itself.
    pub(super) fn next_change(&self) -> Option<Timestamp> {
        let world = self.world.next_change();
        world.into_iter().chain(self.next_edge()).min()
    }

    /// Adds a fault; the answer is its number.
    pub(super) fn add_fault(&mut self, fault: Fault) -> Result<u64, String> {
        let added = self.faults.add(fault);
        self.faults.advance(&self.world);
        added
    }

    /// Takes a request through.
    pub(super) fn run(&mut self, incoming: &Incoming) -> Outgoing {
        let params = &incoming.params;
        let (Some(name), Some(caller)) = (params.exact("command"), self.caller(&incoming.user))
        else {
            return Outgoing::at_once(unauthorized(params));
        };
        let mut struck = self.faults.strike(&incoming.user, name, &mut self.world);
        if let Some(kind) = &struck.before {
            return Outgoing::at_once(before(kind, params));
        }
        let request = Request {
            name,
            params,
            caller,
            method: incoming.method,
            twist: struck.twist.take(),
        };
        let ran = match &mut struck.stale {
            Some(stale) => commands::run(stale, request),
            None => commands::run(&mut self.world, request),
        };
        after(&struck, ran, params)
    }

    fn caller(&self, user: &str) -> Option<Caller> {
        let user = self.world.user_named(user)?;
        Some(Caller::of(&self.world, user))
    }

    /// Remembers a request, without what signed it.
    pub(super) fn log(&mut self, incoming: &Incoming, status: u16) {
        let secrets = [
            "apikey",
            "signature",
            "signatureversion",
            "expires",
            "response",
            "command",
        ];
        let params = incoming
            .params
            .iter()
            .filter(|(name, _)| !secrets.contains(name));
        self.requests.add(LoggedRequest {
            at: self.world.now(),
            user: incoming.user.clone(),
            command: incoming
                .params
                .exact("command")
                .unwrap_or_default()
                .to_owned(),
            params: params
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            status,
        });
    }
}

/// The answer of a fault that strikes before the request has an effect.
fn before(kind: &FaultKind, params: &Params) -> Reply {
    let refused = |error| Reply::error(&envelope(params), &error, is_xml(params));
    match kind {
        FaultKind::Status { code: 401 } => unauthorized(params),
        FaultKind::Status { code: 429 } => refused(ApiError::throttled(700)),
        FaultKind::Status { code } => Reply::proxy(*code),
        FaultKind::Maintenance => refused(ApiError::maintenance()),
        FaultKind::Html => Reply::proxy(200),
        // The others of this stage lose the request.
        _ => Reply::lost(),
    }
}

/// Puts an answer into its envelope, and spoils it if a fault says so.
fn after(struck: &Struck, ran: Ran, params: &Params) -> Outgoing {
    let (envelope, xml) = (envelope(params), is_xml(params));
    let mut reply = match ran.answer {
        Ok(mut inside) => {
            thin_out(struck.list.as_ref(), &mut inside);
            Reply::ok(&envelope, &inside, xml)
        }
        Err(error) => Reply::error(&envelope, &error, xml),
    };
    match struck.after {
        Some(FaultKind::LostReply) => reply = Reply::lost(),
        Some(FaultKind::Truncated) => {
            let middle = reply.body.len() / 2;
            let half = (0..=middle)
                .rev()
                .find(|at| reply.body.is_char_boundary(*at));
            let half = half.unwrap_or_default();
            reply.body.truncate(half);
        }
        _ => {}
    }
    Outgoing {
        reply,
        takes: ran.takes + struck.delay,
    }
}

/// Takes rows out of a list.
fn thin_out(fault: Option<&FaultKind>, inside: &mut Value) {
    let Some(inside) = inside.as_object_mut() else {
        return;
    };
    match fault {
        Some(FaultKind::EmptyList) => inside.clear(),
        Some(FaultKind::ShortList) => {
            for rows in inside.values_mut().filter_map(Value::as_array_mut) {
                rows.truncate(rows.len() / 2);
            }
        }
        Some(FaultKind::GappyList) => {
            let lists = inside.values_mut().filter_map(Value::as_array_mut);
            let several = lists.filter(|rows| rows.len() > 1);
            let gone = several.map(|rows| rows.pop()).count() as u64;
            if let Some(count) = inside.get("count").and_then(Value::as_u64) {
                inside.insert("count".to_owned(), count.saturating_sub(gone).into());
            }
        }
        _ => {}
    }
}
