//! The long-running controller: store, loop and API in one process.

use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    sync::Arc,
};

use anyhow::{Context as _, Result};
use futures_util::future::BoxFuture;
use serde_json::Value;
use tokio::{net::TcpListener, task::JoinSet};
use tokio_util::sync::CancellationToken;

use super::{
    keys,
    leader::{self, Leading},
    state::Place,
};
use crate::{
    api::{self, Audit, AuditOptions, AuthOptions, Authenticators, Oidc},
    cli::args::{AccessArgs, ControllerArgs, LogFormat, StoreArgs},
    clock::Clock,
    cloud::{
        Connect, Guard,
        cloudstack::{CloudStack, CloudStackConfig, Observer},
    },
    controller::{Context, Ids, reconcile, runner},
    store::{Etcd, EtcdConfig, EtcdFiles, HISTORY, Keys, Leadership, Store},
    telemetry::{self, Metrics},
    types::{account::CloudAccountSpec, core::Confidential, stack::ClearwaterStack},
};

/// What a controller is made from.
pub struct ControllerConfig {
    /// Where it keeps its keys and kubeconfig, and its database unless that is an etcd.
    pub state: PathBuf,
    /// The etcd that keeps the objects, if one does.
    pub etcd: Option<EtcdConfig>,
    /// What Secrets are encrypted with. Where none is given, a state folder has a key of its own,
    /// and an etcd is refused.
    pub keys: Option<Arc<Keys>>,
    /// Where its API listens.
    pub listen: SocketAddr,
    /// Who is let in, besides the holder of the state folder's token.
    pub auth: AuthOptions,
    /// Where it is written down who did what, if anywhere.
    pub audit: Option<AuditOptions>,
    /// The time.
    pub clock: Clock,
    /// Where job ids come from.
    pub ids: Ids,
}

/// A controller that runs.
pub struct Controller {
    /// Where its API listens.
    pub address: SocketAddr,
    /// What clients need to reach it.
    pub kubeconfig: PathBuf,
    context: Arc<Context<Connector>>,
    stop: CancellationToken,
    tasks: JoinSet<Result<()>>,
}

impl Controller {
    /// Opens the state, binds the API, starts the loop.
    ///
    /// # Errors
    /// The state cannot be opened, the address cannot be bound, keys cannot be written. Nothing
    /// was changed then.
    pub async fn start(config: ControllerConfig) -> Result<Self> {
        guarded(&config)?;
        let Opened {
            store,
            users,
            leadership,
        } = open(&config).await?;
        let listener = TcpListener::bind(config.listen).await.with_context(|| {
            format!(
                "cannot listen on {}: is another controller running there? --listen chooses \
                 another address",
                config.listen
            )
        })?;
        let address = listener.local_addr()?;
        let guard = leadership.clone().map(|one| one as Arc<dyn Guard>);
        let connector = |metrics: &Metrics| Connector {
            clock: config.clock.clone(),
            metrics: metrics.clone(),
            guard,
        };
        let (context, entries) = Context::new(store, config.clock.clone(), config.ids, connector);
        let stop = CancellationToken::new();
        let mut tasks = JoinSet::new();
        let (served, kubeconfig) = serve_api(
            (&config.state, &config.auth, config.audit),
            listener,
            (&context, users),
            &stop,
        )?;
        tasks.spawn(served);
        let (looped, stopped) = (Arc::clone(&context), stop.clone());
        tasks.spawn(async move {
            let running = runner::run(Arc::clone(&looped), entries, stopped.clone());
            // Boxed, because the loop's future would make all others large.
            let running = Box::pin(running);
            let running = async move { running.await.context("the loop cannot read its store") };
            match leadership {
                None => {
                    looped.metrics.set_leading(true);
                    running.await
                }
                Some(leadership) => {
                    let host = gethostname::gethostname();
                    let host = host.to_string_lossy();
                    let holder = format!("{host}_{address}_{}", looped.ids.next());
                    leader::lead(leadership, &holder, &looped, running, stopped).await
                }
            }
        });
        Ok(Self {
            address,
            kubeconfig,
            context,
            stop,
            tasks,
        })
    }

    /// Everything that `/metrics` shows.
    pub async fn metrics(&self) -> String {
        runner::metrics(&self.context).await
    }

    /// Runs until `signal`, or until a part fails; then stops in order.
    ///
    /// # Errors
    /// A part failed.
    pub async fn run_until(mut self, signal: CancellationToken) -> Result<()> {
        let ended = tokio::select! {
            () = signal.cancelled() => Ok(()),
            Some(ended) = self.tasks.join_next() => ended?,
        };
        self.stop().await;
        ended
    }

