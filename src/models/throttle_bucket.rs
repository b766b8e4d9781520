use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel::sql_types::{Array, BigInt, Timestamptz};
use diesel::upsert::excluded;
use diesel_async::{AsyncPgConnection, RunQueryDsl};

use super::expiry::Expiry;
use crate::db::Cached;
use crate::db::schema::throttle_buckets;

/// A row of `throttle_buckets`: a leaky bucket of recent attempts.
#[derive(Clone, Debug, HasQuery, Insertable, PartialEq)]
#[diesel(table_name = throttle_buckets)]
#[diesel(treat_none_as_default_value = false)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub struct ThrottleBucket {
    /// SHA-256 of the subject, such as logins from one address.
    pub key: Vec<u8>,
    /// Attempts, minus those that have leaked out by `updated_at`.
    pub level: f64,
    /// Time at which the level was computed.
    pub updated_at: DateTime<Utc>,
    /// Time at which a refusal was last noted as a security event.
    pub refused_at: Option<DateTime<Utc>>,
    /// Time at which the bucket is empty and the row can go.
    pub expires_at: DateTime<Utc>,
}

impl ThrottleBucket {
    pub(super) const EXPIRY: Expiry = Expiry {
        action: "DELETE FROM throttle_buckets",
        table: "throttle_buckets",
        condition: "expires_at < now() - $1",
    };

    /// Locks some keys until the transaction ends; returns the database's time once they are locked, and their existing
    /// buckets.
    pub async fn lock(
        conn: &mut AsyncPgConnection,
        keys: &[[u8; 32]],
    ) -> QueryResult<(DateTime<Utc>, Vec<Self>)> {
        #[derive(QueryableByName)]
        struct Locked {
            #[diesel(sql_type = Timestamptz)]
            at: DateTime<Utc>,
        }
        // Advisory locks, since a missing row can't be locked; sorted, so that two callers can't deadlock.
        let mut locks: Vec<i64> =
            keys.iter().filter_map(|key| key.first_chunk()).copied().map(i64::from_be_bytes).collect();
        locks.sort_unstable();
        // The count comes before the time, and needs all locks.
        let query = "WITH locks AS MATERIALIZED (SELECT pg_advisory_xact_lock(key) FROM unnest($1) AS key)
            SELECT clock_timestamp() AS at FROM (SELECT count(*) FROM locks) AS counted";
        let query = diesel::sql_query(query).bind::<Array<BigInt>, _>(locks);
        let locked: Locked = Cached(query).get_result(conn).await?;
        let keys: Vec<&[u8]> = keys.iter().map(<[u8; 32]>::as_slice).collect();
        let buckets = Self::query().filter(throttle_buckets::key.eq_any(keys)).load(conn).await?;
        Ok((locked.at, buckets))
    }

    /// Inserts or replaces buckets, a few at once.
    pub async fn store(conn: &mut AsyncPgConnection, buckets: &[Self]) -> QueryResult<()> {
        let store = diesel::insert_into(throttle_buckets::table)
            .values(buckets)
            .on_conflict(throttle_buckets::key)
            .do_update()
            .set((
                throttle_buckets::level.eq(excluded(throttle_buckets::level)),
                throttle_buckets::updated_at.eq(excluded(throttle_buckets::updated_at)),
                throttle_buckets::refused_at.eq(excluded(throttle_buckets::refused_at)),
                throttle_buckets::expires_at.eq(excluded(throttle_buckets::expires_at)),
            ));
        Cached(store).execute(conn).await?;
        Ok(())
    }
}
