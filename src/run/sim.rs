//! `weir sim`: the CloudStack simulator alone. Commands to one that runs are in `cli::sim`.

use std::{fs, io::Write as _, net::SocketAddr, os::unix::fs::OpenOptionsExt, path::Path};

use anyhow::{Context as _, Result, bail};
use tokio::{net::TcpListener, task::JoinSet};

use crate::{
    cli::args::{SimArgs, SimProfile},
    cli::sim::{control, text_of},
    clock::Clock,
    sim::{Profile, Scenario, Sim, SimConfig, Who, plane::PlaneConfig},
    telemetry,
};

/// `weir sim`.
///
/// # Errors
/// The address cannot be bound, the file cannot be written, or there is nothing to break.
pub async fn sim(args: SimArgs) -> Result<()> {
    match args.command {
        Some(command) => Box::pin(control(command)).await,
        None => serve(args).await,
    }
}

async fn serve(args: SimArgs) -> Result<()> {
    let scenario = args.scenario.as_deref().map(scenario).transpose()?;
    let plane = args.answer.as_deref().map(PlaneConfig::answering);
    let plane = plane.transpose().map_err(anyhow::Error::msg)?;
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
    if let Some(range) = args.public_range {
        sim.world(|world| world.set_public_range(&[range]));
    }
    let mut guests = JoinSet::new();
    if let Some(plane) = plane {
        guests.spawn(sim.answer(plane, stop.clone()));
    }
    sim.world(|world| world.settings.webhooks_to_loopback = args.webhooks_to_loopback);
    if let Some(scenario) = scenario {
        tracing::info!(
            name = scenario.name,
            seconds = scenario.length().as_secs(),
            "scenario"
        );
        sim.play(scenario).map_err(anyhow::Error::msg)?;
    }
    tracing::info!(endpoint = endpoint(address), "simulated CloudStack runs");
    sim.serve(listener, stop).await?;
    while guests.join_next().await.is_some() {}
    Ok(())
}

/// A scenario by file or name.
fn scenario(word: &str) -> Result<Scenario> {
    let read = match text_of(word)? {
        Some(text) => Scenario::parse(&text),
        None => Scenario::shipped(word).map_err(|wrong| vec![wrong]),
    };
    read.or_else(|wrong| {
        let told: Vec<String> = wrong.iter().map(ToString::to_string).collect();
        bail!("{word} cannot be played:\n  {}", told.join("\n  "))
    })
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
