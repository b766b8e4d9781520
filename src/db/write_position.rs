//! Read-your-writes across replicas, by positions in the primary's write-ahead log.
//!
//! The log orders everything: after each write of a user's data the primary stores the position of its log. A read of the
//! user's data asks the primary for this position and goes to a replica that has replayed as much.

use diesel::QueryResult;
use diesel::sql_types::{BigInt, Nullable, Uuid as SqlUuid};
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::Cached;

/// The primary's position in its log, now and after a user's last write.
#[derive(Clone, Copy, Debug, diesel::QueryableByName)]
pub(super) struct WritePosition {
    /// `None` for a user who has not written since replicas are in use.
    #[diesel(sql_type = Nullable<BigInt>)]
    pub(super) last_write: Option<i64>,
    #[diesel(sql_type = BigInt)]
    pub(super) now: i64,
}

impl WritePosition {
    pub(super) async fn find(conn: &mut AsyncPgConnection, user_id: Uuid) -> QueryResult<Self> {
        let query = diesel::sql_query(
            "SELECT (SELECT position FROM write_positions WHERE user_id = $1) AS last_write,
                 pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint AS now",
        );
        Cached(query.bind::<SqlUuid, _>(user_id)).get_result(conn).await
    }

    /// Stores the present position for a user who has just written.
    ///
    /// Not part of the write's own transaction: its commit record has a later position.
    pub(super) async fn store(conn: &mut AsyncPgConnection, user_id: Uuid) -> QueryResult<()> {
        let query = diesel::sql_query(
            "INSERT INTO write_positions (user_id, position)
             VALUES ($1, pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint)
             ON CONFLICT (user_id) DO UPDATE
             SET position = pg_wal_lsn_diff(pg_current_wal_insert_lsn(), '0/0')::bigint",
        );
        Cached(query.bind::<SqlUuid, _>(user_id)).execute(conn).await.map(|_| ())
    }
}
