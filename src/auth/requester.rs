use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Auth;
use crate::error::{AppError, UnauthenticatedReason};

/// The access token of a request, as its transport found it. Without `Debug`, so that it can't be logged.
#[derive(Clone, Copy)]
pub enum BearerToken<'a> {
    /// Not sent.
    Absent,
    /// The credentials sent are not exactly one bearer token.
    Malformed,
    /// A token, not yet verified.
    Present(&'a [u8]),
}

/// The authentication state of a request.
///
/// A bad token is a state and not an error yet, so that it never blocks a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// No token was sent.
    Anonymous,
    /// The token sent is not accepted.
    Rejected(UnauthenticatedReason),
    /// The token is genuine, but the revocations are unreachable, so its session may have ended.
    Unverifiable,
    /// The token is genuine and its session active.
    User {
        /// User and session of the token.
        identity: Identity,
        /// Expiry of the token.
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

impl Auth {
    /// Verifies a request's token and checks that its session has not ended.
    pub async fn authenticate(&self, token: BearerToken<'_>) -> Requester {
        let now = self.clock.now();
        let verified = match token {
            BearerToken::Absent => return Requester::Anonymous,
            BearerToken::Malformed => Err(UnauthenticatedReason::Malformed),
            BearerToken::Present(token) => self.access_tokens.verify(token, now),
        };
        match verified {
            Ok(claims) => {
                let identity = Identity { user_id: claims.sub, session_id: claims.sid };
                let expires_at = DateTime::from_timestamp(claims.exp, 0).unwrap_or(now);
                self.check_revocation(Requester::User { identity, expires_at }, now).await
            }
            Err(reason) => Requester::Rejected(reason),
        }
    }

    /// Rejects a requester whose session has ended since the token was verified.
    pub async fn recheck_revocation(&self, requester: Requester) -> Requester {
        self.check_revocation(requester, self.clock.now()).await
    }

    async fn check_revocation(&self, requester: Requester, now: DateTime<Utc>) -> Requester {
        let Requester::User { identity, .. } = requester else { return requester };
        match self.revocations.contains(&self.database, identity.session_id).await {
            Ok(true) => Requester::Rejected(UnauthenticatedReason::Revoked),
            Err(error) => {
                tracing::debug!(%error, "can't check whether a session has ended");
                Requester::Unverifiable
            }
            Ok(false) => {
                self.last_seen.mark(identity.session_id, now);
                self.activity.notify_one();
                requester
            }
        }
    }
}

impl Requester {
    /// Returns the user and session, or `None` without a token; fails if the token is bad.
    pub fn identity(self) -> Result<Option<Identity>, AppError> {
        match self {
            Self::Anonymous => Ok(None),
            Self::Rejected(reason) => Err(AppError::Unauthenticated(reason)),
            Self::Unverifiable => Err(AppError::Unavailable("revocations are unreachable".into())),
            Self::User { identity, .. } => Ok(Some(identity)),
        }
    }

    /// Returns the user and session; fails without a token or if it is bad.
    pub fn require_identity(self) -> Result<Identity, AppError> {
        self.identity()?.ok_or(AppError::Unauthenticated(UnauthenticatedReason::Missing))
    }
}
