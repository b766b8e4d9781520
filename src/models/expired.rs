//! What has had its time is deleted, some rows at once, so that nothing else waits long for it.

use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel::sql_types::{BigInt, Bool, Timestamptz};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

/// Rows of one batch.
const BATCH: i64 = 500;

/// Rows that have had their time.
#[derive(Clone, Copy, Debug)]
pub enum Expired {
    /// Sessions that were not refreshed in time, with their tokens.
    Sessions,
    /// Refresh tokens that were used so long ago that they would have expired since.
    RefreshTokens,
    /// Successors of refresh tokens that are not handed out again. These are only wiped.
    SealedSuccessors,
    /// Revocations that no access token is left for.
    Revocations,
    /// Counts of attempts that time has forgiven.
    ThrottleBuckets,
    /// What happened to accounts long ago.
    SecurityEvents,
    /// Todos that were in the trash for long.
    TrashedTodos,
    /// What happened to todos long ago.
    TodoEvents,
}

impl Expired {
    /// What to do with the rows, and which they are, by their time.
    fn statement(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Sessions => ("DELETE FROM sessions", "sessions", "expires_at < $1"),
            Self::RefreshTokens => ("DELETE FROM refresh_tokens", "refresh_tokens", "used_at < $1"),
            Self::SealedSuccessors => (
                "UPDATE refresh_tokens SET sealed_successor = NULL",
                "refresh_tokens",
                "sealed_successor IS NOT NULL AND used_at < $1",
            ),
            Self::Revocations => ("DELETE FROM revoked_sessions", "revoked_sessions", "revoked_at < $1"),
            Self::ThrottleBuckets => ("DELETE FROM throttle_buckets", "throttle_buckets", "expires_at < $1"),
            Self::SecurityEvents => ("DELETE FROM security_events", "security_events", "created_at < $1"),
            Self::TrashedTodos => ("DELETE FROM todos", "todos", "deleted_at < $1"),
            Self::TodoEvents => ("DELETE FROM todo_events", "todo_events", "created_at < $1"),
        }
    }

    /// Deletes a batch of those from before a time; whether there may be more.
    pub async fn delete(self, conn: &mut AsyncPgConnection, before: DateTime<Utc>) -> QueryResult<bool> {
        let (action, table, condition) = self.statement();
        // Rows that somebody works on are left for the next time.
        let statement = format!(
            "{action} WHERE ctid = ANY (ARRAY(
                 SELECT ctid FROM {table} WHERE {condition} LIMIT $2 FOR UPDATE SKIP LOCKED))"
        );
        let deleted = diesel::sql_query(statement)
            .bind::<Timestamptz, _>(before)
            .bind::<BigInt, _>(BATCH)
            .execute(conn)
            .await?;
        Ok(i64::try_from(deleted).is_ok_and(|deleted| deleted >= BATCH))
    }
}

/// Takes the lock under which one process at a time deletes, until the transaction ends; whether it was free.
pub async fn lock_expired(conn: &mut AsyncPgConnection) -> QueryResult<bool> {
    /// Any number does as long as all versions agree on it; this one spells "expired!" in ASCII.
    const LOCK: i64 = i64::from_be_bytes(*b"expired!");
    let lock = diesel::dsl::sql::<Bool>("pg_try_advisory_xact_lock(").bind::<BigInt, _>(LOCK).sql(")");
    diesel::select(lock).get_result(conn).await
}
