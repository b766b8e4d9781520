use std::time::Duration;

use clap::{Args, ValueEnum};
use tracing_subscriber::EnvFilter;

use super::values::{duration, seconds};

/// What is logged, and how.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Logs")]
pub struct LogSettings {
    /// How log lines are written
    #[arg(
        long = "log-format",
        env = "LOG_FORMAT",
        global = true,
        hide_env_values = true,
        default_value = "pretty",
        value_name = "LOG_FORMAT"
    )]
    pub format: LogFormat,

    /// What is logged: a level, or directives such as info,todo_api=debug
    #[arg(long = "log", env = "RUST_LOG", global = true, hide_env_values = true, default_value = "info",
        value_name = "RUST_LOG", value_parser = filter)]
    pub filter: String,

    /// How long a query or mutation takes at least that is logged as slow, at the level warn
    #[arg(long, env = "SLOW_OPERATION", global = true, hide_env_values = true, default_value = "1s",
        value_parser = duration(Duration::from_millis(1)..=seconds(600)))]
    pub slow_operation: Duration,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// For people
    Pretty,
    /// One JSON object a line
    Json,
}

fn filter(text: &str) -> Result<String, String> {
    let checked = EnvFilter::builder().parse(text).map(|_| text.to_owned());
    checked.map_err(|_| {
        "error, warn, info, debug, trace, off or directives such as info,todo_api=debug are needed".into()
    })
}
