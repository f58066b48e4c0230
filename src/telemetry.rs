//! Logs and metrics.
//!
//! Every label value that is known beforehand exists at zero from the start. Gauges that describe
//! the state are set from the state when they are scraped, so that they cannot drift from it.

use std::time::Duration;

use prometheus::{
    Encoder, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use tracing_subscriber::EnvFilter;

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object a line.
    Json,
}

/// Starts logging to standard error. `RUST_LOG` says how much; by default what an operator wants
/// to read. Does nothing where logging has been started already.
pub fn start_logging(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    let started = match format {
        LogFormat::Text => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().try_init(),
    };
    if started.is_err() {
        tracing::debug!("logging was started already");
    }
}

/// Everything that `/metrics` shows. Cheap to clone.
#[derive(Clone)]
pub struct Metrics {
    registry: Registry,
    reconciles: IntCounterVec,
    reconcile_seconds: HistogramVec,
    queue_seconds: HistogramVec,
    queue_depth: IntGauge,
    drift_seen: IntCounterVec,
    drift_repaired: IntCounterVec,
    repair_seconds: HistogramVec,
    remediations: IntCounterVec,
    requests: IntCounterVec,
    request_seconds: HistogramVec,
    governor_seconds: HistogramVec,
    leading: IntGauge,
    jobs_in_flight: IntGaugeVec,
    breakers: IntGaugeVec,
    machines: IntGaugeVec,
    stacks: IntGaugeVec,
    refusals: IntCounterVec,
    names_looked: IntCounterVec,
    names_updated: IntCounterVec,
    audit_lost: IntCounter,
}

/// Bounds, in seconds, that suit both an HTTP request and a repair that takes minutes.
const SECONDS: &[f64] = &[
    0.005, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 900.0,
];

/// One name with its series, one for each set of label values.
struct Family {
    name: &'static str,
    help: &'static str,
    labels: &'static [&'static str],
}

impl Family {
    fn counter(&self, registry: &Registry) -> prometheus::Result<IntCounterVec> {
        let counter = IntCounterVec::new(Opts::new(self.name, self.help), self.labels)?;
        registry.register(Box::new(counter.clone()))?;
        Ok(counter)
    }

    fn gauge(&self, registry: &Registry) -> prometheus::Result<IntGaugeVec> {
        let gauge = IntGaugeVec::new(Opts::new(self.name, self.help), self.labels)?;
        registry.register(Box::new(gauge.clone()))?;
        Ok(gauge)
    }

    fn seconds(&self, registry: &Registry) -> prometheus::Result<HistogramVec> {
        let options = HistogramOpts::new(self.name, self.help).buckets(SECONDS.to_vec());
        let histogram = HistogramVec::new(options, self.labels)?;
        registry.register(Box::new(histogram.clone()))?;
        Ok(histogram)
    }
}

const BUILD_INFO: Family = Family {
    name: "weir_build_info",
    help: "The running version of Weir; the value is always 1.",
    labels: &["version"],
};

const RECONCILES: Family = Family {
    name: "weir_reconciles_total",
    help: "Rounds of the loop, by result.",
    labels: &["result"],
};

const RECONCILE_SECONDS: Family = Family {
    name: "weir_reconcile_seconds",
    help: "Time that one round took, by kind of object.",
    labels: &["kind"],
};

const QUEUE_SECONDS: Family = Family {
    name: "weir_queue_wait_seconds",
    help: "Time that objects waited to be reconciled.",
    labels: &["kind"],
};

const DRIFT_SEEN: Family = Family {
    name: "weir_drift_seen_total",
    help: "Differences from the manifest that nobody asked for, by field.",
    labels: &["kind", "field"],
};

const DRIFT_REPAIRED: Family = Family {
    name: "weir_drift_repaired_total",
    help: "Such differences that are gone again, by field.",
    labels: &["kind", "field"],
};

const REPAIR_SECONDS: Family = Family {
    name: "weir_repair_seconds",
    help: "Time from seeing drift to seeing it gone, by field.",
    labels: &["field"],
};

const REMEDIATIONS: Family = Family {
    name: "weir_remediations_total",
    help: "What was done to heal machines, by role and rung.",
    labels: &["role", "rung"],
};

