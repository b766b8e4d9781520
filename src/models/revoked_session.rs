use chrono::{DateTime, Utc};
use diesel::dsl::sql;
use diesel::prelude::*;
use diesel::sql_types::Timestamptz;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::expiry::Expiry;
use crate::db::schema::revoked_sessions;

/// A row of `revoked_sessions`: a session that ended early. Written by a trigger on `sessions`.
#[derive(Clone, Copy, Debug, HasQuery)]
#[diesel(table_name = revoked_sessions)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub struct RevokedSession {
    /// Identifier of the session, whose row is deleted.
    pub session_id: Uuid,
    /// Time of the revocation, by the database's clock.
    pub revoked_at: DateTime<Utc>,
}

impl RevokedSession {
    pub(super) const EXPIRY: Expiry = Expiry {
        action: "DELETE FROM revoked_sessions",
        table: "revoked_sessions",
        condition: "revoked_at < now() - $1",
    };

    /// Loads the sessions revoked since a time, by the database's clock.
    pub async fn list_since(conn: &mut AsyncPgConnection, time: DateTime<Utc>) -> QueryResult<Vec<Self>> {
        Self::query().filter(revoked_sessions::revoked_at.ge(time)).load(conn).await
    }

    /// Loads the sessions revoked within the last `seconds`, by the database's clock.
    pub async fn list_within(conn: &mut AsyncPgConnection, seconds: u64) -> QueryResult<Vec<Self>> {
        // Not clock_timestamp(), which is volatile and therefore can't be an index condition.
        let begin = sql::<Timestamptz>(&format!("statement_timestamp() - interval '{seconds} seconds'"));
        Self::query().filter(revoked_sessions::revoked_at.ge(begin)).load(conn).await
    }
}
