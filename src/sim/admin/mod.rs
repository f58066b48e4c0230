//! The admin API: unsigned endpoints below `/sim`, on a loopback address only, by which people and
//! tests break a simulator that runs. `docs/simulator.md` has every request with its answer.
//!
//! An answer is JSON: what was asked for, `{"done": …}` or `{"refused": …}`.

mod scripts;

use axum::body::Body;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::{Method, Response, StatusCode};
use serde_json::{Value, json};

use super::fields::{Fields, Wrong};
use super::{Sim, breakage, faults, settings};

/// An answer: its status and its JSON.
type Answer = (StatusCode, Value);

/// What can be asked for.
const ENDPOINTS: &[(&str, &str, &str)] = &[
    ("GET", "/sim", "this list"),
    (
        "GET",
        "/sim/state",
        "VMs, addresses, rules and jobs at a glance",
    ),
    (
        "GET",
        "/sim/requests",
        "the requests received so far, oldest first",
    ),
    ("DELETE", "/sim/requests", "forget them"),
    ("GET", "/sim/break", "what can be broken"),
    ("POST", "/sim/break", "break something at once"),
    ("GET", "/sim/faults", "the faults that are waiting"),
    ("POST", "/sim/faults", "add a fault"),
    ("GET", "/sim/faults/kinds", "the kinds of faults"),
    ("DELETE", "/sim/faults", "take all faults away"),
    ("DELETE", "/sim/faults/ID", "take one fault away"),
    ("GET", "/sim/operators", "the operators at work"),
    ("POST", "/sim/operators", "set an operator to work"),
    ("DELETE", "/sim/operators", "send all operators home"),
    ("DELETE", "/sim/operators/ID", "send one operator home"),
    ("GET", "/sim/scenarios", "the scenarios that are shipped"),
    ("GET", "/sim/scenarios/NAME", "the text of one"),
    (
        "GET",
        "/sim/play",
        "the scenarios being played, and what was done so far",
    ),
    (
        "POST",
        "/sim/play",
        "play a scenario: its YAML, or {\"name\": NAME} of a shipped one",
    ),
    (
        "DELETE",
        "/sim/play",
        "stop all scenarios; what they did stays",
    ),
    ("DELETE", "/sim/play/ID", "stop one scenario"),
    ("GET", "/sim/settings", "all settings"),
    ("PATCH", "/sim/settings", "change some"),
];

/// Answers a request.
pub(super) fn answer(sim: &Sim, (method, path): (&Method, &str), body: &str) -> Response<Body> {
    let parts: Vec<&str> = path.trim_matches('/').split('/').skip(1).collect();
    let (status, value) = match (method.as_str(), parts.as_slice()) {
        ("GET", []) => (StatusCode::OK, index()),
        ("GET", ["state"]) => (StatusCode::OK, sim.overview()),
        ("GET", ["requests"]) => (StatusCode::OK, json!(sim.requests())),
        ("DELETE", ["requests"]) => {
            sim.clear_requests();
            done("the requests are forgotten")
        }
        ("GET", ["break"]) => (StatusCode::OK, breakages()),
        ("POST", ["break"]) => break_it(sim, body),
        ("GET", ["faults"]) => (
            StatusCode::OK,
            json!(sim.present(|state| state.faults.all().to_vec())),
        ),
        ("GET", ["faults", "kinds"]) => (StatusCode::OK, kinds()),
        ("POST", ["faults"]) => add_fault(sim, body),
        ("DELETE", ["faults"]) => {
            sim.clear_faults();
            done("no fault is waiting")
        }
        ("DELETE", ["faults", id]) => {
            let gone = id
                .parse()
                .is_ok_and(|id| sim.present(|state| state.faults.remove(id)));
            removed(gone, "fault", (id, "/sim/faults"))
        }
        ("GET", ["settings"]) => (
            StatusCode::OK,
            sim.world(|world| settings::all(world)).into(),
        ),
        ("PATCH", ["settings"]) => change_settings(sim, body),
        ("GET" | "POST" | "DELETE", ["operators" | "scenarios" | "play", ..]) => {
            scripts::answer(sim, (method.as_str(), &parts), body)
        }
        (method, _) => nothing(method, path),
    };
    let mut response = Response::new(Body::from(format!("{value:#}\n")));
    *response.status_mut() = status;
    let json = HeaderValue::from_static("application/json");
    response.headers_mut().insert(CONTENT_TYPE, json);
    response
}

fn index() -> Value {
    let endpoint =
        |(method, path, what): &(_, _, _)| json!({"method": method, "path": path, "does": what});
    ENDPOINTS.iter().map(endpoint).collect()
}

fn done(text: impl Into<String>) -> Answer {
    (StatusCode::OK, json!({"done": text.into()}))
}

fn refused(text: impl Into<String>) -> Answer {
    (StatusCode::CONFLICT, json!({"refused": text.into()}))
}

fn unreadable(text: &str) -> Answer {
    (StatusCode::BAD_REQUEST, json!({"refused": text}))
}

fn nothing(method: &str, path: &str) -> Answer {
    let path = path.trim_end_matches('/');
    let other = ENDPOINTS.iter().filter(|(_, known, _)| *known == path);
    let methods: Vec<&str> = other.map(|(method, ..)| *method).collect();
    let (status, told) = match methods.as_slice() {
        [] => (
            StatusCode::NOT_FOUND,
            "nothing here: GET /sim lists what there is".to_owned(),
        ),
        methods => {
            let told = format!("{path} knows {}, not {method}", methods.join(" and "));
            (StatusCode::METHOD_NOT_ALLOWED, told)
        }
    };
    (status, json!({"refused": told}))
}

