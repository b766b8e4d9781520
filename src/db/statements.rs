//! Traces statements as spans of the request that they belong to.

use std::fmt::Write;

use diesel::connection::{DebugQuery, Instrumentation, InstrumentationEvent};
use diesel::result::Error;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use tracing::{Level, Span, field, span};

/// Target of spans that are for traces only, not for logs.
pub(crate) const TARGET: &str = "todo_api::statements";

/// Ends statements whose end nothing waits for, so that no span would end with it.
pub(super) const PIPELINED: &str = " /* pipelined */";

/// Has a connection's statements traced if traces are on.
pub(super) fn instrumented(mut connection: AsyncPgConnection) -> AsyncPgConnection {
    if tracing::span_enabled!(target: TARGET, Level::INFO) {
        connection.set_instrumentation(Statements::default());
    }
    connection
}

/// The statements of one connection.
#[derive(Default)]
struct Statements {
    /// Span of the request that has begun them.
    request: Option<span::Id>,
    /// Texts and spans of the statements under way, which are several in a pipeline.
    spans: Vec<(String, Span)>,
}

impl Instrumentation for Statements {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            // Statements outside a request would be traces of one span each.
            InstrumentationEvent::StartQuery { query, .. } if !Span::current().is_none() => {
                let text = text(query);
                if !text.ends_with(PIPELINED) {
                    let request = Span::current().id();
                    if self.request != request {
                        // What an earlier request cut short never ends.
                        self.spans.clear();
                        self.request = request;
                    }
                    let span = begin(&text);
                    self.spans.push((text, span));
                }
            }
            InstrumentationEvent::FinishQuery { query, error, .. } if !self.spans.is_empty() => {
                let text = text(query);
                let index = self.spans.iter().position(|(begun, _)| *begun == text);
                let span = index.map(|index| self.spans.remove(index));
                if let (Some((_, span)), Some(error)) = (span, error) {
                    fail(&span, error);
                }
            }
            _ => {}
        }
    }
}

fn begin(text: &str) -> Span {
    let operation = text.split_ascii_whitespace().next().unwrap_or_default();
    tracing::info_span!(
        target: TARGET,
        "statement",
        otel.name = operation,
        otel.kind = "client",
        otel.status_code = field::Empty,
        error.r#type = field::Empty,
        db.system.name = "postgresql",
        db.operation.name = operation,
        db.query.text = text,
    )
}

/// Records the kind of an error only: PostgreSQL's text may contain values.
fn fail(span: &Span, error: &Error) {
    span.record("otel.status_code", "ERROR");
    match error {
        Error::DatabaseError(kind, _) => span.record("error.type", field::debug(kind)),
        Error::NotFound => span.record("error.type", "NotFound"),
        _ => span.record("error.type", "_OTHER"),
    };
}

/// Returns a statement with placeholders. diesel writes the values behind it, among them hashes and tokens; they are not
/// even formatted.
fn text(query: &dyn DebugQuery) -> String {
    let mut text = BeforeBinds(String::new());
    let _ = write!(text, "{query}");
    text.0
}

/// A buffer that ends where the values begin.
struct BeforeBinds(String);

impl Write for BeforeBinds {
    fn write_str(&mut self, text: &str) -> std::fmt::Result {
        self.0.push_str(text);
        match self.0.find(" -- binds: ") {
            Some(end) => {
                self.0.truncate(end);
                Err(std::fmt::Error)
            }
            None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use diesel::prelude::*;
    use diesel::sql_types::Text;

    use super::*;
    use crate::db::schema::users;

    #[test]
    fn statements_of_a_pipeline_end_by_their_text_and_those_cut_short_with_the_next_request() {
        tracing::subscriber::with_default(tracing_subscriber::registry(), || {
            let mut statements = Statements::default();
            let begun = |statements: &Statements| -> Vec<_> {
                statements.spans.iter().map(|(text, _)| text.clone()).collect()
            };
            let start = |statements: &mut Statements, sql: &str| {
                let query = diesel::sql_query(sql);
                let query = diesel::debug_query::<diesel::pg::Pg, _>(&query);
                statements.on_connection_event(InstrumentationEvent::start_query(&query));
            };
            tracing::info_span!("request").in_scope(|| {
                start(&mut statements, "SELECT 1");
                start(&mut statements, "SELECT 2");
                let query = diesel::sql_query("SELECT 1");
                let query = diesel::debug_query::<diesel::pg::Pg, _>(&query);
                statements.on_connection_event(InstrumentationEvent::finish_query(&query, None));
            });
            assert_eq!(begun(&statements), ["SELECT 2"]);
            tracing::info_span!("another request").in_scope(|| start(&mut statements, "SELECT 3"));
            assert_eq!(begun(&statements), ["SELECT 3"]);
        });
    }

    #[test]
    fn values_are_not_part_of_a_statement() {
        let find = users::table.filter(users::email.eq("ada@example.com")).select(users::name);
        let raw = diesel::sql_query("SELECT $1 -- binds").bind::<Text, _>("a -- binds: secret");
        for text in [
            text(&diesel::debug_query::<diesel::pg::Pg, _>(&find)),
            text(&diesel::debug_query::<diesel::pg::Pg, _>(&raw)),
        ] {
            assert!(text.starts_with("SELECT") && text.contains("$1"), "{text}");
            assert!(!text.contains("ada@") && !text.contains("secret"), "{text}");
        }
    }
}
