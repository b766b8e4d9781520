//! Traces statements as spans of the request that they belong to.

use std::fmt::Write;

use diesel::connection::{DebugQuery, Instrumentation, InstrumentationEvent};
use diesel::result::Error;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use tracing::{Level, Span, field};

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
    /// Span of the statement under way.
    span: Option<Span>,
}

impl Instrumentation for Statements {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            // Statements outside a request would be traces of one span each.
            InstrumentationEvent::StartQuery { query, .. } if !Span::current().is_none() => {
                let text = text(query);
                self.span = (!text.ends_with(PIPELINED)).then(|| begin(&text));
            }
            InstrumentationEvent::FinishQuery { error, .. } => {
                if let (Some(span), Some(error)) = (self.span.take(), error) {
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
