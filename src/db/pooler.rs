//! What stands between the service and PostgreSQL, found out by how it behaves.
//!
//! A pooler in transaction mode gives each transaction another connection to the server. The driver prepares every
//! statement by name, so such a pooler has to carry prepared statements along; PgBouncer does from 1.21.

use std::time::Duration;

use diesel::expression::functions::declare_sql_function;
use diesel::sql_types::Text;
use diesel::{QueryResult, QueryableByName};
use diesel_async::{AsyncPgConnection, RunQueryDsl, SimpleAsyncConnection};
use tokio::time::timeout;

use super::{Connector, Error};

/// How long the second of two transactions may wait for a connection to the server.
const HOLD_LIMIT: Duration = Duration::from_secs(2);
/// How long the statements may take altogether.
const LIMIT: Duration = Duration::from_secs(10);

/// How connections reach the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Route {
    /// Each has a session of its own, be it through a pooler in session mode.
    Direct,
    /// Through a pooler in transaction mode that keeps prepared statements.
    Pooled,
}

/// Why a route can't be told or used.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// A pooler in transaction mode that loses prepared statements.
    #[error(
        "the database is reached through a pooler that loses prepared statements, such as PgBouncer before 1.21 in \
         transaction mode\n{LOSES_STATEMENTS_FIX}"
    )]
    LosesStatements,
    /// It could not be tried out.
    #[error(transparent)]
    Database(Error),
}

/// What to do about a pooler that loses prepared statements.
pub const LOSES_STATEMENTS_FIX: &str = "Upgrade PgBouncer to 1.21 or newer, set max_prepared_statements = 200 there if \
    it is 0, use pool_mode = session, or have DATABASE_URL lead to PostgreSQL itself.";

/// Whether PostgreSQL says that a statement was prepared on another connection, or by somebody else on this one.
pub fn is_lost_statement(text: &str) -> bool {
    let named = text.contains("prepared statement \"");
    named && (text.contains("does not exist") || text.contains("already exists"))
        || text.contains("bind message supplies")
}

/// Finds out on two connections of its own, with some twenty round trips.
pub async fn probe(connector: &Connector) -> Result<Route, Failure> {
    let mut a = connector.connect().await?;
    let mut b = connector.connect().await?;
    let limited = timeout(LIMIT, try_out(&mut a, &mut b)).await;
    limited.unwrap_or_else(|_| Err(Error::timeout("trying out how the database is reached").into()))
}

async fn try_out(a: &mut AsyncPgConnection, b: &mut AsyncPgConnection) -> Result<Route, Failure> {
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

/// Prepares a statement in a transaction, and returns which process of the server has it.
///
/// The connection is new: if there is that statement already, by a name as the driver gives it, then the pooler shares
/// connections and leaves names alone, and statements of the same name will meet.
async fn visit(conn: &mut AsyncPgConnection) -> Result<i32, Failure> {
    conn.batch_execute("BEGIN").await?;
    let theirs = "SELECT name AS text FROM pg_prepared_statements \
        WHERE name ~ '^s[0-9]+$' AND statement LIKE 'SELECT pg_backend_pid(), current_setting(%'";
    if !diesel::sql_query(theirs).load::<Name>(conn).await?.is_empty() {
        return Err(Failure::LosesStatements);
    }
    let process = prepared(conn).await?;
    conn.batch_execute("COMMIT").await?;
    Ok(process)
}

/// Has both in a transaction at once, so that each needs a connection to the server, and uses what they have prepared.
///
/// Nothing where there is no second connection: the pooler is busy, or has only one.
async fn hold(
    first: &mut AsyncPgConnection,
    second: &mut AsyncPgConnection,
) -> Result<Option<(i32, i32)>, Failure> {
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

/// A statement with a parameter that stays prepared on its connection.
async fn prepared(conn: &mut AsyncPgConnection) -> QueryResult<i32> {
    let (process, _) = diesel::select((pg_backend_pid(), current_setting("server_version")))
        .get_result::<(i32, String)>(conn)
        .await?;
    Ok(process)
}

#[declare_sql_function]
extern "SQL" {
    /// Which process of the server it is.
    fn pg_backend_pid() -> Integer;
    /// The value of a setting.
    fn current_setting(name: Text) -> Text;
}

#[derive(QueryableByName)]
struct Name {
    #[diesel(sql_type = Text)]
    #[expect(dead_code, reason = "that there is one is enough")]
    text: String,
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        if is_lost_statement(&error.to_string()) { Self::LosesStatements } else { Self::Database(error) }
    }
}

impl From<diesel::result::Error> for Failure {
    fn from(error: diesel::result::Error) -> Self {
        Error::from(error).into()
    }
}
