//! The command line: what may be typed, and its help. Decides nothing; see [`super::run`].
//!
//! Every command carries an example, because an example is what one looks for in `--help`.
//! The server commands are only described here; the module `run` carries them out.

mod access;
mod sim;
mod state;
mod zone;

use std::{net::SocketAddr, path::PathBuf, str::FromStr};

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use super::format::Format;
use crate::types::{
    duration::Duration,
    meta::Kind,
    role::{Role, UnknownRole},
};
pub use access::{AccessArgs, HashArgs, LoginArgs, TokenCommand};
pub use sim::{
    Add, BreakArgs, Control, FaultCommand, Listed, OperatorCommand, PlayArgs, ScenarioArgs,
    Settings, SettingsArgs, SimArgs, SimCommand, SimProfile, StateArgs, StopArgs,
};
pub use state::{
    BackupArgs, ExportArgs, FsckArgs, ImportArgs, Kept, RekeyArgs, StateCommand, StoreArgs,
};
pub use zone::{View, ZoneArgs};

/// Keeps Project Clearwater, an IMS core, running on Apache CloudStack.
#[derive(Debug, Parser)]
#[command(
    name = "weir",
    version,
    propagate_version = false,
    max_term_width = 100,
    after_help = "Start with `weir demo`: everything in one process, on a simulated CloudStack.\n\
                  `weir COMMAND --help` shows examples.\n\
                  Exit codes: 0 done, 1 failed (or `diff` found something), 2 wrong usage."
)]
pub struct WeirArgs {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Everything that `weir` can do.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Commands that speak to a running controller.
    #[command(flatten)]
    Client(ClientCommand),
    /// Commands that run something.
    #[command(flatten)]
    Server(ServerCommand),
}

/// Commands that speak to a running controller, or to nobody.
#[derive(Debug, Subcommand)]
pub enum ClientCommand {
    /// Make the cloud be what manifests say.
    Apply(ApplyArgs),
    /// Show what `apply` would do, before it does it.
    Diff(DiffArgs),
    /// List objects, or print some.
    Get(GetArgs),
    /// Tell everything about one object: what is wrong, what is being done, what comes next.
    Describe(DescribeArgs),
    /// Show what happened lately.
    Events(EventsArgs),
    /// Watch stacks live.
    Watch(WatchArgs),
    /// Delete objects and what they stand for, and wait until it is gone.
    Delete(DeleteArgs),
    /// Change how many machines a role has.
    Scale(ScaleArgs),
    /// Make Weir look but not act on a stack, for a while.
    Pause(PauseArgs),
    /// End a pause.
    Resume(ResumeArgs),
    /// Let a plan go on that destroys many machines.
    Approve(ApproveArgs),
    /// Print the DNS zone of a stack, for whoever keeps it by hand.
    Zone(ZoneArgs),
    /// Write a kubeconfig for another user of the same controller.
    Login(LoginArgs),
    /// Print the versions of this program and of the controller.
    Version(VersionArgs),
    /// Print a completion script for a shell.
    Completion(CompletionArgs),
}

/// Commands that run something; carried out by the module `run`.
#[derive(Debug, Subcommand)]
pub enum ServerCommand {
    /// Run the controller and its API.
    Controller(ControllerArgs),
    /// Run everything in one process on a simulated CloudStack, and break it.
    Demo(DemoArgs),
    /// Run the CloudStack simulator alone, or break one that runs.
    Sim(SimArgs),
    /// Back up what a controller keeps, move it, or see whether it is sound.
    #[command(
        subcommand,
        after_help = "Examples:\n  weir state backup /var/backups/weir-monday\n  \
                      weir state fsck --state /var/lib/weir"
    )]
    State(StateCommand),
    /// Make lines for the file of users that a controller lets in.
    #[command(
        subcommand,
        after_help = "Example:\n  weir token hash --user ann --group ops < ann.token >> tokens"
    )]
    Token(TokenCommand),
}

