//! Logs: readable on a terminal, JSON for machines. Both go to standard error.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::format::FmtSpan;

use crate::config::{LogFormat, LogSettings};

/// What is never logged below the level info, whatever the settings say: the driver's account of each statement with
/// its parameters, and that of each message of a socket. They hold hashes, tokens and passwords.
const QUIET: [&str; 3] = ["tokio_postgres=info", "tokio_tungstenite=info", "tungstenite=info"];

fn filter(settings: &LogSettings) -> EnvFilter {
    let quiet = QUIET.iter().filter_map(|text| Directive::from_str(text).ok());
    quiet.fold(EnvFilter::new(&settings.filter), EnvFilter::add_directive)
}

/// Starts logging; a second call in one process changes nothing.
pub(crate) fn init(settings: &LogSettings) {
    let builder = tracing_subscriber::fmt()
        // A log that nobody reads any more must not end the service: the default answer to it is a panic.
        .log_internal_errors(false)
        .with_env_filter(filter(settings))
        .with_span_events(FmtSpan::NONE)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    let _ = match settings.format {
        LogFormat::Pretty => builder.with_target(false).try_init(),
        LogFormat::Json => builder.json().flatten_event(true).try_init(),
    };
    std::panic::set_hook(Box::new(|panic| {
        // The message may hold what a request sent; the place is enough to find the mistake.
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panic");
    }));
}
