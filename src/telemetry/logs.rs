//! Logs: readable on a terminal, JSON for machines. Both go to standard error.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing::Subscriber;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use super::statements;
use crate::config::{LogFormat, LogSettings};

/// What is never logged below the level info, whatever the settings say: the driver's account of each statement with
/// its parameters, that of each message of a socket, and what a collector of traces answers. They hold hashes, tokens
/// and passwords.
const QUIET: [&str; 4] =
    ["tokio_postgres=info", "tokio_tungstenite=info", "tungstenite=info", "opentelemetry=info"];

/// What is logged.
pub(super) fn filter(settings: &LogSettings) -> EnvFilter {
    let quiet = QUIET.iter().filter_map(|text| Directive::from_str(text).ok());
    let filter = quiet.fold(EnvFilter::new(&settings.filter), EnvFilter::add_directive);
    // Spans of statements are for traces alone.
    match Directive::from_str(&format!("{}=off", statements::TARGET)) {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    }
}

/// How it is written.
pub(super) fn layer<S>(settings: &LogSettings) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let layer = tracing_subscriber::fmt::layer()
        // A log that nobody reads any more must not end the service: the default answer to it is a panic.
        .log_internal_errors(false)
        .with_span_events(FmtSpan::NONE)
        .with_ansi(std::io::stderr().is_terminal())
        .with_writer(std::io::stderr);
    match settings.format {
        LogFormat::Pretty => layer.with_target(false).boxed(),
        LogFormat::Json => layer.json().flatten_event(true).boxed(),
    }
}
