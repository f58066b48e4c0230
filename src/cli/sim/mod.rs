//! `weir sim …`: commands to a simulator that runs, by its admin API.
//!
//! What may be said and what is wrong with it is the simulator's business; here words become JSON
//! and JSON becomes text (`show`).

mod remote;
mod show;

use std::path::Path;

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};

use super::args::{
    Add, BreakArgs, Control, FaultCommand, Listed, OperatorCommand, PlayArgs, Report, ScenarioArgs,
    SettingsArgs, SimCommand, StopArgs,
};
use super::console::Console;
use remote::{Remote, Request};

/// The longest scenario that is read: twice what a simulator takes, so that it can say so itself.
const SCENARIO_MAX: u64 = 524_288;

/// Carries out a command to a simulator.
///
/// # Errors
/// No simulator answers, or it would not.
pub async fn control(command: SimCommand) -> Result<()> {
    let console = Console::new();
    match command {
        SimCommand::Break(args) => break_it(&console, &args).await,
        SimCommand::Fault(FaultCommand::Add(args)) => add_fault(&console, &args).await,
        SimCommand::Fault(FaultCommand::List(args)) => {
            list(&console, &args, ("/sim/faults", show::faults)).await
        }
        SimCommand::Fault(FaultCommand::Kinds(args)) => {
            list(&console, &args, ("/sim/faults/kinds", show::kinds)).await
        }
        SimCommand::Fault(FaultCommand::Clear(args)) => clear(&console, &args, "/sim/faults").await,
        SimCommand::Operator(OperatorCommand::Add(args)) => {
            let body = settings(Map::new(), &args.settings, None)?;
            let hire = Request::post("/sim/operators", body);
            done(&console, &args.control, hire).await
        }
        SimCommand::Operator(OperatorCommand::List(args)) => {
            list(&console, &args, ("/sim/operators", show::operators)).await
        }
        SimCommand::Operator(OperatorCommand::Clear(args)) => {
            clear(&console, &args, "/sim/operators").await
        }
        SimCommand::Play(args) => play(&console, &args).await,
        SimCommand::Stop(args) => clear(&console, &args, "/sim/play").await,
        SimCommand::Scenarios(args) => scenarios(&console, &args).await,
        SimCommand::State(args) => list(&console, &args.listed, ("/sim/state", show::state)).await,
        SimCommand::Settings(args) => change_settings(&console, &args).await,
    }
}

/// Asks for something and tells what was done.
async fn done(console: &Console, control: &Control, request: Request) -> Result<()> {
    let answer = Remote::new(control)?.ask(request).await?;
    let told = answer["done"].as_str().unwrap_or("done");
    Ok(console.lines(&[told.to_owned()])?)
}

/// The path of a list, and how it is shown.
type View = (&'static str, fn(&Console, &Value) -> Vec<String>);

/// Asks for a list and shows it.
async fn list(console: &Console, args: &Listed, (path, text): View) -> Result<()> {
    let answer = Remote::new(&args.control)?.ask(Request::get(path)).await?;
    match args.output {
        Report::Json => Ok(console.print(&format!("{answer:#}\n"))?),
        Report::Text => Ok(console.lines(&text(console, &answer))?),
    }
}

async fn clear(console: &Console, args: &StopArgs, path: &str) -> Result<()> {
    let path = match args.id {
        Some(id) => format!("{path}/{id}"),
        None => path.to_owned(),
    };
    done(console, &args.control, Request::delete(&path)).await
}

/// `weir sim break [WHAT [TARGET] [KEY=VALUE…]]`.
async fn break_it(console: &Console, args: &BreakArgs) -> Result<()> {
    let Some(what) = &args.what else {
        let listed = Listed {
            output: Report::Text,
            control: args.control.clone(),
        };
        return list(console, &listed, ("/sim/break", show::breakages)).await;
    };
    let fields = Map::from_iter([("what".to_owned(), json!(what))]);
    let body = settings(fields, &args.settings, Some(subject(what)))?;
    done(console, &args.control, Request::post("/sim/break", body)).await
}

/// What a bare word means.
fn subject(what: &str) -> &'static str {
    match what {
        "close-port" | "add-rule" | "edit-rule" => "port",
        "renumber-rule" => "number",
        "delete-tags" => "resource",
        "replace-acl" | "delete-tier" => "tier",
        "delete-vpc" => "vpc",
        "delete-affinity-group" => "group",
        "disable-nat" | "move-address" | "release-address" => "address",
        "fail-host" | "recover-host" => "host",
        _ => "vm",
    }
}

