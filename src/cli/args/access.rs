//! Who may do what: options of the controller, and tokens.

use std::path::PathBuf;

use clap::{Args, Subcommand};

use super::Connection;

/// Who is let in, besides the holder of the token in the state folder.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Who may do what")]
pub struct AccessArgs {
    /// Users by their tokens: SHA256,USER,UID,"GROUP,GROUP" a line, which `weir token hash` prints.
    #[arg(long, value_name = "FILE")]
    pub token_auth_file: Option<PathBuf>,
    /// Authorities whose client certificates are taken. Default: DIR/tls/ca.crt of `--state`.
    #[arg(long, value_name = "FILE")]
    pub client_ca_file: Option<PathBuf>,
    /// The public keys (JWKS) of an OpenID Connect provider whose tokens are taken.
    #[arg(long, value_name = "FILE", requires_all = ["oidc_issuer_url", "oidc_client_id"])]
    pub oidc_jwks_file: Option<PathBuf>,
    /// The provider, as in the claim `iss` of its tokens.
    #[arg(long, value_name = "URL", requires = "oidc_jwks_file")]
    pub oidc_issuer_url: Option<String>,
    /// Whom its tokens must be for, as in their claim `aud`.
    #[arg(long, value_name = "ID", requires = "oidc_jwks_file")]
    pub oidc_client_id: Option<String>,
    /// The claim that names the user.
    #[arg(long, value_name = "CLAIM", default_value = "sub")]
    pub oidc_username_claim: String,
    /// What is put before the name; `-` for nothing. Default: the provider's URL and a `#`, but
    /// nothing before the claim `email`.
    #[arg(long, value_name = "PREFIX", requires = "oidc_jwks_file")]
    pub oidc_username_prefix: Option<String>,
    /// The claim with the user's groups.
    #[arg(long, value_name = "CLAIM", requires = "oidc_jwks_file")]
    pub oidc_groups_claim: Option<String>,
    /// What is put before each group.
    #[arg(
        long,
        value_name = "PREFIX",
        default_value = "",
        hide_default_value = true
    )]
    pub oidc_groups_prefix: String,
    /// Write down here who did what: Kubernetes' audit events as JSON lines, without bodies.
    #[arg(long, value_name = "FILE")]
    pub audit_log: Option<PathBuf>,
    /// MiB of the audit log after which the next file is begun.
    #[arg(long, value_name = "MIB", default_value_t = 100,
          value_parser = clap::value_parser!(u32).range(1..=4096))]
    pub audit_log_maxsize: u32,
    /// Former files of the audit log that are kept.
    #[arg(long, value_name = "N", default_value_t = 10,
          value_parser = clap::value_parser!(u32).range(..=1000))]
    pub audit_log_maxbackup: u32,
    /// Let everybody on this computer do everything; only where `--listen` is on loopback.
    #[arg(long)]
    pub insecure_no_auth: bool,
}

/// Commands about tokens.
#[derive(Clone, Debug, Subcommand)]
pub enum TokenCommand {
    /// Print the line of a token, which comes on standard input, for `--token-auth-file`.
    #[command(
        after_help = "Example:\n  head -c 32 /dev/urandom | base64 > ann.token\n  \
                            weir token hash --user ann --group ops < ann.token >> tokens"
    )]
    Hash(HashArgs),
}

/// See [`TokenCommand::Hash`].
#[derive(Clone, Debug, Args)]
pub struct HashArgs {
    /// The name of its holder.
    #[arg(long, value_name = "NAME")]
    pub user: String,
    /// What tells holders of one name apart.
    #[arg(
        long,
        value_name = "UID",
        default_value = "",
        hide_default_value = true
    )]
    pub uid: String,
    /// A group of its holder; may be given several times.
    #[arg(long = "group", value_name = "GROUP")]
    pub groups: Vec<String>,
}

/// See [`ClientCommand::Login`](super::ClientCommand::Login).
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  weir login --user ann --token-file ann.token -o ann.kubeconfig -n lab\n  \
                        KUBECONFIG=ann.kubeconfig weir get stacks"
)]
pub struct LoginArgs {
    /// What the user, the cluster and the context are called in the kubeconfig.
    #[arg(long, value_name = "NAME")]
    pub user: String,
    /// A file with the user's token.
    #[arg(
        long,
        value_name = "FILE",
        required_unless_present = "client_certificate",
        conflicts_with = "client_certificate"
    )]
    pub token_file: Option<PathBuf>,
    /// The user's certificate.
    #[arg(long, value_name = "FILE", requires = "client_key")]
    pub client_certificate: Option<PathBuf>,
    /// Its key.
    #[arg(long, value_name = "FILE", requires = "client_certificate")]
    pub client_key: Option<PathBuf>,
    /// The kubeconfig to add them to; it is made if there is none.
    #[arg(short, long, value_name = "FILE")]
    pub output: PathBuf,
    /// The controller, as it is reached now.
    #[command(flatten)]
    pub connection: Connection,
}