    /// Stops in order: no new rounds, rounds under way end, watches are closed.
    pub async fn stop(mut self) {
        self.stop.cancel();
        let ended = async { while self.tasks.join_next().await.is_some() {} };
        if tokio::time::timeout(super::STOP, ended).await.is_err() {
            tracing::warn!("stopped without waiting for everything; the ledger has what was sent");
        }
    }
}

/// A store, and who writes to it.
struct Opened {
    /// What the loop writes to.
    store: Store,
    /// What users write to, whether this controller leads or not.
    users: Store,
    /// The claim to lead, where there can be others.
    leadership: Option<Arc<Leading>>,
}

async fn open(config: &ControllerConfig) -> Result<Opened> {
    let clock = config.clock.clone();
    let Some(etcd) = &config.etcd else {
        let store = Store::open(&config.state, clock)?;
        whole(&store, Place::Folder(&config.state)).await?;
        let store = store.encrypted(folder_keys(config)?);
        keys::judge(&store).await?;
        return Ok(Opened {
            users: store.clone(),
            store: store.passing_over_undecrypted(),
            leadership: None,
        });
    };
    let place = Place::Etcd(etcd);
    let keys = config.keys.clone().ok_or_else(keys::wanted)?;
    let etcd = Arc::new(Etcd::connect(etcd, HISTORY).await?);
    let leadership = Leadership::new(Arc::clone(&etcd) as _, leader::LEASE);
    let users = Store::with_backend(etcd, clock.clone()).encrypted(Arc::clone(&keys));
    whole(&users, place).await?;
    keys::judge(&users).await?;
    Ok(Opened {
        store: Store::with_backend(Arc::new(leadership.backend()), clock)
            .encrypted(keys)
            .passing_over_undecrypted(),
        users,
        leadership: Some(Arc::new(Leading(leadership))),
    })
}

/// The keys that were given, or those of the state folder, which gets one if it has none.
fn folder_keys(config: &ControllerConfig) -> Result<Arc<Keys>> {
    if let Some(keys) = &config.keys {
        return Ok(Arc::clone(keys));
    }
    if let Some(keys) = keys::of_folder(&config.state)? {
        return Ok(keys);
    }
    let made = keys::make(&config.state)?;
    tracing::warn!(file = %keys::file(&config.state).display(), key = made.first(), "{}", keys::MADE);
    Ok(made)
}

/// Refuses to let everybody do everything where others than this computer can ask.
fn guarded(config: &ControllerConfig) -> Result<()> {
    let listen = config.listen;
    if config.auth.open && !listen.ip().to_canonical().is_loopback() {
        anyhow::bail!(
            "--insecure-no-auth lets everybody who reaches {listen} do everything: listen on \
             loopback (--listen 127.0.0.1:{}), or leave it out",
            listen.port()
        );
    }
    if config.auth.open {
        tracing::warn!("everybody on this computer may do everything (--insecure-no-auth)");
    }
    Ok(())
}

/// Refuses a store that an import has left half done.
async fn whole(store: &Store, place: Place<'_>) -> Result<()> {
    let complete = store.complete().await;
    complete.map_err(|error| place.refused(error))
}

fn serve_api(
    (state, auth, audit): (&Path, &AuthOptions, Option<AuditOptions>),
    listener: TcpListener,
    (context, store): (&Arc<Context<Connector>>, Store),
    stop: &CancellationToken,
) -> Result<(BoxFuture<'static, Result<()>>, PathBuf)> {
    let address = listener.local_addr()?;
    let client_ca = auth.client_ca.as_deref();
    let tls = api::tls::Tls::prepare(state, address.ip(), client_ca, &context.clock)?;
    let token = api::tls::token(state)?;
    let kubeconfig = state.join("kubeconfig");
    api::kubeconfig::write(
        &kubeconfig,
        &format!("https://{address}"),
        tls.ca_pem(),
        &token,
    )?;
    let config = api::Config {
        store,
        tls,
        auth: Authenticators::prepare(&token, auth, &context.clock)?,
        audit: audit.map(open_audit).transpose()?,
        clock: context.clock.clone(),
        hooks: Arc::new(Hooks(Arc::clone(context))),
        limits: api::Limits::default(),
    };
    let served = api::serve(listener, config, stop.clone());
    Ok((
        Box::pin(async move { served.await.context("the API stopped") }),
        kubeconfig,
    ))
}

fn open_audit(options: AuditOptions) -> Result<Audit> {
    let file = options.path.display().to_string();
    Audit::open(options).with_context(|| format!("cannot write the audit log {file}"))
}