/// KEY=VALUE words as fields of an object; a word without a key means `bare`, where there is such.
fn settings(
    mut fields: Map<String, Value>,
    words: &[String],
    bare: Option<&str>,
) -> Result<Map<String, Value>> {
    for word in words {
        let (key, value) = match (word.split_once('='), bare) {
            (Some((key, value)), _) => (key, value),
            (None, Some(bare)) => (bare, word.as_str()),
            (None, None) => bail!("`{word}` says nothing: write it as KEY=VALUE"),
        };
        if fields.insert(key.to_owned(), json!(value)).is_some() {
            bail!("`{key}` is said twice; write the second as KEY=VALUE");
        }
    }
    Ok(fields)
}

async fn add_fault(console: &Console, args: &Add) -> Result<()> {
    let fields = Map::from_iter([("kind".to_owned(), json!(args.kind))]);
    let body = settings(fields, &args.settings.settings, None)?;
    let control = &args.settings.control;
    done(console, control, Request::post("/sim/faults", body)).await
}

/// `weir sim play [FILE|NAME]`.
async fn play(console: &Console, args: &PlayArgs) -> Result<()> {
    let Some(scenario) = &args.scenario else {
        return list(console, &args.listed, ("/sim/play", show::playing)).await;
    };
    let request = match text_of(scenario)? {
        Some(text) => Request::text("/sim/play", text),
        None => Request::post(
            "/sim/play",
            Map::from_iter([("name".to_owned(), json!(scenario))]),
        ),
    };
    done(console, &args.listed.control, request).await
}

/// The text of a scenario in a file; none if the word looks like a name and there is no such file.
///
/// # Errors
/// The file cannot be read.
pub fn text_of(scenario: &str) -> Result<Option<String>> {
    let file = Path::new(scenario);
    let is_name = !scenario.contains(['/', '.']);
    if is_name && !file.exists() {
        return Ok(None);
    }
    let size = file
        .metadata()
        .with_context(|| format!("cannot read {scenario}"))?
        .len();
    if size > SCENARIO_MAX {
        bail!("{scenario} has {size} bytes: that is no scenario");
    }
    let text = std::fs::read_to_string(file);
    text.map(Some)
        .with_context(|| format!("cannot read {scenario}"))
}

async fn scenarios(console: &Console, args: &ScenarioArgs) -> Result<()> {
    let Some(name) = &args.name else {
        return list(console, &args.listed, ("/sim/scenarios", show::scenarios)).await;
    };
    let path = format!("/sim/scenarios/{name}");
    let answer = Remote::new(&args.listed.control)?
        .ask(Request::get(&path))
        .await?;
    Ok(console.print(answer["text"].as_str().unwrap_or_default())?)
}

async fn change_settings(console: &Console, args: &SettingsArgs) -> Result<()> {
    if args.settings.is_empty() {
        return list(console, &args.listed, ("/sim/settings", show::settings)).await;
    }
    let body = settings(Map::new(), &args.settings, None)?;
    done(
        console,
        &args.listed.control,
        Request::patch("/sim/settings", body),
    )
    .await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Value {
        let mut words = line.split(' ').map(str::to_owned);
        let what = words.next().unwrap();
        let fields = Map::from_iter([("what".to_owned(), json!(what))]);
        let words: Vec<_> = words.collect();
        settings(fields, &words, Some(subject(&what)))
            .unwrap()
            .into()
    }

    #[test]
    fn a_bare_word_is_what_the_breakage_is_about() {
        assert_eq!(read("stop-vm a"), json!({"what": "stop-vm", "vm": "a"}));
        assert_eq!(
            read("close-port 5060 protocol=udp"),
            json!({"what": "close-port", "port": "5060", "protocol": "udp"})
        );
        assert_eq!(
            read("move-address a to=b"),
            json!({"what": "move-address", "address": "a", "to": "b"})
        );
    }

    #[test]
    fn a_word_that_says_nothing_is_refused() {
        let twice = settings(Map::new(), &["a=1".to_owned(), "a=2".to_owned()], None);
        assert_eq!(
            twice.unwrap_err().to_string(),
            "`a` is said twice; write the second as KEY=VALUE"
        );
        let bare = settings(Map::new(), &["a".to_owned()], None);
        assert_eq!(
            bare.unwrap_err().to_string(),
            "`a` says nothing: write it as KEY=VALUE"
        );
    }

    #[test]
    fn a_scenario_is_a_name_or_a_file() {
        assert_eq!(text_of("bad-night").unwrap(), None);
        let told = format!("{:#}", text_of("./no-such-night.yaml").unwrap_err());
        assert!(
            told.starts_with("cannot read ./no-such-night.yaml: "),
            "{told}"
        );
    }
}
