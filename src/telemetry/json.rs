//! Formatter of log lines as JSON.
//!
//! Writes the same bytes as tracing-subscriber's formatter, which parses the fields of each span from JSON twice per line; this one
//! copies them, and adds the identifier of the request.

use std::cell::Cell;
use std::fmt::{self, Debug, Write};
use std::mem;

use serde_json::Number;
use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

use super::context::{REQUEST_ID_FIELD, request_id};
use super::line::{Escaped, push_all, push_quoted, push_time};

/// Target of records from the crate `log`. Their real target is a field that only tracing-subscriber's formatter reads.
const LOG_TARGET: &str = "log";

/// Formats events as JSON objects.
pub(super) struct JsonEvents(Format<Json>);

impl JsonEvents {
    pub(super) fn new() -> Self {
        Self(Format::default().json().flatten_event(true))
    }

    /// Writes a record of the crate `log`.
    fn write_record<S, N>(
        &self,
        line: &mut String,
        context: &FmtContext<'_, S, N>,
        event: &Event<'_>,
    ) -> fmt::Result
    where
        S: Subscriber + for<'span> LookupSpan<'span>,
        N: for<'writer> FormatFields<'writer> + 'static,
    {
        self.0.format_event(context, Writer::new(line), event)?;
        if let Some(id) = request_id() {
            line.truncate(line.trim_end().len().saturating_sub(1));
            push_request_id(line, &id);
            line.push_str("}\n");
        }
        Ok(())
    }
}

impl<S, N> FormatEvent<S, N> for JsonEvents
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
        thread_local! {
            // Not straight to the `Writer`, where each piece is a dynamic call.
            static LINE: Cell<String> = const { Cell::new(String::new()) };
        }
        let mut line = LINE.take();
        line.clear();
        if event.metadata().target() == LOG_TARGET {
            self.write_record(&mut line, context, event)?;
        } else {
            write_event(&mut line, context, event);
        }
        let result = writer.write_str(&line);
        LINE.set(line);
        result
    }
}

