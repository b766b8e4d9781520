use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel::sql_types::{BigInt, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Rows per batch, so that a batch locks few rows for a short time.
const BATCH: i64 = 500;

/// A rule that removes old rows of one table. Each is defined in its table's file.
pub(super) struct Expiry {
    /// Beginning of the statement, up to its `WHERE`.
    pub(super) action: &'static str,
    pub(super) table: &'static str,
    /// Condition on the rows; `$1` is the time before which they have expired.
    pub(super) condition: &'static str,
}

impl Expiry {
    /// Applies the rule to one batch of rows; returns true if there may be more.
    pub(super) async fn apply(
        &self,
        conn: &mut AsyncPgConnection,
        before: DateTime<Utc>,
    ) -> QueryResult<bool> {
        let Self { action, table, condition } = self;
        // As SQL: the query builder has no ctid, which finds the rows of any table without its key. Locked rows are
        // skipped, so that the sweep never waits for a request; the next sweep deletes them.
        let statement = format!(
            "{action} WHERE ctid = ANY (ARRAY(
                 SELECT ctid FROM {table} WHERE {condition} LIMIT $2 FOR UPDATE SKIP LOCKED))"
        );
        let removed = diesel::sql_query(statement)
            .bind::<Timestamptz, _>(before)
            .bind::<BigInt, _>(BATCH)
            .execute(conn)
            .await?;
        Ok(i64::try_from(removed).is_ok_and(|removed| removed >= BATCH))
    }
}
