//! Formatter of log lines as JSON.
//!
//! Writes the same bytes as tracing-subscriber's formatter, which parses the fields of each span from JSON twice per line; this one
//! copies them.

use std::cell::RefCell;
use std::fmt::{self, Debug, Write};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chrono::DateTime;
use serde_json::Number;
use tracing::field::{Field, Visit};
use tracing::span::Record;
use tracing::{Event, Subscriber};
use tracing_subscriber::field::RecordFields;
use tracing_subscriber::fmt::format::{Format, Json, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields, FormattedFields};
use tracing_subscriber::registry::{LookupSpan, SpanRef};

/// Target of records from the crate `log`. Their real target is a field that only tracing-subscriber's formatter reads.
const LOG_TARGET: &str = "log";

/// Formats events as JSON objects.
pub(super) struct JsonEvents(Format<Json>);

impl JsonEvents {
    pub(super) fn new() -> Self {
        Self(Format::default().json().flatten_event(true))
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
        let metadata = event.metadata();
        if metadata.target() == LOG_TARGET {
            return self.0.format_event(context, writer, event);
        }
        writer.write_str(r#"{"timestamp":""#)?;
        write_time(&mut writer)?;
        write_all(&mut writer, [r#"","level":""#, metadata.level().as_str(), "\""])?;
        write_fields(&mut writer, ",", |visitor| event.record(visitor))?;
        write_all(&mut writer, [r#","target":""#, metadata.target(), "\""])?;
        if let Some(span) = context.lookup_current() {
            writer.write_str(r#","span":"#)?;
            write_span::<S, N>(&mut writer, &span)?;
            let mut separator = r#","spans":["#;
            for span in span.scope().from_root() {
                writer.write_str(separator)?;
                write_span::<S, N>(&mut writer, &span)?;
                separator = ",";
            }
            writer.write_char(']')?;
        }
        writer.write_str("}\n")
    }
}

/// Writes a span: its fields as [`JsonFields`] has formatted them, then its name.
fn write_span<S, N>(writer: &mut Writer<'_>, span: &SpanRef<'_, S>) -> fmt::Result
where
    S: for<'span> LookupSpan<'span>,
    N: 'static,
{
    let extensions = span.extensions();
    let fields = extensions.get::<FormattedFields<N>>().map_or("", |fields| fields.as_str());
    let open = fields.strip_suffix('}').unwrap_or("{");
    let separator = if open == "{" { "" } else { "," };
    write_all(writer, [open, separator, r#""name":""#, span.name(), "\"}"])
}

/// Writes the time in UTC. All but the fraction is formatted once per second.
fn write_time(writer: &mut Writer<'_>) -> fmt::Result {
    thread_local! {
        static LAST: RefCell<(u64, String)> = const { RefCell::new((u64::MAX, String::new())) };
    }
    #[expect(
        clippy::disallowed_methods,
        reason = "logs show the system's time, not that of the injected clock"
    )]
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    LAST.with_borrow_mut(|(second, text)| {
        if *second != now.as_secs() {
            *second = now.as_secs();
            let time = DateTime::UNIX_EPOCH + Duration::from_secs(*second);
            *text = time.format("%Y-%m-%dT%H:%M:%S").to_string();
        }
        write!(writer, "{text}.{:06}Z", now.subsec_micros())
    })
}

/// Writes texts at a third of the cost of `write!`.
fn write_all<const N: usize>(writer: &mut Writer<'_>, texts: [&str; N]) -> fmt::Result {
    texts.into_iter().try_for_each(|text| writer.write_str(text))
}

/// Formats the fields of a span as a JSON object.
pub(super) struct JsonFields;

impl<'writer> FormatFields<'writer> for JsonFields {
    fn format_fields<R: RecordFields>(&self, mut writer: Writer<'writer>, fields: R) -> fmt::Result {
        writer.write_char('{')?;
        write_fields(&mut writer, "", |visitor| fields.record(visitor))?;
        writer.write_char('}')
    }

    fn add_fields(&self, current: &'writer mut FormattedFields<Self>, fields: &Record<'_>) -> fmt::Result {
        current.fields.pop();
        let separator = if current.fields == "{" { "" } else { "," };
        let mut writer = current.as_writer();
        write_fields(&mut writer, separator, |visitor| fields.record(visitor))?;
        writer.write_char('}')
    }
}

/// Writes fields as members of a JSON object, the first after `separator`.
fn write_fields<'writer>(
    writer: &mut Writer<'writer>,
    separator: &'static str,
    record: impl FnOnce(&mut Fields<'_, 'writer>),
) -> fmt::Result {
    let mut fields = Fields { writer, separator, result: Ok(()) };
    record(&mut fields);
    fields.result
}

/// Visitor that writes fields. Their names are identifiers, which need no escaping.
struct Fields<'a, 'writer> {
    writer: &'a mut Writer<'writer>,
    separator: &'static str,
    result: fmt::Result,
}

impl Fields<'_, '_> {
    fn write(&mut self, field: &Field, value: impl FnOnce(&mut Writer<'_>) -> fmt::Result) {
        self.result = self.result.and_then(|()| {
            write_all(self.writer, [self.separator, "\"", field.name(), "\":"])?;
            value(self.writer)
        });
        self.separator = ",";
    }
}

impl Visit for Fields<'_, '_> {
    fn record_f64(&mut self, field: &Field, value: f64) {
        self.write(field, |writer| match Number::from_f64(value) {
            Some(number) => write!(writer, "{number}"),
            None => writer.write_str("null"),
        });
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.write(field, |writer| write!(writer, "{value}"));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.write(field, |writer| write!(writer, "{value}"));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.write(field, |writer| write!(writer, "{value}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.write(field, |writer| {
            writer.write_char('"')?;
            Escaped(writer).write_str(value)?;
            writer.write_char('"')
        });
    }

    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.write(field, |writer| {
            writer.write_char('"')?;
            write!(Escaped(writer), "{value:?}")?;
            writer.write_char('"')
        });
    }
}

/// Escapes text for a JSON string.
struct Escaped<'a, 'writer>(&'a mut Writer<'writer>);

impl Write for Escaped<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let needs_escape = |byte: u8| byte < b' ' || byte == b'"' || byte == b'\\';
        // Most texts are plain. Without an early exit the compiler vectorises this search.
        if !text.bytes().fold(false, |found, byte| found | needs_escape(byte)) {
            return self.0.write_str(text);
        }
        let mut rest = text;
        while let Some(index) = rest.bytes().position(needs_escape)
            && let Some((plain, special)) = rest.split_at_checked(index)
        {
            self.0.write_str(plain)?;
            let mut special = special.chars();
            match special.next().unwrap_or_default() {
                '"' => self.0.write_str("\\\""),
                '\\' => self.0.write_str("\\\\"),
                '\u{8}' => self.0.write_str("\\b"),
                '\u{c}' => self.0.write_str("\\f"),
                '\n' => self.0.write_str("\\n"),
                '\r' => self.0.write_str("\\r"),
                '\t' => self.0.write_str("\\t"),
                control => write!(self.0, "\\u{:04x}", u32::from(control)),
            }?;
            rest = special.as_str();
        }
        self.0.write_str(rest)
    }
}

#[cfg(test)]
mod tests {
    use std::io;
    use std::sync::Arc;

    use parking_lot::Mutex;
    use tracing::field::Empty;
    use tracing::subscriber::with_default;
    use tracing_subscriber::layer::SubscriberExt;

    use super::*;

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
}
