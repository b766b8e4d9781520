//! Logs on standard error: text for people, JSON for machines.

use std::io::IsTerminal;
use std::str::FromStr;

use tracing::Subscriber;
use tracing_subscriber::filter::Directive;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::{EnvFilter, Layer};

use super::json::{JsonEvents, JsonFields};
use super::text::TextEvents;
use super::writer::LogWriter;
use crate::config::{LogFormat, LogSettings};
use crate::db;

/// Targets that are never logged below the level info, regardless of the settings, as they log hashes, tokens and
/// passwords: statements with their parameters, messages of sockets, and responses of a trace collector.
const QUIET: [&str; 4] = ["tokio_postgres", "tokio_tungstenite", "tungstenite", "opentelemetry"];

/// Builds the filter of the settings, without the levels that would log secrets.
pub(super) fn filter(settings: &LogSettings) -> EnvFilter {
    // Directives on submodules of these would be more specific than ours, and win.
    let wanted =
        settings.rust_log.split(',').filter(|text| !QUIET.iter().any(|name| text.trim().starts_with(name)));
    let filter = EnvFilter::new(wanted.collect::<Vec<_>>().join(","));
    let quiet = QUIET.iter().filter_map(|name| Directive::from_str(&format!("{name}=info")).ok());
    let filter = quiet.fold(filter, EnvFilter::add_directive);
    // Spans of statements are for traces only.
    match Directive::from_str(&format!("{}=off", db::STATEMENTS_TARGET)) {
        Ok(directive) => filter.add_directive(directive),
        Err(_) => filter,
    }
}

/// Builds the layer that formats log lines.
pub(super) fn layer<S>(settings: &LogSettings, writer: LogWriter) -> Box<dyn Layer<S> + Send + Sync>
where
    S: Subscriber + for<'span> LookupSpan<'span> + Send + Sync,
{
    let ansi = std::io::stderr().is_terminal();
    let layer = tracing_subscriber::fmt::layer()
        // By default tracing-subscriber reports failures with eprintln!, which panics if standard error is closed.
        .log_internal_errors(false)
        .with_span_events(FmtSpan::NONE)
        .with_ansi(ansi)
        .with_writer(writer);
    match settings.log_format {
        LogFormat::Pretty => layer.event_format(TextEvents::new(ansi)).boxed(),
        LogFormat::Json => layer.event_format(JsonEvents::new()).fmt_fields(JsonFields).boxed(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn targets_that_log_secrets_cannot_be_enabled() {
        let text = "info,tokio_postgres::query=trace, tungstenite=trace,todo_api=debug".to_owned();
        let filter = filter(&LogSettings { rust_log: text, ..settings() }).to_string();
        assert!(filter.contains("todo_api=debug") && filter.contains("tokio_postgres=info"), "{filter}");
        assert!(!filter.contains("trace"), "{filter}");
    }

    fn settings() -> LogSettings {
        use clap::{Args, FromArgMatches};

        let command =
            LogSettings::augment_args(clap::Command::new("test")).mut_args(|arg| arg.env(None::<&str>));
        LogSettings::from_arg_matches(&command.get_matches_from(["test"])).unwrap()
    }
}
