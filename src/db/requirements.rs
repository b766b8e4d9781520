//! Requirements on a database, a role and their settings, for `serve`, `migrate` and `doctor`.

use std::fmt;
use std::time::Duration;

use anyhow::{Context, bail};
use diesel::QueryableByName;
use diesel::sql_types::{Json, Text};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::Deserialize;
use tokio::time::timeout;

use super::Error;

/// The service's tables.
const TABLES: &str = "refresh_tokens, revoked_sessions, security_events, sessions, throttle_buckets, \
    todo_event_counters, todo_events, todos, users, write_positions";

/// Judgements that matter to a connection for requests.
pub const REQUESTS: &[&str] = &["writes", "encoding", "search_path", "role"];
/// Judgements that matter to a connection for migrations.
pub const MIGRATIONS: &[&str] = &["writes", "encoding", "search_path", MIGRATION_TABLE];
/// Judgement on reading the list of migrations, which is there only if it is missed.
pub const MIGRATION_TABLE: &str = "migration table";
/// Judgement that matters if migrations are pending.
const PENDING: &str = "migrations";
/// Judgement that matters if the migration that creates the table `users` is pending.
const USERS: &str = "table users";
const CREATES_USERS: &str = "create_users";

/// Time limit of the query, which reads catalogs only.
const LIMIT: Duration = Duration::from_secs(10);

/// A requirement as met or missed by one connection.
#[derive(Clone, Debug, Deserialize)]
pub struct Judgement {
    /// Requirement, such as `encoding`.
    pub name: String,
    /// Outcome.
    pub status: Status,
    /// Observation.
    pub found: String,
    /// Fix, often a line of SQL; `None` if the requirement is met.
    pub fix: Option<String>,
}

/// Outcome of a judgement.
#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Status {
    /// The requirement is met.
    Ok,
    /// Probably a mistake.
    Warning,
    /// The service can't work.
    Error,
}

impl fmt::Display for Judgement {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.name, self.found)?;
        self.fix.as_ref().map_or(Ok(()), |fix| write!(f, "\nfix: {fix}"))
    }
}

/// Judges the database, the role and the session's settings; only reads.
pub async fn judge(conn: &mut AsyncPgConnection) -> anyhow::Result<Vec<Judgement>> {
    #[derive(QueryableByName)]
    struct Answer {
        #[diesel(sql_type = Json)]
        judgements: serde_json::Value,
    }
    let query = diesel::sql_query(include_str!("requirements.sql")).bind::<Text, _>(TABLES);
    let answer = timeout(LIMIT, query.get_result::<Answer>(conn)).await;
    let answer = answer.context("timed out judging the database")?;
    let answer = answer.map_err(Error::from).context("the database cannot be judged")?;
    Ok(serde_json::from_value(answer.judgements)?)
}

/// Fails if one of the named requirements is missed, with the fix for each.
pub fn require(judgements: &[Judgement], names: &[&str]) -> anyhow::Result<()> {
    let is_missed = |one: &&Judgement| one.status == Status::Error && names.contains(&one.name.as_str());
    let missed: Vec<_> = judgements.iter().filter(is_missed).map(ToString::to_string).collect();
    if !missed.is_empty() {
        bail!("{}", missed.join("\n"));
    }
    Ok(())
}

/// Returns what is in the way of pending migrations, errors first, if anything is.
pub fn obstacle<'a>(judgements: &'a [Judgement], pending: &[&str]) -> Option<&'a Judgement> {
    let creates_users = pending.iter().any(|migration| migration.ends_with(CREATES_USERS));
    let is_obstacle = |one: &&Judgement| match one.name.as_str() {
        USERS => creates_users,
        name => name == PENDING || MIGRATIONS.contains(&name),
    };
    let mut obstacles =
        judgements.iter().filter(|one| one.status != Status::Ok).filter(is_obstacle).peekable();
    let first = obstacles.peek().copied();
    obstacles.find(|one| one.status == Status::Error).or(first)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_are_those_of_the_schema() {
        let schema = include_str!("schema.rs");
        let tables = schema.lines().filter_map(|line| line.strip_prefix("    ")?.strip_suffix(") {"));
        let names: Vec<_> = tables.filter_map(|line| Some(line.split_once(" (")?.0)).collect();
        assert_eq!(names.join(", "), TABLES);
    }
}