const REQUESTS: Family = Family {
    name: "weir_cloudstack_requests_total",
    help: "Requests to CloudStack, by command and HTTP status or error.",
    labels: &["command", "code"],
};

const REQUEST_SECONDS: Family = Family {
    name: "weir_cloudstack_request_seconds",
    help: "Time that requests to CloudStack took, by command.",
    labels: &["command"],
};

const GOVERNOR_SECONDS: Family = Family {
    name: "weir_governor_wait_seconds",
    help: "Time that requests waited so as not to press on CloudStack.",
    labels: &[],
};

const JOBS_IN_FLIGHT: Family = Family {
    name: "weir_cloudstack_jobs_in_flight",
    help: "CloudStack jobs of Weir's that have not ended, by account.",
    labels: &["account"],
};

const BREAKERS: Family = Family {
    name: "weir_breaker_open",
    help: "Whether a command that keeps failing is held back (1), by account and command.",
    labels: &["account", "command"],
};

const MACHINES: Family = Family {
    name: "weir_machines",
    help: "Machines, by role and phase.",
    labels: &["role", "phase"],
};

const STACKS: Family = Family {
    name: "weir_stacks",
    help: "Stacks, by whether they are ready.",
    labels: &["ready"],
};

const REFUSALS: Family = Family {
    name: "weir_refused_steps_total",
    help: "Steps that the second opinion refused; each is a bug or a world stranger than \
                 foreseen.",
    labels: &["command"],
};

const NAMES_LOOKED: Family = Family {
    name: "weir_dns_looks_total",
    help: "Looks at name servers, by result.",
    labels: &["result"],
};

const NAMES_UPDATED: Family = Family {
    name: "weir_dns_updates_total",
    help: "Updates of names on name servers, by result.",
    labels: &["result"],
};

impl Metrics {
    /// Metrics of one controller, all at zero.
    ///
    /// # Panics
    /// Never: the names below are distinct and well-formed.
    #[must_use]
    pub fn new() -> Self {
        let registry = Registry::new();
        let metrics = Self::register(&registry).expect("the names of our metrics are well-formed");
        for result in ["success", "error", "panic"] {
            metrics.reconciles.with_label_values(&[result]).reset();
        }
        metrics.names_looked.with_label_values(&["success"]).reset();
        metrics
            .names_updated
            .with_label_values(&["success"])
            .reset();
        metrics
    }

    fn register(registry: &Registry) -> prometheus::Result<Self> {
        let build = BUILD_INFO.gauge(registry)?;
        build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
        #[cfg(target_os = "linux")]
        registry.register(Box::new(
            prometheus::process_collector::ProcessCollector::for_self(),
        ))?;
        let queue_depth = IntGauge::new("weir_queue_depth", "Objects that wait to be reconciled.")?;
        registry.register(Box::new(queue_depth.clone()))?;
        let help = "Whether this controller acts (1) or stands by (0).";
        let leading = IntGauge::new("weir_leader", help)?;
        registry.register(Box::new(leading.clone()))?;
        let help = "Lines of the audit log that could not be written.";
        let audit_lost = IntCounter::new("weir_audit_lost_total", help)?;
        registry.register(Box::new(audit_lost.clone()))?;
        Ok(Self {
            audit_lost,
            reconciles: RECONCILES.counter(registry)?,
            reconcile_seconds: RECONCILE_SECONDS.seconds(registry)?,
            queue_seconds: QUEUE_SECONDS.seconds(registry)?,
            queue_depth,
            leading,
            drift_seen: DRIFT_SEEN.counter(registry)?,
            drift_repaired: DRIFT_REPAIRED.counter(registry)?,
            repair_seconds: REPAIR_SECONDS.seconds(registry)?,
            remediations: REMEDIATIONS.counter(registry)?,
            requests: REQUESTS.counter(registry)?,
            request_seconds: REQUEST_SECONDS.seconds(registry)?,
            governor_seconds: GOVERNOR_SECONDS.seconds(registry)?,
            jobs_in_flight: JOBS_IN_FLIGHT.gauge(registry)?,
            breakers: BREAKERS.gauge(registry)?,
            machines: MACHINES.gauge(registry)?,
            stacks: STACKS.gauge(registry)?,
            refusals: REFUSALS.counter(registry)?,
            names_looked: NAMES_LOOKED.counter(registry)?,
            names_updated: NAMES_UPDATED.counter(registry)?,
            registry: registry.clone(),
        })
    }

