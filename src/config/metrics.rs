use clap::Args;

use super::Switch;
use super::values::whole;

/// Where Prometheus finds the metrics.
#[derive(Args, Clone, Copy, Debug)]
#[command(next_help_heading = "Metrics")]
pub struct MetricsSettings {
    /// Whether metrics are served at /metrics
    #[arg(
        long = "metrics",
        env = "METRICS",
        global = true,
        hide_env_values = true,
        value_name = "METRICS",
        default_value = "on"
    )]
    metrics: Switch,

    /// Port of their own for metrics, on HOST; 0 for any free one [default: /metrics beside the API]
    #[arg(long = "metrics-port", env = "METRICS_PORT", global = true, hide_env_values = true,
        value_name = "METRICS_PORT", value_parser = whole(0..=u16::MAX))]
    metrics_port: Option<u16>,
}

impl MetricsSettings {
    /// Whether they are served beside the API.
    pub fn beside_api(&self) -> bool {
        self.metrics.is_on() && self.metrics_port.is_none()
    }

    /// The port on which they are served alone.
    pub fn own_port(&self) -> Option<u16> {
        self.metrics_port.filter(|_| self.metrics.is_on())
    }
}
