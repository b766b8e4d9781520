use chrono::{DateTime, Utc};
use diesel::QueryResult;
use diesel_async::AsyncPgConnection;
use secrecy::SecretString;
use uuid::Uuid;

use super::RefreshToken;
use crate::error::AppError;
use crate::models::{NewSession, User};
use crate::state::AppState;

/// A session that has just begun, with the secrets that only its client gets.
#[derive(Clone, Debug)]
pub struct OpenedSession {
    /// Whose it is.
    pub user: User,
    /// Proves who asks, for a short time.
    pub access_token: SecretString,
    /// When the access token expires.
    pub expires_at: DateTime<Utc>,
    /// Continues the session.
    pub refresh_token: RefreshToken,
}

impl OpenedSession {
    /// Hands out the tokens of a session whose row is stored.
    pub(super) fn new(state: &AppState, user: User, refresh_token: RefreshToken) -> Result<Self, AppError> {
        let issued = state.access_tokens.issue(user.id, state.clock.now());
        let (access_token, expires_at) = issued.map_err(AppError::internal)?;
        Ok(Self { user, access_token, expires_at, refresh_token })
    }
}

/// Stores a session that begins now.
pub(super) async fn store(
    conn: &mut AsyncPgConnection,
    user_id: Uuid,
    refresh_token: &RefreshToken,
    now: DateTime<Utc>,
    lifetime: std::time::Duration,
) -> QueryResult<()> {
    let session = NewSession {
        user_id,
        refresh_token_hash: &refresh_token.hash(),
        created_at: now,
        expires_at: now + lifetime,
    };
    session.insert(conn).await
}
