//! What the process tells of itself while it runs: logs, and traces where they are wished for.

mod logs;
mod traces;

use tracing_subscriber::Layer;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use self::traces::Traces;
pub(crate) use self::traces::{begin_operation, begin_request, end_request, name_operation};
use crate::config::LogSettings;

/// Logs, and traces if there are to be any; flushed when dropped.
#[must_use]
pub(crate) struct Telemetry {
    _traces: Option<Traces>,
}

/// Starts logging, and tracing where the environment says so and the command is one that serves; a second call in one
/// process changes nothing.
pub(crate) fn init(settings: &LogSettings, serves: bool) -> anyhow::Result<Telemetry> {
    let traces = if serves { Traces::from_environment()? } else { None };
    let (subscriber, filter) = (tracing_subscriber::registry(), logs::filter(settings));
    let _ = match &traces {
        // Each with a filter of its own: what is logged does not decide what is traced.
        Some(traces) => {
            subscriber.with(traces.layer()).with(logs::layer(settings).with_filter(filter)).try_init()
        }
        // With one for all, what is not wanted costs the least.
        None => subscriber.with(filter).with(logs::layer(settings)).try_init(),
    };
    std::panic::set_hook(Box::new(|panic| {
        // The message may hold what a request sent; the place is enough to find the mistake.
        let place = panic.location().map(ToString::to_string);
        tracing::error!(place, "panic");
    }));
    Ok(Telemetry { _traces: traces })
}