/// Which controller to speak to, and in which namespace.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Connection")]
pub struct Connection {
    /// The namespace. Default: the kubeconfig's, else `default`.
    #[arg(short, long, value_name = "NAMESPACE")]
    pub namespace: Option<String>,
    /// The kubeconfig of the controller. Default: DIR/kubeconfig of `--state`, else
    /// $KUBECONFIG, else ./state/kubeconfig.
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// The context of the kubeconfig. Default: its current one.
    #[arg(long, value_name = "NAME")]
    pub context: Option<String>,
    /// The state directory of a controller on this machine.
    #[arg(long, value_name = "DIR")]
    pub state: Option<PathBuf>,
}

/// How a command reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Report {
    /// For people.
    #[default]
    Text,
    /// For programs.
    Json,
}

/// Files with manifests.
#[derive(Clone, Debug, Args)]
pub struct Sources {
    /// A file, `-` for standard input, a folder, or a URL; may be given several times.
    #[arg(short = 'f', long = "filename", value_name = "FILE|-|DIR|URL")]
    pub files: Vec<String>,
    /// Look into the folders of folders too.
    #[arg(short = 'R', long)]
    pub recursive: bool,
}

/// See [`ClientCommand::Apply`].
#[derive(Debug, Args)]
#[command(
    mut_arg("files", |arg| arg.required(true)),
    after_help = "Examples:\n  weir apply -f manifests/demo.yaml\n  \
                  weir apply -f manifests/ -R --dry-run\n  generate-stack | weir apply -f -\n\n\
                  Nothing is sent before every file was read and found valid."
)]
pub struct ApplyArgs {
    /// The manifests.
    #[command(flatten)]
    pub sources: Sources,
    /// Have the server check everything, and change nothing.
    #[arg(long)]
    pub dry_run: bool,
    /// How to report.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Report,
    /// The controller.
    #[command(flatten)]
    pub connection: Connection,
}

/// See [`ClientCommand::Diff`].
#[derive(Debug, Args)]
#[command(
    mut_arg("files", |arg| arg.required(true)),
    after_help = "Example:\n  weir diff -f manifests/demo.yaml\n\n\
                  Exit codes: 0 nothing to do, 1 there is something to do, 2 failed."
)]
pub struct DiffArgs {
    /// The manifests.
    #[command(flatten)]
    pub sources: Sources,
    /// How to report.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Report,
    /// The controller.
    #[command(flatten)]
    pub connection: Connection,
}

/// Some kinds, written `stacks` or `stacks,machines`; never none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kinds(pub Vec<Kind>);

impl FromStr for Kinds {
    type Err = String;

    fn from_str(words: &str) -> Result<Self, Self::Err> {
        words
            .split(',')
            .map(kind)
            .collect::<Result<_, _>>()
            .map(Self)
    }
}

/// See [`ClientCommand::Get`].
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir get stacks\n  weir get machines -o wide -w\n  \
                  weir get stack ims -o yaml\n  weir get machines -l weir.dev/role=bono -o name\n  \
                  weir get machines -o jsonpath='{range .items[*]}{.metadata.name}{\"\\t\"}\
                  {.status.phase}{\"\\n\"}{end}'"
)]
pub struct GetArgs {
    /// The kind, or several with commas: stacks, machines, accounts, secrets, events, leases,
    /// namespaces.
    #[arg(value_name = "KIND")]
    pub kinds: Kinds,
    /// Names; without any, all of the namespace.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// `table`, `wide`, `yaml`, `json`, `name` or `jsonpath=TEMPLATE`.
    #[arg(short, long, default_value = "table", value_name = "FORMAT")]
    pub output: Format,
    /// Stay, and print each change.
    #[arg(short, long)]
    pub watch: bool,
    /// All namespaces.
    #[arg(short = 'A', long, conflicts_with_all = ["namespace", "names"])]
    pub all_namespaces: bool,
    /// Only objects with these labels, like `weir.dev/role=bono` or
    /// `weir.dev/role in (bono,sprout)`.
    #[arg(short = 'l', long, value_name = "LABELS", conflicts_with = "names")]
    pub selector: Option<String>,
    /// Print `metadata.managedFields` too.
    #[arg(long)]
    pub show_managed_fields: bool,
    /// The controller.
    #[command(flatten)]
    pub connection: Connection,
}

