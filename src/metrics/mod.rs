//! Counters, gauges and histograms, in the text format of Prometheus.
//!
//! Recording costs a request some atomic additions; scraping does not query the database, which may be suspended.

mod database;
mod labels;
mod operations;

use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::{Duration, Instant};

use deadpool::Status;
use prometheus_client::encoding::prometheus_text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Metric, Registry};

pub use self::labels::{CacheOutcome, Labelled};
pub(crate) use self::labels::{DatabaseFailure, LoginOutcome, OperationKind, PasswordWork, ThrottledAction};
pub(crate) use self::operations::EndedOperation;
use self::operations::Operations;

/// Media type of the text format.
pub(crate) const CONTENT_TYPE: &str = "text/plain; version=0.0.4";

const PREFIX: &str = "todo_api";

/// Upper bounds of histogram buckets in seconds, from a read by primary key to the timeouts of requests.
const SECONDS: [f64; 13] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Metrics of one application state; cheap to clone.
#[derive(Clone)]
pub struct Metrics(Arc<Handles>);

/// Handles of all metrics; `Metrics::default` says what each counts.
pub struct Handles {
    registry: Registry,
    pub(crate) operations: Operations,
    pub(crate) sockets: Gauge,
    pub(crate) socket_operations: Gauge,
    pub(crate) subscriptions: Gauge,
    pub(crate) logins: Labelled<LoginOutcome, Counter>,
    pub(crate) throttled: Labelled<ThrottledAction, Counter>,
    password_waiting: Gauge,
    password_wait: Histogram,
    pub(crate) password_refused: Counter,
    pub(crate) password_work: Labelled<PasswordWork, Histogram>,
    pub(crate) database_wait: Histogram,
    pub(crate) database_failures: Labelled<DatabaseFailure, Counter>,
    /// Cache lookups by outcome.
    pub cache_requests: Labelled<CacheOutcome, Counter>,
}

impl Default for Metrics {
    /// Creates all metrics at zero.
    fn default() -> Self {
        let mut registry = Registry::with_prefix(PREFIX);
        let to = &mut registry;
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        to.register("build", "Version of the service; always 1", build);
        let work = "Time to judge, hash or verify a password, without the wait";
        let failures = "Failed units of work on the database";
        Self(Arc::new(Handles {
            operations: Operations::new(to, new_seconds),
            sockets: add(to, "sockets", "Open WebSockets and streams over HTTP"),
            socket_operations: add(to, "socket_operations", "Operations running on WebSockets"),
            subscriptions: add(to, "subscriptions", "Live subscriptions"),
            logins: Labelled::new(to, "logins", "Login attempts", "outcome", Counter::default),
            throttled: Labelled::new(to, "throttled", "Attempts over a rate limit", "kind", Counter::default),
            password_waiting: add(to, "password_waiting", "Passwords waiting to be processed"),
            password_wait: add_seconds(to, "password_wait_seconds", "Time that passwords waited"),
            password_refused: add(to, "password_refused", "Passwords that waited too long"),
            password_work: Labelled::new(to, "password_work_seconds", work, "work", new_seconds),
            database_wait: add_seconds(
                to,
                "database_wait_seconds",
                "Time that requests waited for a connection",
            ),
            database_failures: Labelled::new(to, "database_failures", failures, "kind", Counter::default),
            cache_requests: Labelled::new(to, "cache_requests", "Cache lookups", "outcome", Counter::default),
            registry,
        }))
    }
}

fn add<M: Clone + Default + Metric>(registry: &mut Registry, name: &str, help: &str) -> M {
    let metric = M::default();
    registry.register(name, help, metric.clone());
    metric
}

fn add_seconds(registry: &mut Registry, name: &str, help: &str) -> Histogram {
    let histogram = new_seconds();
    registry.register(name, help, histogram.clone());
    histogram
}

fn new_seconds() -> Histogram {
    Histogram::new(SECONDS)
}

impl Deref for Metrics {
    type Target = Handles;

    fn deref(&self) -> &Handles {
        &self.0
    }
}

impl Metrics {
    /// Writes all metrics, with the state of the pool and the lag of each replica, `None` if it does not answer.
    pub fn text(&self, pool: &Status, replicas: &[Option<Duration>]) -> Result<String, fmt::Error> {
        let mut scraped = Registry::with_prefix(PREFIX);
        database::register(&mut scraped, pool, replicas);
        let mut text = String::new();
        encode(&mut text, &self.registry)?;
        encode(&mut text, &scraped)?;
        Ok(text)
    }

    /// Counts a password as waiting until the guard is dropped, which records the time that it waited.
    pub(crate) fn track_password_wait(&self) -> impl Drop + Send + use<> {
        let waiting = GaugeGuard::new(&self.password_waiting);
        QueueGuard { _waiting: waiting, seconds: self.password_wait.clone(), since: Instant::now() }
    }
}

/// Keeps a gauge one higher until it is dropped.
pub(crate) struct GaugeGuard(Gauge);

impl GaugeGuard {
    pub(crate) fn new(gauge: &Gauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for GaugeGuard {
    fn drop(&mut self) {
        self.0.dec();
    }
}

/// A place in a queue; records the time spent there when it is dropped.
struct QueueGuard {
    _waiting: GaugeGuard,
    seconds: Histogram,
    since: Instant,
}

impl Drop for QueueGuard {
    fn drop(&mut self) {
        self.seconds.observe(self.since.elapsed().as_secs_f64());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_the_names_and_types_of_the_dashboard() {
        let pool = Status { max_size: 10, size: 3, available: 2, waiting: 1 };
        let metrics = Metrics::default();
        let text = metrics.text(&pool, &[]).unwrap();
        for line in [
            "# HELP todo_api_logins_total Login attempts.",
            "# TYPE todo_api_logins_total counter",
            r#"todo_api_logins_total{outcome="failed"} 0"#,
            r#"todo_api_requests_total{code="OK",kind="query",operation="anonymous"} 0"#,
            "# TYPE todo_api_request_duration_seconds histogram",
            r#"todo_api_request_duration_seconds_bucket{kind="query",operation="other",le="1"} 0"#,
            "# TYPE todo_api_build_info gauge",
            concat!("todo_api_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
            r#"todo_api_database_connections{pool="primary"} 3"#,
        ] {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
        assert!(!text.contains("replica"), "{text}");
        let text = metrics.text(&pool, &[None, Some(Duration::from_millis(1500))]).unwrap();
        for line in
            [r#"todo_api_replica_up{replica="0"} 0"#, r#"todo_api_replica_lag_seconds{replica="1"} 1.5"#]
        {
            assert!(text.lines().any(|it| it == line), "{line}\n{text}");
        }
    }
}
