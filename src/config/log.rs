use std::time::Duration;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::values::{duration, seconds};

/// Logs.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogSettings {
    /// Format of log lines
    #[arg(long, env, default_value = "pretty")]
    pub log_format: LogFormat,

    /// Level, or directives such as info,todo_api=debug
    #[arg(long = "log", env, default_value = "info", value_parser = filter)]
    pub rust_log: String,

    /// Queries and mutations that take at least this long are logged as slow, at level warn
    #[arg(long, env, default_value = "1s", value_parser = duration(Duration::from_millis(1)..=seconds(600)))]
    pub slow_operation: Duration,
}

/// Format of log lines.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// Text for people
    Pretty,
    /// JSON, one object per line
    Json,
}

fn filter(text: &str) -> Result<String, String> {
    let checked = EnvFilter::builder().parse(text).map(|_| text.to_owned());
    checked.map_err(|_| {
        "expected error, warn, info, debug, trace, off or directives such as info,todo_api=debug".into()
    })
}
