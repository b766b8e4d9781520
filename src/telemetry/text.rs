//! Formatter of log lines as text.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::context::{REQUEST_ID_FIELD, request_id};

/// Formats events as tracing-subscriber does, with the identifier of their request at the end.
pub(super) struct TextEvents(Format);

impl TextEvents {
    pub(super) fn new(ansi: bool) -> Self {
        Self(Format::default().with_target(false).with_ansi(ansi))
    }
}

impl<S, N> FormatEvent<S, N> for TextEvents
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let has_id = event.metadata().fields().field(REQUEST_ID_FIELD).is_some();
        let Some(id) = request_id().filter(|_| !has_id) else {
            return self.0.format_event(context, writer, event);
        };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        writeln!(writer, "{} {REQUEST_ID_FIELD}={id:?}", line.trim_end())
    }
}
