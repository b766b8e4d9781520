//! What the service counts and measures, in Prometheus's text format.
//!
//! Each [`AppState`](crate::state::AppState) has its own. Counting costs a request some atomic additions; reading
//! asks nobody, and least of all the database, which may be asleep.

mod families;
mod labels;
mod operations;

use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool::Status;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    Result, TextEncoder,
};

use self::families::{Families, opts};
use self::labels::Label;
pub use self::labels::{CacheOutcome, DatabaseFailure, LoginOutcome, OperationKind, PasswordWork, Throttled};
pub use self::operations::EndedOperation;
use self::operations::Operations;

/// What is counted; cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Parts>);

struct Parts {
    registry: Registry,
    operations: Operations,
    sockets: IntGauge,
    socket_operations: IntGauge,
    subscriptions: IntGauge,
    passwords: Passwords,
    logins: IntCounterVec,
    throttled: IntCounterVec,
    database: Pool,
    database_wait: Histogram,
    database_failures: IntCounterVec,
    replica_up: IntGaugeVec,
    replica_lag: GaugeVec,
    cache: IntCounterVec,
}

struct Passwords {
    waiting: IntGauge,
    wait: Histogram,
    refused: IntCounter,
    work: HistogramVec,
}

/// A pool's numbers, read when they are asked for.
struct Pool {
    connections: IntGaugeVec,
    available: IntGaugeVec,
    max: IntGaugeVec,
    waiting: IntGaugeVec,
}

impl Metrics {
    /// Everything at zero.
    pub fn new() -> Result<Self> {
        let families = Families(Registry::new());
        let build = opts("build_info", "The version that runs; always 1.");
        let build =
            families.enter(Gauge::with_opts(build.const_label("version", env!("CARGO_PKG_VERSION")))?)?;
        build.set(1.0);
        Ok(Self(Arc::new(Parts {
            operations: Operations::new(&families)?,
            sockets: families.gauge("sockets", "WebSockets that are open.")?,
            socket_operations: families
                .gauge("socket_operations", "Operations under way on sockets, subscriptions among them.")?,
            subscriptions: families.gauge("subscriptions", "Subscriptions that are live.")?,
            passwords: Passwords::new(&families)?,
            logins: families.counters_by::<LoginOutcome>(
                "logins_total",
                "Attempts to log in, by how they went.",
                "outcome",
            )?,
            throttled: families.counters_by::<Throttled>(
                "throttled_total",
                "Attempts that were refused because there were too many.",
                "kind",
            )?,
            database: Pool::new(&families)?,
            database_wait: families
                .seconds("database_wait_seconds", "How long requests waited for a connection.")?,
            database_failures: families.counters_by::<DatabaseFailure>(
                "database_failures_total",
                "Units of work on the database that failed, by what they failed of.",
                "kind",
            )?,
            replica_up: families.gauges(
                "replica_up",
                "Whether a read replica answered when it was last asked; by its place in the settings.",
                &["replica"],
            )?,
            replica_lag: families.enter(GaugeVec::new(
                opts("replica_lag_seconds", "How far a read replica is behind, as last seen."),
                &["replica"],
            )?)?,
            cache: families.counters_by::<CacheOutcome>(
                "cache_requests_total",
                "Looks into the cache, by how they went.",
                "outcome",
            )?,
            registry: families.0,
        })))
    }

    /// Everything as text, with the numbers that the pool has just now, and how far the replicas are behind.
    pub fn text(&self, database: &Status, replicas: &[Option<Duration>]) -> Result<String> {
        self.0.database.set("primary", database);
        for (replica, lag) in replicas.iter().enumerate() {
            let label = [replica.to_string()];
            self.0.replica_up.with_label_values(&label).set(lag.is_some().into());
            self.0.replica_lag.with_label_values(&label).set(lag.unwrap_or_default().as_secs_f64());
        }
        TextEncoder::new().encode_to_string(&self.0.registry.gather())
    }

    /// An operation has ended, or was refused.
    pub fn request(&self, operation: &EndedOperation<'_>) {
        self.0.operations.count(operation);
    }

