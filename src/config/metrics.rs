use clap::Args;

use super::Switch;
use super::values::integer;

/// Metrics for Prometheus.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Metrics")]
pub struct MetricsSettings {
    /// Serve metrics at /metrics
    #[arg(long, env, default_value = "on")]
    metrics: Switch,

    /// Separate port for metrics, on HOST; 0 picks a free port [default: /metrics on the port of the API]
    #[arg(long, env, value_parser = integer(0..=u16::MAX))]
    metrics_port: Option<u16>,
}

impl MetricsSettings {
    /// True if metrics are served on the port of the API.
    pub fn beside_api(&self) -> bool {
        self.metrics.is_on() && self.metrics_port.is_none()
    }

    /// Returns the separate port of metrics, if they have one.
    pub fn own_port(&self) -> Option<u16> {
        self.metrics_port.filter(|_| self.metrics.is_on())
    }
}
