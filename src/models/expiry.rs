use std::time::Duration;

use diesel::QueryResult;
use diesel::data_types::PgInterval;
use diesel::sql_types::{BigInt, Interval};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Rows per batch, so that a batch locks few rows for a short time.
const BATCH: i64 = 500;

/// A rule that removes old rows of one table. Each is defined in its table's file.
pub(super) struct Expiry {
    /// Beginning of the statement, up to its `WHERE`.
    pub(super) action: &'static str,
    pub(super) table: &'static str,
    /// Condition on the rows; `$1` is the age at which they expire.
    pub(super) condition: &'static str,
}

/// Converts a duration for SQL that reckons with the database's clock.
pub(super) fn interval(duration: Duration) -> PgInterval {
    PgInterval::from_microseconds(i64::try_from(duration.as_micros()).unwrap_or(i64::MAX))
}

impl Expiry {
    /// Applies the rule to one batch of rows; returns true if there may be more.
    pub(super) async fn apply(&self, conn: &mut AsyncPgConnection, age: Duration) -> QueryResult<bool> {
        let Self { action, table, condition } = self;
        // As SQL: the query builder has no ctid, which finds the rows of any table without its key. Locked rows are
        // skipped, so that the sweep never waits for a request; the next sweep deletes them.
        let statement = format!(
            "{action} WHERE ctid = ANY (ARRAY(
                 SELECT ctid FROM {table} WHERE {condition} LIMIT $2 FOR UPDATE SKIP LOCKED))"
        );
        let removed = diesel::sql_query(statement)
            .bind::<Interval, _>(interval(age))
            .bind::<BigInt, _>(BATCH)
            .execute(conn)
            .await?;
        Ok(i64::try_from(removed).is_ok_and(|removed| removed >= BATCH))
    }
}