fn write_event<S, N>(line: &mut String, context: &FmtContext<'_, S, N>, event: &Event<'_>)
where
    S: Subscriber + for<'span> LookupSpan<'span>,
    N: for<'writer> FormatFields<'writer> + 'static,
{
    let metadata = event.metadata();
    line.push_str(r#"{"timestamp":""#);
    push_time(line);
    push_all(line, [r#"","level":""#, metadata.level().as_str(), "\""]);
    let mut fields = Fields::new(line, ",");
    event.record(&mut fields);
    if !fields.has_request_id
        && let Some(id) = request_id()
    {
        push_request_id(line, &id);
    }
    push_all(line, [r#","target":""#, metadata.target(), "\""]);
    if let Some(span) = context.lookup_current() {
        line.push_str(r#","span":"#);
        write_span::<S, N>(line, &span);
        let mut separator = r#","spans":["#;
        for span in span.scope().from_root() {
            line.push_str(separator);
            write_span::<S, N>(line, &span);
            separator = ",";
        }
        line.push(']');
    }
    line.push_str("}\n");
}

/// Writes a span: its fields as [`JsonFields`] has formatted them, then its name.
fn write_span<S, N>(line: &mut String, span: &SpanRef<'_, S>)
where
    S: for<'span> LookupSpan<'span>,
    N: 'static,
{
    let extensions = span.extensions();
    let fields = extensions.get::<FormattedFields<N>>().map_or("", |fields| fields.as_str());
    let open = fields.strip_suffix('}').unwrap_or("{");
    let separator = if open == "{" { "" } else { "," };
    push_all(line, [open, separator, r#""name":""#, span.name(), "\"}"]);
}

fn push_request_id(line: &mut String, id: &str) {
    push_all(line, [",\"", REQUEST_ID_FIELD, "\":"]);
    push_quoted(line, id);
}

/// Formats the fields of a span as a JSON object.
pub(super) struct JsonFields;

impl<'writer> FormatFields<'writer> for JsonFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        let mut text = "{".to_owned();
        fields.record(&mut Fields::new(&mut text, ""));
        text.push('}');
        writer.write_str(&text)
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        let text = &mut current.fields;
        text.pop();
        let separator = if text == "{" { "" } else { "," };
        fields.record(&mut Fields::new(text, separator));
        text.push('}');
        Ok(())
    }
}

/// Visitor that writes fields as members of a JSON object. Their names are identifiers, which need no escaping.
struct Fields<'a> {
    line: &'a mut String,
    /// Text before the next field.
    separator: &'static str,
    has_request_id: bool,
}

impl<'a> Fields<'a> {
    fn new(line: &'a mut String, separator: &'static str) -> Self {
        Self { line, separator, has_request_id: false }
    }

    /// Writes the name of a field.
    fn begin(&mut self, field: &Field) {
        self.has_request_id |= field.name() == REQUEST_ID_FIELD;
        push_all(self.line, [mem::replace(&mut self.separator, ","), "\"", field.name(), "\":"]);
    }

    /// Writes a field whose value is JSON by `Display`.
    fn write(&mut self, field: &Field, value: impl fmt::Display) {
        self.begin(field);
        let _ = write!(self.line, "{value}");
    }
}

impl Visit for Fields<'_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        match Number::from_f64(value) {
            Some(number) => self.write(field, number),
            None => self.write(field, "null"),
        }
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, value);
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, value);
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, value);
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.begin(field);
        push_quoted(self.line, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.begin(field);
        self.line.push('"');
        let _ = write!(Escaped(self.line), "{value:?}");
        self.line.push('"');
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing::Span;
    use tracing::field::Empty;
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;
    use crate::telemetry::RequestContext;

    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Written {
        /// Returns the lines without their timestamps.
        fn lines(&self) -> Vec<String> {
            let text = String::from_utf8(self.0.lock().clone()).unwrap();
            text.lines().map(|line| line.split_once(r#"Z","#).unwrap().1.to_owned()).collect()
        }
    }

    impl io::Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log() {
        tracing::info!("no fields");
        tracing::error!("quotes \" \\ and {}", "\u{1}\u{8}\u{c}\n\r\t\u{1f}\u{7f} \u{e9}\u{1f980}");
        tracing::warn!(target: "a::target", text = "a\"b", none = None::<&str>, some = Some(1), is = true);
        tracing::info!(signed = -7, unsigned = u64::MAX, large = i128::MAX, debug = ?["a\nb"], shown = %7);
        for number in [0.0, -1.5, 1.0, 0.123, 1e-5, 1e-7, 1e15, 1e16, 1.5e300, f64::NAN, f64::INFINITY] {
            tracing::info!(number);
        }
        let error = io::Error::other("it \"failed\"");
        tracing::info!(error = &error as &dyn std::error::Error);
        let request =
            tracing::info_span!("request", http.request.method = %"POST", id = "1\"2", later = Empty);
        let _entered = request.enter();
        tracing::info!("in a span");
        request.record("later", 7);
        let empty = tracing::info_span!("empty", later = Empty);
        empty.record("later", "x");
        empty.in_scope(|| tracing::info!("in two spans"));
    }

    #[test]
    fn lines_equal_those_of_tracing_subscriber() {
        let expected = Written::default();
        let found = Written::default();
        let writers = (expected.clone(), found.clone());
        let layer = tracing_subscriber::fmt::layer().json().flatten_event(true);
        let expecting = layer.with_writer(move || writers.0.clone());
        let layer = tracing_subscriber::fmt::layer().event_format(JsonEvents::new()).fmt_fields(JsonFields);
        let finding = layer.with_writer(move || writers.1.clone());
        with_default(tracing_subscriber::registry().with(expecting).with(finding), log);
        assert_eq!(found.lines(), expected.lines());
        assert_eq!(found.lines().len(), 18);
    }

    #[test]
    fn lines_of_a_request_name_it_once() {
        let written = Written::default();
        let writer = written.clone();
        let layer = tracing_subscriber::fmt::layer().event_format(JsonEvents::new()).fmt_fields(JsonFields);
        let layer = layer.with_writer(move || writer.clone());
        let context = RequestContext::new(Some("a.1".into()), Span::none());
        let log = || {
            tracing::info!("first");
            tracing::info!(request_id = "own", n = 2);
            tracing::info!(target: LOG_TARGET, "third");
        };
        with_default(tracing_subscriber::registry().with(layer), || context.scope_sync(log));
        let lines = written.lines().join("\n");
        assert_eq!(
            lines.replace("todo_api::telemetry::json::tests", "here"),
            [
                r#""level":"INFO","message":"first","request_id":"a.1","target":"here"}"#,
                r#""level":"INFO","request_id":"own","n":2,"target":"here"}"#,
                r#""level":"INFO","message":"third","target":"log","request_id":"a.1"}"#,
            ]
            .join("\n")
        );
    }
}
