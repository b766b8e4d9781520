use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::error::{AppError, UnauthenticatedReason};
use crate::state::AppState;

/// Who asks, as far as the request's token says.
///
/// A bad token is a case of its own and not an error yet, so that it never blocks a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// No token was sent.
    Anonymous,
    /// A token was sent that is not accepted.
    Rejected(UnauthenticatedReason),
    /// The token is genuine, but whether its session has ended can't be known just now.
    Unknown,
    /// The token is genuine, and its session has not ended.
    User {
        /// Whose it is.
        identity: Identity,
        /// When the token expires.
        expires_at: DateTime<Utc>,
    },
}

/// A user within a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The user.
    pub user_id: Uuid,
    /// The session.
    pub session_id: Uuid,
}

impl Requester {
    /// Judges the `Authorization` header.
    pub async fn from_headers(headers: &HeaderMap, state: &AppState) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (value, None) = (values.next(), values.next()) else {
            return Self::Rejected(UnauthenticatedReason::Malformed);
        };
        let Some(value) = value else { return Self::Anonymous };
        let now = state.clock.now();
        let claims = value
            .to_str()
            .ok()
            .and_then(bearer_token)
            .ok_or(UnauthenticatedReason::Malformed)
            .and_then(|token| state.access_tokens.verify(token, now));
        let claims = match claims {
            Ok(claims) => claims,
            Err(reason) => return Self::Rejected(reason),
        };
        let identity = Identity { user_id: claims.sub, session_id: claims.sid };
        let expires_at = DateTime::from_timestamp(claims.exp, 0).unwrap_or(now);
        Self::User { identity, expires_at }.again(state).await
    }

    /// The same, unless the session has ended since.
    #[must_use]
    pub async fn again(self, state: &AppState) -> Self {
        let Self::User { identity, .. } = self else { return self };
        match state.revocations.contain(&state.database, identity.session_id).await {
            Ok(true) => Self::Rejected(UnauthenticatedReason::Revoked),
            Err(error) => {
                tracing::debug!(%error, "can't tell whether a session has ended");
                Self::Unknown
            }
            Ok(false) => {
                state.last_seen.mark(identity.session_id, state.clock.now());
                state.traffic.notify_one();
                self
            }
        }
    }

    /// The user and the session, or none for somebody without a token; a bad token is an error.
    pub fn identity(self) -> Result<Option<Identity>, AppError> {
        match self {
            Self::Anonymous => Ok(None),
            Self::Rejected(reason) => Err(AppError::Unauthenticated(reason)),
            Self::Unknown => Err(AppError::Unavailable("revocations are out of reach".into())),
            Self::User { identity, .. } => Ok(Some(identity)),
        }
    }

    /// The user and the session; it is an error to have none.
    pub fn require(self) -> Result<Identity, AppError> {
        self.identity()?.ok_or(AppError::Unauthenticated(UnauthenticatedReason::Missing))
    }
}

/// The token of `Bearer <token>`; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer_token(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
