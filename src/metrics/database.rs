//! Gauges of the database, read from the pool and the replicas at each scrape.

use std::sync::atomic::AtomicU64;
use std::time::Duration;

use deadpool::Status;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::registry::Registry;

/// The label `replica`, a position in the settings.
type Replica = [(&'static str, usize); 1];

/// Registers the gauges; `replicas` has the lag of each replica, `None` if it does not answer.
pub(super) fn register(registry: &mut Registry, pool: &Status, replicas: &[Option<Duration>]) {
    let primary = registry.sub_registry_with_label(("pool".into(), "primary".into()));
    for (name, help, value) in [
        ("database_connections", "Open connections", pool.size),
        ("database_connections_available", "Open connections that are idle", pool.available),
        ("database_connections_max", "Limit on open connections", pool.max_size),
        ("database_waiting", "Requests waiting for a connection", pool.waiting),
    ] {
        primary.register(name, help, ConstGauge::new(value));
    }
    let up = Family::<Replica, Gauge>::default();
    let lag = Family::<Replica, Gauge<f64, AtomicU64>>::default();
    for (replica, seen) in replicas.iter().enumerate() {
        up.get_or_create(&[("replica", replica)]).set(seen.is_some().into());
        lag.get_or_create(&[("replica", replica)]).set(seen.unwrap_or_default().as_secs_f64());
    }
    if !replicas.is_empty() {
        registry.register("replica_up", "1 if the replica answered its last health check, otherwise 0", up);
        registry.register("replica_lag_seconds", "Last known replication lag", lag);
    }
}
