//! Statements on the database as spans of the request that they belong to.

use std::fmt::Write;

use diesel::connection::{DebugQuery, Instrumentation, InstrumentationEvent};
use diesel::result::Error;
use diesel_async::{AsyncConnection, AsyncPgConnection};
use tracing::{Level, Span, field};

/// Of spans that are only for traces.
pub(crate) const TARGET: &str = "todo_api::statements";

/// Makes a connection tell of its statements, if anybody listens.
pub(super) fn watched(mut connection: AsyncPgConnection) -> AsyncPgConnection {
    if tracing::span_enabled!(target: TARGET, Level::INFO) {
        connection.set_instrumentation(Statements::default());
    }
    connection
}

/// Follows the statements of one connection.
#[derive(Default)]
struct Statements {
    /// That of the statement under way.
    span: Option<Span>,
}

impl Instrumentation for Statements {
    fn on_connection_event(&mut self, event: InstrumentationEvent<'_>) {
        match event {
            // What the service does by itself, without a request, would be traces of one statement each.
            InstrumentationEvent::StartQuery { query, .. } if !Span::current().is_none() => {
                self.span = Some(begin(&text(query)));
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

/// The text of PostgreSQL's error may hold values; its kind does not.
fn fail(span: &Span, error: &Error) {
    span.record("otel.status_code", "ERROR");
    match error {
        Error::DatabaseError(kind, _) => span.record("error.type", field::debug(kind)),
        Error::NotFound => span.record("error.type", "NotFound"),
        _ => span.record("error.type", "_OTHER"),
    };
}

/// A statement with placeholders. diesel writes the values behind it, among them hashes and tokens; they are never
/// even put into words.
fn text(query: &dyn DebugQuery) -> String {
    let mut text = BeforeBinds(String::new());
    let _ = write!(text, "{query}");
    text.0
}

/// Takes what stands before the values, and then nothing more.
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
