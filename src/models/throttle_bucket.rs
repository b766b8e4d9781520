use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt};
use diesel::upsert::excluded;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use crate::db::schema::throttle_buckets;

/// How many attempts there were of late at something.
#[derive(Clone, Debug, HasQuery, Insertable, PartialEq)]
#[diesel(table_name = throttle_buckets)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub struct ThrottleBucket {
    /// SHA-256 of what is counted.
    pub key: Vec<u8>,
    /// Attempts, less those that time has forgiven.
    pub level: f64,
    /// When the level was right.
    pub updated_at: DateTime<Utc>,
    /// When it was last noted that attempts are refused.
    pub refused_at: Option<DateTime<Utc>>,
    /// From when on the row says nothing any more.
    pub expires_at: DateTime<Utc>,
}

impl ThrottleBucket {
    /// Those of the keys that were counted before. Until the transaction ends nobody else counts on any of them.
    pub async fn lock(conn: &mut AsyncPgConnection, keys: &[[u8; 32]]) -> QueryResult<Vec<Self>> {
        // Also locks what has no row yet. In order, so that nobody waits for each other.
        let mut locks: Vec<i64> =
            keys.iter().filter_map(|key| key.first_chunk()).copied().map(i64::from_be_bytes).collect();
        locks.sort_unstable();
        diesel::sql_query("SELECT pg_advisory_xact_lock(key) FROM unnest($1) AS key")
            .bind::<Array<BigInt>, _>(locks)
            .execute(conn)
            .await?;
        let keys: Vec<&[u8]> = keys.iter().map(<[u8; 32]>::as_slice).collect();
        Self::query().filter(throttle_buckets::key.eq_any(keys)).load(conn).await
    }

    /// Stores what has been counted.
    pub async fn store(conn: &mut AsyncPgConnection, buckets: &[Self]) -> QueryResult<()> {
        diesel::insert_into(throttle_buckets::table)
            .values(buckets)
            .on_conflict(throttle_buckets::key)
            .do_update()
            .set((
                throttle_buckets::level.eq(excluded(throttle_buckets::level)),
                throttle_buckets::updated_at.eq(excluded(throttle_buckets::updated_at)),
                throttle_buckets::refused_at.eq(excluded(throttle_buckets::refused_at)),
                throttle_buckets::expires_at.eq(excluded(throttle_buckets::expires_at)),
            ))
            .execute(conn)
            .await?;
        Ok(())
    }
}
