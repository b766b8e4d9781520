use std::time::Duration;

use diesel::QueryResult;
use diesel::sql_types::{BigInt, Bool};
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::expiry::Expiry;
use super::{RefreshTokenRow, RevokedSession, SecurityEvent, Session, ThrottleBucket, Todo, TodoEvent};

/// A kind of rows that expire.
#[derive(Clone, Copy, Debug)]
pub enum Expired {
    /// Sessions that were not refreshed in time, and their tokens.
    Sessions,
    /// Used refresh tokens that would have expired by now.
    RefreshTokens,
    /// Successors of refresh tokens whose reuse window has passed; only the sealed successor is erased.
    SealedSuccessors,
    /// Revocations older than every access token.
    Revocations,
    /// Attempt counters that have drained.
    ThrottleBuckets,
    /// Security events past their retention.
    SecurityEvents,
    /// Todos past their retention in the trash.
    TrashedTodos,
    /// Todo events past their retention.
    TodoEvents,
}

impl Expired {
    fn rule(self) -> Expiry {
        match self {
            Self::Sessions => Session::EXPIRY,
            Self::RefreshTokens => RefreshTokenRow::EXPIRY,
            Self::SealedSuccessors => RefreshTokenRow::SEALED_SUCCESSOR_EXPIRY,
            Self::Revocations => RevokedSession::EXPIRY,
            Self::ThrottleBuckets => ThrottleBucket::EXPIRY,
            Self::SecurityEvents => SecurityEvent::EXPIRY,
            Self::TrashedTodos => Todo::TRASH_EXPIRY,
            Self::TodoEvents => TodoEvent::EXPIRY,
        }
    }

    /// Deletes one batch of rows that are past their time by `age`, by the database's clock; returns true if there may be
    /// more.
    pub async fn delete(self, conn: &mut AsyncPgConnection, age: Duration) -> QueryResult<bool> {
        self.rule().apply(conn, age).await
    }
}

/// Tries to take the advisory lock that elects the one process that sweeps; held until the transaction ends.
pub async fn lock_expired(conn: &mut AsyncPgConnection) -> QueryResult<bool> {
    /// Any number, as long as all versions agree on it: "expired!" in ASCII.
    const LOCK: i64 = i64::from_be_bytes(*b"expired!");
    let lock = diesel::dsl::sql::<Bool>("pg_try_advisory_xact_lock(").bind::<BigInt, _>(LOCK).sql(")");
    diesel::select(lock).get_result(conn).await
}