/// See [`ClientCommand::Describe`].
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  weir describe stack ims\n  weir describe machine ims-bono-0")]
pub struct DescribeArgs {
    /// The kind: stack, machine, account, secret, lease.
    #[arg(value_parser = kind)]
    pub kind: Kind,
    /// The name.
    pub name: String,
    /// How to report.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Report,
    /// The controller.
    #[command(flatten)]
    pub connection: Connection,
}

/// See [`ClientCommand::Events`].
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  weir events\n  weir events ims -w")]
pub struct EventsArgs {
    /// Only events of this stack and of its machines.
    pub stack: Option<String>,
    /// Stay, and print each event as it happens.
    #[arg(short, long)]
    pub watch: bool,
    /// All namespaces.
    #[arg(short = 'A', long, conflicts_with = "namespace")]
    pub all_namespaces: bool,
    /// How to report; with `-w`, JSON is one object a line.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Report,
    /// The controller.
    #[command(flatten)]
    pub connection: Connection,
}

/// What `watch` waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Until {
    /// Every watched stack is ready, with the latest manifest.
    Ready,
}

/// See [`ClientCommand::Watch`].
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir watch ims\n  weir watch ims --plain --until ready --timeout 30m\n\n\
                  q or Ctrl-C quits. Without a terminal, or with --plain, it prints a line a change."
)]
pub struct WatchArgs {
    /// The stack; without one, all of the namespace.
    pub stack: Option<String>,
    /// Print lines instead of a live view.
    #[arg(long)]
    pub plain: bool,
    /// End, with exit code 0, once this holds.
    #[arg(long, value_enum)]
    pub until: Option<Until>,
    /// With `--until`: give up, with exit code 1, after this time.
    #[arg(long, requires = "until", value_name = "DURATION")]
    pub timeout: Option<Duration>,
    /// How to report; JSON is one object a line.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Report,
    /// The controller.
    #[command(flatten)]
    pub connection: Connection,
}

/// See [`ClientCommand::Delete`].
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir delete stack ims\n  weir delete -f manifests/demo.yaml\n  \
                  weir delete machine ims-bono-0     # Weir makes another in its place"
)]
pub struct DeleteArgs {
    /// The kind.
    #[arg(value_parser = kind, requires = "names", required_unless_present = "files", conflicts_with = "files")]
    pub kind: Option<Kind>,
    /// The names.
    #[arg(value_name = "NAME")]
    pub names: Vec<String>,
    /// The manifests of what is to go.
    #[command(flatten)]
    pub sources: Sources,
    /// Wait until everything is gone.
    #[arg(long, default_value_t = true, default_missing_value = "true", num_args = 0..=1,
          require_equals = true, action = ArgAction::Set, value_name = "BOOL")]
    pub wait: bool,
    /// Stop waiting, with exit code 1, after this time. The deletion itself goes on.
    #[arg(long, value_name = "DURATION")]
    pub timeout: Option<Duration>,
    /// What does not exist counts as deleted.
    #[arg(long)]
    pub ignore_not_found: bool,
    /// How to report.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Report,
    /// The controller.
    #[command(flatten)]
    pub connection: Connection,
}

/// How many machines a role is to have, written `sprout=3`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RoleCount {
    /// The role.
    pub role: Role,
    /// The machines.
    pub replicas: u32,
}

/// Why a text is no [`RoleCount`].
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRoleCount {
    /// It is not `ROLE=N`.
    #[error("write ROLE=N, like sprout=3")]
    Shape,
    /// The role does not exist.
    #[error(transparent)]
    Role(#[from] UnknownRole),
    /// The number is none.
    #[error("`{0}` is not a number of machines: write a whole number from 0")]
    Number(String),
}

impl FromStr for RoleCount {
    type Err = InvalidRoleCount;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (role, number) = text.split_once('=').ok_or(InvalidRoleCount::Shape)?;
        let replicas = number
            .parse()
            .map_err(|_| InvalidRoleCount::Number(number.to_owned()))?;
        Ok(Self {
            role: role.parse()?,
            replicas,
        })
    }
}

/// See [`ClientCommand::Scale`].
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  weir scale ims sprout=3 bono=2")]
pub struct ScaleArgs {
    /// The stack.
    pub stack: String,
    /// Roles and how many machines each is to have.
    #[arg(value_name = "ROLE=N", required = true)]
    pub counts: Vec<RoleCount>,
    /// How to report.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Report,
    /// The controller.
    #[command(flatten)]
    pub connection: Connection,
}

