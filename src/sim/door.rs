//! The door: users who logged in instead of signing, and how many requests an account may send.
//!
//! Sessions end after half an hour without a request, on the simulated clock. They are not part of
//! the world: a restart of the simulator ends them, as that of a management server does.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};
use serde_json::json;

use super::commands::Method;
use super::pipeline::State;
use super::protocol::Params;
use super::reply::{ApiError, Reply};
use super::world::{User, Uuid};

/// How many sessions there can be; the one that was used longest ago makes room.
const SESSIONS_MAX: usize = 1_000;
/// How long a session lasts without a request.
const IDLE_MAX: SignedDuration = SignedDuration::from_mins(30);
/// The window in which requests are counted: `api.throttling.interval`.
const WINDOW: SignedDuration = SignedDuration::from_secs(1);

/// Who came in, and how often.
#[derive(Default)]
pub(super) struct Door {
    sessions: BTreeMap<String, Session>,
    windows: BTreeMap<Uuid, (Timestamp, u32)>,
}

struct Session {
    user: String,
    key: String,
    used: Timestamp,
}

/// The value of a cookie.
fn cookie<'a>(cookies: &'a str, name: &str) -> Option<&'a str> {
    let mut pairs = cookies
        .split(';')
        .filter_map(|pair| pair.trim().split_once('='));
    pairs
        .find(|(known, _)| *known == name)
        .map(|(_, value)| value)
}

fn refusal(status: u16, text: &str) -> ApiError {
    ApiError {
        status,
        cserrorcode: None,
        text: text.to_owned(),
        secret: false,
    }
}

impl State {
    /// `login`, which only a POST may carry.
    pub(super) fn login(&mut self, params: &Params, method: Method, xml: bool) -> Reply {
        if method == Method::Get {
            let error = refusal(405, "Only HTTP POST is allowed for this command");
            return Reply::error("loginresponse", &error, xml);
        }
        let name = params.get("username").unwrap_or_default();
        let known = self.world.user_named(name).filter(|user| {
            params.get("password") == Some(user.password.as_str()) && self.world.is_admitted(user)
        });
        let Some(user) = known.cloned() else {
            let text =
                format!("Failed to authenticate user {name}; please provide valid credentials");
            return Reply::error("loginresponse", &refusal(531, &text), xml);
        };
        self.open_session(&user, xml)
    }

    fn open_session(&mut self, user: &User, xml: bool) -> Reply {
        let (id, key) = (self.world.chance.text(32), self.world.chance.text(27));
        if self.door.sessions.len() >= SESSIONS_MAX {
            let oldest = self
                .door
                .sessions
                .iter()
                .min_by_key(|(_, session)| session.used);
            if let Some(oldest) = oldest.map(|(id, _)| id.clone()) {
                self.door.sessions.remove(&oldest);
            }
        }
        let session = Session {
            user: user.name.clone(),
            key: key.clone(),
            used: self.world.now(),
        };
        self.door.sessions.insert(id.clone(), session);
        let account = self.world.accounts.get(&user.account);
        let inner = json!({
            "username": user.name,
            "userid": user.id,
            "domainid": self.world.domain_of(&user.account),
            "timeout": IDLE_MAX.as_secs(),
            "account": account.map(|account| account.name.as_str()),
            "firstname": user.first_name.as_deref().unwrap_or(&user.name),
            "lastname": user.last_name.as_deref().unwrap_or(&user.name),
            "type": account.map_or(0, |account| account.type_number()).to_string(),
            "registered": "false",
            "sessionkey": key,
            "is2faenabled": "false",
            "is2faverified": "true",
            "issuerfor2fa": "CloudStack",
            "managementserverid": self.world.server_id,
        });
        let mut reply = Reply::ok("loginresponse", &inner, xml);
        for cookie in [
            format!("JSESSIONID={id}; Path=/client; HttpOnly; SameSite=Lax"),
            format!("sessionkey={key}; HttpOnly; SameSite=Lax"),
        ] {
            reply.headers.push(("Set-Cookie".to_owned(), cookie));
        }
        reply
    }

    /// `logout`.
    pub(super) fn logout(&mut self, cookies: &str, xml: bool) -> Reply {
        if let Some(id) = cookie(cookies, "JSESSIONID") {
            self.door.sessions.remove(id);
        }
        Reply::ok("logoutresponse", &json!({"description": "success"}), xml)
    }

    /// The user whose session a request belongs to; none if it carries no live session. One that
    /// fails the check ends.
    pub(super) fn session_user(
        &mut self,
        cookies: &str,
        params: &Params,
    ) -> Option<Result<String, ApiError>> {
        let id = cookie(cookies, "JSESSIONID")?;
        let now = self.world.now();
        self.door
            .sessions
            .retain(|_, session| session.used + IDLE_MAX > now);
        let session = self.door.sessions.get_mut(id)?;
        let key = Some(session.key.as_str());
        let agrees = cookie(cookies, "sessionkey") == key && params.get("sessionkey") == key;
        let user = session.user.clone();
        session.used = now;
        let known = self.world.user_named(&user);
        if agrees && known.is_some_and(|user| self.world.is_admitted(user)) {
            return Some(match params.exact("command") {
                Some(_) => Ok(user),
                None => Err(refusal(400, "no command specified")),
            });
        }
        self.door.sessions.remove(id);
        Some(Err(refusal(401, "unable to verify user credentials")))
    }

    /// Counts a request of a user; refuses it if the account has had its share of this second.
    pub(super) fn throttle(&mut self, user: &str) -> Result<(), ApiError> {
        let Some(max) = self.world.settings.api_throttling_max else {
            return Ok(());
        };
        let Some(account) = self.world.user_named(user).map(|user| user.account.clone()) else {
            return Ok(());
        };
        let admin = self
            .world
            .accounts
            .get(&account)
            .is_some_and(|row| row.admin);
        let now = self.world.now();
        self.door
            .windows
            .retain(|_, (start, _)| *start + WINDOW > now);
        let (start, sent) = self.door.windows.entry(account).or_insert((now, 0));
        *sent = sent.saturating_add(1);
        if admin || *sent <= max {
            return Ok(());
        }
        let left = (*start + WINDOW).duration_since(now).as_millis();
        Err(ApiError::throttled(u64::try_from(left).unwrap_or_default()))
    }
}

#[cfg(test)]
impl Door {
    /// The first session: its id and its key.
    pub(super) fn first_session(&self) -> Option<(String, String)> {
        let (id, session) = self.sessions.first_key_value()?;
        Some((id.clone(), session.key.clone()))
    }
}