/// The fields of a body.
fn fields(body: &str) -> Result<Fields, Wrong> {
    let value = serde_json::from_str(body)
        .map_err(|error| Wrong::new("the body", format!("is no JSON: {error}")))?;
    Fields::of("", value)
}

fn breakages() -> Value {
    let kind = |(name, fields, does): &breakage::Described| json!({"what": name, "fields": fields, "does": does});
    breakage::KINDS.iter().map(kind).collect()
}

fn break_it(sim: &Sim, body: &str) -> Answer {
    let read = fields(body).and_then(|mut fields| {
        let what = breakage::breakage(&mut fields)?;
        let user = fields.text("user")?;
        fields.end()?;
        Ok((what, user))
    });
    match read {
        Ok((what, None)) => sim.break_it(what).map_or_else(refused, done),
        Ok((what, Some(user))) => sim.break_as(&user, what).map_or_else(refused, done),
        Err(wrong) => unreadable(&wrong.to_string()),
    }
}

fn kinds() -> Value {
    let kind = |(name, does): &(_, _)| json!({"kind": name, "does": does});
    faults::KINDS.iter().map(kind).collect()
}

fn add_fault(sim: &Sim, body: &str) -> Answer {
    let added = sim.present(|state| {
        let now = state.world.now();
        let fault = fields(body).and_then(|fields| faults::fault(fields, now));
        fault.map(|fault| state.add_fault(fault))
    });
    match added {
        Ok(Ok(id)) => (
            StatusCode::OK,
            json!({"done": format!("fault {id} is waiting"), "id": id}),
        ),
        Ok(Err(full)) => refused(full),
        Err(wrong) => unreadable(&wrong.to_string()),
    }
}

fn removed(gone: bool, what: &str, (id, list): (&str, &str)) -> Answer {
    if gone {
        return done(format!("{what} {id} is gone"));
    }
    let why = format!("there is no {what} {id}: GET {list} lists them");
    (StatusCode::NOT_FOUND, json!({"refused": why}))
}

fn change_settings(sim: &Sim, body: &str) -> Answer {
    let changed =
        fields(body).and_then(|fields| sim.world(|world| settings::change(world, fields)));
    changed.map_or_else(|wrong| unreadable(&wrong.to_string()), done)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::sim::{Profile, SimConfig};

    fn sim() -> Sim {
        Sim::new(SimConfig {
            profile: Profile::Instant,
            seed: 1,
            clock: Clock::adjustable(),
            state_file: None,
        })
    }

    /// The status and the JSON of an answer.
    async fn ask(sim: &Sim, method: &str, path: &str, body: &str) -> (u16, Value) {
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let (head, body) = answer(sim, (&method, path), body).into_parts();
        let body = axum::body::to_bytes(body, usize::MAX).await.unwrap();
        (head.status.as_u16(), serde_json::from_slice(&body).unwrap())
    }

    #[tokio::test]
    async fn every_endpoint_that_is_told_is_there() {
        let sim = sim();
        for (method, path, _) in ENDPOINTS {
            let (status, told) = ask(&sim, method, path, "").await;
            assert_ne!(status, 405, "{method} {path}: {told}");
            let here = told["refused"]
                .as_str()
                .is_none_or(|why| !why.starts_with("nothing here"));
            assert!(here, "{method} {path}: {told}");
        }
        let (status, index) = ask(&sim, "GET", "/sim", "").await;
        assert_eq!(
            (status, index.as_array().unwrap().len()),
            (200, ENDPOINTS.len())
        );
    }

    #[tokio::test]
    async fn faults_are_added_told_and_taken_away() {
        let sim = sim();
        let fault = r#"{"kind": "lost-reply", "command": "createVPC", "count": 2}"#;
        let (status, added) = ask(&sim, "POST", "/sim/faults", fault).await;
        assert_eq!((status, &added["id"]), (200, &json!(1)));
        let (_, faults) = ask(&sim, "GET", "/sim/faults", "").await;
        assert_eq!(
            faults,
            json!([{
                "id": 1, "kind": "lost-reply", "command": "createVPC", "count": 2, "skip": 0,
                "probability": 1.0, "struck": 0,
            }])
        );
        let (status, told) = ask(&sim, "DELETE", "/sim/faults/7", "").await;
        let why = "there is no fault 7: GET /sim/faults lists them";
        assert_eq!((status, told), (404, json!({"refused": why})));
        let (status, _) = ask(&sim, "DELETE", "/sim/faults/1", "").await;
        assert_eq!((status, sim.faults().len()), (200, 0));
    }

    #[tokio::test]
    async fn mistakes_are_told_and_change_nothing() {
        let sim = sim();
        for (method, path, body, status, told) in [
            (
                "POST",
                "/sim/faults",
                "{",
                400,
                "the body: is no JSON: EOF while parsing an object at line 1 column 1",
            ),
            (
                "POST",
                "/sim/faults",
                "[]",
                400,
                "the whole: `[]` is no object: write NAME: VALUE pairs",
            ),
            (
                "POST",
                "/sim/faults",
                r#"{"kind": "slow"}"#,
                400,
                "millis: is missing: write millis: 3000",
            ),
            (
                "POST",
                "/sim/break",
                r#"{"what": "stop-vm", "vm": "a"}"#,
                409,
                "there is no machine a, nor any other",
            ),
            (
                "PUT",
                "/sim/faults",
                "",
                405,
                "/sim/faults knows GET and POST and DELETE, not PUT",
            ),
            (
                "GET",
                "/sim/weather",
                "",
                404,
                "nothing here: GET /sim lists what there is",
            ),
        ] {
            let answer = ask(&sim, method, path, body).await;
            assert_eq!(answer, (status, json!({"refused": told})));
        }
        assert_eq!(sim.faults(), []);
    }
}
