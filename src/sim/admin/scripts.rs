//! The part of the admin API that is about operators and scenarios.

use hyper::StatusCode;
use serde_json::{Value, json};

use super::{Answer, done, fields, nothing, refused, removed, unreadable};
use crate::sim::Sim;
use crate::sim::fields::Wrong;
use crate::sim::script::{Scenario, operator};

/// Answers a request below `/sim/operators`, `/sim/scenarios` and `/sim/play`.
pub(super) fn answer(sim: &Sim, (method, parts): (&str, &[&str]), body: &str) -> Answer {
    match (method, parts) {
        ("GET", ["operators"]) => (
            StatusCode::OK,
            sim.present(|state| state.agenda.operators()),
        ),
        ("POST", ["operators"]) => hire(sim, body),
        ("DELETE", ["operators"]) => {
            sim.present(|state| state.agenda.dismiss());
            done("no operator is at work")
        }
        ("GET", ["scenarios"]) => (StatusCode::OK, shipped()),
        ("GET", ["scenarios", name]) => match Scenario::text_of(name) {
            Ok(text) => (StatusCode::OK, json!({"name": name, "text": text})),
            Err(wrong) => (StatusCode::NOT_FOUND, json!({"refused": wrong.to_string()})),
        },
        ("GET", ["play"]) => (StatusCode::OK, playing(sim)),
        ("POST", ["play"]) => play(sim, body),
        ("DELETE", ["play"]) => {
            sim.present(|state| state.agenda.stop_plays());
            done("no scenario is being played")
        }
        ("DELETE", [list @ ("operators" | "play"), id]) => {
            let (what, path) = match *list {
                "play" => ("scenario", "/sim/play"),
                _ => ("operator", "/sim/operators"),
            };
            let gone = id
                .parse()
                .is_ok_and(|id| sim.present(|state| state.agenda.remove(id)));
            removed(gone, what, (id, path))
        }
        _ => nothing(method, &format!("/sim/{}", parts.join("/"))),
    }
}

fn shipped() -> Value {
    let row = |name| {
        let about = Scenario::shipped(name).map(|scenario| scenario.about);
        json!({"name": name, "about": about.unwrap_or_default()})
    };
    Scenario::names().map(row).collect()
}

fn playing(sim: &Sim) -> Value {
    sim.present(|state| {
        let journal: Vec<_> = state.agenda.journal().collect();
        json!({"playing": state.agenda.plays(), "journal": journal})
    })
}

fn hire(sim: &Sim, body: &str) -> Answer {
    let hired = sim.present(|state| {
        let now = state.world.now();
        let operator = fields(body).and_then(|fields| operator(fields, now))?;
        let user = operator.user.clone();
        let id = state.agenda.hire(operator, &mut state.world);
        Ok::<_, Wrong>(id.map(|id| (id, user)))
    });
    match hired {
        Ok(Ok((id, user))) => {
            let told = format!("operator {id}, {user}, is at work");
            (StatusCode::OK, json!({"done": told, "id": id}))
        }
        Ok(Err(why)) => refused(why),
        Err(wrong) => unreadable(&wrong.to_string()),
    }
}

/// A body that is an object with nothing but a name asks for a shipped scenario.
fn read(body: &str) -> Result<Scenario, Vec<Wrong>> {
    match serde_json::from_str(body) {
        Ok(Value::Object(asked)) if asked.len() == 1 && asked.contains_key("name") => {
            let name = asked["name"].as_str().unwrap_or_default();
            Scenario::shipped(name).map_err(|wrong| vec![wrong])
        }
        _ => Scenario::parse(body),
    }
}

fn play(sim: &Sim, body: &str) -> Answer {
    match read(body) {
        Ok(scenario) => {
            let (name, length) = (scenario.name.clone(), scenario.length().as_secs());
            sim.play(scenario).map_or_else(refused, |id| {
                let told = format!("scenario {id}, {name}, is being played for {length} s");
                (StatusCode::OK, json!({"done": told, "id": id}))
            })
        }
        Err(wrong) => {
            let told: Vec<String> = wrong.iter().map(ToString::to_string).collect();
            unreadable(&told.join("\n"))
        }
    }
}
