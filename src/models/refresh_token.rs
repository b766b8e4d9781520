use chrono::{DateTime, Utc};
use diesel::prelude::*;
use diesel_async::{AsyncPgConnection, RunQueryDsl};
use uuid::Uuid;

use super::Session;
use super::expiry::Expiry;
use super::functions::clock_timestamp;
use crate::db::Cached;
use crate::db::schema::{refresh_tokens, sessions};

/// A row of `refresh_tokens`.
#[derive(Clone, Debug, HasQuery)]
#[diesel(table_name = refresh_tokens)]
#[diesel(check_for_backend(diesel::pg::Pg))]
pub struct RefreshTokenRow {
    /// Time of the exchange for its successor; `None` while the token is live.
    pub used_at: Option<DateTime<Utc>>,
    /// Successor, encrypted with this token; erased after the reuse window.
    pub sealed_successor: Option<Vec<u8>>,
    /// Time of the read, by the database's clock.
    #[diesel(select_expression = clock_timestamp())]
    pub read_at: DateTime<Utc>,
}

impl RefreshTokenRow {
    pub(super) const EXPIRY: Expiry = Expiry {
        action: "DELETE FROM refresh_tokens",
        table: "refresh_tokens",
        condition: "used_at < now() - $1",
    };
    pub(super) const SEALED_SUCCESSOR_EXPIRY: Expiry = Expiry {
        action: "UPDATE refresh_tokens SET sealed_successor = NULL",
        table: "refresh_tokens",
        condition: "sealed_successor IS NOT NULL AND used_at < now() - $1",
    };

    /// Finds a token by its hash and locks its session until the transaction ends, which serialises refreshes of one
    /// session.
    pub async fn lock(conn: &mut AsyncPgConnection, hash: &[u8; 32]) -> QueryResult<Option<(Self, Session)>> {
        let of_token = refresh_tokens::table.find(hash.as_slice()).select(refresh_tokens::session_id);
        let session = Session::query()
            .filter(sessions::id.eq_any(of_token))
            .for_update()
            .first(conn)
            .await
            .optional()?;
        let Some(session) = session else { return Ok(None) };
        // Read only now, under the lock: a statement sees the table as of its own start.
        let token = Self::query().find(hash.as_slice()).first(conn).await.optional()?;
        Ok(token.map(|token| (token, session)))
    }

    /// Marks a live token as exchanged for its successor, which is yet to be inserted.
    pub async fn exchange(
        mut conn: &AsyncPgConnection,
        hash: &[u8; 32],
        used_at: DateTime<Utc>,
        successor: &NewRefreshToken<'_>,
        sealed: &[u8],
    ) -> QueryResult<()> {
        let exchange = diesel::update(refresh_tokens::table.find(hash.as_slice())).set((
            refresh_tokens::used_at.eq(used_at),
            refresh_tokens::successor_hash.eq(successor.token_hash.as_slice()),
            refresh_tokens::sealed_successor.eq(sealed),
        ));
        Cached(exchange).execute(&mut conn).await?;
        Ok(())
    }
}

/// A refresh token to be issued.
#[derive(Clone, Copy, Debug)]
pub struct NewRefreshToken<'a> {
    /// SHA-256 of the token.
    pub token_hash: &'a [u8; 32],
    /// Session of the token.
    pub session_id: Uuid,
}

impl NewRefreshToken<'_> {
    /// Inserts the token.
    pub async fn insert(&self, mut conn: &AsyncPgConnection) -> QueryResult<()> {
        diesel::insert_into(refresh_tokens::table)
            .values((
                refresh_tokens::token_hash.eq(self.token_hash.as_slice()),
                refresh_tokens::session_id.eq(self.session_id),
            ))
            .execute(&mut conn)
            .await?;
        Ok(())
    }
}
