//! The command line of where a controller keeps its state, and of what works on that: export,
//! import, fsck, backup, rekey.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Report;

/// Where a controller keeps its objects, if not in its state directory.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Store")]
pub struct StoreArgs {
    /// An etcd that keeps the objects: etcd://HOST:PORT,HOST:PORT/PREFIX, or etcds:// for TLS.
    /// Default: a database in `--state`.
    #[arg(long, value_name = "URL", env = "WEIR_STORE", hide_env_values = true)]
    pub store: Option<String>,
    /// The authorities that sign etcd's certificates. Default: the system's.
    #[arg(
        long,
        value_name = "FILE",
        env = "WEIR_ETCD_CA",
        hide_env_values = true,
        requires = "store"
    )]
    pub etcd_ca: Option<PathBuf>,
    /// The certificate that etcd knows this client by.
    #[arg(
        long,
        value_name = "FILE",
        env = "WEIR_ETCD_CERT",
        hide_env_values = true,
        requires = "store"
    )]
    pub etcd_cert: Option<PathBuf>,
    /// The certificate's private key.
    #[arg(
        long,
        value_name = "FILE",
        env = "WEIR_ETCD_KEY",
        hide_env_values = true,
        requires = "store"
    )]
    pub etcd_key: Option<PathBuf>,
    /// The user that etcd knows.
    #[arg(
        long,
        value_name = "NAME",
        env = "WEIR_ETCD_USER",
        hide_env_values = true,
        requires = "store"
    )]
    pub etcd_user: Option<String>,
    /// The user's password, on the first line of a file.
    #[arg(
        long,
        value_name = "FILE",
        env = "WEIR_ETCD_PASSWORD_FILE",
        hide_env_values = true,
        requires = "store"
    )]
    pub etcd_password_file: Option<PathBuf>,
    /// The keys that Secrets are encrypted with, a line NAME:KEY each, with 32 bytes in base64: the
    /// first encrypts, all of them decrypt. $WEIR_ENCRYPTION_KEYS may hold such lines instead.
    /// Default: a key that is made in `--state`; with an etcd there is none.
    #[arg(
        long,
        value_name = "FILE",
        env = "WEIR_ENCRYPTION_KEY_FILE",
        hide_env_values = true
    )]
    pub encryption_key_file: Option<PathBuf>,
}

/// Where a controller keeps what it knows.
#[derive(Clone, Debug, Args)]
pub struct Kept {
    /// The state directory of the controller.
    #[arg(long, value_name = "DIR", default_value = "state")]
    pub state: PathBuf,
    /// Where it keeps its objects.
    #[command(flatten)]
    pub store: StoreArgs,
}

/// See [`ServerCommand::State`](super::ServerCommand::State).
#[derive(Clone, Debug, Subcommand)]
pub enum StateCommand {
    /// Write all objects to a file, whole: with statuses, the ledger and encrypted Secrets.
    Export(ExportArgs),
    /// Put the objects of an export into an empty store.
    Import(ImportArgs),
    /// See whether a state is sound; changes nothing.
    Fsck(FsckArgs),
    /// Write everything that a restore needs to a new directory.
    Backup(BackupArgs),
    /// Encrypt all Secrets with the first key.
    Rekey(RekeyArgs),
}

/// See [`StateCommand::Export`].
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  weir state export\n  \
                  weir state export --state /var/lib/weir -o weir.jsonl\n  \
                  weir state export --store etcd://127.0.0.1:2379/weir -o -\n\n\
                  The objects are as they were together at one moment. A controller that runs on \
                  the directory\nis asked for them. Secrets are encrypted with the first key, which an import \
                  needs.")]
pub struct ExportArgs {
    /// The file, which is written whole or not at all; `-` for standard output. Default: a new
    /// one here, named after the time.
    #[arg(short, long, value_name = "FILE|-")]
    pub output: Option<PathBuf>,
    /// Write Secrets in plain text.
    #[arg(long)]
    pub reveal_secrets: bool,
    /// What is exported.
    #[command(flatten)]
    pub kept: Kept,
}

/// See [`StateCommand::Import`].
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  weir state import weir.jsonl --state /var/lib/weir\n  \
                  weir state import weir.jsonl --store etcd://127.0.0.1:2379/weir\n\n\
                  The whole file is checked before anything is written. Uids, generations and \
                  statuses stay;\nno controller may run there. Never let the old controller and \
                  the new one run both: they\nwould fight over the same machines."
)]
pub struct ImportArgs {
    /// The export.
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// Where to; an empty store.
    #[command(flatten)]
    pub kept: Kept,
}

/// See [`StateCommand::Fsck`].
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  weir state fsck\n  weir state fsck --state /var/lib/weir -o json\n\n\
                  Exit codes: 0 sound (perhaps with remarks), 1 there are errors, 2 could not look."
)]
pub struct FsckArgs {
    /// How to report.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Report,
    /// What is looked at.
    #[command(flatten)]
    pub kept: Kept,
}

/// See [`StateCommand::Backup`].
#[derive(Clone, Debug, Args)]
#[command(after_help = "Examples:\n  weir state backup weir-before-upgrade\n  \
                  weir state backup /var/backups/weir --state /var/lib/weir\n\n\
                  It holds an export, and the certificates, token and kubeconfig of the state \
                  directory, for your\neyes only. The controller may run. The last line says how \
                  to restore it.")]
pub struct BackupArgs {
    /// The directory to make; it must not exist.
    #[arg(value_name = "DIR")]
    pub directory: PathBuf,
    /// Write Secrets in plain text.
    #[arg(long)]
    pub reveal_secrets: bool,
    /// What is backed up.
    #[command(flatten)]
    pub kept: Kept,
}

/// See [`StateCommand::Rekey`].
#[derive(Clone, Debug, Args)]
#[command(
    after_help = "Examples:\n  weir state rekey --new-key --state /var/lib/weir\n  \
                  weir state rekey --store etcd://127.0.0.1:2379/weir --encryption-key-file keys\n\n\
                  To rotate keys of a file: write the new one as its first line, restart the \
                  controllers, run\nthis, and take the old line out. A controller must not run on \
                  the directory; on an etcd it may.\nBroken off, it can be run again. Exports and \
                  backups keep needing the keys they were made with."
)]
pub struct RekeyArgs {
    /// Make a new key first, in the state directory.
    #[arg(long, conflicts_with_all = ["store", "encryption_key_file"])]
    pub new_key: bool,
    /// Remove, for good, Secrets that no key decrypts.
    #[arg(long)]
    pub remove_lost: bool,
    /// Whose Secrets.
    #[command(flatten)]
    pub kept: Kept,
}