/// What the API needs of the loop.
struct Hooks(Arc<Context<Connector>>);

impl api::Hooks for Hooks {
    fn preview(&self, stack: ClearwaterStack) -> BoxFuture<'_, Result<Value, api::Status>> {
        Box::pin(async move {
            let preview = reconcile::preview(&self.0, stack).await;
            let preview = preview.map_err(api::Status::unavailable)?;
            serde_json::to_value(preview).map_err(|error| api::Status::internal(error.to_string()))
        })
    }

    fn metrics(&self) -> BoxFuture<'_, String> {
        Box::pin(runner::metrics(&self.0))
    }

    fn audit_lost(&self) {
        self.0.metrics.audit_lost();
    }

    fn ready(&self) -> BoxFuture<'_, Result<(), String>> {
        Box::pin(runner::ready(&self.0))
    }
}

/// Connects to CloudStack accounts and counts what is sent to them.
struct Connector {
    clock: Clock,
    metrics: Metrics,
    guard: Option<Arc<dyn Guard>>,
}

impl Connect for Connector {
    type Cloud = CloudStack;

    fn connect(
        &self,
        spec: &CloudAccountSpec,
        api_key: &Confidential,
        secret_key: &Confidential,
    ) -> Result<CloudStack, String> {
        let config = CloudStackConfig {
            observer: Arc::new(Counter(self.metrics.clone())),
            guard: self.guard.clone(),
            ..CloudStackConfig::of(spec, api_key, secret_key, &self.clock)
        };
        CloudStack::connect(config).map_err(|error| error.to_string())
    }

    fn guard(&self) -> Option<Arc<dyn Guard>> {
        self.guard.clone()
    }
}

struct Counter(Metrics);

impl Observer for Counter {
    fn request(&self, command: &str, code: &str, seconds: f64) {
        self.0.requested(command, code, seconds);
    }

    fn governor_wait(&self, seconds: f64) {
        self.0.held_back(seconds);
    }
}

/// The etcd that was typed, if one was.
pub(super) fn etcd(args: StoreArgs) -> Result<Option<EtcdConfig>> {
    let files = EtcdFiles {
        ca: args.etcd_ca,
        certificate: args.etcd_cert,
        key: args.etcd_key,
        user: args.etcd_user,
        password: args.etcd_password_file,
    };
    let config = args.store.map(|address| EtcdConfig::read(&address, &files));
    Ok(config.transpose()?)
}

/// Where the audit log is, as it was typed.
fn audit(args: &AccessArgs) -> Option<AuditOptions> {
    let path = args.audit_log.clone();
    path.map(|path| AuditOptions {
        path,
        bytes_max: u64::from(args.audit_log_maxsize) << 20,
        files_kept: args.audit_log_maxbackup,
    })
}

/// Who is let in, as it was typed.
fn auth(args: AccessArgs) -> AuthOptions {
    let provider = args.oidc_jwks_file.zip(args.oidc_issuer_url);
    let provider = provider.zip(args.oidc_client_id);
    let oidc = provider.map(|((jwks_file, issuer_url), client_id)| Oidc {
        jwks_file,
        issuer_url,
        client_id,
        username_claim: args.oidc_username_claim,
        username_prefix: args.oidc_username_prefix,
        groups_claim: args.oidc_groups_claim,
        groups_prefix: args.oidc_groups_prefix,
    });
    AuthOptions {
        token_file: args.token_auth_file,
        client_ca: args.client_ca_file,
        oidc,
        open: args.insecure_no_auth,
    }
}

/// `weir controller`.
///
/// # Errors
/// See [`Controller::start`] and [`Controller::run_until`].
pub async fn controller(args: ControllerArgs) -> Result<()> {
    telemetry::start_logging(match args.log {
        LogFormat::Text => telemetry::LogFormat::Text,
        LogFormat::Json => telemetry::LogFormat::Json,
    });
    let mut signals = JoinSet::new();
    let signal = super::stop_on_signal(&mut signals)?;
    let config = ControllerConfig {
        state: args.state,
        keys: keys::given(args.store.encryption_key_file.as_deref())?,
        etcd: etcd(args.store)?,
        listen: args.listen,
        audit: audit(&args.access),
        auth: auth(*args.access),
        clock: Clock::system(),
        ids: Ids::random(),
    };
    let controller = Controller::start(config).await?;
    tracing::info!(
        address = %controller.address,
        kubeconfig = %controller.kubeconfig.display(),
        version = env!("CARGO_PKG_VERSION"),
        "weir controller runs"
    );
    controller.run_until(signal).await
}