    /// A socket is open, until what is returned is dropped.
    pub fn socket(&self) -> Held {
        Held::new(&self.0.sockets)
    }

    /// An operation runs on a socket, until what is returned is dropped.
    pub fn socket_operation(&self) -> Held {
        Held::new(&self.0.socket_operations)
    }

    /// A subscription is live, until what is returned is dropped.
    pub fn subscription(&self) -> Held {
        Held::new(&self.0.subscriptions)
    }

    /// A password waits for its turn, until what is returned is dropped.
    pub fn password_waits(&self) -> impl Drop + Send + use<> {
        Waiting {
            _held: Held::new(&self.0.passwords.waiting),
            seconds: self.0.passwords.wait.clone(),
            since: Instant::now(),
        }
    }

    /// A password has waited in vain.
    pub fn password_refused(&self) {
        self.0.passwords.refused.inc();
    }

    /// Something was done with a password.
    pub fn password_worked(&self, work: PasswordWork, took: Duration) {
        self.0.passwords.work.with_label_values(&[work.as_str()]).observe(took.as_secs_f64());
    }

    /// Somebody tried to log in.
    pub fn login(&self, outcome: LoginOutcome) {
        self.0.logins.with_label_values(&[outcome.as_str()]).inc();
    }

    /// There were too many attempts at something.
    pub fn throttled(&self, what: Throttled) {
        self.0.throttled.with_label_values(&[what.as_str()]).inc();
    }

    /// A request has waited for a connection to the database, and has one or not.
    pub fn database_waited(&self, time: Duration) {
        self.0.database_wait.observe(time.as_secs_f64());
    }

    /// A unit of work on the database has failed.
    pub fn database_failed(&self, failure: DatabaseFailure) {
        self.0.database_failures.with_label_values(&[failure.as_str()]).inc();
    }

    /// Something was looked for in the cache.
    pub fn cache(&self, outcome: CacheOutcome) {
        self.0.cache.with_label_values(&[outcome.as_str()]).inc();
    }

    /// How often looks into the cache went so.
    pub fn cache_count(&self, outcome: CacheOutcome) -> u64 {
        self.0.cache.with_label_values(&[outcome.as_str()]).get()
    }
}

impl Passwords {
    fn new(families: &Families) -> Result<Self> {
        let work = families.seconds_by(
            "password_work_seconds",
            "How long judging, hashing and verifying a password took, without the wait for it.",
            &["work"],
        )?;
        for kind in PasswordWork::ALL {
            work.with_label_values(&[kind.as_str()]);
        }
        Ok(Self {
            waiting: families.gauge("password_waiting", "Passwords that wait for their turn.")?,
            wait: families.seconds("password_wait_seconds", "How long passwords waited for their turn.")?,
            refused: families.counter("password_refused_total", "Passwords that waited in vain.")?,
            work,
        })
    }
}

impl Pool {
    fn new(families: &Families) -> Result<Self> {
        let gauges = |name, help| families.gauges(name, help, &["pool"]);
        Ok(Self {
            connections: gauges("database_connections", "Connections that are open.")?,
            available: gauges("database_connections_available", "Connections that are open and free.")?,
            max: gauges("database_connections_max", "Connections that there may be.")?,
            waiting: gauges("database_waiting", "Requests that wait for a connection.")?,
        })
    }

    fn set(&self, pool: &str, status: &Status) {
        for (gauges, number) in [
            (&self.connections, status.size),
            (&self.available, status.available),
            (&self.max, status.max_size),
            (&self.waiting, status.waiting),
        ] {
            gauges.with_label_values(&[pool]).set(i64::try_from(number).unwrap_or(i64::MAX));
        }
    }
}

/// One more in a gauge for as long as it lives.
pub struct Held(IntGauge);

impl Held {
    fn new(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// Something in a queue; how long it was there is measured when it leaves.
struct Waiting {
    _held: Held,
    seconds: Histogram,
    since: Instant,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.seconds.observe(self.since.elapsed().as_secs_f64());
    }
}