    /// Everything, in Prometheus' text format.
    #[must_use]
    pub fn text(&self) -> String {
        let mut text = Vec::new();
        if let Err(error) = TextEncoder::new().encode(&self.registry.gather(), &mut text) {
            tracing::error!(%error, "metrics cannot be written");
        }
        String::from_utf8(text).unwrap_or_default()
    }

    /// A round of the loop ended.
    pub fn reconciled(&self, kind: &str, result: &str, took: Duration, waited: Duration) {
        self.reconciles.with_label_values(&[result]).inc();
        self.reconcile_seconds
            .with_label_values(&[kind])
            .observe(took.as_secs_f64());
        self.queue_seconds
            .with_label_values(&[kind])
            .observe(waited.as_secs_f64());
    }

    /// Drift was seen for the first time.
    pub fn drift_seen(&self, kind: &str, field: &str) {
        self.drift_seen.with_label_values(&[kind, field]).inc();
    }

    /// Drift that was seen is gone.
    pub fn drift_repaired(&self, kind: &str, field: &str, after: Duration) {
        self.drift_repaired.with_label_values(&[kind, field]).inc();
        self.repair_seconds
            .with_label_values(&[field])
            .observe(after.as_secs_f64());
    }

    /// A rung of the ladder was taken.
    pub fn remediated(&self, role: &str, rung: &str) {
        self.remediations.with_label_values(&[role, rung]).inc();
    }

    /// A request to CloudStack was answered, or failed.
    pub fn requested(&self, command: &str, code: &str, seconds: f64) {
        self.requests.with_label_values(&[command, code]).inc();
        self.request_seconds
            .with_label_values(&[command])
            .observe(seconds);
    }

    /// A request to CloudStack was held back for a while.
    pub fn held_back(&self, seconds: f64) {
        self.governor_seconds
            .with_label_values::<&str>(&[])
            .observe(seconds);
    }

    /// The second opinion refused a step.
    pub fn refused(&self, command: &str) {
        self.refusals.with_label_values(&[command]).inc();
    }

    /// A name server was looked at, or could not be.
    pub fn names_looked(&self, result: &str) {
        self.names_looked.with_label_values(&[result]).inc();
    }

    /// A name server took an update, or did not.
    pub fn names_updated(&self, result: &str) {
        self.names_updated.with_label_values(&[result]).inc();
    }

    /// A line of the audit log was lost.
    pub fn audit_lost(&self) {
        self.audit_lost.inc();
    }

    /// Sets whether this controller acts, or stands by.
    pub fn set_leading(&self, leads: bool) {
        self.leading.set(i64::from(leads));
    }

    /// Sets the number of objects that wait.
    pub fn set_queue_depth(&self, depth: usize) {
        self.queue_depth.set(count(depth));
    }

    /// Sets the number of jobs of an account.
    pub fn set_jobs(&self, account: &str, jobs: usize) {
        self.jobs_in_flight
            .with_label_values(&[account])
            .set(count(jobs));
    }

    /// Sets which commands of which accounts are held back.
    pub fn set_breakers<'a>(&self, open: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.breakers.reset();
        for (account, command) in open {
            self.breakers.with_label_values(&[account, command]).set(1);
        }
    }

    /// Sets the number of machines of a role in a phase.
    pub fn set_machines(&self, role: &str, phase: &str, machines: usize) {
        self.machines
            .with_label_values(&[role, phase])
            .set(count(machines));
    }

    /// Sets the number of stacks that are ready, or are not.
    pub fn set_stacks(&self, ready: &str, stacks: usize) {
        self.stacks.with_label_values(&[ready]).set(count(stacks));
    }
}

impl Default for Metrics {
    fn default() -> Self {
        Self::new()
    }
}

fn count(n: usize) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}
