//! The way of a request through the simulator: fault before, command, fault after, log.

use std::collections::VecDeque;
use std::time::Duration;

use serde_json::Value;

use super::LoggedRequest;
use super::commands::{self, Caller, Method, Ran, Request};
use super::faults::{Fault, FaultKind, Faults};
use super::protocol::Params;
use super::reply::{ApiError, Reply};
use super::world::World;

/// How many requests are remembered: more than any test sends, and a bound for long runs.
const REQUESTS_MAX: usize = 100_000;

/// Everything that requests change. Held only between two awaits, never across one.
pub(super) struct State {
    pub(super) world: World,
    pub(super) faults: Faults,
    pub(super) requests: VecDeque<LoggedRequest>,
    /// The world as it was when a stale list was asked for.
    stale: Option<Box<World>>,
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
fn is_xml(params: &Params) -> bool {
    !params
        .exact("response")
        .is_some_and(|form| form.eq_ignore_ascii_case("json"))
}

/// The envelope of a refusal: that of the command where there is one.
fn envelope(params: &Params) -> String {
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
        let requests = VecDeque::new();
        Self {
            world,
            faults: Faults::default(),
            requests,
            stale: None,
        }
    }

    pub(super) fn add_fault(&mut self, fault: Fault) {
        if fault.kind == FaultKind::StaleList {
            self.stale = Some(Box::new(self.world.clone()));
        }
        self.faults.add(fault);
    }

    pub(super) fn clear_faults(&mut self) {
        self.stale = None;
        self.faults.clear();
    }

    /// Takes a request through.
    pub(super) fn run(&mut self, incoming: &Incoming) -> Outgoing {
        let params = &incoming.params;
        let (Some(name), Some(caller)) = (params.exact("command"), self.caller(&incoming.user))
        else {
            return Outgoing::at_once(unauthorized(params));
        };
        let fault = self.faults.strike(name, &mut self.world.chance);
        if let Some(reply) = fault.as_ref().and_then(|kind| before(kind, params)) {
            return Outgoing::at_once(reply);
        }
        let twist = fault.as_ref().and_then(FaultKind::twist);
        let request = Request {
            name,
            params,
            caller,
            method: incoming.method,
            twist,
        };
        let world = match (&fault, &mut self.stale) {
            (Some(FaultKind::StaleList), Some(stale)) => stale,
            _ => &mut self.world,
        };
        after(fault.as_ref(), commands::run(world, request), params)
    }

    fn caller(&self, user: &str) -> Option<Caller> {
        let user = self.world.user_named(user)?;
        let admin = self
            .world
            .accounts
            .get(&user.account)
            .is_some_and(|account| account.admin);
        Some(Caller {
            user: user.id.clone(),
            account: user.account.clone(),
            admin,
        })
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
        if self.requests.len() >= REQUESTS_MAX {
            self.requests.pop_front();
        }
        self.requests.push_back(LoggedRequest {
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
fn before(kind: &FaultKind, params: &Params) -> Option<Reply> {
    match kind {
        FaultKind::LostRequest => Some(Reply::lost()),
        FaultKind::Status { code: 401 } => Some(unauthorized(params)),
        FaultKind::Status { code: 429 } => Some(Reply::error(
            &envelope(params),
            &ApiError::throttled(700),
            is_xml(params),
        )),
        FaultKind::Status { code } => Some(Reply::proxy(*code)),
        FaultKind::LostReply
        | FaultKind::Slow { .. }
        | FaultKind::Truncated
        | FaultKind::EmptyList
        | FaultKind::ShortList
        | FaultKind::StaleList
        | FaultKind::FailJob { .. }
        | FaultKind::HangJob
        | FaultKind::NoCapacity
        | FaultKind::StartFails
        | FaultKind::HypervisorStopFails => None,
    }
}

/// Puts an answer into its envelope, and spoils it if a fault says so.
fn after(fault: Option<&FaultKind>, ran: Ran, params: &Params) -> Outgoing {
    let (envelope, xml) = (envelope(params), is_xml(params));
    let mut reply = match ran.answer {
        Ok(mut inside) => {
            thin_out(fault, &mut inside);
            Reply::ok(&envelope, &inside, xml)
        }
        Err(error) => Reply::error(&envelope, &error, xml),
    };
    let mut takes = ran.takes;
    match fault {
        Some(FaultKind::LostReply) => reply = Reply::lost(),
        Some(FaultKind::Slow { millis }) => takes += Duration::from_millis(*millis),
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
    Outgoing { reply, takes }
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
        _ => {}
    }
}
