use axum::http::HeaderMap;
use axum::http::header::AUTHORIZATION;
use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::{AccessTokens, Claims};
use crate::error::{AppError, UnauthenticatedReason};

/// Who asks, as far as the request's token says.
///
/// A bad token is a case of its own and not an error yet, so that it never blocks a login.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Requester {
    /// No token was sent.
    Anonymous,
    /// A token was sent that is not accepted.
    Rejected(UnauthenticatedReason),
    /// The token is genuine.
    User {
        /// Whose it is.
        id: Uuid,
        /// When it expires.
        expires_at: DateTime<Utc>,
    },
}

impl Requester {
    /// Judges the `Authorization` header.
    pub fn from_headers(headers: &HeaderMap, tokens: &AccessTokens, now: DateTime<Utc>) -> Self {
        let mut values = headers.get_all(AUTHORIZATION).iter();
        let (Some(value), None) = (values.next(), values.next()) else {
            return if headers.contains_key(AUTHORIZATION) {
                Self::Rejected(UnauthenticatedReason::Malformed)
            } else {
                Self::Anonymous
            };
        };
        let claims = value
            .to_str()
            .ok()
            .and_then(bearer_token)
            .ok_or(UnauthenticatedReason::Malformed)
            .and_then(|token| tokens.verify(token, now));
        let expiry = |claims: &Claims| DateTime::from_timestamp(claims.exp, 0).unwrap_or(now);
        claims
            .map_or_else(Self::Rejected, |claims| Self::User { id: claims.sub, expires_at: expiry(&claims) })
    }

    /// The user's id, or none for somebody without a token; a bad token is an error.
    pub fn user_id(self) -> Result<Option<Uuid>, AppError> {
        match self {
            Self::Anonymous => Ok(None),
            Self::Rejected(reason) => Err(AppError::Unauthenticated(reason)),
            Self::User { id, .. } => Ok(Some(id)),
        }
    }
}

/// The token of `Bearer <token>`; the scheme's case does not matter (RFC 9110, section 11.1).
fn bearer_token(header: &str) -> Option<&str> {
    let (scheme, token) = header.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
