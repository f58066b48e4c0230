//! `weir sim`: the CloudStack simulator alone, and breaking things in one that runs.

use std::{fs, io::Write as _, net::SocketAddr, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::{Context as _, Result, bail};
use serde_json::{Map, Value, json};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    cli::args::{BreakArgs, SimArgs, SimCommand, SimProfile},
    clock::Clock,
    sim::{Profile, Sim, SimConfig, Who},
    telemetry,
};

/// `weir sim`.
///
/// # Errors
/// The address cannot be bound, the file cannot be written, or there is nothing to break.
pub async fn sim(args: SimArgs) -> Result<()> {
    match args.command {
        Some(SimCommand::Break(args)) => break_it(&args).await,
        None => serve(args).await,
    }
}

async fn serve(args: SimArgs) -> Result<()> {
    telemetry::start_logging(telemetry::LogFormat::Text);
    let mut signals = JoinSet::new();
    let stop = super::stop_on_signal(&mut signals)?;
    let sim = Sim::new(SimConfig {
        profile: profile(args.profile),
        seed: args.seed,
        clock: Clock::system(),
        state_file: args.state,
    });
    let listener = TcpListener::bind(args.listen)
        .await
        .with_context(|| format!("cannot listen on {}", args.listen))?;
    let address = listener.local_addr()?;
    if let Some(file) = &args.env_file {
        write_env(file, address, &sim)
            .with_context(|| format!("cannot write {}", file.display()))?;
    }
    tracing::info!(endpoint = endpoint(address), "simulated CloudStack runs");
    sim.serve(listener, stop).await?;
    Ok(())
}

const fn profile(profile: SimProfile) -> Profile {
    match profile {
        SimProfile::Instant => Profile::Instant,
        SimProfile::Lab => Profile::Lab,
        SimProfile::Slow => Profile::Slow,
    }
}

/// The API's URL.
pub(super) fn endpoint(address: SocketAddr) -> String {
    format!("http://{address}/client/api")
}

/// Endpoint and keys as shell variables, readable by their owner only.
fn write_env(file: &Path, address: SocketAddr, sim: &Sim) -> std::io::Result<()> {
    let (admin, tenant) = (sim.credentials(Who::Admin), sim.credentials(Who::Tenant));
    let mut out = fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(file)?;
    let endpoint = endpoint(address);
    writeln!(out, "CLOUDSTACK_ENDPOINT={endpoint}")?;
    writeln!(out, "CLOUDSTACK_KEY={}", admin.api_key)?;
    writeln!(out, "CLOUDSTACK_SECRET={}", admin.secret_key)?;
    writeln!(out, "CLOUDSTACK_ENDPOINT_TENANT={endpoint}")?;
    writeln!(out, "CLOUDSTACK_KEY_TENANT={}", tenant.api_key)?;
    writeln!(out, "CLOUDSTACK_SECRET_TENANT={}", tenant.secret_key)
}

/// `weir sim break WHAT [TARGET] [KEY=VALUE…]`.
async fn break_it(args: &BreakArgs) -> Result<()> {
    let body = breakage(&args.what, &args.settings)?;
    let url = format!("{}/sim/break", args.at.trim_end_matches('/'));
    let client = crate::http::client().build()?;
    let answer = client
        .post(&url)
        .header("content-type", "application/json")
        .body(body.to_string())
        .send()
        .await
        .with_context(|| {
            format!(
                "no simulator answers at {}: is `weir sim` running?",
                args.at
            )
        })?;
    let (fine, text) = (answer.status().is_success(), answer.text().await?);
    let told: Value = serde_json::from_str(&text).unwrap_or_default();
    let told = |member: &str| told[member].as_str().unwrap_or(text.trim()).to_owned();
    if let Some(why) = (!fine).then(|| told("refused")) {
        bail!("the simulator would not: {why}");
    }
    let mut out = std::io::stdout();
    writeln!(out, "{}", told("done"))?;
    Ok(())
}

/// A breakage as the simulator reads it. A bare word is what the breakage is usually about.
fn breakage(what: &str, settings: &[String]) -> Result<Value> {
    let mut fields = Map::from_iter([("what".to_owned(), json!(what))]);
    for setting in settings {
        let (key, value) = match setting.split_once('=') {
            Some((key, value)) => (key, value),
            None => (subject(what), setting.as_str()),
        };
        let value = match value.parse::<u64>() {
            Ok(number) if matches!(key, "port" | "number" | "to") => json!(number),
            _ if matches!(value, "true" | "false") => json!(value == "true"),
            _ => json!(value),
        };
        if fields.insert(key.to_owned(), value).is_some() {
            bail!("`{key}` is said twice; write the second as KEY=VALUE");
        }
    }
    Ok(Value::Object(fields))
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
        _ => "vm",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(line: &str) -> Value {
        let mut words = line.split(' ').map(str::to_owned);
        let what = words.next().unwrap();
        breakage(&what, &words.collect::<Vec<_>>()).unwrap()
    }

    #[test]
    fn a_bare_word_is_what_the_breakage_is_about() {
        assert_eq!(read("stop-vm a"), json!({"what": "stop-vm", "vm": "a"}));
        assert_eq!(
            read("close-port 5060 protocol=udp"),
            json!({"what": "close-port", "port": 5060, "protocol": "udp"})
        );
        assert_eq!(
            read("move-address a to=b"),
            json!({"what": "move-address", "address": "a", "to": "b"})
        );
        assert_eq!(
            read("destroy-vm a expunge=true"),
            json!({"what": "destroy-vm", "vm": "a", "expunge": true})
        );
    }
}
