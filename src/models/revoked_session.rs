use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Timestamptz;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::db::schema::revoked_sessions;

/// A session that was ended before its time; a trigger on the sessions writes these rows.
#[derive(Clone, Copy, Debug, Deserialize, HasQuery, Serialize)]
#[diesel(table_name = revoked_sessions)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub struct RevokedSession {
    /// The session, whose row is gone.
    pub session_id: Uuid,
    /// When it was ended, by the database's clock.
    pub revoked_at: DateTime<Utc>,
}

impl RevokedSession {
    /// The sessions that were ended since a time, by the database's clock.
    pub async fn since(conn: &mut AsyncPgConnection, time: DateTime<Utc>) -> QueryResult<Vec<Self>> {
        Self::query().filter(revoked_sessions::revoked_at.ge(time)).load(conn).await
    }

    /// The sessions that were ended within some seconds, by the database's clock.
    pub async fn within(conn: &mut AsyncPgConnection, seconds: u64) -> QueryResult<Vec<Self>> {
        let begin = sql::<Timestamptz>(&format!("clock_timestamp() - interval '{seconds} seconds'"));
        Self::query().filter(revoked_sessions::revoked_at.ge(begin)).load(conn).await
    }
}
