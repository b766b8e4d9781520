use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use crate::db::schema::sessions;

/// A sign-in to be opened.
#[derive(Clone, Copy, Debug)]
pub struct NewSession<'a> {
    /// Whose it is.
    pub user_id: Uuid,
    /// SHA-256 of the refresh token.
    pub refresh_token_hash: &'a [u8; 32],
    /// When it begins.
    pub created_at: DateTime<Utc>,
    /// When the refresh token stops working.
    pub expires_at: DateTime<Utc>,
}

impl NewSession<'_> {
    /// Inserts the session.
    pub async fn insert(self, conn: &mut AsyncPgConnection) -> QueryResult<()> {
        diesel::insert_into(sessions::table)
            .values((
                sessions::user_id.eq(self.user_id),
                sessions::refresh_token_hash.eq(self.refresh_token_hash.as_slice()),
                sessions::created_at.eq(self.created_at),
                sessions::expires_at.eq(self.expires_at),
            ))
            .execute(conn)
            .await?;
        Ok(())
    }
}
