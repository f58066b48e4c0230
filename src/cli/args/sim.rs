//! The command line of the simulator: running one, and what can be done to one that runs.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
};

use clap::{Args, Subcommand, ValueEnum};

use super::Report;

/// How quick the simulated cloud is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum SimProfile {
    /// Every job ends at once.
    Instant,
    /// As a small CloudStack was measured.
    #[default]
    Lab,
    /// As a busy one.
    Slow,
}

/// See [`ServerCommand::Sim`](super::ServerCommand::Sim).
#[derive(Clone, Debug, Args)]
#[command(
    args_conflicts_with_subcommands = true,
    after_help = "Examples:\n  weir sim --listen 127.0.0.1:8080 --env-file sim.env\n  \
                  weir sim --profile instant --scenario bad-night\n  \
                  weir sim break stop-vm ims-sprout-0\n  \
                  weir sim fault add lost-reply command=createVPC count=1\n\n\
                  docs/simulator.md tells everything that it does and does not do."
)]
pub struct SimArgs {
    /// What to do to one that runs; without it, runs one.
    #[command(subcommand)]
    pub command: Option<SimCommand>,
    /// Where it listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:8080")]
    pub listen: SocketAddr,
    /// How quick it is.
    #[arg(long, value_enum, default_value_t)]
    pub profile: SimProfile,
    /// The seed of everything random in it.
    #[arg(long, value_name = "N", default_value_t = 1)]
    pub seed: u64,
    /// Where to write its endpoint and keys, as shell variables.
    #[arg(long, value_name = "FILE")]
    pub env_file: Option<PathBuf>,
    /// Where to keep the simulated world between runs.
    #[arg(long, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// What its machines answer where a VPC lies in 127.0.0.0/8, like tcp:22,http:80,udp:5060;
    /// `none` leaves it to those that say it themselves. Without it no VPC may lie there.
    #[arg(long, value_name = "KIND:PORT,…")]
    pub answer: Option<String>,
    /// Its public addresses, in place of the usual ones.
    #[arg(long, value_name = "FIRST-LAST", value_parser = addresses)]
    pub public_range: Option<(Ipv4Addr, Ipv4Addr)>,
    /// A scenario to play from the beginning: a file, or the name of one that is shipped.
    #[arg(long, value_name = "FILE|NAME")]
    pub scenario: Option<String>,
    /// Deliver webhooks to this machine too, which CloudStack refuses.
    #[arg(long)]
    pub webhooks_to_loopback: bool,
}

/// How many public addresses may be asked for: those of a `/16`.
const ADDRESSES_MAX: u32 = 65_536;

/// Reads `127.17.0.10-127.17.0.250`.
fn addresses(word: &str) -> Result<(Ipv4Addr, Ipv4Addr), String> {
    let (first, last) = word
        .split_once('-')
        .ok_or("write FIRST-LAST, like 127.17.0.10-127.17.0.250")?;
    let read = |word: &str| {
        let address: Result<Ipv4Addr, _> = word.trim().parse();
        address.map_err(|_| format!("{word} is no IPv4 address"))
    };
    let (first, last) = (read(first)?, read(last)?);
    let more = u32::from(last).checked_sub(u32::from(first));
    match more {
        None => Err(format!("{last} comes before {first}")),
        Some(more) if more >= ADDRESSES_MAX => Err(format!("at most {ADDRESSES_MAX} addresses")),
        Some(_) => Ok((first, last)),
    }
}

/// What can be done to a simulator that runs.
#[derive(Clone, Debug, Subcommand)]
pub enum SimCommand {
    /// Break something in the simulated cloud, at once.
    Break(BreakArgs),
    /// Let requests, answers and jobs go wrong.
    #[command(
        subcommand,
        after_help = "Examples:\n  weir sim fault add lost-reply command=createVPC count=1\n  \
                      weir sim fault add status code=503 probability=0.1 until=10m\n  \
                      weir sim fault list\n  weir sim fault clear"
    )]
    Fault(FaultCommand),
    /// Let other people work on the cloud, who stop, destroy and edit.
    #[command(
        subcommand,
        after_help = "Examples:\n  weir sim operator add rate=30\n  \
                      weir sim operator add user=stranger rate=6 does=stop-vm,delete-tags until=2h\n  \
                      weir sim operator clear"
    )]
    Operator(OperatorCommand),
    /// Play a script of failures; without one, tell what is being played and was done.
    Play(PlayArgs),
    /// Stop playing; what was done stays.
    Stop(StopArgs),
    /// List the scenarios that are shipped, or print one.
    Scenarios(ScenarioArgs),
    /// Show VMs, addresses and jobs at a glance.
    State(StateArgs),
    /// Show all settings, or change some.
    Settings(SettingsArgs),
}

