//! Recognises a pooler between the service and PostgreSQL by its behaviour, for `todo-api doctor`.
//!
//! A pooler in transaction mode gives each transaction another connection to the server. The driver prepares every
//! statement by name, so such a pooler has to carry prepared statements along; PgBouncer does from 1.21.

use std::time::Duration;

use diesel::expression::functions::declare_sql_function;
use diesel::sql_types::Text;
use diesel::{QueryResult, QueryableByName};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use tokio::time::timeout;

pub use super::error::is_lost_statement;
use super::session::Session;
use super::{Connector, Error};

/// Time for which the second of two transactions waits for a connection to the server.
const HOLD_LIMIT: Duration = Duration::from_secs(2);
/// Time limit of all statements together.
const LIMIT: Duration = Duration::from_secs(10);

/// The way that connections reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Each connection has a session of its own, directly or through a pooler in session mode.
    Direct,
    /// Through a pooler in transaction mode that keeps prepared statements.
    Pooled,
}

/// The reason why a route is unusable or unknown.
#[derive(Debug, thiserror::Error)]
pub enum ProbeError {
    /// A pooler in transaction mode that loses prepared statements.
    #[error(
        "the database is reached through a pooler that loses prepared statements, such as PgBouncer before 1.21 in \
         transaction mode\n{LOSES_STATEMENTS_FIX}"
    )]
    LosesStatements,
    /// The probe failed.
    #[error(transparent)]
    Database(Error),
}

/// The fix for a pooler that loses prepared statements.
pub const LOSES_STATEMENTS_FIX: &str = "Upgrade PgBouncer to 1.21 or newer, set max_prepared_statements = 200 there if \
    it is 0, use pool_mode = session, or have DATABASE_URL lead to PostgreSQL itself.";

/// Probes the route on two connections of its own, with some twenty round trips.
pub async fn probe(connector: &Connector) -> Result<Route, ProbeError> {
    let mut a = connector.open().await?;
    let mut b = connector.open().await?;
    let limited = timeout(LIMIT, compare_sessions(&mut a.connection, &mut b.connection)).await;
    let route = limited.unwrap_or_else(|_| Err(Error::timeout("probing for a pooler").into()));
    route.map_err(|error| classify(error, &a, &b))
}

/// Classifies a statement's error by the session that observed it.
fn classify(error: ProbeError, a: &Session, b: &Session) -> ProbeError {
    let ProbeError::Database(Error::Query(error)) = error else { return error };
    match Error::in_session(error, &a.wire) {
        Error::Query(error) => Error::in_session(error, &b.wire).into(),
        error => error.into(),
    }
}

async fn compare_sessions(a: &mut AsyncPgConnection, b: &mut AsyncPgConnection) -> Result<Route, ProbeError> {
    let first = visit(a).await?;
    let second = visit(b).await?;
    if first == second {
        return Ok(Route::Pooled);
    }
    // Poolers hand out the connection that was used last, or take turns: in one of these rounds each transaction gets
    // the connection that the other one had before.
    for a_first in [true, true, false] {
        let met = if a_first {
            hold(a, b).await?
        } else {
            hold(b, a).await?.map(|(second, first)| (first, second))
        };
        if met != Some((first, second)) {
            return Ok(Route::Pooled);
        }
    }
    Ok(Route::Direct)
}

/// Prepares a statement in a transaction, and returns the server's process that has it.
///
/// The connection is new: if that statement exists already, by a name such as the driver gives, then the pooler shares
/// connections without renaming statements, and those of the same name will collide.
async fn visit(conn: &mut AsyncPgConnection) -> Result<i32, ProbeError> {
    conn.batch_execute("BEGIN").await?;
    let theirs = "SELECT name AS text FROM pg_prepared_statements \
        WHERE name ~ '^s[0-9]+$' AND statement LIKE 'SELECT pg_backend_pid(), current_setting(%'";
    if !diesel::sql_query(theirs).load::<Name>(conn).await?.is_empty() {
        return Err(ProbeError::LosesStatements);
    }
    let process = prepared(conn).await?;
    conn.batch_execute("COMMIT").await?;
    Ok(process)
}

/// Has both in a transaction at once, so that each needs a connection to the server, and uses their prepared statements.
///
/// Returns the processes, or `None` if the second gets no connection: the pooler is busy, or has only one.
async fn hold(
    first: &mut AsyncPgConnection,
    second: &mut AsyncPgConnection,
) -> Result<Option<(i32, i32)>, ProbeError> {
    first.batch_execute("BEGIN").await?;
    match timeout(HOLD_LIMIT, second.batch_execute("BEGIN")).await {
        Ok(begun) => begun?,
        Err(_) => return Ok(None),
    }
    let processes = (prepared(first).await?, prepared(second).await?);
    first.batch_execute("COMMIT").await?;
    second.batch_execute("COMMIT").await?;
    Ok(Some(processes))
}

/// Runs a statement with a parameter, which stays prepared on its connection; returns the server's process.
async fn prepared(conn: &mut AsyncPgConnection) -> QueryResult<i32> {
    let (process, _) = diesel::select((pg_backend_pid(), current_setting("server_version")))
        .get_result::<(i32, String)>(conn)
        .await?;
    Ok(process)
}

#[declare_sql_function]
extern "SQL" {
    /// Returns the server's process of this session.
    fn pg_backend_pid() -> Integer;
    /// Returns the value of a setting.
    fn current_setting(name: Text) -> Text;
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    #[expect(dead_code, reason = "its presence is enough")]
    text: String,
}

impl From<Error> for ProbeError {
    fn from(error: Error) -> Self {
        if is_lost_statement(&error.to_string()) { Self::LosesStatements } else { Self::Database(error) }
    }
}

impl From<diesel::result::Error> for ProbeError {
    fn from(error: diesel::result::Error) -> Self {
        Error::from(error).into()
    }
}