/// See [`ClientCommand::Pause`].
#[derive(Debug, Args)]
#[command(
    after_help = "Example:\n  weir pause ims --for 2h --why 'storage maintenance, ask Ana'\n\n\
                  A pause ends by itself; `weir resume` ends it earlier."
)]
pub struct PauseArgs {
    /// The stack.
    pub stack: String,
    /// For how long, like 2h or 30m.
    #[arg(long = "for", value_name = "DURATION")]
    pub duration: Duration,
    /// Why; shown to everybody who looks at the stack.
    #[arg(long, value_name = "TEXT")]
    pub why: String,
    /// How to report.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Report,
    /// The controller.
    #[command(flatten)]
    pub connection: Connection,
}

/// See [`ClientCommand::Resume`].
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  weir resume ims")]
pub struct ResumeArgs {
    /// The stack.
    pub stack: String,
    /// How to report.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Report,
    /// The controller.
    #[command(flatten)]
    pub connection: Connection,
}

/// See [`ClientCommand::Approve`].
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir approve ims\n  weir approve ims 3f2a9c01\n\n\
                  An approval holds for the machines that are named now, and once."
)]
pub struct ApproveArgs {
    /// The stack.
    pub stack: String,
    /// The plan, as the stack tells it. Default: none, say what waits and change nothing.
    pub plan: Option<String>,
    /// How to report.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Report,
    /// The controller.
    #[command(flatten)]
    pub connection: Connection,
}

/// See [`ClientCommand::Version`].
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  weir version\n  weir version --client -o json")]
pub struct VersionArgs {
    /// Only that of this program; asks nobody.
    #[arg(long)]
    pub client: bool,
    /// How to report.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Report,
    /// The controller.
    #[command(flatten)]
    pub connection: Connection,
}

/// Shells with completion.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// Bash.
    Bash,
    /// Zsh.
    Zsh,
    /// Fish.
    Fish,
}

/// See [`ClientCommand::Completion`].
#[derive(Debug, Args)]
#[command(after_help = "Examples:\n  source <(weir completion bash)\n  \
                  weir completion fish > ~/.config/fish/completions/weir.fish")]
pub struct CompletionArgs {
    /// The shell.
    #[arg(value_enum)]
    pub shell: Shell,
}

/// How the controller writes its log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Lines for people.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// See [`ServerCommand::Controller`].
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  weir controller --state /var/lib/weir --listen 127.0.0.1:6443\n  \
                  weir controller --store etcds://etcd-a,etcd-b,etcd-c/weir --etcd-ca ca.crt\n\n\
                  It makes its own certificate authority and writes DIR/kubeconfig."
)]
pub struct ControllerArgs {
    /// Where it keeps its database, keys and kubeconfig.
    #[arg(long, value_name = "DIR", default_value = "state")]
    pub state: PathBuf,
    /// Where its API listens.
    #[arg(long, value_name = "ADDR", default_value = "127.0.0.1:6443")]
    pub listen: SocketAddr,
    /// How the log is written; what it tells follows $RUST_LOG.
    #[arg(long, value_enum, default_value_t)]
    pub log: LogFormat,
    /// Where it keeps its objects.
    #[command(flatten)]
    pub store: StoreArgs,
    /// Who is let in.
    #[command(flatten)]
    pub access: Box<AccessArgs>,
}

/// See [`ServerCommand::Demo`].
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  weir demo\n  weir demo --exit --plain      # a tour that ends by itself"
)]
pub struct DemoArgs {
    /// End after the tour instead of staying.
    #[arg(long)]
    pub exit: bool,
    /// Keep the state in this directory instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    pub keep: Option<PathBuf>,
    /// Print lines instead of a live view.
    #[arg(long)]
    pub plain: bool,
}

/// The kind that a word of the command line means.
fn kind(word: &str) -> Result<Kind, String> {
    Kind::from_word(word).ok_or_else(|| {
        format!(
            "there is no kind `{word}`: there are stacks, machines, accounts, secrets, events, \
             leases and namespaces"
        )
    })
}

#[cfg(test)]
mod tests;
