//! Telemetry: logs, and traces if they are configured.

mod context;
mod json;
mod line;
mod logs;
mod text;
mod traces;
mod writer;

use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

pub(crate) use self::context::RequestContext;
use self::traces::Traces;
pub(crate) use self::traces::{begin_operation, begin_request, end_request, name_operation, trace_name};
use self::writer::LogWriter;
use crate::config::LogSettings;

/// Guard of logs and traces: flushes both when dropped, traces first.
#[must_use]
pub(crate) struct Telemetry {
    _traces: Option<Traces>,
    logs: Logs,
}

struct Logs(LogWriter);

impl Drop for Logs {
    fn drop(&mut self) {
        self.0.flush();
    }
}

impl Telemetry {
    /// Waits until the log lines so far are written, within a time limit.
    pub(crate) fn flush_logs(&self) {
        self.logs.0.flush();
    }
}

/// Starts logging; also tracing, if the environment configures it and the command serves. A second call in one process
/// has no effect.
pub(crate) fn init(settings: &LogSettings, serves: bool) -> anyhow::Result<Telemetry> {
    let traces = if serves { Traces::from_environment()? } else { None };
    let subscriber = tracing_subscriber::registry();
    let filter = logs::filter(settings);
    let writer = LogWriter::start()?;
    let _ = match &traces {
        // Separate filters: the log level must not decide which spans are traced.
        Some(traces) => subscriber
            .with(traces.layer())
            .with(logs::layer(settings, writer.clone()).with_filter(filter))
            .try_init(),
        // A global filter disables callsites, which is cheaper than a filter per layer.
        None => subscriber.with(filter).with(logs::layer(settings, writer.clone())).try_init(),
    };
    std::panic::set_hook(Box::new(|panic| {
        // The message may contain data of a request; the location is enough to find the bug.
        let location = panic.location().map(ToString::to_string);
        tracing::error!(location, "panic");
    }));
    Ok(Telemetry { _traces: traces, logs: Logs(writer) })
}