/// Which simulator.
#[derive(Clone, Debug, Args)]
pub struct Control {
    /// The simulator.
    #[arg(
        long,
        value_name = "URL",
        env = "WEIR_SIM",
        default_value = "http://127.0.0.1:8080"
    )]
    pub at: String,
}

/// See [`SimCommand::Break`].
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  weir sim break\n  weir sim break stop-vm ims-sprout-0\n  \
                  weir sim break kill-guest any user=kim\n  \
                  weir sim break close-port 5060 protocol=udp\n  \
                  weir sim break move-address ims-bono-0 to=ims-homer-0 --at http://127.0.0.1:8080"
)]
pub struct BreakArgs {
    /// What to do, like `stop-vm`, `close-port` or `move-address`; without it, lists what can be
    /// done.
    pub what: Option<String>,
    /// To what, like `ims-sprout-0`, `any` or `5060`, and further settings as KEY=VALUE.
    #[arg(value_name = "TARGET|KEY=VALUE")]
    pub settings: Vec<String>,
    /// The simulator.
    #[command(flatten)]
    pub control: Control,
}

/// See [`SimCommand::Fault`].
#[derive(Clone, Debug, Subcommand)]
pub enum FaultCommand {
    /// Add a fault: its kind, and what it needs or what narrows it down as KEY=VALUE.
    #[command(
        after_help = "What narrows a fault down:\n  command=NAME|PREFIX*  the commands that it strikes\n  \
                      user=NAME             whose requests\n  count=N               how often\n  \
                      skip=N                how many it lets pass first\n  \
                      probability=P         how likely each time, from 0 to 1\n  \
                      from=TIME until=TIME  when: a time from now like 90s, or a point in time\n\n\
                      Example:\n  weir sim fault add fail-job code=534 command=startVirtualMachine count=2"
    )]
    Add(Add),
    /// List the faults that are waiting.
    List(Listed),
    /// List the kinds of faults.
    Kinds(Listed),
    /// Take all faults away, or one by its number.
    Clear(StopArgs),
}

/// See [`SimCommand::Operator`].
#[derive(Clone, Debug, Subcommand)]
pub enum OperatorCommand {
    /// Set an operator to work: rate=DEEDS-AN-HOUR, and user, does, count and until if you like.
    Add(Settings),
    /// List the operators at work.
    List(Listed),
    /// Send all operators home, or one by its number.
    Clear(StopArgs),
}

/// Something with a kind that is added.
#[derive(Clone, Debug, Args)]
pub struct Add {
    /// The kind.
    pub kind: String,
    /// What it needs and what narrows it down.
    #[command(flatten)]
    pub settings: Settings,
}

/// Settings as KEY=VALUE.
#[derive(Clone, Debug, Args)]
pub struct Settings {
    /// Settings.
    #[arg(value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// The simulator.
    #[command(flatten)]
    pub control: Control,
}

/// Something that is listed.
#[derive(Clone, Debug, Args)]
pub struct Listed {
    /// How to report.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Report,
    /// The simulator.
    #[command(flatten)]
    pub control: Control,
}

/// See [`SimCommand::Play`].
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  weir sim play bad-night\n  weir sim play my-night.yaml\n  \
                  weir sim play"
)]
pub struct PlayArgs {
    /// A file, or the name of a scenario that is shipped.
    #[arg(value_name = "FILE|NAME")]
    pub scenario: Option<String>,
    /// How to report.
    #[command(flatten)]
    pub listed: Listed,
}

/// See [`SimCommand::Stop`].
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  weir sim stop\n  weir sim stop 2")]
pub struct StopArgs {
    /// Its number; all without one.
    #[arg(value_name = "ID")]
    pub id: Option<u64>,
    /// The simulator.
    #[command(flatten)]
    pub control: Control,
}

/// See [`SimCommand::Scenarios`].
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  weir sim scenarios\n  weir sim scenarios bad-night > my-night.yaml"
)]
pub struct ScenarioArgs {
    /// The name of one.
    pub name: Option<String>,
    /// How to report.
    #[command(flatten)]
    pub listed: Listed,
}

/// See [`SimCommand::State`].
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  weir sim state\n  weir sim state -o json")]
pub struct StateArgs {
    /// How to report.
    #[command(flatten)]
    pub listed: Listed,
}

/// See [`SimCommand::Settings`].
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  weir sim settings\n  weir sim settings expunge.delay=60\n  \
                  weir sim settings profile=instant clock.skew=120"
)]
pub struct SettingsArgs {
    /// New values; without any, shows all.
    #[arg(value_name = "NAME=VALUE")]
    pub settings: Vec<String>,
    /// How to report.
    #[command(flatten)]
    pub listed: Listed,
}
